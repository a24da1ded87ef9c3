//! Our client against Postfix' own test server and its faults. Needs `smtp-sink` (Debian: package `postfix`, no service).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use waxseal::deliver::{Deadlines, Fate, Options, Outbound, Security, TcpDial, Upstream};
use waxseal::message::{Envelope, Recipient};
use waxseal::smtp::extension::{MailParams, RcptParams};
use waxseal::smtp::{ForwardPath, ReversePath};

struct Sink {
    process: Child,
    addr: SocketAddr,
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

async fn sink(faults: &[&str]) -> Sink {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let process = Command::new("smtp-sink")
        .args(["-u", "nobody"])
        .args(faults)
        .args([&addr.to_string(), "100"])
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("smtp-sink is installed");
    let begun = Instant::now();
    while TcpStream::connect(addr).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "smtp-sink does not listen");
        sleep(Duration::from_millis(10)).await;
    }
    Sink { process, addr }
}

fn mail(bytes: usize) -> Outbound {
    let envelope = Envelope {
        reverse_path: ReversePath::parse(b"alice@example.com", false).unwrap(),
        params: MailParams::default(),
        recipients: ["b@y.test", "c@y.test"]
            .map(|to| Recipient {
                path: ForwardPath::parse(to.as_bytes(), false).unwrap(),
                params: RcptParams::default(),
            })
            .into(),
    };
    let content = [b"Subject: x\r\n\r\n".as_slice(), &b"A line of text.\r\n".repeat(bytes / 17)].concat();
    Outbound::new(envelope, Bytes::from(content).into())
}

fn client(sink: &Sink) -> Upstream {
    let mut options = Options::named("relay.test");
    options.dot = Duration::from_secs(2);
    options.data_block = Duration::from_secs(2);
    Upstream::new(TcpDial::new("127.0.0.1", sink.addr.port(), options.connect), Security::None, None, options)
}

fn ample() -> Deadlines {
    let until = Instant::now() + Duration::from_secs(30);
    Deadlines { dot_sent_by: until, dot_answered_by: until }
}

fn kind(fate: &Fate) -> String {
    match fate {
        Fate::Accepted { .. } => "accepted".to_owned(),
        Fate::Refused { stage, .. } => format!("refused at {}", stage.as_str()),
        Fate::Deferred { stage, .. } => format!("deferred at {}", stage.as_str()),
        Fate::Unknown { .. } => "unknown".to_owned(),
    }
}

#[tokio::test]
#[ignore = "needs smtp-sink"]
async fn every_fault_it_knows() {
    // (options, octets of the mail, both recipients' fate)
    let table: &[(&[&str], usize, &str)] = &[
        (&[], 2_000, "accepted"),
        (&[], 5_000_000, "accepted"),
        // hide extensions: ESMTP, pipelining, 8BITMIME, enhanced codes
        (&["-e", "-p", "-8", "-E"], 2_000, "accepted"),
        (&["-e"], 2_000, "accepted"),
        // hang up
        (&["-q", "CONNECT"], 2_000, "deferred at greeting"),
        (&["-q", "EHLO"], 2_000, "deferred at ehlo"),
        (&["-q", "MAIL"], 2_000, "deferred at mail"),
        (&["-q", "RCPT"], 2_000, "deferred at rcpt"),
        (&["-q", "DATA"], 2_000, "deferred at data"),
        (&["-q", "."], 2_000, "unknown"),
        // 421 and hang up
        (&["-Q", "CONNECT"], 2_000, "deferred at greeting"),
        (&["-Q", "MAIL"], 2_000, "deferred at mail"),
        (&["-Q", "RCPT"], 2_000, "deferred at rcpt"),
        (&["-Q", "."], 2_000, "deferred at dot"),
        // 4xx
        (&["-r", "CONNECT"], 2_000, "deferred at greeting"),
        (&["-r", "MAIL"], 2_000, "deferred at mail"),
        (&["-r", "RCPT"], 2_000, "deferred at rcpt"),
        (&["-r", "DATA"], 2_000, "deferred at data"),
        (&["-r", "."], 2_000, "deferred at dot"),
        // its 5xx is "500 5.3.0": a protocol error of ours by its code, so nobody is refused
        (&["-f", "MAIL"], 2_000, "deferred at mail"),
        (&["-f", "."], 2_000, "deferred at dot"),
        (&["-B", "550 5.7.1 no", "-f", "MAIL"], 2_000, "refused at mail"),
        (&["-B", "550 5.7.1 no", "-f", "RCPT"], 2_000, "refused at rcpt"),
        (&["-B", "550 5.7.1 no", "-f", "DATA"], 2_000, "refused at data"),
        (&["-B", "550 5.7.1 no", "-f", "."], 2_000, "refused at dot"),
        // a slow dot: in time, and not
        (&["-W", ".:1"], 2_000, "accepted"),
        (&["-W", ".:5"], 2_000, "unknown"),
        // 550 as soon as DATA has been answered, and no octet read after it
        (&["-A", "0"], 5_000_000, "refused at data"),
        // stops reading
        (&["-H", "60", "-T", "4096"], 20_000_000, "deferred at data"),
    ];
    for (faults, bytes, expected) in table {
        let sink = sink(faults).await;
        let fates = client(&sink).deliver(mail(*bytes), ample()).await.unwrap();
        let kinds: Vec<String> = fates.iter().map(kind).collect();
        assert_eq!(kinds, [*expected; 2], "{faults:?}: {fates:?}");
    }
}

#[tokio::test]
#[ignore = "needs smtp-sink"]
async fn a_connection_it_closed_at_rest_costs_nothing() {
    let sink = sink(&["-t", "1"]).await;
    let upstream = client(&sink);
    for _ in 0..2 {
        let fates = upstream.deliver(mail(2_000), ample()).await.unwrap();
        assert!(fates.iter().all(Fate::is_accepted), "{fates:?}");
        sleep(Duration::from_millis(1_500)).await;
    }
}

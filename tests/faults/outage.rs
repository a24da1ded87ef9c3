//! A real Postfix as upstream, stopped and started while clients send: everything arrives, and nothing twice but where its
//! connection was lost after a dot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{HURRIED, drained};
use crate::support::client::{Load, Submission};
use crate::support::ledger::Ledger;
use crate::support::postfix::Postfix;
use crate::support::process::{Installation, answers};
use crate::support::upstream::RecordedMail;

const OUTAGES: usize = 3;

#[test]
#[ignore = "needs Postfix"]
fn an_upstream_that_comes_and_goes_loses_nothing() {
    let postfix = Postfix::start();
    let installation = Installation::new(postfix.addr, HURRIED);
    let process = installation.start();
    let watch = Watch::start(&installation);
    let load = Load::start(installation.smtp, 3, |client, n| {
        // People do not send a thousand mails a second; Postfix has to keep every one of them.
        std::thread::sleep(Duration::from_millis(40));
        let names: &[&str] = if n % 3 == 0 { &["b", "c"] } else { &["b"] };
        Submission::new(&format!("p{client}-{n}"), names)
    });
    for _ in 0..OUTAGES {
        std::thread::sleep(Duration::from_millis(1_200));
        postfix.control("stop");
        std::thread::sleep(Duration::from_millis(1_500));
        postfix.control("start");
        super::eventually(Duration::from_secs(15), "Postfix is back", || answers(postfix.addr));
    }
    std::thread::sleep(Duration::from_secs(1));
    let told = load.stop();
    let sent = told.len();
    drained(&installation, Duration::from_secs(90));
    let mut ledger = watch.stop();
    ledger.tell(told);
    ledger.spool(&installation.spool());
    ledger.upstream(&held(&postfix));
    ledger.assert_kept(&installation.log());
    println!("{}", ledger.summary());
    assert!(sent > 50 && ledger.answers(250) == sent, "{}", ledger.summary());
    assert_eq!(ledger.dead_links(installation.tracking, 200), Vec::<String>::new());
    assert!(process.terminate().success());
}

/// Everything Postfix holds, as the ledger reads it.
fn held(postfix: &Postfix) -> Vec<RecordedMail> {
    let recipients = |envelope: &str| {
        let lines = envelope.lines().filter_map(|line| line.strip_prefix("recipient: "));
        lines.map(|address| format!("RCPT TO:<{address}>")).collect()
    };
    let one = |id: &String| {
        let envelope = postfix.envelope(id);
        let sender = envelope.lines().find_map(|line| line.strip_prefix("sender: ")).unwrap_or_default().to_owned();
        RecordedMail {
            mail: format!("MAIL FROM:<{sender}>"),
            rcpts: recipients(&envelope),
            content: postfix.content(id),
            accepted: true,
            ..RecordedMail::default()
        }
    };
    postfix.queue().iter().map(one).collect()
}

/// Looks at the spool often enough to see every outcome in doubt, which stays for a second at least.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Ledger>,
}

impl Watch {
    fn start(installation: &Installation) -> Watch {
        let (stop, spool) = (Arc::new(AtomicBool::new(false)), installation.spool());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut ledger = Ledger::default();
            while !stopped.load(Ordering::Relaxed) {
                ledger.cut(&spool);
                std::thread::sleep(Duration::from_millis(200));
            }
            ledger
        });
        Watch { stop, thread }
    }

    fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

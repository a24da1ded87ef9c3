//! What outsiders' tools make of a running server: scanners that look for a relay, clients with a wrong password, and many
//! that connect and say little.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{Client, Submission};
use crate::support::process::Installation;
use crate::support::relay::{Running, Upstream};
use crate::support::smtp_sink::SinkPlace;

const PASSWORD: &str = "correct-horse-battery";

/// Nobody submits without a login, this machine neither.
fn strict() -> Running {
    let trusted = "networks = [\"127.0.0.0/8\"]\norg = \"default\"";
    let relay = Running::start_with(Upstream::Inbox, "", &[(trusted, "")]);
    relay.add_user("alice", PASSWORD, "default");
    relay
}

fn said(out: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[test]
#[ignore = "needs nmap"]
fn no_open_relay_for_nmap() {
    let relay = strict();
    // By STARTTLS, and with TLS from the first octet, which nmap finds out by itself.
    for port in [relay.smtp.port(), relay.smtps.port()] {
        let out = Command::new("nmap")
            .args(["-Pn", "-n", "-sV", "-p", &port.to_string()])
            .args(["--script", "+smtp-open-relay,+smtp-enum-users,+smtp-commands", "127.0.0.1"])
            .output()
            .expect("nmap is not installed");
        let text = said(&out);
        let closed = ["Server isn't an open relay", "doesn't seem to be an open relay"];
        assert!(closed.iter().any(|words| text.contains(words)), "{port}: {text}");
        assert!(!text.contains("RCPT, ") && text.contains("smtp-enum-users"), "{port}: {text}");
    }
    assert_eq!(relay.cli(&["inbox", "list", "--json"]).matches("\"id\"").count(), 0);
}

/// Each client: the arguments that send, with this password, and its exit code when the password is wrong.
fn clients(relay: &Running, password: &str) -> Vec<(&'static str, Command, Vec<i32>)> {
    let port = relay.smtp.port().to_string();
    let certificate = relay.certificate().display().to_string();
    let mut swaks = Command::new("swaks");
    swaks.args(["--server", "127.0.0.1", "--port", &port, "--tls", "--auth", "PLAIN", "--auth-user", "alice"]).args([
        "--auth-password",
        password,
        "--from",
        "a@example.com",
        "--to",
        "swaks@ok.test",
        "--silent",
        "2",
    ]);
    let mut msmtp = Command::new("msmtp");
    msmtp
        .args(["-C", "/dev/null", "--host=localhost", &format!("--port={port}"), "--tls=on", "--tls-starttls=on"])
        .args([&format!("--tls-trust-file={certificate}"), "--auth=plain", "--user=alice"])
        .args([&format!("--passwordeval=echo {password}"), "--from=a@example.com", "msmtp@ok.test"]);
    let mut nail = Command::new("s-nail");
    nail.args(["-:/", "-Sv15-compat", &format!("-Smta=submission://alice:{password}@localhost:{port}")])
        .args(["-Ssmtp-use-starttls", &format!("-Stls-ca-file={certificate}"), "-Stls-verify=strict"])
        .args(["-Ssmtp-auth=plain", "-Sfrom=a@example.com", "-Snosave", "-s", "t", "nail@ok.test"]);
    let rc = relay.folder().join("muttrc");
    let settings = format!(
        "set smtp_url=\"smtp://alice@localhost:{port}/\"\nset smtp_pass=\"{password}\"\nset ssl_starttls=yes\n\
         set ssl_force_tls=yes\nset certificate_file=\"{certificate}\"\nset from=\"a@example.com\"\nset copy=no\n\
         set smtp_authenticators=\"plain\"\n"
    );
    std::fs::write(&rc, settings).unwrap();
    let mut mutt = Command::new("mutt");
    mutt.args(["-n", "-F"]).arg(&rc).args(["-s", "t", "mutt@ok.test"]).env("HOME", relay.folder());
    vec![
        ("swaks", swaks, vec![28]),
        ("msmtp", msmtp, vec![77]),
        ("nail", nail, vec![1, 4, 36, 5]),
        ("mutt", mutt, vec![1]),
    ]
}

#[test]
#[ignore = "needs swaks, msmtp, s-nail and mutt"]
fn mail_clients_send_and_hear_that_a_password_is_wrong() {
    let relay = strict();
    for (password, is_right) in [("wr0ng", false), (PASSWORD, true)] {
        for (name, mut command, wrong) in clients(&relay, password) {
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect(name);
            child.stdin.take().unwrap().write_all(b"From: a@example.com\nSubject: t\n\nhello\n").ok();
            let out = child.wait_with_output().unwrap();
            match is_right {
                true => assert!(out.status.success(), "{name}: {}", said(&out)),
                false => assert!(wrong.contains(&out.status.code().unwrap()), "{name}: {}", said(&out)),
            }
            let inbox = relay.cli(&["inbox", "list", "--json"]);
            assert_eq!(inbox.contains(&format!("{name}@ok.test")), is_right, "{name}: {}", said(&out));
        }
    }
}

/// A library's own words, from a script that prints them as JSON.
fn library(relay: &Running, program: &str, tls: &str, password: &str, to: &[&str]) -> serde_json::Value {
    let script = match program {
        "node" => "library_says.js",
        _ => "library_says.py",
    };
    let port = if tls == "implicit" { relay.smtps.port() } else { relay.smtp.port() };
    let mut command = Command::new(program);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script));
    command.args([&port.to_string(), tls]).arg(relay.certificate()).arg(password).args(to);
    if let Ok(peers) = std::env::var("WAXSEAL_PEERS") {
        command.env("NODE_PATH", Path::new(&peers).join("node_modules"));
    }
    let out = command.output().expect(program);
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{program}: {error}: {}", said(&out)))
}

/// What a program's user is told: that the password is wrong, and which recipients were not taken, with the others' mail sent.
#[test]
#[ignore = "needs Node, nodemailer, Python, swaks and curl"]
fn libraries_hear_a_wrong_password_and_each_refused_recipient() {
    let relay = strict();
    for (program, tls) in [("node", "starttls"), ("node", "implicit"), ("python3", "starttls"), ("python3", "implicit")]
    {
        let wrong = library(&relay, program, tls, "wr0ng", &["b@ok.test"]);
        assert_eq!(wrong, json!({ "code": "EAUTH", "responseCode": 535 }), "{program} {tls}");
        let good = format!("{program}.{tls}@ok.test");
        let mixed = library(&relay, program, tls, PASSWORD, &[&good, "no@ok..test"]);
        let expected = json!({ "accepted": [good], "rejected": ["no@ok..test"], "codes": [501] });
        assert_eq!(mixed, expected, "{program} {tls}");
        assert!(relay.cli(&["inbox", "list", "--json"]).contains(&good), "{program} {tls}");
    }
}

#[test]
#[ignore = "needs swaks and curl"]
fn swaks_and_curl_hear_them_too() {
    let relay = strict();
    let (port, smtps) = (relay.smtp.port().to_string(), relay.smtps.port());
    let swaks = |to: &str| {
        let mut command = Command::new("swaks");
        command.args(["--server", "127.0.0.1", "--port", &port, "--tls", "--auth", "PLAIN", "--auth-user", "alice"]);
        command.args(["--auth-password", PASSWORD, "--from", "a@example.com", "--to", to]);
        command.output().expect("swaks")
    };
    let mixed = swaks("swaks@ok.test,no@ok..test");
    let text = said(&mixed);
    assert!(mixed.status.success() && text.contains("<~* 501 5.1.3"), "{text}");
    assert!(relay.cli(&["inbox", "list", "--json"]).contains("swaks@ok.test"));
    let none = swaks("no@ok..test,neither@ok..test");
    assert_eq!(none.status.code(), Some(24), "{}", said(&none));

    let mail = relay.folder().join("mail.eml");
    std::fs::write(&mail, "From: a@example.com\r\nSubject: t\r\n\r\nhello\r\n").unwrap();
    let curl = |url: &str, password: &str, more: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--url", url, "--ssl-reqd", "--cacert"]).arg(relay.certificate());
        command.args(["--user", &format!("alice:{password}"), "--mail-from", "a@example.com"]);
        command.args(["--mail-rcpt", "curl@ok.test"]).args(more).arg("-T").arg(&mail);
        command.output().expect("curl").status.code()
    };
    for url in [format!("smtp://localhost:{port}"), format!("smtps://localhost:{smtps}")] {
        assert_eq!(curl(&url, "wr0ng", &[]), Some(67), "{url}");
        assert_eq!(curl(&url, PASSWORD, &["--mail-rcpt", "no@ok..test"]), Some(55), "{url}");
        assert!(!relay.cli(&["inbox", "list", "--json"]).contains("curl@ok.test"), "{url}");
    }
    let allow = ["--mail-rcpt-allowfails", "--mail-rcpt", "no@ok..test"];
    assert_eq!(curl(&format!("smtps://localhost:{smtps}"), PASSWORD, &allow), Some(0));
    assert!(relay.cli(&["inbox", "list", "--json"]).contains("curl@ok.test"));
}

/// Thousands of silent clients and hundreds that trickle, while mail goes through. Says what it costs.
#[test]
#[ignore = "opens thousands of connections; needs smtp-sink"]
fn slow_and_idle_clients_do_not_stop_mail() {
    const IDLE: usize = 2_000;
    const SLOW: usize = 500;
    let sink = SinkPlace::new();
    let _running = sink.start(&[]);
    let limits = "[limits]\nconnections_max = 4000\nconnections_per_address_max = 4000\n";
    let installation = Installation::new(sink.addr, limits);
    let process = installation.start();
    let before_kib = process.resident_kib();
    let mut kept = Vec::new();
    for _ in 0..IDLE + SLOW {
        let mut stream = TcpStream::connect(installation.smtp).unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        kept.push(stream);
    }
    let with_idle_kib = process.resident_kib();
    let mut slowest = Duration::ZERO;
    for round in 0..40 {
        // One octet of a command that never ends, from each of the slow ones.
        for stream in kept.iter_mut().take(SLOW) {
            stream.write_all(b"N").unwrap();
        }
        let begun = Instant::now();
        let told = Client::connect(installation.smtp).unwrap().submit(&Submission::new(&format!("m{round}"), &["b"]));
        assert_eq!(told.code(), 250, "{told:?}");
        slowest = slowest.max(begun.elapsed());
    }
    println!(
        "{IDLE} idle and {SLOW} slow connections: {} KiB more, {} KiB each; the slowest of 40 mails took {slowest:?}",
        with_idle_kib - before_kib,
        (with_idle_kib - before_kib) as usize / (IDLE + SLOW)
    );
    assert!(slowest < Duration::from_secs(20));
}

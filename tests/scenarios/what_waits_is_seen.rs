//! Upstream is down: the mail waits, the operator sees it and why, counts it, tries it, and drops it.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use super::first_light::submit;
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::http;

const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: one@x.test\r\nSubject: The offer\r\n\r\nHello\r\n";

#[test]
fn a_mail_that_waits_is_listed_counted_hurried_and_dropped() {
    let relay = Running::start(Upstream::Smtp(nobody()), "");
    assert_eq!(relay.cli(&["queue", "list"]), "nothing waits\n");
    let answer = submit(relay.smtp, "ana@example.com", &["one@x.test"], MAIL);
    assert!(answer.starts_with("250") && answer.contains("queued as"), "{answer}");

    // listed, with whom it is for and why it waits
    let list = relay.cli(&["queue", "list"]);
    assert!(list.contains("ana@example.com") && list.contains("one@x.test") && list.contains("in "), "{list}");
    let id = list.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(answer.contains(&id), "the id the client was told: {answer} {list}");
    let shown = relay.cli(&["queue", "show", &id]);
    assert!(shown.contains("one@x.test") && shown.contains("waiting") && shown.contains("trusted network"), "{shown}");

    // counted
    let text = metrics(&relay);
    assert_eq!(value(&text, "waxseal_queue_mails"), 1.0, "{text}");
    assert_eq!(value(&text, "waxseal_spool_corrupt_mails"), 0.0, "{text}");
    assert!(value(&text, "waxseal_spool_free_bytes") > 0.0, "{text}");
    assert!(value(&text, "waxseal_submissions_total{reply=\"2xx\"}") >= 1.0, "{text}");
    assert!(value(&text, "waxseal_deliveries_total{outcome=\"deferred\"}") >= 1.0, "{text}");
    assert!(value(&text, "waxseal_queue_oldest_seconds") < 600.0, "{text}");
    let undeclared: Vec<&str> =
        text.lines().filter(|l| l.starts_with("# TYPE")).filter(|l| !has_help(&text, l)).collect();
    assert!(undeclared.is_empty(), "without a help text: {undeclared:?}");
    assert!(!text.contains("x.test") && !text.contains("example.com"), "nobody's address is in it: {text}");

    // hurried: tried again at once, although its time is a minute away
    let tries = |relay: &Running| relay.cli(&["queue", "show", &id, "--json"]).matches("\"attempts\": 1,").count();
    let before = tries(&relay);
    assert!(before > 0);
    relay.cli(&["queue", "retry", &id]);
    wait_for(|| tries(&relay) < before);

    // dropped, not without a yes where nobody can be asked
    let refused = relay.cli_with(&["queue", "drop", &id], "");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("--yes"));
    assert!(relay.cli(&["queue", "list"]).contains(&id));
    assert_eq!(relay.cli(&["queue", "drop", &id, "--yes"]), format!("{id} dropped\n"));
    assert!(relay.cli(&["queue", "list"]).contains("nothing waits"));
    assert_eq!(value(&metrics(&relay), "waxseal_queue_mails"), 0.0);
    let shown = relay.cli(&["message", "show", &id]);
    assert!(shown.contains("  dropped  ") && shown.contains("dropped by the operator"), "{shown}");
    assert!(!shown.contains("refused"), "nobody refused it: {shown}");
    let gone = relay.cli_with(&["queue", "retry", &id], "");
    assert!(!gone.status.success() && String::from_utf8_lossy(&gone.stderr).contains("delivered, given up or dropped"));
}

#[test]
fn an_unreadable_mail_is_told_of() {
    let relay = Running::start(Upstream::Smtp(nobody()), "");
    assert!(submit(relay.smtp, "ana@example.com", &["one@x.test"], MAIL).starts_with("250"));
    let folder = relay.stop();
    let spool = folder.path().join("data/spool");
    let is_mail = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "mail");
    let mail = std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().path()).find(is_mail).unwrap();
    let mut octets = std::fs::read(&mail).unwrap();
    let at = octets.len() - 100;
    octets[at] ^= 1;
    std::fs::write(&mail, octets).unwrap();
    let relay = Running::start_in(folder, Upstream::Smtp(nobody()), "");
    let list = relay.cli(&["queue", "list"]);
    assert!(list.contains("nothing waits") && list.contains("1 mail unreadable"), "{list}");
    assert_eq!(value(&metrics(&relay), "waxseal_spool_corrupt_mails"), 1.0);
}

/// An address of this machine where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn metrics(relay: &Running) -> String {
    let answer = http(relay.admin, "GET", "/metrics", &[]);
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body).unwrap()
}

/// The value of one series.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Whether the series of a `# TYPE` line has its `# HELP`.
fn has_help(text: &str, line: &str) -> bool {
    let name = line.split(' ').nth(2).unwrap();
    text.lines().any(|line| line.starts_with(&format!("# HELP {name} ")))
}

fn wait_for(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within ten seconds");
        std::thread::sleep(Duration::from_millis(50));
    }
}

//! What the sender is told: a bounce for who was refused, nothing where nothing is wanted, `relayed` where upstream says nothing.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::first_light::{dialogue, submit};
use crate::support::relay::{Running, Upstream};
use crate::support::upstream::{Act, At, RecordedMail, Script, ScriptedUpstream};

const QUICK: &str = "[spool]\nbudget_secs = 2\nrecord_by_secs = 5\nretry_secs = [1]\nunknown_wait_secs = 1\n";

const MAIL: &str = "From: ana@example.com\r\nTo: b@ok.test\r\nSubject: The offer\r\nMessage-ID: <1@example.com>\r\n\
    Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nhello\r\n";

/// A runtime for the scripted upstream, which lives as long as the test.
fn upstream(script: Script) -> (Runtime, ScriptedUpstream) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = runtime.block_on(ScriptedUpstream::start(script));
    (runtime, upstream)
}

fn reports(upstream: &ScriptedUpstream) -> Vec<RecordedMail> {
    upstream.accepted().into_iter().filter(|mail| mail.mail.starts_with("MAIL FROM:<>")).collect()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(mail: &RecordedMail) -> String {
    String::from_utf8_lossy(&mail.content).into_owned()
}

/// Two accepted, one refused: 250, and a report that names the one, with upstream's words.
#[test]
fn accepted_and_refused_is_a_250_and_a_bounce() {
    let script = Script::new().answer(At::Rcpt, "nobody@", "550 5.1.1 no such user here");
    let (_runtime, upstream) = upstream(script);
    let relay = Running::start(Upstream::Smtp(upstream.addr()), QUICK);
    let answer = submit(relay.smtp, "ana@example.com", &["b@ok.test", "nobody@ok.test", "c@ok.test"], MAIL);
    assert!(answer.starts_with("250 2.0.0"), "{answer}");
    eventually("a report", || reports(&upstream).len() == 1);
    let report = &reports(&upstream)[0];
    assert_eq!(report.rcpts.len(), 1);
    assert!(report.rcpts[0].starts_with("RCPT TO:<ana@example.com>"), "{:?}", report.rcpts);
    let told = text(report);
    for words in [
        "multipart/report",
        "report-type=\"delivery-status\"",
        "Final-Recipient: rfc822; nobody@ok.test",
        "Action: failed",
        "Status: 5.1.1",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user here",
        "Auto-Submitted: auto-replied",
        "Message-ID: <1@example.com>",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    assert!(!told.contains("b@ok.test\r\nAction"), "{told}");
    assert!(!told.contains("http://track.example"), "a report of ours is never tracked");
}

/// Everybody refused alike: upstream's own words at once, nothing kept, no report.
#[test]
fn a_refusal_passes_through() {
    let script = Script::new().on(At::Rcpt, [Act::say("553 5.1.3 not like that")]);
    let (_runtime, upstream) = upstream(script);
    let relay = Running::start(Upstream::Smtp(upstream.addr()), QUICK);
    let answer = submit(relay.smtp, "ana@example.com", &["b@ok.test", "c@ok.test"], MAIL);
    assert_eq!(answer.trim_end(), "553 5.1.3 not like that");
    assert_eq!(std::fs::read_dir(relay.folder().join("data/spool")).unwrap().filter(is_record).count(), 0);
}

/// Given up after its life: a report that says so. With NOTIFY=NEVER, or from `<>`: silence.
#[test]
fn what_is_given_up_is_reported_unless_nobody_wants_to_know() {
    let script = Script::new().answer(At::Rcpt, "late", "451 4.2.0 not now");
    let (_runtime, upstream) = upstream(script);
    let relay = Running::start(Upstream::Smtp(upstream.addr()), &format!("{QUICK}life_secs = 2\n"));
    let answer = submit(relay.smtp, "ana@example.com", &["late@ok.test"], MAIL);
    assert!(answer.starts_with("250 2.0.0 OK, queued"), "{answer}");
    let never = dialogue(relay.smtp, &["MAIL FROM:<ana@example.com>", "RCPT TO:<late2@ok.test> NOTIFY=NEVER"], MAIL);
    assert!(never.starts_with("250"), "{never}");
    let null = dialogue(relay.smtp, &["MAIL FROM:<>", "RCPT TO:<late3@ok.test>"], MAIL);
    assert!(null.starts_with("250"), "{null}");
    eventually("an empty spool", || {
        std::fs::read_dir(relay.folder().join("data/spool")).unwrap().filter(is_record).count() == 0
    });
    let reports = reports(&upstream);
    assert_eq!(reports.len(), 1, "{:?}", reports.iter().map(text).collect::<Vec<_>>());
    let told = text(&reports[0]);
    assert!(told.contains("Final-Recipient: rfc822; late@ok.test") && told.contains("Status: 5.4.7"), "{told}");
}

/// NOTIFY=SUCCESS: passed on where upstream offers DSN, a `relayed` report where it does not.
#[test]
fn success_is_reported_by_whoever_can() {
    let asks = [
        "MAIL FROM:<ana@example.com> RET=HDRS ENVID=QQ314159",
        "RCPT TO:<b@ok.test> NOTIFY=SUCCESS ORCPT=rfc822;b@ok.test",
    ];
    let (_runtime, with_dsn) = upstream(Script::new());
    let relay = Running::start(Upstream::Smtp(with_dsn.addr()), QUICK);
    assert!(dialogue(relay.smtp, &asks, MAIL).starts_with("250"));
    let mail = &with_dsn.accepted()[0];
    assert!(mail.mail.contains("ENVID=QQ314159") && mail.rcpts[0].contains("NOTIFY=SUCCESS"), "{mail:?}");
    drop(relay);

    let (_runtime, without) = upstream(Script::new().keywords(&["PIPELINING", "8BITMIME", "SIZE 10000000"]));
    let relay = Running::start(Upstream::Smtp(without.addr()), QUICK);
    assert!(dialogue(relay.smtp, &asks, MAIL).starts_with("250"));
    eventually("a relayed report", || reports(&without).len() == 1);
    let told = text(&reports(&without)[0]);
    assert!(told.contains("Action: relayed") && told.contains("Original-Envelope-Id: QQ314159"), "{told}");
}

fn is_record(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "mail"))
}

//! The client goes away at the worst moment, or sends the same mail again.

use std::time::Duration;

use super::{HURRIED, drained, eventually, runtime, send, stages};
use crate::support::client::{Client, Submission, Told};
use crate::support::ledger::Ledger;
use crate::support::process::Installation;
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};

const BUDGET_8: &str = "[spool]\nbudget_secs = 8\nretry_secs = [1]\nunknown_wait_secs = 1\n";

/// A connection with a mail sent up to some place, and what the client knows by then.
fn begun(installation: &Installation, mail: &Submission) -> (Client, Told) {
    let mut client = Client::connect(installation.smtp).unwrap();
    let mut told = Told { id: mail.id.clone(), recipients: Vec::new(), dot_sent: false, reply: None };
    assert_eq!(client.open(mail, &mut told).unwrap(), None, "a 354");
    (client, told)
}

/// Before its dot nothing is a mail.
#[test]
fn a_client_that_vanishes_before_the_dot_sent_nothing() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(Script::new()));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let _process = installation.start();
    let mail = Submission::new("m1", &["b"]).with_ballast(100_000);
    let whole = mail.stuffed();
    // After the 354; in the middle; all of it; all of it and half an end of data.
    let parts: [&[u8]; 5] =
        [b"", &whole[..whole.len() / 2], &whole, &[&whole, &b"."[..]].concat(), &[&whole, &b".\r"[..]].concat()];
    for sent in parts {
        let (mut client, _) = begun(&installation, &mail);
        client.send(sent).unwrap();
        client.vanish();
    }
    let after = Submission::new("m2", &["b"]);
    assert_eq!(send(&installation, &after).code(), 250);
    assert_eq!((upstream.mails().len(), stages(&installation)), (1, vec![]));
}

/// It is gone when upstream says 354: upstream is left without the dot, for nobody would hear what became of it.
#[test]
fn a_client_that_is_gone_before_upstreams_dot_sends_again() {
    let runtime = runtime();
    let slow = Script::new().on(At::Data, [Act::Wait(Duration::from_secs(1)), Act::Default]);
    let upstream = runtime.block_on(ScriptedUpstream::start(slow));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let _process = installation.start();
    let mail = Submission::new("m1", &["b"]);
    let (mut client, _) = begun(&installation, &mail);
    client.send(&[mail.stuffed(), b".\r\n".to_vec()].concat()).unwrap();
    client.vanish();
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!((upstream.accepted().len(), stages(&installation)), (0, vec![]), "{}", installation.log());
    upstream.change(Script::new());
    assert_eq!(send(&installation, &mail).code(), 250, "{}", installation.log());
    assert_eq!(upstream.accepted().len(), 1);
}

/// Impatient clients: they leave while upstream thinks at the dot and send the same octets again, at once or later.
#[test]
fn a_mail_sent_again_arrives_once() {
    for pause_ms in [0, 3_000] {
        let runtime = runtime();
        let slow = Script::new().on_nth(At::Dot, 1, [Act::Wait(Duration::from_secs(2)), Act::Default]);
        let upstream = runtime.block_on(ScriptedUpstream::start(slow));
        let installation = Installation::new(upstream.addr(), BUDGET_8);
        let _process = installation.start();
        let mail = Submission::new("m1", &["b", "c"]);
        let (mut client, mut first) = begun(&installation, &mail);
        client.send(&[mail.stuffed(), b".\r\n".to_vec()].concat()).unwrap();
        first.dot_sent = true;
        client.patience(Duration::from_secs(1));
        assert!(client.reply().is_err(), "upstream thinks longer than the client waits");
        client.vanish();
        std::thread::sleep(Duration::from_millis(pause_ms));
        let mut ledger = Ledger::default();
        let again = send(&installation, &mail);
        assert_eq!(again.code(), 250, "{again:?}\n{}", installation.log());
        ledger.tell([first, again]);
        drained(&installation, Duration::from_secs(20));
        ledger.spool(&installation.spool());
        ledger.upstream(&upstream.mails());
        ledger.assert_kept(&installation.log());
        // The same octets to somebody else are another matter.
        let other = Submission { recipients: vec!["d.m1@ok.test".to_owned()], ..mail.clone() };
        assert_eq!(send(&installation, &other).code(), 250);
        eventually(Duration::from_secs(5), "d's copy", || {
            upstream.accepted().iter().any(|mail| mail.rcpts.iter().any(|rcpt| rcpt.contains("<d.m1@")))
        });
    }
}

/// Upstream thinks at the dot past the budget, and the disk takes no record: the client is told to send again, and when
/// it does, whoever got the mail in the end does not get it twice.
#[test]
fn a_mail_nobody_could_keep_arrives_once_all_the_same() {
    let runtime = runtime();
    let slow = Script::new().on_nth(At::Dot, 1, [Act::Wait(Duration::from_secs(6)), Act::Default]);
    let upstream = runtime.block_on(ScriptedUpstream::start(slow));
    let installation = Installation::new(upstream.addr(), "[spool]\nbudget_secs = 2\nrecord_by_secs = 30\n");
    let _process = installation.start();
    let tmp = installation.spool().join("tmp");
    std::fs::remove_dir(&tmp).unwrap();
    let mail = Submission::new("m1", &["b"]);
    let first = send(&installation, &mail);
    assert_eq!(first.code(), 451, "{first:?}\n{}", installation.log());
    let again = send(&installation, &mail);
    assert_eq!(again.code(), 250, "{again:?}\n{}", installation.log());
    assert_eq!(upstream.mails().len(), 1, "it waited for the first, which went through");
    std::fs::create_dir(&tmp).unwrap();
}

/// Answered in time, a mail sent again is a mail sent again: a person pressed the button twice.
#[test]
fn a_mail_that_was_answered_may_be_sent_again() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(Script::new()));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let _process = installation.start();
    let mail = Submission::new("m1", &["b"]);
    assert_eq!((send(&installation, &mail).code(), send(&installation, &mail).code()), (250, 250));
    assert_eq!(upstream.accepted().len(), 2);
}

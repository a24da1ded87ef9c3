//! Answers that no decent server gives, at the one place where they matter: the final dot.

use std::time::{Duration, Instant};

use waxseal::spool::Stage;

use super::{HURRIED, PATIENT, drained, runtime, send, stages};
use crate::support::client::Submission;
use crate::support::ledger::Ledger;
use crate::support::process::Installation;
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};

/// What upstream does at the dot; what the client is told, and how its recipient stands.
#[test]
fn answers_to_the_dot() {
    let say = |text: &str| vec![Act::Say(text.as_bytes().to_vec())];
    let table: Vec<(Vec<Act>, u16, &[Stage])> = vec![
        // No reply at all, or one out of place: neither a success nor a refusal.
        (say("banana\r\n"), 250, &[Stage::Unknown]),
        (say("354 more, please\r\n"), 250, &[Stage::Unknown]),
        (say("2500 what\r\n"), 250, &[Stage::Unknown]),
        (vec![Act::Say(b"25".to_vec()), Act::Close], 250, &[Stage::Unknown]),
        (vec![Act::Reset], 250, &[Stage::Unknown]),
        // A yes is a yes, whatever follows it.
        (say("250 2.0.0 ok\r\n421 4.3.2 going down\r\n"), 250, &[]),
        (say("250-2.0.0 ok\r\n250 really\r\n"), 250, &[]),
        // Our own troubles stay ours.
        (say("503 5.5.1 bad sequence\r\n"), 250, &[Stage::Waiting]),
        (say("451 4.3.0 later\r\n"), 250, &[Stage::Waiting]),
        (say("552 5.3.4 too big\r\n"), 552, &[]),
    ];
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(Script::new()));
    let installation = Installation::new(upstream.addr(), PATIENT);
    for (acts, code, expected) in table {
        upstream.change(Script::new().on(At::Dot, acts.clone()));
        let process = installation.start();
        let told = send(&installation, &Submission::new("m1", &["b"]));
        assert_eq!(
            (told.code(), stages(&installation).as_slice()),
            (code, expected),
            "{acts:?}\n{}",
            installation.log()
        );
        process.kill();
        installation.forget_the_spool();
    }
}

/// Upstream says 250 and is gone before we may have read it: accepted or in doubt, never lost, at most one copy more.
#[test]
fn a_250_and_a_reset() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(Script::new()));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let _process = installation.start();
    upstream.change(Script::new().on(At::Dot, [Act::Default, Act::Reset]));
    let mut ledger = Ledger::default();
    for n in 0..20 {
        ledger.tell([send(&installation, &Submission::new(&format!("m{n}"), &["b"]))]);
        ledger.cut(&installation.spool());
    }
    upstream.change(Script::new());
    drained(&installation, Duration::from_secs(30));
    ledger.spool(&installation.spool());
    ledger.upstream(&upstream.mails());
    ledger.assert_kept(&installation.log());
    assert_eq!(ledger.answers(250), 20, "{}", ledger.summary());
}

/// Upstream stops reading in the middle of the content, or never says 354: we leave before the dot and promise it ourselves.
#[test]
fn upstream_hangs_before_the_dot() {
    let runtime = runtime();
    for at in [At::Greeting, At::Mail, At::Data, At::Content] {
        let upstream = runtime.block_on(ScriptedUpstream::start(Script::new().on_nth(at, 1, [Act::Hang])));
        let installation = Installation::new(upstream.addr(), HURRIED);
        let process = installation.start();
        let begun = Instant::now();
        // More than the buffers of both kernels hold.
        let told = send(&installation, &Submission::new("m1", &["b"]).with_ballast(8_000_000));
        assert_eq!(told.code(), 250, "{at:?}: {told:?}\n{}", installation.log());
        assert!(begun.elapsed() < Duration::from_secs(10), "{at:?}: {:?}", begun.elapsed());
        assert_ne!(stages(&installation), [Stage::InFlight], "{at:?}");
        drained(&installation, Duration::from_secs(30));
        assert_eq!(upstream.accepted().len(), 1, "{at:?}");
        process.kill();
    }
}

/// Killed with a dot unanswered: after the restart it is in doubt, waits its time, and goes out once more.
#[test]
fn killed_while_upstream_thinks() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(Script::new().on_nth(At::Dot, 1, [Act::Hang])));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let process = installation.start();
    let mut ledger = Ledger::default();
    ledger.tell([send(&installation, &Submission::new("m1", &["b"]))]);
    assert_eq!(stages(&installation), [Stage::InFlight], "{}", installation.log());
    process.kill();
    ledger.killed(&installation.spool());
    let _process = installation.start();
    drained(&installation, Duration::from_secs(20));
    ledger.spool(&installation.spool());
    ledger.upstream(&upstream.mails());
    ledger.assert_kept(&installation.log());
    assert_eq!(upstream.accepted().len(), 1);
}

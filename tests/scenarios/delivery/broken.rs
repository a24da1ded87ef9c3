//! Upstream stalls, hangs up, resets or floods at every point: before the dot nothing is delivered and nobody waits for
//! ever, after it the fate is unknown.

use std::time::{Duration, Instant as Clock};

use tokio::time::Instant;
use waxseal::deliver::Deadlines;

use super::{SHORT, client, deliver, mail, patient, said};
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};

const STAGES: [(At, &str); 8] = [
    (At::Greeting, "greeting"),
    (At::Ehlo, "ehlo"),
    (At::Mail, "mail"),
    (At::Rcpt, "rcpt"),
    (At::Data, "data"),
    (At::Content, "dot"),
    (At::Dot, "dot"),
    (At::Dot, "dot"),
];

#[tokio::test]
async fn upstream_hangs_up_anywhere() {
    for (at, stage) in STAGES {
        for act in [Act::Close, Act::Reset] {
            for pipelining in [true, false] {
                let script = if pipelining { Script::new() } else { Script::new().keywords(&[]) };
                let server = ScriptedUpstream::start(script.on(at, [act.clone()])).await;
                let fates = deliver(&client(&server, patient()), mail(&["b@y.test"])).await;
                let shown = format!("{act:?} at {at:?}, pipelining {pipelining}: {fates:?}");
                if at == At::Dot {
                    assert!(fates[0].starts_with("unknown: perhaps delivered: connection lost"), "{shown}");
                } else if at == At::Content {
                    // The small mail and its dot may have left before the end was seen.
                    assert!(fates[0].starts_with("unknown: ") || fates[0].starts_with("deferred: "), "{shown}");
                } else {
                    assert!(fates[0].starts_with("deferred: connection lost"), "{shown}");
                    assert!(fates[0].ends_with(stage) || act_may_be_early(&act), "{shown}");
                }
                assert!(server.accepted().is_empty(), "{shown}");
            }
        }
    }
}

/// A reset throws away answers that were on their way, so it may be seen a stage sooner.
fn act_may_be_early(act: &Act) -> bool {
    matches!(act, Act::Reset)
}

#[tokio::test]
async fn upstream_says_nothing() {
    let mut options = patient();
    options.greeting = SHORT;
    options.command = SHORT;
    options.data_init = SHORT;
    options.dot = SHORT;
    for (at, expected) in [
        (At::Greeting, "deferred: no answer in time at greeting"),
        (At::Ehlo, "deferred: no answer in time at ehlo"),
        (At::Mail, "deferred: no answer in time at mail"),
        (At::Rcpt, "deferred: no answer in time at rcpt"),
        (At::Data, "deferred: no answer in time at data"),
        (At::Dot, "unknown: perhaps delivered: no answer in time after the final dot"),
    ] {
        let server = ScriptedUpstream::start(Script::new().on(at, [Act::Hang])).await;
        let begun = Clock::now();
        assert_eq!(deliver(&client(&server, options.clone()), mail(&["b@y.test"])).await, [expected]);
        assert!(begun.elapsed() < Duration::from_secs(20), "{at:?} took {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn the_callers_deadline_ends_every_wait() {
    for (at, expected) in [
        (At::Greeting, "deferred: no answer in time at greeting"),
        (At::Rcpt, "deferred: no answer in time at rcpt"),
        (At::Dot, "unknown: perhaps delivered: no answer in time after the final dot"),
    ] {
        let server = ScriptedUpstream::start(Script::new().on(at, [Act::Hang])).await;
        let until = Instant::now() + SHORT;
        let deadlines = Deadlines { dot_sent_by: until, dot_answered_by: until };
        let fates = client(&server, patient()).deliver(mail(&["b@y.test"]), deadlines).await.unwrap();
        assert_eq!(said(&fates), [expected]);
    }
}

#[tokio::test]
async fn a_slow_answer_in_time_counts() {
    let drip = Act::Drip(b"250 2.0.0 queued slowly\r\n".to_vec(), Duration::from_millis(2));
    let server = ScriptedUpstream::start(Script::new().on(At::Dot, [Act::Wait(SHORT), drip])).await;
    let fates = deliver(&client(&server, patient()), mail(&["b@y.test"])).await;
    assert_eq!(fates, ["accepted: 250 2.0.0 queued slowly"]);
}

#[tokio::test]
async fn a_250_and_then_a_reset() {
    let server = ScriptedUpstream::start(Script::new().on(At::Dot, [Act::Default, Act::Reset])).await;
    let fates = deliver(&client(&server, patient()), mail(&["b@y.test"])).await;
    // The reset may or may not overtake the answer; never is it a refusal or a plain deferral.
    assert!(fates[0].starts_with("accepted: 250") || fates[0].starts_with("unknown: "), "{fates:?}");
}

#[tokio::test]
async fn replies_without_end() {
    let endless = |text: &[u8], times: usize| Act::Say(text.repeat(times));
    let table = [
        (endless(b"2", 10_000_000), "a reply line without end"),
        (endless(b"250-x\r\n", 1_000_000), "a reply without end"),
        (endless(b"250 x\r\n", 1_000_000), "a reply that nobody asked for"),
        (Act::Say(b"250-never\r\n250-ending\r\n".to_vec()), "connection lost (closed)"),
    ];
    for (act, expected) in table {
        let server = ScriptedUpstream::start(Script::new().on(At::Ehlo, [act, Act::Close])).await;
        let fates = deliver(&client(&server, patient()), mail(&["b@y.test"])).await;
        assert!(fates[0].contains(expected), "{expected}: {fates:?}");
        assert!(server.mails().is_empty());
    }
}

#[tokio::test]
async fn odd_but_sound_replies() {
    let script = Script::new()
        .on(At::Greeting, [Act::Say(b"220-upstream.test\r\n220-has\r\n220 much to say\r\n".to_vec())])
        .on(At::Data, [Act::Say(b"354\r\n".to_vec())])
        .on(At::Dot, [Act::Say(b"250 2.0.0 gr\xfc\xdfe\x07\r\n".to_vec())]);
    let server = ScriptedUpstream::start(script).await;
    let fates = deliver(&client(&server, patient()), mail(&["b@y.test"])).await;
    assert_eq!(fates, ["accepted: 250 2.0.0 gr??e"]);
}

#[tokio::test]
async fn nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dial = waxseal::deliver::TcpDial::new("localhost", free, super::LONG);
    let upstream = waxseal::deliver::Upstream::new(dial, waxseal::deliver::Security::None, None, patient());
    let fates = deliver(&upstream, mail(&["b@y.test"])).await;
    assert!(fates[0].starts_with("deferred: connection lost") && fates[0].ends_with("at connect"), "{fates:?}");
}

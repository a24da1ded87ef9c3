//! Connections are kept, bounded, checked before they are trusted, and closed in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use waxseal::deliver::Deadlines;

use super::{LONG, SHORT, client, deliver, mail, patient, said};
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};

const QUEUED: [&str; 1] = ["accepted: 250 2.0.0 queued as Q1"];

async fn until(mut true_at_last: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !true_at_last() {
        assert!(begun.elapsed() < LONG, "never came true");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_connection_carries_many_mails_and_no_more_than_it_may() {
    let mut options = patient();
    options.mails_per_connection_max = 3;
    let server = ScriptedUpstream::start(Script::new()).await;
    let upstream = client(&server, options);
    for i in 0..7 {
        assert_eq!(deliver(&upstream, mail(&[&format!("r{i}@y.test")])).await, QUEUED);
    }
    let by_connection: Vec<usize> = server.accepted().iter().map(|m| m.connection).collect();
    assert_eq!(by_connection, [1, 1, 1, 2, 2, 2, 3]);
    // retired with a goodbye, and no RSET between mails that ended well
    until(|| server.open_connections() == 1).await;
    assert_eq!(server.commands().iter().filter(|c| *c == "QUIT").count(), 2);
    assert!(!server.commands().contains(&"RSET".to_owned()));
}

#[tokio::test]
async fn nothing_of_one_mail_reaches_the_next() {
    let script =
        Script::new().on_nth(At::Rcpt, 1, [Act::say("550 5.1.1 no")]).on_nth(At::Data, 2, [Act::say("451 later")]);
    let server = ScriptedUpstream::start(script).await;
    let upstream = client(&server, patient());
    deliver(&upstream, mail(&["refused@y.test"])).await;
    deliver(&upstream, mail(&["deferred@y.test"])).await;
    assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, QUEUED);
    assert_eq!(server.connections(), 1);
    let mails = server.mails();
    assert_eq!((mails.len(), mails[0].rcpts.as_slice()), (1, ["RCPT TO:<b@y.test>".to_owned()].as_slice()));
    assert_eq!(server.commands().iter().filter(|c| *c == "RSET").count(), 2);
}

#[tokio::test]
async fn a_connection_that_died_at_rest_costs_nothing() {
    // closed, reset, or told us so, before we look
    for acts in [
        vec![Act::Default, Act::Close],
        vec![Act::Default, Act::Wait(SHORT / 3), Act::Reset],
        vec![Act::Default, Act::Wait(SHORT / 3), Act::say("421 4.4.2 idle too long"), Act::Close],
        // out of step: taken for the answer to MAIL this would shift every answer by one
        vec![Act::Default, Act::Wait(SHORT / 3), Act::say("250 2.0.0 surprise")],
    ] {
        let server = ScriptedUpstream::start(Script::new().on_nth(At::Dot, 1, acts)).await;
        let upstream = client(&server, patient());
        assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, QUEUED);
        sleep(SHORT).await;
        assert_eq!(deliver(&upstream, mail(&["c@y.test"])).await, QUEUED);
        assert_eq!((server.connections(), server.accepted().len()), (2, 2));
    }
}

#[tokio::test]
async fn a_connection_that_dies_as_we_begin_costs_nothing() {
    // upstream reads MAIL and closes, resets or says 421: nothing has happened yet
    for acts in [vec![Act::Close], vec![Act::Reset], vec![Act::say("421 4.4.2 idle too long"), Act::Close]] {
        let server = ScriptedUpstream::start(Script::new().on_nth(At::Mail, 2, acts)).await;
        let upstream = client(&server, patient());
        assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, QUEUED);
        assert_eq!(deliver(&upstream, mail(&["c@y.test"])).await, QUEUED);
        assert_eq!((server.connections(), server.accepted().len()), (2, 2));
    }
}

#[tokio::test]
async fn after_the_dot_nothing_is_tried_twice() {
    let server = ScriptedUpstream::start(Script::new().on_nth(At::Dot, 2, [Act::Close])).await;
    let upstream = client(&server, patient());
    assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, QUEUED);
    let fates = deliver(&upstream, mail(&["c@y.test"])).await;
    assert_eq!(fates, ["unknown: perhaps delivered: connection lost (closed) after the final dot"]);
    assert_eq!((server.connections(), server.mails().len()), (1, 2));
}

#[tokio::test]
async fn a_421_at_the_dot_ends_the_connection() {
    // even where upstream forgets to hang up
    let server = ScriptedUpstream::start(Script::new().on_nth(At::Dot, 1, [Act::say("421 4.3.2 closing")])).await;
    let upstream = client(&server, patient());
    assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, ["deferred: 421 4.3.2 closing at dot"]);
    assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, QUEUED);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_new_connection_that_fails_is_not_tried_again() {
    let server = ScriptedUpstream::start(Script::new().on(At::Mail, [Act::Close])).await;
    let fates = deliver(&client(&server, patient()), mail(&["b@y.test"])).await;
    assert!(fates[0].starts_with("deferred: connection lost"), "{fates:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn connections_at_rest_are_closed_in_time() {
    let mut options = patient();
    options.idle = SHORT;
    let server = ScriptedUpstream::start(Script::new()).await;
    let upstream = client(&server, options);
    assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, QUEUED);
    assert_eq!(server.open_connections(), 1);
    until(|| server.open_connections() == 0).await;
    assert_eq!(server.commands().last().map(String::as_str), Some("QUIT"));
    // and again, with a sweep begun anew
    assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, QUEUED);
    until(|| server.open_connections() == 0).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn no_more_connections_than_allowed() {
    let mut options = patient();
    options.connections_max = 3;
    let server = ScriptedUpstream::start(Script::new().on(At::Dot, [Act::Wait(SHORT / 10), Act::Default])).await;
    let upstream = Arc::new(client(&server, options));
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..20 {
        let upstream = upstream.clone();
        tasks.spawn(async move { deliver(&upstream, mail(&[&format!("r{i}@y.test")])).await });
    }
    while let Some(fates) = tasks.join_next().await {
        assert_eq!(fates.unwrap(), QUEUED);
    }
    assert_eq!((server.connections(), server.accepted().len()), (3, 20));
}

#[tokio::test]
async fn waiting_for_a_connection_ends_at_the_deadline() {
    let mut options = patient();
    options.connections_max = 1;
    let server = ScriptedUpstream::start(Script::new().on(At::Dot, [Act::Wait(4 * SHORT), Act::Default])).await;
    let upstream = Arc::new(client(&server, options));
    let first = {
        let upstream = upstream.clone();
        tokio::spawn(async move { deliver(&upstream, mail(&["b@y.test"])).await })
    };
    until(|| !server.mails().is_empty()).await;
    let soon = Deadlines { dot_sent_by: Instant::now() + SHORT, dot_answered_by: Instant::now() + LONG };
    let fates = upstream.deliver(mail(&["c@y.test"]), soon).await.unwrap();
    assert_eq!(said(&fates), ["deferred: all connections busy at connect"]);
    assert!(!fates[0].is_our_trouble());
    assert_eq!(first.await.unwrap(), QUEUED);
}

#[tokio::test]
async fn a_delivery_given_up_gives_its_connection_up() {
    let mut options = patient();
    options.connections_max = 1;
    let server = ScriptedUpstream::start(Script::new().on_nth(At::Rcpt, 1, [Act::Hang])).await;
    let upstream = client(&server, options);
    let given_up = tokio::time::timeout(SHORT, upstream.deliver(mail(&["b@y.test"]), super::ample())).await;
    assert!(given_up.is_err());
    assert_eq!(deliver(&upstream, mail(&["c@y.test"])).await, QUEUED);
    assert_eq!(server.accepted().len(), 1);
}

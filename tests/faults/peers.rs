//! A real SMTP server fails at every place: Postfix's smtp-sink, told where. Whatever the client was promised arrives once
//! the server is well again.

use std::time::{Duration, Instant};

use waxseal::spool::Stage;

use super::{HURRIED, PATIENT, drained, eventually, send, stages};
use crate::support::client::{Client, Submission};
use crate::support::process::Installation;
use crate::support::smtp_sink::SinkPlace;

/// What the client is told, and how its recipient stands afterwards.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// 250, and nothing is in the spool.
    Accepted,
    /// 250, and it waits.
    Waits,
    /// 250, and it waits as perhaps delivered.
    Unknown,
    /// This code, and nothing is in the spool.
    Refused(u16),
}

use Outcome::{Accepted, Refused, Unknown, Waits};

const NO: [&str; 2] = ["-B", "550 5.7.1 we do not want this"];

/// Faults of the sink, what comes of one mail.
const TABLE: &[(&[&str], Outcome)] = &[
    // It hangs up: before the dot nothing has happened, after it nobody knows.
    (&["-q", "MAIL"], Waits),
    (&["-q", "RCPT"], Waits),
    (&["-q", "DATA"], Waits),
    (&["-q", "."], Unknown),
    // It says 421 and hangs up: that is an answer, at the dot too.
    (&["-Q", "MAIL"], Waits),
    (&["-Q", "RCPT"], Waits),
    (&["-Q", "DATA"], Waits),
    (&["-Q", "."], Waits),
    // 4yz
    (&["-r", "EHLO,HELO"], Waits),
    (&["-r", "MAIL"], Waits),
    (&["-r", "RCPT"], Waits),
    (&["-r", "DATA"], Waits),
    (&["-r", "."], Waits),
    // 5yz about the mail passes through to the client
    (&["-f", "MAIL", NO[0], NO[1]], Refused(550)),
    (&["-f", "RCPT", NO[0], NO[1]], Refused(550)),
    (&["-f", "DATA", NO[0], NO[1]], Refused(550)),
    (&["-f", ".", NO[0], NO[1]], Refused(550)),
    // 5yz about us does not: before MAIL, and a protocol error (the sink's own words are 500)
    (&["-f", "EHLO,HELO", NO[0], NO[1]], Waits),
    (&["-f", "MAIL"], Waits),
    (&["-f", "RCPT"], Waits),
    (&["-f", "."], Waits),
    // what it does not offer is not needed
    (&["-8"], Accepted),
    (&["-E"], Accepted),
    (&["-N"], Accepted),
    (&["-p"], Accepted),
    (&["-e"], Accepted),
    // slow, but in time
    (&["-w", "1"], Accepted),
];

#[test]
#[ignore = "needs Postfix's smtp-sink"]
fn every_fault_of_upstream_is_survived() {
    let mut wrong = Vec::new();
    for (faults, expected) in TABLE {
        let place = SinkPlace::new();
        let sink = place.start(faults);
        let installation = Installation::new(place.addr, PATIENT);
        let process = installation.start();
        let begun = Instant::now();
        let told = send(&installation, &Submission::new("m1", &["b"]));
        let outcome = match (told.code(), stages(&installation).as_slice()) {
            (250, []) => Some(Accepted),
            (250, [Stage::Waiting]) => Some(Waits),
            (250, [Stage::Unknown]) => Some(Unknown),
            (code, []) => Some(Refused(code)),
            _ => None,
        };
        if outcome.as_ref() != Some(expected) || begun.elapsed() > Duration::from_secs(5) {
            wrong.push(format!("{faults:?}: {told:?} {:?} after {:?}", stages(&installation), begun.elapsed()));
        }
        drop(sink);
        process.kill();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Nothing is lost over each of these: the server is well again, and the mail arrives.
#[test]
#[ignore = "needs Postfix's smtp-sink"]
fn what_was_queued_arrives_when_upstream_is_well() {
    // The sink keeps what it was sent whatever it answered: at the dot, one more than was accepted.
    let rows: [(&[&str], usize); 4] =
        [(&["-r", "RCPT"], 1), (&["-q", "DATA"], 1), (&["-r", "."], 2), (&["-q", "."], 2)];
    for (faults, copies) in rows {
        let place = SinkPlace::new();
        let sick = place.start(faults);
        let installation = Installation::new(place.addr, HURRIED);
        let _process = installation.start();
        let mail = Submission::new("m1", &["b"]);
        assert_eq!(send(&installation, &mail).code(), 250, "{faults:?}");
        drop(sick);
        let _well = place.start(&[]);
        drained(&installation, Duration::from_secs(20));
        assert_eq!(place.copies_for(&mail.recipients[0]), copies, "{faults:?}");
    }
}

/// The answer to the dot comes after the budget: 250 from the spool in time, the connection is listened to all the same,
/// and its answer ends the record: one copy.
#[test]
#[ignore = "needs Postfix's smtp-sink"]
fn a_slow_dot_is_waited_for_without_the_client() {
    let place = SinkPlace::new();
    let _sink = place.start(&["-W", ".:5"]);
    let installation = Installation::new(place.addr, HURRIED);
    let process = installation.start();
    let mail = Submission::new("m1", &["b"]);
    let begun = Instant::now();
    let told = send(&installation, &mail);
    assert_eq!(told.code(), 250, "{told:?}\n{}", installation.log());
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(stages(&installation), [Stage::InFlight]);
    let before = process.cpu();
    drained(&installation, Duration::from_secs(10));
    // Waiting costs nothing: nobody asks the disk again and again how it stands.
    let busy = process.cpu() - before;
    assert!(busy < Duration::from_millis(500), "waiting for an answer took {busy:?} of the processor");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(place.copies_for(&mail.recipients[0]), 1);
}

/// A connection that upstream closed while it was idle costs the next mail nothing.
#[test]
#[ignore = "needs Postfix's smtp-sink"]
fn an_idle_connection_that_upstream_closed_is_replaced() {
    let place = SinkPlace::new();
    let _sink = place.start(&["-t", "1"]);
    let installation = Installation::new(place.addr, PATIENT);
    let _process = installation.start();
    for id in ["m1", "m2", "m3"] {
        let mail = Submission::new(id, &["b"]);
        let told = send(&installation, &mail);
        assert_eq!(told.code(), 250, "{told:?}");
        assert_eq!((stages(&installation), place.copies_for(&mail.recipients[0])), (vec![], 1), "{id}");
        std::thread::sleep(Duration::from_millis(1_500));
    }
}

/// Upstream accepts connections and says nothing (a machine that hangs): the client hears in time; nothing goes twice.
#[test]
#[ignore = "needs Postfix's smtp-sink"]
fn a_frozen_upstream_keeps_no_client_waiting() {
    let place = SinkPlace::new();
    let sink = place.start(&[]);
    let installation = Installation::new(place.addr, HURRIED);
    let _process = installation.start();
    let warm = Submission::new("m0", &["b"]);
    assert_eq!(send(&installation, &warm).code(), 250);
    sink.freeze();
    let mails: Vec<Submission> = (1..=5).map(|n| Submission::new(&format!("m{n}"), &["b"])).collect();
    for mail in &mails {
        let begun = Instant::now();
        let told = send(&installation, mail);
        assert_eq!(told.code(), 250, "{told:?}\n{}", installation.log());
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
    sink.thaw();
    drained(&installation, Duration::from_secs(90));
    for mail in mails.iter().chain([&warm]) {
        eventually(Duration::from_secs(5), "the copy", || place.copies_for(&mail.recipients[0]) >= 1);
        assert_eq!(place.copies_for(&mail.recipients[0]), 1);
    }
}

/// Upstream takes a large mail in drops: called back before its dot, so nothing is in doubt and the spool has it.
#[test]
#[ignore = "needs Postfix's smtp-sink"]
fn an_upstream_that_stops_reading_is_left_before_the_dot() {
    let place = SinkPlace::new();
    let sink = place.start(&["-H", "60", "-T", "4096"]);
    let installation = Installation::new(place.addr, PATIENT);
    let _process = installation.start();
    let mail = Submission::new("m1", &["b"]).with_ballast(10_000_000);
    let begun = Instant::now();
    let mut client = Client::connect(installation.smtp).unwrap();
    let told = client.submit(&mail);
    assert_eq!(told.code(), 250, "{told:?}\n{}", installation.log());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(stages(&installation), [Stage::Waiting], "{}", installation.log());
    drop(sink);
}

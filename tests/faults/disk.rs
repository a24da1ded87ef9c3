//! The disk fails, hangs, or is full.

use std::time::{Duration, Instant};

use super::{HURRIED, PATIENT, drained, eventually, runtime, send, stages};
use crate::support::client::Submission;
use crate::support::disk::SmallDisk;
use crate::support::ledger::read_spool;
use crate::support::process::{Installation, PUBLIC_URL};
use crate::support::unsplice::pixels;
use crate::support::upstream::{Act, At, RecordedMail, Script, ScriptedUpstream};
use waxseal::spool::Stage;

fn deferring() -> Script {
    Script::new().answer(At::Rcpt, "<later.", "450 4.2.0 not now")
}

fn is_tracked(mail: &RecordedMail) -> bool {
    !pixels(&mail.content, PUBLIC_URL).is_empty()
}

/// What would be promised cannot be written: 451, nothing left behind, and the failed fsync is not tried again (the kernel
/// has already dropped what it could not write). Meanwhile a healthy upstream takes mail as it came.
#[test]
#[ignore = "needs strace"]
fn an_fsync_that_fails_promises_nothing() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(deferring()));
    let installation = Installation::new(upstream.addr(), PATIENT);
    let process = installation.start();
    let inject = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"];
    let tracer = process.trace(installation.path("strace"), &inject);
    let told = send(&installation, &Submission::new("m1", &["later"]));
    assert_eq!(told.code(), 451, "{told:?}\n{}", installation.log());
    assert!(read_spool(&installation.spool()).0.is_empty());
    let told = send(&installation, &Submission::new("m2", &["b"]));
    assert_eq!(told.code(), 250, "{told:?}\n{}", installation.log());
    let mails = upstream.accepted();
    assert!(mails.len() == 1 && !is_tracked(&mails[0]), "as it came, for its record is not durable");
    let spool_syncs: Vec<String> = tracer.lines().into_iter().filter(|line| line.contains("/spool/tmp/")).collect();
    assert_eq!(spool_syncs.len(), 1, "{spool_syncs:#?}");
    drop(tracer);
    // The disk is well again: so is everything else.
    let told = send(&installation, &Submission::new("m3", &["later"]));
    assert_eq!(told.code(), 250, "{told:?}\n{}", installation.log());
    assert_eq!(stages(&installation), [Stage::Waiting]);
    let told = send(&installation, &Submission::new("m4", &["b"]));
    assert_eq!(told.code(), 250, "{told:?}\n{}", installation.log());
    assert!(upstream.accepted().iter().all(|mail| !String::from_utf8_lossy(&mail.content).contains("later.m1")));
    assert!(process.terminate().success());
}

/// The disk fails while an answer to the dot is awaited: what upstream said is written when the disk can, not forgotten.
#[test]
#[ignore = "needs strace"]
fn an_outcome_waits_for_the_disk() {
    let runtime = runtime();
    let slow = Script::new().on_nth(At::Dot, 1, [Act::Wait(Duration::from_secs(4)), Act::Default]);
    let upstream = runtime.block_on(ScriptedUpstream::start(slow));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let process = installation.start();
    let told = send(&installation, &Submission::new("m1", &["b"]));
    assert_eq!((told.code(), stages(&installation)), (250, vec![Stage::InFlight]), "{}", installation.log());
    let inject = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"];
    let tracer = process.trace(installation.path("strace"), &inject);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((upstream.accepted().len(), stages(&installation)), (1, vec![Stage::InFlight]));
    drop(tracer);
    drained(&installation, Duration::from_secs(15));
    assert_eq!(upstream.accepted().len(), 1);
    assert!(process.terminate().success());
}

/// Every fsync takes three seconds: the client hears in time, the mail leaves as it came (its record took more than two).
#[test]
#[ignore = "needs strace"]
fn a_slow_disk_delays_nobody_beyond_the_record() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(deferring()));
    let installation = Installation::new(upstream.addr(), "[spool]\nbudget_secs = 10\nretry_secs = [1]\n");
    let process = installation.start();
    let inject = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=3000000"];
    let tracer = process.trace(installation.path("strace"), &inject);
    let begun = Instant::now();
    let told = send(&installation, &Submission::new("m1", &["b"]));
    let took = begun.elapsed();
    assert_eq!(told.code(), 250, "{told:?}\n{}", installation.log());
    assert!(took < Duration::from_secs(6), "{took:?}");
    let mails = upstream.accepted();
    assert!(mails.len() == 1 && !is_tracked(&mails[0]), "as it came, for its record was not durable in time");
    // A promise is made when the disk has it, however long that takes, while there is time.
    let begun = Instant::now();
    let told = send(&installation, &Submission::new("m2", &["later"]));
    assert_eq!(told.code(), 250, "{told:?}\n{}", installation.log());
    assert!(begun.elapsed() > Duration::from_secs(3) && begun.elapsed() < Duration::from_secs(20));
    drop(tracer);
    // What the queue sends keeps to it: history had nothing of m2 when it was promised.
    upstream.change(Script::new());
    drained(&installation, Duration::from_secs(20));
    let mails = upstream.accepted();
    assert!(mails.len() == 2 && !is_tracked(&mails[1]), "as it came, for its record was not durable in time");
    drop(process);
}

/// The record is not on disk by its deadline: 451; the client sends again, and there is one delivery.
#[test]
#[ignore = "needs strace"]
fn a_disk_that_is_too_slow_leaves_the_mail_to_its_client() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(deferring()));
    let more = "[spool]\nbudget_secs = 1\nrecord_by_secs = 3\nretry_secs = [1]\n";
    let installation = Installation::new(upstream.addr(), more);
    let process = installation.start();
    let inject = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=6000000"];
    let tracer = process.trace(installation.path("strace"), &inject);
    let mail = Submission::new("m1", &["later"]);
    let begun = Instant::now();
    let told = send(&installation, &mail);
    assert_eq!(told.code(), 451, "{told:?}\n{}", installation.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(tracer);
    upstream.change(Script::new());
    let told = send(&installation, &mail);
    assert_eq!(told.code(), 250, "{told:?}\n{}", installation.log());
    drained(&installation, Duration::from_secs(30));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(upstream.accepted().len(), 1, "what was answered 451 was delivered by the queue all the same");
    process.kill();
    let process = installation.start();
    drained(&installation, Duration::from_secs(10));
    assert_eq!(upstream.accepted().len(), 1, "a restart brought back what was answered 451");
    drop(process);
}

/// A full spool refuses with its own words only what needs it; a healthy upstream takes the rest.
#[test]
#[ignore = "needs root (mount)"]
fn a_full_spool_refuses_only_what_needs_it() {
    for (options, full_of_files) in [("size=256k", false), ("size=1m,nr_inodes=20", true)] {
        let runtime = runtime();
        let upstream = runtime.block_on(ScriptedUpstream::start(deferring()));
        let installation = Installation::new(upstream.addr(), HURRIED);
        let disk = SmallDisk::mount(&installation.spool(), options);
        let process = installation.start();
        if full_of_files {
            disk.fill_inodes()
        } else {
            disk.fill(0)
        }
        let told = send(&installation, &Submission::new("m1", &["later"]));
        let reply = told.reply.clone().unwrap();
        assert_eq!(
            (reply.code, reply.text.split(' ').next()),
            (452, Some("4.3.1")),
            "{options}\n{}",
            installation.log()
        );
        let told = send(&installation, &Submission::new("m2", &["b"]));
        assert_eq!(told.code(), 250, "{options}: {told:?}\n{}", installation.log());
        // Accepted for one and no room for the other: 452, and when the client sends again only the other gets it.
        let mail = Submission::new("m3", &["b", "later"]);
        assert_eq!(send(&installation, &mail).code(), 452, "{options}");
        disk.empty();
        upstream.change(Script::new());
        assert_eq!(send(&installation, &mail).code(), 250, "{options}");
        drained(&installation, Duration::from_secs(10));
        let got =
            |who: &str| upstream.accepted().iter().flat_map(|m| m.rcpts.clone()).filter(|r| r.contains(who)).count();
        let counts = ["<later.m1", "<b.m2", "<b.m3", "<later.m3"].map(got);
        assert_eq!(counts, [0, 1, 1, 1], "{options}");
        drop(process);
        drop(disk);
    }
}

/// The whole data folder is full: nothing can be recorded, and mail goes through all the same.
#[test]
#[ignore = "needs root (mount)"]
fn a_full_disk_never_stops_a_healthy_upstream() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(deferring()));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let disk = SmallDisk::mount(&installation.data(), "size=96m,mode=700");
    let process = installation.start();
    assert_eq!(send(&installation, &Submission::new("m0", &["b"])).code(), 250, "{}", installation.log());
    assert!(is_tracked(&upstream.accepted()[0]));
    disk.fill(0);
    for n in 1..=5 {
        let told = send(&installation, &Submission::new(&format!("m{n}"), &["b"]));
        assert_eq!(told.code(), 250, "{told:?}\n{}", installation.log());
    }
    assert_eq!(send(&installation, &Submission::new("m6", &["later"])).code(), 452, "{}", installation.log());
    let mails = upstream.accepted();
    assert_eq!(mails.len(), 6);
    assert!(!is_tracked(&mails[5]), "as it came, for its record is not durable");
    disk.empty();
    let mut n = 6;
    eventually(Duration::from_secs(15), "room is noticed", || {
        n += 1;
        assert_eq!(
            send(&installation, &Submission::new(&format!("m{n}"), &["b"])).code(),
            250,
            "{}",
            installation.log()
        );
        std::thread::sleep(Duration::from_millis(200));
        upstream.accepted().last().is_some_and(is_tracked)
    });
    assert!(process.terminate().success());
    drop(disk);
}

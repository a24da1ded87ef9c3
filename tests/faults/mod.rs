//! Nothing acknowledged is lost, whatever breaks: the process, the disk, upstream, the client.
//!
//! The long ones are ignored by default and bounded; `WAXSEAL_KILL_ROUNDS` raises how often the process is killed.
#![expect(clippy::disallowed_methods, reason = "the threads of these tests have no runtime to block")]

mod clients;
mod crash_points;
mod disk;
mod exim;
mod kills;
mod outage;
mod peers;
mod readers;
mod scripted;

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use waxseal::spool::{Stage, State};

use crate::support::client::{Client, Submission, Told};
use crate::support::ledger::read_spool;
use crate::support::process::Installation;

/// A spool that tries again soon and gives up never, with a short budget.
const HURRIED: &str = "[spool]\nbudget_secs = 2\nretry_secs = [1]\nunknown_wait_secs = 1\n";
/// The same, but what failed once stays where it is, to be looked at.
const PATIENT: &str = "[spool]\nbudget_secs = 2\nretry_secs = [600]\nunknown_wait_secs = 600\n";

/// For the scripted upstream, which outlives the processes that talk to it.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Waits for something that must become true.
fn eventually(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the spool holds nothing any more.
fn drained(installation: &Installation, limit: Duration) {
    let left = || {
        let (kept, unreadable) = read_spool(&installation.spool());
        assert!(unreadable.is_empty(), "{unreadable:?}");
        kept
    };
    let deadline = Instant::now() + limit;
    while !left().is_empty() {
        let states =
            || left().into_iter().map(|kept| format!("{}: {:?}", kept.record.id, kept.state)).collect::<Vec<_>>();
        assert!(Instant::now() < deadline, "left in the spool: {:#?}\n{}", states(), installation.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The stages of every recipient in the spool, for a spool of one record.
fn stages(installation: &Installation) -> Vec<Stage> {
    let (kept, unreadable) = read_spool(&installation.spool());
    assert!(unreadable.is_empty() && kept.len() <= 1, "{} records, {unreadable:?}", kept.len());
    let of = |state: State| state.recipients.iter().map(|r| r.stage).collect();
    kept.into_iter().next().map_or_else(Vec::new, |kept| of(kept.state))
}

/// Submits one mail over a connection of its own.
fn send(installation: &Installation, mail: &Submission) -> Told {
    Client::connect(installation.smtp).unwrap().submit(mail)
}

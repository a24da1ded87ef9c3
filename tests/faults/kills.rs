//! kill -9 at random moments under load, at start and in the middle of everything, over and over in the same folder.

use std::time::Duration;

use super::{HURRIED, PATIENT, drained, eventually, runtime, send};
use crate::support::client::{Client, Load, Submission};
use crate::support::ledger::{Ledger, read_spool};
use crate::support::process::Installation;
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};
use waxseal::spool::{DiskFiles, Spool, Stage};

/// Enough to hit every step of every path more than once.
const ROUNDS: usize = 200;
/// How long the load runs before the kill, at most.
const LIFE_MS_MAX: u64 = 300;
const CLIENTS: usize = 6;

#[test]
#[ignore = "needs two minutes"]
fn two_hundred_kills_under_load_break_no_promise() {
    let rounds = std::env::var("WAXSEAL_KILL_ROUNDS").map_or(ROUNDS, |n| n.parse().expect("a number of rounds"));
    let ledger = kill_over_and_over(rounds, HURRIED);
    assert!(ledger.answers(550) > 0, "{}", ledger.summary());
}

/// The same where every mail goes through the spool.
#[test]
#[ignore = "needs a minute"]
fn kills_with_the_spool_first_break_no_promise() {
    let ledger = kill_over_and_over(ROUNDS / 4, &format!("{HURRIED}copies_max = 0\n"));
    assert_eq!(ledger.answers(550), 0, "{}", ledger.summary());
}

fn kill_over_and_over(rounds: usize, spool: &str) -> Ledger {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(script(0)));
    let installation = Installation::new(upstream.addr(), spool);
    let mut ledger = Ledger::default();
    for round in 0..rounds {
        upstream.change(script(round));
        let mut process = installation.spawn();
        // Every eighth is killed while it starts, recovery included.
        if round % 8 != 7 {
            process.wait_until_ready();
        }
        let load = Load::start(installation.smtp, CLIENTS, move |client, n| submission(round, client, n));
        std::thread::sleep(Duration::from_millis(below(LIFE_MS_MAX)));
        process.kill();
        ledger.tell(load.stop());
        ledger.killed(&installation.spool());
    }
    // Upstream takes now whom it deferred in the last round.
    upstream.change(script(rounds));
    let process = installation.start();
    drained(&installation, Duration::from_secs(90));
    ledger.spool(&installation.spool());
    ledger.upstream(&upstream.mails());
    ledger.assert_kept(&installation.log());
    let dead = ledger.dead_links(installation.tracking, 1_000);
    assert!(dead.is_empty(), "{dead:#?}");
    assert!(process.terminate().success());
    println!("{rounds} kills: {}", ledger.summary());
    assert!(ledger.answers(250) > rounds && ledger.answers(0) > 0, "{}", ledger.summary());
    assert!(ledger.reports() > 0 && ledger.links() > rounds, "{}", ledger.summary());
    ledger
}

/// Killed while upstream holds a dot whose mail is in no spool: its client was told nothing, and history does not say for ever
/// that it is on its way.
#[test]
fn what_a_kill_interrupts_is_unknown_afterwards() {
    let runtime = runtime();
    let slow = Script::new().on_nth(At::Dot, 1, [Act::Wait(Duration::from_secs(60)), Act::Default]);
    let upstream = runtime.block_on(ScriptedUpstream::start(slow));
    let installation = Installation::new(upstream.addr(), "[spool]\nbudget_secs = 25\n");
    let process = installation.start();
    let smtp = installation.smtp;
    let client = std::thread::spawn(move || {
        Client::connect(smtp).map(|mut client| client.submit(&Submission::new("m1", &["b"])))
    });
    let state = || state_of_newest(&installation);
    eventually(Duration::from_secs(20), "the mail is on its way", || state().as_deref() == Some("pending"));
    process.kill();
    let told = client.join().unwrap();
    assert!(told.as_ref().is_ok_and(|told| told.code() != 250), "{told:?}");
    assert!(read_spool(&installation.spool()).0.is_empty());
    let process = installation.start();
    eventually(Duration::from_secs(20), "nobody knows", || state().as_deref() == Some("unknown"));
    assert!(process.terminate().success());
}

/// Killed between the spool's word and history's: what the spool knows is told after the start, and only then does the record
/// end.
#[test]
fn what_the_spool_knew_at_a_kill_is_told_afterwards() {
    let runtime = runtime();
    let deferring = Script::new().answer(At::Rcpt, "<later.", "450 4.2.0 not now");
    let upstream = runtime.block_on(ScriptedUpstream::start(deferring));
    let installation = Installation::new(upstream.addr(), PATIENT);
    let process = installation.start();
    let told = send(&installation, &Submission::new("m1", &["later"]));
    assert_eq!(told.code(), 250, "{told:?}");
    eventually(Duration::from_secs(20), "it waits", || state_of_newest(&installation).as_deref() == Some("deferred"));
    process.kill();
    let (kept, _) = read_spool(&installation.spool());
    let [kept] = &kept[..] else { panic!("{} records", kept.len()) };
    let mut state = kept.state.clone();
    for recipient in &mut state.recipients {
        (recipient.stage, recipient.last_reply) = (Stage::Delivered, "2.0.0 taken after all".to_owned());
    }
    let spool = Spool::open(&installation.spool(), std::sync::Arc::new(DiskFiles)).unwrap();
    spool.set_state(kept.record.id, &state).unwrap();
    drop(spool);
    let process = installation.start();
    eventually(Duration::from_secs(20), "history knows", || {
        state_of_newest(&installation).as_deref() == Some("accepted")
    });
    drained(&installation, Duration::from_secs(20));
    assert!(upstream.accepted().is_empty(), "it was not sent again");
    assert!(process.terminate().success());
}

/// How delivery of the newest mail stands, as history has it.
fn state_of_newest(installation: &Installation) -> Option<String> {
    let asked = |args: &[&str]| -> serde_json::Value { serde_json::from_str(&installation.cli(args)).unwrap() };
    let id = asked(&["message", "list", "--json"])["messages"][0]["id"].as_str()?.to_owned();
    asked(&["message", "show", &id, "--json"])["recipients"][0]["delivery"].as_str().map(str::to_owned)
}

/// Slow enough at the dot that many are unanswered at a kill; defers who is new and called `later`, refuses `refused`.
fn script(round: usize) -> Script {
    Script::new()
        .answer(At::Rcpt, &format!("<later.r{round}-"), "450 4.2.0 not now")
        .answer(At::Rcpt, "<refused.", "550 5.1.1 nobody of that name")
        .on(At::Dot, [Act::Wait(Duration::from_millis(4)), Act::Default])
}

/// Each path in turn: accepted while the client waits, queued, refused, refused in part.
fn submission(round: usize, client: usize, n: usize) -> Submission {
    const MIXES: [&[&str]; 6] =
        [&["b"], &["b", "c"], &["b", "later"], &["refused"], &["later"], &["b", "refused", "later"]];
    let mix = MIXES.get((client + n) % MIXES.len()).copied().unwrap_or(&["b"]);
    Submission::new(&format!("r{round}-{client}-{n}"), mix)
}

fn below(limit: u64) -> u64 {
    getrandom::u64().unwrap() % limit
}

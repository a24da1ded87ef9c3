//! The process dies at the Nth system call of every kind on the way of one mail that is accepted for one recipient, refused
//! for another and deferred for a third; then it starts again. strace counts the calls of each thread by itself.

use std::time::Duration;

use super::{HURRIED, drained, eventually, runtime};
use crate::support::client::{Client, Submission};
use crate::support::ledger::{Ledger, read_spool};
use crate::support::process::{Installation, Process};
use crate::support::upstream::{At, Script, ScriptedUpstream};

/// What writes, to disk and to peers.
const CALLS: [&str; 9] = ["openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "sendto", "writev"];
/// The Nth call of a thread; a kind ends early when the mail comes to its end alive.
const DEPTH: usize = 6;

#[test]
#[ignore = "needs strace and minutes"]
fn no_crash_point_breaks_a_promise() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(Script::new()));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let mut ledger = Ledger::default();
    let mut deaths = 0;
    for call in CALLS {
        for nth in 1..=DEPTH {
            let id = format!("{call}-{nth}");
            upstream.change(script("<later."));
            let mut process = installation.start();
            let died = submit_and_die(&installation, &mut process, &mut ledger, &id, call, nth, || {
                upstream.change(script("<nobody."));
            });
            drop(process);
            if died {
                deaths += 1;
                ledger.killed(&installation.spool());
            }
            upstream.change(script("<nobody."));
            let process = installation.start();
            drained(&installation, Duration::from_secs(40));
            ledger.spool(&installation.spool());
            ledger.upstream(&upstream.mails());
            ledger.assert_kept(&format!("died at {call} number {nth}\n{}", installation.log()));
            drop(process);
            if !died {
                break;
            }
        }
    }
    let process = installation.start();
    assert_eq!(ledger.dead_links(installation.tracking, usize::MAX), Vec::<String>::new());
    assert!(process.terminate().success());
    println!("{deaths} crash points: {}", ledger.summary());
    assert!(deaths >= 20, "only {deaths} crash points were reached: strace no longer kills");
}

/// One mail through a process that dies at its `nth` call; tells whether it died.
fn submit_and_die(
    installation: &Installation,
    process: &mut Process,
    ledger: &mut Ledger,
    id: &str,
    call: &str,
    nth: usize,
    heal: impl FnOnce(),
) -> bool {
    let inject = format!("inject={call}:signal=KILL:when={nth}");
    let tracer = process.trace(installation.path("strace"), &["-e", &format!("trace={call}"), "-e", &inject]);
    let mail = Submission::new(id, &["b", "refused", "later"]);
    if let Ok(mut client) = Client::connect(installation.smtp) {
        ledger.tell([client.submit(&mail)]);
    }
    // Upstream is well again, so that the queue's part of the way is run as well.
    heal();
    let mut over = || !process.is_alive() || read_spool(&installation.spool()).0.is_empty();
    eventually(Duration::from_secs(40), "the mail comes to its end, or the process to its own", &mut over);
    // Whatever comes after the end of the mail is given a moment too.
    std::thread::sleep(Duration::from_millis(50));
    let died = !process.is_alive();
    drop(tracer);
    died
}

fn script(deferred: &str) -> Script {
    Script::new().answer(At::Rcpt, deferred, "450 4.2.0 not now").answer(
        At::Rcpt,
        "<refused.",
        "550 5.1.1 nobody of that name",
    )
}

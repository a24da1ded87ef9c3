//! What only the running server knows of itself: its stores, its spool, what it lost, whom it cannot tell. Pure: facts in,
//! checks out.

use std::time::Duration;

use super::machine::{size, speed};
use super::report::{Area, Check};
use super::upstream::span;
use crate::settings::OrgName;

const SETTINGS: &str = "storage.settings";
const HISTORY: &str = "storage.history";
const SPOOL: &str = "storage.spool";
const EVENTS: &str = "process.events";
const WEBHOOKS: &str = "process.webhooks";
/// A mail that waits longer has a reason that somebody should know: a notice went to its sender at this age.
const OLD: Duration = Duration::from_secs(4 * 3_600);

/// What came of a write to a store that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreTried {
    /// How long it took, or why it did not work.
    pub written: Result<Duration, String>,
    /// Octets on the disk.
    pub bytes: u64,
    /// The number of the layout; `None` where there is none to tell.
    pub schema: Option<u32>,
}

/// The settings store.
pub fn settings(tried: &StoreTried) -> Check {
    store(
        tried,
        SETTINGS,
        "a change of the settings",
        "mend the disk and restart: no setting can be changed until then",
    )
}

/// The history.
pub fn history(tried: &StoreTried) -> Check {
    store(
        tried,
        HISTORY,
        "a record of the history",
        "mend the disk: mail goes out untracked and events are lost until then",
    )
}

fn store(tried: &StoreTried, name: &'static str, what: &str, fix: &str) -> Check {
    let schema = tried.schema.map_or_else(String::new, |number| format!(", schema {number}"));
    match &tried.written {
        Err(why) => Check::fail(Area::Storage, name, why.clone(), fix),
        Ok(took) => speed(Area::Storage, name, &format!("{}{schema}; {what} is durable", size(tried.bytes)), *took),
    }
}

/// The mails that wait.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpoolFacts {
    /// How many.
    pub waiting: usize,
    /// The age of the oldest.
    pub oldest: Option<Duration>,
    /// Unreadable ones in `corrupt/`.
    pub corrupt: usize,
    /// So little room that mail is refused which must wait.
    pub short_of_room: bool,
}

/// The spool.
pub fn spool(facts: &Result<SpoolFacts, String>) -> Check {
    let facts = match facts {
        Err(why) => {
            return Check::fail(
                Area::Storage,
                SPOOL,
                why.clone(),
                "mend the disk: mail that must wait is refused until then",
            );
        }
        Ok(facts) => facts,
    };
    let oldest = facts.oldest.map_or_else(String::new, |age| format!(", the oldest for {}", span(age)));
    let waiting = match facts.waiting {
        0 => "no mail waits".to_owned(),
        1 => format!("one mail waits{oldest}"),
        count => format!("{count} mails wait{oldest}"),
    };
    if facts.corrupt > 0 {
        let seen = format!("{} unreadable in spool/corrupt/, which nobody gets; {waiting}", facts.corrupt);
        return Check::fail(Area::Storage, SPOOL, seen, "docs/OPERATE.md, \"A mail is unreadable\", says what to do");
    }
    if facts.short_of_room {
        let seen = format!("so little room that mail which must wait is refused soon; {waiting}");
        return Check::fail(Area::Storage, SPOOL, seen, "make room outside the data folder");
    }
    match facts.oldest.is_some_and(|age| age > OLD) {
        true => Check::warn(Area::Storage, SPOOL, waiting, "`waxseal queue list` says what upstream said last"),
        false => Check::ok(Area::Storage, SPOOL, waiting),
    }
}

/// Opens and clicks since the start.
pub fn events(recorded: u64, lost: u64) -> Check {
    match lost {
        0 => Check::ok(Area::Process, EVENTS, format!("{recorded} events recorded since the start, none lost")),
        lost => Check::warn(
            Area::Process,
            EVENTS,
            format!("{lost} events were lost since the start, {recorded} recorded; every link worked"),
            "the disk was full or slow, or the flood too large: see the log, and [limits] event_queue_max",
        ),
    }
}

/// One webhook that does not take what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unheard {
    /// Its id.
    pub webhook: String,
    /// Whose.
    pub org: OrgName,
    /// The last words about it.
    pub words: String,
    /// How often in a row the oldest waiting event was tried.
    pub tries: u32,
}

/// Tries of one event after which its webhook is taken to be down.
pub const TRIES_DOWN: u32 = 3;

/// The webhooks that do not answer; one line where all do. `failed`: events that were given up.
pub fn webhooks(count: usize, unheard: &[Unheard], failed: Option<u64>) -> Vec<Check> {
    if count == 0 {
        return vec![Check::skipped(Area::Process, WEBHOOKS, "there are no webhooks")];
    }
    let mut checks: Vec<Check> = unheard.iter().map(silent).collect();
    match failed {
        None => checks.push(Check::unknown(Area::Process, WEBHOOKS, "the history does not say what was given up", "")),
        Some(0) if checks.is_empty() => {
            checks.push(Check::ok(Area::Process, WEBHOOKS, format!("{count} in use, and each takes what it is told")));
        }
        Some(0) => {}
        Some(failed) => checks.push(Check::warn(
            Area::Process,
            WEBHOOKS,
            format!("{failed} events were taken by no webhook in time and are kept for a week"),
            "`waxseal webhook deliveries ID --state failed`, then `waxseal webhook replay ID --failed`",
        )),
    }
    checks
}

fn silent(unheard: &Unheard) -> Check {
    let Unheard { webhook, org, words, tries } = unheard;
    let seen = format!("webhook {webhook} has not taken an event in {tries} tries: {words}");
    let fix = "mend its receiver; what waits is told then, or pause it";
    Check::warn(Area::Process, WEBHOOKS, seen, fix).about(webhook.clone()).of_org(Some(org))
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn stores() {
        let tried = |written| StoreTried { written, bytes: 3 << 20, schema: Some(5) };
        let good = history(&tried(Ok(Duration::from_millis(4))));
        assert_eq!(
            (good.state, good.seen.as_str()),
            (State::Ok, "3.1 MB, schema 5; a record of the history is durable in 4 ms")
        );
        assert_eq!(history(&tried(Ok(Duration::from_secs(3)))).state, State::Warn);
        let broken = settings(&tried(Err("the settings store cannot write: No space left".into())));
        assert!(broken.state == State::Fail && broken.fix.contains("restart"), "{broken:?}");
    }

    #[test]
    fn what_waits() {
        let hours = |n: u64| Some(Duration::from_secs(n * 3_600));
        let facts = SpoolFacts { waiting: 2, oldest: hours(1), ..SpoolFacts::default() };
        for (facts, expected, words) in [
            (Ok(SpoolFacts::default()), State::Ok, "no mail waits"),
            (Ok(SpoolFacts { waiting: 1, ..facts.clone() }), State::Ok, "one mail waits, the oldest for 60 minutes"),
            (Ok(facts.clone()), State::Ok, "2 mails wait"),
            (Ok(SpoolFacts { oldest: hours(5), ..facts.clone() }), State::Warn, "5 hours"),
            (Ok(SpoolFacts { corrupt: 1, ..facts.clone() }), State::Fail, "1 unreadable"),
            (Ok(SpoolFacts { short_of_room: true, ..facts }), State::Fail, "refused soon"),
            (Err("the spool cannot do that now".into()), State::Fail, "cannot"),
        ] {
            let check = spool(&facts);
            assert!(check.state == expected && check.seen.contains(words), "{check:?}");
        }
    }

    #[test]
    fn what_was_lost_and_who_does_not_listen() {
        assert_eq!((events(7, 0).state, events(7, 1).state), (State::Ok, State::Warn));
        let states = |checks: Vec<Check>| checks.into_iter().map(|check| check.state).collect::<Vec<_>>();
        let org: OrgName = "acme".parse().unwrap();
        let unheard = [Unheard { webhook: "ac".into(), org: org.clone(), words: "500".into(), tries: 4 }];
        assert_eq!(states(webhooks(0, &[], Some(0))), [State::Skipped]);
        assert_eq!(states(webhooks(2, &[], Some(0))), [State::Ok]);
        assert_eq!(states(webhooks(2, &[], None)), [State::Unknown]);
        assert_eq!(states(webhooks(2, &unheard, Some(0))), [State::Warn]);
        assert_eq!(states(webhooks(2, &unheard, Some(3))), [State::Warn, State::Warn]);
        assert_eq!(webhooks(2, &unheard, Some(0))[0].org, Some(org));
    }
}

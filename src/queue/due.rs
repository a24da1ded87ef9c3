//! When to try again, when to give up, when to tell the sender: pure, with the time as an argument.

use std::time::Duration;

use crate::deliver::Fate;
use crate::deliver::backoff::{self, Last, Schedule};
use crate::spool::{RecipientState, Stage, State};

/// The times of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// When to try again, and when to give up.
    pub schedule: Schedule,
    /// From acceptance until the sender is told that the mail is late.
    pub delay_notice: Duration,
}

/// A sender who hears nothing for this long believes the mail arrived.
pub const DELAY_NOTICE: Duration = Duration::from_secs(4 * 60 * 60);

/// Which recipients of a record are to be tried now, by position.
pub fn due(state: &State, now_ms: i64) -> Vec<usize> {
    let waits = |r: &RecipientState| matches!(r.stage, Stage::Waiting | Stage::Unknown) && r.next_try_ms <= now_ms;
    state.recipients.iter().enumerate().filter(|(_, r)| waits(r)).map(|(at, _)| at).collect()
}

/// One attempt's outcome, and when it came.
#[derive(Debug, Clone, Copy)]
pub struct Attempted<'a> {
    /// The outcome for this recipient.
    pub fate: &'a Fate,
    /// What reports call the upstream.
    pub host: &'a str,
    /// Unix milliseconds of the client's final dot.
    pub accepted_at_ms: i64,
    /// Unix milliseconds of the outcome.
    pub now_ms: i64,
    /// Drawn evenly: spreads the retries of many mails over time.
    pub jitter: u16,
}

/// What an attempt makes of a recipient.
pub fn settle(recipient: &mut RecipientState, attempted: &Attempted<'_>, rules: &Rules) {
    let Attempted { fate, host, accepted_at_ms, now_ms, jitter } = *attempted;
    if !fate.is_untried() {
        recipient.attempts = recipient.attempts.saturating_add(1);
    }
    // What upstream said last tells more than that it was not asked again.
    if !fate.is_untried() || recipient.last_reply.is_empty() {
        recipient.last_reply = fate.to_string();
        recipient.last_host = host.to_owned();
    }
    let again = |stage, last| match backoff::wait(
        recipient.attempts,
        age(accepted_at_ms, now_ms),
        last,
        jitter,
        &rules.schedule,
    ) {
        Some(wait) => (stage, now_ms.saturating_add(millis(wait))),
        None => (Stage::BounceOwed, now_ms),
    };
    (recipient.stage, recipient.next_try_ms) = match fate {
        Fate::Accepted { .. } => (Stage::Delivered, now_ms),
        Fate::Refused { .. } => (Stage::BounceOwed, now_ms),
        Fate::Deferred { .. } if fate.is_untried() && recipient.stage == Stage::Unknown => {
            again(Stage::Unknown, Last::Untried)
        }
        Fate::Deferred { .. } if fate.is_untried() => again(Stage::Waiting, Last::Untried),
        Fate::Deferred { .. } => again(Stage::Waiting, Last::Deferred),
        Fate::Unknown { .. } => again(Stage::Unknown, Last::Unknown),
    };
}

/// Whether the sender is to be told now that the mail is late.
pub fn delay_notice_due(state: &State, accepted_at_ms: i64, now_ms: i64, rules: &Rules) -> bool {
    !state.delay_told
        && age(accepted_at_ms, now_ms) >= rules.delay_notice
        && state.recipients.iter().any(|r| matches!(r.stage, Stage::Waiting | Stage::Unknown))
}

/// Whether it has been tried for as long as a copy is.
pub fn is_over(accepted_at_ms: i64, now_ms: i64, rules: &Rules) -> bool {
    age(accepted_at_ms, now_ms) >= rules.schedule.life
}

fn age(accepted_at_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(now_ms.saturating_sub(accepted_at_ms)).unwrap_or(0))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{Stage as At, Why};
    use crate::smtp::Reply;

    const MINUTE_MS: i64 = 60_000;
    const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

    fn rules() -> Rules {
        Rules { schedule: Schedule::default(), delay_notice: DELAY_NOTICE }
    }

    fn reply(code: u16) -> Reply {
        Reply { code, enhanced: None, lines: vec!["words".to_owned()] }
    }

    /// Every fate at every age: the next stage, and how long until the next try.
    #[test]
    fn what_an_attempt_makes_of_a_recipient() {
        let accepted = Fate::Accepted { reply: reply(250), at: tokio::time::Instant::now() };
        let refused = Fate::Refused { stage: At::Rcpt, reply: reply(550) };
        let deferred = Fate::Deferred { stage: At::Rcpt, why: Why::Reply(reply(450)) };
        let unknown = Fate::Unknown { why: Why::TimedOut };
        let rows = [
            (&accepted, 0, Stage::Delivered, 0),
            (&refused, 0, Stage::BounceOwed, 0),
            (&deferred, 0, Stage::Waiting, MINUTE_MS),
            (&unknown, 0, Stage::Unknown, 10 * MINUTE_MS),
            // Near the end of its life the last try is at the end, and after it there is none.
            (&deferred, 5 * DAY_MS - 1_000, Stage::Waiting, 1_000),
            (&deferred, 5 * DAY_MS, Stage::BounceOwed, 0),
            (&unknown, 5 * DAY_MS, Stage::BounceOwed, 0),
            // Age never turns a success into a failure.
            (&accepted, 9 * DAY_MS, Stage::Delivered, 0),
        ];
        for (fate, now_ms, stage, wait_ms) in rows {
            let mut recipient = State::waiting(1, 0).recipients.remove(0);
            let attempted = Attempted { fate, host: "mx", accepted_at_ms: 0, now_ms, jitter: 0 };
            settle(&mut recipient, &attempted, &rules());
            assert_eq!((recipient.stage, recipient.next_try_ms - now_ms), (stage, wait_ms), "{fate:?} at {now_ms}");
            assert_eq!((recipient.attempts, recipient.last_host.as_str()), (1, "mx"));
        }
    }

    /// Mail that nobody tried to send is not a day late when upstream is back.
    #[test]
    fn what_was_not_tried_is_no_attempt() {
        let refused = Fate::Deferred { stage: At::Connect, why: Why::Lost("refused".into()) };
        let untried = Fate::Deferred { stage: At::Connect, why: Why::Down };
        let mut recipient = State::waiting(1, 0).recipients.remove(0);
        let mut attempt = |fate: &Fate, now_ms| {
            let attempted = Attempted { fate, host: "mx", accepted_at_ms: 0, now_ms, jitter: 0 };
            settle(&mut recipient, &attempted, &rules());
            (recipient.attempts, recipient.next_try_ms - now_ms, recipient.last_reply.clone())
        };
        assert_eq!(attempt(&untried, 0), (0, MINUTE_MS, untried.to_string()));
        assert_eq!(attempt(&refused, 1), (1, MINUTE_MS, refused.to_string()));
        assert_eq!(attempt(&refused, MINUTE_MS + 1), (2, 5 * MINUTE_MS, refused.to_string()));
        for at in MINUTE_MS + 2..MINUTE_MS + 20 {
            assert_eq!(attempt(&untried, at), (2, MINUTE_MS, refused.to_string()));
        }
        let busy = Fate::Deferred { stage: At::Connect, why: Why::Busy };
        assert_eq!(attempt(&busy, MINUTE_MS + 20).0, 2);
        recipient.stage = Stage::Unknown;
        settle(
            &mut recipient,
            &Attempted { fate: &untried, host: "mx", accepted_at_ms: 0, now_ms: 0, jitter: 0 },
            &rules(),
        );
        assert_eq!(recipient.stage, Stage::Unknown, "it may still have arrived before");
        settle(
            &mut recipient,
            &Attempted { fate: &untried, host: "mx", accepted_at_ms: 0, now_ms: 5 * DAY_MS, jitter: 0 },
            &rules(),
        );
        assert_eq!(recipient.stage, Stage::BounceOwed, "and it does not wait for ever");
    }

    #[test]
    fn only_what_waits_and_is_due_is_tried() {
        let mut state = State::waiting(5, 100);
        state.recipients[1].next_try_ms = 101;
        state.recipients[2].stage = Stage::Unknown;
        state.recipients[3].stage = Stage::InFlight;
        state.recipients[4].stage = Stage::BounceOwed;
        assert_eq!(due(&state, 100), [0, 2]);
        assert_eq!(due(&state, 99), Vec::<usize>::new());
    }

    #[test]
    fn a_late_mail_is_told_of_once() {
        let mut state = State::waiting(1, 0);
        let four_hours = 4 * 60 * MINUTE_MS;
        assert!(!delay_notice_due(&state, 0, four_hours - 1, &rules()));
        assert!(delay_notice_due(&state, 0, four_hours, &rules()));
        state.delay_told = true;
        assert!(!delay_notice_due(&state, 0, four_hours, &rules()));
        state.delay_told = false;
        state.recipients[0].stage = Stage::Delivered;
        assert!(!delay_notice_due(&state, 0, four_hours, &rules()));
    }
}

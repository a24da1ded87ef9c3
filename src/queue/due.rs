//! When to try again, when to give up, when to tell the sender: pure, with the time as an argument.

use crate::deliver::Fate;
use crate::deliver::backoff;
use crate::spool::{RecipientState, Stage, State};

/// How long, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// From acceptance until a recipient is given up (default 5 days).
    pub lifetime_ms: i64,
    /// From acceptance until the sender is told that the mail is late (default 4 hours).
    pub delay_notice_ms: i64,
    /// How long an unknown outcome waits: a server that did take the mail may still be busy with it (default 10 minutes).
    pub unknown_wait_ms: i64,
}

/// Which recipients of a record are to be tried now, by position.
pub fn due(state: &State, now_ms: i64) -> Vec<usize> {
    let waits = |r: &RecipientState| matches!(r.stage, Stage::Waiting | Stage::Unknown) && r.next_try_ms <= now_ms;
    state.recipients.iter().enumerate().filter(|(_, r)| waits(r)).map(|(at, _)| at).collect()
}

/// What one attempt's outcome makes of a recipient.
///
/// `jitter` is a random number drawn by the caller; it spreads retries of many mails over time.
pub fn settle(recipient: &mut RecipientState, fate: &Fate, host: &str, accepted_at_ms: i64, now_ms: i64, jitter: u32, rules: &Rules) {
    recipient.attempts = recipient.attempts.saturating_add(1);
    recipient.last_reply = fate.to_string();
    recipient.last_host = host.to_owned();
    let retry_ms = now_ms.saturating_add(backoff::delay_ms(recipient.attempts, jitter));
    (recipient.stage, recipient.next_try_ms) = match fate {
        Fate::Accepted { .. } => (Stage::Delivered, now_ms),
        Fate::Refused { .. } => (Stage::BounceOwed, now_ms),
        Fate::Deferred { .. } => (Stage::Waiting, retry_ms),
        Fate::Unknown { .. } => (Stage::Unknown, retry_ms.max(now_ms.saturating_add(rules.unknown_wait_ms))),
    };
    let waits = matches!(recipient.stage, Stage::Waiting | Stage::Unknown);
    if waits && now_ms.saturating_sub(accepted_at_ms) >= rules.lifetime_ms {
        recipient.stage = Stage::BounceOwed;
        recipient.next_try_ms = now_ms;
    }
}

/// Whether the sender is to be told now that the mail is late.
pub fn delay_notice_due(state: &State, accepted_at_ms: i64, now_ms: i64, rules: &Rules) -> bool {
    !state.delay_told
        && now_ms.saturating_sub(accepted_at_ms) >= rules.delay_notice_ms
        && state.recipients.iter().any(|r| matches!(r.stage, Stage::Waiting | Stage::Unknown))
}

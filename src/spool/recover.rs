//! What a start does with what the last run left.
//!
//! `in flight` becomes `unknown`: the dot was sent, its reply was never seen. What cannot be read goes to `corrupt/`.

use super::disk::{Spool, SpoolError};
use super::record::{Stage, State};
use crate::token::MessageId;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records to go on with, and when each is due (unix milliseconds).
    pub due: Vec<(MessageId, i64)>,
    /// Records moved to `corrupt/` now: an operator must look.
    pub set_aside: Vec<MessageId>,
    /// Records whose every recipient is settled: they end when history has heard of it.
    pub ended: Vec<MessageId>,
}

/// Reads the whole spool, once, before anything else may add to it.
///
/// `unknown_wait_ms` is how long an unknown outcome waits before it is tried again (DESIGN 6: 10 minutes).
///
/// # Errors
/// [`SpoolError::Disk`] when the folder cannot be read: the program must not start without its spool.
pub fn recover(spool: &Spool, now_ms: i64, unknown_wait_ms: i64) -> Result<Recovered, SpoolError> {
    let mut found = Recovered::default();
    for id in spool.ids()? {
        match spool.load(id) {
            Ok((_, state)) => settle_one(spool, id, state, now_ms, unknown_wait_ms, &mut found)?,
            Err(SpoolError::Format { source, .. }) => {
                tracing::error!(spool.id = %id, error = %source, "spool record {id} is unreadable and was moved to corrupt/: look at it");
                spool.set_aside(id)?;
                found.set_aside.push(id);
            }
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}

fn settle_one(
    spool: &Spool,
    id: MessageId,
    mut state: State,
    now_ms: i64,
    unknown_wait_ms: i64,
    found: &mut Recovered,
) -> Result<(), SpoolError> {
    if after_restart(&mut state, now_ms.saturating_add(unknown_wait_ms)) {
        spool.set_state(id, &state)?;
    }
    match state.next_due_ms() {
        Some(due_ms) => found.due.push((id, due_ms)),
        None => found.ended.push(id),
    }
    Ok(())
}

/// Turns every `in flight` into `unknown`; true when anything changed.
fn after_restart(state: &mut State, retry_at_ms: i64) -> bool {
    let mut changed = false;
    for recipient in state.recipients.iter_mut().filter(|r| r.stage == Stage::InFlight) {
        recipient.stage = Stage::Unknown;
        recipient.next_try_ms = retry_at_ms;
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only `in flight` changes: it waits its time as `unknown`, whatever it said before.
    #[test]
    fn in_flight_becomes_unknown() {
        let mut state = State::waiting(3, 5);
        state.recipients[1].stage = Stage::InFlight;
        state.recipients[2].stage = Stage::Delivered;
        assert!(after_restart(&mut state, 600_000));
        let stages: Vec<Stage> = state.recipients.iter().map(|r| r.stage).collect();
        assert_eq!(stages, [Stage::Waiting, Stage::Unknown, Stage::Delivered]);
        assert_eq!(state.recipients[1].next_try_ms, 600_000);
        assert!(!after_restart(&mut state, 700_000));
    }
}

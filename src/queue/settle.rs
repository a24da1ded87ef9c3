//! State changes of one record: read, change, write, one at a time; and what follows from them.

use std::sync::Arc;
use std::time::Duration;

use super::due::{self, Attempted};
use super::{Inner, Slot, report};
use crate::deliver::Fate;
use crate::deliver::bounce::Kind;
use crate::spool::{RecipientState, Record, SpoolError, Stage, State};
use crate::store::record::{Delivery, DeliveryState};
use crate::token::MessageId;

/// How often the outcome of an attempt is offered to a disk that will not take it: for some five minutes.
const WRITES_MAX: u32 = 100;
/// How long the disk is left alone in between.
const WRITE_REST: Duration = Duration::from_secs(3);

/// A change of one record's state; runs on a blocking thread.
pub(super) type Change = Box<dyn FnOnce(&Record, &mut State) + Send>;

/// Changes a record's state durably and reschedules it; `None` when there is no such record.
///
/// # Errors
/// [`SpoolError`]: the state before stands, on disk and in the schedule.
pub(super) async fn update(
    inner: &Arc<Inner>,
    id: MessageId,
    change: Change,
) -> Result<Option<(Record, State)>, SpoolError> {
    let Some(Slot { lock, .. }) = inner.slots().get(&id).cloned() else { return Ok(None) };
    let _one_at_a_time = lock.lock().await;
    let changed = inner
        .on_disk(move |spool| {
            let (record, mut state) = spool.load(id)?;
            let before = state.clone();
            change(&record, &mut state);
            if state != before {
                spool.set_state(id, &state)?;
            }
            Ok((record, state))
        })
        .await?;
    if let Some(slot) = inner.slots().get_mut(&id) {
        slot.due_ms = changed.1.next_due_ms().unwrap_or(i64::MAX);
    }
    inner.wake.notify_one();
    Ok(Some(changed))
}

/// What one attempt brought, for these positions: the state, the history, a report if one is owed, the end if all is done.
/// A disk that will not take it is asked again: what upstream said must not be forgotten because the disk is full.
pub(super) async fn settle(inner: Arc<Inner>, id: MessageId, positions: Vec<usize>, fates: Vec<Fate>) {
    for _ in 0..WRITES_MAX {
        let apply = apply(&inner, positions.clone(), fates.clone());
        match update(&inner, id, apply).await {
            Ok(Some((record, state))) => {
                tell_history(&inner, &record, &state, &positions).await;
                report_relayed(&inner, &record, &state, &positions).await;
                return conclude(&inner, record, state).await;
            }
            Ok(None) => return,
            Err(error) => {
                tracing::error!(spool.id = %id, %error, "the state of queued mail {id} cannot be written now")
            }
        }
        tokio::time::sleep(WRITE_REST).await;
    }
    tracing::error!(spool.id = %id, "the state of queued mail {id} could not be written: after the next start it may be sent twice");
}

/// For recipients who asked to hear of success, where upstream will not say it.
async fn report_relayed(inner: &Arc<Inner>, record: &Record, state: &State, positions: &[usize]) {
    if inner.parts.courier.offers_dsn() || record.own_report {
        return;
    }
    let delivered = |p: &usize| state.recipients.get(*p).is_some_and(|r| r.stage == Stage::Delivered);
    let told: Vec<usize> = positions.iter().copied().filter(|p| delivered(p)).collect();
    drop(report::send(inner, Kind::Relayed, &report::Subject::of(record), &report::recalled(state, &told)).await);
}

fn apply(inner: &Inner, positions: Vec<usize>, fates: Vec<Fate>) -> Change {
    let now_ms = (inner.parts.clock)();
    let rules = inner.options.rules.clone();
    let host = inner.parts.courier.host().to_owned();
    let jitter = random();
    Box::new(move |record, state| {
        for (position, fate) in positions.iter().zip(&fates) {
            if let Some(recipient) = state.recipients.get_mut(*position) {
                let accepted_at_ms = record.accepted_at_ms;
                due::settle(recipient, &Attempted { fate, host: &host, accepted_at_ms, now_ms, jitter }, &rules);
            }
        }
    })
}

/// Sends the reports that are owed, and ends the record when nothing is left to do.
pub(super) async fn conclude(inner: &Arc<Inner>, record: Record, state: State) {
    let id = record.id;
    let state = report::tell_sender(inner, &record, state).await;
    if state.recipients.iter().all(|r| r.stage.is_settled()) {
        match inner.on_disk(move |spool| spool.remove(id)).await {
            Ok(()) => drop(inner.slots().remove(&id)),
            Err(error) => {
                tracing::error!(spool.id = %id, %error, "the finished mail {id} could not be removed from the spool")
            }
        }
    }
}

/// Ends a record at an operator's word.
pub(super) async fn drop_record(inner: &Arc<Inner>, id: MessageId) -> Result<bool, SpoolError> {
    let give_up = |_: &Record, state: &mut State| {
        for recipient in state.recipients.iter_mut().filter(|r| !r.stage.is_settled()) {
            recipient.stage = Stage::Failed;
            recipient.last_reply = "dropped by the operator".to_owned();
        }
    };
    let Some((record, state)) = update(inner, id, Box::new(give_up)).await? else { return Ok(false) };
    let all: Vec<usize> = (0..state.recipients.len()).collect();
    tell_history(inner, &record, &state, &all).await;
    conclude(inner, record, state).await;
    Ok(true)
}

async fn tell_history(inner: &Arc<Inner>, record: &Record, state: &State, positions: &[usize]) {
    let Some(indexes) = inner.parts.renderer.history_indexes(record) else { return };
    let now_ms = (inner.parts.clock)();
    let outcomes: Vec<(u16, Delivery)> = positions
        .iter()
        .filter_map(|position| Some((*indexes.get(*position)?, delivery(state.recipients.get(*position)?, now_ms))))
        .collect();
    if let Err(error) = inner.parts.history.settle(record.id, outcomes).await {
        tracing::warn!(message.id = %record.id, %error, "the outcome of {} is not in the history", record.id);
    }
}

/// How a spooled recipient stands, in history's words.
fn delivery(recipient: &RecipientState, now_ms: i64) -> Delivery {
    let state = match recipient.stage {
        Stage::Delivered => DeliveryState::Accepted,
        Stage::BounceOwed | Stage::Failed => DeliveryState::Refused,
        Stage::Unknown | Stage::InFlight => DeliveryState::Unknown,
        Stage::Waiting => DeliveryState::Deferred,
    };
    Delivery { state, reply: recipient.last_reply.clone(), at_ms: now_ms }
}

/// For jitter only; a failing system generator must not stop the mail.
fn random() -> u16 {
    getrandom::u32().map_or(0, |n| (n & 0xffff) as u16)
}

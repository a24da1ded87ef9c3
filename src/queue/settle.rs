//! State changes of one record: read, change, write, one at a time; and what follows from them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::due::{self, Attempted};
use super::{Inner, Slot, report};
use crate::deliver::Fate;
use crate::deliver::bounce::Kind;
use crate::spool::{RecipientState, Record, SpoolError, Stage, State};
use crate::store::record::{DROPPED, Delivery, DeliveryState};
use crate::token::MessageId;

/// How often the outcome of an attempt is offered to a disk that will not take it: for some five minutes.
const WRITES_MAX: u32 = 100;
/// How long the disk is left alone in between.
const WRITE_REST: Duration = Duration::from_secs(3);

/// A change of one record's state; runs on a blocking thread.
pub(super) type Change = Box<dyn FnOnce(&Record, &mut State) + Send>;

/// A record, and its state before and after a change.
pub(super) struct Changed {
    pub(super) record: Record,
    pub(super) before: State,
    pub(super) after: State,
}

/// Changes a record's state durably and reschedules it; `None` when there is no such record.
///
/// # Errors
/// [`SpoolError`]: the state before stands, on disk and in the schedule.
pub(super) async fn update(inner: &Arc<Inner>, id: MessageId, change: Change) -> Result<Option<Changed>, SpoolError> {
    let Some(Slot { lock, .. }) = inner.slots().get(&id).cloned() else { return Ok(None) };
    let _one_at_a_time = lock.lock().await;
    let changed = inner
        .on_disk(move |spool| {
            let (record, before) = spool.load(id)?;
            let mut after = before.clone();
            change(&record, &mut after);
            if after != before {
                spool.set_state(id, &after)?;
            }
            Ok(Changed { record, before, after })
        })
        .await?;
    if let Some(slot) = inner.slots().get_mut(&id) {
        slot.due_ms = changed.after.next_due_ms().unwrap_or(i64::MAX);
    }
    inner.wake.notify_one();
    Ok(Some(changed))
}

/// What one attempt brought, for these positions: the state, the history, a report if one is owed, the end if all is done.
/// A disk that will not take it is asked again: what upstream said must not be forgotten because the disk is full.
/// The history hears of it after `first`, which the disk does not wait for.
pub(super) async fn settle(
    inner: Arc<Inner>,
    id: MessageId,
    positions: Vec<usize>,
    fates: Vec<Fate>,
    first: impl Future<Output = ()>,
) {
    let mut first = Some(first);
    for _ in 0..WRITES_MAX {
        let apply = apply(&inner, positions.clone(), fates.clone());
        match update(&inner, id, apply).await {
            Ok(Some(Changed { record, after, .. })) => {
                if let Some(first) = first.take() {
                    first.await;
                }
                tell_history(&inner, &record, outcomes(&inner, &after, &positions, &fates)).await;
                report_relayed(&inner, &record, &after, &positions).await;
                return conclude(&inner, record, after).await;
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
    let offers_dsn = inner.way(&record.org, &record.via).is_some_and(|way| way.courier.offers_dsn());
    if offers_dsn || record.own_report {
        return;
    }
    let delivered = |p: &usize| state.recipients.get(*p).is_some_and(|r| r.stage == Stage::Delivered);
    let told: Vec<usize> = positions.iter().copied().filter(|p| delivered(p)).collect();
    drop(report::send(inner, Kind::Relayed, &report::Subject::of(record), &report::recalled(state, &told)).await);
}

fn apply(inner: &Inner, positions: Vec<usize>, fates: Vec<Fate>) -> Change {
    let now_ms = (inner.parts.clock)();
    let rules = inner.options.rules.clone();
    let couriers = Arc::clone(&inner.parts.couriers);
    let jitter = random();
    Box::new(move |record, state| {
        let way = couriers.of_record(&record.org, record.via.own_upstream);
        let host = way.map_or(String::new(), |way| way.courier.host().to_owned());
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
            recipient.last_reply = DROPPED.to_owned();
        }
    };
    let Some(Changed { record, before, after }) = update(inner, id, Box::new(give_up)).await? else {
        return Ok(false);
    };
    tell_history(inner, &record, given_up(&before, &after, (inner.parts.clock)())).await;
    conclude(inner, record, after).await;
    Ok(true)
}

/// What a drop changed. Who has the mail, or was refused it, stays as it stood, and since when.
fn given_up(before: &State, after: &State, now_ms: i64) -> Vec<(usize, Delivery)> {
    let both = before.recipients.iter().zip(&after.recipients).enumerate();
    both.filter(|(_, (before, after))| before != after).map(|(at, (_, after))| (at, delivery(after, now_ms))).collect()
}

/// What an attempt brought, for these positions. Readers are judged by the moment of the answer: the disk may have taken the
/// state a while later.
fn outcomes(inner: &Inner, state: &State, positions: &[usize], fates: &[Fate]) -> Vec<(usize, Delivery)> {
    let (now, now_ms) = (Instant::now(), (inner.parts.clock)());
    let of = |(position, fate): (&usize, &Fate)| {
        let at_ms = fate.accepted_at_ms(now, now_ms).unwrap_or(now_ms);
        Some((*position, delivery(state.recipients.get(*position)?, at_ms)))
    };
    positions.iter().zip(fates).filter_map(of).collect()
}

/// Tells the history, by position.
pub(super) async fn tell_history(inner: &Arc<Inner>, record: &Record, outcomes: Vec<(usize, Delivery)>) {
    let Some(indexes) = inner.parts.renderer.history_indexes(record) else { return };
    let by_index = |(position, delivery)| Some((*indexes.get(position)?, delivery));
    let outcomes: Vec<(u16, Delivery)> = outcomes.into_iter().filter_map(by_index).collect();
    if let Err(error) = inner.parts.history.settle(record.id, outcomes).await {
        tracing::warn!(message.id = %record.id, %error, "the outcome of {} is not in the history", record.id);
    }
}

/// How a spooled recipient stands, in history's words.
pub(super) fn delivery(recipient: &RecipientState, at_ms: i64) -> Delivery {
    let state = match recipient.stage {
        Stage::Delivered => DeliveryState::Accepted,
        Stage::BounceOwed | Stage::Failed => DeliveryState::Refused,
        Stage::Unknown => DeliveryState::Unknown,
        // With upstream, which may be looking into it.
        Stage::InFlight => DeliveryState::Pending,
        Stage::Waiting => DeliveryState::Deferred,
    };
    let reply = match recipient.stage {
        // What stands there was said at the attempt before.
        Stage::InFlight => "the answer of upstream is awaited".to_owned(),
        _ => recipient.last_reply.clone(),
    };
    Delivery { state, reply, at_ms }
}

/// For jitter only; a failing system generator must not stop the mail.
fn random() -> u16 {
    getrandom::u32().map_or(0, |n| (n & 0xffff) as u16)
}

//! The loop: what is due goes to a worker, a worker makes one attempt.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::{Carrier, Copies, Inner, TOO_LARGE_TRACKED, due, settle, tell_untracked};
use crate::deliver::courier;
use crate::deliver::encode::TwoForms;
use crate::deliver::outbound::{BodySource, Deadlines};
use crate::deliver::{BoxFuture, CannotCarry, Fate, Stage as At, Why};
use crate::message::{Body, Envelope};
use crate::spool::{Head, Record, SpoolError, Stage, State};
use crate::telemetry::maillog;
use crate::token::MessageId;

/// The longest sleep: clocks are set, and a missed wake-up must not cost more than this.
const NAP_MAX: Duration = Duration::from_secs(30);
/// How long a record rests after the disk would not give it, or when there was nothing to do for it: an attempt that
/// outlived its client is still awaited, a report could not be written.
const DISK_REST_MS: i64 = 60_000;
/// The least time a record rests while its upstream is left alone; else as long as that lasts, a minute at most.
const DOWN_REST_MIN_MS: i64 = 500;
/// How long the history may take to note that a copy is on its way: as long as a new mail waits for its record.
const HISTORY_MAX: Duration = Duration::from_secs(2);

/// Runs until `stop` turns true; then waits for every worker.
pub(super) async fn run(inner: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let next = tokio::select! {
            permit = Arc::clone(&inner.workers).acquire_owned() => match permit {
                Ok(permit) => start_one(&inner, permit),
                Err(_) => return,
            },
            _ = stop.changed() => break,
        };
        if let Some(nap) = next {
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                () = inner.wake.notified() => {}
                _ = stop.changed() => break,
            }
        }
    }
    let all = u32::try_from(inner.options.workers_max).unwrap_or(u32::MAX);
    drop(inner.workers.acquire_many(all).await);
}

/// Gives the record that has been due longest to a worker; with none due, says how long to sleep.
fn start_one(inner: &Arc<Inner>, permit: OwnedSemaphorePermit) -> Option<Duration> {
    let now_ms = (inner.parts.clock)();
    let mut slots = inner.slots();
    let next = slots.iter_mut().filter(|(_, slot)| !slot.busy).min_by_key(|(_, slot)| slot.due_ms);
    let Some((id, slot)) = next else { return Some(NAP_MAX) };
    let wait_ms = slot.due_ms.saturating_sub(now_ms);
    if wait_ms > 0 {
        return Some(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)).min(NAP_MAX));
    }
    slot.busy = true;
    let (id, due_ms) = (*id, slot.due_ms);
    drop(slots);
    let inner = Arc::clone(inner);
    let work: BoxFuture<'static, ()> = Box::pin(hold(inner, id, due_ms, permit));
    tokio::spawn(work);
    None
}

/// Works on one record and gives it, and the permit, back. A record that is due as before has not moved: it rests, or it
/// would be read over and over.
async fn hold(inner: Arc<Inner>, id: MessageId, due_ms: i64, permit: OwnedSemaphorePermit) {
    work(Arc::clone(&inner), id, due_ms).await;
    if let Some(slot) = inner.slots().get_mut(&id) {
        slot.busy = false;
        if slot.due_ms == due_ms {
            slot.due_ms = (inner.parts.clock)().saturating_add(DISK_REST_MS);
        }
    }
    inner.wake.notify_one();
    drop(permit);
}

/// Until when a record may rest unread, for its upstream is not tried just now; `None`: there is something to do for it.
/// With a long queue and a dead upstream this is all that is done, each time that upstream may be tried, which is
/// soon once a minute: one small read, no write.
async fn rests(inner: &Arc<Inner>, id: MessageId) -> Option<i64> {
    if inner.parts.couriers.down() == 0 {
        return None;
    }
    let (Head { record, .. }, state) = inner.on_disk(move |spool| spool.head(id)).await.ok()?;
    let way = inner.way(&record.org, &record.via)?;
    let now_ms = (inner.parts.clock)();
    let rules = &inner.options.rules;
    let owes = state.recipients.iter().any(|recipient| recipient.stage == Stage::BounceOwed);
    let down_for_ms = way.courier.down_for_ms();
    let is_idle = down_for_ms > 0
        && !owes
        && !due::due(&state, now_ms).is_empty()
        && !due::delay_notice_due(&state, record.accepted_at_ms, now_ms, rules)
        && !due::is_over(record.accepted_at_ms, now_ms, rules);
    is_idle.then(|| now_ms.saturating_add(down_for_ms.max(DOWN_REST_MIN_MS)))
}

/// One attempt for every recipient of one record that is due.
async fn work(inner: Arc<Inner>, id: MessageId, due_ms: i64) {
    if let Some(until_ms) = rests(&inner, id).await {
        // Unless an operator has said otherwise meanwhile.
        if let Some(slot) = inner.slots().get_mut(&id).filter(|slot| slot.due_ms == due_ms) {
            slot.due_ms = until_ms;
        }
        return;
    }
    let (record, state) = match inner.on_disk(move |spool| spool.load(id)).await {
        Ok(loaded) => loaded,
        Err(error) => return cannot_load(&inner, id, error).await,
    };
    let now_ms = (inner.parts.clock)();
    let positions = due::due(&state, now_ms);
    if positions.is_empty() {
        return settle::conclude(&inner, record, state).await;
    }
    let carrier = match inner.carrier(&record.org, &record.via) {
        Ok(carrier) => carrier,
        Err(why) => return hold_back(inner, record, positions, why).await,
    };
    let copies = match inner.parts.renderer.copies(&record, &positions) {
        Ok(copies) => copies,
        Err(detail) => {
            tracing::error!(spool.id = %id, detail, "queued mail {id} cannot be rendered and was moved to corrupt/: look at it");
            return set_aside(&inner, id).await;
        }
    };
    let Copies { groups, as_it_came } = copies;
    for (positions, body) in groups {
        let recipients = positions.len();
        let fates = match attempt(&inner, &carrier, &record, &positions, (body, as_it_came.as_ref())).await {
            Ok(fates) => fates,
            Err(cannot) => vec![courier::refusal(cannot); recipients],
        };
        settle::settle(Arc::clone(&inner), id, positions, fates, std::future::ready(())).await;
        if !inner.slots().contains_key(&id) {
            break; // ended, or dropped by an operator meanwhile
        }
    }
    if carrier.is_own {
        carrier.courier.close().await;
    }
}

/// One attempt with one copy; with the mail as it came where upstream finds the copy too large: it was we who made it so.
async fn attempt(
    inner: &Arc<Inner>,
    carrier: &Carrier,
    record: &Record,
    positions: &[usize],
    (body, as_it_came): (Body, Option<&Body>),
) -> Result<Vec<Fate>, CannotCarry> {
    let dot_sent_by = Instant::now() + inner.options.attempt;
    let deadlines = Deadlines { dot_sent_by, dot_answered_by: dot_sent_by + inner.options.dot };
    let ended = carrier.courier.deliver_in_either(copy(inner, record, positions, body), deadlines).await;
    let (Err(CannotCarry::TooLarge { .. }), Some(as_it_came)) = (&ended, as_it_came) else { return ended };
    maillog::untouched(record.id, TOO_LARGE_TRACKED);
    let indexes = inner.parts.renderer.history_indexes(record).unwrap_or_default();
    let untracked = positions.iter().filter_map(|position| indexes.get(*position).copied()).collect();
    tell_untracked(inner.parts.history.as_ref(), record.id, untracked).await;
    carrier.courier.deliver_in_either(copy(inner, record, positions, as_it_came.clone()), deadlines).await
}

/// The account it was taken for is gone. It waits, for nobody else's may be used; whoever can mend that is told at each try.
async fn hold_back(inner: Arc<Inner>, record: Record, positions: Vec<usize>, why: &'static str) {
    let Record { id, org, .. } = record;
    tracing::error!(spool.id = %id, org, "queued mail {id} of {org} is held: {why}. Mend config.toml, or drop the mail");
    let fate = Fate::Deferred { stage: At::Connect, why: Why::Held(why) };
    let fates = vec![fate; positions.len()];
    settle::settle(inner, id, positions, fates, std::future::ready(())).await;
}

/// One copy for upstream. Its recipients are marked `in flight` on disk after upstream's 354, before the dot: should we
/// die before the answer, the next start knows that it may have arrived.
fn copy(
    inner: &Arc<Inner>,
    record: &Record,
    positions: &[usize],
    body: Body,
) -> TwoForms<impl Fn(Vec<Body>) -> BodySource + use<>> {
    let recipients = positions.iter().filter_map(|p| record.envelope.recipients.get(*p).cloned()).collect();
    let envelope = Envelope { recipients, ..record.envelope.clone() };
    let (inner, id, positions) = (Arc::clone(inner), record.id, positions.to_vec());
    let source = move |bodies: Vec<Body>| {
        let body = bodies.into_iter().next().unwrap_or_default();
        BodySource::Later(Box::pin(marked(Arc::clone(&inner), id, positions.clone(), body)))
    };
    TwoForms { envelope, bodies: vec![body], source }
}

/// The body, once its recipients are marked on disk; `None` when they cannot be, or the record has gone.
async fn marked(inner: Arc<Inner>, id: MessageId, positions: Vec<usize>, body: Body) -> Option<Body> {
    let marked = positions.clone();
    let mark = move |_: &Record, state: &mut State| {
        for position in &marked {
            if let Some(recipient) = state.recipients.get_mut(*position) {
                recipient.stage = Stage::InFlight;
            }
        }
    };
    match settle::update(&inner, id, Box::new(mark)).await {
        Ok(Some(changed)) => {
            on_its_way(&inner, changed, &positions).await;
            Some(body)
        }
        Ok(None) => None,
        Err(error) => {
            tracing::error!(spool.id = %id, %error, "queued mail {id} waits: its state cannot be written");
            None
        }
    }
}

/// Tells the history that upstream has these copies in hand since now, before it sees their links: a machine of its own that
/// follows them while it takes the mail is none of the readers, also hours after the attempt before. The mail goes all the
/// same when the history does not answer.
async fn on_its_way(inner: &Arc<Inner>, changed: settle::Changed, positions: &[usize]) {
    let now_ms = (inner.parts.clock)();
    let of = |at: &usize| Some((*at, settle::delivery(changed.after.recipients.get(*at)?, now_ms)));
    let pending = positions.iter().filter_map(of).collect();
    let told = settle::tell_history(inner, &changed.record, pending);
    if tokio::time::timeout(HISTORY_MAX, told).await.is_err() {
        tracing::warn!(message.id = %changed.record.id, "the history is slow: who looks into {} on its way may be taken for a reader", changed.record.id);
    }
}

async fn cannot_load(inner: &Arc<Inner>, id: MessageId, error: SpoolError) {
    match error {
        SpoolError::Format { .. } => {
            tracing::error!(spool.id = %id, %error, "queued mail {id} is unreadable and was moved to corrupt/: look at it");
            set_aside(inner, id).await;
        }
        other => {
            tracing::error!(spool.id = %id, error = %other, "queued mail {id} cannot be read now");
            if let Some(slot) = inner.slots().get_mut(&id) {
                slot.due_ms = (inner.parts.clock)().saturating_add(DISK_REST_MS);
            }
        }
    }
}

async fn set_aside(inner: &Arc<Inner>, id: MessageId) {
    match inner.on_disk(move |spool| spool.set_aside(id)).await {
        Ok(()) => drop(inner.slots().remove(&id)),
        Err(error) => {
            tracing::error!(spool.id = %id, %error, "unreadable mail {id} could not be moved to corrupt/");
            if let Some(slot) = inner.slots().get_mut(&id) {
                slot.due_ms = (inner.parts.clock)().saturating_add(DISK_REST_MS);
            }
        }
    }
}

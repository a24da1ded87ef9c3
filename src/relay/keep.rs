//! Deliver, decide, keep what must be kept, answer: the second half of the mail path.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::attempts::{self, Attempt, InFlight, Standings};
use super::guard::{Claim, Key, Seen, StillRunning};
use super::{Job, Relay, lock, own_line, record};
use crate::deliver::decision::{Decision, Standing, decide};
use crate::deliver::encode::TwoForms;
use crate::deliver::outbound::{BodySource, Deadlines};
use crate::deliver::{CannotCarry, Fate, predict};
use crate::message::{Body, Envelope};
use crate::queue::due::{self, Attempted};
use crate::queue::{self, TOO_LARGE_TRACKED};
use crate::smtp::Reply;
use crate::spool::{Record, SpoolError, Stage, State, Via};
use crate::store::record::{Delivery, DeliveryState};
use crate::store::{HistoryStore, Inserted};
use crate::telemetry::maillog;
use crate::telemetry::metrics::limit_met;
use crate::token::MessageId;

/// A reply later than this may not have been seen: the guard keeps what it knows.
const LATE: Duration = Duration::from_secs(10);

/// Takes a frozen job to its answer.
pub(super) async fn deliver_and_answer(relay: &Relay, mut job: Job) -> Reply {
    let claim = match claim(relay, &job).await {
        Ok(claim) => claim,
        Err(StillRunning) => {
            tracing::warn!(message.id = %job.id, "the same mail, sent before, is still being handed on: its client is to send it later");
            return Reply::internal_error();
        }
    };
    let is_done = |job: &Job, position: usize| {
        let path = job.submission.mail.envelope.recipients.get(position).map(|r| r.path.0.as_bytes());
        claim.as_ref().zip(path).is_some_and(|(claim, path)| claim.is_done(path))
    };
    let positions: Vec<usize> =
        (0..job.submission.mail.envelope.recipients.len()).filter(|p| !is_done(&job, *p)).collect();
    let recorded = begin_record(relay, &job);
    let mut standings = attempt(relay, &job, &positions, recorded.clone()).await;
    for position in 0..standings.all.len() {
        if is_done(&job, position)
            && let Some(standing) = standings.all.get_mut(position)
        {
            *standing = Standing::AcceptedBefore;
        }
    }
    if !is_on_record(recorded, &standings.all).await {
        job.recipe.tracked = false;
        job.recipe.recorded = false;
    }
    conclude(relay, job, standings, claim).await
}

/// Decides, writes what must be on disk, tells history and the log, and hands over what still runs.
async fn conclude(relay: &Relay, job: Job, standings: Standings, claim: Option<Claim>) -> Reply {
    let client_gone = job.submission.client_gone.is_gone();
    let decision = match client_gone && nobody_has_it(&standings.all) {
        // Nobody heard a promise and nobody has the mail: the client sends it again.
        true => Decision::Answer(Reply::internal_error()),
        false => decide(&standings.all, standings.canary_stopped, &job.id.to_string()),
    };
    let (reply, kept) = match decision {
        Decision::Answer(reply) => (reply, false),
        Decision::Keep(reply) if job.cannot_wait() => {
            (own_line::answer(relay, &job, &standings.all, reply).await, false)
        }
        Decision::Keep(reply) => match keep(relay, &job, &standings.all).await {
            Ok(()) => (reply, true),
            Err(reply) => (reply, false),
        },
    };
    log(&job, &standings.all, &reply);
    let told = tell_history(relay, &job, &standings.all);
    // After a 451 the client sends again, although somebody may have the mail by now.
    let seen = match !reply.is_positive() || client_gone || job.begun.elapsed() > LATE {
        true => Seen::PerhapsNot,
        false => Seen::Unless(job.submission.client_gone.clone()),
    };
    let taken: Vec<Vec<u8>> = taken_care_of(&job, &standings.all, reply.is_positive());
    report_relayed(relay, &job, &standings.all).await;
    if !kept && !standings.in_flight.is_empty() {
        remember_later(relay, &job, claim, taken, standings.in_flight, told);
        return reply;
    }
    if let Some(claim) = claim {
        relay.guard.release(claim, taken, seen, std::time::Instant::now());
    }
    hand_over(relay, &job, standings.in_flight, told);
    reply
}

/// No record holds what still runs, and its client will send again: the guard and the history alone learn who has the mail
/// in the end. Until then the claim is held, so that the same mail waits.
fn remember_later(
    relay: &Relay,
    job: &Job,
    claim: Option<Claim>,
    mut taken: Vec<Vec<u8>>,
    in_flight: Vec<InFlight>,
    told: Told,
) {
    let paths: Vec<Vec<u8>> =
        job.submission.mail.envelope.recipients.iter().map(|r| r.path.0.as_bytes().to_vec()).collect();
    let (guard, history, clock, id) =
        (Arc::clone(&relay.guard), Arc::clone(&relay.parts.history), relay.parts.clock, job.id);
    let indexes: Vec<u16> = job.recipe.recipients.iter().map(|portion| portion.index).collect();
    let is_recorded = job.recipe.recorded;
    tokio::spawn(async move {
        let mut outcomes = Vec::new();
        for InFlight { positions, attempt } in in_flight {
            let fates = attempts::fates_of(attempt.await, positions.len());
            let (now, now_ms) = (Instant::now(), clock());
            for (position, fate) in positions.into_iter().zip(fates) {
                if fate.is_accepted() {
                    taken.extend(paths.get(position).cloned());
                }
                let index = indexes.get(position).copied();
                outcomes.extend(index.map(|index| (index, delivery(&Standing::Done(fate), now, now_ms))));
            }
        }
        if let Some(claim) = claim {
            guard.release(claim, taken, Seen::PerhapsNot, std::time::Instant::now());
        }
        if is_recorded {
            drop(told.await);
            tell(history.as_ref(), id, outcomes).await;
        }
    });
}

/// No dot has left for anybody.
fn nobody_has_it(standings: &[Standing]) -> bool {
    standings.iter().all(|s| matches!(s, Standing::Untried | Standing::Done(Fate::Deferred { .. })))
}

async fn claim(relay: &Relay, job: &Job) -> Result<Option<Claim>, StillRunning> {
    let mail = &job.submission.mail;
    let Some(key) = Key::of(&job.submission.submitter, mail, job.has_id_and_date) else { return Ok(None) };
    relay.guard.claim(key, std::time::Instant::now(), relay.options().keep_by).await
}

/// Begins to write the message record, beside the upstream dialogue. The value turns true when it is durable, false when
/// it will not be in time.
fn begin_record(relay: &Relay, job: &Job) -> watch::Receiver<Option<bool>> {
    let (tell, told) = watch::channel(None);
    if !relay.parts.queue.has_room() {
        goes_untracked(job.id, "the disk is nearly full");
        tell.send_replace(Some(false));
        return told;
    }
    let record = record::record(&relay.parts, job, job.id);
    let (history, id, limit) = (Arc::clone(&relay.parts.history), job.id, relay.options().record_max);
    tokio::spawn(async move {
        let outcome = timeout(limit, history.insert(record)).await;
        let why = match outcome {
            Ok(Ok(Inserted::Durable)) => None,
            Ok(Ok(Inserted::IdTaken)) => Some("its random id was taken".to_owned()),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("the store took over {} s", limit.as_secs())),
        };
        if let Some(why) = &why {
            goes_untracked(id, why);
        }
        tell.send_replace(Some(why.is_none()));
    });
    told
}

/// Whether history knows this mail. Copies that go out later must know for certain: who is behind a token stands only there.
async fn is_on_record(mut recorded: watch::Receiver<Option<bool>>, standings: &[Standing]) -> bool {
    let is_settled = |s: &Standing| match s {
        Standing::AcceptedBefore | Standing::Done(Fate::Accepted { .. } | Fate::Refused { .. }) => true,
        Standing::InFlight | Standing::Untried | Standing::Done(Fate::Deferred { .. } | Fate::Unknown { .. }) => false,
    };
    if standings.iter().all(is_settled) {
        return *recorded.borrow() != Some(false);
    }
    recorded.wait_for(Option::is_some).await.is_ok_and(|told| *told == Some(true))
}

fn goes_untracked(id: MessageId, why: &str) {
    metrics::counter!("waxseal_records_not_durable_total").increment(1);
    maillog::record_not_durable(id, why);
}

/// Tries upstream while the client waits, unless it is better not to.
async fn attempt(relay: &Relay, job: &Job, positions: &[usize], recorded: watch::Receiver<Option<bool>>) -> Standings {
    let recipients = job.submission.mail.envelope.recipients.len();
    let groups = job.recipe.groups(positions);
    let forecast = job.courier.forecast(groups.len(), job.submission.mail.raw.len() as u64);
    let straight = predict::straight_to_spool(&forecast, &relay.options().predict);
    // Without a credential of our own nothing may wait in the spool.
    let straight = straight.filter(|_| !job.cannot_wait());
    if let Some(why) = straight.filter(|_| !groups.is_empty() && relay.parts.queue.has_room()) {
        tracing::info!(message.id = %job.id, "queued {} without trying: {why}", job.id);
        let all = vec![Standing::Untried; recipients];
        return Standings { all, canary_stopped: false, in_flight: Vec::new() };
    }
    let bodies = relay.parts.composer.render(&job.prepared, job.id, &job.recipe, &groups);
    let plain = job.prepared.identity();
    let until = job.begun + job.budget(relay);
    let deadlines = Deadlines { dot_sent_by: until, dot_answered_by: until + relay.options().dot };
    let start = |number: usize, canary: bool| -> Attempt {
        let none = Vec::new();
        let group = groups.get(number).unwrap_or(&none);
        let tracked = bodies.get(number).cloned().unwrap_or_default();
        let copy = |body: Body| TwoForms {
            envelope: envelope(job, group),
            bodies: vec![body, plain.clone()],
            source: source(job, canary, recorded.clone()),
        };
        let as_it_came = job.recipe.tracked.then(|| copy(plain.clone()));
        let (copy, courier) = (copy(tracked), Arc::clone(&job.courier));
        let (untracked, group) = (Arc::clone(&job.untracked), group.clone());
        tokio::spawn(async move {
            match (courier.deliver_in_either(copy, deadlines).await, as_it_came) {
                (Err(CannotCarry::TooLarge { .. }), Some(as_it_came)) => {
                    lock(&untracked).extend(group);
                    courier.deliver_in_either(as_it_came, deadlines).await
                }
                (ended, _) => ended,
            }
        })
    };
    attempts::run(recipients, groups.clone(), until, relay.options().parallel_max, start).await
}

/// What upstream's 354 asks for, out of the tracked body and the plain one.
fn source(
    job: &Job,
    canary: bool,
    recorded: watch::Receiver<Option<bool>>,
) -> impl Fn(Vec<Body>) -> BodySource + Send + use<> {
    let (client_gone, is_tracked) = (job.submission.client_gone.clone(), job.recipe.tracked);
    move |bodies| {
        let mut bodies = bodies.into_iter();
        let (tracked, plain) = (bodies.next().unwrap_or_default(), bodies.next().unwrap_or_default());
        let (client_gone, mut recorded) = (client_gone.clone(), recorded.clone());
        // The last moment to withdraw, and the moment by which the record must be durable.
        BodySource::Later(Box::pin(async move {
            let durable = !is_tracked || recorded.wait_for(Option::is_some).await.is_ok_and(|told| *told == Some(true));
            // Looked for once, before the first dot: whoever left will send again. Later copies go whether they are there or not.
            if canary && client_gone.is_gone() {
                return None;
            }
            Some(if durable { tracked } else { plain })
        }))
    }
}

fn envelope(job: &Job, positions: &[usize]) -> Envelope {
    let whole = &job.submission.mail.envelope;
    let recipients = positions.iter().filter_map(|p| whole.recipients.get(*p).cloned()).collect();
    Envelope { recipients, reverse_path: whole.reverse_path.clone(), params: whole.params.clone() }
}

/// Writes the spool record before the 250.
async fn keep(relay: &Relay, job: &Job, standings: &[Standing]) -> Result<(), Reply> {
    if !relay.parts.queue.has_room() {
        tracing::error!(message.id = %job.id, "{} needs the spool, whose disk is nearly full: it is left to its client", job.id);
        return Err(Reply::spool_full());
    }
    let recipe = serde_json::to_string(&job.recipe).map_err(|error| {
        tracing::error!(message.id = %job.id, %error, "a recipe cannot be written");
        Reply::internal_error()
    })?;
    let state = state(relay, job, standings);
    let record = Record {
        id: job.id,
        accepted_at_ms: job.accepted_at_ms,
        org: job.submission.submitter.org.to_string(),
        login: job.submission.submitter.login.clone(),
        own_report: false,
        envelope: job.submission.mail.envelope.clone(),
        first_state: state.clone(),
        recipe,
        via: Via {
            login: job.line.as_ref().and_then(|line| line.kept.clone()),
            ..relay.parts.queue.via(job.submission.submitter.org.as_str())
        },
        raw: job.submission.mail.raw.clone(),
    };
    let left = (job.begun + relay.options().keep_by).saturating_duration_since(Instant::now());
    match relay.parts.queue.keep(record, left).await {
        Ok(()) => {
            relay.parts.queue.adopt(job.id, &state);
            Ok(())
        }
        Err(Some(error)) => Err(cannot_keep(job, &error)),
        Err(None) => {
            tracing::error!(message.id = %job.id, "the spool took too long: {} is left to its client", job.id);
            Err(Reply::internal_error())
        }
    }
}

fn cannot_keep(job: &Job, error: &SpoolError) -> Reply {
    tracing::error!(message.id = %job.id, %error, "{} cannot be kept and is left to its client", job.id);
    if error.is_full() { Reply::spool_full() } else { Reply::internal_error() }
}

/// How every recipient stands, in the spool's words.
fn state(relay: &Relay, job: &Job, standings: &[Standing]) -> State {
    let now_ms = (relay.parts.clock)();
    let rules = relay.parts.queue.rules();
    let jitter = getrandom::u32().map_or(0, |n| (n & 0xffff) as u16);
    let host = job.courier.host();
    let mut state = State::waiting(standings.len(), now_ms);
    for (recipient, standing) in state.recipients.iter_mut().zip(standings) {
        match standing {
            Standing::Untried => {}
            Standing::InFlight => recipient.stage = Stage::InFlight,
            Standing::AcceptedBefore => recipient.stage = Stage::Delivered,
            Standing::Done(fate) => {
                let accepted_at_ms = job.accepted_at_ms;
                due::settle(recipient, &Attempted { fate, host, accepted_at_ms, now_ms, jitter }, rules);
            }
        }
    }
    state
}

/// Recipients who need not be tried again should the client send the same mail once more.
fn taken_care_of(job: &Job, standings: &[Standing], kept: bool) -> Vec<Vec<u8>> {
    let paths = job.submission.mail.envelope.recipients.iter().map(|r| r.path.0.as_bytes().to_vec());
    let has_it = |standing: &Standing| match standing {
        Standing::Done(Fate::Accepted { .. }) | Standing::AcceptedBefore => true,
        _ => kept,
    };
    paths.zip(standings).filter(|(_, standing)| has_it(standing)).map(|(path, _)| path).collect()
}

/// What still runs is settled when it ends; nobody waits for it here. Its end is told after it was told to be under way, unless
/// the history is slow: mail does not wait for that.
fn hand_over(relay: &Relay, job: &Job, in_flight: Vec<InFlight>, told: Told) {
    if in_flight.is_empty() {
        return;
    }
    let (queue, id, limit) = (relay.parts.queue.clone(), job.id, relay.options().record_max);
    let (telling, told_all) = watch::channel(());
    tokio::spawn(async move {
        drop(timeout(limit, told).await);
        drop(telling);
    });
    for InFlight { positions, attempt } in in_flight {
        let (queue, mut told) = (queue.clone(), told_all.clone());
        tokio::spawn(async move {
            let fates = attempts::fates_of(attempt.await, positions.len());
            // Ends with its sender.
            let first = async move { drop(told.changed().await) };
            queue.settle(id, positions, fates, first).await;
        });
    }
}

/// For recipients who asked to hear of success, where upstream will not say it.
async fn report_relayed(relay: &Relay, job: &Job, standings: &[Standing]) {
    let asked = |p: usize| {
        let recipient = job.submission.mail.envelope.recipients.get(p);
        recipient.is_some_and(|r| r.params.notify.is_some_and(|notify| notify.success))
    };
    let accepted = standings.iter().enumerate().filter_map(|(p, standing)| match standing {
        Standing::Done(fate @ Fate::Accepted { .. }) if asked(p) => Some((p, fate.clone())),
        _ => None,
    });
    let accepted: Vec<(usize, Fate)> = accepted.collect();
    if accepted.is_empty() || job.courier.offers_dsn() {
        return;
    }
    if job.line.is_some() {
        own_line::report_relayed(relay, job, accepted).await;
        return;
    }
    let (org, mail) = (job.submission.submitter.org.as_str(), &job.submission.mail);
    relay.parts.queue.report_relayed(job.id, org, mail, job.accepted_at_ms, accepted).await;
}

fn log(job: &Job, standings: &[Standing], reply: &Reply) {
    let upstream = job.courier.host();
    let count = |is: fn(&Standing) -> bool| standings.iter().filter(|s| is(s)).count();
    let accepted = count(|s| matches!(s, Standing::Done(Fate::Accepted { .. }) | Standing::AcceptedBefore));
    let refused = count(|s| matches!(s, Standing::Done(Fate::Refused { .. })));
    let unknown = count(|s| matches!(s, Standing::Done(Fate::Unknown { .. }) | Standing::InFlight));
    let deferred = standings.len() - accepted - refused - unknown;
    job.prepared.outcome().limits_met().for_each(limit_met);
    match job.prepared.outcome().untouched {
        None if !lock(&job.untracked).is_empty() => maillog::untouched(job.id, TOO_LARGE_TRACKED),
        Some(why) => maillog::untouched(job.id, &record::untouched(job).unwrap_or_else(|| why.to_string())),
        None => {
            let (links, left_alone) = record::link_counts(job);
            maillog::rewritten(job.id, job.tracking, links, left_alone, job.prepared_in);
        }
    }
    if accepted == standings.len() {
        maillog::delivered(job.id, accepted, upstream, reply, job.begun.elapsed());
    } else if refused == standings.len() {
        maillog::refused_upstream(job.id, refused, upstream, reply);
    } else {
        maillog::mixed(job.id, maillog::Outcomes { accepted, refused, deferred, unknown }, upstream);
    }
    let trouble = standings.iter().find_map(|s| match s {
        Standing::Done(fate @ Fate::Deferred { stage, .. }) if fate.is_our_trouble() => Some((stage, fate)),
        _ => None,
    });
    if let Some((stage, fate)) = trouble {
        maillog::upstream_trouble(upstream, stage.as_str(), &fate.to_string());
    }
}

/// Ends when the history knows how the recipients stand, or will not.
type Told = JoinHandle<()>;

/// The client need not wait for this commit: what it says is in upstream's hands or in the spool.
fn tell_history(relay: &Relay, job: &Job, standings: &[Standing]) -> Told {
    let is_recorded = job.recipe.recorded;
    let (now, now_ms) = (Instant::now(), (relay.parts.clock)());
    let both = job.recipe.recipients.iter().zip(standings);
    let outcomes = both.map(|(portion, standing)| (portion.index, delivery(standing, now, now_ms))).collect();
    let (history, id) = (Arc::clone(&relay.parts.history), job.id);
    let index = |position: &usize| job.recipe.recipients.get(*position).map(|one| one.index);
    let untracked: Vec<u16> = lock(&job.untracked).iter().filter_map(index).collect();
    tokio::spawn(async move {
        if is_recorded {
            queue::tell_untracked(history.as_ref(), id, untracked).await;
            tell(history.as_ref(), id, outcomes).await;
        }
    })
}

async fn tell(history: &dyn HistoryStore, id: MessageId, outcomes: Vec<(u16, Delivery)>) {
    if let Err(error) = history.settle(id, outcomes).await {
        tracing::warn!(message.id = %id, %error, "the outcome of {id} is not in the history");
    }
}

/// How a recipient stands, in history's words. Readers are judged by the moment of their own copy's answer, not by that of
/// the last one's.
fn delivery(standing: &Standing, now: Instant, now_ms: i64) -> Delivery {
    let (state, reply) = match standing {
        Standing::Done(fate) => (state_of(fate), fate.to_string()),
        Standing::AcceptedBefore => (DeliveryState::Accepted, "accepted with an earlier submission".to_owned()),
        // Upstream has it in hand and may be looking into it: nobody else can have it.
        Standing::InFlight => (DeliveryState::Pending, "the answer of upstream is awaited".to_owned()),
        Standing::Untried => (DeliveryState::Deferred, "not tried yet".to_owned()),
    };
    let accepted_at_ms = match standing {
        Standing::Done(fate) => fate.accepted_at_ms(now, now_ms),
        Standing::AcceptedBefore | Standing::InFlight | Standing::Untried => None,
    };
    Delivery { state, reply, at_ms: accepted_at_ms.unwrap_or(now_ms) }
}

fn state_of(fate: &Fate) -> DeliveryState {
    match fate {
        Fate::Accepted { .. } => DeliveryState::Accepted,
        Fate::Refused { .. } => DeliveryState::Refused,
        Fate::Deferred { .. } => DeliveryState::Deferred,
        Fate::Unknown { .. } => DeliveryState::Unknown,
    }
}

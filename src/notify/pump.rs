//! The outbox to webhooks: what is due is tried, each webhook by itself, those that do not answer with less and less zeal.
//!
//! **Invariant:** a try is noted after it was made, so a crash between the two makes it again and never not at all. While a note
//! cannot be written, only the note is tried again: nobody is told the same over and over because our disk is full. Webhooks
//! that hang hold up others until it is their turn, which [`turns`] gives fairly, and no longer; and a try that breaks off in a
//! fault of our own gives its place back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use metrics::{counter, histogram};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::post::Signed;
use super::target::Target;
use super::turns::{self, Standing};
use super::{Notify, stopped};
use crate::deliver::backoff::{self, Last};
use crate::settings::OrgName;
use crate::settings::notices::{Webhook, WebhookId};
use crate::store::outbox::{DeliveryStage, Tried, WebhookDelivery};
use crate::store::{Change, StoreError};

/// How often the outbox is looked at when nobody says that something is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a failure of the store.
const STORE_REST: Duration = Duration::from_secs(10);
/// How often what is kept no longer is forgotten.
const PURGE_EVERY: Duration = Duration::from_secs(600);
/// Tries at one time for one webhook: it may be slow, and others must not wait for it.
const PER_WEBHOOK_MAX: usize = 2;
/// Failures in a row after which a webhook rests.
const FAILURES_MAX: u32 = 5;
/// Its first rest; each further failure doubles it, up to the last.
const REST_MIN: Duration = Duration::from_secs(30);
const REST_MAX: Duration = Duration::from_secs(600);
/// Until a note that could not be written is tried again.
const NOTE_REST: Duration = Duration::from_secs(5);
/// What a try is noted as that broke off in a fault of our own.
const BROKE_OFF: &str = "waxseal broke off: a fault of its own, which its log tells";
/// At a stop, for tries under way; what is cut off is made again.
const STOP_MAX: Duration = Duration::from_secs(3);

/// What is remembered of one webhook.
#[derive(Debug)]
struct Line {
    org: OrgName,
    /// Number of its last try.
    last_try: u64,
    under_way: HashSet<i64>,
    failures: u32,
    rests_until: Option<Instant>,
}

/// What a try left behind.
#[derive(Debug, Clone, Copy)]
struct Ended {
    webhook: WebhookId,
    id: i64,
    good: bool,
}

/// Tries under way.
#[derive(Default)]
struct Tries {
    tasks: JoinSet<Ended>,
    /// What each is about.
    of: HashMap<Id, WebhookDelivery>,
    /// How many were begun since the start.
    begun: u64,
}

/// How a try came to its end.
enum End {
    /// It was made, and noted.
    Made(Ended),
    /// It broke off.
    BrokeOff(WebhookDelivery, JoinError),
}

impl Tries {
    /// Gives the number of the try.
    fn begin(&mut self, delivery: WebhookDelivery, attempt: impl Future<Output = Ended> + Send + 'static) -> u64 {
        let task = self.tasks.spawn(attempt);
        self.of.insert(task.id(), delivery);
        self.begun += 1;
        self.begun
    }

    /// The next that ends; `None` while there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    async fn next(&mut self) -> Option<End> {
        match self.tasks.join_next_with_id().await? {
            Ok((id, ended)) => {
                self.of.remove(&id);
                Some(End::Made(ended))
            }
            Err(died) => self.of.remove(&died.id()).map(|delivery| End::BrokeOff(delivery, died)),
        }
    }
}

/// Hands over until it is time to stop.
pub(super) async fn run(notify: Arc<Notify>, mut stop: watch::Receiver<bool>) {
    let mut lines: HashMap<WebhookId, Line> = HashMap::new();
    let mut tries = Tries::default();
    let mut purged: Option<Instant> = None;
    loop {
        let mut rest = LOOK_EVERY;
        if let Err(error) = begin(&notify, &mut lines, &mut tries).await {
            tracing::error!(%error, "webhooks cannot be told for now; what is due waits");
            rest = STORE_REST;
        }
        if purged.is_none_or(|at| at.elapsed() >= PURGE_EVERY) {
            purged = Some(Instant::now());
            purge(&notify).await;
        }
        tokio::select! {
            () = stopped(&mut stop) => break,
            () = notify.due.notified() => {}
            Some(end) = tries.next() => settle(&notify, &mut lines, &mut tries, end),
            () = tokio::time::sleep(rest) => {}
        }
    }
    let finished = async { while tries.next().await.is_some() {} };
    if tokio::time::timeout(STOP_MAX, finished).await.is_err() {
        tracing::info!("webhooks that had not answered are told again after the next start");
    }
}

/// Begins every try that is due and may be made now, one after the other by whose turn it is.
async fn begin(
    notify: &Arc<Notify>,
    lines: &mut HashMap<WebhookId, Line>,
    tries: &mut Tries,
) -> Result<(), StoreError> {
    let now_ms = (notify.parts.clock)();
    let snapshot = notify.parts.settings.snapshot();
    // What was begun for a webhook that is gone still takes a place of its organisation.
    lines.retain(|id, line| snapshot.webhooks.contains_key(id) || !line.under_way.is_empty());
    let mut waiting = HashSet::new();
    for id in notify.parts.outbox.due_webhooks(now_ms).await? {
        match snapshot.webhooks.get(&id) {
            None => drop(notify.parts.outbox.forget(id).await?),
            Some(webhook) if webhook.paused => {}
            Some(webhook) => {
                lines.entry(id).or_insert_with(|| Line::new(webhook.org.clone()));
                waiting.insert(id);
            }
        }
    }
    let places = notify.options.concurrency_max;
    while tries.tasks.len() < places {
        let Some(id) = turn(lines, &waiting, places) else { break };
        let (Some(line), Some(webhook)) = (lines.get_mut(&id), snapshot.webhooks.get(&id)) else { break };
        let looked_at = u32::try_from(line.under_way.len()).unwrap_or(u32::MAX).saturating_add(1);
        let due = notify.parts.outbox.due(id, now_ms, looked_at).await?;
        let Some(delivery) = due.into_iter().find(|delivery| !line.under_way.contains(&delivery.id)) else {
            waiting.remove(&id);
            continue;
        };
        line.under_way.insert(delivery.id);
        line.last_try = tries.begin(delivery.clone(), attempt(Arc::clone(notify), webhook.clone(), delivery));
    }
    Ok(())
}

/// Whose turn it is among those for whom something waits.
fn turn(lines: &HashMap<WebhookId, Line>, waiting: &HashSet<WebhookId>, places: usize) -> Option<WebhookId> {
    let mut standings = Vec::with_capacity(lines.len());
    for (id, line) in lines {
        let room = if waiting.contains(id) { line.room() } else { 0 };
        let (under_way, last_try) = (line.under_way.len(), line.last_try);
        standings.push(Standing { id: *id, org: &line.org, under_way, room, last_try });
    }
    turns::next(&standings, places)
}

impl Line {
    fn new(org: OrgName) -> Line {
        Line { org, last_try: 0, under_way: HashSet::new(), failures: 0, rests_until: None }
    }

    /// How many tries may begin now. One that has failed too often gets one at a time, and none while it rests.
    fn room(&self) -> usize {
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return 0;
        }
        let most = if self.failures >= FAILURES_MAX { 1 } else { PER_WEBHOOK_MAX };
        most.saturating_sub(self.under_way.len())
    }

    fn ended(&mut self, id: i64, good: bool) {
        self.under_way.remove(&id);
        self.failures = if good { 0 } else { self.failures.saturating_add(1) };
        let doublings = self.failures.checked_sub(FAILURES_MAX);
        self.rests_until = doublings.map(|doublings| {
            let rest = REST_MIN.saturating_mul(1_u32.checked_shl(doublings.min(16)).unwrap_or(u32::MAX));
            Instant::now() + rest.min(REST_MAX)
        });
    }
}

/// A try has come to its end. One that broke off is noted as failed, still under way until it is.
fn settle(notify: &Arc<Notify>, lines: &mut HashMap<WebhookId, Line>, tries: &mut Tries, end: End) {
    match end {
        End::Made(ended) => {
            let Some(line) = lines.get_mut(&ended.webhook) else { return };
            line.ended(ended.id, ended.good);
            if line.failures == FAILURES_MAX {
                tracing::warn!(webhook.id = %ended.webhook, "webhook {} does not answer as it should: it is tried less often", ended.webhook);
            }
        }
        End::BrokeOff(delivery, died) => {
            tracing::error!(%died, webhook.id = %delivery.webhook, delivery.id = delivery.id, "a try of a webhook ended in a panic");
            let ended = Ended { webhook: delivery.webhook, id: delivery.id, good: false };
            let now_ms = (notify.parts.clock)();
            let tried = outcome(notify, &delivery, false, BROKE_OFF.to_owned(), now_ms);
            let notify = Arc::clone(notify);
            tries.begin(delivery, async move {
                note(&notify, tried).await;
                ended
            });
        }
    }
}

/// One try, and its note.
async fn attempt(notify: Arc<Notify>, webhook: Webhook, delivery: WebhookDelivery) -> Ended {
    let begun = Instant::now();
    let at_ms = (notify.parts.clock)();
    let answered = send(&notify, &webhook, &delivery, at_ms).await;
    histogram!("waxseal_webhook_try_seconds").record(begun.elapsed().as_secs_f64());
    let gone = matches!(answered, Ok(StatusCode::GONE));
    let (good, answer) = match answered {
        Ok(status) => (status.is_success(), said(status)),
        Err(why) => (false, why),
    };
    let mut tried = outcome(&notify, &delivery, good, answer, at_ms);
    if gone {
        tried.stage = DeliveryStage::Failed;
        pause(&notify, &webhook).await;
    }
    match tried.stage {
        DeliveryStage::Delivered => counter!("waxseal_webhook_tries_total", "outcome" => "delivered"),
        DeliveryStage::Waiting => counter!("waxseal_webhook_tries_total", "outcome" => "failed"),
        DeliveryStage::Failed => counter!("waxseal_webhook_tries_total", "outcome" => "given_up"),
    }
    .increment(1);
    if tried.stage == DeliveryStage::Failed {
        tracing::warn!(webhook.id = %webhook.id, delivery.id = delivery.id, "webhook {} was not told of {}: {}", webhook.id, delivery.message_id, tried.answer);
    }
    note(&notify, tried).await;
    Ended { webhook: webhook.id, id: delivery.id, good }
}

/// Notes a try, however long that takes: until it is noted its delivery is under way, and not made again.
async fn note(notify: &Notify, tried: Tried) {
    let mut failing = false;
    while let Err(error) = notify.parts.outbox.tried(tried.clone()).await {
        if matches!(error, StoreError::Closed { .. }) {
            tracing::info!("a try of a webhook was not noted before the stop: it is made again after the next start");
            return;
        }
        if !failing {
            tracing::error!(%error, delivery.id = tried.id, "a try of a webhook cannot be noted for now; nothing is sent again for that");
        }
        failing = true;
        tokio::time::sleep(NOTE_REST).await;
    }
}

/// Its receiver says that it is gone for good (410): Standard Webhooks asks senders to stop.
async fn pause(notify: &Notify, webhook: &Webhook) {
    let id = webhook.id;
    tracing::warn!(webhook.id = %id, "webhook {id} says that it is gone (410): it is paused");
    let pause = Change::PauseWebhook { id, url: webhook.url.clone() };
    if let Err(error) = notify.parts.settings.change(vec![pause]).await {
        tracing::error!(%error, "a webhook that is gone could not be paused");
    }
}

async fn send(
    notify: &Notify,
    webhook: &Webhook,
    delivery: &WebhookDelivery,
    at_ms: i64,
) -> Result<StatusCode, String> {
    let target = Target::parse(&webhook.url, notify.options.allow_private).map_err(|wrong| wrong.to_string())?;
    let secret = notify.secret(webhook).ok_or("its secret cannot be opened: the key file is another one")?;
    let timestamp = at_ms.div_euclid(1_000);
    let signature = secret.sign(&delivery.message_id, timestamp, delivery.body.as_bytes());
    let signed = Signed { id: delivery.message_id.clone(), timestamp, signature };
    notify.poster.post(&target, signed, delivery.body.clone()).await.map_err(|wrong| wrong.to_string())
}

fn said(status: StatusCode) -> String {
    let words = status.canonical_reason().unwrap_or_default();
    let hint = if status.is_redirection() { " (redirects are not followed)" } else { "" };
    format!("{} {words}{hint}", status.as_u16()).trim().to_owned()
}

fn outcome(notify: &Notify, delivery: &WebhookDelivery, good: bool, answer: String, at_ms: i64) -> Tried {
    let tried = |stage, next_try_ms| Tried { id: delivery.id, stage, at_ms, next_try_ms, answer };
    if good {
        return tried(DeliveryStage::Delivered, at_ms);
    }
    let now_ms = (notify.parts.clock)();
    let age = Duration::from_millis(u64::try_from(now_ms.saturating_sub(delivery.since_ms)).unwrap_or(0));
    // Without randomness there is no jitter; that is no reason not to try again.
    let jitter = getrandom::u32().map_or(0, |random| (random & 0xffff) as u16);
    match backoff::wait(delivery.attempts.saturating_add(1), age, Last::Deferred, jitter, &notify.options.schedule) {
        Some(wait) => {
            let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            tried(DeliveryStage::Waiting, now_ms.saturating_add(wait_ms))
        }
        None => tried(DeliveryStage::Failed, at_ms),
    }
}

/// What waits longer than a delivery lives is given up, whether its webhook is tried, rests or is paused: who replays it later
/// decides so. What ended long ago goes.
async fn purge(notify: &Notify) {
    let life_ms = i64::try_from(notify.options.schedule.life.as_millis()).unwrap_or(i64::MAX);
    match notify.parts.outbox.give_up((notify.parts.clock)().saturating_sub(life_ms)).await {
        Ok(0) => {}
        Ok(given_up) => {
            counter!("waxseal_webhook_tries_total", "outcome" => "given_up").increment(given_up);
            tracing::warn!(
                given_up,
                "{given_up} events were not taken by their webhooks in time: they are listed as failed"
            );
        }
        Err(error) => tracing::warn!(%error, "deliveries to webhooks that are overdue could not be given up yet"),
    }
    let kept_ms = i64::try_from(notify.options.kept.as_millis()).unwrap_or(i64::MAX);
    if let Err(error) = notify.parts.outbox.purge((notify.parts.clock)().saturating_sub(kept_ms)).await {
        tracing::warn!(%error, "old deliveries to webhooks could not be forgotten yet");
    }
}

#[cfg(test)]
mod tests;

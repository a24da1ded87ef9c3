//! One upstream as the mail path sees it: its connections, its pace, and whether it is known to be down.
//!
//! Both the waiting client's attempts and the queue's go through here, so that they share one breaker and one pace.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use tokio::time::Instant;

use super::breaker::Breaker;
use super::capabilities::CannotCarry;
use super::outbound::{Deadlines, Outbound};
use super::pace::Pace;
use super::pool::Upstream;
use super::predict;
use super::standing::Memory;
pub use super::standing::Standing;
use super::{Fate, Stage, Trouble, Why};
use crate::message::tree;
use crate::smtp::reply::{Enhanced, Reply};

/// Connections, breaker and pace of one upstream.
pub struct Courier {
    upstream: Arc<Upstream>,
    host: String,
    breaker: Mutex<Breaker>,
    pace: Mutex<Pace>,
    /// A moving average of how long one copy takes.
    recent_copy_ms: AtomicI64,
    in_flight: AtomicUsize,
    started: Instant,
    structure: tree::Limits,
    memory: Arc<Memory>,
}

impl Courier {
    /// `host` is what reports and logs call this upstream.
    pub fn new(upstream: Upstream, host: String, messages_per_minute: Option<u32>) -> Courier {
        Courier {
            upstream: Arc::new(upstream),
            host,
            breaker: Mutex::default(),
            pace: Mutex::new(Pace::new(messages_per_minute)),
            recent_copy_ms: AtomicI64::new(0),
            in_flight: AtomicUsize::new(0),
            started: Instant::now(),
            structure: tree::Limits::default(),
            memory: Arc::default(),
        }
    }

    /// The same, remembering its attempts together with the others who have this memory.
    #[must_use]
    pub fn remembering(mut self, memory: Arc<Memory>) -> Courier {
        self.memory = memory;
        self
    }

    /// How deliveries have gone since the start.
    pub fn standing(&self) -> Standing {
        self.memory.standing(self.is_down())
    }

    /// The same with these limits on how far a mail's structure is followed when it must be put into seven bits.
    #[must_use]
    pub fn following(mut self, structure: tree::Limits) -> Courier {
        self.structure = structure;
        self
    }

    pub(super) fn structure(&self) -> &tree::Limits {
        &self.structure
    }

    /// Connects and logs in now, so that the first mail finds a connection.
    ///
    /// # Errors
    /// As [`Upstream::log_in`].
    pub async fn log_in(&self, until: Instant) -> Result<(), Trouble> {
        self.upstream.log_in(until).await
    }

    /// Says goodbye to upstream on every connection at rest.
    pub async fn close(&self) {
        self.upstream.close().await;
    }

    /// What reports and logs call this upstream.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether upstream sends delivery status notifications itself.
    pub fn offers_dsn(&self) -> bool {
        self.upstream.offers_dsn()
    }

    /// Whether upstream lets in by an access token, as far as it has said.
    pub fn offers_bearer(&self) -> bool {
        self.upstream.offers_bearer()
    }

    /// Whether upstream takes 8-bit content, as far as it has said.
    pub(super) fn takes_eight_bit(&self) -> bool {
        self.upstream.takes_eight_bit()
    }

    /// Whether upstream has been unreachable and is not tried just now.
    pub fn is_down(&self) -> bool {
        lock(&self.breaker).is_open(self.now_ms())
    }

    /// Milliseconds that it is not tried; 0 when it may be.
    pub fn down_for_ms(&self) -> i64 {
        lock(&self.breaker).open_for_ms(self.now_ms())
    }

    /// The next attempt is made, even if upstream has been unreachable: somebody knows that it is back.
    pub fn hurry(&self) {
        lock(&self.breaker).hurry(self.now_ms());
    }

    /// The facts [`predict::straight_to_spool`] asks for.
    pub fn forecast(&self, copies: usize, size_bytes: u64) -> predict::Facts {
        let now_ms = self.now_ms();
        predict::Facts {
            copies,
            size_bytes,
            pace_wait_ms: lock(&self.pace).wait_ms(copies, now_ms),
            recent_copy_ms: self.recent_copy_ms.load(Ordering::Relaxed),
            breaker_open: lock(&self.breaker).is_open(now_ms),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }

    /// One attempt: waits its turn, delivers, and learns from the outcome. One fate per recipient, in order.
    ///
    /// # Errors
    /// [`CannotCarry`]: upstream is well, but this form of the mail is not for it. Nothing was sent.
    ///
    /// # Cancel safety
    /// None: run it in a task that owns it.
    pub async fn deliver(&self, outbound: Outbound, deadlines: Deadlines) -> Result<Vec<Fate>, CannotCarry> {
        let recipients = outbound.envelope.recipients.len();
        if !lock(&self.breaker).admit(self.now_ms()) {
            return Ok(vec![Fate::Deferred { stage: Stage::Connect, why: Why::Down }; recipients]);
        }
        let within = deadlines.dot_sent_by.saturating_duration_since(Instant::now());
        let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        let Some(wait_ms) = lock(&self.pace).book(self.now_ms(), within_ms) else {
            return Ok(vec![Fate::Deferred { stage: Stage::Connect, why: Why::Busy }; recipients]);
        };
        if wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))).await;
        }
        let begun = Instant::now();
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let fates = deliver_in_task(Arc::clone(&self.upstream), outbound, deadlines).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        match &fates {
            Ok(fates) => self.learn(fates, begun),
            // It told us what it can do, so it is up: the next form of this mail, and others, may try.
            Err(_) => lock(&self.breaker).answered(),
        }
        fates
    }

    fn learn(&self, fates: &[Fate], begun: Instant) {
        count(fates, begun.elapsed());
        self.memory.learn(fates);
        let took_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let before = self.recent_copy_ms.load(Ordering::Relaxed);
        self.recent_copy_ms.store((before * 7 + took_ms) / 8, Ordering::Relaxed);
        let mut breaker = lock(&self.breaker);
        if !fates.is_empty() && fates.iter().all(says_it_is_down) {
            breaker.failed(self.now_ms());
        } else if !fates.iter().all(|fate| matches!(fate, Fate::Deferred { why: Why::Busy | Why::Withdrawn, .. })) {
            breaker.answered();
        }
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// Declares what is counted here.
pub fn describe_metrics() {
    describe_counter!("waxseal_deliveries_total", "Outcomes of attempts to hand a recipient's copy to upstream.");
    describe_histogram!(
        "waxseal_delivery_attempt_seconds",
        Unit::Seconds,
        "From the begin of an attempt to upstream's last answer; waiting for its turn is not in it."
    );
}

fn count(fates: &[Fate], took: Duration) {
    histogram!("waxseal_delivery_attempt_seconds").record(took.as_secs_f64());
    for fate in fates {
        match fate {
            Fate::Accepted { .. } => counter!("waxseal_deliveries_total", "outcome" => "accepted"),
            Fate::Refused { .. } => counter!("waxseal_deliveries_total", "outcome" => "refused"),
            Fate::Deferred { .. } => counter!("waxseal_deliveries_total", "outcome" => "deferred"),
            Fate::Unknown { .. } => counter!("waxseal_deliveries_total", "outcome" => "unknown"),
        }
        .increment(1);
    }
}

/// The attempt runs in a task of its own: once the dot has left, nobody's departure may break it off.
async fn deliver_in_task(
    upstream: Arc<Upstream>,
    outbound: Outbound,
    deadlines: Deadlines,
) -> Result<Vec<Fate>, CannotCarry> {
    let recipients = outbound.envelope.recipients.len();
    let task = tokio::spawn(async move { upstream.deliver(outbound, deadlines).await });
    task.await.unwrap_or_else(|died| {
        // Nobody knows how far it came: the careful answer.
        tracing::error!(%died, "a delivery task died");
        Ok(vec![Fate::Unknown { why: Why::Lost("the delivery task died".to_owned()) }; recipients])
    })
}

/// What a mail that upstream cannot carry comes to for each of its recipients: refused, in upstream's place.
pub fn refusal(cannot: CannotCarry) -> Fate {
    let (code, enhanced) = match cannot {
        CannotCarry::EightBit => (554, Enhanced(5, 6, 3)),
        CannotCarry::Utf8 => (553, Enhanced(5, 6, 7)),
        CannotCarry::TooLarge { .. } => (552, Enhanced(5, 3, 4)),
    };
    Fate::Refused { stage: Stage::Mail, reply: Reply::new(code, enhanced, cannot.to_string()) }
}

/// Whether this fate speaks of the server rather than of the mail: it never answered a MAIL.
fn says_it_is_down(fate: &Fate) -> bool {
    match fate {
        Fate::Deferred { why: Why::Busy | Why::Down | Why::Withdrawn | Why::Unsendable, .. } => false,
        Fate::Deferred { stage, .. } => *stage < Stage::Mail,
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! One upstream as the mail path sees it: its connections, its pace, and whether it is known to be down.
//!
//! Both the waiting client's attempts and the queue's go through here, so that they share one breaker and one pace.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Breaker;
use super::outbound::{Deadlines, Outbound};
use super::pace::Pace;
use super::pool::Upstream;
use super::predict;
use super::{Fate, Stage, Why};

/// Connections, breaker and pace of one upstream.
pub struct Courier {
    upstream: Upstream,
    host: String,
    breaker: Mutex<Breaker>,
    pace: Mutex<Pace>,
    /// A moving average of how long one copy takes.
    recent_copy_ms: AtomicI64,
    in_flight: AtomicUsize,
    started: Instant,
}

impl Courier {
    /// `host` is what reports and logs call this upstream.
    pub fn new(upstream: Upstream, host: String, messages_per_minute: Option<u32>) -> Courier {
        Courier {
            upstream,
            host,
            breaker: Mutex::default(),
            pace: Mutex::new(Pace::new(messages_per_minute)),
            recent_copy_ms: AtomicI64::new(0),
            in_flight: AtomicUsize::new(0),
            started: Instant::now(),
        }
    }

    /// What reports and logs call this upstream.
    pub fn host(&self) -> &str {
        &self.host
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
    /// # Cancel safety
    /// None: run it in a task that owns it.
    pub async fn deliver(&self, outbound: Outbound, deadlines: Deadlines) -> Vec<Fate> {
        let recipients = outbound.envelope.recipients.len();
        if !lock(&self.breaker).admit(self.now_ms()) {
            let why = Why::Lost("not tried: upstream has been unreachable".to_owned());
            return vec![Fate::Deferred { stage: Stage::Connect, why }; recipients];
        }
        let wait_ms = lock(&self.pace).book(self.now_ms());
        if wait_ms > 0 {
            let turn = Instant::now() + Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
            if turn >= deadlines.dot_sent_by {
                return vec![Fate::Deferred { stage: Stage::Connect, why: Why::Busy }; recipients];
            }
            tokio::time::sleep_until(turn).await;
        }
        let begun = Instant::now();
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let fates = self.upstream.deliver(outbound, deadlines).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.learn(&fates, begun);
        fates
    }

    fn learn(&self, fates: &[Fate], begun: Instant) {
        let took_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let before = self.recent_copy_ms.load(Ordering::Relaxed);
        self.recent_copy_ms.store((before * 7 + took_ms) / 8, Ordering::Relaxed);
        let mut breaker = lock(&self.breaker);
        if fates.iter().all(says_it_is_down) {
            breaker.failed(self.now_ms());
        } else if !fates.iter().all(|fate| matches!(fate, Fate::Deferred { why: Why::Busy | Why::Withdrawn, .. })) {
            breaker.answered();
        }
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// Whether this fate speaks of the server rather than of the mail: it never answered a MAIL.
fn says_it_is_down(fate: &Fate) -> bool {
    match fate {
        Fate::Deferred { why: Why::Busy | Why::Withdrawn | Why::Unsendable, .. } => false,
        Fate::Deferred { stage, .. } => *stage < Stage::Mail,
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

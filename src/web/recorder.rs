//! A bounded queue to one thread that judges events and puts them on record, a group at a time.
//!
//! **Invariant:** `Recorder::note` never waits. An event is counted as recorded only when its group is durable; one
//! that is not recorded is counted as lost. While the disk fails, the group at hand is tried again and the queue fills;
//! beyond its bound events are lost, and counted. The address lives no longer than the queue.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::Counters;
use super::group::{Judge, Judging};
use crate::event::EventKind;
use crate::store::record::Recording;
use crate::store::{HistoryStore, SettingsStore, StoreError};
use crate::token::TokenId;

/// Events that may wait: two seconds of the busiest site, some 40 MB at most.
pub const QUEUE_MAX: usize = 65_536;
/// The most events in one group: the more, the fewer index pages are written twice; 4,096 take some 40 ms.
const GROUP_MAX: usize = 4096;
/// How long after the start an event may repeat one that was recorded before it: the longest window of the rules.
const LOOK_BACK_MS: i64 = 60_000;
/// The first wait after a failure; it doubles up to the last.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often a group is tried once the site stops.
const TRIES_AT_STOP: u32 = 3;

/// One request that is an event, with what must be forgotten once it is judged.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) at_ms: i64,
    pub(super) id: TokenId,
    pub(super) kind: EventKind,
    /// A header says that nobody has looked yet.
    pub(super) ahead_of_need: bool,
    pub(super) address: IpAddr,
    pub(super) agent: Option<Box<str>>,
}

/// Where requests leave their events.
pub(super) struct Recorder {
    queue: mpsc::Sender<Visit>,
    counters: Arc<Counters>,
    started: Instant,
    /// Whole seconds after `started` of the last word about losses.
    said_secs: AtomicU64,
}

/// Waits for the recorder's end, which comes when every [`Recorder`] is dropped.
pub(super) struct Drained {
    done: oneshot::Receiver<()>,
    stopping: Arc<AtomicBool>,
}

/// Starts the thread. Called within a runtime, which must outlive it.
pub(super) fn start(
    history: Arc<dyn HistoryStore>,
    settings: Arc<dyn SettingsStore>,
    judging: Judging,
    counters: Arc<Counters>,
    queue_max: usize,
) -> std::io::Result<(Recorder, Drained)> {
    let (queue, visits) = mpsc::channel(queue_max);
    let (finished, done) = oneshot::channel();
    let stopping = Arc::new(AtomicBool::new(false));
    let worker = Worker {
        history,
        settings,
        judge: Judge::new(judging),
        counters: Arc::clone(&counters),
        stopping: Arc::clone(&stopping),
        runtime: Handle::current(),
        began_ms: None,
    };
    std::thread::Builder::new().name("recorder".to_owned()).spawn(move || {
        worker.run(visits);
        if finished.send(()).is_err() {
            tracing::debug!("nobody waited for the recorder's end");
        }
    })?;
    Ok((
        Recorder { queue, counters, started: Instant::now(), said_secs: AtomicU64::new(0) },
        Drained { done, stopping },
    ))
}

impl Recorder {
    /// Queues the event, or counts it as lost.
    pub(super) fn note(&self, visit: Visit) {
        if self.queue.try_send(visit).is_ok() {
            return;
        }
        let lost = self.counters.lost.fetch_add(1, Ordering::Relaxed) + 1;
        let now_secs = self.started.elapsed().as_secs() + 1;
        if self.said_secs.swap(now_secs, Ordering::Relaxed) != now_secs {
            tracing::error!(
                lost,
                "events are lost: they come faster than the disk takes them; links and pixels work on"
            );
        }
    }
}

impl Drained {
    /// Waits until every queued event is on record, at most so long.
    pub(super) async fn wait(self, at_most: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        if tokio::time::timeout(at_most, self.done).await.is_err() {
            tracing::error!("the recorder did not finish in time: the events still queued are lost");
        }
    }
}

struct Worker {
    history: Arc<dyn HistoryStore>,
    settings: Arc<dyn SettingsStore>,
    judge: Judge,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
    runtime: Handle,
    /// The time of the first event.
    began_ms: Option<i64>,
}

impl Worker {
    fn run(mut self, mut visits: mpsc::Receiver<Visit>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while visits.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            let count = group.len() as u64;
            let counter = if self.take(&group) { &self.counters.recorded } else { &self.counters.lost };
            counter.fetch_add(count, Ordering::Relaxed);
            group.clear();
        }
    }

    /// Judges the group and puts it on record; whether it is durable in the end.
    fn take(&mut self, group: &[Visit]) -> bool {
        self.read_up(group);
        let recording = Arc::new(self.judge.judge(group, &self.settings.snapshot()));
        match self.put_on_record(&recording) {
            Some(sequences) => {
                self.judge.recorded(&recording.events, &sequences);
                true
            }
            None => {
                self.judge.lost(&recording.events);
                false
            }
        }
    }

    /// Asks the history what it knows of the group's copies, as far as it is not known. Without an answer they are judged
    /// without it, and it is asked again.
    fn read_up(&mut self, group: &[Visit]) {
        let ids = self.judge.to_read(group);
        let Some(at_ms) = group.first().map(|visit| visit.at_ms) else { return };
        let began_ms = *self.began_ms.get_or_insert(at_ms);
        if ids.is_empty() {
            return;
        }
        let look_back = (at_ms.saturating_sub(began_ms) < LOOK_BACK_MS).then(|| at_ms.saturating_sub(LOOK_BACK_MS));
        match self.runtime.block_on(self.history.copies(ids.clone(), look_back)) {
            Ok(facts) => self.judge.learn(ids, facts, at_ms),
            Err(error) => {
                tracing::warn!(%error, "the history does not answer: events are judged without their deliveries");
            }
        }
    }

    /// The sequences of the events, once they are durable; `None` when they never will be.
    fn put_on_record(&self, recording: &Arc<Recording>) -> Option<Vec<i64>> {
        let mut wait = RETRY_MIN;
        for tries in 1.. {
            let error = match self.runtime.block_on(self.history.put_on_record(Arc::clone(recording))) {
                Ok(sequences) => {
                    if tries > 1 {
                        tracing::info!("events are on record again");
                    }
                    return Some(sequences);
                }
                Err(error) => error,
            };
            let events = recording.events.len();
            if !may_pass(&error) || (self.stopping.load(Ordering::Relaxed) && tries >= TRIES_AT_STOP) {
                tracing::error!(%error, events, "events are lost: the history does not take them");
                return None;
            }
            if tries == 1 {
                tracing::error!(%error, "the history takes no events for now; they wait, links and pixels work on");
            }
            std::thread::park_timeout(wait);
            wait = RETRY_MAX.min(wait * 2);
        }
        None
    }
}

/// Whether the same group may be taken later.
fn may_pass(error: &StoreError) -> bool {
    match error {
        StoreError::Disk { .. } | StoreError::Busy { .. } => true,
        StoreError::Corrupt { .. } | StoreError::Refused { .. } | StoreError::Closed { .. } => false,
    }
}

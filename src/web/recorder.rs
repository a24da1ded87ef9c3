//! A bounded queue to one thread that judges the rest of an event and puts events on record, a group at a time.
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
use super::agent::{Agent, Agents};
use crate::event::network::network_hash;
use crate::event::{Event, EventKind, Verdict};
use crate::geo::Geo;
use crate::store::{HistoryStore, StoreError};
use crate::token::{InstanceKey, TokenId};

/// Events that may wait: two seconds of the busiest site, some 40 MB at most.
pub const QUEUE_MAX: usize = 65_536;
/// The most events in one group: the more, the fewer index pages are written twice; 4,096 take some 40 ms.
const GROUP_MAX: usize = 4096;
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
    pub(super) verdict: Verdict,
    pub(super) rule: &'static str,
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
    geo: Arc<Geo>,
    instance: InstanceKey,
    counters: Arc<Counters>,
    queue_max: usize,
) -> std::io::Result<(Recorder, Drained)> {
    let (queue, visits) = mpsc::channel(queue_max);
    let (finished, done) = oneshot::channel();
    let stopping = Arc::new(AtomicBool::new(false));
    let worker = Worker {
        history,
        geo,
        instance,
        counters: Arc::clone(&counters),
        stopping: Arc::clone(&stopping),
        agents: Agents::default(),
        runtime: Handle::current(),
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
    geo: Arc<Geo>,
    instance: InstanceKey,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
    agents: Agents,
    runtime: Handle,
}

impl Worker {
    fn run(mut self, mut visits: mpsc::Receiver<Visit>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while visits.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            let count = group.len() as u64;
            let counter = if self.put_on_record(&group) { &self.counters.recorded } else { &self.counters.lost };
            counter.fetch_add(count, Ordering::Relaxed);
            group.clear();
        }
    }

    /// Whether the group is durable in the end.
    fn put_on_record(&mut self, group: &[Visit]) -> bool {
        let mut wait = RETRY_MIN;
        for tries in 1.. {
            let events = group.iter().map(|visit| self.event(visit)).collect();
            let error = match self.runtime.block_on(self.history.record(events)) {
                Ok(()) if tries > 1 => {
                    tracing::info!("events are on record again");
                    return true;
                }
                Ok(()) => return true,
                Err(error) => error,
            };
            if !may_pass(&error) || (self.stopping.load(Ordering::Relaxed) && tries >= TRIES_AT_STOP) {
                tracing::error!(%error, events = group.len(), "events are lost: the history does not take them");
                return false;
            }
            if tries == 1 {
                tracing::error!(%error, "the history takes no events for now; they wait, links and pixels work on");
            }
            std::thread::park_timeout(wait);
            wait = RETRY_MAX.min(wait * 2);
        }
        false
    }

    fn event(&mut self, visit: &Visit) -> Event {
        let Agent { client, os, device } = self.agents.identify(visit.agent.as_deref());
        Event {
            at_ms: visit.at_ms,
            id: visit.id,
            kind: visit.kind,
            verdict: visit.verdict,
            rule: visit.rule.to_owned(),
            country: self.geo.country(visit.address),
            agent_family: client,
            os_family: os,
            device_family: device,
            network_hash: Some(network_hash(&self.instance, visit.id.message, visit.address)),
        }
    }
}

/// Whether the same group may be taken later.
fn may_pass(error: &StoreError) -> bool {
    match error {
        StoreError::Disk { .. } | StoreError::Busy { .. } => true,
        StoreError::Corrupt { .. } | StoreError::Refused { .. } | StoreError::Closed { .. } => false,
    }
}

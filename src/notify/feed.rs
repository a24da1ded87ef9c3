//! Events as they come, for open pages: one reader of the history, many listeners.
//!
//! **Invariants:** listeners share one bounded buffer, and one that falls behind it is cut off and asks again from where it
//! was. Nothing is read while nobody listens. Every event after [`Listener::position`] comes through the listener, every one
//! up to it is on record.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::sync::{Notify as Wake, OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::Instant;

use super::stopped;
use crate::event::{EventKind, Verdict};
use crate::store::record::TimelineEntry;
use crate::store::{HistoryStore, StoreError, TimelineFilter};

/// Events that a listener may be behind.
const BUFFER_MAX: usize = 512;
/// Events read at once.
const READ_MAX: u32 = 500;
/// Between two looks at the history, however many events come.
const LOOK_MIN: Duration = Duration::from_millis(100);
/// How often it is looked at when nobody says that there is something.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a click may yet turn out to be a machine's.
pub const CHANGES_MS: i64 = 15_000;
const CHANGES: Duration = Duration::from_millis(CHANGES_MS.unsigned_abs());
/// Events looked at for that.
const LOOK_BACK_MAX: u32 = 1_000;
/// Clicks remembered for that.
const CHANGES_MAX: usize = 500;

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The event.
    pub entry: TimelineEntry,
    /// It was heard before and is judged otherwise now.
    pub changed: bool,
}

/// The feed.
pub struct Feed {
    history: Arc<dyn HistoryStore>,
    sender: broadcast::Sender<Arc<Heard>>,
    /// The newest event that is passed on, while anybody listens. Moves before that is.
    position: watch::Sender<Option<i64>>,
    closed: watch::Sender<bool>,
    streams: Arc<Semaphore>,
    wake: Wake,
}

/// One listener.
pub struct Listener {
    receiver: broadcast::Receiver<Arc<Heard>>,
    position: watch::Receiver<Option<i64>>,
    closed: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

/// Why a listener hears no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It fell behind: events were left out.
    Behind,
    /// We stop.
    Closed,
}

/// As many listen as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("listeners", &self.listeners()).finish_non_exhaustive()
    }
}

impl Feed {
    pub(super) fn new(history: Arc<dyn HistoryStore>, streams_max: usize) -> Feed {
        Feed {
            history,
            sender: broadcast::Sender::new(BUFFER_MAX),
            position: watch::Sender::new(None),
            closed: watch::Sender::new(false),
            streams: Arc::new(Semaphore::new(streams_max)),
            wake: Wake::new(),
        }
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// [`Full`].
    pub fn listen(&self) -> Result<Listener, Full> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Full)?;
        let listener = Listener {
            receiver: self.sender.subscribe(),
            position: self.position.subscribe(),
            closed: self.closed.subscribe(),
            _permit: permit,
        };
        self.wake.notify_one();
        Ok(listener)
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Passes events on until `stop` turns true.
    pub(super) async fn run(&self, mut news: watch::Receiver<()>, mut stop: watch::Receiver<bool>) {
        let mut recent = VecDeque::new();
        loop {
            let quiet = if self.forget_position() {
                recent.clear();
                None
            } else {
                if let Err(error) = self.look(&mut recent).await {
                    tracing::warn!(%error, "the live feed cannot read the history");
                }
                Some(LOOK_EVERY)
            };
            tokio::select! {
                () = stopped(&mut stop) => break,
                _ = news.changed(), if quiet.is_some() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(quiet.unwrap_or(Duration::from_secs(60))) => {}
            }
            tokio::time::sleep(LOOK_MIN).await;
        }
        self.closed.send_replace(true);
    }

    /// While nobody listens there is no position. Looked at and forgotten as one: whoever begins to listen meanwhile reads the
    /// position afterwards, and waits for the next.
    fn forget_position(&self) -> bool {
        self.position.send_if_modified(|position| {
            let nobody = self.listeners() == 0;
            if nobody {
                *position = None;
            }
            nobody
        })
    }

    async fn look(&self, recent: &mut VecDeque<Click>) -> Result<(), StoreError> {
        let position = *self.position.borrow();
        let Some(position) = position else {
            let newest = TimelineFilter { newest: true, limit: 1, ..TimelineFilter::default() };
            let last = self.history.timeline(newest).await?.last().map_or(0, |entry| entry.sequence);
            self.position.send_replace(Some(last));
            return Ok(());
        };
        let mut to = position;
        loop {
            let filter = TimelineFilter { after_sequence: to, limit: READ_MAX, ..TimelineFilter::default() };
            let entries = self.history.timeline(filter).await?;
            let more = entries.len() == READ_MAX as usize;
            to = entries.last().map_or(to, |entry| entry.sequence);
            // Before anybody is told: who begins to listen meanwhile hears the rest at most, and finds the others on record.
            self.position.send_replace(Some(to));
            for entry in entries {
                remember(recent, &entry);
                self.tell(Heard { entry, changed: false });
            }
            if !more {
                break;
            }
        }
        // Also when nothing came: a click that is counted on another before it may complete a burst.
        self.look_back(recent).await
    }

    /// Somebody's word has judged an event anew. Whoever listens is told; who cannot be, sees it with the next look at the page.
    pub async fn judged_anew(&self, sequence: i64) {
        if self.listeners() == 0 {
            return;
        }
        let filter = TimelineFilter { after_sequence: sequence - 1, limit: 1, ..TimelineFilter::default() };
        match self.history.timeline(filter).await {
            Ok(found) => {
                for entry in found.into_iter().filter(|entry| entry.sequence == sequence) {
                    self.tell(Heard { entry, changed: true });
                }
            }
            Err(error) => tracing::warn!(%error, "the live feed cannot read an event that was judged anew"),
        }
    }

    /// Tells which clicks of late are judged otherwise by now.
    async fn look_back(&self, recent: &mut VecDeque<Click>) -> Result<(), StoreError> {
        recent.retain(|click| click.heard.elapsed() < CHANGES);
        let Some(oldest) = recent.front() else { return Ok(()) };
        let filter =
            TimelineFilter { after_sequence: oldest.sequence - 1, limit: LOOK_BACK_MAX, ..TimelineFilter::default() };
        for entry in self.history.timeline(filter).await? {
            let known = recent.iter_mut().find(|click| click.sequence == entry.sequence);
            if let Some(click) = known.filter(|click| click.verdict != entry.event.verdict) {
                click.verdict = entry.event.verdict;
                self.tell(Heard { entry, changed: true });
            }
        }
        Ok(())
    }

    fn tell(&self, heard: Heard) {
        if self.sender.send(Arc::new(heard)).is_err() {
            tracing::debug!("the last listener has left");
        }
    }
}

/// What was sent under `aggregate` is counted by the day: nobody sees it happen.
pub fn is_for_listeners(entry: &TimelineEntry) -> bool {
    entry.event.network_hash.is_some()
}

/// A click of late.
struct Click {
    sequence: i64,
    heard: Instant,
    verdict: Verdict,
}

fn remember(recent: &mut VecDeque<Click>, entry: &TimelineEntry) {
    if entry.event.kind == EventKind::Click {
        if recent.len() >= CHANGES_MAX {
            recent.pop_front();
        }
        recent.push_back(Click { sequence: entry.sequence, heard: Instant::now(), verdict: entry.event.verdict });
    }
}

impl Listener {
    /// An event: all after it come through this listener, all up to it are on record, and the last of these may come too.
    /// `None`: we stop.
    pub async fn position(&mut self) -> Option<i64> {
        let (position, closed) = (&mut self.position, &mut self.closed);
        let known = tokio::select! {
            known = position.wait_for(Option::is_some) => known.ok().and_then(|position| *position),
            _ = closed.wait_for(|closed| *closed) => None,
        };
        known
    }

    /// The next event.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn next(&mut self) -> Result<Arc<Heard>, Ended> {
        let (receiver, closed) = (&mut self.receiver, &mut self.closed);
        tokio::select! {
            heard = receiver.recv() => heard.map_err(|error| match error {
                broadcast::error::RecvError::Lagged(_) => {
                    counter!("waxseal_feed_streams_cut_total").increment(1);
                    Ended::Behind
                }
                broadcast::error::RecvError::Closed => Ended::Closed,
            }),
            _ = closed.wait_for(|closed| *closed) => Err(Ended::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::task::{Context, Wake, Waker};

    use super::*;
    use crate::event::{Event, Rule};
    use crate::store::memory::MemoryHistory;
    use crate::store::record::{Mended, Recording};
    use crate::token::{MessageId, TokenId};

    fn event(kind: EventKind) -> Event {
        Event {
            at_ms: 1_000,
            id: TokenId { message: MessageId(1), recipient: 7, link: 0 },
            kind,
            verdict: Verdict::Person,
            rule: String::new(),
            former: None,
            repeats: 0,
            country: None,
            city: None,
            via: None,
            agent_family: None,
            os_family: None,
            device_family: None,
            network_hash: None,
            evidence: None,
        }
    }

    struct World {
        history: Arc<MemoryHistory>,
        feed: Arc<Feed>,
        news: watch::Sender<()>,
        stop: watch::Sender<bool>,
    }

    fn world(streams_max: usize) -> World {
        let history = Arc::new(MemoryHistory::default());
        let feed = Arc::new(Feed::new(Arc::clone(&history) as Arc<dyn HistoryStore>, streams_max));
        let (news, stop) = (watch::Sender::new(()), watch::Sender::new(false));
        let (running, heard, stopping) = (Arc::clone(&feed), news.subscribe(), stop.subscribe());
        tokio::spawn(async move { running.run(heard, stopping).await });
        World { history, feed, news, stop }
    }

    impl World {
        async fn record(&self, kind: EventKind) {
            self.history.record(vec![event(kind)]).await.unwrap();
            self.news.send_replace(());
        }
    }

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing came")
    }

    #[tokio::test]
    async fn what_comes_after_the_position_is_heard_once_and_in_order() {
        let world = world(9);
        world.record(EventKind::Open).await;
        let mut listener = world.feed.listen().unwrap();
        assert_eq!(soon(listener.position()).await, Some(1));
        for kind in [EventKind::Open, EventKind::Click, EventKind::Open] {
            world.record(kind).await;
        }
        for sequence in 2..=4 {
            let heard = soon(listener.next()).await.unwrap();
            assert_eq!((heard.entry.sequence, heard.changed), (sequence, false));
        }
        // The second is a machine's after all, as the next shows.
        let verdict = Some((Verdict::Machine, Rule::Burst));
        let mended = vec![Mended { sequence: 3, repeats: 0, verdict }];
        let recording = Recording { events: vec![event(EventKind::Click)], mended };
        world.history.put_on_record(Arc::new(recording)).await.unwrap();
        world.news.send_replace(());
        assert_eq!(soon(listener.next()).await.unwrap().entry.sequence, 5);
        let heard = soon(listener.next()).await.unwrap();
        assert_eq!((heard.entry.sequence, heard.changed, heard.entry.event.verdict), (3, true, Verdict::Machine));
        // And the fifth, by one that was counted on it: no event comes of that.
        let mended = vec![Mended { sequence: 5, repeats: 1, verdict }];
        world.history.put_on_record(Arc::new(Recording { events: vec![], mended })).await.unwrap();
        world.news.send_replace(());
        let heard = soon(listener.next()).await.unwrap();
        assert_eq!((heard.entry.sequence, heard.changed, heard.entry.event.verdict), (5, true, Verdict::Machine));
        world.stop.send_replace(true);
        assert_eq!(soon(listener.next()).await.unwrap_err(), Ended::Closed);
    }

    /// Begins to listen when another listener is woken: just between two events that are passed on.
    struct Newcomer {
        feed: Arc<Feed>,
        came: Mutex<Option<(Listener, Option<i64>)>>,
    }

    impl Wake for Newcomer {
        fn wake(self: Arc<Self>) {
            let mut came = self.came.lock().unwrap();
            if came.is_none() {
                let listener = self.feed.listen().unwrap();
                let position = *listener.position.borrow();
                *came = Some((listener, position));
            }
        }
    }

    #[tokio::test]
    async fn who_comes_while_events_are_passed_on_misses_none() {
        let history = Arc::new(MemoryHistory::default());
        let feed = Arc::new(Feed::new(Arc::clone(&history) as Arc<dyn HistoryStore>, 9));
        let mut recent = VecDeque::new();
        let mut first = feed.listen().unwrap();
        feed.look(&mut recent).await.unwrap();
        let newcomer = Arc::new(Newcomer { feed: Arc::clone(&feed), came: Mutex::default() });
        let waker = Waker::from(Arc::clone(&newcomer));
        let mut next = Box::pin(first.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        history.record(vec![event(EventKind::Open); 3]).await.unwrap();
        feed.look(&mut recent).await.unwrap();
        let (mut listener, position) = newcomer.came.lock().unwrap().take().unwrap();
        let mut known: Vec<i64> = (1..=position.unwrap()).collect();
        while let Ok(heard) = listener.receiver.try_recv() {
            known.push(heard.entry.sequence);
        }
        known.sort_unstable();
        known.dedup();
        assert_eq!(known, [1, 2, 3]);
        drop((listener, next));
        // Nobody is there any more, and then somebody is before that is noticed.
        drop(first);
        let again = feed.listen().unwrap();
        assert!(!feed.forget_position() && again.position.borrow().is_some());
        drop(again);
        assert!(feed.forget_position() && feed.position.borrow().is_none());
    }

    #[tokio::test]
    async fn who_falls_behind_is_cut_off_and_there_is_room_for_so_many() {
        let world = world(2);
        let mut slow = world.feed.listen().unwrap();
        let second = world.feed.listen().unwrap();
        assert_eq!(world.feed.listen().err(), Some(Full));
        drop(second);
        let mut third = world.feed.listen().unwrap();
        assert_eq!(soon(slow.position()).await, Some(0));
        // The other reads along; who does not is told so.
        for round in 1..=3 {
            world.history.record(vec![event(EventKind::Open); BUFFER_MAX / 2]).await.unwrap();
            world.news.send_replace(());
            let last = round * (BUFFER_MAX / 2) as i64;
            while soon(third.next()).await.unwrap().entry.sequence < last {}
        }
        assert_eq!(soon(slow.next()).await.unwrap_err(), Ended::Behind);
    }
}

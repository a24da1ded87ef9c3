//! Events as they come, for open pages: one reader of the history, many listeners.
//!
//! **Invariants:** listeners share one bounded buffer, and one that falls behind it is cut off and asks again from where it
//! was. Nothing is read while nobody listens. Every event after [`Listener::position`] comes through the listener, every one
//! up to it is on record; and so does every judgement that changes an event's verdict.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::sync::{Notify as Wake, OwnedSemaphorePermit, Semaphore, broadcast, watch};

use super::stopped;
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
/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The event.
    pub entry: TimelineEntry,
    /// It was heard before and is judged otherwise now.
    pub changed: bool,
    /// Every judgement up to this one has been heard by then.
    pub judged: i64,
}

/// How far the feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Sequence of the newest event that is passed on.
    pub event: i64,
    /// Number of the newest judgement that is passed on.
    pub judged: i64,
}

/// The feed.
pub struct Feed {
    history: Arc<dyn HistoryStore>,
    sender: broadcast::Sender<Arc<Heard>>,
    /// While anybody listens. Moves before anything is passed on.
    position: watch::Sender<Option<Place>>,
    closed: watch::Sender<bool>,
    streams: Arc<Semaphore>,
    wake: Wake,
}

/// One listener.
pub struct Listener {
    receiver: broadcast::Receiver<Arc<Heard>>,
    position: watch::Receiver<Option<Place>>,
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
        loop {
            let quiet = if self.forget_position() {
                None
            } else {
                if let Err(error) = self.look().await {
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

    /// Passes on what there is since the last look: what came, then what is judged otherwise.
    async fn look(&self) -> Result<(), StoreError> {
        let position = *self.position.borrow();
        let Some(mut place) = position else {
            let judged = self.history.judgements().await?.last;
            let newest = TimelineFilter { newest: true, limit: 1, ..TimelineFilter::default() };
            let event = self.history.timeline(newest).await?.last().map_or(0, |entry| entry.sequence);
            self.position.send_replace(Some(Place { event, judged }));
            return Ok(());
        };
        loop {
            let filter = TimelineFilter { after_sequence: place.event, limit: READ_MAX, ..TimelineFilter::default() };
            let entries = self.history.timeline(filter).await?;
            let more = entries.len() == READ_MAX as usize;
            place.event = entries.last().map_or(place.event, |entry| entry.sequence);
            // Before anybody is told: who begins to listen meanwhile hears the rest at most, and finds the others on record.
            self.position.send_replace(Some(place));
            for entry in entries {
                self.tell(Heard { entry, changed: false, judged: place.judged });
            }
            if !more {
                break;
            }
        }
        self.pass_judgements_on(place).await
    }

    /// Passes on which of the events up to this place are judged otherwise by now: by a burst that came to its end, or because
    /// somebody said so.
    async fn pass_judgements_on(&self, place: Place) -> Result<(), StoreError> {
        let judged = self.history.judgements().await?.last;
        if judged == place.judged {
            return Ok(());
        }
        let (mut changed, mut after_sequence) = (Vec::new(), 0);
        loop {
            let filter = TimelineFilter {
                judged_after: Some(place.judged),
                after_sequence,
                // What comes later is told with the verdict it has by then.
                before_sequence: Some(place.event + 1),
                limit: READ_MAX,
                ..TimelineFilter::default()
            };
            let entries = self.history.timeline(filter).await?;
            let more = entries.len() == READ_MAX as usize;
            after_sequence = entries.last().map_or(after_sequence, |entry| entry.sequence);
            changed.extend(entries);
            if !more {
                break;
            }
        }
        self.position.send_replace(Some(Place { judged, ..place }));
        let last = changed.pop();
        for entry in changed {
            self.tell(Heard { entry, changed: true, judged: place.judged });
        }
        if let Some(entry) = last {
            self.tell(Heard { entry, changed: true, judged });
        }
        Ok(())
    }

    /// Something is judged otherwise, and whoever listens should not wait for it.
    pub fn look_again(&self) {
        self.wake.notify_one();
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

impl Listener {
    /// A place: all events and judgements after it come through this listener, all up to it are on record, and the last of
    /// these may come too. `None`: we stop.
    pub async fn position(&mut self) -> Option<Place> {
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
    use crate::event::{Event, EventKind, Rule, Verdict};
    use crate::store::contract_tests::record;
    use crate::store::memory::MemoryHistory;
    use crate::store::record::{Mended, Recording};
    use crate::token::{MessageId, TokenId};

    fn event(kind: EventKind) -> Event {
        Event {
            at_ms: 1_000,
            id: TokenId { message: MessageId(1), recipient: 9, link: 0 },
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
            network_hash: Some([1; 8]),
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
        world.history.insert(record(1)).await.unwrap();
        world.record(EventKind::Open).await;
        let mut listener = world.feed.listen().unwrap();
        assert_eq!(soon(listener.position()).await, Some(Place { event: 1, judged: 0 }));
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
        assert_eq!(heard.judged, 1);
        // And the fifth, by one that was counted on it: no event comes of that.
        let mended = vec![Mended { sequence: 5, repeats: 1, verdict }];
        world.history.put_on_record(Arc::new(Recording { events: vec![], mended })).await.unwrap();
        world.news.send_replace(());
        let heard = soon(listener.next()).await.unwrap();
        assert_eq!((heard.entry.sequence, heard.changed, heard.entry.event.verdict), (5, true, Verdict::Machine));
        assert_eq!(heard.judged, 2);
        world.stop.send_replace(true);
        assert_eq!(soon(listener.next()).await.unwrap_err(), Ended::Closed);
    }

    /// Begins to listen when another listener is woken: just between two events that are passed on.
    struct Newcomer {
        feed: Arc<Feed>,
        came: Mutex<Option<(Listener, Option<Place>)>>,
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
        let mut first = feed.listen().unwrap();
        feed.look().await.unwrap();
        let newcomer = Arc::new(Newcomer { feed: Arc::clone(&feed), came: Mutex::default() });
        let waker = Waker::from(Arc::clone(&newcomer));
        let mut next = Box::pin(first.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        history.record(vec![event(EventKind::Open); 3]).await.unwrap();
        feed.look().await.unwrap();
        let (mut listener, position) = newcomer.came.lock().unwrap().take().unwrap();
        let mut known: Vec<i64> = (1..=position.unwrap().event).collect();
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
        assert_eq!(soon(slow.position()).await, Some(Place { event: 0, judged: 0 }));
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

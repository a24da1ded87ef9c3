//! Forgets what is older than the retention allows: once at the start, then day by day, in small slices.
//!
//! **Invariant:** mail and events wait for one slice at most. What was forgotten is on the disk as free space, overwritten; links
//! and counters stay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::record::{Expiry, FORGET_EVENTS_MAX, FORGET_MESSAGES_MAX};
use super::{HistoryStore, SettingsStore, StoreError};
use crate::settings::{Keeping, Org, OrgName};

/// Days that messages and events are kept.
pub const KEEP_DAYS: u32 = 365;
/// How often it is looked what has become too old.
pub const EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two slices: the writer is free most of the time.
pub const PAUSE: Duration = Duration::from_millis(100);

const DAY_MS: i64 = 86_400_000;

/// What the job needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Days that messages are kept, where an organisation has not chosen fewer. See [`KEEP_DAYS`].
    pub message_days: u32,
    /// Days that events are kept, where an organisation has not chosen fewer. See [`KEEP_DAYS`].
    pub event_days: u32,
    /// See [`EVERY`].
    pub every: Duration,
    /// See [`PAUSE`].
    pub pause: Duration,
    /// Events looked at in one slice. See [`FORGET_EVENTS_MAX`].
    pub events_max: u32,
    /// Messages forgotten in one slice. See [`FORGET_MESSAGES_MAX`].
    pub messages_max: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            message_days: KEEP_DAYS,
            event_days: KEEP_DAYS,
            every: EVERY,
            pause: PAUSE,
            events_max: FORGET_EVENTS_MAX,
            messages_max: FORGET_MESSAGES_MAX,
        }
    }
}

/// Works until `shutdown` turns true or its sender goes.
pub async fn run(
    history: Arc<dyn HistoryStore>,
    settings: Arc<dyn SettingsStore>,
    options: Options,
    mut shutdown: watch::Receiver<bool>,
) {
    let work = async {
        loop {
            match forget(history.as_ref(), &OwnDays::of(settings.as_ref()), &options, now_ms()).await {
                Ok((0, 0)) => tracing::debug!("nothing is older than the retention allows"),
                Ok((messages, events)) => {
                    tracing::info!(messages, events, "what is older than the retention allows was forgotten");
                }
                Err(error) => tracing::error!(%error, "what is too old could not all be forgotten; tried again later"),
            }
            // Also of what others forget, such as webhook deliveries that ended.
            history.clear_traces().await;
            tokio::time::sleep(options.every).await;
        }
    };
    tokio::select! {
        () = work => {}
        ended = shutdown.wait_for(|stop| *stop) => {
            if ended.is_err() {
                tracing::debug!("whoever could ask the retention job to stop is gone: it stops");
            }
        }
    }
}

/// The days of organisations that have chosen some. They count where they are fewer than the server's.
#[derive(Debug, Default)]
pub struct OwnDays {
    /// Days that events of its mail are kept.
    pub events: BTreeMap<OrgName, u32>,
    /// Days that its messages are kept.
    pub messages: BTreeMap<OrgName, u32>,
}

impl OwnDays {
    /// As of now.
    fn of(settings: &dyn SettingsStore) -> OwnDays {
        let snapshot = settings.snapshot();
        let chosen = |days: fn(&Keeping) -> Option<u32>| {
            let of = |org: &Org| Some((org.name.clone(), days(&org.keeping)?));
            snapshot.orgs.values().filter_map(of).collect()
        };
        OwnDays { events: chosen(|keeping| keeping.events_days), messages: chosen(|keeping| keeping.messages_days) }
    }
}

/// Forgets everything that is too old at this time; how many messages and events.
///
/// # Errors
/// [`StoreError`]: the slices before are forgotten.
pub async fn forget(
    history: &dyn HistoryStore,
    own: &OwnDays,
    options: &Options,
    now_ms: i64,
) -> Result<(u64, u64), StoreError> {
    let before = |days: u32| now_ms.saturating_sub(i64::from(days).saturating_mul(DAY_MS));
    let of = |days: &BTreeMap<OrgName, u32>| days.iter().map(|(org, days)| (org.clone(), before(*days))).collect();
    let first = Expiry {
        of_orgs: Arc::new(of(&own.events)),
        messages_of_orgs: Arc::new(of(&own.messages)),
        events_max: options.events_max.max(1),
        messages_max: options.messages_max.max(1),
        ..Expiry::of(before(options.message_days), before(options.event_days))
    };
    let (mut messages, mut events) = (0, 0);
    let mut next = Some(first);
    while let Some(expiry) = next {
        let expired = history.expire(expiry).await?;
        messages += u64::from(expired.messages);
        events += u64::from(expired.events);
        next = expired.next;
        if next.is_some() {
            tokio::time::sleep(options.pause).await;
        }
    }
    Ok((messages, events))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventKind, Verdict};
    use crate::store::TimelineFilter;
    use crate::store::contract_tests::{event, record};
    use crate::store::history::tests::{log_len, traces};
    use crate::store::history::{self, SqliteHistory};
    use crate::store::memory::MemorySettings;
    use crate::store::record::{DayCountFilter, MessageFilter, MessageRecord};
    use crate::token::MessageId;

    async fn messages(history: &dyn HistoryStore) -> usize {
        history.messages(MessageFilter { limit: 500, ..MessageFilter::default() }).await.unwrap().len()
    }

    /// Each by its own days, to the millisecond, over many slices.
    #[tokio::test]
    async fn what_is_too_old_goes() {
        let folder = tempfile::tempdir().unwrap();
        let history = SqliteHistory::open(&folder.path().join("h"), &history::Options::default()).unwrap();
        let now_ms = 1_000 * DAY_MS;
        for id in 0..50 {
            let accepted_at_ms = now_ms - 10 * DAY_MS - i64::from(id < 45);
            history.insert(MessageRecord { accepted_at_ms, ..record(id) }).await.unwrap();
        }
        let at = |days: i64, more| Event {
            at_ms: now_ms - days * DAY_MS - more,
            ..event(49, 9, EventKind::Open, Verdict::Person)
        };
        let events: Vec<Event> = (0..1500).map(|number| at(20, i64::from(number % 2 == 0))).collect();
        history.record(events).await.unwrap();
        let options = Options { message_days: 10, event_days: 20, pause: Duration::ZERO, ..Options::default() };
        let none = OwnDays::default();
        assert_eq!(forget(&history, &none, &options, now_ms).await.unwrap(), (45, 750));
        assert_eq!(messages(&history).await, 5);
        assert_eq!(forget(&history, &none, &options, now_ms).await.unwrap(), (0, 0));
    }

    /// An organisation's days hold for its own mail, and only when they are fewer; whatever the size of a slice.
    #[tokio::test]
    async fn an_organisation_keeps_its_events_for_a_shorter_time() {
        for events_max in [1, 7, 500] {
            let folder = tempfile::tempdir().unwrap();
            let history = SqliteHistory::open(&folder.path().join("h"), &history::Options::default()).unwrap();
            let now_ms = 1_000 * DAY_MS;
            for (id, org) in [(1, "short"), (2, "long"), (3, "other")] {
                let org = org.parse().unwrap();
                history.insert(MessageRecord { accepted_at_ms: now_ms, org, ..record(id) }).await.unwrap();
            }
            let at = |message, days: i64| Event {
                at_ms: now_ms - days * DAY_MS,
                ..event(message, 9, EventKind::Open, Verdict::Person)
            };
            let ages = [40, 31, 30, 8, 7, 6, 0];
            let events: Vec<Event> = ages.iter().flat_map(|days| (1..=4).map(|id| at(id, *days))).collect();
            history.record(events).await.unwrap();
            let options = Options { event_days: 30, pause: Duration::ZERO, events_max, ..Options::default() };
            let events = [("short".parse().unwrap(), 7), ("long".parse().unwrap(), 300)].into_iter().collect();
            let own = OwnDays { events, ..OwnDays::default() };
            assert_eq!(forget(&history, &own, &options, now_ms).await.unwrap(), (0, 2 * 4 + 2));
            let filter = TimelineFilter { limit: 100, ..TimelineFilter::default() };
            let left = history.timeline(filter).await.unwrap();
            let of = |id| left.iter().filter(|entry| entry.event.id.message == MessageId(id)).count();
            assert_eq!([of(1), of(2), of(3), of(4)], [3, 5, 5, 5], "4 is nobody's mail");
            assert_eq!(forget(&history, &own, &options, now_ms).await.unwrap(), (0, 0));
        }
    }

    /// The same of its messages.
    #[tokio::test]
    async fn an_organisation_keeps_its_messages_for_a_shorter_time() {
        for messages_max in [1, 2, 100] {
            let folder = tempfile::tempdir().unwrap();
            let history = SqliteHistory::open(&folder.path().join("h"), &history::Options::default()).unwrap();
            let now_ms = 1_000 * DAY_MS;
            let mut id = 0;
            for org in ["short", "long", "other"] {
                for days in [40, 31, 30, 8, 7, 0] {
                    id += 1;
                    let (org, accepted_at_ms) = (org.parse().unwrap(), now_ms - days * DAY_MS);
                    history.insert(MessageRecord { accepted_at_ms, org, ..record(id) }).await.unwrap();
                }
            }
            let options = Options { message_days: 30, pause: Duration::ZERO, messages_max, ..Options::default() };
            let messages = [("short".parse().unwrap(), 7), ("long".parse().unwrap(), 300)].into_iter().collect();
            let own = OwnDays { messages, ..OwnDays::default() };
            assert_eq!(forget(&history, &own, &options, now_ms).await.unwrap(), (4 + 2 + 2, 0), "{messages_max}");
            let left = history.messages(MessageFilter { limit: 500, ..MessageFilter::default() }).await.unwrap();
            let of = |org: &str| left.iter().filter(|message| message.org.as_str() == org).count();
            assert_eq!((of("short"), of("long"), of("other")), (2, 4, 4));
            assert_eq!(forget(&history, &own, &options, now_ms).await.unwrap(), (0, 0));
        }
    }

    /// Where people read and where links led goes with the events it was counted for: each organisation's by its own days, a
    /// slice at a time.
    #[tokio::test]
    async fn destinations_and_places_go_with_their_events() {
        let folder = tempfile::tempdir().unwrap();
        let history = SqliteHistory::open(&folder.path().join("h"), &history::Options::default()).unwrap();
        let now_ms = 1_000 * DAY_MS;
        for (id, org) in [(1, "short"), (2, "other")] {
            let org = org.parse().unwrap();
            history.insert(MessageRecord { accepted_at_ms: now_ms, org, ..record(id) }).await.unwrap();
        }
        let of = |message, days: i64, kind| Event {
            at_ms: now_ms - days * DAY_MS,
            country: Some("IT".into()),
            via: None,
            ..event(message, 9, kind, Verdict::Person)
        };
        let of_day = |days| {
            [EventKind::Open, EventKind::Click].into_iter().flat_map(move |kind| [of(1, days, kind), of(2, days, kind)])
        };
        history.record((0..20).flat_map(of_day).collect()).await.unwrap();
        let options = Options { event_days: 10, pause: Duration::ZERO, events_max: 3, ..Options::default() };
        let own = OwnDays { events: [("short".parse().unwrap(), 5)].into_iter().collect(), ..OwnDays::default() };
        forget(&history, &own, &options, now_ms).await.unwrap();
        for (org, days) in [("short", 6), ("other", 11)] {
            let (org, limit) = (org.parse().ok(), 100);
            let filter = DayCountFilter { org, login: None, first_day: 0, last_day: i64::MAX, limit };
            let links: i64 = history.ranked_links(filter.clone()).await.unwrap().iter().map(|link| link.clicks).sum();
            let places: i64 = history.places(filter.clone()).await.unwrap().iter().map(|place| place.opens).sum();
            assert_eq!((links, places), (days, days), "{filter:?}");
            assert_eq!(history.days(filter).await.unwrap().len(), 20, "counts stay");
        }
    }

    #[tokio::test]
    async fn it_works_at_the_start_and_stops_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let history = SqliteHistory::open(&folder.path().join("h"), &history::Options::default()).unwrap();
        let history: Arc<dyn HistoryStore> = Arc::new(history);
        // Enough for pages to become free as a whole.
        for id in 1..=100 {
            history.insert(record(id)).await.unwrap();
        }
        let (stop, stopped) = watch::channel(false);
        let settings = Arc::new(MemorySettings::default());
        let options = Options { pause: Duration::ZERO, ..Options::default() };
        let job = tokio::spawn(run(Arc::clone(&history), settings, options, stopped));
        while messages(history.as_ref()).await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = || traces(folder.path(), "r9@example.com") + usize::from(log_len(folder.path()) > 0);
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while left() > 0 {
            assert!(std::time::Instant::now() < end, "it stays in the files");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(3), job).await.unwrap().unwrap();
    }
}

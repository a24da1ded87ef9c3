//! What every history store must do, run against SQLite and against the double in memory.

use std::sync::Arc;

use super::history::{Options, SqliteHistory};
use super::memory::MemoryHistory;
use super::record::{
    Delivery, DeliveryState, LinkRecord, MessageFilter, MessageRecord, MessageSummary, RecipientRecord,
};
use super::{HistoryStore, Inserted, TimelineFilter};
use crate::event::{Event, EventKind, Verdict};
use crate::settings::Mode;
use crate::token::{MessageId, SiteId, TokenId};

/// A record with no value at its default: recipients 7 and 9 have their own copies, 20 and 21 share 20's.
pub(super) fn record(id: u64) -> MessageRecord {
    let recipient = |index, copy_index, mode| RecipientRecord {
        index,
        copy_index,
        address: format!("r{index}@example.com"),
        opens: mode,
        links: Mode::Individual,
        delivery: Delivery { state: DeliveryState::Pending, reply: String::new(), at_ms: 5 },
    };
    MessageRecord {
        id: MessageId(id),
        accepted_at_ms: 1_700_000_000_000,
        org: "acme".parse().unwrap(),
        login: Some("ann".to_owned()),
        reverse_path: "ann@example.com".to_owned(),
        header_from: "Ann <ann@example.com>".to_owned(),
        subject: "Grüße \u{0}'; DROP TABLE message; --".to_owned(),
        message_id_header: "<1@example.com>".to_owned(),
        size_bytes: u64::from(u32::MAX) + 1,
        network_hash: Some([1, 2, 3, 4, 5, 6, 7, 8]),
        site: SiteId([0xde, 0xad, 0xbe, 0xef]),
        key_id: 255,
        untouched: None,
        notes: vec!["html: tracked".to_owned(), "a \"quoted\" line".to_owned()],
        recipients: vec![
            recipient(9, 9, Mode::Individual),
            recipient(7, 7, Mode::Aggregate),
            recipient(21, 20, Mode::Individual),
            recipient(20, 20, Mode::Individual),
        ],
        links: vec![
            LinkRecord { index: 0, destination: "https://example.com/".to_owned() },
            LinkRecord { index: 65_535, destination: "https://example.org/?a=1&b=2".to_owned() },
        ],
    }
}

pub(super) fn event(message: u64, recipient: u16, kind: EventKind, verdict: Verdict) -> Event {
    Event {
        at_ms: 1_700_000_001_000,
        id: TokenId { message: MessageId(message), recipient, link: 0 },
        kind,
        verdict,
        rule: "prefetch".to_owned(),
        country: Some("IT".to_owned()),
        agent_family: Some("Thunderbird".to_owned()),
        os_family: Some("Debian".to_owned()),
        device_family: None,
        network_hash: Some([8; 8]),
    }
}

/// Runs one story against both stores.
async fn against_both<F: Future<Output = ()>>(story: impl Fn(Arc<dyn HistoryStore>) -> F) {
    story(Arc::new(MemoryHistory::default())).await;
    let folder = tempfile::tempdir().unwrap();
    let real = SqliteHistory::open(&folder.path().join("history.sqlite"), &Options::default()).unwrap();
    story(Arc::new(real)).await;
}

async fn list(store: &dyn HistoryStore, filter: MessageFilter) -> Vec<MessageSummary> {
    store.messages(filter).await.unwrap()
}

#[tokio::test]
async fn a_message_is_read_as_it_was_written() {
    against_both(|store| async move {
        let bare = MessageRecord {
            login: None,
            network_hash: None,
            untouched: Some("signed".to_owned()),
            notes: vec![],
            recipients: vec![],
            links: vec![],
            ..record(u64::MAX)
        };
        for record in [record(1), record(1 << 63), bare] {
            assert_eq!(store.insert(record.clone()).await.unwrap(), Inserted::Durable);
            assert_eq!(store.message(record.id).await.unwrap(), Some(record));
        }
        assert_eq!(store.message(MessageId(2)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_taken_id_is_said_and_changes_nothing() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        let other = MessageRecord { subject: "another".to_owned(), ..record(1) };
        assert_eq!(store.insert(other).await.unwrap(), Inserted::IdTaken);
        assert_eq!(store.message(MessageId(1)).await.unwrap(), Some(record(1)));
    })
    .await;
}

#[tokio::test]
async fn settling_sets_states_and_the_count_of_the_accepted() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        let delivery = |state| Delivery { state, reply: "250 2.0.0 ok".to_owned(), at_ms: 9 };
        let outcomes = vec![(9, delivery(DeliveryState::Accepted)), (7, delivery(DeliveryState::Refused))];
        store.settle(MessageId(1), outcomes).await.unwrap();
        store.settle(MessageId(1), vec![(7, delivery(DeliveryState::Accepted))]).await.unwrap();
        store.settle(MessageId(404), vec![(7, delivery(DeliveryState::Accepted))]).await.unwrap();
        let read = store.message(MessageId(1)).await.unwrap().unwrap();
        let states: Vec<_> = read.recipients.iter().map(|r| (r.index, r.delivery.state)).collect();
        use DeliveryState::{Accepted, Pending};
        assert_eq!(states, [(9, Accepted), (7, Accepted), (21, Pending), (20, Pending)]);
        assert_eq!(list(&*store, MessageFilter { limit: 9, ..MessageFilter::default() }).await[0].accepted, 2);
    })
    .await;
}

/// Filters alone and together; pages follow one another without a gap or a double, also among equal times.
#[tokio::test]
async fn the_list_is_newest_first_and_pages() {
    against_both(|store| async move {
        for (id, at_ms, org, login) in [
            (1, 10, "acme", Some("ann")),
            (2, 20, "acme", Some("bob")),
            (3, 20, "acme", None),
            (1 << 63, 20, "beta", Some("eve")),
            (5, 30, "acme", Some("ann")),
        ] {
            let login = login.map(str::to_owned);
            let org = org.parse().unwrap();
            store.insert(MessageRecord { accepted_at_ms: at_ms, org, login, ..record(id) }).await.unwrap();
        }
        let filter = |org: Option<&str>, login: Option<&str>| MessageFilter {
            org: org.map(|org| org.parse().unwrap()),
            login: login.map(str::to_owned),
            before: None,
            limit: 500,
        };
        for (filter, expected) in [
            (filter(None, None), vec![5, 3, 2, 1 << 63, 1]),
            (filter(Some("acme"), None), vec![5, 3, 2, 1]),
            (filter(None, Some("ann")), vec![5, 1]),
            (filter(Some("acme"), Some("ann")), vec![5, 1]),
            (filter(Some("beta"), Some("ann")), vec![]),
        ] {
            let found: Vec<u64> = list(&*store, filter.clone()).await.iter().map(|s| s.id.0).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
        let mut paged = Vec::new();
        let mut before = None;
        while let [one] = &list(&*store, MessageFilter { before, limit: 1, ..MessageFilter::default() }).await[..] {
            paged.push(one.id.0);
            before = Some((one.accepted_at_ms, one.id));
        }
        assert_eq!(paged, [5, 3, 2, 1 << 63, 1]);
    })
    .await;
}

/// What a person did counts in the headline; what a machine or the sender did does not.
#[tokio::test]
async fn events_are_counted_with_their_message() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        use EventKind::{Click, Open};
        let rows = [
            (Open, Verdict::Unknown),
            (Open, Verdict::Proxy),
            (Open, Verdict::Machine),
            (Click, Verdict::Person),
            (Click, Verdict::Own),
        ];
        store.record(rows.map(|(kind, verdict)| event(1, 9, kind, verdict)).to_vec()).await.unwrap();
        store.record(vec![event(1, 9, Open, Verdict::Person), event(404, 9, Open, Verdict::Person)]).await.unwrap();
        let summary = &list(&*store, MessageFilter { limit: 1, ..MessageFilter::default() }).await[0];
        assert_eq!((summary.opens, summary.clicks, summary.recipients, summary.tracked), (3, 1, 4, true));
    })
    .await;
}

/// Rows: a copy of one's own; a mode that names nobody; a shared copy; an index nobody has; a message that is lost.
/// Where the mode is not individual, only the day is kept.
#[tokio::test]
async fn the_timeline_names_only_who_it_must_be() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        use EventKind::{Click, Open};
        for (message, recipient, kind, name, whole) in [
            (1, 9, Open, Some("r9@example.com"), true),
            (1, 9, Click, Some("r9@example.com"), true),
            (1, 7, Open, None, false),
            (1, 7, Click, Some("r7@example.com"), true),
            (1, 20, Open, None, true),
            (1, 21, Open, None, false),
            (1, 1000, Open, None, false),
            (404, 9, Open, None, false),
        ] {
            let happened = event(message, recipient, kind, Verdict::Person);
            let last = |entries: &[super::record::TimelineEntry]| entries.last().map_or(0, |e| e.sequence);
            let all = TimelineFilter { limit: 1000, ..TimelineFilter::default() };
            let before = last(&store.timeline(all.clone()).await.unwrap());
            store.record(vec![happened.clone()]).await.unwrap();
            let new = store.timeline(TimelineFilter { after_sequence: before, ..all }).await.unwrap();
            let [entry] = &new[..] else { panic!("one event was recorded, read {new:?}") };
            let day = Event {
                at_ms: 1_699_920_000_000,
                country: None,
                agent_family: None,
                os_family: None,
                network_hash: None,
                ..happened.clone()
            };
            assert_eq!(entry.event, if whole { happened } else { day });
            assert_eq!(entry.recipient.as_deref(), name, "{message} {recipient} {kind:?}");
            assert_eq!(entry.destination.is_some(), message == 1 && kind == Click);
            assert_eq!(entry.org.is_some(), message == 1);
        }
    })
    .await;
}

#[tokio::test]
async fn the_timeline_filters_and_follows() {
    against_both(|store| async move {
        let beta = "beta".parse().unwrap();
        store.insert(record(1)).await.unwrap();
        store.insert(MessageRecord { org: beta, login: None, ..record(2) }).await.unwrap();
        let open = |message| event(message, 9, EventKind::Open, Verdict::Person);
        store.record(vec![open(1), open(2), open(1), open(404)]).await.unwrap();
        let all = TimelineFilter { limit: 1000, ..TimelineFilter::default() };
        for (filter, expected) in [
            (all.clone(), vec![1, 2, 3, 4]),
            (TimelineFilter { message: Some(MessageId(1)), ..all.clone() }, vec![1, 3]),
            (TimelineFilter { org: Some("beta".parse().unwrap()), ..all.clone() }, vec![2]),
            (TimelineFilter { login: Some("ann".to_owned()), ..all.clone() }, vec![1, 3]),
            (TimelineFilter { after_sequence: 2, limit: 1, ..all.clone() }, vec![3]),
            (TimelineFilter { newest: true, ..all.clone() }, vec![1, 2, 3, 4]),
            (TimelineFilter { newest: true, limit: 2, ..all.clone() }, vec![3, 4]),
            (TimelineFilter { newest: true, limit: 1, message: Some(MessageId(1)), ..all.clone() }, vec![3]),
            (TimelineFilter { after_sequence: 4, ..all }, vec![]),
        ] {
            let found: Vec<i64> = store.timeline(filter.clone()).await.unwrap().iter().map(|e| e.sequence).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    })
    .await;
}

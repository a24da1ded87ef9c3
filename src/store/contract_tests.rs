//! What every history store must do, run against SQLite and against the double in memory.

use std::sync::Arc;

use super::history::{Options, SqliteHistory};
use super::memory::MemoryHistory;
use super::record::{
    CopyCount, CopyFacts, CopyId, CorrespondentFilter, Counts, DayCount, DayCountFilter, Delivery, DeliveryState,
    Expiry, Held, LinkRecord, Mended, MessageFilter, MessageRecord, MessageSummary, PastEvent, Reader, RecipientRecord,
    Recording, Total, TotalsOf,
};
use super::{HistoryStore, Inserted, Sealed, TimelineFilter};
use crate::event::{Event, EventKind, Evidence, Rule, Verdict, Via};
use crate::settings::Mode;
use crate::token::{MessageId, SiteId, TokenId};

/// A record with no value at its default: recipients 7 and 9 have their own copies, 20 and 21 share 20's.
pub(crate) fn record(id: u64) -> MessageRecord {
    let recipient = |index, copy_index, mode| RecipientRecord {
        index,
        copy_index,
        address: format!("r{index}@example.com"),
        name: format!("Reader Ünal {index}"),
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
        former: Some(Verdict::Proxy),
        repeats: 3,
        country: Some("IT".to_owned()),
        city: Some("Torino".to_owned()),
        via: Some(Via::Hosting),
        agent_family: Some("Thunderbird".to_owned()),
        os_family: Some("Debian".to_owned()),
        device_family: None,
        network_hash: Some([8; 8]),
        evidence: Some(Evidence { address: "2001:db8::7".parse().unwrap(), agent: Some("Raw/1 (ü)".to_owned()) }),
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

/// Who got the mail as it came is not tracked; when that is everybody, the mail says why. The first reason stays.
#[tokio::test]
async fn copies_that_left_as_they_came_are_not_tracked() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        let untracked =
            |recipients: &[u16], why: &str| store.leave_untracked(MessageId(1), recipients.to_vec(), why.to_owned());
        let tracked = |read: &MessageRecord| -> Vec<u16> {
            let any = |one: &&RecipientRecord| one.opens != Mode::Off || one.links != Mode::Off;
            read.recipients.iter().filter(any).map(|one| one.index).collect()
        };
        let all = tracked(&record(1));
        assert!(all.len() > 1);
        untracked(&all[..1], "too large").await.unwrap();
        let read = store.message(MessageId(1)).await.unwrap().unwrap();
        assert_eq!((tracked(&read), read.untouched), (all[1..].to_vec(), None));
        untracked(&all[1..], "too large").await.unwrap();
        untracked(&all, "something else").await.unwrap();
        let read = store.message(MessageId(1)).await.unwrap().unwrap();
        assert_eq!((tracked(&read), read.untouched.as_deref()), (vec![], Some("too large")));
        store.leave_untracked(MessageId(404), vec![1], "x".to_owned()).await.unwrap();
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
            limit: 500,
            ..MessageFilter::default()
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
        assert_eq!((summary.machine_opens, summary.machine_clicks), (1, 1));
    })
    .await;
}

/// Rows: a copy of one's own; a mode that names nobody; a shared copy; an index nobody has; a message that is lost.
/// Where the mode is not individual, only the day is kept, and nobody's copy.
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
                id: TokenId { recipient: 0, ..happened.id },
                at_ms: 1_699_920_000_000,
                country: None,
                city: None,
                via: None,
                agent_family: None,
                os_family: None,
                network_hash: None,
                evidence: None,
                ..happened.clone()
            };
            assert_eq!(entry.event, if whole { happened } else { day });
            let who = entry.recipient.as_ref().map(|who| (who.address.clone(), who.name.clone()));
            let expected = name.map(|name| (name.to_owned(), format!("Reader Ünal {recipient}")));
            assert_eq!(who, expected, "{message} {recipient} {kind:?}");
            assert_eq!(entry.destination.is_some(), message == 1 && kind == Click);
            assert_eq!(entry.org.is_some(), message == 1);
        }
    })
    .await;
}

/// What is judged otherwise is found in the order it was, each event once; what is counted by the day never. Old ones go.
#[tokio::test]
async fn judgements_are_found_and_bounded() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        let open = |recipient| event(1, recipient, EventKind::Open, Verdict::Person);
        store.record(vec![open(9), open(9), open(7), open(9)]).await.unwrap();
        let judgements = async || {
            let known = store.judgements().await.unwrap();
            (known.first, known.last)
        };
        assert_eq!(judgements().await, (1, 0));
        let judge = async |sequences: Vec<i64>| {
            let verdict = Some((Verdict::Machine, Rule::Burst));
            let mended = sequences.into_iter().map(|sequence| Mended { sequence, repeats: 0, verdict }).collect();
            store.put_on_record(Arc::new(Recording { events: Vec::new(), mended })).await.unwrap();
        };
        judge(vec![2, 3, 404]).await;
        judge(vec![1, 2]).await;
        assert_eq!(judgements().await, (1, 3));
        let all = TimelineFilter { limit: 9, ..TimelineFilter::default() };
        let (org, login) = ("acme".parse().ok(), Some("ann".to_owned()));
        for (judged_after, expected) in [(0, vec![1, 2]), (1, vec![1, 2]), (2, vec![2]), (3, vec![])] {
            let filter = TimelineFilter { judged_after: Some(judged_after), ..all.clone() };
            for filter in [filter.clone(), TimelineFilter { org: org.clone(), login: login.clone(), ..filter }] {
                let found: Vec<i64> = store.timeline(filter).await.unwrap().iter().map(|e| e.sequence).collect();
                assert_eq!(found, expected, "{judged_after}");
            }
        }
        let filter = TimelineFilter { judged_after: Some(0), login: Some("bo".to_owned()), ..all.clone() };
        assert_eq!(store.timeline(filter).await.unwrap(), []);
        judge(vec![4; 10_000]).await;
        assert_eq!(judgements().await, (4, 10_003));
        let known = store.judgements().await.unwrap();
        assert_eq!([2, 3, 10_003, 10_004].map(|number| known.reach_back_to(number)), [false, true, true, false]);
    })
    .await;
}

#[tokio::test]
async fn the_timeline_filters_and_follows() {
    against_both(|store| async move {
        let beta = "beta".parse().unwrap();
        store.insert(record(1)).await.unwrap();
        store.insert(MessageRecord { org: beta, login: None, ..record(2) }).await.unwrap();
        let (open, click) = (EventKind::Open, EventKind::Click);
        let person = |message, kind| event(message, 9, kind, Verdict::Person);
        store.record(vec![person(1, open), person(2, click), person(1, open), person(404, open)]).await.unwrap();
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
            (TimelineFilter { kind: Some(open), ..all.clone() }, vec![1, 3, 4]),
            (TimelineFilter { kind: Some(click), ..all.clone() }, vec![2]),
            (TimelineFilter { with_network: true, ..all.clone() }, vec![1, 2, 3]),
            (
                TimelineFilter { with_network: true, after_sequence: 3, login: Some("ann".to_owned()), ..all.clone() },
                vec![],
            ),
            (TimelineFilter { after_sequence: 4, ..all }, vec![]),
        ] {
            let found: Vec<i64> = store.timeline(filter.clone()).await.unwrap().iter().map(|e| e.sequence).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    })
    .await;
}

fn counts(opens: i64, clicks: i64, machine_opens: i64, machine_clicks: i64) -> Counts {
    Counts { opens, clicks, machine_opens, machine_clicks }
}

async fn days(store: &dyn HistoryStore, org: Option<&str>, login: Option<&str>) -> Vec<DayCount> {
    let filter = DayCountFilter {
        org: org.map(|org| org.parse().unwrap()),
        login: login.map(str::to_owned),
        first_day: 0,
        last_day: i64::MAX,
        limit: 100,
    };
    store.day_counts(filter).await.unwrap()
}

/// By copy, by org, sender and day; a message that is lost counts nowhere. A trusted network's mail has no login.
#[tokio::test]
async fn counters_of_copies_and_days() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        store.insert(MessageRecord { login: None, ..record(2) }).await.unwrap();
        store.insert(MessageRecord { org: "beta".parse().unwrap(), ..record(3) }).await.unwrap();
        use EventKind::{Click, Open};
        let next_day = Event { at_ms: 1_700_006_400_000, ..event(1, 9, Click, Verdict::Machine) };
        let events = [
            event(1, 9, Open, Verdict::Proxy),
            event(1, 9, Open, Verdict::Own),
            event(1, 7, Click, Verdict::Person),
            next_day,
            event(2, 9, Open, Verdict::Person),
            event(3, 9, Open, Verdict::Person),
            event(404, 9, Open, Verdict::Person),
        ];
        for events in [events[..3].to_vec(), events[3..].to_vec()] {
            store.record(events).await.unwrap();
        }
        let copy = |copy_index, counts| CopyCount { copy_index, counts };
        let of_copies = vec![copy(7, counts(0, 1, 0, 0)), copy(9, counts(1, 0, 1, 1))];
        assert_eq!(store.copy_counts(MessageId(1)).await.unwrap(), of_copies);
        assert_eq!(store.copy_counts(MessageId(404)).await.unwrap(), []);
        let day = |org: &str, login: Option<&str>, day, counts| DayCount {
            org: org.parse().unwrap(),
            login: login.map(str::to_owned),
            day,
            counts,
        };
        let all = [
            day("acme", None, 19_675, counts(1, 0, 0, 0)),
            day("acme", Some("ann"), 19_675, counts(1, 1, 1, 0)),
            day("acme", Some("ann"), 19_676, counts(0, 0, 0, 1)),
            day("beta", Some("ann"), 19_675, counts(1, 0, 0, 0)),
        ];
        assert_eq!(days(&*store, None, None).await, all);
        assert_eq!(days(&*store, Some("acme"), None).await, all[..3]);
        assert_eq!(days(&*store, Some("acme"), Some("ann")).await, all[1..3]);
        assert_eq!(days(&*store, None, Some("")).await, all[..1]);
        let one_day = DayCountFilter { first_day: 19_676, last_day: 19_676, limit: 9, ..DayCountFilter::default() };
        assert_eq!(store.day_counts(one_day).await.unwrap(), all[2..3]);
        let first = DayCountFilter { last_day: i64::MAX, limit: 1, ..DayCountFilter::default() };
        assert_eq!(store.day_counts(first).await.unwrap(), all[..1]);
        // Summed, most by people first.
        let total = |org: &str, login: Option<&str>, counts| Total {
            org: org.parse().unwrap(),
            login: login.map(str::to_owned),
            counts,
        };
        let always = |limit| DayCountFilter { last_day: i64::MAX, limit, ..DayCountFilter::default() };
        let senders = [
            total("acme", Some("ann"), counts(1, 1, 1, 1)),
            total("acme", None, counts(1, 0, 0, 0)),
            total("beta", Some("ann"), counts(1, 0, 0, 0)),
        ];
        assert_eq!(store.totals(always(9), TotalsOf::Senders).await.unwrap(), senders);
        assert_eq!(store.totals(always(1), TotalsOf::Senders).await.unwrap(), senders[..1]);
        let orgs = [total("acme", None, counts(2, 1, 1, 1)), senders[2].clone()].map(|t| Total { login: None, ..t });
        assert_eq!(store.totals(always(9), TotalsOf::Orgs).await.unwrap(), orgs);
        let of_beta = DayCountFilter { org: "beta".parse().ok(), ..always(9) };
        assert_eq!(store.totals(of_beta, TotalsOf::Senders).await.unwrap(), senders[2..]);
    })
    .await;
}

/// A repeat is no count of its own; a verdict taken back moves every counter and stays readable.
#[tokio::test]
async fn later_events_change_earlier_ones() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        let fresh = |link| {
            let mut event = event(1, 9, EventKind::Click, Verdict::Person);
            event.id.link = link;
            Event { repeats: 0, former: None, rule: String::new(), ..event }
        };
        let recording = |events, mended| Arc::new(Recording { events, mended });
        let sequences = store.put_on_record(recording(vec![fresh(1), fresh(2)], Vec::new())).await.unwrap();
        assert_eq!(sequences, [1, 2]);
        let burst = Some((Verdict::Machine, Rule::Burst));
        let mended = vec![
            Mended { sequence: 1, repeats: 2, verdict: burst },
            Mended { sequence: 2, repeats: 1, verdict: None },
            Mended { sequence: 99, repeats: 1, verdict: burst },
        ];
        assert_eq!(store.put_on_record(recording(vec![fresh(3)], mended)).await.unwrap(), [3]);
        let again = Mended { sequence: 1, repeats: 0, verdict: burst };
        assert_eq!(store.put_on_record(recording(Vec::new(), vec![again])).await.unwrap(), Vec::<i64>::new());
        let timeline = store.timeline(TimelineFilter { limit: 9, ..TimelineFilter::default() }).await.unwrap();
        let events: Vec<Event> = timeline.into_iter().map(|entry| entry.event).collect();
        let taken_back = Event {
            repeats: 2,
            verdict: Verdict::Machine,
            rule: "burst".to_owned(),
            former: Some(Verdict::Person),
            ..fresh(1)
        };
        assert_eq!(events, [taken_back, Event { repeats: 1, ..fresh(2) }, fresh(3)]);
        let after = counts(0, 2, 0, 1);
        assert_eq!(store.copy_counts(MessageId(1)).await.unwrap()[0].counts, after);
        assert_eq!(days(&*store, None, None).await[0].counts, after);
        let summary = &list(&*store, MessageFilter { limit: 1, ..MessageFilter::default() }).await[0];
        assert_eq!((summary.clicks, summary.machine_clicks), (2, 1));
    })
    .await;
}

/// Own copies, a shared one, one nobody got, a lost message; and how delivery changes them.
#[tokio::test]
async fn what_is_known_of_copies() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        let delivery = |state, at_ms| Delivery { state, reply: String::new(), at_ms };
        let outcomes = vec![
            (9, delivery(DeliveryState::Accepted, 40)),
            (20, delivery(DeliveryState::Accepted, 50)),
            (21, delivery(DeliveryState::Deferred, 60)),
        ];
        store.settle(MessageId(1), outcomes).await.unwrap();
        let reader = |index, opens| {
            let address = format!("r{index}@example.com");
            Reader { address, opens, links: Mode::Individual }
        };
        let known = |recipients, accepted_at_ms, waiting_since_ms, readers| CopyFacts {
            org: "acme".parse().unwrap(),
            login: record(1).login,
            network_hash: Some([1, 2, 3, 4, 5, 6, 7, 8]),
            links: 2,
            recipients,
            accepted_at_ms,
            waiting_since_ms,
            settled: waiting_since_ms.is_none(),
            readers,
            past: Vec::new(),
        };
        let ids = [(1, 9), (1, 7), (1, 20), (1, 1000), (404, 9)];
        let ids = ids.map(|(message, copy_index)| CopyId { message: MessageId(message), copy_index });
        let expected = [
            Some(known(1, Some(40), None, vec![reader(9, Mode::Individual)])),
            Some(known(1, None, Some(5), vec![reader(7, Mode::Aggregate)])),
            Some(known(2, Some(50), Some(60), vec![reader(20, Mode::Individual), reader(21, Mode::Individual)])),
            Some(known(0, None, None, Vec::new())),
            None,
        ];
        let mut found = store.copies(ids.to_vec(), None).await.unwrap();
        found.iter_mut().flatten().for_each(|facts| facts.readers.sort_by(|a, b| a.address.cmp(&b.address)));
        assert_eq!(found, expected);
        for state in [DeliveryState::Unknown, DeliveryState::Refused] {
            store.settle(MessageId(1), vec![(9, delivery(state, 70))]).await.unwrap();
            let facts = store.copies(vec![ids[0]], None).await.unwrap()[0].clone().unwrap();
            let settled = state == DeliveryState::Refused;
            assert_eq!((facts.accepted_at_ms, facts.waiting_since_ms, facts.settled), (None, None, settled));
        }
    })
    .await;
}

/// Found however it is spelled; erased from the row and from the events of a copy of its own, and from nothing else.
#[tokio::test]
async fn one_address_is_found_and_made_nobodys() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        store.insert(MessageRecord { org: "beta".parse().unwrap(), accepted_at_ms: 6, ..record(2) }).await.unwrap();
        let all = [(1, 9), (1, 7), (1, 20), (2, 9)];
        let raw = Evidence { address: "192.0.2.7".parse().unwrap(), agent: Some("x".to_owned()) };
        let seen =
            |(id, copy)| Event { evidence: Some(raw.clone()), ..event(id, copy, EventKind::Click, Verdict::Person) };
        store.record(all.map(seen).to_vec()).await.unwrap();
        let held =
            |address: &str, org: Option<&str>| store.held(address.to_owned(), org.map(|org| org.parse().unwrap()), 100);
        let found = held("R9@Example.COM", None).await.unwrap();
        let seen: Vec<_> = found.iter().map(|held| (held.message.0, held.recipient.index, held.events.len())).collect();
        assert_eq!(seen, [(1, 9, 1), (2, 9, 1)], "newest first");
        assert_eq!(held("\"r9\"@example.com.", Some("beta")).await.unwrap(), found[1..]);
        assert_eq!(held("r9@example.org", None).await.unwrap(), []);
        // of a shared copy nobody knows who opened it
        assert_eq!(held("r20@example.com", None).await.unwrap()[0].events, []);

        store.erase(vec![(MessageId(1), 9), (MessageId(1), 20), (MessageId(404), 1)]).await.unwrap();
        assert_eq!(held("r9@example.com", None).await.unwrap(), found[1..]);
        let after = store.message(MessageId(1)).await.unwrap().unwrap();
        let people: Vec<(&str, &str)> =
            after.recipients.iter().map(|r| (r.address.as_str(), r.name.as_str())).collect();
        let [r7, r21] = [("r7@example.com", "Reader Ünal 7"), ("r21@example.com", "Reader Ünal 21")];
        assert_eq!(people, [("", ""), r7, r21, ("", "")]);
        assert_eq!(after.links, record(1).links, "links stay");
        let of_message = TimelineFilter { message: Some(MessageId(1)), limit: 9, ..TimelineFilter::default() };
        let events: Vec<Event> = store.timeline(of_message).await.unwrap().into_iter().map(|e| e.event).collect();
        assert_eq!(
            (events[0].country.as_deref(), events[0].network_hash, events[0].at_ms % 86_400_000),
            (None, None, 0)
        );
        assert_eq!((events[0].evidence.is_some(), events[1].evidence.is_some()), (false, true));
        assert_eq!(events[1].country.as_deref(), Some("IT"), "another copy's");
        // what comes later names nobody either
        store.record(vec![event(1, 9, EventKind::Click, Verdict::Person)]).await.unwrap();
        let of_message = TimelineFilter { message: Some(MessageId(1)), limit: 9, ..TimelineFilter::default() };
        let later = store.timeline(of_message).await.unwrap().pop().unwrap();
        assert_eq!((later.event.country, later.recipient), (None, None));
    })
    .await;
}

/// However much others did with the same mail: whoever is asked about has their own events, the newest where there is no room.
#[tokio::test]
async fn others_events_hide_nobodys() {
    against_both(|store| async move {
        let all = record(1).recipients.into_iter().map(|one| RecipientRecord { opens: Mode::Individual, ..one });
        store.insert(MessageRecord { recipients: all.collect(), ..record(1) }).await.unwrap();
        let at = |copy, at_ms| Event { at_ms, ..event(1, copy, EventKind::Open, Verdict::Person) };
        store.record(vec![at(9, 1)]).await.unwrap();
        store.record((0..1_010).map(|n| at(7, 10 + n)).collect()).await.unwrap();
        let held = async |index: u16| store.held(format!("r{index}@example.com"), None, 9).await.unwrap().remove(0);
        let times = |held: &Held| held.events.iter().map(|event| event.at_ms).collect::<Vec<_>>();
        assert_eq!((times(&held(9).await), held(9).await.more_events), (vec![1], false));
        assert_eq!(times(&held(7).await), (10..1_020).collect::<Vec<_>>(), "to the end");
        let filter = |index| CorrespondentFilter {
            holding: Some(format!("r{index}@example.com")),
            limit: 9,
            ..CorrespondentFilter::default()
        };
        let page = async |index| store.correspondence(filter(index)).await.unwrap().remove(0);
        assert_eq!((times(&page(9).await), page(9).await.more_events), (vec![1], false));
        assert_eq!((times(&page(7).await), page(7).await.more_events), ((20..1_020).collect(), true), "the newest");
    })
    .await;
}

/// One answer of upstream's may be for all of a mail's recipients and name them.
#[tokio::test]
async fn words_to_others_name_nobody_who_was_erased() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        let said = |reply: &str| Delivery { state: DeliveryState::Deferred, reply: reply.to_owned(), at_ms: 6 };
        let replies =
            [(7, "451 not for R9@example.com now"), (20, "451 <r20@example.com>"), (21, "451 xr9@example.com")];
        store.settle(MessageId(1), replies.map(|(index, reply)| (index, said(reply))).to_vec()).await.unwrap();
        store.erase(vec![(MessageId(1), 9)]).await.unwrap();
        let after = store.message(MessageId(1)).await.unwrap().unwrap();
        let left: Vec<_> = after.recipients.iter().map(|r| (r.index, r.delivery.reply.as_str())).collect();
        assert_eq!(left, [(9, ""), (7, ""), (21, replies[2].1), (20, replies[1].1)]);
    })
    .await;
}

/// Their mail may still wait when somebody is erased. What upstream says of it then names them again.
#[tokio::test]
async fn no_words_are_kept_for_who_was_erased() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        let said = |state, at_ms| Delivery { state, reply: "550 5.1.1 <r9@example.com>: unknown".to_owned(), at_ms };
        store.settle(MessageId(1), vec![(9, said(DeliveryState::Deferred, 6))]).await.unwrap();
        store.erase(vec![(MessageId(1), 9)]).await.unwrap();
        let outcomes = [9, 7].map(|index| (index, said(DeliveryState::Refused, 7)));
        store.settle(MessageId(1), outcomes.to_vec()).await.unwrap();
        let after = store.message(MessageId(1)).await.unwrap().unwrap();
        let of = |index| after.recipients.iter().find(|r| r.index == index).unwrap().delivery.clone();
        assert_eq!(of(9), Delivery { reply: String::new(), ..said(DeliveryState::Refused, 7) }, "the state is no word");
        assert_eq!(of(7), said(DeliveryState::Refused, 7));
    })
    .await;
}

/// The copy's own events, young enough, and only where their networks were kept.
#[tokio::test]
async fn what_a_copys_last_minute_was() {
    against_both(|store| async move {
        store.insert(record(1)).await.unwrap();
        let at = |at_ms, recipient, kind| Event { at_ms, ..event(1, recipient, kind, Verdict::Machine) };
        use EventKind::{Click, Open};
        store.record(vec![at(100, 9, Open), at(101, 9, Click), at(102, 7, Open), at(103, 7, Click)]).await.unwrap();
        let id = |copy_index| CopyId { message: MessageId(1), copy_index };
        let known = store.copies(vec![id(9), id(7), id(20)], Some(100)).await.unwrap();
        let past: Vec<Vec<PastEvent>> = known.into_iter().map(|facts| facts.unwrap().past).collect();
        let click = |sequence, at_ms| PastEvent {
            sequence,
            at_ms,
            kind: Click,
            link: 0,
            network_hash: [8; 8],
            rule: Some(Rule::Prefetch),
        };
        assert_eq!(past, [vec![click(2, 101)], vec![click(4, 103)], vec![]]);
    })
    .await;
}

/// Old events go and old messages go; what was recorded lately for one of those names nobody; counters of days stay.
#[tokio::test]
async fn what_is_too_old_is_forgotten() {
    against_both(|store| async move {
        let day_ms = 86_400_000;
        for (id, day) in (1..=60).zip([1, 50].into_iter().cycle()) {
            store.insert(MessageRecord { accepted_at_ms: day * day_ms, ..record(id) }).await.unwrap();
        }
        let at = |message, day: i64| Event {
            at_ms: day * day_ms + 5,
            ..event(message, 9, EventKind::Open, Verdict::Person)
        };
        let old: Vec<Event> = (0..1200).map(|_| at(1, 2)).collect();
        store.record([vec![at(2, 60)], old, vec![at(1, 60), at(2, 60)]].concat()).await.unwrap();
        let mut expiry = Expiry::of(40 * day_ms, 40 * day_ms);
        let (mut messages, mut events, mut slices) = (0, 0, 0);
        loop {
            let expired = store.expire(expiry).await.unwrap();
            (messages, events, slices) = (messages + expired.messages, events + expired.events, slices + 1);
            assert!(slices < 10);
            match expired.next {
                Some(next) => expiry = next,
                None => break,
            }
        }
        assert_eq!((messages, events), (30, 1200));
        assert_eq!(list(&*store, MessageFilter { limit: 500, ..MessageFilter::default() }).await.len(), 30);
        assert_eq!(store.message(MessageId(1)).await.unwrap(), None);
        let left = store.timeline(TimelineFilter { limit: 9, ..TimelineFilter::default() }).await.unwrap();
        let left: Vec<_> = left.iter().map(|e| (e.event.id.message.0, e.event.at_ms, e.event.network_hash)).collect();
        let (whole, day) = (60 * day_ms + 5, 60 * day_ms);
        assert_eq!(left, [(2, whole, Some([8; 8])), (1, day, None), (2, whole, Some([8; 8]))]);
    })
    .await;
}

/// What would be dead if a key were revoked.
#[tokio::test]
async fn what_a_key_seals_is_counted() {
    against_both(|store| async move {
        for id in [1, 2] {
            store.insert(record(id)).await.unwrap();
        }
        store.insert(MessageRecord { key_id: 3, links: Vec::new(), ..record(3) }).await.unwrap();
        for (key_id, mails, links) in [(255, 2, 4), (3, 1, 0), (7, 0, 0)] {
            assert_eq!(store.sealed_with(key_id).await.unwrap(), Sealed { mails, links }, "{key_id}");
        }
    })
    .await;
}

//! Whatever is recorded, repeated, judged again and expired, in whatever groups: every counter equals a recount.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;

use super::HistoryStore;
use super::contract_tests::{event, record};
use super::events::day;
use super::history::{Options, SqliteHistory};
use super::memory::MemoryHistory;
use super::record::{Counts, DayCountFilter, Expiry, Mended, MessageFilter, MessageRecord, Recording};
use crate::event::{Event, EventKind, Rule, Verdict};
use crate::token::{MessageId, TokenId};

const DAY_MS: i64 = 86_400_000;
const VERDICTS: [Verdict; 5] = [Verdict::Person, Verdict::Proxy, Verdict::Machine, Verdict::Own, Verdict::Unknown];

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Events in one group: message, copy, day, kind and verdict.
    Record(Vec<(u64, u16, i64, bool, usize)>),
    /// The n-th event of all is judged again, or came again.
    Mend(usize, Option<usize>),
    /// Events before this day go.
    Expire(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let one = (1..=4_u64, prop::sample::select(vec![7_u16, 9, 20]), 0..4_i64, any::<bool>(), 0..VERDICTS.len());
    prop_oneof![
        4 => prop::collection::vec(one, 1..5).prop_map(Step::Record),
        4 => (0..40_usize, prop::option::of(0..VERDICTS.len())).prop_map(|(at, to)| Step::Mend(at, to)),
        1 => (0..3_i64).prop_map(Step::Expire),
    ]
}

/// Counted by hand: what every event was last judged to be.
#[derive(Default)]
struct Recount {
    events: Vec<Event>,
    gone: Vec<bool>,
}

impl Recount {
    /// 1, 2 and 3 are known, 4 is not.
    fn sum(&self, of: impl Fn(&Event) -> bool) -> Counts {
        let known = self.events.iter().filter(|event| event.id.message.0 < 4 && of(event));
        known.fold(Counts::default(), |sum, event| sum.and(Counts::of(event.kind, event.verdict)))
    }
}

/// Copy 7 was sent under `aggregate` for opens: they count for nobody's copy.
fn of_nobody(event: Event) -> Event {
    let aggregate = event.kind == EventKind::Open && event.id.recipient == 7;
    let recipient = if aggregate { 0 } else { event.id.recipient };
    Event { id: TokenId { recipient, ..event.id }, ..event }
}

fn known() -> Vec<MessageRecord> {
    let other = MessageRecord { login: None, org: "other".parse().unwrap(), ..record(3) };
    vec![record(1), MessageRecord { login: Some("bea".to_owned()), ..record(2) }, other]
}

async fn play(store: &dyn HistoryStore, steps: &[Step]) {
    for message in known() {
        store.insert(message).await.unwrap();
    }
    let mut recount = Recount::default();
    for step in steps {
        match step {
            Step::Record(group) => {
                let events = group.iter().map(|(message, copy, day, opened, verdict)| Event {
                    at_ms: day * DAY_MS + 77,
                    ..event(
                        *message,
                        *copy,
                        if *opened { EventKind::Open } else { EventKind::Click },
                        VERDICTS[*verdict],
                    )
                });
                let events: Vec<Event> = events.collect();
                recount.gone.extend(events.iter().map(|_| false));
                recount.events.extend(events.iter().cloned().map(of_nobody));
                store.record(events).await.unwrap();
            }
            Step::Mend(at, to) if *at < recount.events.len() => {
                let verdict = to.map(|to| VERDICTS[to]);
                if let Some(verdict) = verdict.filter(|_| !recount.gone[*at]) {
                    recount.events[*at].verdict = verdict;
                }
                let sequence = i64::try_from(*at).unwrap() + 1;
                let mended = vec![Mended { sequence, repeats: 1, verdict: verdict.map(|to| (to, Rule::Burst)) }];
                store.put_on_record(Arc::new(Recording { events: vec![], mended })).await.unwrap();
            }
            Step::Mend(..) => {}
            Step::Expire(before) => {
                store.expire(Expiry::of(0, before * DAY_MS)).await.unwrap();
                for (event, gone) in recount.events.iter().zip(&mut recount.gone) {
                    *gone |= event.at_ms < before * DAY_MS;
                }
            }
        }
    }
    compare(store, &recount).await;
}

async fn compare(store: &dyn HistoryStore, recount: &Recount) {
    for summary in store.messages(MessageFilter { limit: 500, ..MessageFilter::default() }).await.unwrap() {
        let counted = recount.sum(|event| event.id.message == summary.id);
        let shown = [summary.opens, summary.clicks, summary.machine_opens, summary.machine_clicks];
        let Counts { opens, clicks, machine_opens, machine_clicks } = counted;
        assert_eq!(shown.map(u64::cast_signed), [opens, clicks, machine_opens, machine_clicks], "{}", summary.id);
        for copy in store.copy_counts(summary.id).await.unwrap() {
            let counted = recount.sum(|e| e.id.message == summary.id && e.id.recipient == copy.copy_index);
            assert_eq!(copy.counts, counted, "{} {}", summary.id, copy.copy_index);
        }
        for link in store.link_counts(summary.id).await.unwrap() {
            let of_link = |id: crate::token::TokenId| {
                (id.message, id.recipient, id.link) == (summary.id, link.copy_index, link.link)
            };
            let Counts { clicks, machine_clicks, .. } = recount.sum(|e| e.kind == EventKind::Click && of_link(e.id));
            assert_eq!((link.clicks, link.machine_clicks), (clicks, machine_clicks), "{link:?}");
        }
    }
    assert!(store.copy_counts(MessageId(4)).await.unwrap().is_empty());
    let owners: HashMap<u64, (String, Option<String>)> =
        known().into_iter().map(|m| (m.id.0, (m.org.to_string(), m.login))).collect();
    let mut days: BTreeMap<(String, Option<String>, i64), Counts> = BTreeMap::new();
    for event in recount.events.iter().filter(|event| event.id.message.0 < 4) {
        let (org, login) = owners[&event.id.message.0].clone();
        let counts = days.entry((org, login, day(event.at_ms))).or_default();
        *counts = counts.and(Counts::of(event.kind, event.verdict));
    }
    let filter = DayCountFilter { first_day: 0, last_day: 9, limit: 100, ..DayCountFilter::default() };
    let mut sums: BTreeMap<i64, Counts> = BTreeMap::new();
    for ((_, _, day), counts) in &days {
        let sum = sums.entry(*day).or_default();
        *sum = sum.and(*counts);
    }
    assert_eq!(store.days(filter.clone()).await.unwrap(), sums.into_iter().collect::<Vec<_>>());
    let counted = store.day_counts(filter).await.unwrap();
    let counted = counted.into_iter().map(|c| ((c.org.to_string(), c.login, c.day), c.counts)).collect();
    assert_eq!(days, counted);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_counter_equals_a_recount(steps in prop::collection::vec(step(), 1..16)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let real = SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap();
        runtime.block_on(play(&real, &steps));
        // The double forgets its counts with its events, so it is asked where nothing expires.
        let kept: Vec<Step> = steps.into_iter().filter(|step| !matches!(step, Step::Expire(_))).collect();
        runtime.block_on(play(&MemoryHistory::default(), &kept));
    }
}

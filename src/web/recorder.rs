//! A bounded queue to one thread that judges events and puts them on record, a group at a time.
//!
//! **Invariant:** `Recorder::note` never waits. An event is counted as recorded only when its group is durable; one
//! that is not recorded is counted as lost, also at the end and when the thread dies. While the history does not answer, the
//! group at hand waits and the queue fills; beyond its bound events are lost, and counted. Nothing is judged without what the
//! history knows of its copy unless that can never be read. The address lives no longer than the queue.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::Counters;
use super::group::{Judge, Judging};
use crate::event::EventKind;
use crate::store::record::Recording;
use crate::store::{BoxFuture, HistoryStore, SettingsStore, StoreError};
use crate::token::TokenId;

/// Events that may wait: two seconds of the busiest site, some 40 MB at most.
pub const QUEUE_MAX: usize = 65_536;
/// The most events in one group: the more, the fewer pages are written twice; these take some 80 ms.
const GROUP_MAX: usize = 16_384;
/// More at once than this is a busy site: worth waiting for a larger group.
const BUSY: usize = 64;
/// How long a busy site's group waits for more: it halves what an event costs, and leaves the disk to the mail.
const LINGER: Duration = Duration::from_millis(250);
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
    /// The browser passes on its owner's standing refusal.
    pub(super) refuses: bool,
    pub(super) address: IpAddr,
    pub(super) agent: Option<Box<str>>,
}

/// Where requests leave their events.
pub(super) struct Recorder {
    queue: mpsc::Sender<Visit>,
    counters: Arc<Counters>,
    waiting: Arc<Waiting>,
    started: Instant,
    /// Whole seconds after `started` of the last word about losses.
    said_secs: AtomicU64,
}

/// Waits for the recorder's end, which comes when every [`Recorder`] is dropped.
pub(super) struct Drained {
    done: oneshot::Receiver<()>,
    stopping: Arc<AtomicBool>,
    thread: std::thread::Thread,
    counters: Arc<Counters>,
    waiting: Arc<Waiting>,
}

/// Events queued or at hand, of which nobody can say yet what becomes of them.
#[derive(Debug, Default)]
struct Waiting(AtomicU64);

impl Waiting {
    fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many are decided; `false` when they were given up meanwhile, and counted.
    fn decided(&self, events: u64) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| waiting.checked_sub(events)).is_ok()
    }

    /// None of them will be recorded any more, as far as one can tell; how many.
    fn give_up(&self, counters: &Counters) -> u64 {
        let events = self.0.swap(0, Ordering::Relaxed);
        counters.lost.fetch_add(events, Ordering::Relaxed);
        events
    }
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
    let waiting: Arc<Waiting> = Arc::default();
    let worker = Worker {
        history,
        settings,
        judge: Judge::new(judging),
        counters: Arc::clone(&counters),
        waiting: Arc::clone(&waiting),
        stopping: Arc::clone(&stopping),
        runtime: Handle::current(),
        began_ms: None,
    };
    let (counted, left) = (Arc::clone(&counters), Arc::clone(&waiting));
    let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || {
        // Nothing of the worker is used after it died: the queue closes with it.
        if catch_unwind(AssertUnwindSafe(|| worker.run(visits))).is_err() {
            let lost = left.give_up(&counted);
            tracing::error!(lost, "the recorder died of a fault of its own: no opens and clicks are recorded until waxseal is started again; links and pixels work on");
        }
        if finished.send(()).is_err() {
            tracing::debug!("nobody waited for the recorder's end");
        }
    })?;
    let thread = thread.thread().clone();
    let drained = Drained { done, stopping, thread, counters: Arc::clone(&counters), waiting: Arc::clone(&waiting) };
    Ok((Recorder { queue, counters, waiting, started: Instant::now(), said_secs: AtomicU64::new(0) }, drained))
}

impl Recorder {
    /// Queues the event, or counts it as lost.
    pub(super) fn note(&self, visit: Visit) {
        // Before it is queued, for it may be decided at once.
        self.waiting.one_more();
        let why = match self.queue.try_send(visit) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "they come faster than the disk takes them",
            Err(TrySendError::Closed(_)) => "the recorder has died",
        };
        if !self.waiting.decided(1) {
            return; // counted with those that were given up
        }
        let lost = self.counters.lost.fetch_add(1, Ordering::Relaxed) + 1;
        let now_secs = self.started.elapsed().as_secs() + 1;
        if self.said_secs.swap(now_secs, Ordering::Relaxed) != now_secs {
            tracing::error!(lost, "events are lost: {why}; links and pixels work on");
        }
    }
}

impl Drained {
    /// Waits until every queued event is on record, at most so long.
    pub(super) async fn wait(self, at_most: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.unpark();
        if tokio::time::timeout(at_most, self.done).await.is_err() {
            let lost = self.waiting.give_up(&self.counters);
            tracing::error!(lost, "the recorder did not finish in time: the events still queued are lost");
        }
    }
}

struct Worker {
    history: Arc<dyn HistoryStore>,
    settings: Arc<dyn SettingsStore>,
    judge: Judge,
    counters: Arc<Counters>,
    waiting: Arc<Waiting>,
    stopping: Arc<AtomicBool>,
    runtime: Handle,
    /// The time of the first event.
    began_ms: Option<i64>,
}

impl Worker {
    fn run(mut self, mut visits: mpsc::Receiver<Visit>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while visits.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            self.fill(&mut group, &mut visits);
            let count = group.len() as u64;
            let (durable, withheld) = self.take(&group);
            group.clear();
            if !self.waiting.decided(count) {
                continue;
            }
            let counter = if durable { &self.counters.recorded } else { &self.counters.lost };
            // Last, so that who waits for the sum finds both.
            self.counters.withheld.fetch_add(withheld, Ordering::Relaxed);
            counter.fetch_add(count.saturating_sub(withheld), Ordering::Relaxed);
        }
    }

    /// Lets a busy site's group grow. At most [`LINGER`], in which the queue does not fill.
    fn fill(&self, group: &mut Vec<Visit>, visits: &mut mpsc::Receiver<Visit>) {
        if !(BUSY..GROUP_MAX).contains(&group.len()) || self.stopping.load(Ordering::Relaxed) {
            return;
        }
        std::thread::park_timeout(LINGER);
        while group.len() < GROUP_MAX
            && let Ok(visit) = visits.try_recv()
        {
            group.push(visit);
        }
    }

    /// Judges the group and puts it on record; whether it is durable in the end, and of how many nothing is kept because
    /// somebody does not want it.
    fn take(&mut self, group: &[Visit]) -> (bool, u64) {
        self.judge.heed_erasures(self.history.erasures());
        if !self.read_up(group) {
            return (false, 0);
        }
        let (recording, withheld) = self.judge.judge(group, &self.settings.snapshot());
        let recording = Arc::new(recording);
        if recording.events.is_empty() && recording.mended.is_empty() {
            return (true, withheld);
        }
        let durable = match self.put_on_record(&recording) {
            Some(sequences) => {
                self.judge.recorded(&recording.events, &sequences);
                self.counters.news.send_replace(());
                true
            }
            None => {
                self.judge.lost(&recording.events);
                false
            }
        };
        (durable, withheld)
    }

    /// Asks the history what it knows of the group's copies, as far as it is not known: what their organisations keep, who
    /// said no. What can never be read they are judged without. `false`: the site stops before there is an answer.
    fn read_up(&mut self, group: &[Visit]) -> bool {
        let ids = self.judge.to_read(group);
        let Some(at_ms) = group.first().map(|visit| visit.at_ms) else { return true };
        let began_ms = *self.began_ms.get_or_insert(at_ms);
        if ids.is_empty() {
            return true;
        }
        let look_back = (at_ms.saturating_sub(began_ms) < LOOK_BACK_MS).then(|| at_ms.saturating_sub(LOOK_BACK_MS));
        let history = Arc::clone(&self.history);
        match self.ask(|| history.copies(ids.clone(), look_back)) {
            Ok(facts) => self.judge.learn(ids, facts, at_ms),
            Err(error) if may_pass(&error) => {
                tracing::error!(%error, events = group.len(), "events are lost: the history does not say whose they are");
                return false;
            }
            Err(error) => {
                tracing::error!(%error, "the history cannot say whose events these are: they are judged without");
            }
        }
        true
    }

    /// The sequences of the events, once they are durable; `None` when they never will be.
    fn put_on_record(&self, recording: &Arc<Recording>) -> Option<Vec<i64>> {
        let recorded = self.ask(|| self.history.put_on_record(Arc::clone(recording)));
        recorded
            .inspect_err(|error| {
                let events = recording.events.len();
                tracing::error!(%error, events, "events are lost: the history does not take them");
            })
            .ok()
    }

    /// Asks until there is an answer, or an error that will not pass; once the site stops, a few times.
    fn ask<'a, T>(&self, question: impl Fn() -> BoxFuture<'a, Result<T, StoreError>>) -> Result<T, StoreError> {
        let (mut wait, mut tries) = (RETRY_MIN, 0);
        loop {
            tries += 1;
            let error = match self.runtime.block_on(question()) {
                Ok(answer) => {
                    if tries > 1 {
                        tracing::info!("the history answers the recorder again");
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if !may_pass(&error) || (self.stopping.load(Ordering::Relaxed) && tries >= TRIES_AT_STOP) {
                return Err(error);
            }
            if tries == 1 {
                tracing::error!(%error, "the history does not answer the recorder; events wait, links and pixels work on");
            }
            std::thread::park_timeout(wait);
            wait = RETRY_MAX.min(wait * 2);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::agent::AgentList;
    use crate::event::source::NetworkList;
    use crate::event::{Evidence, Rule, Verdict};
    use crate::geo::Geo;
    use crate::settings::{Keeping, Mode, Org, PlaceDetail};
    use crate::store::memory::{MemoryHistory, MemorySettings};
    use crate::store::record::{Delivery, DeliveryState, LinkRecord, MessageRecord, RecipientRecord, TimelineEntry};
    use crate::store::{Change, TimelineFilter};
    use crate::token::{InstanceKey, MessageId, Secret, SiteId};

    const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    const DELIVERED_MS: i64 = 1_700_000_000_000;

    /// 192.0.2.0/24 is in Turin.
    fn cities() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo/cities-test.mmdb")
    }

    fn instance() -> InstanceKey {
        InstanceKey::derive(&Secret([1; 32]))
    }

    /// Submitted from 198.51.100.0/24 and delivered at [`DELIVERED_MS`], with five links.
    fn message(state: DeliveryState) -> MessageRecord {
        let delivery = Delivery { state, reply: String::new(), at_ms: DELIVERED_MS };
        let address = "bob@example.com".to_owned();
        let (opens, links) = (Mode::Individual, Mode::Individual);
        let link = |index| LinkRecord { index, destination: "https://example.com/".to_owned() };
        let submitted_from = "198.51.100.1".parse().unwrap();
        MessageRecord {
            id: MessageId(1),
            accepted_at_ms: DELIVERED_MS,
            org: "acme".parse().unwrap(),
            login: None,
            reverse_path: String::new(),
            header_from: String::new(),
            subject: String::new(),
            message_id_header: String::new(),
            size_bytes: 0,
            network_hash: Some(crate::event::network::network_hash(&instance(), MessageId(1), submitted_from)),
            site: SiteId([0; 4]),
            key_id: 0,
            untouched: None,
            notes: Vec::new(),
            recipients: vec![RecipientRecord {
                index: 7,
                copy_index: 7,
                address,
                name: String::new(),
                opens,
                links,
                delivery,
            }],
            links: (1..=5).map(link).collect(),
        }
    }

    fn visit(after_ms: i64, link: u16, address: &str) -> Visit {
        Visit {
            at_ms: DELIVERED_MS + after_ms,
            id: TokenId { message: MessageId(1), recipient: 7, link },
            kind: if link == 0 { EventKind::Open } else { EventKind::Click },
            ahead_of_need: false,
            refuses: false,
            address: address.parse().unwrap(),
            agent: Some(BROWSER.into()),
        }
    }

    /// Runs a recorder over the visits, a group each, and waits for its end.
    async fn record(history: &Arc<MemoryHistory>, org: Option<Org>, inbox_mode: bool, groups: &[&[Visit]]) {
        let settings = Arc::new(MemorySettings::default());
        settings.change(org.into_iter().map(Change::PutOrg).collect()).await.unwrap();
        let judging = Judging {
            agents: AgentList::shipped(),
            networks: NetworkList::shipped(),
            geo: Arc::new(Geo::open(&[cities()]).unwrap()),
            instance: instance(),
            inbox_mode,
            consent: Arc::default(),
        };
        let counters = Arc::new(Counters::default());
        let history = Arc::clone(history) as Arc<dyn HistoryStore>;
        let (recorder, drained) = start(history, settings, judging, Arc::clone(&counters), 100).unwrap();
        let mut noted = 0;
        for group in groups {
            group.iter().cloned().for_each(|visit| recorder.note(visit));
            noted += group.len() as u64;
            while counters.recorded() + counters.withheld() < noted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        drop(recorder);
        drained.wait(Duration::from_secs(5)).await;
    }

    /// What is on record in the end: verdict, rule, former verdict, repeats.
    async fn seen(history: &MemoryHistory) -> Vec<(Verdict, String, Option<Verdict>, u32)> {
        let filter = TimelineFilter { limit: 100, ..TimelineFilter::default() };
        let entries: Vec<TimelineEntry> = history.timeline(filter).await.unwrap();
        let events = entries.into_iter().map(|entry| entry.event);
        events.map(|event| (event.verdict, event.rule, event.former, event.repeats)).collect()
    }

    async fn with_message(state: DeliveryState) -> Arc<MemoryHistory> {
        let history = Arc::new(MemoryHistory::default());
        history.insert(message(state)).await.unwrap();
        history
    }

    fn by(rule: Rule, verdict: Verdict) -> (Verdict, String, Option<Verdict>, u32) {
        (verdict, rule.as_str().to_owned(), None, 0)
    }

    const PERSON: (Verdict, String, Option<Verdict>, u32) = (Verdict::Person, String::new(), None, 0);

    /// The submission's network, the moment of delivery, the list of networks; then what nobody knows of.
    #[tokio::test]
    async fn an_event_is_judged_with_its_delivery() {
        let visits = [
            visit(60_000, 0, "198.51.100.200"),
            visit(9_000, 0, "203.0.113.1"),
            visit(15_000, 1, "203.0.113.2"),
            visit(70_000, 0, "203.0.114.1"),
            visit(80_000, 2, "40.92.1.1"),
        ];
        let (own, machine) = (by(Rule::Own, Verdict::Own), |rule| by(rule, Verdict::Machine));
        let all = vec![own, machine(Rule::Instant), machine(Rule::Instant), PERSON, machine(Rule::Network)];
        let history = with_message(DeliveryState::Accepted).await;
        record(&history, None, false, &[&visits]).await;
        assert_eq!(seen(&history).await, all);
        // In inbox mode neither network nor moment tells anything.
        let history = with_message(DeliveryState::Accepted).await;
        record(&history, None, true, &[&visits]).await;
        assert_eq!(seen(&history).await, [PERSON, PERSON, PERSON, PERSON, machine(Rule::Network)]);
        // A lost record: judged by the request alone.
        let history = Arc::new(MemoryHistory::default());
        record(&history, None, false, &[&visits]).await;
        assert_eq!(seen(&history).await, [PERSON, PERSON, PERSON, PERSON, machine(Rule::Network)]);
    }

    /// A copy still on its way is read again until upstream has it.
    #[tokio::test]
    async fn a_delivery_is_looked_up_until_it_is_final() {
        let history = with_message(DeliveryState::Pending).await;
        let accepted = Delivery { state: DeliveryState::Accepted, reply: String::new(), at_ms: DELIVERED_MS + 2_000 };
        record(&history, None, false, &[&[visit(500, 1, "203.0.113.1")]]).await;
        history.settle(MessageId(1), vec![(7, accepted)]).await.unwrap();
        record(&history, None, false, &[&[visit(21_999, 2, "203.0.113.2")], &[visit(22_000, 3, "203.0.113.3")]]).await;
        let instant = by(Rule::Instant, Verdict::Machine);
        assert_eq!(seen(&history).await, [instant.clone(), instant, PERSON]);
    }

    #[tokio::test]
    async fn an_org_switches_rules_off_and_names_its_networks() {
        let org = Org { rules_off: vec!["instant".to_owned()], ..acme() };
        let org = Org { own_networks: vec!["203.0.113.0/24".parse().unwrap()], ..org };
        let history = with_message(DeliveryState::Accepted).await;
        let visits = [visit(1_000, 0, "192.0.2.1"), visit(1_000, 0, "203.0.113.9")];
        record(&history, Some(org), false, &[&visits]).await;
        assert_eq!(seen(&history).await, [PERSON, by(Rule::Own, Verdict::Own)]);
    }

    fn acme() -> Org {
        Org::named("acme".parse().unwrap())
    }

    /// What an org keeps decides for each event; of a message whose record is lost, the default does.
    #[tokio::test]
    async fn an_org_decides_what_is_kept() {
        let visits = [visit(60_000, 0, "192.0.2.1")];
        let kept = async |keeping: Option<Keeping>| {
            let history = with_message(DeliveryState::Accepted).await;
            record(&history, keeping.map(|keeping| Org { keeping, ..acme() }), false, &[&visits]).await;
            let entries = history.timeline(TimelineFilter { limit: 9, ..TimelineFilter::default() }).await.unwrap();
            let event = entries.into_iter().next().unwrap().event;
            (event.country.unwrap(), event.city, event.evidence)
        };
        let usual = Keeping::default();
        let (it, turin) = ("IT".to_owned(), Some("Turin".to_owned()));
        for keeping in [None, Some(usual)] {
            assert_eq!(kept(keeping).await, (it.clone(), turin.clone(), None));
        }
        let country = Keeping { place: PlaceDetail::Country, ..usual };
        assert_eq!(kept(Some(country)).await, (it.clone(), None, None));
        let evidence = Evidence { address: "192.0.2.1".parse().unwrap(), agent: Some(BROWSER.to_owned()) };
        assert_eq!(kept(Some(Keeping { raw_evidence: true, ..usual })).await, (it, turin, Some(evidence)));
    }

    /// A browser's refusal leaves nothing behind, and is no hit of a burst or repeat; unless the org says otherwise.
    #[tokio::test]
    async fn who_refuses_is_not_recorded() {
        let refusing = |after_ms, link| Visit { refuses: true, ..visit(after_ms, link, "203.0.113.1") };
        let visits = [
            visit(60_000, 1, "203.0.113.1"),
            refusing(60_300, 2),
            refusing(60_600, 3),
            visit(60_900, 1, "203.0.113.1"),
            refusing(61_000, 0),
        ];
        for groups in [vec![&visits[..]], visits.chunks(1).collect()] {
            for org in [None, Some(acme())] {
                let history = with_message(DeliveryState::Accepted).await;
                record(&history, org, false, &groups).await;
                assert_eq!(seen(&history).await, [(Verdict::Person, String::new(), None, 1)]);
            }
            let history = with_message(DeliveryState::Accepted).await;
            let keeping = Keeping { honour_gpc: false, ..Keeping::default() };
            record(&history, Some(Org { keeping, ..acme() }), false, &groups).await;
            assert_eq!(seen(&history).await.len(), 4);
        }
    }

    /// However the hits fall into groups, and across a restart: a burst takes back, a repeat counts on the first.
    #[tokio::test]
    async fn groups_and_restarts_change_nothing() {
        let hits = [
            visit(100_000, 1, "203.0.113.1"),
            visit(100_500, 1, "203.0.113.7"),
            visit(100_900, 2, "203.0.113.1"),
            visit(101_500, 3, "192.0.2.1"),
            visit(130_000, 3, "192.0.2.9"),
        ];
        let burst = |former, repeats| (Verdict::Machine, "burst".to_owned(), former, repeats);
        let person = Some(Verdict::Person);
        let expected = [burst(person, 1), burst(person, 0), burst(None, 1)];
        let one_by_one: Vec<&[Visit]> = hits.chunks(1).collect();
        for groups in [vec![&hits[..]], one_by_one.clone(), vec![&hits[..2], &hits[2..]]] {
            let history = with_message(DeliveryState::Accepted).await;
            record(&history, None, false, &groups).await;
            assert_eq!(seen(&history).await, expected);
            let restarted = with_message(DeliveryState::Accepted).await;
            for group in groups {
                record(&restarted, None, false, &[group]).await;
            }
            assert_eq!(seen(&restarted).await, expected);
        }
    }
}

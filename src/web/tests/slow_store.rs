//! The history does not answer: pixel and redirect do, what is lost is counted, and nothing is judged blindly.

use tokio::sync::Notify;

use super::*;
use crate::event::Rule;

/// How the double answers what is known of copies.
#[derive(Default)]
pub(super) struct Copies {
    /// Of each of them.
    pub(super) facts: Mutex<Option<CopyFacts>>,
    /// What the next questions meet, the last first.
    errors: Mutex<Vec<StoreError>>,
    /// No answer while it is true.
    hangs: watch::Sender<bool>,
    /// A fault of the program's own.
    panics: watch::Sender<bool>,
    was_asked: Notify,
}

impl Copies {
    /// One question.
    pub(super) async fn asked(&self) -> Result<(), StoreError> {
        self.was_asked.notify_one();
        assert!(!*self.panics.borrow(), "as the test wants it");
        self.hangs.subscribe().wait_for(|hangs| !hangs).await.unwrap();
        self.errors.lock().unwrap().pop().map_or(Ok(()), Err)
    }
}

/// Submitted from this very network: with its record an event is "self", without it a machine's that names no agent.
fn facts() -> CopyFacts {
    CopyFacts {
        org: "acme".parse().unwrap(),
        login: None,
        network_hash: Some(network_hash(keyring().instance_key(), ID.message, "127.0.0.1".parse().unwrap())),
        links: 1,
        recipients: 1,
        accepted_at_ms: None,
        waiting_since_ms: None,
        settled: true,
        readers: Vec::new(),
        past: Vec::new(),
    }
}

async fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within twenty seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn rules(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.rule.as_str()).collect()
}

/// One event is at hand, four wait, the rest is lost: every request was answered as if nothing were.
#[tokio::test]
async fn pixel_and_link_answer_while_the_history_hangs_and_losses_are_counted() {
    let site = Running::start(Options { event_queue_max: 4, ..Options::default() }).await;
    site.history.copies.hangs.send_replace(true);
    let (pixel, click) = (site.path(HOME, Kind::Pixel), site.path(HOME, Kind::Click));
    assert_eq!(site.get(&pixel).await.status, 200);
    site.history.copies.was_asked.notified().await;
    let began = Instant::now();
    for _ in 0..10 {
        let image = site.get(&pixel).await;
        assert_eq!((image.status, image.body.len()), (200, 43));
        let redirect = site.get(&click).await;
        assert_eq!((redirect.status, redirect.header("location")), (302, Some(DESTINATION)));
    }
    // Twenty answers that waited for nothing; each waiting a second would take longer than this.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!((site.counters.lost(), site.counters.recorded()), (16, 0));
    site.history.copies.hangs.send_replace(false);
    until(|| site.counters.recorded() == 5).await;
    assert_eq!(site.counters.lost(), 16);
}

/// Readers are shared with pages and may be busy; what can never be read is judged without.
#[tokio::test]
async fn what_is_known_of_a_copy_is_asked_for_until_there_is_an_answer() {
    let busy = || StoreError::Busy { store: "history" };
    let corrupt = StoreError::Corrupt { store: "history", at: "copies".to_owned(), detail: "no".to_owned() };
    for (errors, rule) in [(vec![busy(), busy(), busy()], Rule::Own), (vec![corrupt], Rule::NoAgent)] {
        let site = Running::start(Options::default()).await;
        *site.history.copies.facts.lock().unwrap() = Some(facts());
        *site.history.copies.errors.lock().unwrap() = errors;
        site.get(&site.path(HOME, Kind::Pixel)).await;
        until(|| site.counters.recorded() == 1).await;
        assert_eq!(rules(&site.end().await), [rule.as_str()]);
    }
}

/// At the end what waits is given a while, then it is lost, and counted as that.
#[tokio::test]
async fn what_the_end_leaves_behind_is_counted() {
    let site = Running::start(Options { grace_max: Duration::from_millis(300), ..Options::default() }).await;
    site.history.copies.hangs.send_replace(true);
    for _ in 0..4 {
        site.get(&site.path(HOME, Kind::Pixel)).await;
    }
    let (counters, history) = (Arc::clone(&site.counters), Arc::clone(&site.history));
    site.end().await;
    assert_eq!((counters.lost(), counters.recorded()), (4, 0));
    // Should it come to an end after all, nothing is counted twice.
    history.copies.hangs.send_replace(false);
    until(|| Arc::strong_count(&history) == 1).await;
    assert_eq!((counters.lost(), counters.recorded()), (4, 0));
}

/// A fault of our own ends the recorder, not the site; what it had and what comes then is lost, and counted.
#[tokio::test]
async fn a_recorder_that_died_is_no_recorder() {
    let site = Running::start(Options::default()).await;
    site.history.copies.panics.send_replace(true);
    let pixel = site.path(HOME, Kind::Pixel);
    site.get(&pixel).await;
    until(|| site.counters.lost() == 1).await;
    assert_eq!(site.get(&pixel).await.status, 200);
    assert_eq!((site.counters.lost(), site.counters.recorded()), (2, 0));
    assert_eq!(site.end().await, []);
}

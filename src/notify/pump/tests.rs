//! The pump over a real outbox and a real receiver.

use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::payload::tests::{AT_MS, webhook};
use super::super::{Options, Parts, Postman, message_id};
use super::*;
use crate::message::Envelope;
use crate::settings::OrgName;
use crate::settings::notices::Level;
use crate::store::history::{self, SqliteHistory};
use crate::store::memory::{MemoryHistory, MemorySettings};
use crate::store::outbox::{NewDelivery, Outbox};
use crate::store::{BoxFuture, SettingsStore as _};
use crate::token::{Keyring, RootKey, Secret, Site, SiteId};

struct Nobody;

impl Postman for Nobody {
    fn cannot_post(&self, _: &OrgName) -> Option<&'static str> {
        None
    }

    fn post(&self, _: OrgName, _: String, _: Envelope, _: bytes::Bytes) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

struct World {
    notify: Arc<Notify>,
    settings: Arc<MemorySettings>,
    folder: tempfile::TempDir,
}

/// With one webhook, at this address.
async fn world(url: String) -> (World, Webhook) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteHistory::open(&folder.path().join("h"), &history::Options::default()).unwrap();
    let settings = Arc::new(MemorySettings::default());
    let key = RootKey { id: 0, secret: Secret([3; 32]), created: jiff::Timestamp::UNIX_EPOCH, revoked: None };
    let site = Site { id: SiteId([1; 4]), url: "http://t.example".to_owned(), former_urls: Vec::new(), default: true };
    let parts = Parts {
        outbox: Outbox::new(Arc::new(store)),
        history: Arc::new(MemoryHistory::default()),
        settings: Arc::clone(&settings) as Arc<dyn crate::store::SettingsStore>,
        keyring: Arc::new(ArcSwap::from_pointee(Keyring::new(vec![key], vec![site]).unwrap())),
        postman: Arc::new(Nobody),
        news: watch::Sender::new(()).subscribe(),
        clock: || AT_MS,
    };
    let notify = Notify::new(parts, Options { allow_private: true, ..Options::default() });
    let (_, sealed_secret) = notify.new_secret().unwrap();
    let hook = Webhook { url, sealed_secret, paused: false, ..webhook(1) };
    settings.change(vec![Change::PutWebhook(hook.clone())]).await.unwrap();
    (World { notify, settings, folder }, hook)
}

impl World {
    async fn waits(&self, webhook: WebhookId, at_ms: i64) -> WebhookDelivery {
        let new = NewDelivery {
            webhook,
            message_id: message_id().unwrap(),
            topic: "waxseal.test".to_owned(),
            message: None,
            recipient: None,
            body: "{}".to_owned(),
            at_ms,
        };
        self.notify.parts.outbox.add(new, 9).await.unwrap();
        self.deliveries(webhook).await.remove(0)
    }

    async fn deliveries(&self, webhook: WebhookId) -> Vec<WebhookDelivery> {
        self.notify.deliveries(webhook, None, None, 9).await.unwrap()
    }
}

/// A receiver that takes everything; how many posts it took.
async fn receiver() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, posts) = (format!("http://{}/in", listener.local_addr().unwrap()), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&posts);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n{}") {
                stream.read_buf(&mut asked).await.unwrap();
            }
            counted.fetch_add(1, Ordering::SeqCst);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    });
    (url, posts)
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("not in a minute: {what}"));
}

/// The disk is full just when the receiver has taken it: it is not told again, and the note comes when there is room.
#[tokio::test]
async fn while_a_note_cannot_be_written_nothing_is_sent_again() {
    let (url, posts) = receiver().await;
    let (world, hook) = world(url).await;
    let disk = rusqlite::Connection::open(world.folder.path().join("h")).unwrap();
    let full = "CREATE TRIGGER full BEFORE UPDATE ON webhook_delivery BEGIN SELECT raise(ABORT, 'full'); END";
    disk.execute_batch(full).unwrap();
    world.waits(hook.id, AT_MS).await;
    let stop = watch::Sender::new(false);
    let running = tokio::spawn(run(Arc::clone(&world.notify), stop.subscribe()));
    eventually("it is told", || async { posts.load(Ordering::SeqCst) > 0 }).await;
    // Longer than it takes to look again, and to try the note again.
    tokio::time::sleep(LOOK_EVERY * 2 + NOTE_REST).await;
    assert_eq!(posts.load(Ordering::SeqCst), 1);
    disk.execute_batch("DROP TRIGGER full").unwrap();
    eventually("it is noted", || async {
        world.deliveries(hook.id).await.iter().all(|delivery| delivery.stage == DeliveryStage::Delivered)
    })
    .await;
    assert_eq!((posts.load(Ordering::SeqCst), world.deliveries(hook.id).await[0].attempts), (1, 1));
    stop.send_replace(true);
    running.await.unwrap();
}

/// It is noted as a try that failed, and the next can begin.
#[tokio::test]
async fn a_try_that_breaks_off_gives_its_place_back() {
    let (world, hook) = world("http://127.0.0.1:1/".to_owned()).await;
    let delivery = world.waits(hook.id, AT_MS).await;
    let (mut lines, mut tries) = (HashMap::from([(hook.id, Line::new(hook.org.clone()))]), Tries::default());
    lines.get_mut(&hook.id).unwrap().under_way.insert(delivery.id);
    tries.begin(delivery, async { panic!("a fault of our own") });
    let broke_off = tries.next().await.unwrap();
    settle(&world.notify, &mut lines, &mut tries, broke_off);
    assert_eq!((lines[&hook.id].under_way.len(), tries.tasks.len()), (1, 1), "not again before it is noted");
    let noted = tries.next().await.unwrap();
    settle(&world.notify, &mut lines, &mut tries, noted);
    assert_eq!((lines[&hook.id].room(), lines[&hook.id].failures, tries.of.len()), (PER_WEBHOOK_MAX, 1, 0));
    let noted = world.deliveries(hook.id).await.remove(0);
    assert_eq!((noted.attempts, noted.stage, noted.answer.as_str()), (1, DeliveryStage::Waiting, BROKE_OFF));
    assert!(noted.next_try_ms > AT_MS);
}

/// Receivers that take what they are sent and never answer, of one organisation and before all others: they hold the places
/// of their organisation, and the other is told at once.
#[tokio::test]
async fn slow_receivers_of_one_organisation_leave_places_to_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (world, hook) = world(format!("http://{}/", listener.local_addr().unwrap())).await;
    let other = Webhook { id: WebhookId(99), org: "other".parse().unwrap(), ..hook.clone() };
    let slow: Vec<Webhook> = (1..=8).map(|id| Webhook { id: WebhookId(id), ..hook.clone() }).collect();
    let mut lines = HashMap::new();
    let mut tries = Tries::default();
    for webhook in &slow {
        world.settings.change(vec![Change::PutWebhook(webhook.clone())]).await.unwrap();
        world.waits(webhook.id, AT_MS).await;
        world.waits(webhook.id, AT_MS).await;
    }
    begin(&world.notify, &mut lines, &mut tries).await.unwrap();
    let under_way = |lines: &HashMap<WebhookId, Line>| -> Vec<usize> {
        (1..=8).chain([99]).map(|id| lines.get(&WebhookId(id)).map_or(0, |line| line.under_way.len())).collect()
    };
    assert_eq!(under_way(&lines), [1, 1, 1, 1, 0, 0, 0, 0, 0]);
    world.settings.change(vec![Change::PutWebhook(other)]).await.unwrap();
    for _ in 0..3 {
        world.waits(WebhookId(99), AT_MS).await;
    }
    begin(&world.notify, &mut lines, &mut tries).await.unwrap();
    assert_eq!(under_way(&lines), [1, 1, 1, 1, 0, 0, 0, 0, 2], "as many as one webhook may");
    // One of the slow is done: the next of its organisation is another.
    let ended = Ended { webhook: WebhookId(1), id: *lines[&WebhookId(1)].under_way.iter().next().unwrap(), good: true };
    settle(&world.notify, &mut lines, &mut tries, End::Made(ended));
    begin(&world.notify, &mut lines, &mut tries).await.unwrap();
    assert_eq!(under_way(&lines), [0, 1, 1, 1, 1, 0, 0, 0, 2]);
    // Its webhook is gone: what is under way still takes a place.
    world.settings.change(vec![Change::RemoveWebhook(WebhookId(2))]).await.unwrap();
    begin(&world.notify, &mut lines, &mut tries).await.unwrap();
    assert_eq!(under_way(&lines), [0, 1, 1, 1, 1, 0, 0, 0, 2]);
    assert_eq!(lines.len(), 9);
}

/// Also of a webhook that is never tried.
#[tokio::test]
async fn what_its_day_is_over_for_is_given_up() {
    let (world, hook) = world("http://127.0.0.1:1/".to_owned()).await;
    let day_ms = i64::try_from(world.notify.options.schedule.life.as_millis()).unwrap();
    world.settings.change(vec![Change::PutWebhook(Webhook { paused: true, ..hook.clone() })]).await.unwrap();
    world.waits(hook.id, AT_MS - day_ms - 1).await;
    world.waits(hook.id, AT_MS - day_ms + 1).await;
    purge(&world.notify).await;
    let stages: Vec<DeliveryStage> = world.deliveries(hook.id).await.iter().map(|delivery| delivery.stage).collect();
    assert_eq!(stages, [DeliveryStage::Waiting, DeliveryStage::Failed], "the newest first");
}

/// A receiver that is gone pauses its webhook, and nothing else of it; not one that meanwhile leads elsewhere.
#[tokio::test]
async fn who_is_gone_undoes_no_edit() {
    let (world, hook) = world("http://127.0.0.1:1/".to_owned()).await;
    let edited = Webhook { level: Level::Every, ..hook.clone() };
    world.settings.change(vec![Change::PutWebhook(edited.clone())]).await.unwrap();
    pause(&world.notify, &hook).await;
    let now = |world: &World| world.settings.snapshot().webhooks[&hook.id].clone();
    assert_eq!(now(&world), Webhook { paused: true, ..edited.clone() });
    let moved = Webhook { url: "http://127.0.0.1:2/".to_owned(), ..edited };
    world.settings.change(vec![Change::PutWebhook(moved.clone())]).await.unwrap();
    pause(&world.notify, &hook).await;
    assert_eq!(now(&world), moved);
    world.settings.change(vec![Change::RemoveWebhook(hook.id)]).await.unwrap();
    pause(&world.notify, &hook).await;
    assert!(world.settings.snapshot().webhooks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_tried_less_often() {
    let mut line = Line::new("acme".parse().unwrap());
    assert_eq!(line.room(), PER_WEBHOOK_MAX);
    for failure in 1..FAILURES_MAX {
        line.ended(0, false);
        assert_eq!(line.room(), PER_WEBHOOK_MAX, "failure {failure}");
    }
    // It rests for longer and longer, and then gets one try at a time.
    for rest in [30, 60, 120, 240, 480, 600, 600] {
        line.ended(0, false);
        assert_eq!(line.room(), 0);
        tokio::time::advance(Duration::from_secs(rest - 1)).await;
        assert_eq!(line.room(), 0, "{rest} s");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(line.room(), 1, "{rest} s");
    }
    line.under_way.insert(7);
    assert_eq!(line.room(), 0);
    line.ended(7, true);
    assert_eq!(line.room(), PER_WEBHOOK_MAX, "one answer, and it is as before");
}

#[test]
fn answers_in_words() {
    for (code, words) in [
        (204, "204 No Content"),
        (302, "302 Found (redirects are not followed)"),
        (500, "500 Internal Server Error"),
        (599, "599"),
    ] {
        assert_eq!(said(StatusCode::from_u16(code).unwrap()), words);
    }
}

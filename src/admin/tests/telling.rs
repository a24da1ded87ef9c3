//! The telling of the world: nothing runs, so that a test sees what is queued. acme has two webhooks, other has one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;

use super::fixture::{START_MS, org_name};
use crate::message::Envelope;
use crate::notify::{self, Notify, Options, Postman};
use crate::settings::OrgName;
use crate::settings::notices::{Level, Topic, Webhook, WebhookId};
use crate::store::history::{self, SqliteHistory};
use crate::store::memory::{MemoryHistory, MemorySettings};
use crate::store::outbox::Outbox;
use crate::store::{BoxFuture, Change, SettingsStore as _};
use crate::token::{Keyring, RootKey, Secret, Site, SiteId};

/// Everybody's mail of acme, without words; ann's own; everybody's mail of other, with words.
pub(super) const ACMES: WebhookId = WebhookId(0xac);
pub(super) const ANNS: WebhookId = WebhookId(0xa1);
pub(super) const OTHERS: WebhookId = WebhookId(0x07);

pub(super) struct Telling {
    pub(super) notify: Arc<Notify>,
    pub(super) news: watch::Sender<()>,
    folder: tempfile::TempDir,
}

struct Nobody;

impl Postman for Nobody {
    /// As where clients log in upstream as themselves.
    fn cannot_post(&self, org: &OrgName) -> Option<&'static str> {
        (org.as_str() == "managed").then_some("no notices by mail can be sent here")
    }

    fn post(&self, _: OrgName, _: String, _: Envelope, _: Bytes) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

impl Telling {
    pub(super) async fn new(settings: Arc<MemorySettings>, events: Arc<MemoryHistory>) -> Telling {
        // In memory where there is such a folder: hundreds of worlds are made, and a disk syncs each of them many times.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store = SqliteHistory::open(&folder.path().join("h"), &history::Options::default()).unwrap();
        let webhooks = [
            webhook(ACMES, "acme", None, false),
            webhook(ANNS, "acme", Some("ann"), true),
            webhook(OTHERS, "other", None, true),
        ];
        settings.change(webhooks.map(Change::PutWebhook).to_vec()).await.unwrap();
        let news = watch::Sender::new(());
        let key = RootKey { id: 1, secret: Secret([7; 32]), created: jiff::Timestamp::UNIX_EPOCH, revoked: None };
        let site =
            Site { id: SiteId([1; 4]), url: "http://t.example".to_owned(), former_urls: Vec::new(), default: true };
        let parts = notify::Parts {
            outbox: Outbox::new(Arc::new(store)),
            history: events,
            settings,
            keyring: Arc::new(ArcSwap::from_pointee(Keyring::new(vec![key], vec![site]).unwrap())),
            postman: Arc::new(Nobody),
            news: news.subscribe(),
            clock: || START_MS,
        };
        let options = Options { webhooks_max: 3, streams_max: 2, ..Options::default() };
        Telling { notify: Notify::new(parts, options), news, folder }
    }

    /// As if so many events had found no room.
    pub(super) fn drop_events(&self, webhook: WebhookId, count: i64) {
        let disk = rusqlite::Connection::open(self.folder.path().join("h")).unwrap();
        let row = (webhook.0.cast_signed(), count, START_MS);
        disk.execute("INSERT INTO webhook_dropped (webhook, dropped, last_ms) VALUES (?1, ?2, ?3)", row).unwrap();
    }
}

fn webhook(id: WebhookId, org: &str, login: Option<&str>, words: bool) -> Webhook {
    Webhook {
        id,
        org: org_name(org),
        login: login.map(str::to_owned),
        url: format!("https://hooks.example/{id}"),
        topics: Topic::ALL.to_vec(),
        level: Level::First,
        words,
        paused: false,
        sealed_secret: Vec::new(),
        created_at_ms: START_MS,
    }
}

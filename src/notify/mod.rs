//! Tells people and programs what happened to a mail: a live feed, webhooks, notices by mail.
//!
//! `teller` turns news of the history into what is to be told, one commit a batch; `pump` hands it to webhooks, and
//! `mailer` writes the mail; [`feed`] shows events to open pages as they come.
//!
//! **Invariants:** what is told is on record (an event first, then its notice). A webhook's event arrives at least once, under
//! one `webhook-id`; or it is listed as failed, at the latest when its day is over; or it found no room, and is counted at its
//! webhook. Machines and the sender's own are never told; a click is told when no burst can
//! show it a machine's any more. Nothing here ever holds up mail or recording.

pub mod address;
pub mod feed;
pub mod letter;
mod mailer;
pub mod payload;
mod post;
mod pump;
pub mod signature;
pub mod target;
mod teller;
mod turns;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use metrics::{Unit, counter, describe_counter, describe_histogram};
use tokio::sync::{Notify as Wake, watch};

use crate::deliver::backoff::Schedule;
use crate::message::Envelope;
use crate::settings::OrgName;
use crate::settings::notices::{Webhook, WebhookId};
use crate::smtp::ReversePath;
use crate::store::outbox::{DeliveryStage, Dropped, NewDelivery, Outbox, WebhookDelivery};
use crate::store::{BoxFuture, HistoryStore, SettingsStore, StoreError};
use crate::token::Keyring;
use feed::Feed;
use signature::SigningSecret;

/// What a webhook's secret is sealed for.
const SECRET_PURPOSE: &str = "webhook secret";

/// After the first failed try, the second, and so on; the last repeats.
pub const RETRY_SECS: [u64; 8] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400];

/// What telling needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Our name in Message-IDs.
    pub hostname: String,
    /// Where recipients reach the tracking site, without a slash at its end: the link that stops notices.
    pub public_url: String,
    /// Webhooks may be on this machine or in a private network.
    pub allow_private: bool,
    /// Roots to trust for https instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Webhooks of one organisation. Default 20.
    pub webhooks_max: usize,
    /// Deliveries that may wait for one webhook. Default 10,000: 20 MB at most, a day of a busy sender.
    pub waiting_max: u32,
    /// Deliveries tried at one time, over all webhooks; those of one organisation get half of these places. Default 8.
    pub concurrency_max: usize,
    /// To resolve and connect, with TLS. Default 5 s.
    pub connect_max: Duration,
    /// From then to the answer. Default 15 s, as Standard Webhooks has it.
    pub answer_max: Duration,
    /// When to try again, and how long: 24 hours.
    pub schedule: Schedule,
    /// How long deliveries are kept after their end. Default 7 days.
    pub kept: Duration,
    /// Live feeds at one time. Default 64.
    pub streams_max: usize,
    /// Notices by mail to one login in an hour. Default 6: after that they wait and come as one.
    pub mails_per_hour_max: u32,
    /// Lines of one notice; the others are counted. Default 50.
    pub mail_lines_max: u32,
    /// Who notices come from; `None`: from the person's own address, which upstream takes in any case.
    pub mail_from: Option<crate::smtp::Mailbox>,
    /// Their envelope sender, as of reports.
    pub reverse_path: ReversePath,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            hostname: "localhost".to_owned(),
            public_url: "http://127.0.0.1:8025".to_owned(),
            allow_private: false,
            ca_file: None,
            webhooks_max: 20,
            waiting_max: 10_000,
            concurrency_max: 8,
            connect_max: Duration::from_secs(5),
            answer_max: Duration::from_secs(15),
            schedule: Schedule {
                waits: RETRY_SECS.map(Duration::from_secs).to_vec(),
                life: Duration::from_secs(86_400),
                unknown_wait_min: Duration::ZERO,
            },
            kept: Duration::from_secs(604_800),
            streams_max: 64,
            mails_per_hour_max: 6,
            mail_lines_max: 50,
            mail_from: None,
            reverse_path: ReversePath::Null,
        }
    }
}

/// Takes mail of our own: on disk when it answers, sent as it is, never tracked and never answered with a report.
pub trait Postman: Send + Sync {
    /// Why mail of our own for this organisation cannot leave; `None`: it can.
    fn cannot_post(&self, org: &OrgName) -> Option<&'static str>;

    /// Takes one mail on behalf of an organisation and a login.
    fn post(&self, org: OrgName, login: String, envelope: Envelope, raw: Bytes) -> BoxFuture<'_, Result<(), String>>;
}

/// What telling works with.
pub struct Parts {
    /// What is to be told.
    pub outbox: Outbox,
    /// Events, for the feed.
    pub history: Arc<dyn HistoryStore>,
    /// Webhooks and people's wishes.
    pub settings: Arc<dyn SettingsStore>,
    /// Opens webhooks' secrets.
    pub keyring: Arc<ArcSwap<Keyring>>,
    /// Takes notices.
    pub postman: Arc<dyn Postman>,
    /// Changes whenever events are on record.
    pub news: watch::Receiver<()>,
    /// Unix milliseconds.
    pub clock: fn() -> i64,
}

/// A handle on the telling.
pub struct Notify {
    parts: Parts,
    options: Options,
    poster: post::Poster,
    /// Something may be due for a webhook.
    due: Wake,
    feed: Arc<Feed>,
}

impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notify").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Why a webhook cannot be made or told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The URL.
    #[error("{0}")]
    Target(#[from] target::BadTarget),
    /// The system gives no randomness, or every key is revoked.
    #[error("{0}")]
    Key(&'static str),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Notify {
    /// Over these parts. Nothing runs yet: see [`run`].
    pub fn new(parts: Parts, options: Options) -> Arc<Notify> {
        let feed = Arc::new(Feed::new(Arc::clone(&parts.history), options.streams_max));
        let poster = post::Poster::new(&options);
        Arc::new(Notify { parts, poster, options, due: Wake::new(), feed })
    }

    /// Events as they come.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// A secret for a new webhook: for people, once, and sealed.
    ///
    /// # Errors
    /// [`NotifyError::Key`].
    pub fn new_secret(&self) -> Result<(SigningSecret, Vec<u8>), NotifyError> {
        let secret = SigningSecret::random().map_err(|_| NO_RANDOMNESS)?;
        let sealed = self.parts.keyring.load().lock_away(SECRET_PURPOSE, nonce()?, secret.octets());
        Ok((secret, sealed.ok_or(NO_KEY)?))
    }

    /// Puts a test into the outbox of a webhook.
    ///
    /// # Errors
    /// [`NotifyError`].
    pub async fn test(&self, webhook: &Webhook) -> Result<(), NotifyError> {
        let at_ms = (self.parts.clock)();
        let message_id = message_id().ok_or(NO_RANDOMNESS)?;
        let delivery = NewDelivery {
            webhook: webhook.id,
            message_id,
            topic: payload::TEST_TOPIC.to_owned(),
            message: None,
            recipient: None,
            body: payload::test(at_ms, webhook),
            at_ms,
        };
        self.parts.outbox.add(delivery, self.options.waiting_max).await?;
        self.due.notify_one();
        Ok(())
    }

    /// Deliveries of a webhook, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn deliveries(
        &self,
        webhook: WebhookId,
        stage: Option<DeliveryStage>,
        before: Option<i64>,
        max: u32,
    ) -> Result<Vec<WebhookDelivery>, NotifyError> {
        Ok(self.parts.outbox.deliveries(webhook, stage, before, max).await?)
    }

    /// Makes one delivery, or all that failed, due again; how many.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn replay(&self, webhook: WebhookId, id: Option<i64>) -> Result<u64, NotifyError> {
        let replayed = self.parts.outbox.replay(webhook, id, (self.parts.clock)()).await?;
        self.due.notify_one();
        Ok(replayed)
    }

    /// Forgets what waits for a webhook that is gone.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn forget(&self, webhook: WebhookId) -> Result<(), NotifyError> {
        self.parts.outbox.forget(webhook).await?;
        Ok(())
    }

    /// Why nobody of this organisation can be sent notices by mail; `None`: they can.
    pub fn no_mail_for(&self, org: &OrgName) -> Option<&'static str> {
        self.parts.postman.cannot_post(org)
    }

    /// What found no room, by webhook.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn dropped(&self) -> Result<BTreeMap<WebhookId, Dropped>, NotifyError> {
        Ok(self.parts.outbox.dropped().await?)
    }

    /// How much waits.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn depth(&self) -> Result<crate::store::outbox::Depth, NotifyError> {
        Ok(self.parts.outbox.depth().await?)
    }

    /// A webhook was resumed, or changed: what waits for it may be due.
    pub fn look_again(&self) {
        self.due.notify_one();
    }

    fn secret(&self, webhook: &Webhook) -> Option<SigningSecret> {
        let octets = self.parts.keyring.load().take_out(SECRET_PURPOSE, &webhook.sealed_secret)?;
        Some(SigningSecret::from_octets(octets))
    }

    /// The link that stops the notices to a login.
    fn stop_url(&self, login: &str) -> Result<String, NotifyError> {
        let path = self.parts.keyring.load().stop_path(nonce()?, login).ok_or(NO_KEY)?;
        Ok(format!("{}{path}", self.options.public_url))
    }
}

const NO_KEY: NotifyError = NotifyError::Key("every key is revoked: `waxseal keys rotate` makes one");
const NO_RANDOMNESS: NotifyError = NotifyError::Key("the system gives no random numbers");

fn nonce() -> Result<[u8; 12], NotifyError> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).map_err(|_| NO_RANDOMNESS)?;
    Ok(nonce)
}

/// Tells until `stop` turns true.
pub async fn run(notify: Arc<Notify>, stop: watch::Receiver<bool>) {
    tokio::join!(
        teller::run(&notify, stop.clone()),
        pump::run(Arc::clone(&notify), stop.clone()),
        mailer::run(&notify, stop.clone()),
        notify.feed.run(notify.parts.news.clone(), stop),
    );
}

/// Declares the metrics of this module.
pub fn describe_metrics() {
    describe_counter!("waxseal_webhook_tries_total", "Tries to hand an event to a webhook, by what they came to.");
    describe_histogram!(
        "waxseal_webhook_try_seconds",
        Unit::Seconds,
        "From the begin of a try to the receiver's answer."
    );
    describe_counter!(
        "waxseal_notices_dropped_total",
        "Events for webhooks and lines for mail that found no room; they are told nobody."
    );
    describe_counter!("waxseal_notice_mails_total", "Notices by mail that were written.");
    describe_counter!(
        "waxseal_feed_streams_cut_total",
        "Live feeds that were ended because their reader was too slow."
    );
}

/// A random `webhook-id`.
fn message_id() -> Option<String> {
    let (a, b) = (getrandom::u64().ok()?, getrandom::u64().ok()?);
    Some(format!("msg_{a:016x}{b:016x}"))
}

/// Waits until it is time to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        tracing::debug!("whoever could ask the telling to stop is gone: it stops");
    }
}

fn count_dropped(dropped: u64) {
    if dropped > 0 {
        counter!("waxseal_notices_dropped_total").increment(dropped);
        tracing::warn!(
            dropped,
            "{dropped} notices found no room and are told nobody: look at the webhooks that do not answer"
        );
    }
}

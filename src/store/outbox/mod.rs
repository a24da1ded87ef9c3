//! What is to be told to the outside, durable: news not told yet, deliveries to webhooks, lines of notices by mail.
//!
//! **Invariant:** news become deliveries and lines, and count as told, in one commit: a crash tells nothing twice here and
//! loses nothing. What is delivered, failed or expired is kept for its time and goes with the message it is about.

mod news;
mod read;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::history::SqliteHistory;
use super::record::TimelineEntry;
use super::writer::Work;
use super::{StoreError, column::STORE};
use crate::settings::OrgName;
use crate::settings::notices::WebhookId;
use crate::token::MessageId;

pub(super) use write::{forget, note_refusal, write};

/// Deliveries given up in one commit: some 10 ms of the writer's time.
const GIVEN_UP_MAX: u32 = 1_000;

/// The outbox of a history.
#[derive(Debug, Clone)]
pub struct Outbox {
    history: Arc<SqliteHistory>,
}

/// Something that happened and is not told yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A person's open or click, under the mode `individual`.
    Event {
        /// What and who.
        entry: Box<TimelineEntry>,
        /// No earlier open of this copy was a person's, also none that is forgotten by now. Always false for a click.
        first: bool,
        /// The envelope sender; empty for `<>`.
        reverse_path: String,
        /// The Message-ID header of the mail.
        message_id_header: String,
    },
    /// A recipient was refused for good.
    Refused {
        /// Unix milliseconds.
        at_ms: i64,
        /// The message.
        message: MessageId,
        /// Whose mail.
        org: OrgName,
        /// The sender's login, if any.
        login: Option<String>,
        /// Subject of the message.
        subject: String,
        /// The Message-ID header of the mail.
        message_id_header: String,
        /// Which of its recipients.
        index: u16,
        /// Who.
        recipient: String,
        /// Upstream's words, or ours.
        reply: String,
    },
}

/// Up to where everything is told, each kind by itself: a click is held back, and nothing waits behind it but clicks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Sequence of an event: no open up to it is to be told any more.
    pub opens: i64,
    /// The same of clicks.
    pub clicks: i64,
    /// Number of a refusal.
    pub refusals: i64,
}

/// News, oldest first, and where they end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Worth telling.
    pub news: Vec<News>,
    /// What lies up to here is in it, or not worth telling.
    pub to: Marks,
    /// Events that would be looked at again if the marks stayed where they are.
    pub quiet: i64,
    /// There may be more right behind it.
    pub more: bool,
}

/// What news come to: one commit.
#[derive(Debug, Clone, Default)]
pub struct Telling {
    /// From [`Batch::to`]. A mark never goes back.
    pub to: Marks,
    /// For webhooks.
    pub deliveries: Vec<NewDelivery>,
    /// For mail.
    pub lines: Vec<NewLine>,
    /// Deliveries that may wait for one webhook; more are dropped and counted.
    pub waiting_max: u32,
    /// Lines that may wait for one login; more are dropped and counted.
    pub lines_max: u32,
}

/// A delivery to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// To which webhook.
    pub webhook: WebhookId,
    /// `webhook-id`, random.
    pub message_id: String,
    /// Its `type`.
    pub topic: String,
    /// What it is about; `None` for a test.
    pub message: Option<MessageId>,
    /// The recipient it is about, by index. One who was forgotten since the news were read is not told of.
    pub recipient: Option<u16>,
    /// JSON.
    pub body: String,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// A line of a notice to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLine {
    /// Who is told.
    pub login: String,
    /// Their organisation.
    pub org: OrgName,
    /// What it is about.
    pub message: MessageId,
    /// As of [`NewDelivery`].
    pub recipient: Option<u16>,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The address the mail was sent from.
    pub sender: String,
    /// JSON.
    pub line: String,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStage {
    /// To be tried.
    Waiting,
    /// The receiver took it.
    Delivered,
    /// Given up; it may be replayed.
    Failed,
}

impl DeliveryStage {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryStage::Waiting => "waiting",
            DeliveryStage::Delivered => "delivered",
            DeliveryStage::Failed => "failed",
        }
    }

    /// Reads [`DeliveryStage::as_str`] back.
    pub fn parse(text: &str) -> Option<DeliveryStage> {
        use DeliveryStage::{Delivered, Failed, Waiting};
        [Waiting, Delivered, Failed].into_iter().find(|stage| stage.as_str() == text)
    }
}

/// One event for one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookDelivery {
    /// Grows with every delivery.
    pub id: i64,
    /// To which webhook.
    pub webhook: WebhookId,
    /// `webhook-id`.
    pub message_id: String,
    /// Its `type`.
    pub topic: String,
    /// JSON.
    pub body: String,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// Unix milliseconds its life began: made, or replayed.
    pub since_ms: i64,
    /// How it stands.
    pub stage: DeliveryStage,
    /// Tries so far, since it was made or replayed.
    pub attempts: u32,
    /// Unix milliseconds of the next one, while it waits.
    pub next_try_ms: i64,
    /// Unix milliseconds of the last one.
    pub last_try_ms: Option<i64>,
    /// What that came to.
    pub answer: String,
}

/// What a try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Which delivery.
    pub id: i64,
    /// How it stands now.
    pub stage: DeliveryStage,
    /// Unix milliseconds of the try.
    pub at_ms: i64,
    /// Unix milliseconds of the next one.
    pub next_try_ms: i64,
    /// In words.
    pub answer: String,
}

/// Lines that wait for one login, about mail sent from one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingNotice {
    /// Who is told.
    pub login: String,
    /// The address the mail was sent from.
    pub sender: String,
    /// Notices sent to this login since the time asked for.
    pub sent_lately: u32,
    /// The oldest lines.
    pub lines: Vec<NewLine>,
    /// How many wait in all.
    pub total: u32,
    /// The newest that waits.
    pub last_id: i64,
}

/// Events that found no room in the outbox of a webhook, since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// How many.
    pub count: u64,
    /// Unix milliseconds of the last one.
    pub last_ms: i64,
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Deliveries to be tried.
    pub waiting: u64,
    /// Deliveries given up and kept.
    pub failed: u64,
    /// Lines for mail.
    pub lines: u64,
}

/// A write of the outbox, as the history's writer does it.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// Gives how many deliveries and lines were dropped.
    Tell(Box<Telling>),
    Tried(Tried),
    /// One, or all that failed; gives how many.
    Replay {
        webhook: WebhookId,
        id: Option<i64>,
        now_ms: i64,
    },
    /// Everything of a webhook.
    Forget(WebhookId),
    /// All that waited then; `None` drops them unsent.
    Noticed {
        notice: Box<WaitingNotice>,
        sent_at_ms: Option<i64>,
    },
    /// What waits since before then, a slice of it; gives how many.
    GiveUp {
        before_ms: i64,
        max: u32,
    },
    /// What ended before.
    Purge {
        before_ms: i64,
    },
}

impl Outbox {
    /// The outbox of this history.
    pub fn new(history: Arc<SqliteHistory>) -> Outbox {
        Outbox { history }
    }

    async fn write(&self, write: Write) -> Result<u64, StoreError> {
        self.history.write(move |answer| Work::Outbox(write, answer)).await
    }

    /// News not told yet. A click younger than `clicks_before_ms` is not among them, nor are those after it: a burst may yet
    /// show it a machine's.
    pub async fn news(&self, clicks_before_ms: i64) -> Result<Batch, StoreError> {
        self.history.readers.ask("news", move |connection| news::news(connection, clicks_before_ms)).await
    }

    /// Where everything ends, for when nobody wants any of it.
    pub async fn last(&self) -> Result<Marks, StoreError> {
        self.history.readers.ask("news", news::last).await
    }

    /// Makes deliveries and lines of news, which thereby are told. Gives how many were dropped for want of room.
    pub async fn tell(&self, telling: Telling) -> Result<u64, StoreError> {
        self.write(Write::Tell(Box::new(telling))).await
    }

    /// Webhooks with something to try by now.
    pub async fn due_webhooks(&self, now_ms: i64) -> Result<Vec<WebhookId>, StoreError> {
        self.history.readers.ask("deliveries", move |connection| read::due_webhooks(connection, now_ms)).await
    }

    /// What is to be tried by now, the one that waits longest first.
    pub async fn due(&self, webhook: WebhookId, now_ms: i64, max: u32) -> Result<Vec<WebhookDelivery>, StoreError> {
        self.history.readers.ask("deliveries", move |connection| read::due(connection, webhook, now_ms, max)).await
    }

    /// Notes a try. One that is not there any more has nothing to note.
    pub async fn tried(&self, tried: Tried) -> Result<(), StoreError> {
        self.write(Write::Tried(tried)).await.map(drop)
    }

    /// Deliveries of a webhook, newest first, before one of them, in one stage or any.
    pub async fn deliveries(
        &self,
        webhook: WebhookId,
        stage: Option<DeliveryStage>,
        before: Option<i64>,
        max: u32,
    ) -> Result<Vec<WebhookDelivery>, StoreError> {
        let asked = move |connection: &_| read::deliveries(connection, webhook, stage, before, max);
        self.history.readers.ask("deliveries", asked).await
    }

    /// Makes one delivery, or all that failed, due again; how many.
    pub async fn replay(&self, webhook: WebhookId, id: Option<i64>, now_ms: i64) -> Result<u64, StoreError> {
        self.write(Write::Replay { webhook, id, now_ms }).await
    }

    /// Forgets everything of a webhook that is gone.
    pub async fn forget(&self, webhook: WebhookId) -> Result<u64, StoreError> {
        self.write(Write::Forget(webhook)).await
    }

    /// Logins and addresses for which lines wait, with the oldest lines of each (at most `lines_max`). Not those logins that
    /// were sent `sent_max` notices since then: they would stand before others who may be told.
    pub async fn notices(
        &self,
        sent_since_ms: i64,
        sent_max: u32,
        lines_max: u32,
    ) -> Result<Vec<WaitingNotice>, StoreError> {
        let asked = move |connection: &_| read::notices(connection, sent_since_ms, sent_max, lines_max);
        self.history.readers.ask("notices", asked).await
    }

    /// A login has been told of all lines that waited (or, without a time, does not want to be).
    pub async fn noticed(&self, notice: WaitingNotice, sent_at_ms: Option<i64>) -> Result<(), StoreError> {
        self.write(Write::Noticed { notice: Box::new(notice), sent_at_ms }).await.map(drop)
    }

    /// Gives up what waits since before then, whatever its webhook does: it is listed as failed. How many.
    pub async fn give_up(&self, before_ms: i64) -> Result<u64, StoreError> {
        let (mut given_up, max) = (0, GIVEN_UP_MAX);
        loop {
            let slice = self.write(Write::GiveUp { before_ms, max }).await?;
            given_up += slice;
            if slice < u64::from(max) {
                return Ok(given_up);
            }
        }
    }

    /// What found no room, by webhook.
    pub async fn dropped(&self) -> Result<BTreeMap<WebhookId, Dropped>, StoreError> {
        self.history.readers.ask("deliveries", read::dropped).await
    }

    /// Forgets deliveries that ended before then.
    pub async fn purge(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.write(Write::Purge { before_ms }).await
    }

    /// How much waits.
    pub async fn depth(&self) -> Result<Depth, StoreError> {
        self.history.readers.ask("deliveries", read::depth).await
    }

    /// Adds one delivery that is about no mail, such as a test.
    pub async fn add(&self, delivery: NewDelivery, waiting_max: u32) -> Result<(), StoreError> {
        let telling = Telling { deliveries: vec![delivery], waiting_max, ..Telling::default() };
        match self.tell(telling).await? {
            0 => Ok(()),
            _ => Err(StoreError::Refused { store: STORE, detail: "too many deliveries wait already".to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests;

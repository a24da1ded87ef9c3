//! Webhooks and what was told them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{at, patch};
use crate::settings::notices;
use crate::store::outbox::{DeliveryStage, Dropped, WebhookDelivery};

/// A webhook, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// 16 hex digits.
    pub id: String,
    /// Whose mail it is about.
    pub org: String,
    /// Only this sender's; null: everybody's.
    pub login: Option<String>,
    /// Where it is.
    pub url: String,
    /// Of `message.opened`, `message.clicked`, `message.bounced`.
    pub topics: Vec<String>,
    /// `first`: first opens and all clicks; `every`; `none`.
    pub level: String,
    /// Recipients, subjects and places are told.
    pub words: bool,
    /// Nothing is sent for now.
    pub paused: bool,
    /// RFC 3339.
    pub created_at: String,
    /// Events that found no room because too many waited: it was told of none of them.
    pub dropped: u64,
    /// RFC 3339, of the last one.
    pub last_dropped_at: Option<String>,
}

/// A webhook just made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct WebhookMade {
    /// It.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// `whsec_…`: shown only now.
    pub secret: String,
}

/// `POST /api/v1/webhooks`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookPost {
    /// Whose mail it is about.
    #[serde(default)]
    pub org: Option<String>,
    /// Only this sender's mail.
    #[serde(default)]
    pub login: Option<String>,
    /// Where it is.
    pub url: String,
    /// All of them when left out.
    #[serde(default)]
    pub topics: Option<Vec<String>>,
    /// `first` when left out.
    #[serde(default)]
    pub level: Option<String>,
    /// Recipients and subjects of everybody's mail too.
    #[serde(default)]
    pub words: bool,
}

/// `PATCH /api/v1/webhooks/{id}`: what is not there stays as it is.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookPatch {
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub url: Option<String>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub topics: Option<Vec<String>>,
    /// `first`, `every` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub level: Option<String>,
    /// Whether it rests.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub paused: Option<bool>,
}

/// One event for one webhook.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Grows with every delivery; `before` of the next page.
    pub id: i64,
    /// `webhook-id`.
    pub message_id: String,
    /// Its `type`.
    pub topic: String,
    /// `waiting`, `delivered` or `failed`.
    pub state: String,
    /// Tries so far.
    pub attempts: u32,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub last_try_at: Option<String>,
    /// RFC 3339, while it waits.
    pub next_try_at: Option<String>,
    /// What the last try came to.
    pub answer: String,
    /// What is sent.
    pub body: serde_json::Value,
}

/// `POST …/replay`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// How many are tried again.
    pub replayed: u64,
}

impl Webhook {
    pub(in crate::admin::api) fn of(webhook: notices::Webhook, dropped: Dropped) -> Webhook {
        Webhook {
            id: webhook.id.to_string(),
            org: webhook.org.as_str().to_owned(),
            login: webhook.login,
            url: webhook.url,
            topics: webhook.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            level: webhook.level.as_str().to_owned(),
            words: webhook.words,
            paused: webhook.paused,
            created_at: at(webhook.created_at_ms),
            dropped: dropped.count,
            last_dropped_at: (dropped.count > 0).then(|| at(dropped.last_ms)),
        }
    }
}

impl From<WebhookDelivery> for Delivery {
    fn from(delivery: WebhookDelivery) -> Delivery {
        Delivery {
            id: delivery.id,
            message_id: delivery.message_id,
            topic: delivery.topic,
            state: delivery.stage.as_str().to_owned(),
            attempts: delivery.attempts,
            created_at: at(delivery.created_at_ms),
            last_try_at: delivery.last_try_ms.map(at),
            next_try_at: (delivery.stage == DeliveryStage::Waiting).then(|| at(delivery.next_try_ms)),
            answer: delivery.answer,
            body: serde_json::from_str(&delivery.body).unwrap_or_default(),
        }
    }
}

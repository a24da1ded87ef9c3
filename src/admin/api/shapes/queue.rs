//! The queue, as sent and as read back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::at;
use crate::admin::actions::queue::{QueuePage, QueueView};
use crate::admin::pages::place;
use crate::admin::ports::{QueueRecipient, QueueStage};

/// `GET /api/v1/queue`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// Oldest first.
    pub mails: Vec<QueuedMail>,
    /// There are more than are listed.
    pub cut: bool,
    /// `after` of the next page; null on the last one.
    #[serde(default)]
    pub next: Option<String>,
    /// Unreadable mails in `corrupt/`; null for all but server admins, like the rest.
    pub corrupt: Option<usize>,
    /// Octets free where the spool is.
    pub free_bytes: Option<u64>,
    /// Mail that must wait is about to be refused for want of room.
    pub short_of_room: Option<bool>,
    /// Upstream is known to be unreachable and not tried just now.
    pub upstream_down: Option<bool>,
}

/// A mail that waits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QueuedMail {
    /// 16 hex digits.
    pub id: String,
    /// RFC 3339.
    pub accepted_at: String,
    /// Whose mail; null when that cannot be read.
    pub org: Option<String>,
    /// The login; null for a trusted network or a report of our own.
    pub login: Option<String>,
    /// A report that waxseal wrote itself.
    pub own_report: bool,
    /// Envelope sender, empty for `<>`; null when only counts may be seen.
    pub from: Option<String>,
    /// Octets.
    pub size_bytes: u64,
    /// The most attempts made for one recipient.
    pub attempts: u32,
    /// RFC 3339; null when nothing is to be tried.
    pub next_try: Option<String>,
    /// Everyone it is for.
    pub recipients: Vec<QueuedRecipient>,
}

/// One recipient of a mail that waits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QueuedRecipient {
    /// The address; null when only counts may be seen.
    pub address: Option<String>,
    /// `waiting`, `in-flight`, `unknown`, `bounce-owed`, `failed` or `delivered`.
    pub stage: String,
    /// Attempts made.
    pub attempts: u32,
    /// RFC 3339; null when nothing is to be tried.
    pub next_try: Option<String>,
    /// The last words about it; null when only counts may be seen.
    pub last_reply: Option<String>,
    /// The host that said so; empty when it was this one.
    pub last_host: String,
}

impl From<QueuePage> for Queue {
    fn from(page: QueuePage) -> Queue {
        let QueuePage { mails, cut, next, health } = page;
        Queue {
            mails: mails.into_iter().map(QueuedMail::from).collect(),
            cut,
            next: next.map(place::print),
            corrupt: health.map(|health| health.corrupt),
            free_bytes: health.map(|health| health.free_bytes),
            short_of_room: health.map(|health| health.short_of_room),
            upstream_down: health.map(|health| health.upstream_down),
        }
    }
}

impl From<QueueView> for QueuedMail {
    fn from(view: QueueView) -> QueuedMail {
        let (attempts, next_try, whole) = (view.attempts(), view.next_try_ms().map(at), view.whole);
        let entry = view.entry;
        let recipient = |of: QueueRecipient| QueuedRecipient {
            address: whole.then_some(of.address),
            stage: stage(of.stage).to_owned(),
            attempts: of.attempts,
            next_try: of.next_try_ms.map(at),
            last_reply: whole.then_some(of.last_reply),
            last_host: of.last_host,
        };
        QueuedMail {
            id: entry.id.to_string(),
            accepted_at: at(entry.accepted_at_ms),
            org: entry.org.map(|org| org.as_str().to_owned()),
            login: entry.login,
            own_report: entry.own_report,
            from: whole.then_some(entry.from),
            size_bytes: entry.size_bytes,
            attempts,
            next_try,
            recipients: entry.recipients.into_iter().map(recipient).collect(),
        }
    }
}

fn stage(stage: QueueStage) -> &'static str {
    match stage {
        QueueStage::Waiting => "waiting",
        QueueStage::InFlight => "in-flight",
        QueueStage::Unknown => "unknown",
        QueueStage::BounceOwed => "bounce-owed",
        QueueStage::Failed => "failed",
        QueueStage::Delivered => "delivered",
    }
}

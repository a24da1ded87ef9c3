//! The JSON of the API, as sent and as read back by the command line. Core types stay free of serde; these are the edge.

mod audit;
mod event;
mod figures;
mod inbox;
mod key;
mod message;
mod org;
pub mod people;
mod queue;
mod reader;
mod session;
mod user;
mod webhook;

use serde::Deserialize;

use crate::settings::{BadOrgName, OrgName};

pub use audit::{AuditLine, AuditLines, AuditValue};
pub use event::{Event, Events};
pub use figures::{Figures, FiguresOfDay};
pub use inbox::{InboxLine, TestMailPost, TestMailSent};
pub use key::Key;
pub use message::{Counts, Link, LinkPut, Message, MessageLine, Messages, Recipient};
pub use org::{Org, OrgPatch, Switches};
pub use queue::{Queue, QueuedMail, QueuedRecipient};
pub use reader::{Reader, Readers};
pub use session::Session;
pub use user::{NoticesPut, PasswordPut, User, UserPost};
pub use webhook::{Delivery, Replayed, Webhook, WebhookMade, WebhookPatch, WebhookPost};

/// An organisation's name, for handlers.
pub(super) fn org_name(text: Option<String>) -> Result<Option<OrgName>, BadOrgName> {
    text.map(|name| name.parse()).transpose()
}

/// An error, as the command line reads it.
#[derive(Debug, Deserialize)]
pub struct ProblemShape {
    /// What to do.
    pub detail: String,
}

/// RFC 3339 in UTC with milliseconds.
fn at(at_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

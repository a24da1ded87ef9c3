//! The built-in inbox and the test mail.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::at;
use crate::admin::actions::inbox::InboxRow;

/// One mail of the inbox.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct InboxLine {
    /// Its name.
    pub id: String,
    /// RFC 3339.
    pub received_at: String,
    /// Envelope sender.
    pub from: String,
    /// Envelope recipients.
    pub to: Vec<String>,
    /// Decoded Subject.
    pub subject: String,
    /// Octets.
    pub size_bytes: u64,
}

impl From<InboxRow> for InboxLine {
    fn from(row: InboxRow) -> InboxLine {
        InboxLine {
            id: row.entry.id,
            received_at: at(row.entry.received_at_ms),
            from: row.entry.from,
            to: row.entry.to,
            subject: row.subject,
            size_bytes: row.entry.size_bytes,
        }
    }
}

/// `POST /api/v1/test-mail`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestMailPost {
    /// Whom it goes to.
    pub to: String,
    /// Under whose settings.
    #[serde(default)]
    pub org: Option<String>,
}

/// The answer to a test mail.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TestMailSent {
    /// What the relay or upstream said.
    pub reply: String,
    /// Its id, to follow it by; absent when its record could not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

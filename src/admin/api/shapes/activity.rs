//! What happened lately.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{at, named};
use crate::admin::actions::activity::{ActivityRow, ActivityWords};

/// `GET /api/v1/activity`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// Oldest first.
    pub events: Vec<ActivityLine>,
    /// `before` of a request for the ones before; null on the last page.
    pub before: Option<i64>,
}

/// One open or click.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ActivityLine {
    /// Grows with every event.
    pub sequence: i64,
    /// RFC 3339.
    pub at: String,
    /// `open` or `click`.
    pub kind: String,
    /// `person`, `proxy`, `machine`, `self` or `unknown`.
    pub verdict: String,
    /// The rule that gave the verdict.
    pub rule: String,
    /// Whose mail.
    pub org: Option<String>,
    /// The sender's login.
    pub login: Option<String>,
    /// Who, what and where; null for mail of which the caller sees counts only.
    pub of: Option<ActivityOf>,
}

/// What an event is of.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ActivityOf {
    /// 16 hex digits.
    pub message: String,
    /// Subject of the message.
    pub subject: String,
    /// Who; null for an aggregate or shared copy.
    pub recipient: Option<String>,
    /// What the sender called them; null when they were called nothing, and as above.
    #[serde(default)]
    pub recipient_name: Option<String>,
    /// Where the link led when it was sent.
    pub destination: Option<String>,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// In English.
    pub city: Option<String>,
    /// `relay` or `hosting` when the place is perhaps not the reader's.
    pub place_unreliable: Option<String>,
    /// Client family.
    pub client: Option<String>,
    /// Operating system family.
    pub os: Option<String>,
}

impl From<ActivityRow> for ActivityLine {
    fn from(row: ActivityRow) -> ActivityLine {
        ActivityLine {
            sequence: row.sequence,
            at: at(row.at_ms),
            kind: row.kind.as_str().to_owned(),
            verdict: row.verdict.as_str().to_owned(),
            rule: row.rule,
            org: row.org.map(|org| org.as_str().to_owned()),
            login: row.login,
            of: row.words.map(ActivityOf::from),
        }
    }
}

impl From<ActivityWords> for ActivityOf {
    fn from(words: ActivityWords) -> ActivityOf {
        let ActivityWords { message, recipient, subject, destination, country, city, via, client, os } = words;
        let (recipient, recipient_name) = named(recipient);
        ActivityOf {
            message: message.to_string(),
            subject,
            recipient,
            recipient_name,
            destination,
            country,
            city,
            place_unreliable: via.map(|via| via.as_str().to_owned()),
            client,
            os,
        }
    }
}

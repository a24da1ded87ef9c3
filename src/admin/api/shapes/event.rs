//! Opens and clicks.

use serde::{Deserialize, Serialize};

use super::at;
use crate::event::EventKind;
use crate::store::record::TimelineEntry;

/// `GET /api/v1/events`
#[derive(Debug, Serialize, Deserialize)]
pub struct Events {
    /// Oldest first.
    pub events: Vec<Event>,
    /// `after` of the next request.
    pub after: i64,
}

/// One event.
#[derive(Debug, Serialize, Deserialize)]
pub struct Event {
    /// Grows with every event.
    pub sequence: i64,
    /// RFC 3339.
    pub at: String,
    /// `open` or `click`.
    pub kind: String,
    /// 16 hex digits.
    pub message: String,
    /// Subject of the message.
    pub subject: String,
    /// Whose mail.
    pub org: Option<String>,
    /// The sender's login.
    pub login: Option<String>,
    /// Who; null for an aggregate or shared copy.
    pub recipient: Option<String>,
    /// Index of the link clicked.
    pub link: Option<u16>,
    /// Where it led when it was sent.
    pub destination: Option<String>,
    /// `person`, `proxy`, `machine`, `self` or `unknown`.
    pub verdict: String,
    /// The rule that gave the verdict.
    pub rule: String,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// Client family.
    pub client: Option<String>,
    /// Operating system family.
    pub os: Option<String>,
    /// Device family.
    pub device: Option<String>,
}

impl From<TimelineEntry> for Event {
    fn from(entry: TimelineEntry) -> Event {
        let event = entry.event;
        let clicked = event.kind == EventKind::Click;
        Event {
            sequence: entry.sequence,
            at: at(event.at_ms),
            kind: event.kind.as_str().to_owned(),
            message: event.id.message.to_string(),
            subject: entry.subject,
            org: entry.org.map(|org| org.as_str().to_owned()),
            login: entry.login,
            recipient: entry.recipient,
            link: clicked.then_some(event.id.link),
            destination: entry.destination,
            verdict: event.verdict.as_str().to_owned(),
            rule: event.rule,
            country: event.country,
            client: event.agent_family,
            os: event.os_family,
            device: event.device_family,
        }
    }
}

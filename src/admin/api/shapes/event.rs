//! Opens and clicks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{at, named};
use crate::event::{EventKind, Evidence, words};
use crate::store::record::TimelineEntry;

/// `GET /api/v1/events`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// Oldest first.
    pub events: Vec<Event>,
    /// `after` of the next request.
    pub after: i64,
    /// `before` of a request for the ones before; null where it was asked `after` something, and on the last page.
    #[serde(default)]
    pub before: Option<i64>,
}

/// One event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows with every event.
    pub sequence: i64,
    /// RFC 3339; the begin of the day, of what is counted by the day.
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
    /// What the sender called them; null when they were called nothing, and as above.
    #[serde(default)]
    pub recipient_name: Option<String>,
    /// Index of the link clicked.
    pub link: Option<u16>,
    /// Where it led when it was sent.
    pub destination: Option<String>,
    /// `person`, `proxy`, `machine`, `self` or `unknown`.
    pub verdict: String,
    /// The rule that gave the verdict.
    pub rule: String,
    /// The verdict before a burst showed it wrong.
    pub former_verdict: Option<String>,
    /// How often the same came again within a minute; counted once.
    pub repeats: u32,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// In English.
    pub city: Option<String>,
    /// `relay` or `hosting` when the place is perhaps not the reader's; null when nothing speaks against it.
    pub place_unreliable: Option<String>,
    /// Client family.
    pub client: Option<String>,
    /// Operating system family.
    pub os: Option<String>,
    /// Device family.
    pub device: Option<String>,
    /// Program, place, verdict and reason in words, as far as there is something to say.
    pub words: Vec<String>,
    /// Who asked; only where the organisation keeps raw evidence.
    pub address: Option<String>,
    /// The whole User-Agent; only where the organisation keeps raw evidence.
    pub agent: Option<String>,
}

impl From<TimelineEntry> for Event {
    fn from(entry: TimelineEntry) -> Event {
        let words = words::details(&entry.event);
        let event = entry.event;
        let (address, agent) = match event.evidence {
            Some(Evidence { address, agent }) => (Some(address.to_string()), agent),
            None => (None, None),
        };
        let clicked = event.kind == EventKind::Click;
        let (recipient, recipient_name) = named(entry.recipient);
        Event {
            sequence: entry.sequence,
            at: at(event.at_ms),
            kind: event.kind.as_str().to_owned(),
            message: event.id.message.to_string(),
            subject: entry.subject,
            org: entry.org.map(|org| org.as_str().to_owned()),
            login: entry.login,
            recipient,
            recipient_name,
            link: clicked.then_some(event.id.link),
            destination: entry.destination,
            verdict: event.verdict.as_str().to_owned(),
            rule: event.rule,
            former_verdict: event.former.map(|former| former.as_str().to_owned()),
            repeats: event.repeats,
            country: event.country,
            city: event.city,
            place_unreliable: event.via.map(|via| via.as_str().to_owned()),
            client: event.agent_family,
            os: event.os_family,
            device: event.device_family,
            words,
            address,
            agent,
        }
    }
}

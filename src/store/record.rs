//! What history keeps of a message: plain values, no SQL.

use crate::event::Event;
use crate::settings::{Mode, OrgName};
use crate::token::{MessageId, SiteId};

/// One submission as tracked. Durable before its last dot goes upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// Random, unique.
    pub id: MessageId,
    /// Unix milliseconds of the client's final dot.
    pub accepted_at_ms: i64,
    /// Whose mail.
    pub org: OrgName,
    /// The login; `None` for a trusted network.
    pub login: Option<String>,
    /// Envelope sender for people; empty for `<>`.
    pub reverse_path: String,
    /// The From header's mailbox for people.
    pub header_from: String,
    /// Decoded Subject, at most 500 bytes.
    pub subject: String,
    /// The Message-ID header as it stands, at most 500 bytes.
    pub message_id_header: String,
    /// Octets accepted.
    pub size_bytes: u64,
    /// Keyed hash of the submission's network, same form as an event's.
    pub network_hash: Option<[u8; 8]>,
    /// Which tracking host its tokens belong to, and under which key: frozen, so that a retry renders the same bytes.
    pub site: SiteId,
    /// The key id of its tokens.
    pub key_id: u8,
    /// Why nothing at all was rewritten, in words; `None` when something was.
    pub untouched: Option<String>,
    /// Decisions about parts and links, one line each, as `rewrite --plan` prints them.
    pub notes: Vec<String>,
    /// Every recipient.
    pub recipients: Vec<RecipientRecord>,
    /// Every tracked link.
    pub links: Vec<LinkRecord>,
}

/// One recipient of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientRecord {
    /// Random without repetition in 0..=65535; the one in the token. Recipients of a shared copy have one each all the same.
    pub index: u16,
    /// The index in the tokens of the copy this recipient got: its own, or that of its plan's shared copy.
    pub copy_index: u16,
    /// The address for people.
    pub address: String,
    /// What was in force.
    pub opens: Mode,
    /// What was in force.
    pub links: Mode,
    /// How delivery stands.
    pub delivery: Delivery,
}

/// One tracked link of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRecord {
    /// As in the token.
    pub index: u16,
    /// Where it leads.
    pub destination: String,
}

/// How one recipient's delivery stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The state.
    pub state: DeliveryState,
    /// Upstream's words, or ours, cleaned; empty before any.
    pub reply: String,
    /// Unix milliseconds of the last change.
    pub at_ms: i64,
}

/// States of one recipient's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// The record exists, upstream has not answered yet.
    Pending,
    /// Upstream said 250 to the dot.
    Accepted,
    /// Refused for good.
    Refused,
    /// Temporary failure; to be tried again.
    Deferred,
    /// The connection was lost after the dot: perhaps delivered.
    Unknown,
}

impl DeliveryState {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Accepted => "accepted",
            DeliveryState::Refused => "refused",
            DeliveryState::Deferred => "deferred",
            DeliveryState::Unknown => "unknown",
        }
    }

    /// Reads [`DeliveryState::as_str`] back.
    pub fn parse(text: &str) -> Option<DeliveryState> {
        use DeliveryState::{Accepted, Deferred, Pending, Refused, Unknown};
        [Pending, Accepted, Refused, Deferred, Unknown].into_iter().find(|state| state.as_str() == text)
    }
}

/// A line of the message list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSummary {
    /// The record without recipients, links and notes.
    pub id: MessageId,
    /// Unix milliseconds.
    pub accepted_at_ms: i64,
    /// Whose mail.
    pub org: OrgName,
    /// The login, if any.
    pub login: Option<String>,
    /// The From header's mailbox.
    pub header_from: String,
    /// Decoded Subject.
    pub subject: String,
    /// How many recipients.
    pub recipients: u32,
    /// How many recipients upstream accepted.
    pub accepted: u32,
    /// How many opens are recorded, those judged machine or self aside.
    pub opens: u64,
    /// How many clicks are recorded, those judged machine or self aside.
    pub clicks: u64,
    /// Whether anything was rewritten.
    pub tracked: bool,
}

/// Which messages to list. Newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only this org.
    pub org: Option<OrgName>,
    /// Only this login's.
    pub login: Option<String>,
    /// Only older than this (the last row of the page before: `accepted_at_ms`, `id`).
    pub before: Option<(i64, MessageId)>,
    /// At most this many, 1..=500.
    pub limit: u32,
}

/// One event with what a person needs to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Grows with every event recorded; what `events --follow` resumes from.
    pub sequence: i64,
    /// The event.
    pub event: Event,
    /// The recipient's address; `None` for an aggregate or shared copy, or when the record is gone.
    pub recipient: Option<String>,
    /// Subject of the message.
    pub subject: String,
    /// Destination of the link clicked.
    pub destination: Option<String>,
    /// Whose mail.
    pub org: Option<OrgName>,
    /// The sender's login.
    pub login: Option<String>,
}

//! Messages, their recipients and links.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Event, at, called};
use crate::admin::actions::links::LinkView;
use crate::admin::actions::messages::{MessageRow, MessageView};
use crate::settings::Mode;
use crate::store::Override;
use crate::store::record::{self, RecipientRecord};

/// `GET /api/v1/messages`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Messages {
    /// Newest first.
    pub messages: Vec<MessageLine>,
    /// `before` of the next page.
    pub next: Option<String>,
    /// `after` of the page before this one, with newer messages.
    #[serde(default)]
    pub previous: Option<String>,
}

/// One line of the message list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageLine {
    /// 16 hex digits.
    pub id: String,
    /// RFC 3339.
    pub accepted_at: String,
    /// Whose mail.
    pub org: String,
    /// The login; null for a trusted network.
    pub login: Option<String>,
    /// From header; null when only counts may be seen.
    pub from: Option<String>,
    /// Subject; null when only counts may be seen.
    pub subject: Option<String>,
    /// How many recipients.
    pub recipients: u32,
    /// How many of them upstream accepted.
    pub accepted: u32,
    /// Opens recorded, machines aside.
    pub opens: u64,
    /// Clicks recorded, machines aside.
    pub clicks: u64,
    /// Opens by machines and the sender.
    pub machine_opens: u64,
    /// Clicks by machines and the sender.
    pub machine_clicks: u64,
    /// Whether anything was rewritten.
    pub tracked: bool,
}

impl From<MessageRow> for MessageLine {
    fn from(row: MessageRow) -> MessageLine {
        let (from, subject) = row.words.map_or((None, None), |words| (Some(words.from), Some(words.subject)));
        MessageLine {
            id: row.id.to_string(),
            accepted_at: at(row.accepted_at_ms),
            org: row.org.as_str().to_owned(),
            login: row.login,
            from,
            subject,
            recipients: row.recipients,
            accepted: row.accepted,
            opens: row.opens,
            clicks: row.clicks,
            machine_opens: row.machine_opens,
            machine_clicks: row.machine_clicks,
            tracked: row.tracked,
        }
    }
}

/// `GET /api/v1/messages/{id}`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// 16 hex digits.
    pub id: String,
    /// RFC 3339.
    pub accepted_at: String,
    /// Whose mail.
    pub org: String,
    /// The login; null for a trusted network.
    pub login: Option<String>,
    /// Envelope sender; empty for `<>`.
    pub reverse_path: String,
    /// From header.
    pub from: String,
    /// Subject.
    pub subject: String,
    /// Message-ID header.
    pub message_id: String,
    /// Octets.
    pub size_bytes: u64,
    /// Why nothing was rewritten; null when something was.
    pub untouched: Option<String>,
    /// What was changed, what was left, and why.
    pub notes: Vec<String>,
    /// Everyone it went to.
    pub recipients: Vec<Recipient>,
    /// Tracked links.
    pub links: Vec<Link>,
    /// The newest events, oldest first, at most 1,000.
    pub events: Vec<Event>,
}

/// One recipient.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Recipient {
    /// As in tokens.
    pub index: u16,
    /// The index of the copy it got.
    pub copy_index: u16,
    /// The address.
    pub address: String,
    /// What the sender called them; null when they were called nothing.
    #[serde(default)]
    pub name: Option<String>,
    /// `off`, `aggregate` or `individual`.
    pub opens: String,
    /// `off`, `aggregate` or `individual`.
    pub links: String,
    /// `pending`, `accepted`, `refused`, `dropped` (by whoever runs the server), `deferred` or `unknown`.
    pub delivery: String,
    /// Upstream's words.
    pub reply: String,
    /// RFC 3339; when the state last changed.
    pub delivery_at: String,
    /// `no`, `opened`, or `inferred` from a click without an open; null when nobody can tell for this recipient alone.
    pub read: Option<String>,
    /// Two countries or more than three networks: forwarded or shared? A question; null as above.
    pub perhaps_shared: Option<bool>,
    /// What was counted of its copy, which it may share with others.
    pub counts: RecipientCounts,
}

/// What was counted of a recipient's copy. Null where it would be this one recipient's own, although opens or clicks are
/// only counted or not tracked at all.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
pub struct RecipientCounts {
    /// By people, as far as one can tell.
    pub opens: Option<i64>,
    /// Likewise.
    pub clicks: Option<i64>,
    /// By machines and the sender.
    pub machine_opens: Option<i64>,
    /// Likewise.
    pub machine_clicks: Option<i64>,
}

impl RecipientCounts {
    fn of(recipient: &RecipientRecord, is_shared: bool, counts: record::Counts) -> RecipientCounts {
        let may = |mode: Mode, count: i64| (is_shared || mode == Mode::Individual).then_some(count);
        RecipientCounts {
            opens: may(recipient.opens, counts.opens),
            clicks: may(recipient.links, counts.clicks),
            machine_opens: may(recipient.opens, counts.machine_opens),
            machine_clicks: may(recipient.links, counts.machine_clicks),
        }
    }
}

/// What was counted of one copy.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// By people, as far as one can tell.
    pub opens: i64,
    /// Likewise.
    pub clicks: i64,
    /// By machines and the sender.
    pub machine_opens: i64,
    /// Likewise.
    pub machine_clicks: i64,
}

impl From<record::Counts> for Counts {
    fn from(counts: record::Counts) -> Counts {
        let record::Counts { opens, clicks, machine_opens, machine_clicks } = counts;
        Counts { opens, clicks, machine_opens, machine_clicks }
    }
}

impl From<MessageView> for Message {
    fn from(view: MessageView) -> Message {
        let MessageView { record, timeline, counts, shared, readings, mut overrides, .. } = view;
        let counts = |r: &RecipientRecord| {
            let counts = counts.get(&r.copy_index).copied().unwrap_or_default();
            RecipientCounts::of(r, shared.contains(&r.copy_index), counts)
        };
        let recipient = |r: RecipientRecord| Recipient {
            counts: counts(&r),
            index: r.index,
            copy_index: r.copy_index,
            address: r.address,
            name: called(r.name),
            opens: r.opens.to_string(),
            links: r.links.to_string(),
            delivery: r.delivery.told().to_owned(),
            reply: r.delivery.reply,
            delivery_at: at(r.delivery.at_ms),
            read: readings.get(&r.index).map(|reading| reading.read.as_str().to_owned()),
            perhaps_shared: readings.get(&r.index).map(|reading| reading.shared),
        };
        Message {
            id: record.id.to_string(),
            accepted_at: at(record.accepted_at_ms),
            org: record.org.as_str().to_owned(),
            login: record.login,
            reverse_path: record.reverse_path,
            from: record.header_from,
            subject: record.subject,
            message_id: record.message_id_header,
            size_bytes: record.size_bytes,
            untouched: record.untouched,
            notes: record.notes,
            recipients: record.recipients.into_iter().map(recipient).collect(),
            links: record
                .links
                .into_iter()
                .map(|link| LinkView { replaced_by: overrides.remove(&link.index), link }.into())
                .collect(),
            events: timeline.into_iter().map(Event::from).collect(),
        }
    }
}

/// One tracked link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// As in tokens.
    pub index: u16,
    /// Where it led when it was sent.
    pub destination: String,
    /// Where it leads now, when that was changed.
    pub changed_to: Option<String>,
    /// It answers 410.
    pub withdrawn: bool,
}

impl From<LinkView> for Link {
    fn from(view: LinkView) -> Link {
        let (changed_to, withdrawn) = match view.replaced_by {
            Some(Override::Destination(to)) => (Some(to), false),
            Some(Override::Withdrawn) => (None, true),
            None => (None, false),
        };
        Link { index: view.link.index, destination: view.link.destination, changed_to, withdrawn }
    }
}

/// `PUT /api/v1/messages/{id}/links/{index}`: exactly one of the two.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkPut {
    /// Lead there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Answer 410.
    #[serde(default)]
    pub withdrawn: bool,
}

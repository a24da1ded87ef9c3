//! The JSON of the API, as sent and as read back by the command line. Core types stay free of serde; these are the edge.

use serde::{Deserialize, Serialize};

use crate::admin::actions::inbox::InboxRow;
use crate::admin::actions::links::LinkView;
use crate::admin::actions::messages::{MessageRow, MessageView};
use crate::admin::actions::orgs::OrgView;
use crate::admin::actions::queue::{QueuePage, QueueView};
use crate::admin::actions::users::UserView;
use crate::admin::ports::{KeyEntry, QueueRecipient, QueueStage};
use crate::settings::{OrgName, Quotes, VisibleUrls};
use crate::store::Override;
use crate::store::record::TimelineEntry;

/// RFC 3339 in UTC with milliseconds.
fn at(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

/// `GET /api/v1/messages`
#[derive(Debug, Serialize, Deserialize)]
pub struct Messages {
    /// Newest first.
    pub messages: Vec<MessageLine>,
    /// `before` of the next page.
    pub next: Option<String>,
}

/// One line of the message list.
#[derive(Debug, Serialize, Deserialize)]
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
            tracked: row.tracked,
        }
    }
}

/// `GET /api/v1/messages/{id}`
#[derive(Debug, Serialize, Deserialize)]
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
    /// Events, oldest first, at most 1,000.
    pub events: Vec<Event>,
}

/// One recipient.
#[derive(Debug, Serialize, Deserialize)]
pub struct Recipient {
    /// As in tokens.
    pub index: u16,
    /// The index of the copy it got.
    pub copy_index: u16,
    /// The address.
    pub address: String,
    /// `off`, `aggregate` or `individual`.
    pub opens: String,
    /// `off`, `aggregate` or `individual`.
    pub links: String,
    /// `pending`, `accepted`, `refused`, `deferred` or `unknown`.
    pub delivery: String,
    /// Upstream's words.
    pub reply: String,
    /// RFC 3339; when the state last changed.
    pub delivery_at: String,
}

/// One tracked link.
#[derive(Debug, Serialize, Deserialize)]
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

impl From<MessageView> for Message {
    fn from(view: MessageView) -> Message {
        let MessageView { record, timeline, mut overrides, .. } = view;
        let recipient = |r: crate::store::record::RecipientRecord| Recipient {
            index: r.index,
            copy_index: r.copy_index,
            address: r.address,
            opens: r.opens.to_string(),
            links: r.links.to_string(),
            delivery: r.delivery.state.as_str().to_owned(),
            reply: r.delivery.reply,
            delivery_at: at(r.delivery.at_ms),
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
        let clicked = event.kind == crate::event::EventKind::Click;
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

/// `PUT /api/v1/messages/{id}/links/{index}`: exactly one of the two.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkPut {
    /// Lead there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Answer 410.
    #[serde(default)]
    pub withdrawn: bool,
}

/// A user.
#[derive(Debug, Serialize, Deserialize)]
pub struct User {
    /// What is typed at login.
    pub login: String,
    /// Where it belongs; null for a server admin.
    pub org: Option<String>,
    /// `sender`, `org-admin` or `server-admin`.
    pub role: String,
    /// Addresses it may send as besides the org's domains.
    pub addresses: Vec<String>,
}

impl From<UserView> for User {
    fn from(user: UserView) -> User {
        User {
            login: user.login,
            org: user.org.map(|org| org.as_str().to_owned()),
            role: user.role.as_str().to_owned(),
            addresses: user.addresses,
        }
    }
}

/// `POST /api/v1/users`
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserPost {
    /// What is typed at login.
    pub login: String,
    /// Where it belongs.
    pub org: Option<String>,
    /// `sender`, `org-admin` or `server-admin`.
    pub role: String,
    /// Addresses it may send as besides the org's domains.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// In clear; it is hashed and forgotten.
    pub password: String,
}

/// `PUT /api/v1/users/{login}/password`
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordPut {
    /// In clear; it is hashed and forgotten.
    pub password: String,
}

/// An organisation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Org {
    /// Its name.
    pub name: String,
    /// Whose addresses its users may send as.
    pub domains: Vec<String>,
    /// What is in force for the next mail.
    pub in_force: Switches,
    /// What it has chosen; null follows the ceiling.
    pub choice: Switches,
    /// `[tracking]` of config.toml.
    pub ceiling: Switches,
    /// Values that config.toml sets.
    pub managed: Vec<String>,
    /// `track` or `leave`.
    pub visible_urls: String,
    /// `unwrap` or `leave`.
    pub quotes: String,
    /// Hosts never tracked.
    pub excluded_hosts: Vec<String>,
    /// Its own tracking host.
    pub tracking_url: Option<String>,
    /// How many users it has.
    pub users: usize,
}

/// The three tracking switches.
#[derive(Debug, Serialize, Deserialize)]
pub struct Switches {
    /// `off`, `aggregate` or `individual`.
    pub opens: Option<String>,
    /// `off`, `aggregate` or `individual`.
    pub links: Option<String>,
    /// On or off.
    pub text_links: Option<bool>,
}

impl From<OrgView> for Org {
    fn from(view: OrgView) -> Org {
        let OrgView { org, ceiling, in_force, users, .. } = view;
        let full = |t: crate::settings::Tracking| Switches {
            opens: Some(t.opens.to_string()),
            links: Some(t.links.to_string()),
            text_links: Some(t.text_links),
        };
        let managed = [
            (org.managed.org, "domains"),
            (org.managed.opens, "opens"),
            (org.managed.links, "links"),
            (org.managed.text_links, "text_links"),
        ];
        Org {
            name: org.name.as_str().to_owned(),
            in_force: full(in_force),
            ceiling: full(ceiling),
            choice: Switches {
                opens: org.choice.opens.map(|mode| mode.to_string()),
                links: org.choice.links.map(|mode| mode.to_string()),
                text_links: org.choice.text_links,
            },
            managed: managed.into_iter().filter(|(is, _)| *is).map(|(_, name)| name.to_owned()).collect(),
            visible_urls: visible_urls(org.visible_urls).to_owned(),
            quotes: quotes(org.quotes).to_owned(),
            domains: org.domains,
            excluded_hosts: org.excluded_hosts,
            tracking_url: org.tracking_url,
            users,
        }
    }
}

fn visible_urls(value: VisibleUrls) -> &'static str {
    match value {
        VisibleUrls::Track => "track",
        VisibleUrls::Leave => "leave",
    }
}

fn quotes(value: Quotes) -> &'static str {
    match value {
        Quotes::Unwrap => "unwrap",
        Quotes::Leave => "leave",
    }
}

/// `PATCH /api/v1/orgs/{name}`: what is not there stays as it is.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrgPatch {
    /// `off`, `aggregate`, `individual`, or `follow` the ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens: Option<String>,
    /// `off`, `aggregate`, `individual`, or `follow` the ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<String>,
    /// `on`, `off`, or `follow` the ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_links: Option<String>,
    /// `track` or `leave`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible_urls: Option<String>,
    /// `unwrap` or `leave`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotes: Option<String>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded_hosts: Option<Vec<String>>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
}

/// One mail of the inbox.
#[derive(Debug, Serialize, Deserialize)]
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
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestMailPost {
    /// Whom it goes to.
    pub to: String,
    /// Under whose settings.
    #[serde(default)]
    pub org: Option<String>,
}

/// The answer to a test mail.
#[derive(Debug, Serialize, Deserialize)]
pub struct TestMailSent {
    /// What the relay or upstream said.
    pub reply: String,
}

/// A root key without its secret.
#[derive(Debug, Serialize, Deserialize)]
pub struct Key {
    /// As in tokens.
    pub id: u8,
    /// RFC 3339.
    pub created_at: String,
    /// New links are sealed with it.
    pub current: bool,
    /// Its links answer 404.
    pub revoked: bool,
}

impl From<KeyEntry> for Key {
    fn from(key: KeyEntry) -> Key {
        Key { id: key.id, created_at: at(key.created_at_ms), current: key.current, revoked: key.revoked }
    }
}

/// `GET /api/v1/queue`
#[derive(Debug, Serialize, Deserialize)]
pub struct Queue {
    /// Oldest first.
    pub mails: Vec<QueuedMail>,
    /// There are more than are listed.
    pub cut: bool,
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
#[derive(Debug, Serialize, Deserialize)]
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
#[derive(Debug, Serialize, Deserialize)]
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
        let QueuePage { mails, cut, health } = page;
        Queue {
            mails: mails.into_iter().map(QueuedMail::from).collect(),
            cut,
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

/// An organisation's name, for handlers.
pub(super) fn org_name(text: Option<String>) -> Result<Option<OrgName>, crate::settings::BadOrgName> {
    text.map(|name| name.parse()).transpose()
}

/// An error, as the command line reads it.
#[derive(Debug, Deserialize)]
pub struct ProblemShape {
    /// What to do.
    pub detail: String,
}

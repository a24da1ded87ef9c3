//! What history keeps of a message: plain values, no SQL.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::event::{Event, EventKind, Rule, Verdict};
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
    /// What the sender called them in To, Cc or Bcc, at most 200 bytes; empty when there is nothing but the address.
    pub name: String,
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

/// What stands as the reply of a mail that its operator dropped. The store has such a recipient as refused, which stays right:
/// they get nothing, and nothing will change. No upstream says this: a reply of one begins with digits.
pub const DROPPED: &str = "dropped by the operator";

impl Delivery {
    /// The operator took it out of the queue, and upstream refused nothing.
    pub fn is_dropped(&self) -> bool {
        self.state == DeliveryState::Refused && self.reply == DROPPED
    }

    /// As told to programs: the state, or `dropped`.
    pub fn told(&self) -> &'static str {
        if self.is_dropped() { "dropped" } else { self.state.as_str() }
    }
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
    /// Opens judged machine or self.
    pub machine_opens: u64,
    /// Clicks judged machine or self.
    pub machine_clicks: u64,
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
    /// Only newer than this, and of those the oldest. Newest first all the same.
    pub after: Option<(i64, MessageId)>,
    /// Only what fits.
    pub wanted: Wanted,
    /// At most this many, 1..=500.
    pub limit: u32,
}

/// What the list is searched for. A text is looked for anywhere in the value; ASCII letters fit in either case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// In an address of a recipient.
    pub recipient: Option<String>,
    /// In the Subject.
    pub subject: Option<String>,
    /// In the From header's mailbox or the login.
    pub sender: Option<String>,
    /// Accepted then or later, in Unix milliseconds.
    pub from_ms: Option<i64>,
    /// Accepted earlier than that, in Unix milliseconds.
    pub until_ms: Option<i64>,
    /// Somebody's delivery stands so.
    pub delivery: Option<DeliveryState>,
    /// What readers did.
    pub readers: Option<ReadersDid>,
}

/// What people did with a mail, or did not; machines aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadersDid {
    /// Somebody opened it.
    Opened,
    /// Nobody opened it.
    NotOpened,
    /// Somebody followed a link.
    Clicked,
    /// Nobody followed a link.
    NotClicked,
}

impl ReadersDid {
    /// As in addresses and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            ReadersDid::Opened => "opened",
            ReadersDid::NotOpened => "not-opened",
            ReadersDid::Clicked => "clicked",
            ReadersDid::NotClicked => "not-clicked",
        }
    }

    /// Reads [`ReadersDid::as_str`] back.
    pub fn parse(text: &str) -> Option<ReadersDid> {
        use ReadersDid::{Clicked, NotClicked, NotOpened, Opened};
        [Opened, NotOpened, Clicked, NotClicked].into_iter().find(|did| did.as_str() == text)
    }

    /// Whether these counters fit.
    pub fn fits(self, opens: u64, clicks: u64) -> bool {
        match self {
            ReadersDid::Opened => opens > 0,
            ReadersDid::NotOpened => opens == 0,
            ReadersDid::Clicked => clicks > 0,
            ReadersDid::NotClicked => clicks == 0,
        }
    }
}

impl Wanted {
    /// Whether a mail fits, what its readers did aside: what the SQL says, in Rust.
    pub(super) fn fits(&self, record: &MessageRecord) -> bool {
        let within = |wanted: &Option<String>, texts: &[&str]| {
            let wanted = wanted.as_ref().map(|text| text.to_ascii_lowercase());
            wanted.is_none_or(|wanted| texts.iter().any(|text| text.to_ascii_lowercase().contains(&wanted)))
        };
        let people: Vec<&str> = record.recipients.iter().flat_map(|r| [r.address.as_str(), r.name.as_str()]).collect();
        within(&self.recipient, &people)
            && within(&self.subject, &[&record.subject])
            && within(&self.sender, &[&record.header_from, record.login.as_deref().unwrap_or_default()])
            && self.from_ms.is_none_or(|from| record.accepted_at_ms >= from)
            && self.until_ms.is_none_or(|until| record.accepted_at_ms < until)
            && self.delivery.is_none_or(|state| record.recipients.iter().any(|r| r.delivery.state == state))
    }
}

/// From how far around a copy was read, by people and not through a proxy or relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopySpread {
    /// The index in the copy's tokens.
    pub copy_index: u16,
    /// Countries.
    pub countries: u32,
    /// Networks.
    pub networks: u32,
    /// Opens and clicks by people that are still on record, through whatever. What was counted beyond them is forgotten.
    pub events: i64,
}

/// Which judgements that changed an event's verdict are known, by their numbers; none when `last` is before `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgements {
    /// The oldest: what was judged before it cannot be told any more.
    pub first: i64,
    /// The newest.
    pub last: i64,
}

impl Judgements {
    /// Whether all after this one are known. Not so of one that never was: it is of another database.
    pub fn reach_back_to(self, number: i64) -> bool {
        (self.first - 1..=self.last).contains(&number)
    }
}

/// The clicks of one link by one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkCount {
    /// The link's index.
    pub link: u16,
    /// The index in the copy's tokens.
    pub copy_index: u16,
    /// By people.
    pub clicks: i64,
    /// By machines and the sender.
    pub machine_clicks: i64,
}

/// The clicks of one destination over some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankedLink {
    /// Where it leads.
    pub destination: String,
    /// By people.
    pub clicks: i64,
    /// By machines and the sender.
    pub machine_clicks: i64,
}

/// What people of one country did over some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceCount {
    /// ISO 3166 two letters.
    pub country: String,
    /// Opens.
    pub opens: i64,
    /// Clicks.
    pub clicks: i64,
}

/// Whom to list, by address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorrespondentFilter {
    /// Only of this org's mail.
    pub org: Option<OrgName>,
    /// Only of this login's.
    pub login: Option<String>,
    /// In the address or the name, anywhere; ASCII letters in either case. Of one address: that.
    pub holding: Option<String>,
    /// Only addresses after this one.
    pub after: Option<String>,
    /// Of one address: only mails before this one, by time and id.
    pub before: Option<(i64, MessageId)>,
    /// At most this many, 1..=500.
    pub limit: u32,
}

/// Somebody mail was sent to. Counts are those of copies that were theirs alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correspondent {
    /// The address for people.
    pub address: String,
    /// What their sender called them last; of several senders, one. Empty: nothing.
    pub name: String,
    /// Mails to them.
    pub mails: u64,
    /// Unix milliseconds of the last.
    pub last_ms: i64,
    /// Mails whose opens are recorded for them.
    pub opens_known: u64,
    /// Of the newest 200 mails.
    pub counts: Counts,
}

/// Somebody a mail was sent to, as its sender wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressee {
    /// The address for people.
    pub address: String,
    /// What the sender called them; empty when there is nothing but the address.
    pub name: String,
}

impl Addressee {
    /// The name, or the address of who has none.
    pub fn called(&self) -> &str {
        if self.name.is_empty() { &self.address } else { &self.name }
    }
}

/// `Ana Silva <ana@example.com>`, or the address alone; for people, not for a header.
impl fmt::Display for Addressee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => f.write_str(&self.address),
            name => write!(f, "{name} <{}>", self.address),
        }
    }
}

/// One event with what a person needs to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Grows with every event recorded; what `events --follow` resumes from.
    pub sequence: i64,
    /// The event.
    pub event: Event,
    /// Who; `None` for an aggregate or shared copy, or when the record is gone.
    pub recipient: Option<Addressee>,
    /// Subject of the message.
    pub subject: String,
    /// Destination of the link clicked.
    pub destination: Option<String>,
    /// Whose mail.
    pub org: Option<OrgName>,
    /// The sender's login.
    pub login: Option<String>,
}

/// One copy of a message: what its tokens name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CopyId {
    /// The message.
    pub message: MessageId,
    /// The index in its tokens.
    pub copy_index: u16,
}

/// What judging an event needs to know of the copy it was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFacts {
    /// Whose mail.
    pub org: OrgName,
    /// The login that sent it; `None` for a trusted network.
    pub login: Option<String>,
    /// Keyed hash of the submission's network.
    pub network_hash: Option<[u8; 8]>,
    /// Tracked links of the message.
    pub links: u32,
    /// Recipients who got this copy.
    pub recipients: u32,
    /// When upstream accepted it; the last time, when for several recipients.
    pub accepted_at_ms: Option<i64>,
    /// Since when it waits for upstream, for at least one recipient.
    pub waiting_since_ms: Option<i64>,
    /// Nothing of this will change any more.
    pub settled: bool,
    /// Who got it.
    pub readers: Vec<Reader>,
    /// Its events of late, oldest first, if asked for and kept with their networks.
    pub past: Vec<PastEvent>,
}

/// A recipient of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The address for people; empty once it was erased.
    pub address: String,
    /// What was in force.
    pub opens: Mode,
    /// What was in force.
    pub links: Mode,
}

/// What judging the next event needs to know of one on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastEvent {
    /// Which.
    pub sequence: i64,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Open or click.
    pub kind: EventKind,
    /// Which link; 0 for a pixel.
    pub link: u16,
    /// Keyed hash of its network.
    pub network_hash: [u8; 8],
    /// What gave its verdict.
    pub rule: Option<Rule>,
}

/// Events to put on record, and what they change of those on record: one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// New ones, in order.
    pub events: Vec<Event>,
    /// Changes of earlier ones.
    pub mended: Vec<Mended>,
}

/// What later events change of one on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mended {
    /// Which.
    pub sequence: i64,
    /// How often it came again.
    pub repeats: u32,
    /// Its verdict and rule after all; the first verdict is kept beside it.
    pub verdict: Option<(Verdict, Rule)>,
}

/// How many opens and clicks; as a change, also fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// By persons, behind proxies or not, and not judged.
    pub opens: i64,
    /// By persons, behind proxies or not, and not judged.
    pub clicks: i64,
    /// By machines and the sender.
    pub machine_opens: i64,
    /// By machines and the sender.
    pub machine_clicks: i64,
}

impl Counts {
    /// One event.
    pub fn of(kind: EventKind, verdict: Verdict) -> Counts {
        let none = Counts::default();
        match (kind, verdict.counts()) {
            (EventKind::Open, true) => Counts { opens: 1, ..none },
            (EventKind::Click, true) => Counts { clicks: 1, ..none },
            (EventKind::Open, false) => Counts { machine_opens: 1, ..none },
            (EventKind::Click, false) => Counts { machine_clicks: 1, ..none },
        }
    }

    /// The sum.
    #[must_use]
    pub fn and(self, other: Counts) -> Counts {
        Counts {
            opens: self.opens + other.opens,
            clicks: self.clicks + other.clicks,
            machine_opens: self.machine_opens + other.machine_opens,
            machine_clicks: self.machine_clicks + other.machine_clicks,
        }
    }

    /// The difference.
    #[must_use]
    pub fn less(self, other: Counts) -> Counts {
        Counts {
            opens: self.opens - other.opens,
            clicks: self.clicks - other.clicks,
            machine_opens: self.machine_opens - other.machine_opens,
            machine_clicks: self.machine_clicks - other.machine_clicks,
        }
    }
}

/// What is kept of one recipient of one mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The mail.
    pub message: MessageId,
    /// Unix milliseconds of its acceptance.
    pub accepted_at_ms: i64,
    /// Whose mail.
    pub org: OrgName,
    /// The From header's mailbox.
    pub header_from: String,
    /// Decoded Subject.
    pub subject: String,
    /// The recipient.
    pub recipient: RecipientRecord,
    /// Opens and clicks that are known to be theirs, oldest first.
    pub events: Vec<Event>,
    /// There are older ones, for which the answer had no room.
    pub more_events: bool,
}

/// The counters of one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyCount {
    /// The index in its tokens.
    pub copy_index: u16,
    /// What was counted.
    pub counts: Counts,
}

/// The counters of one day of one sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayCount {
    /// Whose mail.
    pub org: OrgName,
    /// The sender's login, if any.
    pub login: Option<String>,
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// What was counted.
    pub counts: Counts,
}

/// What totals are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalsOf {
    /// Each organisation.
    Orgs,
    /// Each sender of each organisation.
    Senders,
}

/// The sum of some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Whose mail.
    pub org: OrgName,
    /// The sender's login; `None` for trusted networks, and where all senders are meant.
    pub login: Option<String>,
    /// What was counted.
    pub counts: Counts,
}

/// Which days to count. Ordered by org, login, day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DayCountFilter {
    /// Only this org.
    pub org: Option<OrgName>,
    /// Only this login's; empty: only of trusted networks.
    pub login: Option<String>,
    /// Days since 1970-01-01, UTC.
    pub first_day: i64,
    /// Days since 1970-01-01, UTC; itself included.
    pub last_day: i64,
    /// At most this many, 1..=4000.
    pub limit: u32,
}

/// Events looked at in one slice of forgetting: some 2 ms of the writer's time.
pub const FORGET_EVENTS_MAX: u32 = 500;
/// Messages forgotten in one slice, with their recipients and links.
pub const FORGET_MESSAGES_MAX: u32 = 20;

/// One slice of forgetting, and where it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Messages accepted earlier go.
    pub messages_before_ms: i64,
    /// Events that happened earlier go.
    pub events_before_ms: i64,
    /// Of these organisations, events that happened before then go too.
    pub of_orgs: Arc<BTreeMap<OrgName, i64>>,
    /// Of these organisations, messages accepted before then go too.
    pub messages_of_orgs: Arc<BTreeMap<OrgName, i64>>,
    /// Events looked at in one slice, and details of days forgotten. See [`FORGET_EVENTS_MAX`].
    pub events_max: u32,
    /// Messages forgotten in one slice. See [`FORGET_MESSAGES_MAX`].
    pub messages_max: u32,
    /// 0 at first; then as [`Expired::next`] says.
    pub after_sequence: i64,
    /// 0 at first; then as [`Expired::next`] says.
    pub young: u32,
}

impl Expiry {
    /// The first slice, of the usual size; every organisation keeps its events as long.
    pub fn of(messages_before_ms: i64, events_before_ms: i64) -> Expiry {
        Expiry {
            messages_before_ms,
            events_before_ms,
            of_orgs: Arc::default(),
            messages_of_orgs: Arc::default(),
            events_max: FORGET_EVENTS_MAX,
            messages_max: FORGET_MESSAGES_MAX,
            after_sequence: 0,
            young: 0,
        }
    }

    /// Before when events of this organisation's mail go.
    pub fn events_before_ms(&self, org: Option<&OrgName>) -> i64 {
        let own = org.and_then(|org| self.of_orgs.get(org)).copied();
        own.map_or(self.events_before_ms, |own| own.max(self.events_before_ms))
    }

    /// Before when messages of this organisation go.
    pub fn messages_before_ms(&self, org: &OrgName) -> i64 {
        self.messages_of_orgs.get(org).map_or(self.messages_before_ms, |own| self.messages_before_ms.max(*own))
    }
}

/// What a slice forgot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Messages.
    pub messages: u32,
    /// Events.
    pub events: u32,
    /// The next slice; `None` when nothing old is left.
    pub next: Option<Expiry>,
}

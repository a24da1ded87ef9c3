//! What the admin site needs from elsewhere and does not build itself: the inbox, the test mail, the keys, the queue, the
//! client's address behind a proxy. Small traits, plugged in where the parts are built.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;

use crate::health::Report;
use crate::settings::OrgName;
use crate::store::BoxFuture;
use crate::token::MessageId;

/// The address of the person behind a request, from the connection's peer and the headers of a trusted proxy.
pub type ClientAddress = Arc<dyn Fn(IpAddr, &HeaderMap) -> IpAddr + Send + Sync>;

/// One mail of the built-in inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// Its name in the inbox, safe in a URL path.
    pub id: String,
    /// Unix milliseconds of its arrival.
    pub received_at_ms: i64,
    /// Envelope sender; empty for `<>`.
    pub from: String,
    /// Envelope recipients.
    pub to: Vec<String>,
    /// Octets of the mail.
    pub size_bytes: u64,
}

/// Keeps the passwords of organisations' own upstreams.
pub trait UpstreamPasswords: Send + Sync {
    /// Whether this organisation has an upstream of its own whose password is to be sealed.
    fn takes(&self, org: &OrgName) -> bool;

    /// The password, sealed for the organisation's account as it is now; `None`: it takes none, or every key is revoked.
    fn seal(&self, org: &OrgName, password: &str) -> Option<Vec<u8>>;

    /// Makes the ways upstream anew from what is stored: waiting mail goes on.
    fn renew(&self) -> BoxFuture<'_, Result<(), PortError>>;
}

/// Reads the built-in inbox.
pub trait InboxReader: Send + Sync {
    /// The newest mails first, at most `limit`; with an id only those before it.
    fn list(&self, before: Option<String>, limit: usize) -> BoxFuture<'_, Result<Vec<InboxEntry>, PortError>>;

    /// One mail and its octets as received; `None` when there is no such mail. At most the inbox's own mail limit.
    fn read(&self, id: &str) -> BoxFuture<'_, Result<Option<(InboxEntry, Bytes)>, PortError>>;
}

/// A mail to try the whole path with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestMailRequest {
    /// Whose settings apply.
    pub org: OrgName,
    /// Whose mail it is, when it is a person's own.
    pub login: Option<String>,
    /// The address it comes from; `None`: one made up in the organisation's domain.
    pub from: Option<String>,
    /// Whom it goes to.
    pub to: String,
}

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Upstream's words, or the relay's.
    pub words: String,
    /// Its record; `None` when it could not be written.
    pub message: Option<MessageId>,
}

/// Sends a mail of waxseal's own through the relay: tracked, recorded and delivered like any other.
pub trait TestMail: Send + Sync {
    /// The address the form suggests: a made-up one when everything ends in the built-in inbox, else empty.
    fn suggested_to(&self) -> String;

    /// Sends it.
    fn send(&self, request: TestMailRequest) -> BoxFuture<'_, Result<Submitted, PortError>>;
}

/// One root key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// As in tokens.
    pub id: u8,
    /// Unix milliseconds of its making.
    pub created_at_ms: i64,
    /// New links are sealed with it.
    pub current: bool,
    /// Its links answer 404.
    pub revoked: bool,
}

/// The key file.
pub trait Keys: Send + Sync {
    /// Every key, oldest first.
    fn list(&self) -> BoxFuture<'_, Result<Vec<KeyEntry>, PortError>>;

    /// Adds a key and makes it current; old keys open for ever.
    fn rotate(&self) -> BoxFuture<'_, Result<KeyEntry, PortError>>;

    /// Revokes a key that does not seal new links: what it sealed answers 404 from now on, for ever.
    fn revoke(&self, id: u8) -> BoxFuture<'_, Result<KeyEntry, PortError>>;
}

/// One mail that waits in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// The mail's id.
    pub id: MessageId,
    /// Unix milliseconds of its acceptance.
    pub accepted_at_ms: i64,
    /// Whose mail; `None` when the organisation's name cannot be one.
    pub org: Option<OrgName>,
    /// The login; `None` for a trusted network or a report of our own.
    pub login: Option<String>,
    /// A report that waxseal wrote itself.
    pub own_report: bool,
    /// Envelope sender; empty for `<>`.
    pub from: String,
    /// Octets received.
    pub size_bytes: u64,
    /// Everyone it is for, those who have it included.
    pub recipients: Vec<QueueRecipient>,
}

/// One recipient of a mail in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRecipient {
    /// The address.
    pub address: String,
    /// Where it is.
    pub stage: QueueStage,
    /// Attempts made.
    pub attempts: u32,
    /// Unix milliseconds before which it is not tried; `None` where nothing is to be tried.
    pub next_try_ms: Option<i64>,
    /// The last words about it; empty before any.
    pub last_reply: String,
    /// The host that said so; empty when it was this one.
    pub last_host: String,
}

/// Where one recipient of a queued mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueStage {
    /// It will be tried.
    Waiting,
    /// It is being sent now.
    InFlight,
    /// The connection was lost after everything was sent: perhaps delivered. It will be tried.
    Unknown,
    /// Given up; the sender will be told.
    BounceOwed,
    /// Given up.
    Failed,
    /// Upstream has it.
    Delivered,
}

/// The queue at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueHealth {
    /// Mails waiting.
    pub depth: usize,
    /// Unreadable mails in `corrupt/`.
    pub corrupt: usize,
    /// Octets free where the spool is.
    pub free_bytes: u64,
    /// There is so little room that mail which must wait is about to be refused.
    pub short_of_room: bool,
    /// Upstream is known to be unreachable and not tried just now.
    pub upstream_down: bool,
}

/// Whose mails of the queue are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueOf {
    /// Everybody's, and nobody's.
    All,
    /// An organisation's.
    Org(OrgName),
    /// A login's, for that organisation.
    Login(OrgName, String),
}

impl QueueOf {
    /// Whether a mail of this organisation and login is asked for.
    pub fn fits(&self, org: &str, login: Option<&str>) -> bool {
        match self {
            QueueOf::All => true,
            QueueOf::Org(name) => name.as_str() == org,
            QueueOf::Login(name, own) => name.as_str() == org && login == Some(own),
        }
    }
}

/// Mails that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueList {
    /// Oldest first.
    pub mails: Vec<QueueEntry>,
    /// There are more, or more that were not looked at.
    pub cut: bool,
}

/// The mails that wait, and what may be done with one.
pub trait QueueKeeper: Send + Sync {
    /// Mails of somebody that wait, at most `max`: the ones due soonest. Another's backlog takes nobody's place.
    fn list(&self, whose: QueueOf, max: usize) -> BoxFuture<'_, Result<QueueList, PortError>>;

    /// One of them.
    fn find(&self, id: MessageId) -> BoxFuture<'_, Result<Option<QueueEntry>, PortError>>;

    /// Makes it due now; `false` when it is not there.
    fn retry(&self, id: MessageId) -> BoxFuture<'_, Result<bool, PortError>>;

    /// Ends it: nobody still waiting gets it and no report is sent. `false` when it is not there.
    fn discard(&self, id: MessageId) -> BoxFuture<'_, Result<bool, PortError>>;

    /// How the queue stands.
    fn health(&self) -> BoxFuture<'_, Result<QueueHealth, PortError>>;
}

/// What was counted, as text for Prometheus.
pub trait MetricsText: Send + Sync {
    /// The text format, version 0.0.4, as of now.
    fn text(&self) -> BoxFuture<'_, String>;
}

/// The last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// `None` before the first look has ended.
    pub report: Option<Report>,
    /// A newer one is on its way: some seconds.
    pub looking: bool,
}

/// Looks at everything.
pub trait HealthKeeper: Send + Sync {
    /// All of it, or what concerns one organisation. Takes seconds where somebody does not answer, never more than twenty.
    fn look(&self, org: Option<OrgName>) -> BoxFuture<'_, Report>;

    /// What was seen last, at once; unless it is some seconds old at most, the next look has begun behind it.
    fn glance(&self, org: Option<OrgName>) -> Glance;
}

/// Why a plugged-in part did not do as asked, in words for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PortError(pub String);

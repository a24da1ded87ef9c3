//! What the admin site needs from elsewhere and does not build itself: the inbox, the test mail, the keys, the client's
//! address behind a proxy. Small traits, plugged in where the parts are built.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;

use crate::settings::OrgName;
use crate::store::BoxFuture;

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

/// Reads the built-in inbox.
pub trait InboxReader: Send + Sync {
    /// The newest mails first, at most `limit`.
    fn list(&self, limit: usize) -> BoxFuture<'_, Result<Vec<InboxEntry>, PortError>>;

    /// One mail and its octets as received; `None` when there is no such mail. At most the inbox's own mail limit.
    fn read(&self, id: &str) -> BoxFuture<'_, Result<Option<(InboxEntry, Bytes)>, PortError>>;
}

/// A mail to try the whole path with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestMailRequest {
    /// Whose settings apply.
    pub org: OrgName,
    /// Who asked, when it was a person.
    pub login: Option<String>,
    /// Whom it goes to.
    pub to: String,
}

/// Sends a mail of waxseal's own through the relay: tracked, recorded and delivered like any other.
pub trait TestMail: Send + Sync {
    /// The address the form suggests: a made-up one when everything ends in the built-in inbox, else empty.
    fn suggested_to(&self) -> String;

    /// Sends it. The answer is upstream's (or the relay's) words.
    fn send(&self, request: TestMailRequest) -> BoxFuture<'_, Result<String, PortError>>;
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
}

/// Why a plugged-in part did not do as asked, in words for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PortError(pub String);

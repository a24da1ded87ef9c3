//! What a request tells: its host, its client, and whether it is an event.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{HOST, USER_AGENT};
use hyper::{HeaderMap, Request};

use super::recorder::Visit;
use super::{Site, client};
use crate::event::EventKind;
use crate::event::classify::{is_ahead_of_need, is_event};
use crate::token::TokenId;

/// Headers in which browsers and mail programs say that nobody has looked yet.
const PURPOSE_HEADERS: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
/// Headers in which browsers pass on their owner's standing refusal; `1` is the only value that says it.
const REFUSAL_HEADERS: [&str; 2] = ["sec-gpc", "dnt"];
/// Octets of a user agent that are looked at: real ones are shorter, and matching takes time by length.
const AGENT_BYTES_MAX: usize = 512;

/// The host the request names, in its line or its header.
pub(super) fn host<B>(request: &Request<B>) -> Option<&str> {
    let named = request.uri().authority().map(|authority| authority.as_str());
    named.or_else(|| request.headers().get(HOST)?.to_str().ok())
}

/// Hands the event to the recorder, if it is one.
pub(super) fn note<B>(site: &Site, peer: IpAddr, request: &Request<B>, kind: EventKind, id: TokenId) {
    if !is_event(request.method().as_str()) {
        return;
    }
    let headers = request.headers();
    site.recorder.note(Visit {
        at_ms: now_ms(),
        id,
        kind,
        ahead_of_need: ahead_of_need(headers),
        refuses: refuses(headers),
        address: client::address(peer, &site.trusted_proxies, headers, site.forwarded_by),
        agent: agent(headers),
    });
}

fn ahead_of_need(headers: &HeaderMap) -> bool {
    let values = PURPOSE_HEADERS.iter().flat_map(|name| headers.get_all(*name));
    values.filter_map(|value| value.to_str().ok()).any(is_ahead_of_need)
}

/// Whether the reader's browser says that its owner does not want to be tracked: Global Privacy Control, or Do Not Track.
fn refuses(headers: &HeaderMap) -> bool {
    REFUSAL_HEADERS.iter().any(|name| headers.get(*name).is_some_and(|value| value.as_bytes() == b"1"))
}

/// What is no text in it is replaced: an agent with a strange letter is an agent all the same.
fn agent(headers: &HeaderMap) -> Option<Box<str>> {
    let octets = headers.get(USER_AGENT)?.as_bytes();
    let text = String::from_utf8_lossy(octets.get(..AGENT_BYTES_MAX).unwrap_or(octets));
    Some(text.into())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

//! What a request tells: its host, its client, and whether it is an event.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{HOST, USER_AGENT};
use hyper::{HeaderMap, Method, Request};

use super::recorder::Visit;
use super::{Site, client};
use crate::event::EventKind;
use crate::event::classify::{Facts, Judgement, classify};
use crate::token::TokenId;

/// Headers in which browsers and mail programs say that nobody has looked yet.
const PURPOSE_HEADERS: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
/// Octets of a user agent that are looked at: real ones are shorter, and matching takes time by length.
const AGENT_BYTES_MAX: usize = 512;

/// The host the request names, in its line or its header.
pub(super) fn host<B>(request: &Request<B>) -> Option<&str> {
    let named = request.uri().authority().map(|authority| authority.as_str());
    named.or_else(|| request.headers().get(HOST)?.to_str().ok())
}

/// Hands the event to the recorder, if it is one.
pub(super) fn note<B>(site: &Site, peer: IpAddr, request: &Request<B>, kind: EventKind, id: TokenId) {
    let headers = request.headers();
    let mut purposes = [""; PURPOSE_HEADERS.len()];
    for (purpose, name) in purposes.iter_mut().zip(PURPOSE_HEADERS) {
        *purpose = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    }
    let facts = Facts { get: *request.method() == Method::GET, purposes: &purposes };
    let Judgement::Event(verdict, rule) = classify(&facts) else { return };
    let address = client::address(peer, &site.trusted_proxies, headers);
    site.recorder.note(Visit { at_ms: now_ms(), id, kind, verdict, rule, address, agent: agent(headers) });
}

fn agent(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    Some(text.get(..AGENT_BYTES_MAX).unwrap_or(text).into())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

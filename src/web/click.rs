//! `GET /c/<token>`: to where the link led, or to where its sender has pointed it since.
//!
//! **Invariant:** no open redirect (DESIGN, promise 5): `Location` is the sealed destination, octet for octet, or the
//! sender's override of it. A token that does not open gets a page.

use std::net::IpAddr;

use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderValue, LOCATION, REFERRER_POLICY};
use hyper::{Request, Response, StatusCode};

use super::page::X_ROBOTS_TAG;
use super::router::Answer;
use super::{Site, page, visit};
use crate::event::EventKind;
use crate::store::Override;
use crate::token::Kind;

/// 302, 404, 410 or 429.
pub(super) fn answer<B>(site: &Site, peer: IpAddr, request: &Request<B>, token: &str) -> Answer {
    let Ok(opened) = site.keyring.load().open_at(visit::host(request), Kind::Click, token) else {
        return site.bad_token(peer, request);
    };
    visit::note(site, peer, request, EventKind::Click, opened.id);
    let settings = site.settings.snapshot();
    match settings.overrides.get(&(opened.id.message, opened.id.link)) {
        None => redirect(&opened.payload),
        Some(Override::Destination(url)) => redirect(url.as_bytes()),
        Some(Override::Withdrawn) => page::gone(),
    }
}

fn redirect(destination: &[u8]) -> Answer {
    let Ok(location) = HeaderValue::from_bytes(destination) else {
        tracing::error!("a destination cannot be sent as a header; its link answers 404");
        return page::not_found();
    };
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::FOUND;
    let headers = answer.headers_mut();
    headers.insert(LOCATION, location);
    // Said here, for HEAD would go without.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
    answer
}

//! `GET /i/<token>.gif`: the image, for any token; an open, for one of ours.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Response};

use super::router::Answer;
use super::{Site, visit};
use crate::event::EventKind;
use crate::token::Kind;

/// A transparent GIF of one pixel.
pub(super) const GIF: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00\
    \x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// Web mail that isolates itself (COEP) shows no image from elsewhere without it.
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The image, always.
pub(super) fn answer<B>(site: &Site, peer: IpAddr, request: &Request<B>, token: &str) -> Answer {
    match site.keyring.load().open_at(visit::host(request), Kind::Pixel, token) {
        Ok(opened) => visit::note(site, peer, request, EventKind::Open, opened.id),
        Err(_) => {
            site.counters.bad_tokens.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut answer = Response::new(Full::new(Bytes::from_static(GIF)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, private, max-age=0"));
    headers.insert(CORP, HeaderValue::from_static("cross-origin"));
    answer
}

//! The site's table of contents.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::{Site, click, health, page, pixel};
use crate::token::Kind;

/// Every answer: a few octets, ready.
pub(super) type Answer = Response<Full<Bytes>>;

/// Answers one request. Never waits.
pub(super) fn answer<B>(site: &Site, peer: IpAddr, request: &Request<B>) -> Answer {
    let path = request.uri().path();
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        return not_allowed();
    }
    if let Some(token) = token_in(path, Kind::Pixel) {
        pixel::answer(site, peer, request, token)
    } else if let Some(token) = token_in(path, Kind::Click) {
        click::answer(site, peer, request, token)
    } else if path == "/healthz" {
        health::answer()
    } else {
        page::not_found()
    }
}

fn token_in(path: &str, kind: Kind) -> Option<&str> {
    path.strip_prefix(kind.path_prefix())?.strip_suffix(kind.path_suffix())
}

fn not_allowed() -> Answer {
    let mut answer = page::plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

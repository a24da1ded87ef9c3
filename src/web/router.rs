//! The site's table of contents.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::{Site, click, health, page, pixel, preference};
use crate::token::Kind;

/// Every answer: a few octets, ready.
pub(super) type Answer = Response<Full<Bytes>>;

/// Answers one request. Waits for nothing but a recipient's choice.
pub(super) async fn answer(site: &Site, peer: IpAddr, request: Request<Incoming>) -> Answer {
    let token = token_in(request.uri().path(), Kind::Preference).filter(|_| *request.method() == Method::POST);
    match token.map(str::to_owned) {
        Some(token) => preference::decide(site, peer, request, &token).await,
        None => at_once(site, peer, &request),
    }
}

fn at_once<B>(site: &Site, peer: IpAddr, request: &Request<B>) -> Answer {
    let path = request.uri().path();
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        return not_allowed(path);
    }
    if let Some(token) = token_in(path, Kind::Pixel) {
        pixel::answer(site, peer, request, token)
    } else if let Some(token) = token_in(path, Kind::Click) {
        click::answer(site, peer, request, token)
    } else if let Some(token) = token_in(path, Kind::Preference) {
        preference::show(site, peer, request, token)
    } else if let Some(words) = site.challenges.answer(path) {
        challenge(words)
    } else if path == "/healthz" {
        health::answer(site, request)
    } else {
        page::not_found()
    }
}

/// What the CA asks for, as it is (RFC 8555 §8.3).
fn challenge(words: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(words)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer
}

fn token_in(path: &str, kind: Kind) -> Option<&str> {
    path.strip_prefix(kind.path_prefix())?.strip_suffix(kind.path_suffix())
}

fn not_allowed(path: &str) -> Answer {
    let has_form = token_in(path, Kind::Preference).is_some();
    let (words, methods) = match has_form {
        true => ("GET, HEAD and POST only\n", "GET, HEAD, POST"),
        false => ("GET and HEAD only\n", "GET, HEAD"),
    };
    let mut answer = page::plain(StatusCode::METHOD_NOT_ALLOWED, words);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

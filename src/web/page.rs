//! The few words a person may see here: small plain HTML, no style of its own, no script, nothing loaded.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::router::Answer;

/// Neither the link nor the page belongs in a search engine.
pub(super) const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// Nothing may be loaded, framed or sent from our pages.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const NOT_FOUND: &str = concat!(
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">",
    "<meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">",
    "<title>This link does not work</title><h1>This link does not work</h1>",
    "<p>It may have been cut short on its way. Open it from the mail itself, or ask the sender.</p></html>\n"
);
const GONE: &str = concat!(
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">",
    "<meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">",
    "<title>This link was withdrawn</title><h1>This link was withdrawn</h1>",
    "<p>The sender of the mail has taken it back. Ask the sender if you need what it led to.</p></html>\n"
);

/// 404.
pub(super) fn not_found() -> Answer {
    with_type(StatusCode::NOT_FOUND, "text/html; charset=utf-8", NOT_FOUND)
}

/// 410.
pub(super) fn gone() -> Answer {
    with_type(StatusCode::GONE, "text/html; charset=utf-8", GONE)
}

/// A page of ours.
pub(super) fn html(status: StatusCode, text: &'static str) -> Answer {
    with_type(status, "text/html; charset=utf-8", text)
}

/// A line of text for programs.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", text)
}

fn with_type(status: StatusCode, content_type: &'static str, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (X_ROBOTS_TAG, "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

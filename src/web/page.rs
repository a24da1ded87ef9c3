//! The few words a person may see here: small plain HTML in the look of the recipient's own page, no script, nothing loaded.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, RETRY_AFTER,
};
use hyper::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

use super::router::Answer;

/// Neither the link nor the page belongs in a search engine.
pub(super) const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// How our pages look; the recipient's own page has it, too.
pub(super) const STYLE: &str = include_str!("preference.css");

/// Nothing may be loaded, framed or sent from our pages.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy("'none'"));
/// The same with a form that leads here.
static POLICY_WITH_FORM: LazyLock<HeaderValue> = LazyLock::new(|| policy("'self'"));

/// The one style that is ours is known by its hash; forms go nowhere but there.
fn policy(forms: &str) -> HeaderValue {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
    );
    // Base64 and our own words are a header; were they not, nothing at all would be let through.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// For a page with a form of ours.
pub(super) fn policy_with_form() -> HeaderValue {
    POLICY_WITH_FORM.clone()
}

static NOT_FOUND: LazyLock<Bytes> = LazyLock::new(|| {
    let why = "<p>It may have been cut short on its way. Open it from the mail itself, or ask the sender.</p>";
    words("This link does not work", why)
});
static TOO_MANY: LazyLock<Bytes> = LazyLock::new(|| {
    let why = "<p>Many links that do not work were asked for from where you are. One that works still does. Try again in a minute.</p>";
    words("Too many broken links", why)
});
static GONE: LazyLock<Bytes> = LazyLock::new(|| {
    let why = "<p>The sender of the mail has taken it back. Ask the sender if you need what it led to.</p>";
    words("This link was withdrawn", why)
});

/// A page of a heading and these few words, which are ours and markup already.
pub(super) fn words(heading: &str, words: &str) -> Bytes {
    let head = "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
                <meta name=\"color-scheme\" content=\"light dark\">";
    let body = format!("<main><h1>{heading}</h1>{words}</main>");
    format!("<!doctype html><html lang=\"en\">{head}<title>{heading}</title><style>{STYLE}</style>{body}</html>\n")
        .into()
}

/// 404.
pub(super) fn not_found() -> Answer {
    with_type(StatusCode::NOT_FOUND, "text/html; charset=utf-8", NOT_FOUND.clone())
}

/// 429.
pub(super) fn too_many(wait: Duration) -> Answer {
    let mut answer = with_type(StatusCode::TOO_MANY_REQUESTS, "text/html; charset=utf-8", TOO_MANY.clone());
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    answer
}

/// 410.
pub(super) fn gone() -> Answer {
    with_type(StatusCode::GONE, "text/html; charset=utf-8", GONE.clone())
}

/// A page of ours.
pub(super) fn html(status: StatusCode, text: Bytes) -> Answer {
    with_type(status, "text/html; charset=utf-8", text)
}

/// A line of text for programs.
pub(super) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", text)
}

fn with_type(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_ROBOTS_TAG, "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

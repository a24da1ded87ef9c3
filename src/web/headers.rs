//! What every answer of the site carries, whichever it is: set in one place, so that none is forgotten.

use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};

use super::router::Answer;

/// Nothing may be loaded, framed or sent from what we answer. An answer that needs more says so itself.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// A year, as browsers' lists ask for; subdomains are not ours to speak for.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Adds what the answer does not say itself. `https`: the site speaks TLS, and browsers shall come in no other way.
pub(super) fn complete(mut answer: Answer, https: bool) -> Answer {
    let headers = answer.headers_mut();
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(POLICY);
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(NOSNIFF);
    if https {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(HTTPS_ONLY);
    }
    answer
}

//! Entity tags (RFC 9110, section 8.8.3): a change that was decided on an old state is refused with 412, and what a reader
//! has already is not sent again.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Problem;

/// The tags that a change allows; none: whatever is there.
pub(super) struct IfMatch(Option<String>);

impl IfMatch {
    /// Whether what is there now is what the caller has seen.
    pub(super) fn allows(&self, current: &impl Serialize) -> bool {
        let Some(wanted) = &self.0 else { return true };
        let tag = tag(current);
        wanted.split(',').map(str::trim).any(|wanted| wanted == "*" || wanted == tag)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IfMatch, Problem> {
        let given: Vec<&str> =
            parts.headers.get_all(IF_MATCH).iter().map(|value| value.to_str().unwrap_or("unreadable")).collect();
        Ok(IfMatch((!given.is_empty()).then(|| given.join(","))))
    }
}

/// Answers 304 without a body where the reader has what would be sent (RFC 9110, section 13.1.2).
pub(super) async fn not_again(request: Request, next: Next) -> Response {
    let safe = request.method().is_safe();
    let had: Vec<String> = match safe {
        true => {
            request.headers().get_all(IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect()
        }
        false => Vec::new(),
    };
    let mut response = next.run(request).await;
    let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    if let Some(tag) = tag.filter(|_| response.status() == StatusCode::OK)
        && had.iter().any(|had| names(had, &tag))
    {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_TYPE);
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

/// Whether a list of tags holds this one, as weakly as readers compare them.
fn names(list: &str, tag: &str) -> bool {
    list.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

/// A value with its tag.
pub(super) fn tagged<T: Serialize>(value: T) -> ([(HeaderName, String); 1], Json<T>) {
    ([(ETAG, tag(&value))], Json(value))
}

/// A strong tag: the hash of the JSON that is sent.
pub(super) fn tag(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).unwrap_or_default();
    let hash = Sha256::digest(json);
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_fits_what_was_sent_and_nothing_else() {
        let seen = tag(&["a"]);
        let rows: &[(Option<String>, bool)] = &[
            // nothing asked, anything accepted, the very thing, one of several
            (None, true),
            (Some("*".to_owned()), true),
            (Some(seen.clone()), true),
            (Some(format!("\"other\", {seen}")), true),
            // another state; a weak tag never fits a change (RFC 9110, section 13.1.1); no tag at all
            (Some(tag(&["b"])), false),
            (Some(format!("W/{seen}")), false),
            (Some(String::new()), false),
            (Some(seen.trim_matches('"').to_owned()), false),
        ];
        for (given, expected) in rows {
            assert_eq!(IfMatch(given.clone()).allows(&["a"]), *expected, "{given:?}");
        }
    }
}

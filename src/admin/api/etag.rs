//! Entity tags (RFC 9110, section 8.8.3): a change that was decided on an old state is refused with 412.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, HeaderName, IF_MATCH};
use axum::http::request::Parts;
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

/// A value with its tag.
pub(super) fn tagged<T: Serialize>(value: T) -> ([(HeaderName, String); 1], Json<T>) {
    ([(ETAG, tag(&value))], Json(value))
}

/// A strong tag: the hash of the JSON that is sent.
fn tag(value: &impl Serialize) -> String {
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

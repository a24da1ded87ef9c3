//! A list that is an array, page by page: where the next page begins stands in a `Link` header (RFC 8288).

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::admin::pages::encoded;

/// Rows when the caller names no number, and the most of one answer.
pub(super) const ROWS_MAX: usize = 1000;

/// Rows of one page.
pub(super) struct Linked<T> {
    pub(super) rows: Vec<T>,
    /// The query of the next page; `None` on the last one.
    pub(super) next: Option<Vec<(&'static str, String)>>,
}

impl<T: Serialize> IntoResponse for Linked<T> {
    fn into_response(self) -> Response {
        let mut answer = Json(self.rows).into_response();
        let query = |pairs: Vec<(&str, String)>| -> String {
            pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
        };
        let link = self.next.map(|next| format!("<?{}>; rel=\"next\"", query(next)));
        // What is percent-encoded fits any header.
        if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
            answer.headers_mut().insert(header::LINK, link);
        }
        answer
    }
}

/// How many rows are asked for.
pub(super) fn rows(limit: Option<usize>) -> usize {
    limit.unwrap_or(ROWS_MAX).clamp(1, ROWS_MAX)
}

//! How the API says no: problem details (RFC 9457), for every error and nothing else.
//!
//! **Invariant:** a request that is wrong gets a 4xx. A 5xx says that waxseal, its store or upstream could not.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Unread;
use crate::admin::Refusal;
use crate::admin::pages::error::status_of;

/// Why a request was not done.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Problem {
    #[serde(skip)]
    code: StatusCode,
    /// Headers that say more.
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What kind: `urn:waxseal:problem:` and a word that stays the same.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request and what would be right.
    detail: String,
    /// The value that is wrong, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<Cow<'static, str>>,
}

impl Problem {
    /// A problem of the kind that its status says.
    pub(in crate::admin) fn new(code: StatusCode, detail: impl Into<String>) -> Problem {
        let title = code.canonical_reason().unwrap_or("Error");
        let word = title.to_ascii_lowercase().replace(' ', "-");
        Problem::of_kind(&word, code, detail.into(), None)
    }

    /// A value cannot be read.
    pub(in crate::admin) fn unread(wrong: Unread) -> Problem {
        let detail = wrong.line();
        Problem::of_kind("invalid", StatusCode::UNPROCESSABLE_ENTITY, detail, wrong.field.map(Cow::Owned))
    }

    /// With a header.
    #[must_use]
    pub(in crate::admin) fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Problem {
        self.headers.push((name, value.into()));
        self
    }

    fn of_kind(word: &str, code: StatusCode, detail: String, field: Option<Cow<'static, str>>) -> Problem {
        let title = code.canonical_reason().unwrap_or("Error");
        Problem {
            code,
            headers: Vec::new(),
            kind: format!("urn:waxseal:problem:{word}"),
            title,
            status: code.as_u16(),
            detail,
            field,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let code = status_of(&refusal);
        if code.is_server_error() {
            tracing::error!(error = %refusal, "an API call failed: {refusal}");
        }
        let (word, field): (_, Option<&'static str>) = match refusal {
            Refusal::NotFound { .. } => ("not-found", None),
            Refusal::Forbidden(_) => ("forbidden", None),
            Refusal::Invalid { field, .. } => ("invalid", Some(field)),
            Refusal::Managed { field } => ("managed", Some(field)),
            Refusal::Locked { field } => ("locked", Some(field)),
            Refusal::Conflict(_) => ("conflict", None),
            Refusal::Changed => ("changed", None),
            Refusal::Absent(_) => ("absent", None),
            Refusal::Busy(_) => ("busy", None),
            Refusal::Store(_) => ("store", None),
            Refusal::Port(_) => ("upstream", None),
        };
        Problem::of_kind(word, code, refusal.to_string(), field.map(Cow::Borrowed))
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let (code, more) = (self.code, std::mem::take(&mut self.headers));
        let mut response = (code, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if code == StatusCode::UNAUTHORIZED {
            let way = HeaderValue::from_static("Cookie realm=\"waxseal\", form-action=\"/login\"");
            headers.insert(header::WWW_AUTHENTICATE, way);
        }
        for (name, value) in more {
            headers.append(name, value);
        }
        response
    }
}

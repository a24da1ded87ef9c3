//! Every way a page says no, and its status.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Frame, html_with};
use crate::admin::api::Unread;
use crate::admin::{Refusal, Site, visitor};

/// Why there is an error page.
#[derive(Debug)]
pub(in crate::admin) enum PageError {
    /// No such address.
    NoPage,
    /// The address exists, the verb does not.
    NoMethod,
    /// A form that did not come from our own page, or from an old one.
    ForeignForm,
    /// A form that cannot be read.
    BadForm(StatusCode),
    /// What follows the `?` of an address cannot be read.
    BadAddress(Unread),
    /// A link that lets somebody in, and no longer does.
    LinkGone,
    /// Too many tries from one address.
    TooOften,
    /// An action said no.
    Refused(Refusal),
    /// The answer did not come in time.
    TooLong,
    /// The system failed us.
    Broken,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    heading: &'a str,
    detail: String,
}

impl From<Refusal> for PageError {
    fn from(refusal: Refusal) -> PageError {
        PageError::Refused(refusal)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, heading, detail) = match &self {
            PageError::NoPage => (StatusCode::NOT_FOUND, "Nothing here", "There is no such page.".to_owned()),
            PageError::NoMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Not like this",
                "This address does not take such a request.".to_owned(),
            ),
            PageError::ForeignForm => (
                StatusCode::FORBIDDEN,
                "The form is out of date",
                "It did not come from this session's own page. Go back, reload the page and try again.".to_owned(),
            ),
            PageError::BadForm(status) => {
                (*status, "The form cannot be read", "It is too large or damaged.".to_owned())
            }
            PageError::BadAddress(wrong) => {
                (StatusCode::BAD_REQUEST, "The address cannot be read", format!("{}.", wrong.line()))
            }
            PageError::LinkGone => (
                StatusCode::GONE,
                "This link no longer works",
                "It was used or withdrawn, or is older than 72 hours. Ask whoever gave it to you for a new one."
                    .to_owned(),
            ),
            PageError::TooOften => {
                (StatusCode::TOO_MANY_REQUESTS, "Too many attempts", "Wait a minute and try again.".to_owned())
            }
            PageError::TooLong => (
                StatusCode::SERVICE_UNAVAILABLE,
                "It took too long",
                "It was given up; what it was to change may have been changed. Look, and try again.".to_owned(),
            ),
            PageError::Refused(refusal) => (status_of(refusal), heading_of(refusal), sentence(refusal)),
            PageError::Broken => {
                (StatusCode::INTERNAL_SERVER_ERROR, "Something failed", "The log of the server says what.".to_owned())
            }
        };
        if status.is_server_error() {
            tracing::error!(error = ?self, "an admin page failed");
        }
        let mut answer =
            html_with(status, &ErrorPage { frame: Frame::public(heading), heading, detail: detail.clone() });
        answer.extensions_mut().insert(Said { heading, detail });
        answer
    }
}

/// What an error page says, for [`framed`].
#[derive(Clone)]
struct Said {
    heading: &'static str,
    detail: String,
}

/// Gives an error page the tabs of whoever is logged in: they are still in, and want to go on.
pub(super) async fn framed(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let session = visitor::session_id(request.headers());
    let mut answer = next.run(request).await;
    let Some(Said { heading, detail }) = answer.extensions_mut().remove::<Said>() else { return answer };
    let Some(visitor) = session.and_then(|session| visitor::passing(&site, session)) else { return answer };
    let frame = Frame::of(&site, &visitor, heading, "");
    let page = html_with(answer.status(), &ErrorPage { frame, heading, detail });
    // Status and fields stay, as the `Allow` of a 405.
    let (mut head, _) = answer.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, page.into_body())
}

/// The HTTP status of a refusal, for pages and API alike.
pub(in crate::admin) fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NotFound { .. } | Refusal::Absent(_) => StatusCode::NOT_FOUND,
        Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        Refusal::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Managed { .. } | Refusal::Locked { .. } | Refusal::Conflict(_) => StatusCode::CONFLICT,
        Refusal::Changed => StatusCode::PRECONDITION_FAILED,
        Refusal::Busy(_) | Refusal::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Port(_) => StatusCode::BAD_GATEWAY,
    }
}

fn heading_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound { .. } | Refusal::Absent(_) => "Nothing here",
        Refusal::Forbidden(_) => "Not yours to see",
        Refusal::Invalid { .. }
        | Refusal::Managed { .. }
        | Refusal::Locked { .. }
        | Refusal::Conflict(_)
        | Refusal::Changed => "That cannot be done",
        Refusal::Busy(_) | Refusal::Store(_) | Refusal::Port(_) => "Not now",
    }
}

/// Store trouble is for the log; the reader learns what it means.
fn sentence(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Store(_) => {
            "The store cannot be read or written now. Mail goes on; the log says what is wrong.".to_owned()
        }
        other => super::Notice::wrong(other, &visitor::Fields::none("")).words(),
    }
}

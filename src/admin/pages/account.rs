//! `/account`: the visitor's own password.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::{Frame, Notice, error::PageError, html, html_with, words};
use crate::admin::visitor::{Posted, Visitor};
use crate::admin::{Refusal, Site};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    login: String,
    role: &'static str,
    org: String,
}

/// `GET /account`
pub(super) async fn page(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    html(&filled(&site, &visitor, None))
}

/// `POST /account`: a new password ends every session of the login, this one too.
pub(super) async fn password(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let (present, new) = (fields.text("present"), fields.text("password"));
    // A borrowed session must not become a way to guess the password.
    if site.limiter().try_again(&visitor.user.login, Instant::now()).is_err() {
        let notice = Notice::bad("too many attempts; wait a minute and try again");
        return Ok(html_with(StatusCode::TOO_MANY_REQUESTS, &filled(&site, &visitor, notice)));
    }
    match site.actions.change_own_password(&visitor.viewer, present, new).await {
        Ok(()) => Ok(Redirect::to("/login").into_response()),
        Err(wrong @ (Refusal::Invalid { .. } | Refusal::Busy(_))) => {
            Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &filled(&site, &visitor, Notice::bad(wrong))))
        }
        Err(refusal) => Err(visitor.refused(refusal)),
    }
}

fn filled(site: &Site, visitor: &Visitor, notice: Option<Notice>) -> AccountPage {
    AccountPage {
        frame: Frame::of(site, visitor, "Account", "").with(notice),
        login: visitor.user.login.clone(),
        role: words::role(visitor.user.role),
        org: visitor.user.org.as_ref().map(|org| org.as_str().to_owned()).unwrap_or_default(),
    }
}

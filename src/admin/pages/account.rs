//! `/account`: the visitor's own password, app passwords, API keys and sessions.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::ways::{self, ShownOnce, Ways};
use super::{Done, Frame, Notice, error::PageError, form, html, html_with, words};
use crate::admin::actions::credentials::NewKey;
use crate::admin::visitor::{Fields, Posted, Visitor};
use crate::admin::{Refusal, Site};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    login: String,
    role: &'static str,
    org: String,
    factor: bool,
    ways: Ways,
}

/// `GET /account`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(Done { done }): Query<Done>,
) -> Result<Response, PageError> {
    Ok(html(&filled(&site, &visitor, Notice::done(done.as_deref()))?))
}

/// `POST /account`: a new password ends every other session of the login.
pub(super) async fn password(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let (present, new) = (fields.text("present"), fields.text("password"));
    // A borrowed session must not become a way to guess the password.
    if site.limiter().try_again(&visitor.user.login, Instant::now()).is_err() {
        let notice = Notice::bad("too many attempts; wait a minute and try again");
        return Ok(html_with(StatusCode::TOO_MANY_REQUESTS, &filled(&site, &visitor, notice)?));
    }
    let done = site.actions.change_own_password(&visitor.viewer, present, new, &visitor.session).await;
    after(&site, &visitor, &fields, done, "changed")
}

/// `POST /account/app-passwords`
pub(super) async fn app_password(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let made = site.actions.add_app_password(&visitor.viewer, &visitor.user.login, fields.text("name")).await;
    match made {
        Ok((view, secret)) => Ok(html(&ShownOnce {
            frame: Frame::of(&site, &visitor, "App password", ""),
            heading: "The app password is there",
            name: view.name,
            secret,
            words: "Copy it into the mail program now, as its password; the login stays the same. It is not shown again.",
            back: "/account",
            back_words: "Account",
        })),
        Err(refusal) => after(&site, &visitor, &fields, Err(refusal), ""),
    }
}

/// `POST /account/api-keys`
pub(super) async fn api_key(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let days = match fields.text("days").trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Refusal::invalid("days", "write a number of days, or nothing")),
    };
    let scopes = ways::scopes_of(&fields)?;
    let name = fields.text("name").to_owned();
    let made = match days {
        Ok(days) => site.actions.add_api_key(&visitor.viewer, &visitor.user.login, NewKey { name, scopes, days }).await,
        Err(refusal) => Err(refusal),
    };
    match made {
        Ok((view, secret)) => Ok(html(&ShownOnce {
            frame: Frame::of(&site, &visitor, "API key", ""),
            heading: "The API key is there",
            name: view.name,
            secret,
            words: "Copy it now; it is not shown again. Programs send it as the header Authorization: Bearer, then the key.",
            back: "/account",
            back_words: "Account",
        })),
        Err(refusal) => after(&site, &visitor, &fields, Err(refusal), ""),
    }
}

/// `POST /account/credentials/remove`
pub(super) async fn revoke(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let done = ways::revoke(&site, &visitor, &visitor.user.login, &fields).await;
    after(&site, &visitor, &fields, done, "revoked")
}

/// `POST /account/sessions/end`
pub(super) async fn end_sessions(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let done = ways::end_sessions(&site, &visitor, &visitor.user.login, &fields).await;
    after(&site, &visitor, &fields, done, "ended")
}

/// Back to the page, with what was done or what is wrong.
fn after(
    site: &Site,
    visitor: &Visitor,
    fields: &Fields,
    done: Result<(), Refusal>,
    code: &str,
) -> Result<Response, PageError> {
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/account?done={code}")).into_response()),
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, fields)?;
            Ok(html_with(status, &filled(site, visitor, notice)?))
        }
    }
}

fn filled(site: &Site, visitor: &Visitor, notice: Option<Notice>) -> Result<AccountPage, PageError> {
    Ok(AccountPage {
        frame: Frame::of(site, visitor, "Account", "").with(notice),
        login: visitor.user.login.clone(),
        role: words::role(visitor.user.role),
        org: visitor.user.org.as_ref().map(|org| org.as_str().to_owned()).unwrap_or_default(),
        factor: site.actions.has_second_factor(&visitor.user.login),
        ways: Ways::of(site, visitor, &visitor.user.login)?,
    })
}

//! `/join/{secret}`: where a link that lets somebody in once leads. Looking at it uses nothing up; setting the password does.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::{Frame, Notice, error::PageError, html, html_with, words};
use crate::admin::actions::invitations::JOIN_PATH;
use crate::admin::login::NO_ADDRESS;
use crate::admin::visitor::{self, Fields};
use crate::admin::{Refusal, Site};
use crate::settings::access::Gift;

#[derive(Template)]
#[template(path = "join.html")]
struct JoinPage {
    frame: Frame,
    heading: &'static str,
    words: String,
    action: String,
    login: String,
}

/// `GET /join/{secret}`
pub(super) async fn page(State(site): State<Arc<Site>>, Path(secret): Path<String>) -> Result<Response, PageError> {
    let gift = site.actions.invitation_to(&secret).map_err(|_| PageError::LinkGone)?;
    Ok(html(&filled(&secret, gift, None)))
}

/// `POST /join/{secret}`
pub(super) async fn join(
    State(site): State<Arc<Site>>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response, PageError> {
    if !visitor::is_from_our_pages(request.headers()) {
        return Err(PageError::ForeignForm);
    }
    let from = visitor::client(&site, request.extensions(), request.headers());
    let address = from.unwrap_or(NO_ADDRESS);
    if site.limiter().try_address(address, Instant::now()).is_err() {
        return Err(PageError::TooOften);
    }
    let gift = site.actions.invitation_to(&secret).map_err(|_| PageError::LinkGone)?;
    let fields = Fields::read(request).await?;
    match site.actions.take_invitation(&secret, fields.text("password"), from).await {
        Ok(_) => {
            site.limiter().forgive_address(address);
            Ok(Redirect::to("/login?done=joined").into_response())
        }
        Err(wrong @ (Refusal::Invalid { .. } | Refusal::Conflict(_) | Refusal::Busy(_))) => {
            let page = filled(&secret, gift, Some(Notice::wrong(&wrong, &fields)));
            Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
        Err(Refusal::NotFound { .. }) => Err(PageError::LinkGone),
        Err(refusal) => Err(PageError::Refused(refusal)),
    }
}

fn filled(secret: &str, gift: Gift, notice: Option<Notice>) -> JoinPage {
    let login = gift.login().to_owned();
    let (heading, words) = match gift {
        Gift::Account { org: Some(org), role, .. } => (
            "Welcome",
            format!("Your account in {org}, as {}, is ready once you choose a password.", words::role(role)),
        ),
        Gift::Account { org: None, role, .. } => {
            ("Welcome", format!("Your account, as {}, is ready once you choose a password.", words::role(role)))
        }
        Gift::Password { .. } => ("New password", "Open sessions of this login end when you set it.".to_owned()),
    };
    let action = format!("{JOIN_PATH}{secret}");
    JoinPage { frame: Frame::public(heading).with(notice), heading, words, action, login }
}

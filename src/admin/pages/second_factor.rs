//! `/account/second-factor`: setting up an authenticator app, and taking it away.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::words::{self, Moment};
use super::{Done, Frame, Notice, error::PageError, form, html, html_with};
use crate::admin::Site;
use crate::admin::actions::second_factor::SetUp;
use crate::admin::visitor::{Fields, Posted, Visitor};

#[derive(Template)]
#[template(path = "second_factor.html")]
struct FactorPage {
    frame: Frame,
    /// There is one, since then.
    since: Option<Moment>,
    recovery: usize,
    required: bool,
    set_up: Option<SetUpForm>,
}

struct SetUpForm {
    sealed: String,
    key: String,
    picture: String,
}

#[derive(Template)]
#[template(path = "recovery.html")]
struct RecoveryPage {
    frame: Frame,
    codes: Vec<String>,
}

/// `GET /account/second-factor`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(Done { done }): Query<Done>,
) -> Result<Response, PageError> {
    Ok(html(&filled(&site, &visitor, None, Notice::done(done.as_deref()))?))
}

/// `POST /account/second-factor`
pub(super) async fn save(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    // A borrowed session must not become a way to guess passwords or codes.
    if site.codes().try_again(&visitor.user.login, Instant::now()).is_err() {
        let notice = Notice::bad("too many attempts; wait a quarter of an hour and try again");
        return Ok(html_with(StatusCode::TOO_MANY_REQUESTS, &filled(&site, &visitor, None, notice)?));
    }
    match fields.text("do") {
        "confirm" => confirm(&site, &visitor, &fields).await,
        "remove" => remove(&site, &visitor, &fields).await,
        _ => Err(PageError::BadForm(StatusCode::BAD_REQUEST)),
    }
}

async fn confirm(site: &Site, visitor: &Visitor, fields: &Fields) -> Result<Response, PageError> {
    let sealed = URL_SAFE_NO_PAD.decode(fields.text("sealed")).unwrap_or_default();
    let (password, code) = (fields.text("present"), fields.text("code"));
    let viewer = &visitor.viewer;
    match site.actions.confirm_second_factor(viewer, sealed.clone(), password, code, &visitor.session).await {
        Ok(codes) => {
            let frame = Frame::of(site, visitor, "Recovery codes", "");
            Ok(html(&RecoveryPage { frame, codes }))
        }
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, fields)?;
            // With the key that may be in the app already.
            let again = site.actions.resume_second_factor(viewer, sealed).ok();
            Ok(html_with(status, &filled(site, visitor, again, notice)?))
        }
    }
}

async fn remove(site: &Site, visitor: &Visitor, fields: &Fields) -> Result<Response, PageError> {
    let (password, code) = (fields.text("present"), fields.text("code"));
    match site.actions.remove_own_second_factor(&visitor.viewer, password, code).await {
        Ok(()) => Ok(Redirect::to("/account?done=factor_gone").into_response()),
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, fields)?;
            Ok(html_with(status, &filled(site, visitor, None, notice)?))
        }
    }
}

fn filled(
    site: &Site,
    visitor: &Visitor,
    begun: Option<SetUp>,
    notice: Option<Notice>,
) -> Result<FactorPage, PageError> {
    let view = site.actions.second_factor(&visitor.viewer, &visitor.user.login)?;
    let set_up = match (view, begun) {
        (Some(_), _) => None,
        (None, Some(begun)) => Some(begun),
        (None, None) => Some(site.actions.begin_second_factor(&visitor.viewer)?),
    };
    Ok(FactorPage {
        frame: Frame::of(site, visitor, "Second factor", "").with(notice),
        since: view.map(|view| words::moment(view.since_ms)),
        recovery: view.map_or(0, |view| view.recovery),
        required: site.actions.factor_required(&visitor.user),
        set_up: set_up.map(|SetUp { sealed, key, picture }| SetUpForm {
            sealed: URL_SAFE_NO_PAD.encode(sealed),
            key: grouped(&key),
            picture: picture.unwrap_or_default(),
        }),
    })
}

/// In groups of four, to be typed.
fn grouped(key: &str) -> String {
    let letters: Vec<char> = key.chars().collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join(" ")
}

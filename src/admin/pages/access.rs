//! `/orgs/{name}/access`: who gets in how, whose mail an organisation's admins see, and the password of its account upstream.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::{Done, Frame, Notice, error::PageError, form, html, html_with};
use crate::admin::actions::access::AccessPatch;
use crate::admin::api::tags;
use crate::admin::visitor::{Posted, Visitor};
use crate::admin::{Refusal, Site};
use crate::settings::OrgName;
use crate::settings::access::Access;

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    frame: Frame,
    seen: String,
    name: String,
    access: Access,
    may_change: bool,
    /// Whether there is a password for its own upstream; `None`: it takes none here.
    upstream_password: Option<bool>,
}

/// `GET /orgs/{name}/access`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(Done { done }): Query<Done>,
) -> Result<Response, PageError> {
    Ok(html(&filled(&site, &visitor, name, Notice::done(done.as_deref()))?))
}

fn filled(site: &Site, visitor: &Visitor, name: String, notice: Option<Notice>) -> Result<AccessPage, PageError> {
    let org = named(&name)?;
    let access = site.actions.access(&visitor.viewer, &org)?;
    let upstream_password = site.actions.upstream_password(&visitor.viewer, &org)?;
    let frame = Frame::of(site, visitor, format!("Access, {name}"), "/orgs").with(notice);
    Ok(AccessPage {
        frame,
        seen: tags::access(access),
        name,
        access,
        may_change: visitor.viewer.rules_all(),
        upstream_password,
    })
}

/// `POST /orgs/{name}/access`
pub(super) async fn save(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let patch = AccessPatch {
        admins_see_messages: Some(fields.text("admins_see_messages") == "on"),
        second_factor_required: Some(fields.text("second_factor") == "required"),
    };
    let seen = fields.seen();
    match site.actions.set_access(&visitor.viewer, &named(&name)?, patch, |now| seen.is(&tags::access(now))).await {
        Ok(_) => Ok(Redirect::to(&format!("/orgs/{name}/access?done=access")).into_response()),
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, &fields)?;
            Ok(html_with(status, &filled(&site, &visitor, name, notice)?))
        }
    }
}

/// `POST /orgs/{name}/upstream-password`: seals a password, or forgets the one there is.
pub(super) async fn save_password(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let org = named(&name)?;
    let (done, outcome) = match fields.text("do") {
        "forget" => ("upstream_gone", site.actions.remove_upstream_password(&visitor.viewer, &org).await),
        _ => ("upstream", site.actions.set_upstream_password(&visitor.viewer, &org, fields.text("password")).await),
    };
    match outcome {
        Ok(()) => Ok(Redirect::to(&format!("/orgs/{name}/access?done={done}")).into_response()),
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, &fields)?;
            Ok(html_with(status, &filled(&site, &visitor, name, notice)?))
        }
    }
}

fn named(name: &str) -> Result<OrgName, Refusal> {
    name.parse().map_err(|_| Refusal::NotFound { what: format!("organisation {name}") })
}

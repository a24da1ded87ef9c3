//! `/orgs/{name}/access`: what the organisation asks of its people and lets its admins see.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::orgs::parse_name;
use super::{Done, Frame, Notice, error::PageError, html};
use crate::admin::Site;
use crate::admin::actions::access::AccessPatch;
use crate::admin::visitor::{Posted, Visitor};
use crate::settings::access::Access;

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    frame: Frame,
    name: String,
    may_change: bool,
    may_open_mail: bool,
    access: Access,
}

/// `GET /orgs/{name}/access`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(Done { done }): Query<Done>,
) -> Result<Response, PageError> {
    let name = parse_name(&name)?;
    let access = site.actions.access(&visitor.viewer, &name)?;
    Ok(html(&AccessPage {
        frame: Frame::of(&site, &visitor, "Access", "/orgs").with(Notice::done(done.as_deref())),
        may_change: visitor.viewer.rules(&name),
        may_open_mail: visitor.viewer.rules_all() || (visitor.viewer.rules(&name) && access.admins_see_messages),
        name: name.as_str().to_owned(),
        access,
    }))
}

/// `POST /orgs/{name}/access`
pub(super) async fn save(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let name = parse_name(&name)?;
    let on = |field| fields.optional(field).map(|value| value == "yes");
    let patch = AccessPatch {
        admins_see_messages: on("admins_see_messages"),
        second_factor_required: on("second_factor_required"),
    };
    site.actions.set_access(&visitor.viewer, &name, patch).await?;
    Ok(Redirect::to(&format!("/orgs/{}/access?done=access", name.as_str())).into_response())
}

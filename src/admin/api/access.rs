//! `/api/v1/orgs/{name}/access`, `/api/v1/orgs/{name}/upstream-password` and `/api/v1/users/{login}/second-factor`: who gets in how, and sees what.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::etag::{IfMatch, tagged};
use super::shapes::{Access, AccessPatch, SecondFactor, UpstreamPassword, UpstreamPasswordPut};
use super::{Api, Body, Path, Problem, parsed};
use crate::admin::Refusal;
use crate::admin::actions::access;
use crate::settings::access as settings;

/// What an organisation has decided about its people.
#[utoipa::path(get, path = "/api/v1/orgs/{name}/access", tag = "orgs", operation_id = "access_show",
    responses((status = 200, body = Access, headers(("ETag" = String)))))]
pub(super) async fn show(api: Api, Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    Ok(tagged(Access::from(api.actions.access(&api.viewer, &parsed("name", &name)?)?)))
}

/// Changes it; for server admins. What is not there stays.
#[utoipa::path(patch, path = "/api/v1/orgs/{name}/access", tag = "orgs", operation_id = "access_change",
    request_body = AccessPatch,
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag that was read")),
    responses((status = 200, body = Access, headers(("ETag" = String)))))]
pub(super) async fn change(
    api: Api,
    Path(name): Path<String>,
    if_match: IfMatch,
    Body(patch): Body<AccessPatch>,
) -> Result<impl IntoResponse, Problem> {
    let required = |text: &str| match text {
        "required" => Ok(true),
        "optional" => Ok(false),
        other => {
            let detail = format!("{other:?} is none of required, optional");
            Err(Problem::from(Refusal::Invalid { field: "second_factor", detail }))
        }
    };
    let patch = access::AccessPatch {
        admins_see_messages: patch.admins_see_messages,
        second_factor_required: patch.second_factor.as_deref().map(required).transpose()?,
    };
    let seen = |now: settings::Access| if_match.allows(&Access::from(now));
    Ok(tagged(Access::from(api.actions.set_access(&api.viewer, &parsed("name", &name)?, patch, seen).await?)))
}

/// Whether a password is kept for the organisation's own upstream. It is never shown.
#[utoipa::path(get, path = "/api/v1/orgs/{name}/upstream-password", tag = "orgs", operation_id = "upstream_password_show",
    responses((status = 200, body = UpstreamPassword)))]
pub(super) async fn upstream_password(api: Api, Path(name): Path<String>) -> Result<Json<UpstreamPassword>, Problem> {
    Ok(Json(api.actions.upstream_password(&api.viewer, &parsed("name", &name)?)?.into()))
}

/// Seals a password for the organisation's own upstream. In force with the next mail, and for what waits.
#[utoipa::path(put, path = "/api/v1/orgs/{name}/upstream-password", tag = "orgs", operation_id = "upstream_password_set",
    request_body = UpstreamPasswordPut, responses((status = 204)))]
pub(super) async fn set_upstream_password(
    api: Api,
    Path(name): Path<String>,
    Body(put): Body<UpstreamPasswordPut>,
) -> Result<StatusCode, Problem> {
    api.actions.set_upstream_password(&api.viewer, &parsed("name", &name)?, &put.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets that password; the organisation's mail is held until there is another.
#[utoipa::path(delete, path = "/api/v1/orgs/{name}/upstream-password", tag = "orgs",
    operation_id = "upstream_password_remove", responses((status = 204)))]
pub(super) async fn remove_upstream_password(api: Api, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.remove_upstream_password(&api.viewer, &parsed("name", &name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a user's second factor stands.
#[utoipa::path(get, path = "/api/v1/users/{login}/second-factor", tag = "ways in", operation_id = "second_factor_show",
    responses((status = 200, body = SecondFactor)))]
pub(super) async fn factor(api: Api, Path(login): Path<String>) -> Result<Json<SecondFactor>, Problem> {
    Ok(Json(api.actions.second_factor(&api.viewer, &login)?.into()))
}

/// Takes another user's second factor away, whose phone is gone; their sessions end.
#[utoipa::path(delete, path = "/api/v1/users/{login}/second-factor", tag = "ways in",
    operation_id = "second_factor_remove", responses((status = 204)))]
pub(super) async fn remove_factor(api: Api, Path(login): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.remove_second_factor(&api.viewer, &login).await?;
    Ok(StatusCode::NO_CONTENT)
}

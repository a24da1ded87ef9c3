//! `/api/v1/users`

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;

use super::etag::{IfMatch, tagged};
use super::linked::{self, Linked};
use super::orgs::{mode, text_links};
use super::shapes::{
    self, Notices, NoticesPut, PasswordPut, User, UserPatch, UserPost, UserTracking, UserTrackingPatch,
};
use super::{Api, Body, Path, Problem, Query};
use crate::admin::Refusal;
use crate::admin::actions::own_tracking::{OwnPatch, OwnRulesPatch, OwnTracking};
use crate::admin::actions::user_change;
use crate::admin::actions::users::{NewUser, UserView, role_named};
use crate::settings::Role;
use crate::settings::notices::{Level, NoticeChoice};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct UsersAsked {
    /// Only after this login.
    after: Option<String>,
    /// Rows; 1,000 at most.
    limit: Option<usize>,
}

/// Who has a login, by login.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", operation_id = "users_list", params(UsersAsked),
    responses((status = 200, body = Vec<User>, headers(("Link" = String)))))]
pub(super) async fn list(api: Api, Query(UsersAsked { after, limit }): Query<UsersAsked>) -> Linked<User> {
    let limit = linked::rows(limit);
    let (users, next) = api.actions.users_page(&api.viewer, after.as_ref(), limit);
    let next = next.map(|login| vec![("after", login), ("limit", limit.to_string())]);
    Linked { rows: users.into_iter().map(User::from).collect(), next }
}

/// One user; its ETag goes into If-Match of a change.
#[utoipa::path(get, path = "/api/v1/users/{login}", tag = "users", operation_id = "users_show",
    responses((status = 200, body = User, headers(("ETag" = String)))))]
pub(super) async fn show(api: Api, Path(login): Path<String>) -> Result<impl IntoResponse, Problem> {
    Ok(tagged(User::from(api.actions.user(&api.viewer, &login)?)))
}

/// Adds a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", operation_id = "users_add",
    request_body = UserPost, responses((status = 201, body = User)))]
pub(super) async fn add(api: Api, Body(post): Body<UserPost>) -> Result<(StatusCode, Json<User>), Problem> {
    let role = role(&post.role)?;
    let org =
        shapes::org_name(post.org).map_err(|_| invalid("org", "that is no name of an organisation".to_owned()))?;
    let new = NewUser { login: post.login, org, role, addresses: post.addresses, password: post.password };
    Ok((StatusCode::CREATED, Json(api.actions.add_user(&api.viewer, new).await?.into())))
}

/// Changes what a user may do and send as; what is not there stays. In force with the next request and mail.
#[utoipa::path(patch, path = "/api/v1/users/{login}", tag = "users", operation_id = "users_set",
    request_body = UserPatch,
    params(("login" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag that was read")),
    responses((status = 200, body = User, headers(("ETag" = String)))))]
pub(super) async fn set(
    api: Api,
    Path(login): Path<String>,
    if_match: IfMatch,
    Body(patch): Body<UserPatch>,
) -> Result<impl IntoResponse, Problem> {
    let role = patch.role.as_deref().map(role).transpose()?;
    let patch = user_change::UserPatch { role, addresses: patch.addresses };
    let seen = |now: &UserView| if_match.allows(&User::from(now.clone()));
    Ok(tagged(User::from(api.actions.set_user(&api.viewer, &login, patch, seen).await?)))
}

/// Sets a password; other sessions of that login end. One's own needs the present one. Never with an API key.
#[utoipa::path(put, path = "/api/v1/users/{login}/password", tag = "users", operation_id = "users_password",
    request_body = PasswordPut, responses((status = 204)))]
pub(super) async fn password(
    api: Api,
    Path(login): Path<String>,
    Body(put): Body<PasswordPut>,
) -> Result<StatusCode, Problem> {
    match (&api.session, &put.present) {
        (Some(session), Some(present)) if api.viewer.login() == Some(&login) => {
            api.try_again()?;
            api.actions.change_own_password(&api.viewer, present, &put.password, session).await?;
        }
        (_, Some(_)) => {
            return Err(invalid("present", "it is asked for one's own password alone, in a session".to_owned()));
        }
        (_, None) => api.actions.reset_password(&api.viewer, &login, &put.password).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

fn role(name: &str) -> Result<Role, Problem> {
    role_named(name).ok_or_else(|| invalid("role", format!("{name:?} is none of sender, org-admin, server-admin")))
}

/// What the user is told of, and whether by mail.
#[utoipa::path(put, path = "/api/v1/users/{login}/notices", tag = "users", operation_id = "users_notices",
    request_body = NoticesPut,
    params(("login" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag that was read")),
    responses((status = 204)))]
pub(super) async fn notices(
    api: Api,
    Path(login): Path<String>,
    if_match: IfMatch,
    Body(put): Body<NoticesPut>,
) -> Result<StatusCode, Problem> {
    let level = Level::parse(&put.level)
        .ok_or_else(|| invalid("level", format!("{:?} is none of first, every, none", put.level)))?;
    let seen = |now: &_| if_match.allows(&noticed(now));
    api.actions.set_notices(&api.viewer, &login, NoticeChoice { level, mail: put.mail }, seen).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a user has chosen for their own mail, and what becomes of it.
#[utoipa::path(get, path = "/api/v1/users/{login}/tracking", tag = "users", operation_id = "users_tracking",
    responses((status = 200, body = UserTracking, headers(("ETag" = String)))))]
pub(super) async fn tracking(api: Api, Path(login): Path<String>) -> Result<impl IntoResponse, Problem> {
    Ok(tagged(UserTracking::from(api.actions.own_tracking(&api.viewer, &login)?)))
}

/// Changes it; never above the organisation, and nothing that it has locked. In force for the next mail.
#[utoipa::path(patch, path = "/api/v1/users/{login}/tracking", tag = "users", operation_id = "users_set_tracking",
    request_body = UserTrackingPatch,
    params(("login" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag that was read")),
    responses((status = 200, body = UserTracking, headers(("ETag" = String)))))]
pub(super) async fn set_tracking(
    api: Api,
    Path(login): Path<String>,
    if_match: IfMatch,
    Body(patch): Body<UserTrackingPatch>,
) -> Result<impl IntoResponse, Problem> {
    let patch = OwnPatch {
        opens: patch.opens.as_deref().map(|text| mode("opens", text)).transpose()?,
        links: patch.links.as_deref().map(|text| mode("links", text)).transpose()?,
        text_links: patch.text_links.as_deref().map(text_links).transpose()?,
        shadow: patch.shadow,
        rules: OwnRulesPatch {
            leave_visible_urls: patch
                .visible_urls
                .as_deref()
                .map(|text| less("visible_urls", text, "leave"))
                .transpose()?,
            country_only: patch.place.as_deref().map(|text| less("place", text, "country")).transpose()?,
            no_raw_evidence: patch.raw_evidence.as_deref().map(|text| less("raw_evidence", text, "off")).transpose()?,
            excluded_recipients: patch.excluded_recipients,
            excluded_hosts: patch.excluded_hosts,
            leave_links: patch.leave_links,
        },
    };
    let seen = |now: &OwnTracking| if_match.allows(&UserTracking::from(now.clone()));
    Ok(tagged(UserTracking::from(api.actions.set_own_tracking(&api.viewer, &login, patch, seen).await?)))
}

/// The one word for less, or `follow`.
fn less(field: &'static str, text: &str, word: &str) -> Result<bool, Problem> {
    match text {
        "follow" => Ok(false),
        text if text == word => Ok(true),
        _ => {
            let why = "a user can only ask for less than the organisation does";
            Err(invalid(field, format!("{text:?} is none of {word}, follow: {why}")))
        }
    }
}

/// What the user asked to be told, and what of it is in force.
#[utoipa::path(get, path = "/api/v1/users/{login}/notices", tag = "users", operation_id = "users_notices_show",
    responses((status = 200, body = Notices, headers(("ETag" = String)))))]
pub(super) async fn notices_of(api: Api, Path(login): Path<String>) -> Result<impl IntoResponse, Problem> {
    Ok(tagged(noticed(&api.actions.notices_of(&api.viewer, &login)?)))
}

pub(super) fn noticed((asked, in_force): &(NoticeChoice, NoticeChoice)) -> Notices {
    Notices { asked: (*asked).into(), in_force: (*in_force).into() }
}

/// Removes a user.
#[utoipa::path(delete, path = "/api/v1/users/{login}", tag = "users", operation_id = "users_remove",
    responses((status = 204)))]
pub(super) async fn remove(api: Api, Path(login): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.remove_user(&api.viewer, &login).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn invalid(field: &'static str, detail: String) -> Problem {
    Refusal::Invalid { field, detail }.into()
}

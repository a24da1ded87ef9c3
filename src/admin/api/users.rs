//! `/api/v1/users`

use axum::Json;
use axum::http::StatusCode;

use super::shapes::{self, NoticesPut, PasswordPut, User, UserPost};
use super::{Api, Body, Path, Problem};
use crate::admin::Refusal;
use crate::admin::actions::users::{NewUser, role_named};
use crate::settings::notices::{Level, NoticeChoice};

/// Who has a login.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", operation_id = "users_list",
    responses((status = 200, body = Vec<User>)))]
pub(super) async fn list(api: Api) -> Json<Vec<User>> {
    Json(api.actions.users(&api.viewer).into_iter().map(User::from).collect())
}

/// One user.
#[utoipa::path(get, path = "/api/v1/users/{login}", tag = "users", operation_id = "users_show",
    responses((status = 200, body = User)))]
pub(super) async fn show(api: Api, Path(login): Path<String>) -> Result<Json<User>, Problem> {
    Ok(Json(api.actions.user(&api.viewer, &login)?.into()))
}

/// Adds a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", operation_id = "users_add",
    request_body = UserPost, responses((status = 201, body = User)))]
pub(super) async fn add(api: Api, Body(post): Body<UserPost>) -> Result<(StatusCode, Json<User>), Problem> {
    let role = role_named(&post.role)
        .ok_or_else(|| invalid("role", format!("{:?} is none of sender, org-admin, server-admin", post.role)))?;
    let org =
        shapes::org_name(post.org).map_err(|_| invalid("org", "that is no name of an organisation".to_owned()))?;
    let new = NewUser { login: post.login, org, role, addresses: post.addresses, password: post.password };
    Ok((StatusCode::CREATED, Json(api.actions.add_user(&api.viewer, new).await?.into())))
}

/// Sets a password; sessions of that login end.
#[utoipa::path(put, path = "/api/v1/users/{login}/password", tag = "users", operation_id = "users_password",
    request_body = PasswordPut, responses((status = 204)))]
pub(super) async fn password(
    api: Api,
    Path(login): Path<String>,
    Body(put): Body<PasswordPut>,
) -> Result<StatusCode, Problem> {
    api.actions.reset_password(&api.viewer, &login, &put.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the user is told of, and whether by mail.
#[utoipa::path(put, path = "/api/v1/users/{login}/notices", tag = "users", operation_id = "users_notices",
    request_body = NoticesPut, responses((status = 204)))]
pub(super) async fn notices(
    api: Api,
    Path(login): Path<String>,
    Body(put): Body<NoticesPut>,
) -> Result<StatusCode, Problem> {
    let level = Level::parse(&put.level)
        .ok_or_else(|| invalid("level", format!("{:?} is none of first, every, none", put.level)))?;
    api.actions.set_notices(&api.viewer, &login, NoticeChoice { level, mail: put.mail }).await?;
    Ok(StatusCode::NO_CONTENT)
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

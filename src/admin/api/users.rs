//! `/api/v1/users`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::shapes::{self, NoticesPut, PasswordPut, User, UserPost};
use super::{Api, Body, Problem};
use crate::admin::Refusal;
use crate::admin::actions::users::{NewUser, role_named};
use crate::settings::notices::{Level, NoticeChoice};

pub(super) async fn list(State(api): State<Api>) -> Json<Vec<User>> {
    Json(api.actions.users(&api.viewer).into_iter().map(User::from).collect())
}

pub(super) async fn show(State(api): State<Api>, Path(login): Path<String>) -> Result<Json<User>, Problem> {
    Ok(Json(api.actions.user(&api.viewer, &login)?.into()))
}

pub(super) async fn add(
    State(api): State<Api>,
    Body(post): Body<UserPost>,
) -> Result<(StatusCode, Json<User>), Problem> {
    let role = role_named(&post.role)
        .ok_or_else(|| invalid("role", format!("{:?} is none of sender, org-admin, server-admin", post.role)))?;
    let org =
        shapes::org_name(post.org).map_err(|_| invalid("org", "that is no name of an organisation".to_owned()))?;
    let new = NewUser { login: post.login, org, role, addresses: post.addresses, password: post.password };
    Ok((StatusCode::CREATED, Json(api.actions.add_user(&api.viewer, new).await?.into())))
}

pub(super) async fn password(
    State(api): State<Api>,
    Path(login): Path<String>,
    Body(put): Body<PasswordPut>,
) -> Result<StatusCode, Problem> {
    api.actions.reset_password(&api.viewer, &login, &put.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn notices(
    State(api): State<Api>,
    Path(login): Path<String>,
    Body(put): Body<NoticesPut>,
) -> Result<StatusCode, Problem> {
    let level = Level::parse(&put.level)
        .ok_or_else(|| invalid("level", format!("{:?} is none of first, every, none", put.level)))?;
    api.actions.set_notices(&api.viewer, &login, NoticeChoice { level, mail: put.mail }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove(State(api): State<Api>, Path(login): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.remove_user(&api.viewer, &login).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn invalid(field: &'static str, detail: String) -> Problem {
    Refusal::Invalid { field, detail }.into()
}

//! `/api/v1/users/{login}/app-passwords` and `/api-keys`: what a person's programs log in with.

use axum::Json;
use axum::http::StatusCode;

use super::shapes::{ApiKey, ApiKeyMade, ApiKeyPost, AppPassword, AppPasswordMade, AppPasswordPost};
use super::{Api, Body, Path, Problem, parsed};
use crate::admin::Refusal;
use crate::admin::actions::credentials::NewKey;
use crate::settings::access::Scope;

/// A user's app passwords.
#[utoipa::path(get, path = "/api/v1/users/{login}/app-passwords", tag = "ways in", operation_id = "app_passwords_list",
    responses((status = 200, body = Vec<AppPassword>)))]
pub(super) async fn app_passwords(api: Api, Path(login): Path<String>) -> Result<Json<Vec<AppPassword>>, Problem> {
    let found = api.actions.credentials(&api.viewer, &login)?.into_iter();
    Ok(Json(found.filter(|view| view.is_for_mail()).map(AppPassword::from).collect()))
}

/// Makes an app password for a mail program; it is shown only here. By its owner, logged in, or over the admin socket.
#[utoipa::path(post, path = "/api/v1/users/{login}/app-passwords", tag = "ways in", operation_id = "app_passwords_add",
    request_body = AppPasswordPost, responses((status = 201, body = AppPasswordMade)))]
pub(super) async fn add_app_password(
    api: Api,
    Path(login): Path<String>,
    Body(post): Body<AppPasswordPost>,
) -> Result<(StatusCode, Json<AppPasswordMade>), Problem> {
    let (made, app_password) = api.actions.add_app_password(&api.viewer, &login, &post.name).await?;
    Ok((StatusCode::CREATED, Json(AppPasswordMade { made: made.into(), app_password })))
}

/// Revokes an app password; it stops working at once.
#[utoipa::path(delete, path = "/api/v1/users/{login}/app-passwords/{id}", tag = "ways in",
    operation_id = "app_passwords_remove", responses((status = 204)))]
pub(super) async fn remove_app_password(
    api: Api,
    Path((login, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    revoke(api, login, id, true).await
}

/// A user's API keys.
#[utoipa::path(get, path = "/api/v1/users/{login}/api-keys", tag = "ways in", operation_id = "api_keys_list",
    responses((status = 200, body = Vec<ApiKey>)))]
pub(super) async fn api_keys(api: Api, Path(login): Path<String>) -> Result<Json<Vec<ApiKey>>, Problem> {
    let found = api.actions.credentials(&api.viewer, &login)?.into_iter();
    Ok(Json(found.filter(|view| !view.is_for_mail()).map(ApiKey::from).collect()))
}

/// Makes an API key; it is shown only here. By its owner, logged in, or over the admin socket; never with another key.
#[utoipa::path(post, path = "/api/v1/users/{login}/api-keys", tag = "ways in", operation_id = "api_keys_add",
    request_body = ApiKeyPost, responses((status = 201, body = ApiKeyMade)))]
pub(super) async fn add_api_key(
    api: Api,
    Path(login): Path<String>,
    Body(post): Body<ApiKeyPost>,
) -> Result<(StatusCode, Json<ApiKeyMade>), Problem> {
    let scope = |name: &String| {
        let detail = || format!("{name:?} is none of read, send-test, mail, settings, users, webhooks");
        Scope::named(name).ok_or_else(|| Refusal::Invalid { field: "scopes", detail: detail() })
    };
    let scopes = post.scopes.iter().map(scope).collect::<Result<_, _>>()?;
    let new = NewKey { name: post.name, scopes, days: post.days };
    let (made, api_key) = api.actions.add_api_key(&api.viewer, &login, new).await?;
    Ok((StatusCode::CREATED, Json(ApiKeyMade { made: made.into(), api_key })))
}

/// Revokes an API key; it stops working at once.
#[utoipa::path(delete, path = "/api/v1/users/{login}/api-keys/{id}", tag = "ways in", operation_id = "api_keys_remove",
    responses((status = 204)))]
pub(super) async fn remove_api_key(api: Api, Path((login, id)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    revoke(api, login, id, false).await
}

async fn revoke(api: Api, login: String, id: String, for_mail: bool) -> Result<StatusCode, Problem> {
    let id = parsed("id", &id)?;
    let found = api.actions.credentials(&api.viewer, &login)?;
    if !found.iter().any(|view| view.id == id && view.is_for_mail() == for_mail) {
        return Err(Refusal::NotFound { what: format!("such credential {id} of {login}") }.into());
    }
    api.actions.remove_credential(&api.viewer, &login, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `/api/v1/users/{login}/sessions`: who is logged in to the dashboard.

use axum::Json;
use axum::http::StatusCode;

use super::shapes::{SessionsEnded, UserSession};
use super::{Api, Path, Problem, parsed};

/// A user's sessions, the one used last first.
#[utoipa::path(get, path = "/api/v1/users/{login}/sessions", tag = "ways in", operation_id = "sessions_list",
    responses((status = 200, body = Vec<UserSession>)))]
pub(super) async fn list(api: Api, Path(login): Path<String>) -> Result<Json<Vec<UserSession>>, Problem> {
    let found = api.actions.sessions_of(&api.viewer, &login, api.session.as_ref())?;
    Ok(Json(found.into_iter().map(UserSession::from).collect()))
}

/// Ends every session of a user but the one that asks.
#[utoipa::path(delete, path = "/api/v1/users/{login}/sessions", tag = "ways in", operation_id = "sessions_end_all",
    responses((status = 200, body = SessionsEnded)))]
pub(super) async fn end_all(api: Api, Path(login): Path<String>) -> Result<Json<SessionsEnded>, Problem> {
    let ended = api.actions.end_sessions(&api.viewer, &login, api.session.as_ref()).await?;
    Ok(Json(SessionsEnded { ended: ended as u64 }))
}

/// Ends one session.
#[utoipa::path(delete, path = "/api/v1/users/{login}/sessions/{id}", tag = "ways in", operation_id = "sessions_end",
    responses((status = 204)))]
pub(super) async fn end(api: Api, Path((login, id)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    api.actions.end_session(&api.viewer, &login, parsed("id", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

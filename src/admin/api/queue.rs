//! `/api/v1/queue`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::shapes::{Queue, QueuedMail};
use super::{Api, Problem, parsed};

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Queue>, Problem> {
    Ok(Json(api.actions.queue(&api.viewer).await?.into()))
}

pub(super) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<QueuedMail>, Problem> {
    let id = parsed("mail id", &id)?;
    Ok(Json(api.actions.queued(&api.viewer, id).await?.into()))
}

pub(super) async fn retry(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.retry_queued(&api.viewer, parsed("mail id", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn discard(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.drop_queued(&api.viewer, parsed("mail id", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

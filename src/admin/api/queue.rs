//! `/api/v1/queue`

use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::messages::not_a_place;
use super::shapes::{Queue, QueuedMail};
use super::{Api, Path, Problem, Query, parsed};
use crate::admin::actions::queue::QUEUE_ROWS_MAX;
use crate::admin::pages::place;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueAsked {
    /// `next` of the page before.
    after: Option<String>,
    /// Rows; 1,000 at most.
    limit: Option<usize>,
}

/// Mail that waits to be delivered, oldest first.
#[utoipa::path(get, path = "/api/v1/queue", tag = "queue", operation_id = "queue_list", params(QueueAsked),
    responses((status = 200, body = Queue)))]
pub(super) async fn list(
    api: Api,
    Query(QueueAsked { after, limit }): Query<QueueAsked>,
) -> Result<Json<Queue>, Problem> {
    let after = after.map(|text| place::read(&text).ok_or_else(|| not_a_place("after", &text))).transpose()?;
    Ok(Json(api.actions.queue(&api.viewer, after, limit.unwrap_or(QUEUE_ROWS_MAX)).await?.into()))
}

/// One mail that waits.
#[utoipa::path(get, path = "/api/v1/queue/{id}", tag = "queue", operation_id = "queue_show",
    responses((status = 200, body = QueuedMail)))]
pub(super) async fn show(api: Api, Path(id): Path<String>) -> Result<Json<QueuedMail>, Problem> {
    let id = parsed("id", &id)?;
    Ok(Json(api.actions.queued(&api.viewer, id).await?.into()))
}

/// Makes it due now.
#[utoipa::path(post, path = "/api/v1/queue/{id}/retry", tag = "queue", operation_id = "queue_retry",
    responses((status = 204)))]
pub(super) async fn retry(api: Api, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.retry_queued(&api.viewer, parsed("id", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends it: whoever does not have it yet will not get it.
#[utoipa::path(delete, path = "/api/v1/queue/{id}", tag = "queue", operation_id = "queue_discard",
    responses((status = 204)))]
pub(super) async fn discard(api: Api, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.drop_queued(&api.viewer, parsed("id", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `/api/v1/activity`

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::shapes::{Activity, ActivityLine};
use super::{Api, Problem, Query};
use crate::admin::actions::activity::ACTIVITY_ROWS_MAX;

/// Rows when the caller names no number.
const ROWS: u32 = 50;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ActivityAsked {
    /// Only newer than this event.
    after: Option<i64>,
    /// Only older than this event.
    before: Option<i64>,
    /// Rows; 50 when not given, 200 at most.
    limit: Option<u32>,
}

/// What happened lately to all mail one may know of, as on the Activity page. Of other people's mail an organisation's admin
/// learns that something was opened, when and whose it was, and nothing more.
#[utoipa::path(get, path = "/api/v1/activity", tag = "events", operation_id = "activity_list",
    params(ActivityAsked), responses((status = 200, body = Activity)))]
pub(super) async fn list(api: Api, Query(asked): Query<ActivityAsked>) -> Result<Json<Activity>, Problem> {
    let limit = asked.limit.unwrap_or(ROWS).clamp(1, ACTIVITY_ROWS_MAX);
    let rows = api.actions.activity(&api.viewer, asked.after, asked.before, limit).await?;
    let before = rows.first().filter(|_| rows.len() >= limit as usize).map(|row| row.sequence);
    Ok(Json(Activity { events: rows.into_iter().map(ActivityLine::from).collect(), before }))
}

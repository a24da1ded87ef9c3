//! `/api/v1/setup`

use axum::Json;

use super::Api;
use super::shapes::SetUp;

/// How to send through this server: the values in force, for the caller, and what to do in each program.
#[utoipa::path(get, path = "/api/v1/setup", tag = "setup", operation_id = "setup_show",
    responses((status = 200, body = SetUp)))]
pub(super) async fn show(api: Api) -> Json<SetUp> {
    Json(SetUp::of(&api.setup, api.actions.set_up(&api.viewer, &api.setup)))
}

//! `/api/v1/keys`

use axum::Json;

use super::shapes::Key;
use super::{Api, Problem};

/// The root keys, without their secrets.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", operation_id = "keys_list",
    responses((status = 200, body = Vec<Key>)))]
pub(super) async fn list(api: Api) -> Result<Json<Vec<Key>>, Problem> {
    Ok(Json(api.actions.list_keys(&api.viewer).await?.into_iter().map(Key::from).collect()))
}

/// Adds a key for new links; old links open for ever.
#[utoipa::path(post, path = "/api/v1/keys/rotate", tag = "keys", operation_id = "keys_rotate",
    responses((status = 200, body = Key)))]
pub(super) async fn rotate(api: Api) -> Result<Json<Key>, Problem> {
    Ok(Json(api.actions.rotate_keys(&api.viewer).await?.into()))
}

//! `/api/v1/keys`

use axum::Json;

use super::shapes::{Key, KeyUse};
use super::{Api, Path, Problem};

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

/// One key, and how much of the mail on record it seals: what would be dead if it were revoked.
#[utoipa::path(get, path = "/api/v1/keys/{id}", tag = "keys", operation_id = "keys_show",
    responses((status = 200, body = KeyUse)))]
pub(super) async fn show(api: Api, Path(id): Path<u8>) -> Result<Json<KeyUse>, Problem> {
    Ok(Json(api.actions.key(&api.viewer, id).await?.into()))
}

/// Revokes a key that is in wrong hands: what it sealed answers 404 from now on, for ever. Never the one that seals new links,
/// and never with an API key.
#[utoipa::path(post, path = "/api/v1/keys/{id}/revoke", tag = "keys", operation_id = "keys_revoke",
    responses((status = 200, body = Key)))]
pub(super) async fn revoke(api: Api, Path(id): Path<u8>) -> Result<Json<Key>, Problem> {
    Ok(Json(api.actions.revoke_key(&api.viewer, id).await?.into()))
}

//! `/api/v1/keys`

use axum::Json;
use axum::extract::State;

use super::shapes::Key;
use super::{Api, Problem};

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Vec<Key>>, Problem> {
    Ok(Json(api.actions.list_keys(&api.viewer).await?.into_iter().map(Key::from).collect()))
}

pub(super) async fn rotate(State(api): State<Api>) -> Result<Json<Key>, Problem> {
    Ok(Json(api.actions.rotate_keys(&api.viewer).await?.into()))
}

//! `/api/v1/health`

use axum::Json;

use super::shapes::Health;
use super::{Api, Problem};

/// Looks at everything now: tracking site, upstream, DNS, certificates, disk, stores. Takes some seconds.
#[utoipa::path(get, path = "/api/v1/health", tag = "health", operation_id = "health_show",
    responses((status = 200, body = Health)))]
pub(super) async fn show(api: Api) -> Result<Json<Health>, Problem> {
    Ok(Json(api.actions.health(&api.viewer).await?.into()))
}

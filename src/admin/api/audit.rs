//! `/api/v1/audit`

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::shapes::{self, AuditLine, AuditLines};
use super::{Api, Problem, Query};
use crate::admin::Refusal;
use crate::store::audit::AuditQuery;

/// Lines when the caller names no number.
const LINES: usize = 50;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditAsked {
    /// Only what is about this organisation.
    org: Option<String>,
    /// `next` of the page before.
    before: Option<u64>,
    /// Lines; 50 when not given.
    limit: Option<usize>,
}

/// Who changed what, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", operation_id = "audit_list",
    params(AuditAsked), responses((status = 200, body = AuditLines)))]
pub(super) async fn list(api: Api, Query(asked): Query<AuditAsked>) -> Result<Json<AuditLines>, Problem> {
    let org = shapes::org_name(asked.org).map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() })?;
    let query = AuditQuery { org, before: asked.before, limit: asked.limit.unwrap_or(LINES) };
    let page = api.actions.audit(&api.viewer, query).await?;
    Ok(Json(AuditLines { lines: page.lines.into_iter().map(AuditLine::from).collect(), next: page.next }))
}

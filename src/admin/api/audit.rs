//! `/api/v1/audit`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::shapes::{self, AuditLine, AuditLines};
use super::{Api, Problem, Query};
use crate::admin::Refusal;
use crate::store::audit::AuditQuery;

/// Lines when the caller names no number.
const LINES: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditAsked {
    org: Option<String>,
    before: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn list(State(api): State<Api>, Query(asked): Query<AuditAsked>) -> Result<Json<AuditLines>, Problem> {
    let org = shapes::org_name(asked.org).map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() })?;
    let query = AuditQuery { org, before: asked.before, limit: asked.limit.unwrap_or(LINES) };
    let page = api.actions.audit(&api.viewer, query).await?;
    Ok(Json(AuditLines { lines: page.lines.into_iter().map(AuditLine::from).collect(), next: page.next }))
}

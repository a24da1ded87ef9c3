//! `/api/v1/why`

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::shapes::Why;
use super::{Api, Problem, Query};
use crate::admin::Refusal;
use crate::admin::actions::why::WhyQuery;
use crate::admin::api::shapes;

/// What is asked.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// A login, or an address mail is sent from.
    from: String,
    /// A recipient's address.
    to: String,
    /// Whose mail it is, for a sender without a login.
    org: Option<String>,
    /// The mail's own `X-Waxseal-*` fields, a line each.
    header: Option<String>,
}

/// What a mail from this sender to this recipient would carry, each level's part in it, and who decided.
#[utoipa::path(get, path = "/api/v1/why", tag = "orgs", operation_id = "why", params(Asked),
    responses((status = 200, body = Why)))]
pub(super) async fn show(api: Api, Query(asked): Query<Asked>) -> Result<Json<Why>, Problem> {
    let Asked { from, to, org, header } = asked;
    let wrong = |_| Refusal::Invalid { field: "org", detail: "that is no name of an organisation".to_owned() };
    let org = shapes::org_name(org).map_err(wrong)?;
    let query = WhyQuery { from, to, org, header: header.unwrap_or_default() };
    Ok(Json(api.actions.why(&api.viewer, &query)?.into()))
}

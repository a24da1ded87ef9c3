//! `/api/v1/session`: who the caller is.

use axum::Json;

use super::shapes::Session;
use super::{Api, Problem};
use crate::admin::Viewer;

/// Who calls, and the token that changes over a session carry.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", operation_id = "session_show",
    responses((status = 200, body = Session)))]
pub(super) async fn show(api: Api) -> Result<Json<Session>, Problem> {
    let (login, org, role, scopes) = match api.viewer {
        Viewer::Operator => (None, None, "operator", None),
        Viewer::Person(person) => (Some(person.login), person.org, person.role.as_str(), person.scopes),
    };
    let scopes = scopes.map(|scopes| scopes.into_iter().map(|scope| scope.as_str().to_owned()).collect());
    let csrf_token = Some(api.csrf_token).filter(|token| !token.is_empty());
    Ok(Json(Session { login, org: org.map(|org| org.as_str().to_owned()), role: role.to_owned(), csrf_token, scopes }))
}

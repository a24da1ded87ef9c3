//! `/api/v1/messages/{id}/links`

use axum::Json;
use axum::response::IntoResponse;

use super::etag::{IfMatch, tagged};
use super::shapes::{Link, LinkPut};
use super::{Api, Body, Path, Problem, parsed};
use crate::admin::Refusal;
use crate::admin::actions::links::{LinkChange, LinkView};
use crate::token::MessageId;

/// Its tracked links and where they lead now.
#[utoipa::path(get, path = "/api/v1/messages/{id}/links", tag = "messages", operation_id = "links_list",
    responses((status = 200, body = Vec<Link>)))]
pub(super) async fn list(api: Api, Path(id): Path<String>) -> Result<Json<Vec<Link>>, Problem> {
    let links = api.actions.links(&api.viewer, parsed("id", &id)?).await?;
    Ok(Json(links.into_iter().map(Link::from).collect()))
}

/// One link and where it leads now; its ETag goes into If-Match of a change.
#[utoipa::path(get, path = "/api/v1/messages/{id}/links/{index}", tag = "messages", operation_id = "links_show",
    responses((status = 200, body = Link, headers(("ETag" = String)))))]
pub(super) async fn show(api: Api, Path((id, index)): Path<(String, String)>) -> Result<impl IntoResponse, Problem> {
    let (id, index) = (parsed::<MessageId>("message id", &id)?, parsed::<u16>("link index", &index)?);
    let found = api.actions.links(&api.viewer, id).await?.into_iter().find(|view| view.link.index == index);
    let found = found.ok_or_else(|| Refusal::NotFound { what: format!("link {index} in message {id}") })?;
    Ok(tagged(Link::from(found)))
}

/// Leads a link elsewhere, or withdraws it. In force at once.
#[utoipa::path(put, path = "/api/v1/messages/{id}/links/{index}", tag = "messages", operation_id = "links_change",
    request_body = LinkPut,
    params(("id" = String, Path), ("index" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag that was read")),
    responses((status = 200, body = Link, headers(("ETag" = String)))))]
pub(super) async fn change(
    api: Api,
    Path((id, index)): Path<(String, String)>,
    if_match: IfMatch,
    Body(put): Body<LinkPut>,
) -> Result<impl IntoResponse, Problem> {
    let change = match put {
        LinkPut { destination: Some(to), withdrawn: false } => LinkChange::To(to),
        LinkPut { destination: None, withdrawn: true } => LinkChange::Withdraw,
        _ => {
            let detail = "either a destination or withdrawn = true; DELETE restores the original".to_owned();
            return Err(Refusal::Invalid { field: "link", detail }.into());
        }
    };
    apply(&api, &id, &index, change, if_match).await
}

/// Leads a link where it led when it was sent.
#[utoipa::path(delete, path = "/api/v1/messages/{id}/links/{index}", tag = "messages", operation_id = "links_restore",
    params(("id" = String, Path), ("index" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag that was read")),
    responses((status = 200, body = Link, headers(("ETag" = String)))))]
pub(super) async fn restore(
    api: Api,
    Path((id, index)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<impl IntoResponse, Problem> {
    apply(&api, &id, &index, LinkChange::Restore, if_match).await
}

async fn apply(
    api: &Api,
    id: &str,
    index: &str,
    change: LinkChange,
    if_match: IfMatch,
) -> Result<impl IntoResponse + use<>, Problem> {
    let (id, index) = (parsed("id", id)?, parsed("link index", index)?);
    let seen = |now: &LinkView| if_match.allows(&Link::from(now.clone()));
    Ok(tagged(Link::from(api.actions.change_link(&api.viewer, id, index, change, seen).await?)))
}

//! `/api/v1/messages/{id}/links`

use axum::Json;

use super::shapes::{Link, LinkPut};
use super::{Api, Body, Path, Problem, parsed};
use crate::admin::Refusal;
use crate::admin::actions::links::LinkChange;

/// Its tracked links and where they lead now.
#[utoipa::path(get, path = "/api/v1/messages/{id}/links", tag = "messages", operation_id = "links_list",
    responses((status = 200, body = Vec<Link>)))]
pub(super) async fn list(api: Api, Path(id): Path<String>) -> Result<Json<Vec<Link>>, Problem> {
    let links = api.actions.links(&api.viewer, parsed("message id", &id)?).await?;
    Ok(Json(links.into_iter().map(Link::from).collect()))
}

/// Leads a link elsewhere, or withdraws it. In force at once.
#[utoipa::path(put, path = "/api/v1/messages/{id}/links/{index}", tag = "messages", operation_id = "links_change",
    request_body = LinkPut, responses((status = 200, body = Link)))]
pub(super) async fn change(
    api: Api,
    Path((id, index)): Path<(String, String)>,
    Body(put): Body<LinkPut>,
) -> Result<Json<Link>, Problem> {
    let change = match put {
        LinkPut { destination: Some(to), withdrawn: false } => LinkChange::To(to),
        LinkPut { destination: None, withdrawn: true } => LinkChange::Withdraw,
        _ => {
            let detail = "either a destination or withdrawn = true; DELETE restores the original".to_owned();
            return Err(Refusal::Invalid { field: "link", detail }.into());
        }
    };
    apply(&api, &id, &index, change).await
}

/// Leads a link where it led when it was sent.
#[utoipa::path(delete, path = "/api/v1/messages/{id}/links/{index}", tag = "messages", operation_id = "links_restore",
    responses((status = 200, body = Link)))]
pub(super) async fn restore(api: Api, Path((id, index)): Path<(String, String)>) -> Result<Json<Link>, Problem> {
    apply(&api, &id, &index, LinkChange::Restore).await
}

async fn apply(api: &Api, id: &str, index: &str, change: LinkChange) -> Result<Json<Link>, Problem> {
    let (id, index) = (parsed("message id", id)?, parsed("link index", index)?);
    Ok(Json(api.actions.change_link(&api.viewer, id, index, change).await?.into()))
}

//! `/api/v1/inbox` and the test mail

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::linked::Linked;
use super::shapes::{self, InboxLine, TestMailPost, TestMailSent};
use super::{Api, Body, Path, Problem, Query};
use crate::admin::Refusal;
use crate::admin::actions::inbox::{INBOX_LIST_MAX, InboxRow};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct InboxAsked {
    /// Only what came before this mail.
    before: Option<String>,
    /// Rows; 50 at most.
    limit: Option<usize>,
}

/// The newest mails of the built-in inbox.
#[utoipa::path(get, path = "/api/v1/inbox", tag = "inbox", operation_id = "inbox_list",
    params(InboxAsked), responses((status = 200, body = Vec<InboxLine>, headers(("Link" = String)))))]
pub(super) async fn list(
    api: Api,
    Query(InboxAsked { before, limit }): Query<InboxAsked>,
) -> Result<Linked<InboxLine>, Problem> {
    let limit = limit.unwrap_or(INBOX_LIST_MAX);
    let (rows, next) = api.actions.inbox_list(&api.viewer, before, limit).await?;
    let next = next.map(|id| vec![("before", id), ("limit", limit.to_string())]);
    Ok(Linked { rows: rows.into_iter().map(InboxLine::from).collect(), next })
}

/// One mail of the inbox.
#[utoipa::path(get, path = "/api/v1/inbox/{id}", tag = "inbox", operation_id = "inbox_show",
    responses((status = 200, body = InboxLine)))]
pub(super) async fn show(api: Api, Path(id): Path<String>) -> Result<Json<InboxLine>, Problem> {
    let mail = api.actions.inbox_mail(&api.viewer, &id).await?;
    Ok(Json(InboxRow { entry: mail.entry, subject: mail.shown.subject }.into()))
}

/// Its octets as received.
#[utoipa::path(get, path = "/api/v1/inbox/{id}/raw", tag = "inbox", operation_id = "inbox_raw",
    responses((status = 200, content_type = "message/rfc822", body = Vec<u8>)))]
pub(super) async fn raw(api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let mail = api.actions.inbox_mail(&api.viewer, &id).await?;
    Ok(([(header::CONTENT_TYPE, "message/rfc822")], mail.raw).into_response())
}

/// Sends a mail of our own through the whole path: as the caller's own mail, or under the settings of an organisation that a
/// server admin names, from nobody's login.
#[utoipa::path(post, path = "/api/v1/test-mail", tag = "test-mail", operation_id = "inbox_test_mail",
    request_body = TestMailPost, responses((status = 200, body = TestMailSent)))]
pub(super) async fn test_mail(api: Api, Body(post): Body<TestMailPost>) -> Result<Json<TestMailSent>, Problem> {
    let org = shapes::org_name(post.org).map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() })?;
    let sent = match org {
        Some(org) => api.actions.send_test_mail(&api.viewer, Some(org), &post.to).await?,
        None => api.actions.send_own_test_mail(&api.viewer, &post.to).await?,
    };
    Ok(Json(TestMailSent { reply: sent.words, message: sent.message.map(|id| id.to_string()) }))
}

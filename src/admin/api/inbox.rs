//! `/api/v1/inbox` and the test mail

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::shapes::{self, InboxLine, TestMailPost, TestMailSent};
use super::{Api, Body, Path, Problem, Query};
use crate::admin::Refusal;
use crate::admin::actions::inbox::{INBOX_LIST_MAX, InboxRow};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct InboxAsked {
    /// Rows; 50 at most.
    limit: Option<usize>,
}

/// The newest mails of the built-in inbox.
#[utoipa::path(get, path = "/api/v1/inbox", tag = "inbox", operation_id = "inbox_list",
    params(InboxAsked), responses((status = 200, body = Vec<InboxLine>)))]
pub(super) async fn list(api: Api, Query(asked): Query<InboxAsked>) -> Result<Json<Vec<InboxLine>>, Problem> {
    let rows = api.actions.inbox_list(&api.viewer, asked.limit.unwrap_or(INBOX_LIST_MAX)).await?;
    Ok(Json(rows.into_iter().map(InboxLine::from).collect()))
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

/// Sends a mail of our own through the whole path.
#[utoipa::path(post, path = "/api/v1/test-mail", tag = "test-mail", operation_id = "inbox_test_mail",
    request_body = TestMailPost, responses((status = 200, body = TestMailSent)))]
pub(super) async fn test_mail(api: Api, Body(post): Body<TestMailPost>) -> Result<Json<TestMailSent>, Problem> {
    let org = shapes::org_name(post.org).map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() })?;
    Ok(Json(TestMailSent { reply: api.actions.send_test_mail(&api.viewer, org, &post.to).await? }))
}

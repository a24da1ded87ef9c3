//! `/api/v1/inbox` and the test mail

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::shapes::{self, InboxLine, TestMailPost, TestMailSent};
use super::{Api, Body, Problem, Query};
use crate::admin::Refusal;
use crate::admin::actions::inbox::{INBOX_LIST_MAX, InboxRow};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InboxAsked {
    limit: Option<usize>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Query(asked): Query<InboxAsked>,
) -> Result<Json<Vec<InboxLine>>, Problem> {
    let rows = api.actions.inbox_list(&api.viewer, asked.limit.unwrap_or(INBOX_LIST_MAX)).await?;
    Ok(Json(rows.into_iter().map(InboxLine::from).collect()))
}

pub(super) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<InboxLine>, Problem> {
    let mail = api.actions.inbox_mail(&api.viewer, &id).await?;
    Ok(Json(InboxRow { entry: mail.entry, subject: mail.shown.subject }.into()))
}

pub(super) async fn raw(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let mail = api.actions.inbox_mail(&api.viewer, &id).await?;
    Ok(([(header::CONTENT_TYPE, "message/rfc822")], mail.raw).into_response())
}

pub(super) async fn test_mail(
    State(api): State<Api>,
    Body(post): Body<TestMailPost>,
) -> Result<Json<TestMailSent>, Problem> {
    let org = shapes::org_name(post.org).map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() })?;
    Ok(Json(TestMailSent { reply: api.actions.send_test_mail(&api.viewer, org, &post.to).await? }))
}

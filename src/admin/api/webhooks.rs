//! `/api/v1/webhooks`

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;

use super::etag::{IfMatch, tagged};
use super::linked::Linked;
use super::shapes::{self, Delivery, Replayed, Webhook, WebhookMade, WebhookPatch, WebhookPost};
use super::{Api, Body, Path, Problem, Query, parsed};
use crate::admin::Refusal;
use crate::admin::actions::webhooks::{DELIVERIES_MAX, NewWebhook, WebhookChange};
use crate::settings::notices::{self, Level, Topic};
use crate::store::outbox::DeliveryStage;

/// Deliveries when the caller names no number.
const ROWS: u32 = 50;

/// The webhooks.
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "webhooks", operation_id = "webhooks_list",
    responses((status = 200, body = Vec<Webhook>)))]
pub(super) async fn list(api: Api) -> Result<Json<Vec<Webhook>>, Problem> {
    let dropped = api.actions.webhooks_dropped().await?;
    let shape = |webhook: notices::Webhook| {
        let of_this = dropped.get(&webhook.id).copied();
        Webhook::of(webhook, of_this.unwrap_or_default())
    };
    Ok(Json(api.actions.webhooks(&api.viewer).into_iter().map(shape).collect()))
}

async fn shaped(api: &Api, webhook: notices::Webhook) -> Result<Webhook, Problem> {
    let dropped = api.actions.webhooks_dropped().await?.get(&webhook.id).copied();
    Ok(Webhook::of(webhook, dropped.unwrap_or_default()))
}

/// One webhook; its ETag goes into If-Match of a change.
#[utoipa::path(get, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "webhooks_show",
    responses((status = 200, body = Webhook, headers(("ETag" = String)))))]
pub(super) async fn show(api: Api, Path(id): Path<String>) -> Result<impl IntoResponse, Problem> {
    let webhook = api.actions.webhook(&api.viewer, parsed("id", &id)?)?;
    Ok(tagged(shaped(&api, webhook).await?))
}

/// Adds a webhook; its secret is shown only here.
#[utoipa::path(post, path = "/api/v1/webhooks", tag = "webhooks", operation_id = "webhooks_add",
    request_body = WebhookPost, responses((status = 201, body = WebhookMade)))]
pub(super) async fn add(api: Api, Body(post): Body<WebhookPost>) -> Result<(StatusCode, Json<WebhookMade>), Problem> {
    let org =
        shapes::org_name(post.org).map_err(|_| invalid("org", "that is no name of an organisation".to_owned()))?;
    let new = NewWebhook {
        org,
        login: post.login,
        url: post.url,
        topics: post.topics.map_or(Ok(Topic::ALL.to_vec()), topics)?,
        level: post.level.map_or(Ok(Level::default()), |text| level(&text))?,
        words: post.words,
    };
    let (webhook, secret) = api.actions.add_webhook(&api.viewer, new).await?;
    Ok((StatusCode::CREATED, Json(WebhookMade { webhook: shaped(&api, webhook).await?, secret: secret.reveal() })))
}

/// Changes a webhook; what is not there stays.
#[utoipa::path(patch, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "webhooks_change",
    request_body = WebhookPatch,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag that was read")),
    responses((status = 200, body = Webhook, headers(("ETag" = String)))))]
pub(super) async fn change(
    api: Api,
    Path(id): Path<String>,
    if_match: IfMatch,
    Body(patch): Body<WebhookPatch>,
) -> Result<impl IntoResponse, Problem> {
    let WebhookPatch { url, topics: named, level: wanted, paused } = patch;
    let change = WebhookChange {
        url,
        topics: named.map(topics).transpose()?,
        level: wanted.map(|text| level(&text)).transpose()?,
        paused,
    };
    let id = parsed("id", &id)?;
    let dropped = api.actions.webhooks_dropped().await?.get(&id).copied().unwrap_or_default();
    let seen = |now: &notices::Webhook| if_match.allows(&Webhook::of(now.clone(), dropped));
    let changed = api.actions.change_webhook(&api.viewer, id, change, seen).await?;
    Ok(tagged(Webhook::of(changed, dropped)))
}

/// Removes a webhook.
#[utoipa::path(delete, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "webhooks_remove",
    responses((status = 204)))]
pub(super) async fn remove(api: Api, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.remove_webhook(&api.viewer, parsed("id", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test; how it went is among the deliveries.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/test", tag = "webhooks", operation_id = "webhooks_test",
    responses((status = 202)))]
pub(super) async fn test(api: Api, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.test_webhook(&api.viewer, parsed("id", &id)?).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveriesAsked {
    /// `waiting`, `delivered` or `failed`.
    state: Option<String>,
    /// Only older than this delivery.
    before: Option<i64>,
    /// Rows; 50 when not given, 100 at most.
    limit: Option<u32>,
}

/// What was told it, newest first.
#[utoipa::path(get, path = "/api/v1/webhooks/{id}/deliveries", tag = "webhooks", operation_id = "webhooks_deliveries",
    params(("id" = String, Path), DeliveriesAsked),
    responses((status = 200, body = Vec<Delivery>, headers(("Link" = String)))))]
pub(super) async fn deliveries(
    api: Api,
    Path(id): Path<String>,
    Query(asked): Query<DeliveriesAsked>,
) -> Result<Linked<Delivery>, Problem> {
    let wrong = |text: &str| invalid("state", format!("{text:?} is none of waiting, delivered, failed"));
    let stage = asked.state.as_deref().map(|text| DeliveryStage::parse(text).ok_or_else(|| wrong(text))).transpose()?;
    let (id, limit) = (parsed("id", &id)?, asked.limit.unwrap_or(ROWS));
    let limit = limit.clamp(1, DELIVERIES_MAX);
    let found = api.actions.webhook_deliveries(&api.viewer, id, stage, asked.before, limit).await?;
    let oldest = found.last().filter(|_| found.len() >= limit as usize).map(|delivery| delivery.id.to_string());
    let next = oldest.map(|id| {
        let state = asked.state.map(|state| ("state", state));
        [("before", id), ("limit", limit.to_string())].into_iter().chain(state).collect()
    });
    Ok(Linked { rows: found.into_iter().map(Delivery::from).collect(), next })
}

/// Tries one delivery again.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/deliveries/{delivery}/replay", tag = "webhooks", operation_id = "webhooks_replay_one",
    responses((status = 200, body = Replayed)))]
pub(super) async fn replay_one(api: Api, Path((id, delivery)): Path<(String, i64)>) -> Result<Json<Replayed>, Problem> {
    let replayed = api.actions.replay_webhook(&api.viewer, parsed("id", &id)?, Some(delivery)).await?;
    Ok(Json(Replayed { replayed }))
}

/// Tries all that failed again.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/replay", tag = "webhooks", operation_id = "webhooks_replay_failed",
    responses((status = 200, body = Replayed)))]
pub(super) async fn replay_failed(api: Api, Path(id): Path<String>) -> Result<Json<Replayed>, Problem> {
    let replayed = api.actions.replay_webhook(&api.viewer, parsed("id", &id)?, None).await?;
    Ok(Json(Replayed { replayed }))
}

fn topics(names: Vec<String>) -> Result<Vec<Topic>, Problem> {
    let none = |name: &str| format!("{name:?} is none of message.opened, message.clicked, message.bounced");
    names.iter().map(|name| Topic::parse(name).ok_or_else(|| invalid("topics", none(name)))).collect()
}

fn level(text: &str) -> Result<Level, Problem> {
    Level::parse(text).ok_or_else(|| invalid("level", format!("{text:?} is none of first, every, none")))
}

fn invalid(field: &'static str, detail: String) -> Problem {
    Refusal::Invalid { field, detail }.into()
}

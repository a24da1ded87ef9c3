//! `/api/v1/webhooks`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::shapes::{self, Delivery, Replayed, Webhook, WebhookMade, WebhookPatch, WebhookPost};
use super::{Api, Body, Problem, Query, parsed};
use crate::admin::Refusal;
use crate::admin::actions::webhooks::{NewWebhook, WebhookChange};
use crate::settings::notices::{Level, Topic};
use crate::store::outbox::DeliveryStage;

/// Deliveries when the caller names no number.
const ROWS: u32 = 50;

pub(super) async fn list(State(api): State<Api>) -> Json<Vec<Webhook>> {
    Json(api.actions.webhooks(&api.viewer).into_iter().map(Webhook::from).collect())
}

pub(super) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Webhook>, Problem> {
    Ok(Json(api.actions.webhook(&api.viewer, parsed("webhook id", &id)?)?.into()))
}

pub(super) async fn add(
    State(api): State<Api>,
    Body(post): Body<WebhookPost>,
) -> Result<(StatusCode, Json<WebhookMade>), Problem> {
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
    Ok((StatusCode::CREATED, Json(WebhookMade { webhook: webhook.into(), secret: secret.reveal() })))
}

pub(super) async fn change(
    State(api): State<Api>,
    Path(id): Path<String>,
    Body(patch): Body<WebhookPatch>,
) -> Result<Json<Webhook>, Problem> {
    let WebhookPatch { url, topics: named, level: wanted, paused } = patch;
    let change = WebhookChange {
        url,
        topics: named.map(topics).transpose()?,
        level: wanted.map(|text| level(&text)).transpose()?,
        paused,
    };
    Ok(Json(api.actions.change_webhook(&api.viewer, parsed("webhook id", &id)?, change).await?.into()))
}

pub(super) async fn remove(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.remove_webhook(&api.viewer, parsed("webhook id", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn test(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.test_webhook(&api.viewer, parsed("webhook id", &id)?).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveriesAsked {
    state: Option<String>,
    before: Option<i64>,
    limit: Option<u32>,
}

pub(super) async fn deliveries(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(asked): Query<DeliveriesAsked>,
) -> Result<Json<Vec<Delivery>>, Problem> {
    let wrong = |text: &str| invalid("state", format!("{text:?} is none of waiting, delivered, failed"));
    let stage = asked.state.as_deref().map(|text| DeliveryStage::parse(text).ok_or_else(|| wrong(text))).transpose()?;
    let (id, limit) = (parsed("webhook id", &id)?, asked.limit.unwrap_or(ROWS));
    let found = api.actions.webhook_deliveries(&api.viewer, id, stage, asked.before, limit).await?;
    Ok(Json(found.into_iter().map(Delivery::from).collect()))
}

pub(super) async fn replay_one(
    State(api): State<Api>,
    Path((id, delivery)): Path<(String, i64)>,
) -> Result<Json<Replayed>, Problem> {
    let replayed = api.actions.replay_webhook(&api.viewer, parsed("webhook id", &id)?, Some(delivery)).await?;
    Ok(Json(Replayed { replayed }))
}

pub(super) async fn replay_failed(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Replayed>, Problem> {
    let replayed = api.actions.replay_webhook(&api.viewer, parsed("webhook id", &id)?, None).await?;
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

//! `/webhooks/{id}`: one webhook, what was told it, and what can be done about what was not.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::notices;
use super::query::Query;
use super::words::{self, Moment};
use super::{Frame, Notice, error::PageError, form, html_with};
use crate::admin::actions::webhooks::{DELIVERIES_MAX, WebhookChange};
use crate::admin::api::tags;
use crate::admin::visitor::{Fields, Posted, Visitor};
use crate::admin::{Refusal, Site};
use crate::settings::notices::{Level, Topic, Webhook, WebhookId};
use crate::store::outbox::{DeliveryStage, WebhookDelivery};

/// A line of the list.
pub(super) struct WebhookRow {
    pub(super) href: String,
    pub(super) url: String,
    pub(super) whose: String,
    pub(super) topics: String,
    pub(super) paused: bool,
    /// Events that found no room.
    pub(super) dropped: u64,
}

/// What a form said, to be shown again.
pub(super) struct Typed {
    pub(super) url: String,
    pub(super) topics: Vec<Topic>,
    pub(super) level: Level,
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct WebhookPage {
    frame: Frame,
    seen: String,
    id: String,
    row: WebhookRow,
    level: &'static str,
    words: bool,
    made: Moment,
    typed: Typed,
    deliveries: Vec<DeliveryRow>,
    /// The delivery the page before this one ends at.
    older: Option<i64>,
    first_page: bool,
    failed: bool,
    /// Events that found no room, and when the last did not.
    dropped: Option<(u64, Moment)>,
}

struct DeliveryRow {
    id: i64,
    topic: String,
    message_id: String,
    state: &'static str,
    state_words: &'static str,
    attempts: u32,
    answer: String,
    made: Moment,
    next: String,
    body: String,
    replayable: bool,
}

impl Default for Typed {
    fn default() -> Typed {
        Typed { url: String::new(), topics: Topic::ALL.to_vec(), level: Level::default() }
    }
}

impl Typed {
    /// Reads a form.
    pub(super) fn of(fields: &Fields) -> Result<Typed, PageError> {
        let names = [("opened", Topic::Opened), ("clicked", Topic::Clicked), ("bounced", Topic::Bounced)];
        let topics = names.into_iter().filter(|(name, _)| fields.text(name) == "on").map(|(_, topic)| topic).collect();
        let level = match fields.text("all_opens") {
            "on" => Level::Every,
            _ => Level::First,
        };
        Ok(Typed { url: fields.text("url").trim().to_owned(), topics, level })
    }

    /// For the template.
    pub(super) fn has(&self, name: &str) -> bool {
        Topic::parse(name).is_some_and(|topic| self.topics.contains(&topic))
    }

    /// For the template.
    pub(super) fn every(&self) -> bool {
        self.level == Level::Every
    }
}

/// A line of the list.
pub(super) fn row(webhook: Webhook, dropped: u64) -> WebhookRow {
    let whose = match &webhook.login {
        Some(login) => format!("mail of {} ({})", words::one_line(login), webhook.org),
        None if webhook.words => format!("everybody's mail of {}, with names", webhook.org),
        None => format!("everybody's mail of {}, without names", webhook.org),
    };
    let topic = |topic: &Topic| match topic {
        Topic::Opened => "opens",
        Topic::Clicked => "clicks",
        Topic::Bounced => "bounces",
    };
    WebhookRow {
        href: format!("/webhooks/{}", webhook.id),
        topics: webhook.topics.iter().map(topic).collect::<Vec<_>>().join(", "),
        paused: webhook.paused,
        dropped,
        whose,
        url: webhook.url,
    }
}

/// What the page's address may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
    /// Only deliveries older than this one.
    before: Option<i64>,
}

/// `GET /webhooks/{id}`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(Asked { done, before }): Query<Asked>,
) -> Result<Response, PageError> {
    show(&site, &visitor, parse_id(&id)?, before, StatusCode::OK, Notice::done(done.as_deref())).await
}

/// `POST /webhooks/{id}`: what it is told, and where; or one of the buttons.
pub(super) async fn change(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let id = parse_id(&id)?;
    let (actions, viewer) = (&site.actions, &visitor.viewer);
    let paused = |paused| WebhookChange { paused: Some(paused), ..WebhookChange::default() };
    let done = match fields.text("do") {
        "save" => {
            let Typed { url, topics, level } = Typed::of(&fields)?;
            let change = WebhookChange { url: Some(url), topics: Some(topics), level: Some(level), paused: None };
            let seen = fields.seen();
            let unchanged = |now: &Webhook| seen.is(&tags::webhook(now));
            actions.change_webhook(viewer, id, change, unchanged).await.map(|_| "webhook")
        }
        "pause" => actions.change_webhook(viewer, id, paused(true), |_| true).await.map(|_| "webhook"),
        "resume" => actions.change_webhook(viewer, id, paused(false), |_| true).await.map(|_| "webhook"),
        "test" => actions.test_webhook(viewer, id).await.map(|()| "tested"),
        "replay" => actions.replay_webhook(viewer, id, None).await.map(|_| "replayed"),
        "remove" => match actions.remove_webhook(viewer, id).await {
            Ok(()) => return Ok(Redirect::to("/notices?done=unhooked").into_response()),
            Err(refusal) => Err(refusal),
        },
        _ => return Err(PageError::BadForm(StatusCode::BAD_REQUEST)),
    };
    after(&site, &visitor, id, &fields, done).await
}

/// `POST /webhooks/{id}/deliveries/{delivery}`: again.
pub(super) async fn replay(
    State(site): State<Arc<Site>>,
    Path((id, delivery)): Path<(String, i64)>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let id = parse_id(&id)?;
    let done = site.actions.replay_webhook(&visitor.viewer, id, Some(delivery)).await.map(|_| "replayed");
    after(&site, &visitor, id, &fields, done).await
}

async fn after(
    site: &Site,
    visitor: &Visitor,
    id: WebhookId,
    fields: &Fields,
    done: Result<&'static str, Refusal>,
) -> Result<Response, PageError> {
    match done {
        Ok(code) => Ok(Redirect::to(&format!("/webhooks/{id}?done={code}")).into_response()),
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, fields)?;
            show(site, visitor, id, None, status, notice).await
        }
    }
}

async fn show(
    site: &Site,
    visitor: &Visitor,
    id: WebhookId,
    before: Option<i64>,
    status: StatusCode,
    notice: Option<Notice>,
) -> Result<Response, PageError> {
    let webhook = site.actions.webhook(&visitor.viewer, id)?;
    let deliveries = site.actions.webhook_deliveries(&visitor.viewer, id, None, before, DELIVERIES_MAX).await?;
    let dropped = site.actions.webhooks_dropped().await?.get(&id).copied();
    let now_ms = Timestamp::now().as_millisecond();
    let page = WebhookPage {
        frame: Frame::of(site, visitor, "Webhook", "/notices").with(notice),
        seen: tags::webhook(&webhook),
        id: id.to_string(),
        level: notices::words(webhook.level),
        words: webhook.words,
        made: words::moment(webhook.created_at_ms),
        typed: Typed { url: webhook.url.clone(), topics: webhook.topics.clone(), level: webhook.level },
        older: deliveries.last().filter(|_| deliveries.len() >= DELIVERIES_MAX as usize).map(|delivery| delivery.id),
        first_page: before.is_none(),
        dropped: dropped.map(|dropped| (dropped.count, words::moment(dropped.last_ms))),
        failed: deliveries.iter().any(|delivery| delivery.stage == DeliveryStage::Failed),
        deliveries: deliveries.into_iter().map(|delivery| delivery_row(delivery, now_ms)).collect(),
        row: row(webhook, dropped.map_or(0, |dropped| dropped.count)),
    };
    Ok(html_with(status, &page))
}

fn delivery_row(delivery: WebhookDelivery, now_ms: i64) -> DeliveryRow {
    let (state, state_words) = match delivery.stage {
        DeliveryStage::Waiting => ("waiting", "waiting"),
        DeliveryStage::Delivered => ("accepted", "delivered"),
        DeliveryStage::Failed => ("refused", "failed"),
    };
    let waits = delivery.stage == DeliveryStage::Waiting;
    let next = match (waits, delivery.next_try_ms.saturating_sub(now_ms)) {
        (false, _) => String::new(),
        (true, ..=0) => "now".to_owned(),
        (true, wait_ms) => format!("in {}", words::span(wait_ms)),
    };
    DeliveryRow {
        id: delivery.id,
        topic: delivery.topic,
        message_id: delivery.message_id,
        state,
        state_words,
        attempts: delivery.attempts,
        answer: words::one_line(&delivery.answer),
        made: words::moment(delivery.created_at_ms),
        next,
        body: delivery.body,
        replayable: !waits,
    }
}

fn parse_id(text: &str) -> Result<WebhookId, Refusal> {
    text.parse().map_err(|_| Refusal::NotFound { what: "such webhook".to_owned() })
}

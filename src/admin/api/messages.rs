//! `/api/v1/messages` and `/api/v1/events`

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;

use super::shapes::{self, Event, Events, Message, MessageLine, Messages};
use super::{Api, EVENT_WAIT_MAX, Problem, Query, parsed};
use crate::admin::Refusal;
use crate::admin::actions::messages::{EVENTS_PER_ANSWER_MAX, EventQuery, MessageQuery};
use crate::admin::pages::place;

/// Rows when the caller names no number.
const ROWS: u32 = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessagesAsked {
    org: Option<String>,
    login: Option<String>,
    before: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Query(asked): Query<MessagesAsked>,
) -> Result<Json<Messages>, Problem> {
    let before = match asked.before.as_deref() {
        None => None,
        Some(text) => Some(place::read(text).ok_or_else(|| not_a_place(text))?),
    };
    let query =
        MessageQuery { org: org_asked(asked.org)?, login: asked.login, before, limit: asked.limit.unwrap_or(ROWS) };
    let page = api.actions.messages(&api.viewer, query).await?;
    let messages = page.rows.into_iter().map(MessageLine::from).collect();
    Ok(Json(Messages { messages, next: page.next.map(place::print) }))
}

pub(super) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Message>, Problem> {
    let id = parsed("message id", &id)?;
    Ok(Json(api.actions.message(&api.viewer, id).await?.into()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsAsked {
    message: Option<String>,
    org: Option<String>,
    login: Option<String>,
    /// Only after this one; without it the newest.
    after: Option<i64>,
    limit: Option<u32>,
    /// Waits so long for the first event.
    #[serde(default)]
    wait_secs: u64,
}

pub(super) async fn events(State(api): State<Api>, Query(asked): Query<EventsAsked>) -> Result<Json<Events>, Problem> {
    let query = EventQuery {
        message: asked.message.as_deref().map(|id| parsed("message", id)).transpose()?,
        org: org_asked(asked.org)?,
        login: asked.login,
        after_sequence: asked.after,
        limit: asked.limit.unwrap_or(EVENTS_PER_ANSWER_MAX),
    };
    let wait = Duration::from_secs(asked.wait_secs).min(EVENT_WAIT_MAX);
    let found = api.actions.next_events(&api.viewer, query, wait).await?;
    let after = found.last().map_or(asked.after.unwrap_or(0), |entry| entry.sequence);
    Ok(Json(Events { events: found.into_iter().map(Event::from).collect(), after }))
}

pub(super) fn org_asked(text: Option<String>) -> Result<Option<crate::settings::OrgName>, Problem> {
    shapes::org_name(text).map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() }.into())
}

fn not_a_place(text: &str) -> Problem {
    let field = "before";
    Refusal::Invalid { field, detail: format!("{text:?} is not what `next` of a page said") }.into()
}

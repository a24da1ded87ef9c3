//! `/api/v1/messages` and `/api/v1/events`

use std::time::Duration;

use axum::Json;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::shapes::{self, Event, Events, Message, MessageLine, Messages, Reader, ReaderMails, Readers};
use super::{Api, Body, EVENT_WAIT_MAX, Path, Problem, Query, parsed};
use crate::admin::Refusal;
use crate::admin::actions::messages::{EVENTS_PER_ANSWER_MAX, EventQuery, MessageQuery};
use crate::admin::actions::readers::ReaderQuery;
use crate::admin::pages::place;
use crate::admin::search::Search;

/// Rows when the caller names no number.
const ROWS: u32 = 50;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct MessagesAsked {
    /// Only this organisation's.
    org: Option<String>,
    /// Only this login's.
    login: Option<String>,
    /// `next` of the page before.
    before: Option<String>,
    /// `previous` of the page after.
    after: Option<String>,
    /// Rows; 50 when not given, 500 at most.
    limit: Option<u32>,
    /// Part of a recipient's address.
    #[serde(default)]
    recipient: String,
    /// Part of the subject.
    #[serde(default)]
    subject: String,
    /// Part of the sender's address.
    #[serde(default)]
    sender: String,
    /// First day, as 2026-11-23.
    #[serde(default)]
    from: String,
    /// Last day.
    #[serde(default)]
    until: String,
    /// How delivery stands.
    #[serde(default)]
    delivery: String,
    /// What readers did.
    #[serde(default)]
    readers: String,
}

/// Mail that was sent, newest first.
#[utoipa::path(get, path = "/api/v1/messages", tag = "messages", operation_id = "messages_list",
    params(MessagesAsked), responses((status = 200, body = Messages)))]
pub(super) async fn list(api: Api, Query(asked): Query<MessagesAsked>) -> Result<Json<Messages>, Problem> {
    let place = |field, text: Option<&str>| match text {
        None => Ok(None),
        Some(text) => place::read(text).map(Some).ok_or_else(|| not_a_place(field, text)),
    };
    let (before, after) = (place("before", asked.before.as_deref())?, place("after", asked.after.as_deref())?);
    let MessagesAsked { org, login, limit, recipient, subject, sender, from, until, delivery, readers, .. } = asked;
    let wanted = Search { recipient, subject, sender, from, until, delivery, readers }.wanted()?;
    let query = MessageQuery { org: org_asked(org)?, login, before, after, wanted, limit: limit.unwrap_or(ROWS) };
    let page = api.actions.messages(&api.viewer, query).await?;
    let messages = page.rows.into_iter().map(MessageLine::from).collect();
    Ok(Json(Messages { messages, next: page.next.map(place::print), previous: page.previous.map(place::print) }))
}

/// One mail with its recipients, links and events.
#[utoipa::path(get, path = "/api/v1/messages/{id}", tag = "messages", operation_id = "messages_show",
    responses((status = 200, body = Message)))]
pub(super) async fn show(api: Api, Path(id): Path<String>) -> Result<Json<Message>, Problem> {
    let id = parsed("id", &id)?;
    Ok(Json(api.actions.message(&api.viewer, id).await?.into()))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsAsked {
    /// Only this mail's: 16 hex digits.
    message: Option<String>,
    /// Only this organisation's.
    org: Option<String>,
    /// Only this login's.
    login: Option<String>,
    /// Only after this one, and without what is counted by the day; without it the newest.
    after: Option<i64>,
    /// Only before this one, the newest of them: `before` of the answer before.
    before: Option<i64>,
    /// Rows; 1,000 at most.
    limit: Option<u32>,
    /// Waits so long for the first event; 25 at most.
    #[serde(default)]
    wait_secs: u64,
}

/// Opens and clicks in the order they were recorded.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", operation_id = "messages_events",
    params(EventsAsked), responses((status = 200, body = Events)))]
pub(super) async fn events(api: Api, Query(asked): Query<EventsAsked>) -> Result<Json<Events>, Problem> {
    let limit = asked.limit.unwrap_or(EVENTS_PER_ANSWER_MAX);
    let query = EventQuery {
        message: asked.message.as_deref().map(|id| parsed("message", id)).transpose()?,
        org: org_asked(asked.org)?,
        login: asked.login,
        after_sequence: asked.after,
        before_sequence: asked.before,
        limit,
    };
    let wait = Duration::from_secs(asked.wait_secs).min(EVENT_WAIT_MAX);
    let found = api.actions.next_events(&api.viewer, query, wait).await?;
    let after = found.last().map_or(asked.after.unwrap_or(0), |entry| entry.sequence);
    let full = found.len() >= limit.clamp(1, EVENTS_PER_ANSWER_MAX) as usize;
    let before = found.first().filter(|_| asked.after.is_none() && full).map(|entry| entry.sequence);
    Ok(Json(Events { events: found.into_iter().map(Event::from).collect(), after, before }))
}

pub(super) fn org_asked(text: Option<String>) -> Result<Option<crate::settings::OrgName>, Problem> {
    shapes::org_name(text).map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() }.into())
}

pub(super) fn not_a_place(field: &'static str, text: &str) -> Problem {
    Refusal::Invalid { field, detail: format!("{text:?} is not what `next` of a page said") }.into()
}

/// Whether an event was the sender's own.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnPut {
    /// True: it was me; false: it was not.
    own: bool,
}

/// Says that an event was the sender's own, or takes it back.
#[utoipa::path(put, path = "/api/v1/messages/{id}/events/{sequence}", tag = "events", operation_id = "messages_say_own",
    request_body = OwnPut, responses((status = 200, body = Message)))]
pub(super) async fn say_own(
    api: Api,
    Path((id, sequence)): Path<(String, i64)>,
    Body(OwnPut { own }): Body<OwnPut>,
) -> Result<Json<Message>, Problem> {
    let id = parsed("id", &id)?;
    api.actions.say_own(&api.viewer, id, sequence, own).await?;
    Ok(Json(api.actions.message(&api.viewer, id).await?.into()))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadersAsked {
    /// Only this organisation's.
    org: Option<String>,
    /// Only this login's.
    login: Option<String>,
    /// Part of the address.
    address: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Rows; 50 when not given.
    limit: Option<u32>,
}

/// Whom mail was sent to, by address.
#[utoipa::path(get, path = "/api/v1/readers", tag = "people", operation_id = "readers_list",
    params(ReadersAsked), responses((status = 200, body = Readers)))]
pub(super) async fn readers(api: Api, Query(asked): Query<ReadersAsked>) -> Result<Json<Readers>, Problem> {
    let ReadersAsked { org, login, address, after, limit } = asked;
    let query = ReaderQuery { org: org_asked(org)?, login, holding: address, after, limit: limit.unwrap_or(ROWS) };
    let page = api.actions.readers(&api.viewer, query).await?;
    Ok(Json(Readers { readers: page.rows.into_iter().map(Reader::from).collect(), next: page.next }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ReaderAsked {
    /// `next` of the page before.
    before: Option<String>,
}

/// One of them: their mails, what they did with each, and from where.
#[utoipa::path(get, path = "/api/v1/readers/{address}", tag = "people", operation_id = "readers_show",
    params(("address" = String, Path), ReaderAsked), responses((status = 200, body = ReaderMails)))]
pub(super) async fn reader(
    api: Api,
    Path(address): Path<String>,
    Query(ReaderAsked { before }): Query<ReaderAsked>,
) -> Result<Json<ReaderMails>, Problem> {
    let before = before.map(|text| place::read(&text).ok_or_else(|| not_a_place("before", &text))).transpose()?;
    Ok(Json(api.actions.reader(&api.viewer, &address, before).await?.into()))
}

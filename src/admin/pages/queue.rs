//! `/queue`: the mails that wait, why, and the two things that can be done with one.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::query::Query;
use super::words::{self, Moment};
use super::{Frame, Notice, error::PageError, html, place};
use crate::admin::actions::queue::{QueuePage, QueueView};
use crate::admin::ports::{QueueEntry, QueueHealth, QueueRecipient, QueueStage};
use crate::admin::visitor::{Posted, Visitor};
use crate::admin::{Refusal, Site};
use crate::token::MessageId;

/// Rows of one page: who waits longest tells why.
const ROWS: usize = 50;
/// Addresses named on a line of the list.
const ADDRESSES_MAX: usize = 2;

#[derive(Template)]
#[template(path = "queue.html")]
struct Queue {
    frame: Frame,
    rows: Vec<Row>,
    /// Address of the page after this one.
    next: Option<String>,
    first_page: bool,
    cut: bool,
    health: Option<Health>,
}

struct Health {
    corrupt: usize,
    free: String,
    short_of_room: bool,
    upstream_down: bool,
}

struct Row {
    href: String,
    what: String,
    whole: bool,
    by: String,
    stages: Vec<Tag>,
    since: Moment,
    age: String,
    attempts: u32,
    next: Next,
    reply: String,
}

struct Tag {
    style: &'static str,
    words: String,
}

/// When it is tried next; `None` when that is not up to the clock.
struct Next {
    at: Option<Moment>,
    words: String,
}

#[derive(Template)]
#[template(path = "queued.html")]
struct Queued {
    frame: Frame,
    mail: Card,
    recipients: Vec<RecipientLine>,
    uncertain: bool,
    has_page: bool,
}

#[derive(Template)]
#[template(path = "queue_drop.html")]
struct Drop {
    frame: Frame,
    mail: Card,
    waiting: Vec<String>,
}

/// What both pages about one mail say of it.
struct Card {
    id: String,
    what: String,
    whole: bool,
    login: String,
    org: String,
    size: String,
    since: Moment,
    age: String,
}

struct RecipientLine {
    address: String,
    tag: Tag,
    attempts: String,
    next: Next,
    reply: String,
}

/// What the list's address may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
    /// Only after this row.
    after: Option<String>,
}

/// `GET /queue`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(Asked { done, after }): Query<Asked>,
) -> Result<Response, PageError> {
    let after = after.as_deref().and_then(place::read);
    let QueuePage { mails, cut, next, health } = site.actions.queue(&visitor.viewer, after, ROWS).await?;
    let now_ms = Timestamp::now().as_millisecond();
    Ok(html(&Queue {
        frame: Frame::of(&site, &visitor, "Queue", "/queue").with(Notice::done(done.as_deref())),
        next: next.map(|at| format!("/queue?after={}", place::print(at))),
        first_page: after.is_none(),
        rows: mails.iter().map(|view| row(view, now_ms)).collect(),
        cut,
        health: health.map(shown),
    }))
}

/// `GET /queue/{id}`
pub(super) async fn mail(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let view = site.actions.queued(&visitor.viewer, parse_id(&id)?).await?;
    let has_page = view.whole && site.actions.message(&visitor.viewer, view.entry.id).await.is_ok();
    let now_ms = Timestamp::now().as_millisecond();
    let mail = card(&view, now_ms);
    Ok(html(&Queued {
        frame: Frame::of(&site, &visitor, mail.what.clone(), "/queue"),
        mail,
        recipients: view.entry.recipients.iter().map(|recipient| line(recipient, view.whole, now_ms)).collect(),
        uncertain: view.entry.recipients.iter().any(|r| r.stage == QueueStage::Unknown),
        has_page,
    }))
}

/// `POST /queue/{id}/retry`
pub(super) async fn retry(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    Posted { visitor, .. }: Posted,
) -> Result<Response, PageError> {
    site.actions.retry_queued(&visitor.viewer, parse_id(&id)?).await?;
    Ok(Redirect::to("/queue?done=retry").into_response())
}

/// `POST /queue/retry`: all of them.
pub(super) async fn retry_all(
    State(site): State<Arc<Site>>,
    Posted { visitor, .. }: Posted,
) -> Result<Response, PageError> {
    site.actions.retry_all(&visitor.viewer).await?;
    Ok(Redirect::to("/queue?done=retry-all").into_response())
}

/// `GET /queue/{id}/drop`: is that meant?
pub(super) async fn ask(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let view = site.actions.droppable(&visitor.viewer, parse_id(&id)?).await?;
    let waits = |r: &&QueueRecipient| r.next_try_ms.is_some();
    let named = |r: &QueueRecipient| match r.stage {
        QueueStage::Unknown => format!("{} (who perhaps has it already)", words::one_line(&r.address)),
        _ => words::one_line(&r.address),
    };
    let waiting = view.entry.recipients.iter().filter(waits).map(named).collect();
    let frame = Frame::of(&site, &visitor, "Drop a mail", "/queue");
    Ok(html(&Drop { frame, mail: card(&view, Timestamp::now().as_millisecond()), waiting }))
}

/// `POST /queue/{id}/drop`
pub(super) async fn discard(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    Posted { visitor, .. }: Posted,
) -> Result<Response, PageError> {
    site.actions.drop_queued(&visitor.viewer, parse_id(&id)?).await?;
    Ok(Redirect::to("/queue?done=dropped").into_response())
}

fn parse_id(text: &str) -> Result<MessageId, Refusal> {
    text.parse().map_err(|_| Refusal::NotFound { what: "such mail in the queue".to_owned() })
}

fn shown(health: QueueHealth) -> Health {
    let QueueHealth { corrupt, free_bytes, short_of_room, upstream_down, .. } = health;
    Health { corrupt, free: words::size(free_bytes), short_of_room, upstream_down }
}

fn row(view: &QueueView, now_ms: i64) -> Row {
    let Card { id, what, whole, login, since, age, .. } = card(view, now_ms);
    let tag = |(stage, count)| {
        let name = words::stage(stage);
        let words = if view.entry.recipients.len() == 1 { name.to_owned() } else { format!("{count} {name}") };
        Tag { style: words::stage_style(stage), words }
    };
    Row {
        href: format!("/queue/{id}"),
        by: if whole { format!("{} · {login}", addressees(&view.entry)) } else { login },
        what,
        whole,
        stages: view.stages().into_iter().map(tag).collect(),
        since,
        age,
        attempts: view.attempts(),
        next: next(view.next_try_ms(), now_ms),
        reply: latest(&view.entry).map(reply).unwrap_or_default(),
    }
}

fn card(view: &QueueView, now_ms: i64) -> Card {
    let entry = &view.entry;
    let what = match (view.whole, entry.own_report, entry.from.as_str()) {
        (_, true, _) => "A report to a sender".to_owned(),
        (false, ..) => "Mail of another sender".to_owned(),
        (true, _, "") => "Mail without a return address".to_owned(),
        (true, _, from) => format!("From {}", words::one_line(from)),
    };
    Card {
        id: entry.id.to_string(),
        what,
        whole: view.whole,
        login: match (&entry.login, entry.own_report) {
            (Some(login), _) => words::one_line(login),
            (None, true) => "waxseal itself".to_owned(),
            (None, false) => "a trusted network".to_owned(),
        },
        org: entry.org.as_ref().map(|org| org.as_str().to_owned()).unwrap_or_default(),
        size: words::size(entry.size_bytes),
        since: words::moment(entry.accepted_at_ms),
        age: words::span(now_ms.saturating_sub(entry.accepted_at_ms)),
    }
}

/// `to b@ok.test, c@ok.test and 3 more`
fn addressees(entry: &QueueEntry) -> String {
    let named: Vec<String> =
        entry.recipients.iter().take(ADDRESSES_MAX).map(|recipient| words::one_line(&recipient.address)).collect();
    let rest = entry.recipients.len().saturating_sub(ADDRESSES_MAX);
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("to {}{rest}", named.join(", "))
}

/// Whoever was tried most has the words that matter.
fn latest(entry: &QueueEntry) -> Option<&QueueRecipient> {
    let said = entry.recipients.iter().filter(|r| !r.last_reply.is_empty() && r.next_try_ms.is_some());
    said.rev().max_by_key(|recipient| recipient.attempts)
}

fn line(recipient: &QueueRecipient, whole: bool, now_ms: i64) -> RecipientLine {
    RecipientLine {
        address: if whole { words::one_line(&recipient.address) } else { "a recipient".to_owned() },
        tag: Tag { style: words::stage_style(recipient.stage), words: words::stage(recipient.stage).to_owned() },
        attempts: match recipient.attempts {
            0 => "not tried yet".to_owned(),
            tried => format!("tried {}", words::times(tried as usize)),
        },
        next: next(recipient.next_try_ms, now_ms),
        reply: reply(recipient),
    }
}

/// What was said, and by whom.
fn reply(recipient: &QueueRecipient) -> String {
    let words = words::one_line(&recipient.last_reply);
    match (recipient.last_host.as_str(), words.is_empty()) {
        (_, true) | ("", _) => words,
        (host, false) => format!("{}: {words}", words::one_line(host)),
    }
}

fn next(at_ms: Option<i64>, now_ms: i64) -> Next {
    match at_ms {
        None => Next { at: None, words: "not by the clock".to_owned() },
        Some(at_ms) if at_ms <= now_ms => Next { at: None, words: "now".to_owned() },
        Some(at_ms) => {
            Next { at: Some(words::moment(at_ms)), words: format!("in {}", words::span(at_ms.saturating_sub(now_ms))) }
        }
    }
}

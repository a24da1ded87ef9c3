//! `/notices`: who is told of what: mail to oneself, what an organisation allows, webhooks.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::query::Query;
use super::webhooks::{Typed, WebhookRow, row};
use super::{Done, Frame, Notice, error::PageError, form, html_with};
use crate::admin::actions::webhooks::NewWebhook;
use crate::admin::api::tags;
use crate::admin::visitor::{Fields, Posted, Visitor};
use crate::admin::{Refusal, Site};
use crate::settings::OrgName;
use crate::settings::notices::{Level, NoticeCeiling, NoticeChoice};

#[derive(Template)]
#[template(path = "notices.html")]
struct Notices {
    frame: Frame,
    seen: String,
    levels: Vec<Choice>,
    mail: bool,
    /// Why there can be no notices by mail at all.
    no_mail: Option<String>,
    /// What the organisation allows is less.
    narrowed: Option<&'static str>,
    ceilings: Vec<Ceiling>,
    webhooks: Vec<WebhookRow>,
    orgs: Vec<String>,
    /// The visitor sends mail of their own.
    sends: bool,
    rules: bool,
    rules_all: bool,
    typed: Typed,
}

struct Choice {
    value: &'static str,
    label: &'static str,
    chosen: bool,
}

struct Ceiling {
    org: String,
    seen: String,
    levels: Vec<Choice>,
    mail: bool,
}

#[derive(Template)]
#[template(path = "webhook_made.html")]
struct Made {
    frame: Frame,
    id: String,
    url: String,
    secret: String,
}

/// `GET /notices`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(Done { done }): Query<Done>,
) -> Result<Response, PageError> {
    filled(&site, &visitor, Notice::done(done.as_deref()), StatusCode::OK).await
}

/// `POST /notices`
pub(super) async fn save(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let choice = NoticeChoice { level: level(&fields)?, mail: fields.text("mail") == "on" };
    let (seen, login) = (fields.seen(), &visitor.user.login);
    let unchanged = |now: &_| seen.is(&tags::notices(now));
    let saved = site.actions.set_notices(&visitor.viewer, login, choice, unchanged).await;
    after(&site, &visitor, &fields, saved).await
}

/// `POST /notices/org`
pub(super) async fn save_org(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let ceiling = NoticeCeiling { level: level(&fields)?, mail: fields.text("mail") == "on" };
    let org = org(&fields)?.ok_or(PageError::BadForm(StatusCode::BAD_REQUEST))?;
    let seen = fields.seen();
    let unchanged = |now| seen.is(&tags::notice_ceiling(now));
    let saved = site.actions.set_notice_ceiling(&visitor.viewer, &org, ceiling, unchanged).await;
    after(&site, &visitor, &fields, saved).await
}

async fn after(
    site: &Site,
    visitor: &Visitor,
    fields: &Fields,
    saved: Result<(), Refusal>,
) -> Result<Response, PageError> {
    match saved {
        Ok(()) => Ok(Redirect::to("/notices?done=notices").into_response()),
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, fields)?;
            filled(site, visitor, notice, status).await
        }
    }
}

/// `POST /webhooks`: the answer shows the secret, this once.
pub(super) async fn add_webhook(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let typed = Typed::of(&fields)?;
    let new = NewWebhook {
        org: org(&fields)?,
        login: (fields.text("whose") == "own").then(|| visitor.user.login.clone()),
        url: typed.url,
        topics: typed.topics,
        level: typed.level,
        words: fields.text("words") == "on",
    };
    match site.actions.add_webhook(&visitor.viewer, new).await {
        Ok((webhook, secret)) => {
            let frame = Frame::of(&site, &visitor, "New webhook", "/notices");
            let made = Made { frame, id: webhook.id.to_string(), url: webhook.url, secret: secret.reveal() };
            Ok(html_with(StatusCode::OK, &made))
        }
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, &fields)?;
            filled(&site, &visitor, notice, status).await
        }
    }
}

async fn filled(
    site: &Site,
    visitor: &Visitor,
    notice: Option<Notice>,
    status: StatusCode,
) -> Result<Response, PageError> {
    let dropped = site.actions.webhooks_dropped().await?;
    let (asked, in_force) = site.actions.own_notices(&visitor.viewer).unwrap_or_default();
    let narrowed = match (asked, in_force) {
        (asked, in_force) if asked.mail && !in_force.mail => Some("Your organisation allows no notices by mail."),
        (asked, in_force) if asked.level > in_force.level => Some("Your organisation allows less than you chose."),
        _ => None,
    };
    let ceiling = |(org, ceiling): (OrgName, NoticeCeiling)| Ceiling {
        org: org.as_str().to_owned(),
        seen: tags::notice_ceiling(ceiling),
        levels: levels(ceiling.level),
        mail: ceiling.mail,
    };
    let viewer = &visitor.viewer;
    let page = Notices {
        frame: Frame::of(site, visitor, "Notifications", "/notices").with(notice),
        seen: tags::notices(&(asked, in_force)),
        levels: levels(asked.level),
        mail: asked.mail,
        no_mail: site.actions.no_notices_by_mail(visitor.user.org.as_ref()),
        narrowed,
        ceilings: site.actions.notice_ceilings(viewer).into_iter().map(ceiling).collect(),
        webhooks: site
            .actions
            .webhooks(viewer)
            .into_iter()
            .map(|webhook| {
                let count = dropped.get(&webhook.id).map_or(0, |dropped| dropped.count);
                row(webhook, count)
            })
            .collect(),
        orgs: site.actions.orgs(viewer).into_iter().map(|view| view.org.name.as_str().to_owned()).collect(),
        sends: visitor.user.org.is_some(),
        rules: viewer.rules_all() || viewer.org_ruled().is_some(),
        rules_all: viewer.rules_all(),
        typed: Typed::default(),
    };
    Ok(html_with(status, &page))
}

fn levels(chosen: Level) -> Vec<Choice> {
    let choice = |level: Level| Choice { value: level.as_str(), label: words(level), chosen: level == chosen };
    [Level::First, Level::Every, Level::None].map(choice).into()
}

/// A level as people say it.
pub(super) fn words(level: Level) -> &'static str {
    match level {
        Level::First => "First open of each recipient, and every click",
        Level::Every => "Every open and every click",
        Level::None => "Nothing",
    }
}

fn level(fields: &Fields) -> Result<Level, PageError> {
    Level::parse(fields.text("level")).ok_or(PageError::BadForm(StatusCode::BAD_REQUEST))
}

fn org(fields: &Fields) -> Result<Option<OrgName>, PageError> {
    match fields.text("org") {
        "" => Ok(None),
        name => name.parse().map(Some).map_err(|_| PageError::BadForm(StatusCode::BAD_REQUEST)),
    }
}

//! `/api/v1/orgs`

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::etag::{IfMatch, tagged};
use super::shapes::{NoticesPut, Org, OrgPatch};
use super::{Api, Body, Path, Problem};
use crate::admin::Refusal;
use crate::admin::actions::orgs::{EventsPatch, OrgPatch as Patch, OrgView, RulesPatch};
use crate::settings::notices::{Level, NoticeCeiling};
use crate::settings::{Mode, OrgName, Quotes, VisibleUrls};

/// Organisations and their switches.
#[utoipa::path(get, path = "/api/v1/orgs", tag = "orgs", operation_id = "orgs_list",
    responses((status = 200, body = Vec<Org>)))]
pub(super) async fn list(api: Api) -> Json<Vec<Org>> {
    Json(api.actions.orgs(&api.viewer).into_iter().map(Org::from).collect())
}

/// One organisation; its ETag goes into If-Match of a change.
#[utoipa::path(get, path = "/api/v1/orgs/{name}", tag = "orgs", operation_id = "orgs_show",
    responses((status = 200, body = Org, headers(("ETag" = String)))))]
pub(super) async fn show(api: Api, Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    Ok(tagged(Org::from(api.actions.org(&api.viewer, &named(&name)?)?)))
}

/// Changes settings, all of them or none. In force for the next mail.
#[utoipa::path(patch, path = "/api/v1/orgs/{name}", tag = "orgs", operation_id = "orgs_set",
    request_body = OrgPatch,
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag that was read")),
    responses((status = 200, body = Org, headers(("ETag" = String)))))]
pub(super) async fn set(
    api: Api,
    Path(name): Path<String>,
    if_match: IfMatch,
    Body(patch): Body<OrgPatch>,
) -> Result<impl IntoResponse, Problem> {
    let patch = Patch {
        opens: patch.opens.as_deref().map(|text| mode("opens", text)).transpose()?,
        links: patch.links.as_deref().map(|text| mode("links", text)).transpose()?,
        text_links: patch.text_links.as_deref().map(text_links).transpose()?,
        visible_urls: patch.visible_urls.as_deref().map(visible_urls).transpose()?,
        quotes: patch.quotes.as_deref().map(quotes).transpose()?,
        excluded_hosts: patch.excluded_hosts,
        domains: patch.domains,
        events: EventsPatch {
            rules_off: patch.rules_off,
            own_networks: patch.own_networks,
            place: patch.place,
            raw_evidence: patch.raw_evidence,
            honour_gpc: patch.honour_gpc,
            events_days: patch.events_days,
            messages_days: patch.messages_days,
        },
        rules: RulesPatch {
            excluded_recipients: patch.excluded_recipients,
            sensitive_off: patch.sensitive_off,
            leave_links: patch.leave_links,
            locked: patch.locked,
            shadow: patch.shadow,
        },
    };
    let seen = |now: &OrgView| if_match.allows(&Org::from(now.clone()));
    Ok(tagged(Org::from(api.actions.set_org(&api.viewer, &named(&name)?, patch, seen).await?)))
}

fn named(name: &str) -> Result<OrgName, Problem> {
    name.parse().map_err(|_| Refusal::NotFound { what: format!("organisation {name}") }.into())
}

pub(super) fn mode(field: &'static str, text: &str) -> Result<Option<Mode>, Problem> {
    match text {
        "follow" => Ok(None),
        other => other.parse().map(Some).map_err(|_| none_of(field, text, "off, aggregate, individual, follow")),
    }
}

pub(super) fn text_links(text: &str) -> Result<Option<bool>, Problem> {
    match text {
        "follow" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        _ => Err(none_of("text_links", text, "on, off, follow")),
    }
}

fn visible_urls(text: &str) -> Result<VisibleUrls, Problem> {
    match text {
        "track" => Ok(VisibleUrls::Track),
        "leave" => Ok(VisibleUrls::Leave),
        _ => Err(none_of("visible_urls", text, "track, leave")),
    }
}

fn quotes(text: &str) -> Result<Quotes, Problem> {
    match text {
        "unwrap" => Ok(Quotes::Unwrap),
        "leave" => Ok(Quotes::Leave),
        _ => Err(none_of("quotes", text, "unwrap, leave")),
    }
}

fn none_of(field: &'static str, text: &str, good: &str) -> Problem {
    Refusal::Invalid { field, detail: format!("{text:?} is none of {good}") }.into()
}

/// The most its people may be told.
#[utoipa::path(get, path = "/api/v1/orgs/{name}/notices", tag = "orgs", operation_id = "orgs_notices",
    params(("name" = String, Path)), responses((status = 200, body = NoticesPut, headers(("ETag" = String)))))]
pub(super) async fn notices(api: Api, Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    Ok(tagged(NoticesPut::from(api.actions.notice_ceiling(&api.viewer, &named(&name)?)?)))
}

/// Changes that.
#[utoipa::path(put, path = "/api/v1/orgs/{name}/notices", tag = "orgs", operation_id = "orgs_set_notices",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag that was read")),
    request_body = NoticesPut, responses((status = 204)))]
pub(super) async fn set_notices(
    api: Api,
    Path(name): Path<String>,
    if_match: IfMatch,
    Body(put): Body<NoticesPut>,
) -> Result<StatusCode, Problem> {
    let level = Level::parse(&put.level).ok_or_else(|| none_of("level", &put.level, "first, every, none"))?;
    let ceiling = NoticeCeiling { level, mail: put.mail };
    let seen = |now: NoticeCeiling| if_match.allows(&NoticesPut::from(now));
    api.actions.set_notice_ceiling(&api.viewer, &named(&name)?, ceiling, seen).await?;
    Ok(StatusCode::NO_CONTENT)
}

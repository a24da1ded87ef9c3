//! `/api/v1/orgs`

use axum::Json;
use axum::extract::{Path, State};

use super::shapes::{Org, OrgPatch};
use super::{Api, Body, Problem};
use crate::admin::Refusal;
use crate::admin::actions::orgs::{EventsPatch, OrgPatch as Patch};
use crate::settings::{Mode, OrgName, Quotes, VisibleUrls};

pub(super) async fn list(State(api): State<Api>) -> Json<Vec<Org>> {
    Json(api.actions.orgs(&api.viewer).into_iter().map(Org::from).collect())
}

pub(super) async fn show(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Org>, Problem> {
    Ok(Json(api.actions.org(&api.viewer, &named(&name)?)?.into()))
}

pub(super) async fn set(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(patch): Body<OrgPatch>,
) -> Result<Json<Org>, Problem> {
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
        },
    };
    Ok(Json(api.actions.set_org(&api.viewer, &named(&name)?, patch).await?.into()))
}

fn named(name: &str) -> Result<OrgName, Problem> {
    name.parse().map_err(|_| Refusal::NotFound { what: format!("organisation {name}") }.into())
}

fn mode(field: &'static str, text: &str) -> Result<Option<Mode>, Problem> {
    match text {
        "follow" => Ok(None),
        other => other.parse().map(Some).map_err(|_| none_of(field, text, "off, aggregate, individual, follow")),
    }
}

fn text_links(text: &str) -> Result<Option<bool>, Problem> {
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

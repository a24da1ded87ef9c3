//! `/tracking`: what a user chooses for the mail they send, what the organisation has locked, and what is in force.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::org_tracking::label;
use super::orgs::{Choice, modes, on_off};
use super::{Done, Frame, Notice, error::PageError, html, html_with, words};
use crate::admin::actions::own_tracking::{OwnPatch, OwnTracking};
use crate::admin::visitor::{Fields, Posted, Visitor};
use crate::admin::{Refusal, Site};
use crate::settings::{Level, Mode, Switch};

#[derive(Template)]
#[template(path = "tracking.html")]
struct TrackingPage {
    frame: Frame,
    login: String,
    org: String,
    own: bool,
    in_force: [(&'static str, &'static str); 3],
    /// Whose shadow mode it is.
    shadow: Option<&'static str>,
    switches: Vec<Row>,
}

/// One group of radio buttons, or why there is nothing to choose.
struct Row {
    field: &'static str,
    legend: &'static str,
    help: &'static str,
    locked: bool,
    /// What was chosen before it was locked, in words.
    ignored: Option<String>,
    choices: Vec<Choice>,
}

/// Whom the page is about; nobody: the visitor.
#[derive(Debug, Default, Deserialize)]
pub(super) struct About {
    login: Option<String>,
}

/// `GET /tracking?login=…`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(About { login }): Query<About>,
    Query(Done { done }): Query<Done>,
) -> Result<Response, PageError> {
    let login = login.unwrap_or_else(|| visitor.user.login.clone());
    let view = site.actions.own_tracking(&visitor.viewer, &login)?;
    Ok(html(&filled(&site, &visitor, view, Notice::done(done.as_deref()))))
}

/// `POST /tracking`
pub(super) async fn save(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let login = fields.optional("login").unwrap_or(&visitor.user.login).to_owned();
    match site.actions.set_own_tracking(&visitor.viewer, &login, patch(&fields)?, |_| true).await {
        Ok(_) => {
            let login = crate::admin::login::encode_next(&login);
            Ok(Redirect::to(&format!("/tracking?done=saved&login={login}")).into_response())
        }
        Err(wrong @ (Refusal::Invalid { .. } | Refusal::Locked { .. })) => {
            let view = site.actions.own_tracking(&visitor.viewer, &login)?;
            let page = filled(&site, &visitor, view, Notice::bad(wrong));
            Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
        Err(refusal) => Err(visitor.refused(refusal)),
    }
}

/// What the form says. A field that is not there (locked) is left as it is.
fn patch(fields: &Fields) -> Result<OwnPatch, PageError> {
    let damaged = || PageError::BadForm(StatusCode::BAD_REQUEST);
    let mode = |name: &str| match fields.optional(name) {
        None => Ok(None),
        Some("follow") => Ok(Some(None)),
        Some(text) => text.parse::<Mode>().map(|mode| Some(Some(mode))).map_err(|_| damaged()),
    };
    let on_off = |name: &str| match fields.optional(name) {
        None => Ok(None),
        Some("follow") => Ok(Some(None)),
        Some("on") => Ok(Some(Some(true))),
        Some("off") => Ok(Some(Some(false))),
        Some(_) => Err(damaged()),
    };
    Ok(OwnPatch {
        opens: mode("opens")?,
        links: mode("links")?,
        text_links: on_off("text_links")?,
        shadow: on_off("shadow")?.map(|shadow| shadow == Some(true)),
    })
}

fn filled(site: &Site, visitor: &Visitor, view: OwnTracking, notice: Option<Notice>) -> TrackingPage {
    let text_links = view.in_force.text_links;
    TrackingPage {
        frame: Frame::of(site, visitor, format!("Tracking of mail from {}", view.login), "").with(notice),
        org: view.org.as_str().to_owned(),
        own: visitor.user.login == view.login,
        in_force: [
            (label(Switch::Opens), words::mode(view.in_force.opens)),
            (label(Switch::Links), words::mode(view.in_force.links)),
            (label(Switch::TextLinks), if text_links { "On" } else { "Off" }),
        ],
        shadow: view.shadow.map(|by| if by == Level::Org { "The organisation" } else { "The sender" }),
        switches: Switch::ALL.map(|switch| row(&view, switch)).into(),
        login: view.login,
    }
}

fn row(view: &OwnTracking, switch: Switch) -> Row {
    const WHOSE: &str = "As the organisation";
    const FOLLOW: &str = "Also when it changes.";
    let (choices, chosen) = match switch {
        Switch::Opens => (modes(view.choice.opens, view.most.opens, WHOSE, FOLLOW), view.choice.opens.map(words::mode)),
        Switch::Links => (modes(view.choice.links, view.most.links, WHOSE, FOLLOW), view.choice.links.map(words::mode)),
        Switch::TextLinks => {
            let chosen = view.choice.text_links.map(|on| if on { "On" } else { "Off" });
            (on_off(view.choice.text_links, view.most.text_links, WHOSE), chosen)
        }
        Switch::Shadow => (shadow(view), view.own_shadow.then_some("On")),
    };
    let locked = view.locked.has(switch);
    Row {
        field: switch.as_str(),
        legend: label(switch),
        help: match switch {
            Switch::Opens => "An invisible picture in the mail tells when it is opened.",
            Switch::Links => "Links lead through this server, which notes the click and passes the reader on.",
            Switch::TextLinks => "Also the addresses typed into the plain-text half of a mail.",
            Switch::Shadow => "Mail leaves as it came, and each message says what would have been tracked.",
        },
        locked,
        ignored: chosen.filter(|_| locked).map(str::to_lowercase),
        choices,
    }
}

fn shadow(view: &OwnTracking) -> Vec<Choice> {
    let row = |value, label: &str, chosen| Choice { value, label: label.to_owned(), help: "", chosen, above: false };
    vec![row("off", "As the organisation", !view.own_shadow), row("on", "On, for this login's mail", view.own_shadow)]
}

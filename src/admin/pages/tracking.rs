//! `/tracking`: what a user chooses for the mail they send, what the organisation has locked, and what is in force.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::org_tracking::{label, said_of};
use super::orgs::{Choice, modes, on_off};
use super::{Done, Frame, Notice, error::PageError, form, html, html_with, words};
use crate::admin::Site;
use crate::admin::actions::own_tracking::{OwnPatch, OwnRulesPatch, OwnTracking};
use crate::admin::api::tags;
use crate::admin::visitor::{Fields, Posted, Visitor};
use crate::policy::why::Narrowed;
use crate::settings::{LINK_PATTERNS_MAX, Level, LinkPattern, Mode, OWN_LIST_MAX, RecipientPattern, Switch};

#[derive(Template)]
#[template(path = "tracking.html")]
struct TrackingPage {
    frame: Frame,
    seen: String,
    login: String,
    org: String,
    own: bool,
    in_force: [(&'static str, &'static str); 3],
    /// Whose shadow mode it is.
    shadow: Option<&'static str>,
    switches: Vec<Row>,
    lists: Vec<List>,
}

/// One group of radio buttons, or why there is nothing to choose.
struct Row {
    field: &'static str,
    legend: &'static str,
    help: &'static str,
    locked: bool,
    /// Why the organisation leaves nothing to take away.
    settled: Option<&'static str>,
    /// What was chosen before it was locked, in words.
    ignored: Option<String>,
    choices: Vec<Choice>,
}

/// A list of the user's own, one entry a line.
struct List {
    field: &'static str,
    legend: &'static str,
    help: &'static str,
    locked: bool,
    /// The visitor may not read it.
    hidden: bool,
    entries: usize,
    entries_max: usize,
    text: String,
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
    let seen = fields.seen();
    let unchanged = |now: &OwnTracking| seen.is(&tags::tracking(now));
    match site.actions.set_own_tracking(&visitor.viewer, &login, patch(&fields)?, unchanged).await {
        Ok(_) => {
            let login = crate::admin::login::encode_next(&login);
            Ok(Redirect::to(&format!("/tracking?done=saved&login={login}")).into_response())
        }
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, &fields)?;
            let view = site.actions.own_tracking(&visitor.viewer, &login)?;
            Ok(html_with(status, &filled(&site, &visitor, view, notice)))
        }
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
    let less = |name: &str, word: &str| match fields.optional(name) {
        None => Ok(None),
        Some("follow") => Ok(Some(false)),
        Some(text) if text == word => Ok(Some(true)),
        Some(_) => Err(damaged()),
    };
    Ok(OwnPatch {
        opens: mode("opens")?,
        links: mode("links")?,
        text_links: on_off("text_links")?,
        shadow: on_off("shadow")?.map(|shadow| shadow == Some(true)),
        rules: OwnRulesPatch {
            leave_visible_urls: less("visible_urls", "leave")?,
            country_only: less("place", "country")?,
            no_raw_evidence: less("raw_evidence", "off")?,
            excluded_recipients: fields.lines("excluded_recipients"),
            excluded_hosts: fields.list("excluded_hosts"),
            leave_links: fields.lines("leave_links"),
        },
    })
}

fn filled(site: &Site, visitor: &Visitor, view: OwnTracking, notice: Option<Notice>) -> TrackingPage {
    let text_links = view.in_force.text_links;
    TrackingPage {
        frame: Frame::of(site, visitor, format!("Tracking of mail from {}", view.login), "").with(notice),
        seen: tags::tracking(&view),
        org: view.org.as_str().to_owned(),
        own: visitor.user.login == view.login,
        in_force: [
            (label(Switch::Opens), words::mode(view.in_force.opens)),
            (label(Switch::Links), words::mode(view.in_force.links)),
            (label(Switch::TextLinks), if text_links { "On" } else { "Off" }),
        ],
        shadow: view.shadow.map(|by| if by == Level::Org { "The organisation" } else { "The sender" }),
        switches: rows(&view),
        lists: lists(&view),
        login: view.login,
    }
}

const WHOSE: &str = "As the organisation";
const FOLLOW: &str = "Also when it changes.";

/// Everything with one value: the modes, shadow mode, and what can only be narrowed.
fn rows(view: &OwnTracking) -> Vec<Row> {
    let (choice, most) = (view.choice, view.most);
    let text_links = choice.text_links.map(|on| if on { "On" } else { "Off" });
    let mut rows = vec![
        row(
            view,
            Switch::Opens,
            "An invisible picture in the mail tells when it is opened.",
            choice.opens.map(words::mode),
            modes(choice.opens, most.opens, WHOSE, FOLLOW),
        ),
        row(
            view,
            Switch::Links,
            "Links lead through this server, which notes the click and passes the reader on.",
            choice.links.map(words::mode),
            modes(choice.links, most.links, WHOSE, FOLLOW),
        ),
        row(
            view,
            Switch::TextLinks,
            "Also the addresses typed into the plain-text half of a mail.",
            text_links,
            on_off(choice.text_links, most.text_links, WHOSE),
        ),
    ];
    rows.extend(view.narrowed.iter().map(|one| narrowed(view, one)));
    rows.push(row(
        view,
        Switch::Shadow,
        "Mail leaves as it came, and each message says what would have been tracked.",
        view.own_shadow.then_some("On"),
        shadow(view),
    ));
    rows
}

fn row(view: &OwnTracking, switch: Switch, help: &'static str, chosen: Option<&str>, choices: Vec<Choice>) -> Row {
    let locked = view.locked.has(switch);
    Row {
        field: switch.as_str(),
        legend: label(switch),
        help,
        locked,
        settled: None,
        ignored: chosen.filter(|_| locked).map(str::to_lowercase),
        choices,
    }
}

/// As the organisation, or the one thing that is less; nothing to choose where the organisation does that already.
fn narrowed(view: &OwnTracking, one: &Narrowed) -> Row {
    let (help, less, name, settled) = match one.switch {
        Switch::VisibleUrls => (
            "A link whose text is itself a web address shows its reader where it leads, and then leads through this server.",
            "leave",
            "Leave such links alone",
            "The organisation leaves such links alone already.",
        ),
        Switch::Place => (
            "Where readers roughly are, as far as their networks tell.",
            "country",
            "Keep the country alone",
            "The organisation keeps the country alone already.",
        ),
        _ => (
            "The network address and the whole name of the program, with each open and click.",
            "off",
            "Keep none",
            "The organisation keeps none already.",
        ),
    };
    let from_when = match one.switch {
        Switch::VisibleUrls => "From the next mail on.",
        _ => "From the next open or click on, also of mail sent before.",
    };
    let choice = |value, label, chosen, help| Choice { value, label, help, chosen, above: false };
    let whose = format!("{WHOSE} ({})", said_of(one.switch, one.org));
    let chosen = one.sender.map(|value| said_of(one.switch, value));
    let choices = vec![
        choice("follow", whose, chosen.is_none(), FOLLOW),
        choice(less, name.to_owned(), chosen.is_some(), from_when),
    ];
    let settled = (one.org == less).then_some(settled);
    Row { settled, ..row(view, one.switch, help, chosen, choices) }
}

fn lists(view: &OwnTracking) -> Vec<List> {
    let own = &view.own;
    let recipients: Vec<&str> = own.excluded_recipients.iter().map(RecipientPattern::as_str).collect();
    let hosts: Vec<&str> = own.excluded_hosts.iter().map(String::as_str).collect();
    let links: Vec<&str> = own.leave_links.iter().map(LinkPattern::as_str).collect();
    let list = |switch: Switch, help, entries: Vec<&str>, entries_max, hidden| List {
        field: switch.as_str(),
        legend: label(switch),
        help,
        locked: view.locked.has(switch),
        hidden,
        entries: entries.len(),
        entries_max,
        text: if hidden { String::new() } else { entries.join("\n") },
    };
    vec![
        list(
            Switch::ExcludedRecipients,
            "Addresses, or domains with everything below them: their copy leaves untracked.",
            recipients,
            OWN_LIST_MAX,
            !view.sees_recipients,
        ),
        list(
            Switch::ExcludedHosts,
            "Links to these hosts and everything below them are left alone.",
            hosts,
            OWN_LIST_MAX,
            false,
        ),
        list(
            Switch::LeaveLinks,
            "A host and the beginning of a path, as portal.example.com/account; * as the host is any host, in the path any run of characters.",
            links,
            LINK_PATTERNS_MAX,
            false,
        ),
    ]
}

fn shadow(view: &OwnTracking) -> Vec<Choice> {
    let row = |value, label: &str, chosen| Choice { value, label: label.to_owned(), help: "", chosen, above: false };
    vec![row("off", "As the organisation", !view.own_shadow), row("on", "On, for this login's mail", view.own_shadow)]
}

//! `/orgs`: an organisation's switches, what is in force, and what the ceiling or config.toml decides.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::org_events::{self, EventsForm};
use super::org_tracking::{self, RulesForm};
use super::{Done, Frame, Notice, error::PageError, html, html_with, words};
use crate::admin::actions::orgs::{OrgPatch, OrgView};
use crate::admin::visitor::{Fields, Posted, Visitor};
use crate::admin::{Refusal, Site};
use crate::settings::{Mode, OrgName, Quotes, VisibleUrls};

#[derive(Template)]
#[template(path = "orgs.html")]
struct OrgsPage {
    frame: Frame,
    rows: Vec<OrgRow>,
}

struct OrgRow {
    name: String,
    domains: String,
    opens: &'static str,
    links: &'static str,
    users: String,
    /// Its mail leaves as it came, whatever stands here.
    shadow: bool,
}

#[derive(Template)]
#[template(path = "org.html")]
struct OrgPage {
    frame: Frame,
    name: String,
    managed: bool,
    may_change: bool,
    rules_all: bool,
    many: bool,
    in_force: [(&'static str, &'static str); 3],
    switches: Vec<Switch>,
    track_visible_urls: bool,
    unwrap_quotes: bool,
    excluded_hosts: String,
    domains: Vec<String>,
    tracking_url: Option<String>,
    events: EventsForm,
    rules: RulesForm,
    /// The visitor sends mail of this organisation.
    sends: bool,
}

impl OrgPage {
    /// Lists are long to type.
    fn keep_typed(&mut self, fields: &Fields) {
        fields.keep("excluded_hosts", &mut self.excluded_hosts);
        fields.keep("excluded_recipients", &mut self.rules.excluded_recipients);
        fields.keep("leave_links", &mut self.rules.leave_links);
        fields.keep("own_networks", &mut self.events.own_networks);
        if let Some(domains) = fields.optional("domains") {
            self.domains = domains.lines().map(str::to_owned).collect();
        }
    }
}

/// One group of radio buttons.
struct Switch {
    field: &'static str,
    legend: &'static str,
    help: &'static str,
    managed: bool,
    choices: Vec<Choice>,
}

/// One radio button.
pub(super) struct Choice {
    pub(super) value: &'static str,
    pub(super) label: String,
    pub(super) help: &'static str,
    pub(super) chosen: bool,
    /// Above what is allowed: shown, not to be had.
    pub(super) above: bool,
}

/// `GET /orgs`: the list, or the one organisation there is.
pub(super) async fn list(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    let orgs = site.actions.orgs(&visitor.viewer);
    if let [only] = orgs.as_slice() {
        return Redirect::to(&format!("/orgs/{}", only.org.name.as_str())).into_response();
    }
    let row = |view: OrgView| OrgRow {
        domains: view.org.domains.iter().map(|name| words::domain(name)).collect::<Vec<_>>().join(", "),
        opens: words::mode(view.in_force.opens),
        links: words::mode(view.in_force.links),
        users: words::count(view.users as u64, "user"),
        shadow: view.org.shadow,
        name: view.org.name.as_str().to_owned(),
    };
    let rows = orgs.into_iter().map(row).collect();
    html(&OrgsPage { frame: Frame::of(&site, &visitor, "Settings", "/orgs"), rows })
}

/// `GET /orgs/{name}`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(Done { done }): Query<Done>,
) -> Result<Response, PageError> {
    let view = site.actions.org(&visitor.viewer, &parse_name(&name)?)?;
    Ok(html(&filled(&site, &visitor, view, Notice::done(done.as_deref()))))
}

/// `POST /orgs/{name}`
pub(super) async fn save(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let name = parse_name(&name)?;
    match site.actions.set_org(&visitor.viewer, &name, patch(&fields)?).await {
        Ok(_) => Ok(Redirect::to(&format!("/orgs/{}?done=saved", name.as_str())).into_response()),
        Err(wrong @ (Refusal::Invalid { .. } | Refusal::Managed { .. } | Refusal::Conflict(_))) => {
            let view = site.actions.org(&visitor.viewer, &name)?;
            let mut page = filled(&site, &visitor, view, Notice::bad(wrong));
            page.keep_typed(&fields);
            Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
        Err(refusal) => Err(visitor.refused(refusal)),
    }
}

fn parse_name(name: &str) -> Result<OrgName, Refusal> {
    name.parse().map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() })
}

/// What the form says. A field that is not there (managed, or not this visitor's) is left as it is.
fn patch(fields: &Fields) -> Result<OrgPatch, PageError> {
    let damaged = || PageError::BadForm(StatusCode::BAD_REQUEST);
    let mode = |name: &str| match fields.optional(name) {
        None => Ok(None),
        Some("follow") => Ok(Some(None)),
        Some(text) => text.parse::<Mode>().map(|mode| Some(Some(mode))).map_err(|_| damaged()),
    };
    let switch = |name: &str| match fields.optional(name) {
        None => Ok(None),
        Some("follow") => Ok(Some(None)),
        Some("on") => Ok(Some(Some(true))),
        Some("off") => Ok(Some(Some(false))),
        Some(_) => Err(damaged()),
    };
    Ok(OrgPatch {
        opens: mode("opens")?,
        links: mode("links")?,
        text_links: switch("text_links")?,
        visible_urls: match fields.optional("visible_urls") {
            None => None,
            Some("track") => Some(VisibleUrls::Track),
            Some("leave") => Some(VisibleUrls::Leave),
            Some(_) => return Err(damaged()),
        },
        quotes: match fields.optional("quotes") {
            None => None,
            Some("unwrap") => Some(Quotes::Unwrap),
            Some("leave") => Some(Quotes::Leave),
            Some(_) => return Err(damaged()),
        },
        excluded_hosts: fields.list("excluded_hosts"),
        domains: fields.list("domains"),
        events: org_events::patch(fields)?,
        rules: org_tracking::patch(fields)?,
    })
}

fn filled(site: &Site, visitor: &Visitor, view: OrgView, notice: Option<Notice>) -> OrgPage {
    let switches = switches(&view);
    let OrgView { org, in_force, may_change, .. } = view;
    let name = org.name.as_str().to_owned();
    OrgPage {
        frame: Frame::of(site, visitor, format!("Settings of {name}"), "/orgs").with(notice),
        name,
        managed: org.managed.org,
        may_change,
        rules_all: visitor.viewer.rules_all(),
        many: site.actions.orgs(&visitor.viewer).len() > 1,
        in_force: [
            ("Email tracking", words::mode(in_force.opens)),
            ("Link tracking", words::mode(in_force.links)),
            ("Links in plain text", if in_force.text_links && in_force.links > Mode::Off { "On" } else { "Off" }),
        ],
        switches,
        events: org_events::form(&org),
        rules: org_tracking::form(&org),
        sends: visitor.user.org.as_ref() == Some(&org.name),
        track_visible_urls: org.visible_urls == VisibleUrls::Track,
        unwrap_quotes: org.quotes == Quotes::Unwrap,
        excluded_hosts: org.excluded_hosts.join("\n"),
        domains: org.domains,
        tracking_url: org.tracking_url,
    }
}

/// What a switch follows that is not set.
const DEFAULT: &str = "Server default";
const FOLLOW: &str = "Whatever config.toml allows, also when it changes.";

fn switches(view: &OrgView) -> Vec<Switch> {
    let OrgView { org, ceiling, .. } = view;
    vec![
        Switch {
            field: "opens",
            legend: "Email tracking",
            help: "An invisible picture in the mail tells when it is opened.",
            managed: org.managed.opens,
            choices: modes(org.choice.opens, ceiling.opens, DEFAULT, FOLLOW),
        },
        Switch {
            field: "links",
            legend: "Link tracking",
            help: "Links lead through this server, which notes the click and passes the reader on.",
            managed: org.managed.links,
            choices: modes(org.choice.links, ceiling.links, DEFAULT, FOLLOW),
        },
        Switch {
            field: "text_links",
            legend: "Links in plain text",
            help: "Also the addresses typed into the plain-text half of a mail. Readers see the tracked address there.",
            managed: org.managed.text_links,
            choices: on_off(org.choice.text_links, ceiling.text_links, DEFAULT),
        },
    ]
}

/// The modes under what is allowed above; `whose` decides that, and `help` says so.
pub(super) fn modes(choice: Option<Mode>, ceiling: Mode, whose: &str, help: &'static str) -> Vec<Choice> {
    let follow = Choice {
        value: "follow",
        label: format!("{whose} ({})", words::mode(ceiling).to_lowercase()),
        help,
        chosen: choice.is_none(),
        above: false,
    };
    let rows = [
        (Mode::Individual, "Tells which recipient it was, when and roughly where."),
        (Mode::Aggregate, "Counts only: no recipient, no place, no device."),
        (Mode::Off, "Nothing is put into the mail and nothing is recorded."),
    ];
    let one = |(mode, help): (Mode, &'static str)| Choice {
        value: mode.as_str(),
        label: words::mode(mode).to_owned(),
        help,
        chosen: choice == Some(mode),
        above: mode > ceiling,
    };
    std::iter::once(follow).chain(rows.into_iter().map(one)).collect()
}

/// [`modes`] for what is on or off.
pub(super) fn on_off(choice: Option<bool>, ceiling: bool, whose: &str) -> Vec<Choice> {
    let default = format!("{whose} ({})", if ceiling { "on" } else { "off" });
    let row = |value, label: &str, chosen, above| Choice { value, label: label.to_owned(), help: "", chosen, above };
    vec![
        row("follow", &default, choice.is_none(), false),
        row("on", "On", choice == Some(true), !ceiling),
        row("off", "Off", choice == Some(false), false),
    ]
}

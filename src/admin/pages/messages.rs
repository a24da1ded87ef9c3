//! `/`: the messages the visitor may know of, newest first.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::query::Query;
use super::words::{self, Moment};
use super::{Frame, Notice, error::PageError, html_with, place};
use crate::admin::actions::messages::{MessagePage, MessageQuery, MessageRow};
use crate::admin::search::Search;
use crate::admin::visitor::Visitor;
use crate::admin::{Refusal, Site};
use crate::settings::OrgName;

/// Rows of one page.
const ROWS: u32 = 50;

/// What a page's address may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    org: Option<String>,
    before: Option<String>,
    after: Option<String>,
    #[serde(flatten)]
    search: Search,
}

/// What the history is asked for.
///
/// # Errors
/// [`Refusal::NotFound`] for what is no organisation's name, [`Refusal::Invalid`] for a field that cannot be read.
pub(super) fn query(asked: &Asked) -> Result<MessageQuery, Refusal> {
    let org = match asked.org.as_deref() {
        None | Some("") => None,
        Some(name) => Some(name.parse().map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() })?),
    };
    let before = asked.before.as_deref().and_then(place::read);
    let after = asked.after.as_deref().and_then(place::read).filter(|_| before.is_none());
    Ok(MessageQuery { org, login: None, before, after, wanted: asked.search.wanted()?, limit: ROWS })
}

#[derive(Template)]
#[template(path = "messages.html")]
struct Messages {
    frame: Frame,
    rows: Vec<Row>,
    /// To choose from, when the visitor has more than one.
    orgs: Vec<(String, bool)>,
    every_org: bool,
    /// A row has events that are no reader's.
    any_machines: bool,
    /// Addresses of the pages beside this one, and of this search as a file.
    older: Option<String>,
    newer: Option<String>,
    csv: String,
    chosen_org: String,
    search: Search,
    searched: bool,
    /// Value, label, chosen.
    deliveries: Vec<(&'static str, &'static str, bool)>,
    readers: Vec<(&'static str, &'static str, bool)>,
    first_page: bool,
    example_command: String,
    has_inbox: bool,
}

struct Row {
    href: Option<String>,
    at: Moment,
    subject: String,
    from: String,
    org: String,
    recipients: String,
    opens: u64,
    clicks: u64,
    machine_opens: u64,
    machine_clicks: u64,
    tracked: bool,
}

/// `GET /`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let (query, wrong) = match query(&asked) {
        Ok(query) => (query, None),
        Err(wrong @ Refusal::Invalid { .. }) => {
            (query(&Asked { org: asked.org.clone(), ..Asked::default() })?, Notice::bad(wrong))
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let search = asked.search;
    let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let (org, first_page) = (query.org.clone(), query.before.is_none() && query.after.is_none());
    let MessagePage { rows, next, previous } = site.actions.messages(&visitor.viewer, query).await?;
    let names: Vec<String> =
        site.actions.orgs(&visitor.viewer).into_iter().map(|view| view.org.name.as_str().to_owned()).collect();
    let asked_org = org.as_ref().map_or("", OrgName::as_str);
    let many = names.len() > 1;
    let address = |more: &str| address(asked_org, &search, more);
    let page = Messages {
        frame: Frame::of(&site, &visitor, "Messages", "/").with(wrong),
        csv: address("").replacen('/', "/messages.csv", 1),
        newer: previous.map(|at| address(&format!("after={}", place::print(at)))),
        older: next.map(|at| address(&format!("before={}", place::print(at)))),
        chosen_org: asked_org.to_owned(),
        searched: !search.is_empty(),
        deliveries: chosen(&DELIVERIES, &search.delivery),
        readers: chosen(&READERS, &search.readers),
        search: search.clone(),
        any_machines: rows.iter().any(|row| row.machine_opens + row.machine_clicks > 0),
        rows: rows.into_iter().map(row).collect(),
        orgs: names.into_iter().filter(|_| many).map(|name| (name.clone(), name == asked_org)).collect(),
        every_org: org.is_none(),
        first_page,
        example_command: example_command(&site, &visitor),
        has_inbox: site.actions.has_inbox(&visitor.viewer),
    };
    Ok(html_with(status, &page))
}

/// The line that sends a mail without a login, for who may see what it sends.
fn example_command(site: &Site, visitor: &Visitor) -> String {
    let org = &site.options.example_org;
    let theirs = visitor.viewer.rules_all() || (org.is_some() && visitor.user.org == *org);
    if theirs { site.options.example_command.clone() } else { String::new() }
}

const DELIVERIES: [(&str, &str); 6] = [
    ("", "Anyhow"),
    ("accepted", "Delivered to somebody"),
    ("refused", "Refused or dropped for somebody"),
    ("deferred", "Waiting to be tried again"),
    ("unknown", "Perhaps delivered"),
    ("pending", "On its way"),
];
const READERS: [(&str, &str); 5] = [
    ("", "Anything"),
    ("opened", "Opened it"),
    ("not-opened", "Did not open it"),
    ("clicked", "Followed a link"),
    ("not-clicked", "Followed no link"),
];

fn chosen(rows: &[(&'static str, &'static str)], value: &str) -> Vec<(&'static str, &'static str, bool)> {
    rows.iter().map(|(is, label)| (*is, *label, *is == value)).collect()
}

/// The address of this list, with what is searched for and `more`.
fn address(org: &str, search: &Search, more: &str) -> String {
    let asked = std::iter::once(("org", org)).chain(search.fields()).filter(|(_, value)| !value.is_empty());
    let mut pairs: Vec<String> = asked.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.extend(Some(more.to_owned()).filter(|more| !more.is_empty()));
    if pairs.is_empty() { "/".to_owned() } else { format!("/?{}", pairs.join("&")) }
}

/// As a value in an address.
pub(in crate::admin) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

fn row(row: MessageRow) -> Row {
    let (subject, from) = match &row.words {
        Some(words) if words.subject.trim().is_empty() => ("(no subject)".to_owned(), words::one_line(&words.from)),
        Some(words) => (words::one_line(&words.subject), words::one_line(&words.from)),
        None => {
            ("Mail of another sender".to_owned(), row.login.clone().unwrap_or_else(|| "trusted network".to_owned()))
        }
    };
    Row {
        href: row.words.is_some().then(|| format!("/messages/{}", row.id)),
        at: words::moment(row.accepted_at_ms),
        subject,
        from,
        org: row.org.as_str().to_owned(),
        recipients: format!("{} of {}", row.accepted, row.recipients),
        opens: row.opens,
        clicks: row.clicks,
        machine_opens: row.machine_opens,
        machine_clicks: row.machine_clicks,
        tracked: row.tracked,
    }
}

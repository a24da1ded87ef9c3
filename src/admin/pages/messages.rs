//! `/`: the messages the visitor may know of, newest first.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::words::{self, Moment};
use super::{Frame, error::PageError, html, place};
use crate::admin::actions::messages::{MessagePage, MessageQuery, MessageRow};
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
    /// Address of the next page.
    older: Option<String>,
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
    let org: Option<OrgName> = match asked.org.as_deref() {
        None | Some("") => None,
        Some(name) => Some(name.parse().map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() })?),
    };
    let before = asked.before.as_deref().and_then(place::read);
    let query = MessageQuery { org: org.clone(), login: None, before, limit: ROWS };
    let MessagePage { rows, next } = site.actions.messages(&visitor.viewer, query).await?;
    let names: Vec<String> =
        site.actions.orgs(&visitor.viewer).into_iter().map(|view| view.org.name.as_str().to_owned()).collect();
    let asked_org = org.as_ref().map_or("", OrgName::as_str);
    let many = names.len() > 1;
    Ok(html(&Messages {
        frame: Frame::of(&site, &visitor, "Messages", "/"),
        any_machines: rows.iter().any(|row| row.machine_opens + row.machine_clicks > 0),
        rows: rows.into_iter().map(row).collect(),
        older: next.map(|at| format!("/?org={asked_org}&before={}", place::print(at))),
        orgs: names.into_iter().filter(|_| many).map(|name| (name.clone(), name == asked_org)).collect(),
        every_org: org.is_none(),
        first_page: before.is_none(),
        example_command: site.options.example_command.clone(),
        has_inbox: site.actions.has_inbox(&visitor.viewer),
    }))
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

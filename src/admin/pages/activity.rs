//! `/activity`: what happened lately, people first, machines folded away with their reasons; and the same as it happens, for
//! the page's script.
//!
//! The page is complete without the script, which only adds what comes. What the script gets is text, never markup.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::query::Query;
use super::words;
use super::{Frame, assets, error::PageError, html};
use crate::admin::Site;
use crate::admin::actions::activity::{ACTIVITY_ROWS_MAX, ActivityRow};
use crate::admin::visitor::Visitor;
use crate::event::{self, EventKind, Rule, Verdict};

#[derive(Template)]
#[template(path = "activity.html")]
struct Activity {
    frame: Frame,
    /// `None` on a page of the past, where nothing comes.
    script: Option<String>,
    items: Vec<Item>,
    /// What "ago" counts from.
    now: String,
    /// Where the live feed begins.
    after: i64,
    /// The last judgement that the rows go by.
    judged: i64,
    /// Where the page before this one begins.
    older: Option<i64>,
}

/// What the page's address may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// Only what happened before this event.
    before: Option<i64>,
}

enum Item {
    Person(Line),
    /// Some in a row.
    Machines {
        summary: String,
        lines: Vec<Line>,
    },
}

/// One event in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    sequence: i64,
    /// `open` or `click`: the colour of its dot.
    kind: &'static str,
    /// A machine's, or the sender's own.
    machine: bool,
    who: String,
    what: &'static str,
    subject: String,
    href: Option<String>,
    link: String,
    /// Place, client, verdict with its reason.
    details: Vec<String>,
    at: String,
    friendly: String,
    /// As long as that is shorter to say; the page's script says it anew from time to time.
    ago: String,
    /// Only the day of it is kept, so that nobody may count hours from it.
    by_day: bool,
}

/// `GET /activity`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(Asked { before }): Query<Asked>,
) -> Result<Response, PageError> {
    // Read first: what is judged while the rows are read is told by the feed.
    let judged = site.actions.last_judged().await?;
    let mut rows = site.actions.activity(&visitor.viewer, None, before, ACTIVITY_ROWS_MAX).await?;
    let after = rows.last().map_or(0, |row| row.sequence);
    rows.reverse();
    let page = Activity {
        frame: Frame::of(&site, &visitor, "Activity", "/activity"),
        script: before.is_none().then(assets::script_path),
        older: rows.last().filter(|_| rows.len() >= ACTIVITY_ROWS_MAX as usize).map(|row| row.sequence),
        now: words::moment(jiff::Timestamp::now().as_millisecond()).friendly,
        items: folded(rows.iter().map(line).collect()),
        after,
        judged,
    };
    let mut answer = html(&page);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(assets::POLICY_WITH_SCRIPT));
    Ok(answer)
}

/// Machines in a row become one item.
fn folded(lines: Vec<Line>) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for line in lines {
        match items.last_mut() {
            _ if !line.machine => items.push(Item::Person(line)),
            Some(Item::Machines { lines, .. }) => lines.push(line),
            _ => items.push(Item::Machines { summary: String::new(), lines: vec![line] }),
        }
    }
    for item in &mut items {
        if let Item::Machines { summary, lines } = item {
            *summary = words::count(lines.len() as u64, "look") + " by machines or from your own network";
        }
    }
    items
}

/// An event in words.
pub(super) fn line(row: &ActivityRow) -> Line {
    let at = if row.by_day { words::day(row.at_ms) } else { words::moment(row.at_ms) };
    let machine = !row.verdict.counts();
    let what = match row.kind {
        EventKind::Open => "opened",
        EventKind::Click => "followed a link in",
    };
    let kind = row.kind.as_str();
    let (sequence, friendly, at) = (row.sequence, at.friendly, at.iso);
    let ago = match row.by_day {
        true => friendly.clone(),
        false => words::ago(row.at_ms, jiff::Timestamp::now().as_millisecond()),
    };
    let judged = judged(row);
    let Some(known) = &row.words else {
        let sender = row.login.clone().unwrap_or_else(|| "a trusted network".to_owned());
        return Line {
            sequence,
            kind,
            machine,
            who: "A recipient".to_owned(),
            what,
            subject: format!("a mail of {}", words::one_line(&sender)),
            href: None,
            link: String::new(),
            details: judged.into_iter().collect(),
            at,
            friendly,
            ago,
            by_day: row.by_day,
        };
    };
    // Of an image proxy's reader the verdict says that the place is unknown.
    let place = event::words::place(known.country.as_deref(), known.city.as_deref(), known.via)
        .filter(|_| row.verdict != Verdict::Proxy);
    let client = event::words::program(known.client.as_deref(), known.os.as_deref(), None);
    let subject = words::one_line(&known.subject);
    let who = known.recipient.as_ref();
    // Two people can be called the same.
    let address = who.filter(|who| !who.name.is_empty()).map(|who| who.address.clone());
    Line {
        sequence,
        kind,
        machine,
        who: who.map_or_else(|| "One of the recipients".to_owned(), |who| words::one_line(who.called())),
        what,
        subject: if subject.trim().is_empty() { "(no subject)".to_owned() } else { subject },
        href: Some(format!("/messages/{}", known.message)),
        link: known.destination.as_deref().map(words::link).unwrap_or_default(),
        details: [place, client, judged, address]
            .into_iter()
            .flatten()
            .map(|detail| words::one_line(&detail))
            .collect(),
        at,
        friendly,
        ago,
        by_day: row.by_day,
    }
}

/// The verdict and why; nothing for a plain person.
fn judged(row: &ActivityRow) -> Option<String> {
    Some(event::words::verdict(row.verdict, Rule::parse(&row.rule), None)).filter(|said| !said.is_empty())
}

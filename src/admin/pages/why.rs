//! `/why`: who decides what a mail from one sender to one recipient carries, level by level.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::org_tracking::{label, said_of};
use super::query::Query;
use super::{Frame, Notice, error::PageError, html_with, words};
use crate::admin::actions::why::{Never, WhyQuery, WhyView};
use crate::admin::visitor::{Fields, Visitor};
use crate::admin::{Refusal, Site, why_words};
use crate::policy::why::{Narrowed, Reason, Row};
use crate::settings::Level;

#[derive(Template)]
#[template(path = "why.html")]
struct WhyPage {
    frame: Frame,
    asked: Asked,
    answer: Option<Answer>,
}

/// What is asked; without a sender and a recipient the form alone.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    org: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    header: String,
}

struct Answer {
    org: String,
    login: Option<String>,
    shadow: Option<String>,
    switches: Vec<Switch>,
    levels: Vec<LevelRow>,
    /// What else is in force, and whose word it is.
    narrowed: Vec<Switch>,
    /// Links never tracked, as `host (the sender)`.
    never: Vec<String>,
    /// The sender has recipients of their own who are never tracked, and who asks may not know whom.
    hides_excluded: bool,
    /// What waxseal does not know of the header asked about, in a sentence.
    unknown: Option<String>,
}

/// One switch's outcome.
struct Switch {
    label: &'static str,
    in_force: String,
    why: String,
}

/// One level, a cell a switch.
struct LevelRow {
    level: String,
    cells: Vec<Cell>,
}

struct Cell {
    label: &'static str,
    says: String,
    locked: bool,
    decides: bool,
}

/// `GET /why?from=…&to=…`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let frame = || Frame::of(&site, &visitor, "Why is it tracked?", "/orgs");
    if asked.from.trim().is_empty() || asked.to.trim().is_empty() {
        let from = if asked.from.is_empty() { visitor.user.login.clone() } else { asked.from.clone() };
        let page = WhyPage { frame: frame(), asked: Asked { from, ..asked }, answer: None };
        return Ok(html_with(StatusCode::OK, &page));
    }
    let wrong = match query(&asked).and_then(|query| site.actions.why(&visitor.viewer, &query)) {
        Ok(view) => {
            let page = WhyPage { frame: frame(), asked, answer: Some(Answer::of(&view)) };
            return Ok(html_with(StatusCode::OK, &page));
        }
        Err(wrong @ Refusal::Invalid { .. }) => wrong,
        Err(refusal) => return Err(visitor.refused(refusal)),
    };
    let page = WhyPage { frame: frame().with(Some(Notice::wrong(&wrong, &Fields::none("/why")))), asked, answer: None };
    Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
}

fn query(asked: &Asked) -> Result<WhyQuery, Refusal> {
    let named = |name: &str| name.parse().map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() });
    Ok(WhyQuery {
        from: asked.from.clone(),
        to: asked.to.clone(),
        org: Some(asked.org.as_str()).filter(|name| !name.is_empty()).map(named).transpose()?,
        header: asked.header.clone(),
    })
}

impl Answer {
    fn of(view: &WhyView) -> Answer {
        let switch = |reason: &Reason| Switch {
            label: label(reason.switch),
            in_force: words::capital(&reason.in_force.to_string()),
            why: why_words::of(view, reason),
        };
        let narrowed = |one: &Narrowed| Switch {
            label: label(one.switch),
            in_force: words::capital(said_of(one.switch, one.in_force)),
            why: why_words::of_narrowed(view, one),
        };
        let never = |one: &Never| format!("{} ({})", one.entry, one.by);
        let [opens, links, text_links] = &view.reasons;
        let columns = opens.rows.iter().zip(&links.rows).zip(&text_links.rows);
        let level = |((opens_row, links_row), text_row): ((&Row, &Row), &Row)| LevelRow {
            level: words::capital(&opens_row.level.to_string()),
            cells: vec![cell(opens, opens_row), cell(links, links_row), cell(text_links, text_row)],
        };
        Answer {
            org: view.org.as_str().to_owned(),
            login: view.login.clone(),
            shadow: why_words::shadow(view).map(words::capital),
            switches: view.reasons.iter().map(switch).collect(),
            levels: columns.map(level).collect(),
            narrowed: view.narrowed.iter().map(narrowed).collect(),
            never: view.never.iter().map(never).collect(),
            hides_excluded: view.hides_excluded,
            unknown: why_words::unknown(&view.header_unknown),
        }
    }
}

fn cell(reason: &Reason, row: &Row) -> Cell {
    Cell {
        label: label(reason.switch),
        says: match (row.says, row.level) {
            (Some(value), _) => value.to_string(),
            (None, Level::Header) => "not mentioned".to_owned(),
            (None, Level::Recipient) => "nothing against it".to_owned(),
            (None, _) => "follows".to_owned(),
        },
        locked: row.locked,
        decides: row.level == reason.decided_by,
    }
}

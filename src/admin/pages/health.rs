//! `/health`: whether everything works, and what to do where it does not: as it was seen last, for nobody waits on this page for
//! a name server. A look goes on behind it, and the page's script fetches what it has found.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::Response;

use super::words::{self, Moment};
use super::{Frame, assets, error::PageError, html};
use crate::admin::Site;
use crate::admin::visitor::Visitor;
use crate::health::{self, Area, Check, Report};
use crate::settings::OrgName;

#[derive(Template)]
#[template(path = "health.html")]
struct HealthPage {
    frame: Frame,
    /// Fetches this page again while a look goes on.
    script: String,
    looking: bool,
    /// `None` before anything was seen.
    seen: Option<Seen>,
}

struct Seen {
    summary: String,
    at: Moment,
    sections: Vec<Section>,
}

struct Section {
    title: &'static str,
    rows: Vec<Row>,
}

struct Row {
    style: &'static str,
    state: &'static str,
    /// Which of several, and whose; empty where there is one.
    about: String,
    seen: String,
    fix: String,
}

/// `GET /health`
pub(super) async fn page(State(site): State<Arc<Site>>, visitor: Visitor) -> Result<Response, PageError> {
    let glance = site.actions.health_glance(&visitor.viewer)?;
    let seen = |report: &Report| Seen {
        summary: summary(report),
        at: words::moment(report.at_ms),
        sections: sections(&report.checks),
    };
    let page = HealthPage {
        frame: Frame::of(&site, &visitor, "Health", "/health"),
        script: assets::health_script_path(),
        looking: glance.looking,
        seen: glance.report.as_ref().map(seen),
    };
    let mut answer = html(&page);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(assets::POLICY_WITH_SCRIPT));
    Ok(answer)
}

fn summary(report: &Report) -> String {
    let counted = |state, words: &str| {
        let count = report.count(state);
        (count > 0).then(|| format!("{count} {words}"))
    };
    let bad = [
        counted(health::State::Fail, "not working"),
        counted(health::State::Warn, "to look at"),
        counted(health::State::Unknown, "not known"),
    ];
    let bad: Vec<String> = bad.into_iter().flatten().collect();
    if bad.is_empty() { "Everything works.".to_owned() } else { format!("{}.", bad.join(", ")) }
}

/// By area; in each the worst first.
fn sections(checks: &[Check]) -> Vec<Section> {
    let of = |area: Area| {
        let mut of_area: Vec<&Check> = checks.iter().filter(|check| check.area == area).collect();
        of_area.sort_by_key(|check| std::cmp::Reverse(check.state));
        Section { title: area.title(), rows: of_area.into_iter().map(row).collect() }
    };
    Area::ALL.into_iter().map(of).filter(|section| !section.rows.is_empty()).collect()
}

fn about(check: &Check) -> String {
    let org = check.org.as_ref().map(OrgName::as_str).unwrap_or_default();
    match (check.subject.as_str(), org) {
        ("", org) => org.to_owned(),
        (subject, "") => subject.to_owned(),
        (subject, org) => format!("{subject} ({org})"),
    }
}

fn row(check: &Check) -> Row {
    let (style, state) = match check.state {
        health::State::Ok => ("accepted", "ok"),
        health::State::Skipped => ("plain", "skipped"),
        health::State::Unknown => ("", "unknown"),
        health::State::Warn => ("going", "look"),
        health::State::Fail => ("refused", "fails"),
    };
    Row {
        style,
        state,
        about: words::one_line(&about(check)),
        seen: words::one_line(&check.seen),
        fix: words::one_line(&check.fix),
    }
}

//! `/audit`: who changed what, in pages, and as a file.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::feed::Pieces;
use super::query::Query;
use super::words::{self, Moment};
use super::{Frame, error::PageError, html};
use crate::admin::actions::audit::AuditPage;
use crate::admin::api::shapes::{AuditLine, AuditLines};
use crate::admin::csv;
use crate::admin::visitor::Visitor;
use crate::admin::{Refusal, Site};
use crate::store::audit::{ANSWER_MAX, AuditQuery, Author, Field, Line};

/// Whose name is not the reader's to know.
const A_SERVER_ADMIN: &str = "a server admin";
/// Pages of a file that wait for the reader.
const PIECES_MAX: usize = 2;
/// Lines of one page.
const ROWS: usize = 50;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditLog {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<u64>,
    first: bool,
    org: Option<String>,
}

struct Row {
    at: Moment,
    subject: String,
    action: &'static str,
    by: String,
    fields: Vec<Field>,
}

/// Which lines.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    before: Option<u64>,
    org: Option<String>,
}

impl Asked {
    fn query(&self) -> Result<AuditQuery, Refusal> {
        let org = self.org.as_ref().filter(|name| !name.is_empty());
        let missing = |name: &String| Refusal::NotFound { what: format!("organisation {name}") };
        let org = org.map(|name| name.parse().map_err(|_| missing(name))).transpose()?;
        Ok(AuditQuery { org, before: self.before, limit: ROWS })
    }
}

/// `GET /audit`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let page = site.actions.audit(&visitor.viewer, asked.query()?).await?;
    Ok(html(&AuditLog {
        frame: Frame::of(&site, &visitor, "Audit log", "/audit"),
        rows: page.lines.into_iter().map(row).collect(),
        next: page.next,
        first: asked.before.is_none(),
        org: asked.org,
    }))
}

/// `GET /audit/{file}`: `log.csv` or `log.json`.
pub(super) async fn export(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(file): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let attached = |name: &str| (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""));
    match file.as_str() {
        "log.csv" => {
            let kind = (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned());
            let query = AuditQuery { limit: ANSWER_MAX, ..asked.query()? };
            let first = site.actions.audit(&visitor.viewer, query.clone()).await?;
            Ok(([kind, attached("waxseal-audit.csv")], whole(site, visitor, query, first)).into_response())
        }
        "log.json" => {
            let page = site.actions.audit_export(&visitor.viewer, asked.query()?).await?;
            let lines = page.lines.into_iter().map(AuditLine::from).collect();
            Ok(([attached("waxseal-audit.json")], Json(AuditLines { lines, next: page.next })).into_response())
        }
        _ => Err(PageError::NoPage),
    }
}

/// Every line there is, a page at a time as the reader takes it. A file that is not whole says so in its last line.
fn whole(site: Arc<Site>, visitor: Visitor, query: AuditQuery, first: AuditPage) -> Body {
    let (pieces, body) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        let mut page = first;
        let mut piece = csv::row(&NAMES);
        loop {
            piece.push_str(&as_csv(&page.lines));
            if pieces.send(Bytes::from(std::mem::take(&mut piece))).await.is_err() {
                return;
            }
            let Some(before) = page.next else { return };
            let further = AuditQuery { before: Some(before), ..query.clone() };
            page = match site.actions.audit(&visitor.viewer, further).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%error, "an export of the audit log ended early: {error}");
                    // Nobody is there to hear it when this fails.
                    drop(pieces.send(Bytes::from_static(b"This file is not whole: the log failed.\r\n")).await);
                    return;
                }
            };
        }
    });
    Body::new(Pieces(body))
}

const NAMES: [&str; 11] =
    ["number", "time", "by", "via", "from", "organisation", "what", "action", "value", "before", "after"];

/// One row a value, so that a spreadsheet can sort and filter.
fn as_csv(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let (number, time) = (line.sequence.to_string(), words::moment(line.at_ms).iso);
        let Author { via, login, from } = &line.author;
        let from = from.map(|from| from.to_string()).unwrap_or_default();
        let org = line.org.as_ref().map(|org| org.as_str()).unwrap_or_default();
        let nothing = [Field { name: String::new(), before: None, after: None }];
        let fields = if line.fields.is_empty() { &nothing[..] } else { &line.fields };
        for field in fields {
            text.push_str(&csv::row(&[
                &number,
                &time,
                login.as_deref().unwrap_or(if line.by_server_admin { A_SERVER_ADMIN } else { "" }),
                via.as_str(),
                &from,
                org,
                &line.subject,
                line.action.as_str(),
                &field.name,
                field.before.as_deref().unwrap_or_default(),
                field.after.as_deref().unwrap_or_default(),
            ]));
        }
    }
    text
}

fn row(line: Line) -> Row {
    Row {
        at: words::moment(line.at_ms),
        by: author(&line),
        subject: words::one_line(&line.subject),
        action: line.action.as_str(),
        fields: line.fields,
    }
}

/// `ann, dashboard, 192.0.2.1`
fn author(line: &Line) -> String {
    let Author { via, login, from } = &line.author;
    let admin = line.by_server_admin.then(|| A_SERVER_ADMIN.to_owned());
    let parts = [login.clone().or(admin), Some(via.as_str().to_owned()), from.map(|from| from.to_string())];
    words::one_line(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

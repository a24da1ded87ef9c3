//! `/inbox`: the built-in inbox, so that a newcomer sees a tracked mail arrive, the picture load and a link lead on.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::query::Query;
use super::words::{self, Moment};
use super::{Frame, Notice, encoded, error::PageError, html, html_with};
use crate::admin::actions::inbox::{INBOX_LIST_MAX, InboxRow};
use crate::admin::mail_view;
use crate::admin::visitor::{Posted, Visitor};
use crate::admin::{Refusal, Site};

/// The mail's own document: it may load pictures and use its own styles, and links open new tabs. No script, no form, no
/// origin: the sandbox stands in the answer too, so the frame cannot be escaped by opening its address directly.
const MAIL_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
                           img-src http: https: data:; style-src 'unsafe-inline'; frame-ancestors 'self'";

#[derive(Template)]
#[template(path = "inbox.html")]
struct InboxPage {
    frame: Frame,
    rows: Vec<Row>,
    /// Address of the page with what came before.
    older: Option<String>,
    first_page: bool,
    example_command: String,
    /// The address the test-mail form suggests; no form without it.
    test_mail_to: Option<String>,
}

struct Row {
    href: String,
    at: Moment,
    subject: String,
    from: String,
    to: String,
    size: String,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct MailPage {
    frame: Frame,
    mail: Row,
    shown_from: String,
    shown_to: String,
    text: Option<String>,
    unreadable: bool,
    base: String,
}

/// What the list's address may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
    /// Only what came before this mail.
    before: Option<String>,
}

/// `GET /inbox`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(Asked { done, before }): Query<Asked>,
) -> Result<Response, PageError> {
    Ok(html(&filled(&site, &visitor, before, Notice::done(done.as_deref())).await?))
}

/// `POST /inbox/test-mail`
pub(super) async fn test_mail(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    match site.actions.send_test_mail(&visitor.viewer, None, fields.text("to")).await {
        Ok(_) => Ok(Redirect::to("/inbox?done=sent").into_response()),
        Err(wrong @ (Refusal::Invalid { .. } | Refusal::Port(_))) => {
            let notice = Some(Notice::wrong(&wrong, &fields));
            let page = filled(&site, &visitor, None, notice).await?;
            Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
        Err(refusal) => Err(visitor.refused(refusal)),
    }
}

/// `GET /inbox/{id}`
pub(super) async fn mail(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let mail = site.actions.inbox_mail(&visitor.viewer, &id).await?;
    let subject = subject_of(&mail.shown.subject);
    let row = row(InboxRow { entry: mail.entry, subject: subject.clone() });
    Ok(html(&MailPage {
        frame: Frame::of(&site, &visitor, subject, "/inbox"),
        base: row.href.clone(),
        mail: row,
        shown_from: words::one_line(&mail.shown.from),
        shown_to: words::one_line(&mail.shown.to),
        text: mail.shown.text.filter(|_| mail.shown.html.is_some()),
        unreadable: mail.shown.unreadable,
    }))
}

/// `GET /inbox/{id}/frame`: what the frame shows.
pub(super) async fn frame(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let mail = site.actions.inbox_mail(&visitor.viewer, &id).await?;
    let policies = [(header::CONTENT_SECURITY_POLICY, MAIL_POLICY), (header::REFERRER_POLICY, "no-referrer")];
    Ok((policies, Html(mail_view::document(&mail.shown))).into_response())
}

/// `GET /inbox/{id}/raw`: the octets as received, to save.
pub(super) async fn raw(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let mail = site.actions.inbox_mail(&visitor.viewer, &id).await?;
    let save =
        [(header::CONTENT_TYPE, "message/rfc822"), (header::CONTENT_DISPOSITION, "attachment; filename=\"mail.eml\"")];
    Ok((save, mail.raw).into_response())
}

async fn filled(
    site: &Site,
    visitor: &Visitor,
    before: Option<String>,
    notice: Option<Notice>,
) -> Result<InboxPage, PageError> {
    let first_page = before.is_none();
    let (rows, older) = site.actions.inbox_list(&visitor.viewer, before, INBOX_LIST_MAX).await?;
    Ok(InboxPage {
        frame: Frame::of(site, visitor, "Inbox", "/inbox").with(notice),
        rows: rows.into_iter().map(row).collect(),
        older: older.map(|id| format!("/inbox?before={}", encoded(&id))),
        first_page,
        example_command: site.options.example_command.clone(),
        test_mail_to: site.actions.test_mail_suggestion(&visitor.viewer),
    })
}

fn row(InboxRow { entry, subject }: InboxRow) -> Row {
    Row {
        href: format!("/inbox/{}", crate::admin::login::encode_next(&entry.id)),
        at: words::moment(entry.received_at_ms),
        subject: subject_of(&subject),
        from: if entry.from.is_empty() { "<>".to_owned() } else { words::one_line(&entry.from) },
        to: words::one_line(&entry.to.join(", ")),
        size: words::size(entry.size_bytes),
    }
}

fn subject_of(subject: &str) -> String {
    if subject.trim().is_empty() { "(no subject)".to_owned() } else { words::one_line(subject) }
}

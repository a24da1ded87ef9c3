//! `/setup`: how to send through this server from any program, with the values in force, and a test mail whose way is shown.
//!
//! The page of a test mail is complete without its script, which only fetches it again while something is to come.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};

use super::words::{self, Moment};
use super::{Frame, Notice, assets, error::PageError, html, html_with};
use crate::admin::actions::set_up::SetUpView;
use crate::admin::actions::test_mail::TestMailProgress;
use crate::admin::clients::{Block, Section, Span};
use crate::admin::setup::{DoorTls, SetupDoor};
use crate::admin::visitor::{Posted, Visitor};
use crate::admin::{Refusal, Site};
use crate::event::{self, EventKind, Rule};
use crate::settings::Mode;
use crate::store::record::{DeliveryState, RecipientRecord};
use crate::token::MessageId;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    frame: Frame,
    host: String,
    login: String,
    senders: String,
    doors: Vec<Door>,
    notes: Vec<String>,
    /// Programs need an app password, which is made on the account page.
    app_password: bool,
    sections: Vec<Section>,
    /// The address the test mail goes to; no form without it.
    to: Option<String>,
}

struct Door {
    port: u16,
    security: &'static str,
    who: &'static str,
}

#[derive(Template)]
#[template(path = "test_mail.html")]
struct TestMailPage {
    frame: Frame,
    script: String,
    to: String,
    message: String,
    steps: Vec<Step>,
    inbox: Option<String>,
    pending: bool,
}

struct Step {
    style: &'static str,
    state: &'static str,
    words: String,
    details: String,
    at: Option<Moment>,
}

/// `GET /setup`
pub(super) async fn page(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    html(&filled(&site, &visitor, None, None))
}

/// `POST /setup/test-mail`
pub(super) async fn send(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let to = fields.text("to");
    match site.actions.send_own_test_mail(&visitor.viewer, to).await {
        Ok(sent) => Ok(match sent.message {
            Some(id) => Redirect::to(&format!("/setup/test-mail/{id}")).into_response(),
            None => {
                let notice = format!("the mail was taken ({}), but its record could not be written", sent.words);
                html(&filled(&site, &visitor, Notice::bad(notice), Some(to)))
            }
        }),
        Err(wrong @ (Refusal::Invalid { .. } | Refusal::Port(_))) => {
            let page = filled(&site, &visitor, Notice::bad(wrong), Some(to));
            Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
        Err(refusal) => Err(visitor.refused(refusal)),
    }
}

/// `GET /setup/test-mail/{id}`
pub(super) async fn progress(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let id = id.parse::<MessageId>().map_err(|_| PageError::NoPage)?;
    let progress = site.actions.test_mail_progress(&visitor.viewer, id).await?;
    let record = &progress.view.record;
    let steps = steps(&progress);
    let page = TestMailPage {
        frame: Frame::of(&site, &visitor, "Test mail", "/setup"),
        script: assets::test_mail_script_path(),
        to: record.recipients.first().map(|to| words::one_line(&to.address)).unwrap_or_default(),
        message: format!("/messages/{id}"),
        pending: steps.iter().any(|step| step.state == WAITS),
        steps,
        inbox: progress.inbox.map(|id| format!("/inbox/{}", crate::admin::login::encode_next(&id))),
    };
    let mut answer = html(&page);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(assets::POLICY_WITH_SCRIPT));
    Ok(answer)
}

fn filled(site: &Site, visitor: &Visitor, notice: Option<Notice>, typed: Option<&str>) -> SetupPage {
    let setup = &site.options.setup;
    let SetUpView { login, senders, app_password, notes, sections } = site.actions.set_up(&visitor.viewer, setup);
    let own = site.actions.own_test_address(&visitor.viewer);
    SetupPage {
        frame: Frame::of(site, visitor, "Set up", "/setup").with(notice),
        host: setup.host.clone(),
        login: login.unwrap_or_else(|| "a login of an organisation: yours belongs to none".to_owned()),
        senders: senders.join(", "),
        doors: setup.doors.iter().map(door).collect(),
        notes,
        app_password,
        sections,
        to: own.map(|own| typed.map_or(own, str::to_owned)),
    }
}

fn door(door: &SetupDoor) -> Door {
    let security = match door.tls {
        DoorTls::StartTls => "STARTTLS",
        DoorTls::Implicit => "SSL/TLS, from the first byte",
        DoorTls::None => "none: on this machine only",
    };
    let who = if door.networks { "with a login, or from a trusted network" } else { "with a login" };
    Door { port: door.port, security, who }
}

const DONE: &str = "done";
const WAITS: &str = "waits";
const FAILED: &str = "failed";
const OFF: &str = "off";

fn steps(progress: &TestMailProgress) -> Vec<Step> {
    let record = &progress.view.record;
    let accepted = Step {
        style: "accepted",
        state: DONE,
        words: "Taken by waxseal".to_owned(),
        details: format!("from {}", words::one_line(&record.header_from)),
        at: Some(words::moment(record.accepted_at_ms)),
    };
    let delivered = record.recipients.first().map(delivered);
    let read = [EventKind::Open, EventKind::Click].map(|kind| read(progress, kind));
    [accepted].into_iter().chain(delivered).chain(read).collect()
}

fn delivered(to: &RecipientRecord) -> Step {
    let delivery = &to.delivery;
    let (style, state, said) = match delivery.state {
        _ if delivery.is_dropped() => ("refused", FAILED, "Dropped"),
        DeliveryState::Pending => ("", WAITS, "On its way upstream"),
        DeliveryState::Accepted => ("accepted", DONE, "Delivered to upstream"),
        DeliveryState::Refused => ("refused", FAILED, "Refused by upstream"),
        DeliveryState::Deferred => ("going", WAITS, "Waits in the queue and is tried again by itself"),
        DeliveryState::Unknown => ("going", WAITS, "Perhaps delivered: the connection was lost at its end"),
    };
    let at = (delivery.state != DeliveryState::Pending).then(|| words::moment(delivery.at_ms));
    Step { style, state, words: said.to_owned(), details: words::one_line(&delivery.reply), at }
}

fn read(progress: &TestMailProgress, kind: EventKind) -> Step {
    let record = &progress.view.record;
    let (done, todo) = match kind {
        EventKind::Open => ("Opened", "Not opened yet: open it in your mail program, with its pictures"),
        EventKind::Click => ("Link followed", "Its link was not followed yet"),
    };
    let step =
        |style, state, words: &str, details: String, at| Step { style, state, words: words.to_owned(), details, at };
    if let Some(first) = progress.view.timeline.iter().map(|entry| &entry.event).find(|event| event.kind == kind) {
        let judged = event::words::verdict(first.verdict, Rule::parse(&first.rule), None);
        return step("accepted", DONE, done, words::one_line(&judged), Some(words::moment(first.at_ms)));
    }
    let counted = progress.view.counts.values().any(|counts| match kind {
        EventKind::Open => counts.opens + counts.machine_opens > 0,
        EventKind::Click => counts.clicks + counts.machine_clicks > 0,
    });
    if counted {
        return step("accepted", DONE, done, "counted by the day, without a time".to_owned(), None);
    }
    let mode = record.recipients.first().map_or(Mode::Off, |to| match kind {
        EventKind::Open => to.opens,
        EventKind::Click => to.links,
    });
    match (&record.untouched, mode) {
        (Some(reason), _) => step("", OFF, "Not tracked", words::one_line(reason), None),
        (None, Mode::Off) => step("", OFF, "Not tracked: it is switched off", String::new(), None),
        (None, _) => step("", WAITS, todo, String::new(), None),
    }
}

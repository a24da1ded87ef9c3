//! `/orgs/{name}/privacy`: what the organisation asks recipients for, its footer, and what one recipient has said.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::words::{Moment, moment};
use super::{Done, Frame, Notice, error::PageError, form, html, html_with};
use crate::admin::actions::people::{Note, PersonView, PrivacyPatch, PrivacyView};
use crate::admin::api::tags;
use crate::admin::visitor::{Fields, Posted, Visitor};
use crate::admin::{Refusal, Site};
use crate::settings::privacy::{Act, Consent, FOOTER_DEFAULT, Says};
use crate::settings::{Mode, OrgName};

#[derive(Template)]
#[template(path = "privacy.html")]
struct PrivacyPage {
    frame: Frame,
    seen: String,
    name: String,
    view: PrivacyView,
    footer: String,
    shown_name: String,
    page_text: String,
    suggested: &'static str,
    address: String,
    person: Option<Person>,
}

/// One recipient, for people.
struct Person {
    says: &'static str,
    page_url: String,
    may_grant: bool,
    may_withdraw: bool,
    ledger: Vec<Line>,
}

struct Line {
    at: Moment,
    act: &'static str,
    source: String,
    wording: String,
}

/// Whom to look up.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Whom {
    #[serde(default)]
    address: String,
}

/// `GET /orgs/{name}/privacy`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(Done { done }): Query<Done>,
    Query(Whom { address }): Query<Whom>,
) -> Result<Response, PageError> {
    let name = named(&name)?;
    match filled(&site, &visitor, &name, &address, Notice::done(done.as_deref())).await {
        Err(wrong @ Refusal::Invalid { .. }) => {
            let fields = Fields::none(&format!("/orgs/{name}/privacy"));
            wrong_form(&site, &visitor, &name, &address, wrong, &fields).await
        }
        filled => Ok(html(&filled?)),
    }
}

/// `POST /orgs/{name}/privacy`
pub(super) async fn save(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let name = named(&name)?;
    let seen = fields.seen();
    let unchanged = |now: &PrivacyView| seen.is(&tags::privacy(now));
    match site.actions.set_org_privacy(&visitor.viewer, &name, patch(&fields)?, unchanged).await {
        Ok(_) => Ok(Redirect::to(&format!("/orgs/{name}/privacy?done=saved")).into_response()),
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, &fields)?;
            Ok(html_with(status, &filled(&site, &visitor, &name, "", notice).await?))
        }
    }
}

/// `POST /orgs/{name}/privacy/note`
pub(super) async fn note(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let name = named(&name)?;
    let act = Act::parse(fields.text("act")).ok_or(PageError::BadForm(StatusCode::BAD_REQUEST))?;
    let address = fields.text("address").trim().to_owned();
    let (source, wording) = (fields.text("source").to_owned(), fields.text("wording").to_owned());
    let note = Note { address: address.clone(), act, at_ms: None, source, wording };
    let wrong = match site.actions.note(&visitor.viewer, &name, vec![note]).await {
        Ok(answers) => match answers.into_iter().next() {
            Some(Err(why)) => Refusal::Conflict(why.to_string()),
            Some(Ok(_)) | None => return Ok(Redirect::to(&format!("/orgs/{name}/privacy?done=noted")).into_response()),
        },
        Err(wrong) => wrong,
    };
    wrong_form(&site, &visitor, &name, &address, wrong, &fields).await
}

async fn wrong_form(
    site: &Site,
    visitor: &Visitor,
    name: &OrgName,
    address: &str,
    wrong: Refusal,
    fields: &Fields,
) -> Result<Response, PageError> {
    let (status, notice) = form::refused(wrong, fields)?;
    let page = match filled(site, visitor, name, address, notice).await {
        // It was the address that is wrong.
        Err(again @ Refusal::Invalid { .. }) => {
            let (_, notice) = form::refused(again, fields)?;
            PrivacyPage { address: address.to_owned(), ..filled(site, visitor, name, "", notice).await? }
        }
        page => page?,
    };
    Ok(html_with(status, &page))
}

async fn filled(
    site: &Site,
    visitor: &Visitor,
    name: &OrgName,
    address: &str,
    notice: Option<Notice>,
) -> Result<PrivacyPage, Refusal> {
    let view = site.actions.org_privacy(&visitor.viewer, name)?;
    let person = match address.trim() {
        "" => None,
        address => Some(Person::from(site.actions.person(&visitor.viewer, name, address).await?)),
    };
    Ok(PrivacyPage {
        frame: Frame::of(site, visitor, format!("Privacy of {name}"), "/orgs").with(notice),
        seen: tags::privacy(&view),
        name: name.as_str().to_owned(),
        footer: view.own.footer.as_ref().map(|footer| footer.as_str().to_owned()).unwrap_or_default(),
        shown_name: view.own.shown_name.clone().unwrap_or_default(),
        page_text: view.own.page_text.clone().unwrap_or_default(),
        view,
        suggested: FOOTER_DEFAULT,
        address: address.trim().to_owned(),
        person,
    })
}

impl From<PersonView> for Person {
    fn from(view: PersonView) -> Person {
        let says = match (view.standing.says(), view.standing.stopped) {
            (Says::Yes, _) => "They agreed.",
            (Says::No, true) => "They said no on their own page; only they can take that back.",
            (Says::No, false) => "They said no.",
            (Says::Nothing, _) => "They have said nothing that counts now.",
        };
        let line = |entry: crate::store::people::LedgerEntry| Line {
            at: moment(entry.at_ms),
            act: act(entry.act),
            source: entry.source,
            wording: entry.wording,
        };
        Person {
            says,
            page_url: view.page_url,
            may_grant: !view.standing.stopped,
            may_withdraw: view.standing.says() == Says::Yes,
            ledger: view.ledger.into_iter().map(line).collect(),
        }
    }
}

fn act(act: Act) -> &'static str {
    match act {
        Act::Stop => "said no on their page",
        Act::Allow => "took their no back",
        Act::Grant => "agreed",
        Act::Refuse => "said no",
        Act::Withdraw => "took their agreement back",
    }
}

fn patch(fields: &Fields) -> Result<PrivacyPatch, PageError> {
    let damaged = || PageError::BadForm(StatusCode::BAD_REQUEST);
    let consent = match fields.text("consent") {
        "" => None,
        "follow" => Some(None),
        text => Some(Some(text.parse::<Consent>().map_err(|()| damaged())?)),
    };
    let without_consent = match fields.text("without_consent") {
        "" => None,
        "follow" => Some(None),
        text => Some(Some(text.parse::<Mode>().map_err(|_| damaged())?)),
    };
    let text = |name| fields.optional(name).map(|text| Some(text.to_owned()).filter(|text| !text.trim().is_empty()));
    Ok(PrivacyPatch {
        consent,
        without_consent,
        footer: text("footer"),
        shown_name: text("shown_name"),
        page_text: text("page_text"),
    })
}

fn named(name: &str) -> Result<OrgName, PageError> {
    name.parse().map_err(|_| PageError::NoPage)
}

//! `/api/v1/orgs/{name}/privacy`, `/api/v1/orgs/{name}/people`, `/api/v1/privacy/…`

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::etag::{IfMatch, tagged};
use super::linked::{self, Linked};
use super::messages::not_a_place;
use super::shapes::people::{
    About, Erased, Export, NotePost, Noted, NotesPost, OrgPrivacy, OrgPrivacyPatch, Person, PersonLine, Said, says,
};
use super::{Api, Body, Path, Problem, Query};
use crate::admin::Refusal;
use crate::admin::actions::people::{HELD_MAX, Note, PeoplePage, PrivacyPatch, PrivacyView};
use crate::settings::OrgName;
use crate::settings::privacy::Act;
use crate::token::PersonId;

/// Whom to look up; nobody: the list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Whom {
    /// Whose; without it the list.
    address: Option<String>,
    /// Of the list: after this one, `<milliseconds>-<person>`.
    after: Option<String>,
    /// Of the list: rows; 1,000 at most.
    limit: Option<usize>,
}

/// A list, or one recipient.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only describes what is sent")]
pub(super) enum People {
    All(Vec<PersonLine>),
    One(Box<Person>),
}

/// What it asks of its recipients, and its footer.
#[utoipa::path(get, path = "/api/v1/orgs/{name}/privacy", tag = "orgs", operation_id = "people_privacy",
    responses((status = 200, body = OrgPrivacy, headers(("ETag" = String)))))]
pub(super) async fn privacy(api: Api, Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    Ok(tagged(OrgPrivacy::from(api.actions.org_privacy(&api.viewer, &named(&name)?)?)))
}

/// Changes that, all of it or nothing.
#[utoipa::path(patch, path = "/api/v1/orgs/{name}/privacy", tag = "orgs", operation_id = "people_set_privacy",
    request_body = OrgPrivacyPatch,
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag that was read")),
    responses((status = 200, body = OrgPrivacy, headers(("ETag" = String)))))]
pub(super) async fn set_privacy(
    api: Api,
    Path(name): Path<String>,
    if_match: IfMatch,
    Body(patch): Body<OrgPrivacyPatch>,
) -> Result<impl IntoResponse, Problem> {
    let patch = PrivacyPatch {
        consent: patch.consent.as_deref().map(|text| word("consent", text, "none, required, follow")).transpose()?,
        without_consent: patch
            .without_consent
            .as_deref()
            .map(|text| word("without_consent", text, "off, aggregate, follow"))
            .transpose()?,
        footer: patch.footer.map(filled),
        shown_name: patch.shown_name.map(filled),
        page_text: patch.page_text.map(filled),
    };
    let seen = |now: &PrivacyView| if_match.allows(&OrgPrivacy::from(now.clone()));
    let view = api.actions.set_org_privacy(&api.viewer, &named(&name)?, patch, seen).await?;
    Ok(tagged(OrgPrivacy::from(view)))
}

/// Who has said something, by hash; or one recipient by address.
#[utoipa::path(get, path = "/api/v1/orgs/{name}/people", tag = "orgs", operation_id = "people_people",
    params(("name" = String, Path), Whom), responses((status = 200, body = People, headers(("Link" = String)))))]
pub(super) async fn people(
    api: Api,
    Path(name): Path<String>,
    Query(Whom { address, after, limit }): Query<Whom>,
) -> Result<Response, Problem> {
    let name = named(&name)?;
    if let Some(address) = address {
        let one = Person::from(api.actions.person(&api.viewer, &name, &address).await?);
        return Ok(Json(one).into_response());
    }
    let after = after.map(|text| place(&text).ok_or_else(|| not_a_place("after", &text))).transpose()?;
    let limit = linked::rows(limit);
    let PeoplePage { people, next } = api.actions.people(&api.viewer, &name, after, limit)?;
    let next = next.map(|(at_ms, person)| vec![("after", format!("{at_ms}-{person}")), ("limit", limit.to_string())]);
    Ok(Linked { rows: people.into_iter().map(PersonLine::from).collect(), next }.into_response())
}

/// A row of the list, as `next` of its page names it.
fn place(text: &str) -> Option<(i64, PersonId)> {
    let (at_ms, person) = text.rsplit_once('-')?;
    Some((at_ms.parse().ok()?, person.parse().ok()?))
}

/// Notes what recipients have said, with where and in which words.
#[utoipa::path(post, path = "/api/v1/orgs/{name}/people", tag = "orgs", operation_id = "people_note",
    request_body = NotesPost, responses((status = 200, body = Vec<Noted>)))]
pub(super) async fn note(
    api: Api,
    Path(name): Path<String>,
    Body(NotesPost { notes }): Body<NotesPost>,
) -> Result<Json<Vec<Noted>>, Problem> {
    let notes = notes.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let answers = api.actions.note(&api.viewer, &named(&name)?, notes).await?;
    let noted = answers.into_iter().map(|answer| match answer {
        Ok(standing) => Noted { says: Some(says(standing.says()).to_owned()), why_not: None },
        Err(why) => Noted { says: None, why_not: Some(why.to_string()) },
    });
    Ok(Json(noted.collect()))
}

/// Everything kept of one address as a recipient.
#[utoipa::path(post, path = "/api/v1/privacy/export", tag = "privacy", operation_id = "people_export",
    request_body = About, responses((status = 200, body = Export)))]
pub(super) async fn export(api: Api, Body(about): Body<About>) -> Result<Json<Export>, Problem> {
    let org = about.org.as_deref().map(named).transpose()?;
    let mails = api.actions.held(&api.viewer, &about.address, org.clone()).await?;
    let mut said = Vec::new();
    for view in
        api.actions.orgs(&api.viewer).into_iter().filter(|view| org.as_ref().is_none_or(|o| *o == view.org.name))
    {
        let person = api.actions.person(&api.viewer, &view.org.name, &about.address).await?;
        if !person.ledger.is_empty() {
            said.push(Said { org: view.org.name.as_str().to_owned(), person: person.into() });
        }
    }
    let more_mails = mails.len() >= HELD_MAX as usize;
    Ok(Json(Export { address: about.address, said, mails: mails.into_iter().map(Into::into).collect(), more_mails }))
}

/// Takes one address out of everything kept.
#[utoipa::path(post, path = "/api/v1/privacy/erase", tag = "privacy", operation_id = "people_erase",
    request_body = About, responses((status = 200, body = Erased)))]
pub(super) async fn erase(api: Api, Body(about): Body<About>) -> Result<Json<Erased>, Problem> {
    let org = about.org.as_deref().map(named).transpose()?;
    let mails = api.actions.erase(&api.viewer, &about.address, org).await?;
    Ok(Json(Erased { mails }))
}

fn read(post: NotePost) -> Result<Note, Problem> {
    let NotePost { address, act, at, source, wording } = post;
    let invalid = |field, detail: String| Problem::from(Refusal::Invalid { field, detail });
    let act = Act::parse(&act).ok_or_else(|| invalid("act", format!("{act:?} is none of grant, refuse, withdraw")))?;
    let at_ms = at
        .map(|text| text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| text))
        .transpose()
        .map_err(|text| invalid("at", format!("{text:?} is no time; write 2026-11-23T20:00:00Z")))?;
    Ok(Note { address, act, at_ms, source, wording })
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.trim().is_empty())
}

fn word<T: std::str::FromStr>(field: &'static str, text: &str, good: &str) -> Result<Option<T>, Problem> {
    match text {
        "follow" => Ok(None),
        other => other
            .parse()
            .map(Some)
            .map_err(|_| Refusal::Invalid { field, detail: format!("{other:?} is none of {good}") }.into()),
    }
}

fn named(name: &str) -> Result<OrgName, Problem> {
    name.parse().map_err(|_| Refusal::NotFound { what: format!("organisation {name}") }.into())
}

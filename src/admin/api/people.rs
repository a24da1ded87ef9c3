//! `/api/v1/orgs/{name}/privacy`, `/api/v1/orgs/{name}/people`, `/api/v1/privacy/…`

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;

use super::shapes::people::{
    About, Erased, Export, NotePost, Noted, NotesPost, OrgPrivacy, OrgPrivacyPatch, Person, PersonLine, Said, says,
};
use super::{Api, Body, Problem, Query};
use crate::admin::Refusal;
use crate::admin::actions::people::{Note, PrivacyPatch};
use crate::settings::OrgName;
use crate::settings::privacy::Act;

/// Whom to look up; nobody: the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Whom {
    address: Option<String>,
}

/// A list, or one recipient.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub(super) enum People {
    All(Vec<PersonLine>),
    One(Box<Person>),
}

pub(super) async fn privacy(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<OrgPrivacy>, Problem> {
    Ok(Json(api.actions.org_privacy(&api.viewer, &named(&name)?)?.into()))
}

pub(super) async fn set_privacy(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(patch): Body<OrgPrivacyPatch>,
) -> Result<Json<OrgPrivacy>, Problem> {
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
    Ok(Json(api.actions.set_org_privacy(&api.viewer, &named(&name)?, patch).await?.into()))
}

pub(super) async fn people(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(Whom { address }): Query<Whom>,
) -> Result<Json<People>, Problem> {
    let name = named(&name)?;
    Ok(Json(match address {
        None => People::All(api.actions.people(&api.viewer, &name)?.into_iter().map(PersonLine::from).collect()),
        Some(address) => People::One(Box::new(api.actions.person(&api.viewer, &name, &address).await?.into())),
    }))
}

pub(super) async fn note(
    State(api): State<Api>,
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

pub(super) async fn export(State(api): State<Api>, Body(about): Body<About>) -> Result<Json<Export>, Problem> {
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
    Ok(Json(Export { address: about.address, said, mails: mails.into_iter().map(Into::into).collect() }))
}

pub(super) async fn erase(State(api): State<Api>, Body(about): Body<About>) -> Result<Json<Erased>, Problem> {
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

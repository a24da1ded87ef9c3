//! `/people`: whom the visitor wrote to, and one of them across mails.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::query::Query;
use super::words::{self, Moment};
use super::{Frame, encoded, error::PageError, html, place};
use crate::admin::Site;
use crate::admin::actions::readers::{ReaderQuery, ReaderView};
use crate::admin::visitor::Visitor;
use crate::settings::Mode;
use crate::settings::privacy::Says;
use crate::store::record::{Correspondent, Counts, Held};

/// Rows of one page.
const ROWS: u32 = 50;
/// Places and programs shown.
const SHOWN_MAX: usize = 8;

/// What a page's address may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    address: String,
    #[serde(default)]
    after: String,
    /// Of one person: only mails before this one.
    #[serde(default)]
    before: String,
}

#[derive(Template)]
#[template(path = "people.html")]
struct People {
    frame: Frame,
    rows: Vec<Row>,
    holding: String,
    older: Option<String>,
    first_page: bool,
}

struct Row {
    href: String,
    address: String,
    name: String,
    last: Moment,
    mails: u64,
    /// `None` where it is not recorded for this person.
    opens: Option<i64>,
    clicks: i64,
    machines: i64,
}

#[derive(Template)]
#[template(path = "person.html")]
struct Person {
    frame: Frame,
    address: String,
    /// Empty: they are called nothing.
    name: String,
    says: Vec<(String, &'static str)>,
    opens_mean_little: bool,
    places: Vec<(String, usize)>,
    programs: Vec<(String, usize)>,
    mails: Vec<Mail>,
    /// Addresses of the page with older mails, and of the first one when this is another.
    older: Option<String>,
    newest: Option<String>,
}

struct Mail {
    href: String,
    subject: String,
    at: Moment,
    state: &'static str,
    state_words: &'static str,
    opens: String,
    clicks: String,
    machines: i64,
}

/// `GET /people`
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(Asked { address, after, .. }): Query<Asked>,
) -> Result<Response, PageError> {
    let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let query = ReaderQuery { holding: text(&address), after: text(&after), limit: ROWS, ..ReaderQuery::default() };
    let page = site.actions.readers(&visitor.viewer, query).await?;
    let next = |after: String| format!("/people?address={}&after={}", encoded(address.trim()), encoded(&after));
    Ok(html(&People {
        frame: Frame::of(&site, &visitor, "People", "/people"),
        rows: page.rows.into_iter().map(row).collect(),
        older: page.next.map(next),
        first_page: after.trim().is_empty(),
        holding: address.trim().to_owned(),
    }))
}

fn row(one: Correspondent) -> Row {
    Row {
        href: format!("/people/one?address={}", encoded(&one.address)),
        address: words::one_line(&one.address),
        name: words::one_line(&one.name),
        last: words::moment(one.last_ms),
        mails: one.mails,
        opens: (one.opens_known > 0).then_some(one.counts.opens),
        clicks: one.counts.clicks,
        machines: one.counts.machine_opens + one.counts.machine_clicks,
    }
}

/// `GET /people/one`
pub(super) async fn one(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(Asked { address, before, .. }): Query<Asked>,
) -> Result<Response, PageError> {
    let view = site.actions.reader(&visitor.viewer, &address, place::read(&before)).await?;
    let ReaderView { address, name, mails, next, says, places, programs, opens_mean_little } = view;
    let href = format!("/people/one?address={}", encoded(&address));
    let (address, name) = (words::one_line(&address), words::one_line(&name));
    let title = if name.is_empty() { address.clone() } else { name.clone() };
    let shown = |rows: Vec<(String, usize)>| -> Vec<(String, usize)> {
        rows.into_iter().take(SHOWN_MAX).map(|(name, count)| (words::one_line(&name), count)).collect()
    };
    Ok(html(&Person {
        frame: Frame::of(&site, &visitor, title, "/people"),
        address,
        name,
        says: says.into_iter().map(|(org, says)| (org.as_str().to_owned(), said(says))).collect(),
        opens_mean_little,
        places: shown(places),
        programs: shown(programs),
        mails: mails.iter().map(mail).collect(),
        older: next.map(|at| format!("{href}&before={}", place::print(at))),
        newest: Some(href).filter(|_| !before.is_empty()),
    }))
}

fn said(says: Says) -> &'static str {
    match says {
        Says::Nothing => "has said nothing: the organisation’s rule decides",
        Says::Yes => "has agreed to be tracked",
        Says::No => "does not want to be tracked: nothing is put in, nothing recorded",
    }
}

fn mail(held: &Held) -> Mail {
    let sum = |sum: Counts, event: &crate::event::Event| sum.and(Counts::of(event.kind, event.verdict));
    let counts = held.events.iter().fold(Counts::default(), sum);
    let number = |mode: Mode, number: i64| match mode {
        Mode::Off => "not tracked".to_owned(),
        Mode::Aggregate => "counted together".to_owned(),
        Mode::Individual => number.to_string(),
    };
    let subject = words::one_line(&held.subject);
    Mail {
        href: format!("/messages/{}", held.message),
        subject: if subject.trim().is_empty() { "(no subject)".to_owned() } else { subject },
        at: words::moment(held.accepted_at_ms),
        state: held.recipient.delivery.state.as_str(),
        state_words: words::delivery(&held.recipient.delivery),
        opens: number(held.recipient.opens, counts.opens),
        clicks: number(held.recipient.links, counts.clicks),
        machines: counts.machine_opens + counts.machine_clicks,
    }
}

//! `/messages/{id}`: one mail: who got it, what happened since, where its links lead, what was not tracked and why.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::words::{self, Moment};
use super::{Done, Frame, Notice, error::PageError, html_with};
use crate::admin::actions::links::LinkChange;
use crate::admin::actions::messages::MessageView;
use crate::admin::login::encode_next;
use crate::admin::visitor::{Posted, Visitor};
use crate::admin::{Refusal, Site};
use crate::event::reading::Read;
use crate::event::{self, Event, EventKind, Evidence, Rule, Verdict};
use crate::settings::Mode;
use crate::store::Override;
use crate::store::record::{DeliveryState, MessageRecord, RecipientRecord, TimelineEntry};
use crate::token::MessageId;

/// A day, in milliseconds: where an event that is kept by the day stands.
const DAY_MS: i64 = 86_400_000;
/// With more recipients than this the timeline shows what readers did, not each delivery.
const DELIVERIES_IN_TIMELINE_MAX: usize = 20;

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    frame: Frame,
    id: String,
    subject: String,
    from: String,
    sent_by: String,
    org: String,
    at: Moment,
    size: String,
    message_id_header: String,
    untouched: Option<String>,
    recipients: Vec<RecipientCard>,
    timeline: Vec<Line>,
    timeline_cut: bool,
    /// There are people's events, and no place is known of any.
    no_places: bool,
    links: Vec<LinkRow>,
    notes: Vec<String>,
}

/// One recipient.
#[derive(Debug, PartialEq, Eq)]
struct RecipientCard {
    /// Empty: they are called nothing.
    name: String,
    address: String,
    state: &'static str,
    state_words: &'static str,
    reply: String,
    opens: String,
    clicks: String,
    /// `read (inferred)`, when a link was followed and no open is on record.
    inferred: bool,
    /// Two countries or more than three networks.
    shared: bool,
    /// Where each level's part in its tracking is told; empty for one who was erased.
    why: String,
}

/// One line of the timeline.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    at_ms: i64,
    at: Moment,
    /// `sent`, `open`, `click`, `machine`, or a delivery state: the colour of its dot.
    kind: &'static str,
    before: &'static str,
    who: String,
    what: &'static str,
    link: String,
    /// How often, when more than once within a minute.
    times: Option<u32>,
    /// Client, place, verdict; whatever is known.
    details: Vec<String>,
    /// What may be said of an event.
    claim: Option<Claim>,
}

/// "This was me", or that taken back.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    sequence: i64,
    said: bool,
}

struct LinkRow {
    index: u16,
    destination: String,
    clicks: String,
    /// Who, and how often.
    followers: Vec<(String, String)>,
    now: Option<String>,
    withdrawn: bool,
}

/// `GET /messages/{id}`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(Done { done }): Query<Done>,
) -> Result<Response, PageError> {
    show(&site, &visitor, parse_id(&id)?, StatusCode::OK, Notice::done(done.as_deref())).await
}

/// `POST /messages/{id}/links/{index}`
pub(super) async fn change_link(
    State(site): State<Arc<Site>>,
    Path((id, index)): Path<(String, u16)>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let id = parse_id(&id)?;
    let change = match fields.text("do") {
        "to" => LinkChange::To(fields.text("destination").to_owned()),
        "withdraw" => LinkChange::Withdraw,
        "restore" => LinkChange::Restore,
        _ => return Err(PageError::BadForm(StatusCode::BAD_REQUEST)),
    };
    match site.actions.change_link(&visitor.viewer, id, index, change, |_| true).await {
        Ok(_) => Ok(Redirect::to(&format!("/messages/{id}?done=link#links")).into_response()),
        Err(wrong @ Refusal::Invalid { .. }) => {
            show(&site, &visitor, id, StatusCode::UNPROCESSABLE_ENTITY, Notice::bad(wrong)).await
        }
        Err(refusal) => Err(visitor.refused(refusal)),
    }
}

/// `POST /messages/{id}/events`
pub(super) async fn say_own(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let id = parse_id(&id)?;
    let (own, text) = match (fields.optional("own"), fields.optional("not_own")) {
        (Some(text), None) => (true, text),
        (None, Some(text)) => (false, text),
        _ => return Err(PageError::BadForm(StatusCode::BAD_REQUEST)),
    };
    let sequence = text.parse().map_err(|_| PageError::BadForm(StatusCode::BAD_REQUEST))?;
    match site.actions.say_own(&visitor.viewer, id, sequence, own).await {
        Ok(()) => Ok(Redirect::to(&format!("/messages/{id}?done=own#happened")).into_response()),
        Err(wrong @ Refusal::Conflict(_)) => {
            show(&site, &visitor, id, StatusCode::UNPROCESSABLE_ENTITY, Notice::bad(wrong)).await
        }
        Err(refusal) => Err(visitor.refused(refusal)),
    }
}

async fn show(
    site: &Site,
    visitor: &Visitor,
    id: MessageId,
    status: StatusCode,
    notice: Option<Notice>,
) -> Result<Response, PageError> {
    let view = site.actions.message(&visitor.viewer, id).await?;
    let subject = subject_of(&view.record);
    let record = &view.record;
    let page = MessagePage {
        frame: Frame::of(site, visitor, subject.clone(), "/").with(notice),
        id: id.to_string(),
        subject,
        from: words::one_line(&record.header_from),
        sent_by: record.login.clone().unwrap_or_else(|| "a trusted network, without login".to_owned()),
        org: record.org.as_str().to_owned(),
        at: words::moment(record.accepted_at_ms),
        size: words::size(record.size_bytes),
        message_id_header: words::one_line(&record.message_id_header),
        untouched: record.untouched.clone(),
        recipients: record.recipients.iter().map(|recipient| card(&view, recipient)).collect(),
        timeline: timeline(&view),
        timeline_cut: view.timeline_cut,
        no_places: no_places(&view),
        links: links(&view),
        notes: record.notes.iter().map(|note| words::one_line(note)).collect(),
    };
    Ok(html_with(status, &page))
}

fn parse_id(text: &str) -> Result<MessageId, Refusal> {
    text.parse().map_err(|_| Refusal::NotFound { what: "such message".to_owned() })
}

fn subject_of(record: &MessageRecord) -> String {
    let subject = words::one_line(&record.subject);
    if subject.trim().is_empty() { "(no subject)".to_owned() } else { subject }
}

/// How one kind of event is spoken of.
struct KindWords {
    kind: EventKind,
    none: &'static str,
    verb: &'static str,
    nouns: &'static str,
    off: &'static str,
}

const OPENS: KindWords = KindWords {
    kind: EventKind::Open,
    none: "not opened yet",
    verb: "opened",
    nouns: "opens",
    off: "opens not tracked",
};
const CLICKS: KindWords = KindWords {
    kind: EventKind::Click,
    none: "no link followed yet",
    verb: "clicked",
    nouns: "clicks",
    off: "links not tracked",
};

fn card(view: &MessageView, recipient: &RecipientRecord) -> RecipientCard {
    RecipientCard {
        name: words::one_line(&recipient.name),
        address: words::one_line(&recipient.address),
        state: recipient.delivery.state.as_str(),
        state_words: words::delivery(&recipient.delivery),
        reply: words::one_line(&recipient.delivery.reply),
        opens: so_far(view, recipient, recipient.opens, &OPENS),
        clicks: so_far(view, recipient, recipient.links, &CLICKS),
        inferred: view.readings.get(&recipient.index).is_some_and(|reading| reading.read == Read::Inferred),
        shared: view.readings.get(&recipient.index).is_some_and(|reading| reading.shared),
        why: why(&view.record, recipient),
    }
}

/// Name, else address: also where two recipients have one name.
fn called(record: &MessageRecord, name: &str, address: &str) -> String {
    let shared = || record.recipients.iter().filter(|one| one.name == name).nth(1).is_some();
    words::one_line(if name.is_empty() || shared() { address } else { name })
}

fn why(record: &MessageRecord, recipient: &RecipientRecord) -> String {
    if !recipient.address.contains('@') {
        return String::new();
    }
    let from = record.login.as_deref().unwrap_or(&record.reverse_path);
    let [from, to] = [from, &recipient.address].map(encode_next);
    format!("/why?org={}&from={from}&to={to}", record.org)
}

fn so_far(view: &MessageView, recipient: &RecipientRecord, mode: Mode, kind: &KindWords) -> String {
    let counts = view.counts.get(&recipient.copy_index).copied().unwrap_or_default();
    match mode {
        Mode::Off => kind.off.to_owned(),
        Mode::Aggregate => format!("{} counted together", kind.nouns),
        Mode::Individual if view.shared.contains(&recipient.copy_index) => format!("{} of a shared copy", kind.nouns),
        Mode::Individual => {
            let (people, machines) = match kind.kind {
                EventKind::Open => (counts.opens, counts.machine_opens),
                EventKind::Click => (counts.clicks, counts.machine_clicks),
            };
            let times = |number: i64| words::times(usize::try_from(number).unwrap_or_default());
            let by_people = if people > 0 { format!("{} {}", kind.verb, times(people)) } else { kind.none.to_owned() };
            if machines > 0 {
                format!("{by_people} (and {} by machines or your own)", times(machines))
            } else {
                by_people
            }
        }
    }
}

fn timeline(view: &MessageView) -> Vec<Line> {
    let record = &view.record;
    let sent = Line {
        at_ms: record.accepted_at_ms,
        at: words::moment(record.accepted_at_ms),
        kind: "sent",
        before: "",
        who: words::one_line(&record.header_from),
        what: "sent it",
        link: String::new(),
        times: None,
        details: Vec::new(),
        claim: None,
    };
    let few = record.recipients.len() <= DELIVERIES_IN_TIMELINE_MAX;
    let settled = |r: &&RecipientRecord| few && r.delivery.state != DeliveryState::Pending;
    let mut lines = vec![sent];
    lines.extend(record.recipients.iter().filter(settled).map(|recipient| delivery_line(record, recipient)));
    lines.extend(view.timeline.iter().map(|entry| event_line(view, entry)));
    lines.sort_by_key(|line| line.at_ms);
    lines
}

/// An event that is kept by the day stands at its end, for when it was nobody knows.
fn shown_at(event: &Event) -> (i64, Moment) {
    if event.is_by_day() {
        return (event.at_ms + DAY_MS - 1, words::day(event.at_ms));
    }
    (event.at_ms, words::moment(event.at_ms))
}

/// Places are asked for and none is known: that is said once, not at each event.
fn no_places(view: &MessageView) -> bool {
    let mut of_readers =
        view.timeline.iter().map(|entry| &entry.event).filter(|event| {
            event.network_hash.is_some() && matches!(event.verdict, Verdict::Person | Verdict::Unknown)
        });
    let some = of_readers.next();
    some.is_some_and(|first| std::iter::once(first).chain(of_readers).all(|e| e.country.is_none() && e.city.is_none()))
}

fn delivery_line(record: &MessageRecord, recipient: &RecipientRecord) -> Line {
    let delivery = &recipient.delivery;
    let before = match delivery.state {
        _ if delivery.is_dropped() => "Dropped for",
        DeliveryState::Pending => "On its way to",
        DeliveryState::Accepted => "Delivered to",
        DeliveryState::Refused => "Refused for",
        DeliveryState::Deferred => "Not delivered yet to",
        DeliveryState::Unknown => "Perhaps delivered to",
    };
    let said = (delivery.state != DeliveryState::Accepted && !delivery.reply.is_empty())
        .then(|| words::one_line(&delivery.reply));
    Line {
        at_ms: delivery.at_ms,
        at: words::moment(delivery.at_ms),
        kind: delivery.state.as_str(),
        before,
        who: called(record, &recipient.name, &recipient.address),
        what: "",
        link: String::new(),
        times: None,
        details: said.into_iter().collect(),
        claim: None,
    }
}

fn event_line(view: &MessageView, entry: &TimelineEntry) -> Line {
    let event = &entry.event;
    let who = match &entry.recipient {
        Some(who) => called(&view.record, &who.name, &who.address),
        // Several recipients got one copy, so its events are one of theirs, nobody knows whose.
        None if view.shared.contains(&event.id.recipient) => "One of the recipients".to_owned(),
        None => "Somebody".to_owned(),
    };
    let mut details = event::words::details(event);
    if let Some(Evidence { address, agent }) = &event.evidence {
        details.push(format!("{address}, {}", agent.as_deref().unwrap_or("no User-Agent")));
    }
    let details = details.iter().map(|detail| words::one_line(detail)).collect();
    let times = (event.repeats > 0).then(|| event.repeats.saturating_add(1));
    let (kind, what) = match event.kind {
        EventKind::Open => ("open", "opened it"),
        EventKind::Click if entry.destination.is_some() => ("click", "followed"),
        EventKind::Click => ("click", "followed a link"),
    };
    let link = words::link(entry.destination.as_deref().unwrap_or_default());
    let kind = if event.verdict.counts() { kind } else { "machine" };
    let (at_ms, at) = shown_at(event);
    let said = event.verdict == Verdict::Own && event.rule == Rule::SaidSo.as_str();
    // A machine's is nobody's, whatever is said of it.
    let claim = (said || event.verdict.counts()).then_some(Claim { sequence: entry.sequence, said });
    Line { at_ms, at, kind, before: "", who, what, link, times, details, claim }
}

/// Who followed a link, by copy: of a copy for one alone we say who.
fn followers(view: &MessageView, link: u16) -> Vec<(String, String)> {
    let of_link = view.link_counts.iter().filter(|count| count.link == link && count.clicks > 0);
    let named = of_link.filter_map(|count| {
        let recipient = view.record.recipients.iter().find(|r| r.index == count.copy_index)?;
        let alone = recipient.links == Mode::Individual && !view.shared.contains(&count.copy_index);
        let times = words::times(usize::try_from(count.clicks).unwrap_or_default());
        alone.then(|| (called(&view.record, &recipient.name, &recipient.address), times))
    });
    named.collect()
}

fn links(view: &MessageView) -> Vec<LinkRow> {
    let sum = |index: u16| {
        let of_link = view.link_counts.iter().filter(|count| count.link == index);
        of_link.fold((0, 0), |sum, count| (sum.0 + count.clicks, sum.1 + count.machine_clicks))
    };
    let clicks = |index: u16| {
        let (people, machines) = sum(index);
        let people = words::count(people.max(0).unsigned_abs(), "click");
        if machines > 0 { format!("{people} (and {machines} by machines or your own)") } else { people }
    };
    let row = |link: &crate::store::record::LinkRecord| LinkRow {
        index: link.index,
        destination: words::link(&link.destination),
        clicks: clicks(link.index),
        followers: followers(view, link.index),
        now: match view.overrides.get(&link.index) {
            Some(Override::Destination(to)) => Some(words::link(to)),
            _ => None,
        },
        withdrawn: view.overrides.get(&link.index) == Some(&Override::Withdrawn),
    };
    view.record.links.iter().map(row).collect()
}

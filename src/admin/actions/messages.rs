//! Messages and what happened to them, as far as the viewer may see.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::{Actions, Refusal};
use crate::admin::viewer::{Sight, Viewer};
use crate::event::reading::Reading;
use crate::settings::{Mode, OrgName};
use crate::store::record::{
    CopySpread, Counts, LinkCount, MessageFilter, MessageRecord, MessageSummary, RecipientRecord, TimelineEntry, Wanted,
};
use crate::store::{Override, TimelineFilter};
use crate::token::MessageId;

/// Most rows of one page of messages.
pub const MESSAGES_PER_PAGE_MAX: u32 = 500;
/// Most events of one answer; the store's own bound.
pub const EVENTS_PER_ANSWER_MAX: u32 = 1000;
/// How often the history is asked while somebody waits for the next event: half a second is soon enough for a person
/// and costs one indexed read.
const EVENT_POLL: Duration = Duration::from_millis(500);

/// Which messages to list.
#[derive(Debug, Clone, Default)]
pub struct MessageQuery {
    /// Only this org.
    pub org: Option<OrgName>,
    /// Only this login's.
    pub login: Option<String>,
    /// The page after this row.
    pub before: Option<(i64, MessageId)>,
    /// The page before this row.
    pub after: Option<(i64, MessageId)>,
    /// Only what fits.
    pub wanted: Wanted,
    /// At most this many; [`MESSAGES_PER_PAGE_MAX`] is the most.
    pub limit: u32,
}

/// A line of the message list, with what the viewer may not see left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Its id.
    pub id: MessageId,
    /// Unix milliseconds.
    pub accepted_at_ms: i64,
    /// Whose mail.
    pub org: OrgName,
    /// The login, if any.
    pub login: Option<String>,
    /// The From header's mailbox and the subject; `None` when the viewer sees counts only.
    pub words: Option<Words>,
    /// How many recipients.
    pub recipients: u32,
    /// How many of them upstream accepted.
    pub accepted: u32,
    /// Opens recorded, by people as far as one can tell.
    pub opens: u64,
    /// Clicks recorded, likewise.
    pub clicks: u64,
    /// Opens by machines and the sender.
    pub machine_opens: u64,
    /// Clicks by machines and the sender.
    pub machine_clicks: u64,
    /// Whether anything was rewritten.
    pub tracked: bool,
}

/// What a mail says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The From header's mailbox.
    pub from: String,
    /// Decoded Subject.
    pub subject: String,
}

/// Rows, newest first, and where the next page begins.
#[derive(Debug, Clone)]
pub struct MessagePage {
    /// Newest first.
    pub rows: Vec<MessageRow>,
    /// `before` of the next page, with older ones; `None` on the last one.
    pub next: Option<(i64, MessageId)>,
    /// `after` of the page before, with newer ones; `None` on the first one.
    pub previous: Option<(i64, MessageId)>,
}

/// One mail with everything known of it.
#[derive(Debug, Clone)]
pub struct MessageView {
    /// The record.
    pub record: MessageRecord,
    /// Its newest events, oldest first, at most [`EVENTS_PER_ANSWER_MAX`].
    pub timeline: Vec<TimelineEntry>,
    /// There are more events, older ones, than the timeline holds.
    pub timeline_cut: bool,
    /// What was counted of each copy, however many events there are; by the copy's index.
    pub counts: BTreeMap<u16, Counts>,
    /// Copies that several recipients got, by index: nobody can tell whose their events are.
    pub shared: HashSet<u16>,
    /// What is known of each recipient with a copy of their own, however many events there are; by the recipient's index.
    pub readings: BTreeMap<u16, Reading>,
    /// The clicks of its links, by link and copy.
    pub link_counts: Vec<LinkCount>,
    /// What was done to its links after sending.
    pub overrides: BTreeMap<u16, Override>,
}

/// Which events to read.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Only this message's.
    pub message: Option<MessageId>,
    /// Only this org's.
    pub org: Option<OrgName>,
    /// Only this login's.
    pub login: Option<String>,
    /// Only events recorded after this one, and of those only what is not counted by the day; `None`: the newest there are.
    pub after_sequence: Option<i64>,
    /// Only events recorded before this one.
    pub before_sequence: Option<i64>,
    /// At most this many; [`EVENTS_PER_ANSWER_MAX`] is the most.
    pub limit: u32,
}

impl Actions {
    /// A page of messages, newest first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for another organisation or another person's mail; [`Refusal::Store`].
    pub async fn messages(&self, viewer: &Viewer, query: MessageQuery) -> Result<MessagePage, Refusal> {
        // Whoever sees only the counts of a mail does not learn its words by searching for them.
        let Wanted { recipient, subject, sender, .. } = &query.wanted;
        let narrow = match (recipient, subject, sender) {
            (None, None, None) => Narrow::ToCounts,
            _ => Narrow::ToOwn,
        };
        let (org, login) = scope(viewer, query.org, query.login, narrow)?;
        let limit = query.limit.clamp(1, MESSAGES_PER_PAGE_MAX);
        let MessageQuery { before, after, wanted, .. } = query;
        let found = self.history.messages(MessageFilter { org, login, before, after, wanted, limit }).await?;
        let place = |summary: &MessageSummary| (summary.accepted_at_ms, summary.id);
        let full = found.len() >= limit as usize;
        let next = found.last().map(place).filter(|_| full || after.is_some());
        let previous = found.first().map(place).filter(|_| before.is_some() || (after.is_some() && full));
        let rows = found.into_iter().filter_map(|summary| row(viewer, summary)).collect();
        Ok(MessagePage { rows, next, previous })
    }

    /// One message, whole.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it is not there or not the viewer's to know of; [`Refusal::Forbidden`] when the viewer
    /// may only see its counts; [`Refusal::Store`].
    pub async fn message(&self, viewer: &Viewer, id: MessageId) -> Result<MessageView, Refusal> {
        let record = self.whole_message(viewer, id).await?;
        let limit = EVENTS_PER_ANSWER_MAX;
        let filter = TimelineFilter { message: Some(id), newest: true, limit, ..TimelineFilter::default() };
        let timeline = self.history.timeline(filter).await?;
        let timeline_cut = timeline.len() >= EVENTS_PER_ANSWER_MAX as usize;
        let counted = self.history.copy_counts(id).await?;
        let counts = counted.into_iter().map(|count| (count.copy_index, count.counts)).collect();
        let link_counts = self.history.link_counts(id).await?;
        let shared = shared_copies(&record);
        let readings = readings(&record, &shared, &counts, self.history.spreads(id).await?);
        let snapshot = self.settings.snapshot();
        let overrides = record
            .links
            .iter()
            .filter_map(|link| Some((link.index, snapshot.overrides.get(&(id, link.index))?.clone())))
            .collect();
        Ok(MessageView { record, timeline, timeline_cut, counts, shared, readings, link_counts, overrides })
    }

    /// The record of a message the viewer may see whole.
    pub(super) async fn whole_message(&self, viewer: &Viewer, id: MessageId) -> Result<MessageRecord, Refusal> {
        let record = self.history.message(id).await?.ok_or_else(|| Refusal::not_found("message", id))?;
        match viewer.sight(&record.org, record.login.as_deref()) {
            Sight::Whole => Ok(record),
            Sight::Counts => Err(Refusal::Forbidden(
                "recipients and subjects of other people's mail are for their sender; an organisation admin sees the counts",
            )),
            Sight::Nothing => Err(Refusal::not_found("message", id)),
        }
    }

    /// Events in the order they were recorded, of mail the viewer may see whole.
    ///
    /// # Errors
    /// As [`Actions::messages`].
    pub async fn events(&self, viewer: &Viewer, query: EventQuery) -> Result<Vec<TimelineEntry>, Refusal> {
        let (org, login) = scope(viewer, query.org, query.login, Narrow::ToOwn)?;
        let filter = TimelineFilter {
            message: query.message,
            copy: None,
            org,
            login,
            after_sequence: query.after_sequence.unwrap_or(0),
            before_sequence: query.before_sequence,
            // Who asks for what came after something may ask again and again: that is to watch it happen.
            kind: None,
            judged_after: None,
            with_network: query.after_sequence.is_some(),
            newest: query.after_sequence.is_none(),
            limit: query.limit.clamp(1, EVENTS_PER_ANSWER_MAX),
        };
        Ok(self.history.timeline(filter).await?)
    }

    /// Like [`Actions::events`], and waits up to `wait` for the first one.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call resumes after the last sequence seen.
    ///
    /// # Errors
    /// As [`Actions::messages`].
    pub async fn next_events(
        &self,
        viewer: &Viewer,
        query: EventQuery,
        wait: Duration,
    ) -> Result<Vec<TimelineEntry>, Refusal> {
        let end = tokio::time::Instant::now() + wait;
        loop {
            let found = self.events(viewer, query.clone()).await?;
            if !found.is_empty() || tokio::time::Instant::now() >= end {
                return Ok(found);
            }
            tokio::time::sleep_until(end.min(tokio::time::Instant::now() + EVENT_POLL)).await;
        }
    }
}

fn shared_copies(record: &MessageRecord) -> HashSet<u16> {
    let mut seen = HashSet::new();
    record.recipients.iter().map(|r| r.copy_index).filter(|copy| !seen.insert(*copy)).collect()
}

/// What is known of each recipient whose events can be nobody else's, and of each only by the kinds that are theirs to be
/// told of.
fn readings(
    record: &MessageRecord,
    shared: &HashSet<u16>,
    counts: &BTreeMap<u16, Counts>,
    spreads: Vec<CopySpread>,
) -> BTreeMap<u16, Reading> {
    let spreads: BTreeMap<u16, CopySpread> = spreads.into_iter().map(|spread| (spread.copy_index, spread)).collect();
    let is_alone = |r: &&RecipientRecord| {
        let individual = r.opens == Mode::Individual || r.links == Mode::Individual;
        individual && !shared.contains(&r.copy_index)
    };
    let of = |r: &RecipientRecord| {
        let counts = counts.get(&r.copy_index).copied().unwrap_or_default();
        let (opened, clicked) = (counts.opens > 0, counts.clicks > 0);
        // What is counted by the day has neither country nor network.
        let (countries, networks, kept) = match spreads.get(&r.copy_index) {
            Some(spread) => (spread.countries as usize, spread.networks as usize, spread.events),
            None => (0, 0, 0),
        };
        let is = |mode, happened: bool| mode == Mode::Individual && happened;
        let reading = Reading::of(is(r.opens, opened), is(r.links, clicked), countries, networks);
        let counted = counts.opens + counts.clicks;
        (r.index, if counted > kept { reading.with_forgotten(counted) } else { reading })
    };
    record.recipients.iter().filter(is_alone).map(of).collect()
}

/// What an org admin's view is narrowed to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Narrow {
    /// The whole org; rows of others are stripped afterwards.
    ToCounts,
    /// Own mail, because what is listed cannot be stripped; unless the org lets its admins see everybody's.
    ToOwn,
}

/// The filter a viewer's question becomes. Asking for what is not theirs is "not found", never an empty page.
pub(super) fn scope(
    viewer: &Viewer,
    org: Option<OrgName>,
    login: Option<String>,
    narrow: Narrow,
) -> Result<(Option<OrgName>, Option<String>), Refusal> {
    let Viewer::Person(person) = viewer else { return Ok((org, login)) };
    if viewer.rules_all() {
        return Ok((org, login));
    }
    let Some(own_org) = person.org.clone() else { return Err(Refusal::not_found("organisation", "for this login")) };
    if let Some(other) = org.filter(|org| *org != own_org) {
        return Err(Refusal::not_found("organisation", other.as_str()));
    }
    if viewer.reads_all_of(&own_org) || (viewer.rules(&own_org) && narrow == Narrow::ToCounts) {
        return Ok((Some(own_org), login));
    }
    if let Some(other) = login.filter(|login| *login != person.login) {
        return Err(Refusal::not_found("mail of", other));
    }
    Ok((Some(own_org), Some(person.login.clone())))
}

fn row(viewer: &Viewer, summary: MessageSummary) -> Option<MessageRow> {
    let MessageSummary { id, accepted_at_ms, org, login, header_from, subject, .. } = summary;
    let words = match viewer.sight(&org, login.as_deref()) {
        Sight::Whole => Some(Words { from: header_from, subject }),
        Sight::Counts => None,
        Sight::Nothing => return None,
    };
    let MessageSummary { recipients, accepted, opens, clicks, machine_opens, machine_clicks, tracked, .. } = summary;
    let row = MessageRow {
        id,
        accepted_at_ms,
        org,
        login,
        words,
        recipients,
        accepted,
        opens,
        clicks,
        machine_opens,
        machine_clicks,
        tracked,
    };
    Some(row)
}

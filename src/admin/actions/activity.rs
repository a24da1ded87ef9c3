//! What happened lately to all mail the viewer may know of, as it is shown on one page and in the live feed.
//!
//! **Invariant:** of other people's mail an organisation's admin learns that something was opened, when and whose it was; not
//! by whom, not what it says, not from where.

use super::messages::{Narrow, scope};
use super::{Actions, Refusal};
use crate::admin::viewer::{Sight, Viewer};
use crate::event::{EventKind, Verdict, Via};
use crate::notify::feed::{self, Listener};
use crate::settings::OrgName;
use crate::store::TimelineFilter;
use crate::store::record::{Addressee, TimelineEntry};
use crate::telemetry::metrics::limit_met;
use crate::token::MessageId;

/// Events judged otherwise that somebody is told who comes back; when they are more, a look at the whole is shorter.
const JUDGED_MAX: u32 = 200;

/// Most rows of one answer: more of the past is on the messages' own pages.
pub const ACTIVITY_ROWS_MAX: u32 = 200;

/// One event, with what the viewer may not see left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityRow {
    /// Grows with every event.
    pub sequence: i64,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Only the day of it is kept.
    pub by_day: bool,
    /// Open or click.
    pub kind: EventKind,
    /// Who probably did it.
    pub verdict: Verdict,
    /// The rule that gave the verdict; empty when none did.
    pub rule: String,
    /// Whose mail.
    pub org: Option<OrgName>,
    /// The sender's login, if any.
    pub login: Option<String>,
    /// `None` when the viewer sees counts only.
    pub words: Option<ActivityWords>,
}

/// Who, what and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityWords {
    /// The message.
    pub message: MessageId,
    /// Who; `None` for an aggregate or shared copy.
    pub recipient: Option<Addressee>,
    /// Subject of the message.
    pub subject: String,
    /// Destination of the link clicked.
    pub destination: Option<String>,
    /// Country, ISO 3166 alpha-2.
    pub country: Option<String>,
    /// City.
    pub city: Option<String>,
    /// Why the place is perhaps not the reader's.
    pub via: Option<Via>,
    /// Client family.
    pub client: Option<String>,
    /// Operating system family.
    pub os: Option<String>,
}

impl Actions {
    /// The newest events, those after one, or the newest before one; oldest first. Those after one are without what is
    /// counted by the day: nobody sees that as it happens, nor by asking again what has happened since.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a login without an organisation; [`Refusal::Store`].
    pub async fn activity(
        &self,
        viewer: &Viewer,
        after_sequence: Option<i64>,
        before_sequence: Option<i64>,
        limit: u32,
    ) -> Result<Vec<ActivityRow>, Refusal> {
        let (org, login) = scope(viewer, None, None, Narrow::ToCounts)?;
        let filter = TimelineFilter {
            org,
            login,
            after_sequence: after_sequence.unwrap_or(0),
            before_sequence,
            with_network: after_sequence.is_some(),
            newest: true,
            limit: limit.clamp(1, ACTIVITY_ROWS_MAX),
            ..TimelineFilter::default()
        };
        let entries = self.history.timeline(filter).await?;
        Ok(entries.iter().filter_map(|entry| activity_row(viewer, entry)).collect())
    }

    /// The newest judgement: whoever reads events afterwards and says this number later hears of all that were judged
    /// otherwise since then ([`Actions::judged_since`]).
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn last_judged(&self) -> Result<i64, Refusal> {
        Ok(self.history.judgements().await?.last)
    }

    /// Of the events up to one, those judged otherwise after a judgement; oldest first. `None`: they cannot be told, for they
    /// are too many or too long ago. Who says no judgement is told of the last that are known.
    ///
    /// # Errors
    /// As [`Actions::activity`].
    pub async fn judged_since(
        &self,
        viewer: &Viewer,
        up_to: i64,
        judged: Option<i64>,
    ) -> Result<Option<Vec<ActivityRow>>, Refusal> {
        let (org, login) = scope(viewer, None, None, Narrow::ToCounts)?;
        let known = self.history.judgements().await?;
        if judged.is_some_and(|judged| !known.reach_back_to(judged)) {
            return Ok(None);
        }
        let filter = TimelineFilter {
            org,
            login,
            before_sequence: Some(up_to.saturating_add(1)),
            judged_after: Some(judged.unwrap_or(0)),
            newest: true,
            limit: JUDGED_MAX,
            ..TimelineFilter::default()
        };
        let entries = self.history.timeline(filter).await?;
        if judged.is_some() && entries.len() >= JUDGED_MAX as usize {
            return Ok(None);
        }
        Ok(Some(entries.iter().filter_map(|entry| live_row(viewer, entry)).collect()))
    }

    /// Begins to listen to events as they come.
    ///
    /// # Errors
    /// [`Refusal::Absent`] when nobody is told anything here; [`Refusal::Conflict`] when as many listen as may.
    pub fn listen(&self) -> Result<Listener, Refusal> {
        let notify = self.notify.as_ref().ok_or(Refusal::Absent("this server has no live feed"))?;
        let full = |feed::Full| {
            limit_met("feed_streams");
            Refusal::Conflict(
                "as many pages are open as the server allows (feed_streams_max in config.toml)".to_owned(),
            )
        };
        notify.feed().listen().map_err(full)
    }
}

/// What the viewer sees of an event as it comes; `None`: nothing. What is counted by the day is not seen as it happens.
pub fn live_row(viewer: &Viewer, entry: &TimelineEntry) -> Option<ActivityRow> {
    activity_row(viewer, entry).filter(|_| feed::is_for_listeners(entry))
}

fn activity_row(viewer: &Viewer, entry: &TimelineEntry) -> Option<ActivityRow> {
    let sight = match &entry.org {
        Some(org) => viewer.sight(org, entry.login.as_deref()),
        None if viewer.rules_all() => Sight::Whole,
        None => Sight::Nothing,
    };
    let event = &entry.event;
    let words = match sight {
        Sight::Nothing => return None,
        Sight::Counts => None,
        Sight::Whole => Some(ActivityWords {
            message: event.id.message,
            recipient: entry.recipient.clone(),
            subject: entry.subject.clone(),
            destination: entry.destination.clone(),
            country: event.country.clone(),
            city: event.city.clone(),
            via: event.via,
            client: event.agent_family.clone(),
            os: event.os_family.clone(),
        }),
    };
    Some(ActivityRow {
        sequence: entry.sequence,
        at_ms: event.at_ms,
        by_day: event.is_by_day(),
        kind: event.kind,
        verdict: event.verdict,
        rule: event.rule.clone(),
        org: entry.org.clone(),
        login: entry.login.clone(),
        words,
    })
}

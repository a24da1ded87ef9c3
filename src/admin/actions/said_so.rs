//! A sender says that an open or a click was their own: it is judged anew, and every counter follows.

use std::sync::Arc;

use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::event::{Rule, Verdict};
use crate::store::TimelineFilter;
use crate::store::record::{Mended, Recording};
use crate::token::MessageId;

impl Actions {
    /// Marks an event of a message as the sender's own, or takes that back: it is then what it was before. What is a
    /// machine's stays that: to claim it and take that back would make a person of it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] and [`Refusal::Forbidden`] as [`Actions::message`]; [`Refusal::Conflict`] when there is nothing
    /// to claim or to take back; [`Refusal::Store`]: the event is as before, or only its line in the audit log is missing.
    pub async fn say_own(&self, viewer: &Viewer, id: MessageId, sequence: i64, own: bool) -> Result<(), Refusal> {
        let org = self.whole_message(viewer, id).await?.org;
        let after_sequence = sequence.saturating_sub(1);
        let filter = TimelineFilter { message: Some(id), after_sequence, limit: 1, ..TimelineFilter::default() };
        let held = self.changing.lock().await;
        let found = self.history.timeline(filter).await?.into_iter().find(|entry| entry.sequence == sequence);
        let event = found.ok_or_else(|| Refusal::not_found("event", sequence))?.event;
        let said = Rule::parse(&event.rule) == Some(Rule::SaidSo) && event.verdict == Verdict::Own;
        let verdict = match (own, event.former) {
            (true, _) if said => return Ok(()),
            (true, _) if event.verdict.counts() => Verdict::Own,
            (true, _) => return Err(Refusal::Conflict("it is not counted as a person's anyway".to_owned())),
            (false, Some(former)) if said => former,
            (false, _) => return Err(Refusal::Conflict("nobody said that this was their own".to_owned())),
        };
        let mended = vec![Mended { sequence, repeats: 0, verdict: Some((verdict, Rule::SaidSo)) }];
        self.history.put_on_record(Arc::new(Recording { events: Vec::new(), mended })).await?;
        drop(held);
        if let Some(notify) = &self.notify {
            notify.feed().look_again();
        }
        let words = match own {
            true => format!("said to be the sender's own: {} → {}", event.verdict.as_str(), verdict.as_str()),
            false => {
                format!("no longer said to be the sender's own: {} → {}", event.verdict.as_str(), verdict.as_str())
            }
        };
        self.tell(viewer, Some(org), format!("event {sequence} of message {id}"), words).await
    }
}

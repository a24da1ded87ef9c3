//! A sender says that an open or a click was their own: it is judged anew, and every counter follows.

use std::sync::Arc;

use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::event::{Rule, Verdict};
use crate::store::TimelineFilter;
use crate::store::record::{Mended, Recording};
use crate::token::MessageId;

impl Actions {
    /// Marks an event of a message as the sender's own, or takes that back: it is then what it was at first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] and [`Refusal::Forbidden`] as [`Actions::message`]; [`Refusal::Conflict`] when there is nothing
    /// to take back; [`Refusal::Store`]: the event is as before.
    pub async fn say_own(&self, viewer: &Viewer, id: MessageId, sequence: i64, own: bool) -> Result<(), Refusal> {
        self.whole_message(viewer, id).await?;
        let after_sequence = sequence.saturating_sub(1);
        let filter = TimelineFilter { message: Some(id), after_sequence, limit: 1, ..TimelineFilter::default() };
        let held = self.changing.lock().await;
        let found = self.history.timeline(filter).await?.into_iter().find(|entry| entry.sequence == sequence);
        let event = found.ok_or_else(|| Refusal::not_found("event", sequence))?.event;
        let said = Rule::parse(&event.rule) == Some(Rule::SaidSo) && event.verdict == Verdict::Own;
        let verdict = match (own, event.former) {
            (true, _) if said => return Ok(()),
            (true, _) => Verdict::Own,
            (false, Some(former)) if said => former,
            (false, _) => return Err(Refusal::Conflict("nobody said that this was their own".to_owned())),
        };
        let mended = vec![Mended { sequence, repeats: 0, verdict: Some((verdict, Rule::SaidSo)) }];
        self.history.put_on_record(Arc::new(Recording { events: Vec::new(), mended })).await?;
        drop(held);
        let (who, verdict) = (viewer.login().unwrap_or("operator"), verdict.as_str());
        tracing::info!(audit = true, who, message.id = %id, sequence, verdict, "{who} says of event {sequence} of {id}: {verdict}");
        Ok(())
    }
}

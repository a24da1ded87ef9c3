//! After a start: history hears what it missed when the last run ended in the middle of something.
//!
//! What became of a mail is told to history after it was answered, or written to the spool; a crash in between leaves "on its
//! way" there for ever. Of what is in the spool the spool knows; the rest was in hand, or just answered: nobody knows.
//!
//! **Invariant:** only what was accepted before this start is touched, and of that only what history has as on its way. A record
//! of which all is settled ends when history knows it, not before.

use std::collections::HashSet;

use super::{Inner, Queue, settle};
use crate::spool::State;
use crate::store::record::{Delivery, DeliveryState, MessageFilter, MessageRecord, Wanted};
use crate::store::{HistoryStore, StoreError};
use crate::token::MessageId;

/// Mails of one question.
const PAGE: u32 = 200;
const WORDS: &str = "waxseal was stopped before this was on record; the mail log may say more";

/// What recovery found.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Unix milliseconds: what was accepted before.
    pub at_ms: i64,
    /// In the spool, to go on with.
    pub spooled: HashSet<MessageId>,
    /// In the spool, and settled for every recipient.
    pub ended: Vec<MessageId>,
    /// In `corrupt/`: an operator must look, and until then nothing is said.
    pub corrupt: HashSet<MessageId>,
}

impl Queue {
    /// Tells history what the spool knows, ends what is settled, and says of what is nowhere that nobody knows; of how many
    /// mails that was said.
    ///
    /// # Errors
    /// The history cannot be read or written: the next start goes on with it.
    pub async fn settle_interrupted(&self, start: &Start) -> Result<usize, StoreError> {
        for id in &start.ended {
            self.inner.tell_what_the_spool_knows(*id, start.at_ms).await?;
            let id = *id;
            if let Err(error) = self.inner.on_disk(move |spool| spool.remove(id)).await {
                tracing::error!(spool.id = %id, %error, "the finished mail {id} could not be removed from the spool");
            }
        }
        let mut unknown = 0;
        let mut pending = Pending::new(start.at_ms);
        while let Some(page) = pending.next(self.inner.parts.history.as_ref()).await? {
            for id in page {
                if start.spooled.contains(&id) {
                    self.inner.tell_what_the_spool_knows(id, start.at_ms).await?;
                } else if !start.corrupt.contains(&id) {
                    unknown += usize::from(nobody_knows(self.inner.parts.history.as_ref(), id, start.at_ms).await?);
                }
            }
        }
        Ok(unknown)
    }
}

impl Inner {
    async fn tell_what_the_spool_knows(&self, id: MessageId, at_ms: i64) -> Result<(), StoreError> {
        let Ok((record, state)) = self.on_disk(move |spool| spool.load(id)).await else {
            return Ok(()); // it has gone on since, or the pump meets what is wrong with it
        };
        let Some(indexes) = self.parts.renderer.history_indexes(&record) else { return Ok(()) };
        let Some(history) = self.parts.history.message(id).await? else { return Ok(()) };
        self.parts.history.settle(id, settled(&state, &indexes, &history, at_ms)).await
    }
}

/// The recipients that the spool knows to be settled and history does not.
fn settled(state: &State, indexes: &[u16], history: &MessageRecord, at_ms: i64) -> Vec<(u16, Delivery)> {
    let is_open = |index: u16| {
        let open = [DeliveryState::Pending, DeliveryState::Deferred];
        history.recipients.iter().any(|one| one.index == index && open.contains(&one.delivery.state))
    };
    let settled = state
        .recipients
        .iter()
        .zip(indexes)
        .filter(|(recipient, index)| recipient.stage.is_settled() && is_open(**index));
    settled.map(|(recipient, index)| (*index, settle::delivery(recipient, at_ms))).collect()
}

/// The mails that history has as on their way since before a moment, newest first, a page at a time.
struct Pending {
    until_ms: i64,
    before: Option<(i64, MessageId)>,
    is_over: bool,
}

impl Pending {
    fn new(until_ms: i64) -> Pending {
        Pending { until_ms, before: None, is_over: false }
    }

    async fn next(&mut self, history: &dyn HistoryStore) -> Result<Option<Vec<MessageId>>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
        let delivery = Some(DeliveryState::Pending);
        let wanted = Wanted { delivery, until_ms: Some(self.until_ms), ..Wanted::default() };
        let filter = MessageFilter { before: self.before, wanted, limit: PAGE, ..MessageFilter::default() };
        let page = history.messages(filter).await?;
        self.before = page.last().map(|last| (last.accepted_at_ms, last.id));
        self.is_over = page.len() < PAGE as usize;
        Ok(Some(page.into_iter().map(|one| one.id).collect()))
    }
}

/// Says so of each recipient on its way; whether there was one.
async fn nobody_knows(history: &dyn HistoryStore, id: MessageId, at_ms: i64) -> Result<bool, StoreError> {
    let Some(record) = history.message(id).await? else { return Ok(false) };
    let pending = record.recipients.iter().filter(|recipient| recipient.delivery.state == DeliveryState::Pending);
    let unknown = Delivery { state: DeliveryState::Unknown, reply: WORDS.to_owned(), at_ms };
    let outcomes: Vec<(u16, Delivery)> = pending.map(|recipient| (recipient.index, unknown.clone())).collect();
    let some = !outcomes.is_empty();
    history.settle(id, outcomes).await?;
    Ok(some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract_tests::record;
    use crate::store::memory::MemoryHistory;

    #[tokio::test]
    async fn all_that_was_on_its_way_before_is_found_and_nothing_younger() {
        let history = MemoryHistory::default();
        let sent = |id, at_ms| MessageRecord { accepted_at_ms: at_ms, ..record(id) };
        // More than one page. Of the moment itself nothing: ids of either half, for they are compared as signed numbers.
        let old: HashSet<MessageId> = (1000..1000 + u64::from(PAGE) + 5).map(MessageId).collect();
        for MessageId(id) in &old {
            history.insert(sent(*id, 10)).await.unwrap();
        }
        for mail in [sent(9, 50), sent(u64::MAX, 50), sent(8, 51)] {
            history.insert(mail).await.unwrap();
        }
        let (mut pending, mut found) = (Pending::new(50), Vec::new());
        while let Some(page) = pending.next(&history).await.unwrap() {
            found.extend(page);
        }
        assert_eq!((found.len(), found.into_iter().collect::<HashSet<_>>()), (old.len(), old));
    }

    #[tokio::test]
    async fn only_what_is_on_its_way_becomes_unknown() {
        use DeliveryState::{Accepted, Unknown};
        let history = MemoryHistory::default();
        history.insert(record(8)).await.unwrap();
        let accepted = Delivery { state: Accepted, reply: "2.0.0 ok".to_owned(), at_ms: 12 };
        history.settle(MessageId(8), vec![(7, accepted)]).await.unwrap();
        assert!(nobody_knows(&history, MessageId(8), 50).await.unwrap());
        for recipient in history.message(MessageId(8)).await.unwrap().unwrap().recipients {
            assert_eq!(recipient.delivery.state, if recipient.index == 7 { Accepted } else { Unknown });
        }
        assert!(!nobody_knows(&history, MessageId(8), 60).await.unwrap());
        assert!(!nobody_knows(&history, MessageId(404), 60).await.unwrap());
    }
}

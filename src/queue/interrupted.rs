//! After a crash: mail that history says is on its way, and that is nowhere any more.
//!
//! While a client waits, its mail is in no spool. Dies the program then, the client was told nothing and sends again; whether
//! upstream has the first one nobody knows, and history must not say for ever that it is on its way.
//!
//! **Invariant:** only what was accepted before this start, and is not in the spool, is touched.

use std::collections::HashSet;

use crate::store::record::{Delivery, DeliveryState, MessageFilter, MessageRecord, Wanted};
use crate::store::{HistoryStore, StoreError};
use crate::token::MessageId;

/// Mails of one question.
const PAGE: u32 = 200;
const WORDS: &str = "waxseal was stopped before upstream had answered";

/// What is known at a start.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Unix milliseconds: what was accepted before.
    pub at_ms: i64,
    /// What is in the spool, and goes on.
    pub spooled: HashSet<MessageId>,
}

/// Says of each such recipient that nobody knows; how many mails there were.
///
/// # Errors
/// The history cannot be read or written: the next start tries again.
pub async fn settle(history: &dyn HistoryStore, start: &Start) -> Result<usize, StoreError> {
    let (mut before, mut mails) = (Some((start.at_ms, MessageId(0))), 0);
    loop {
        let wanted = Wanted { delivery: Some(DeliveryState::Pending), ..Wanted::default() };
        let page = history.messages(MessageFilter { before, wanted, limit: PAGE, ..MessageFilter::default() }).await?;
        for one in page.iter().filter(|one| !start.spooled.contains(&one.id)) {
            let Some(record) = history.message(one.id).await? else { continue };
            history.settle(one.id, outcomes(&record, start.at_ms)).await?;
            mails += 1;
        }
        before = page.last().map(|last| (last.accepted_at_ms, last.id));
        if page.len() < PAGE as usize {
            return Ok(mails);
        }
    }
}

fn outcomes(record: &MessageRecord, at_ms: i64) -> Vec<(u16, Delivery)> {
    let pending = record.recipients.iter().filter(|recipient| recipient.delivery.state == DeliveryState::Pending);
    let unknown = Delivery { state: DeliveryState::Unknown, reply: WORDS.to_owned(), at_ms };
    pending.map(|recipient| (recipient.index, unknown.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract_tests::record;
    use crate::store::memory::MemoryHistory;

    fn states(record: &MessageRecord) -> Vec<DeliveryState> {
        record.recipients.iter().map(|recipient| recipient.delivery.state).collect()
    }

    #[tokio::test]
    async fn what_is_nowhere_is_unknown_and_nothing_else_is_touched() {
        use DeliveryState::{Accepted, Pending, Unknown};
        let history = MemoryHistory::default();
        let sent = |id, at_ms| MessageRecord { accepted_at_ms: at_ms, ..record(id) };
        // More than one page of orphans; 7 is in the spool, 9 came after the start.
        for id in 1000..1000 + u64::from(PAGE) + 5 {
            history.insert(sent(id, 10)).await.unwrap();
        }
        for mail in [sent(7, 10), sent(8, 11), sent(9, 50)] {
            history.insert(mail).await.unwrap();
        }
        let accepted = Delivery { state: Accepted, reply: "2.0.0 ok".to_owned(), at_ms: 12 };
        history.settle(MessageId(8), vec![(7, accepted)]).await.unwrap();
        let start = Start { at_ms: 50, spooled: HashSet::from([MessageId(7)]) };
        assert_eq!(settle(&history, &start).await.unwrap(), PAGE as usize + 6);
        let of = async |id| history.message(MessageId(id)).await.unwrap().unwrap();
        assert_eq!(states(&of(1000).await), [Unknown; 4]);
        assert_eq!(of(1000).await.recipients[0].delivery.reply, WORDS);
        let partly = of(8).await;
        for recipient in &partly.recipients {
            assert_eq!(recipient.delivery.state, if recipient.index == 7 { Accepted } else { Unknown });
        }
        assert_eq!((states(&of(7).await), states(&of(9).await)), (vec![Pending; 4], vec![Pending; 4]));
        // A second look finds nothing more to do.
        assert_eq!(settle(&history, &start).await.unwrap(), 0);
    }
}

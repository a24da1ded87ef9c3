//! The queue as the admin site sees it.

use std::sync::Arc;

use crate::admin::{PortError, QueueEntry, QueueHealth, QueueKeeper, QueueList, QueueOf, QueueRecipient, QueueStage};
use crate::deliver::couriers::Couriers;
use crate::queue::Queue;
use crate::queue::heads::{Heads, Owner};
use crate::smtp::ReversePath;
use crate::spool::{Head, RecipientState, SpoolError, Stage, State};
use crate::store::BoxFuture;
use crate::token::MessageId;

/// The queue and the ways upstream.
pub(super) struct Keeper {
    queue: Queue,
    couriers: Arc<Couriers>,
}

impl Keeper {
    pub(super) fn new(queue: Queue, couriers: Arc<Couriers>) -> Keeper {
        Keeper { queue, couriers }
    }
}

impl QueueKeeper for Keeper {
    fn list(&self, whose: QueueOf, max: usize) -> BoxFuture<'_, Result<QueueList, PortError>> {
        Box::pin(async move {
            let fits = move |owner: &Owner| whose.fits(&owner.org, owner.login.as_deref());
            let Heads { found, cut } = self.queue.heads(fits, max).await.map_err(unreadable)?;
            Ok(QueueList { mails: found.into_iter().map(|(head, state)| shown(head, state)).collect(), cut })
        })
    }

    fn find(&self, id: MessageId) -> BoxFuture<'_, Result<Option<QueueEntry>, PortError>> {
        Box::pin(async move {
            let found = self.queue.head(id).await.map_err(unreadable)?;
            Ok(found.map(|(head, state)| shown(head, state)))
        })
    }

    fn retry(&self, id: MessageId) -> BoxFuture<'_, Result<bool, PortError>> {
        Box::pin(async move { self.queue.retry(id).await.map_err(unreadable) })
    }

    fn discard(&self, id: MessageId) -> BoxFuture<'_, Result<bool, PortError>> {
        let queue = self.queue.clone();
        // In a task of its own: a browser that leaves must not break it off between the disk and the history.
        let dropped = tokio::spawn(async move { queue.drop_record(id).await });
        Box::pin(async move {
            let dropped = dropped.await.map_err(|died| PortError(format!("a task died: {died}")))?;
            dropped.map_err(unreadable)
        })
    }

    fn health(&self) -> BoxFuture<'_, Result<QueueHealth, PortError>> {
        Box::pin(async move {
            let corrupt = self.queue.corrupt_count().await.map_err(unreadable)?;
            let (free_bytes, _) = self.queue.space().await.map_err(unreadable)?;
            Ok(QueueHealth {
                depth: self.queue.depth(),
                corrupt,
                free_bytes,
                short_of_room: !self.queue.has_room(),
                upstream_down: self.couriers.down() > 0,
            })
        })
    }
}

fn unreadable(error: SpoolError) -> PortError {
    PortError(format!("the spool cannot do that now: {error}"))
}

fn shown(head: Head, state: State) -> QueueEntry {
    let Head { record, body_bytes } = head;
    let recipients = record.envelope.recipients.iter().zip(state.recipients);
    QueueEntry {
        id: record.id,
        accepted_at_ms: record.accepted_at_ms,
        org: record.org.parse().ok(),
        login: record.login.clone(),
        own_report: record.own_report,
        from: match &record.envelope.reverse_path {
            ReversePath::Null => String::new(),
            ReversePath::Mailbox(mailbox) => mailbox.display(),
        },
        size_bytes: u64::try_from(body_bytes).unwrap_or(u64::MAX),
        recipients: recipients.map(|(recipient, state)| stand(recipient.path.0.display(), state)).collect(),
    }
}

fn stand(address: String, state: RecipientState) -> QueueRecipient {
    let waits = !state.stage.is_settled() && state.stage != Stage::InFlight;
    QueueRecipient {
        address,
        stage: match state.stage {
            Stage::Waiting => QueueStage::Waiting,
            Stage::InFlight => QueueStage::InFlight,
            Stage::Unknown => QueueStage::Unknown,
            Stage::Delivered => QueueStage::Delivered,
            Stage::BounceOwed => QueueStage::BounceOwed,
            Stage::Failed => QueueStage::Failed,
        },
        attempts: state.attempts,
        next_try_ms: waits.then_some(state.next_try_ms),
        last_reply: state.last_reply,
        last_host: state.last_host,
    }
}

//! The queue as the admin site sees it.

use std::sync::Arc;

use crate::admin::{PortError, QueueEntry, QueueHealth, QueueKeeper, QueueRecipient, QueueStage};
use crate::deliver::courier::Courier;
use crate::queue::Queue;
use crate::smtp::ReversePath;
use crate::spool::{Head, RecipientState, SpoolError, Stage, State};
use crate::store::BoxFuture;
use crate::token::MessageId;

/// The queue and the way upstream.
pub(super) struct Keeper {
    queue: Queue,
    courier: Arc<Courier>,
}

impl Keeper {
    pub(super) fn new(queue: Queue, courier: Arc<Courier>) -> Keeper {
        Keeper { queue, courier }
    }
}

impl QueueKeeper for Keeper {
    fn list(&self, max: usize) -> BoxFuture<'_, Result<Vec<QueueEntry>, PortError>> {
        Box::pin(async move {
            let heads = self.queue.heads(max).await.map_err(unreadable)?;
            Ok(heads.into_iter().map(|(head, state)| shown(head, state)).collect())
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
                upstream_down: self.courier.is_down(),
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

//! The mails that wait: what a viewer may know of them and do with them.
//!
//! Who sees a mail whole sees it whole here; an organisation's admin sees counts (DESIGN 8), for a recipient's address and
//! a server's words about it are the sender's. **Invariant:** only who sees a mail whole may drop it.

use std::collections::BTreeMap;

use super::{Actions, Refusal};
use crate::admin::paging::page;
use crate::admin::ports::{QueueEntry, QueueHealth, QueueKeeper, QueueList, QueueOf, QueueStage};
use crate::admin::viewer::{Sight, Viewer};
use crate::settings::{OrgName, Role};
use crate::token::MessageId;

/// Most mails of one list. A longer queue has one cause, and the first of it tell which.
pub const QUEUE_ROWS_MAX: usize = 1000;

/// One mail that waits, with what the viewer may not see left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    /// The mail; without [`QueueView::whole`] its sender's address, the recipients' and the servers' words are empty.
    pub entry: QueueEntry,
    /// Whether the viewer sees it whole, and may drop it.
    pub whole: bool,
}

/// The queue as a viewer may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePage {
    /// Oldest first.
    pub mails: Vec<QueueView>,
    /// There are more of theirs than were looked at.
    pub cut: bool,
    /// The row to go on after; `None` on the last page.
    pub next: Option<(i64, MessageId)>,
    /// The state of the whole; for server admins alone.
    pub health: Option<QueueHealth>,
}

impl QueueView {
    /// The earliest next try; `None` when nothing is to be tried.
    pub fn next_try_ms(&self) -> Option<i64> {
        self.entry.recipients.iter().filter_map(|recipient| recipient.next_try_ms).min()
    }

    /// The most attempts made for one recipient.
    pub fn attempts(&self) -> u32 {
        self.entry.recipients.iter().map(|recipient| recipient.attempts).max().unwrap_or(0)
    }

    /// How many recipients are at each stage, most pressing first.
    pub fn stages(&self) -> Vec<(QueueStage, usize)> {
        let mut counted: Vec<(QueueStage, usize)> = Vec::new();
        for recipient in &self.entry.recipients {
            match counted.iter_mut().find(|(stage, _)| *stage == recipient.stage) {
                Some((_, count)) => *count += 1,
                None => counted.push((recipient.stage, 1)),
            }
        }
        counted.sort_unstable();
        counted
    }
}

impl Actions {
    /// The mails that wait, as far as the viewer may know of them: at most `limit`, after a row of the page before.
    ///
    /// # Errors
    /// [`Refusal::Absent`] without a queue; [`Refusal::Port`] when the spool cannot be read.
    pub async fn queue(
        &self,
        viewer: &Viewer,
        after: Option<(i64, MessageId)>,
        limit: usize,
    ) -> Result<QueuePage, Refusal> {
        let keeper = self.keeper()?;
        let Some(whose) = asked(viewer) else {
            return Ok(QueuePage { mails: Vec::new(), cut: false, next: None, health: None });
        };
        let QueueList { mails, cut } = keeper.list(whose, QUEUE_ROWS_MAX).await?;
        let seen = mails.into_iter().filter_map(|entry| seen(viewer, entry));
        let place = |view: &QueueView| (view.entry.accepted_at_ms, view.entry.id);
        let (mails, next) = page(seen, after.as_ref(), limit.min(QUEUE_ROWS_MAX), place);
        let health = if viewer.rules_all() { Some(keeper.health().await?) } else { None };
        Ok(QueuePage { mails, cut, next, health })
    }

    /// One mail that waits.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it is not there or not the viewer's to know of; else as [`Actions::queue`].
    pub async fn queued(&self, viewer: &Viewer, id: MessageId) -> Result<QueueView, Refusal> {
        let found = self.keeper()?.find(id).await?;
        found.and_then(|entry| seen(viewer, entry)).ok_or_else(|| not_queued(id))
    }

    /// Makes a mail due now, for all of its recipients who do not have it yet. Whoever may know of it may do that.
    ///
    /// # Errors
    /// As [`Actions::queued`].
    pub async fn retry_queued(&self, viewer: &Viewer, id: MessageId) -> Result<(), Refusal> {
        let view = self.queued(viewer, id).await?;
        if !self.keeper()?.retry(id).await? {
            return Err(not_queued(id));
        }
        self.tell(viewer, view.entry.org, format!("mail {id}"), "tried again at once".to_owned()).await
    }

    /// Makes every mail due now that the viewer may know of, the first [`QUEUE_ROWS_MAX`] of them; how many there were. One line in the
    /// audit log for each organisation. One that has gone meanwhile is none.
    ///
    /// # Errors
    /// As [`Actions::queue`].
    pub async fn retry_all(&self, viewer: &Viewer) -> Result<usize, Refusal> {
        let page = self.queue(viewer, None, QUEUE_ROWS_MAX).await?;
        let keeper = self.keeper()?;
        let (mut tried, mut of_orgs) = (0, BTreeMap::<_, usize>::new());
        for view in page.mails {
            match keeper.retry(view.entry.id).await {
                Ok(true) => {
                    tried += 1;
                    *of_orgs.entry(view.entry.org).or_default() += 1;
                }
                Ok(false) => {}
                // One that cannot be written is tried at its time; the others need not wait for it.
                Err(error) => {
                    tracing::error!(spool.id = %view.entry.id, %error, "{} is tried at its time", view.entry.id);
                }
            }
        }
        for (org, mails) in of_orgs {
            self.tell(viewer, org, "queue".to_owned(), format!("{mails} mails tried again at once")).await?;
        }
        Ok(tried)
    }

    /// Ends a mail: recipients who do not have it yet never get it, and its sender is not told.
    ///
    /// # Errors
    /// As [`Actions::queued`]; [`Refusal::Forbidden`] for who sees its counts only.
    pub async fn drop_queued(&self, viewer: &Viewer, id: MessageId) -> Result<(), Refusal> {
        let view = self.droppable(viewer, id).await?;
        let dropped = self.keeper()?.discard(id).await?;
        let by = viewer.login().unwrap_or("the operator");
        tracing::warn!(spool.id = %id, login = by, "{by} dropped {id} from the queue");
        if !dropped {
            return Err(not_queued(view.entry.id));
        }
        self.tell(viewer, view.entry.org, format!("mail {id}"), "dropped from the queue".to_owned()).await
    }

    /// A mail the viewer may drop.
    ///
    /// # Errors
    /// As [`Actions::drop_queued`].
    pub async fn droppable(&self, viewer: &Viewer, id: MessageId) -> Result<QueueView, Refusal> {
        let view = self.queued(viewer, id).await?;
        if !view.whole {
            return Err(Refusal::Forbidden("another person's mail is dropped by its sender or by a server admin"));
        }
        Ok(view)
    }

    fn keeper(&self) -> Result<&dyn QueueKeeper, Refusal> {
        self.queue.as_deref().ok_or(Refusal::Absent("this server was started without a queue"))
    }
}

fn not_queued(id: MessageId) -> Refusal {
    Refusal::not_found("mail", format_args!("{id} in the queue: it is delivered, given up or dropped"))
}

/// Whose mails a viewer may know of at all; [`seen`] decides on each.
fn asked(viewer: &Viewer) -> Option<QueueOf> {
    let Viewer::Person(person) = viewer else { return Some(QueueOf::All) };
    let org = || person.org.clone();
    match person.role {
        Role::ServerAdmin => Some(QueueOf::All),
        Role::OrgAdmin => org().map(QueueOf::Org),
        Role::Sender => org().map(|org| QueueOf::Login(org, person.login.clone())),
    }
}

fn seen(viewer: &Viewer, mut entry: QueueEntry) -> Option<QueueView> {
    let sight = |org: &OrgName| viewer.sight(org, entry.login.as_deref());
    let nameless = if viewer.rules_all() { Sight::Whole } else { Sight::Nothing };
    match entry.org.as_ref().map_or(nameless, sight) {
        Sight::Nothing => None,
        Sight::Whole => Some(QueueView { entry, whole: true }),
        Sight::Counts => {
            entry.from.clear();
            for recipient in &mut entry.recipients {
                recipient.address.clear();
                recipient.last_reply.clear();
            }
            Some(QueueView { entry, whole: false })
        }
    }
}

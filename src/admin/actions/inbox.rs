//! The built-in inbox: everyone's mail lands there, so only server admins and the operator look into it.

use bytes::Bytes;

use super::{Actions, Refusal};
use crate::admin::mail_view::{self, Shown};
use crate::admin::ports::{InboxEntry, InboxReader};
use crate::admin::viewer::Viewer;

/// Most mails in one list: each is opened for its subject.
pub const INBOX_LIST_MAX: usize = 50;

/// A line of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRow {
    /// What the envelope said.
    pub entry: InboxEntry,
    /// Decoded Subject; empty when there is none or it cannot be read.
    pub subject: String,
}

/// One mail of the inbox.
#[derive(Debug, Clone)]
pub struct InboxMail {
    /// What the envelope said.
    pub entry: InboxEntry,
    /// What a reader sees.
    pub shown: Shown,
    /// The octets as received.
    pub raw: Bytes,
}

impl Actions {
    /// Whether this viewer has an inbox to look into.
    pub fn has_inbox(&self, viewer: &Viewer) -> bool {
        self.inbox.is_some() && viewer.rules_all()
    }

    /// The newest mails, or the newest before one, at most `limit` and [`INBOX_LIST_MAX`]; and the id to go on before.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`], [`Refusal::Absent`] when mail goes to a real server, [`Refusal::Port`].
    pub async fn inbox_list(
        &self,
        viewer: &Viewer,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<InboxRow>, Option<String>), Refusal> {
        let inbox = self.inbox_of(viewer)?;
        let limit = limit.clamp(1, INBOX_LIST_MAX);
        let mut entries = inbox.list(before, limit + 1).await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().map(|entry| entry.id.clone()).filter(|_| more);
        let mut rows = Vec::new();
        for entry in entries {
            // A mail that the inbox has just dropped for a newer one is no error: its line stays without a subject.
            let raw = inbox.read(&entry.id).await?.map(|(_, raw)| raw).unwrap_or_default();
            rows.push(InboxRow { subject: mail_view::subject(&raw), entry });
        }
        Ok((rows, next))
    }

    /// One mail.
    ///
    /// # Errors
    /// As [`Actions::inbox_list`], and [`Refusal::NotFound`].
    pub async fn inbox_mail(&self, viewer: &Viewer, id: &str) -> Result<InboxMail, Refusal> {
        let found = self.inbox_of(viewer)?.read(id).await?;
        let (entry, raw) = found.ok_or_else(|| Refusal::not_found("inbox mail", id))?;
        // A large mail takes milliseconds to take apart: not on a thread that serves others.
        let mail = raw.clone();
        let shown =
            tokio::task::spawn_blocking(move || mail_view::show(&mail)).await.unwrap_or_else(|_| Shown::unreadable());
        Ok(InboxMail { entry, shown, raw })
    }

    fn inbox_of(&self, viewer: &Viewer) -> Result<&dyn InboxReader, Refusal> {
        if !viewer.rules_all() {
            return Err(Refusal::Forbidden("the inbox holds everyone's mail; only a server admin may look into it"));
        }
        self.inbox.as_deref().ok_or(Refusal::Absent("mail goes to a real server here; there is no built-in inbox"))
    }
}

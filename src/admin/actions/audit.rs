//! Reading the audit log: server admins all of it, an organisation's admins what is about their organisation.

use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::settings::OrgName;
use crate::store::audit::{ANSWER_MAX, AuditQuery, Line};

/// Lines of one export; a further one goes on with `before`.
pub const EXPORT_MAX: usize = 10_000;

/// Lines, newest first, and where the next page begins.
#[derive(Debug, Clone)]
pub struct AuditPage {
    /// Newest first.
    pub lines: Vec<Line>,
    /// `before` of the next page; `None` on the last one.
    pub next: Option<u64>,
}

impl Actions {
    /// A page of the log, at most [`ANSWER_MAX`] lines.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a sender, [`Refusal::NotFound`] for an organisation that is not the viewer's,
    /// [`Refusal::Store`].
    pub async fn audit(&self, viewer: &Viewer, query: AuditQuery) -> Result<AuditPage, Refusal> {
        let org = audited(viewer, query.org)?;
        let limit = query.limit.clamp(1, ANSWER_MAX);
        let lines = self.settings.audit(AuditQuery { org, limit, ..query }).await?;
        let next = lines.last().filter(|_| lines.len() >= limit).map(|line| line.sequence);
        Ok(AuditPage { lines, next })
    }

    /// Up to [`EXPORT_MAX`] lines.
    ///
    /// # Errors
    /// As [`Actions::audit`].
    pub async fn audit_export(&self, viewer: &Viewer, query: AuditQuery) -> Result<AuditPage, Refusal> {
        let mut whole = AuditPage { lines: Vec::new(), next: query.before };
        loop {
            let asked = AuditQuery { before: whole.next, limit: ANSWER_MAX, org: query.org.clone() };
            let page = self.audit(viewer, asked).await?;
            whole.lines.extend(page.lines);
            whole.next = page.next;
            if whole.next.is_none() || whole.lines.len() >= EXPORT_MAX {
                return Ok(whole);
            }
        }
    }
}

/// The organisation whose lines the viewer gets; `None`: all.
fn audited(viewer: &Viewer, asked: Option<OrgName>) -> Result<Option<OrgName>, Refusal> {
    if viewer.rules_all() {
        return Ok(asked);
    }
    let own = viewer.org_ruled().ok_or(Refusal::Forbidden("the audit log is for admins"))?;
    match asked {
        Some(other) if other != *own => Err(Refusal::not_found("organisation", other.as_str())),
        _ => Ok(Some(own.clone())),
    }
}

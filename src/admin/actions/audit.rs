//! Reading the audit log: server admins all of it, an organisation's admins what is about their organisation.

use super::users::may_manage;
use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::settings::OrgName;
use crate::store::Snapshot;
use crate::store::audit::{ANSWER_MAX, AuditQuery, LEADS_TO, Line};

/// Lines of one JSON file; a further one goes on with `before`.
pub const EXPORT_MAX: usize = 10_000;
/// What stands for a value in somebody else's mail.
pub const ANOTHERS: &str = "(in another person's mail)";

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
        let snapshot = self.settings.snapshot();
        Ok(AuditPage { lines: lines.into_iter().map(|line| shown(viewer, &snapshot, line)).collect(), next })
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

/// The line as the viewer may read it: an organisation's admins read that something was done, not which server admin did it
/// and from where; and not where a link in somebody else's mail leads, unless they see everybody's mail.
fn shown(viewer: &Viewer, snapshot: &Snapshot, mut line: Line) -> Line {
    if viewer.rules_all() {
        return line;
    }
    let login = line.author.login.as_deref();
    let by = login.and_then(|login| snapshot.users.get(login));
    // Lines of before that was written down go by what the author is now.
    if line.by_server_admin || by.is_some_and(|user| viewer.login() != login && !may_manage(viewer, user)) {
        line.author.login = None;
        line.author.from = None;
        line.by_server_admin = true;
    }
    let sees_messages = viewer.org_ruled().is_some_and(|org| viewer.reads_all_of(org));
    if !sees_messages && line.author.login.as_deref() != viewer.login() {
        for field in line.fields.iter_mut().filter(|field| field.name == LEADS_TO) {
            for value in [&mut field.before, &mut field.after].into_iter().flatten() {
                *value = ANOTHERS.to_owned();
            }
        }
    }
    line
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

//! The audit log: who changed what, from what to what, when and from where (DESIGN 8).
//!
//! A line is made where a change is made durable, from the change itself and what it replaces, and goes to the disk in
//! the same batch. **Invariant:** there is no change of a setting without its line and no line without its change, and
//! no caller can forget it. Secrets are told as changed, never shown. Lines are never replaced; the newest
//! [`LINES_MAX`] are kept.

mod facts;

use std::net::IpAddr;

use super::{Change, Snapshot, settings};
use crate::settings::{OrgName, Role};

/// Lines that are kept: at a hundred changes a day, nearly three years. The oldest make room.
pub const LINES_MAX: u64 = 100_000;
/// Lines of one answer.
pub const ANSWER_MAX: usize = 1_000;
/// The value of a link's line that says where it leads now: it stands in a person's mail.
pub const LEADS_TO: &str = "leads to";
/// Characters of a value that are kept: the log says what was changed, it is no backup.
pub const VALUE_CHARS_MAX: usize = 240;

/// On whose behalf a change is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Which way it came.
    pub via: Via,
    /// The login, for a person.
    pub login: Option<String>,
    /// The address it came from.
    pub from: Option<IpAddr>,
}

/// Which way a change came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The dashboard.
    Dashboard,
    /// An API key of the login's.
    Key,
    /// The admin socket: whoever owns the data folder.
    Socket,
    /// The config file, at start or at a reload.
    Config,
    /// A link that lets somebody in once.
    Invitation,
    /// A link in a mail of the server's own.
    Mail,
    /// A first login that the upstream server judged.
    Upstream,
    /// The server itself.
    Server,
}

impl Via {
    const ALL: [Via; 8] =
        [Via::Dashboard, Via::Invitation, Via::Key, Via::Socket, Via::Config, Via::Mail, Via::Upstream, Via::Server];

    /// As people read it and as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Via::Dashboard => "dashboard",
            Via::Key => "API key",
            Via::Socket => "admin socket",
            Via::Config => "config.toml",
            Via::Invitation => "invitation",
            Via::Mail => "link in a mail",
            Via::Upstream => "login upstream",
            Via::Server => "server",
        }
    }

    /// Reads [`Via::as_str`].
    pub fn named(text: &str) -> Option<Via> {
        Via::ALL.into_iter().find(|via| via.as_str() == text)
    }
}

impl Author {
    /// Nobody in person.
    pub fn of(via: Via) -> Author {
        Author { via, login: None, from: None }
    }
}

/// What was done to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was not there before.
    Added,
    /// It is another now.
    Changed,
    /// It is gone.
    Removed,
    /// Something was done with it that is no setting.
    Done,
}

impl Action {
    const ALL: [Action; 4] = [Action::Added, Action::Changed, Action::Removed, Action::Done];

    /// As people read it and as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Added => "added",
            Action::Changed => "changed",
            Action::Removed => "removed",
            Action::Done => "done",
        }
    }

    /// Reads [`Action::as_str`].
    pub fn named(text: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Grows by one from line to line.
    pub sequence: u64,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Who did it.
    pub author: Author,
    /// They were a server admin then: an organisation's admins read what was done and not by whom.
    pub by_server_admin: bool,
    /// Whose admins may read it; `None`: server admins alone.
    pub org: Option<OrgName>,
    /// Kind and name: `user ann`.
    pub subject: String,
    /// What was done to it.
    pub action: Action,
    /// What is another now.
    pub fields: Vec<Field>,
}

/// One value before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Before; `None`: there was none.
    pub before: Option<String>,
    /// After; `None`: there is none.
    pub after: Option<String>,
}

/// Something that was done and is no setting, for the log alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whose admins may read it.
    pub org: Option<OrgName>,
    /// Kind and name.
    pub subject: String,
    /// What was done.
    pub words: String,
}

/// Which lines to read, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only of this organisation.
    pub org: Option<OrgName>,
    /// Only older than this one.
    pub before: Option<u64>,
    /// At most this many, and [`ANSWER_MAX`].
    pub limit: usize,
}

impl AuditQuery {
    pub(super) fn fits(&self, line: &Line) -> bool {
        (self.org.is_none() || self.org == line.org) && self.before.is_none_or(|before| line.sequence < before)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.clamp(1, ANSWER_MAX)
    }
}

/// Applies the changes to the snapshot, one after the other, and tells what each does. `next` is the number of the
/// first line.
pub(super) fn apply(
    snapshot: &mut Snapshot,
    changes: &[Change],
    author: &Author,
    at_ms: i64,
    mut next: u64,
) -> Vec<Line> {
    // What a server admin does, of whichever organisation, is not for that organisation's admins to read.
    let user = author.login.as_ref().and_then(|login| snapshot.users.get(login));
    let by_server_admin = user.is_some_and(|user| user.role == Role::ServerAdmin);
    let of_author = user.filter(|_| !by_server_admin).and_then(|user| user.org.clone());
    let mut lines = Vec::new();
    for change in changes {
        if let Some(told) = facts::told(snapshot, change) {
            let facts::Told { org, subject, action, fields } = told;
            let (author, org) = (author.clone(), org.or_else(|| of_author.clone()));
            lines.push(Line { sequence: next, at_ms, author, by_server_admin, org, subject, action, fields });
            next += 1;
        }
        settings::apply(snapshot, change);
    }
    lines
}

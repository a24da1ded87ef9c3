//! What can be done from the dashboard, the API and the command line: one function each, the same for all three.
//!
//! **Invariant:** every function takes a [`Viewer`] and enforces the roles itself; a caller that
//! forgets to ask cannot leak. A setting above the ceiling is refused, a value of `config.toml` is read-only.

pub mod access;
pub mod activity;
pub mod audit;
pub mod credentials;
pub mod figures;
mod health;
pub mod inbox;
pub mod invitations;
pub mod keys;
pub mod links;
pub mod messages;
pub mod notices;
mod org_events;
mod org_tracking;
pub mod orgs;
mod own_rules;
pub mod own_tracking;
pub mod people;
pub mod queue;
pub mod readers;
mod said_so;
pub mod second_factor;
mod sessions;
pub(in crate::admin) mod set_up;
pub mod test_mail;
pub mod upstream_password;
pub mod user_change;
pub mod users;
pub mod webhooks;
pub mod why;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::ports::{HealthKeeper, InboxReader, Keys, MetricsText, PortError, QueueKeeper, TestMail, UpstreamPasswords};
use super::session::{SessionOptions, Sessions};
use super::viewer::Viewer;
use crate::notify::{Notify, NotifyError};
use crate::settings::{OrgName, Tracking};
use crate::store::audit::{Author, Note};
use crate::store::logins::{Busy, Logins};
use crate::store::{Change, HistoryStore, SettingsStore, StoreError};

/// Everything the actions reach. Parts that are `None` do not exist in this set-up, and say so when asked.
pub struct Actions {
    /// Orgs, users, overrides.
    pub settings: Arc<dyn SettingsStore>,
    /// Messages and events.
    pub history: Arc<dyn HistoryStore>,
    /// Passwords.
    pub logins: Arc<Logins>,
    /// `[tracking]` of config.toml; swapped by a reload.
    pub ceiling: Arc<ArcSwap<Tracking>>,
    /// The built-in inbox, when `upstream.mode = "inbox"`.
    pub inbox: Option<Arc<dyn InboxReader>>,
    /// The test mail.
    pub test_mail: Option<Arc<dyn TestMail>>,
    /// The key file.
    pub keys: Option<Arc<dyn Keys>>,
    /// What waits to be delivered.
    pub queue: Option<Arc<dyn QueueKeeper>>,
    /// What was counted.
    pub metrics: Option<Arc<dyn MetricsText>>,
    /// Consents and what they go by.
    pub privacy: Option<people::Privacy>,
    /// Who is told of events.
    pub notify: Option<Arc<Notify>>,
    /// Whether everything works.
    pub health: Option<Arc<dyn HealthKeeper>>,
    /// Passwords of organisations' own upstreams.
    pub upstream_passwords: Option<Arc<dyn UpstreamPasswords>>,
    /// Changes read, decide and write one after the other, so that two admins at once lose nothing.
    changing: tokio::sync::Mutex<()>,
    /// Who is logged in to the dashboard.
    sessions: Mutex<Sessions>,
}

impl std::fmt::Debug for Actions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actions").finish_non_exhaustive()
    }
}

/// The parts that [`Actions`] are made of.
pub struct Parts {
    /// Orgs, users, overrides.
    pub settings: Arc<dyn SettingsStore>,
    /// Messages and events.
    pub history: Arc<dyn HistoryStore>,
    /// Passwords.
    pub logins: Arc<Logins>,
    /// `[tracking]` of config.toml; swapped by a reload.
    pub ceiling: Arc<ArcSwap<Tracking>>,
    /// The built-in inbox, when `upstream.mode = "inbox"`.
    pub inbox: Option<Arc<dyn InboxReader>>,
    /// The test mail.
    pub test_mail: Option<Arc<dyn TestMail>>,
    /// The key file.
    pub keys: Option<Arc<dyn Keys>>,
    /// What waits to be delivered.
    pub queue: Option<Arc<dyn QueueKeeper>>,
    /// What was counted.
    pub metrics: Option<Arc<dyn MetricsText>>,
    /// Consents and what they go by.
    pub privacy: Option<people::Privacy>,
    /// Who is told of events.
    pub notify: Option<Arc<Notify>>,
    /// Whether everything works.
    pub health: Option<Arc<dyn HealthKeeper>>,
    /// Passwords of organisations' own upstreams.
    pub upstream_passwords: Option<Arc<dyn UpstreamPasswords>>,
}

impl Actions {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Actions {
        let Parts {
            settings,
            history,
            logins,
            ceiling,
            inbox,
            test_mail,
            keys,
            queue,
            metrics,
            privacy,
            notify,
            health,
            upstream_passwords,
        } = parts;
        let changing = tokio::sync::Mutex::new(());
        Actions {
            settings,
            history,
            logins,
            ceiling,
            inbox,
            test_mail,
            keys,
            queue,
            metrics,
            privacy,
            notify,
            health,
            upstream_passwords,
            changing,
            sessions: Mutex::new(Sessions::new(SessionOptions::default())),
        }
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to change something: reading, deciding and writing happen under what this gives.
    async fn changing(&self, viewer: &Viewer) -> Changing<'_> {
        Changing { _held: self.changing.lock().await, author: viewer.author() }
    }

    /// The same for somebody who has no viewer yet.
    async fn changing_as(&self, author: Author) -> Changing<'_> {
        Changing { _held: self.changing.lock().await, author }
    }

    /// Makes one change durable, with its line in the audit log.
    async fn write(&self, held: &Changing<'_>, change: Change) -> Result<(), Refusal> {
        self.write_all(held, vec![change]).await
    }

    /// Makes all of them durable, or none.
    async fn write_all(&self, held: &Changing<'_>, changes: Vec<Change>) -> Result<(), Refusal> {
        self.settings.change_by(held.author.clone(), changes).await.map_err(Refusal::Store)
    }

    /// Puts something that was done and is no setting into the audit log.
    async fn tell(&self, viewer: &Viewer, org: Option<OrgName>, subject: String, words: String) -> Result<(), Refusal> {
        let note = Change::Note(Note { org, subject, words });
        self.settings.change_by(viewer.author(), vec![note]).await.map_err(Refusal::Store)
    }
}

/// Held from reading what a change is decided on until it is written; knows for whom.
struct Changing<'a> {
    _held: tokio::sync::MutexGuard<'a, ()>,
    author: Author,
}

/// Why an action was not done, in words for whoever asked for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// It is not there, or not there for this viewer.
    #[error("there is no {what}")]
    NotFound {
        /// Kind and name.
        what: String,
    },
    /// The viewer may know of it and may not do it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A value is wrong.
    #[error("{field}: {detail}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What is wrong and what would be right.
        detail: String,
    },
    /// The value comes from the config file.
    #[error("{field} is managed in config.toml: change it there and reload")]
    Managed {
        /// Which value.
        field: &'static str,
    },
    /// The organisation has locked it.
    #[error("{field} is locked: the organisation decides it for all its users")]
    Locked {
        /// Which switch.
        field: &'static str,
    },
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// It is no longer as the caller has seen it.
    #[error("it was changed since you read it: read it again and decide anew")]
    Changed,
    /// This set-up has no such part.
    #[error("{0}")]
    Absent(&'static str),
    /// Too much at once: again in a few seconds.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The store cannot do it now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plugged-in part cannot do it now.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl From<NotifyError> for Refusal {
    fn from(error: NotifyError) -> Refusal {
        match error {
            NotifyError::Target(wrong) => Refusal::invalid("url", wrong.to_string()),
            NotifyError::Key(why) => Refusal::Port(PortError(why.to_owned())),
            NotifyError::Store(error) => Refusal::Store(error),
        }
    }
}

impl Refusal {
    fn not_found(kind: &str, name: impl std::fmt::Display) -> Refusal {
        Refusal::NotFound { what: format!("{kind} {name}") }
    }

    pub(super) fn invalid(field: &'static str, detail: impl Into<String>) -> Refusal {
        Refusal::Invalid { field, detail: detail.into() }
    }
}

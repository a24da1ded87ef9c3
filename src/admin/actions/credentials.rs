//! App passwords and API keys: what a person's programs log in with, each by itself, so that one can be taken back alone.
//!
//! **Invariant:** they are made by their owner, logged in with the account itself, or by the operator; never with a key,
//! so that none can beget another (nor a password, an admin, or an account without a second factor: `Viewer::in_person`).
//! Whoever manages a user sees that they are there and may revoke them.

use std::collections::BTreeSet;

use super::users::may_manage;
use super::{Actions, PortError, Refusal};
use crate::admin::viewer::Viewer;
use crate::settings::User;
use crate::settings::access::{Credential, DigestId, Purpose, Scope};
use crate::store::Change;
use crate::store::credentials::{API_SHOWN_CHARS, Kind, Minted, mint};

/// Longest name of one, in characters.
pub const NAME_CHARS_MAX: usize = 60;
/// App passwords, and API keys, of one user: enough for every device somebody owns.
pub const PER_USER_MAX: usize = 25;
/// Longest life of an API key that has an end, in days.
pub const KEY_DAYS_MAX: u32 = 3_650;

const DAY_MS: i64 = 86_400_000;

/// One of them, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialView {
    /// Its public name.
    pub id: DigestId,
    /// Whose it is.
    pub login: String,
    /// What its owner calls it.
    pub name: String,
    /// What it opens.
    pub purpose: Purpose,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// Unix milliseconds, to the hour; `None`: not yet.
    pub used_at_ms: Option<i64>,
}

/// An API key to be.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// Until it expires; `None`: never.
    pub days: Option<u32>,
}

impl CredentialView {
    /// It opens mail, and nothing else.
    pub fn is_for_mail(&self) -> bool {
        self.purpose == Purpose::Mail
    }
}

impl Actions {
    /// What a user's programs log in with, the oldest first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the user is neither the viewer nor theirs to manage.
    pub fn credentials(&self, viewer: &Viewer, login: &str) -> Result<Vec<CredentialView>, Refusal> {
        self.known_user(viewer, login)?;
        let snapshot = self.settings.snapshot();
        let theirs = snapshot.credentials.values().filter(|credential| credential.login == login);
        let mut found: Vec<CredentialView> =
            theirs.map(|credential| view(credential, snapshot.used.get(&credential.id()).copied())).collect();
        found.sort_by_key(|view| (view.created_at_ms, view.id));
        Ok(found)
    }

    /// Makes an app password, and gives it, to be shown once.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for anybody but its owner and the operator; [`Refusal::Invalid`] for its name;
    /// [`Refusal::Conflict`] when the name is taken, there are too many, or the user sends no mail.
    pub async fn add_app_password(
        &self,
        viewer: &Viewer,
        login: &str,
        name: &str,
    ) -> Result<(CredentialView, String), Refusal> {
        let user = self.may_make(viewer, login)?;
        if user.org.is_none() {
            return Err(Refusal::Conflict("who belongs to no organisation sends no mail".to_owned()));
        }
        let minted = mint(Kind::Mail).map_err(no_randomness)?;
        self.add_credential(viewer, login, name, Purpose::Mail, minted).await
    }

    /// Makes an API key, and gives it, to be shown once.
    ///
    /// # Errors
    /// As [`Actions::add_app_password`]; [`Refusal::Invalid`] for no scope or a life too long.
    pub async fn add_api_key(
        &self,
        viewer: &Viewer,
        login: &str,
        new: NewKey,
    ) -> Result<(CredentialView, String), Refusal> {
        self.may_make(viewer, login)?;
        let NewKey { name, scopes, days } = new;
        if scopes.is_empty() {
            return Err(Refusal::invalid("scopes", format!("choose at least one of {}", Scope::names())));
        }
        if days.is_some_and(|days| !(1..=KEY_DAYS_MAX).contains(&days)) {
            return Err(Refusal::invalid("days", "a key lives 1 to 3,650 days, or until it is revoked"));
        }
        let minted = mint(Kind::Api).map_err(no_randomness)?;
        let shown = minted.secret.chars().take(API_SHOWN_CHARS).collect();
        let expires_at_ms = days.map(|days| now_ms() + i64::from(days) * DAY_MS);
        self.add_credential(viewer, login, &name, Purpose::Api { shown, scopes, expires_at_ms }, minted).await
    }

    async fn add_credential(
        &self,
        viewer: &Viewer,
        login: &str,
        name: &str,
        purpose: Purpose,
        Minted { secret, digest }: Minted,
    ) -> Result<(CredentialView, String), Refusal> {
        let name = name_fit(name)?;
        let held = self.changing(viewer).await;
        let for_mail = purpose == Purpose::Mail;
        let there = self.credentials(viewer, login)?;
        let alike = || there.iter().filter(|one| one.is_for_mail() == for_mail);
        if alike().count() >= PER_USER_MAX {
            return Err(Refusal::Conflict(format!("{login} has {PER_USER_MAX} of them; revoke one first")));
        }
        if alike().any(|one| one.name == name) {
            return Err(Refusal::Conflict(format!("there is one called {name} already")));
        }
        let credential = Credential { login: login.to_owned(), name, purpose, digest, created_at_ms: now_ms() };
        let made = view(&credential, None);
        self.write(&held, Change::PutCredential(credential)).await?;
        Ok((made, secret))
    }

    /// Revokes one; it stops working at once.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it is not there, or not of this user, or the user is not the viewer's to know of.
    pub async fn remove_credential(&self, viewer: &Viewer, login: &str, id: DigestId) -> Result<(), Refusal> {
        let held = self.changing(viewer).await;
        if !self.credentials(viewer, login)?.iter().any(|view| view.id == id) {
            return Err(Refusal::not_found("credential", id));
        }
        self.write(&held, Change::RemoveCredential(id)).await
    }

    /// A user that is the viewer, or the viewer's to manage.
    pub(super) fn known_user(&self, viewer: &Viewer, login: &str) -> Result<User, Refusal> {
        let user = self.settings.snapshot().users.get(login).cloned();
        let user = user.filter(|user| viewer.login() == Some(login) || may_manage(viewer, user));
        user.ok_or_else(|| Refusal::not_found("user", login))
    }

    fn may_make(&self, viewer: &Viewer, login: &str) -> Result<User, Refusal> {
        let user = self.known_user(viewer, login)?;
        viewer.in_person()?;
        if *viewer != Viewer::Operator && viewer.login() != Some(login) {
            return Err(Refusal::Forbidden("app passwords and API keys are made by who uses them"));
        }
        Ok(user)
    }
}

impl Scope {
    /// All names, for a sentence.
    fn names() -> String {
        Scope::ALL.map(Scope::as_str).join(", ")
    }
}

/// Every change of a removed user's ways in: they end with the login, so that nobody who gets it anew inherits them.
pub(super) fn without_ways_in(snapshot: &crate::store::Snapshot, login: &str) -> Vec<Change> {
    let credentials = snapshot.credentials.values().filter(|credential| credential.login == login);
    let invitations = snapshot.invitations.values().filter(|invitation| {
        // What somebody handed out who is no longer here is nobody's word.
        invitation.gives.login() == login || invitation.by == login
    });
    let mut changes: Vec<Change> = credentials.map(|credential| Change::RemoveCredential(credential.id())).collect();
    changes.extend(invitations.map(|invitation| Change::RemoveInvitation(invitation.id())));
    if snapshot.second_factors.contains_key(login) {
        changes.push(Change::RemoveSecondFactor(login.to_owned()));
    }
    changes
}

fn view(credential: &Credential, used_at_ms: Option<i64>) -> CredentialView {
    let Credential { login, name, purpose, created_at_ms, .. } = credential.clone();
    CredentialView { id: credential.id(), login, name, purpose, created_at_ms, used_at_ms }
}

fn name_fit(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(Refusal::invalid("name", "say in 1 to 60 characters what it is for, for instance the device"));
    }
    Ok(name.to_owned())
}

pub(super) fn no_randomness(error: getrandom::Error) -> Refusal {
    Refusal::Port(PortError(format!("the system gives no random numbers: {error}")))
}

pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

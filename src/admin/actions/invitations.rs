//! Links that let somebody in once: to an account whose login, organisation and role whoever invites has fixed, or to a new
//! password.
//!
//! **Invariant:** a link works once, for 72 hours, while what it gives is still its maker's to give: it goes with the
//! maker's account. Its secret is shown once and kept as a hash. A new password by a link leaves a second factor as it is.

use std::net::IpAddr;

use super::credentials::{no_randomness, now_ms};
use super::users::{NewUser, login_fit, password_fit};
use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::settings::access::{DigestId, Gift, Invitation};
use crate::settings::prepared::prepared;
use crate::settings::{OrgName, Role, User};
use crate::store::audit::{Author, Via};
use crate::store::credentials::{Kind, Minted, digest, mint, same};
use crate::store::{Change, Snapshot};

/// How long a link works: over a weekend.
pub const LIFE_MS: i64 = 72 * 3_600_000;
/// Links that are open at once, on the whole server.
pub const OPEN_MAX: usize = 1_000;
/// Where a link leads, on the dashboard.
pub const JOIN_PATH: &str = "/join/";

/// A link without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationView {
    /// Its public name.
    pub id: DigestId,
    /// What it gives.
    pub gives: Gift,
    /// Who made it; empty for the operator, and when it is not the viewer's to know.
    pub by: String,
    /// Unix milliseconds.
    pub expires_at_ms: i64,
}

/// A link as it was made: its path is shown once.
#[derive(Clone)]
pub struct InvitationMade {
    /// It.
    pub view: InvitationView,
    /// On the dashboard's address.
    pub path: String,
}

/// Whom to invite.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// What will be typed at login.
    pub login: String,
    /// Where it will belong; `None` only for a server admin.
    pub org: Option<OrgName>,
    /// What it will be allowed to do.
    pub role: Role,
}

impl Actions {
    /// The links that are open and the viewer's to manage, the one that ends last first.
    pub fn invitations(&self, viewer: &Viewer) -> Vec<InvitationView> {
        let (snapshot, now_ms) = (self.settings.snapshot(), now_ms());
        let open = snapshot.invitations.values().filter(|invitation| now_ms < invitation.expires_at_ms);
        let mut views: Vec<InvitationView> = open.filter(|one| may_know(viewer, &snapshot, one)).map(view).collect();
        // A server admin's login is not for an organisation's admins.
        for view in views.iter_mut().filter(|view| self.known_user(viewer, &view.by).is_err()) {
            view.by.clear();
        }
        views.sort_by_key(|view| (std::cmp::Reverse(view.expires_at_ms), view.id));
        views
    }

    /// Makes a link to an account.
    ///
    /// # Errors
    /// As [`Actions::add_user`].
    pub async fn invite(&self, viewer: &Viewer, new: NewInvitation) -> Result<InvitationMade, Refusal> {
        let NewInvitation { login, org, role } = new;
        // As it is compared at each login.
        let login = prepared(&login).into_owned();
        let user = NewUser { login, org, role, addresses: Vec::new(), password: String::new() };
        self.may_add(viewer, &user)?;
        let NewUser { login, org, role, .. } = user;
        login_fit(&login)?;
        if self.settings.snapshot().is_taken(&login) {
            return Err(Refusal::Conflict(format!("the login {login} is taken")));
        }
        self.make(viewer, Gift::Account { login, org, role }).await
    }

    /// Makes a link to a new password.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the user is not the viewer's to manage; [`Refusal::Conflict`] for oneself.
    pub async fn password_link(&self, viewer: &Viewer, login: &str) -> Result<InvitationMade, Refusal> {
        self.managed_user(viewer, login)?;
        if viewer.login() == Some(login) {
            return Err(Refusal::Conflict("your own password is changed on your account page".to_owned()));
        }
        viewer.in_person()?;
        self.make(viewer, Gift::Password { login: login.to_owned() }).await
    }

    /// One link for a login at a time: a new one takes the place of the one before, and what has expired goes.
    async fn make(&self, viewer: &Viewer, gives: Gift) -> Result<InvitationMade, Refusal> {
        let Minted { secret, digest } = mint(Kind::Link).map_err(no_randomness)?;
        let held = self.changing(viewer).await;
        let (snapshot, now_ms) = (self.settings.snapshot(), now_ms());
        let over = |one: &&Invitation| one.expires_at_ms <= now_ms || one.gives.login() == gives.login();
        let gone: Vec<&Invitation> = snapshot.invitations.values().filter(over).collect();
        if let Some(foreign) = gone.iter().find(|one| one.expires_at_ms > now_ms && !may_know(viewer, &snapshot, one)) {
            return Err(Refusal::Conflict(format!("somebody else has invited {}", foreign.gives.login())));
        }
        if snapshot.invitations.len() - gone.len() >= OPEN_MAX {
            return Err(Refusal::Conflict(format!("{OPEN_MAX} links are open; withdraw some")));
        }
        let by = viewer.login().unwrap_or_default().to_owned();
        let invitation = Invitation { digest, gives, by, expires_at_ms: now_ms + LIFE_MS };
        let made = InvitationMade { view: view(&invitation), path: format!("{JOIN_PATH}{secret}") };
        let mut changes: Vec<Change> = gone.into_iter().map(|one| Change::RemoveInvitation(one.id())).collect();
        changes.push(Change::PutInvitation(invitation));
        self.write_all(&held, changes).await?;
        Ok(made)
    }

    /// Withdraws a link; it stops working at once.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it is not there or not the viewer's to manage.
    pub async fn withdraw_invitation(&self, viewer: &Viewer, id: DigestId) -> Result<(), Refusal> {
        let held = self.changing(viewer).await;
        if !self.invitations(viewer).iter().any(|view| view.id == id) {
            return Err(Refusal::not_found("invitation", id));
        }
        self.write(&held, Change::RemoveInvitation(id)).await
    }

    /// What a link gives.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it was used, withdrawn, has expired or never was.
    pub fn invitation_to(&self, secret: &str) -> Result<Gift, Refusal> {
        open(&self.settings.snapshot(), secret).map(|invitation| invitation.gives.clone())
    }

    /// Takes what a link gives, with this password; the login it is for.
    ///
    /// # Errors
    /// As [`Actions::invitation_to`]; [`Refusal::Invalid`] for a weak password; [`Refusal::Conflict`] when the login has
    /// been taken meanwhile.
    pub async fn take_invitation(&self, secret: &str, password: &str, from: Option<IpAddr>) -> Result<String, Refusal> {
        let login = self.invitation_to(secret)?.login().to_owned();
        password_fit(password, &login)?;
        let password_hash = self.logins.hash(password).await?;
        let author = Author { via: Via::Invitation, login: Some(login.clone()), from };
        let held = self.changing_as(author).await;
        let snapshot = self.settings.snapshot();
        // Again, for whoever was here first meanwhile.
        let invitation = open(&snapshot, secret)?;
        let user = user_of(&snapshot, &invitation.gives, password_hash)?;
        let changes = vec![Change::RemoveInvitation(invitation.id()), Change::PutUser(user.clone())];
        self.write_all(&held, changes).await?;
        self.sessions().new_password(&user, None);
        Ok(login)
    }
}

fn open<'a>(snapshot: &'a Snapshot, secret: &str) -> Result<&'a Invitation, Refusal> {
    let digest = digest(Kind::Link, secret);
    let found = snapshot.invitations.get(&DigestId::of(&digest));
    let found = found.filter(|found| same(&found.digest, &digest) && now_ms() < found.expires_at_ms);
    found.ok_or_else(|| Refusal::NotFound { what: "such link: it was used, withdrawn, or is too old".to_owned() })
}

fn user_of(snapshot: &Snapshot, gives: &Gift, password_hash: String) -> Result<User, Refusal> {
    match gives {
        Gift::Password { login } => {
            let user = snapshot.users.get(login).cloned().ok_or_else(|| Refusal::not_found("user", login))?;
            Ok(user.with_password(password_hash))
        }
        Gift::Account { login, .. } if snapshot.is_taken(login) => {
            Err(Refusal::Conflict(format!("the login {login} is taken; ask for another invitation")))
        }
        Gift::Account { org: Some(org), .. } if !snapshot.orgs.contains_key(org) => {
            Err(Refusal::not_found("organisation", org.as_str()))
        }
        Gift::Account { login, org, role } => Ok(User::new(login.clone(), org.clone(), *role, password_hash)),
    }
}

/// Whoever may manage the account it gives, or will.
fn may_know(viewer: &Viewer, snapshot: &Snapshot, invitation: &Invitation) -> bool {
    let (org, role) = match &invitation.gives {
        Gift::Account { org, role, .. } => (org.as_ref(), *role),
        Gift::Password { login } => match snapshot.users.get(login) {
            Some(user) => (user.org.as_ref(), user.role),
            None => return viewer.rules_all(),
        },
    };
    viewer.rules_all() || (role != Role::ServerAdmin && org.is_some_and(|org| viewer.rules(org)))
}

fn view(invitation: &Invitation) -> InvitationView {
    let Invitation { gives, by, expires_at_ms, .. } = invitation.clone();
    InvitationView { id: invitation.id(), gives, by, expires_at_ms }
}

//! What a user may do, changed: its role, and the addresses it sends as besides its organisation's domains.
//!
//! **Invariant:** nobody hands out more than they have, nobody changes their own role, and a server admin stays. Who may do
//! less than before loses it with the next request, session or key, because each asks anew what its user may; the links to
//! accounts that they had handed out go in the same write.

use super::own_rules::lists_fit;
use super::users::{UserView, addresses_fit, is_last_server_admin, may_manage, view};
use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::settings::access::Gift;
use crate::settings::{Role, User};
use crate::store::{Change, Snapshot};

/// What to change; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserPatch {
    /// What it may do.
    pub role: Option<Role>,
    /// All addresses it may send as besides the organisation's domains.
    pub addresses: Option<Vec<String>>,
}

impl Actions {
    /// Changes a user, provided that it is still as the caller has `seen` it. In force with the next request and mail.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the user is not the viewer's to manage; [`Refusal::Forbidden`] for more than the viewer
    /// may hand out; [`Refusal::Conflict`] for one's own role, the last server admin, another organisation's address;
    /// [`Refusal::Invalid`]; [`Refusal::Changed`].
    pub async fn set_user(
        &self,
        viewer: &Viewer,
        login: &str,
        patch: UserPatch,
        seen: impl FnOnce(&UserView) -> bool + Send,
    ) -> Result<UserView, Refusal> {
        let held = self.changing(viewer).await;
        let snapshot = self.settings.snapshot();
        let present = snapshot.users.get(login).filter(|user| may_manage(viewer, user));
        let present = present.ok_or_else(|| Refusal::not_found("user", login))?;
        if !seen(&view(present)) {
            return Err(Refusal::Changed);
        }
        let mut user = present.clone();
        if let Some(role) = patch.role.filter(|role| *role != present.role) {
            may_become(viewer, &snapshot, present, role)?;
            user.role = role;
        }
        if let Some(typed) = patch.addresses {
            let addresses = addresses_fit(&snapshot, present.org.as_ref(), &typed)?;
            may_send_as(viewer, present, &addresses)?;
            user.addresses = addresses;
            lists_fit("addresses", &user)?;
        }
        let changed = view(&user);
        let mut changes = Vec::new();
        if may_less(present.role, user.role) {
            changes.extend(handed_out(&snapshot, login));
        }
        changes.push(Change::PutUser(user));
        self.write_all(&held, changes).await?;
        Ok(changed)
    }
}

fn may_become(viewer: &Viewer, snapshot: &Snapshot, user: &User, role: Role) -> Result<(), Refusal> {
    if viewer.login() == Some(&user.login) {
        return Err(Refusal::Conflict("nobody changes their own role; ask another admin".to_owned()));
    }
    if role == Role::ServerAdmin && !viewer.rules_all() {
        return Err(Refusal::Forbidden("only a server admin may make server admins"));
    }
    if role != Role::Sender {
        viewer.in_person()?;
    }
    if user.org.is_none() {
        return Err(Refusal::invalid("role", "who belongs to no organisation is a server admin; add a login in one"));
    }
    if is_last_server_admin(snapshot, &user.login) {
        return Err(Refusal::Conflict(format!("{} is the last server admin; add another first", user.login)));
    }
    Ok(())
}

/// Addresses outside the organisation's domains are a server admin's to give; an organisation's admin may take them away.
fn may_send_as(viewer: &Viewer, user: &User, addresses: &[String]) -> Result<(), Refusal> {
    if !viewer.rules_all() && addresses.iter().any(|address| !user.addresses.contains(address)) {
        return Err(Refusal::Forbidden(
            "only a server admin may let a user send from outside the organisation's domains",
        ));
    }
    Ok(())
}

fn may_less(before: Role, after: Role) -> bool {
    let rank = |role: Role| match role {
        Role::Sender => 0,
        Role::OrgAdmin => 1,
        Role::ServerAdmin => 2,
    };
    rank(after) < rank(before)
}

/// The open links that somebody has made.
fn handed_out(snapshot: &Snapshot, login: &str) -> Vec<Change> {
    let theirs = snapshot.invitations.values().filter(|invitation| invitation.by == login);
    theirs.map(|invitation| Change::RemoveInvitation(invitation.id())).collect()
}

/// The open links to a new password for this login: who has one now has another than the link was made for.
pub(super) fn without_password_links(snapshot: &Snapshot, login: &str) -> Vec<Change> {
    let theirs =
        snapshot.invitations.values().filter(|one| matches!(&one.gives, Gift::Password { login: of } if of == login));
    theirs.map(|invitation| Change::RemoveInvitation(invitation.id())).collect()
}

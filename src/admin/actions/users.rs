//! Users: who has a login, what it may do, and its password.

use super::credentials::without_ways_in;
use super::user_change::without_password_links;
use super::{Actions, Refusal};
use crate::admin::paging::page;
use crate::admin::session::SessionId;
use crate::admin::viewer::Viewer;
use crate::policy::sender::a_label;
use crate::settings::access::Purpose;
use crate::settings::prepared::prepared;
use crate::settings::{Choice, OrgName, Role, User};
use crate::store::logins::PASSWORD_BYTES_MAX;
use crate::store::{Change, Snapshot};

/// Shortest password of a person, in characters: with rate-limited logins and argon2id, ten resist guessing.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Longest login in bytes.
pub const LOGIN_BYTES_MAX: usize = 254;
/// Most addresses of one user.
pub const ADDRESSES_MAX: usize = 100;

/// A user without the password hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// What is typed at login.
    pub login: String,
    /// Where it belongs.
    pub org: Option<OrgName>,
    /// What it may do.
    pub role: Role,
    /// Addresses it may send as besides the org's domains.
    pub addresses: Vec<String>,
    /// Its own choice below the org's.
    pub choice: Choice,
}

/// A user to be.
pub struct NewUser {
    /// What is typed at login.
    pub login: String,
    /// Where it belongs; `None` only for a server admin.
    pub org: Option<OrgName>,
    /// What it may do.
    pub role: Role,
    /// Addresses it may send as besides the org's domains.
    pub addresses: Vec<String>,
    /// In clear; it is hashed and forgotten.
    pub password: String,
}

/// The role of a name as the CLI, the API and forms write it.
pub fn role_named(name: &str) -> Option<Role> {
    [Role::Sender, Role::OrgAdmin, Role::ServerAdmin].into_iter().find(|role| role.as_str() == name)
}

/// What goes with a user who is removed; their mail stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoesWith {
    /// About their own mail.
    pub webhooks: usize,
    /// API keys.
    pub keys: usize,
    /// Of their mail programs.
    pub app_passwords: usize,
}

impl Actions {
    /// The users the viewer rules, by login; a sender finds itself.
    pub fn users(&self, viewer: &Viewer) -> Vec<UserView> {
        let snapshot = self.settings.snapshot();
        let seen = |user: &&User| may_manage(viewer, user) || viewer.login() == Some(&user.login);
        snapshot.users.values().filter(seen).map(view).collect()
    }

    /// A page of them, and the login to go on after.
    pub fn users_page(&self, viewer: &Viewer, after: Option<&String>, limit: usize) -> (Vec<UserView>, Option<String>) {
        page(self.users(viewer), after, limit, |user| user.login.clone())
    }

    /// One user.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it is not there or not the viewer's to know of.
    pub fn user(&self, viewer: &Viewer, login: &str) -> Result<UserView, Refusal> {
        let found = self.users(viewer).into_iter().find(|user| user.login == login);
        found.ok_or_else(|| Refusal::not_found("user", login))
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for senders, and for an org admin who hands out more than its own; [`Refusal::NotFound`]
    /// for an org that is not the viewer's; [`Refusal::Conflict`] for a taken login or address; [`Refusal::Invalid`].
    pub async fn add_user(&self, viewer: &Viewer, mut new: NewUser) -> Result<UserView, Refusal> {
        // As it is compared at each login.
        new.login = prepared(&new.login).into_owned();
        self.may_add(viewer, &new)?;
        password_fit(&new.password, &new.login)?;
        login_fit(&new.login)?;
        let password_hash = self.logins.hash(&new.password).await?;
        let held = self.changing(viewer).await;
        let snapshot = self.settings.snapshot();
        if snapshot.is_taken(&new.login) {
            return Err(Refusal::Conflict(format!("the login {} is taken", new.login)));
        }
        let addresses = addresses_fit(&snapshot, new.org.as_ref(), &new.addresses)?;
        let NewUser { login, org, role, .. } = new;
        let user = User { addresses, ..User::new(login, org, role, password_hash) };
        let added = view(&user);
        self.write(&held, Change::PutUser(user)).await?;
        Ok(added)
    }

    pub(super) fn may_add(&self, viewer: &Viewer, new: &NewUser) -> Result<(), Refusal> {
        if !viewer.rules_all() && viewer.org_ruled().is_none() {
            return Err(Refusal::Forbidden("only an admin may add users"));
        }
        match &new.org {
            Some(org) if !viewer.rules(org) || !self.settings.snapshot().orgs.contains_key(org) => {
                return Err(Refusal::not_found("organisation", org.as_str()));
            }
            None if new.role != Role::ServerAdmin => {
                return Err(Refusal::invalid("org", "only a server admin belongs to no organisation; name one"));
            }
            _ => {}
        }
        if !viewer.rules_all() && new.role == Role::ServerAdmin {
            return Err(Refusal::Forbidden("only a server admin may make server admins"));
        }
        if !viewer.rules_all() && !new.addresses.is_empty() {
            return Err(Refusal::Forbidden(
                "only a server admin may let a user send from outside the organisation's domains",
            ));
        }
        self.not_anothers(new)?;
        match new.role {
            Role::Sender => Ok(()),
            Role::OrgAdmin | Role::ServerAdmin => viewer.in_person(),
        }
    }

    /// A login in another organisation's domain is its people's: theirs may log in with it at their own provider, and would
    /// find it taken, or their password asked about at a stranger's (DESIGN, promise 8). Whoever asks, as for addresses; but for
    /// those who belong to no organisation.
    fn not_anothers(&self, new: &NewUser) -> Result<(), Refusal> {
        let snapshot = self.settings.snapshot();
        let owner = snapshot.org_of_login(&new.login).map(|org| &org.name);
        match (&new.org, owner) {
            (Some(org), Some(owner)) if org != owner => {
                let domain = new.login.rsplit('@').next().unwrap_or_default();
                Err(Refusal::Conflict(format!("{domain} belongs to another organisation")))
            }
            _ => Ok(()),
        }
    }

    /// Sets another user's password, which also ends that user's sessions.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the user is not the viewer's to manage; [`Refusal::Conflict`] for one's own, which needs
    /// the present one; [`Refusal::Invalid`] for a weak password.
    pub async fn reset_password(&self, viewer: &Viewer, login: &str, password: &str) -> Result<(), Refusal> {
        self.managed_user(viewer, login)?;
        if viewer.login() == Some(login) {
            return Err(Refusal::Conflict("your own password is changed with the present one".to_owned()));
        }
        viewer.in_person()?;
        self.put_password(viewer, login, password, None).await
    }

    /// Sets the viewer's own password, the present one being right. Every session ends but `session`.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when the present password is wrong or the new one weak.
    pub(in crate::admin) async fn change_own_password(
        &self,
        viewer: &Viewer,
        present: &str,
        new: &str,
        session: &SessionId,
    ) -> Result<(), Refusal> {
        viewer.in_person()?;
        let login = viewer.login().ok_or(Refusal::Forbidden("the operator has no password; name a user"))?;
        if self.logins.check(login, present.as_bytes()).await?.is_none() {
            return Err(Refusal::invalid("present", "that is not the present password"));
        }
        self.put_password(viewer, login, new, Some(session)).await
    }

    async fn put_password(
        &self,
        viewer: &Viewer,
        login: &str,
        password: &str,
        session: Option<&SessionId>,
    ) -> Result<(), Refusal> {
        password_fit(password, login)?;
        let password_hash = self.logins.hash(password).await?;
        let held = self.changing(viewer).await;
        let snapshot = self.settings.snapshot();
        let user = snapshot.users.get(login).cloned().ok_or_else(|| Refusal::not_found("user", login))?;
        let user = user.with_password(password_hash);
        let mut changes = without_password_links(&snapshot, login);
        changes.push(Change::PutUser(user.clone()));
        self.write_all(&held, changes).await?;
        self.sessions().new_password(&user, session);
        Ok(())
    }

    /// Sets the password of who has logged in with one that was good for one login; the user as it is then.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a weak password, and for the same one; [`Refusal::Conflict`] when it was set meanwhile.
    pub(in crate::admin) async fn choose_password(&self, viewer: &Viewer, password: &str) -> Result<User, Refusal> {
        let login = viewer.login().unwrap_or_default();
        password_fit(password, login)?;
        if self.logins.check(login, password.as_bytes()).await?.is_some() {
            return Err(Refusal::invalid("password", "it was made up for one login; choose your own"));
        }
        let password_hash = self.logins.hash(password).await?;
        let held = self.changing(viewer).await;
        let snapshot = self.settings.snapshot();
        let present = snapshot.users.get(login).cloned().filter(|user| user.one_time);
        let user = present.ok_or_else(|| Refusal::Conflict("the password was set meanwhile".to_owned()))?;
        let user = user.with_password(password_hash);
        let mut changes = without_password_links(&snapshot, login);
        changes.push(Change::PutUser(user.clone()));
        self.write_all(&held, changes).await?;
        self.sessions().new_password(&user, None);
        Ok(user)
    }

    /// Removes a user; its mail stays.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the user is not the viewer's to manage; [`Refusal::Conflict`] for oneself and for the
    /// last server admin.
    pub async fn remove_user(&self, viewer: &Viewer, login: &str) -> Result<(), Refusal> {
        let held = self.changing(viewer).await;
        self.goes_with(viewer, login)?;
        let snapshot = self.settings.snapshot();
        // What was told to this person alone ends with the login, so that nobody who gets it anew inherits it.
        let theirs = snapshot.webhooks.values().filter(|webhook| webhook.login.as_deref() == Some(login));
        let mut changes: Vec<Change> = theirs.map(|webhook| Change::RemoveWebhook(webhook.id)).collect();
        changes.extend(without_ways_in(&snapshot, login));
        changes.push(Change::RemoveNotices(login.to_owned()));
        changes.push(Change::RemoveUser(login.to_owned()));
        self.write_all(&held, changes).await?;
        self.sessions().end_of(login, None);
        Ok(())
    }

    /// What would go with a user who may be removed.
    ///
    /// # Errors
    /// As [`Actions::remove_user`].
    pub fn goes_with(&self, viewer: &Viewer, login: &str) -> Result<GoesWith, Refusal> {
        self.managed_user(viewer, login)?;
        if viewer.login() == Some(login) {
            return Err(Refusal::Conflict("nobody removes themselves; ask another admin".to_owned()));
        }
        let snapshot = self.settings.snapshot();
        if is_last_server_admin(&snapshot, login) {
            return Err(Refusal::Conflict(format!("{login} is the last server admin; add another first")));
        }
        let theirs = snapshot.credentials.values().filter(|credential| credential.login == login);
        let (mail, keys): (Vec<_>, Vec<_>) = theirs.partition(|credential| matches!(credential.purpose, Purpose::Mail));
        let webhooks = snapshot.webhooks.values().filter(|webhook| webhook.login.as_deref() == Some(login)).count();
        Ok(GoesWith { webhooks, keys: keys.len(), app_passwords: mail.len() })
    }

    pub(super) fn managed_user(&self, viewer: &Viewer, login: &str) -> Result<(), Refusal> {
        match self.settings.snapshot().users.get(login) {
            Some(user) if may_manage(viewer, user) => Ok(()),
            _ => Err(Refusal::not_found("user", login)),
        }
    }
}

/// Without this one nobody rules the server.
pub(super) fn is_last_server_admin(snapshot: &Snapshot, login: &str) -> bool {
    let mut admins = snapshot.users.values().filter(|user| user.role == Role::ServerAdmin);
    admins.next().is_some_and(|user| user.login == login) && admins.next().is_none()
}

/// Server admins are managed by server admins alone, also those that belong to an organisation.
pub(super) fn may_manage(viewer: &Viewer, user: &User) -> bool {
    viewer.rules_all() || (user.role != Role::ServerAdmin && user.org.as_ref().is_some_and(|org| viewer.rules(org)))
}

pub(super) fn view(user: &User) -> UserView {
    let User { login, org, role, addresses, choice, .. } = user.clone();
    UserView { login, org, role, addresses, choice }
}

pub(super) fn login_fit(login: &str) -> Result<(), Refusal> {
    let wrong = if login.is_empty() {
        "a login is needed, for instance the mail address"
    } else if login.len() > LOGIN_BYTES_MAX {
        "it is longer than 254 bytes"
    } else if login.chars().any(char::is_control) || login.trim() != login {
        "it may hold no control characters and no outer blanks"
    } else {
        return Ok(());
    };
    Err(Refusal::invalid("login", wrong))
}

pub(super) fn password_fit(password: &str, login: &str) -> Result<(), Refusal> {
    let wrong = if password.chars().count() < PASSWORD_CHARS_MIN {
        "it needs at least 10 characters"
    } else if password.len() > PASSWORD_BYTES_MAX {
        "it is longer than 1,024 bytes"
    } else if password.eq_ignore_ascii_case(login) {
        "it is the login"
    } else {
        return Ok(());
    };
    Err(Refusal::invalid("password", wrong))
}

/// Addresses with lower-case domains. One org never sends as another (DESIGN, promise 8): an address in another org's
/// domain is refused whoever asks.
pub(super) fn addresses_fit(
    snapshot: &Snapshot,
    org: Option<&OrgName>,
    typed: &[String],
) -> Result<Vec<String>, Refusal> {
    if typed.len() > ADDRESSES_MAX {
        return Err(Refusal::invalid("addresses", "a user has at most 100"));
    }
    typed.iter().map(|address| address_fit(snapshot, org, address.trim())).collect()
}

fn address_fit(snapshot: &Snapshot, org: Option<&OrgName>, address: &str) -> Result<String, Refusal> {
    let parts = address.rsplit_once('@').filter(|(local, domain)| {
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
        !local.is_empty() && domain.contains(|c: char| c.is_ascii_alphanumeric()) && plain(local) && plain(domain)
    });
    let Some((local, domain)) = parts.filter(|_| address.len() <= LOGIN_BYTES_MAX) else {
        return Err(Refusal::invalid("addresses", format!("{address} is no mail address")));
    };
    // As it is compared when mail is sent: a final dot or another spelling makes it nobody else's.
    let Some(domain) = a_label(domain.as_bytes()) else {
        return Err(Refusal::invalid("addresses", format!("{address} is no mail address")));
    };
    let foreign =
        snapshot.orgs.values().any(|other| Some(&other.name) != org && other.domains.iter().any(|own| *own == domain));
    if foreign {
        return Err(Refusal::Conflict(format!("{domain} belongs to another organisation")));
    }
    Ok(format!("{local}@{domain}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Org;

    /// However it is written, a domain that is another organisation's gives no address.
    #[test]
    fn no_address_in_another_organisations_domain() {
        let name = |text: &str| -> OrgName { text.parse().unwrap() };
        let mut snapshot = Snapshot::default();
        for (org, domain) in [("one", "org1.test"), ("two", "org2.test"), ("three", "xn--bcher-kva.test")] {
            let org = Org { domains: vec![domain.to_owned()], ..Org::named(name(org)) };
            snapshot.orgs.insert(org.name.clone(), org);
        }
        let rows = [
            ("ann@partner.test", Some("ann@partner.test")),
            ("Ann@Partner.Test.", Some("Ann@partner.test")),
            ("ann@org1.test", Some("ann@org1.test")),
            ("ceo@org2.test", None),
            ("ceo@ORG2.test", None),
            ("ceo@org2.test.", None),
            ("ceo@XN--Bcher-KVA.test", None),
            ("ceo@b\u{fc}cher.test", None),
            ("ceo@[192.0.2.1]", None),
            ("ceo@.", None),
        ];
        for (typed, kept) in rows {
            let fit = address_fit(&snapshot, Some(&name("one")), typed);
            assert_eq!(fit.ok().as_deref(), kept, "{typed}");
        }
    }
}

//! The password of an organisation's own upstream: typed once, kept sealed, never shown again.
//!
//! **Invariant:** it goes in and never comes out: there is no way to read it here, not for its owner either.

use std::sync::Arc;

use super::{Actions, Refusal};
use crate::admin::ports::UpstreamPasswords;
use crate::admin::viewer::Viewer;
use crate::settings::OrgName;
use crate::store::Change;

/// Longest password in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

impl Actions {
    /// Whether a password is kept for the organisation's own upstream; `None`: it takes none.
    ///
    /// # Errors
    /// As [`Actions::org`]; [`Refusal::Forbidden`] for a sender.
    pub fn upstream_password(&self, viewer: &Viewer, name: &OrgName) -> Result<Option<bool>, Refusal> {
        self.org(viewer, name)?;
        if !viewer.rules(name) {
            return Err(Refusal::Forbidden("the account upstream is for the organisation's admins"));
        }
        let takes = self.upstream_passwords.as_ref().is_some_and(|keeper| keeper.takes(name));
        Ok(takes.then(|| self.settings.snapshot().upstream_passwords.contains_key(name)))
    }

    /// Seals a password for the organisation's own upstream; in force with the next mail, and for what waits.
    ///
    /// # Errors
    /// As [`Actions::upstream_password`]; [`Refusal::Conflict`] where config.toml asks for none; [`Refusal::Invalid`].
    pub async fn set_upstream_password(&self, viewer: &Viewer, name: &OrgName, password: &str) -> Result<(), Refusal> {
        let keeper = self.keeper_of(viewer, name)?;
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX || password.chars().any(char::is_control) {
            let detail = format!("1 to {PASSWORD_BYTES_MAX} bytes, without line ends and other control characters");
            return Err(Refusal::invalid("password", detail));
        }
        let held = self.changing(viewer).await;
        let sealed = keeper.seal(name, password).ok_or_else(|| {
            Refusal::Conflict("the password cannot be sealed: is every key revoked? waxseal keys list".to_owned())
        })?;
        self.write(&held, Change::PutUpstreamPassword(name.clone(), sealed)).await?;
        Ok(keeper.renew().await?)
    }

    /// Forgets it: the organisation's mail is held until there is another, or a file.
    ///
    /// # Errors
    /// As [`Actions::set_upstream_password`]; [`Refusal::NotFound`] when there is none.
    pub async fn remove_upstream_password(&self, viewer: &Viewer, name: &OrgName) -> Result<(), Refusal> {
        let keeper = self.keeper_of(viewer, name)?;
        let held = self.changing(viewer).await;
        if !self.settings.snapshot().upstream_passwords.contains_key(name) {
            return Err(Refusal::not_found("password for the upstream of", name.as_str()));
        }
        self.write(&held, Change::RemoveUpstreamPassword(name.clone())).await?;
        Ok(keeper.renew().await?)
    }

    fn keeper_of(&self, viewer: &Viewer, name: &OrgName) -> Result<Arc<dyn UpstreamPasswords>, Refusal> {
        let takes = self.upstream_password(viewer, name)?.is_some();
        let keeper = self.upstream_passwords.clone().filter(|_| takes);
        keeper.ok_or_else(|| {
            let detail = "config.toml gives it no [org.upstream] with auth = \"login\", or one with a password_file";
            Refusal::Conflict(format!("{name} takes no password here: {detail}"))
        })
    }
}

//! What an organisation decides about its people: whether its admins see everybody's mail, and whether a second factor is
//! asked of everyone.
//!
//! **Invariant:** a server admin turns these, nobody else: an organisation's admin does not open others' mail to themselves.

use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::settings::access::Access;
use crate::settings::{OrgName, User};
use crate::store::Change;
use crate::store::audit::Author;

/// What to change; `None` leaves as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccessPatch {
    /// Its admins see everybody's mail.
    pub admins_see_messages: Option<bool>,
    /// Everybody sets up a second factor.
    pub second_factor_required: Option<bool>,
}

impl Actions {
    /// A user as they may see things now.
    pub fn viewer_of(&self, user: &User, author: Author) -> Viewer {
        let snapshot = self.settings.snapshot();
        let access = user.org.as_ref().and_then(|org| snapshot.access.get(org)).copied().unwrap_or_default();
        Viewer::of(user, author).seeing_messages(access.admins_see_messages)
    }

    /// What an organisation has decided.
    ///
    /// # Errors
    /// As [`Actions::org`]; [`Refusal::Forbidden`] for a sender.
    pub fn access(&self, viewer: &Viewer, name: &OrgName) -> Result<Access, Refusal> {
        self.org(viewer, name)?;
        if !viewer.rules(name) {
            return Err(Refusal::Forbidden("only an admin of the organisation may see who gets in how"));
        }
        Ok(self.settings.snapshot().access.get(name).copied().unwrap_or_default())
    }

    /// Changes it, provided that it is still as the caller has `seen` it; in force with the next request.
    ///
    /// # Errors
    /// As [`Actions::access`]; [`Refusal::Forbidden`] for everybody but server admins; [`Refusal::Changed`].
    pub async fn set_access(
        &self,
        viewer: &Viewer,
        name: &OrgName,
        patch: AccessPatch,
        seen: impl FnOnce(Access) -> bool + Send,
    ) -> Result<Access, Refusal> {
        let held = self.changing(viewer).await;
        let mut access = self.access(viewer, name)?;
        if !viewer.rules_all() {
            return Err(Refusal::Forbidden("only a server admin may change who gets in how and sees what"));
        }
        if !seen(access) {
            return Err(Refusal::Changed);
        }
        access.admins_see_messages = patch.admins_see_messages.unwrap_or(access.admins_see_messages);
        access.second_factor_required = patch.second_factor_required.unwrap_or(access.second_factor_required);
        self.write(&held, Change::PutAccess(name.clone(), access)).await?;
        Ok(access)
    }
}

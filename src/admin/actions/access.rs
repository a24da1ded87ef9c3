//! What an organisation asks of its people and lets its admins see.

use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::settings::OrgName;
use crate::settings::access::Access;
use crate::store::Change;

/// What to change; `None` leaves as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccessPatch {
    /// Its admins see everybody's mail.
    pub admins_see_messages: Option<bool>,
    /// The dashboard asks everybody for a code.
    pub second_factor_required: Option<bool>,
}

impl Actions {
    /// What is in force for an organisation.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it is not there or not the viewer's.
    pub fn access(&self, viewer: &Viewer, name: &OrgName) -> Result<Access, Refusal> {
        self.org(viewer, name)?;
        Ok(self.settings.snapshot().access.get(name).copied().unwrap_or_default())
    }

    /// Changes it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] for a sender, and for an organisation's admin who would let
    /// themselves see other people's mail: that is for a server admin to allow.
    pub async fn set_access(&self, viewer: &Viewer, name: &OrgName, patch: AccessPatch) -> Result<Access, Refusal> {
        let held = self.changing(viewer).await;
        let view = self.org(viewer, name)?;
        if !view.may_change {
            return Err(Refusal::Forbidden("only an admin of the organisation may change its settings"));
        }
        let before = self.access(viewer, name)?;
        let after = Access {
            admins_see_messages: patch.admins_see_messages.unwrap_or(before.admins_see_messages),
            second_factor_required: patch.second_factor_required.unwrap_or(before.second_factor_required),
        };
        if after.admins_see_messages && !before.admins_see_messages && !viewer.rules_all() {
            return Err(Refusal::Forbidden(
                "only a server admin may let an organisation's admins see everybody's mail; they may end it themselves",
            ));
        }
        self.write(&held, Change::PutAccess(name.clone(), after)).await?;
        Ok(after)
    }
}

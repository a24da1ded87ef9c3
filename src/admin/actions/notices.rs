//! Notices by mail: what a person asks for, and what their organisation allows.

use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::settings::OrgName;
use crate::settings::notices::{NoticeCeiling, NoticeChoice};
use crate::store::Change;

impl Actions {
    /// What the viewer has asked for, and what is in force.
    pub fn own_notices(&self, viewer: &Viewer) -> Option<(NoticeChoice, NoticeChoice)> {
        let snapshot = self.settings.snapshot();
        let user = snapshot.users.get(viewer.login()?)?;
        let asked = snapshot.notices.get(&user.login).copied().unwrap_or_default();
        let in_force = user.org.as_ref().map_or(asked, |org| snapshot.notices_of(org, &user.login));
        Some((asked, in_force))
    }

    /// Changes what the viewer is told.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for the operator, who is no login; [`Refusal::Store`].
    pub async fn set_own_notices(&self, viewer: &Viewer, choice: NoticeChoice) -> Result<(), Refusal> {
        let login = viewer.login().ok_or(Refusal::Forbidden("the operator has no login; log in to the dashboard"))?;
        let held = self.changing(viewer).await;
        self.write(&held, Change::PutNotices(login.to_owned(), choice)).await
    }

    /// Changes what a person is told, on their behalf: the owner of the machine and server admins.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for others; [`Refusal::NotFound`] for a login that is not there; [`Refusal::Store`].
    pub async fn set_notices(&self, viewer: &Viewer, login: &str, choice: NoticeChoice) -> Result<(), Refusal> {
        if !viewer.rules_all() {
            return Err(Refusal::Forbidden("each person chooses for themselves; a server admin may help"));
        }
        let held = self.changing(viewer).await;
        if !self.settings.snapshot().users.contains_key(login) {
            return Err(Refusal::not_found("user", login));
        }
        self.write(&held, Change::PutNotices(login.to_owned(), choice)).await
    }

    /// What organisations allow, of those the viewer rules.
    pub fn notice_ceilings(&self, viewer: &Viewer) -> Vec<(OrgName, NoticeCeiling)> {
        let snapshot = self.settings.snapshot();
        let ruled = snapshot.orgs.keys().filter(|org| viewer.rules(org));
        ruled.map(|org| (org.clone(), snapshot.notice_ceilings.get(org).copied().unwrap_or_default())).collect()
    }

    /// Changes what an organisation allows its people to be told.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an organisation that is not there or not the viewer's; [`Refusal::Forbidden`] for its senders.
    pub async fn set_notice_ceiling(
        &self,
        viewer: &Viewer,
        org: &OrgName,
        ceiling: NoticeCeiling,
    ) -> Result<(), Refusal> {
        let held = self.changing(viewer).await;
        if !self.settings.snapshot().orgs.contains_key(org) || !viewer.belongs_to(org) {
            return Err(Refusal::not_found("organisation", org.as_str()));
        }
        if !viewer.rules(org) {
            return Err(Refusal::Forbidden("only an admin may say what the organisation allows"));
        }
        self.write(&held, Change::PutNoticeCeiling(org.clone(), ceiling)).await
    }
}

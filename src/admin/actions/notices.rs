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
        Some((asked, self.as_far_as_possible(in_force, user.org.as_ref())))
    }

    /// Why people of this organisation can be sent no notices by mail at all; `None`: they can.
    pub fn no_notices_by_mail(&self, org: Option<&OrgName>) -> Option<String> {
        let why = self.notify.as_ref().zip(org).and_then(|(notify, org)| notify.no_mail_for(org))?;
        Some(why.to_owned())
    }

    fn as_far_as_possible(&self, choice: NoticeChoice, org: Option<&OrgName>) -> NoticeChoice {
        NoticeChoice { mail: choice.mail && self.no_notices_by_mail(org).is_none(), ..choice }
    }

    /// # Errors
    /// [`Refusal::Invalid`]: mail is asked for where none can be sent.
    fn can_be_kept(&self, choice: NoticeChoice, login: &str) -> Result<(), Refusal> {
        let snapshot = self.settings.snapshot();
        let org = snapshot.users.get(login).and_then(|user| user.org.as_ref());
        match self.no_notices_by_mail(org).filter(|_| choice.mail) {
            Some(why) => Err(Refusal::invalid("mail", why)),
            None => Ok(()),
        }
    }

    /// What a person has asked for, and what is in force: the person, who rules their organisation, server admins.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a login that is not there or not the viewer's to know of.
    pub fn notices_of(&self, viewer: &Viewer, login: &str) -> Result<(NoticeChoice, NoticeChoice), Refusal> {
        let user = self.user(viewer, login)?;
        let snapshot = self.settings.snapshot();
        let asked = snapshot.notices.get(login).copied().unwrap_or_default();
        let in_force = user.org.as_ref().map_or(asked, |org| snapshot.notices_of(org, login));
        Ok((asked, self.as_far_as_possible(in_force, user.org.as_ref())))
    }

    /// What an organisation allows its people to be told.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an organisation that is not there or not the viewer's; [`Refusal::Forbidden`] for its senders.
    pub fn notice_ceiling(&self, viewer: &Viewer, org: &OrgName) -> Result<NoticeCeiling, Refusal> {
        if !self.settings.snapshot().orgs.contains_key(org) || !viewer.belongs_to(org) {
            return Err(Refusal::not_found("organisation", org.as_str()));
        }
        let ceilings = self.notice_ceilings(viewer).into_iter().find(|(name, _)| name == org);
        ceilings.map(|(_, ceiling)| ceiling).ok_or(Refusal::Forbidden("what the organisation allows is for its admins"))
    }

    /// Changes what a person is told: their own choice, or on their behalf by the owner of the machine and server admins;
    /// provided that it is still as the caller has `seen` it.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for others; [`Refusal::NotFound`] for a login that is not there; [`Refusal::Invalid`] for mail where
    /// none can be sent; [`Refusal::Changed`]; [`Refusal::Store`].
    pub async fn set_notices(
        &self,
        viewer: &Viewer,
        login: &str,
        choice: NoticeChoice,
        seen: impl FnOnce(&(NoticeChoice, NoticeChoice)) -> bool + Send,
    ) -> Result<(), Refusal> {
        if !viewer.rules_all() && viewer.login() != Some(login) {
            return Err(Refusal::Forbidden("each person chooses for themselves; a server admin may help"));
        }
        let held = self.changing(viewer).await;
        if !seen(&self.notices_of(viewer, login)?) {
            return Err(Refusal::Changed);
        }
        self.can_be_kept(choice, login)?;
        self.write(&held, Change::PutNotices(login.to_owned(), choice)).await
    }

    /// What organisations allow, of those the viewer rules.
    pub fn notice_ceilings(&self, viewer: &Viewer) -> Vec<(OrgName, NoticeCeiling)> {
        let snapshot = self.settings.snapshot();
        let ruled = snapshot.orgs.keys().filter(|org| viewer.rules(org));
        ruled.map(|org| (org.clone(), snapshot.notice_ceilings.get(org).copied().unwrap_or_default())).collect()
    }

    /// Changes what an organisation allows its people to be told, provided that it is still as the caller has `seen` it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an organisation that is not there or not the viewer's; [`Refusal::Forbidden`] for its
    /// senders; [`Refusal::Changed`].
    pub async fn set_notice_ceiling(
        &self,
        viewer: &Viewer,
        org: &OrgName,
        ceiling: NoticeCeiling,
        seen: impl FnOnce(NoticeCeiling) -> bool + Send,
    ) -> Result<(), Refusal> {
        let held = self.changing(viewer).await;
        if !self.settings.snapshot().orgs.contains_key(org) || !viewer.belongs_to(org) {
            return Err(Refusal::not_found("organisation", org.as_str()));
        }
        if !viewer.rules(org) {
            return Err(Refusal::Forbidden("only an admin may say what the organisation allows"));
        }
        if !seen(self.notice_ceiling(viewer, org)?) {
            return Err(Refusal::Changed);
        }
        self.write(&held, Change::PutNoticeCeiling(org.clone(), ceiling)).await
    }
}

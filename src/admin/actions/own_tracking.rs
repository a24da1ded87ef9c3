//! What a user chooses for the mail they send: never more than their organisation does, and nothing that it has locked.

pub use super::own_rules::OwnRulesPatch;
use super::own_rules::lists_fit;
use super::users::may_manage;
use super::{Actions, Refusal};
use crate::admin::viewer::{Sight, Viewer};
use crate::policy::why::{self, Narrowed};
use crate::settings::{Choice, Level, Levels, Locked, Mode, Org, OrgName, OwnRules, Rules, Switch, Tracking, User};
use crate::store::{Change, Snapshot};

/// A user's own choice and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTracking {
    /// Whose.
    pub login: String,
    /// Of which organisation.
    pub org: OrgName,
    /// What the organisation has in force: the most that can be chosen.
    pub most: Tracking,
    /// What the user has chosen, locked or not; what is locked does not count.
    pub choice: Choice,
    /// The user's own shadow mode, locked or not.
    pub own_shadow: bool,
    /// What the organisation's users may not change.
    pub locked: Locked,
    /// What is in force for their next mail, before its header and its recipients are asked.
    pub in_force: Tracking,
    /// Who has their mail leave as it came, if anybody.
    pub shadow: Option<Level>,
    /// What else the user has chosen, locked or not.
    pub own: OwnRules,
    /// Of that links that show a URL, places and raw evidence: what the organisation says, and what is in force.
    pub narrowed: [Narrowed; 3],
    /// The viewer may know to whom the user writes, so may read and change whom they exclude.
    pub sees_recipients: bool,
}

/// What to change; `None` leaves as it is. Of the modes, `Some(None)` means: follow the organisation, live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnPatch {
    /// The pixel.
    pub opens: Option<Option<Mode>>,
    /// Links in HTML.
    pub links: Option<Option<Mode>>,
    /// Links in plain text.
    pub text_links: Option<Option<bool>>,
    /// Shadow mode for their own mail.
    pub shadow: Option<bool>,
    /// Everything else.
    pub rules: OwnRulesPatch,
}

impl Actions {
    /// What a user has chosen: their own, or one that the viewer manages.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the login is not there or not the viewer's; [`Refusal::Absent`] for a login without an
    /// organisation, which sends no mail.
    pub fn own_tracking(&self, viewer: &Viewer, login: &str) -> Result<OwnTracking, Refusal> {
        let snapshot = self.settings.snapshot();
        let (user, org) = sender(&snapshot, viewer, login)?;
        Ok(view(viewer, **self.ceiling.load(), user, org))
    }

    /// Changes it, all or nothing, provided that it is still as the caller has `seen` it.
    ///
    /// # Errors
    /// As [`Actions::own_tracking`]; [`Refusal::Locked`]; [`Refusal::Changed`]; [`Refusal::Invalid`] for more than the
    /// organisation has in force, and for lists that are wrong or too long; [`Refusal::Forbidden`] for a list of recipients
    /// that the viewer may not read.
    pub async fn set_own_tracking(
        &self,
        viewer: &Viewer,
        login: &str,
        patch: OwnPatch,
        seen: impl FnOnce(&OwnTracking) -> bool + Send,
    ) -> Result<OwnTracking, Refusal> {
        let held = self.changing(viewer).await;
        if !seen(&self.own_tracking(viewer, login)?) {
            return Err(Refusal::Changed);
        }
        let snapshot = self.settings.snapshot();
        let (user, org) = sender(&snapshot, viewer, login)?;
        let present = view(viewer, **self.ceiling.load(), user, org);
        if patch.rules.excluded_recipients.is_some() && !present.sees_recipients {
            return Err(Refusal::Forbidden(NOT_YOURS_TO_READ));
        }
        not_locked(org.locked, &patch)?;
        within(present.most, &patch)?;
        let user = changed(user.clone(), &patch)?;
        self.write(&held, Change::PutUser(user)).await?;
        self.own_tracking(viewer, login)
    }
}

/// Whom somebody excludes tells to whom they write.
const NOT_YOURS_TO_READ: &str = "whom a sender excludes tells to whom they write: only they themselves, and an admin who sees everybody's messages, may change excluded_recipients";

fn changed(mut user: User, patch: &OwnPatch) -> Result<User, Refusal> {
    user.choice = Choice {
        opens: patch.opens.unwrap_or(user.choice.opens),
        links: patch.links.unwrap_or(user.choice.links),
        text_links: patch.text_links.unwrap_or(user.choice.text_links),
    };
    user.shadow = patch.shadow.unwrap_or(user.shadow);
    patch.rules.apply(&mut user.own)?;
    let lists = [Switch::ExcludedRecipients, Switch::ExcludedHosts, Switch::LeaveLinks];
    if let Some(list) = lists.into_iter().find(|list| patch.rules.asks(*list)) {
        lists_fit(list.as_str(), &user)?;
    }
    Ok(user)
}

fn sender<'s>(snapshot: &'s Snapshot, viewer: &Viewer, login: &str) -> Result<(&'s User, &'s Org), Refusal> {
    let user = snapshot.users.get(login).filter(|user| may_manage(viewer, user) || viewer.login() == Some(login));
    let user = user.ok_or_else(|| Refusal::not_found("user", login))?;
    let org = user.org.as_ref().and_then(|org| snapshot.orgs.get(org));
    let org = org.ok_or(Refusal::Absent("this login belongs to no organisation, so it sends no mail"))?;
    Ok((user, org))
}

fn view(viewer: &Viewer, ceiling: Tracking, user: &User, org: &Org) -> OwnTracking {
    let levels = Levels::of(ceiling, org, Some(user), Choice::default());
    let [_, of_org, of_user, _] = levels.steps();
    OwnTracking {
        login: user.login.clone(),
        org: org.name.clone(),
        most: of_org.after,
        choice: user.choice,
        own_shadow: user.shadow,
        locked: org.locked,
        in_force: of_user.after,
        shadow: levels.shadow(),
        own: user.own.clone(),
        narrowed: why::narrowed(Rules::of(org, Some(&user.own))),
        sees_recipients: viewer.sight(&org.name, Some(&user.login)) == Sight::Whole,
    }
}

fn not_locked(locked: Locked, patch: &OwnPatch) -> Result<(), Refusal> {
    let asked = |switch| match switch {
        Switch::Opens => patch.opens.is_some(),
        Switch::Links => patch.links.is_some(),
        Switch::TextLinks => patch.text_links.is_some(),
        Switch::Shadow => patch.shadow.is_some(),
        other => patch.rules.asks(other),
    };
    match Switch::ALL.into_iter().find(|switch| locked.has(*switch) && asked(*switch)) {
        Some(switch) => Err(Refusal::Locked { field: switch.as_str() }),
        None => Ok(()),
    }
}

/// Promise 10: narrowing only.
fn within(most: Tracking, patch: &OwnPatch) -> Result<(), Refusal> {
    let above = |field, asked: Option<Option<Mode>>, most: Mode| match asked.flatten() {
        Some(mode) if mode > most => {
            Err(Refusal::invalid(field, format!("{mode} is above what the organisation has in force, which is {most}")))
        }
        _ => Ok(()),
    };
    above("opens", patch.opens, most.opens)?;
    above("links", patch.links, most.links)?;
    if patch.text_links == Some(Some(true)) && !most.text_links {
        return Err(Refusal::invalid("text_links", "on is above what the organisation has in force, which is off"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Role;

    const MOST: Tracking = Tracking { opens: Mode::Aggregate, links: Mode::Individual, text_links: false };

    #[test]
    fn nobody_chooses_more_than_their_organisation() {
        for (patch, allowed) in [
            (OwnPatch { opens: Some(Some(Mode::Aggregate)), ..OwnPatch::default() }, true),
            (OwnPatch { opens: Some(None), ..OwnPatch::default() }, true),
            (OwnPatch { text_links: Some(Some(false)), shadow: Some(true), ..OwnPatch::default() }, true),
            (OwnPatch { opens: Some(Some(Mode::Individual)), ..OwnPatch::default() }, false),
            (OwnPatch { text_links: Some(Some(true)), ..OwnPatch::default() }, false),
        ] {
            assert_eq!(within(MOST, &patch).is_ok(), allowed, "{patch:?}");
        }
    }

    /// Each lock refuses its own switch by name, and no other.
    #[test]
    fn what_is_locked_is_refused() {
        let rules = OwnRulesPatch {
            leave_visible_urls: Some(false),
            country_only: Some(false),
            no_raw_evidence: Some(false),
            excluded_recipients: Some(Vec::new()),
            excluded_hosts: Some(Vec::new()),
            leave_links: Some(Vec::new()),
        };
        let all = OwnPatch { opens: Some(None), links: Some(None), text_links: Some(None), shadow: Some(false), rules };
        for switch in Switch::ALL {
            let locked = Locked::default().with(switch);
            let refused = not_locked(locked, &all).unwrap_err();
            assert!(matches!(refused, Refusal::Locked { field } if field == switch.as_str()), "{refused}");
            assert!(not_locked(locked, &OwnPatch::default()).is_ok());
        }
        assert!(not_locked(Locked::default(), &all).is_ok());
    }

    /// A choice of before the lock is shown and does not count; it counts again when the lock is gone.
    #[test]
    fn a_locked_choice_is_kept_and_does_not_count() {
        let mut user = User::new("ann".into(), Some("acme".parse().unwrap()), Role::Sender, String::new());
        (user.choice.opens, user.shadow) = (Some(Mode::Off), true);
        let mut org = Org::named("acme".parse().unwrap());
        let open = view(&Viewer::Operator, MOST, &user, &org);
        assert_eq!((open.in_force.opens, open.shadow), (Mode::Off, Some(Level::User)));
        org.locked = Locked::default().with(Switch::Opens).with(Switch::Shadow);
        let locked = view(&Viewer::Operator, MOST, &user, &org);
        assert_eq!((locked.in_force.opens, locked.shadow), (Mode::Aggregate, None));
        assert_eq!((locked.choice.opens, locked.own_shadow), (Some(Mode::Off), true));
    }
}

//! The tags of what the pages' forms show: a form sends its own back as a program sends `If-Match`, so that neither undoes
//! what somebody else has done meanwhile.
//!
//! They are the ETags of the API, but for two states that hold numbers which move by themselves: nobody's form is out of
//! date because a recipient said no or an event found no room.

use super::etag::tag;
use super::shapes::people::OrgPrivacy;
use super::shapes::{Access, Link, NoticesPut, Org, User, UserTracking, Webhook};
use super::users::noticed;
use crate::admin::actions::links::LinkView;
use crate::admin::actions::orgs::OrgView;
use crate::admin::actions::own_tracking::OwnTracking;
use crate::admin::actions::people::PrivacyView;
use crate::admin::actions::users::UserView;
use crate::settings::access;
use crate::settings::notices::{self, NoticeCeiling, NoticeChoice};
use crate::store::outbox::Dropped;

/// Of an organisation.
pub(in crate::admin) fn org(view: &OrgView) -> String {
    tag(&Org::from(view.clone()))
}

/// Of what it asks of its recipients: what is chosen and, as the API says it, what is in force.
pub(in crate::admin) fn privacy(view: &PrivacyView) -> String {
    let chosen = (view.own.consent.map(|consent| consent.as_str()), view.own.without_consent.map(|mode| mode.as_str()));
    tag(&(OrgPrivacy { yes: 0, no: 0, ..OrgPrivacy::from(view.clone()) }, chosen))
}

/// Of who gets in how.
pub(in crate::admin) fn access(access: access::Access) -> String {
    tag(&Access::from(access))
}

/// Of a user.
pub(in crate::admin) fn user(view: &UserView) -> String {
    tag(&User::from(view.clone()))
}

/// Of what a user has chosen for their own mail.
pub(in crate::admin) fn tracking(view: &OwnTracking) -> String {
    tag(&UserTracking::from(view.clone()))
}

/// Of a tracked link.
pub(in crate::admin) fn link(view: &LinkView) -> String {
    tag(&Link::from(view.clone()))
}

/// Of what a person is told.
pub(in crate::admin) fn notices(view: &(NoticeChoice, NoticeChoice)) -> String {
    tag(&noticed(view))
}

/// Of what an organisation allows its people to be told.
pub(in crate::admin) fn notice_ceiling(ceiling: NoticeCeiling) -> String {
    tag(&NoticesPut::from(ceiling))
}

/// Of a webhook.
pub(in crate::admin) fn webhook(webhook: &notices::Webhook) -> String {
    tag(&Webhook::of(webhook.clone(), Dropped::default()))
}

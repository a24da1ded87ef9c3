//! Users and their passwords on the way in.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Switches, patch};
use crate::admin::actions::own_tracking::OwnTracking;
use crate::admin::actions::users::UserView;
use crate::policy::why::Narrowed;
use crate::settings::OwnRules;
use crate::settings::notices::{NoticeCeiling, NoticeChoice};

/// A user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// What is typed at login.
    pub login: String,
    /// Where it belongs; null for a server admin.
    pub org: Option<String>,
    /// `sender`, `org-admin` or `server-admin`.
    pub role: String,
    /// Addresses it may send as besides the org's domains.
    pub addresses: Vec<String>,
}

impl From<UserView> for User {
    fn from(user: UserView) -> User {
        User {
            login: user.login,
            org: user.org.map(|org| org.as_str().to_owned()),
            role: user.role.as_str().to_owned(),
            addresses: user.addresses,
        }
    }
}

/// `GET /api/v1/users/{login}/tracking`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserTracking {
    /// Whose.
    pub login: String,
    /// Of which organisation.
    pub org: String,
    /// What is in force for their next mail, before its header and its recipients are asked.
    pub in_force: Switches,
    /// What they have chosen; null follows the organisation. What is `locked` does not count.
    pub choice: Switches,
    /// The most they can choose: what the organisation has in force.
    pub most: Switches,
    /// Their mail leaves as it came, and the record says what would have been tracked.
    pub shadow: bool,
    /// They have chosen that for their own mail.
    pub own_shadow: bool,
    /// Links whose text is itself a web address: `track` or `leave`.
    pub visible_urls: UserNarrowed,
    /// How exactly the places of their readers are kept: `city` or `country`.
    pub place: UserNarrowed,
    /// Whether address and agent are kept with each event of their readers: `on` or `off`.
    pub raw_evidence: UserNarrowed,
    /// Recipients never tracked, besides the organisation's. Null for an admin who may not see to whom they write.
    pub excluded_recipients: Option<Vec<String>>,
    /// Hosts never tracked, besides the organisation's.
    pub excluded_hosts: Vec<String>,
    /// Links never tracked, besides the organisation's: `HOST/PATH`.
    pub leave_links: Vec<String>,
    /// What the organisation's users may not change: `opens`, `links`, `text_links`, `shadow`, `visible_urls`, `place`,
    /// `raw_evidence`, `excluded_recipients`, `excluded_hosts`, `leave_links`.
    pub locked: Vec<String>,
}

/// A value that the organisation sets and its senders may narrow for their own mail.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserNarrowed {
    /// What is in force.
    pub in_force: String,
    /// What they have chosen; null follows the organisation. What is `locked` does not count.
    pub choice: Option<String>,
    /// The most there can be: what the organisation has.
    pub most: String,
}

impl From<Narrowed> for UserNarrowed {
    fn from(one: Narrowed) -> UserNarrowed {
        UserNarrowed {
            in_force: one.in_force.to_owned(),
            choice: one.sender.map(str::to_owned),
            most: one.org.to_owned(),
        }
    }
}

impl From<OwnTracking> for UserTracking {
    fn from(view: OwnTracking) -> UserTracking {
        let [visible_urls, place, raw_evidence] = view.narrowed.map(UserNarrowed::from);
        let OwnRules { excluded_recipients, excluded_hosts, leave_links, .. } = view.own;
        let recipients = || excluded_recipients.iter().map(|one| one.as_str().to_owned()).collect();
        UserTracking {
            visible_urls,
            place,
            raw_evidence,
            excluded_recipients: view.sees_recipients.then(recipients),
            excluded_hosts,
            leave_links: leave_links.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            login: view.login,
            org: view.org.as_str().to_owned(),
            in_force: view.in_force.into(),
            choice: view.choice.into(),
            most: view.most.into(),
            shadow: view.shadow.is_some(),
            own_shadow: view.own_shadow,
            locked: view.locked.names().into_iter().map(str::to_owned).collect(),
        }
    }
}

/// `PATCH /api/v1/users/{login}/tracking`: what is not there stays as it is.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserTrackingPatch {
    /// `off`, `aggregate`, `individual`, or `follow` the organisation, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub opens: Option<String>,
    /// `off`, `aggregate`, `individual`, or `follow` the organisation, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub links: Option<String>,
    /// `on`, `off`, or `follow` the organisation, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub text_links: Option<String>,
    /// Mail leaves as it came.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub shadow: Option<bool>,
    /// `leave`, or `follow` the organisation, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub visible_urls: Option<String>,
    /// `country`, or `follow` the organisation, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub place: Option<String>,
    /// `off`, or `follow` the organisation, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub raw_evidence: Option<String>,
    /// The whole list; 200 at most.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub excluded_recipients: Option<Vec<String>>,
    /// The whole list; 200 at most.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub excluded_hosts: Option<Vec<String>>,
    /// The whole list; 100 at most.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub leave_links: Option<Vec<String>>,
}

/// `POST /api/v1/users`
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPost {
    /// What is typed at login.
    pub login: String,
    /// Where it belongs.
    pub org: Option<String>,
    /// `sender`, `org-admin` or `server-admin`.
    pub role: String,
    /// Addresses it may send as besides the org's domains.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// In clear; it is hashed and forgotten.
    pub password: String,
}

/// `PUT /api/v1/users/{login}/password`
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordPut {
    /// In clear; it is hashed and forgotten.
    pub password: String,
    /// The present one: for one's own, and for nobody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<String>,
}

/// `PATCH /api/v1/users/{login}`: what is not there stays as it is.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// `sender`, `org-admin` or `server-admin`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub role: Option<String>,
    /// All addresses it may send as besides the org's domains.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub addresses: Option<Vec<String>>,
}

/// `PUT /api/v1/users/{login}/notices`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoticesPut {
    /// By mail, to the address the opened mail was sent from.
    pub mail: bool,
    /// `first`, `every` or `none`.
    pub level: String,
}

/// `GET /api/v1/users/{login}/notices`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Notices {
    /// What the person chose.
    pub asked: NoticesPut,
    /// That, as far as the organisation allows it.
    pub in_force: NoticesPut,
}

impl From<NoticeChoice> for NoticesPut {
    fn from(choice: NoticeChoice) -> NoticesPut {
        NoticesPut { mail: choice.mail, level: choice.level.as_str().to_owned() }
    }
}

impl From<NoticeCeiling> for NoticesPut {
    fn from(ceiling: NoticeCeiling) -> NoticesPut {
        NoticesPut { mail: ceiling.mail, level: ceiling.level.as_str().to_owned() }
    }
}

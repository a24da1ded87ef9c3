//! Sessions of the dashboard, and links that let somebody in.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{at, patch};
use crate::admin::actions::invitations::{self, InvitationView};
use crate::admin::actions::second_factor::FactorView;
use crate::admin::session::SessionView;
use crate::settings::access::{self, Gift};

/// A session of a user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserSession {
    /// 32 hex digits; it opens nothing.
    pub id: String,
    /// What its browser calls itself, for instance `Firefox on Linux`.
    pub browser: String,
    /// RFC 3339.
    pub began_at: String,
    /// RFC 3339.
    pub used_at: String,
    /// It is the one that asks.
    pub current: bool,
}

impl From<SessionView> for UserSession {
    fn from(view: SessionView) -> UserSession {
        let (began_at, used_at) = (at(view.began_at_ms()), at(view.used_at_ms()));
        UserSession { id: view.id.to_string(), browser: view.browser, began_at, used_at, current: view.current }
    }
}

/// How many were ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionsEnded {
    /// Sessions.
    pub ended: u64,
}

/// A link that lets somebody in once, without its secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// 32 hex digits; it opens nothing.
    pub id: String,
    /// Whose account it is, or will be.
    pub login: String,
    /// `account` or `password`.
    pub gives: String,
    /// Where the account will belong; null for a server admin's, and for a new password.
    pub org: Option<String>,
    /// What it will be allowed to do; null for a new password.
    pub role: Option<String>,
    /// Who made it; null: the operator, or a server admin.
    pub by: Option<String>,
    /// RFC 3339.
    pub expires_at: String,
}

/// A link just made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct InvitationMade {
    /// It.
    #[serde(flatten)]
    pub made: Invitation,
    /// `/join/…`, on the dashboard's address: shown only now.
    pub path: String,
}

/// `POST /api/v1/invitations`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationPost {
    /// What will be typed at login.
    pub login: String,
    /// Where it will belong.
    #[serde(default)]
    pub org: Option<String>,
    /// `sender`, `org-admin` or `server-admin`.
    pub role: String,
}

impl From<InvitationView> for Invitation {
    fn from(view: InvitationView) -> Invitation {
        let login = view.gives.login().to_owned();
        let (gives, org, role) = match view.gives {
            Gift::Account { org, role, .. } => {
                ("account", org.map(|org| org.as_str().to_owned()), Some(role.as_str().to_owned()))
            }
            Gift::Password { .. } => ("password", None, None),
        };
        let by = Some(view.by).filter(|by| !by.is_empty());
        let (id, gives, expires_at) = (view.id.to_string(), gives.to_owned(), at(view.expires_at_ms));
        Invitation { id, login, gives, org, role, by, expires_at }
    }
}

impl From<invitations::InvitationMade> for InvitationMade {
    fn from(made: invitations::InvitationMade) -> InvitationMade {
        InvitationMade { made: made.view.into(), path: made.path }
    }
}

/// What an organisation has decided about its people.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Access {
    /// Its admins see everybody's mail; else counts.
    pub admins_see_messages: bool,
    /// `required` or `optional`.
    pub second_factor: String,
}

/// `PATCH /api/v1/orgs/{name}/access`: what is not there stays as it is.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessPatch {
    /// Its admins see everybody's mail.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub admins_see_messages: Option<bool>,
    /// `required` or `optional`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub second_factor: Option<String>,
}

/// Whether a password is kept for an organisation's own upstream.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UpstreamPassword {
    /// config.toml gives the organisation an upstream whose password is to be sealed here.
    pub wanted: bool,
    /// There is one.
    pub kept: bool,
}

/// `PUT /api/v1/orgs/{name}/upstream-password`
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamPasswordPut {
    /// In clear; it is sealed and never shown again.
    pub password: String,
}

impl From<Option<bool>> for UpstreamPassword {
    fn from(kept: Option<bool>) -> UpstreamPassword {
        UpstreamPassword { wanted: kept.is_some(), kept: kept.unwrap_or(false) }
    }
}

/// How a user's second factor stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SecondFactor {
    /// There is one.
    pub set_up: bool,
    /// RFC 3339; null: there is none.
    pub since: Option<String>,
    /// Recovery codes left.
    pub recovery_codes: u64,
}

impl From<access::Access> for Access {
    fn from(access: access::Access) -> Access {
        let second_factor = if access.second_factor_required { "required" } else { "optional" }.to_owned();
        Access { admins_see_messages: access.admins_see_messages, second_factor }
    }
}

impl From<Option<FactorView>> for SecondFactor {
    fn from(view: Option<FactorView>) -> SecondFactor {
        let recovery_codes = view.map_or(0, |view| view.recovery as u64);
        SecondFactor { set_up: view.is_some(), since: view.map(|view| at(view.since_ms)), recovery_codes }
    }
}

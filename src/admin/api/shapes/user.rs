//! Users and their passwords on the way in.

use serde::{Deserialize, Serialize};

use crate::admin::actions::users::UserView;

/// A user.
#[derive(Debug, Serialize, Deserialize)]
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

/// `POST /api/v1/users`
#[derive(Serialize, Deserialize)]
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
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordPut {
    /// In clear; it is hashed and forgotten.
    pub password: String,
}

/// `PUT /api/v1/users/{login}/notices`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticesPut {
    /// By mail, to the address the opened mail was sent from.
    pub mail: bool,
    /// `first`, `every` or `none`.
    pub level: String,
}

//! App passwords and API keys.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::at;
use crate::admin::actions::credentials::CredentialView;
use crate::settings::access::Purpose;

/// An app password, without the password.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AppPassword {
    /// 32 hex digits.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339, to the hour; null: not used yet.
    pub used_at: Option<String>,
}

/// An app password just made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct AppPasswordMade {
    /// It.
    #[serde(flatten)]
    pub made: AppPassword,
    /// `wxm-…`: shown only now.
    pub app_password: String,
}

/// `POST /api/v1/users/{login}/app-passwords`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppPasswordPost {
    /// What it is for, for instance the device; 60 characters at most.
    pub name: String,
}

/// An API key, without the key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// 32 hex digits.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// The beginning of the key.
    pub begins_with: String,
    /// Of `read`, `send-test`, `mail`, `settings`, `users`, `webhooks`.
    pub scopes: Vec<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339, to the hour; null: not used yet.
    pub used_at: Option<String>,
    /// RFC 3339; null: when it is revoked.
    pub expires_at: Option<String>,
}

/// An API key just made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ApiKeyMade {
    /// It.
    #[serde(flatten)]
    pub made: ApiKey,
    /// `wxk_…`, for `Authorization: Bearer`: shown only now.
    pub api_key: String,
}

/// `POST /api/v1/users/{login}/api-keys`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyPost {
    /// What it is for; 60 characters at most.
    pub name: String,
    /// Of `read`, `send-test`, `mail`, `settings`, `users`, `webhooks`.
    pub scopes: Vec<String>,
    /// Days until it expires, 3,650 at most; without it, it lives until it is revoked.
    #[serde(default)]
    pub days: Option<u32>,
}

impl From<CredentialView> for AppPassword {
    fn from(view: CredentialView) -> AppPassword {
        let CredentialView { id, name, created_at_ms, used_at_ms, .. } = view;
        AppPassword { id: id.to_string(), name, created_at: at(created_at_ms), used_at: used_at_ms.map(at) }
    }
}

impl From<CredentialView> for ApiKey {
    fn from(view: CredentialView) -> ApiKey {
        let CredentialView { id, name, created_at_ms, used_at_ms, purpose, .. } = view;
        let (begins_with, scopes, expires) = match purpose {
            Purpose::Mail => (String::new(), Vec::new(), None),
            Purpose::Api { shown, scopes, expires_at_ms } => {
                (shown, scopes.into_iter().map(|scope| scope.as_str().to_owned()).collect(), expires_at_ms)
            }
        };
        ApiKey {
            id: id.to_string(),
            name,
            begins_with,
            scopes,
            created_at: at(created_at_ms),
            used_at: used_at_ms.map(at),
            expires_at: expires.map(at),
        }
    }
}

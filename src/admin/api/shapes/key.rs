//! Root keys without their secrets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::at;
use crate::admin::ports::KeyEntry;
use crate::store::Sealed;

/// A root key without its secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// As in tokens.
    pub id: u8,
    /// RFC 3339.
    pub created_at: String,
    /// New links are sealed with it.
    pub current: bool,
    /// Its links answer 404.
    pub revoked: bool,
}

impl From<KeyEntry> for Key {
    fn from(key: KeyEntry) -> Key {
        Key { id: key.id, created_at: at(key.created_at_ms), current: key.current, revoked: key.revoked }
    }
}

/// `GET /api/v1/keys/{id}`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyUse {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// Mails on record that it seals. Links of mail that is no longer on record are not counted, and die with it too.
    pub mails: u64,
    /// Their links.
    pub links: u64,
}

impl From<(KeyEntry, Sealed)> for KeyUse {
    fn from((key, Sealed { mails, links }): (KeyEntry, Sealed)) -> KeyUse {
        KeyUse { key: key.into(), mails, links }
    }
}

//! The text in a tracked URL: a sealed letter, opened with a key and no look-up (DESIGN 4.4).

pub mod destination;
mod key_text;
pub mod keyring;
pub mod open;
pub mod origin;
pub mod person;
pub mod proof;
pub mod seal;
mod vault;

use std::fmt;

pub use keyring::{InstanceKey, Keyring, KeyringError, RootKey, Secret, Site};
pub use open::{OpenError, Opened, OwnUrl};
pub use person::PersonId;
pub use seal::{PAYLOAD_BYTES_MAX, Sealer, encoded_len};
pub use vault::STOP_PATH;

/// What a token is for. Part of the sealed letter's associated data: a pixel token is no click token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `/i/<token>.gif`
    Pixel,
    /// `/c/<token>`
    Click,
    /// `/p/<token>`
    Preference,
}

impl Kind {
    /// The path between host and token.
    pub fn path_prefix(self) -> &'static str {
        match self {
            Kind::Pixel => "/i/",
            Kind::Click => "/c/",
            Kind::Preference => "/p/",
        }
    }

    /// What follows the token in the path.
    pub fn path_suffix(self) -> &'static str {
        match self {
            Kind::Pixel => ".gif",
            Kind::Click | Kind::Preference => "",
        }
    }

    /// The octet in the associated data. Never changed: links sealed with it are out there.
    fn octet(self) -> u8 {
        match self {
            Kind::Pixel => b'i',
            Kind::Click => b'c',
            Kind::Preference => b'p',
        }
    }
}

/// The random 64-bit name of a message, shown as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u64);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadMessageId;

impl std::str::FromStr for MessageId {
    type Err = BadMessageId;
    fn from_str(s: &str) -> Result<MessageId, BadMessageId> {
        if s.len() != 16 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadMessageId);
        }
        u64::from_str_radix(s, 16).map(MessageId).map_err(|_| BadMessageId)
    }
}

/// What a token points at. Its 12 octets are the nonce of the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId {
    /// The message.
    pub message: MessageId,
    /// Which recipient (random, without repetition in a message); the shared copy of a plan has one too.
    pub recipient: u16,
    /// Which link of the message, in order of appearance; 0 for a pixel.
    pub link: u16,
}

/// Which tracking host a token belongs to: 4 random octets in the key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub [u8; 4]);

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// The text is not 8 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadSiteId;

impl std::str::FromStr for SiteId {
    type Err = BadSiteId;
    fn from_str(s: &str) -> Result<SiteId, BadSiteId> {
        if s.len() != 8 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadSiteId);
        }
        u32::from_str_radix(s, 16).map(|n| SiteId(n.to_be_bytes())).map_err(|_| BadSiteId)
    }
}

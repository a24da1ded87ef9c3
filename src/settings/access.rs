//! How people get in: what an organisation asks of them, the second factor, app passwords and API keys, invitations.
//!
//! **Invariant:** nothing here opens anything. Secrets are kept as digests (of random text, so that a fast one is enough)
//! or sealed; what was shown once cannot be shown again.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::{OrgName, Role};

/// What an organisation decides about its people, apart from tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Access {
    /// Its admins see everybody's mail; without it, counts (DESIGN 8).
    pub admins_see_messages: bool,
    /// The dashboard asks everybody for a code besides the password.
    pub second_factor_required: bool,
}

/// A login's second factor (RFC 6238).
#[derive(Clone, PartialEq, Eq)]
pub struct SecondFactor {
    /// The secret shared with the authenticator app, sealed under a root key.
    pub sealed_secret: Vec<u8>,
    /// The time step of the last code that was taken: neither it nor an earlier one is taken again.
    pub last_step: u64,
    /// Digests of the recovery codes that are left.
    pub recovery: Vec<[u8; 32]>,
    /// Unix milliseconds.
    pub since_ms: i64,
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondFactor").field("since_ms", &self.since_ms).finish_non_exhaustive()
    }
}

/// The public name of something whose secret is kept as a digest: the digest's first half, 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestId(pub [u8; 16]);

/// The text is not 32 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadDigestId;

impl DigestId {
    /// Of a digest.
    pub fn of(digest: &[u8; 32]) -> DigestId {
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(digest) {
            *to = *from;
        }
        DigestId(half)
    }
}

impl fmt::Display for DigestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl FromStr for DigestId {
    type Err = BadDigestId;
    fn from_str(text: &str) -> Result<DigestId, BadDigestId> {
        let number = u128::from_str_radix(text, 16).map_err(|_| BadDigestId)?;
        let id = DigestId(number.to_be_bytes());
        if id.to_string() == text { Ok(id) } else { Err(BadDigestId) }
    }
}

/// A further secret of a login: for one mail program, or for one program that uses the API.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Whose it is; it may do at most what this login may.
    pub login: String,
    /// What its owner calls it.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Of the secret.
    pub digest: [u8; 32],
    /// Unix milliseconds.
    pub created_at_ms: i64,
}

impl Credential {
    /// Its public name.
    pub fn id(&self) -> DigestId {
        DigestId::of(&self.digest)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Credential { login, name, purpose, .. } = self;
        f.debug_struct("Credential").field("login", login).field("name", name).field("purpose", purpose).finish()
    }
}

/// What a credential opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Sending mail, and nothing else.
    Mail,
    /// The API.
    Api {
        /// The beginning of the key, by which its owner tells it from others.
        shown: String,
        /// What it may do there.
        scopes: BTreeSet<Scope>,
        /// Unix milliseconds; `None`: until it is revoked.
        expires_at_ms: Option<i64>,
    },
}

/// What an API key may do, each within what its owner may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything that changes nothing.
    Read,
    /// Send a test mail.
    SendTest,
    /// Links of mail that was sent, and mail that waits.
    Mail,
    /// Organisations, their switches, and the keys of the links.
    Settings,
    /// Users and invitations.
    Users,
    /// Programs that are told.
    Webhooks,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 6] =
        [Scope::Read, Scope::SendTest, Scope::Mail, Scope::Settings, Scope::Users, Scope::Webhooks];

    /// As written in the store, the CLI and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::SendTest => "send-test",
            Scope::Mail => "mail",
            Scope::Settings => "settings",
            Scope::Users => "users",
            Scope::Webhooks => "webhooks",
        }
    }

    /// Reads [`Scope::as_str`].
    pub fn named(text: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// A link that lets somebody in once: it makes an account, or sets a new password.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Of the secret in the link.
    pub digest: [u8; 32],
    /// What it gives.
    pub gives: Gift,
    /// Who made it.
    pub by: String,
    /// Unix milliseconds.
    pub expires_at_ms: i64,
}

impl Invitation {
    /// Its public name.
    pub fn id(&self) -> DigestId {
        DigestId::of(&self.digest)
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("gives", &self.gives).field("by", &self.by).finish_non_exhaustive()
    }
}

impl Gift {
    /// Whose it is, or will be.
    pub fn login(&self) -> &str {
        match self {
            Gift::Account { login, .. } | Gift::Password { login } => login,
        }
    }
}

/// What an invitation gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gift {
    /// An account; whoever takes it chooses the password.
    Account {
        /// What will be typed at login.
        login: String,
        /// Where it will belong; `None` only for a server admin.
        org: Option<OrgName>,
        /// What it will be allowed to do.
        role: Role,
    },
    /// A new password for this login.
    Password {
        /// The login.
        login: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_else_is() {
        let id = DigestId::of(&[0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        let zero = DigestId([0; 16]);
        assert_eq!(zero.to_string().parse(), Ok(zero));
        // another length, another case, a sign, no number
        for text in ["", "ab", &id.to_string().to_uppercase(), &format!("+{}", "0".repeat(31)), &"x".repeat(32)] {
            assert_eq!(text.parse::<DigestId>(), Err(BadDigestId), "{text:?}");
        }
        for scope in Scope::ALL {
            assert_eq!(Scope::named(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::named("everything"), None);
    }

    #[test]
    fn debug_tells_no_secret() {
        let credential = Credential {
            login: "ann".into(),
            name: "phone".into(),
            purpose: Purpose::Mail,
            digest: [77; 32],
            created_at_ms: 0,
        };
        let factor = SecondFactor { sealed_secret: vec![77; 9], last_step: 0, recovery: vec![[77; 32]], since_ms: 0 };
        let gives = Gift::Password { login: "ann".into() };
        let invitation = Invitation { digest: [77; 32], gives, by: "boss".into(), expires_at_ms: 0 };
        assert!(!format!("{credential:?}{factor:?}{invitation:?}").contains("77"));
    }
}

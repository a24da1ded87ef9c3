//! A client's own login, kept sealed beside its waiting mail; opt-in, for upstreams where clients log in as themselves.
//!
//! **Invariants:** what was sealed for one organisation's upstream opens for no other, so that a changed configuration sends
//! nobody's password elsewhere; it is opened for an attempt and forgotten after it. Only passwords are kept: a token is dead
//! before the first retry that matters.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{Credentials, Login};

/// Seals and opens; the key is whose owner made it.
pub trait Seal: Send + Sync {
    /// Seals these octets for this purpose; `None` when that cannot be done now.
    fn seal(&self, purpose: &str, secret: &[u8]) -> Option<Vec<u8>>;

    /// Opens what was sealed for this purpose; `None` for anything else.
    fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// Keeps logins of one organisation at one upstream.
#[derive(Clone)]
pub struct Safekeeping {
    seal: Arc<dyn Seal>,
    purpose: String,
}

impl Safekeeping {
    /// For the organisation's logins at this server; `org` is empty for the server's own upstream.
    pub fn new(seal: Arc<dyn Seal>, org: &str, host: &str, port: u16) -> Safekeeping {
        Safekeeping { seal, purpose: format!("spool credential {org} {host}:{port}") }
    }

    /// The login as text that says nothing; `None` for a token.
    pub fn keep(&self, login: &Login) -> Option<String> {
        let Login::Password(Credentials { username, password }) = login else { return None };
        let secret = serde_json::to_vec(&(username, password)).ok()?;
        Some(STANDARD_NO_PAD.encode(self.seal.seal(&self.purpose, &secret)?))
    }

    /// The login again; `None` when it was kept for another server, or the key is gone.
    pub fn take(&self, kept: &str) -> Option<Login> {
        let secret = self.seal.open(&self.purpose, &STANDARD_NO_PAD.decode(kept).ok()?)?;
        let (username, password) = serde_json::from_slice(&secret).ok()?;
        Some(Login::Password(Credentials { username, password }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No cipher: the purpose in front, every octet turned.
    struct Turned;

    impl Seal for Turned {
        fn seal(&self, purpose: &str, secret: &[u8]) -> Option<Vec<u8>> {
            Some([purpose.as_bytes(), b"|", secret].concat().into_iter().map(|octet| !octet).collect())
        }

        fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
            let text: Vec<u8> = sealed.iter().map(|octet| !octet).collect();
            Some(text.strip_prefix(purpose.as_bytes())?.strip_prefix(b"|")?.to_vec())
        }
    }

    #[test]
    fn a_login_comes_back_for_its_own_server_only() {
        let keeping = |org: &str, host: &str, port| Safekeeping::new(Arc::new(Turned), org, host, port);
        let login =
            Login::Password(Credentials { username: "ana".to_owned(), password: "p\u{e4}ss \0 word".to_owned() });
        let kept = keeping("acme", "smtp.acme.test", 587).keep(&login).unwrap();
        let taken = |org: &str, host: &str, port| match keeping(org, host, port).take(&kept) {
            Some(Login::Password(Credentials { username, password })) => Some((username, password)),
            _ => None,
        };
        let whole = Some(("ana".to_owned(), "p\u{e4}ss \0 word".to_owned()));
        assert_eq!(taken("acme", "smtp.acme.test", 587), whole);
        for (org, host, port) in
            [("", "smtp.acme.test", 587), ("acme", "evil.test", 587), ("acme", "smtp.acme.test", 25)]
        {
            assert_eq!(taken(org, host, port), None, "{org} {host} {port}");
        }
        assert!(keeping("acme", "smtp.acme.test", 587).take("no base64!").is_none());
        let token = Login::Bearer { username: "ana".to_owned(), tokens: Arc::new("token".to_owned()) };
        assert!(keeping("acme", "smtp.acme.test", 587).keep(&token).is_none());
    }
}

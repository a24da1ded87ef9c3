//! What the CA asks for, over HTTP (RFC 8555 §8.3) or TLS (RFC 8737), while an order is under way.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::ClientHello;

use super::hello;

/// Where the CA looks: a token follows.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// The answers there are just now. Empty but for the seconds of an order.
#[derive(Default)]
pub struct Challenges {
    offered: RwLock<HashMap<String, String>>,
    /// By name.
    shown: RwLock<HashMap<String, Arc<ServerConfig>>>,
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenges").finish_non_exhaustive()
    }
}

impl Challenges {
    /// The answer for a request's path; `None` when it is no such path or nothing of ours.
    pub fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PATH)?;
        self.offered.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// What to show whoever begins so; `None` when it is no CA, or one that asks for nothing of ours.
    pub fn shown(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let name = hello::asked(hello)?;
        self.shown.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }

    /// Shows this for the name until the guard is dropped.
    pub(super) fn show(self: &Arc<Self>, name: &str, config: ServerConfig) -> Offered {
        let key = name.to_ascii_lowercase();
        self.shown.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Arc::new(config));
        Offered { challenges: Arc::clone(self), key }
    }

    /// Answers for this token until the guard is dropped.
    pub(crate) fn offer(self: &Arc<Self>, token: &str, answer: &str) -> Offered {
        let mut offered = self.offered.write().unwrap_or_else(PoisonError::into_inner);
        offered.insert(token.to_owned(), answer.to_owned());
        Offered { challenges: Arc::clone(self), key: token.to_owned() }
    }
}

/// An answer on offer.
pub(crate) struct Offered {
    challenges: Arc<Challenges>,
    /// The token, or the name: no token holds a dot, and no name is without one but `localhost`, which is no token.
    key: String,
}

impl Drop for Offered {
    fn drop(&mut self) {
        self.challenges.offered.write().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.challenges.shown.write().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    #[test]
    fn an_answer_is_there_as_long_as_it_is_offered() {
        let challenges = Arc::new(Challenges::default());
        let asked = |path: &str| challenges.answer(path);
        let offered = challenges.offer("tok-en_1", "tok-en_1.thumb");
        assert_eq!(asked("/.well-known/acme-challenge/tok-en_1").as_deref(), Some("tok-en_1.thumb"));
        for path in ["/.well-known/acme-challenge/", "/.well-known/acme-challenge/other", "/tok-en_1", "", "/"] {
            assert_eq!(asked(path), None, "{path}");
        }
        drop(offered);
        assert_eq!(asked("/.well-known/acme-challenge/tok-en_1"), None);
    }

    /// How a client that offers these protocols begins.
    fn begun(name: &str, protocols: &[&str]) -> rustls::server::Accepted {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut octets = Vec::new();
        client.write_tls(&mut octets).unwrap();
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor.read_tls(&mut octets.as_slice()).unwrap();
        acceptor.accept().unwrap().unwrap()
    }

    /// A CA is shown its answer, and readers what they always are.
    #[test]
    fn an_answer_is_shown_to_a_ca_alone() {
        let challenges = Arc::new(Challenges::default());
        let config = hello::config("a.example", &[7; 32]).unwrap();
        assert_eq!(config.alpn_protocols, [b"acme-tls/1".to_vec()]);
        let shown = |name: &str, protocols: &[&str]| challenges.shown(&begun(name, protocols).client_hello()).is_some();
        let offered = challenges.show("a.example", config);
        assert!(shown("a.example", &["acme-tls/1"]) && shown("A.example", &["acme-tls/1"]));
        for (name, protocols) in [
            ("b.example", &["acme-tls/1"][..]),
            ("a.example", &[]),
            ("a.example", &["http/1.1"]),
            ("a.example", &["h2", "http/1.1"]),
            ("a.example", &["acme-tls/1", "http/1.1"]),
        ] {
            assert!(!shown(name, protocols), "{name} {protocols:?}");
        }
        drop(offered);
        assert!(!shown("a.example", &["acme-tls/1"]));
    }
}

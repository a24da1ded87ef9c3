//! Questions to the DNS: addresses of a host, texts of a name. A small trait, the real thing, and a double for tests.
//!
//! **Invariant:** "there is none" and "nobody answered" are two answers: without a network nothing is claimed to be missing.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData};

use super::BoxFuture;

/// One server is waited for so long.
const QUERY_MAX: Duration = Duration::from_secs(2);
/// Tries of one question.
const ATTEMPTS: usize = 2;
/// Texts of one name that are looked at: a domain with more has other worries.
const TEXTS_MAX: usize = 100;

/// What a name holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Texts {
    /// These texts, each with its pieces joined (RFC 7208 §3.3).
    Found(Vec<String>),
    /// The name is there, or one below it, without a text.
    NoText,
    /// There is no such name, nor one below it (RFC 8020).
    NoName,
}

/// Nobody could be asked, or nobody answered: in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// Answers questions.
pub trait Resolver: Send + Sync {
    /// The addresses of a host; none when there is no such name. An address is its own answer.
    ///
    /// # Errors
    /// [`NoAnswer`].
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, NoAnswer>>;

    /// The TXT records of a name.
    ///
    /// # Errors
    /// [`NoAnswer`].
    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Texts, NoAnswer>>;
}

/// The DNS, asked anew for every question: who mends a record wants to see it mended.
pub struct Dns(Result<TokioResolver, NoAnswer>);

impl Dns {
    /// Over these servers, or over those of `/etc/resolv.conf` when there are none here. Reads that file and `/etc/hosts`.
    /// What is wrong with them is every question's answer.
    pub fn over(servers: &[SocketAddr]) -> Dns {
        let resolver = if servers.is_empty() { system() } else { over(servers) };
        Dns(resolver.map_err(|error| NoAnswer(format!("the resolver cannot be set up: {error}"))))
    }
}

fn system() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    frugal(builder.options_mut());
    builder.build()
}

fn over(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let reached = |server: &SocketAddr| {
        let at_port = |mut connection: ConnectionConfig| {
            connection.port = server.port();
            connection
        };
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_port);
        NameServerConfig::new(server.ip(), true, connections.to_vec())
    };
    let config = ResolverConfig::from_name_servers(servers.iter().map(reached).collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    frugal(builder.options_mut());
    builder.build()
}

fn frugal(options: &mut ResolverOpts) {
    options.timeout = QUERY_MAX;
    options.attempts = ATTEMPTS;
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
}

impl Resolver for Dns {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, NoAnswer>> {
        Box::pin(async move {
            if let Some(address) = literal(host) {
                return Ok(vec![address]);
            }
            let resolver = self.0.as_ref().map_err(Clone::clone)?;
            match resolver.lookup_ip(host).await {
                Ok(found) => Ok(found.iter().collect()),
                Err(error) if error.is_no_records_found() => Ok(Vec::new()),
                Err(error) => Err(no_answer(&error)),
            }
        })
    }

    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Texts, NoAnswer>> {
        Box::pin(async move {
            let resolver = self.0.as_ref().map_err(Clone::clone)?;
            let Ok(mut name) = Name::from_ascii(name) else { return Ok(Texts::NoName) };
            name.set_fqdn(true);
            match resolver.txt_lookup(name).await {
                Ok(found) => {
                    let texts = found.answers().iter().filter_map(|record| match &record.data {
                        RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
                        _ => None,
                    });
                    let texts: Vec<String> = texts.take(TEXTS_MAX).collect();
                    Ok(if texts.is_empty() { Texts::NoText } else { Texts::Found(texts) })
                }
                Err(error) if error.is_nx_domain() => Ok(Texts::NoName),
                Err(error) if error.is_no_records_found() => Ok(Texts::NoText),
                Err(error) => Err(no_answer(&error)),
            }
        })
    }
}

/// `192.0.2.1`, `[2001:db8::1]`.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

fn no_answer(error: &NetError) -> NoAnswer {
    match error {
        NetError::Timeout | NetError::NoConnections => NoAnswer("no name server answers".to_owned()),
        error => NoAnswer(error.to_string()),
    }
}

/// A DNS made of two tables, for tests. A name that stands in neither is not there; with [`Told::silent`] nobody answers.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Host → addresses.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Name → texts.
    pub texts: BTreeMap<String, Texts>,
    /// There is no network.
    pub silent: bool,
}

impl Resolver for Told {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, NoAnswer>> {
        Box::pin(async move {
            match literal(host) {
                Some(address) => Ok(vec![address]),
                None if self.silent => Err(NoAnswer("no name server answers".to_owned())),
                None => Ok(self.addresses.get(host).cloned().unwrap_or_default()),
            }
        })
    }

    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Texts, NoAnswer>> {
        Box::pin(async move {
            if self.silent {
                return Err(NoAnswer("no name server answers".to_owned()));
            }
            Ok(self.texts.get(name).cloned().unwrap_or(Texts::NoName))
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server of four names on loopback: answers one question a datagram until it is dropped.
    async fn name_server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let answer = answer(&packet[..length]);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        address
    }

    /// RFC 1035 §4.1: the question's header and name come back, with its answer or a code.
    fn answer(question: &[u8]) -> Vec<u8> {
        let mut labels = Vec::new();
        let mut at = 12;
        while question[at] != 0 {
            let length = usize::from(question[at]);
            labels.push(String::from_utf8(question[at + 1..at + 1 + length].to_vec()).unwrap());
            at += length + 1;
        }
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        let name = labels.join(".").to_ascii_lowercase();
        let (code, data) = match (name.as_str(), kind) {
            ("t.example.com", 1) => (0, vec![vec![192, 0, 2, 7]]),
            ("t.example.com", 28) => (0, vec![[&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[7]].concat()]),
            ("example.com", 16) => (0, vec![b"\x06v=spf1\x05 -all".to_vec(), b"\x05other".to_vec()]),
            ("empty.example.com", 16) => (0, vec![]),
            ("broken.example.com", _) => (2, vec![]),
            _ => (3, vec![]),
        };
        let count = u16::try_from(data.len()).unwrap().to_be_bytes();
        let mut out = question[..2].to_vec();
        out.extend([0x81, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0]);
        out.extend(&question[12..at + 5]);
        for data in data {
            let kind = kind.to_be_bytes();
            out.extend([0xc0, 12, kind[0], kind[1], 0, 1, 0, 0, 0, 0]);
            out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            out.extend(data);
        }
        out
    }

    #[tokio::test]
    async fn questions_go_to_the_servers_named_and_no_is_told_from_silence() {
        let dns = Dns::over(&[name_server().await]);
        let mut addresses = dns.addresses("t.example.com").await.unwrap();
        addresses.sort();
        assert_eq!(addresses, ["192.0.2.7".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
        assert_eq!(dns.addresses("gone.example.com").await, Ok(vec![]));
        // An address needs no server.
        assert_eq!(dns.addresses("[::1]").await, Ok(vec!["::1".parse().unwrap()]));
        let texts = dns.texts("example.com").await.unwrap();
        assert_eq!(texts, Texts::Found(vec!["v=spf1 -all".to_owned(), "other".to_owned()]));
        assert_eq!(dns.texts("empty.example.com").await, Ok(Texts::NoText));
        assert_eq!(dns.texts("_dmarc.example.com").await, Ok(Texts::NoName));
        assert!(dns.texts("broken.example.com").await.is_err(), "SERVFAIL says nothing about the name");
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_no_missing_record() {
        // Bound and never read.
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dns = Dns::over(&[silent.local_addr().unwrap()]);
        let error = tokio::time::timeout(Duration::from_secs(60), dns.texts("example.com")).await.unwrap().unwrap_err();
        assert!(!error.0.is_empty());
    }
}

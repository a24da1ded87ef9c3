//! Single values: from the text that is written to something the program can rely on. Pure; no name is looked up.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::problem::Wrong;
use crate::smtp::ReversePath;

/// Longest domain name (RFC 1035 §2.3.4, as text).
const DOMAIN_BYTES_MAX: usize = 253;
/// Longest label of one.
const LABEL_BYTES_MAX: usize = 63;

/// `IP:port`; port 0 lets the system choose one.
pub(super) fn socket_addr(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| Wrong::Address(text.to_owned()))
}

/// A sender of ours; nothing is `<>`. ASCII only: our mail must not need more of upstream than the mail it is about did.
pub(super) fn reverse_path(text: &str) -> Result<ReversePath, Wrong> {
    ReversePath::parse(text.as_bytes(), false).map_err(|_| Wrong::Mailbox(text.to_owned()))
}

/// A network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, Wrong> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(ip));
    }
    let net: IpNet = text.parse().map_err(|_| Wrong::Network(text.to_owned()))?;
    if net.trunc() != net {
        return Err(Wrong::HostBits { given: text.to_owned(), meant: net.trunc().to_string() });
    }
    Ok(net)
}

/// A domain as lower-case A-labels, without a trailing dot (UTS 46).
pub(super) fn domain(text: &str) -> Result<String, Wrong> {
    let wrong = || Wrong::Domain(text.to_owned());
    let ascii = idna::domain_to_ascii(text).map_err(|_| wrong())?;
    let label_ok = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // An all-digit last label is an IPv4 address or a slip, never a domain (WHATWG URL, "ends in a number").
    let last_is_number = ascii.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    let ok = ascii.len() <= DOMAIN_BYTES_MAX && ascii.split('.').all(label_ok) && !last_is_number;
    if ok { Ok(ascii) } else { Err(wrong()) }
}

/// A name or an IP address, to connect to.
pub(super) fn host(text: &str) -> Result<String, Wrong> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    domain(text).map_err(|_| Wrong::Host(text.to_owned()))
}

/// Whether a host from [`host`] is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_| host == "localhost" || host.ends_with(".localhost"), |ip| ip.is_loopback())
}

/// Where a site is reached from outside: scheme, host, and port where it is not the scheme's own. Prints as `https://t.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BaseUrl {
    https: bool,
    host: String,
    port: Option<u16>,
}

impl BaseUrl {
    /// Whether it begins with `https:`.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Lower-case A-labels, or an address; IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// `http://host[:port]` or `https://host[:port]` and nothing behind it: the paths under it are ours.
pub(super) fn base_url(text: &str) -> Result<BaseUrl, Wrong> {
    let wrong = |fault| Wrong::Url { given: text.to_owned(), fault };
    let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(wrong("begins with neither https:// nor http://")),
    };
    if rest.ends_with('/') && !rest.trim_end_matches('/').contains(['/', '?', '#']) {
        return Err(wrong("ends in a slash"));
    }
    if rest.contains(['?', '#']) {
        return Err(wrong("has a query or a fragment"));
    }
    if rest.contains('/') {
        return Err(wrong("has a path, and the paths under the host are waxseal's own"));
    }
    if rest.contains('@') {
        return Err(wrong("has a user in it"));
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port = match port.map(str::parse::<u16>) {
        Some(Ok(0) | Err(_)) => return Err(wrong("has no valid port behind the colon")),
        Some(Ok(port)) => Some(port).filter(|port| *port != if https { 443 } else { 80 }),
        None => None,
    };
    let host = url_host(host).ok_or_else(|| wrong("has no valid host"))?;
    Ok(BaseUrl { https, host, port })
}

fn url_host(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().ok().map(|ip| format!("[{ip}]"));
    }
    text.parse::<std::net::Ipv4Addr>().map(|ip| ip.to_string()).ok().or_else(|| domain(text).ok())
}

/// Text for people or servers: not empty, no control characters.
pub(super) fn printable(text: &str, fix: &'static str) -> Result<String, Wrong> {
    if text.is_empty() || text.chars().any(char::is_control) { Err(Wrong::Text(fix)) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        let rows: &[(&str, Option<&str>)] = &[
            // As written, in lower case, as A-labels.
            ("example.com", Some("example.com")),
            ("Example.COM", Some("example.com")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("localhost", Some("localhost")),
            // What people write by mistake.
            ("", None),
            (".", None),
            ("example.com.", None),
            ("@example.com", None),
            ("*.example.com", None),
            ("a b.com", None),
            ("-a.com", None),
            ("a..com", None),
            ("https://example.com", None),
            ("example.com:25", None),
            ("192.0.2.1", None),
            ("a_b.com", None),
        ];
        for (text, expected) in rows {
            assert_eq!(domain(text).ok().as_deref(), *expected, "{text}");
        }
        assert!(domain(&"a".repeat(64)).is_err());
        assert!(domain(&["a"; 130].join(".")).is_err());
    }

    #[test]
    fn urls() {
        let rows: &[(&str, Result<&str, &str>)] = &[
            // Kept, with the scheme's own port left out.
            ("https://t.example.com", Ok("https://t.example.com")),
            ("https://T.Example.com:443", Ok("https://t.example.com")),
            ("http://127.0.0.1:8025", Ok("http://127.0.0.1:8025")),
            ("http://[::1]:8025", Ok("http://[::1]:8025")),
            ("http://[::1]", Ok("http://[::1]")),
            // Each fault by its name.
            ("t.example.com", Err("begins with neither")),
            ("ftp://t.example.com", Err("begins with neither")),
            ("https://t.example.com/", Err("ends in a slash")),
            ("https://t.example.com/x", Err("has a path")),
            ("https://t.example.com/x/", Err("has a path")),
            ("https://t.example.com?x", Err("has a query")),
            ("https://u@t.example.com", Err("has a user")),
            ("https://t.example.com:x", Err("no valid port")),
            ("https://t.example.com:0", Err("no valid port")),
            ("https://t.example.com:", Err("no valid port")),
            ("https://", Err("no valid host")),
            ("https://a b", Err("no valid host")),
            ("https://[::1", Err("no valid host")),
        ];
        for (text, expected) in rows {
            match (base_url(text), expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url.to_string(), *expected),
                (Err(wrong), Err(words)) => assert!(wrong.to_string().contains(words), "{text}: {wrong}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn networks() {
        let rows: &[(&str, Result<&str, &str>)] = &[
            ("127.0.0.0/8", Ok("127.0.0.0/8")),
            ("192.0.2.7", Ok("192.0.2.7/32")),
            ("::1", Ok("::1/128")),
            ("10.0.0.5/8", Err("write \"10.0.0.0/8\"")),
            ("10.0.0.0/33", Err("is not a network")),
            ("localhost", Err("is not a network")),
            ("", Err("is not a network")),
        ];
        for (text, expected) in rows {
            match (network(text), expected) {
                (Ok(net), Ok(expected)) => assert_eq!(net.to_string(), *expected),
                (Err(wrong), Err(words)) => assert!(wrong.to_string().contains(words), "{text}: {wrong}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for host in ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "10.0.0.1", "0.0.0.0", "::", "fe80::1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}

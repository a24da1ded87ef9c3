//! What is right by itself and wrong together: addresses, owners and modes over all sections.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Config;
use super::file::File;
use super::problem::{Severity, Wrong};
use super::values;
use crate::acme::Proof;
use crate::settings::Mode;

/// The shown names of repeated sections (`org[2]`), beside `config.listeners` and `config.orgs`.
pub(super) struct Shown {
    pub(super) listeners: Vec<String>,
    pub(super) orgs: Vec<String>,
}

/// Notes every contradiction.
pub(super) fn find(file: &File<'_>, config: &Config, shown: &Shown) {
    addresses(file, config, &shown.listeners);
    listener_orgs(file, config, &shown.listeners);
    owners(file, config, &shown.orgs);
    passthrough(file, config, shown);
    acme(file, config);
    let servers = config.servers();
    if !servers.is_empty() {
        consent(file, config);
    }
    // A development server on this machine needs no name and no address that the world knows.
    if servers.iter().any(|(_, upstream)| !values::is_loopback(&upstream.host)) {
        names_for_the_world(file, config);
    }
}

/// An ordered certificate is shown by somebody, and the CA's questions are answered.
fn acme(file: &File<'_>, config: &Config) {
    let Some(acme) = &config.acme else { return };
    match acme.proof {
        Proof::Http01 if config.web.tls && acme.listen.is_none() => {
            file.note(Severity::Error, "acme.listen", Wrong::AcmeUnanswered);
        }
        Proof::TlsAlpn01 if !config.web.tls => file.note(Severity::Error, "acme.challenge", Wrong::AcmeNeedsTls),
        Proof::Http01 | Proof::TlsAlpn01 => {}
    }
    if !config.shows_certificate() {
        file.note(Severity::Warning, "acme.domains", Wrong::AcmeForNobody);
    }
}

/// Whose login goes on to upstream must have one.
fn passthrough(file: &File<'_>, config: &Config, shown: &Shown) {
    for (listener, section) in config.listeners.iter().zip(&shown.listeners) {
        let is_passed = listener.org.as_ref().is_some_and(|org| config.upstream_of(org).is_passthrough());
        if is_passed && !listener.networks.is_empty() {
            file.note(Severity::Error, &format!("{section}.networks"), Wrong::NetworksWithoutLogin);
        }
    }
    for (org, section) in config.orgs.iter().zip(&shown.orgs) {
        if org.create_users && !config.upstream_of(&org.name).is_passthrough() {
            file.note(Severity::Warning, &format!("{section}.create_users"), Wrong::CreateUsersWithoutPassthrough);
        }
    }
}

/// No two sockets on one address and port.
fn addresses(file: &File<'_>, config: &Config, shown: &[String]) {
    let listeners =
        config.listeners.iter().zip(shown).map(|(listener, section)| (format!("{section}.addr"), listener.addr));
    let web = [("web.tracking".to_owned(), config.web.tracking), ("web.admin".to_owned(), config.web.admin)];
    let door = config.acme.as_ref().and_then(|acme| acme.listen).map(|addr| ("acme.listen".to_owned(), addr));
    let all: Vec<(String, SocketAddr)> = listeners.chain(web).chain(door).collect();
    for (index, (key, addr)) in all.iter().enumerate() {
        if let Some((other, _)) = all.iter().take(index).find(|(_, earlier)| clash(*earlier, *addr)) {
            file.note(Severity::Error, key, Wrong::AddressClash { addr: addr.to_string(), other: other.clone() });
        }
    }
}

/// Whether the second of two sockets would be refused. Port 0 is chosen by the system and never clashes; `[::]` also takes IPv4.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, one: SocketAddr| wide.ip().is_unspecified() && (wide.is_ipv6() || one.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

/// A trusted network sends for an organisation that exists.
fn listener_orgs(file: &File<'_>, config: &Config, shown: &[String]) {
    for (listener, section) in config.listeners.iter().zip(shown) {
        if let Some(org) = listener.org.as_ref().filter(|org| config.orgs.iter().all(|known| known.name != **org)) {
            file.note(Severity::Error, &format!("{section}.org"), Wrong::NoSuchOrg(org.to_string()));
        }
    }
}

/// Each name, domain and tracking host belongs to one organisation.
fn owners(file: &File<'_>, config: &Config, sections: &[String]) {
    let (mut names, mut domains, mut hosts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    hosts.insert(config.web.public_url.to_string(), "web.public_url".to_owned());
    for (org, section) in config.orgs.iter().zip(sections) {
        let claim = |seen: &mut BTreeMap<String, String>, given: String, key: &str, fix| {
            let key = format!("{section}.{key}");
            if let Some(other) = seen.insert(given.clone(), key.clone()) {
                file.note(Severity::Error, &key, Wrong::Duplicate { given, other, fix });
            }
        };
        claim(&mut names, org.name.to_string(), "name", "give each its own");
        for domain in &org.domains {
            claim(&mut domains, domain.clone(), "domains", "a domain belongs to one organisation, once");
        }
        if let Some(url) = &org.tracking_url {
            claim(
                &mut hosts,
                url.to_string(),
                "tracking_url",
                "a tracking host belongs to one place; without one of its own an organisation uses web.public_url",
            );
        }
        for url in &org.former_urls {
            claim(&mut hosts, url.to_string(), "former_urls", "a tracking host belongs to one place");
        }
    }
}

/// Tracking real people is decided by a person, not by a default (DESIGN 8).
fn consent(file: &File<'_>, config: &Config) {
    let tracks = config.tracking.opens > Mode::Off || config.tracking.links > Mode::Off;
    if tracks && config.privacy.consent.is_none() && !file.is_written("privacy.consent") {
        file.note(Severity::Error, "privacy.consent", Wrong::ConsentNotSet);
    }
}

/// What other servers and recipients see of this machine.
fn names_for_the_world(file: &File<'_>, config: &Config) {
    if values::is_loopback(&config.server.hostname) {
        file.note(Severity::Warning, "server.hostname", Wrong::LocalHostname(config.server.hostname.clone()));
    }
    let url = &config.web.public_url;
    if url.is_loopback() {
        file.note(Severity::Error, "web.public_url", Wrong::LocalPublicUrl(url.to_string()));
    } else if !url.is_https() {
        file.note(Severity::Warning, "web.public_url", Wrong::PlainPublicUrl(url.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clashes() {
        let rows = [
            // The same twice, and what a wildcard covers.
            ("127.0.0.1:25", "127.0.0.1:25", true),
            ("0.0.0.0:25", "127.0.0.1:25", true),
            ("127.0.0.1:25", "0.0.0.0:25", true),
            ("[::]:25", "127.0.0.1:25", true),
            ("[::]:25", "0.0.0.0:25", true),
            ("[::]:25", "[::1]:25", true),
            // Another port, another address, another family, or a port the system chooses.
            ("127.0.0.1:25", "127.0.0.1:26", false),
            ("127.0.0.1:25", "127.0.0.2:25", false),
            ("0.0.0.0:25", "[::1]:25", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ];
        for (a, b, expected) in rows {
            assert_eq!(clash(a.parse().unwrap(), b.parse().unwrap()), expected, "{a} {b}");
        }
    }
}

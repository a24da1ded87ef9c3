//! `[[listener]]`: where mail clients connect, and who may submit there.
//!
//! **Invariant:** no accepted listener is an open relay: without a login only named networks send, and none of those is wide.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::file::{File, Section};
use super::problem::{Severity, Wrong};
use super::values;
use crate::settings::OrgName;

/// Widest IPv4 network that may submit without a login: `10.0.0.0/8` is the widest private one (RFC 1918).
const IPV4_PREFIX_MIN: u8 = 8;
/// Widest IPv6 network: `fc00::/7` holds all private ones (RFC 4193).
const IPV6_PREFIX_MIN: u8 = 7;

/// One `[[listener]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Where to listen.
    pub addr: SocketAddr,
    /// When TLS begins.
    pub tls: ListenerTls,
    /// May submit without a login; empty when everyone logs in.
    pub networks: Vec<IpNet>,
    /// For whom they do; `Some` exactly when `networks` is not empty.
    pub org: Option<OrgName>,
    /// Proxies that say by a PROXY header whom they forward for.
    pub proxy_networks: Vec<IpNet>,
}

/// When TLS begins on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerTls {
    /// Offered by STARTTLS (RFC 3207).
    StartTls,
    /// From the first byte (RFC 8314).
    Implicit,
    /// Never; logins only from loopback.
    None,
}

impl ListenerTls {
    /// As written in the config.
    pub fn as_str(self) -> &'static str {
        match self {
            ListenerTls::StartTls => "starttls",
            ListenerTls::Implicit => "implicit",
            ListenerTls::None => "none",
        }
    }
}

impl ListenerConfig {
    /// Every listener that is right enough to look at, with its shown section (`listener[1]`).
    pub(super) fn read_all(file: &File<'_>) -> Vec<(String, ListenerConfig)> {
        let sections = file.sections("listener");
        if sections.is_empty() && !file.has("listener") {
            file.note(
                Severity::Error,
                "listener",
                Wrong::Missing("without one nothing can submit mail; add [[listener]] with addr = \"127.0.0.1:2525\""),
            );
        }
        let read = |(index, section)| Some((format!("listener[{}]", index + 1), ListenerConfig::read(section)?));
        sections.into_iter().enumerate().filter_map(read).collect()
    }

    fn read(section: Section<'_, '_>) -> Option<ListenerConfig> {
        let addr = section.parsed("addr", "\"127.0.0.1:2525\"", values::socket_addr);
        let tls = section.choice(
            "tls",
            &[("starttls", ListenerTls::StartTls), ("implicit", ListenerTls::Implicit), ("none", ListenerTls::None)],
        );
        section.parsed("auth", "\"required\"", auth);
        let networks = section.list("networks", "\"192.0.2.0/24\"", trusted_network);
        let org = section.parsed("org", "\"default\"", super::org::name);
        let proxy_networks = section.list("proxy_networks", "\"192.0.2.10\"", proxy_network);
        if !section.has("addr") {
            section.wrong("addr", Wrong::Missing("write IP:port, as addr = \"127.0.0.1:2525\""));
        }
        // Also where an entry was refused: the list is meant all the same.
        let meant = section.has("networks") && networks.as_ref().is_none_or(|networks| !networks.is_empty());
        if meant && !section.has("org") {
            section.wrong("org", Wrong::NetworksWithoutOrg);
        }
        if section.has("org") && !meant {
            section.warn("org", Wrong::OrgWithoutNetworks);
        }
        let tls = tls.unwrap_or(ListenerTls::StartTls);
        let networks = networks.unwrap_or_default();
        // Without TLS a login is offered on loopback only (RFC 4954 §4).
        if tls == ListenerTls::None && addr.is_some_and(|addr| !addr.ip().is_loopback()) {
            match meant {
                true => section.warn("tls", Wrong::OnlyNetworks),
                false => section.wrong("tls", Wrong::NoLoginPossible),
            }
        }
        section.finish();
        let proxy_networks = proxy_networks.unwrap_or_default();
        Some(ListenerConfig { addr: addr?, tls, org: org.filter(|_| !networks.is_empty()), networks, proxy_networks })
    }
}

/// The one value: who is in no network logs in.
fn auth(text: &str) -> Result<(), Wrong> {
    match text {
        "required" => Ok(()),
        "none" | "optional" => Err(Wrong::OpenRelay(format!("auth = \"{text}\""))),
        _ => Err(Wrong::Choice { given: text.to_owned(), allowed: vec!["required"] }),
    }
}

/// Whoever is in it can claim any address, and with it any other network's rights.
fn proxy_network(text: &str) -> Result<IpNet, Wrong> {
    trusted_network(text).map_err(|wrong| match wrong {
        Wrong::OpenRelay(given) => Wrong::ProxiesEverywhere(given),
        other => other,
    })
}

fn trusted_network(text: &str) -> Result<IpNet, Wrong> {
    let net = values::network(text)?;
    // `::ffff:0:0/96` is all of IPv4 in other clothes; written as IPv4 it is judged as IPv4.
    if matches!(net, IpNet::V6(net) if net.network().to_ipv4_mapped().is_some()) {
        return Err(Wrong::Network(text.to_owned()));
    }
    let too_wide = match net {
        IpNet::V4(net) => net.prefix_len() < IPV4_PREFIX_MIN,
        IpNet::V6(net) => net.prefix_len() < IPV6_PREFIX_MIN,
    };
    if too_wide { Err(Wrong::OpenRelay(text.to_owned())) } else { Ok(net) }
}

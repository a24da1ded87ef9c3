//! `[web]`: the public tracking site and the dashboard.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::file::File;
use super::problem::Wrong;
use super::values::{self, BaseUrl};

/// Loopback, because only an operator who put a proxy in front should open it to the world.
const TRACKING: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8025);
/// Loopback, because the dashboard has a login in clear.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8026);

/// In which header a trusted proxy says whom it speaks for. Only this one is read: the other may be the client's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, as nearly every proxy.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

const FORWARDED_BY: &[(&str, ForwardedBy)] =
    &[("x-forwarded-for", ForwardedBy::XForwardedFor), ("forwarded", ForwardedBy::Forwarded)];

const SECOND_FACTOR: &[(&str, bool)] = &[("optional", false), ("required", true)];

/// `[web]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebConfig {
    /// Where the public site listens: pixel, click, nothing else.
    pub tracking: SocketAddr,
    /// How recipients reach it.
    pub public_url: BaseUrl,
    /// Where the dashboard listens.
    pub admin: SocketAddr,
    /// Whose word about their clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// In which header they say it.
    pub forwarded_by: ForwardedBy,
    /// They begin each connection to the tracking site with a PROXY header, version 1 or 2.
    pub proxy_protocol: bool,
    /// The tracking site speaks TLS itself, with the certificate of the listeners.
    pub tls: bool,
    /// Every server admin must have a second factor.
    pub admin_second_factor: bool,
}

impl WebConfig {
    /// `None` when `public_url` is wrong; the problems are noted.
    pub(super) fn read(file: &File<'_>) -> Option<WebConfig> {
        let section = file.section("web");
        let tracking = section.parsed("tracking", "\"127.0.0.1:8025\"", values::socket_addr).unwrap_or(TRACKING);
        let public_url = section.parsed("public_url", "\"https://t.example.com\"", values::base_url);
        let admin = section.parsed("admin", "\"127.0.0.1:8026\"", values::socket_addr).unwrap_or(ADMIN);
        let trusted_proxies = section.list("trusted_proxies", "\"127.0.0.1\"", proxy).unwrap_or_default();
        let forwarded_by = section.choice("forwarded_by", FORWARDED_BY).unwrap_or_default();
        let proxy_protocol = section.flag("proxy_protocol").unwrap_or(false);
        if proxy_protocol && trusted_proxies.is_empty() {
            section.wrong("proxy_protocol", Wrong::ProxyProtocolOfNobody);
        }
        if !admin.ip().is_loopback() {
            section.warn("admin", Wrong::AdminInClear(admin.to_string()));
        }
        let tls = section.flag("tls").unwrap_or(false);
        if tls && !public_url.as_ref().is_some_and(BaseUrl::is_https) {
            section.wrong("tls", Wrong::TlsWithoutHttps);
        }
        let admin_second_factor = section.choice("admin_second_factor", SECOND_FACTOR).unwrap_or(false);
        let has_url = section.has("public_url");
        section.finish();
        let public_url = if has_url { public_url? } else { values::base_url(&format!("http://{TRACKING}")).ok()? };
        Some(WebConfig {
            tracking,
            public_url,
            admin,
            trusted_proxies,
            forwarded_by,
            proxy_protocol,
            tls,
            admin_second_factor,
        })
    }
}

/// Believing the whole internet would let every recipient choose the address that is recorded.
fn proxy(text: &str) -> Result<IpNet, Wrong> {
    let net = values::network(text)?;
    if net.prefix_len() == 0 { Err(Wrong::TrustsEveryone(text.to_owned())) } else { Ok(net) }
}

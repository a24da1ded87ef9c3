//! `[dns]`: who is asked for the records of hosts and domains.

use std::net::{IpAddr, SocketAddr};

use super::file::File;
use super::problem::Wrong;

/// The port of name servers (RFC 1035 §4.2).
const PORT: u16 = 53;

/// `[dns]`. Only health and `waxseal doctor` ask; mail finds upstream as the system does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsConfig {
    /// Empty: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
}

impl DnsConfig {
    pub(super) fn read(file: &File<'_>) -> DnsConfig {
        let section = file.section("dns");
        let servers = section.list("servers", "\"192.0.2.53\"", server).unwrap_or_default();
        section.finish();
        DnsConfig { servers }
    }
}

/// `192.0.2.53`, `192.0.2.53:5353`, `[2001:db8::53]:53`.
fn server(text: &str) -> Result<SocketAddr, Wrong> {
    let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT)).or_else(|_| text.parse());
    match address {
        Ok(server) if server.port() != 0 && !server.ip().is_unspecified() => Ok(server),
        _ => Err(Wrong::NameServer(text.to_owned())),
    }
}

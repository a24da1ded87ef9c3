//! Who really asks, behind proxies we trust.
//!
//! **Invariant:** `X-Forwarded-For` is believed only as far as a trusted proxy wrote it: it is read from the right,
//! each address vouched for by the one after it. What a client wrote itself is never believed.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::HeaderName;
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The nearest address that is no trusted proxy's; where the chain cannot be read, the last that could.
pub(super) fn address(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let mut known = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(known, trusted) {
        return known;
    }
    let lines: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().map(|v| v.to_str().unwrap_or_default()).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        match parse(entry.trim()) {
            Some(address) if is_trusted(address, trusted) => known = address,
            Some(address) => return address,
            None => break,
        }
    }
    known
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// An address, as proxies write it: bare, in brackets, or with a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().or_else(|_| entry.parse::<SocketAddr>().map(|with_port| with_port.ip()));
    Some(address.ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    /// (peer, trusted, header lines, who it is)
    #[test]
    fn the_chain_is_read_from_the_right() {
        let proxy = &["10.0.0.0/8", "::1/128"][..];
        let rows: &[(&str, &[&str], &[&str], &str)] = &[
            // Nobody is trusted, or the peer is not: what it says does not count.
            ("203.0.113.9", &[], &["192.0.2.1"], "203.0.113.9"),
            ("203.0.113.9", proxy, &["192.0.2.1"], "203.0.113.9"),
            // One proxy: its last entry; what stands left of it the client wrote.
            ("10.0.0.1", proxy, &["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", proxy, &["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", proxy, &["6.6.6.6", "192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", proxy, &["10.0.0.7, 192.0.2.1"], "192.0.2.1"),
            // Several proxies.
            ("::1", proxy, &["6.6.6.6, 192.0.2.1, 10.0.0.2,10.0.0.1"], "192.0.2.1"),
            // Nobody but proxies: the furthest.
            ("::1", proxy, &["10.0.0.2, 10.0.0.1"], "10.0.0.2"),
            ("10.0.0.1", proxy, &[], "10.0.0.1"),
            // What cannot be read ends the chain.
            ("10.0.0.1", proxy, &["192.0.2.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", proxy, &["192.0.2.1, ,10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", proxy, &[""], "10.0.0.1"),
            // Ways of writing.
            ("::ffff:10.0.0.1", proxy, &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", proxy, &["192.0.2.1:4711"], "192.0.2.1"),
            ("10.0.0.1", proxy, &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", proxy, &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", proxy, &["2001:db8::1"], "2001:db8::1"),
        ];
        for (peer, trusted, lines, expected) in rows {
            let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
            }
            let found = address(peer.parse().unwrap(), &trusted, &headers);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }
}

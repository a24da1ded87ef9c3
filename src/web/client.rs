//! Who really asks, behind proxies we trust.
//!
//! **Invariant:** a header is believed only as far as a trusted proxy wrote it: it is read from the right, each address
//! vouched for by the one after it. What a client wrote itself is never believed, and so only the one header is looked at
//! that the proxies are known to write.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How trusted proxies say whom they speak for. Only this is read: the other may be the client's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The nearest address that is no trusted proxy's; where the chain cannot be read, the last that could.
pub(super) fn address(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap, by: ForwardedBy) -> IpAddr {
    let mut known = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(known, trusted) {
        return known;
    }
    let name = match by {
        ForwardedBy::XForwardedFor => X_FORWARDED_FOR,
        ForwardedBy::Forwarded => FORWARDED,
    };
    let lines: Vec<&str> = headers.get_all(name).iter().map(|v| v.to_str().unwrap_or_default()).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let node = match by {
            ForwardedBy::XForwardedFor => Some(entry.trim()),
            ForwardedBy::Forwarded => forwarded_for(entry),
        };
        match node.and_then(parse) {
            Some(address) if is_trusted(address, trusted) => known = address,
            Some(address) => return address,
            None => break,
        }
    }
    known
}

/// The node after `for=` in one element of `Forwarded`: a token or a quoted string (RFC 7239 section 4). One with an
/// escape, or two of them, is nothing a proxy writes.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut nodes = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    let node = nodes.next().filter(|_| nodes.next().is_none())?;
    match node.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
        None => Some(node).filter(|node| !node.contains('"')),
    }
}

/// Whether the address, canonical, is a trusted proxy's.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
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
            let found = address(peer.parse().unwrap(), &trusted, &headers, ForwardedBy::XForwardedFor);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }

    /// (header lines, who it is), behind 10.0.0.1 in trusted 10.0.0.0/8.
    #[test]
    fn forwarded_is_read_from_the_right_too() {
        let rows: &[(&[&str], &str)] = &[
            (&["for=192.0.2.1"], "192.0.2.1"),
            (&["For=\"192.0.2.1:4711\";proto=https;by=10.0.0.1"], "192.0.2.1"),
            (&["proto=https; for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
            (&["for=\"[2001:db8::1]\""], "2001:db8::1"),
            (&["for=6.6.6.6, for=192.0.2.1"], "192.0.2.1"),
            (&["for=6.6.6.6", "for=192.0.2.1, for=10.0.0.7"], "192.0.2.1"),
            // What cannot be read ends the chain: hidden names, no node, a broken or doubled one.
            (&["for=192.0.2.1, for=_hidden"], "10.0.0.1"),
            (&["for=192.0.2.1, for=unknown, for=10.0.0.9"], "10.0.0.9"),
            (&["for=192.0.2.1, proto=https"], "10.0.0.1"),
            (&["for=\"192.0.2.1"], "10.0.0.1"),
            (&["for=192.0.2.1\""], "10.0.0.1"),
            (&["for=6.6.6.6;for=192.0.2.1"], "10.0.0.1"),
            (&["for=\"a\\\"b\""], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ];
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        for (lines, expected) in rows {
            let mut headers = HeaderMap::new();
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static("6.6.6.6"));
            for line in *lines {
                headers.append(FORWARDED, HeaderValue::from_str(line).unwrap());
            }
            let peer = "10.0.0.1".parse().unwrap();
            let found = address(peer, &trusted, &headers, ForwardedBy::Forwarded);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{lines:?}");
            let other = address(peer, &trusted, &headers, ForwardedBy::XForwardedFor);
            assert_eq!(other, "6.6.6.6".parse::<IpAddr>().unwrap(), "only one header is looked at");
        }
    }
}

//! Who knocks, as it is counted: the address that belongs to one subscriber, and the login in whatever spelling.
//!
//! **Invariant:** every limit counts by these, so that what is one caller to the mail door is one to the dashboard and to the
//! tracking site.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest as _, Sha256};

use crate::settings::prepared::folded;

/// A login as a hash: what is typed may be a password, and it may be long.
pub type LoginTag = [u8; 16];

/// Whom an address belongs to: an IPv4 address, or the /64 of an IPv6 subscriber, who could use an address of it for every
/// connection. An IPv4 address in IPv6 clothes is the IPv4 address.
pub fn subscriber(address: IpAddr) -> IpAddr {
    masked(address, 32, 64)
}

/// The /24 or /48 around it: its neighbours.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    masked(address, 24, 48)
}

fn masked(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(32 - v4_bits).unwrap_or(0)))
        }
        IpAddr::V6(v6) => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(128 - v6_bits).unwrap_or(0)))
        }
    }
}

/// What tries of a login are counted under: no spelling of one (RFC 4013), and no change of case, is a fresh start, whether or
/// not there is such a user.
pub fn login_tag(login: &str) -> LoginTag {
    let digest: [u8; 32] = Sha256::digest(folded(login).as_bytes()).into();
    let mut tag = LoginTag::default();
    tag.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_by_whose_they_are() {
        for (address, own, shared) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.0"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::"),
            ("::1", "::", "::"),
        ] {
            let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
            assert_eq!((subscriber(ip(address)), neighbourhood(ip(address))), (ip(own), ip(shared)), "{address}");
        }
    }

    #[test]
    fn a_login_is_counted_in_any_spelling() {
        for same in ["Ann@Example.com", "ann@example.com", "\u{ff41}nn@example.com", "a\u{ad}nn@example.com"] {
            assert_eq!(login_tag(same), login_tag("ann@example.com"), "{same:?}");
        }
        assert_ne!(login_tag("ann"), login_tag("anna"));
    }
}

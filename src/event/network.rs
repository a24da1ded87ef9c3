//! A network as a keyed hash: comparable within one message, unlinkable between messages.
//!
//! **Invariant:** no address is kept. The hash covers the message id, so that the same network has another hash in
//! every other message, and only the /24 or /48, so that it never singles out a household's device.

use std::net::IpAddr;

use crate::token::{InstanceKey, MessageId};

/// The first 8 octets of HMAC-SHA256(instance key, message id ‖ first 3 octets of an IPv4 address or 6 of an IPv6 one).
/// An IPv4 address in IPv6 clothes (`::ffff:…`) is the IPv4 address.
pub fn network_hash(key: &InstanceKey, message: MessageId, address: IpAddr) -> [u8; 8] {
    let message = message.0.to_be_bytes();
    let mac = match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            key.mac(&[&message, &[a, b, c]])
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, ..] = address.octets();
            key.mac(&[&message, &[a, b, c, d, e, f]])
        }
    };
    let [a, b, c, d, e, f, g, h, ..] = mac;
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Secret;

    fn hash(key: u8, message: u64, address: &str) -> [u8; 8] {
        network_hash(&InstanceKey::derive(&Secret([key; 32])), MessageId(message), address.parse().unwrap())
    }

    #[test]
    fn one_network_in_one_message_is_one_hash() {
        for (one, other) in
            [("192.0.2.1", "192.0.2.254"), ("192.0.2.1", "::ffff:192.0.2.9"), ("2001:db8:1:2::1", "2001:db8:1:ffff::2")]
        {
            assert_eq!(hash(1, 5, one), hash(1, 5, other), "{one} {other}");
        }
    }

    /// Another network, message or instance; an IPv6 network that begins with an IPv4 one's octets.
    #[test]
    fn everything_else_differs() {
        let base = hash(1, 5, "192.0.2.1");
        for other in [
            hash(1, 5, "192.0.3.1"),
            hash(1, 6, "192.0.2.1"),
            hash(2, 5, "192.0.2.1"),
            hash(1, 5, "c000:0200::"),
            hash(1, 5, "2001:db8:1::"),
        ] {
            assert_ne!(base, other);
        }
        assert_ne!(hash(1, 5, "2001:db8:1::"), hash(1, 5, "2001:db8:2::"));
    }

    /// Computed independently (Python's hmac and hashlib): stored hashes must stay comparable.
    #[test]
    fn the_hash_is_fixed() {
        assert_eq!(u64::from_be_bytes(hash(7, 5, "192.0.2.1")), 0xea1a_11d8_3834_b136);
        assert_eq!(u64::from_be_bytes(hash(7, 5, "2001:db8:1::1")), 0x3098_7e2a_5031_679c);
    }
}

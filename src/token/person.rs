//! One address in one organisation as a keyed hash: what a preference page, a refusal and a grant are kept under.
//!
//! **Invariant:** no address is kept. The hash covers the organisation, so that two organisations' lists cannot be
//! compared, and the key never leaves the key file. The layout never changes: pages sent with it are out there.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::InstanceKey;

/// Octets of a [`PersonId`].
pub const PERSON_BYTES: usize = 16;
/// Sets these hashes apart from every other use of the instance key.
const CONTEXT: &[u8] = b"waxseal person v1\0";

/// The first 16 octets of HMAC-SHA256(instance key, context ‖ organisation ‖ 0 ‖ folded address).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PersonId(pub [u8; PERSON_BYTES]);

impl PersonId {
    /// Who this address is to this organisation, however it is spelled (see [`folded`]).
    pub fn of(key: &InstanceKey, org: &str, address: &[u8]) -> PersonId {
        let mac = key.mac(&[CONTEXT, org.as_bytes(), &[0], &folded(address)]);
        let mut id = [0; PERSON_BYTES];
        id.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        PersonId(id)
    }

    /// The sealed payload of this person's preference page: the hash, then the organisation's name. No look-up is needed
    /// to read it, so the page outlives every store.
    pub fn payload(self, org: &str) -> Vec<u8> {
        [&self.0, org.as_bytes()].concat()
    }

    /// Reads [`PersonId::payload`]; `None` when it is none.
    pub fn from_payload(payload: &[u8]) -> Option<(PersonId, &str)> {
        let (id, org) = payload.split_first_chunk::<PERSON_BYTES>()?;
        Some((PersonId(*id), std::str::from_utf8(org).ok()?))
    }
}

/// An address as two spellings of it are compared: domain as lower-case A-label without a final dot; local part
/// unquoted and in lower case. RFC 5321 §2.4 lets a host tell `Ann` from `ann`; none that people use does, and a refusal
/// that misses its person is worse than one that covers two. `+tags` stay: they may be another person's.
pub fn folded(address: &[u8]) -> Vec<u8> {
    let Some(at) = memchr::memrchr(b'@', address) else { return lower(address).into_owned() };
    let (local, domain) = (address.get(..at).unwrap_or_default(), address.get(at + 1..).unwrap_or_default());
    let mut out = lower(&unquoted(local)).into_owned();
    out.push(b'@');
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    let ascii = std::str::from_utf8(domain).ok().and_then(|text| idna::domain_to_ascii(text).ok());
    match ascii {
        Some(ascii) => out.extend_from_slice(ascii.as_bytes()),
        None => out.extend_from_slice(&domain.to_ascii_lowercase()),
    }
    out
}

/// Whether two addresses are one by [`folded`].
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b) || folded(a) == folded(b)
}

fn lower(text: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(text) {
        Ok(text) if !text.is_ascii() => Cow::Owned(text.to_lowercase().into_bytes()),
        _ => Cow::Owned(text.to_ascii_lowercase()),
    }
}

/// `"a\.b"` is `a.b` (RFC 5321 §4.1.2: the quotes are not part of the name).
fn unquoted(local: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = local.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(local);
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut octets = inner.iter();
    while let Some(octet) = octets.next() {
        out.push(if *octet == b'\\' { *octets.next().unwrap_or(&b'\\') } else { *octet });
    }
    Cow::Owned(out)
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The text is not 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPersonId;

impl fmt::Display for BadPersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not 32 hex digits")
    }
}

impl FromStr for PersonId {
    type Err = BadPersonId;
    fn from_str(text: &str) -> Result<PersonId, BadPersonId> {
        if text.len() != 2 * PERSON_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadPersonId);
        }
        u128::from_str_radix(text, 16).map(|n| PersonId(n.to_be_bytes())).map_err(|_| BadPersonId)
    }
}

impl From<PersonId> for String {
    fn from(id: PersonId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for PersonId {
    type Error = BadPersonId;
    fn try_from(text: String) -> Result<PersonId, BadPersonId> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Secret;

    fn key(n: u8) -> InstanceKey {
        InstanceKey::derive(&Secret([n; 32]))
    }

    /// Case, quotes, U-label or A-label, a final dot; then what must stay apart.
    #[test]
    fn spellings_of_one_address_are_one_person() {
        let rows: &[(&str, &str, bool)] = &[
            ("Ann@Example.COM", "ann@example.com", true),
            ("\"ann\"@example.com", "ann@example.com", true),
            ("\"a\\n\\n\"@example.com", "ann@example.com", true),
            ("ann@b\u{fc}cher.example", "ann@xn--bcher-kva.example", true),
            ("\u{dc}ber@example.com", "\u{fc}ber@example.com", true),
            ("ann@example.com.", "ann@example.com", true),
            ("\"a@b\"@example.com", "\"A@B\"@example.com", true),
            ("Postmaster", "postmaster", true),
            ("ann@[IPv6:2001:DB8::1]", "ann@[ipv6:2001:db8::1]", true),
            ("ann+x@example.com", "ann@example.com", false),
            ("an.n@example.com", "ann@example.com", false),
            ("ann@mail.example.com", "ann@example.com", false),
            ("\u{fc}ber@example.com", "uber@example.com", false),
        ];
        for (one, other, same) in rows {
            assert_eq!(is_same(one.as_bytes(), other.as_bytes()), *same, "{one} {other}");
            let id = |address: &str| PersonId::of(&key(1), "acme", address.as_bytes());
            assert_eq!(id(one) == id(other), *same, "{one} {other}");
        }
        // not UTF-8 is compared as it stands
        assert!(is_same(b"A\xff@Example.com", b"a\xff@example.com"));
    }

    #[test]
    fn another_organisation_or_key_is_another_person() {
        let id = PersonId::of(&key(1), "acme", b"ann@example.com");
        assert_ne!(id, PersonId::of(&key(2), "acme", b"ann@example.com"));
        assert_ne!(id, PersonId::of(&key(1), "acm", b"eann@example.com"));
        assert_ne!(id, PersonId::of(&key(1), "beta", b"ann@example.com"));
    }

    /// Pages that were sent must find what was refused on them, for ever.
    #[test]
    fn the_hash_is_fixed() {
        let id = PersonId::of(&key(7), "acme", b"Ann@Example.com");
        assert_eq!(id.to_string(), FIXED);
        assert_eq!(FIXED.parse(), Ok(id));
        assert_eq!(PersonId::from_payload(&id.payload("acme")), Some((id, "acme")));
        for bad in ["", "0", "zz6f1e6a1d5e4b1bb0d3a1d0c9c0f0aa"] {
            assert_eq!(bad.parse::<PersonId>(), Err(BadPersonId));
        }
        assert_eq!(PersonId::from_payload(&[1; 15]), None);
        assert_eq!(PersonId::from_payload(&[0xff; 17]), None);
    }

    /// Computed independently (Python's hmac and hashlib).
    const FIXED: &str = "85449e8e1fc51d2622b8e79d021bf433";
}

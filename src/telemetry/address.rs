//! Mail addresses in the log: as they are, or as keyed hashes (`[log] log_addresses`).
//!
//! **Invariant:** under `hashed` no address, and no part of one, reaches a log line. The same address has the same hash until the
//! next start, so that an operator can follow one mail, and nobody can follow one person for long.

use std::fmt;
use std::sync::OnceLock;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::log::Addresses;
use crate::smtp::{Mailbox, ReversePath};

/// How many hash octets are shown: two addresses in four thousand million look alike, which is enough for a log.
const SHOWN_BYTES: usize = 4;

/// Chosen once at start; before that, and in programs that never choose, addresses are hidden altogether.
static CHOSEN: OnceLock<(Addresses, [u8; 32])> = OnceLock::new();

pub(super) fn set(addresses: Addresses, seed: [u8; 32]) {
    // A second call cannot come: `log::init` has refused it.
    CHOSEN.get_or_init(|| (addresses, seed));
}

/// One address for a log line.
pub(super) struct Shown(String);

impl Shown {
    /// `<>` for the null path, which names nobody.
    pub(super) fn path(path: &ReversePath) -> Shown {
        match path {
            ReversePath::Null => Shown("<>".to_owned()),
            ReversePath::Mailbox(mailbox) => Shown::mailbox(mailbox),
        }
    }

    /// A mailbox.
    pub(super) fn mailbox(mailbox: &Mailbox) -> Shown {
        Shown::bytes(mailbox.as_bytes())
    }

    /// A login, which is often an address.
    pub(super) fn login(login: &str) -> Shown {
        Shown::bytes(login.as_bytes())
    }

    /// Another server's words, which often repeat an address: each stands there as the address itself would.
    pub(super) fn words(text: &str) -> Shown {
        match CHOSEN.get() {
            Some((Addresses::Full, _)) => Shown(text.to_owned()),
            _ => Shown(words(text, |address| Shown::bytes(address.as_bytes()).0)),
        }
    }

    fn bytes(bytes: &[u8]) -> Shown {
        Shown(match CHOSEN.get() {
            Some((addresses, seed)) => show(*addresses, seed, bytes),
            None => "(hidden)".to_owned(),
        })
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text with every word that holds an `@` replaced; brackets and punctuation around it stay.
fn words(text: &str, replace: impl Fn(&str) -> String) -> String {
    let word = |word: &str| {
        let address = word.trim_matches(|char: char| char.is_ascii_punctuation() && char != '@');
        if word.contains('@') { word.replacen(address, &replace(address), 1) } else { word.to_owned() }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The text for a log line. Control characters are escaped, so that no peer writes lines of its own.
fn show(addresses: Addresses, seed: &[u8; 32], bytes: &[u8]) -> String {
    match addresses {
        Addresses::Full => String::from_utf8_lossy(bytes).escape_debug().to_string(),
        Addresses::Hashed => {
            // HMAC takes a key of any length, so the fallback is never reached; it shows nothing.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(seed) else { return "(hidden)".to_owned() };
            mac.update(&bytes.to_ascii_lowercase());
            let hash = mac.finalize().into_bytes();
            hash.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_readable_and_stays_on_its_line() {
        let rows: &[(&[u8], &str)] = &[
            (b"Anna@example.com", "Anna@example.com"),
            (b"a\r\nforged line@example.com", "a\\r\\nforged line@example.com"),
            (b"\x1b[31m@example.com", "\\u{1b}[31m@example.com"),
            (b"\xff@example.com", "\u{fffd}@example.com"),
        ];
        for (bytes, expected) in rows {
            assert_eq!(show(Addresses::Full, &[0; 32], bytes), *expected);
        }
    }

    #[test]
    fn another_servers_words_lose_their_addresses() {
        let rows = [
            ("5.1.1 <anna@example.com>: unknown", "5.1.1 <X>: unknown"),
            ("no anna@example.com, no bert@example.org.", "no X, no X."),
            ("mailto:anna@example.com", "X"),
            ("user unknown", "user unknown"),
            ("@", "X"),
            ("", ""),
        ];
        for (text, expected) in rows {
            assert_eq!(words(text, |_| "X".to_owned()), expected);
        }
    }

    #[test]
    fn hashed_follows_an_address_but_not_past_a_start() {
        let hash = |seed, bytes: &[u8]| show(Addresses::Hashed, &[seed; 32], bytes);
        assert_eq!(hash(1, b"anna@example.com"), hash(1, b"Anna@Example.com"), "case is not another person");
        assert_ne!(hash(1, b"anna@example.com"), hash(1, b"bert@example.com"));
        assert_ne!(hash(1, b"anna@example.com"), hash(2, b"anna@example.com"), "another start, another hash");
        assert_eq!(hash(1, b"anna@example.com").len(), 2 * SHOWN_BYTES);
    }
}

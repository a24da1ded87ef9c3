//! Names and passwords as they are compared: what looks the same on two keyboards is the same (SASLprep, RFC 4013).
//!
//! **Invariant:** preparing twice changes nothing more, and ASCII stays as it is.

use std::borrow::Cow;

/// The text as it is compared: spaces of any kind are a space, invisible characters are nothing, and letters are composed
/// (NFKC). Text that RFC 4013 forbids (control characters, mixed directions, characters younger than Unicode 3.2, such as emoji)
/// stays as typed: refusing it would lock out who could choose it.
pub fn prepared(text: &str) -> Cow<'_, str> {
    match stringprep::saslprep(text) {
        Ok(prepared) if !prepared.is_empty() => prepared,
        _ => Cow::Borrowed(text),
    }
}

/// The same of octets; those that are no UTF-8 stay as they are.
pub fn prepared_octets(octets: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(octets).map(prepared) {
        Ok(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
        _ => Cow::Borrowed(octets),
    }
}

/// A login as it is compared: prepared, and in one case, for a mail address is a common login, and phones begin every word with
/// a capital. Letter by letter, for a word's last sigma is the same letter as the others.
pub fn folded(login: &str) -> String {
    prepared(login).chars().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_and_what_is_compared() {
        let rows = [
            // The examples of RFC 4013 §3: a soft hyphen is nothing, case stays, letters are composed.
            ("I\u{ad}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            // Two keyboards: composed and decomposed, full width, a no-break space of macOS.
            ("p\u{e4}ss", "p\u{e4}ss"),
            ("pa\u{308}ss", "p\u{e4}ss"),
            ("\u{ff41}\u{ff42}\u{ff43}", "abc"),
            ("correct\u{a0}horse", "correct horse"),
            // Forbidden there, kept here: a control character, mixed directions, what is younger than Unicode 3.2.
            ("a\u{7}b", "a\u{7}b"),
            ("\u{627}1", "\u{627}1"),
            ("\u{1f40e} horse", "\u{1f40e} horse"),
            // Nothing but what is mapped to nothing is not nothing.
            ("\u{ad}", "\u{ad}"),
            ("", ""),
        ];
        for (typed, compared) in rows {
            assert_eq!(prepared(typed), compared, "{typed:?}");
            assert_eq!(prepared(compared), compared, "twice: {typed:?}");
            assert_eq!(prepared_octets(typed.as_bytes()), compared.as_bytes(), "{typed:?}");
        }
        assert_eq!(prepared_octets(b"\xff\xfe"), b"\xff\xfe".as_slice());
    }

    #[test]
    fn a_login_is_the_same_in_any_case() {
        for (typed, login, expected) in [
            ("OLGA@acme.example", "olga@acme.example", true),
            ("olga@acme.example", "Olga@Acme.example", true),
            ("\u{ff2f}lga", "olga", true),
            ("\u{dc}NAL", "u\u{308}nal", true),
            ("olga", "olga2", false),
            ("", "olga", false),
        ] {
            assert_eq!(folded(typed) == folded(login), expected, "{typed:?} {login:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn twice_is_once(text in "\\PC{0,24}") {
            let once = prepared(&text).into_owned();
            proptest::prop_assert_eq!(prepared(&once), once.as_str());
        }
    }
}

//! Passwords that waxseal makes up for people: easy to read out, hard to guess.

use std::fmt;

/// Of the digits and letters that look alike (`0 o`, `1 l i`) only `i`.
const ALPHABET: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
/// Groups of four: 24 characters of 5 bits are 120 bits.
const GROUPS: usize = 6;

/// A generated password. Shown once, by [`OneTimePassword::reveal`]; `Debug` keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTimePassword(String);

impl OneTimePassword {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn random() -> Result<OneTimePassword, getrandom::Error> {
        let mut bytes = [0_u8; GROUPS * 4];
        getrandom::fill(&mut bytes)?;
        let letters: Vec<char> =
            bytes.iter().filter_map(|b| ALPHABET.get(usize::from(b % 32))).map(|b| char::from(*b)).collect();
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        Ok(OneTimePassword(groups.join("-")))
    }

    /// The password, for the one place that shows or hashes it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OneTimePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimePassword(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_and_never_the_same() {
        let (a, b) = (OneTimePassword::random().unwrap(), OneTimePassword::random().unwrap());
        assert_ne!(a, b);
        let groups: Vec<&str> = a.reveal().split('-').collect();
        assert_eq!(groups.len(), GROUPS);
        assert!(
            groups.iter().all(|group| group.len() == 4 && group.bytes().all(|b| ALPHABET.contains(&b))),
            "{groups:?}"
        );
        assert_eq!(format!("{a:?}"), "OneTimePassword(…)");
    }
}

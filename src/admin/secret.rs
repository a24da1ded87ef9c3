//! Passwords that waxseal makes up for people: easy to read out, hard to guess.

use std::fmt;

use crate::store::credentials::groups;

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
        groups(GROUPS).map(OneTimePassword)
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
            groups
                .iter()
                .all(|group| group.len() == 4 && group.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())),
            "{groups:?}"
        );
        assert_eq!(format!("{a:?}"), "OneTimePassword(…)");
    }
}

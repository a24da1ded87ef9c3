//! How many tokens that do not open one source may show within a minute before it is told to wait. Tokens that open are never
//! looked at here: an office whose mail scanner garbles links goes on reading its mail.
//!
//! **Invariant:** bounded: when there are too many sources, the minute begins anew for all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::caller::subscriber;

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(60);
/// Sources counted at one time: some 500 KB.
const SOURCES_MAX: usize = 10_000;

/// Counts of the present minute.
#[derive(Debug)]
pub(super) struct BadTokens {
    per_minute_max: u32,
    began: Instant,
    counts: HashMap<IpAddr, u32>,
}

impl BadTokens {
    /// With nothing counted.
    pub(super) fn new(per_minute_max: u32, now: Instant) -> BadTokens {
        BadTokens { per_minute_max, began: now, counts: HashMap::new() }
    }

    /// Counts one.
    ///
    /// # Errors
    /// It is one too many: how long until the window ends.
    pub(super) fn count(&mut self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let source = subscriber(client);
        let passed = now.saturating_duration_since(self.began);
        let is_full = self.counts.len() >= SOURCES_MAX && !self.counts.contains_key(&source);
        if passed >= WINDOW || is_full {
            self.counts.clear();
            self.began = now;
        }
        let count = self.counts.entry(source).or_insert(0);
        if *count >= self.per_minute_max {
            return Err(WINDOW.saturating_sub(passed));
        }
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_source_has_its_minute() {
        let begun = Instant::now();
        let at = |secs| begun + Duration::from_secs(secs);
        let mut tokens = BadTokens::new(2, begun);
        let mut count = |client: &str, now| tokens.count(ip(client), now);
        assert_eq!(count("192.0.2.1", at(0)), Ok(()));
        assert_eq!(count("::ffff:192.0.2.1", at(1)), Ok(()));
        assert_eq!(count("192.0.2.1", at(20)), Err(Duration::from_secs(40)));
        // another source; a /64 is one
        assert_eq!(count("192.0.2.2", at(20)), Ok(()));
        assert_eq!(count("2001:db8::1", at(20)), Ok(()));
        assert_eq!(count("2001:db8::2", at(20)), Ok(()));
        assert_eq!(count("2001:db8::3", at(20)), Err(Duration::from_secs(40)));
        assert_eq!(count("2001:db8:0:1::3", at(20)), Ok(()));
        // the minute is over
        assert_eq!(count("192.0.2.1", at(60)), Ok(()));
    }

    #[test]
    fn sources_are_bounded() {
        let now = Instant::now();
        let mut tokens = BadTokens::new(1, now);
        for n in 0..u32::try_from(SOURCES_MAX).unwrap() * 3 {
            assert!(tokens.count(IpAddr::V4(n.into()), now).is_ok());
            assert!(tokens.counts.len() <= SOURCES_MAX);
        }
    }
}

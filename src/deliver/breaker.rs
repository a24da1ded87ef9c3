//! Whether upstream is known to be down, so that no client waits for what will not happen. Pure: time is an argument.
//!
//! Closed: all may try. After [`FAILURES_MAX`] failures in a row it opens for a while that doubles up to
//! [`OPEN_MAX_MS`]; then one attempt may try, and its outcome closes it or opens it again.

/// Failures in a row that open it: one may be a stale connection, three are a server that is gone.
pub const FAILURES_MAX: u32 = 3;
/// The first time it stays open.
pub const OPEN_FIRST_MS: i64 = 5_000;
/// The longest it stays open: a server that is back is noticed within this.
pub const OPEN_MAX_MS: i64 = 60_000;

/// The state of one upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaker {
    failures: u32,
    /// Until when nobody tries; 0 when closed.
    open_until_ms: i64,
    open_for_ms: i64,
}

impl Breaker {
    /// Whether upstream is taken to be down at `now_ms`.
    pub fn is_open(&self, now_ms: i64) -> bool {
        now_ms < self.open_until_ms
    }

    /// How long upstream is still left alone.
    pub fn open_for_ms(&self, now_ms: i64) -> i64 {
        self.open_until_ms.saturating_sub(now_ms).max(0)
    }

    /// Whether an attempt may be made now. Half open, the one who is told yes is the probe: the others are kept off
    /// until it has answered or the time has passed again.
    #[must_use]
    pub fn admit(&mut self, now_ms: i64) -> bool {
        if self.is_open(now_ms) {
            return false;
        }
        if self.open_until_ms > 0 {
            self.open_until_ms = now_ms.saturating_add(self.open_for_ms);
        }
        true
    }

    /// Lets the next attempt be the probe now.
    pub fn hurry(&mut self, now_ms: i64) {
        self.open_until_ms = self.open_until_ms.min(now_ms);
    }

    /// Upstream answered our MAIL, whatever it said.
    pub fn answered(&mut self) {
        *self = Breaker::default();
    }

    /// No connection, no banner, no EHLO, no TLS, no login, or silence.
    pub fn failed(&mut self, now_ms: i64) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX {
            self.open_for_ms = (self.open_for_ms * 2).clamp(OPEN_FIRST_MS, OPEN_MAX_MS);
            self.open_until_ms = now_ms.saturating_add(self.open_for_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_open_it_and_one_probe_at_a_time_tries() {
        let mut breaker = Breaker::default();
        breaker.failed(0);
        breaker.failed(0);
        assert!(breaker.admit(0), "two failures are not enough");
        breaker.failed(0);
        assert!(breaker.is_open(4_999) && !breaker.admit(4_999));
        assert_eq!([0, 4_999, 5_001].map(|now_ms| breaker.open_for_ms(now_ms)), [5_000, 1, 0]);
        assert!(breaker.admit(5_000), "the probe");
        assert!(!breaker.admit(5_001), "a second one waits for the probe");
        breaker.failed(5_100);
        assert!(breaker.is_open(15_099) && !breaker.is_open(15_100), "twice as long");
        breaker.hurry(5_200);
        assert!(breaker.admit(5_200) && !breaker.admit(5_200), "one, at an operator's word");
        breaker.answered();
        assert!(breaker.admit(15_100) && breaker.admit(15_100));
    }

    #[test]
    fn it_never_stays_open_longer_than_its_limit() {
        let mut breaker = Breaker::default();
        for n in 0..50 {
            breaker.failed(n);
        }
        assert!(!breaker.is_open(49 + OPEN_MAX_MS));
    }
}

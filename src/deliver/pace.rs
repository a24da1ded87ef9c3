//! `messages_per_minute`: a steady pace with no burst beyond a minute's worth. Pure: time is an argument.

/// The schedule of one upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Milliseconds each message uses up; 0 when there is no limit.
    step_ms: i64,
    /// When the schedule is empty again.
    busy_until_ms: i64,
}

/// A minute's worth may go at once: providers count by the minute.
const BURST_MS: i64 = 60_000;

impl Pace {
    /// At most `messages_per_minute`, or no limit.
    pub fn new(messages_per_minute: Option<u32>) -> Pace {
        let step_ms = messages_per_minute.map_or(0, |n| 60_000 / i64::from(n.max(1)));
        Pace { step_ms, busy_until_ms: 0 }
    }

    /// How long the last of `messages` would have to wait.
    pub fn wait_ms(&self, messages: usize, now_ms: i64) -> i64 {
        if self.step_ms == 0 {
            return 0;
        }
        let used = self.busy_until_ms.max(now_ms) - now_ms;
        let wanted = self.step_ms.saturating_mul(i64::try_from(messages).unwrap_or(i64::MAX));
        used.saturating_add(wanted).saturating_sub(BURST_MS).max(0)
    }

    /// Books one message and tells how long it must wait first.
    pub fn book(&mut self, now_ms: i64) -> i64 {
        let wait = self.wait_ms(1, now_ms);
        self.busy_until_ms = self.busy_until_ms.max(now_ms).saturating_add(self.step_ms);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_goes_at_once_and_then_one_a_step() {
        let mut pace = Pace::new(Some(30));
        let waits: Vec<i64> = (0..33).map(|_| pace.book(1_000)).collect();
        assert!(waits[..30].iter().all(|w| *w == 0), "{waits:?}");
        assert_eq!(waits[30..], [2_000, 4_000, 6_000]);
        assert_eq!(pace.wait_ms(1, 1_000 + 120_000), 0);
    }

    #[test]
    fn no_limit_never_waits() {
        let mut pace = Pace::new(None);
        assert!((0..10_000).all(|_| pace.book(0) == 0));
    }
}

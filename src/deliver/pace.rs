//! `messages_per_minute`: when the next message may go. Pure: time is an argument.
//!
//! **Invariant:** no minute, wherever it begins, holds more turns than were allowed; a turn that nobody takes is not booked.

use std::collections::VecDeque;

/// The turns of one upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// Turns in any minute; 0 when there is no limit.
    per_minute: usize,
    /// The last turns booked, the earliest first; at most `per_minute` of them.
    turns: VecDeque<i64>,
}

const MINUTE_MS: i64 = 60_000;

impl Pace {
    /// At most `messages_per_minute`, or no limit.
    pub fn new(messages_per_minute: Option<u32>) -> Pace {
        let per_minute = messages_per_minute.map_or(0, |n| usize::try_from(n.max(1)).unwrap_or(usize::MAX));
        Pace { per_minute, turns: VecDeque::new() }
    }

    /// How long the last of `messages` (from 1) would have to wait.
    pub fn wait_ms(&self, messages: usize, now_ms: i64) -> i64 {
        // Its place in line, counted from the earliest turn we know; each place waits a minute after the one `per_minute`
        // before it.
        let place = self.turns.len().saturating_add(messages).saturating_sub(1);
        let (Some(rounds), Some(column)) = (place.checked_div(self.per_minute), place.checked_rem(self.per_minute))
        else {
            return 0;
        };
        let rounds = i64::try_from(rounds).unwrap_or(i64::MAX);
        let (first, rounds) = match self.turns.get(column) {
            Some(turn) => (turn.saturating_add(MINUTE_MS).max(now_ms), rounds.saturating_sub(1)),
            None => (now_ms, rounds),
        };
        first.saturating_add(rounds.saturating_mul(MINUTE_MS)).saturating_sub(now_ms)
    }

    /// Books the next turn and tells how long to wait for it; `None`, and nothing booked, when that is `within_ms` or more.
    pub fn book(&mut self, now_ms: i64, within_ms: i64) -> Option<i64> {
        let wait_ms = self.wait_ms(1, now_ms);
        if wait_ms > 0 && wait_ms >= within_ms {
            return None;
        }
        if self.per_minute > 0 {
            if self.turns.len() >= self.per_minute {
                self.turns.pop_front();
            }
            self.turns.push_back(now_ms.saturating_add(wait_ms));
        }
        Some(wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_minutes_worth_goes_at_once_and_the_rest_a_minute_later() {
        let mut pace = Pace::new(Some(3));
        assert_eq!([3, 4, 6, 7].map(|n| pace.wait_ms(n, 1_000)), [0, 60_000, 60_000, 120_000]);
        let mut book = |now_ms| pace.book(now_ms, i64::MAX);
        assert_eq!([book(1_000), book(1_500), book(2_000)], [Some(0); 3]);
        // The fourth a minute after the first, the fifth a minute after the second.
        assert_eq!([book(2_000), book(2_000)], [Some(59_000), Some(59_500)]);
        assert_eq!(pace.wait_ms(1, 62_000), 0);
        assert_eq!(pace.wait_ms(2, 62_000), 59_000);
    }

    /// Whoever cannot wait so long takes nobody's turn.
    #[test]
    fn a_turn_out_of_reach_is_not_booked() {
        let mut pace = Pace::new(Some(1));
        assert_eq!(pace.book(0, 0), Some(0));
        for _ in 0..100 {
            assert_eq!(pace.book(0, 60_000), None);
        }
        assert_eq!(pace.book(0, 60_001), Some(60_000));
    }

    #[test]
    fn no_limit_never_waits() {
        let mut pace = Pace::new(None);
        assert!((0..10_000).all(|_| pace.book(0, 0) == Some(0)));
        assert_eq!(pace.wait_ms(usize::MAX, 0), 0);
        assert_eq!(pace, Pace::new(None), "nothing is remembered");
    }

    proptest! {
        #[test]
        fn no_minute_holds_too_many_and_the_forecast_is_right(
            per_minute in 1u32..6, steps in proptest::collection::vec(0i64..40_000, 1..60), ahead in 1usize..20,
        ) {
            let (mut pace, mut now_ms, mut turns) = (Pace::new(Some(per_minute)), 0, Vec::new());
            for step in steps {
                now_ms += step;
                let forecast = pace.wait_ms(ahead, now_ms);
                let mut trial = pace.clone();
                let last = (0..ahead).map(|_| trial.book(now_ms, i64::MAX)).last().flatten();
                prop_assert_eq!(last, Some(forecast));
                turns.push(now_ms + pace.book(now_ms, i64::MAX).unwrap());
            }
            for window in turns.windows(per_minute as usize + 1) {
                prop_assert!(window[window.len() - 1] - window[0] >= MINUTE_MS, "{:?}", turns);
            }
        }
    }
}

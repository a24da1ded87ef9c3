//! Whether to try upstream while the client waits, or to go straight to the spool. Pure (DESIGN 6, "Predict").

use std::fmt;

/// From where on trying while the client waits is not worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// More copies than this go to the spool: each is a transaction of its own (default 10).
    pub copies_max: usize,
    /// Copies × size above this go to the spool (default 50 MB).
    pub bytes_max: u64,
    /// How long the client may be made to wait (default 20 s); an estimate over half of it goes to the spool.
    pub budget_ms: i64,
    /// Attempts with a waiting client at one time (default 64).
    pub in_flight_max: usize,
}

/// What is known before the first attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How many different copies there are to send.
    pub copies: usize,
    /// Octets of one.
    pub size_bytes: u64,
    /// How long `messages_per_minute` makes the last copy wait.
    pub pace_wait_ms: i64,
    /// How long one copy took of late.
    pub recent_copy_ms: i64,
    /// Upstream is known to be down.
    pub breaker_open: bool,
    /// Attempts with a waiting client running now.
    pub in_flight: usize,
}

/// Why a mail goes straight to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Straight {
    /// Upstream is known to be down.
    UpstreamDown,
    /// Too many copies.
    Copies,
    /// Too many octets.
    Bytes,
    /// It would take more than half the budget.
    Slow,
    /// Enough clients wait already.
    Busy,
}

/// `None`: try now.
pub fn straight_to_spool(facts: &Facts, rules: &Rules) -> Option<Straight> {
    let copies = i64::try_from(facts.copies).unwrap_or(i64::MAX);
    let estimate_ms = facts.pace_wait_ms.saturating_add(facts.recent_copy_ms.saturating_mul(copies));
    if facts.breaker_open {
        Some(Straight::UpstreamDown)
    } else if facts.copies > rules.copies_max {
        Some(Straight::Copies)
    } else if facts.size_bytes.saturating_mul(facts.copies as u64) > rules.bytes_max {
        Some(Straight::Bytes)
    } else if estimate_ms > rules.budget_ms / 2 {
        Some(Straight::Slow)
    } else if facts.in_flight >= rules.in_flight_max {
        Some(Straight::Busy)
    } else {
        None
    }
}

impl fmt::Display for Straight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Straight::UpstreamDown => "upstream is down",
            Straight::Copies => "many copies",
            Straight::Bytes => "large copies",
            Straight::Slow => "upstream is slow or paced",
            Straight::Busy => "many clients wait",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { copies_max: 10, bytes_max: 50_000_000, budget_ms: 20_000, in_flight_max: 64 };
    const EASY: Facts =
        Facts { copies: 1, size_bytes: 20_000, pace_wait_ms: 0, recent_copy_ms: 5, breaker_open: false, in_flight: 0 };

    /// Each rule at its limit and one past it.
    #[test]
    fn each_rule_at_its_limit() {
        let rows = [
            (EASY, None),
            (Facts { copies: 10, ..EASY }, None),
            (Facts { copies: 11, ..EASY }, Some(Straight::Copies)),
            (Facts { copies: 2, size_bytes: 25_000_000, ..EASY }, None),
            (Facts { copies: 2, size_bytes: 25_000_001, ..EASY }, Some(Straight::Bytes)),
            (Facts { pace_wait_ms: 9_995, ..EASY }, None),
            (Facts { pace_wait_ms: 9_996, ..EASY }, Some(Straight::Slow)),
            (Facts { recent_copy_ms: 3_000, copies: 4, ..EASY }, Some(Straight::Slow)),
            (Facts { in_flight: 63, ..EASY }, None),
            (Facts { in_flight: 64, ..EASY }, Some(Straight::Busy)),
            (Facts { breaker_open: true, ..EASY }, Some(Straight::UpstreamDown)),
        ];
        for (facts, expected) in rows {
            assert_eq!(straight_to_spool(&facts, &RULES), expected, "{facts:?}");
        }
    }
}

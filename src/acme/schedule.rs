//! When to order: pure, with the time as an argument.

use super::Patience;

/// A CA that says "too many" is left alone for at least this long.
const LIMIT_WAIT_SECS: i64 = 3 * 3600;

/// Unix seconds of the renewal: two thirds into its life, earlier by up to a twentieth, drawn.
pub(super) fn renew_at(not_before_secs: i64, not_after_secs: i64, spread: u16) -> i64 {
    let life = not_after_secs.saturating_sub(not_before_secs).max(0);
    not_before_secs.saturating_add(life / 3 * 2).saturating_sub(share(life / 20, spread))
}

/// Seconds until the next try after so many failures in a row: doubled each time, longer by up to a quarter, drawn.
pub(super) fn wait(failures: u32, is_limit: bool, patience: Patience, spread: u16) -> i64 {
    let doubled = patience.first_secs.saturating_mul(1i64.checked_shl(failures.saturating_sub(1).min(32)).unwrap_or(1));
    let wait = doubled.min(patience.last_secs);
    let wait = if is_limit { wait.max(LIMIT_WAIT_SECS) } else { wait };
    wait.saturating_add(share(wait / 4, spread))
}

fn share(of: i64, spread: u16) -> i64 {
    of.saturating_mul(i64::from(spread)) / i64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds() {
        assert_eq!(renew_at(0, 90 * DAY, 0), 60 * DAY);
        assert_eq!(renew_at(0, 90 * DAY, u16::MAX), 60 * DAY - 90 * DAY / 20);
        assert_eq!(renew_at(1000, 1000 + 6 * DAY, 0), 1000 + 4 * DAY, "the short-lived ones, too");
        assert_eq!(renew_at(50, 10, u16::MAX), 50, "one that never held");
    }

    /// Five failed validations of a name in an hour are what Let's Encrypt takes.
    #[test]
    fn failures_wait_longer_each_time() {
        let patience = Patience::default();
        let waits: Vec<i64> = (1..=9).map(|failures| wait(failures, false, patience, 0)).collect();
        assert_eq!(waits, [600, 1200, 2400, 4800, 9600, 19_200, 38_400, 43_200, 43_200]);
        assert_eq!(wait(1, false, patience, u16::MAX), 750);
        assert_eq!(wait(1, true, patience, 0), LIMIT_WAIT_SECS);
        assert_eq!(wait(9, true, patience, 0), 43_200);
        assert_eq!(wait(u32::MAX, false, patience, 0), 43_200);
        assert_eq!(wait(0, false, patience, 0), 600);
    }
}

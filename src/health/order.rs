//! The certificate that is ordered from a CA (`[acme]`): how its order stands. Pure.

use super::report::{Area, Check};
use crate::certificate::{EXPIRY_WARNING_DAYS, date};

const ORDER: &str = "listeners.order";
const MEND: &str =
    "mend what the CA says (docs/DEPLOY.md, \"A certificate that renews itself\"), then systemctl reload waxseal";
const DAY_SECS: i64 = 86_400;

/// How an order stands. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order {
    /// From whom.
    pub directory: String,
    /// For which names.
    pub domains: Vec<String>,
    /// Until when the CA's certificate holds; `None` before the first.
    pub not_after_secs: Option<i64>,
    /// When it is ordered next.
    pub next_try_secs: i64,
    /// Orders that failed since the last that did not.
    pub failures: u32,
    /// What the last one failed with, word for word.
    pub last_error: String,
    /// When that was.
    pub last_error_secs: i64,
}

/// Days left, what comes next, and the exact error of an order that failed. `None`: nothing was ever ordered.
pub fn judge(order: Option<&Order>, now_secs: i64) -> Check {
    let Some(order) = order else {
        let seen = "no certificate was ordered yet";
        return Check::unknown(Area::Listeners, ORDER, seen, "start the server: it orders at once");
    };
    let days = order.not_after_secs.map(|until| (until - now_secs).div_euclid(DAY_SECS));
    let next = date(order.next_try_secs);
    let held = match days {
        None => "there is none yet".to_owned(),
        Some(days) if days < 0 => format!("it ended {} days ago", -days),
        Some(days) => format!("{days} days left"),
    };
    let names = order.domains.join(", ");
    let subject = format!("certificate for {names} from {}: {held}", order.directory);
    if order.failures == 0 {
        return match days {
            Some(days) if days >= 0 => Check::ok(Area::Listeners, ORDER, format!("{subject}, ordered again on {next}")),
            Some(_) => Check::fail(
                Area::Listeners,
                ORDER,
                subject,
                "systemctl reload waxseal orders at once; then look at the log",
            ),
            None => Check::unknown(
                Area::Listeners,
                ORDER,
                format!("{subject}, the first order is due on {next}"),
                "look again in a minute",
            ),
        };
    }
    let seen = format!(
        "{subject}; {} orders failed, the last on {}: {}; the next is due on {next}",
        order.failures,
        date(order.last_error_secs),
        order.last_error
    );
    match days {
        Some(days) if days >= EXPIRY_WARNING_DAYS => Check::warn(Area::Listeners, ORDER, seen, MEND),
        _ => Check::fail(Area::Listeners, ORDER, seen, MEND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::State;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn what_is_said_of_each_standing() {
        let good = Order {
            directory: "Let's Encrypt".to_owned(),
            domains: vec!["a.test".to_owned(), "b.test".to_owned()],
            not_after_secs: Some(NOW + 60 * DAY_SECS),
            next_try_secs: NOW + 30 * DAY_SECS,
            ..Order::default()
        };
        let failing = Order {
            failures: 3,
            last_error: "urn:ietf:params:acme:error:dns: no A record".to_owned(),
            last_error_secs: NOW - 60,
            ..good.clone()
        };
        let until = |days: i64, order: &Order| Order { not_after_secs: Some(NOW + days * DAY_SECS), ..order.clone() };
        let none = |order: &Order| Order { not_after_secs: None, ..order.clone() };
        let rows = [
            (None, State::Unknown, "no certificate was ordered yet"),
            (
                Some(good.clone()),
                State::Ok,
                "certificate for a.test, b.test from Let's Encrypt: 60 days left, ordered again on 2027-",
            ),
            (Some(none(&good)), State::Unknown, "there is none yet, the first order is due on"),
            (Some(until(-2, &good)), State::Fail, "it ended 2 days ago"),
            (Some(failing.clone()), State::Warn, "60 days left; 3 orders failed, the last on 2027-"),
            (
                Some(failing.clone()),
                State::Warn,
                ": urn:ietf:params:acme:error:dns: no A record; the next is due on 2027-",
            ),
            (Some(until(EXPIRY_WARNING_DAYS - 1, &failing)), State::Fail, "3 orders failed"),
            (Some(until(-1, &failing)), State::Fail, "it ended 1 days ago; 3 orders failed"),
            (Some(none(&failing)), State::Fail, "there is none yet; 3 orders failed"),
        ];
        for (order, state, words) in rows {
            let check = judge(order.as_ref(), NOW);
            assert_eq!((check.state, check.name), (state, "listeners.order"), "{}", check.seen);
            assert!(check.seen.contains(words), "{words} is not in: {}", check.seen);
            assert_eq!(check.fix.is_empty(), state == State::Ok, "{}", check.fix);
        }
    }
}

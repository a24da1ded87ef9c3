//! How much one login may send within an hour and a day: a stolen password must not become a spammer's, nor a broken script
//! use up what the provider allows everybody.
//!
//! Counted when a mail is taken, given back when it is refused. Mail from trusted networks is the operator's own and is not
//! counted. The counts live in memory: a restart begins anew.
//!
//! **Invariant:** one entry a login that exists; a window that is over counts nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::smtp::Reply;

/// Most of each; zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    /// Mails within an hour.
    pub messages_per_hour: u64,
    /// Mails within a day.
    pub messages_per_day: u64,
    /// Recipients within an hour.
    pub recipients_per_hour: u64,
    /// Recipients within a day.
    pub recipients_per_day: u64,
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What every login has sent.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    logins: HashMap<String, Spent>,
}

#[derive(Debug, Clone, Copy)]
struct Spent {
    hour: Window,
    day: Window,
}

/// What was sent since it began.
#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    messages: u64,
    recipients: u64,
}

impl Ledger {
    /// May this login send one mail more, to so many? Does not count.
    ///
    /// # Errors
    /// The reply for the client: which limit, and when there is room again.
    pub(super) fn may_send(&self, login: &str, recipients: u64, most: &Allowance, now: Instant) -> Result<(), Reply> {
        let Some(spent) = self.logins.get(login) else { return Spent::none(now).room_for(recipients, most, now) };
        spent.at(now).room_for(recipients, most, now)
    }

    /// Counts one mail.
    ///
    /// # Errors
    /// As [`Ledger::may_send`]; nothing is counted then.
    pub(super) fn book(&mut self, login: &str, recipients: u64, most: &Allowance, now: Instant) -> Result<(), Reply> {
        self.may_send(login, recipients, most, now)?;
        if !self.logins.contains_key(login) {
            self.logins.retain(|_, spent| now.saturating_duration_since(spent.day.began) < DAY);
        }
        let spent = self.logins.entry(login.to_owned()).or_insert_with(|| Spent::none(now));
        *spent = spent.at(now);
        for window in [&mut spent.hour, &mut spent.day] {
            window.messages = window.messages.saturating_add(1);
            window.recipients = window.recipients.saturating_add(recipients);
        }
        Ok(())
    }

    /// The mail that was booked was refused.
    pub(super) fn give_back(&mut self, login: &str, recipients: u64) {
        if let Some(spent) = self.logins.get_mut(login) {
            for window in [&mut spent.hour, &mut spent.day] {
                window.messages = window.messages.saturating_sub(1);
                window.recipients = window.recipients.saturating_sub(recipients);
            }
        }
    }
}

impl Spent {
    fn none(now: Instant) -> Spent {
        let window = Window { began: now, messages: 0, recipients: 0 };
        Spent { hour: window, day: window }
    }

    /// With windows that are over begun anew.
    fn at(self, now: Instant) -> Spent {
        let none = Spent::none(now);
        let over = |window: &Window, length| now.saturating_duration_since(window.began) >= length;
        Spent {
            hour: if over(&self.hour, HOUR) { none.hour } else { self.hour },
            day: if over(&self.day, DAY) { none.day } else { self.day },
        }
    }

    fn room_for(&self, recipients: u64, most: &Allowance, now: Instant) -> Result<(), Reply> {
        let of = |window: &Window, length: Duration, words, messages_max, recipients_max| {
            let left = length.saturating_sub(now.saturating_duration_since(window.began)).as_secs();
            let is_full = |used: u64, more: u64, max: u64| max > 0 && used.saturating_add(more) > max;
            if is_full(window.messages, 1, messages_max) {
                return Err(Reply::allowance_used(&format!("{messages_max} mails"), words, left));
            }
            if is_full(window.recipients, recipients, recipients_max) {
                return Err(Reply::allowance_used(&format!("to {recipients_max} recipients"), words, left));
            }
            Ok(())
        };
        of(&self.hour, HOUR, "an hour", most.messages_per_hour, most.recipients_per_hour)?;
        of(&self.day, DAY, "a day", most.messages_per_day, most.recipients_per_day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Allowance =
        Allowance { messages_per_hour: 2, messages_per_day: 3, recipients_per_hour: 10, recipients_per_day: 15 };

    fn told(outcome: Result<(), Reply>) -> String {
        outcome.err().map_or_else(|| "ok".to_owned(), |reply| format!("{} {}", reply.code, reply.lines.concat()))
    }

    #[test]
    fn each_limit_is_met_told_and_passes() {
        let (mut ledger, begun) = (Ledger::default(), Instant::now());
        let minutes = |n: u64| begun + Duration::from_secs(n * 60);
        // at minute, recipients, what is said
        let rows = [
            (0, 1, "ok"),
            (1, 11, "450 You may send to 10 recipients within an hour; try again in 59 min"),
            (1, 9, "ok"),
            (20, 1, "450 You may send 2 mails within an hour; try again in 40 min"),
            // another hour of the same day
            (60, 6, "450 You may send to 15 recipients within a day; try again in 1380 min"),
            (60, 5, "ok"),
            (121, 1, "450 You may send 3 mails within a day; try again in 1319 min"),
            (24 * 60, 10, "ok"),
        ];
        for (minute, recipients, expected) in rows {
            let may = told(ledger.may_send("ana", recipients, &MOST, minutes(minute)));
            assert_eq!(may, expected, "at minute {minute}");
            assert_eq!(told(ledger.book("ana", recipients, &MOST, minutes(minute))), may);
        }
    }

    #[test]
    fn what_is_refused_does_not_count_and_zero_is_no_limit() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        for _ in 0..20 {
            ledger.book("ana", 10, &MOST, now).unwrap();
            ledger.give_back("ana", 10);
            ledger.book("ben", 1_000_000, &Allowance::default(), now).unwrap();
        }
        assert!(ledger.may_send("ben", 1, &MOST, now).is_err(), "what was sent counts when a limit comes");
    }

    #[test]
    fn logins_of_yesterday_are_forgotten() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        (0..100).for_each(|n| ledger.book(&n.to_string(), 1, &MOST, now).unwrap());
        ledger.book("today", 1, &MOST, now + DAY).unwrap();
        assert_eq!(ledger.logins.len(), 1);
    }
}

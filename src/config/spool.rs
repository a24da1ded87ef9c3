//! `[spool]`: how long a client waits for upstream, and what becomes of mail that upstream cannot take now.
//!
//! **Invariant:** the client's wait ends before the moment by which the record must be on disk, and the waits between two
//! attempts never shrink.

use std::time::Duration;

use super::file::File;
use super::limits::{Value, WAIT_SECS_MAX, limit, retry_waits};
use super::problem::Wrong;
use super::values;
use crate::policy::plan;
use crate::smtp::ReversePath;

/// `[spool]`. Nothing of it changes while the program runs: the queue and the relay are made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// How long a client waits for upstream, from its final dot: Outlook gives up at 60 s, swaks at 30.
    pub budget: Duration,
    /// From the final dot until the record must be on disk; after it the client is told to send again. More than `budget`.
    pub record_by: Duration,
    /// More different copies than this are not tried while the client waits; 0: the spool first, for every mail.
    pub copies_max: usize,
    /// Octets of all copies of a mail above which they are not tried while the client waits.
    pub copies_bytes_max: u64,
    /// Attempts with a waiting client at one time; what comes on top goes to the spool first.
    pub in_flight_max: usize,
    /// After the first failed attempt, the second, and so on; the last repeats. 1 to 20 of them, none below the one before.
    pub retry: Vec<Duration>,
    /// How long a copy is tried: RFC 5321 §4.5.4.1 asks for 4 to 5 days.
    pub life: Duration,
    /// The least wait after a connection lost behind the dot: nobody knows whether the mail arrived.
    pub unknown_wait: Duration,
    /// From acceptance until the sender is told that the mail is late: who hears nothing believes that it arrived.
    pub delay_notice: Duration,
    /// Who reports come from; `<>` unless the provider refuses that.
    pub bounce_sender: ReversePath,
    /// Waiting mails worked on at one time.
    pub workers_max: usize,
    /// Recipients of one mail above which they share copies: each copy of one's own is a transaction of its own.
    pub split_recipients_max: usize,
    /// Copies of one mail sent at one time after the first; more would take connections from other mails.
    pub parallel_max: usize,
}

/// Long enough for a slow upstream, short enough for every client we know of.
const BUDGET_SECS: u64 = 20;
/// Outlook gives up at 60 s.
const RECORD_BY_SECS: u64 = 45;
/// Ten transactions of a second each are half the budget.
const COPIES_MAX: u64 = 10;
/// Half the budget at 40 Mbit/s.
const COPIES_BYTES_MAX: u64 = 50_000_000;
/// A waiting client holds its mail in memory.
const IN_FLIGHT_MAX: u64 = 64;
/// Greylisting lifts within 5 to 15 minutes; an hour's pace finds a server that is back without pestering one that is not.
const RETRY_SECS: [u64; 5] = [60, 300, 900, 1_800, 3_600];
/// Five days.
const LIFE_SECS: u64 = 432_000;
/// Leaves time for a person to see it arrive.
const UNKNOWN_WAIT_SECS: u64 = 600;
/// Four hours.
const DELAY_NOTICE_SECS: u64 = 14_400;
/// Half of the usual connections to upstream: the other half is for clients that wait.
const WORKERS_MAX: u64 = 4;
/// Above this a mail is a circular, and who of them opened it matters less than that it arrives soon.
const SPLIT_RECIPIENTS_MAX: u64 = plan::SPLIT_RECIPIENTS_MAX as u64;
/// A mail takes four connections at most.
const PARALLEL_MAX: u64 = 3;

/// The longest life of a waiting copy: thirty days.
const LIFE_SECS_MAX: u64 = 2_592_000;

impl Default for SpoolConfig {
    fn default() -> SpoolConfig {
        SpoolConfig {
            budget: Value::of(BUDGET_SECS),
            record_by: Value::of(RECORD_BY_SECS),
            copies_max: Value::of(COPIES_MAX),
            copies_bytes_max: COPIES_BYTES_MAX,
            in_flight_max: Value::of(IN_FLIGHT_MAX),
            retry: RETRY_SECS.map(Value::of).to_vec(),
            life: Value::of(LIFE_SECS),
            unknown_wait: Value::of(UNKNOWN_WAIT_SECS),
            delay_notice: Value::of(DELAY_NOTICE_SECS),
            bounce_sender: ReversePath::Null,
            workers_max: Value::of(WORKERS_MAX),
            split_recipients_max: Value::of(SPLIT_RECIPIENTS_MAX),
            parallel_max: Value::of(PARALLEL_MAX),
        }
    }
}

impl SpoolConfig {
    pub(super) fn read(file: &File<'_>) -> SpoolConfig {
        let section = file.section("spool");
        let spool = SpoolConfig {
            budget: limit(&section, "budget_secs", BUDGET_SECS, 1..=55),
            record_by: limit(&section, "record_by_secs", RECORD_BY_SECS, 2..=600),
            copies_max: limit(&section, "copies_max", COPIES_MAX, 0..=10_000),
            copies_bytes_max: limit(&section, "copies_bytes_max", COPIES_BYTES_MAX, 1..=1_099_511_627_776),
            in_flight_max: limit(&section, "in_flight_max", IN_FLIGHT_MAX, 1..=100_000),
            retry: retry_waits(&section, &RETRY_SECS),
            life: limit(&section, "life_secs", LIFE_SECS, 1..=LIFE_SECS_MAX),
            unknown_wait: limit(&section, "unknown_wait_secs", UNKNOWN_WAIT_SECS, 0..=WAIT_SECS_MAX),
            delay_notice: limit(&section, "delay_notice_secs", DELAY_NOTICE_SECS, 1..=LIFE_SECS_MAX),
            bounce_sender: section
                .parsed("bounce_sender", "\"bounces@example.com\"", values::reverse_path)
                .unwrap_or(ReversePath::Null),
            workers_max: limit(&section, "workers_max", WORKERS_MAX, 1..=256),
            split_recipients_max: limit(&section, "split_recipients_max", SPLIT_RECIPIENTS_MAX, 1..=10_000),
            parallel_max: limit(&section, "parallel_max", PARALLEL_MAX, 1..=100),
        };
        if spool.record_by <= spool.budget {
            section.wrong("record_by_secs", Wrong::NotAfterBudget { budget_secs: spool.budget.as_secs() });
        }
        section.finish();
        spool
    }

    /// Every key and its value as written.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let retry: Vec<u64> = self.retry.iter().map(Duration::as_secs).collect();
        let bounce_sender = match &self.bounce_sender {
            ReversePath::Null => String::new(),
            ReversePath::Mailbox(mailbox) => mailbox.display(),
        };
        vec![
            ("budget_secs", self.budget.number().to_string()),
            ("record_by_secs", self.record_by.number().to_string()),
            ("copies_max", self.copies_max.to_string()),
            ("copies_bytes_max", self.copies_bytes_max.to_string()),
            ("in_flight_max", self.in_flight_max.to_string()),
            ("retry_secs", format!("{retry:?}")),
            ("life_secs", self.life.number().to_string()),
            ("unknown_wait_secs", self.unknown_wait.number().to_string()),
            ("delay_notice_secs", self.delay_notice.number().to_string()),
            ("bounce_sender", format!("\"{bounce_sender}\"")),
            ("workers_max", self.workers_max.to_string()),
            ("split_recipients_max", self.split_recipients_max.to_string()),
            ("parallel_max", self.parallel_max.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn spool(text: &str) -> SpoolConfig {
        let text = format!("[[listener]]\naddr = \"127.0.0.1:0\"\n[spool]\n{text}");
        Config::parse(&text, Path::new("/c")).unwrap().config.spool
    }

    #[test]
    fn nothing_written_is_the_default() {
        assert_eq!(spool(""), SpoolConfig::default());
        let retry: Vec<u64> = SpoolConfig::default().retry.iter().map(Duration::as_secs).collect();
        assert_eq!(retry, RETRY_SECS);
    }

    /// Each key reaches its own field: no two values are alike, and none is the default.
    #[test]
    fn every_key_reaches_its_field() {
        let found = spool(
            "budget_secs = 1\nrecord_by_secs = 2\ncopies_max = 0\ncopies_bytes_max = 3\nin_flight_max = 4\n\
             retry_secs = [1, 1, 5]\nlife_secs = 6\nunknown_wait_secs = 0\ndelay_notice_secs = 7\n\
             bounce_sender = \"b@x.example\"\nworkers_max = 8\nsplit_recipients_max = 9\nparallel_max = 10\n",
        );
        let secs = Duration::from_secs;
        let expected = SpoolConfig {
            budget: secs(1),
            record_by: secs(2),
            copies_max: 0,
            copies_bytes_max: 3,
            in_flight_max: 4,
            retry: vec![secs(1), secs(1), secs(5)],
            life: secs(6),
            unknown_wait: secs(0),
            delay_notice: secs(7),
            bounce_sender: ReversePath::parse(b"b@x.example", false).unwrap(),
            workers_max: 8,
            split_recipients_max: 9,
            parallel_max: 10,
        };
        assert_eq!(found, expected);
        assert_eq!(spool("bounce_sender = \"\"").bounce_sender, ReversePath::Null);
    }
}

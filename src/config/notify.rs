//! `[notify]` and `[webhooks]`: who is told of opens and clicks, and within what bounds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::File;
use super::limits::{Value, limit, retry_waits};
use super::{server, values};
use crate::smtp::ReversePath;

/// `[notify]`. Nothing of it changes while the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyConfig {
    /// Open pages that are told as it happens; each holds a connection.
    pub feed_streams_max: usize,
    /// Notices by mail to one login in an hour; then they wait and come as one.
    pub mails_per_hour_max: u32,
    /// Events named in one notice; the others are counted.
    pub mail_lines_max: u32,
    /// Who notices come from; `<>`: the person's own address.
    pub mail_from: ReversePath,
}

/// `[webhooks]`. Nothing of it changes while the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhooksConfig {
    /// They may be on this machine or in a private network.
    pub allow_private: bool,
    /// Roots to trust for https instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Webhooks of one organisation.
    pub per_org_max: usize,
    /// Events that may wait for one webhook; more are dropped, and counted.
    pub waiting_max: u32,
    /// Tried at one time, over all webhooks; of one organisation half as many.
    pub concurrency_max: usize,
    /// To resolve, connect and shake hands.
    pub connect_max: Duration,
    /// From then to the answer.
    pub answer_max: Duration,
    /// After the first failed try, the second, and so on; the last repeats. 1 to 20 of them, none below the one before.
    pub retry: Vec<Duration>,
    /// How long an event is tried; then it is listed as failed.
    pub life: Duration,
    /// How long ended deliveries are listed, and failed ones can be replayed.
    pub kept: Duration,
}

/// A team with the dashboard open all day.
const FEED_STREAMS_MAX: u64 = 64;
/// One in ten minutes: more is noise, and as one mail it says the same.
const MAILS_PER_HOUR_MAX: u64 = 6;
/// A screen or two.
const MAIL_LINES_MAX: u64 = 50;
/// An organisation's programs.
const PER_ORG_MAX: u64 = 20;
/// A day of a busy sender; 20 MB at most.
const WAITING_MAX: u64 = 10_000;
/// Four slow receivers with two tries each.
const CONCURRENCY_MAX: u64 = 8;
/// A far server's handshake, with room.
const CONNECT_SECS_MAX: u64 = 5;
/// What the specification of Standard Webhooks names.
const ANSWER_SECS_MAX: u64 = 15;
/// A restart of the receiver is over in seconds, an outage in hours.
const RETRY_SECS: [u64; 8] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400];
/// A day.
const LIFE_SECS: u64 = 86_400;
/// A week: somebody who was away can still replay.
const KEPT_SECS: u64 = 604_800;

/// Thirty days.
const LONG_SECS_MAX: u64 = 2_592_000;

impl Default for NotifyConfig {
    fn default() -> NotifyConfig {
        NotifyConfig {
            feed_streams_max: Value::of(FEED_STREAMS_MAX),
            mails_per_hour_max: Value::of(MAILS_PER_HOUR_MAX),
            mail_lines_max: Value::of(MAIL_LINES_MAX),
            mail_from: ReversePath::Null,
        }
    }
}

impl Default for WebhooksConfig {
    fn default() -> WebhooksConfig {
        WebhooksConfig {
            allow_private: false,
            ca_file: None,
            per_org_max: Value::of(PER_ORG_MAX),
            waiting_max: Value::of(WAITING_MAX),
            concurrency_max: Value::of(CONCURRENCY_MAX),
            connect_max: Value::of(CONNECT_SECS_MAX),
            answer_max: Value::of(ANSWER_SECS_MAX),
            retry: RETRY_SECS.map(Value::of).to_vec(),
            life: Value::of(LIFE_SECS),
            kept: Value::of(KEPT_SECS),
        }
    }
}

impl NotifyConfig {
    pub(super) fn read(file: &File<'_>) -> NotifyConfig {
        let section = file.section("notify");
        let notify = NotifyConfig {
            feed_streams_max: limit(&section, "feed_streams_max", FEED_STREAMS_MAX, 1..=200),
            mails_per_hour_max: limit(&section, "mails_per_hour_max", MAILS_PER_HOUR_MAX, 1..=3_600),
            mail_lines_max: limit(&section, "mail_lines_max", MAIL_LINES_MAX, 1..=1_000),
            mail_from: section
                .parsed("mail_from", "\"waxseal@example.com\"", values::reverse_path)
                .unwrap_or(ReversePath::Null),
        };
        section.finish();
        notify
    }

    /// Every key and its value as written.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let mail_from = match &self.mail_from {
            ReversePath::Null => String::new(),
            ReversePath::Mailbox(mailbox) => mailbox.display(),
        };
        vec![
            ("feed_streams_max", self.feed_streams_max.to_string()),
            ("mails_per_hour_max", self.mails_per_hour_max.to_string()),
            ("mail_lines_max", self.mail_lines_max.to_string()),
            ("mail_from", format!("\"{mail_from}\"")),
        ]
    }
}

impl WebhooksConfig {
    pub(super) fn read(file: &File<'_>, base_dir: &Path) -> WebhooksConfig {
        let section = file.section("webhooks");
        let ca_file = section.parsed("ca_file", "\"certs/webhooks-ca.pem\"", |text| server::path(base_dir, text));
        let webhooks = WebhooksConfig {
            allow_private: section.flag("allow_private").unwrap_or(false),
            ca_file,
            per_org_max: limit(&section, "per_org_max", PER_ORG_MAX, 1..=1_000),
            waiting_max: limit(&section, "waiting_max", WAITING_MAX, 10..=1_000_000),
            concurrency_max: limit(&section, "concurrency_max", CONCURRENCY_MAX, 1..=256),
            connect_max: limit(&section, "connect_secs_max", CONNECT_SECS_MAX, 1..=60),
            answer_max: limit(&section, "answer_secs_max", ANSWER_SECS_MAX, 1..=120),
            retry: retry_waits(&section, &RETRY_SECS),
            life: limit(&section, "life_secs", LIFE_SECS, 1..=LONG_SECS_MAX),
            kept: limit(&section, "kept_secs", KEPT_SECS, 60..=LONG_SECS_MAX),
        };
        section.finish();
        webhooks
    }

    /// Every key and its value as written.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let retry: Vec<u64> = self.retry.iter().map(Duration::as_secs).collect();
        let ca_file = self.ca_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        vec![
            ("allow_private", self.allow_private.to_string()),
            ("ca_file", format!("\"{ca_file}\"")),
            ("per_org_max", self.per_org_max.to_string()),
            ("waiting_max", self.waiting_max.to_string()),
            ("concurrency_max", self.concurrency_max.to_string()),
            ("connect_secs_max", self.connect_max.number().to_string()),
            ("answer_secs_max", self.answer_max.number().to_string()),
            ("retry_secs", format!("{retry:?}")),
            ("life_secs", self.life.number().to_string()),
            ("kept_secs", self.kept.number().to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> (NotifyConfig, WebhooksConfig) {
        let text = format!("[[listener]]\naddr = \"127.0.0.1:0\"\n{text}");
        let config = Config::parse(&text, Path::new("/c")).unwrap().config;
        (config.notify, config.webhooks)
    }

    #[test]
    fn nothing_written_is_the_default_and_the_parts_default_too() {
        assert_eq!(read(""), (NotifyConfig::default(), WebhooksConfig::default()));
        let (notify, webhooks, part) =
            (NotifyConfig::default(), WebhooksConfig::default(), crate::notify::Options::default());
        assert_eq!(
            (notify.feed_streams_max, notify.mails_per_hour_max, notify.mail_lines_max),
            (part.streams_max, part.mails_per_hour_max, part.mail_lines_max)
        );
        assert_eq!(
            (webhooks.per_org_max, webhooks.waiting_max, webhooks.concurrency_max),
            (part.webhooks_max, part.waiting_max, part.concurrency_max)
        );
        assert_eq!(
            (webhooks.connect_max, webhooks.answer_max, webhooks.kept),
            (part.connect_max, part.answer_max, part.kept)
        );
        assert_eq!((webhooks.retry, webhooks.life), (part.schedule.waits, part.schedule.life));
    }

    /// Each key reaches its own field: no two values are alike, and none is the default.
    #[test]
    fn every_key_reaches_its_field() {
        let (notify, webhooks) = read(
            "[notify]\nfeed_streams_max = 1\nmails_per_hour_max = 2\nmail_lines_max = 3\nmail_from = \"b@x.example\"\n\
             [webhooks]\nallow_private = true\nca_file = \"ca.pem\"\nper_org_max = 4\nwaiting_max = 15\nconcurrency_max = 6\n\
             connect_secs_max = 7\nanswer_secs_max = 9\nretry_secs = [1, 1, 3]\nlife_secs = 10\nkept_secs = 61\n",
        );
        let secs = Duration::from_secs;
        let mail_from = ReversePath::parse(b"b@x.example", false).unwrap();
        let expected = NotifyConfig { feed_streams_max: 1, mails_per_hour_max: 2, mail_lines_max: 3, mail_from };
        assert_eq!(notify, expected);
        let expected = WebhooksConfig {
            allow_private: true,
            ca_file: Some("/c/ca.pem".into()),
            per_org_max: 4,
            waiting_max: 15,
            concurrency_max: 6,
            connect_max: secs(7),
            answer_max: secs(9),
            retry: vec![secs(1), secs(1), secs(3)],
            life: secs(10),
            kept: secs(61),
        };
        assert_eq!(webhooks, expected);
    }
}

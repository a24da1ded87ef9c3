//! The mail log: one function for each thing an operator asks about. Called where it happens, once.
//!
//! Every line names its mail by `message.id`, in the sentence and as a field; `session.id` and `peer.addr` come from the
//! connection's span. Fields: `message.id`, `size_bytes`, `recipients`, `upstream.host`, `duration_ms`.
//!
//! **Invariant:** no secret, no subject and no body; addresses and logins only as `[log] log_addresses` allows; what a peer wrote
//! stays on its line.

use std::net::IpAddr;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::address::Shown;
use crate::message::Envelope;
use crate::settings::Tracking;
use crate::smtp::{Mailbox, Reply};
use crate::token::MessageId;

/// Most recipients that one line names; the rest are counted.
const NAMED_MAX: usize = 20;
/// Longest text of another server that a line repeats, characters.
const WORDS_MAX: usize = 500;

/// A mail came in whole: its final dot was read, nothing is answered yet.
pub fn received(id: MessageId, envelope: &Envelope, size_bytes: usize, org: &str, login: Option<&str>) {
    let from = Shown::path(&envelope.reverse_path);
    let to = named(envelope.recipients.iter().map(|recipient| &recipient.path.0));
    let by = login.map_or_else(|| "its network".to_owned(), |login| Shown::login(login).to_string());
    let recipients = envelope.recipients.len();
    info!(message.id = %id, size_bytes, recipients, org, "received {id} from {from} to {to}, let in by {by}");
}

/// A client was refused before there was a mail: at MAIL, RCPT, DATA or its end. `stage` is the verb.
pub fn refused(stage: &str, reply: &Reply) {
    info!(stage, code = reply.code, "refused at {stage}: {}", words(reply));
}

/// A mail was rewritten, with what is in force at most for one of its recipients.
pub fn rewritten(id: MessageId, tracking: Tracking, links: usize, left_alone: usize, duration: Duration) {
    let (opens, link_mode) = (tracking.opens, tracking.links);
    let duration_ms = millis(duration);
    info!(message.id = %id, links, left_alone, duration_ms, "rewrote {id}: opens {opens}, links {link_mode}, {links} links, {left_alone} left alone");
}

/// A mail leaves as it came, and why.
pub fn untouched(id: MessageId, reason: &str) {
    info!(message.id = %id, reason, "left {id} as it came: {reason}");
}

/// Upstream took the mail for every recipient.
pub fn delivered(id: MessageId, recipients: usize, upstream: &str, reply: &Reply, duration: Duration) {
    let duration_ms = millis(duration);
    info!(message.id = %id, recipients, upstream.host = upstream, duration_ms, "delivered {id} to {upstream}: {}", words(reply));
}

/// Upstream refused the mail for good, for every recipient.
pub fn refused_upstream(id: MessageId, recipients: usize, upstream: &str, reply: &Reply) {
    warn!(message.id = %id, recipients, upstream.host = upstream, code = reply.code, "{upstream} refused {id}: {}", words(reply));
}

/// Nothing was accepted now; to be tried again, by us or by the client.
pub fn deferred(id: MessageId, recipients: usize, upstream: &str, why: &str) {
    let why = clean(why);
    warn!(message.id = %id, recipients, upstream.host = upstream, "deferred {id}: {upstream}: {why}");
}

/// How one recipient fared where they fared differently.
pub fn recipient_refused(id: MessageId, recipient: &Mailbox, upstream: &str, why: &str) {
    let (recipient, why) = (Shown::mailbox(recipient), clean(why));
    warn!(message.id = %id, upstream.host = upstream, "{upstream} did not take {id} for {recipient}: {why}");
}

/// How many recipients fared how, where they fared differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Upstream has the mail.
    pub accepted: usize,
    /// Refused for good.
    pub refused: usize,
    /// To be tried again.
    pub deferred: usize,
    /// Perhaps delivered.
    pub unknown: usize,
}

/// The recipients of one mail fared differently.
pub fn mixed(id: MessageId, outcomes: Outcomes, upstream: &str) {
    let Outcomes { accepted, refused, deferred, unknown } = outcomes;
    warn!(
        message.id = %id, upstream.host = upstream, accepted, refused, deferred, unknown,
        "mixed outcome for {id}: {accepted} accepted, {refused} refused, {deferred} deferred, {unknown} unknown"
    );
}

/// The connection was lost between the final dot and its answer: upstream may have the mail, and a retry may duplicate it.
pub fn perhaps_delivered(id: MessageId, recipients: usize, upstream: &str, why: &str) {
    let why = clean(why);
    warn!(message.id = %id, recipients, upstream.host = upstream, "possible duplicate of {id}: the answer of {upstream} was lost: {why}");
}

/// A mail is not tried again; its sender is told by a bounce where there is one.
pub fn gave_up(id: MessageId, recipient: &Mailbox, why: &str, age: Duration) {
    let (recipient, why, age_secs) = (Shown::mailbox(recipient), clean(why), age.as_secs());
    error!(message.id = %id, age_secs, "gave up {id} for {recipient}: {why}");
}

/// Upstream's trouble is ours: banner, EHLO, TLS or login failed, so no mail can go until an operator looks.
pub fn upstream_trouble(upstream: &str, stage: &str, why: &str) {
    let why = clean(why);
    error!(upstream.host = upstream, stage, "{upstream} cannot be used, {stage} failed: {why}");
}

/// A login was refused; the line never says whether the account exists.
pub fn login_failed(login: &str, peer: IpAddr) {
    let login = Shown::login(login);
    warn!(peer.addr = %peer, "login failed for {login} from {peer}");
}

/// The account's own password was right and is not enough.
pub fn app_password_needed(login: &str) {
    let login = Shown::login(login);
    warn!(
        "{login} logged in with the account's own password, and has a second factor: the mail program needs an app password (535)"
    );
}

/// A login was not looked at: too many have failed from there.
pub fn login_must_wait(login: &str, peer: IpAddr, wait: Duration) {
    let (login, wait_secs) = (Shown::login(login), wait.as_secs());
    warn!(peer.addr = %peer, wait_secs, "login of {login} from {peer} was not looked at: too many have failed, {wait_secs} s to wait");
}

/// A mail that has been through too many servers was refused (RFC 5321 §6.3).
pub fn loop_stopped(envelope: &Envelope, received_headers: usize) {
    let from = Shown::path(&envelope.reverse_path);
    warn!(received_headers, "stopped a loop: a mail from {from} has {received_headers} Received lines");
}

/// The message record was not durable in time, so the mail goes out untracked.
pub fn record_not_durable(id: MessageId, why: &str) {
    error!(message.id = %id, "no record of {id}, so it goes out untracked: {why}");
}

/// Events were lost because the queue to the disk was full. At most once a second, with all since the last line.
pub fn events_lost(count: u64) {
    error!(count, "lost {count} events: the queue to the disk is full (limits.event_queue_max)");
}

/// A peer hung up. Ordinary: people close laptops.
pub fn hung_up(stage: &str) {
    debug!(stage, "the client hung up at {stage}");
}

/// The first recipients by name, the rest by number.
fn named<'m>(mailboxes: impl ExactSizeIterator<Item = &'m Mailbox>) -> String {
    let more = mailboxes.len().saturating_sub(NAMED_MAX);
    let shown: Vec<String> = mailboxes.take(NAMED_MAX).map(|mailbox| Shown::mailbox(mailbox).to_string()).collect();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// A reply on one line.
fn words(reply: &Reply) -> String {
    let enhanced = reply.enhanced.map_or_else(String::new, |code| format!(" {}.{}.{}", code.0, code.1, code.2));
    format!("{}{enhanced} {}", reply.code, clean(&reply.lines.join(" / ")))
}

/// Another's words: addresses as `[log]` says, control characters escaped, length bounded.
fn clean(text: &str) -> String {
    let text = &Shown::words(text).to_string();
    let mut kept: String = text
        .chars()
        .take(WORDS_MAX)
        .flat_map(|char| match char.is_control() {
            true => char.escape_default().collect::<Vec<_>>(),
            false => vec![char],
        })
        .collect();
    if text.chars().nth(WORDS_MAX).is_some() {
        kept.push('…');
    }
    kept
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::super::address;
    use super::super::log::{Addresses, Format, Level, Options, subscriber};
    use super::*;
    use crate::settings::Mode;
    use crate::smtp::{Enhanced, ReversePath};

    /// Where the lines of one test go.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(options: Options, log: impl FnOnce()) -> String {
        address::set(Addresses::Full, [0; 32]);
        let page = Page::default();
        let writer = page.clone();
        tracing::subscriber::with_default(subscriber(options, move || writer.clone()), log);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn envelope() -> Envelope {
        Envelope { reverse_path: ReversePath::Null, params: Default::default(), recipients: Vec::new() }
    }

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, enhanced: Some(Enhanced(5, 1, 1)), lines: vec![text.to_owned()] }
    }

    /// What is logged, and what its line must hold.
    type Row<'w> = (Box<dyn FnOnce()>, &'w [&'w str]);

    const ID: MessageId = MessageId(0xabc);
    const TRACKING: Tracking = Tracking { opens: Mode::Aggregate, links: Mode::Off, text_links: false };

    #[test]
    fn each_line_says_what_happened_to_which_mail() {
        let text = Options::default();
        let second = Duration::from_millis(1_250);
        let rows: Vec<Row<'_>> = vec![
            (
                Box::new(|| received(ID, &envelope(), 42, "default", None)),
                &["INFO", "received 0000000000000abc from <>", "size_bytes=42"],
            ),
            (Box::new(|| refused("RCPT", &reply(550, "no"))), &["refused at RCPT: 550 5.1.1 no"]),
            (
                Box::new(move || rewritten(ID, TRACKING, 3, 1, second)),
                &["opens aggregate, links off, 3 links, 1 left alone", "duration_ms=1250"],
            ),
            (Box::new(|| untouched(ID, "signed")), &["left 0000000000000abc as it came: signed"]),
            (
                Box::new(move || delivered(ID, 2, "mx.test", &reply(250, "ok"), second)),
                &["delivered 0000000000000abc to mx.test", "recipients=2"],
            ),
            (
                Box::new(|| refused_upstream(ID, 1, "mx.test", &reply(554, "spam"))),
                &["WARN", "mx.test refused 0000000000000abc: 554 5.1.1 spam"],
            ),
            (Box::new(|| deferred(ID, 1, "mx.test", "busy")), &["deferred 0000000000000abc: mx.test: busy"]),
            (
                Box::new(|| mixed(ID, Outcomes { accepted: 2, refused: 1, ..Outcomes::default() }, "mx.test")),
                &["2 accepted, 1 refused, 0 deferred, 0 unknown"],
            ),
            (Box::new(|| perhaps_delivered(ID, 1, "mx.test", "reset")), &["possible duplicate of 0000000000000abc"]),
            (
                Box::new(|| upstream_trouble("mx.test", "AUTH", "535 no")),
                &["ERROR", "mx.test cannot be used, AUTH failed: 535 no"],
            ),
            (
                Box::new(|| login_failed("anna@example.com", [192, 0, 2, 1].into())),
                &["login failed for anna@example.com from 192.0.2.1"],
            ),
            (
                Box::new(move || login_must_wait("anna@example.com", [192, 0, 2, 1].into(), second)),
                &["login of anna@example.com from 192.0.2.1 was not looked at", "wait_secs=1"],
            ),
            (Box::new(|| loop_stopped(&envelope(), 51)), &["51 Received lines"]),
            (Box::new(|| record_not_durable(ID, "disk full")), &["no record of 0000000000000abc", "disk full"]),
            (Box::new(|| events_lost(9)), &["lost 9 events", "limits.event_queue_max"]),
        ];
        for (log, expected) in rows {
            let line = lines(text, log);
            print!("{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(expected.iter().all(|words| line.contains(words)), "{expected:?}\nnot in\n{line}");
        }
    }

    #[test]
    fn nobody_writes_lines_of_their_own() {
        let hostile = "no\r\n2026-11-23 INFO delivered everything \u{1b}[2J";
        let rows: Vec<Box<dyn FnOnce()>> = vec![
            Box::new(move || deferred(ID, 1, "mx.test", hostile)),
            Box::new(move || refused("MAIL", &reply(550, hostile))),
            Box::new(move || login_failed(hostile, [127, 0, 0, 1].into())),
        ];
        for log in rows {
            let line = lines(Options::default(), log);
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(!line.contains('\u{1b}') && !line.contains('\r'), "{line:?}");
        }
        let long = lines(Options::default(), || deferred(ID, 1, "mx.test", &"x".repeat(100_000)));
        assert!(long.len() < 1_000, "{}", long.len());
    }

    #[test]
    fn json_has_the_same_fields_and_levels_are_kept() {
        let json = Options { format: Format::Json, ..Options::default() };
        let line = lines(json, || untouched(ID, "signed"));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message.id"], "0000000000000abc");
        assert_eq!(value["reason"], "signed");
        assert_eq!(value["level"], "INFO");
        let quiet = Options { level: Level::Error, ..Options::default() };
        assert_eq!(lines(quiet, || untouched(ID, "signed")), "");
        assert_eq!(lines(Options::default(), || hung_up("DATA")), "", "a peer that hangs up is debug");
        assert_ne!(lines(Options { level: Level::Debug, ..Options::default() }, || hung_up("DATA")), "");
    }
}

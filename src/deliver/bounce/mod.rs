//! A report back to the sender: could not be delivered, is delayed, was handed on (RFC 3464). Pure.
//!
//! **Invariant:** no report is ever about a report: none goes to `<>`, none to or about the address reports come from.
//! Whoever said NOTIFY=NEVER, or did not ask for this kind, is not reported on (RFC 3461 §4.1). What others wrote
//! (addresses, upstream's words) cannot add a line to the report's own fields.

mod fields;

use std::io;

use bytes::Bytes;
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;
use mail_parser::MessageParser;

use crate::message::{Envelope, Recipient};
use crate::smtp::extension::{MailParams, Notify, RcptParams, Ret};
use crate::smtp::{ForwardPath, Mailbox, ReversePath};

use super::fate::Fate;
use fields::{fields, reply_of};

/// What a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing more will be tried.
    Failed,
    /// Not delivered yet; tried until this time, in Unix seconds.
    Delayed {
        /// See above.
        until_unix: i64,
    },
    /// Handed to a server that sends no reports of its own; only for NOTIFY=SUCCESS.
    Relayed,
}

/// One mail and the occasion to report on it.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// What to say.
    pub kind: Kind,
    /// The mail's envelope.
    pub envelope: &'a Envelope,
    /// The mail as submitted.
    pub message: &'a [u8],
    /// When it was accepted, in Unix seconds.
    pub arrived_unix: i64,
    /// Now, in Unix seconds.
    pub now_unix: i64,
    /// Our name.
    pub hostname: &'a str,
    /// The upstream's host name.
    pub upstream: &'a str,
    /// Whom reports come from: `<>` unless the provider refuses that.
    pub bounce_sender: &'a ReversePath,
    /// Random letters and digits. Stands in Message-ID and boundary, which nobody may guess and put into a mail.
    pub id: &'a str,
}

/// A whole message is sent back only up to this size, as every sender has the original; else its header section.
pub const RETURNED_BYTES_MAX: usize = 100 * 1024;
/// The original's subject, where people see it.
const SUBJECT_CHARS_MAX: usize = 120;

/// The report for the sender about these recipients (indices into the envelope) and their fates, or `None` when nobody
/// is to be told. ASCII fields and lines, CRLF line ends; 8-bit only where the mail sent back is.
///
/// # Errors
/// The message cannot be put together (never seen: it is written to memory).
pub fn report(occasion: &Occasion<'_>, fates: &[(usize, Fate)]) -> io::Result<Option<(Envelope, Bytes)>> {
    let Some(to) = reader(occasion) else { return Ok(None) };
    let told: Vec<(&Recipient, &Fate)> = fates
        .iter()
        .filter_map(|(index, fate)| Some((occasion.envelope.recipients.get(*index)?, fate)))
        .filter(|(recipient, _)| is_to_be_told(occasion, recipient))
        .collect();
    if told.is_empty() {
        return Ok(None);
    }
    let subject = subject_of(occasion.message);
    let parts = vec![
        MimePart::new("text/plain", text(occasion, &told, &subject)),
        MimePart::new("message/delivery-status", fields(occasion, &told).into_bytes()).transfer_encoding("7bit"),
        returned(occasion),
    ];
    let boundary = format!("report_{}", occasion.id);
    let kind = ContentType::new("multipart/report").attribute("report-type", "delivery-status");
    let raw = MessageBuilder::new()
        .header("From", Raw::new(format!("Mail delivery <{}>", from(occasion))))
        .header("To", Raw::new(format!("<{}>", to.display())))
        .subject(format!("{}: {subject}", headline(occasion.kind)))
        .date(Date::new(occasion.now_unix))
        .message_id(format!("{}@{}", occasion.id, occasion.hostname))
        .header("Auto-Submitted", Raw::new("auto-replied"))
        .body(MimePart::new(kind.attribute("boundary", boundary), parts))
        .write_to_vec()?;
    Ok(Some((envelope(occasion, to), raw.into())))
}

/// Who reads the report; nobody when the mail was a report itself.
fn reader<'a>(occasion: &Occasion<'a>) -> Option<&'a Mailbox> {
    match &occasion.envelope.reverse_path {
        ReversePath::Null => None,
        path if path == occasion.bounce_sender => None,
        ReversePath::Mailbox(mailbox) => Some(mailbox),
    }
}

fn is_to_be_told(occasion: &Occasion<'_>, recipient: &Recipient) -> bool {
    if *occasion.bounce_sender == ReversePath::Mailbox(recipient.path.0.clone()) {
        return false;
    }
    match (occasion.kind, recipient.params.notify) {
        (Kind::Failed, notify) => notify.is_none_or(|n| n.failure),
        (Kind::Delayed { .. }, notify) => notify.is_none_or(|n| n.delay),
        (Kind::Relayed, notify) => notify.is_some_and(|n| n.success),
    }
}

/// The report's own envelope: no report comes back for it (RFC 3461 §6.2).
fn envelope(occasion: &Occasion<'_>, to: &Mailbox) -> Envelope {
    let never = Notify { success: false, failure: false, delay: false };
    let params = RcptParams { notify: Some(never), orcpt: None };
    Envelope {
        reverse_path: occasion.bounce_sender.clone(),
        params: MailParams { smtputf8: !to.as_bytes().is_ascii(), ..MailParams::default() },
        recipients: vec![Recipient { path: ForwardPath(to.clone()), params }],
    }
}

fn from(occasion: &Occasion<'_>) -> String {
    match occasion.bounce_sender {
        ReversePath::Null => format!("MAILER-DAEMON@{}", occasion.hostname),
        ReversePath::Mailbox(mailbox) => mailbox.display(),
    }
}

fn headline(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "Not delivered",
        Kind::Delayed { .. } => "Not delivered yet",
        Kind::Relayed => "Handed on",
    }
}

/// The part for people.
fn text(occasion: &Occasion<'_>, told: &[(&Recipient, &Fate)], subject: &str) -> String {
    let (first, last) = match occasion.kind {
        Kind::Failed => (
            "Your mail could not be delivered to:".to_owned(),
            "Nothing more will be tried for these addresses. If the mail had other recipients, this report is not\r\n\
             about them."
                .to_owned(),
        ),
        Kind::Delayed { until_unix } => (
            "Your mail has not been delivered yet to:".to_owned(),
            format!("You need not send it again: it is tried until {}.", date(until_unix)),
        ),
        Kind::Relayed => (
            format!("Your mail was handed to {} for:", occasion.upstream),
            "That server sends no reports of its own, so this is the last you will hear of it.".to_owned(),
        ),
    };
    let mut text = format!("{first}\r\n\r\n");
    for (recipient, fate) in told {
        text.push_str(&format!("  {}\r\n      {}\r\n", recipient.path.0.display(), words(occasion, fate)));
    }
    text.push_str(&format!("\r\nSubject: {subject}\r\nSent: {}\r\n\r\n{last}\r\n", date(occasion.arrived_unix)));
    text
}

/// Whose words they are matters: people write to the wrong postmaster otherwise.
fn words(occasion: &Occasion<'_>, fate: &Fate) -> String {
    let words = match reply_of(fate) {
        Some(_) => format!("{} said: {fate}", occasion.upstream),
        None => fate.to_string(),
    };
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The original: whole when the sender asked for that and delivery failed (RFC 3461 §4.3), else its header section.
fn returned<'a>(occasion: &Occasion<'a>) -> MimePart<'a> {
    let whole = occasion.kind == Kind::Failed
        && occasion.envelope.params.ret == Some(Ret::Full)
        && occasion.message.len() <= RETURNED_BYTES_MAX;
    let (kind, octets) = match whole {
        true => ("message/rfc822", occasion.message),
        false => ("text/rfc822-headers", header_section(occasion.message)),
    };
    let encoding = if octets.is_ascii() { "7bit" } else { "8bit" };
    MimePart::new(kind, octets).transfer_encoding(encoding)
}

/// Up to the empty line, and no more than may be sent back, at a line's end.
fn header_section(message: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 2);
    let head = message.get(..end.min(RETURNED_BYTES_MAX)).unwrap_or(message);
    let whole_lines = memchr::memrchr(b'\n', head).map_or(head.len(), |at| at + 1);
    head.get(..whole_lines).unwrap_or(head)
}

fn subject_of(message: &[u8]) -> String {
    let parsed = MessageParser::default().parse_headers(header_section(message));
    let subject = parsed.as_ref().and_then(|mail| mail.subject()).unwrap_or("(no subject)");
    subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT_CHARS_MAX).collect()
}

fn date(unix: i64) -> String {
    Date::new(unix).to_rfc822()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::fate::{Stage, Why};
    use crate::smtp::{Enhanced, Reply};
    use mail_parser::{MimeHeaders, PartType};

    const MESSAGE: &[u8] = b"From: Alice <alice@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
        Message-ID: <m1@example.com>\r\n\r\nThe body.\r\n.A dotted line.\r\n";

    fn recipient(address: &str, notify: Option<(bool, bool, bool)>) -> Recipient {
        let notify = notify.map(|(success, failure, delay)| Notify { success, failure, delay });
        let path = ForwardPath::parse(address.as_bytes(), true).unwrap();
        Recipient { path, params: RcptParams { notify, orcpt: None } }
    }

    fn envelope(from: &str, recipients: Vec<Recipient>) -> Envelope {
        let reverse_path = ReversePath::parse(from.as_bytes(), true).unwrap();
        Envelope { reverse_path, params: MailParams::default(), recipients }
    }

    fn refused(text: &str) -> Fate {
        let reply = Reply { code: 550, enhanced: Some(Enhanced(5, 1, 1)), lines: vec![text.to_owned()] };
        Fate::Refused { stage: Stage::Rcpt, reply }
    }

    fn occasion<'a>(kind: Kind, envelope: &'a Envelope, bounce_sender: &'a ReversePath) -> Occasion<'a> {
        Occasion {
            kind,
            envelope,
            message: MESSAGE,
            arrived_unix: 1_770_000_000,
            now_unix: 1_770_003_600,
            hostname: "relay.example.com",
            upstream: "smtp.provider.test",
            bounce_sender,
            id: "b0001",
        }
    }

    fn failed(envelope: &Envelope, fates: &[(usize, Fate)]) -> (Envelope, String) {
        let occasion = occasion(Kind::Failed, envelope, &ReversePath::Null);
        let (envelope, raw) = report(&occasion, fates).unwrap().unwrap();
        (envelope, String::from_utf8(raw.to_vec()).unwrap())
    }

    #[test]
    fn a_report_reads_well_to_another_parser() {
        let mut mail = envelope("alice@example.com", vec![recipient("b@y.test", None), recipient("c@y.test", None)]);
        mail.params.envid = Some("QQ+2B1".to_owned());
        mail.recipients[1].params.orcpt = Some("rfc822;old+2Bc@x.test".to_owned());
        let (report, raw) = failed(&mail, &[(1, refused("no such user"))]);
        assert_eq!(report.reverse_path, ReversePath::Null);
        assert_eq!(report.recipients[0].path.0.as_bytes(), b"alice@example.com");
        assert_eq!(report.recipients[0].params.notify, Some(Notify { success: false, failure: false, delay: false }));
        let parsed = MessageParser::default().parse(raw.as_bytes()).unwrap();
        assert_eq!(parsed.subject(), Some("Not delivered: Gr\u{fc}\u{df}e"));
        assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("MAILER-DAEMON@relay.example.com"));
        assert_eq!(parsed.header_raw("Auto-Submitted").map(str::trim), Some("auto-replied"));
        let kind = parsed.content_type().unwrap();
        assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
        assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
        let text = parsed.body_text(0).unwrap();
        assert!(text.contains("c@y.test") && !text.contains("b@y.test"), "{text}");
        assert!(text.contains("smtp.provider.test said: 550 5.1.1 no such user"), "{text}");
        let fields = "Original-Envelope-Id: QQ+1\r\nReporting-MTA: dns; relay.example.com\r\n\
            Arrival-Date: Mon, 2 Feb 2026 02:40:00 +0000\r\n\r\nOriginal-Recipient: rfc822; old+c@x.test\r\n\
            Final-Recipient: rfc822; c@y.test\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; smtp.provider.test\r\n\
            Diagnostic-Code: smtp; 550 5.1.1 no such user\r\nLast-Attempt-Date: Mon, 2 Feb 2026 03:40:00 +0000\r\n";
        assert!(raw.contains(fields), "{raw}");
        // the original's header section, as it was
        assert!(raw.contains("Content-Type: text/rfc822-headers") && raw.contains("Message-ID: <m1@example.com>\r\n"));
        assert!(!raw.contains("The body."));
        assert_eq!(parsed.parts.len(), 4);
    }

    #[test]
    fn who_is_told_what() {
        let until = Kind::Delayed { until_unix: 1_770_400_000 };
        let all = Some((true, true, true));
        let table = [
            // NOTIFY absent: failures and delays, no successes (RFC 3461 §4.1)
            (None, [true, true, false]),
            (all, [true, true, true]),
            (Some((false, false, false)), [false, false, false]),
            (Some((true, false, false)), [false, false, true]),
            (Some((false, true, false)), [true, false, false]),
            (Some((false, false, true)), [false, true, false]),
        ];
        for (notify, expected) in table {
            let mail = envelope("alice@example.com", vec![recipient("b@y.test", notify)]);
            let told = [Kind::Failed, until, Kind::Relayed].map(|kind| {
                let occasion = occasion(kind, &mail, &ReversePath::Null);
                report(&occasion, &[(0, refused("no"))]).unwrap().is_some()
            });
            assert_eq!(told, expected, "{notify:?}");
        }
        // nobody: a report itself, by its sender or by whom it is to; an index out of range; no fates
        let null = ReversePath::Null;
        let bounces = ReversePath::parse(b"bounces@example.com", false).unwrap();
        for (from, to, sender) in [
            ("", "b@y.test", &null),
            ("bounces@example.com", "b@y.test", &bounces),
            ("alice@example.com", "bounces@example.com", &bounces),
        ] {
            let mail = envelope(from, vec![recipient(to, all)]);
            let occasion = occasion(Kind::Failed, &mail, sender);
            assert_eq!(report(&occasion, &[(0, refused("no"))]).unwrap(), None, "{from} to {to}");
        }
        let mail = envelope("alice@example.com", vec![recipient("b@y.test", all)]);
        let occasion = occasion(Kind::Failed, &mail, &null);
        assert_eq!(report(&occasion, &[(7, refused("no"))]).unwrap(), None);
        assert_eq!(report(&occasion, &[]).unwrap(), None);
    }

    #[test]
    fn a_configured_sender_stands_in_envelope_and_header() {
        let bounces = ReversePath::parse(b"bounces@example.com", false).unwrap();
        let mail = envelope("alice@example.com", vec![recipient("b@y.test", None)]);
        let (report, raw) = report(&occasion(Kind::Failed, &mail, &bounces), &[(0, refused("no"))]).unwrap().unwrap();
        assert_eq!(report.reverse_path, bounces);
        assert!(String::from_utf8_lossy(&raw).contains("From: Mail delivery <bounces@example.com>\r\n"));
    }

    #[test]
    fn every_kind_has_its_action_and_status() {
        let reply =
            |code, class| Reply { code, enhanced: Some(Enhanced(class, 2, 2)), lines: vec!["words".to_owned()] };
        let deferred = Fate::Deferred { stage: Stage::Rcpt, why: Why::Reply(reply(450, 4)) };
        let lost = Fate::Deferred { stage: Stage::Connect, why: Why::TimedOut };
        let plain = Fate::Refused { stage: Stage::Dot, reply: Reply { enhanced: None, ..reply(554, 5) } };
        let until = Kind::Delayed { until_unix: 1_770_400_000 };
        let table: &[(Kind, Fate, &[&str])] = &[
            (Kind::Failed, refused("no"), &["Action: failed", "Status: 5.1.1"]),
            (Kind::Failed, plain, &["Status: 5.0.0", "Diagnostic-Code: smtp; 554 words"]),
            // given up after days of trying
            (Kind::Failed, deferred.clone(), &["Status: 5.4.7", "Diagnostic-Code: smtp; 450 4.2.2 words"]),
            (Kind::Failed, lost.clone(), &["Status: 5.4.7"]),
            (
                until,
                deferred,
                &["Action: delayed", "Status: 4.2.2", "Will-Retry-Until: Fri, 6 Feb 2026 17:46:40 +0000"],
            ),
            (until, lost, &["Status: 4.4.0", "no answer in time at connect"]),
            (
                Kind::Relayed,
                Fate::Accepted { reply: reply(250, 2), at: tokio::time::Instant::now() },
                &["Action: relayed", "Status: 2.2.2"],
            ),
        ];
        let mail = envelope("alice@example.com", vec![recipient("b@y.test", Some((true, true, true)))]);
        for (kind, fate, expected) in table {
            let occasion = occasion(*kind, &mail, &ReversePath::Null);
            let (_, raw) = report(&occasion, &[(0, fate.clone())]).unwrap().unwrap();
            let raw = String::from_utf8_lossy(&raw).replace("=\r\n", "");
            for words in *expected {
                assert!(raw.contains(words), "{words} in {raw}");
            }
        }
    }

    #[test]
    fn the_whole_message_only_when_asked_for_and_not_too_large() {
        let mut mail = envelope("alice@example.com", vec![recipient("b@y.test", None)]);
        mail.params.ret = Some(Ret::Full);
        let large = [MESSAGE, &b"x\r\n".repeat(RETURNED_BYTES_MAX / 3)].concat();
        for (kind, message, whole) in [
            (Kind::Failed, MESSAGE, true),
            (Kind::Failed, large.as_slice(), false),
            (Kind::Delayed { until_unix: 0 }, MESSAGE, false),
        ] {
            let occasion = Occasion { message, ..occasion(kind, &mail, &ReversePath::Null) };
            let (_, raw) = report(&occasion, &[(0, refused("no"))]).unwrap().unwrap();
            let parsed = MessageParser::default().parse(raw.as_ref()).unwrap();
            let nested = parsed.parts.iter().any(|part| matches!(part.body, PartType::Message(_)));
            assert_eq!(nested, whole);
            assert_eq!(memchr::memmem::find(&raw, b"\r\n.A dotted line.\r\n").is_some(), whole);
            assert!(raw.len() < 2 * RETURNED_BYTES_MAX);
        }
    }

    #[test]
    fn nobody_elses_words_become_a_field() {
        let mut mail =
            envelope("alice@example.com", vec![recipient("\"a b\"@y.test", None), recipient("\u{fc}@y.test", None)]);
        mail.params.envid = Some("a+0D+0AAction:+20delivered".to_owned());
        mail.recipients[0].params.orcpt = Some("rfc822;x+0D+0AStatus:+202.0.0".to_owned());
        let fate = refused("no\r\nAction: delivered\r\n\u{fc}");
        let subject = b"Subject: =?utf-8?q?a=0D=0ABcc:_evil@x.test?=\r\n\r\n";
        let occasion = Occasion { message: subject, ..occasion(Kind::Failed, &mail, &ReversePath::Null) };
        let (_, raw) = report(&occasion, &[(0, fate), (1, refused("no"))]).unwrap().unwrap();
        let raw = String::from_utf8(raw.to_vec()).unwrap();
        for evil in ["\r\nAction: delivered", "\r\nStatus: 2.0.0", "\r\nBcc:"] {
            assert!(!raw.contains(evil), "{evil:?} in {raw}");
        }
        assert!(raw.contains("Diagnostic-Code: smtp; 550 5.1.1 no??Action: delivered???\r\n"), "{raw}");
        assert!(raw.contains("Final-Recipient: rfc822; \"a b\"@y.test\r\n"));
        assert!(raw.contains("Final-Recipient: utf-8; \\x{FC}@y.test\r\n"));
        assert!(raw.is_ascii());
    }
}

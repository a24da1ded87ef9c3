//! A notice by mail: plain text, never tracked, sent as it is. Pure.
//!
//! **Invariant:** it says that a program wrote it (RFC 3834), so that no other program answers; it can be stopped with one
//! click (RFC 8058); and no text of a mail or a reader can add a header or a line to it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use jiff::Timestamp;
use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox as Header};
use serde::{Deserialize, Serialize};

use crate::event::{EventKind, Verdict, Via};
use crate::message::{Envelope, Recipient};
use crate::smtp::extension::{MailParams, RcptParams};
use crate::smtp::{ForwardPath, Mailbox, ReversePath};
use crate::store::record::{Addressee, TimelineEntry};

/// Characters of a subject, an address or a destination that are named.
const WORDS_CHARS_MAX: usize = 200;
/// Characters of a name.
const NAME_CHARS_MAX: usize = 80;

/// One event, as a notice names it. Kept as JSON until it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    at_ms: i64,
    clicked: bool,
    /// `None` when the copy was for several.
    who: Option<String>,
    subject: String,
    destination: Option<String>,
    /// Place, client.
    details: Vec<String>,
    /// The Message-ID header of the mail.
    message_id: String,
}

/// Who a notice is from and to.
#[derive(Debug, Clone)]
pub struct Addressed<'a> {
    /// From whom.
    pub from: &'a Mailbox,
    /// To whom.
    pub to: &'a Mailbox,
    /// The envelope sender.
    pub reverse_path: &'a ReversePath,
    /// In the Message-ID.
    pub hostname: &'a str,
    /// In the Message-ID: random.
    pub id: &'a str,
    /// The link that stops notices.
    pub stop_url: &'a str,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// Why a notice could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// An address that SMTP takes and a header does not.
    #[error("`{0}` cannot stand in a From or To header")]
    Address(String),
    /// The message cannot be put together.
    #[error("the notice cannot be put together: {0}")]
    Message(String),
}

impl Line {
    /// Of an event, with the Message-ID header of its mail.
    pub fn of(entry: &TimelineEntry, message_id: &str) -> Line {
        let event = &entry.event;
        Line {
            at_ms: event.at_ms,
            clicked: event.kind == EventKind::Click,
            who: entry.recipient.as_ref().map(who),
            subject: cleaned(&entry.subject),
            destination: entry.destination.as_deref().map(cleaned),
            details: details(entry),
            message_id: cleaned(message_id),
        }
    }

    /// As JSON.
    pub fn print(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads [`Line::print`] back.
    pub fn read(text: &str) -> Option<Line> {
        serde_json::from_str(text).ok()
    }

    fn sentence(&self) -> String {
        let who = self.who.as_deref().unwrap_or("One of the recipients");
        let what = if self.clicked { "followed a link in" } else { "opened" };
        let subject = if self.subject.trim().is_empty() { "a mail without subject" } else { &self.subject };
        format!("{who} {what} “{subject}”")
    }
}

/// Envelope and octets of a notice: the lines in full, and how many more there are.
///
/// # Errors
/// [`LetterError`], for the log.
pub fn letter(header: &Addressed<'_>, lines: &[Line], more: u32) -> Result<(Envelope, Bytes), LetterError> {
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(header.now_ms).unwrap_or(0));
    let raw = message(header, now, lines, more)?;
    let envelope = Envelope {
        reverse_path: header.reverse_path.clone(),
        params: MailParams::default(),
        recipients: vec![Recipient { path: ForwardPath(header.to.clone()), params: RcptParams::default() }],
    };
    Ok((envelope, raw))
}

fn message(header: &Addressed<'_>, now: SystemTime, lines: &[Line], more: u32) -> Result<Bytes, LetterError> {
    let broken = |error: &dyn std::fmt::Display| LetterError::Message(error.to_string());
    let text = text(lines, more, header.stop_url).replace('\n', "\r\n");
    let body = Body::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable);
    let body = body.map_err(|_| LetterError::Message("its text cannot be encoded".to_owned()))?;
    let mut message = Message::builder()
        .from(address(header.from, Some("waxseal"))?)
        .to(address(header.to, None)?)
        .subject(subject(lines, more))
        .date(now)
        .message_id(Some(format!("<notice.{}@{}>", header.id, header.hostname)))
        .header(ContentType::TEXT_PLAIN)
        .body(body)
        .map_err(|error| broken(&error))?;
    for (name, value) in [
        ("Auto-Submitted", "auto-generated".to_owned()),
        ("X-Auto-Response-Suppress", "All".to_owned()),
        ("List-Unsubscribe", format!("<{}>", header.stop_url)),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()),
        ("References", thread(lines)),
    ] {
        let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|error| broken(&error))?;
        if !value.is_empty() {
            message.headers_mut().insert_raw(HeaderValue::new(name, value));
        }
    }
    Ok(message.formatted().into())
}

fn address(mailbox: &Mailbox, name: Option<&str>) -> Result<Header, LetterError> {
    let address = mailbox.display().parse().map_err(|_| LetterError::Address(mailbox.display()))?;
    Ok(Header::new(name.map(str::to_owned), address))
}

fn subject(lines: &[Line], more: u32) -> String {
    match lines {
        [one] if more == 0 => one.sentence(),
        _ => {
            let number = u32::try_from(lines.len()).unwrap_or(u32::MAX).saturating_add(more);
            format!("{number} opens and clicks of your mail")
        }
    }
}

fn text(lines: &[Line], more: u32, stop_url: &str) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.sentence());
        if let Some(destination) = &line.destination {
            text.push_str(&format!("\n  {destination}"));
        }
        let details: String = line.details.iter().map(|detail| format!(" · {detail}")).collect();
        text.push_str(&format!("\n  {}{details}\n\n", moment(line.at_ms)));
    }
    if more > 0 {
        text.push_str(&format!("And {more} more: the dashboard has them all.\n\n"));
    }
    text.push_str("-- \nwaxseal tells you because your account asks it to.\nTo stop this mail: ");
    text.push_str(stop_url);
    text.push('\n');
    text
}

/// The mail they are all about, so that a mail program shows the notice beside it.
fn thread(lines: &[Line]) -> String {
    let id = lines.first().map_or("", |line| line.message_id.as_str());
    let is_id = id.starts_with('<') && id.ends_with('>') && id.bytes().all(|byte| byte.is_ascii_graphic());
    let same = lines.iter().all(|line| line.message_id == id);
    if is_id && same { id.to_owned() } else { String::new() }
}

fn moment(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%-d %b %Y, %H:%M UTC").to_string()
}

fn details(entry: &TimelineEntry) -> Vec<String> {
    let event = &entry.event;
    let place = match (&event.city, &event.country) {
        (Some(city), Some(country)) => Some(format!("{city}, {country}")),
        (city, country) => city.clone().or_else(|| country.clone()),
    };
    let perhaps = |place: String| match event.via {
        Some(Via::Relay | Via::Hosting) => format!("perhaps {place}"),
        None => place,
    };
    let place = match event.verdict {
        Verdict::Proxy => Some("place unknown".to_owned()),
        _ => place.map(perhaps),
    };
    let client = match (&event.agent_family, &event.os_family) {
        (Some(agent), Some(os)) => Some(format!("{agent} on {os}")),
        (agent, os) => agent.clone().or_else(|| os.clone()),
    };
    [place, client].into_iter().flatten().map(|detail| cleaned(&detail)).collect()
}

/// Name and address. The address is whole (an erasure finds the line by it), the name need not be.
fn who(of: &Addressee) -> String {
    let name = on_one_line(&of.name).take(NAME_CHARS_MAX).collect();
    Addressee { address: on_one_line(&of.address).collect(), name }.to_string()
}

fn on_one_line(text: &str) -> impl Iterator<Item = char> {
    let turning = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    text.chars().map(move |c| if c.is_control() || turning(c) { '\u{fffd}' } else { c })
}

/// On one line, of a bounded length.
fn cleaned(text: &str) -> String {
    let mut cleaned: String = on_one_line(text).take(WORDS_CHARS_MAX).collect();
    if text.chars().nth(WORDS_CHARS_MAX).is_some() {
        cleaned.push('…');
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::super::payload::tests::{AT_MS, event};
    use super::*;
    use crate::store::outbox::News;

    const STOP: &str = "https://t.example.com/n/AbCdEf";

    fn entry(kind: EventKind, verdict: Verdict) -> TimelineEntry {
        let News::Event { entry, .. } = event(kind, verdict, true) else { panic!() };
        *entry
    }

    fn written(lines: &[Line], more: u32) -> Bytes {
        let mailbox = |address: &str| Mailbox::parse(address.as_bytes(), false).unwrap();
        let (from, to) = (mailbox("relay@acme.example"), mailbox("ann@acme.example"));
        let header = Addressed {
            from: &from,
            to: &to,
            reverse_path: &ReversePath::Null,
            hostname: "relay.example",
            id: "0badcafe",
            stop_url: STOP,
            now_ms: AT_MS,
        };
        let (envelope, raw) = letter(&header, lines, more).unwrap();
        assert_eq!((envelope.reverse_path, envelope.recipients.len()), (ReversePath::Null, 1));
        assert!(raw.is_ascii() && !raw.windows(2).any(|w| w[1] == b'\n' && w[0] != b'\r'));
        raw
    }

    #[test]
    fn one_event_reads_well_to_another_parser() {
        let line = Line::of(&entry(EventKind::Open, Verdict::Person), "<offer@acme.example>");
        assert_eq!(Line::read(&line.print()), Some(line.clone()));
        let raw = written(&[line], 0);
        let mail = MessageParser::default().parse(raw.as_ref()).unwrap();
        assert_eq!(mail.subject(), Some("Bob Reader <bob@reader.example> opened “The offer”"));
        assert_eq!(mail.from().unwrap().first().unwrap().name(), Some("waxseal"));
        assert_eq!(mail.to().unwrap().first().unwrap().address(), Some("ann@acme.example"));
        assert_eq!(mail.message_id(), Some("notice.0badcafe@relay.example"));
        let header = |name: &'static str| mail.header_raw(name).map(str::trim).unwrap_or_default();
        assert_eq!(header("Auto-Submitted"), "auto-generated");
        assert_eq!(header("List-Unsubscribe"), format!("<{STOP}>"));
        assert_eq!(header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
        assert_eq!(header("References"), "<offer@acme.example>");
        let text = mail.body_text(0).unwrap().replace("\r\n", "\n");
        assert!(
            text.starts_with(
                "Bob Reader <bob@reader.example> opened “The offer”\n  23 Nov 2026, 20:00 UTC · perhaps Lisbon, PT · Apple Mail\n"
            ),
            "{text}"
        );
        assert!(text.ends_with(&format!("To stop this mail: {STOP}\n")), "{text}");
    }

    #[test]
    fn several_are_one_mail() {
        let lines = [
            Line::of(&entry(EventKind::Open, Verdict::Proxy), "<a@acme.example>"),
            Line::of(&entry(EventKind::Click, Verdict::Person), "<b@acme.example>"),
        ];
        let raw = written(&lines, 3);
        let mail = MessageParser::default().parse(raw.as_ref()).unwrap();
        assert_eq!(mail.subject(), Some("5 opens and clicks of your mail"));
        assert!(mail.header_raw("References").is_none(), "they are about two mails");
        let text = mail.body_text(0).unwrap();
        for words in ["place unknown", "followed a link in “The offer”", "  https://shop.example/offer", "And 3 more"]
        {
            assert!(text.contains(words), "{words} is not in {text}");
        }
    }

    /// An erasure finds the line by the address, however long the name is.
    #[test]
    fn the_address_is_whole() {
        let mut long = entry(EventKind::Open, Verdict::Person);
        let address = format!("{}@reader.example", "b".repeat(250));
        long.recipient = Some(Addressee { address: address.clone(), name: "Ö".repeat(300) });
        let line = Line::of(&long, "<x>").print();
        assert!(line.contains(&format!("Ö <{address}>")) && line.matches('Ö').count() == 80, "{line}");
    }

    /// What others wrote stays on its line, and a header stays one.
    #[test]
    fn nothing_from_outside_adds_a_line() {
        let mut hostile = entry(EventKind::Click, Verdict::Person);
        hostile.subject = format!("x\r\nBcc: eve@evil.example\r\n\r\n{}", "y".repeat(5_000));
        let address = "\"a\r\nX-Evil: 1\"@x.example".to_owned();
        hostile.recipient = Some(Addressee { address, name: "Bob\r\nX-Evil: 3\r\n\r\n.".to_owned() });
        hostile.destination = Some("https://x.example/\r\n.\r\n".to_owned());
        hostile.event.city = Some("\u{2028}Lisbon\n".to_owned());
        let raw = written(&[Line::of(&hostile, "<x>\r\nX-Evil: 2")], 0);
        let mail = MessageParser::default().parse(raw.as_ref()).unwrap();
        assert!(mail.header_raw("Bcc").is_none() && mail.header_raw("X-Evil").is_none());
        assert!(mail.header_raw("References").is_none());
        assert!(raw.len() < 8_000 && raw.split(|byte| *byte == b'\n').all(|line| line.len() <= 998), "{}", raw.len());
        assert!(!mail.body_text(0).unwrap().lines().any(|line| line == "."));
    }
}

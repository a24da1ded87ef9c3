//! Mail that waxseal writes itself. It takes the same way as everyone's: the caller submits it, tracking included.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lettre::Message;
use lettre::message::{Mailbox as Header, MultiPart};

use crate::message::{Envelope, Recipient};
use crate::smtp::extension::{MailParams, RcptParams};
use crate::smtp::{ForwardPath, Mailbox, ReversePath};

/// Why a mail of our own could not be written.
#[derive(Debug)]
pub enum OwnMailError {
    /// An address that SMTP takes and a header does not.
    Address(String),
    /// The message cannot be put together.
    Message(lettre::error::Error),
}

/// A mail that shows what tracking does: HTML and plain text, with one link to `link` (an absolute http or https URL).
/// `hostname` stands in the Message-ID, `now` in Date and Message-ID. CRLF line ends, ASCII.
///
/// # Errors
/// [`OwnMailError`], for whoever typed the addresses.
pub fn test_mail(
    from: &Mailbox,
    to: &Mailbox,
    hostname: &str,
    link: &str,
    now: SystemTime,
) -> Result<(Envelope, Bytes), OwnMailError> {
    let message = Message::builder()
        .from(header(from)?)
        .to(header(to)?)
        .subject("A test mail from waxseal")
        .date(now)
        .message_id(Some(test_mail_id(hostname, now)))
        .multipart(MultiPart::alternative_plain_html(text(link), html(link)))
        .map_err(OwnMailError::Message)?;
    let envelope = Envelope {
        reverse_path: ReversePath::Mailbox(from.clone()),
        params: MailParams::default(),
        recipients: vec![Recipient { path: ForwardPath(to.clone()), params: RcptParams::default() }],
    };
    Ok((envelope, message.formatted().into()))
}

/// The Message-ID that [`test_mail`] gives its mail, brackets included.
pub fn test_mail_id(hostname: &str, now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("<test.{}@{hostname}>", since.as_nanos())
}

fn header(mailbox: &Mailbox) -> Result<Header, OwnMailError> {
    let address = mailbox.display().parse().map_err(|_| OwnMailError::Address(mailbox.display()))?;
    Ok(Header::new(None, address))
}

fn text(link: &str) -> String {
    format!(
        "This is a test mail.\r\n\r\n\
         If you can read it, mail leaves through waxseal. It was read when its picture was loaded, and\r\n\
         somebody was curious when this link was followed:\r\n\r\n{link}\r\n\r\n\
         Both are on the dashboard a moment later, if tracking is switched on.\r\n"
    )
}

fn html(link: &str) -> String {
    let link = escaped(link);
    format!(
        "<!DOCTYPE html>\r\n<html lang=\"en\">\r\n<head><meta charset=\"utf-8\"><title>A test mail</title></head>\r\n\
         <body>\r\n<p>This is a test mail.</p>\r\n\
         <p>If you can read it, mail leaves through waxseal. It was read when its picture was loaded, and somebody was\r\n\
         curious when <a href=\"{link}\">this link</a> was followed.</p>\r\n\
         <p>Both are on the dashboard a moment later, if tracking is switched on.</p>\r\n\
         </body>\r\n</html>\r\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

impl fmt::Display for OwnMailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OwnMailError::Address(address) => write!(f, "`{address}` cannot stand in a From or To header"),
            OwnMailError::Message(error) => write!(f, "the mail cannot be put together: {error}"),
        }
    }
}

impl std::error::Error for OwnMailError {}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::{MessageParser, MimeHeaders};
    use std::time::Duration;

    fn mailbox(address: &str) -> Mailbox {
        Mailbox::parse(address.as_bytes(), false).unwrap()
    }

    #[test]
    fn a_test_mail_reads_well_to_another_parser() {
        let now = UNIX_EPOCH + Duration::from_secs(1_770_000_000);
        let (from, to) = (mailbox("alice@example.com"), mailbox("bob@example.org"));
        let (envelope, raw) = test_mail(&from, &to, "relay.example.com", "https://example.com/?a=1&b=2", now).unwrap();
        assert_eq!(envelope.recipients.len(), 1);
        assert!(raw.is_ascii() && !raw.windows(2).any(|w| w[1] == b'\n' && w[0] != b'\r'));
        let mail = MessageParser::default().parse(raw.as_ref()).unwrap();
        assert_eq!(mail.from().unwrap().first().unwrap().address(), Some("alice@example.com"));
        assert_eq!(mail.date().unwrap().to_timestamp(), 1_770_000_000);
        assert_eq!(mail.message_id(), Some("test.1770000000000000000@relay.example.com"));
        assert_eq!(mail.content_type().unwrap().ctype(), "multipart");
        assert!(mail.body_html(0).unwrap().contains("<a href=\"https://example.com/?a=1&amp;b=2\">this link</a>"));
        assert!(mail.body_text(0).unwrap().contains("\nhttps://example.com/?a=1&b=2"));
    }

    #[test]
    fn an_address_no_header_takes_is_an_error() {
        let (from, to) = (mailbox("alice@example.com"), mailbox("postmaster"));
        let error = test_mail(&from, &to, "x.test", "https://example.com/", UNIX_EPOCH).unwrap_err();
        assert_eq!(error.to_string(), "`postmaster` cannot stand in a From or To header");
    }
}

//! A mail as a reader sees it: headers for people, and its HTML as a document that can be shown in a sandboxed frame.
//!
//! The document is the mail's own HTML, decoded, byte for byte what a mail client would render; nothing is filtered out,
//! because the frame's sandbox and policy take its powers away (no script, no form, no same origin).

use mail_parser::{Address, MessageParser, PartType};
use memchr::memmem;

/// Above this many nested or multipart headers the parser is not asked: deep nesting exhausts its stack, endless
/// multiparts its time. Real mail stays below 30.
const STRUCTURE_MAX: usize = 200;
/// Above this many lines that may be boundaries it is not asked either.
const BOUNDARY_LINES_MAX: usize = 2_000;

/// Links of the shown copy lead to a new tab, because the frame itself may show nothing but the mail. The first `base`
/// with a target counts wherever it stands, so it goes to the end and disturbs no doctype.
const LINKS_LEAVE_THE_FRAME: &str = "<base target=\"_blank\">";

/// What a reader sees of a mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Decoded Subject.
    pub subject: String,
    /// Decoded From.
    pub from: String,
    /// Decoded To and Cc.
    pub to: String,
    /// The Date header, RFC 3339.
    pub date: Option<String>,
    /// The HTML part, decoded.
    pub html: Option<String>,
    /// The text part, decoded; when there is HTML, the one the sender wrote beside it.
    pub text: Option<String>,
    /// The structure is too odd to take apart here; the raw mail can still be downloaded.
    pub unreadable: bool,
}

impl Shown {
    /// What is shown of a mail that cannot be taken apart.
    pub(super) fn unreadable() -> Shown {
        Shown { unreadable: true, ..Shown::default() }
    }
}

/// Takes a mail apart for display. Cost: one parse; a mail beyond the limits answers `unreadable` at once.
pub(super) fn show(raw: &[u8]) -> Shown {
    if !is_plain_enough(raw) {
        return Shown::unreadable();
    }
    let Some(message) = MessageParser::default().parse(raw) else { return Shown::unreadable() };
    let html = message.html_part(0).and_then(|part| match &part.body {
        PartType::Html(html) => Some(html.to_string()),
        _ => None,
    });
    let text = message.text_part(0).and_then(|part| match &part.body {
        PartType::Text(text) => Some(text.to_string()),
        _ => None,
    });
    let to: Vec<String> = [message.to(), message.cc()].into_iter().flatten().map(names).collect();
    Shown {
        subject: message.subject().unwrap_or_default().to_owned(),
        from: message.from().map(names).unwrap_or_default(),
        to: to.join(", "),
        date: message.date().map(mail_parser::DateTime::to_rfc3339),
        html,
        text,
        unreadable: false,
    }
}

/// The Subject alone, decoded; empty when there is none. Cost: the header, not the mail.
pub(super) fn subject(raw: &[u8]) -> String {
    let header_bytes = memmem::find(raw, b"\r\n\r\n").map_or(raw.len(), |at| at + 4).min(256 * 1024);
    let header = raw.get(..header_bytes).unwrap_or_default();
    let parsed = MessageParser::default().parse_headers(header);
    parsed.and_then(|message| message.subject().map(str::to_owned)).unwrap_or_default()
}

/// The document for the frame; a mail without HTML shows its text.
pub(super) fn document(shown: &Shown) -> String {
    match (&shown.html, &shown.text) {
        (Some(html), _) => format!("{html}{LINKS_LEAVE_THE_FRAME}"),
        (None, Some(text)) => text_document(text),
        (None, None) => text_document("This mail has no text to show. Download it to see the whole."),
    }
}

fn text_document(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            other => escaped.push(other),
        }
    }
    format!("<!doctype html><meta charset=utf-8><title>Mail</title><pre style=\"white-space:pre-wrap\">{escaped}</pre>")
}

fn names(address: &Address<'_>) -> String {
    let one = |addr: &mail_parser::Addr<'_>| match (addr.name(), addr.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    };
    address.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn is_plain_enough(raw: &[u8]) -> bool {
    let lower = raw.to_ascii_lowercase();
    let count = |needle: &[u8], max: usize| memmem::find_iter(&lower, needle).take(max + 1).count();
    count(b"message/", STRUCTURE_MAX) + count(b"multipart/", STRUCTURE_MAX) <= STRUCTURE_MAX
        && count(b"\n--", BOUNDARY_LINES_MAX) <= BOUNDARY_LINES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALTERNATIVE: &[u8] = b"From: =?utf-8?q?Ann_=C3=84?= <ann@a.example>\r\nTo: bob@b.example\r\nCc: Cy <cy@c.example>\r\n\
        Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\nDate: Mon, 23 Nov 2026 20:00:00 +0100\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n1 < 2 & 3\r\n\
        --b\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<!doctype html><p>caf=E9</p>\r\n--b--\r\n";

    #[test]
    fn headers_are_decoded_and_both_parts_found() {
        let shown = show(ALTERNATIVE);
        assert_eq!(shown.subject, "Grüße");
        assert_eq!(shown.from, "Ann Ä <ann@a.example>");
        assert_eq!(shown.to, "bob@b.example, Cy <cy@c.example>");
        assert_eq!(shown.html.as_deref().map(str::trim_end), Some("<!doctype html><p>café</p>"));
        assert_eq!(shown.text.as_deref().map(str::trim_end), Some("1 < 2 & 3"));
        assert_eq!(subject(ALTERNATIVE), "Grüße");
        assert!(document(&shown).starts_with("<!doctype html>"), "the mail's own doctype stays first");
    }

    #[test]
    fn text_is_escaped_in_its_document() {
        let shown = show(b"Subject: x\r\n\r\n<script>alert(1)</script> & co\r\n");
        assert_eq!(shown.html, None);
        assert!(document(&shown).contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; co"), "{}", document(&shown));
    }

    #[test]
    fn hostile_structure_is_not_parsed() {
        // 40,000 nested messages overflow the parser's stack; a million boundaries take its time
        let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(40_000);
        assert!(show(nested.as_bytes()).unreadable);
        let parts = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\n".repeat(100_000));
        assert!(show(parts.as_bytes()).unreadable);
        // and nothing at all is no crash
        assert_eq!(subject(b""), "");
        assert!(document(&show(b"")).contains("no text to show"));
    }
}

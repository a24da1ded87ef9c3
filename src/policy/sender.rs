//! May this submitter send with this reverse path and this header?
//!
//! The header is read twice, by a strict reader of our own and by mail-parser, and every address that either finds must be
//! allowed. **Invariant:** what we cannot read we do not let through: a recipient's client could read it.

use std::borrow::Cow;
use std::fmt;

use mail_parser::{Address, MessageParser};

use crate::message::header::{Field, fields, slice};
use crate::smtp::path::ReversePath;

/// Whose addresses a submitter may use.
#[derive(Debug, Clone, Copy)]
pub struct Allowed<'a> {
    /// Domains, lower-case A-labels: any local part, with or without a `+tag`.
    pub domains: &'a [String],
    /// Whole addresses: the local part as it stands, in any case.
    pub addresses: &'a [String],
}

/// Why it may not. The reply is `553 5.7.1` for the reverse path and `550 5.7.1` for the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SenderRefused {
    /// The reverse path is not the submitter's.
    ReversePath,
    /// An address in From is not.
    From,
    /// An address in Sender is not.
    Sender,
    /// An address in Resent-From or Resent-Sender is not.
    Resent,
    /// More than one From or Sender field.
    Twice,
    /// Several addresses in From, and no Sender (RFC 5322 §3.6.2).
    SenderMissing,
    /// One of these fields cannot be read as a list of addresses.
    Unreadable,
}

impl fmt::Display for SenderRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SenderRefused::ReversePath => "you may not send with this return address",
            SenderRefused::From => "you may not send with this From address",
            SenderRefused::Sender => "you may not send with this Sender address",
            SenderRefused::Resent => "you may not resend with this Resent-From or Resent-Sender address",
            SenderRefused::Twice => "more than one From or Sender header field",
            SenderRefused::SenderMissing => "several From addresses need a Sender header field",
            SenderRefused::Unreadable => "a From, Sender or Resent header field cannot be read",
        })
    }
}

/// Judges `MAIL FROM`. The null path is allowed: receipts are sent with it, and the header is judged all the same.
///
/// # Errors
/// [`SenderRefused::ReversePath`].
pub fn reverse_path(allowed: Allowed<'_>, path: &ReversePath) -> Result<(), SenderRefused> {
    match path {
        ReversePath::Null => Ok(()),
        ReversePath::Mailbox(mailbox) => {
            let ok = allowed.covers(mailbox.local(), mailbox.domain());
            ok.then_some(()).ok_or(SenderRefused::ReversePath)
        }
    }
}

/// Judges the top header of a message. A message without From is let through: it pretends to be nobody.
///
/// # Errors
/// What is wrong first, in the order of [`SenderRefused`]'s fields: From, Sender, Resent.
pub fn header(allowed: Allowed<'_>, raw: &[u8]) -> Result<(), SenderRefused> {
    let all: Vec<Field> = fields(raw, 0).collect();
    if all.iter().any(|field| field.is_malformed() && looks_like_from(slice(raw, &field.whole))) {
        return Err(SenderRefused::Unreadable);
    }
    let values = |name: &str| -> Vec<&[u8]> {
        all.iter().filter(|field| field.is(raw, name)).map(|field| slice(raw, &field.value)).collect()
    };
    let (from, sender) = (values("From"), values("Sender"));
    if from.len() > 1 || sender.len() > 1 {
        return Err(SenderRefused::Twice);
    }
    let mut authors = 0;
    for value in &from {
        authors += judge(allowed, value, SenderRefused::From)?;
    }
    for value in &sender {
        judge(allowed, value, SenderRefused::Sender)?;
    }
    if authors > 1 && sender.is_empty() {
        return Err(SenderRefused::SenderMissing);
    }
    for value in values("Resent-From").iter().chain(&values("Resent-Sender")) {
        judge(allowed, value, SenderRefused::Resent)?;
    }
    Ok(())
}

/// A line that is no field for us but could be `From` for somebody: ` From: x`, `From x: y`, `Fr\0om:`.
/// The mbox line `From name date` that old files begin with has no address that a client would show, but is not ours to judge.
fn looks_like_from(line: &[u8]) -> bool {
    let letters: Vec<u8> = line.iter().filter(|b| b.is_ascii_alphabetic() || **b == b':').copied().collect();
    let starts = |name: &[u8]| letters.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    starts(b"from:") || starts(b"sender:") || starts(b"resentfrom:") || starts(b"resentsender:")
}

/// How many addresses the value holds, if all are allowed.
fn judge(allowed: Allowed<'_>, value: &[u8], refused: SenderRefused) -> Result<usize, SenderRefused> {
    let addresses = addresses(value).ok_or(SenderRefused::Unreadable)?;
    if addresses.is_empty() {
        return Err(SenderRefused::Unreadable);
    }
    for address in &addresses {
        let (local, domain) = split(address).ok_or(SenderRefused::Unreadable)?;
        if !allowed.covers(local, domain) {
            return Err(refused);
        }
    }
    for address in second_reading(value) {
        // It takes the quotes off a local part; whose address it is, the domain tells.
        let (local, domain) = address.rsplit_once('@').unwrap_or((&address, ""));
        if !allowed.covers(local.as_bytes(), domain.as_bytes()) {
            return Err(refused);
        }
    }
    Ok(addresses.len())
}

impl Allowed<'_> {
    fn covers(&self, local: &[u8], domain: &[u8]) -> bool {
        let Some(domain) = a_label(domain) else { return false };
        let by_address = |address: &String| {
            address.rsplit_once('@').is_some_and(|(own_local, own_domain)| {
                own_local.as_bytes().eq_ignore_ascii_case(local)
                    && a_label(own_domain.as_bytes()).as_ref() == Some(&domain)
            })
        };
        self.domains.iter().any(|own| a_label(own.as_bytes()).as_ref() == Some(&domain))
            || self.addresses.iter().any(by_address)
    }
}

/// The domain as DNS compares it: lower-case A-labels, without the root's dot. `None` for an address literal and the like.
fn a_label(domain: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(domain).ok()?;
    let text = text.strip_suffix('.').unwrap_or(text);
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    if !text.is_empty() && text.bytes().all(plain) && !text.contains("xn--") {
        return Some(Cow::Borrowed(text));
    }
    let mapped = idna::domain_to_ascii(text).ok().filter(|mapped| !mapped.is_empty())?;
    mapped.bytes().all(plain).then_some(Cow::Owned(mapped))
}

/// Local part and domain at the last `@`.
fn split(address: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memrchr(b'@', address)?;
    let (local, domain) = (address.get(..at)?, address.get(at + 1..)?);
    let odd = |b: &u8| b.is_ascii_whitespace() || b.is_ascii_control() || b"<>(),;:".contains(b);
    let quoted = local.len() >= 2 && local.starts_with(b"\"") && local.ends_with(b"\"");
    let plain_local = quoted || !local.iter().any(|b| odd(b) || *b == b'@' || *b == b'"');
    (!local.is_empty() && !domain.is_empty() && plain_local && !domain.iter().any(odd)).then_some((local, domain))
}

/// What another reader finds. Only what has an `@`: a name is not an address.
fn second_reading(value: &[u8]) -> Vec<String> {
    let field = [b"From:", value, b"\r\n\r\n"].concat();
    let Some(message) = MessageParser::default().parse_headers(&field) else { return Vec::new() };
    let found = message.from().map(Address::iter).into_iter().flatten().filter_map(|address| address.address());
    found.filter(|address| address.contains('@')).map(str::to_owned).collect()
}

/// The addresses of a list (RFC 5322 §3.4) as they stand; `None` where it is not plainly one.
fn addresses(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader { found: Vec::new(), outside: Vec::new(), angle: None };
    let mut rest = value;
    while let Some((first, tail)) = rest.split_first() {
        rest = match first {
            b'"' => reader.quoted(tail)?,
            b'(' => comment(tail)?,
            b'<' => reader.angle(tail)?,
            b',' | b';' => {
                reader.end()?;
                tail
            }
            // The name of a group ends here; its members follow.
            b':' => {
                reader.outside.clear();
                tail
            }
            b'>' | b')' | b'\\' => return None,
            octet if octet.is_ascii_control() && !octet.is_ascii_whitespace() => return None,
            octet => {
                reader.outside.push(*octet);
                tail
            }
        };
    }
    reader.end()?;
    Some(reader.found)
}

struct Reader {
    found: Vec<Vec<u8>>,
    /// Text outside angle brackets: a name, or an address without them.
    outside: Vec<u8>,
    angle: Option<Vec<u8>>,
}

impl Reader {
    /// A quoted string, after its first quote; kept with its quotes.
    fn quoted<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let len = quoted_len(text)?;
        self.outside.push(b'"');
        self.outside.extend_from_slice(text.get(..len)?);
        text.get(len..)
    }

    /// An address in angle brackets, after the first; a second one, or a source route, is nothing plain.
    fn angle<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let mut at = 0;
        loop {
            match text.get(at)? {
                b'>' => break,
                b'"' => at += 1 + quoted_len(text.get(at + 1..)?)?,
                b'<' | b'(' | b',' | b';' => return None,
                _ => at += 1,
            }
        }
        let inside = text.get(..at)?.trim_ascii().to_vec();
        if inside.is_empty() || self.angle.replace(inside).is_some() {
            return None;
        }
        self.outside.clear();
        text.get(at + 1..)
    }

    /// The end of one mailbox.
    fn end(&mut self) -> Option<()> {
        let outside = std::mem::take(&mut self.outside);
        let outside = outside.trim_ascii();
        match (self.angle.take(), outside.is_empty()) {
            (Some(address), true) => self.found.push(address),
            (Some(_), false) => return None,
            (None, false) => self.found.push(outside.to_vec()),
            (None, true) => {}
        }
        Some(())
    }
}

/// Octets up to and with the closing quote.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// What follows a comment, after its first parenthesis.
fn comment(text: &[u8]) -> Option<&[u8]> {
    let (mut at, mut depth) = (0, 1usize);
    while depth > 0 {
        match text.get(at)? {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    text.get(at..)
}

#[cfg(test)]
mod tests {
    use super::SenderRefused as No;
    use super::*;

    fn check(rows: &[(&str, Result<(), No>)]) {
        let domains = ["org1.test".to_owned(), "xn--bcher-kva.test".to_owned()];
        let addresses = ["Ann@Partner.test".to_owned()];
        let allowed = Allowed { domains: &domains, addresses: &addresses };
        for (fields, expected) in rows {
            let raw = format!("To: x@y.test\r\n{fields}\r\nSubject: x\r\n\r\nFrom: ceo@org2.test\r\n");
            assert_eq!(header(allowed, raw.as_bytes()), *expected, "{fields:?}");
        }
    }

    #[test]
    fn own_addresses_pass_however_they_are_written() {
        check(&[
            ("From: a@org1.test", Ok(())),
            ("from : Ann <a+tag@ORG1.test>", Ok(())),
            ("From: \"a, b\" <a@org1.test> (c, d@e)", Ok(())),
            ("From: a@org1.test.", Ok(())),
            ("From: =?utf-8?q?A=2C_b?=\r\n <a@org1.test>", Ok(())),
            ("From: \"odd, local\"@org1.test", Ok(())),
            ("From: team: a@org1.test;", Ok(())),
            // U-label, its A-label, composed and decomposed
            ("From: a@bücher.test", Ok(())),
            ("From: a@BU\u{308}CHER.test", Ok(())),
            ("From: a@xn--bcher-kva.test", Ok(())),
            // an address of the user's own in another domain
            ("From: ann@partner.test", Ok(())),
            // a name that looks like an address is only a name
            ("From: \"ceo@org2.test\" <a@org1.test>", Ok(())),
            ("From: a@org1.test, b@org1.test\r\nSender: a@org1.test", Ok(())),
            ("X-From: ceo@org2.test", Ok(())),
        ]);
    }

    #[test]
    fn nobody_sends_as_somebody_else() {
        check(&[
            ("From: ceo@org2.test", Err(No::From)),
            ("From: a@org1.test.evil.test", Err(No::From)),
            ("From: a@sub.org1.test", Err(No::From)),
            ("From: a@[192.0.2.1]", Err(No::From)),
            // the tag belongs to the domain rule only
            ("From: ann+x@partner.test", Err(No::From)),
            ("From: bob@partner.test", Err(No::From)),
            // another letter that looks the same
            ("From: a@b\u{fc}cher.test", Ok(())),
            ("From: a@\u{43e}rg1.test", Err(No::From)),
            // two fields, in any spelling; several addresses
            ("From: a@org1.test\r\nFROM : ceo@org2.test", Err(No::Twice)),
            ("From: a@org1.test, b@org1.test", Err(No::SenderMissing)),
            ("From: a@org1.test, ceo@org2.test\r\nSender: a@org1.test", Err(No::From)),
            ("From: a@org1.test\r\nSender: ceo@org2.test", Err(No::Sender)),
            ("From: a@org1.test\r\nResent-From: ceo@org2.test", Err(No::Resent)),
            ("From: ceo@org2.test\r\nResent-From: a@org1.test", Err(No::From)),
            ("From: a@org1.test\r\nResent-Sender: ceo@org2.test", Err(No::Resent)),
            // what two readers could read differently
            ("From: <a@org1.test> <ceo@org2.test>", Err(No::Unreadable)),
            ("From: <a@org1.test> ceo@org2.test", Err(No::Unreadable)),
            ("From: ceo@org2.test <a@org1.test", Err(No::Unreadable)),
            ("From: \"a <a@org1.test>", Err(No::Unreadable)),
            ("From: <@org1.test:ceo@org2.test>", Err(No::Unreadable)),
            ("From: a@org1.test ceo@org2.test", Err(No::Unreadable)),
            ("From: =?utf-8?q?ceo=40org2=2Etest?=", Err(No::Unreadable)),
            ("From: a@org1.test\0@org2.test", Err(No::Unreadable)),
            ("From: <>", Err(No::Unreadable)),
            ("From:", Err(No::Unreadable)),
            // a line that is no field for us, and may be one for a client
            ("From ceo: ceo@org2.test", Ok(())),
            ("Fr\0om: ceo@org2.test", Err(No::Unreadable)),
        ]);
        let leading = b" From: ceo@org2.test\r\nFrom: a@org1.test\r\n\r\n";
        let domains = ["org1.test".to_owned()];
        assert_eq!(header(Allowed { domains: &domains, addresses: &[] }, leading), Err(No::Unreadable));
    }

    proptest::proptest! {
        #[test]
        fn any_field_is_answered(value in "([ -~]|\\PC|\"|<|>|@|org1.test){0,40}") {
            let domains = ["org1.test".to_owned()];
            let raw = format!("From: {value}\r\n\r\n");
            let answered = header(Allowed { domains: &domains, addresses: &[] }, raw.as_bytes());
            assert!(answered.is_ok() || !answered.unwrap_err().to_string().is_empty());
        }
    }
}

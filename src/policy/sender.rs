//! May this submitter send with this reverse path and this header?
//!
//! The header is read twice, by a strict reader of our own and by mail-parser, and every address that either finds must be
//! allowed. Names are people's own words ("ceo@example.net via our help desk"), but show no address of another organisation here.
//! **Invariant:** what we cannot read we do not let through: a recipient's client could read it.

mod list;
mod shown;
mod words;

use std::borrow::Cow;
use std::fmt;

use mail_parser::{Address, MessageParser};

use crate::message::header::{fields, slice};
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
    /// The name beside an allowed address shows one of another organisation's.
    Name,
    /// One of these fields cannot be read as a list of addresses, or is too long.
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
            SenderRefused::Name => "a name in From, Sender or Resent shows an address of another organisation",
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
/// `is_others` tells whether a domain, as lower-case A-labels, is another organisation's here: its addresses may not be
/// shown as somebody's name either. One pass over the header, no allocation that grows with it.
///
/// # Errors
/// What is wrong first: [`SenderRefused::Unreadable`] and `Twice` before the rest, then From, Sender, Resent.
pub fn header(allowed: Allowed<'_>, is_others: &dyn Fn(&str) -> bool, raw: &[u8]) -> Result<(), SenderRefused> {
    let asked = Asked::of(raw)?;
    let judge = |value, refused| judge(allowed, is_others, value, refused);
    let mut authors = 0;
    if let Some(from) = asked.from {
        authors = judge(from, SenderRefused::From)?;
    }
    if let Some(sender) = asked.sender {
        judge(sender, SenderRefused::Sender)?;
    }
    if authors > 1 && asked.sender.is_none() {
        return Err(SenderRefused::SenderMissing);
    }
    for value in asked.resent {
        judge(value, SenderRefused::Resent)?;
    }
    Ok(())
}

/// Octets that the fields asked for may hold together. A mail has a few hundred; whoever writes more tries our memory.
const VALUES_BYTES_MAX: usize = 64 * 1024;
/// Resent fields: each time a mail is sent on adds one or two.
const RESENT_MAX: usize = 50;

/// The values of the fields that say whose mail it is.
#[derive(Default)]
struct Asked<'a> {
    from: Option<&'a [u8]>,
    sender: Option<&'a [u8]>,
    resent: Vec<&'a [u8]>,
}

impl Asked<'_> {
    fn of(raw: &[u8]) -> Result<Asked<'_>, SenderRefused> {
        let (mut asked, mut bytes) = (Asked::default(), 0);
        for field in fields(raw, 0) {
            if field.is_malformed() && looks_like_from(slice(raw, &field.whole)) {
                return Err(SenderRefused::Unreadable);
            }
            let value = slice(raw, &field.value);
            let before = if field.is(raw, "From") {
                asked.from.replace(value)
            } else if field.is(raw, "Sender") {
                asked.sender.replace(value)
            } else if field.is(raw, "Resent-From") || field.is(raw, "Resent-Sender") {
                asked.resent.push(value);
                None
            } else {
                continue;
            };
            if before.is_some() {
                return Err(SenderRefused::Twice);
            }
            bytes += value.len();
            if bytes > VALUES_BYTES_MAX || asked.resent.len() > RESENT_MAX {
                return Err(SenderRefused::Unreadable);
            }
        }
        Ok(asked)
    }
}

/// A line that is no field for us but could be `From` for somebody: ` From: x`, `From x: y`, `Fr\0om:`.
/// The mbox line `From name date` that old files begin with has no address that a client would show, but is not ours to judge.
fn looks_like_from(line: &[u8]) -> bool {
    let letters = line.iter().filter(|b| b.is_ascii_alphabetic() || **b == b':').map(u8::to_ascii_lowercase);
    let starts = |name: &&str| letters.clone().take(name.len()).eq(name.bytes());
    ["from:", "sender:", "resentfrom:", "resentsender:"].iter().any(starts)
}

/// How many mailboxes the value holds, if all are allowed.
fn judge(
    allowed: Allowed<'_>,
    is_others: &dyn Fn(&str) -> bool,
    value: &[u8],
    refused: SenderRefused,
) -> Result<usize, SenderRefused> {
    let list = list::read(value).filter(|list| !list.mailboxes.is_empty()).ok_or(SenderRefused::Unreadable)?;
    let names = list.names.iter().filter(|name| !shows_no_address(name));
    for address in list.mailboxes.iter().chain(names) {
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
    let shown = shown::domains(value, |domain| allowed.has_domain(domain)).ok_or(SenderRefused::Unreadable)?;
    if shown.iter().any(|domain| is_others(domain)) {
        return Err(SenderRefused::Name);
    }
    Ok(list.mailboxes.len())
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

    /// Whether there is an address in this domain that may be used.
    fn has_domain(&self, domain: &str) -> bool {
        let of_addresses = self.addresses.iter().filter_map(|address| Some(address.rsplit_once('@')?.1));
        let mut own = self.domains.iter().map(String::as_str).chain(of_addresses);
        own.any(|own| a_label(own.as_bytes()).as_deref() == Some(domain))
    }
}

/// The domain as DNS compares it: lower-case A-labels, without the root's dot. `None` for an address literal and the like.
pub fn a_label(domain: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(domain).ok()?;
    let text = text.strip_suffix('.').unwrap_or(text);
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    if !text.is_empty() && text.bytes().all(plain) && !text.contains("xn--") {
        return Some(Cow::Borrowed(text));
    }
    let mapped = idna::domain_to_ascii(text).ok().filter(|mapped| !mapped.is_empty())?;
    mapped.bytes().all(plain).then_some(Cow::Owned(mapped))
}

/// Local part and domain at the last `@`. A local part that holds the start of an encoded word is nothing plain: it must not
/// be decoded (RFC 2047 §5), and clients that do show what stands in it, up to a NUL or a line end, for the whole address.
fn split(address: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memrchr(b'@', address)?;
    let (local, domain) = (address.get(..at)?, address.get(at + 1..)?);
    let odd = |b: &u8| b.is_ascii_whitespace() || b.is_ascii_control() || b"<>(),;:".contains(b);
    let quoted = local.strip_prefix(b"\"").is_some_and(|rest| list::quoted_len(rest) == Some(rest.len()));
    let plain_local = quoted || !local.iter().any(|b| odd(b) || *b == b'@' || *b == b'"');
    let is_encoded = memchr::memmem::find(local, b"=?").is_some();
    (!local.is_empty() && !domain.is_empty() && plain_local && !is_encoded && !domain.iter().any(odd))
        .then_some((local, domain))
}

/// Whether nobody could take the name for an address on the internet: no `@` of it has a domain with a dot behind it, as in
/// `Team @ Acme`. Hand-typed headers of scripts and copiers have such names.
fn shows_no_address(name: &[u8]) -> bool {
    name.split(|octet| *octet == b'@').skip(1).all(|after| {
        let after = after.trim_ascii_start();
        let end = after.iter().position(u8::is_ascii_whitespace).unwrap_or(after.len());
        let (domain, rest) = after.split_at(end);
        // `org2 . test` is a domain in the old syntax (RFC 5322 §4.4).
        domain.iter().all(|octet| octet.is_ascii() && *octet != b'.') && !rest.trim_ascii_start().starts_with(b".")
    })
}

/// What another reader finds. Only what has an `@`: a name is not an address.
fn second_reading(value: &[u8]) -> Vec<String> {
    let field = [b"From:", value, b"\r\n\r\n"].concat();
    let Some(message) = MessageParser::default().parse_headers(&field) else { return Vec::new() };
    let found = message.from().map(Address::iter).into_iter().flatten().filter_map(|address| address.address());
    found.filter(|address| address.contains('@')).map(str::to_owned).collect()
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
            assert_eq!(header(allowed, &is_org2, raw.as_bytes()), *expected, "{fields:?}");
        }
    }

    fn is_org2(domain: &str) -> bool {
        domain == "org2.test"
    }

    #[test]
    fn own_addresses_pass_however_they_are_written() {
        check(&[
            ("From: a@org1.test", Ok(())),
            ("from : Ann <a+tag@ORG1.test>", Ok(())),
            ("From: \"a, b\" <a@org1.test> (c, d@e)", Ok(())),
            ("From: Team @ Acme <a@org1.test>", Ok(())),
            ("From: Ann @home <a@org1.test>", Ok(())),
            ("From: backup@nas Backup <a@org1.test>", Ok(())),
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
            // a name that looks like an address is only a name, unless it is somebody's here
            ("From: \"jo@customer.test via Support\" <a@org1.test>", Ok(())),
            ("From: a@org1.test <a@org1.test>", Ok(())),
            ("From: \"a@org1.test\" <a@org1.test>", Ok(())),
            ("From: a@org1.test: b@org1.test;", Ok(())),
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
            // an address where the grammar has a name: kinder readers take it for the author
            ("From: ceo@org2.test <a@org1.test>", Err(No::From)),
            ("From: ceo@org2.test: a@org1.test;", Err(No::From)),
            ("From: \"ceo\"@org2.test <a@org1.test>", Err(No::From)),
            ("From: ceo@org2.test(x) <a@org1.test>", Err(No::From)),
            ("From: (x)ceo@(y)org2.test\r\n <a@org1.test>", Err(No::From)),
            ("From: ceo@org2.test X: a@org1.test", Err(No::Unreadable)),
            ("From: a@org1.test, ceo@org2.test <b@org1.test>\r\nSender: a@org1.test", Err(No::From)),
            ("From: a@org1.test\r\nSender: ceo@org2.test <a@org1.test>", Err(No::Sender)),
            ("From: a@org1.test\r\nResent-From: ceo@org2.test: a@org1.test;", Err(No::Resent)),
            ("From: a@org1.test\r\nResent-Sender: \"ceo\"@org2.test <a@org1.test>", Err(No::Resent)),
            // an address of another organisation's, shown as the name
            ("From: \"ceo@org2.test\" <a@org1.test>", Err(No::Name)),
            ("From: =?utf-8?q?ceo=40org2.test?= <a@org1.test>", Err(No::Name)),
            ("From: a@org1.test (ceo@org2.test)", Err(No::Name)),
            ("From: a@org1.test\r\nSender: \"ceo@org2.test\" <a@org1.test>", Err(No::Name)),
            // a local part that clients decode, up to the NUL
            ("From: =?utf-8?b?Y2VvQG9yZzIudGVzdA==?==?utf-8?q?=00?=@org1.test", Err(No::Unreadable)),
            ("From: x <=?utf-8?q?ceo=40org2.test=0A?=@org1.test>", Err(No::Unreadable)),
            ("From: \"=?utf-8?q?ceo=40org2.test=00?=\"@org1.test", Err(No::Unreadable)),
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
            ("From: \"ceo\"@org2.test\"x\"@org1.test", Err(No::Unreadable)),
            ("From: <>", Err(No::Unreadable)),
            ("From:", Err(No::Unreadable)),
            // a line that is no field for us, and may be one for a client
            ("From ceo: ceo@org2.test", Ok(())),
            ("Fr\0om: ceo@org2.test", Err(No::Unreadable)),
        ]);
        let leading = b" From: ceo@org2.test\r\nFrom: a@org1.test\r\n\r\n";
        let domains = ["org1.test".to_owned()];
        assert_eq!(header(Allowed { domains: &domains, addresses: &[] }, &is_org2, leading), Err(No::Unreadable));
    }

    proptest::proptest! {
        #[test]
        fn any_field_is_answered(value in "([ -~]|\\PC|\"|<|>|@|org1.test){0,40}") {
            let domains = ["org1.test".to_owned()];
            let raw = format!("From: {value}\r\n\r\n");
            let answered = header(Allowed { domains: &domains, addresses: &[] }, &is_org2, raw.as_bytes());
            assert!(answered.is_ok() || !answered.unwrap_err().to_string().is_empty());
        }
    }

    #[test]
    fn what_is_asked_has_a_size() {
        let domains = ["org1.test".to_owned()];
        let judged = |raw: &str| header(Allowed { domains: &domains, addresses: &[] }, &is_org2, raw.as_bytes());
        let resent = |times| format!("{}\r\nx", "Resent-From: a@org1.test\r\n".repeat(times));
        assert_eq!(judged(&resent(RESENT_MAX)), Ok(()));
        assert_eq!(judged(&resent(RESENT_MAX + 1)), Err(No::Unreadable));
        let long = |bytes| format!("From: a@org1.test ({})\r\n\r\n", "x".repeat(bytes));
        assert_eq!(judged(&long(VALUES_BYTES_MAX - 20)), Ok(()));
        assert_eq!(judged(&long(VALUES_BYTES_MAX)), Err(No::Unreadable));
    }
}

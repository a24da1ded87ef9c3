//! Header fields as ranges over the raw octets, and the few that people read, decoded.
//!
//! The walk is lenient (it goes on to the first empty line whatever stands in between), so that what must be removed is
//! found in a broken header too; a line that is no field is yielded with an empty name, and the reader decides.
//! **Invariant:** the ranges of [`fields`] follow one another without a gap, from the start to the end of the header.

use std::ops::Range;

use mail_parser::{Address, MessageParser};
use memchr::memchr;

/// One header field: octet ranges into the raw message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Name, colon, value, every continuation line, and the line end.
    pub whole: Range<usize>,
    /// The name without white space before the colon; empty when the line is no header field.
    pub name: Range<usize>,
    /// What stands after the colon, folded as it is, without the last line end.
    pub value: Range<usize>,
}

impl Field {
    /// Whether the field has this name, in any case.
    pub fn is(&self, raw: &[u8], name: &str) -> bool {
        slice(raw, &self.name).eq_ignore_ascii_case(name.as_bytes())
    }

    /// Whether white space stands before the colon, as RFC 5322 §4.5 allows for old mail only: some readers take the line
    /// for the end of the header.
    pub fn is_obsolete(&self) -> bool {
        !self.is_malformed() && self.name.end + 1 != self.value.start
    }

    /// Whether the line is no header field at all (no colon, or no name before it).
    pub fn is_malformed(&self) -> bool {
        self.name.is_empty()
    }
}

/// The octets of a range; empty when the range is not inside `raw`.
pub fn slice<'a>(raw: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    raw.get(range.clone()).unwrap_or_default()
}

/// Walks the fields of the header that starts at `from`, up to the first empty line or the end of `raw`.
///
/// A line that begins with a space or tab continues the field before it (RFC 5322 §2.2.3); a line that holds only white
/// space is such a line. Linear, no allocation.
pub fn fields(raw: &[u8], from: usize) -> Fields<'_> {
    Fields { raw, at: from }
}

/// Where the body begins: just after the empty line that ends the header at `from`; `raw.len()` when there is none.
pub fn body_start(raw: &[u8], from: usize) -> usize {
    let mut walk = fields(raw, from);
    for _ in walk.by_ref() {}
    next_line(raw, walk.at)
}

/// Iterator of [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    raw: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    /// Where the walk stands: the start of the next field, or of the empty line when it is over.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        let start = self.at;
        if start >= self.raw.len() || is_empty_line(self.raw, start) {
            return None;
        }
        let mut end = next_line(self.raw, start);
        while matches!(self.raw.get(end), Some(b' ' | b'\t')) {
            end = next_line(self.raw, end);
        }
        self.at = end;
        Some(field(self.raw, start, end))
    }
}

fn field(raw: &[u8], start: usize, end: usize) -> Field {
    let line = slice(raw, &(start..end));
    let name_len = match memchr(b':', line) {
        Some(colon) if is_name(trim_end(slice(line, &(0..colon)))) => colon,
        _ => return Field { whole: start..end, name: start..start, value: start..start },
    };
    let name_end = start + trim_end(slice(line, &(0..name_len))).len();
    let value_end = end - line_end_len(line);
    Field { whole: start..end, name: start..name_end, value: (start + name_len + 1)..value_end }
}

/// RFC 5322 §2.2: printable US-ASCII but the colon.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| (33..=126).contains(b))
}

fn trim_end(text: &[u8]) -> &[u8] {
    text.trim_ascii_end()
}

fn is_empty_line(raw: &[u8], at: usize) -> bool {
    matches!(raw.get(at), Some(b'\n')) || raw.get(at..).is_some_and(|rest| rest.starts_with(b"\r\n"))
}

/// Start of the line after the one that `at` is in.
pub fn next_line(raw: &[u8], at: usize) -> usize {
    let rest = raw.get(at..).unwrap_or_default();
    memchr(b'\n', rest).map_or(raw.len(), |found| at + found + 1)
}

/// How many octets of line end (`\r\n`, `\n` or none) the text ends with.
pub fn line_end_len(text: &[u8]) -> usize {
    if text.ends_with(b"\r\n") { 2 } else { usize::from(text.ends_with(b"\n")) }
}

/// What people read of a header, decoded (RFC 2047); for records and pages, never for decisions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForPeople {
    /// Subject, at most 500 bytes, on one line.
    pub subject: String,
    /// First mailbox of From as `local@domain`, at most 320 bytes; empty when there is none.
    pub from: String,
    /// The Message-ID as it stands, trimmed, at most 500 bytes.
    pub message_id: String,
    /// Address and display name, at most 200 bytes, of everybody in To, Cc and Bcc who is called something; at most 1,000, of
    /// the fields within the first 64 KiB of these.
    pub names: Vec<(String, String)>,
}

/// Octets of To, Cc and Bcc together in which names are looked for, and the most names: it is done while a client waits.
const NAMES_BYTES_MAX: usize = 64 * 1024;
const NAMES_MAX: usize = 1000;
/// Longest header we decode for people, in octets.
const FOR_PEOPLE_HEADER_BYTES_MAX: usize = 256 * 1024;
const SUBJECT_BYTES_MAX: usize = 500;
const ADDRESS_BYTES_MAX: usize = 320;
const NAME_BYTES_MAX: usize = 200;

/// Reads Subject, From, Message-ID and the names of the recipients for people. A header over 256 KiB is read in its first 256 KiB only.
pub fn for_people(raw: &[u8]) -> ForPeople {
    let (mut chosen, mut of_recipients) = (Vec::new(), 0);
    for field in fields(raw, 0).take_while(|field| field.whole.end <= FOR_PEOPLE_HEADER_BYTES_MAX) {
        if ["To", "Cc", "Bcc"].iter().any(|name| field.is(raw, name)) {
            of_recipients += field.whole.len();
            if of_recipients > NAMES_BYTES_MAX {
                continue;
            }
        } else if !["Subject", "From", "Message-ID"].iter().any(|name| field.is(raw, name)) {
            continue;
        }
        chosen.extend_from_slice(slice(raw, &field.whole));
    }
    chosen.extend_from_slice(b"\r\n");
    let Some(message) = MessageParser::default().parse_headers(&chosen) else { return ForPeople::default() };
    let message_id = fields(raw, 0)
        .take_while(|field| field.whole.end <= FOR_PEOPLE_HEADER_BYTES_MAX)
        .find(|field| field.is(raw, "Message-ID"))
        .map(|field| String::from_utf8_lossy(slice(raw, &field.value)).into_owned())
        .unwrap_or_default();
    ForPeople {
        subject: one_line(message.subject().unwrap_or_default(), SUBJECT_BYTES_MAX),
        from: one_line(first_address(message.from()), ADDRESS_BYTES_MAX),
        message_id: one_line(&message_id, SUBJECT_BYTES_MAX),
        names: [message.to(), message.cc(), message.bcc()]
            .into_iter()
            .flatten()
            .flat_map(names)
            .take(NAMES_MAX)
            .collect(),
    }
}

/// Some clients write the address as the name, Outlook in apostrophes too: that is no name.
fn names<'a>(list: &'a Address<'_>) -> impl Iterator<Item = (String, String)> + 'a {
    list.iter().filter_map(|one| {
        let address = one.address()?;
        let name = one_line(one.name()?, NAME_BYTES_MAX);
        let bare = name.trim_matches(['\'', '"']).trim();
        (!bare.is_empty() && !bare.eq_ignore_ascii_case(address)).then(|| (address.to_owned(), bare.to_owned()))
    })
}

fn first_address<'a>(from: Option<&'a Address<'_>>) -> &'a str {
    from.and_then(Address::first).and_then(|address| address.address()).unwrap_or_default()
}

/// White space and controls folded to single spaces, cut at a character boundary.
fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > bytes_max {
            break;
        }
    }
    line.truncate(line.floor_char_boundary(bytes_max));
    line
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test cuts text it wrote itself")]
mod tests {
    use super::*;

    fn names(raw: &str) -> Vec<String> {
        fields(raw.as_bytes(), 0)
            .map(|f| format!("{}={}", &raw[f.name.clone()], raw[f.value.clone()].escape_debug()))
            .collect()
    }

    #[test]
    fn walks_fields_as_they_stand() {
        let rows: &[(&str, &[&str], usize)] = &[
            // CRLF and LF ends, folding, the blank line ends it
            ("A: 1\r\nB: 2\r\n\r\nC: 3", &["A= 1", "B= 2"], 14),
            ("A: 1\nB: 2\n\nC: 3", &["A= 1", "B= 2"], 11),
            ("A: 1\r\n  2\r\n\t3\r\nB:\r\n\r\n", &["A= 1\\r\\n  2\\r\\n\\t3", "B="], 21),
            // a line of white space only is a continuation, not the end (RFC 5322 §4.2)
            ("A: 1\r\n \r\nB: 2\r\n\r\n", &["A= 1\\r\\n ", "B= 2"], 17),
            // space before the colon is obsolete but lawful; a line without a colon is no field, and the walk goes on
            ("A : 1\r\njunk\r\nB: 2\r\n\r\n", &["A= 1", "=", "B= 2"], 21),
            ("x y: 1\r\n\r\n", &["="], 10),
            // no blank line, nothing at all
            ("A: 1", &["A= 1"], 4),
            ("", &[], 0),
            ("\r\nbody", &[], 2),
        ];
        for (raw, expected, body) in rows {
            assert_eq!(names(raw), *expected, "{raw:?}");
            assert_eq!(body_start(raw.as_bytes(), 0), *body, "{raw:?}");
        }
    }

    #[test]
    fn decodes_for_people() {
        let raw = b"From: =?utf-8?q?J=C3=B6rg?= <j@x.test>\r\nSubject: =?utf-8?b?SGVsbG8=?=\r\n\tworld\r\nMessage-ID: <1@x>\r\n\r\nx";
        let people = for_people(raw);
        assert_eq!(people.subject, "Hello world");
        assert_eq!(people.from, "j@x.test");
        assert_eq!(people.message_id, "<1@x>");
        // no header, and nothing that could break a line of a log
        assert_eq!(for_people(b"\r\nx"), ForPeople::default());
        let hostile = for_people(b"Subject: =?utf-8?q?a=0D=0Ab=00c?=\r\n\r\n");
        assert_eq!(hostile.subject, "a b c");
        // what people are called, in every list and group; an address is no name
        let raw = "To: =?utf-8?q?J=C3=B6rg?= <j@x.test>, plain@x.test, \"Silva, Ana\" <ana@x.test>,\r\n 'b@x.test' <B@x.test>\r\n\
                   Cc: Team: Cy\t Doe <cy@x.test>;\r\nBcc: \"\" <d@x.test>, =?utf-8?q?E=0D=0AX:_1?= <e@x.test>\r\n\r\n";
        let people = for_people(raw.as_bytes());
        let named: Vec<(&str, &str)> =
            people.names.iter().map(|(address, name)| (address.as_str(), name.as_str())).collect();
        let expected =
            [("j@x.test", "Jörg"), ("ana@x.test", "Silva, Ana"), ("cy@x.test", "Cy Doe"), ("e@x.test", "E X: 1")];
        assert_eq!(named, expected);
        let long = format!("To: {} <a@x.test>\r\n\r\n", "é".repeat(150));
        assert!(for_people(long.as_bytes()).names[0].1.len() <= 200);
        let long = format!("Subject: {}\r\n\r\n", "é".repeat(600));
        assert!(for_people(long.as_bytes()).subject.len() <= 500);
    }

    proptest::proptest! {
        #[test]
        fn the_fields_leave_no_gap(raw in proptest::collection::vec(proptest::prop_oneof![
            proptest::prelude::Just(b'\n'), proptest::prelude::Just(b'\r'), proptest::prelude::Just(b':'), proptest::prelude::Just(b' '),
            proptest::prelude::any::<u8>()], 0..200)) {
            let mut at = 0;
            for field in fields(&raw, 0) {
                assert_eq!(field.whole.start, at);
                assert!(field.whole.contains(&field.name.start) && field.value.end <= field.whole.end);
                at = field.whole.end;
            }
            assert!(body_start(&raw, 0) >= at);
        }
    }
}

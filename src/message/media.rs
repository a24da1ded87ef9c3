//! Content-Type, Content-Transfer-Encoding and Content-Disposition, read raw (RFC 2045, 2183, 2231).
//!
//! **Invariant:** what is not plainly one thing reads as [`Encoding::Unknown`], [`Charset::Unclear`] or no boundary:
//! two readers who could differ make the part untouchable, never a guess.

use super::header::{Field, slice};

/// What a part says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `text/html` in lower case; `text/plain` where the field is absent (RFC 2045 §5.2); empty where it makes no sense.
    pub kind: String,
    /// The `boundary` parameter, 1..=200 octets; `None` when absent or unusable.
    pub boundary: Option<Vec<u8>>,
    /// The `charset` parameter.
    pub charset: Charset,
    /// The part has a file name.
    pub named: bool,
    /// `format=flowed` (RFC 3676).
    pub flowed: bool,
    /// `format=flowed` with `delsp=yes` (RFC 3676 §4.2): lines are joined without the space, so a word may go on in the next.
    pub joins_words: bool,
    /// The `start` parameter of multipart/related, without angle brackets.
    pub start: Option<Vec<u8>>,
}

/// The charset parameter of a text part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charset {
    /// Not given, or empty.
    Absent,
    /// Given, in lower case.
    Label(String),
    /// Given twice, or not readable.
    Unclear,
}

/// Transfer encodings (RFC 2045 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `7bit`, or absent.
    SevenBit,
    /// `8bit`
    EightBit,
    /// `binary`
    Binary,
    /// `quoted-printable`
    QuotedPrintable,
    /// `base64`
    Base64,
    /// Anything else, or said twice.
    Unknown,
}

impl Encoding {
    /// Whether the octets of the part are its content as it stands.
    pub fn is_identity(self) -> bool {
        matches!(self, Encoding::SevenBit | Encoding::EightBit | Encoding::Binary)
    }
}

/// Content-Disposition (RFC 2183).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Shown: absent, or `inline` without a file name.
    Shown,
    /// `inline` with a file name: shown where it is all there is, an attachment elsewhere.
    Named,
    /// `attachment`, or an unknown word (RFC 2183 §2.8).
    Attached,
}

/// Longest boundary we look for. RFC 2046 allows 70; senders write more.
const BOUNDARY_BYTES_MAX: usize = 200;

/// Reads the media type of a header; two Content-Type fields make an empty `kind`.
pub fn media(raw: &[u8], header: &[Field]) -> Media {
    let absent = Media {
        kind: "text/plain".to_owned(),
        boundary: None,
        charset: Charset::Absent,
        named: false,
        flowed: false,
        joins_words: false,
        start: None,
    };
    match only(raw, header, "Content-Type") {
        Ok(None) => absent,
        Ok(Some(value)) => media_of(value),
        Err(Twice) => Media { kind: String::new(), charset: Charset::Unclear, ..absent },
    }
}

/// Reads the transfer encoding of a header. A comment after the word is allowed, any other addition is not.
pub fn encoding(raw: &[u8], header: &[Field]) -> Encoding {
    let value = match only(raw, header, "Content-Transfer-Encoding") {
        Ok(None) => return Encoding::SevenBit,
        Ok(Some(value)) => value,
        Err(Twice) => return Encoding::Unknown,
    };
    let Some(text) = without_comments(value) else { return Encoding::Unknown };
    match text.trim_ascii().to_ascii_lowercase().as_slice() {
        b"7bit" => Encoding::SevenBit,
        b"8bit" => Encoding::EightBit,
        b"binary" => Encoding::Binary,
        b"quoted-printable" => Encoding::QuotedPrintable,
        b"base64" => Encoding::Base64,
        _ => Encoding::Unknown,
    }
}

/// Reads the disposition of a header; said twice counts as attached.
pub fn disposition(raw: &[u8], header: &[Field]) -> Disposition {
    let value = match only(raw, header, "Content-Disposition") {
        Ok(None) => return Disposition::Shown,
        Ok(Some(value)) => value,
        Err(Twice) => return Disposition::Attached,
    };
    let Some(text) = without_comments(value) else { return Disposition::Attached };
    let (word, parameters) = parameters(&text);
    let named = parameters.iter().any(|(name, _)| base_name(name) == "filename");
    match word.to_ascii_lowercase().as_slice() {
        b"inline" | b"" if named => Disposition::Named,
        b"inline" | b"" => Disposition::Shown,
        _ => Disposition::Attached,
    }
}

struct Twice;

/// The value of the only field of that name.
fn only<'a>(raw: &'a [u8], header: &[Field], name: &str) -> Result<Option<&'a [u8]>, Twice> {
    let mut found = header.iter().filter(|field| field.is(raw, name));
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(field), None) => Ok(Some(slice(raw, &field.value))),
        (Some(_), Some(_)) => Err(Twice),
    }
}

fn media_of(value: &[u8]) -> Media {
    let Some(text) = without_comments(value) else {
        return Media {
            kind: String::new(),
            boundary: None,
            charset: Charset::Unclear,
            named: false,
            flowed: false,
            joins_words: false,
            start: None,
        };
    };
    let (kind, parameters) = parameters(&text);
    let says = |name: &str, word: &[u8]| one(&parameters, name).is_some_and(|value| value.eq_ignore_ascii_case(word));
    let flowed = says("format", b"flowed");
    let start = one(&parameters, "start").map(|id| id.strip_prefix(b"<").unwrap_or(id));
    Media {
        kind: kind_of(kind),
        boundary: one(&parameters, "boundary")
            .filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()))
            .map(<[u8]>::to_vec),
        charset: charset(&parameters),
        named: parameters.iter().any(|(name, _)| base_name(name) == "name"),
        flowed,
        joins_words: flowed && says("delsp", b"yes"),
        start: start.map(|id| id.strip_suffix(b">").unwrap_or(id).to_vec()),
    }
}

/// `type/subtype` in lower case, white space around the slash dropped; empty when it is no such thing.
fn kind_of(text: &[u8]) -> String {
    let lower: Vec<u8> = text.iter().filter(|b| !b.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect();
    let spaced = text.split(|b| *b == b'/').any(|side| side.trim_ascii().iter().any(u8::is_ascii_whitespace));
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(b);
    let mut sides = lower.split(|b| *b == b'/');
    match (sides.next(), sides.next(), sides.next()) {
        (Some(a), Some(b), None) if !spaced && !a.is_empty() && !b.is_empty() => {
            if a.iter().all(token) && b.iter().all(token) {
                return String::from_utf8_lossy(&lower).into_owned();
            }
            String::new()
        }
        _ => String::new(),
    }
}

fn charset(parameters: &[(String, Vec<u8>)]) -> Charset {
    let mut found = parameters.iter().filter(|(name, _)| base_name(name) == "charset");
    let (first, more) = (found.next(), found.next());
    match first {
        None => Charset::Absent,
        // RFC 2231 §4: charset*=us-ascii'en'value
        Some((name, value)) if more.is_none() && (name == "charset" || name == "charset*") => {
            let value = if name == "charset*" { value.rsplit(|b| *b == b'\'').next().unwrap_or(value) } else { value };
            let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:+()".contains(b);
            if value.is_empty() {
                return Charset::Absent;
            }
            if !value.iter().all(plain) {
                return Charset::Unclear;
            }
            Charset::Label(String::from_utf8_lossy(value).to_ascii_lowercase())
        }
        Some(_) => Charset::Unclear,
    }
}

/// The value of a parameter given exactly once and in one piece.
fn one<'a>(parameters: &'a [(String, Vec<u8>)], wanted: &str) -> Option<&'a [u8]> {
    let mut found = parameters.iter().filter(|(name, _)| base_name(name) == wanted);
    match (found.next(), found.next()) {
        (Some((name, value)), None) if name == wanted => Some(value),
        _ => None,
    }
}

/// `filename*0*` → `filename` (RFC 2231).
fn base_name(name: &str) -> &str {
    name.split('*').next().unwrap_or(name)
}

/// Splits `word; name=value; name="value"`. Names in lower case, values without quotes and backslashes.
fn parameters(text: &[u8]) -> (&[u8], Vec<(String, Vec<u8>)>) {
    let word_end = text.iter().position(|b| *b == b';').unwrap_or(text.len());
    let (word, mut rest) = text.split_at(word_end);
    let mut found = Vec::new();
    while let Some(after) = rest.strip_prefix(b";") {
        let name_end = after.iter().position(|b| matches!(b, b'=' | b';')).unwrap_or(after.len());
        let (name, tail) = after.split_at(name_end);
        let Some(tail) = tail.strip_prefix(b"=") else {
            rest = tail;
            continue;
        };
        let (value, tail) = parameter_value(tail.trim_ascii_start());
        found.push((String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase(), value));
        let skip = tail.iter().position(|b| *b == b';').unwrap_or(tail.len());
        rest = tail.get(skip..).unwrap_or_default();
    }
    (word.trim_ascii(), found)
}

/// A token or a quoted string, and what follows it. A quote that never closes gives a value nobody can match.
fn parameter_value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|b| *b == b';').unwrap_or(text.len());
        let (value, tail) = text.split_at(end);
        return (unfold(value.trim_ascii()), tail);
    };
    let mut value = Vec::new();
    while let Some((first, tail)) = rest.split_first() {
        match (*first, tail.split_first()) {
            (b'"', _) => return (unfold(&value), tail),
            (b'\\', Some((escaped, after))) => {
                value.push(*escaped);
                rest = after;
            }
            (octet, _) => {
                value.push(octet);
                rest = tail;
            }
        }
    }
    (Vec::new(), rest)
}

/// Folding removed: line ends go, the white space after them stays (RFC 5322 §2.2.3).
fn unfold(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect()
}

/// The value with comments replaced by a space; `None` when a comment or quoted string never ends.
fn without_comments(value: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(value.len());
    let (mut depth, mut quoted) = (0usize, false);
    let mut octets = value.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'\\' if quoted || depth > 0 => {
                let escaped = octets.next();
                if quoted {
                    text.push(octet);
                    text.extend(escaped);
                }
            }
            b'"' if depth == 0 => {
                quoted = !quoted;
                text.push(octet);
            }
            b'(' if !quoted => depth += 1,
            b')' if !quoted && depth > 0 => {
                depth -= 1;
                text.push(b' ');
            }
            _ if depth == 0 => text.push(octet),
            _ => {}
        }
    }
    (depth == 0 && !quoted).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::super::header::fields;
    use super::*;

    fn read(header: &str) -> (Media, Encoding, Disposition) {
        let raw = format!("{header}\r\n\r\n");
        let all: Vec<Field> = fields(raw.as_bytes(), 0).collect();
        (media(raw.as_bytes(), &all), encoding(raw.as_bytes(), &all), disposition(raw.as_bytes(), &all))
    }

    #[test]
    fn reads_kind_charset_and_boundary() {
        let label = |s: &str| Charset::Label(s.to_owned());
        let rows: &[(&str, &str, Charset, Option<&str>)] = &[
            ("X: y", "text/plain", Charset::Absent, None),
            // case, spaces, folding, comments, quotes
            ("Content-Type: Text/HTML; charset=UTF-8", "text/html", label("utf-8"), None),
            ("content-type : text/html ;\r\n\tcharset = \"utf-8\" (c)", "text/html", label("utf-8"), None),
            ("Content-Type: text (a \\) b) / html; charset=(x)us-ascii", "text/html", label("us-ascii"), None),
            (
                "Content-Type: multipart/mixed; boundary=\"a \\\"b;=\"; x=1",
                "multipart/mixed",
                Charset::Absent,
                Some("a \"b;="),
            ),
            ("Content-Type: multipart/mixed; boundary=abc; x", "multipart/mixed", Charset::Absent, Some("abc")),
            ("Content-Type: multipart/mixed;boundary=\r\n \"abc\"", "multipart/mixed", Charset::Absent, Some("abc")),
            // RFC 2231 charset; a boundary in pieces is nobody's boundary
            ("Content-Type: text/html; charset*=us-ascii'en'utf-8", "text/html", label("utf-8"), None),
            ("Content-Type: multipart/mixed; boundary*0=a; boundary*1=b", "multipart/mixed", Charset::Absent, None),
            // empty is as good as absent
            ("Content-Type: text/html; charset=\"\"", "text/html", Charset::Absent, None),
            ("Content-Type: text/html; charset=", "text/html", Charset::Absent, None),
            // unclear: twice, an extra equals sign, a quote that never ends, two fields
            ("Content-Type: text/html; charset=a; charset=b", "text/html", Charset::Unclear, None),
            ("Content-Type: text/html; charset=charset=us-ascii", "text/html", Charset::Unclear, None),
            ("Content-Type: text/html; charset=\"utf-8", "", Charset::Unclear, None),
            ("Content-Type: text/html\r\nContent-Type: text/html", "", Charset::Unclear, None),
            // no type
            ("Content-Type: text", "", Charset::Absent, None),
            ("Content-Type: ; charset=utf-8", "", label("utf-8"), None),
            ("Content-Type: text/html x; charset=utf-8", "", label("utf-8"), None),
        ];
        for (header, kind, charset, boundary) in rows {
            let media = read(header).0;
            assert_eq!(media.kind, *kind, "{header:?}");
            assert_eq!(media.charset, *charset, "{header:?}");
            assert_eq!(media.boundary.as_deref(), boundary.map(str::as_bytes), "{header:?}");
        }
        assert!(read("Content-Type: text/html; name=a.html").0.named);
        assert!(read("Content-Type: text/html; name*0=a; name*1=.html").0.named);
        assert!(read("Content-Type: text/plain; format=Flowed; DelSp=Yes").0.joins_words);
        assert!(!read("Content-Type: text/plain; format=flowed").0.joins_words);
        assert!(!read("Content-Type: text/plain; delsp=yes").0.joins_words);
        assert_eq!(
            read("Content-Type: multipart/related; boundary=x; start=\"<a@b>\"").0.start.as_deref(),
            Some(&b"a@b"[..])
        );
    }

    #[test]
    fn reads_the_encoding_or_admits_it_cannot() {
        let rows: &[(&str, Encoding)] = &[
            ("X: y", Encoding::SevenBit),
            ("Content-Transfer-Encoding: Quoted-Printable (x)", Encoding::QuotedPrintable),
            ("Content-Transfer-Encoding:\r\n BASE64 ", Encoding::Base64),
            ("Content-Transfer-Encoding: 8bit", Encoding::EightBit),
            ("Content-Transfer-Encoding: binary", Encoding::Binary),
            // what senders write and no standard knows
            ("Content-Transfer-Encoding: 8bits", Encoding::Unknown),
            ("Content-Transfer-Encoding: 7-bit", Encoding::Unknown),
            ("Content-Transfer-Encoding: quoted-printable;", Encoding::Unknown),
            ("Content-Transfer-Encoding: x-uuencode", Encoding::Unknown),
            ("Content-Transfer-Encoding:", Encoding::Unknown),
            ("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64", Encoding::Unknown),
        ];
        for (header, expected) in rows {
            assert_eq!(read(header).1, *expected, "{header:?}");
        }
    }

    #[test]
    fn tells_what_is_shown_from_what_is_attached() {
        let rows: &[(&str, Disposition)] = &[
            ("X: y", Disposition::Shown),
            ("Content-Disposition: inline", Disposition::Shown),
            ("Content-Disposition: INLINE; x=y", Disposition::Shown),
            ("Content-Disposition: inline; filename=a.html", Disposition::Named),
            ("Content-Disposition: inline; filename*=utf-8''a", Disposition::Named),
            ("Content-Disposition: attachment", Disposition::Attached),
            ("Content-Disposition: form-data", Disposition::Attached),
            ("Content-Disposition: inline\r\nContent-Disposition: inline", Disposition::Attached),
        ];
        for (header, expected) in rows {
            assert_eq!(read(header).2, *expected, "{header:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_answered(value in "[ -~\\r\\n\\t]{0,80}") {
            read(&format!("Content-Type:{value}"));
            read(&format!("Content-Disposition:{value}"));
        }
    }
}

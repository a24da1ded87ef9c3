//! Which charsets HTML can be read in by its own octets.
//!
//! **Invariant:** an octet that looks like `<`, `"` or `h` is that character in every charset let through here.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use lol_html::AsciiCompatibleEncoding;
use memchr::{memchr3, memmem};

use super::outcome::PartLeft;
use crate::message::media::Charset;

/// How the octets of a part are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) encoding: AsciiCompatibleEncoding,
    /// The part says it is UTF-8: other letters in a link have one meaning.
    pub(super) utf8: bool,
}

/// Judges the charset of a part by its label and its content.
pub(super) fn reading(charset: &Charset, content: &[u8]) -> Result<Reading, PartLeft> {
    let encoding = match charset {
        Charset::Absent => WINDOWS_1252,
        Charset::Unclear => return Err(PartLeft::Charset("unclear".to_owned())),
        Charset::Label(label) => match Encoding::for_label_no_replacement(label.as_bytes()) {
            Some(known) => known,
            // Whatever `default_charset` was to mean: where every octet is ASCII, so is the text.
            None if is_plain_ascii(content) && !may_spell_with_ascii(label) => WINDOWS_1252,
            None => return Err(PartLeft::Charset(label.clone())),
        },
    };
    let compatible =
        AsciiCompatibleEncoding::new(encoding).ok_or_else(|| PartLeft::Charset(encoding.name().to_owned()))?;
    if is_stateful(content) {
        return Err(PartLeft::CharsetBytes);
    }
    Ok(Reading { encoding: compatible, utf8: encoding == UTF_8 })
}

/// ASCII without any octet or pair that could be a switch to something else.
fn is_plain_ascii(content: &[u8]) -> bool {
    content.is_ascii() && !is_stateful(content) && memmem::find(content, b"~{").is_none()
}

/// UTF-7, HZ and their like write other letters with ASCII octets.
fn may_spell_with_ascii(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    ["utf", "ucs", "unicode", "2022", "hz", "ebcdic"].iter().any(|family| label.contains(family))
}

/// An escape (ISO-2022, whatever the label says), a NUL or a UTF-16 byte order mark.
fn is_stateful(content: &[u8]) -> bool {
    content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") || memchr3(0x1b, 0, 0x0e, content).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_through_what_is_ascii_compatible() {
        let label = |label: &str| Charset::Label(label.to_owned());
        for good in
            ["utf-8", "us-ascii", "iso-8859-1", "windows-1251", "shift_jis", "gb2312", "big5", "koi8-r", "euc-jp"]
        {
            assert!(reading(&label(good), b"<a>").is_ok(), "{good}");
        }
        assert!(reading(&Charset::Absent, b"<a>").is_ok_and(|reading| !reading.utf8));
        assert!(reading(&label("utf8"), b"<a>").is_ok_and(|reading| reading.utf8));
        for bad in
            ["utf-16", "utf-16le", "utf-7", "unicode-1-1-utf-7", "iso-2022-jp", "iso-2022-kr", "hz-gb-2312", "utf-32"]
        {
            assert!(reading(&label(bad), b"<a>").is_err(), "{bad}");
        }
        // a label that nobody knows is harmless where everything is ASCII
        for (bytes, good) in [(b"<a>".as_slice(), true), (b"<a>\xe9", false), (b"<a>~{VP~}", false)] {
            assert_eq!(reading(&label("default_charset"), bytes).is_ok(), good, "{bytes:?}");
        }
        assert!(reading(&Charset::Unclear, b"<a>").is_err());
        // a label can lie
        for bytes in [&b"<\0a\0"[..], b"\xff\xfe<", b"\x1b$B<a", b"\x0e<a"] {
            assert_eq!(reading(&label("us-ascii"), bytes).err(), Some(PartLeft::CharsetBytes), "{bytes:?}");
        }
    }
}

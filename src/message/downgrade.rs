//! The same mail in seven bits, for an upstream without 8BITMIME (RFC 6152 §3): parts with octets above 127 become
//! quoted-printable or base64, everything else stays octet for octet.
//!
//! **Invariant:** undoing the transfer encodings gives the same content, part by part; where that is not certain, or a
//! signature would break, the answer is [`Stuck`] and there is no result.

use std::fmt;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use super::guarded::{self, Guard};
use super::header::{fields, slice};
use super::media::Encoding;
use super::splice::{Step, order, walk};
use super::tree::{self, Doubt, Limits, Part, Tree};

/// Why a mail cannot be put into seven bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// A header has octets above 127: only SMTPUTF8 carries those.
    Header,
    /// Signed or encrypted: not ours to encode anew.
    Guarded(Guard),
    /// Two readers could see two structures, or it is too large to follow.
    Structure(Doubt),
    /// Octets above 127 where no transfer encoding can stand or none is certain: in a forwarded message, around the parts
    /// of a multipart, in a part with an unclear type or encoding.
    Part,
}

/// Puts a mail into seven bits. Lines end in CRLF; linear in the mail.
///
/// # Errors
/// [`Stuck`]: it can only go where 8BITMIME (or, for [`Stuck::Header`], SMTPUTF8) is offered.
pub fn to_seven_bit(raw: &[u8], limits: &Limits) -> Result<Vec<u8>, Stuck> {
    if raw.is_ascii() {
        return Ok(raw.to_vec());
    }
    let tree = tree::read(raw, limits).map_err(Stuck::Structure)?;
    if let Some(guard) = guarded::seal_of_message(raw, &tree) {
        return Err(Stuck::Guarded(guard));
    }
    let mut edits = Vec::new();
    for number in 0..tree.parts.len() {
        part_edits(raw, &tree, number, &mut edits)?;
    }
    edits.extend(tree.parts.first().and_then(|root| mime_version(raw, root)));
    order(&mut edits, raw.len(), |(range, _)| range).map_err(|_| Stuck::Part)?;
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 4);
    for step in walk(0..raw.len(), edits.into_iter()) {
        match step {
            Step::Keep(range) => out.extend_from_slice(slice(raw, &range)),
            Step::Put(octets) => out.extend_from_slice(&octets),
        }
    }
    // What no part owns (the text before a multipart's first delimiter and after its last) has no encoding to be put into.
    if out.is_ascii() { Ok(out) } else { Err(Stuck::Part) }
}

type Edit = (Range<usize>, Vec<u8>);

/// Encodes one part, or says `7bit` where a part that is none of the encoded ones said more than that: a multipart may
/// not claim less than what it holds (RFC 2045 §6.4), so all must agree.
fn part_edits(raw: &[u8], tree: &Tree, number: usize, edits: &mut Vec<Edit>) -> Result<(), Stuck> {
    let Some(part) = tree.parts.get(number) else { return Ok(()) };
    if !slice(raw, &part.header).is_ascii() {
        return Err(Stuck::Header);
    }
    let body = slice(raw, &part.body);
    let eight_bit = part.children.is_empty() && !body.is_ascii();
    match guarded::seal_of_part(tree, number) {
        Some(guard) if eight_bit => return Err(Stuck::Guarded(guard)),
        Some(_) => return Ok(()),
        None => {}
    }
    if eight_bit {
        let (word, encoded) = encoded(part, body)?;
        edits.push(transfer_encoding(raw, part, word));
        edits.push((part.body.clone(), encoded));
    } else if matches!(part.encoding, Encoding::EightBit | Encoding::Binary) {
        edits.push(transfer_encoding(raw, part, "7bit"));
    }
    Ok(())
}

/// A part's content in the encoding that suits its type, and that encoding's name.
fn encoded(part: &Part, body: &[u8]) -> Result<(&'static str, Vec<u8>), Stuck> {
    let kind = part.media.kind.as_str();
    // No other encoding than these may stand on a message or a multipart (RFC 2045 §6.4, RFC 2046 §5.2.1).
    let composite = kind.starts_with("multipart/") || kind.starts_with("message/");
    if kind.is_empty() || composite || part.malformed_header || !part.encoding.is_identity() {
        return Err(Stuck::Part);
    }
    if !kind.starts_with("text/") {
        // What follows a part's body is the line end of a delimiter; the message's own last line needs one.
        return Ok(("base64", base64_lines(body, part.parent.is_none())));
    }
    if guarded::holds_pgp(body) {
        return Err(Stuck::Guarded(Guard::InlinePgp));
    }
    Ok(("quoted-printable", quoted_printable(body)))
}

/// Changes the part's Content-Transfer-Encoding in place, or adds one as its last field.
fn transfer_encoding(raw: &[u8], part: &Part, word: &str) -> Edit {
    const NAME: &str = "Content-Transfer-Encoding";
    match fields_of(raw, part).find(|field| field.is(raw, NAME)) {
        Some(field) => (field.value, format!(" {word}").into_bytes()),
        None => (header_end(raw, part), format!("{NAME}: {word}\r\n").into_bytes()),
    }
}

/// An encoded body is only one to readers of MIME: where the mail does not say so, it must now.
fn mime_version(raw: &[u8], root: &Part) -> Option<Edit> {
    let said = fields_of(raw, root).any(|field| field.is(raw, "MIME-Version"));
    (!said).then(|| (header_end(raw, root), b"MIME-Version: 1.0\r\n".to_vec()))
}

fn fields_of<'a>(raw: &'a [u8], part: &Part) -> impl Iterator<Item = super::header::Field> + use<'a> {
    let end = part.header.end;
    fields(raw, part.header.start).take_while(move |field| field.whole.end <= end)
}

/// After the last field, before the empty line.
fn header_end(raw: &[u8], part: &Part) -> Range<usize> {
    let at = fields_of(raw, part).last().map_or(part.header.start, |field| field.whole.end);
    at..at
}

/// Longest encoded line, with the `=` of a soft break (RFC 2045 §6.7 rule 5, §6.8).
const LINE_CHARS_MAX: usize = 76;

fn base64_lines(content: &[u8], last_line_ends: bool) -> Vec<u8> {
    let text = STANDARD.encode(content);
    let mut out = text.as_bytes().chunks(LINE_CHARS_MAX).collect::<Vec<_>>().join(b"\r\n".as_slice());
    if last_line_ends {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// RFC 2045 §6.7. CRLF is a line end; a CR or LF alone is content.
fn quoted_printable(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 2);
    let mut at = 0;
    for end in memmem::find_iter(content, b"\r\n") {
        quoted_printable_line(slice(content, &(at..end)), &mut out);
        out.extend_from_slice(b"\r\n");
        at = end + 2;
    }
    quoted_printable_line(slice(content, &(at..content.len())), &mut out);
    out
}

fn quoted_printable_line(line: &[u8], out: &mut Vec<u8>) {
    let mut width = 0;
    for (at, octet) in line.iter().enumerate() {
        let rest = slice(line, &(at + 1..line.len()));
        let room = LINE_CHARS_MAX - usize::from(!rest.is_empty());
        let mut plain = is_plain(*octet, rest, width == 0);
        if width + if plain { 1 } else { 3 } > room {
            out.extend_from_slice(b"=\r\n");
            width = 0;
            plain = is_plain(*octet, rest, true);
        }
        if plain {
            out.push(*octet);
            width += 1;
        } else {
            out.extend_from_slice(format!("={octet:02X}").as_bytes());
            width += 3;
        }
    }
}

/// Whether an octet stands for itself. At the start of an encoded line three do not, though they could: `-`, for a line
/// we begin must never read as a delimiter; `.` and `From `, for what careless servers do to them.
fn is_plain(octet: u8, rest: &[u8], starts_line: bool) -> bool {
    match octet {
        b'=' => false,
        b'-' | b'.' => !starts_line,
        b'F' => !(starts_line && rest.starts_with(b"rom ")),
        b' ' | b'\t' => !rest.is_empty(),
        _ => octet.is_ascii_graphic(),
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stuck::Header => f.write_str("a header has octets above 127"),
            Stuck::Guarded(guard) => guard.fmt(f),
            Stuck::Structure(doubt) => doubt.fmt(f),
            Stuck::Part => f.write_str("8-bit octets stand where none can be encoded"),
        }
    }
}

impl std::error::Error for Stuck {}

#[cfg(test)]
mod tests {
    use super::*;

    /// `\n` stands for CRLF in the tables.
    fn convert(raw: &str) -> Result<String, Stuck> {
        let raw = raw.replace('\n', "\r\n");
        let out = to_seven_bit(raw.as_bytes(), &Limits::default())?;
        Ok(String::from_utf8(out).unwrap().replace("\r\n", "\n"))
    }

    /// What changes, and that nothing else does.
    #[test]
    fn converts_in_place() {
        let rows: &[(&str, &str)] = &[
            // Seven bits already: as it is, whatever it says of itself.
            ("A: b\nContent-Transfer-Encoding: 8bit\n\nplain\n", "A: b\nContent-Transfer-Encoding: 8bit\n\nplain\n"),
            // The field is changed where it stands, its name as it was spelt.
            (
                "MIME-Version: 1.0\nContent-type: text/plain; charset=utf-8\ncontent-transfer-encoding: 8BIT (x)\nTo: b\n\nGr\u{fc}n\n",
                "MIME-Version: 1.0\nContent-type: text/plain; charset=utf-8\ncontent-transfer-encoding: quoted-printable\nTo: b\n\nGr=C3=BCn\n",
            ),
            // Folded; wrongly 7bit.
            (
                "MIME-Version: 1.0\nContent-Transfer-Encoding:\n 7bit\nTo: b\n\n\u{e9}",
                "MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\nTo: b\n\n=C3=A9",
            ),
            // Absent, and no word of MIME.
            ("A: b\n\n\u{e9}\n", "A: b\nContent-Transfer-Encoding: quoted-printable\nMIME-Version: 1.0\n\n=C3=A9\n"),
            ("\n\u{e9}\n", "Content-Transfer-Encoding: quoted-printable\nMIME-Version: 1.0\n\n=C3=A9\n"),
            // Not text: base64.
            (
                "MIME-Version: 1.0\nContent-Type: application/json\n\n{\"a\": \"\u{e9}\"}\n",
                "MIME-Version: 1.0\nContent-Type: application/json\nContent-Transfer-Encoding: base64\n\neyJhIjogIsOpIn0NCg==\n",
            ),
        ];
        for (raw, expected) in rows {
            assert_eq!(convert(raw).as_deref(), Ok(*expected), "{raw:?}");
        }
    }

    const MIXED: &str =
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\nsee\n";

    /// Only the parts that need it, and every claim of more than seven bits.
    #[test]
    fn parts_are_judged_one_by_one() {
        let head = MIXED.replace("8bit", "7bit");
        let rows: &[(&str, &str)] = &[
            // The neighbour stays; what was encoded stays encoded; an attachment is encoded too.
            (
                "--b\n\n\u{e9}\n--b\nContent-Transfer-Encoding: base64\n\nw6k=\n--b\nX: y\n\nplain\n--b--\nend\n",
                "--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--b\nContent-Transfer-Encoding: base64\n\nw6k=\n--b\nX: y\n\nplain\n--b--\nend\n",
            ),
            (
                "--b\nContent-Type: image/x; name=a\nContent-Transfer-Encoding: binary\nContent-Disposition: attachment\n\n\u{e9}\n--b--\n",
                "--b\nContent-Type: image/x; name=a\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment\n\nw6k=\n--b--\n",
            ),
            // A part that says 8bit without need, beside one that has it.
            (
                "--b\nContent-Transfer-Encoding: 8bit\n\nplain\n--b\n\n\u{e9}\n--b--\n",
                "--b\nContent-Transfer-Encoding: 7bit\n\nplain\n--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--b--\n",
            ),
            // A signed part in seven bits stays to the octet, though it says 8bit; so does a forwarded message's content.
            (
                "--b\nContent-Type: multipart/signed; boundary=c\n\n--c\nContent-Transfer-Encoding: 8bit\n\nx\n--c--\n--b\n\n\u{e9}\n--b--\n",
                "--b\nContent-Type: multipart/signed; boundary=c\n\n--c\nContent-Transfer-Encoding: 8bit\n\nx\n--c--\n--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--b--\n",
            ),
            (
                "--b\nContent-Type: message/rfc822\n\nContent-Transfer-Encoding: 8bit\n\nx\n--b\n\n\u{e9}\n--b--\n",
                "--b\nContent-Type: message/rfc822\n\nContent-Transfer-Encoding: 8bit\n\nx\n--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--b--\n",
            ),
        ];
        for (raw, expected) in rows {
            assert_eq!(convert(&format!("{MIXED}{raw}")), Ok(format!("{head}{expected}")), "{raw:?}");
        }
    }

    #[test]
    fn what_cannot_be_converted() {
        let mixed = |raw: &str| format!("{MIXED}{raw}");
        let rows: &[(String, Stuck)] = &[
            // Headers: the message's, a part's.
            ("Subject: \u{e9}\n\nx\n".to_owned(), Stuck::Header),
            (mixed("--b\nContent-Type: text/plain; name=\"\u{e9}\"\n\nx\n--b--\n"), Stuck::Header),
            // Signatures over the message, over a part, beside it; sealed parts; PGP in the text.
            ("DKIM-Signature: v=1\n\n\u{e9}\n".to_owned(), Stuck::Guarded(Guard::DkimSigned)),
            ("ARC-Seal: i=1\n\n\u{e9}\n".to_owned(), Stuck::Guarded(Guard::ArcSealed)),
            (
                mixed("--b\nContent-Type: multipart/signed; boundary=c\n\n--c\n\n\u{e9}\n--c--\n--b--\n"),
                Stuck::Guarded(Guard::Signed),
            ),
            (
                mixed("--b\n\n\u{e9}\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n"),
                Stuck::Guarded(Guard::Signed),
            ),
            (
                mixed("--b\nContent-Type: multipart/encrypted; boundary=c\n\n--c\n\n\u{e9}\n--c--\n--b--\n"),
                Stuck::Guarded(Guard::Encrypted),
            ),
            ("A: b\n\n-----BEGIN PGP SIGNED MESSAGE-----\n\n\u{e9}\n".to_owned(), Stuck::Guarded(Guard::InlinePgp)),
            // A structure two readers could see differently.
            (mixed("--b\n\n\u{e9}\n--bad\n--b--\n"), Stuck::Structure(Doubt::BoundaryUnclear)),
            ("A: b\njunk\n\n\u{e9}\n".to_owned(), Stuck::Structure(Doubt::MalformedHeader)),
            // Nowhere to put an encoding, or none that is certain.
            (mixed("--b\nContent-Type: message/rfc822\n\nA: b\n\n\u{e9}\n--b--\n"), Stuck::Part),
            (mixed("--b\nContent-Type: multipart/mixed\n\n\u{e9}\n--b--\n"), Stuck::Part),
            (mixed("\u{e9}\n--b\n\nx\n--b--\n"), Stuck::Part),
            (mixed("--b\n\nx\n--b--\n\u{e9}\n"), Stuck::Part),
            ("Content-Transfer-Encoding: x-uuencode\n\n\u{e9}\n".to_owned(), Stuck::Part),
            ("Content-Transfer-Encoding: quoted-printable\n\n\u{e9}\n".to_owned(), Stuck::Part),
            ("Content-Type: text/plain\nContent-Type: text/html\n\n\u{e9}\n".to_owned(), Stuck::Part),
            (mixed("--b\njunk\n\n\u{e9}\n--b--\n"), Stuck::Part),
        ];
        for (raw, expected) in rows {
            assert_eq!(convert(raw), Err(*expected), "{raw:?}");
        }
    }

    #[test]
    fn lines_of_quoted_printable() {
        let long = "x".repeat(75);
        let rows: &[(&str, &str)] = &[
            ("", ""),
            ("\r\n\r\n", "\r\n\r\n"),
            // A `=`, white space at a line's end, controls, and a CR or LF alone.
            ("a=b \r\n\tc\t", "a=3Db=20\r\n\tc=09"),
            ("\0\r\u{7f}\n", "=00=0D=7F=0A"),
            // Nothing that a server or a reader could take for something else begins a line.
            (".\r\n--b\r\nFrom x\r\nFromage", "=2E\r\n=2D-b\r\n=46rom x\r\nFromage"),
            // 76 and not one more; the soft break counts.
            (&format!("{long}y"), &format!("{long}y")),
            (&format!("{long}yz"), &format!("{long}=\r\nyz")),
            (&format!("{long}--b"), &format!("{long}=\r\n=2D-b")),
            (&format!("{long}.b"), &format!("{long}=\r\n=2Eb")),
        ];
        for (content, expected) in rows {
            assert_eq!(String::from_utf8_lossy(&quoted_printable(content.as_bytes())), *expected, "{content:?}");
        }
    }

    /// A decoder of our own: what it reads is what was written.
    fn undo_quoted_printable(text: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.split("\r\n").all(|line| line.len() <= 76 && !line.ends_with([' ', '\t'])), "{text:?}");
        let mut out = Vec::new();
        let mut pieces = text.split('=');
        out.extend_from_slice(pieces.next().unwrap().as_bytes());
        for piece in pieces {
            let (escape, rest) = piece.split_at(2);
            if escape != "\r\n" {
                out.push(u8::from_str_radix(escape, 16).unwrap());
            }
            out.extend_from_slice(rest.as_bytes());
        }
        out
    }

    proptest::proptest! {
        #[test]
        fn quoted_printable_gives_the_content_back(content in proptest::collection::vec(proptest::sample::select(
            vec!["\r\n", "\r", "\n", " ", "\t", ".", "-", "=", "From ", "\u{e9}", "word", "\0", "x"]), 0..200)) {
            let content = content.concat();
            assert_eq!(undo_quoted_printable(&quoted_printable(content.as_bytes())), content.as_bytes());
        }

        #[test]
        fn any_octets_are_answered_and_an_answer_is_seven_bit_with_the_same_parts(words in proptest::collection::vec(
            proptest::sample::select(vec!["\r\n", "--b", "--b--", "Content-Type: multipart/mixed; boundary=b", "x: y", "hello",
            "\u{e9}", "Content-Transfer-Encoding: 8bit", "Content-Type: message/rfc822", " ", "\r\n\r\n", "--b\r\n\r\n"]), 0..40)) {
            let raw = words.concat();
            if let Ok(out) = to_seven_bit(raw.as_bytes(), &Limits::default()) {
                assert!(out.is_ascii());
                let outline = |raw: &[u8]| -> Vec<(String, Option<usize>)> {
                    tree::read(raw, &Limits::default()).unwrap().parts.iter().map(|p| (p.media.kind.clone(), p.parent)).collect()
                };
                if !raw.is_ascii() {
                    assert_eq!(outline(&out), outline(raw.as_bytes()), "{raw:?}");
                }
            }
        }
    }
}

//! The organisation's footer as it is written into a part: HTML or plain text, in that part's charset and line ends.
//!
//! **Invariants:** every line put in is a whole line of at most [`LINE_BYTES_MAX`] octets, so that no line of the sender's
//! gets longer; in HTML all of it is US-ASCII, whatever the charset; in plain text nothing is put in that the charset or
//! the transfer encoding cannot say.

use std::fmt;

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};

use super::edit::Piece;
use crate::message::media::{Charset, Encoding as Transfer};
use crate::message::tree::Part;
use crate::settings::privacy::Footer;

/// Where lines are broken, in characters, the link aside.
const WIDTH: usize = 72;

/// What is put in, and how long the token of its link is.
#[derive(Debug, Clone, Copy)]
pub struct FooterOptions<'a> {
    /// The text.
    pub footer: &'a Footer,
    /// Octets that the token of its link seals.
    pub payload_bytes: usize,
}

/// Why a part has no footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FooterLeft {
    /// The part stays as it is.
    Part,
    /// There is no place at its end: an open table, tag, comment and the like.
    Place,
    /// Its charset or transfer encoding has no way to say it.
    Charset,
    /// A `=` that begins no escape stands right before the place: with a line end after it, it would become one.
    Encoding,
}

impl fmt::Display for FooterLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FooterLeft::Part => "the part is left as it is",
            FooterLeft::Place => "it has no safe place at its end",
            FooterLeft::Charset => "its charset cannot say it",
            FooterLeft::Encoding => "its transfer encoding is broken at its end",
        })
    }
}

/// The link's URL up to its token, and the token's slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link<'a> {
    pub(super) site_url: &'a str,
    pub(super) slot: usize,
}

const OPEN: &str = "<div style=\"margin:16px 0 0;padding:8px 0 0;border-top:1px solid #ccc;\
font:12px/1.5 sans-serif;color:#666\">";

/// Lines for an HTML part, each with its end; the first begins a line of its own.
pub(super) fn html(footer: &Footer, link: Link<'_>, eol: &[u8]) -> Vec<Piece> {
    let (before, words, after) = footer.pieces();
    let mut out = Out { pieces: Vec::new(), text: Vec::new(), eol };
    out.line(OPEN.as_bytes());
    out.words(&escaped(before));
    out.text.extend_from_slice(format!("<a href=\"{}/p/", link.site_url).as_bytes());
    out.token(link.slot);
    out.line(b"\" style=\"color:inherit\">");
    out.words(&escaped(words));
    out.line(b"</a>");
    out.words(&escaped(after));
    out.line(b"</div>");
    out.finish(true)
}

/// Lines for a plain-text part, after an empty one; the last has no end of its own.
pub(super) fn text(footer: &Footer, link: Link<'_>, part: &Part, eol: &[u8]) -> Result<Vec<Piece>, FooterLeft> {
    let (before, words, after) = footer.pieces();
    let encode = |text: &str| encoded(text, part).ok_or(FooterLeft::Charset);
    let mut out = Out { pieces: Vec::new(), text: Vec::new(), eol };
    out.line(b"");
    let lines = |out: &mut Out<'_>, text: &str| -> Result<(), FooterLeft> {
        for line in text.lines().flat_map(|line| wrapped(line.trim())) {
            out.line(&encode(&stuffed(line))?);
        }
        Ok(())
    };
    lines(&mut out, &format!("{before}{words}:"))?;
    out.text.extend_from_slice(format!("<{}/p/", link.site_url).as_bytes());
    out.token(link.slot);
    out.line(b">");
    lines(&mut out, after.trim())?;
    Ok(out.finish(false))
}

struct Out<'a> {
    pieces: Vec<Piece>,
    text: Vec<u8>,
    eol: &'a [u8],
}

impl Out<'_> {
    fn line(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.text.extend_from_slice(self.eol);
    }

    /// Words in lines; a line end of the footer's own is a `<br>`.
    fn words(&mut self, text: &str) {
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                self.line(b"<br>");
            }
            wrapped(line).into_iter().for_each(|line| self.line(stuffed(line).as_bytes()));
        }
    }

    fn token(&mut self, slot: usize) {
        self.pieces.push(Piece::Text(Bytes::from(std::mem::take(&mut self.text))));
        self.pieces.push(Piece::Token(slot));
    }

    /// All of it, on lines of its own. Where what follows is the end of the line it was put into, the last line end goes.
    fn finish(mut self, ends_line: bool) -> Vec<Piece> {
        if !ends_line {
            self.text.truncate(self.text.len() - self.eol.len());
        }
        self.pieces.insert(0, Piece::Text(Bytes::copy_from_slice(self.eol)));
        self.pieces.push(Piece::Text(Bytes::from(self.text)));
        self.pieces
    }
}

/// A line of ours is no delimiter of a part, no quote and no mbox line: a space before it says so (RFC 3676 §4.4).
fn stuffed(line: String) -> String {
    let is_read_as_more = ["--", ">", "From "].iter().any(|start| line.starts_with(start));
    if is_read_as_more { format!(" {line}") } else { line }
}

/// Lines of whole words.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// As HTML in US-ASCII.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_ascii() => out.push(c),
            c => out.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    out
}

/// In the part's charset, as far as its transfer encoding takes it; else in plain letters, where there are such.
fn encoded(text: &str, part: &Part) -> Option<Vec<u8>> {
    if text.is_ascii() {
        return Some(text.as_bytes().to_vec());
    }
    let own = (part.encoding != Transfer::SevenBit).then(|| in_charset(text, &part.media.charset)).flatten();
    own.or_else(|| plain_letters(text).map(String::into_bytes))
}

fn in_charset(text: &str, charset: &Charset) -> Option<Vec<u8>> {
    let Charset::Label(label) = charset else { return None };
    let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
    if encoding == UTF_8 {
        return Some(text.as_bytes().to_vec());
    }
    let label = label.to_ascii_lowercase();
    let (octets, _, unmappable) = encoding.encode(text);
    // The web reads ASCII and the ISO 8859 family as supersets of themselves; a mail says what it is.
    let is_ascii = label.contains("ascii");
    let is_iso = encoding.is_single_byte() && !label.contains("windows") && !label.contains("cp1");
    let beyond = |b: &u8| if is_ascii { *b >= 0x80 } else { is_iso && (0x80..0xa0).contains(b) };
    (!unmappable && !octets.iter().any(|b| beyond(b) || *b == 0x1b)).then(|| octets.into_owned())
}

/// Letters as they are written where there are no others; `None` where that is not known.
fn plain_letters(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            c => out.push_str(plain(c)?),
        }
    }
    Some(out)
}

#[rustfmt::skip]
const PLAIN: &[(&str, &str)] = &[
    ("àáâãåāăą", "a"), ("ÀÁÂÃÅĀĂĄ", "A"), ("ä", "ae"), ("Ä", "Ae"), ("æ", "ae"), ("Æ", "Ae"), ("çćčĉċ", "c"), ("ÇĆČĈĊ", "C"),
    ("ďđð", "d"), ("ĎĐÐ", "D"), ("èéêëēėęě", "e"), ("ÈÉÊËĒĖĘĚ", "E"), ("ğĝģġ", "g"), ("ĞĜĢĠ", "G"), ("ìíîïīįı", "i"), ("ÌÍÎÏĪĮİ", "I"),
    ("ķ", "k"), ("Ķ", "K"), ("łľĺļ", "l"), ("ŁĽĹĻ", "L"), ("ñńňņ", "n"), ("ÑŃŇŅ", "N"), ("òóôõōő", "o"), ("ÒÓÔÕŌŐ", "O"),
    ("öøœ", "oe"), ("ÖØŒ", "Oe"), ("řŕ", "r"), ("ŘŔ", "R"), ("śšşș", "s"), ("ŚŠŞȘ", "S"), ("ß", "ss"), ("ťţț", "t"), ("ŤŢȚ", "T"),
    ("þ", "th"), ("Þ", "Th"), ("ùúûūůűų", "u"), ("ÙÚÛŪŮŰŲ", "U"), ("ü", "ue"), ("Ü", "Ue"), ("ýÿ", "y"), ("ÝŸ", "Y"), ("źžż", "z"), ("ŹŽŻ", "Z"),
    ("‘’‚‛′", "'"), ("“”„‟«»″", "\""), ("‐‑‒–—−", "-"), ("…", "..."), ("•·", "*"), ("€", "EUR"), ("©", "(c)"), ("\u{a0}\u{2009}\u{202f}", " "),
];

fn plain(c: char) -> Option<&'static str> {
    PLAIN.iter().find(|(letters, _)| letters.contains(c)).map(|(_, plain)| *plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tree;

    const LINK: Link<'static> = Link { site_url: "https://t.example", slot: 0 };

    fn written(pieces: &[Piece]) -> Vec<u8> {
        let octets = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_vec(),
            Piece::Token(_) => b"TOKEN".to_vec(),
        };
        pieces.iter().flat_map(octets).collect()
    }

    fn in_text(footer: &str, header: &str) -> Result<String, FooterLeft> {
        let raw = format!("{header}\r\n\r\nx\r\n");
        let tree = tree::read(raw.as_bytes(), &tree::Limits::default()).unwrap();
        let pieces = text(&footer.parse().unwrap(), LINK, &tree.parts[0], b"\r\n")?;
        Ok(written(&pieces).iter().map(|b| char::from(*b)).collect())
    }

    #[test]
    fn html_is_ascii_in_short_lines() {
        let footer = format!("Gr\u{fc}\u{df}e & <x>\n{}[hier \u{201e}klicken\u{201c}] \u{1f600}!", "lang ".repeat(40));
        let octets = written(&html(&footer.parse().unwrap(), LINK, b"\r\n"));
        let text = String::from_utf8(octets).unwrap();
        assert!(text.is_ascii() && text.starts_with("\r\n<div ") && text.ends_with("</div>\r\n"), "{text}");
        assert!(text.contains("Gr&#252;&#223;e &amp; &lt;x&gt;\r\n<br>\r\n"), "{text}");
        assert!(
            text.contains(
                "<a href=\"https://t.example/p/TOKEN\" style=\"color:inherit\">\r\nhier &#8222;klicken&#8220;\r\n</a>"
            ),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() < 200), "{text}");
    }

    /// Charset and transfer encoding that can say it; then plain letters; then nothing.
    #[test]
    fn text_says_what_the_part_can_say() {
        let utf8 = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit";
        let seven = "Content-Type: text/plain; charset=utf-8";
        let latin = "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable";
        let windows = "Content-Type: text/plain; charset=windows-1252\r\nContent-Transfer-Encoding: quoted-printable";
        let ascii = "Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: base64";
        let rows: &[(&str, &str, Result<&str, FooterLeft>)] = &[
            ("f\u{fc}r [x]", utf8, Ok("f\u{c3}\u{bc}r x:")),
            ("f\u{fc}r [x]", seven, Ok("fuer x:")),
            ("f\u{fc}r [x]", latin, Ok("f\u{fc}r x:")),
            ("\u{201c}f\u{fc}r\u{201d} [x]", latin, Ok("\"fuer\" x:")),
            ("\u{201c}f\u{fc}r\u{201d} [x]", windows, Ok("\u{93}f\u{fc}r\u{94} x:")),
            ("f\u{fc}r [x]", ascii, Ok("fuer x:")),
            ("f\u{fc}r [x]", "X: y", Ok("fuer x:")),
            ("\u{4f60}\u{597d} [x]", latin, Err(FooterLeft::Charset)),
            ("\u{4f60}\u{597d} [x]", utf8, Ok("\u{e4}\u{bd}\u{a0}\u{e5}\u{a5}\u{bd} x:")),
            ("> [x]", "X: y", Ok(" > x:")),
            ("--b [x]", "X: y", Ok(" --b x:")),
        ];
        for (footer, header, first) in rows {
            let first = first.map(|first| format!("\r\n\r\n{first}\r\n<https://t.example/p/TOKEN>"));
            assert_eq!(in_text(footer, header), first, "{footer} {header}");
        }
        assert_eq!(in_text("a [x]. z", "X: y").unwrap(), "\r\n\r\na x:\r\n<https://t.example/p/TOKEN>\r\n. z");
    }
}

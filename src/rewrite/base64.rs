//! base64 (RFC 2045 §6.8): text before the first edit stays as it stands, the rest is written anew in lines of the same
//! width and ends. The promise of unchanged octets is about the decoded content here.
//!
//! **Invariant:** what does not decode without doubt (other characters, padding inside, a cut-off quantum) is not touched.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;

use super::edit::{Edit, Piece, Slot, Variant};
use super::segment::{Hole, Lines, Segments, Window};
use crate::message::header::line_end_len;

/// A decoded part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) content: Vec<u8>,
    /// Lines that hold characters: where each starts in the raw message, and how many characters stand before it.
    rows: Vec<Row>,
    body: Range<usize>,
    /// Where the last character of the text ends; what follows is line ends.
    text_end: usize,
    lines: Lines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    raw: usize,
    chars: usize,
}

/// The octets are not plainly base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotBase64;

/// Line width where the part has none of its own (RFC 2045 §6.8).
const WIDTH: usize = 76;
/// Widest line of a sender's that we go on writing (RFC 5322 §2.1.1).
const WIDTH_MAX: usize = 998;

/// Decodes `raw[body]`.
pub(super) fn decode(raw: &[u8], body: Range<usize>) -> Result<Decoded, NotBase64> {
    let mut rest = raw.get(body.clone()).unwrap_or_default();
    let mut chars: Vec<u8> = Vec::with_capacity(rest.len());
    let mut rows = Vec::with_capacity(rest.len() / WIDTH + 1);
    let (mut text_end, mut crlf) = (body.start, None);
    while !rest.is_empty() {
        let at = body.end - rest.len();
        let (line, later) = rest.split_at(memchr(b'\n', rest).map_or(rest.len(), |found| found + 1));
        rest = later;
        let eol = line_end_len(line);
        let text = line.get(..line.len() - eol).unwrap_or_default();
        let trimmed = text.trim_ascii();
        if !trimmed.is_empty() {
            let indent = text.len() - text.trim_ascii_start().len();
            rows.push(Row { raw: at + indent, chars: chars.len() });
            chars.extend_from_slice(trimmed);
            text_end = at + indent + trimmed.len();
        }
        if eol > 0 {
            crlf.get_or_insert(eol == 2);
        }
    }
    // Padding inside, other characters, and a quantum cut short are refused by the strict decoder.
    let content = STANDARD.decode(&chars).map_err(|_| NotBase64)?;
    let lines = Lines { width: width(&rows), crlf: crlf.unwrap_or(true) };
    Ok(Decoded { content, rows, body, text_end, lines })
}

/// The width of the first line, where there is a second to show that it is one.
fn width(rows: &[Row]) -> usize {
    let first = rows.get(1).map_or(0, |second| second.chars);
    if (4..=WIDTH_MAX).contains(&first) { first } else { WIDTH }
}

impl Decoded {
    /// Writes the part with `edits` (in order, not overlapping).
    pub(super) fn encode(&self, edits: &[Edit], variant: Variant, slots: &[Slot], out: &mut Segments) {
        let made: Vec<(&Range<usize>, &[Piece])> =
            edits.iter().filter_map(|edit| Some((&edit.range, edit.pieces(variant)?))).collect();
        let Some((first, _)) = made.first() else {
            out.source(self.body.clone());
            return;
        };
        let quantum = first.start / 3;
        let (raw, column) = self.place_of(quantum * 4);
        out.source(self.body.start..raw);
        let anew = self.anew(quantum * 3, &made, slots);
        out.reserve(self.lines.len_of(anew.content.len().div_ceil(3) * 4));
        self.lay_out(&anew, column, slots, out);
        out.source(self.text_end..self.body.end);
    }

    /// Where character number `at` stands in the raw message, and in which column of its line.
    fn place_of(&self, at: usize) -> (usize, usize) {
        let row = self.rows.partition_point(|row| row.chars <= at).saturating_sub(1);
        match self.rows.get(row) {
            Some(row) => ((row.raw + at - row.chars).min(self.text_end), at - row.chars),
            None => (self.text_end, 0),
        }
    }

    /// The content from `from` on with the edits made; room is left for tokens.
    fn anew(&self, from: usize, made: &[(&Range<usize>, &[Piece])], slots: &[Slot]) -> Anew {
        let mut anew = Anew { content: Vec::with_capacity(self.content.len() - from), holes: Vec::new() };
        let mut at = from;
        for (range, pieces) in made {
            anew.content.extend_from_slice(self.content.get(at..range.start).unwrap_or_default());
            for piece in *pieces {
                match piece {
                    Piece::Text(text) => anew.content.extend_from_slice(text),
                    Piece::Token(slot) => {
                        anew.holes.push(Hole { at: anew.content.len(), slot: *slot });
                        let chars = slots.get(*slot).map_or(0, |slot| slot.chars);
                        anew.content.resize(anew.content.len() + chars, b'-');
                    }
                }
            }
            at = range.end;
        }
        anew.content.extend_from_slice(self.content.get(at..).unwrap_or_default());
        anew
    }

    /// Fixed quanta as text, quanta with tokens as windows.
    fn lay_out(&self, anew: &Anew, mut column: usize, slots: &[Slot], out: &mut Segments) {
        let mut at = 0;
        for holes in windows(&anew.holes, slots) {
            let from = holes.first().map_or(at, |hole| hole.at / 3 * 3);
            let end = holes.last().map_or(at, |hole| end_of(hole, slots)).div_ceil(3) * 3;
            let end = end.min(anew.content.len());
            column = self.fixed(anew.content.get(at..from).unwrap_or_default(), column, out);
            let template = anew.content.get(from..end).unwrap_or_default().to_vec();
            let after = self.column_after(template.len().div_ceil(3) * 4, column);
            let holes = holes.iter().map(|hole| Hole { at: hole.at - from, slot: hole.slot }).collect();
            out.base64(Window { template, holes, column, lines: self.lines });
            (at, column) = (end, after);
        }
        self.fixed(anew.content.get(at..).unwrap_or_default(), column, out);
    }

    fn fixed(&self, content: &[u8], column: usize, out: &mut Segments) -> usize {
        out.text_with(|text| self.lines.encode(text, content, column))
    }

    fn column_after(&self, chars: usize, column: usize) -> usize {
        if chars == 0 {
            return column;
        }
        let total = column.min(self.lines.width) + chars;
        match total % self.lines.width {
            0 => self.lines.width,
            rest => rest,
        }
    }
}

/// New content with room for tokens.
struct Anew {
    content: Vec<u8>,
    holes: Vec<Hole>,
}

fn end_of(hole: &Hole, slots: &[Slot]) -> usize {
    hole.at + slots.get(hole.slot).map_or(0, |slot| slot.chars)
}

/// Holes whose quanta touch, together.
fn windows<'a>(holes: &'a [Hole], slots: &'a [Slot]) -> impl Iterator<Item = &'a [Hole]> {
    holes.chunk_by(move |a, b| end_of(a, slots).div_ceil(3) * 3 > b.at / 3 * 3)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::edit::When;
    use super::super::segment::render;
    use super::*;
    use crate::token::Kind;

    fn wrap(content: &[u8], width: usize, eol: &str) -> String {
        let text = STANDARD.encode(content);
        let rows: Vec<&str> = text.as_bytes().chunks(width).map(|row| std::str::from_utf8(row).unwrap()).collect();
        rows.join(eol) + eol
    }

    fn slots(chars: usize, count: usize) -> Vec<Slot> {
        vec![Slot { kind: Kind::Click, link: 1, payload: String::new(), chars }; count]
    }

    fn apply(source: &str, edits: &[Edit], slots: &[Slot], tokens: &[String]) -> String {
        let raw = Bytes::from(source.to_owned());
        let mut out = Segments::default();
        decode(&raw, 0..raw.len()).unwrap().encode(edits, Variant::NONE, slots, &mut out);
        let body = render(&raw, &out.finish(), slots, tokens).unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn refuses_what_is_not_plainly_base64() {
        for good in ["", "\r\n", "YQ==", "YWJj\r\n\r\n  ZGVm \r\n", "YWJjZGVm\nZw==\n\n"] {
            assert!(decode(good.as_bytes(), 0..good.len()).is_ok(), "{good:?}");
        }
        // another character, padding inside, a footer some list added, a quantum cut short
        for bad in ["YW Jj", "YQ==\r\nYQ==", "YWJj\r\n-- \r\nlist footer", "YWJjZ", "YQ", "YWJj===="] {
            assert_eq!(decode(bad.as_bytes(), 0..bad.len()), Err(NotBase64), "{bad:?}");
        }
    }

    #[test]
    fn keeps_width_and_line_ends() {
        let content: Vec<u8> = (0..200u8).collect();
        for (width, eol) in [(76, "\r\n"), (60, "\n"), (73, "\r\n"), (4, "\n")] {
            let source = wrap(&content, width, eol);
            let edit = Edit::plain(
                100..110,
                When::Always,
                vec![Piece::Text(Bytes::from_static(b"replacement of another length"))],
            );
            let mut expected = content.clone();
            expected.splice(100..110, b"replacement of another length".iter().copied());
            assert_eq!(apply(&source, &[edit], &[], &[]), wrap(&expected, width, eol), "{width}");
        }
        // one line only: no width of its own
        let edit = Edit::plain(0..0, When::Always, vec![Piece::Text(vec![b'x'; 100].into())]);
        let written = apply(&STANDARD.encode([b'y'; 30]), &[edit], &[], &[]);
        assert!(written.lines().all(|line| line.len() <= 76));
    }

    proptest::proptest! {
        #[test]
        fn tokens_stand_where_they_belong(
            content in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..300),
            width in 4usize..90, chars in 1usize..40, cuts in proptest::collection::vec((0usize..300, 0usize..20), 1..5)) {
            let source = wrap(&content, width, "\r\n");
            let mut at = 0;
            let mut edits = Vec::new();
            for (skip, len) in cuts {
                let from = (at + skip % 40).min(content.len());
                let to = (from + len).min(content.len());
                let pieces = vec![Piece::Text(Bytes::from_static(b"<")), Piece::Token(edits.len())];
                edits.push(Edit::plain(from..to, When::Always, pieces));
                at = to;
            }
            let tokens: Vec<String> = (0..edits.len()).map(|n| char::from(b'A' + n as u8).to_string().repeat(chars)).collect();
            let mut expected = content.clone();
            for (n, edit) in edits.iter().enumerate().rev() {
                expected.splice(edit.range.clone(), format!("<{}", tokens[n]).into_bytes());
            }
            let width = if STANDARD.encode(&content).len() > width { width } else { WIDTH };
            let first_line = STANDARD.encode(&content).len().min(width);
            let written = apply(&source, &edits, &slots(chars, edits.len()), &tokens);
            assert_eq!(STANDARD.decode(written.replace("\r\n", "")).unwrap(), expected);
            assert!(written.lines().all(|line| line.len() <= width.max(first_line)));
        }
    }
}

//! 7bit, 8bit and binary parts: the octets are the content, so lines must stay lines (RFC 5322 §2.1.1: 998 octets).
//!
//! A splice that would make too long a line turns the white space before its attribute into a line break, which means the
//! same to HTML; where that does not help, the link stays. What the sender already wrote too long is not ours to mend.

use std::ops::Range;

use memchr::{memchr, memrchr};

use super::edit::{Edit, Piece, Slot, Variant, pieces_len};
use super::segment::Segments;

/// Longest line that any server must take, without its line end.
pub(super) const LINE_BYTES_MAX: usize = 998;

/// Fits edits (in order, not overlapping) into the lines of `content`. Returns those that fit, some with a line break,
/// and the links that had to stay.
pub(super) fn fit(content: &[u8], edits: Vec<Edit>, slots: &[Slot], eol: &[u8]) -> (Vec<Edit>, Vec<usize>) {
    let mut fitted = Vec::with_capacity(edits.len());
    let mut stay = Vec::new();
    let mut rest = edits.into_iter().peekable();
    while let Some(first) = rest.next() {
        let line = line_of(content, first.range.clone());
        let mut end = line.end;
        let mut on_line = vec![first];
        while let Some(edit) = rest.next_if(|edit| edit.range.start <= end) {
            end = end.max(line_of(content, edit.range.clone()).end);
            on_line.push(edit);
        }
        let stretch = Stretch { content, slots, eol, range: line.start..end };
        match stretch.fit(on_line) {
            Ok(edits) => fitted.extend(edits),
            Err(dropped) => stay.extend(dropped.iter().filter_map(|edit| edit.link)),
        }
    }
    (fitted, stay)
}

/// From the start of the line the range begins on to the end of the line it ends on, without that line end.
fn line_of(content: &[u8], range: Range<usize>) -> Range<usize> {
    let before = content.get(..range.start).unwrap_or_default();
    let after = content.get(range.end..).unwrap_or_default();
    let start = memrchr(b'\n', before).map_or(0, |at| at + 1);
    start..memchr(b'\n', after).map_or(content.len(), |at| range.end + at)
}

/// Neighbouring lines that edits join.
struct Stretch<'a> {
    content: &'a [u8],
    slots: &'a [Slot],
    eol: &'a [u8],
    range: Range<usize>,
}

impl Stretch<'_> {
    /// The edits as they fit, or all of them back.
    fn fit(&self, edits: Vec<Edit>) -> Result<Vec<Edit>, Vec<Edit>> {
        if self.longest(&edits) <= LINE_BYTES_MAX {
            return Ok(edits);
        }
        let broken: Vec<Edit> = edits.iter().map(|edit| self.with_break(edit)).collect();
        let ours = self.longest_of_ours(&broken);
        let already = self.longest(&[]) > LINE_BYTES_MAX;
        if ours <= LINE_BYTES_MAX && (already || self.longest(&broken) <= LINE_BYTES_MAX) {
            Ok(broken)
        } else {
            Err(edits)
        }
    }

    /// The edit with the white space before it turned into a line break; the pixel on a line of its own.
    fn with_break(&self, edit: &Edit) -> Edit {
        let mut edit = edit.clone();
        let eol = || Piece::Text(self.eol.to_vec());
        match edit.white_space.take() {
            Some(space) => {
                let kept = self.content.get(space.end..edit.range.start).unwrap_or_default();
                let start = vec![eol(), Piece::Text(kept.to_vec())];
                edit.otherwise = edit.otherwise.map(|put| [start.clone(), put].concat());
                edit.put = [start, edit.put].concat();
                edit.range.start = space.start;
            }
            None if edit.range.is_empty() => edit.put = [vec![eol()], edit.put, vec![eol()]].concat(),
            None => {}
        }
        edit
    }

    /// Longest line of the stretch with all edits made.
    fn longest(&self, edits: &[Edit]) -> usize {
        self.measure(edits).0
    }

    /// Longest line measured up to the end of what we put on it.
    fn longest_of_ours(&self, edits: &[Edit]) -> usize {
        self.measure(edits).1
    }

    fn measure(&self, edits: &[Edit]) -> (usize, usize) {
        let mut ruler = Ruler::default();
        let mut at = self.range.start;
        for edit in edits {
            ruler.text(self.content.get(at..edit.range.start).unwrap_or_default());
            for piece in &edit.put {
                match piece {
                    Piece::Text(text) => ruler.text(text),
                    Piece::Token(_) => ruler.column += pieces_len(std::slice::from_ref(piece), self.slots),
                }
                ruler.ours = ruler.ours.max(ruler.column);
            }
            at = edit.range.end;
        }
        ruler.text(self.content.get(at..self.range.end).unwrap_or_default());
        (ruler.longest.max(ruler.column), ruler.ours)
    }
}

#[derive(Default)]
struct Ruler {
    column: usize,
    longest: usize,
    ours: usize,
}

impl Ruler {
    fn text(&mut self, text: &[u8]) {
        for (n, line) in text.split(|b| *b == b'\n').enumerate() {
            if n > 0 {
                self.longest = self.longest.max(self.column);
                self.column = 0;
            }
            self.column += line.strip_suffix(b"\r").unwrap_or(line).len();
        }
    }
}

/// Writes the part `raw[body]` with fitted edits.
pub(super) fn encode(body: &Range<usize>, edits: &[Edit], variant: Variant, slots: &[Slot], out: &mut Segments) {
    let mut at = body.start;
    for edit in edits {
        let Some(pieces) = edit.pieces(variant) else { continue };
        out.source(at..body.start + edit.range.start);
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.text(text),
                Piece::Token(slot) => out.token(*slot, 0..slots.get(*slot).map_or(0, |slot| slot.chars)),
            }
        }
        at = body.start + edit.range.end;
    }
    out.source(at..body.end);
}

#[cfg(test)]
mod tests {
    use super::super::edit::When;
    use super::*;

    /// Fits one link edit that replaces `[…]` in the text by `put` octets; white space before `href` may break.
    fn fit_one(content: &str, put: usize) -> Result<String, ()> {
        let (from, to) = (content.find('[').unwrap(), content.find(']').unwrap() + 1);
        let name = content.find("href").unwrap();
        let edit = Edit {
            link: Some(0),
            white_space: Some(name - 1..name),
            ..Edit::plain(from..to, When::Always, vec![Piece::Text(vec![b'x'; put])])
        };
        let (fitted, stay) = fit(content.as_bytes(), vec![edit], &[], b"\r\n");
        if !stay.is_empty() {
            return Err(());
        }
        let mut written = content.as_bytes().to_vec();
        let put: Vec<u8> = fitted[0]
            .put
            .iter()
            .flat_map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Token(_) => Vec::new(),
            })
            .collect();
        written.splice(fitted[0].range.clone(), put);
        Ok(String::from_utf8(written).unwrap())
    }

    #[test]
    fn breaks_a_line_only_where_it_must() {
        let short = "a\r\n<a href=[u]>b</a>\r\nc";
        assert_eq!(fit_one(short, 3), Ok("a\r\n<a href=xxx>b</a>\r\nc".to_owned()));
        // 900 octets before the tag: the line breaks before href
        let long = format!("{}<a href=[u]>b</a>\r\nc", "y".repeat(900));
        let written = fit_one(&long, 200).unwrap();
        assert!(written.contains("<a\r\nhref=xx") && written.lines().all(|line| line.len() <= 998));
        // nothing helps: too much after it, or the token alone
        assert_eq!(fit_one(&format!("<a href=[u]>{}", "y".repeat(900)), 200), Err(()));
        assert_eq!(fit_one(short, 999), Err(()));
        // too long before we came: ours still has to fit, the rest is the sender's
        let sender = format!("<a href=[u]>{}", "y".repeat(1200));
        assert!(fit_one(&sender, 200).is_ok());
        assert_eq!(fit_one(&sender, 1200), Err(()));
    }
}

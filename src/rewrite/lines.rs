//! 7bit, 8bit and binary parts: the octets are the content, so lines must stay lines (RFC 5322 §2.1.1: 998 octets).
//!
//! A splice that would make too long a line turns the white space before its attribute into a line break, which means the
//! same to HTML; where that does not help, the link stays. What the sender already wrote too long is not ours to mend.

use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memrchr};

use super::edit::{Edit, Piece, Slot, Variant, When, pieces_len};
use super::segment::Segments;
use crate::message::splice::{Step, walk};

/// Longest line that any server must take, without its line end.
pub(super) const LINE_BYTES_MAX: usize = 998;

/// Fits edits (in order, not overlapping) into the lines of `content`. Returns those that fit, some with a line break,
/// and the links that had to stay. Linear: every stretch between two edits is looked at a fixed number of times.
pub(super) fn fit(content: &[u8], edits: Vec<Edit>, slots: &[Slot], eol: &[u8]) -> (Vec<Edit>, Vec<usize>) {
    let measured = measure(content, &edits, slots);
    let mut fitted = Vec::with_capacity(edits.len());
    let mut stay = Vec::new();
    let mut line = Line { content, at: 0, bytes: 0 };
    for (edit, measured) in edits.into_iter().zip(measured) {
        line.go_to(edit.range.start);
        let plain = line.bytes + measured.put + measured.tail <= LINE_BYTES_MAX && measured.alone;
        match measured.can {
            Can::Shrink => {}
            Can::Break | Can::Plain if plain => {}
            // Copies without the pixel have no break there: the line goes on.
            Can::Break if is_pixel(&edit) => {
                fitted.push(with_break(content, edit, eol));
                continue;
            }
            Can::Break => {
                line.bytes = edit.white_space.as_ref().map_or(0, |space| edit.range.start - space.end);
                line.put(edit.range.end, measured.put);
                if edit.white_space.is_none() {
                    line.bytes = 0;
                }
                fitted.push(with_break(content, edit, eol));
                continue;
            }
            Can::Plain | Can::Stay => {
                stay.extend(edit.link);
                continue;
            }
        }
        line.put(edit.range.end, measured.put);
        fitted.push(edit);
    }
    (fitted, stay)
}

/// What can be done with an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Can {
    /// It makes no line longer.
    Shrink,
    /// It fits once there is a line break before it (around it, for the pixel).
    Break,
    /// It has no place for a break; it may fit as it is.
    Plain,
    /// Not even a break helps.
    Stay,
}

struct Measured {
    can: Can,
    /// Octets put in.
    put: usize,
    /// Octets after it that must stay on its line; 0 where the sender's line was too long already.
    tail: usize,
    /// It fits into the line as the sender wrote it, as it stands in copies that leave the links.
    alone: bool,
}

/// The pixel: the one edit that copies have or have not whatever they have of the others.
fn is_pixel(edit: &Edit) -> bool {
    edit.when == When::Opens
}

/// Measures the edits from the last to the first: how long a line gets depends on where a later edit can break it.
fn measure(content: &[u8], edits: &[Edit], slots: &[Slot]) -> Vec<Measured> {
    let starts = line_starts(content, edits);
    let mut measured = Vec::with_capacity(edits.len());
    let mut next =
        Next { range: content.len()..content.len(), line_end: content.len(), breaks_at: content.len(), more: 0 };
    for (edit, line_start) in edits.iter().zip(starts).rev() {
        let newline_in = |range: Range<usize>| {
            let text = content.get(range.clone()).unwrap_or_default();
            memchr(b'\n', text).map(|at| range.start + at)
        };
        let newline = newline_in(edit.range.end..next.range.start);
        // A line end inside the next edit ends the sender's line, but will be gone from ours.
        let line_end = newline.or_else(|| newline_in(next.range.clone())).unwrap_or(next.line_end);
        let rest = newline.map_or(next.breaks_at.saturating_sub(edit.range.end) + next.more, |at| at - edit.range.end);
        let put = pieces_len(&edit.put, slots);
        // A line end inside this edit makes one line of two: each of them counts for what the sender wrote.
        let inside = newline_in(edit.range.clone());
        let longest = inside.map_or(line_end - line_start, |at| (at - line_start).max(line_end - at));
        let tail = if longest > LINE_BYTES_MAX { 0 } else { rest };
        let can = can(edit, put, tail);
        let may_break = is_pixel(edit) && can == Can::Break;
        let alone = !may_break || longest > LINE_BYTES_MAX || longest + put <= LINE_BYTES_MAX;
        next = match (can, &edit.white_space) {
            (Can::Break, None) if may_break => {
                Next { breaks_at: edit.range.start, more: rest, range: edit.range.clone(), line_end }
            }
            (Can::Break, Some(space)) => Next { breaks_at: space.start, more: 0, range: edit.range.clone(), line_end },
            (Can::Break, None) => Next { breaks_at: edit.range.start, more: 0, range: edit.range.clone(), line_end },
            // It stays on the line whatever becomes of it, at its longest.
            _ => Next {
                breaks_at: edit.range.start,
                more: put.max(edit.range.len()) + rest,
                range: edit.range.clone(),
                line_end,
            },
        };
        measured.push(Measured { can, put, tail, alone });
    }
    measured.reverse();
    measured
}

/// What stands after the edit being measured.
struct Next {
    range: Range<usize>,
    /// End of the line that edit ends on.
    line_end: usize,
    /// Up to where the text must stay on one line, and how much more after that.
    breaks_at: usize,
    more: usize,
}

fn can(edit: &Edit, put: usize, tail: usize) -> Can {
    if put <= edit.range.len() {
        return Can::Shrink;
    }
    match &edit.white_space {
        Some(space) if edit.range.start - space.end + put + tail <= LINE_BYTES_MAX => Can::Break,
        None if edit.range.is_empty() && edit.link.is_none() && put <= LINE_BYTES_MAX => Can::Break,
        None => Can::Plain,
        Some(_) => Can::Stay,
    }
}

/// Where the line that each edit starts on begins.
fn line_starts(content: &[u8], edits: &[Edit]) -> Vec<usize> {
    let (mut from, mut start) = (0, 0);
    let start_of = |edit: &Edit| {
        let before = content.get(from..edit.range.start).unwrap_or_default();
        start = memrchr(b'\n', before).map_or(start, |at| from + at + 1);
        from = edit.range.start;
        start
    };
    edits.iter().map(start_of).collect()
}

/// The edit with the white space before it turned into a line break; the pixel on a line of its own.
fn with_break(content: &[u8], mut edit: Edit, eol: &[u8]) -> Edit {
    let eol = || Piece::Text(Bytes::copy_from_slice(eol));
    match edit.white_space.take() {
        Some(space) => {
            let kept = content.get(space.end..edit.range.start).unwrap_or_default();
            let before = vec![eol(), Piece::Text(Bytes::copy_from_slice(kept))];
            edit.otherwise = edit.otherwise.map(|put| [before.clone(), put].concat());
            edit.put = [before, edit.put].concat();
            edit.range.start = space.start;
        }
        None => edit.put = [vec![eol()], edit.put, vec![eol()]].concat(),
    }
    edit
}

/// The line being written: how long it is so far.
struct Line<'a> {
    content: &'a [u8],
    at: usize,
    bytes: usize,
}

impl Line<'_> {
    /// Text that stays, up to `to`.
    fn go_to(&mut self, to: usize) {
        let text = self.content.get(self.at..to).unwrap_or_default();
        self.bytes = memrchr(b'\n', text).map_or(self.bytes + text.len(), |at| text.len() - at - 1);
        self.at = to;
    }

    /// Octets put in instead of the text up to `to`.
    fn put(&mut self, to: usize, bytes: usize) {
        self.bytes += bytes;
        self.at = to;
    }
}

/// Writes the part `raw[body]` with fitted edits.
pub(super) fn encode(body: &Range<usize>, edits: &[Edit], variant: Variant, slots: &[Slot], out: &mut Segments) {
    let made = edits.iter().filter_map(|edit| {
        let range = body.start + edit.range.start..body.start + edit.range.end;
        edit.pieces(variant).map(|pieces| (range, pieces))
    });
    for step in walk(body.clone(), made) {
        match step {
            Step::Keep(range) => out.source(range),
            Step::Put(pieces) => pieces.iter().for_each(|piece| match piece {
                Piece::Text(text) => out.text(text),
                Piece::Token(slot) => out.token(*slot, 0..slots.get(*slot).map_or(0, |slot| slot.chars)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fits one link edit that replaces `[…]` in the text by `put` octets; white space before `href` may break.
    fn fit_one(content: &str, put: usize) -> Result<String, ()> {
        let (from, to) = (content.find('[').unwrap(), content.find(']').unwrap() + 1);
        let name = content.find("href").unwrap();
        let edit = Edit {
            link: Some(0),
            white_space: Some(name - 1..name),
            ..Edit::plain(from..to, When::Always, vec![Piece::Text(vec![b'x'; put].into())])
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
                Piece::Text(text) => text.to_vec(),
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

    #[test]
    fn many_links_share_a_long_line() {
        for (links, text) in [(1, 10), (3, 200), (12, 40), (30, 5), (9, 95)] {
            let mut content = String::from("x\n");
            let mut edits = Vec::new();
            for n in 0..links {
                content.push_str(&"y".repeat(text));
                content.push_str("<a href=\"");
                let from = content.len();
                content.push_str("u\">");
                let put = vec![Piece::Text(vec![b'0' + (n % 10) as u8; 180].into())];
                edits.push(Edit {
                    link: Some(n),
                    white_space: Some(from - 7..from - 6),
                    ..Edit::plain(from..from + 1, When::Always, put)
                });
            }
            content.push_str("</a>\nz");
            let long_already = content.lines().any(|line| line.len() > LINE_BYTES_MAX);
            let (fitted, stay) = fit(content.as_bytes(), edits, &[], b"\n");
            assert!(stay.is_empty() && fitted.len() == links, "{links} {text}: {stay:?}");
            let mut out = Segments::default();
            encode(&(0..content.len()), &fitted, Variant::NONE, &[], &mut out);
            let written = out.shown(&content);
            assert!(long_already || written.lines().all(|line| line.len() <= LINE_BYTES_MAX), "{links} {text}");
        }
    }
}

//! Quoted-printable (RFC 2045 §6.7), line by line: only the encoded lines that hold an edit are written anew.
//!
//! Octets of such a line that are not edited keep the spelling they had (`=3d` stays `=3d`); soft breaks stand at 76;
//! the line end that closes it stays as it was. A line that we begin never starts with `-` nor with a token's own
//! character, or it could read as a boundary delimiter (RFC 2046 §5.1.1). A `=` that begins no escape is read as itself, as clients do, but an
//! edit that would replace one is refused: two decoders could see two links there.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};

use super::edit::{Edit, Piece, Slot, Variant};
use super::segment::Segments;
use crate::message::header::line_end_len;

/// A decoded part with the places of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) content: Vec<u8>,
    lines: Vec<Line>,
    /// Places in `content` of `=` that began no escape.
    broken: Vec<usize>,
    /// The raw range decoded.
    body: Range<usize>,
    crlf: bool,
}

/// Where an encoded line starts, in octets from the start of the encoded part and of the content. In 32 bits, for a part may be
/// nothing but soft breaks; none is read that has 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    raw: u32,
    content: u32,
}

impl Line {
    fn at(raw: usize, content: usize) -> Line {
        let narrow = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Line { raw: narrow(raw), content: narrow(content) }
    }

    fn raw(self) -> usize {
        self.raw as usize
    }

    fn content(self) -> usize {
        self.content as usize
    }
}

/// Longest encoded line we write, with the `=` of a soft break (RFC 2045 §6.7, rule 5).
const LINE_CHARS_MAX: usize = 76;

/// Decodes `raw[body]`.
pub(super) fn decode(raw: &[u8], body: Range<usize>) -> Decoded {
    let source = raw.get(body.clone()).unwrap_or_default();
    let mut decoded = Decoded {
        content: Vec::with_capacity(source.len()),
        lines: Vec::with_capacity(memchr_iter(b'\n', source).count() + 1),
        broken: Vec::new(),
        crlf: memchr(b'\n', source).is_none_or(|at| at > 0 && source.get(at - 1) == Some(&b'\r')),
        body: body.clone(),
    };
    decoded.lines.push(Line::at(0, 0));
    let mut rest = source;
    loop {
        let Some(at) = memchr2(b'=', b'\n', rest) else {
            decoded.content.extend_from_slice(without_padding(rest));
            break;
        };
        let (run, special) = rest.split_at(at);
        rest = if special.first() == Some(&b'\n') {
            decoded.hard_break(run);
            special.get(1..).unwrap_or_default()
        } else {
            decoded.content.extend_from_slice(run);
            decoded.escape(special)
        };
        if at_line_start(source, rest) && !rest.is_empty() {
            decoded.lines.push(Line::at(source.len() - rest.len(), decoded.content.len()));
        }
    }
    if source.is_empty() {
        decoded.lines.clear();
    }
    decoded
}

/// Whether the rest of the source begins a line.
fn at_line_start(source: &[u8], rest: &[u8]) -> bool {
    let at = source.len() - rest.len();
    at.checked_sub(1).and_then(|before| source.get(before)) == Some(&b'\n')
}

/// White space before a line end is the transport's (rule 3).
fn without_padding(text: &[u8]) -> &[u8] {
    let padding = text.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
    text.get(..text.len() - padding).unwrap_or_default()
}

fn first_line(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(memchr(b'\n', text).map_or(text.len(), |found| found + 1))
}

/// An encoded line in its parts.
struct Split<'a> {
    text: &'a [u8],
    /// All that follows the text: padding, the `=` of a soft break, the line end.
    end: &'a [u8],
    /// What the end means: a line end, or nothing after a soft break.
    break_content: &'a [u8],
    soft: bool,
}

fn split(line: &[u8]) -> Split<'_> {
    let (before, eol) = line.split_at(line.len() - line_end_len(line));
    let trimmed = without_padding(before);
    let (text, soft) = match trimmed.strip_suffix(b"=") {
        Some(text) if !eol.is_empty() => (text, true),
        _ => (trimmed, false),
    };
    let end = line.get(text.len()..).unwrap_or_default();
    Split { text, end, break_content: if soft { b"" } else { eol }, soft }
}

/// What encoded text that begins with `=` means first, and how many characters spell it: 3, or 1 if it is no escape.
fn atom(text: &[u8]) -> (u8, usize) {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
    match (hex(text.get(1)), hex(text.get(2))) {
        (Some(high), Some(low)) => (high * 16 + low, 3),
        _ => (b'=', 1),
    }
}

impl Decoded {
    /// Text that a line end closes.
    fn hard_break(&mut self, run: &[u8]) {
        let (text, eol): (&[u8], &[u8]) = match run.strip_suffix(b"\r") {
            Some(text) => (text, b"\r\n"),
            None => (run, b"\n"),
        };
        self.content.extend_from_slice(without_padding(text));
        self.content.extend_from_slice(eol);
    }

    /// What begins with `=`: a soft break, an octet, or neither. Returns what follows it.
    fn escape<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let after = text.get(1..).unwrap_or_default();
        let padding = after.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let end = after.get(padding..).unwrap_or_default();
        if let Some(next) = end.strip_prefix(b"\r\n").or_else(|| end.strip_prefix(b"\n")) {
            return next;
        }
        let (octet, len) = atom(text);
        if len == 1 {
            self.broken.push(self.content.len());
        }
        self.content.push(octet);
        text.get(len..).unwrap_or_default()
    }

    /// Whether the encoding of this stretch of content is in doubt.
    pub(super) fn is_broken(&self, range: &Range<usize>) -> bool {
        let from = self.broken.partition_point(|at| *at < range.start);
        self.broken.get(from).is_some_and(|at| *at < range.end)
    }

    /// Writes the part with `edits` (in order, not overlapping).
    pub(super) fn encode(&self, raw: &[u8], edits: &[Edit], variant: Variant, slots: &[Slot], out: &mut Segments) {
        let made: Vec<Made<'_>> = edits
            .iter()
            .filter_map(|edit| Some(Made { range: edit.range.clone(), put: edit.pieces(variant)? }))
            .collect();
        let (mut at, mut first) = (self.body.start, 0);
        while let Some(group) = self.group(&made, first) {
            out.source(at..group.raw.start);
            let source = raw.get(group.raw.clone()).unwrap_or_default();
            let mut writer = Writer { out, column: 0, begun: false, crlf: self.crlf, slots };
            writer.group(source, group.content, made.get(first..group.next).unwrap_or_default());
            (at, first) = (group.raw.end, group.next);
        }
        out.source(at..self.body.end);
    }

    /// Encoded lines that the edit at `first` is on, with every further edit that is on them.
    fn group(&self, made: &[Made<'_>], first: usize) -> Option<Group> {
        let edit = made.get(first)?;
        let from = self.line_of(edit.range.start);
        let mut to = self.line_of(edit.range.end);
        let mut next = first + 1;
        while let Some(more) = made.get(next).filter(|more| self.line_of(more.range.start) <= to) {
            to = to.max(self.line_of(more.range.end));
            next += 1;
        }
        let start = self.lines.get(from).copied().unwrap_or(Line::at(0, 0));
        let end = self.lines.get(to + 1).map_or(self.body.end, |line| self.body.start + line.raw());
        Some(Group { raw: self.body.start + start.raw()..end, content: start.content(), next })
    }

    /// The line that octet `at` of the content is on; at its end the last one.
    fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|line| line.content() <= at).saturating_sub(1)
    }
}

/// An edit this variant makes.
struct Made<'a> {
    range: Range<usize>,
    put: &'a [Piece],
}

/// Lines to write anew.
struct Group {
    raw: Range<usize>,
    /// Where their content starts.
    content: usize,
    /// The first edit that is not theirs.
    next: usize,
}

struct Writer<'a> {
    out: &'a mut Segments,
    column: usize,
    /// Whether what starts this line started none in the source.
    begun: bool,
    crlf: bool,
    slots: &'a [Slot],
}

impl Writer<'_> {
    /// Writes `source`, whole encoded lines whose content starts at `at`, with the edits on it.
    fn group(&mut self, source: &[u8], mut at: usize, made: &[Made<'_>]) {
        let mut edits = made.iter().peekable();
        let mut skip_to = at;
        let mut rest = source;
        while !rest.is_empty() {
            let (line, later) = first_line(rest);
            rest = later;
            let split = split(line);
            let mut text = split.text;
            loop {
                while let Some(edit) = edits.next_if(|edit| edit.range.start <= at && at >= skip_to) {
                    edit.put.iter().for_each(|piece| self.piece(piece));
                    skip_to = skip_to.max(edit.range.end);
                }
                if text.is_empty() {
                    break;
                }
                let skipping = at < skip_to;
                let stop = if skipping { skip_to } else { edits.peek().map_or(usize::MAX, |edit| edit.range.start) };
                let (run, octets) = spelled(text, stop - at);
                if skipping {
                    self.begun |= self.column == 0;
                } else {
                    self.kept(run);
                }
                at += octets;
                text = text.get(run.len()..).unwrap_or_default();
            }
            let replaced = at < skip_to;
            at += split.break_content.len();
            if rest.is_empty() || (!replaced && !split.soft) {
                self.line_end(&split);
            }
        }
    }

    /// Text that stays, in the spelling it has.
    fn kept(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            self.room(3.min(text.len()));
            if let Some(later) = text.strip_prefix(b"-").filter(|_| self.at_new_line()) {
                self.escape(b'-');
                text = later;
                continue;
            }
            let mut take = text.len().min(LINE_CHARS_MAX - 1 - self.column);
            if take < text.len() {
                // not in the middle of an escape
                let escape = text.get(take.saturating_sub(2)..take).and_then(|tail| memchr(b'=', tail));
                take -= escape.map_or(0, |at| 2.min(take) - at);
            }
            let (now, later) = text.split_at(take);
            self.out.text(now);
            self.column += take;
            text = later;
        }
    }

    fn piece(&mut self, piece: &Piece) {
        match piece {
            // Nothing in it needs spelling out, so it is laid out as text that stands already.
            Piece::Text(text) if text.iter().all(|b| matches!(b, b'!'..=b'<' | b'>'..=b'~')) => self.kept(text),
            Piece::Text(text) => text.split_inclusive(|b| *b == b'\n').for_each(|line| self.new_line(line)),
            Piece::Token(slot) => {
                let chars = self.slots.get(*slot).map_or(0, |slot| slot.chars);
                let mut from = 0;
                while from < chars {
                    self.room(1);
                    if self.at_new_line() {
                        self.out.escaped_token(*slot, from);
                        self.column += 3;
                        from += 1;
                    }
                    let to = chars.min(from + LINE_CHARS_MAX - 1 - self.column);
                    if from < to {
                        self.out.token(*slot, from..to);
                    }
                    self.column += to - from;
                    from = to;
                }
            }
        }
    }

    /// A line that we put in, with its end if it has one.
    fn new_line(&mut self, line: &[u8]) {
        let (text, end) = line.split_at(line.len() - line_end_len(line));
        text.iter().for_each(|octet| self.octet(*octet));
        if !end.is_empty() {
            self.spell_last_space();
            self.out.text(if self.crlf { b"\r\n" } else { b"\n" });
            self.column = 0;
            self.begun = true;
        }
    }

    fn octet(&mut self, octet: u8) {
        match octet {
            b' '..=b'<' | b'>'..=b'~' => {
                self.room(1);
                if octet == b'-' && self.at_new_line() {
                    return self.escape(octet);
                }
                self.out.text(&[octet]);
                self.column += 1;
            }
            _ => {
                self.room(3);
                self.escape(octet);
            }
        }
    }

    fn escape(&mut self, octet: u8) {
        self.out.text(format!("={octet:02X}").as_bytes());
        self.column += 3;
    }

    fn at_new_line(&self) -> bool {
        self.begun && self.column == 0
    }

    /// A soft break where `chars` more and a `=` would not fit.
    fn room(&mut self, chars: usize) {
        if self.column + chars > LINE_CHARS_MAX - 1 {
            self.out.text(if self.crlf { b"=\r\n" } else { b"=\n" });
            self.column = 0;
            self.begun = true;
        }
    }

    /// The end of an encoded line as it stood. What is white space before it now is spelled out, or it would be lost.
    fn line_end(&mut self, split: &Split<'_>) {
        if !split.soft {
            self.spell_last_space();
        }
        self.out.text(split.end);
        self.column = 0;
        self.begun = false;
    }

    fn spell_last_space(&mut self) {
        if let Some(space) = self.out.pop_space() {
            self.column = self.column.saturating_sub(1);
            self.room(3);
            self.escape(space);
        }
    }
}

/// The beginning of `text` that spells at most `octets` octets, and how many it spells.
fn spelled(text: &[u8], octets: usize) -> (&[u8], usize) {
    let (mut chars, mut left) = (0, octets);
    while left > 0 {
        let rest = text.get(chars..).unwrap_or_default();
        let plain = memchr(b'=', rest).unwrap_or(rest.len());
        if plain >= left || plain == rest.len() {
            let take = plain.min(left);
            chars += take;
            left -= take;
            break;
        }
        chars += plain + atom(rest.get(plain..).unwrap_or_default()).1;
        left -= plain + 1;
    }
    (text.get(..chars).unwrap_or(text), octets - left)
}

#[cfg(test)]
mod tests {
    use super::super::edit::When;
    use super::*;

    fn encode(source: &str, edits: &[(Range<usize>, &str)]) -> String {
        let decoded = decode(source.as_bytes(), 0..source.len());
        let edits: Vec<Edit> = edits
            .iter()
            .map(|(range, put)| {
                Edit::plain(range.clone(), When::Always, vec![Piece::Text(put.as_bytes().to_vec().into())])
            })
            .collect();
        let mut out = Segments::default();
        decoded.encode(source.as_bytes(), &edits, Variant::NONE, &[], &mut out);
        out.shown(source)
    }

    fn content(source: &str) -> String {
        String::from_utf8_lossy(&decode(source.as_bytes(), 0..source.len()).content).into_owned()
    }

    #[test]
    fn decodes_as_clients_do() {
        let rows: &[(&str, &str)] = &[
            ("a=3Db=3db", "a=b=b"),
            ("soft=\r\nbreak\r\nhard", "softbreak\r\nhard"),
            ("lf=\nx\ny", "lfx\ny"),
            // padding goes, before a line end and after a soft break
            ("a  \r\nb= \t\r\nc =\r\nd", "a\r\nbc d"),
            // what is no escape stands for itself; an equals sign at the very end too
            ("a=b&c==x=3", "a=b&c==x=3"),
            ("x=", "x="),
            ("", ""),
        ];
        for (source, expected) in rows {
            assert_eq!(content(source), *expected, "{source:?}");
            assert_eq!(encode(source, &[]), *source);
        }
        let decoded = decode(b"a=b =3D", 0..7);
        assert!(decoded.is_broken(&(0..2)) && !decoded.is_broken(&(2..5)) && !decoded.is_broken(&(0..1)));
    }

    #[test]
    fn writes_only_the_lines_it_must() {
        type Row<'a> = (&'a str, &'a [(Range<usize>, &'a str)], &'a str);
        let rows: &[Row<'_>] = &[
            // the neighbours keep their odd spelling, and so do kept octets of the edited line
            ("=41\r\n=42=43x\r\n=44 \r\n", &[(5..6, "=")], "=41\r\n=42=43=3D\r\n=44 \r\n"),
            // soft breaks of edited lines are laid out anew, of others not
            ("ab=\r\ncd=\r\nef\r\ngh", &[(1..3, "X")], "aXd=\r\nef\r\ngh"),
            // insertions at both ends, removal, at the end of a line
            ("ab\r\ncd", &[(0..0, "<"), (6..6, ">")], "<ab\r\ncd>"),
            ("a b\r\nc", &[(2..3, "")], "a=20\r\nc"),
            ("a b", &[(2..3, "")], "a=20"),
            ("a b=\r\nc", &[(2..3, "")], "a c"),
            // an edit over a hard line end
            ("ab\r\ncd\r\n", &[(1..5, "-")], "a-d\r\n"),
            ("ab\r\ncd\r\n", &[(1..4, "-")], "a-cd\r\n"),
        ];
        for (source, edits, expected) in rows {
            assert_eq!(encode(source, edits), *expected, "{source:?} {edits:?}");
        }
    }

    #[test]
    fn no_line_passes_76() {
        let long = format!("{}=3D{}\r\nnext=\r\n", "a".repeat(70), "=C3=A9".repeat(30));
        for at in 0..130 {
            let written = encode(&long, &[(at..at, "inserted text, éé")]);
            assert!(written.lines().all(|line| line.len() <= 76), "{written}");
            let mut expected = decode(long.as_bytes(), 0..long.len()).content;
            expected.splice(at..at, "inserted text, éé".bytes());
            assert_eq!(decode(written.as_bytes(), 0..written.len()).content, expected);
        }
    }

    /// RFC 2046 §5.1.1: a delimiter is a line that begins with two hyphens.
    #[test]
    fn no_line_that_we_begin_starts_with_a_hyphen() {
        let dashes = "-".repeat(200);
        let rows: &[(&str, Range<usize>, &str)] =
            &[("x", 0..0, &dashes), ("x", 0..0, &format!("{dashes} é")), (&dashes, 9..10, "+"), ("a--b", 0..1, "")];
        for (source, edit, put) in rows {
            let written = encode(source, &[(edit.clone(), put)]);
            let ours =
                if *source == dashes { written.lines().skip(1).collect() } else { written.lines().collect::<Vec<_>>() };
            assert!(ours.len() > 1 || source.len() < 9, "{written}");
            assert!(!ours.iter().any(|line| line.starts_with('-') && !put.starts_with('-')), "{written}");
            assert!(!written.lines().skip(1).any(|line| line.starts_with('-')), "{written}");
            let mut expected = source.as_bytes().to_vec();
            expected.splice(edit.clone(), put.bytes());
            assert_eq!(decode(written.as_bytes(), 0..written.len()).content, expected);
        }
        // what starts the source's own line stays as it is spelt
        assert_eq!(encode("--b x", &[(4..5, "y")]), "--b y");
        // a token is spelled out where it begins a line, whatever it will be
        let decoded = decode(b"x", 0..1);
        let edit = Edit::plain(0..0, When::Always, vec![Piece::Token(0)]);
        let slots = [Slot { kind: crate::token::Kind::Click, link: 1, payload: String::new(), chars: 160 }];
        let mut out = Segments::default();
        decoded.encode(b"x", &[edit], Variant::NONE, &slots, &mut out);
        let laid = out.finish();
        let body = super::super::segment::render(&bytes::Bytes::from_static(b"x"), &laid, &slots, &["-".repeat(160)]);
        let written = body.unwrap().chunks.concat();
        assert_eq!(decode(&written, 0..written.len()).content, format!("{}x", "-".repeat(160)).into_bytes());
        let lines: Vec<&[u8]> = written.split(|b| *b == b'\n').map(<[u8]>::trim_ascii_end).collect();
        assert!(lines.len() == 3 && lines[1..].iter().all(|line| line.starts_with(b"=2D") && line.len() <= 76));
    }

    proptest::proptest! {
        #[test]
        fn an_edit_changes_the_content_there_and_nowhere_else(
            source in "([a-z =\\t]|=3D|=0D|=\\r\\n|=\\n|\\r\\n|\\n|=[0-9A-F]{2}|[a-z]{30}){0,30}", from in 0usize..100, len in 0usize..40, put in "[a-z =é]{0,40}[a-z]") {
            let before = decode(source.as_bytes(), 0..source.len()).content;
            let (from, to) = (from.min(before.len()), (from + len).min(before.len()));
            // never in the middle of a line end, and never swallowing the last one
            let inside = |at: usize| before.get(at) == Some(&b'\n') && at > 0 && before.get(at - 1) == Some(&b'\r');
            if !inside(from) && !inside(to) && to < before.len() {
                let written = encode(&source, &[(from..to, &put)]);
                let mut expected = before.clone();
                expected.splice(from..to, put.bytes());
                let after = decode(written.as_bytes(), 0..written.len()).content;
                assert_eq!(String::from_utf8_lossy(&after), String::from_utf8_lossy(&expected));
            }
        }
    }
}

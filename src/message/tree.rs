//! The parts of a message as byte ranges, found by walking true delimiter lines (RFC 2046 §5.1).
//!
//! A line counts as a delimiter only when it is exactly `--boundary` or `--boundary--` (and trailing white space) of a
//! multipart that is open. Where another reader could see another tree, the answer is a [`Doubt`] and the message stays.
//! The walk is iterative and linear in the message; its depth, parts and header octets are bounded by [`Limits`].
//! **Invariant:** ranges of siblings do not overlap, and a child lies inside its parent's body.

use std::fmt;
use std::ops::Range;

use memchr::memmem;

use super::header::{Field, Fields, fields, line_end_len, next_line, slice};
use super::media::{Charset, Disposition, Encoding, Media, disposition, encoding, media};

/// How much structure we follow. Over a limit the message passes untouched; it is never refused for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of one header (the message's or a part's).
    pub header_bytes_max: usize,
    /// Lines of one header that start a field.
    pub header_lines_max: usize,
    /// Parts of the message, multiparts included.
    pub parts_max: usize,
    /// Multiparts inside one another.
    pub nesting_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_bytes_max: HEADER_BYTES_MAX,
            header_lines_max: HEADER_LINES_MAX,
            parts_max: PARTS_MAX,
            nesting_max: NESTING_MAX,
        }
    }
}

/// 256 KiB: Postfix takes 100 KB; the longest header in our collection of real mail has 200 KB.
pub const HEADER_BYTES_MAX: usize = 256 * 1024;
/// 2,000 fields: real mail stays below 200.
pub const HEADER_LINES_MAX: usize = 2_000;
/// 1,000 parts: the largest real mail in our collection has 330.
pub const PARTS_MAX: usize = 1_000;
/// 50 levels: Postfix stops at 100, real mail at 10.
pub const NESTING_MAX: usize = 50;

/// One part. Its number is its place in [`Tree::parts`], in order of appearance; 0 is the message itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Header octets, with the empty line that ends them.
    pub header: Range<usize>,
    /// Body octets, without the line end that belongs to the next delimiter.
    pub body: Range<usize>,
    /// The multipart it stands in.
    pub parent: Option<usize>,
    /// Parts inside, in order.
    pub children: Vec<usize>,
    /// Content-Type.
    pub media: Media,
    /// Content-Transfer-Encoding.
    pub encoding: Encoding,
    /// Content-Disposition.
    pub disposition: Disposition,
    /// Content-ID without angle brackets, for multipart/related.
    pub content_id: Option<Vec<u8>>,
    /// The header has Content-MD5.
    pub checksum: bool,
    /// The header has a line that is no field: readers differ on where it ends.
    pub malformed_header: bool,
}

/// All parts of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// In order of appearance; never empty.
    pub parts: Vec<Part>,
}

/// Why the structure is not plain, or too large to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doubt {
    /// A header over the octet limit.
    HeaderTooLarge,
    /// A header over the line limit.
    TooManyLines,
    /// More parts than the limit.
    TooManyParts,
    /// Deeper than the limit.
    TooDeep,
    /// One boundary inside itself, or going on after its close.
    BoundaryReused,
    /// A line that begins like a delimiter and is none.
    BoundaryUnclear,
    /// The message's header has a line that is no field.
    MalformedHeader,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doubt::HeaderTooLarge => "a header is over the limit",
            Doubt::TooManyLines => "a header has more lines than the limit",
            Doubt::TooManyParts => "more parts than the limit",
            Doubt::TooDeep => "parts nested deeper than the limit",
            Doubt::BoundaryReused => "a boundary is used twice",
            Doubt::BoundaryUnclear => "a line begins like a boundary and is none",
            Doubt::MalformedHeader => "the header has a line that is no header field",
        })
    }
}

/// Reads the tree of `raw`. Lines end in CRLF or LF.
///
/// # Errors
/// [`Doubt`]: send the message as it came.
pub fn read(raw: &[u8], limits: &Limits) -> Result<Tree, Doubt> {
    let mut walk = Walk { raw, limits, parts: Vec::new(), open: Vec::new(), leaf: None };
    let mut at = walk.part(header_start(raw), None)?;
    while let Some(line) = walk.delimiter_from(at)? {
        at = walk.cross(&line)?;
    }
    walk.finish(raw.len(), 0);
    Ok(Tree { parts: walk.parts })
}

/// The header starts after an mbox `From ` line, which some files and old senders begin with.
fn header_start(raw: &[u8]) -> usize {
    if raw.starts_with(b"From ") || raw.starts_with(b">From ") { next_line(raw, 0) } else { 0 }
}

struct Walk<'a> {
    raw: &'a [u8],
    limits: &'a Limits,
    parts: Vec<Part>,
    open: Vec<Open>,
    /// The part whose end is not known yet and that is no open multipart.
    leaf: Option<usize>,
}

struct Open {
    part: usize,
    boundary: Vec<u8>,
    closed: bool,
}

/// A delimiter line: where its content ends, where the next line starts, whose it is.
struct Delimiter {
    content_end: usize,
    next: usize,
    level: usize,
    close: bool,
}

impl Walk<'_> {
    /// Adds the part whose header starts at `from`; returns where to look for the next delimiter.
    fn part(&mut self, from: usize, parent: Option<usize>) -> Result<usize, Doubt> {
        if self.parts.len() >= self.limits.parts_max {
            return Err(Doubt::TooManyParts);
        }
        let (header, body) = self.header(from)?;
        let malformed_header = header.iter().any(|field| field.is_malformed() || field.is_obsolete());
        if malformed_header && parent.is_none() {
            return Err(Doubt::MalformedHeader);
        }
        let raw = self.raw;
        let part = Part {
            header: from..body,
            body: body..body,
            parent,
            children: Vec::new(),
            media: media(raw, &header),
            encoding: encoding(raw, &header),
            disposition: disposition(raw, &header),
            content_id: content_id(raw, &header),
            checksum: header.iter().any(|field| field.is(raw, "Content-MD5")),
            malformed_header,
        };
        let number = self.parts.len();
        let boundary = if part.is_open_multipart() { part.media.boundary.clone() } else { None };
        self.parts.push(part);
        if let Some(parent) = parent.and_then(|parent| self.parts.get_mut(parent)) {
            parent.children.push(number);
        }
        match boundary {
            Some(boundary) => self.enter(number, boundary)?,
            None => self.leaf = Some(number),
        }
        Ok(body)
    }

    fn enter(&mut self, part: usize, boundary: Vec<u8>) -> Result<(), Doubt> {
        if self.open.len() >= self.limits.nesting_max {
            return Err(Doubt::TooDeep);
        }
        if self.open.iter().any(|open| open.boundary == boundary) {
            return Err(Doubt::BoundaryReused);
        }
        self.open.push(Open { part, boundary, closed: false });
        Ok(())
    }

    /// The fields of a part's header and where its body starts. A delimiter line of an open multipart ends it too.
    fn header(&self, from: usize) -> Result<(Vec<Field>, usize), Doubt> {
        let mut found = Vec::new();
        let mut walk = fields(self.raw, from);
        loop {
            let at = walk.position();
            if self.is_delimiter(at)? {
                return Ok((found, at));
            }
            let Some(field) = walk.next() else { return Ok((found, self.after_empty_line(&walk))) };
            if field.whole.end - from > self.limits.header_bytes_max {
                return Err(Doubt::HeaderTooLarge);
            }
            if found.len() >= self.limits.header_lines_max {
                return Err(Doubt::TooManyLines);
            }
            found.push(field);
        }
    }

    fn after_empty_line(&self, walk: &Fields<'_>) -> usize {
        next_line(self.raw, walk.position())
    }

    fn is_delimiter(&self, at: usize) -> Result<bool, Doubt> {
        let begins = self.raw.get(at..).is_some_and(|rest| rest.starts_with(b"--"));
        Ok(begins && self.delimiter_at(at)?.is_some())
    }

    /// The first delimiter line at or after the line start `from`.
    fn delimiter_from(&self, from: usize) -> Result<Option<Delimiter>, Doubt> {
        if self.open.is_empty() {
            return Ok(None);
        }
        if self.raw.get(from..).is_some_and(|rest| rest.starts_with(b"--"))
            && let Some(found) = self.delimiter_at(from)?
        {
            return Ok(Some(found));
        }
        let rest = self.raw.get(from..).unwrap_or_default();
        for newline in memmem::find_iter(rest, b"\n--") {
            if let Some(found) = self.delimiter_at(from + newline + 1)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Reads the line at `at`, which begins with `--`.
    fn delimiter_at(&self, at: usize) -> Result<Option<Delimiter>, Doubt> {
        let next = next_line(self.raw, at);
        let line = slice(self.raw, &(at + 2..next));
        let mut unclear = false;
        for (level, open) in self.open.iter().enumerate().rev() {
            let Some(rest) = line.strip_prefix(open.boundary.as_slice()) else { continue };
            let rest = rest.trim_ascii_end();
            if rest.is_empty() || rest == b"--" {
                let content_end = at - line_end_len(slice(self.raw, &(at.saturating_sub(2)..at)));
                return Ok(Some(Delimiter { content_end, next, level, close: !rest.is_empty() }));
            }
            unclear = true;
        }
        if unclear { Err(Doubt::BoundaryUnclear) } else { Ok(None) }
    }

    /// Ends what the delimiter ends and starts what it starts; returns where to look on.
    fn cross(&mut self, line: &Delimiter) -> Result<usize, Doubt> {
        self.finish(line.content_end, line.level + 1);
        let Some(open) = self.open.last_mut() else { return Ok(line.next) };
        if open.closed {
            return Err(Doubt::BoundaryReused);
        }
        if line.close {
            open.closed = true;
            return Ok(line.next);
        }
        let parent = open.part;
        self.part(line.next, Some(parent))
    }

    /// Ends the leaf and every multipart from `level` on at `end`.
    fn finish(&mut self, end: usize, level: usize) {
        let ended = self.open.split_off(level.min(self.open.len()));
        let mut end = end;
        for number in self.leaf.take().into_iter().chain(ended.iter().rev().map(|open| open.part)) {
            if let Some(part) = self.parts.get_mut(number) {
                // A delimiter right after the header: the body is empty, not of negative length, and the multipart
                // around it reaches as far.
                end = end.max(part.body.start);
                part.body.end = end;
            }
        }
    }
}

fn content_id(raw: &[u8], header: &[Field]) -> Option<Vec<u8>> {
    let field = header.iter().find(|field| field.is(raw, "Content-ID"))?;
    let id = slice(raw, &field.value).trim_ascii();
    let id = id.strip_prefix(b"<").unwrap_or(id);
    Some(id.strip_suffix(b">").unwrap_or(id).to_vec())
}

impl Part {
    /// Whether we look inside: a multipart that carries parts for the reader to see, itself not encoded.
    fn is_open_multipart(&self) -> bool {
        self.media.kind.starts_with("multipart/") && self.encoding.is_identity() && !self.malformed_header
    }

    /// Whether the part is text of this kind, such as `text/html`.
    pub fn is(&self, kind: &str) -> bool {
        self.media.kind == kind
    }

    /// The charset label, if there is one clear label.
    pub fn charset_label(&self) -> Option<&str> {
        match &self.media.charset {
            Charset::Label(label) => Some(label),
            Charset::Absent | Charset::Unclear => None,
        }
    }
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test cuts text it wrote itself")]
mod tests {
    use super::*;

    /// `kind:body` of each part, indented by depth.
    fn outline(raw: &str) -> Result<Vec<String>, Doubt> {
        let tree = read(raw.as_bytes(), &Limits::default())?;
        let depth = |mut n: usize| {
            let mut depth = 0;
            while let Some(parent) = tree.parts[n].parent {
                depth += 1;
                n = parent;
            }
            depth
        };
        Ok(tree
            .parts
            .iter()
            .enumerate()
            .map(|(n, part)| {
                let body = if part.children.is_empty() { &raw[part.body.clone()] } else { "…" };
                format!("{}{}:{}", ".".repeat(depth(n)), part.media.kind, body.escape_debug())
            })
            .collect())
    }

    const MIXED: &str = "Content-Type: multipart/mixed; boundary=b\n\n";

    #[test]
    fn finds_parts_between_true_delimiters() {
        let rows: &[(&str, &[&str])] = &[
            ("A: b\r\n\r\nhello\r\n", &["text/plain:hello\\r\\n"]),
            ("", &["text/plain:"]),
            ("From x@y Sat\nA: b\n\nc", &["text/plain:c"]),
            // preamble, epilogue, trailing white space; the line end before a delimiter belongs to the delimiter
            (
                "M--b\none\n--b\n\ntwo\n\n--b--  \nepilogue\n",
                &["multipart/mixed:…", ".text/plain:", ".text/plain:two\\n"],
            ),
            (
                "Mpre\n--b\n\none\r\n--b\t\r\n\r\ntwo\r\n--b--",
                &["multipart/mixed:…", ".text/plain:one", ".text/plain:two"],
            ),
            // a line that only looks alike
            ("M--b\n\none --b\n-- b\n--c\n--b--\n", &["multipart/mixed:…", ".text/plain:one --b\\n-- b\\n--c"]),
            // never closed; closed by the outer delimiter
            ("M--b\n\none\n--b\n\ntwo\n", &["multipart/mixed:…", ".text/plain:one", ".text/plain:two\\n"]),
            (
                "M--b\nContent-Type: multipart/alternative; boundary=bx\n\n--bx\n\nin\n--b\n\nout\n--b--\n",
                &["multipart/mixed:…", ".multipart/alternative:…", "..text/plain:in", ".text/plain:out"],
            ),
            // an empty part, and a header that a delimiter ends
            ("M--b\n--b\nX: y\n--b\n\n--b--\n", &["multipart/mixed:…", ".text/plain:", ".text/plain:", ".text/plain:"]),
            // no boundary, a boundary that never comes, an encoded multipart: opaque
            ("Content-Type: multipart/mixed\n\n--b\n\nx\n", &["multipart/mixed:--b\\n\\nx\\n"]),
            ("M no\n", &["multipart/mixed: no\\n"]),
            ("Content-Transfer-Encoding: base64\nM--b\n\nx\n", &["multipart/mixed:--b\\n\\nx\\n"]),
        ];
        for (raw, expected) in rows {
            let raw = raw.replacen("M", MIXED, 1);
            assert_eq!(outline(&raw).unwrap(), *expected, "{raw:?}");
        }
    }

    #[test]
    fn a_multipart_reaches_around_an_empty_part_at_its_end() {
        // The delimiter of the outer one follows the inner part's header at once, and owns the line end before it.
        let raw = format!("{MIXED}--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n--b--\n");
        let tree = read(raw.as_bytes(), &Limits::default()).unwrap();
        let [outer, inner, empty] = tree.parts.as_slice() else { panic!("{tree:?}") };
        assert!(empty.header.is_empty() && empty.body.is_empty());
        assert!(inner.body.start <= empty.header.start && empty.body.end <= inner.body.end);
        assert!(inner.body.end <= outer.body.end);
    }

    #[test]
    fn doubts_what_two_readers_could_read_differently() {
        let rows: &[(&str, Doubt)] = &[
            // RFC 2046 compares the beginning of the line only, most readers all of it
            ("M--b\n\nx\n--bad\ny\n--b--\n", Doubt::BoundaryUnclear),
            ("M--b\n\nx\n--b-- z\n", Doubt::BoundaryUnclear),
            // going on after the close; the same boundary inside itself
            ("M--b\n\nx\n--b--\n--b\n\ny\n", Doubt::BoundaryReused),
            ("M--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n", Doubt::BoundaryReused),
            // readers differ on where this header ends
            ("A: b\njunk\nContent-Type: text/html\n\nx", Doubt::MalformedHeader),
            ("A : b\nContent-Type: text/html\n\nx", Doubt::MalformedHeader),
        ];
        for (raw, expected) in rows {
            let raw = raw.replacen("M", MIXED, 1);
            assert_eq!(outline(&raw).unwrap_err(), *expected, "{raw:?}");
        }
    }

    #[test]
    fn stops_at_every_limit() {
        let many = format!("{MIXED}{}", "--b\n\nx\n".repeat(PARTS_MAX));
        assert_eq!(outline(&many).unwrap_err(), Doubt::TooManyParts);
        let mut deep = String::new();
        for level in 0..=NESTING_MAX {
            deep.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}x\n\n--b{level}x\n"));
        }
        assert_eq!(outline(&deep).unwrap_err(), Doubt::TooDeep);
        assert_eq!(outline(&"X: y\n".repeat(HEADER_LINES_MAX + 1)).unwrap_err(), Doubt::TooManyLines);
        assert_eq!(outline(&format!("X: {}\n", "y".repeat(HEADER_BYTES_MAX))).unwrap_err(), Doubt::HeaderTooLarge);
    }

    proptest::proptest! {
        #[test]
        fn parts_lie_inside_their_parents(words in proptest::collection::vec(proptest::sample::select(vec![
            "\n", "\r\n", "--b", "--b--", "--c", "--c--", "Content-Type: multipart/mixed; boundary=b", "x: y", "hello", " ", "\r",
            "Content-Type: multipart/mixed; boundary=c", "Content-Type: multipart/alternative; boundary=\"b c\"", "--b c"]), 0..40)) {
            let raw = words.concat();
            if let Ok(tree) = read(raw.as_bytes(), &Limits::default()) {
                for part in &tree.parts {
                    assert!(part.header.end <= part.body.start && part.body.end <= raw.len());
                    let mut at = part.body.start;
                    for child in part.children.iter().map(|n| &tree.parts[*n]) {
                        assert!(child.header.start >= at && child.body.end <= part.body.end, "{raw:?}");
                        at = child.body.end;
                    }
                }
            }
        }
    }
}

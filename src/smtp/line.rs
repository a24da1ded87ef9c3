//! Octets to lines, within limits.
//!
//! **Invariant:** holds at most one line of `line_bytes_max` octets that is not complete, plus what one read brought;
//! only CRLF ends a line.

/// What the buffer has next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line, without its CRLF.
    Line(&'a [u8]),
    /// A line over the limit came to its end; none of it was kept.
    TooLong,
    /// A line over the limit does not end: give up.
    Flood,
    /// No whole line yet.
    More,
}

/// The lines of a command stream.
#[derive(Debug, Default)]
pub(super) struct Lines {
    held: Vec<u8>,
    /// Where in `held` what was not yet taken begins.
    start: usize,
    /// Up to where in `held` no CRLF was found.
    searched: usize,
    /// Octets thrown away of a line that is too long.
    discarded: usize,
}

/// A buffer larger than this is given back when it is empty, so that an idle connection holds nothing.
const KEPT_BYTES_MAX: usize = 512;

impl Lines {
    /// Adds octets.
    pub(super) fn push(&mut self, octets: &[u8]) {
        if self.start == self.held.len() {
            self.reset();
        }
        self.held.extend_from_slice(octets);
    }

    /// Nothing is waiting, not even a part of a line.
    pub(super) fn is_empty(&self) -> bool {
        self.start >= self.held.len() && self.discarded == 0
    }

    /// What waits begins so.
    pub(super) fn starts_with(&self, octets: &[u8]) -> bool {
        self.held.get(self.start..).is_some_and(|held| held.starts_with(octets))
    }

    /// The line that comes next begins so, in any case; not once its beginning was thrown away.
    pub(super) fn next_begins(&self, octets: &[u8]) -> bool {
        let begin = self.held.get(self.start..).and_then(|held| held.get(..octets.len()));
        self.discarded == 0 && begin.is_some_and(|begin| begin.eq_ignore_ascii_case(octets))
    }

    /// Octets waiting.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.len() - self.start
    }

    /// Forgets everything (RFC 3207 §4.2).
    pub(super) fn clear(&mut self) {
        *self = Lines::default();
    }

    /// Takes the next line. Limits: octets of a line with its CRLF, and how many more are thrown away before
    /// [`Next::Flood`].
    pub(super) fn next(&mut self, line_bytes_max: usize, discard_bytes_max: usize) -> Next<'_> {
        let end = self.find_end();
        let seen = self.discarded + end.unwrap_or(self.held.len()) - self.start;
        if seen > line_bytes_max + discard_bytes_max {
            return Next::Flood;
        }
        let Some(end) = end else {
            if seen > line_bytes_max {
                self.discard()
            } else {
                self.settle()
            }
            return Next::More;
        };
        let start = std::mem::replace(&mut self.start, end);
        self.discarded = 0;
        if seen > line_bytes_max {
            return Next::TooLong;
        }
        Next::Line(self.held.get(start..end - 2).unwrap_or_default())
    }

    /// Just after the next CRLF.
    fn find_end(&mut self) -> Option<usize> {
        let mut from = self.searched.max(self.start);
        while let Some(at) = self.held.get(from..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let lf = from + at;
            from = lf + 1;
            if lf > self.start && self.held.get(lf - 1) == Some(&b'\r') {
                self.searched = from;
                return Some(from);
            }
        }
        self.searched = self.held.len();
        None
    }

    /// Throws away what is held of an endless line, but for a CR that may be half of its end.
    fn discard(&mut self) {
        let half = self.held.last() == Some(&b'\r');
        self.discarded += self.held_bytes() - usize::from(half);
        self.reset();
        if half {
            self.held.push(b'\r');
        }
    }

    /// Moves a partial line to the front, so that the buffer cannot creep.
    fn settle(&mut self) {
        if self.start >= self.held.len() {
            self.reset();
        } else if self.start > 0 {
            self.held = self.held.split_off(self.start);
            self.start = 0;
            self.searched = self.held.len();
        }
    }

    fn reset(&mut self) {
        if self.held.capacity() > KEPT_BYTES_MAX {
            self.held = Vec::new()
        } else {
            self.held.clear()
        }
        self.start = 0;
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: usize = 10;
    const MORE: usize = 20;

    /// What comes of these octets, cut in two at every place and octet by octet: always the same.
    fn check(wire: &[u8], expected: &[&str]) {
        for cut in 0..=wire.len() {
            let (a, b) = wire.split_at(cut);
            assert_eq!(taken(&[a, b]), expected, "{} cut at {cut}", wire.escape_ascii());
        }
        assert_eq!(taken(&wire.chunks(1).collect::<Vec<_>>()), expected, "{}", wire.escape_ascii());
    }

    fn taken(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in pieces {
            lines.push(piece);
            loop {
                match lines.next(LINE, MORE) {
                    Next::Line(line) => seen.push(line.escape_ascii().to_string()),
                    Next::TooLong => seen.push("too long".into()),
                    Next::More => break,
                    Next::Flood => {
                        seen.push("flood".into());
                        return seen;
                    }
                }
            }
        }
        seen
    }

    #[test]
    fn only_crlf_ends_a_line() {
        check(b"a\r\nbc\r\n\r\nd", &["a", "bc", ""]);
        check(b"a\nb\r\n", &[r"a\nb"]);
        check(b"\na\rb\r\r\n", &[r"\na\rb\r"]);
    }

    #[test]
    fn long_lines_are_dropped_and_endless_ones_end_it() {
        check(b"12345678\r\nx\r\n", &["12345678", "x"]);
        check(b"123456789\r\nx\r\n", &["too long", "x"]);
        check(&[b"a".repeat(28), b"\r\nx\r\n".to_vec()].concat(), &["too long", "x"]);
        check(&[b"a".repeat(29), b"\r\nx\r\n".to_vec()].concat(), &["flood"]);
    }

    #[test]
    fn an_idle_buffer_holds_no_memory() {
        let mut lines = Lines::default();
        lines.push(&b"NOOP\r\n".repeat(1000));
        while lines.next(LINE, MORE) != Next::More {}
        assert!(lines.is_empty());
        assert_eq!(lines.held.capacity(), 0);
    }
}

//! The last guard: a message's octets as they leave on the wire after DATA (RFC 5321 §4.5.2).
//!
//! **Invariant:** whatever comes in, cut anywhere, what goes out holds no bare CR and no bare LF, every line of content
//! that begins with a dot has it doubled, and `CRLF . CRLF` stands exactly once: at the end. Upstream trusts our
//! address, so a message that ends early in its eyes would be a forged mail under our name.
//!
//! Bare LF becomes CRLF and bare CR a space, as at reception. Nothing is copied: what comes out are slices of what came
//! in and a few constants, in time linear in the octets.

use std::iter::Fuse;

/// `message` in wire form: slices that follow one another, the end of DATA included. The chunks are one text: a CR at
/// the end of one and an LF at the start of the next are a line end.
pub fn stuffed<'a, I>(message: I) -> Stuffed<'a, I::IntoIter>
where
    I: IntoIterator<Item = &'a [u8]>,
{
    Stuffed { chunks: message.into_iter().fuse(), rest: &[], seen: Seen::LineStart, ended: false }
}

/// See [`stuffed`].
#[derive(Debug)]
pub struct Stuffed<'a, I> {
    chunks: Fuse<I>,
    rest: &'a [u8],
    seen: Seen,
    /// The end of DATA has gone out.
    ended: bool,
}

/// What stands before the next octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The start of the message, or CRLF.
    LineStart,
    /// A CR that has not gone out yet: what follows decides what it is.
    Cr,
    /// Anything else.
    Text,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Iterator for Stuffed<'a, I> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.ended {
            return None;
        }
        loop {
            while self.rest.is_empty() {
                match self.chunks.next() {
                    Some(chunk) => self.rest = chunk,
                    None => return Some(self.end()),
                }
            }
            if let Some(slice) = self.step() {
                return Some(slice);
            }
        }
    }
}

impl<'a, I> Stuffed<'a, I> {
    /// Takes something from a `rest` that is not empty; `None` when nothing can go out yet.
    fn step(&mut self) -> Option<&'a [u8]> {
        match (self.seen, self.rest.first()) {
            (Seen::Cr, Some(b'\n')) => {
                self.take(1);
                self.seen = Seen::LineStart;
                Some(b"\r\n")
            }
            (Seen::Cr, _) => {
                self.seen = Seen::Text;
                Some(b" ")
            }
            (Seen::LineStart, Some(b'.')) => {
                // One dot goes out here; the dot itself goes out with the text that follows.
                self.seen = Seen::Text;
                Some(b".")
            }
            (Seen::Text | Seen::LineStart, Some(b'\r')) if self.rest.len() == 1 => {
                self.take(1);
                self.seen = Seen::Cr;
                None
            }
            _ => Some(self.clean_run()),
        }
    }

    /// The longest slice that leaves as it is, or a constant for the odd octet in front.
    fn clean_run(&mut self) -> &'a [u8] {
        let rest = self.rest;
        let mut from = 0;
        loop {
            let tail = rest.get(from..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'\r', b'\n', tail).map(|i| i + from) else {
                self.seen = Seen::Text;
                return self.take(rest.len());
            };
            match (rest.get(found), rest.get(found + 1), rest.get(found + 2)) {
                // A whole line end: stop only where the next line needs a second dot, or is not here yet.
                (Some(b'\r'), Some(b'\n'), next) => {
                    if matches!(next, None | Some(b'.')) {
                        self.seen = Seen::LineStart;
                        return self.take(found + 2);
                    }
                    from = found + 2;
                }
                // A CR whose meaning is in the next chunk.
                (Some(b'\r'), None, _) => {
                    let run = self.take(found);
                    self.take(1);
                    self.seen = Seen::Cr;
                    return run;
                }
                (Some(b'\r'), ..) => return self.up_to_odd(found, Seen::Text, b" "),
                _ => return self.up_to_odd(found, Seen::LineStart, b"\r\n"),
            }
        }
    }

    /// Everything before a bare CR or LF at `found`; the octet itself when it is the first.
    fn up_to_odd(&mut self, found: usize, after: Seen, instead: &'static [u8]) -> &'a [u8] {
        if found > 0 {
            self.seen = Seen::Text;
            return self.take(found);
        }
        self.take(1);
        self.seen = after;
        instead
    }

    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(n).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// The content is over: end its last line if need be, then the dot.
    fn end(&mut self) -> &'a [u8] {
        match self.seen {
            Seen::Cr => {
                self.seen = Seen::Text;
                b" "
            }
            Seen::LineStart => {
                self.ended = true;
                b".\r\n"
            }
            Seen::Text => {
                self.ended = true;
                b"\r\n.\r\n"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(chunks: &[&[u8]]) -> Vec<u8> {
        stuffed(chunks.iter().copied()).flatten().copied().collect()
    }

    /// The same, octet by octet and plainly.
    fn model(content: &[u8]) -> Vec<u8> {
        let mut mended = Vec::new();
        let mut i = 0;
        while i < content.len() {
            match (content[i], content.get(i + 1)) {
                (b'\r', Some(b'\n')) => {
                    mended.extend(b"\r\n");
                    i += 1;
                }
                (b'\r', _) => mended.push(b' '),
                (b'\n', _) => mended.extend(b"\r\n"),
                (octet, _) => mended.push(octet),
            }
            i += 1;
        }
        if !mended.is_empty() && !mended.ends_with(b"\r\n") {
            mended.extend(b"\r\n");
        }
        let mut out = Vec::new();
        for line in mended.split_inclusive(|&b| b == b'\n') {
            if line.starts_with(b".") {
                out.push(b'.');
            }
            out.extend(line);
        }
        out.extend(b".\r\n");
        out
    }

    #[test]
    fn every_vector() {
        let table: &[(&[u8], &[u8])] = &[
            // nothing, one line, no line end at the end
            (b"", b".\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            // leading dots: the first line, every line, a line of nothing else
            (b".x: y\r\n\r\n..\r\n.\r\n", b"..x: y\r\n\r\n...\r\n..\r\n.\r\n"),
            (b"\r\n.", b"\r\n..\r\n.\r\n"),
            // what ends DATA elsewhere must not end it here
            (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r.\rb", b"a . b\r\n.\r\n"),
            (b"a\r\n.\rb", b"a\r\n.. b\r\n.\r\n"),
            (b"a\r\n.\r\r\nb", b"a\r\n.. \r\nb\r\n.\r\n"),
            (b"a\r\r\n.\r\r\nb", b"a \r\n.. \r\nb\r\n.\r\n"),
            (b"a\r\r\n.\r\nb", b"a \r\n..\r\nb\r\n.\r\n"),
            (b"a\r\n\0.\r\nb", b"a\r\n\0.\r\nb\r\n.\r\n"),
            // the last octets
            (b"a\r", b"a \r\n.\r\n"),
            (b"a\n", b"a\r\n.\r\n"),
            (b"a\r\n\r", b"a\r\n \r\n.\r\n"),
            (b"\r", b" \r\n.\r\n"),
            (b"\n", b"\r\n.\r\n"),
            (b"\r\n", b"\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
        ];
        for (content, expected) in table {
            let shown = String::from_utf8_lossy(content);
            assert_eq!(model(content), *expected, "the model on {shown:?}");
            assert_eq!(wire(&[content]), *expected, "{shown:?}");
            for cut in 0..=content.len() {
                assert_eq!(wire(&[&content[..cut], b"", &content[cut..]]), *expected, "{shown:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_clean_message_is_one_slice_and_an_end() {
        let mail = b"Subject: x\r\n\r\nHello.\r\nThere is a dot. Not at a start.\r\n".repeat(1000);
        let slices: Vec<&[u8]> = stuffed([mail.as_slice()]).collect();
        assert_eq!(slices.len(), 2);
        assert_eq!(slices[0].as_ptr(), mail.as_ptr());
        assert_eq!(slices[1], b".\r\n");
    }

    proptest! {
        #[test]
        fn any_octets_cut_anywhere_leave_as_the_model_says(
            chunks in proptest::collection::vec(proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a'), any::<u8>()], 0..12), 0..12)
        ) {
            let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let out = wire(&slices);
            prop_assert_eq!(&out, &model(&chunks.concat()));
            // The promises themselves, apart from the model.
            for (i, octet) in out.iter().enumerate() {
                prop_assert!(*octet != b'\n' || (i > 0 && out[i - 1] == b'\r'), "bare LF");
                prop_assert!(*octet != b'\r' || out.get(i + 1) == Some(&b'\n'), "bare CR");
            }
            let with_start = [b"\r\n".as_slice(), &out].concat();
            let ends = with_start.windows(5).filter(|w| w == b"\r\n.\r\n").count();
            prop_assert_eq!(ends, 1);
            prop_assert!(with_start.ends_with(b"\r\n.\r\n"));
        }
    }
}

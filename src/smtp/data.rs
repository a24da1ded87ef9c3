//! The DATA receiver: octets after 354 in, the message out, its end found.
//!
//! **Invariant:** only CR LF `.` CR LF on the wire ends a message (RFC 5321 §4.1.1.4), however the octets are cut into
//! chunks. A bare LF or CR never ends a line for this purpose: taking one for a line end is what let mail be smuggled
//! (CVE-2023-51764 to -51766). What comes out holds CRLF line ends only.

use bytes::Bytes;
use memchr::memchr2;

/// What is done with a bare CR or LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewlines {
    /// LF becomes CRLF, CR becomes a space. `curl -T` sends a file's bare LFs as they are, so this is the default.
    #[default]
    Normalize,
    /// The whole message is refused at its end.
    Reject,
}

/// How far the message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The whole chunk belongs to the message and it goes on.
    More,
    /// The message ended; so many octets of the chunk belong to it, its end included.
    End(usize),
}

/// Why a message that ended is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataError {
    /// It has more octets than the limit.
    TooLarge,
    /// There was no memory left for it ([`Receiver::abandon`]).
    NoRoom,
    /// It holds a bare CR or LF and the option says reject.
    BareNewline,
}

/// A message as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The octets, dots unstuffed, line ends CRLF.
    pub raw: Bytes,
    /// How many bare CR or LF were normalised.
    pub bare_newlines: u64,
}

/// Where in the text the next octet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Just after CRLF on the wire, or at the very start.
    LineStart,
    /// After CRLF `.`; the dot is not in the output.
    Dot,
    /// After CRLF `.` CR.
    DotCr,
    /// Within a line; also after a bare LF, where a dot is text.
    Text,
    /// After a CR that may be half of a CRLF.
    Cr,
}

/// Reads one message. Memory: at most `bytes_max` octets are kept; reading goes on to the true end all the same.
#[derive(Debug)]
pub struct Receiver {
    place: Place,
    body: Vec<u8>,
    bytes_max: usize,
    policy: BareNewlines,
    bare_newlines: u64,
    failed: Option<DataError>,
}

/// A declared SIZE is a claim: no more than this is set aside on its word alone.
const SET_ASIDE_BYTES_MAX: usize = 1024 * 1024;

impl Receiver {
    /// A receiver at the start of a message; `declared_bytes` sizes the first allocation.
    pub fn new(bytes_max: usize, declared_bytes: Option<u64>, policy: BareNewlines) -> Receiver {
        let declared = declared_bytes.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let body = Vec::with_capacity(declared.min(bytes_max).min(SET_ASIDE_BYTES_MAX));
        Receiver { place: Place::LineStart, body, bytes_max, policy, bare_newlines: 0, failed: None }
    }

    /// Octets kept so far.
    pub fn kept_bytes(&self) -> usize {
        self.body.len()
    }

    /// Forgets what was read and keeps nothing more; the message will end in [`DataError::NoRoom`].
    pub fn abandon(&mut self) {
        self.fail(DataError::NoRoom);
    }

    /// Takes one chunk of any length. Linear; one copy per run of octets that need no change.
    pub fn feed(&mut self, chunk: &[u8]) -> Progress {
        let mut at = 0;
        while let Some((&octet, _)) = chunk.get(at..).and_then(<[u8]>::split_first) {
            if self.place == Place::Text {
                at += self.text(chunk.get(at..).unwrap_or_default());
            } else {
                at += 1;
                if self.special(octet) {
                    return Progress::End(at);
                }
            }
        }
        Progress::More
    }

    /// The message, after [`Progress::End`].
    ///
    /// # Errors
    /// [`DataError`], the first reason met.
    pub fn finish(self) -> Result<Content, DataError> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(Content { raw: Bytes::from(self.body), bare_newlines: self.bare_newlines }),
        }
    }

    /// Copies text up to what needs a decision; passes over whole lines in one go. Returns octets used, at least one.
    fn text(&mut self, rest: &[u8]) -> usize {
        let mut seen = 0;
        while let Some(found) = rest.get(seen..).and_then(|tail| memchr2(b'\r', b'\n', tail)) {
            let at = seen + found;
            match (rest.get(at), rest.get(at + 1), rest.get(at + 2)) {
                // A line end and a line that begins with no octet of interest: nothing to do.
                (Some(b'\r'), Some(b'\n'), Some(next)) if !matches!(next, b'.' | b'\r' | b'\n') => seen = at + 2,
                (Some(b'\r'), _, _) => {
                    self.keep(rest.get(..at).unwrap_or_default());
                    self.place = Place::Cr;
                    return at + 1;
                }
                _ => {
                    self.keep(rest.get(..at).unwrap_or_default());
                    self.bare(b"\r\n");
                    return at + 1;
                }
            }
        }
        self.keep(rest);
        rest.len()
    }

    /// One octet where it may matter; true at the end of the message.
    fn special(&mut self, octet: u8) -> bool {
        match (self.place, octet) {
            (Place::DotCr, b'\n') => return true,
            (Place::LineStart, b'.') => self.place = Place::Dot,
            (Place::Dot, b'\r') => self.place = Place::DotCr,
            (Place::LineStart | Place::Text, b'\r') => self.place = Place::Cr,
            (Place::Cr, b'\n') => {
                self.keep(b"\r\n");
                self.place = Place::LineStart;
            }
            (Place::DotCr | Place::Cr, b'\r') => {
                self.bare(b" ");
                self.place = Place::Cr;
            }
            (Place::DotCr | Place::Cr, _) => {
                self.bare(b" ");
                self.keep(&[octet]);
                self.place = Place::Text;
            }
            (_, b'\n') => {
                self.bare(b"\r\n");
                self.place = Place::Text;
            }
            _ => {
                self.keep(&[octet]);
                self.place = Place::Text;
            }
        }
        false
    }

    fn bare(&mut self, instead: &[u8]) {
        self.bare_newlines = self.bare_newlines.saturating_add(1);
        match self.policy {
            BareNewlines::Normalize => self.keep(instead),
            BareNewlines::Reject => self.fail(DataError::BareNewline),
        }
    }

    fn keep(&mut self, octets: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.body.len() + octets.len() > self.bytes_max {
            return self.fail(DataError::TooLarge);
        }
        self.body.extend_from_slice(octets);
    }

    fn fail(&mut self, error: DataError) {
        self.failed.get_or_insert(error);
        self.body = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1000;

    /// Feeds the pieces; the message and what follows it, or `None` while it has not ended.
    fn receive(pieces: &[&[u8]], policy: BareNewlines, limit: usize) -> Option<(Result<Content, DataError>, Vec<u8>)> {
        let mut receiver = Receiver::new(limit, None, policy);
        let mut pieces = pieces.iter();
        while let Some(piece) = pieces.next() {
            if let Progress::End(used) = receiver.feed(piece) {
                let mut rest = piece[used..].to_vec();
                pieces.for_each(|later| rest.extend_from_slice(later));
                return Some((receiver.finish(), rest));
            }
        }
        None
    }

    /// The same octets whole, cut in two at every place, and one by one: the same outcome.
    fn every_cut(wire: &[u8], policy: BareNewlines, limit: usize) -> Option<(Result<Content, DataError>, Vec<u8>)> {
        let whole = receive(&[wire], policy, limit);
        for cut in 0..=wire.len() {
            let (a, b) = wire.split_at(cut);
            assert_eq!(receive(&[a, b], policy, limit), whole, "cut at {cut} of {:?}", wire.escape_ascii().to_string());
        }
        let singles: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(receive(&singles, policy, limit), whole, "octet by octet");
        whole
    }

    #[test]
    fn only_crlf_dot_crlf_ends_and_nothing_is_lost() {
        #[rustfmt::skip]
        let rows: &[(&[u8], &[u8], u64)] = &[
            // bare LF around the dot (CVE-2023-51764, -51766): text, and the dot was not stuffed, so it stays
            (b"\n.\n", b"\r\n.\r\n", 2),
            (b"\n.\r\n", b"\r\n.\r\n", 1),
            // a dot after a true CRLF is stuffing, whatever follows
            (b"\r\n.\n", b"\r\n\r\n", 1),
            // bare CR never ends a line
            (b"\r.\r", b" . ", 2),
            (b"\r.\n", b" .\r\n", 2),
            (b"\r.\r\n", b" .\r\n", 1),
            (b"\n.\r", b"\r\n. ", 2),
            (b"\r\n.\r", b"\r\n ", 1),
            // CR CR LF: the first CR is bare (CVE-2023-51765)
            (b"\r\n.\r\r\n", b"\r\n \r\n", 1),
            (b"\r\r\n.\r\r\n", b" \r\n \r\n", 2),
            // an octet beside the dot
            (b"\r\n\0.\r\n", b"\r\n\0.\r\n", 0),
            (b"\r\n.\0\r\n", b"\r\n\0\r\n", 0),
            (b"\r\n. \r\n", b"\r\n \r\n", 0),
            (b"\r\n\n.\r\n", b"\r\n\r\n.\r\n", 1),
            (b"\n\r.\r\n", b"\r\n .\r\n", 2),
            // proper stuffing
            (b"\r\n..\r\n", b"\r\n.\r\n", 0),
            (b"\r\n...x\r\n", b"\r\n..x\r\n", 0),
            (b"\r\n\r\n", b"\r\n\r\n", 0),
        ];
        for (vector, text, bare) in rows {
            let wire = [b"START", *vector, b"MAIL FROM:<evil@x>\r\nEND\r\n.\r\nQUIT\r\n"].concat();
            // When the vector ends with a CR, the M after it makes that one bare too.
            let expected = [b"START", *text, b"MAIL FROM:<evil@x>\r\nEND\r\n"].concat();
            let (content, rest) = every_cut(&wire, BareNewlines::Normalize, LIMIT).expect("it ends at the end");
            let content = content.expect("accepted");
            assert_eq!(content.raw, expected, "{}", vector.escape_ascii());
            assert_eq!(content.bare_newlines, *bare, "{}", vector.escape_ascii());
            assert_eq!(rest, b"QUIT\r\n", "{}", vector.escape_ascii());
            let rejected = every_cut(&wire, BareNewlines::Reject, LIMIT).expect("it ends at the same place");
            assert_eq!(rejected.1, b"QUIT\r\n");
            assert_eq!(rejected.0.is_err(), *bare > 0, "{}", vector.escape_ascii());
        }
    }

    #[test]
    fn what_does_end() {
        #[rustfmt::skip]
        let rows: &[(&[u8], &[u8], &[u8])] = &[
            (b".\r\n", b"", b""),
            (b"a\r\n.\r\n", b"a\r\n", b""),
            // holds CRLF.CRLF after a bare CR
            (b"a\r\r\n.\r\nQUIT\r\n", b"a \r\n", b"QUIT\r\n"),
            (b"..\r\n.\r\n.\r\n", b".\r\n", b".\r\n"),
        ];
        for (wire, text, rest) in rows {
            let (content, after) = every_cut(wire, BareNewlines::Normalize, LIMIT).expect("it ends");
            assert_eq!(content.expect("accepted").raw, text, "{}", wire.escape_ascii());
            assert_eq!(after, *rest);
        }
        assert_eq!(every_cut(b"a\r\n.", BareNewlines::Normalize, LIMIT), None, "not before its last octet");
    }

    #[test]
    fn an_oversize_message_is_read_to_its_true_end() {
        let wire = [b"x".repeat(40), b"\n.\nHELP\r\n..\r\n.\r\nQUIT\r\n".to_vec()].concat();
        let (outcome, rest) = every_cut(&wire, BareNewlines::Normalize, 32).expect("it ends");
        assert_eq!(outcome, Err(DataError::TooLarge));
        assert_eq!(rest, b"QUIT\r\n");
        let (exact, _) = every_cut(b"12345678\r\n.\r\n", BareNewlines::Normalize, 10).expect("it ends");
        assert!(exact.is_ok(), "the limit itself is allowed");
    }

    #[test]
    fn an_abandoned_message_keeps_nothing() {
        let mut receiver = Receiver::new(LIMIT, Some(10), BareNewlines::Normalize);
        assert_eq!(receiver.feed(b"some"), Progress::More);
        receiver.abandon();
        assert_eq!(receiver.feed(b" more\r\n.\r\n"), Progress::End(10));
        assert_eq!(receiver.kept_bytes(), 0);
        assert_eq!(receiver.finish(), Err(DataError::NoRoom));
    }

    /// The rules again, octet by octet and without any speed: what the receiver must agree with.
    fn naive(wire: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut out = Vec::new();
        let mut at = 0;
        let mut line_start = true;
        while at < wire.len() {
            if line_start && wire[at..].starts_with(b".\r\n") {
                return Some((out, at + 3));
            }
            if line_start && wire[at] == b'.' {
                at += 1;
                line_start = false;
                continue;
            }
            line_start = wire[at..].starts_with(b"\r\n");
            match wire[at] {
                b'\r' if line_start => {
                    out.extend_from_slice(b"\r\n");
                    at += 1;
                }
                b'\r' => out.push(b' '),
                b'\n' => out.extend_from_slice(b"\r\n"),
                octet => out.push(octet),
            }
            at += 1;
        }
        None
    }

    proptest! {
        #[test]
        fn any_octets_cut_anywhere_agree_with_the_rules(
            wire in proptest::collection::vec(prop::sample::select(b"\r\n.ax".to_vec()), 0..60),
            cuts in proptest::collection::vec(1usize..7, 1..20),
        ) {
            let wire = [wire, b"\r\n.\r\n".to_vec()].concat();
            let mut pieces = Vec::new();
            let mut rest = wire.as_slice();
            for size in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, tail) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = tail;
            }
            let (content, after) = receive(&pieces, BareNewlines::Normalize, LIMIT).expect("it ends");
            let (text, used) = naive(&wire).expect("it ends");
            prop_assert_eq!(&content.unwrap().raw[..], &text[..]);
            prop_assert_eq!(after, wire[used..].to_vec());
        }
    }
}

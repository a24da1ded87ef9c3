//! A peer's octets to replies (RFC 5321 §4.2), strictly: what is no reply is an error, never a guess.
//!
//! **Invariant:** a reply comes out only when its last line has arrived whole, all its lines carry the same code, and
//! nothing in its text can break a line or a terminal later. Octets after it stay inside and can be seen
//! ([`ReplyReader::has_unread`]), so that data injected behind `220 go ahead` is noticed before TLS begins.

use std::fmt;

use super::reply::{Enhanced, Reply};

/// How much a peer may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Octets in one line, line end included.
    pub line_bytes_max: usize,
    /// Lines in one reply.
    pub lines_max: usize,
    /// Octets held at any time: a reply not yet complete and what was read behind it.
    pub held_bytes_max: usize,
}

/// RFC 5321 §4.5.3.1.5 says 512; real servers exceed it, none by eight times.
pub const LINE_BYTES_MAX: usize = 4096;
/// A large EHLO answer has 20 lines.
pub const LINES_MAX: usize = 100;
/// A hundred pipelined replies of 512 octets come at once, and then some.
pub const HELD_BYTES_MAX: usize = 256 * 1024;
/// What we keep of a line's text, in octets: the RFC's own limit.
pub const TEXT_BYTES_MAX: usize = 512;

impl Default for ReplyLimits {
    fn default() -> ReplyLimits {
        ReplyLimits { line_bytes_max: LINE_BYTES_MAX, lines_max: LINES_MAX, held_bytes_max: HELD_BYTES_MAX }
    }
}

/// Why octets are not a reply. After any of these the connection cannot be trusted to be in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A line that does not begin with a code of 200..=599 and a space, a hyphen or its end.
    NotAReply,
    /// Lines of one reply with different codes (RFC 5321 §4.2.1).
    CodesDiffer,
    /// A line longer than the limit.
    LineTooLong,
    /// More lines than the limit.
    TooManyLines,
    /// More octets than the limit without a complete reply being taken out.
    TooLong,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::NotAReply => "a line that is no SMTP reply",
            Malformed::CodesDiffer => "one reply with two codes",
            Malformed::LineTooLong => "a reply line without end",
            Malformed::TooManyLines => "a reply without end",
            Malformed::TooLong => "more replies than commands",
        })
    }
}

/// Collects octets, hands out replies. No I/O.
#[derive(Debug)]
pub struct ReplyReader {
    limits: ReplyLimits,
    held: Vec<u8>,
    /// Where the first line not yet looked at begins.
    at: usize,
    /// Up to where no line end was found, so that a slow line is not searched again and again.
    searched: usize,
    partial: Option<Partial>,
}

/// The lines of a reply whose last line has not come yet.
#[derive(Debug)]
struct Partial {
    code: u16,
    lines: Vec<Vec<u8>>,
}

impl ReplyReader {
    /// An empty reader.
    pub fn new(limits: ReplyLimits) -> ReplyReader {
        ReplyReader { limits, held: Vec::new(), at: 0, searched: 0, partial: None }
    }

    /// Takes octets as they came off the wire, cut anywhere.
    ///
    /// # Errors
    /// [`Malformed::TooLong`] when more is held than the limit.
    pub fn feed(&mut self, octets: &[u8]) -> Result<(), Malformed> {
        if self.at > 0 {
            self.held.drain(..self.at);
            self.searched -= self.at;
            self.at = 0;
        }
        if self.held.len() + octets.len() > self.limits.held_bytes_max {
            return Err(Malformed::TooLong);
        }
        self.held.extend_from_slice(octets);
        Ok(())
    }

    /// The next complete reply, or `None` until more octets come.
    ///
    /// # Errors
    /// The peer does not speak SMTP; close.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, Malformed> {
        while let Some(line) = self.line()? {
            let (code, last, text) = split(&line).ok_or(Malformed::NotAReply)?;
            let mut partial = self.partial.take().unwrap_or(Partial { code, lines: Vec::new() });
            if partial.code != code {
                return Err(Malformed::CodesDiffer);
            }
            if partial.lines.len() >= self.limits.lines_max {
                return Err(Malformed::TooManyLines);
            }
            partial.lines.push(text.to_vec());
            if last {
                return Ok(Some(finish(partial)));
            }
            self.partial = Some(partial);
        }
        Ok(None)
    }

    /// Whether anything has come that no [`next_reply`](Self::next_reply) has handed out.
    pub fn has_unread(&self) -> bool {
        self.partial.is_some() || self.at < self.held.len()
    }

    /// One line without its end. A bare LF ends a line too: a reply line carries no content that could be smuggled.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let unseen = self.held.get(self.searched..).unwrap_or_default();
        let Some(lf) = memchr::memchr(b'\n', unseen).map(|i| i + self.searched) else {
            self.searched = self.held.len();
            return if self.held.len() - self.at > self.limits.line_bytes_max {
                Err(Malformed::LineTooLong)
            } else {
                Ok(None)
            };
        };
        if lf + 1 - self.at > self.limits.line_bytes_max {
            return Err(Malformed::LineTooLong);
        }
        let line = self.held.get(self.at..lf).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.at = lf + 1;
        self.searched = self.at;
        Ok(Some(line))
    }
}

/// Code, whether this is the last line, text. `250 text`, `250-text`, `250`.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    if !(200..600).contains(&code) {
        return None;
    }
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', text)) => Some((code, true, text)),
        Some((b'-', text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

/// Takes the enhanced code off the lines that carry it and cleans what remains.
fn finish(partial: Partial) -> Reply {
    let first = partial.lines.first().map(Vec::as_slice).unwrap_or_default();
    let enhanced = enhanced_of(partial.code, first).map(|(enhanced, _)| enhanced);
    let lines = partial
        .lines
        .iter()
        .map(|line| match enhanced_of(partial.code, line) {
            Some((same, text)) if Some(same) == enhanced => clean(text),
            _ => clean(line),
        })
        .collect();
    Reply { code: partial.code, enhanced, lines }
}

/// `5.1.1 text` → (5.1.1, `text`), where the class is that of the code (RFC 2034 §4).
fn enhanced_of(code: u16, line: &[u8]) -> Option<(Enhanced, &[u8])> {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (word, text) = line.split_at_checked(end)?;
    let mut numbers = word.split(|&b| b == b'.').map(number);
    let enhanced = Enhanced(u8::try_from(numbers.next()??).ok()?, numbers.next()??, numbers.next()??);
    let fits = numbers.next().is_none() && matches!(enhanced.0, 2 | 4 | 5) && u16::from(enhanced.0) == code / 100;
    fits.then_some((enhanced, text.strip_prefix(b" ").unwrap_or(text)))
}

fn number(digits: &[u8]) -> Option<u16> {
    let plain = (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0')))
}

/// Text that may be shown, logged and sent on: no control characters, what is no UTF-8 becomes `?`, bounded.
fn clean(text: &[u8]) -> String {
    let mut clean = String::new();
    for chunk in text.utf8_chunks() {
        clean.extend(chunk.valid().chars().map(|c| if c.is_control() || is_line_separator(c) { ' ' } else { c }));
        clean.extend(chunk.invalid().iter().map(|_| '?'));
    }
    clean.truncate(clean.floor_char_boundary(TEXT_BYTES_MAX));
    clean.trim_end().to_owned()
}

/// Characters that some viewers take for a line end or that turn text round.
fn is_line_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(octets: &[u8]) -> (Vec<Reply>, Result<(), Malformed>, bool) {
        let mut reader = ReplyReader::new(ReplyLimits::default());
        let mut replies = Vec::new();
        if let Err(e) = reader.feed(octets) {
            return (replies, Err(e), true);
        }
        loop {
            match reader.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => return (replies, Ok(()), reader.has_unread()),
                Err(e) => return (replies, Err(e), true),
            }
        }
    }

    fn reply(code: u16, enhanced: Option<(u8, u16, u16)>, lines: &[&str]) -> Reply {
        let lines = lines.iter().map(|&l| l.to_owned()).collect();
        Reply { code, enhanced: enhanced.map(|(a, b, c)| Enhanced(a, b, c)), lines }
    }

    #[test]
    fn replies_of_real_servers() {
        let table: &[(&[u8], Reply)] = &[
            // plain, bare code, bare code with a space, a lone LF
            (b"250 OK\r\n", reply(250, None, &["OK"])),
            (b"354\r\n", reply(354, None, &[""])),
            (b"354 \r\n", reply(354, None, &[""])),
            (b"220 hello\n", reply(220, None, &["hello"])),
            // the enhanced code is taken off every line that repeats it, and off no other
            (b"250 2.1.5 fine\r\n", reply(250, Some((2, 1, 5)), &["fine"])),
            (b"250 2.0.0\r\n", reply(250, Some((2, 0, 0)), &[""])),
            (b"550-5.1.1 no such\r\n550 5.1.1 user\r\n", reply(550, Some((5, 1, 1)), &["no such", "user"])),
            (b"550-5.7.26 no\r\n550 5.7.1 really\r\n", reply(550, Some((5, 7, 26)), &["no", "5.7.1 really"])),
            // not enhanced codes: another class, four numbers, a host name, an address
            (b"250 5.1.1 odd\r\n", reply(250, None, &["5.1.1 odd"])),
            (b"250 2.1.5.1 odd\r\n", reply(250, None, &["2.1.5.1 odd"])),
            (b"250 2.1.example\r\n", reply(250, None, &["2.1.example"])),
            (b"354 3.0.0 go\r\n", reply(354, None, &["3.0.0 go"])),
            (b"550 5.1.1000 x\r\n", reply(550, None, &["5.1.1000 x"])),
            // many lines, empty ones among them; a code outside the RFC's second digit that real filters use
            (b"250-a\r\n250-\r\n250 c\r\n", reply(250, None, &["a", "", "c"])),
            (b"571 go away\r\n", reply(571, None, &["go away"])),
            // Latin-1, control characters, an escape sequence, a direction override, UTF-8
            (b"550 ung\xfcltig\r\n", reply(550, None, &["ung?ltig"])),
            (b"550 a\x00b\x1b[2Jc\td\re\r\n", reply(550, None, &["a b [2Jc d e"])),
            ("550 x\u{202e}y\u{85}z\r\n".as_bytes(), reply(550, None, &["x y z"])),
            ("550 ungültig\r\n".as_bytes(), reply(550, None, &["ungültig"])),
        ];
        for (octets, expected) in table {
            let shown = String::from_utf8_lossy(octets);
            assert_eq!(read(octets), (vec![expected.clone()], Ok(()), false), "{shown:?}");
        }
    }

    #[test]
    fn what_is_no_reply() {
        let table: &[(&[u8], Malformed)] = &[
            (b"banana\r\n", Malformed::NotAReply),
            (b"\r\n", Malformed::NotAReply),
            (b"25\r\n", Malformed::NotAReply),
            (b"2500 OK\r\n", Malformed::NotAReply),
            (b"250OK\r\n", Malformed::NotAReply),
            (b"250\tOK\r\n", Malformed::NotAReply),
            (b" 250 OK\r\n", Malformed::NotAReply),
            (b"150 OK\r\n", Malformed::NotAReply),
            (b"099 OK\r\n", Malformed::NotAReply),
            (b"600 OK\r\n", Malformed::NotAReply),
            (b"+OK POP3 ready\r\n", Malformed::NotAReply),
            (b"* OK IMAP4 ready\r\n", Malformed::NotAReply),
            (b"HTTP/1.1 400 Bad Request\r\n", Malformed::NotAReply),
            (b"\xff\xfe\xfd\r\n", Malformed::NotAReply),
            // a reply may not change its mind half way
            (b"250-a\r\n550 b\r\n", Malformed::CodesDiffer),
            (b"250-a\r\nbanana\r\n", Malformed::NotAReply),
        ];
        for (octets, expected) in table {
            assert_eq!(read(octets).1, Err(*expected), "{:?}", String::from_utf8_lossy(octets));
        }
    }

    #[test]
    fn a_reply_without_end_is_cut_off_in_time() {
        let limits = ReplyLimits::default();
        // one line, growing for ever: noticed at the limit, fed in small pieces or large
        let mut reader = ReplyReader::new(limits);
        let mut fed = 0;
        let error = loop {
            fed += 100;
            reader.feed(&[b'2'; 100]).unwrap();
            if let Err(e) = reader.next_reply() {
                break e;
            }
        };
        assert_eq!((error, fed), (Malformed::LineTooLong, LINE_BYTES_MAX / 100 * 100 + 100));
        // a long line that does end is refused as well
        let mut line = b"250 ".to_vec();
        line.extend([b'x'; LINE_BYTES_MAX]);
        line.extend(b"\r\n");
        assert_eq!(read(&line).1, Err(Malformed::LineTooLong));
        // a million continuation lines
        let mut reader = ReplyReader::new(limits);
        let mut lines = 0;
        let error = loop {
            reader.feed(b"250-x\r\n").unwrap();
            lines += 1;
            if let Err(e) = reader.next_reply() {
                break e;
            }
        };
        assert_eq!((error, lines), (Malformed::TooManyLines, LINES_MAX + 1));
        // replies nobody asked for, never taken out
        let mut reader = ReplyReader::new(limits);
        let flood = (0..).find(|_| reader.feed(b"250 OK\r\n").is_err());
        assert_eq!(flood, Some(HELD_BYTES_MAX / 8));
    }

    #[test]
    fn text_is_bounded_at_a_character() {
        let mut line = b"250 ".to_vec();
        line.extend("é".repeat(1000).as_bytes());
        line.extend(b"\r\n");
        let text = &read(&line).0[0].lines[0];
        assert_eq!(text.len(), TEXT_BYTES_MAX);
        assert!(text.chars().all(|c| c == 'é'));
    }

    #[test]
    fn what_follows_is_seen() {
        let mut reader = ReplyReader::new(ReplyLimits::default());
        reader.feed(b"220 go\r\n250-evil\r\n250").unwrap();
        assert_eq!(reader.next_reply().unwrap().map(|r| r.code), Some(220));
        assert!(reader.has_unread());
        // a begun reply counts as unread even when no octet of the next line is there
        let mut reader = ReplyReader::new(ReplyLimits::default());
        reader.feed(b"250-a\r\n").unwrap();
        assert_eq!(reader.next_reply(), Ok(None));
        assert!(reader.has_unread());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_replies(cuts in proptest::collection::vec(1usize..9, 1..40)) {
            let octets: &[u8] = b"220-a\r\n220 b\r\n250 2.0.0 ok\r\n354\r\n550-5.1.1 x\r\n550 5.1.1 y\r\n";
            let whole = read(octets).0;
            let mut reader = ReplyReader::new(ReplyLimits::default());
            let mut replies = Vec::new();
            let (mut at, mut cuts) = (0, cuts.iter().cycle());
            while at < octets.len() {
                let end = (at + cuts.next().unwrap()).min(octets.len());
                reader.feed(&octets[at..end]).unwrap();
                at = end;
                while let Some(reply) = reader.next_reply().unwrap() {
                    replies.push(reply);
                }
            }
            prop_assert_eq!(replies, whole);
            prop_assert!(!reader.has_unread());
        }

        #[test]
        fn any_octets_are_answered(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            for reply in read(&octets).0 {
                prop_assert!((200..600).contains(&reply.code));
                prop_assert!(!reply.lines.is_empty());
                for line in &reply.lines {
                    prop_assert!(!line.chars().any(char::is_control) && line.len() <= TEXT_BYTES_MAX);
                }
            }
        }
    }
}

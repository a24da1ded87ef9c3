//! One copy of a mail on its way out: envelope, facts about its content, and a body that may still be in the making.

use std::fmt;

use tokio::time::Instant;

use crate::message::{Body, Envelope};
use crate::smtp::ReversePath;

use super::BoxFuture;

/// One copy of a mail and the recipients it is for.
pub struct Outbound {
    /// Who sends to whom.
    pub envelope: Envelope,
    /// What the content is like, known before the body is.
    pub facts: Facts,
    /// The body.
    pub body: BodySource,
}

/// Where the body comes from.
pub enum BodySource {
    /// At hand.
    Ready(Body),
    /// Awaited once, only when upstream has said 354. `None` withdraws the mail: the connection is closed without a
    /// dot, so nothing is delivered. This is where "the record is on disk" and "the client is still there" are asked.
    Later(BoxFuture<'static, Option<Body>>),
}

/// What upstream must know or be able to do before it sees the content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Octets of the message, before dot-stuffing (RFC 1870 allows an estimate).
    pub size_bytes: u64,
    /// There are octets above 127 anywhere.
    pub eight_bit: bool,
    /// There are octets above 127 in the header section.
    pub eight_bit_headers: bool,
}

/// What this mail needs of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Room.
    pub size_bytes: u64,
    /// 8BITMIME.
    pub eight_bit: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
}

/// Until when an attempt may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Everything before the final dot, waiting for a connection included. After it the attempt is given up and
    /// nothing was delivered.
    pub dot_sent_by: Instant,
    /// The answer to the final dot. After it the fate is unknown.
    pub dot_answered_by: Instant,
}

impl Outbound {
    /// A copy whose body is at hand.
    pub fn new(envelope: Envelope, body: Body) -> Outbound {
        let facts = Facts::of(body.chunks.iter().map(|chunk| chunk.as_ref()));
        Outbound { envelope, facts, body: BodySource::Ready(body) }
    }

    /// A copy whose body is asked for after upstream's 354.
    pub fn later(envelope: Envelope, facts: Facts, body: BoxFuture<'static, Option<Body>>) -> Outbound {
        Outbound { envelope, facts, body: BodySource::Later(body) }
    }

    /// What this mail needs. SMTPUTF8 is needed only when an address or a header really is internationalised: many
    /// clients declare it on every mail.
    pub fn needs(&self) -> Needs {
        let envelope = &self.envelope;
        let sender = match &envelope.reverse_path {
            ReversePath::Null => true,
            ReversePath::Mailbox(mailbox) => mailbox.as_bytes().is_ascii(),
        };
        let ascii_paths = sender && envelope.recipients.iter().all(|r| r.path.0.as_bytes().is_ascii());
        Needs {
            size_bytes: self.facts.size_bytes,
            eight_bit: self.facts.eight_bit,
            smtputf8: !ascii_paths || (envelope.params.smtputf8 && self.facts.eight_bit_headers),
        }
    }
}

impl Facts {
    /// Reads them off a message's octets; the chunks are one text. One pass.
    pub fn of<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Facts {
        let mut facts = Facts::default();
        let mut headers = HeaderEnd::default();
        for chunk in chunks {
            facts.size_bytes += chunk.len() as u64;
            let ascii = chunk.is_ascii();
            facts.eight_bit |= !ascii;
            let header_part = headers.part_of(chunk);
            facts.eight_bit_headers |= !ascii && !header_part.is_ascii();
        }
        facts
    }
}

/// Finds the empty line after the header section, across chunks.
#[derive(Default)]
struct HeaderEnd {
    /// The last LF ended a line and only a CR has come since.
    line_empty: bool,
    started: bool,
    over: bool,
}

impl HeaderEnd {
    fn part_of<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        if !self.started {
            self.started = true;
            self.line_empty = true;
        }
        let mut at = 0;
        while !self.over && at < chunk.len() {
            let rest = chunk.get(at..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest);
            let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            self.line_empty &= line.iter().all(|&octet| octet == b'\r');
            at += line.len() + usize::from(end.is_some());
            if end.is_some() {
                self.over = self.line_empty;
                self.line_empty = true;
            }
        }
        chunk.get(..at).unwrap_or_default()
    }
}

impl fmt::Debug for Outbound {
    /// Without the body: bodies are never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("envelope", &self.envelope).field("facts", &self.facts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_a_message() {
        // (message, any octet above 127, one in the headers)
        let table: &[(&str, bool, bool)] = &[
            ("Subject: x\r\n\r\nbody\r\n", false, false),
            ("Subject: x\r\n\r\nbödy\r\n", true, false),
            ("Subject: ü\r\n\r\nbody\r\n", true, true),
            // no body, no header, header lines that only look empty
            ("Subject: ü", true, true),
            ("\r\nbödy", true, false),
            ("", false, false),
            ("A: b\r\n \r\nC: ü\r\n\r\nx", true, true),
            ("A: b\n\nbödy", true, false),
        ];
        for (text, eight_bit, eight_bit_headers) in table {
            let expected =
                Facts { size_bytes: text.len() as u64, eight_bit: *eight_bit, eight_bit_headers: *eight_bit_headers };
            for cut in 0..=text.len() {
                let (a, b) = text.as_bytes().split_at(cut);
                assert_eq!(Facts::of([a, b]), expected, "{text:?} cut at {cut}");
            }
        }
    }
}

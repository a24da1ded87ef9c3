//! A laid-out message: source ranges, fixed text, and places for tokens. Rendering a copy fills the places.
//!
//! **Invariant:** every segment has the same length in every copy.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::edit::Slot;
use crate::message::Body;

/// A stretch of the outgoing message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Octets of the source as they stand.
    Source(Range<usize>),
    /// Fixed octets, the same in every copy: this range of [`Laid::text`].
    Text(Range<usize>),
    /// These characters of a slot's token (quoted-printable may break a token over lines).
    Token { slot: usize, chars: Range<usize> },
    /// One character of a slot's token as `=XX`: it begins an encoded line.
    EscapedToken { slot: usize, at: usize },
    /// A base64 window that holds tokens.
    Base64(Window),
}

impl Segment {
    /// Names the slots whose tokens stand in it.
    fn each_slot(&self, mut with: impl FnMut(usize)) {
        match self {
            Segment::Source(_) | Segment::Text(_) => {}
            Segment::Token { slot, .. } | Segment::EscapedToken { slot, .. } => with(*slot),
            Segment::Base64(window) => window.holes.iter().for_each(|hole| with(hole.slot)),
        }
    }
}

/// A whole message laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Laid {
    list: Vec<Segment>,
    /// What the segments of text hold, in their order; copies share it.
    text: Bytes,
}

impl Laid {
    /// Names the slots whose tokens stand in it, some more than once.
    pub(super) fn each_slot(&self, mut with: impl FnMut(usize)) {
        self.list.iter().for_each(|segment| segment.each_slot(&mut with));
    }
}

/// Whole base64 quanta around one or more tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// Decoded octets, with anything where the tokens go. The length is a multiple of 3 but for the last window of a part.
    pub(super) template: Vec<u8>,
    /// Where in `template` which slot's token goes, and from which of its characters on.
    pub(super) holes: Vec<Hole>,
    /// Where it goes on in its line.
    pub(super) column: usize,
    pub(super) lines: Lines,
}

/// Where a token, or the rest of one, stands in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) at: usize,
    pub(super) slot: usize,
}

/// How base64 text is broken into lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) width: usize,
    pub(super) crlf: bool,
}

/// Octets encoded at once: whole quanta, few enough that room for them costs nothing.
const ENCODE_BYTES: usize = 192;

impl Lines {
    /// Writes octets in base64; returns the column after them.
    pub(super) fn encode(self, out: &mut Vec<u8>, content: &[u8], mut column: usize) -> usize {
        let mut chars = [0; ENCODE_BYTES / 3 * 4];
        for octets in content.chunks(ENCODE_BYTES) {
            // There is room for as many octets as a chunk has.
            let len = STANDARD.encode_slice(octets, &mut chars).unwrap_or_default();
            column = self.write(out, chars.get(..len).unwrap_or_default(), column);
        }
        column
    }

    /// At most how many octets so many characters become.
    pub(super) fn len_of(self, chars: usize) -> usize {
        chars + (chars / self.width.max(1) + 2) * 2
    }

    /// Writes characters, breaking before the one that would pass the width; returns the column after them.
    pub(super) fn write(self, out: &mut Vec<u8>, chars: &[u8], mut column: usize) -> usize {
        let mut rest = chars;
        while !rest.is_empty() {
            if column >= self.width {
                out.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
                column = 0;
            }
            let take = rest.len().min(self.width - column);
            let (now, later) = rest.split_at(take);
            out.extend_from_slice(now);
            column += take;
            rest = later;
        }
        column
    }
}

/// A token did not have the length its slot says: nothing was rendered; send the identity instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongTokenLength;

/// Stretches shorter than this are copied, which costs less than sharing them.
const SHARE_BYTES_MIN: usize = 256;

/// Fills the places. `tokens` holds one per slot, empty where no segment uses it.
pub(super) fn render(raw: &Bytes, laid: &Laid, slots: &[Slot], tokens: &[String]) -> Result<Body, WrongTokenLength> {
    let mut own: Vec<u8> = Vec::with_capacity(laid.list.iter().map(own_len).sum());
    let mut marks: Vec<Mark> = Vec::with_capacity(laid.list.len());
    for segment in &laid.list {
        let from = own.len();
        match segment {
            Segment::Source(range) if range.len() >= SHARE_BYTES_MIN => {
                marks.push(Mark::Source(range.clone()));
                continue;
            }
            Segment::Text(range) if range.len() >= SHARE_BYTES_MIN => {
                marks.push(Mark::Text(range.clone()));
                continue;
            }
            Segment::Source(range) => own.extend_from_slice(raw.get(range.clone()).unwrap_or_default()),
            Segment::Text(range) => own.extend_from_slice(laid.text.get(range.clone()).unwrap_or_default()),
            Segment::Token { slot, chars } => own.extend_from_slice(part(tokens, slots, *slot, chars)?),
            Segment::EscapedToken { slot, at } => {
                let octet = part(tokens, slots, *slot, &(*at..at + 1))?.first().ok_or(WrongTokenLength)?;
                own.extend_from_slice(format!("={octet:02X}").as_bytes());
            }
            Segment::Base64(window) => window.render(&mut own, slots, tokens)?,
        }
        match marks.last_mut() {
            Some(Mark::Own(range)) if range.end == from => range.end = own.len(),
            _ => marks.push(Mark::Own(from..own.len())),
        }
    }
    let own = Bytes::from(own);
    let cut = |mark: Mark| match mark {
        Mark::Source(range) => raw.slice(range),
        Mark::Text(range) => laid.text.slice(range),
        Mark::Own(range) => own.slice(range),
    };
    Ok(Body { chunks: marks.into_iter().map(cut).filter(|chunk| !chunk.is_empty()).collect() })
}

enum Mark {
    Source(Range<usize>),
    Text(Range<usize>),
    Own(Range<usize>),
}

/// How many octets of a copy are its own.
fn own_len(segment: &Segment) -> usize {
    match segment {
        Segment::Source(range) | Segment::Text(range) if range.len() >= SHARE_BYTES_MIN => 0,
        Segment::Source(range) | Segment::Text(range) => range.len(),
        Segment::Token { chars, .. } => chars.len(),
        Segment::EscapedToken { .. } => 3,
        Segment::Base64(window) => window.lines.len_of(window.template.len().div_ceil(3) * 4),
    }
}

fn part<'a>(
    tokens: &'a [String],
    slots: &[Slot],
    slot: usize,
    chars: &Range<usize>,
) -> Result<&'a [u8], WrongTokenLength> {
    let token = tokens.get(slot).ok_or(WrongTokenLength)?;
    let wanted = slots.get(slot).ok_or(WrongTokenLength)?.chars;
    if token.len() != wanted {
        return Err(WrongTokenLength);
    }
    token.as_bytes().get(chars.clone()).ok_or(WrongTokenLength)
}

impl Window {
    fn render(&self, out: &mut Vec<u8>, slots: &[Slot], tokens: &[String]) -> Result<(), WrongTokenLength> {
        let mut content = self.template.clone();
        for hole in &self.holes {
            let chars = slots.get(hole.slot).ok_or(WrongTokenLength)?.chars;
            let token = part(tokens, slots, hole.slot, &(0..chars))?;
            let place = content.get_mut(hole.at..hole.at + chars).ok_or(WrongTokenLength)?;
            place.copy_from_slice(token);
        }
        self.lines.encode(out, &content, self.column);
        Ok(())
    }
}

/// Collects segments and joins neighbours of one kind.
#[derive(Debug, Default)]
pub(super) struct Segments {
    list: Vec<Segment>,
    text: Vec<u8>,
}

impl Segments {
    pub(super) fn source(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        match self.list.last_mut() {
            Some(Segment::Source(last)) if last.end == range.start => last.end = range.end,
            _ => self.list.push(Segment::Source(range)),
        }
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.text_with(|out| out.extend_from_slice(text));
    }

    /// Makes room for so many octets of text more: growing bit by bit would hold a long text twice.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    /// Text that `write` appends.
    pub(super) fn text_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let from = self.text.len();
        let written = write(&mut self.text);
        let to = self.text.len();
        match self.list.last_mut() {
            _ if from == to => {}
            Some(Segment::Text(last)) => last.end = to,
            _ => self.list.push(Segment::Text(from..to)),
        }
        written
    }

    /// Characters of a token.
    pub(super) fn token(&mut self, slot: usize, chars: Range<usize>) {
        match self.list.last_mut() {
            Some(Segment::Token { slot: last, chars: so_far }) if *last == slot && so_far.end == chars.start => {
                so_far.end = chars.end;
            }
            _ => self.list.push(Segment::Token { slot, chars }),
        }
    }

    /// One character of a token, spelled out.
    pub(super) fn escaped_token(&mut self, slot: usize, at: usize) {
        self.list.push(Segment::EscapedToken { slot, at });
    }

    /// Takes back a space or tab written last as text.
    pub(super) fn pop_space(&mut self) -> Option<u8> {
        match (self.list.last_mut(), self.text.last()) {
            (Some(Segment::Text(last)), Some(b' ' | b'\t')) if last.start < last.end => {
                last.end -= 1;
                self.text.pop()
            }
            _ => None,
        }
    }

    pub(super) fn base64(&mut self, window: Window) {
        self.list.push(Segment::Base64(window));
    }

    pub(super) fn finish(self) -> Laid {
        Laid { list: self.list, text: self.text.into() }
    }

    /// What was written, where nothing of it is a token.
    #[cfg(test)]
    pub(super) fn shown(self, source: &str) -> String {
        let body = render(&Bytes::from(source.to_owned()), &self.finish(), &[], &[]).unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }
}

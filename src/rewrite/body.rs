//! One part: its octets decoded, and written again with edits in its own transfer encoding.

use std::ops::Range;

use super::edit::{Edit, Slot, Variant};
use super::outcome::PartLeft;
use super::segment::Segments;
use super::{base64, lines, quoted_printable};
use crate::message::media::Encoding;
use crate::message::tree::Part;

/// A part's content, and how it was encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoded {
    /// 7bit, 8bit, binary: the octets themselves.
    Identity(Range<usize>),
    QuotedPrintable(quoted_printable::Decoded),
    Base64(base64::Decoded),
}

/// Decodes the part's body.
pub(super) fn decode(raw: &[u8], part: &Part) -> Result<Decoded, PartLeft> {
    match part.encoding {
        Encoding::SevenBit | Encoding::EightBit | Encoding::Binary => Ok(Decoded::Identity(part.body.clone())),
        Encoding::QuotedPrintable => Ok(Decoded::QuotedPrintable(quoted_printable::decode(raw, part.body.clone()))),
        Encoding::Base64 => {
            base64::decode(raw, part.body.clone()).map(Decoded::Base64).map_err(|_| PartLeft::BrokenEncoding)
        }
        Encoding::Unknown => Err(PartLeft::Encoding),
    }
}

impl Decoded {
    /// The content.
    pub(super) fn content<'a>(&'a self, raw: &'a [u8]) -> &'a [u8] {
        match self {
            Decoded::Identity(body) => raw.get(body.clone()).unwrap_or_default(),
            Decoded::QuotedPrintable(decoded) => &decoded.content,
            Decoded::Base64(decoded) => &decoded.content,
        }
    }

    /// Whether the encoding of this stretch of content is in doubt.
    pub(super) fn is_broken(&self, range: &Range<usize>) -> bool {
        match self {
            Decoded::QuotedPrintable(decoded) => decoded.is_broken(range),
            Decoded::Identity(_) | Decoded::Base64(_) => false,
        }
    }

    /// Edits (in order) as they fit into the part's lines, and the links that must stay.
    pub(super) fn fit(&self, raw: &[u8], edits: Vec<Edit>, slots: &[Slot]) -> (Vec<Edit>, Vec<usize>) {
        match self {
            Decoded::Identity(_) => {
                let content = self.content(raw);
                lines::fit(content, edits, slots, eol(content))
            }
            Decoded::QuotedPrintable(_) | Decoded::Base64(_) => (edits, Vec::new()),
        }
    }

    /// Writes the part.
    pub(super) fn encode(&self, raw: &[u8], edits: &[Edit], variant: Variant, slots: &[Slot], out: &mut Segments) {
        match self {
            Decoded::Identity(body) => lines::encode(body, edits, variant, slots, out),
            Decoded::QuotedPrintable(decoded) => decoded.encode(raw, edits, variant, slots, out),
            Decoded::Base64(decoded) => decoded.encode(edits, variant, slots, out),
        }
    }
}

/// The line end that the content uses first.
pub(super) fn eol(content: &[u8]) -> &'static [u8] {
    match memchr::memchr(b'\n', content) {
        Some(at) if at == 0 || content.get(at - 1) != Some(&b'\r') => b"\n",
        _ => b"\r\n",
    }
}

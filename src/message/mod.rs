//! One mail: its envelope, its raw octets, and a map of its parts as byte ranges.

pub mod downgrade;
pub mod envelope;
pub mod guarded;
pub mod header;
pub mod media;
pub mod splice;
pub mod trace;
pub mod tree;

use bytes::Bytes;

pub use envelope::{Envelope, Recipient};

/// One mail as accepted from a client.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Who sends to whom.
    pub envelope: Envelope,
    /// RFC 5322 octets with CRLF line ends only: bare LF and CR were normalised at reception (DESIGN, promise 2).
    pub raw: Bytes,
}

/// Octets ready to leave, as slices that follow one another: source octets are shared, not copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// In order; none is empty.
    pub chunks: Vec<Bytes>,
}

impl Body {
    /// Total length in octets, before dot-stuffing.
    pub fn len_bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// The octets in one piece (copies unless there is a single chunk).
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks.as_slice() {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(whole: Bytes) -> Body {
        Body { chunks: if whole.is_empty() { Vec::new() } else { vec![whole] } }
    }
}

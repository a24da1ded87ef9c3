//! What changes in one part, in the part's decoded octets, before anything is encoded.
//!
//! **Invariant:** a token is the only thing that differs between two copies, and its length is known beforehand, so the
//! layout of every line is computed once per message.

use std::ops::Range;

use bytes::Bytes;

use crate::settings::{Mode, Tracking};
use crate::token::Kind;

/// One place for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Pixel or click.
    pub kind: Kind,
    /// The link's number in the message, 1 and up in order of appearance; 0 for the pixel.
    pub link: u16,
    /// What the token seals: the destination; empty for the pixel.
    pub payload: String,
    /// Exactly how many characters the token has.
    pub chars: usize,
}

/// Which kinds of edit one copy carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The pixel.
    pub opens: bool,
    /// Links in HTML.
    pub links: bool,
    /// Links in plain text.
    pub text_links: bool,
}

impl From<Tracking> for Variant {
    fn from(tracking: Tracking) -> Variant {
        let links = tracking.links != Mode::Off;
        Variant { opens: tracking.opens != Mode::Off, links, text_links: links && tracking.text_links }
    }
}

impl Variant {
    /// Nothing of ours.
    pub const NONE: Variant = Variant { opens: false, links: false, text_links: false };

    /// Whether anything is tracked.
    pub fn is_on(self) -> bool {
        self.opens || self.links || self.text_links
    }
}

/// A piece of what is put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// These octets in every copy.
    Text(Bytes),
    /// The token of this slot.
    Token(usize),
}

/// When an edit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Opens,
    Links,
    TextLinks,
    /// Whatever is tracked: control attributes go.
    AnyOn,
    /// In every copy: our own old tracking goes.
    Always,
}

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// Decoded octets replaced; empty for an insertion.
    pub(super) range: Range<usize>,
    pub(super) when: When,
    /// What is put in.
    pub(super) put: Vec<Piece>,
    /// What is put in where `when` does not hold: an old link of ours is unwrapped then.
    pub(super) otherwise: Option<Vec<Piece>>,
    /// The link in the report this edit belongs to.
    pub(super) link: Option<usize>,
    /// White space before the attribute's name, which may become a line break.
    pub(super) white_space: Option<Range<usize>>,
}

impl Edit {
    /// An edit that puts in `put` and belongs to no link.
    pub(super) fn plain(range: Range<usize>, when: When, put: Vec<Piece>) -> Edit {
        Edit { range, when, put, otherwise: None, link: None, white_space: None }
    }

    /// What this variant puts in; `None`: the edit is not made.
    pub(super) fn pieces(&self, variant: Variant) -> Option<&[Piece]> {
        let on = match self.when {
            When::Opens => variant.opens,
            When::Links => variant.links,
            When::TextLinks => variant.text_links,
            When::AnyOn => variant.is_on(),
            When::Always => true,
        };
        if on { Some(&self.put) } else { self.otherwise.as_deref() }
    }
}

/// How many octets the pieces have.
pub(super) fn pieces_len(pieces: &[Piece], slots: &[Slot]) -> usize {
    let len = |piece: &Piece| match piece {
        Piece::Text(text) => text.len(),
        Piece::Token(slot) => slots.get(*slot).map_or(0, |slot| slot.chars),
    };
    pieces.iter().map(len).sum()
}

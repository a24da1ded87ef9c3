//! `Plan` + message → new bytes, or the original with a reason.
//!
//! [`prepare`] reads a message once; [`Prepared::layout`] lays out the copies of one plan; [`Layout::render`] fills in the
//! tokens of one recipient. [`offline`] does all of it for `waxseal rewrite`.

mod base64;
mod body;
mod charset;
mod edit;
mod footer;
mod html;
mod judge;
mod lines;
mod name;
mod offline;
mod options;
mod outcome;
mod parts;
mod place;
mod prepare;
mod quoted_printable;
mod quotes;
mod segment;
mod text;

pub use edit::{Slot, Variant};
pub use footer::{FooterLeft, FooterOptions};
pub use offline::{Offline, offline};
pub use options::{HTML_MEMORY_BYTES_MAX, LINKS_MAX, Limits, Options, TEXT_BYTES_MAX, nothing_is_ours, wanted};
pub use outcome::{
    FooterOutcome, LinkDecision, LinkOutcome, Outcome, PartLeft, PartOutcome, PixelOutcome, Place, Untouched,
};
pub use prepare::{Layout, Prepared, prepare};
pub use quotes::{Open, Own};
pub use segment::WrongTokenLength;

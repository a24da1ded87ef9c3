//! Our own old tracking in a quoted reply: old pixels go, old links are unwrapped before the reply is tracked anew.
//!
//! Which URL is ours only the keys can tell, so a closure is asked. **Invariant:** where it says no, nothing is lost:
//! the link is a link like any other, the picture stays.

use crate::message::media::Encoding;
use crate::token::destination::Destination;

/// What one of our own URLs is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Own {
    /// A pixel.
    Pixel,
    /// A tracked link and where it leads now (the override, if there is one); `None`: withdrawn, or unreadable.
    Click(Option<String>),
    /// A preference page.
    Preference,
}

/// Answers what a URL is to us; `None`: not ours.
pub type Open<'a> = &'a dyn Fn(&str) -> Option<Own>;

/// Asks only about URLs that could be ours: opening a token costs more than a look at the path.
pub(super) fn own(destination: &Destination, open: Open<'_>) -> Option<Own> {
    let path = destination.path_and_query();
    let ours = ["/c/", "/i/", "/p/"].iter().any(|start| path.starts_with(start));
    if ours { open(destination.as_str()) } else { None }
}

/// Whether the text could hold a pixel of ours.
pub(super) fn may_hold_pixels(content: &[u8]) -> bool {
    memchr::memmem::find(content, b"/i/").is_some()
}

/// Whether the text could hold a link of ours.
pub(super) fn may_hold_links(content: &[u8]) -> bool {
    memchr::memmem::find(content, b"/c/").is_some()
}

/// The same of text that is still encoded. base64 has to be decoded to know; in quoted-printable a line may end, or an
/// octet be spelt, anywhere in `/c/`.
pub(super) fn may_hold_encoded_links(body: &[u8], encoding: Encoding) -> bool {
    let holds = |what: &[u8]| memchr::memmem::find(body, what).is_some();
    match encoding {
        Encoding::Base64 => true,
        Encoding::QuotedPrintable => [b"/c".as_slice(), b"/=", b"=2F", b"=2f"].into_iter().any(holds),
        _ => may_hold_links(body),
    }
}

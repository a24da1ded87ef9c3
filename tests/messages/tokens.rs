//! Tokens that a test can read: base64url of 26 fixed octets, the link's number and the payload; as long as real ones.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use waxseal::policy::LinkRules;
use waxseal::rewrite::{Limits, Options, Own, Slot, Variant};
use waxseal::settings::Quotes;

pub(super) const SITE: &str = "https://track.example";

/// With these tokens, old tracking left, no footer, and nothing of a relay's; a test says what it wants otherwise.
pub(super) fn options(wanted: Variant, links: &LinkRules) -> Options<'_> {
    Options {
        wanted,
        links,
        quotes: Quotes::Leave,
        footer: None,
        site_url: SITE,
        token_chars: &chars,
        open: &own,
        received: b"",
        remove_fields: false,
        limits: Limits::default(),
    }
}

/// How many characters a token has that seals so many octets.
pub(super) fn chars(payload_bytes: usize) -> usize {
    let octets = 28 + payload_bytes;
    octets / 3 * 4 + [0, 2, 3][octets % 3]
}

pub(super) fn mint(slot: &Slot) -> String {
    URL_SAFE_NO_PAD.encode([&[0xfb; 26], slot.link.to_be_bytes().as_slice(), slot.payload.as_bytes()].concat())
}

/// The payload of a token; `None` for what is no token.
pub(super) fn opened(token: &str) -> Option<String> {
    let octets = URL_SAFE_NO_PAD.decode(token).ok()?;
    String::from_utf8(octets.get(28..)?.to_vec()).ok()
}

/// What a URL is to the site.
pub(super) fn own(url: &str) -> Option<Own> {
    let path = url.strip_prefix(SITE)?;
    if let Some(token) = path.strip_prefix("/c/") {
        return opened(token).map(|destination| Own::Click(Some(destination)));
    }
    if let Some(token) = path.strip_prefix("/p/") {
        return opened(token).map(|_| Own::Preference);
    }
    opened(path.strip_prefix("/i/")?.strip_suffix(".gif")?).map(|_| Own::Pixel)
}

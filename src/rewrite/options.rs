//! What the rewriter is told: settings, limits, and the two things only keys can answer.

use crate::message::tree;
use crate::policy::LinkRules;
use crate::settings::{Quotes, Tracking};

use super::edit::Variant;
use super::footer::FooterOptions;
use super::quotes::{Open, Own};

/// Everything [`super::prepare`] needs besides the message.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// What at least one copy will carry; what none carries is not looked for.
    pub wanted: Variant,
    /// Which links are left alone. The message's own List-* fields are added to it.
    pub links: &'a LinkRules,
    /// What happens to our own old tracking.
    pub quotes: Quotes,
    /// Put at the end of every copy, whatever is tracked in it.
    pub footer: Option<FooterOptions<'a>>,
    /// The tracking site, `https://t.example.com`, without a slash at the end; US-ASCII without quotes and spaces.
    pub site_url: &'a str,
    /// How many characters a token has that seals so many octets.
    pub token_chars: &'a dyn Fn(usize) -> usize,
    /// What one of our own URLs is.
    pub open: Open<'a>,
    /// The `Received:` field to prepend, with its line end; empty for none.
    pub received: &'a [u8],
    /// Whether the fields that never leave are removed. Only the offline rewriter says no.
    pub remove_fields: bool,
    /// How much we look at.
    pub limits: Limits,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("wanted", &self.wanted)
            .field("site_url", &self.site_url)
            .finish_non_exhaustive()
    }
}

/// Limits of one message. Over one of them it leaves as it came, with the reason; it is never refused for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the structure.
    pub tree: tree::Limits,
    /// Octets of all parts that are read.
    pub text_bytes_max: usize,
    /// Links in all parts that are read.
    pub links_max: usize,
    /// What lol_html may hold back while it waits for the end of a tag.
    pub html_memory_bytes_max: usize,
}

/// 16 MiB of text: a hundred times what Gmail shows of a mail.
pub const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// 5,000 links: ten times the most in real newsletters; link numbers have 16 bits.
pub const LINKS_MAX: usize = 5_000;
/// 4 MiB: one tag may be as long as a picture in a `data:` address.
pub const HTML_MEMORY_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            tree: tree::Limits::default(),
            text_bytes_max: TEXT_BYTES_MAX,
            links_max: LINKS_MAX,
            html_memory_bytes_max: HTML_MEMORY_BYTES_MAX,
        }
    }
}

/// No URL is ours: for senders without any past.
pub fn nothing_is_ours(_: &str) -> Option<Own> {
    None
}

/// What any of these plans carries: [`Options::wanted`] for their message.
pub fn wanted(plans: impl IntoIterator<Item = Tracking>) -> Variant {
    plans.into_iter().map(Variant::from).fold(Variant::NONE, |all, one| Variant {
        opens: all.opens || one.opens,
        links: all.links || one.links,
        text_links: all.text_links || one.text_links,
    })
}

//! `waxseal rewrite`: the real rewriter on one message, offline. Nothing is normalised, prepended or removed.

use bytes::Bytes;

use super::edit::Slot;
use super::options::{Limits, Options, nothing_is_ours};
use super::outcome::Outcome;
use super::prepare::prepare;
use crate::message::Body;
use crate::policy::LinkRules;
use crate::policy::plan::HeaderChoice;
use crate::settings::{Quotes, Tracking};

/// The result of [`offline`].
#[derive(Debug, Clone)]
pub struct Offline {
    /// The message as it would leave, but for what the relay adds and removes in its header.
    pub body: Body,
    /// What was decided and why; [`Outcome::lines`] is what `--plan` prints.
    pub outcome: Outcome,
}

/// Rewrites one message as a relay with this `tracking` would for one recipient. The message's own `X-Waxseal-*` fields
/// narrow it; `links` are an organisation's rules. `mint` makes a token of exactly `slot.chars` characters; `token_chars` says how many that are for a payload
/// of so many octets. With everything off the result is the input, octet for octet.
pub fn offline(
    raw: &Bytes,
    tracking: Tracking,
    links: &LinkRules,
    site_url: &str,
    token_chars: &dyn Fn(usize) -> usize,
    mint: impl FnMut(&Slot) -> String,
) -> Offline {
    let tracking = tracking.narrowed_by(HeaderChoice::read(raw).choice);
    let options = Options {
        wanted: tracking.into(),
        links,
        quotes: Quotes::Leave,
        footer: None,
        site_url,
        token_chars,
        open: &nothing_is_ours,
        received: b"",
        remove_fields: false,
        limits: Limits::default(),
    };
    let prepared = prepare(raw, &options);
    let body = prepared.layout(tracking.into()).render(mint).unwrap_or_else(|_| prepared.identity());
    Offline { body, outcome: prepared.outcome().clone() }
}

//! What the rewriter promises for any octets at all: [`keep`] fails where one promise is broken. The ordinary tests call
//! it with messages cut and flipped at random places, `tests/fuzz` with whatever libFuzzer finds.

use bytes::Bytes;
use waxseal::message::trace;
use waxseal::policy::LinkRules;
use waxseal::rewrite::{LinkDecision, Options, Outcome, Prepared, Variant, prepare};
use waxseal::settings::Quotes;

use super::tokens::{self, mint};
use super::unsplice::same_but_for_ours;

const ALL: Variant = Variant { opens: true, links: true, text_links: true };
const RECEIVED: &[u8] = b"Received: from a (a [192.0.2.1])\r\n\tby b; Mon, 23 Nov 2026 20:49:17 +0000\r\n";

fn prepared(raw: &Bytes, wanted: Variant, quotes: Quotes, relay: bool) -> Prepared {
    let rules = LinkRules::default();
    let options = Options {
        quotes,
        received: if relay { RECEIVED } else { b"" },
        remove_fields: relay,
        ..tokens::options(wanted, &rules)
    };
    prepare(raw, &options)
}

fn copy(prepared: &Prepared, variant: Variant) -> Bytes {
    prepared.layout(variant).render(mint).expect("tokens are as long as they say").to_bytes()
}

/// Every promise, for one message.
pub(super) fn keep(raw: &Bytes) {
    identity(raw);
    let tracked = prepared(raw, ALL, Quotes::Leave, false);
    let outcome = tracked.outcome();
    told(outcome);
    assert_eq!(copy(&tracked, Variant::NONE), raw, "off is the identity");
    for (opens, links) in [(true, true), (false, true), (true, false)] {
        let variant = Variant { opens, links, ..ALL };
        let copy = copy(&tracked, variant);
        bounded(raw, &copy, &tracked);
        if outcome.untouched.is_some() {
            assert_eq!(copy, raw, "untouched is untouched");
        } else {
            same_but_for_ours(raw, &copy, &tracked);
        }
    }
    unwrapped(&tracked);
}

/// With everything off, and as it leaves: `Received:` in front, what never leaves gone, the rest octet for octet.
fn identity(raw: &Bytes) {
    let off = prepared(raw, Variant::NONE, Quotes::Leave, false);
    assert_eq!(off.identity().to_bytes(), raw);
    assert_eq!(copy(&off, ALL), raw);
    let relay = prepared(raw, ALL, Quotes::Unwrap, true);
    let mut expected = raw.to_vec();
    trace::removed_fields(raw).into_iter().rev().for_each(|field| drop(expected.drain(field)));
    let mbox_line = raw.iter().position(|octet| *octet == b'\n').filter(|_| raw.starts_with(b"From "));
    let at = mbox_line.map_or(0, |at| at + 1);
    expected.splice(at..at, RECEIVED.iter().copied());
    assert_eq!(relay.identity().to_bytes(), expected);
    let left = copy(&relay, ALL);
    assert!(relay.outcome().untouched.is_none() || left == expected);
    told(relay.outcome());
}

/// The report is lines.
fn told(outcome: &Outcome) {
    assert!(outcome.lines().iter().all(|line| line.len() <= 400 && !line.contains(|c: char| c.is_control())));
}

/// A copy grows by what its tokens need and no more, has no line ends of another kind, and no line too long.
fn bounded(raw: &Bytes, copy: &Bytes, tracked: &Prepared) {
    let tokens: usize = tracked.slots().iter().map(|slot| slot.chars * 3 / 2 + 400).sum();
    assert!(copy.len() <= raw.len() * 3 / 2 + tokens, "{} from {} with {tokens} of tokens", copy.len(), raw.len());
    let bare = |text: &[u8]| {
        let crlf = text.windows(2).filter(|two| *two == b"\r\n").count();
        text.iter().filter(|octet| matches!(octet, b'\r' | b'\n')).count() - 2 * crlf
    };
    assert!(bare(raw) > 0 || bare(copy) == 0, "bare newlines came in");
    let line_len = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).len();
    let longest = |text: &[u8]| text.split(|octet| *octet == b'\n').map(line_len).max().unwrap_or_default();
    // What the sender wrote too long already is not ours to mend.
    let (before, after) = (longest(raw), longest(copy));
    assert!(before > 998 || after <= 998, "a line grew from {before} to {after}");
}

/// Replied to, our own copy gives every destination back.
fn unwrapped(tracked: &Prepared) {
    let destinations = |outcome: &Outcome, wanted: &dyn Fn(&LinkDecision) -> bool| -> Vec<String> {
        outcome.links.iter().filter(|link| wanted(&link.decision)).map(|link| link.url.clone()).collect()
    };
    let first = destinations(tracked.outcome(), &|decision| matches!(decision, LinkDecision::Tracked(_)));
    let reply = copy(tracked, ALL);
    let again = prepared(&reply, Variant::NONE, Quotes::Unwrap, false);
    let given_back = destinations(again.outcome(), &|decision| *decision == LinkDecision::Unwrapped);
    assert!(first.iter().all(|url| given_back.contains(url)), "{first:?} came back as {given_back:?}");
    let back = copy(&again, Variant::NONE);
    bounded(&reply, &back, &again);
}

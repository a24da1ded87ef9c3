//! Once per message: read, decide, and keep what every copy needs. Rendering a copy then only fills in tokens.
//!
//! **Invariant:** [`Prepared::identity`] always works, whatever the message is; a copy with nothing on and nothing to
//! unwrap is the identity, octet for octet (DESIGN, promises 2 and 3).

use std::ops::Range;

use bytes::Bytes;

use super::edit::{Slot, Variant};
use super::options::Options;
use super::outcome::{FooterOutcome, Outcome, PixelOutcome, Untouched};
use super::parts::{Collector, EditedPart};
use super::quotes;
use super::segment::{Laid, Segments, WrongTokenLength, render};
use crate::message::header::{fields, slice};
use crate::message::splice::{Step, walk};
use crate::message::tree::{self, Tree};
use crate::message::{Body, guarded, trace};
use crate::policy::links::{LinkRules, list_urls};
use crate::settings::Quotes;
use crate::token::Kind;

/// A message read and decided.
#[derive(Debug, Clone)]
pub struct Prepared {
    raw: Bytes,
    received: Vec<u8>,
    /// Where `received` goes: at the start, but after an mbox `From ` line.
    received_at: usize,
    removed: Vec<Range<usize>>,
    parts: Vec<EditedPart>,
    slots: Vec<Slot>,
    outcome: Outcome,
}

/// A message laid out for one variant: every line is where it will be, only tokens are missing.
#[derive(Debug, Clone)]
pub struct Layout<'a> {
    prepared: &'a Prepared,
    laid: Laid,
    /// Which slots this variant uses.
    used: Vec<bool>,
}

/// Reads a message once. Never fails: what cannot be rewritten perfectly is prepared as its identity, with the reason in
/// [`Prepared::outcome`]. Linear in the message.
pub fn prepare(raw: &Bytes, options: &Options<'_>) -> Prepared {
    let removed = if options.remove_fields { trace::removed_fields(raw) } else { Vec::new() };
    let mut prepared = Prepared {
        raw: raw.clone(),
        received: options.received.to_vec(),
        received_at: trace::received_at(raw),
        removed,
        parts: Vec::new(),
        slots: Vec::new(),
        outcome: Outcome::untouched(Untouched::NothingToTrack),
    };
    match read(raw, options) {
        Ok((parts, slots, outcome)) => (prepared.parts, prepared.slots, prepared.outcome) = (parts, slots, outcome),
        Err(why) => prepared.outcome = Outcome::untouched(why),
    }
    prepared
}

type Read = (Vec<EditedPart>, Vec<Slot>, Outcome);

fn read(raw: &[u8], options: &Options<'_>) -> Result<Read, Untouched> {
    if !options.wanted.is_on() && options.quotes == Quotes::Leave && options.footer.is_none() {
        return Err(Untouched::NotWanted);
    }
    let tree = tree::read(raw, &options.limits.tree).map_err(Untouched::Structure)?;
    if let Some(guard) = guarded::message(raw, &tree) {
        return Err(Untouched::Guarded(guard));
    }
    let footers = options.footer.map(|_| (pixel_part(&tree, 0), text_part(&tree, 0)));
    let chosen = chosen_parts(raw, &tree, options, footers.and_then(|(_, text)| text));
    let text_bytes: usize = chosen.iter().filter_map(|n| tree.parts.get(*n)).map(|part| part.body.len()).sum();
    if text_bytes > options.limits.text_bytes_max {
        return Err(Untouched::TooLarge);
    }
    let rules = rules(raw, options);
    let pixel_part = if options.wanted.opens { pixel_part(&tree, 0) } else { None };
    let pixel = if options.wanted.opens { PixelOutcome::NoHtml } else { PixelOutcome::NotWanted };
    let mut collector = Collector {
        raw,
        options,
        rules: &rules,
        footers: Vec::new(),
        slots: options.footer.map(|footer| footer_slot(options, footer.payload_bytes)).into_iter().collect(),
        last_number: 0,
        click_start: format!("{}/c/", options.site_url).into(),
        links: Vec::new(),
        too_many_links: false,
        parts: Vec::new(),
        pixel,
    };
    let mut parts = Vec::new();
    for number in chosen {
        let footer = footers.is_some_and(|(html, text)| html == Some(number) || text == Some(number));
        let edited = collector.part(&tree, number, pixel_part == Some(number), footer);
        parts.extend(edited.map_err(|_| Untouched::TooManyLinks)?);
    }
    let html = tree.parts.iter().any(|part| part.is("text/html"));
    let nothing = match options.wanted {
        wanted if !wanted.is_on() => Untouched::NotWanted,
        Variant { text_links: false, .. } if !html => Untouched::NoHtml,
        _ => Untouched::NothingToTrack,
    };
    let untouched = parts.is_empty().then_some(nothing);
    let footer = match footers {
        None => FooterOutcome::NotWanted,
        Some((None, None)) => FooterOutcome::NoText,
        Some(_) => FooterOutcome::Parts(collector.footers),
    };
    let outcome = Outcome { untouched, parts: collector.parts, links: collector.links, pixel: collector.pixel, footer };
    Ok((parts, collector.slots, outcome))
}

/// The one slot of the footer's link, the same in every part.
fn footer_slot(options: &Options<'_>, payload_bytes: usize) -> Slot {
    Slot { kind: Kind::Preference, link: 0, payload: String::new(), chars: (options.token_chars)(payload_bytes) }
}

/// HTML parts, and plain text where links are tracked there, old ones of ours may stand, or the footer goes.
fn chosen_parts(raw: &[u8], tree: &Tree, options: &Options<'_>, footer_text: Option<usize>) -> Vec<usize> {
    let unwrap = options.quotes == Quotes::Unwrap;
    let chosen = |number: &usize| {
        tree.parts.get(*number).is_some_and(|part| {
            let old = || unwrap && quotes::may_hold_encoded_links(slice(raw, &part.body), part.encoding);
            let wanted_text = || options.wanted.text_links || footer_text == Some(*number) || old();
            part.is("text/html") || (part.is("text/plain") && guarded::part(tree, *number).is_none() && wanted_text())
        })
    };
    (0..tree.parts.len()).filter(chosen).collect()
}

/// The organisation's rules and the message's own List-* fields.
fn rules(raw: &[u8], options: &Options<'_>) -> LinkRules {
    let mut rules = options.links.clone();
    for field in fields(raw, 0) {
        let is_list = slice(raw, &field.name).get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"list-"));
        if is_list {
            rules.list_urls.extend(list_urls(&String::from_utf8_lossy(slice(raw, &field.value))));
        }
    }
    rules
}

/// The one HTML part that the recipient will surely see: the last alternative with HTML, the root of a related, the first
/// of a mixed. Guarded parts are not looked into; a part that is chosen and then stays has no pixel elsewhere.
fn pixel_part(tree: &Tree, number: usize) -> Option<usize> {
    let part = tree.parts.get(number)?;
    if guarded::part(tree, number).is_some() || part.body.is_empty() {
        return None;
    }
    let inside = |child: &usize| pixel_part(tree, *child);
    match part.media.kind.as_str() {
        "text/html" => Some(number),
        "multipart/alternative" => part.children.iter().rev().find_map(inside),
        "multipart/related" => {
            let named = |child: &&usize| {
                part.media.start.is_some() && tree.parts.get(**child).is_some_and(|p| p.content_id == part.media.start)
            };
            part.children.iter().find(named).or(part.children.first()).and_then(inside)
        }
        "multipart/mixed" => part.children.iter().find_map(inside),
        _ => None,
    }
}

/// The plain text that the recipient reads beside or instead of that HTML.
fn text_part(tree: &Tree, number: usize) -> Option<usize> {
    let part = tree.parts.get(number)?;
    if guarded::part(tree, number).is_some() || part.body.is_empty() {
        return None;
    }
    let inside = |child: &usize| text_part(tree, *child);
    match part.media.kind.as_str() {
        "text/plain" => Some(number),
        "multipart/alternative" => part.children.iter().find_map(inside),
        "multipart/related" => part.children.first().and_then(inside),
        // Not a text that follows the HTML the recipient reads: that is somebody's note, or a list's.
        "multipart/mixed" => {
            let read = |child: &&usize| pixel_part(tree, **child).is_some() || inside(child).is_some();
            part.children.iter().find(read).and_then(inside)
        }
        _ => None,
    }
}

impl Prepared {
    /// What was decided, and why.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Every place for a token, in order of appearance; a layout uses some of them.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The message as it came, with `Received:` prepended and the fields removed that never leave.
    pub fn identity(&self) -> Body {
        let mut out = Segments::default();
        self.stretch(0..self.raw.len(), &mut out);
        // Without tokens there is nothing that could be wrong.
        render(&self.raw, &out.finish(), &[], &[]).unwrap_or_else(|WrongTokenLength| Body::from(self.raw.clone()))
    }

    /// Lays out the copies of one variant; once for all recipients who get it.
    pub fn layout(&self, variant: Variant) -> Layout<'_> {
        let mut out = Segments::default();
        let mut at = 0;
        for part in &self.parts {
            self.stretch(at..part.body.start, &mut out);
            part.decoded.encode(&self.raw, &part.edits, variant, &self.slots, &mut out);
            at = part.body.end;
        }
        self.stretch(at..self.raw.len(), &mut out);
        let laid = out.finish();
        let mut used = vec![false; self.slots.len()];
        laid.each_slot(|slot| {
            if let Some(used) = used.get_mut(slot) {
                *used = true;
            }
        });
        Layout { prepared: self, laid, used }
    }

    /// Source octets with `received` put in and fields taken out.
    fn stretch(&self, range: Range<usize>, out: &mut Segments) {
        let received =
            (!self.received.is_empty()).then_some((self.received_at..self.received_at, self.received.as_slice()));
        let removed = self.removed.iter().map(|field| (field.clone(), b"".as_slice()));
        let last = range.end == self.raw.len();
        let inside = |field: &Range<usize>| {
            field.start >= range.start && field.end <= range.end && (field.start < range.end || last)
        };
        let edits = received.into_iter().chain(removed).filter(|(field, _)| inside(field));
        for step in walk(range.clone(), edits) {
            match step {
                Step::Keep(kept) => out.source(kept),
                Step::Put(text) => out.text(text),
            }
        }
    }
}

impl Layout<'_> {
    /// Renders one copy; `mint` is asked once per slot that this variant uses, in order. A copy without slots may be
    /// shared by all its recipients.
    ///
    /// # Errors
    /// [`WrongTokenLength`]: a token was not as long as its slot says. Send the identity.
    pub fn render(&self, mut mint: impl FnMut(&Slot) -> String) -> Result<Body, WrongTokenLength> {
        let slots = &self.prepared.slots;
        let tokens: Vec<String> =
            slots.iter().zip(&self.used).map(|(slot, used)| if *used { mint(slot) } else { String::new() }).collect();
        render(&self.prepared.raw, &self.laid, slots, &tokens)
    }

    /// The slots this variant uses, in order.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.prepared.slots.iter().zip(&self.used).filter(|(_, used)| **used).map(|(slot, _)| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::{Limits, nothing_is_ours};
    use super::*;

    const ALL: Variant = Variant { opens: true, links: true, text_links: false };

    fn prepared(raw: &Bytes) -> Prepared {
        let options = Options {
            wanted: ALL,
            links: &LinkRules::default(),
            quotes: Quotes::Unwrap,
            footer: None,
            site_url: "https://t.example",
            token_chars: &|payload_bytes| payload_bytes + 4,
            open: &nothing_is_ours,
            received: b"Received: x\r\n",
            remove_fields: true,
            limits: Limits::default(),
        };
        prepare(raw, &options)
    }

    fn mint(slot: &Slot) -> String {
        "t".repeat(slot.chars)
    }

    #[test]
    fn copies_share_what_they_have_in_common() {
        let html = format!("<body>{}<a href=\"https://example.org/\">x</a></body>", "long text ".repeat(500));
        let raw = Bytes::from(format!("Bcc: a\r\nContent-Type: text/html\r\n\r\n{html}"));
        let prepared = prepared(&raw);
        let (one, two) = (prepared.layout(ALL).render(mint).unwrap(), prepared.layout(ALL).render(mint).unwrap());
        assert_eq!(one, two);
        let shared =
            |body: &Body| body.chunks.iter().find(|chunk| raw.as_ptr_range().contains(&chunk.as_ptr())).map(Bytes::len);
        assert!(shared(&one).is_some_and(|len| len > 5_000), "the text is not copied");
    }

    #[test]
    fn each_variant_asks_for_its_own_tokens() {
        let raw = Bytes::from("Content-Type: text/html\r\n\r\n<body><a href=\"https://example.org/\">x</a></body>");
        let prepared = prepared(&raw);
        let asked = |variant: Variant| {
            let mut asked = Vec::new();
            prepared
                .layout(variant)
                .render(|slot| {
                    asked.push(slot.link);
                    mint(slot)
                })
                .unwrap();
            asked
        };
        assert_eq!(asked(ALL), [1, 0]);
        assert_eq!(asked(Variant { links: false, ..ALL }), [0]);
        assert_eq!(asked(Variant { opens: false, ..ALL }), [1]);
        assert_eq!(asked(Variant::NONE), Vec::<u16>::new());
    }

    #[test]
    fn the_identity_is_what_a_copy_with_nothing_on_is() {
        // a body, no body, no header, nothing, an mbox line that must stay first
        for raw in [
            "To: a\r\nBcc: b\r\nContent-Type: text/html\r\n\r\n<body></body>",
            "Bcc: b\r\n",
            "\r\nx",
            "",
            "From a b\r\nTo: c\r\n\r\nx",
            // which may be all there is, with its line end or without
            "From a b\r\n",
            "From a b",
        ] {
            let raw = Bytes::from(raw);
            let prepared = prepared(&raw);
            let identity = prepared.identity().to_bytes();
            assert_eq!(prepared.layout(Variant::NONE).render(mint).unwrap().to_bytes(), identity);
            let text = String::from_utf8(identity.to_vec()).unwrap();
            assert_eq!(
                text.replace("Received: x\r\n", ""),
                String::from_utf8(raw.to_vec()).unwrap().replace("Bcc: b\r\n", "")
            );
            assert!(text.starts_with("Received: x\r\n") || text.starts_with("From a b\r\nReceived: x\r\n"));
        }
    }
}

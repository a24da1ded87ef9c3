//! From what was read in one part to its edits: which links are tracked, unwrapped or left, and why.

use std::ops::Range;

use bytes::Bytes;

use super::body::{Decoded, decode};
use super::charset::{Reading, reading};
use super::edit::{Edit, Piece, Slot, When};
use super::footer::{self, FooterLeft};
use super::html::{self, Found, Want};
use super::options::Options;
use super::outcome::{LinkDecision, LinkOutcome, PartLeft, PartOutcome, PixelOutcome};
use super::quotes::{self, Own};
use super::{body, place, text};
use crate::message::guarded::{self, holds_pgp};
use crate::message::splice::{self, BadRanges};
use crate::message::tree::{Part, Tree};
use crate::policy::LinkRules;
use crate::settings::Quotes;
use crate::token::Kind;
use crate::token::destination::Destination;

/// A part with edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EditedPart {
    pub(super) body: Range<usize>,
    pub(super) decoded: Decoded,
    pub(super) edits: Vec<Edit>,
}

/// Collects the edits and decisions of one message.
pub(super) struct Collector<'a> {
    pub(super) raw: &'a [u8],
    pub(super) options: &'a Options<'a>,
    pub(super) rules: &'a LinkRules,
    /// Parts that were to have the footer, and why one has it not.
    pub(super) footers: Vec<(usize, Option<FooterLeft>)>,
    pub(super) slots: Vec<Slot>,
    /// The number of the last tracked link.
    pub(super) last_number: u16,
    /// `https://t.example.com/c/`
    pub(super) click_start: Bytes,
    pub(super) links: Vec<LinkOutcome>,
    /// One part alone has more than the limit: it was not read to its end.
    pub(super) too_many_links: bool,
    pub(super) parts: Vec<PartOutcome>,
    pub(super) pixel: PixelOutcome,
}

/// What goes into an HTML part besides its links.
#[derive(Debug, Clone, Copy)]
struct Insert {
    pixel: bool,
    footer: bool,
}

/// The footer's slot is made first.
const FOOTER_SLOT: usize = 0;

/// Where the last line ends that has something on it.
fn end_of_last_line(content: &[u8]) -> usize {
    let text = content.trim_ascii_end().len();
    let rest = content.get(text..).unwrap_or_default();
    let line = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
    text + line
}

/// More links than the limit.
pub(super) struct TooManyLinks;

impl Collector<'_> {
    /// Reads part `number`, and puts pixel and footer into it if it is the one for them.
    pub(super) fn part(
        &mut self,
        tree: &Tree,
        number: usize,
        pixel: bool,
        footer: bool,
    ) -> Result<Option<EditedPart>, TooManyLinks> {
        let Some(part) = tree.parts.get(number) else { return Ok(None) };
        let mut outcome = PartOutcome {
            part: number,
            kind: part.media.kind.clone(),
            left: None,
            old_pixels: 0,
            conditional_comments: false,
        };
        let (links_before, slots_before) = (self.links.len(), self.slots.len());
        let edited = match guarded::part(tree, number) {
            Some(guard) => Err(PartLeft::Guarded(guard)),
            // Not even its line end may be its own: the next delimiter can follow the header at once.
            None if part.body.is_empty() => Err(PartLeft::Empty),
            None => decode(self.raw, part).and_then(|decoded| {
                let content = decoded.content(self.raw);
                let reading = reading(&part.media.charset, content)?;
                let edits = if part.is("text/html") {
                    self.html(number, &decoded, reading, Insert { pixel, footer }, &mut outcome)?
                } else if part.media.joins_words && !footer {
                    return Err(PartLeft::Flowed);
                } else {
                    self.text(number, &decoded, reading, part, footer)?
                };
                Ok(EditedPart { body: part.body.clone(), edits, decoded })
            }),
        };
        if self.too_many_links || self.links.len() > self.options.limits.links_max {
            return Err(TooManyLinks);
        }
        // A text part that was only searched for old links of ours, and has none, is nobody's business.
        let searched = part.is("text/plain") && !self.options.wanted.text_links;
        if searched && edited.as_ref().map_or(true, |edited| edited.edits.is_empty()) {
            self.links.truncate(links_before);
            self.slots.truncate(slots_before);
            return Ok(None);
        }
        let edited = match edited {
            Ok(edited) => Some(edited).filter(|edited| !edited.edits.is_empty()),
            Err(left) => {
                // Nothing of this part is done, so nothing of it is told but why.
                self.links.truncate(links_before);
                self.slots.truncate(slots_before);
                outcome.left = Some(left);
                if footer {
                    self.footers.push((number, Some(FooterLeft::Part)));
                }
                if pixel {
                    self.pixel = PixelOutcome::PartLeft { part: number };
                }
                None
            }
        };
        self.parts.push(outcome);
        Ok(edited)
    }

    fn html(
        &mut self,
        number: usize,
        decoded: &Decoded,
        reading: Reading,
        insert: Insert,
        outcome: &mut PartOutcome,
    ) -> Result<Vec<Edit>, PartLeft> {
        let content = decoded.content(self.raw);
        let Insert { pixel, footer } = insert;
        let unwrap = self.options.quotes == Quotes::Unwrap;
        if holds_pgp(content) {
            return Err(PartLeft::Guarded(guarded::Guard::InlinePgp));
        }
        let old_pixels = unwrap && quotes::may_hold_pixels(content);
        // Where links are tracked each of them is looked at anyway.
        let old_links = unwrap && !self.options.wanted.links && quotes::may_hold_links(content);
        if !self.options.wanted.is_on() && !old_pixels && !old_links && !footer {
            return Ok(Vec::new());
        }
        let places = pixel || footer;
        let end = places && !place::has_body_close(content);
        let links_max = (self.options.wanted.links || old_links).then_some(self.options.limits.links_max);
        let want = Want { images: old_pixels, body: places, end, links_max };
        let memory = self.options.limits.html_memory_bytes_max;
        let found = html::read(content, reading.encoding, want, memory)?;
        if links_max.is_some_and(|max| found.links.len() > max) {
            self.too_many_links = true;
            return Ok(Vec::new());
        }
        let mut edits = self.old_pixels(content, &found, reading.utf8);
        outcome.old_pixels = edits.len();
        outcome.conditional_comments = html::has_conditional_links(content);
        let more = found.links.len();
        self.slots.reserve(more + 1);
        self.links.reserve(more);
        edits.reserve(more + 1);
        for anchor in &found.links {
            if self.options.wanted.links || old_links {
                self.anchor(number, decoded, anchor, reading.utf8, &mut edits);
            }
            edits.extend(anchor.opt_out.clone().map(|range| Edit::plain(range, When::AnyOn, Vec::new())));
        }
        if pixel {
            match place::choose(content, &found, reading.encoding, memory)? {
                Some((at, place)) => {
                    self.pixel = PixelOutcome::Placed { part: number, place };
                    let image = self.pixel_image();
                    // An old pixel may stand right there: the new one goes after it, not into it.
                    let after = edits.iter().find(|edit| edit.range.start < at && at < edit.range.end);
                    let at = after.map_or(at, |edit| edit.range.end);
                    edits.push(Edit::plain(at..at, When::Opens, image));
                }
                None => self.pixel = PixelOutcome::NoPlace { part: number },
            }
        }
        let mut edits = self.finish(decoded, content.len(), edits)?;
        if footer {
            let place = place::at_end(content, &found, reading.encoding, memory)?;
            self.html_footer(number, decoded, place.map(|(at, _)| at), &mut edits);
        }
        if pixel && !edits.iter().any(|edit| edit.when == When::Opens) {
            self.pixel = PixelOutcome::NoPlace { part: number };
        }
        Ok(edits)
    }

    /// Before everything else that is put in at its place: it stands on lines of its own, so no line grows by it.
    fn html_footer(&mut self, number: usize, decoded: &Decoded, place: Option<usize>, edits: &mut Vec<Edit>) {
        let content = decoded.content(self.raw);
        let Some((at, footer)) = place.zip(self.options.footer) else {
            self.footers.push((number, Some(FooterLeft::Place)));
            return;
        };
        // What is taken out right there goes first.
        let over = edits.iter().find(|edit| edit.range.start < at && at < edit.range.end);
        let at = over.map_or(at, |edit| edit.range.end);
        if decoded.is_broken(&(at.saturating_sub(1)..at)) {
            self.footers.push((number, Some(FooterLeft::Encoding)));
            return;
        }
        let put = footer::html(footer.footer, self.footer_link(), body::eol(content));
        let before = edits.partition_point(|edit| edit.range.start < at);
        edits.insert(before, Edit::plain(at..at, When::Always, put));
        self.footers.push((number, None));
    }

    /// After the last line with something on it.
    fn text_footer(&mut self, number: usize, decoded: &Decoded, part: &Part, edits: &mut Vec<Edit>) {
        let Some(footer) = self.options.footer else { return };
        let content = decoded.content(self.raw);
        let at = end_of_last_line(content);
        let written = footer::text(footer.footer, self.footer_link(), part, body::eol(content));
        let left = match written {
            Ok(_) if decoded.is_broken(&(at.saturating_sub(1)..at)) => Some(FooterLeft::Encoding),
            Ok(put) => {
                edits.push(Edit::plain(at..at, When::Always, put));
                None
            }
            Err(why) => Some(why),
        };
        self.footers.push((number, left));
    }

    fn footer_link(&self) -> footer::Link<'_> {
        footer::Link { site_url: self.options.site_url, slot: FOOTER_SLOT }
    }

    fn text(
        &mut self,
        number: usize,
        decoded: &Decoded,
        reading: Reading,
        part: &Part,
        footer: bool,
    ) -> Result<Vec<Edit>, PartLeft> {
        let content = decoded.content(self.raw);
        if holds_pgp(content) {
            return Err(PartLeft::Guarded(guarded::Guard::InlinePgp));
        }
        let mut edits = Vec::new();
        // Clients join the lines of such text, and with them what we would take for the end of a link.
        let links = (!part.media.joins_words).then(|| text::links(content)).into_iter().flatten();
        for link in links {
            if self.links.len() > self.options.limits.links_max {
                break;
            }
            self.text_link(number, decoded, &link, reading.utf8, &mut edits);
        }
        let mut edits = self.finish(decoded, content.len(), edits)?;
        if footer {
            self.text_footer(number, decoded, part, &mut edits);
        }
        Ok(edits)
    }

    /// Edits in order, without overlap, as they fit into lines.
    fn finish(&mut self, decoded: &Decoded, len: usize, edits: Vec<Edit>) -> Result<Vec<Edit>, PartLeft> {
        let mut edits = edits;
        splice::order(&mut edits, len, |edit| &edit.range).map_err(|BadRanges| PartLeft::Ranges)?;
        let (edits, stay) = decoded.fit(self.raw, edits, &self.slots);
        for link in stay {
            if let Some(outcome) = self.links.get_mut(link) {
                outcome.decision = LinkDecision::LineLength;
            }
        }
        Ok(edits)
    }

    fn old_pixels(&self, content: &[u8], found: &Found, utf8: bool) -> Vec<Edit> {
        let is_ours = |src: &Range<usize>| {
            let value = content.get(src.clone()).unwrap_or_default();
            let url = Destination::from_attribute(value, utf8).ok();
            url.and_then(|url| quotes::own(&url, self.options.open)) == Some(Own::Pixel)
        };
        let ours = found.images.iter().filter(|image| is_ours(&image.src));
        ours.map(|image| Edit::plain(image.tag.clone(), When::Always, Vec::new())).collect()
    }

    fn pixel_image(&mut self) -> Vec<Piece> {
        let slot = self.slots.len();
        let chars = (self.options.token_chars)(0);
        self.slots.push(Slot { kind: Kind::Pixel, link: 0, payload: String::new(), chars });
        let before = format!("<img src=\"{}/i/", self.options.site_url);
        let end = Bytes::from_static(PIXEL_END.as_bytes());
        vec![Piece::Text(before.into()), Piece::Token(slot), Piece::Text(end)]
    }
}

/// Not `display:none`: some clients do not load what is not shown. Out of the flow and drawn up over its own height, so
/// that nothing around it moves and no page grows, in a grid neither; `!important` because many a style sheet says
/// `img{width:100%!important}`. A client that drops `position` or negative margins keeps a block of one pixel.
const PIXEL_END: &str = ".gif\" width=\"1\" height=\"1\" alt=\"\" border=\"0\" \
style=\"display:block!important;position:absolute!important;width:1px!important;height:1px!important;\
min-width:0!important;min-height:0!important;margin:0!important;margin-top:-1px!important;padding:0!important;\
border:0!important;opacity:0!important\">";

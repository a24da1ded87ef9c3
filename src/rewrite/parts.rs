//! From what was read in one part to its edits: which links are tracked, unwrapped or left, and why.

use std::ops::Range;

use super::body::{Decoded, decode};
use super::charset::{Reading, reading};
use super::edit::{Edit, Piece, Slot, When};
use super::html::{self, Anchor, Found, Want, link_text};
use super::options::Options;
use super::outcome::{LinkDecision, LinkOutcome, PartLeft, PartOutcome, PixelOutcome, shown};
use super::quotes::{self, Own};
use super::{place, text};
use crate::message::guarded::{self, is_inline_pgp};
use crate::message::splice::Splice;
use crate::message::tree::Tree;
use crate::policy::{LeftAlone, Link, LinkRules};
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
    pub(super) slots: Vec<Slot>,
    pub(super) links: Vec<LinkOutcome>,
    pub(super) parts: Vec<PartOutcome>,
    pub(super) pixel: PixelOutcome,
}

/// More links than the limit.
pub(super) struct TooManyLinks;

/// What becomes of one link.
struct Judged {
    decision: LinkDecision,
    /// Where it leads, old tracking taken off.
    destination: Option<Destination>,
    unwrapped: bool,
}

impl Collector<'_> {
    /// Reads part `number`, and puts the pixel into it if it is the one for it.
    pub(super) fn part(&mut self, tree: &Tree, number: usize, pixel: bool) -> Result<Option<EditedPart>, TooManyLinks> {
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
            None => decode(self.raw, part).and_then(|decoded| {
                let content = decoded.content(self.raw);
                let reading = reading(&part.media.charset, content)?;
                let edits = if part.is("text/html") {
                    self.html(number, &decoded, reading, pixel, &mut outcome)?
                } else if part.media.flowed {
                    return Err(PartLeft::Flowed);
                } else {
                    self.text(number, &decoded, reading)?
                };
                Ok(EditedPart { body: part.body.clone(), edits, decoded })
            }),
        };
        if self.links.len() > self.options.limits.links_max {
            return Err(TooManyLinks);
        }
        let edited = match edited {
            Ok(edited) => Some(edited).filter(|edited| !edited.edits.is_empty()),
            Err(left) => {
                // Nothing of this part is done, so nothing of it is told but why.
                self.links.truncate(links_before);
                self.slots.truncate(slots_before);
                outcome.left = Some(left);
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
        pixel: bool,
        outcome: &mut PartOutcome,
    ) -> Result<Vec<Edit>, PartLeft> {
        let content = decoded.content(self.raw);
        let unwrap = self.options.quotes == Quotes::Unwrap;
        let want = Want {
            images: unwrap && quotes::may_hold_pixels(content),
            body: pixel,
            end: pixel && !place::has_body_close(content),
        };
        let memory = self.options.limits.html_memory_bytes_max;
        let found = html::read(content, reading.encoding, want, memory)?;
        let mut edits = self.old_pixels(content, &found, reading.utf8);
        outcome.old_pixels = edits.len();
        outcome.conditional_comments = html::has_conditional_links(content);
        for anchor in &found.links {
            self.anchor(number, decoded, anchor, reading.utf8, &mut edits);
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
        self.finish(decoded, content.len(), edits)
    }

    fn text(&mut self, number: usize, decoded: &Decoded, reading: Reading) -> Result<Vec<Edit>, PartLeft> {
        let content = decoded.content(self.raw);
        if is_inline_pgp(content) {
            return Err(PartLeft::Guarded(guarded::Guard::InlinePgp));
        }
        let mut edits = Vec::new();
        for link in text::links(content) {
            let Ok(url) = std::str::from_utf8(content.get(link.url.clone()).unwrap_or_default()) else { continue };
            if !reading.utf8 && !url.is_ascii() {
                continue;
            }
            let label = String::from_utf8_lossy(content.get(link.label).unwrap_or_default());
            let judged = self.judge(Destination::from_text(url), &label, decoded.is_broken(&link.url));
            if !self.options.wanted.text_links && !judged.unwrapped {
                continue;
            }
            let judged = if self.options.wanted.text_links { judged } else { judged.only_unwrapped() };
            let edit = self.link_edit(number, link.url, url, judged, When::TextLinks, |url| url.to_owned());
            edits.extend(edit);
        }
        self.finish(decoded, content.len(), edits)
    }

    /// Edits in order, without overlap, as they fit into lines.
    fn finish(&mut self, decoded: &Decoded, len: usize, edits: Vec<Edit>) -> Result<Vec<Edit>, PartLeft> {
        let ordered = edits.into_iter().map(|edit| (edit.range.clone(), edit)).collect();
        let splice = Splice::new(ordered, len).map_err(|_| PartLeft::Ranges)?;
        let edits = splice.edits().iter().map(|(_, edit)| edit.clone()).collect();
        let (edits, stay) = decoded.fit(self.raw, edits, &self.slots);
        for link in stay {
            if let Some(outcome) = self.links.get_mut(link) {
                outcome.decision = LinkDecision::LineLength;
            }
        }
        let placed = edits.iter().any(|edit| edit.when == When::Opens);
        if let PixelOutcome::Placed { part, .. } = self.pixel
            && !placed
            && self.parts.len() <= part
        {
            self.pixel = PixelOutcome::NoPlace { part };
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

    fn anchor(&mut self, part: usize, decoded: &Decoded, anchor: &Anchor, utf8: bool, edits: &mut Vec<Edit>) {
        let content = decoded.content(self.raw);
        let value = content.get(anchor.value.clone()).unwrap_or_default();
        let text = link_text(content, anchor.tag_end);
        let broken = decoded.is_broken(&anchor.value);
        let mut judged = self.judge(Destination::from_attribute(value, utf8), &text, broken);
        if anchor.foreign {
            judged = Judged { decision: LinkDecision::ForeignContent, destination: None, unwrapped: false };
        } else if let Some(opt_out) = &anchor.opt_out {
            judged.decision = LinkDecision::LeftAlone(LeftAlone::OptedOut);
            edits.push(Edit::plain(opt_out.clone(), When::AnyOn, Vec::new()));
        }
        let as_written = shown(&String::from_utf8_lossy(value));
        let quote = anchor.quote;
        let edit =
            self.link_edit(part, anchor.value.clone(), &as_written, judged, When::Links, |url| quoted(url, quote));
        edits.extend(edit.map(|edit| Edit {
            white_space: Some(anchor.white_space.clone()).filter(|space| !space.is_empty()),
            ..edit
        }));
    }

    /// Judges one link by its destination and visible text.
    fn judge(
        &self,
        destination: Result<Destination, crate::token::destination::NotADestination>,
        text: &str,
        broken: bool,
    ) -> Judged {
        let mut destination = match destination {
            Ok(destination) => destination,
            Err(why) => {
                return Judged { decision: LinkDecision::NoDestination(why), destination: None, unwrapped: false };
            }
        };
        let ours = Judged { decision: LinkDecision::Ours, destination: None, unwrapped: false };
        if broken {
            return Judged { decision: LinkDecision::BrokenEncoding, ..ours };
        }
        let mut unwrapped = false;
        match quotes::own(&destination, self.options.open) {
            Some(Own::Click(Some(inner))) if self.options.quotes == Quotes::Unwrap => {
                let Ok(inner) = Destination::from_text(&inner) else { return ours };
                (destination, unwrapped) = (inner, true);
            }
            Some(_) => return ours,
            None => {}
        }
        let link = Link {
            url: destination.as_str(),
            host: destination.host(),
            path_and_query: destination.path_and_query(),
            text,
        };
        let decision = match self.rules.left_alone(&link) {
            Some(why) => LinkDecision::LeftAlone(why),
            None => LinkDecision::Tracked(0),
        };
        Judged { decision, destination: Some(destination), unwrapped }
    }

    /// Notes the decision, and makes the edit it asks for; `written` writes a URL as the place needs it.
    fn link_edit(
        &mut self,
        part: usize,
        range: Range<usize>,
        as_written: &str,
        judged: Judged,
        when: When,
        written: impl Fn(&str) -> String,
    ) -> Option<Edit> {
        let link = self.links.len();
        let url = judged.destination.as_ref().map_or(as_written, |destination| destination.as_str());
        let mut outcome =
            LinkOutcome { part, url: url.to_owned(), decision: judged.decision, unwrapped: judged.unwrapped };
        let plain = judged
            .destination
            .as_ref()
            .filter(|_| judged.unwrapped)
            .map(|destination| vec![Piece::Text(written(destination.as_str()).into_bytes())]);
        let edit = match (&outcome.decision, &judged.destination) {
            (LinkDecision::Tracked(_), Some(destination)) => {
                let number = self.next_number();
                outcome.decision = LinkDecision::Tracked(number);
                let put = self.click(number, destination, &written);
                Some(Edit { otherwise: plain, link: Some(link), ..Edit::plain(range, when, put) })
            }
            _ => plain.map(|put| Edit { link: Some(link), ..Edit::plain(range, When::Always, put) }),
        };
        self.links.push(outcome);
        edit
    }

    /// Links are numbered from 1 in order of appearance.
    fn next_number(&self) -> u16 {
        let last = self.slots.iter().map(|slot| slot.link).max().unwrap_or(0);
        last.saturating_add(1)
    }

    fn click(&mut self, number: u16, destination: &Destination, written: impl Fn(&str) -> String) -> Vec<Piece> {
        let slot = self.slots.len();
        let payload = destination.as_str().to_owned();
        let chars = (self.options.token_chars)(payload.len());
        self.slots.push(Slot { kind: Kind::Click, link: number, payload, chars });
        // The token is base64url, so it stands for itself wherever a URL may.
        let around = written(&format!("{}/c/{MARK}", self.options.site_url));
        let (before, after) = around.split_once(MARK).unwrap_or((&around, ""));
        let text = |text: &str| Piece::Text(text.as_bytes().to_vec());
        vec![text(before), Piece::Token(slot), text(after)]
    }

    fn pixel_image(&mut self) -> Vec<Piece> {
        let slot = self.slots.len();
        let chars = (self.options.token_chars)(0);
        self.slots.push(Slot { kind: Kind::Pixel, link: 0, payload: String::new(), chars });
        let before = format!("<img src=\"{}/i/", self.options.site_url);
        vec![Piece::Text(before.into_bytes()), Piece::Token(slot), Piece::Text(PIXEL_END.as_bytes().to_vec())]
    }
}

impl Judged {
    /// Tracking is not wanted here, but our old tracking still goes.
    fn only_unwrapped(self) -> Judged {
        Judged { decision: LinkDecision::Unwrapped, ..self }
    }
}

/// Stands for the token while a URL is written; no site URL holds it.
const MARK: &str = "{token}";

/// Not `display:none`: some clients do not load what is not shown.
const PIXEL_END: &str = ".gif\" width=\"1\" height=\"1\" alt=\"\" border=\"0\" \
style=\"display:block;width:1px;height:1px;border:0;margin:0;padding:0\">";

/// A URL as an attribute value. An unquoted one gets quotes.
fn quoted(url: &str, quote: Option<u8>) -> String {
    match quote {
        Some(b'\'') => htmlize::escape_all_quotes(url).into_owned(),
        Some(_) => htmlize::escape_attribute(url).into_owned(),
        None => format!("\"{}\"", htmlize::escape_attribute(url)),
    }
}

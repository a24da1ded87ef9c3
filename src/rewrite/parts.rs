//! From what was read in one part to its edits: which links are tracked, unwrapped or left, and why.

use std::ops::Range;

use bytes::Bytes;

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
    /// The number of the last tracked link.
    pub(super) last_number: u16,
    /// `https://t.example.com/c/`
    pub(super) click_start: Bytes,
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
            // Not even its line end may be its own: the next delimiter can follow the header at once.
            None if part.body.is_empty() => Err(PartLeft::Empty),
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
        let old_pixels = unwrap && quotes::may_hold_pixels(content);
        // Where links are tracked each of them is looked at anyway.
        let old_links = unwrap && !self.options.wanted.links && quotes::may_hold_links(content);
        if !self.options.wanted.is_on() && !old_pixels && !old_links {
            return Ok(Vec::new());
        }
        let want = Want { images: old_pixels, body: pixel, end: pixel && !place::has_body_close(content) };
        let memory = self.options.limits.html_memory_bytes_max;
        let found = html::read(content, reading.encoding, want, memory)?;
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
        let edits = self.finish(decoded, content.len(), edits)?;
        if pixel && !edits.iter().any(|edit| edit.when == When::Opens) {
            self.pixel = PixelOutcome::NoPlace { part: number };
        }
        Ok(edits)
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
            let Some(judged) = judged.if_wanted(self.options.wanted.text_links) else { continue };
            edits.extend(self.link_edit(number, link.url, url.as_bytes(), judged, When::TextLinks, Style::Plain));
        }
        self.finish(decoded, content.len(), edits)
    }

    /// Edits in order, without overlap, as they fit into lines.
    fn finish(&mut self, decoded: &Decoded, len: usize, edits: Vec<Edit>) -> Result<Vec<Edit>, PartLeft> {
        let ordered = edits.into_iter().map(|edit| (edit.range.clone(), edit)).collect();
        let splice = Splice::new(ordered, len).map_err(|_| PartLeft::Ranges)?;
        let edits = splice.into_edits().collect();
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

    fn anchor(&mut self, part: usize, decoded: &Decoded, anchor: &Anchor, utf8: bool, edits: &mut Vec<Edit>) {
        let content = decoded.content(self.raw);
        let value = content.get(anchor.value.clone()).unwrap_or_default();
        let text = link_text(content, anchor.tag_end);
        let broken = decoded.is_broken(&anchor.value);
        let mut judged = self.judge(Destination::from_attribute(value, utf8), &text, broken);
        if anchor.foreign {
            judged = Judged { decision: LinkDecision::ForeignContent, destination: None, unwrapped: false };
        } else if anchor.opt_out.is_some() {
            judged.decision = LinkDecision::LeftAlone(LeftAlone::OptedOut);
        }
        let Some(judged) = judged.if_wanted(self.options.wanted.links) else { return };
        let style = anchor.quote.map_or(Style::Unquoted, Style::Quoted);
        let edit = self.link_edit(part, anchor.value.clone(), value, judged, When::Links, style);
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

    /// Notes the decision, and makes the edit it asks for. `as_written` is the link as it stands, `style` how a URL is
    /// written there.
    fn link_edit(
        &mut self,
        part: usize,
        range: Range<usize>,
        as_written: &[u8],
        judged: Judged,
        when: When,
        style: Style,
    ) -> Option<Edit> {
        let Judged { mut decision, destination, unwrapped } = judged;
        let link = self.links.len();
        let url = match &destination {
            Some(destination) => destination.as_str().to_owned(),
            None => shown(&String::from_utf8_lossy(as_written)),
        };
        let plain = destination.as_ref().filter(|_| unwrapped).map(|to| vec![style.written(to.as_str())]);
        let edit = match (&decision, destination) {
            (LinkDecision::Tracked(_), Some(destination)) => {
                let (number, url) = self.click(destination);
                decision = LinkDecision::Tracked(number);
                Some(Edit { otherwise: plain, link: Some(link), ..Edit::plain(range, when, style.around(url)) })
            }
            _ => plain.map(|put| Edit { link: Some(link), ..Edit::plain(range, When::Always, put) }),
        };
        self.links.push(LinkOutcome { part, url, decision, unwrapped });
        edit
    }

    /// The URL of the next tracked link. A token is base64url, so it stands for itself wherever a URL may.
    fn click(&mut self, destination: Destination) -> (u16, [Piece; 2]) {
        self.last_number = self.last_number.saturating_add(1);
        let payload = destination.into_string();
        let chars = (self.options.token_chars)(payload.len());
        self.slots.push(Slot { kind: Kind::Click, link: self.last_number, payload, chars });
        (self.last_number, [Piece::Text(self.click_start.clone()), Piece::Token(self.slots.len() - 1)])
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

impl Judged {
    /// The judgement where links of this kind are tracked; where they are not, an old link of ours is unwrapped all the
    /// same, and the others are nobody's business.
    fn if_wanted(self, wanted: bool) -> Option<Judged> {
        match wanted {
            true => Some(self),
            false if self.unwrapped => Some(Judged { decision: LinkDecision::Unwrapped, ..self }),
            false => None,
        }
    }
}

/// Not `display:none`: some clients do not load what is not shown.
const PIXEL_END: &str = ".gif\" width=\"1\" height=\"1\" alt=\"\" border=\"0\" \
style=\"display:block;width:1px;height:1px;border:0;margin:0;padding:0\">";

/// How a URL is written where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// In plain text.
    Plain,
    /// In an attribute, between these quotes.
    Quoted(u8),
    /// In an attribute without quotes: it gets some.
    Unquoted,
}

impl Style {
    fn written(self, url: &str) -> Piece {
        let text = match self {
            Style::Plain => url.to_owned(),
            Style::Quoted(b'\'') => htmlize::escape_all_quotes(url).into_owned(),
            Style::Quoted(_) => htmlize::escape_attribute(url).into_owned(),
            Style::Unquoted => format!("\"{}\"", htmlize::escape_attribute(url)),
        };
        Piece::Text(Bytes::from(text))
    }

    /// Our own URL, which has nothing to escape.
    fn around(self, url: [Piece; 2]) -> Vec<Piece> {
        let quote = || Piece::Text(Bytes::from_static(b"\""));
        match self {
            Style::Plain | Style::Quoted(_) => Vec::from(url),
            Style::Unquoted => {
                let [start, token] = url;
                vec![quote(), start, token, quote()]
            }
        }
    }
}

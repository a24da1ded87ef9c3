//! One link: whether it is tracked, unwrapped or left, and what is written in its place.
//!
//! **Invariant:** every link that could have been tracked has its outcome; an edit exists only where the outcome says so.

use std::ops::Range;

use bytes::Bytes;

use super::body::Decoded;
use super::edit::{Edit, Piece, Slot, When};
use super::html::Anchor;
use super::name::link_text;
use super::outcome::{LinkDecision, LinkOutcome, shown};
use super::parts::Collector;
use super::quotes::{self, Own};
use super::text::TextLink;
use crate::policy::{LeftAlone, Link};
use crate::settings::Quotes;
use crate::token::Kind;
use crate::token::destination::{Destination, NotADestination};

/// What becomes of one link.
struct Judged {
    decision: LinkDecision,
    /// Where it leads, old tracking taken off.
    destination: Option<Destination>,
    unwrapped: bool,
}

impl Collector<'_> {
    /// A link in HTML.
    pub(super) fn anchor(
        &mut self,
        part: usize,
        decoded: &Decoded,
        anchor: &Anchor,
        utf8: bool,
        edits: &mut Vec<Edit>,
    ) {
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

    /// A link in plain text.
    pub(super) fn text_link(
        &mut self,
        part: usize,
        decoded: &Decoded,
        link: &TextLink,
        utf8: bool,
        edits: &mut Vec<Edit>,
    ) {
        let content = decoded.content(self.raw);
        let octets = content.get(link.url.clone()).unwrap_or_default();
        let destination = match std::str::from_utf8(octets) {
            Ok(url) if utf8 || url.is_ascii() => Destination::from_text(url),
            _ => Err(NotADestination::NotAscii),
        };
        let label = String::from_utf8_lossy(content.get(link.label.clone()).unwrap_or_default());
        let judged = self.judge(destination, &label, decoded.is_broken(&link.url));
        let Some(judged) = judged.if_wanted(self.options.wanted.text_links) else { return };
        edits.extend(self.link_edit(part, link.url.clone(), octets, judged, When::TextLinks, Style::Plain));
    }

    /// Judges one link by its destination and visible text.
    fn judge(&self, destination: Result<Destination, NotADestination>, text: &str, broken: bool) -> Judged {
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

//! What was decided about each part and link, and why, in words a sender understands.
//!
//! **Invariant:** every part that holds HTML, every link that could have been tracked and the pixel each have one line.

use std::fmt;

use super::footer::FooterLeft;
use crate::message::guarded::Guard;
use crate::message::tree::Doubt;
use crate::policy::LeftAlone;
use crate::token::destination::NotADestination;

/// Why the whole message leaves as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Untouched {
    /// Its structure is not plain, or over a limit.
    Structure(Doubt),
    /// It is signed, encrypted, or not ours to look into.
    Guarded(Guard),
    /// More decoded content than the limit.
    TooLarge,
    /// More links than the limit.
    TooManyLinks,
    /// No copy carries anything of ours.
    NotWanted,
    /// It is plain text, where opens cannot be seen and links are not to be tracked.
    NoHtml,
    /// Nothing in it can be tracked.
    NothingToTrack,
}

impl Untouched {
    /// Which of the rewriter's limits the message is over.
    pub fn limit(self) -> Option<&'static str> {
        match self {
            Untouched::Structure(Doubt::HeaderTooLarge) => Some("header_bytes"),
            Untouched::Structure(Doubt::TooManyLines) => Some("header_lines"),
            Untouched::Structure(Doubt::TooManyParts) => Some("parts"),
            Untouched::Structure(Doubt::TooDeep) => Some("nesting"),
            Untouched::TooLarge => Some("decoded_bytes"),
            Untouched::TooManyLinks => Some("links"),
            Untouched::Structure(Doubt::BoundaryReused | Doubt::BoundaryUnclear | Doubt::MalformedHeader)
            | Untouched::Guarded(_)
            | Untouched::NotWanted
            | Untouched::NoHtml
            | Untouched::NothingToTrack => None,
        }
    }
}

impl fmt::Display for Untouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Untouched::Structure(doubt) => write!(f, "{doubt}"),
            Untouched::Guarded(guard) => write!(f, "{guard}"),
            Untouched::TooLarge => f.write_str("its text is over the size limit"),
            Untouched::TooManyLinks => f.write_str("more links than the limit"),
            Untouched::NotWanted => f.write_str("tracking is off"),
            Untouched::NoHtml => f.write_str("it has no HTML, and links in plain text are not tracked (text_links)"),
            Untouched::NothingToTrack => f.write_str("nothing in it can be tracked"),
        }
    }
}

/// Why one part stays as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartLeft {
    /// For itself or for what it stands in.
    Guarded(Guard),
    /// A Content-Transfer-Encoding we do not know, or given twice.
    Encoding,
    /// base64 that does not decode plainly.
    BrokenEncoding,
    /// A charset whose octets are not ASCII-compatible, or unknown.
    Charset(String),
    /// NUL, escapes or a UTF-16 mark, whatever the label says.
    CharsetBytes,
    /// HTML whose structure cannot be followed as it streams.
    Html,
    /// HTML of which the reader would have to hold more than the limit.
    HtmlMemory,
    /// A place did not match the source.
    Ranges,
    /// format=flowed text with delsp=yes.
    Flowed,
    /// There is nothing in it.
    Empty,
}

impl fmt::Display for PartLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartLeft::Guarded(guard) => write!(f, "{guard}"),
            PartLeft::Encoding => f.write_str("its Content-Transfer-Encoding is unknown"),
            PartLeft::BrokenEncoding => f.write_str("its base64 is broken"),
            PartLeft::Charset(label) => write!(f, "its charset ({}) cannot be read safely", named(label)),
            PartLeft::CharsetBytes => f.write_str("its bytes are not what its charset says"),
            PartLeft::Html => f.write_str("its HTML cannot be read without doubt"),
            PartLeft::HtmlMemory => f.write_str("a tag of its HTML is over the memory limit"),
            PartLeft::Ranges => f.write_str("the places to change did not match the text"),
            PartLeft::Empty => f.write_str("it is empty"),
            PartLeft::Flowed => f.write_str("flowed text whose words may go on in the next line (delsp=yes)"),
        }
    }
}

/// Why a link stays, or that it is tracked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkDecision {
    /// Tracked under this number.
    Tracked(u16),
    /// No destination of ours.
    NoDestination(NotADestination),
    /// The policy says so.
    LeftAlone(LeftAlone),
    /// Its transfer encoding is broken right there.
    BrokenEncoding,
    /// It would make a line of more than 998 bytes.
    LineLength,
    /// It is a link of ours and stays one (`quotes = "leave"`, or a preference page).
    Ours,
    /// An old link of ours, where links are not tracked: it leads where it led, without us.
    Unwrapped,
    /// Part of a picture in SVG or MathML.
    ForeignContent,
}

impl fmt::Display for LinkDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkDecision::Tracked(number) => write!(f, "tracked as link {number}"),
            LinkDecision::NoDestination(why) => write!(f, "left: {why}"),
            LinkDecision::LeftAlone(why) => write!(f, "left: {why}"),
            LinkDecision::BrokenEncoding => f.write_str("left: its transfer encoding is broken"),
            LinkDecision::LineLength => {
                f.write_str("left: line length: with the tracked address its line would be over 998 bytes")
            }
            LinkDecision::Ours => f.write_str("left: it is a tracking link of ours already"),
            LinkDecision::Unwrapped => f.write_str("not tracked anew"),
            LinkDecision::ForeignContent => f.write_str("left: inside SVG or MathML"),
        }
    }
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkOutcome {
    /// Part number, 0 is the message itself.
    pub part: usize,
    /// The address: the destination where there is one, else the attribute as it stands, at most 200 bytes.
    pub url: String,
    /// What was decided.
    pub decision: LinkDecision,
    /// It was an old link of ours and was unwrapped first.
    pub unwrapped: bool,
}

/// One part with text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartOutcome {
    /// Part number, 0 is the message itself.
    pub part: usize,
    /// `text/html`.
    pub kind: String,
    /// Why it stays; `None`: it was read.
    pub left: Option<PartLeft>,
    /// How many old pixels of ours were found.
    pub old_pixels: usize,
    /// It has links in conditional comments, which stay.
    pub conditional_comments: bool,
}

/// Where the pixel went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PixelOutcome {
    /// Not asked for.
    NotWanted,
    /// Into this part.
    Placed {
        /// Part number.
        part: usize,
        /// Where in it.
        place: Place,
    },
    /// There is no HTML the recipient will see.
    NoHtml,
    /// The HTML that will be seen stays as it is.
    PartLeft {
        /// Part number.
        part: usize,
    },
    /// The HTML has no place outside a table, an open tag, a comment and the like.
    NoPlace {
        /// Part number.
        part: usize,
    },
}

/// Places for a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Before the last `</body>`.
    BodyEnd,
    /// At the end of the text.
    TextEnd,
    /// After `<body>`: the text is so long that a client would cut its end off, or the end is no place.
    BodyStart,
}

/// Where the footer went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FooterOutcome {
    /// Not asked for.
    NotWanted,
    /// The message has no text of its own to put it under.
    NoText,
    /// These parts were to have it, and those with a reason have not.
    Parts(Vec<(usize, Option<FooterLeft>)>),
}

/// Everything decided about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why the whole message leaves as it came.
    pub untouched: Option<Untouched>,
    /// Parts with text, in order.
    pub parts: Vec<PartOutcome>,
    /// Links, in order.
    pub links: Vec<LinkOutcome>,
    /// The pixel.
    pub pixel: PixelOutcome,
    /// The footer.
    pub footer: FooterOutcome,
}

impl Outcome {
    /// Nothing was looked at, or nothing may be done.
    pub(super) fn untouched(why: Untouched) -> Outcome {
        Outcome {
            untouched: Some(why),
            parts: Vec::new(),
            links: Vec::new(),
            pixel: PixelOutcome::NotWanted,
            footer: FooterOutcome::NotWanted,
        }
    }

    /// Which of the rewriter's limits it is over, each once.
    pub fn limits_met(&self) -> impl Iterator<Item = &'static str> {
        let memory = self.parts.iter().any(|part| part.left == Some(PartLeft::HtmlMemory));
        self.untouched.and_then(Untouched::limit).into_iter().chain(memory.then_some("html_memory_bytes"))
    }

    /// How many links are tracked.
    pub fn tracked_links(&self) -> usize {
        self.links.iter().filter(|link| matches!(link.decision, LinkDecision::Tracked(_))).count()
    }

    /// One line a decision, in the order of the message; without controls, at most 400 bytes each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(why) = self.untouched {
            lines.push(format!("message: left as it came: {why}"));
        }
        for part in &self.parts {
            lines.push(part_line(part));
            for link in self.links.iter().filter(|link| link.part == part.part) {
                let unwrapped = if link.unwrapped { "unwrapped, " } else { "" };
                lines.push(format!("part {}: {}: {unwrapped}{}", link.part, shown(&link.url), link.decision));
            }
        }
        lines.extend(pixel_line(&self.pixel));
        lines.extend(footer_lines(&self.footer));
        lines
    }
}

fn part_line(part: &PartOutcome) -> String {
    let mut line = match &part.left {
        Some(why) => format!("part {} ({}): left: {why}", part.part, named(&part.kind)),
        None => format!("part {} ({}): read", part.part, named(&part.kind)),
    };
    if part.old_pixels > 0 {
        line.push_str(&format!(", {} old pixels of ours", part.old_pixels));
    }
    if part.conditional_comments {
        line.push_str(", conditional comments left");
    }
    line
}

fn pixel_line(pixel: &PixelOutcome) -> Option<String> {
    Some(match pixel {
        PixelOutcome::NotWanted => return None,
        PixelOutcome::Placed { part, place } => {
            let place = match place {
                Place::BodyEnd => "before </body>",
                Place::TextEnd => "at the end of the text",
                Place::BodyStart => "after <body>",
            };
            format!("pixel: in part {part}, {place}")
        }
        PixelOutcome::NoHtml => "pixel: none: there is no HTML to put it into".to_owned(),
        PixelOutcome::PartLeft { part } => format!("pixel: none: part {part} is left as it is"),
        PixelOutcome::NoPlace { part } => format!("pixel: none: part {part} has no safe place for it"),
    })
}

fn footer_lines(footer: &FooterOutcome) -> Vec<String> {
    let line = |(part, left): &(usize, Option<FooterLeft>)| match left {
        None => format!("footer: in part {part}"),
        Some(why) => format!("footer: none in part {part}: {why}"),
    };
    match footer {
        FooterOutcome::NotWanted => Vec::new(),
        FooterOutcome::NoText => vec!["footer: none: the message has no text of its own".to_owned()],
        FooterOutcome::Parts(parts) => parts.iter().map(line).collect(),
    }
}

/// Longest address in a line, in bytes.
const SHOWN_BYTES_MAX: usize = 200;
/// Octets of a media type or charset in a line.
const NAMED_BYTES_MAX: usize = 80;

/// Stands where something was cut off.
const CUT: &str = "…";

/// An address for people: one line, controls replaced, cut.
pub(super) fn shown(url: &str) -> String {
    cut(url, SHOWN_BYTES_MAX)
}

/// What a mail names something, for people.
fn named(name: &str) -> String {
    cut(name, NAMED_BYTES_MAX)
}

fn cut(text: &str, bytes_max: usize) -> String {
    let clean: String = text.chars().take(bytes_max + 1).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if clean.len() <= bytes_max {
        return clean;
    }
    let end = clean.floor_char_boundary(bytes_max.saturating_sub(CUT.len()));
    format!("{}{CUT}", clean.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a mail calls its parts and charsets may be long or no text at all; a line of the report is a line.
    #[test]
    fn names_from_outside_are_cut_and_on_one_line() {
        let long = "Ö\r\nx".repeat(200);
        let part = PartOutcome {
            part: 3,
            kind: format!("text/{long}"),
            left: Some(PartLeft::Charset(long)),
            old_pixels: 0,
            conditional_comments: false,
        };
        let url = shown(&format!("https://x.example/{}", "a".repeat(500)));
        assert!(url.len() == SHOWN_BYTES_MAX && url.ends_with("aaa…"), "{url}");
        assert_eq!(shown(&url), url, "twice is once");
        assert_eq!(shown(&"a".repeat(SHOWN_BYTES_MAX)).len(), SHOWN_BYTES_MAX, "and what fits is whole");
        let line = part_line(&part);
        assert!(line.len() <= 400 && !line.contains(char::is_control), "{line:?}");
        assert!(
            line.starts_with("part 3 (text/Ö\u{fffd}\u{fffd}x") && line.ends_with("cannot be read safely"),
            "{line:?}"
        );
    }
}

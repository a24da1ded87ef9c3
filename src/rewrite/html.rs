//! lol_html as a reader: the byte ranges of links, of our old pixels and of places for a new one.
//!
//! Its output is thrown away; nothing is changed through it (its setters re-serialise a tag, its text handlers replace
//! bytes). **Invariant:** every range handed out was checked against the source; one mismatch and the part stays.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::LazyLock;

use lol_html::errors::RewritingError;
use lol_html::html_content::{Attribute, Element, EndTag};
use lol_html::{AsciiCompatibleEncoding, ElementContentHandlers, HtmlRewriter, MemorySettings, Selector, Settings};

use super::outcome::PartLeft;

/// What to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Want {
    /// `img[src]`: our own old pixels may be among them.
    pub(super) images: bool,
    /// `<body>` and its end.
    pub(super) body: bool,
    /// Whether a tag could follow the last octet.
    pub(super) end: bool,
    /// Links, and how many more than none make reading on pointless. `None`: only those that opt out, for that is taken away.
    pub(super) links_max: Option<usize>,
}

/// What was found, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) links: Vec<Anchor>,
    pub(super) images: Vec<Image>,
    /// Where the first `<body …>` ends.
    pub(super) body_start: Option<usize>,
    /// The last `</body>` that closes a `<body>`.
    pub(super) body_end: Option<Range<usize>>,
    /// A tag put after the last octet would be read as one, in HTML content.
    pub(super) end_is_open: bool,
    /// There is a `<frameset>`: the page has frames and no body.
    pub(super) frameset: bool,
}

/// `a[href]` or `area[href]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Anchor {
    /// The attribute's value, without quotes. Of two `href` the first, as browsers do.
    pub(super) value: Range<usize>,
    /// The quote around it; `None` where it is unquoted.
    pub(super) quote: Option<u8>,
    /// White space before the attribute's name; empty where there is none.
    pub(super) white_space: Range<usize>,
    /// `data-waxseal="off"` with the white space before it.
    pub(super) opt_out: Option<Range<usize>>,
    /// Where the start tag ends.
    pub(super) tag_end: usize,
    /// In SVG or MathML.
    pub(super) foreign: bool,
}

/// `img[src]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) tag: Range<usize>,
    pub(super) src: Range<usize>,
}

const XHTML: &str = "http://www.w3.org/1999/xhtml";
const PROBE: &[u8] = b"<wx-probe>";

/// A selector of ours; it parses, as every test that reads HTML shows.
fn selector(text: &str) -> Option<Selector> {
    text.parse().ok()
}

static LINKS: LazyLock<Option<Selector>> = LazyLock::new(|| selector("a[href], area[href]"));
static IMAGES: LazyLock<Option<Selector>> = LazyLock::new(|| selector("img[src]"));
static BODY_OR_FRAMES: LazyLock<Option<Selector>> = LazyLock::new(|| selector("body, frameset"));
static BODY: LazyLock<Option<Selector>> = LazyLock::new(|| selector("body"));
static AT_END: LazyLock<Option<Selector>> = LazyLock::new(|| selector("wx-probe"));

fn ready(selector: &'static Option<Selector>) -> Result<Cow<'static, Selector>, PartLeft> {
    selector.as_ref().map(Cow::Borrowed).ok_or(PartLeft::Html)
}

fn settings<'h>(encoding: AsciiCompatibleEncoding, memory_bytes_max: usize) -> Settings<'h, 'static> {
    let memory = MemorySettings::new().with_max_allowed_memory_usage(memory_bytes_max);
    // Strict: an ambiguity that a streaming parser cannot resolve is an error, and the part stays.
    Settings::new().with_encoding(encoding).with_memory_settings(memory).with_strict(true)
}

/// Reads HTML once. Linear in its length. With more links than are wanted it stops, and one more than those is in what was found.
pub(super) fn read(
    content: &[u8],
    encoding: AsciiCompatibleEncoding,
    want: Want,
    memory_bytes_max: usize,
) -> Result<Found, PartLeft> {
    let found = RefCell::new(Found::default());
    let body_end = Rc::new(RefCell::new(None::<Range<usize>>));
    let mismatch = Cell::new(false);
    let too_many = Cell::new(false);
    let mut settings = settings(encoding, memory_bytes_max).append_element_content_handler((
        ready(&LINKS)?,
        ElementContentHandlers::default().element(|element: &mut Element<'_, '_>| {
            let links = &mut found.borrow_mut().links;
            match anchor(content, element) {
                Ok(anchor) => {
                    links.extend(anchor.filter(|anchor| want.links_max.is_some() || anchor.opt_out.is_some()))
                }
                Err(Mismatch) => mismatch.set(true),
            }
            too_many.set(want.links_max.is_some_and(|max| links.len() > max));
            stop_if(too_many.get())
        }),
    ));
    if want.images {
        settings = settings.append_element_content_handler((
            ready(&IMAGES)?,
            ElementContentHandlers::default().element(|element: &mut Element<'_, '_>| {
                match image(content, element) {
                    Ok(image) => found.borrow_mut().images.extend(image),
                    Err(Mismatch) => mismatch.set(true),
                }
                Ok(())
            }),
        ));
    }
    if want.body {
        settings = settings.append_element_content_handler((
            ready(&BODY_OR_FRAMES)?,
            ElementContentHandlers::default().element(|element: &mut Element<'_, '_>| {
                if element.tag_name() == "frameset" {
                    found.borrow_mut().frameset = true;
                    return Ok(());
                }
                found.borrow_mut().body_start.get_or_insert(element.source_location().bytes().end);
                on_body_end(element, &body_end, false)
            }),
        ));
    }
    if want.end {
        settings = settings.append_element_content_handler((
            ready(&AT_END)?,
            ElementContentHandlers::default().element(|element: &mut Element<'_, '_>| {
                let here = element.source_location().bytes().start == content.len();
                found.borrow_mut().end_is_open |= here && element.namespace_uri() == XHTML;
                Ok(())
            }),
        ));
    }
    let mut reader = HtmlRewriter::new(settings, |_: &[u8]| {});
    let read = reader.write(content).and_then(|()| if want.end { reader.write(PROBE) } else { Ok(()) });
    let read = read.and_then(|()| reader.end());
    if too_many.get() {
        return Ok(found.into_inner());
    }
    read.map_err(left)?;
    if mismatch.get() {
        return Err(PartLeft::Ranges);
    }
    let mut found = found.into_inner();
    found.body_end = body_end.take().filter(|tag| is_body_close(content, tag.start));
    Ok(found)
}

/// Why a part that the reader gave up on stays as it came.
fn left(error: RewritingError) -> PartLeft {
    if matches!(error, RewritingError::MemoryLimitExceeded(_)) { PartLeft::HtmlMemory } else { PartLeft::Html }
}

/// Stops a pass that has found what it looked for.
#[derive(Debug)]
struct Enough;

impl std::fmt::Display for Enough {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("found")
    }
}

impl std::error::Error for Enough {}

fn on_body_end(
    element: &mut Element<'_, '_>,
    place: &Rc<RefCell<Option<Range<usize>>>>,
    stop: bool,
) -> lol_html::HandlerResult {
    let place = Rc::clone(place);
    element.on_end_tag(Box::new(move |tag: &mut EndTag<'_>| {
        place.replace(Some(tag.source_location().bytes()));
        stop_if(stop)
    }))
}

fn stop_if(enough: bool) -> lol_html::HandlerResult {
    if enough { Err(Box::new(Enough)) } else { Ok(()) }
}

/// Whether a tag put at `at`, which stands between tags, would be one of HTML and not of a picture or formula left open there.
pub(super) fn is_html_at(
    content: &[u8],
    at: usize,
    encoding: AsciiCompatibleEncoding,
    memory_bytes_max: usize,
) -> Result<bool, PartLeft> {
    let is_html = Cell::new(false);
    let settings = settings(encoding, memory_bytes_max).append_element_content_handler((
        ready(&AT_END)?,
        ElementContentHandlers::default().element(|element: &mut Element<'_, '_>| {
            let here = element.source_location().bytes().start == at;
            is_html.set(is_html.get() || (here && element.namespace_uri() == XHTML));
            Ok(())
        }),
    ));
    let mut reader = HtmlRewriter::new(settings, |_: &[u8]| {});
    let read = reader.write(content.get(..at).unwrap_or_default()).and_then(|()| reader.write(PROBE));
    read.and_then(|()| reader.end()).map_err(left)?;
    Ok(is_html.get())
}

/// The next real `</body>` in `content[from..]`, where `from` stands between tags. Reads no further than that.
pub(super) fn next_body_end(
    content: &[u8],
    from: usize,
    encoding: AsciiCompatibleEncoding,
    memory_bytes_max: usize,
) -> Result<Option<Range<usize>>, PartLeft> {
    const OPEN: &[u8] = b"<body>";
    let place = Rc::new(RefCell::new(None));
    let settings = settings(encoding, memory_bytes_max).append_element_content_handler((
        ready(&BODY)?,
        ElementContentHandlers::default().element(|element: &mut Element<'_, '_>| on_body_end(element, &place, true)),
    ));
    let mut reader = HtmlRewriter::new(settings, |_: &[u8]| {});
    // A stray end tag fires for no element, so there is one to close.
    let read = reader.write(OPEN).and_then(|()| reader.write(content.get(from..).unwrap_or_default()));
    let ended = read.and_then(|()| reader.end());
    match (place.take(), ended) {
        (Some(tag), _) => {
            let tag = (tag.start + from).saturating_sub(OPEN.len())..(tag.end + from).saturating_sub(OPEN.len());
            if is_body_close(content, tag.start) { Ok(Some(tag)) } else { Err(PartLeft::Ranges) }
        }
        (None, Ok(())) => Ok(None),
        (None, Err(error)) => Err(left(error)),
    }
}

/// Whether `</body` stands at `at`, in any case.
pub(super) fn is_body_close(content: &[u8], at: usize) -> bool {
    const CLOSE: &[u8] = b"</body";
    let tag = content.get(at..at + CLOSE.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(CLOSE));
    tag && content.get(at + CLOSE.len()).is_none_or(|next| matches!(next, b'>' | b'/') || next.is_ascii_whitespace())
}

/// A range that lol_html gave does not hold what it should.
struct Mismatch;

fn anchor(content: &[u8], element: &Element<'_, '_>) -> Result<Option<Anchor>, Mismatch> {
    let tag = element.source_location().bytes();
    if tag.end > content.len() {
        // The text ends inside this tag; only the probe behind it made a tag of it.
        return Ok(None);
    }
    let mut href = None;
    let mut opt_out = None;
    for attribute in element.attributes() {
        let name = attribute.name_source_location().ok_or(Mismatch)?.bytes();
        let text = content.get(name.clone()).ok_or(Mismatch)?;
        if href.is_none() && text.eq_ignore_ascii_case(b"href") {
            href = Some((name, attribute));
        } else if text.eq_ignore_ascii_case(b"data-waxseal") {
            opt_out = self_opt_out(content, name, attribute, &tag)?.or(opt_out);
        }
    }
    let Some((name, attribute)) = href else { return Err(Mismatch) };
    // `<a href>`: no value, nothing to open.
    let Some(value) = attribute.value_source_location() else { return Ok(None) };
    let (value, quote) = checked_value(content, &name, value.bytes(), &tag)?;
    Ok(Some(Anchor {
        white_space: white_space_before(content, name.start),
        value,
        quote,
        opt_out,
        tag_end: tag.end,
        foreign: element.namespace_uri() != XHTML,
    }))
}

fn self_opt_out(
    content: &[u8],
    name: Range<usize>,
    attribute: &Attribute<'_>,
    tag: &Range<usize>,
) -> Result<Option<Range<usize>>, Mismatch> {
    let Some(value) = attribute.value_source_location() else { return Ok(None) };
    let (value, quote) = checked_value(content, &name, value.bytes(), tag)?;
    let off = content.get(value.clone()).is_some_and(|text| text.trim_ascii().eq_ignore_ascii_case(b"off"));
    let end = value.end + usize::from(quote.is_some());
    Ok(off.then(|| white_space_before(content, name.start).start..end))
}

/// Checks that `name = "value"` is what stands there; answers the value and the quote around it.
fn checked_value(
    content: &[u8],
    name: &Range<usize>,
    value: Range<usize>,
    tag: &Range<usize>,
) -> Result<(Range<usize>, Option<u8>), Mismatch> {
    let between = content.get(name.end..value.start).ok_or(Mismatch)?.trim_ascii();
    let quote = match between.strip_prefix(b"=").ok_or(Mismatch)?.trim_ascii() {
        [] => None,
        [quote @ (b'"' | b'\'')] => Some(*quote),
        _ => return Err(Mismatch),
    };
    let text = content.get(value.clone()).ok_or(Mismatch)?;
    let next = content.get(value.end).copied().ok_or(Mismatch)?;
    let closed = match quote {
        Some(quote) => next == quote && !text.contains(&quote),
        None => {
            (next == b'>' || next.is_ascii_whitespace()) && !text.iter().any(|b| b.is_ascii_whitespace() || *b == b'>')
        }
    };
    let inside = tag.start < name.start && value.end < tag.end && content.get(tag.end - 1) == Some(&b'>');
    if closed && inside { Ok((value, quote)) } else { Err(Mismatch) }
}

fn image(content: &[u8], element: &Element<'_, '_>) -> Result<Option<Image>, Mismatch> {
    let tag = element.source_location().bytes();
    if tag.end > content.len() {
        return Ok(None);
    }
    for attribute in element.attributes() {
        let name = attribute.name_source_location().ok_or(Mismatch)?.bytes();
        if !content.get(name.clone()).is_some_and(|text| text.eq_ignore_ascii_case(b"src")) {
            continue;
        }
        let Some(value) = attribute.value_source_location() else { return Ok(None) };
        let (src, _) = checked_value(content, &name, value.bytes(), &tag)?;
        return Ok(Some(Image { tag, src }));
    }
    Err(Mismatch)
}

fn white_space_before(content: &[u8], at: usize) -> Range<usize> {
    let before = content.get(..at).unwrap_or_default();
    let spaces = before.iter().rev().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)).count();
    at - spaces..at
}

/// Whether a conditional comment holds links: clients that read it show them, and they stay.
pub(super) fn has_conditional_links(content: &[u8]) -> bool {
    memchr::memmem::find_iter(content, b"<!--[if").any(|at| {
        let comment = content.get(at..).unwrap_or_default();
        let end = memchr::memmem::find(comment, b"-->").unwrap_or(comment.len());
        memchr::memmem::find(comment.get(..end).unwrap_or_default(), b"href").is_some()
    })
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test cuts text it wrote itself")]
mod tests {
    use super::*;

    const ALL: Want = Want { images: true, body: true, end: true, links_max: Some(1_000) };

    fn found(html: &str) -> Result<Found, PartLeft> {
        read(html.as_bytes(), AsciiCompatibleEncoding::utf_8(), ALL, 1 << 20)
    }

    fn values(html: &str) -> Vec<&str> {
        let found = found(html).unwrap_or_else(|why| panic!("{html}: {why}"));
        found.links.into_iter().map(|link| &html[link.value]).collect()
    }

    #[test]
    fn finds_href_as_browsers_do() {
        let rows: &[(&str, &[&str])] = &[
            ("<a href=\"x\">", &["x"]),
            ("<A\n HREF = 'x y'>", &["x y"]),
            ("<a href=x/y>", &["x/y"]),
            ("<a href=x class=y>", &["x"]),
            ("<area shape=rect href=x>", &["x"]),
            // of two the first; `<` and the other quote inside; a slash instead of a space
            ("<a href=\"1\" href=\"2\">", &["1"]),
            ("<a href=\"a<b'c\">", &["a<b'c"]),
            ("<a/href='x'/>", &["x"]),
            ("<a title=\">\" href=\"x\">", &["x"]),
            // no value, an empty value
            ("<a href>", &[]),
            ("<a href=\"\">", &[""]),
            // where no link is
            ("<!-- <a href=x> --><script>'<a href=x>'</script><style><a href=x></style>", &[]),
            ("<textarea><a href=x></textarea><title><a href=x></title><plaintext><a href=x>", &[]),
            ("<!--[if mso]><a href=x><![endif]--><![if !mso]><a href=y><![endif]>", &["y"]),
            ("<template><a href=x></template><link href=y><base href=z>", &["x"]),
            // cut off inside the tag
            ("<a href=\"x", &[]),
            ("<a href=\"x\"", &[]),
        ];
        for (html, expected) in rows {
            assert_eq!(values(html), *expected, "{html}");
        }
        let svg = found("<svg><a href=\"x\"></a></svg><a href=\"y\">").unwrap();
        assert_eq!(svg.links.iter().map(|link| link.foreign).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn reads_the_opt_out_with_its_white_space() {
        let opt_out = |html: &str| found(html).unwrap().links[0].opt_out.clone().map(|range| html[range].to_owned());
        assert_eq!(opt_out("<a href=x  data-waxseal=\"off\">").as_deref(), Some("  data-waxseal=\"off\""));
        assert_eq!(opt_out("<a data-waxseal=OFF\nhref=x>").as_deref(), Some(" data-waxseal=OFF"));
        assert_eq!(opt_out("<a href=x data-waxseal=on>"), None);
        assert_eq!(opt_out("<a href=x data-waxseal>"), None);
    }

    #[test]
    fn knows_where_the_body_and_the_text_end() {
        let end = |html: &str| {
            let found = found(html).unwrap();
            (found.body_start, found.body_end.map(|tag| tag.start), found.end_is_open)
        };
        assert_eq!(end("<body>x</body>"), (Some(6), Some(7), true));
        assert_eq!(end("<BODY a=b>x</BODY >y"), (Some(10), Some(11), true));
        assert_eq!(end("x"), (None, None, true));
        assert_eq!(end("<body>x<!-- </body> -->"), (Some(6), None, true));
        assert_eq!(end("<body><script>'</body>'</script>"), (Some(6), None, true));
        // nothing may follow a cut-off tag, comment, script, plaintext, or SVG text
        for open in [
            "<a href=\"x",
            "<b",
            "<!-- x",
            "<script>x",
            "<style>",
            "<title>x",
            "<textarea>",
            "<plaintext>x",
            "<svg><title/>",
        ] {
            assert!(!found(open).unwrap().end_is_open, "{open}");
        }
    }

    #[test]
    fn finds_a_stray_body_end() {
        let next = |html: &str, from| {
            next_body_end(html.as_bytes(), from, AsciiCompatibleEncoding::utf_8(), 1 << 20)
                .unwrap()
                .map(|tag| tag.start)
        };
        assert_eq!(next("x</body>", 0), Some(1));
        assert_eq!(next("<body>x</body>y</body>", 14), Some(15));
        assert_eq!(next("<!-- </body> -->", 0), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(proptest::sample::select(b"<>a/='\" \nhrefbody!-&;x\x00\xff".to_vec()), 0..120)) {
            if let Ok(found) = read(&bytes, AsciiCompatibleEncoding::utf_8(), ALL, 1 << 20) {
                for link in found.links {
                    assert!(bytes.get(link.value).is_some() && link.tag_end <= bytes.len());
                }
            }
        }
    }
}

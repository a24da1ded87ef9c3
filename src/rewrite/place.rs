//! Where the pixel goes: before the last `</body>`, else at the end; early when the text is so long that Gmail would cut
//! its end off.
//!
//! **Invariant:** a pixel never stands between the rows of a table, in the head, in a comment, or after a cut-off tag.

use lol_html::AsciiCompatibleEncoding;
use memchr::{memchr_iter, memmem, memrchr, memrchr_iter};

use super::html::{Found, is_body_close, is_html_at, next_body_end};
use super::outcome::{PartLeft, Place};

/// Gmail clips a message at 102 KB; from this length on the pixel goes to the start (DESIGN 5.3).
const CLIPPED_FROM_BYTES: usize = 100 * 1024;

/// Whether the text has a `</body` anywhere, real or not.
pub(super) fn has_body_close(content: &[u8]) -> bool {
    last_body_close(content).is_some()
}

/// Where the pixel is inserted; `None`: there is no safe place.
pub(super) fn choose(
    content: &[u8],
    found: &Found,
    encoding: AsciiCompatibleEncoding,
    memory_bytes_max: usize,
) -> Result<Option<(usize, Place)>, PartLeft> {
    if found.frameset {
        return Ok(None);
    }
    let start = found.body_start.map(|at| (at, Place::BodyStart));
    if content.len() > CLIPPED_FROM_BYTES && start.is_some() {
        return Ok(start);
    }
    Ok(at_end(content, found, encoding, memory_bytes_max)?.or(start))
}

/// The place before the last `</body>` or at the end; `None`: it is not safe.
pub(super) fn at_end(
    content: &[u8],
    found: &Found,
    encoding: AsciiCompatibleEncoding,
    memory_bytes_max: usize,
) -> Result<Option<(usize, Place)>, PartLeft> {
    let closed = last_real_body_close(content, found, encoding, memory_bytes_max)?;
    let end = match closed {
        Some(at) => Some((at, Place::BodyEnd)),
        None if found.end_is_open => Some((content.trim_ascii_end().len(), Place::TextEnd)),
        None => None,
    };
    let Some((at, place)) = end.filter(|(at, _)| !is_between_cells(content, *at)) else { return Ok(None) };
    // An image in a picture or formula that was left open would end it, and what follows would be read otherwise. Where there
    // is none, as in nearly all mail, nothing is read twice.
    let is_safe = place != Place::BodyEnd
        || !may_hold_foreign(content.get(..at).unwrap_or_default())
        || is_html_at(content, at, encoding, memory_bytes_max)?;
    Ok(is_safe.then_some((at, place)))
}

/// Whether there is anything that begins like SVG or MathML.
fn may_hold_foreign(content: &[u8]) -> bool {
    let begins =
        |name: &[u8], rest: &[u8]| rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    memchr_iter(b'<', content).any(|at| {
        let rest = content.get(at + 1..).unwrap_or_default();
        begins(b"svg", rest) || begins(b"math", rest)
    })
}

/// The last `</body` in the text that is a tag.
fn last_real_body_close(
    content: &[u8],
    found: &Found,
    encoding: AsciiCompatibleEncoding,
    memory_bytes_max: usize,
) -> Result<Option<usize>, PartLeft> {
    let Some(last) = last_body_close(content) else { return Ok(None) };
    let mut real = found.body_end.clone();
    // Each turn reads on from the last real one, so the turns together read the text once.
    while real.as_ref().is_none_or(|tag| tag.start < last) {
        let from = real.as_ref().map_or(0, |tag| tag.end);
        match next_body_end(content, from, encoding, memory_bytes_max)? {
            Some(tag) => real = Some(tag),
            None => break,
        }
    }
    Ok(real.map(|tag| tag.start))
}

fn last_body_close(content: &[u8]) -> Option<usize> {
    memrchr_iter(b'<', content).find(|at| is_body_close(content, *at))
}

/// Tags that make up a table. After one of these, other than into a cell or out of the table, an image would be moved
/// before the table, where it could open a line.
const TABLE_TAGS: &[&[u8]] =
    &[b"table", b"tbody", b"thead", b"tfoot", b"tr", b"td", b"th", b"caption", b"colgroup", b"col"];

/// Whether the last table tag before `at` leaves us inside a table, but in no cell.
fn is_between_cells(content: &[u8], at: usize) -> bool {
    let mut end = at;
    loop {
        let text = content.get(..end).unwrap_or_default();
        let Some(tag_at) = memrchr(b'<', text) else { return false };
        if let Some(comment) = comment_over(text, tag_at) {
            end = comment;
            continue;
        }
        end = tag_at;
        let tag = text.get(tag_at + 1..).unwrap_or_default();
        let (closes, name) = tag.strip_prefix(b"/").map_or((false, tag), |name| (true, name));
        let len = name.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        let name = name.get(..len).unwrap_or_default().to_ascii_lowercase();
        if TABLE_TAGS.contains(&name.as_slice()) {
            let into_cell = !closes && matches!(name.as_slice(), b"td" | b"th" | b"caption");
            let out_of_table = closes && name == b"table";
            return !into_cell && !out_of_table;
        }
    }
}

/// The start of the comment that the `<` at `tag_at` stands in, when the text after it holds the comment's end.
fn comment_over(text: &[u8], tag_at: usize) -> Option<usize> {
    memmem::find(text.get(tag_at..).unwrap_or_default(), b"-->")?;
    memmem::rfind(text.get(..tag_at + 4).unwrap_or(text), b"<!--")
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test cuts text it wrote itself")]
mod tests {
    use super::super::html::{Want, read};
    use super::*;

    fn place(html: &str) -> Option<(usize, Place)> {
        let encoding = AsciiCompatibleEncoding::utf_8();
        let closes = has_body_close(html.as_bytes());
        let want = Want { images: false, body: true, end: !closes, links_max: None };
        let found = read(html.as_bytes(), encoding, want, 1 << 20).unwrap();
        choose(html.as_bytes(), &found, encoding, 1 << 20).unwrap()
    }

    /// The text with `|` where the pixel goes.
    fn shown(html: &str) -> String {
        let Some((at, _)) = place(html) else { return "none".to_owned() };
        format!("{}|{}", &html[..at], &html[at..])
    }

    #[test]
    fn goes_to_the_end_of_the_body() {
        let rows: &[(&str, &str)] = &[
            ("<html><body>x</body></html>", "<html><body>x|</body></html>"),
            ("<body>x</BODY\n>", "<body>x|</BODY\n>"),
            // of several the last that is a tag
            ("<body>x</body><body>y</body>", "<body>x</body><body>y|</body>"),
            ("<body>x</body>y</body>z", "<body>x</body>y|</body>z"),
            ("<body>x</body><!-- </body> -->", "<body>x|</body><!-- </body> -->"),
            // no <body>, no </body>, neither
            ("x</body>", "x|</body>"),
            ("<body>x", "<body>x|"),
            ("<p>x</p>\r\n", "<p>x</p>|\r\n"),
            ("", "|"),
            // a table closed, and a table left open: in a cell is fine, between cells is not
            ("<body><table><tr><td>x</td></tr></table></body>", "<body><table><tr><td>x</td></tr></table>|</body>"),
            ("<body><table><tr><td>x</body>", "<body><table><tr><td>x|</body>"),
            ("<body><table><tr><td>x</td></tr></body>", "<body>|<table><tr><td>x</td></tr></body>"),
            ("<table><tr><td>x</td></tr>", "none"),
            ("<body><table><tr><td>x<!--</td></tr>--></body>", "<body><table><tr><td>x<!--</td></tr>-->|</body>"),
            // a picture or formula closed, and left open: an image would end it
            ("<body><svg><path/></svg>x</body>", "<body><svg><path/></svg>x|</body>"),
            ("<body><SVG><path/></body>", "<body>|<SVG><path/></body>"),
            ("<body><math><mi>x</mi></body>", "<body>|<math><mi>x</mi></body>"),
            ("<svg>x</body>", "none"),
            ("<body><svg><foreignObject><p>x</body>", "<body><svg><foreignObject><p>x|</body>"),
            // nothing may follow these
            ("<a href=\"x", "none"),
            ("<body>x<!-- y", "<body>|x<!-- y"),
            ("<plaintext>x", "none"),
            // frames, and no body that anybody would see
            ("<html><frameset><frame src=x></frameset></html>", "none"),
            ("<html><frameset><noframes><body>x</body></noframes></frameset>", "none"),
        ];
        for (html, expected) in rows {
            assert_eq!(shown(html), *expected);
        }
    }

    #[test]
    fn goes_to_the_start_when_the_end_would_be_clipped() {
        let long = format!("<html><body class=x><p>{}</p></body></html>", "y ".repeat(60_000));
        assert_eq!(place(&long), Some((20, Place::BodyStart)));
        // without <body> the end is all there is
        let long = format!("<p>{}</p>", "y ".repeat(60_000));
        assert_eq!(place(&long), Some((long.len(), Place::TextEnd)));
    }
}

//! The visible text of a link, for the policy's rules only: nothing is changed by it.
//!
//! **Invariant:** looks at a bounded stretch after the start tag, so many links that never end cost no more than others.

use std::borrow::Cow;

/// Longest stretch after a start tag in which the link's text is looked for, in octets.
const TEXT_BYTES_MAX: usize = 2_000;
/// A longer visible text is a paragraph, not a name.
const NAME_BYTES_MAX: usize = 120;

/// The visible text of the link whose start tag ends at `tag_end`, without tags, entities decoded;
/// empty where it is long, or never ends. For the policy's rules only.
pub(super) fn link_text(content: &[u8], tag_end: usize) -> Cow<'_, str> {
    let rest = content.get(tag_end..).unwrap_or_default();
    let rest = rest.get(..TEXT_BYTES_MAX).unwrap_or(rest);
    let close = memchr::memchr_iter(b'<', rest)
        .find(|at| rest.get(*at..at + 3).is_some_and(|tag| tag.eq_ignore_ascii_case(b"</a")));
    let Some(inside) = close.and_then(|end| rest.get(..end)) else { return Cow::Borrowed("") };
    let plain = inside.is_ascii() && inside.len() <= NAME_BYTES_MAX && memchr::memchr2(b'<', b'&', inside).is_none();
    match std::str::from_utf8(inside) {
        // Nothing to decode, no tags: most links.
        Ok(text) if plain => Cow::Borrowed(text.trim_ascii()),
        _ => Cow::Owned(words_of(inside)),
    }
}

/// The words of HTML, one space between two.
fn words_of(inside: &[u8]) -> String {
    let mut text = Vec::with_capacity(inside.len().min(NAME_BYTES_MAX));
    let mut in_tag = false;
    for octet in inside {
        match octet {
            b'<' => in_tag = true,
            b'>' if in_tag => in_tag = false,
            _ if in_tag => continue,
            octet if !octet.is_ascii_whitespace() => {
                text.push(*octet);
                if text.len() > NAME_BYTES_MAX {
                    return String::new();
                }
                continue;
            }
            _ => {}
        }
        // White space, and a tag, end a word.
        if text.last().is_some_and(|last| *last != b' ') {
            text.push(b' ');
        }
    }
    let text = String::from_utf8(text).unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned());
    let text = text.trim_ascii_end();
    // A no-break space parts words like any other.
    if text.contains('&') { htmlize::unescape(text).replace('\u{a0}', " ") } else { text.replace('\u{a0}', " ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_link_by_its_text() {
        let text = |html: &str| link_text(html.as_bytes(), html.find('>').unwrap() + 1).into_owned();
        assert_eq!(text("<a> Read more </a>"), "Read more");
        assert_eq!(text("<a>Un<b>sub</b>scribe &amp;\n more</a>"), "Un sub scribe & more");
        assert_eq!(text("<a>never ends"), "");
        assert_eq!(text(&format!("<a>{}</a>", "x".repeat(200))), "");
    }
}

//! Links in plain text, as mail clients make them clickable: `http://…`, `<http://…>`, without the punctuation after them.
//!
//! **Invariant:** a range handed out begins at a scheme and holds no white space, quote or angle bracket.

use std::ops::Range;

use memchr::memmem;

/// A URL in a text, and the text before it on its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextLink {
    pub(super) url: Range<usize>,
    /// What stands before it on its line, at most 100 octets: what names it.
    pub(super) label: Range<usize>,
}

/// Longest label, in octets.
const LABEL_BYTES_MAX: usize = 100;

/// Finds the links of a text, in order, as they are asked for.
pub(super) fn links(content: &[u8]) -> impl Iterator<Item = TextLink> + '_ {
    let mut last_end = 0;
    memmem::find_iter(content, b"://").filter_map(move |at| {
        let start = scheme_start(content, at).filter(|start| *start >= last_end)?;
        let end = url_end(content, start, at + 3);
        if end <= at + 3 {
            return None;
        }
        last_end = end;
        Some(TextLink { url: start..end, label: label(content, start) })
    })
}

/// Where `http` or `https` before `://` begins, at the start of a word.
fn scheme_start(content: &[u8], at: usize) -> Option<usize> {
    [5, 4].iter().filter_map(|len| at.checked_sub(*len)).find(|start| {
        let scheme = content.get(*start..at).unwrap_or_default();
        let word = start.checked_sub(1).and_then(|before| content.get(before)).is_none_or(|b| !is_word(*b));
        word && (scheme.eq_ignore_ascii_case(b"https") || scheme.eq_ignore_ascii_case(b"http"))
    })
}

/// Octets that would make the scheme part of a longer word; beyond ASCII too.
fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.' | b'=' | b'/' | b'&' | b'%' | b'_' | 0x80..)
}

fn url_end(content: &[u8], start: usize, from: usize) -> usize {
    let bracketed = start.checked_sub(1).and_then(|before| content.get(before)) == Some(&b'<');
    let rest = content.get(from..).unwrap_or_default();
    let stops = |b: &u8| b.is_ascii_whitespace() || b.is_ascii_control() || matches!(b, b'<' | b'>' | b'"' | b'`');
    let len = rest.iter().position(stops).unwrap_or(rest.len());
    let end = from + len;
    if bracketed && content.get(end) == Some(&b'>') {
        return end;
    }
    from + trimmed(rest.get(..len).unwrap_or_default())
}

/// Length without the punctuation of the sentence around it: `.`, `,` and the like, and a bracket that opened before.
fn trimmed(url: &[u8]) -> usize {
    // How many more brackets of each kind open than close, in what is left.
    let mut open = [b"()", b"[]", b"{}"]
        .map(|pair| url.iter().fold(0isize, |open, b| open + isize::from(*b == pair[0]) - isize::from(*b == pair[1])));
    let mut len = url.len();
    while let Some(last) = len.checked_sub(1).and_then(|at| url.get(at)) {
        let kind = match last {
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' | b'*' | b'~' | b'|' => None,
            b')' => Some(0),
            b']' => Some(1),
            b'}' => Some(2),
            _ => break,
        };
        match kind.and_then(|kind: usize| open.get_mut(kind)) {
            // It closes one that opened inside the URL.
            Some(open) if *open >= 0 => break,
            Some(open) => *open += 1,
            None => {}
        }
        len -= 1;
    }
    len
}

fn label(content: &[u8], start: usize) -> Range<usize> {
    let before = content.get(..start).unwrap_or_default();
    let line = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    line.max(start.saturating_sub(LABEL_BYTES_MAX))..start
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test cuts text it wrote itself")]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        links(text.as_bytes()).map(|link| &text[link.url]).collect()
    }

    #[test]
    fn finds_what_clients_make_clickable() {
        let rows: &[(&str, &[&str])] = &[
            ("see http://x.test/a?b=c#d now", &["http://x.test/a?b=c#d"]),
            ("HTTPS://X.test", &["HTTPS://X.test"]),
            // punctuation of the sentence, brackets around, brackets inside
            ("Go to http://x.test/.", &["http://x.test/"]),
            ("(http://x.test/a)", &["http://x.test/a"]),
            ("http://x.test/a_(b)", &["http://x.test/a_(b)"]),
            ("(see http://x.test/a_(b)).", &["http://x.test/a_(b)"]),
            ("[http://x.test/]: http://y.test/!", &["http://x.test/", "http://y.test/"]),
            // angle brackets take it as it is
            ("<http://x.test/a.> \"http://y.test\"", &["http://x.test/a.", "http://y.test"]),
            // a URL inside a URL is part of it; a longer word is no scheme; no host is no link
            ("http://x.test/?u=http://y.test/", &["http://x.test/?u=http://y.test/"]),
            ("xhttp://x.test ftp://y.test git+http://z.test", &[]),
            ("http:// x", &[]),
            ("http://.", &[]),
            ("a\r\nhttp://x.test\r\nb", &["http://x.test"]),
        ];
        for (text, expected) in rows {
            assert_eq!(found(text), *expected, "{text:?}");
        }
        let text = "a\nUnsubscribe: http://x.test";
        assert_eq!(&text[links(text.as_bytes()).next().unwrap().label], "Unsubscribe: ");
    }

    proptest::proptest! {
        #[test]
        fn ranges_follow_one_another(text in "([a-z<>()\\[\\] .\"\\n]|http://|https://|://|é){0,30}") {
            let mut at = 0;
            for link in links(text.as_bytes()) {
                assert!(link.url.start >= at && link.label.end == link.url.start);
                assert!(text.get(link.url.clone()).is_some_and(|url| url.to_ascii_lowercase().starts_with("http")));
                at = link.url.end;
            }
        }
    }
}

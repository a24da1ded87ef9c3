//! Domains of the addresses that a field shows a reader anywhere: in names, quoted or encoded, and in comments. Clients
//! show the name alone.

use std::collections::BTreeSet;

use mail_parser::MessageParser;

use super::{a_label, words};

/// Domains of other people that one field may show: a help desk's has one, a joke two.
const DOMAINS_MAX: usize = 16;
/// Marks of direction in one field: a name in Hebrew has a few.
const MARKS_MAX: usize = 32;
/// Octets of a field times its marks: as much is read four times over.
const TURNED_BYTES_MAX: usize = 64 * 1024;

/// The domains that stand behind an `@`, as A-labels, without those that are `own`; `None`: more than [`DOMAINS_MAX`], or more marks
/// of direction than [`MARKS_MAX`], or than so long a field may have.
///
/// It is read as it stands, and with its encoded words decoded, by a strict reader and by a forgiving one; and what a mark of
/// direction turns around also from its end.
pub(super) fn domains(value: &[u8], own: impl Fn(&str) -> bool) -> Option<BTreeSet<String>> {
    let plain: Vec<u8> = value.iter().copied().filter(|octet| !matches!(octet, b'"' | b'\\')).collect();
    let as_it_stands = String::from_utf8_lossy(&plain).into_owned();
    let mut texts = vec![decoded(&plain), words::decoded(&as_it_stands), as_it_stands];
    texts.dedup();
    for text in texts.clone() {
        texts.extend(turned(&text)?);
    }
    let mut found = BTreeSet::new();
    for after in texts.iter().flat_map(|text| text.split(is_at).skip(1)) {
        for domain in [domain_at_start(after, is_thin), domain_at_start(after, |_| false)].into_iter().flatten() {
            if !own(&domain) {
                found.insert(domain);
            }
            if found.len() > DOMAINS_MAX {
                return None;
            }
        }
    }
    Some(found)
}

fn decoded(value: &[u8]) -> String {
    let field = [b"Subject:", value, b"\r\n\r\n"].concat();
    let message = MessageParser::default().parse_headers(&field);
    message.as_ref().and_then(|message| message.subject()).unwrap_or_default().to_owned()
}

/// The text as it may look when one of its marks has turned what follows: up to the next mark that ends it, or to the end; letter
/// by letter (`tset.2gro@oec` in an override) or word by word (`test.org2@ceo` with a mark between all of them).
fn turned(text: &str) -> Option<Vec<String>> {
    let marks: Vec<usize> = text.match_indices(turns).map(|(at, _)| at).collect();
    if marks.len() > MARKS_MAX || marks.len() * text.len() > TURNED_BYTES_MAX {
        return None;
    }
    let mut all = Vec::new();
    for (before, run) in marks.into_iter().map(|at| text.split_at(at)) {
        let closed = run.find(['\u{202c}', '\u{2069}']).unwrap_or(run.len());
        for (run, after) in [run.split_at(closed), (run, "")] {
            let letters: String = run.chars().rev().collect();
            all.extend([letters, by_words(run)].map(|run| format!("{before}{run}{after}")));
        }
    }
    Some(all)
}

/// Right-to-left marks, embeddings, overrides and isolates.
fn turns(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200f}' | '\u{202b}' | '\u{202e}' | '\u{2067}' | '\u{2068}')
}

/// The last word first, what stands between them in its place.
fn by_words(run: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut rest = run;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '-').unwrap_or(rest.len());
        let (word, after) = rest.split_at(word.max(first.len_utf8()));
        words.push(word);
        rest = after;
    }
    words.into_iter().rev().collect()
}

/// `@`, and those that look like it.
fn is_at(letter: char) -> bool {
    matches!(letter, '@' | '\u{ff20}' | '\u{fe6b}')
}

/// The full stop, and those that look like it.
fn is_dot(letter: char) -> bool {
    matches!(letter, '.' | '\u{2024}' | '\u{3002}' | '\u{fe12}' | '\u{fe52}' | '\u{ff0e}' | '\u{ff61}')
}

/// The domain a text begins with, behind white space; the dot at its end is the sentence's. Blanks that are `no_blank` are none.
fn domain_at_start(text: &str, no_blank: fn(char) -> bool) -> Option<String> {
    let skip = |letter: char| letter.is_whitespace() || is_invisible(letter);
    let text = text.trim_start_matches(skip);
    let visible = text.chars().filter(|letter| !is_invisible(*letter) && !no_blank(*letter));
    let of_domain = visible.take_while(|letter| is_of_domain(*letter));
    let domain: String = of_domain.map(|letter| if is_dot(letter) { '.' } else { letter }).collect();
    let domain = domain.trim_end_matches('.');
    (!domain.is_empty()).then(|| a_label(domain.as_bytes())).flatten().map(|label| label.into_owned())
}

fn is_of_domain(letter: char) -> bool {
    letter.is_alphanumeric() || is_dot(letter) || matches!(letter, '-' | '_' | '\u{300}'..='\u{36f}')
}

/// Blanks so thin that a domain with one in it reads as one.
fn is_thin(letter: char) -> bool {
    matches!(letter, '\u{2004}'..='\u{200a}' | '\u{202f}' | '\u{205f}')
}

/// Letters to a machine, nothing to an eye: control characters, and what Unicode calls ignorable by default (soft hyphen, spaces of no
/// width, marks of direction, selectors of a variant, fillers, tags).
fn is_invisible(letter: char) -> bool {
    (letter.is_control() && !letter.is_whitespace())
        || matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(letter, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}')
        || matches!(letter, '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
        || matches!(letter, '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a mark of direction turns around is read both ways, and more may be found than is there.
    #[test]
    fn addresses_that_are_written_backwards_are_seen() {
        for value in [
            "\"\u{202e}tset.2gro@oec\" <a@org1.test>",
            "=?utf-8?q?ceo=40=E2=80=AEtset.2gro=E2=80=AC?= <a@org1.test>",
            "=?utf-8?q?ceo=E2=80=AEtset.2gro=40=E2=80=AC?= <a@org1.test>",
            "\"\u{202b}test\u{200f}.\u{200f}org2\u{200f}@\u{200f}ceo\u{202c}\" <a@org1.test>",
            "\"ceo@\u{61c}org2\u{e0001}.test\" <a@org1.test>",
            "\"ceo@\u{2067}test\u{200f}.\u{200f}org2\u{2069}\" <a@org1.test>",
        ] {
            let found = domains(value.as_bytes(), |domain| domain == "org1.test").unwrap();
            assert!(found.contains("org2.test"), "{value:?}: {found:?}");
        }
        let hebrew = "\"\u{5d0}\u{5d1}\u{200f}\" <a@org1.test>".as_bytes();
        assert!(!domains(hebrew, |domain| domain == "org1.test").unwrap().contains("org2.test"));
    }

    #[test]
    fn addresses_are_seen_wherever_they_are_shown() {
        let rows: &[(&str, &[&str])] = &[
            ("Ann <a@org1.test>", &[]),
            ("\"ceo@org2.test\" <a@org1.test>", &["org2.test"]),
            ("\"ceo@org2.test.\" <a@org1.test>", &["org2.test"]),
            ("\"The boss (ceo@ORG2.test), really\" <a@org1.test>", &["org2.test"]),
            ("\"ceo@org2\\.test\" <a@org1.test>", &["org2.test"]),
            ("a@org1.test (ceo@org2.test)", &["org2.test"]),
            ("=?utf-8?q?ceo=40org2.test?= <a@org1.test>", &["org2.test"]),
            ("=?utf-8?q?ceo=40?=\r\n =?utf-8?b?b3JnMi50ZXN0?= <a@org1.test>", &["org2.test"]),
            ("\"=?utf-8?q?ceo=40org2.test?=\" <a@org1.test>", &["org2.test"]),
            ("\"ceo@=?utf-8?q?org2.test?=\" <a@org1.test>", &["org2.test"]),
            ("\"ceo\u{ff20}org2\u{200b}.test\" <a@org1.test>", &["org2.test"]),
            ("\"ceo @ org2.test!\" <a@org1.test>", &["org2.test"]),
            ("\"ceo@b\u{fc}cher.test\u{201d}\" <a@org1.test>", &["xn--bcher-kva.test"]),
            ("\"ceo@bu\u{308}cher.test\" <a@org1.test>", &["xn--bcher-kva.test"]),
            ("=?utf-8?q?ceo=40=EF=B8=8Forg2.test?= <a@org1.test>", &["org2.test"]),
            ("=?utf-8?q?ceo=40org2=E1=A0=8E.test?= <a@org1.test>", &["org2.test"]),
            ("=?utf-8?q?ceo=40org2=00.test?= <a@org1.test>", &["org2.test"]),
            ("\"ceo@org2\u{2024}test\" <a@org1.test>", &["org2.test"]),
            ("\"ceo@org2\u{200a}.test\" <a@org1.test>", &["org2", "org2.test"]),
            ("=?utf-8?b?Y2VvQG9yZzIudGVzdA?= <a@org1.test>", &["org2.tes", "org2.test"]),
            ("=?utf-8?b?Y2Vv!QG9yZzIudGVzdA==?= <a@org1.test>", &["org2.test"]),
            ("=?x-nobody?q?ceo=40org2.test?= <a@org1.test>", &["org2.test"]),
            ("=?utf-8?q?ceo=40 org2.test?= <a@org1.test>", &["org2.test"]),
            ("=?utf-16be?b?AGMAZQBvAEAAbwByAGcAMgAuAHQAZQBzAHQ=?= <a@org1.test>", &["org2.test"]),
            ("\"5 @ 3 EUR\" <a@org1.test>", &["3"]),
            ("\"@@@ @\" <a@org1.test>", &[]),
        ];
        for (value, expected) in rows {
            let found = domains(value.as_bytes(), |domain| domain == "org1.test").unwrap();
            assert!(found.iter().eq(*expected), "{value:?}: {found:?}");
        }
        let many: String = (0..=DOMAINS_MAX).map(|n| format!("x@{n}.test ")).collect();
        assert_eq!(domains(many.as_bytes(), |_| false), None);
        assert_eq!(domains("\u{200f}".repeat(MARKS_MAX + 1).as_bytes(), |_| false), None);
        assert_eq!(domains("a@org1.test, ".repeat(1_000).as_bytes(), |_| true), Some(BTreeSet::new()));
    }
}

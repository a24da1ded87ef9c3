//! Domains of the addresses that a field shows a reader anywhere: in names, quoted or encoded, and in comments. Clients
//! show the name alone.

use std::collections::BTreeSet;

use mail_parser::MessageParser;

use super::a_label;

/// Domains of other people that one field may show: a help desk's has one, a joke two.
const DOMAINS_MAX: usize = 16;

/// The domains that stand behind an `@`, as A-labels, without those that are `own`; `None`: more than [`DOMAINS_MAX`].
///
/// It is read as it stands, and with its encoded words decoded wherever they stand, as some clients do; in a right-to-left override
/// also from its end.
pub(super) fn domains(value: &[u8], own: impl Fn(&str) -> bool) -> Option<BTreeSet<String>> {
    let plain: Vec<u8> = value.iter().copied().filter(|octet| !matches!(octet, b'"' | b'\\')).collect();
    let mut texts = vec![String::from_utf8_lossy(&plain).into_owned(), decoded(&plain)];
    let turned = texts.iter().filter(|text| text.contains(TURNS)).map(|text| text.chars().rev().collect());
    texts.extend(turned.collect::<Vec<String>>());
    let mut found = BTreeSet::new();
    for text in &texts {
        for domain in text.split(is_at).skip(1).filter_map(domain_at_start).filter(|domain| !own(domain)) {
            found.insert(domain);
            if found.len() > DOMAINS_MAX {
                return None;
            }
        }
    }
    Some(found)
}

/// What follows is shown from right to left, whatever it is: `tset.2gro@oec` reads as an address.
const TURNS: char = '\u{202e}';

fn decoded(value: &[u8]) -> String {
    let field = [b"Subject:", value, b"\r\n\r\n"].concat();
    let message = MessageParser::default().parse_headers(&field);
    message.as_ref().and_then(|message| message.subject()).unwrap_or_default().to_owned()
}

/// `@`, and those that look like it.
fn is_at(letter: char) -> bool {
    matches!(letter, '@' | '\u{ff20}' | '\u{fe6b}')
}

/// The domain a text begins with, behind white space; the dot at its end is the sentence's.
fn domain_at_start(text: &str) -> Option<String> {
    let visible = text.trim_start().chars().filter(|letter| !is_invisible(*letter));
    let domain: String = visible.take_while(|letter| is_of_domain(*letter)).collect();
    let domain = domain.trim_end_matches('.');
    (!domain.is_empty()).then(|| a_label(domain.as_bytes())).flatten().map(|label| label.into_owned())
}

fn is_of_domain(letter: char) -> bool {
    letter.is_alphanumeric()
        || matches!(letter, '-' | '.' | '_' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}' | '\u{300}'..='\u{36f}')
}

/// Soft hyphen, spaces of no width, and marks of direction: letters to a machine, nothing to an eye.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("\"\u{202e}tset.2gro@oec\" <a@org1.test>", &["a", "oec", "org2.test"]),
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
        assert_eq!(domains("a@org1.test, ".repeat(1_000).as_bytes(), |_| true), Some(BTreeSet::new()));
    }
}

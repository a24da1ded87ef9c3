//! Encoded words (RFC 2047) as the most forgiving client reads them: anywhere, of any length, with blanks in them, with base64 that
//! holds other octets or no padding. For judging what somebody may be shown, never for writing.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The text with every encoded word decoded; blanks between two words are none (§6.2). One pass, memory as long as the text.
pub(super) fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Where the last word can end: behind it none is looked for, however many begin.
    let last = text.rfind("?=").unwrap_or(0);
    while let Some((before, word)) = rest.split_once("=?").filter(|(_, word)| text.len() - word.len() <= last) {
        let Some((shown, after)) = first_word(word) else {
            out.push_str(before);
            out.push_str("=?");
            rest = word;
            continue;
        };
        let joined = !out.is_empty() && before.trim().is_empty();
        out.push_str(if joined { "" } else { before });
        out.push_str(&shown);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What the `charset?b?…?=` of a word shows, and what comes behind it.
fn first_word(text: &str) -> Option<(String, &str)> {
    let (charset, rest) = text.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    if !matches!(encoding, "b" | "B" | "q" | "Q") {
        return None;
    }
    let (content, after) = rest.split_once("?=")?;
    let is_base64 = encoding.eq_ignore_ascii_case("b");
    let octets = if is_base64 { base64_octets(content) } else { quoted_octets(content.as_bytes()) };
    // A language may stand behind the charset (RFC 2231 §5).
    let label = charset.split('*').next().unwrap_or_default();
    let encoding = Encoding::for_label(label.as_bytes());
    let fallback = if std::str::from_utf8(&octets).is_ok() { UTF_8 } else { WINDOWS_1252 };
    let (shown, _) = encoding.unwrap_or(fallback).decode_without_bom_handling(&octets);
    Some((shown.into_owned(), after))
}

/// Octets beyond the alphabet are passed over, as mailers do; the last letter alone says nothing.
fn base64_octets(content: &str) -> Vec<u8> {
    let letter = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/');
    let mut letters: Vec<u8> = content.bytes().filter(|octet| letter(octet)).collect();
    if letters.len() % 4 == 1 {
        letters.pop();
    }
    FORGIVING.decode(&letters).unwrap_or_default()
}

fn quoted_octets(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut at = 0;
    while let Some(octet) = content.get(at) {
        at += 1;
        let hex = content.get(at..at + 2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(match (octet, hex) {
            (b'=', Some(hex)) => {
                at += 2;
                hex
            }
            (b'_', _) => b' ',
            (octet, _) => *octet,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_decoded_wherever_they_stand() {
        for (text, shown) in [
            ("Ann", "Ann"),
            ("=?utf-8?q?a=40b_c?= d", "a@b c d"),
            ("x=?utf-8?q?a?= \r\n =?UTF-8?B?Yg==?=y", "xaby"),
            ("=?utf-8?b?Y2VvQG9yZzIudGVzdA?=", "ceo@org2.test"),
            ("=?utf-8?b?Y2Vv!QG9y ZzIudGVzdA==?=", "ceo@org2.test"),
            ("=?utf-8?b?Y2VvQG9yZzIudGVzdAA?=", "ceo@org2.test\0"),
            ("=?utf-8?q?ceo=40 org2?=", "ceo@ org2"),
            ("=?utf-8*en?q?a=4=40?=", "a=4@"),
            ("=?utf-16be?b?AGEAQABi?=", "a@b"),
            ("=?x-nobody?q?a=40=C3=A9?=", "a@\u{e9}"),
            ("=?x-nobody?q?a=E9?=", "a\u{e9}"),
            ("=?utf-8?x?a?= =?=? =?utf-8?q?open", "=?utf-8?x?a?= =?=? =?utf-8?q?open"),
        ] {
            assert_eq!(decoded(text), shown, "{text}");
        }
    }
}

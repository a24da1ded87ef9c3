//! Real mail with a footer: whole lines at one place of the parts that are read, and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use waxseal::message::media::Encoding;
use waxseal::message::tree;
use waxseal::policy::LinkRules;
use waxseal::rewrite::{FooterOptions, FooterOutcome, Limits, Options, Variant, nothing_is_ours, prepare};
use waxseal::settings::Quotes;
use waxseal::settings::privacy::Footer;

use super::rewrite::{SITE, chars, corpus};

/// What both texts begin and end with is all there is of the first.
fn is_inserted_once(old: &[u8], new: &[u8]) -> bool {
    let before = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let after = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    before + after >= old.len() && new.len() >= old.len()
}

fn longest_line(text: &[u8]) -> usize {
    text.split(|octet| *octet == b'\n').map(<[u8]>::len).max().unwrap_or(0)
}

#[test]
#[ignore = "needs the shared corpus: set WAXSEAL_CORPUS"]
fn a_footer_changes_nothing_else() {
    let footer: Footer = "F\u{fc}r Sie \u{2013} [Ihre Wahl]".parse().unwrap();
    let (mut placed, mut left) = (0, 0);
    for (name, raw) in corpus() {
        let options = Options {
            wanted: Variant::NONE,
            links: &LinkRules::default(),
            quotes: Quotes::Leave,
            footer: Some(FooterOptions { footer: &footer, payload_bytes: 23 }),
            site_url: SITE,
            token_chars: &chars,
            open: &nothing_is_ours,
            received: b"",
            remove_fields: false,
            limits: Limits::default(),
        };
        let prepared = prepare(&raw, &options);
        let copy = prepared.layout(Variant::NONE).render(|slot| "t".repeat(slot.chars)).unwrap().to_bytes();
        let parts = match &prepared.outcome().footer {
            FooterOutcome::Parts(parts) => parts.iter().filter(|(_, why)| why.is_none()).count(),
            FooterOutcome::NotWanted | FooterOutcome::NoText => 0,
        };
        assert_eq!(copy == raw, parts == 0, "{name}");
        if parts == 0 {
            left += 1;
            continue;
        }
        placed += 1;
        assert!(longest_line(&copy) <= longest_line(&raw).max(998 + 1), "{name}: a line got too long");
        same_but_for_the_footer(&name, &raw, &copy);
    }
    assert!(placed > 1_000, "{placed} mails have a footer, {left} have not");
}

/// The same parts with the same headers; of each the same text but for one stretch put in.
fn same_but_for_the_footer(name: &str, raw: &Bytes, copy: &Bytes) {
    let read = |text: &Bytes| tree::read(text, &tree::Limits::default()).unwrap_or_else(|why| panic!("{name}: {why}"));
    let (old, new) = (read(raw), read(copy));
    assert_eq!(old.parts.len(), new.parts.len(), "{name}");
    for (before, after) in old.parts.iter().zip(&new.parts) {
        assert_eq!((&before.media, before.encoding), (&after.media, after.encoding), "{name}");
        if before.children.is_empty() && raw[before.body.clone()] != copy[after.body.clone()] {
            let (was, is) = (
                decoded(&raw[before.body.clone()], before.encoding),
                decoded(&copy[after.body.clone()], after.encoding),
            );
            assert!(is_inserted_once(&was, &is), "{name}: a part differs elsewhere");
        }
    }
}

/// A body as its recipient reads it; padding before line ends is the transport's.
fn decoded(body: &[u8], encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Base64 => {
            let chars: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
            STANDARD.decode(chars).unwrap()
        }
        Encoding::QuotedPrintable => quoted_printable(body),
        _ => body.to_vec(),
    }
}

fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let text = line.trim_ascii_end();
        let end = if line.ends_with(b"\n") { "\n" } else { "" };
        let (mut rest, soft) = match text.strip_suffix(b"=") {
            Some(text) if !end.is_empty() => (text, true),
            _ => (text, false),
        };
        while let Some((first, later)) = rest.split_first() {
            let hex = later.get(..2).filter(|_| *first == b'=').and_then(|hex| std::str::from_utf8(hex).ok());
            let octet = hex.filter(|hex| !hex.starts_with('+')).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            out.push(octet.unwrap_or(*first));
            rest = if octet.is_some() { &later[2..] } else { later };
        }
        if !soft {
            out.extend_from_slice(end.as_bytes());
        }
    }
    out
}

//! Reads a copy beside its original: outside the places that are ours every octet is the same (in an encoded part: of
//! the content), and in place of each original link stands the token that seals it. Knows the mail's tree, and nothing
//! of how the rewriter works.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use waxseal::message::header::slice;
use waxseal::message::media::Encoding;
use waxseal::message::tree::{self, Limits, Part, Tree};
use waxseal::rewrite::{Prepared, Slot};
use waxseal::token::Kind;
use waxseal::token::destination::Destination;

use super::tokens::{SITE, mint};

/// Fails unless `copy` is `raw` but for our pixel, our links in place of links, and removed opt-out attributes.
pub(super) fn same_but_for_ours(raw: &[u8], copy: &[u8], prepared: &Prepared) {
    let trees = (tree::read(raw, &Limits::default()), tree::read(copy, &Limits::default()));
    let (Ok(before), Ok(after)) = trees else { panic!("the copy has no plain structure") };
    assert_eq!(before.parts.len(), after.parts.len(), "another number of parts");
    assert_eq!(around(raw, &before), around(copy, &after), "octets between the parts");
    let pixel = prepared.slots().iter().find(|slot| slot.kind == Kind::Pixel).map(mint);
    for (number, (old, new)) in before.parts.iter().zip(&after.parts).enumerate().filter(|(_, (old, _))| is_leaf(old)) {
        let (old_body, new_body) = (slice(raw, &old.body), slice(copy, &new.body));
        let read = prepared.outcome().parts.iter().any(|part| part.part == number && part.left.is_none());
        if !read || old_body == new_body {
            assert_eq!(old_body, new_body, "part {number} was to stay");
            continue;
        }
        let (old_content, new_content) = (decoded(old_body, old.encoding), decoded(new_body, new.encoding));
        let reader = Reader { old: &old_content, slots: prepared.slots(), html: old.is("text/html") };
        let ways = without_pixel(&new_content, pixel.as_deref());
        let wrong: Vec<String> = ways.iter().filter_map(|new| reader.beside(new).err()).collect();
        assert!(wrong.len() < ways.len(), "part {number}: {wrong:?}");
    }
}

fn is_leaf(part: &Part) -> bool {
    part.children.is_empty()
}

/// All octets that are in the body of no leaf.
fn around(raw: &[u8], tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    for part in tree.parts.iter().filter(|part| is_leaf(part)) {
        out.extend_from_slice(&raw[at..part.body.start]);
        out.push(0);
        at = part.body.end;
    }
    out.extend_from_slice(&raw[at..]);
    out
}

fn decoded(body: &[u8], encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::QuotedPrintable => quoted_printable(body),
        Encoding::Base64 => {
            let chars: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
            STANDARD.decode(chars).expect("the copy is base64")
        }
        _ => body.to_vec(),
    }
}

fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = if text.len() < line.len() { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
        let end = &line[text.len()..];
        let padding = text.iter().rev().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
        let text = &text[..text.len() - padding];
        let soft = !end.is_empty() && text.ends_with(b"=");
        let mut rest = if soft { &text[..text.len() - 1] } else { text };
        while let Some((first, later)) = rest.split_first() {
            let octet = later.get(..2).filter(|_| *first == b'=').and_then(|hex| {
                let hex = std::str::from_utf8(hex).ok().filter(|hex| !hex.starts_with('+'))?;
                u8::from_str_radix(hex, 16).ok()
            });
            out.push(octet.unwrap_or(*first));
            rest = if octet.is_some() { &later[2..] } else { later };
        }
        if !soft {
            out.extend_from_slice(end);
        }
    }
    out
}

/// The content without our pixel, in every way it can be taken out: the original may hold the same one, and ours may have
/// got a line of its own.
fn without_pixel(content: &[u8], token: Option<&str>) -> Vec<Vec<u8>> {
    let mut ways = vec![content.to_vec()];
    let start = format!("<img src=\"{SITE}/i/{}.gif\"", token.unwrap_or(" "));
    for at in memchr::memmem::find_iter(content, start.as_bytes()) {
        // One that does not end is the original's, cut off; ours ends.
        let Some(len) = content[at..].iter().position(|octet| *octet == b'>') else { continue };
        let end = at + len + 1;
        ways.push([&content[..at], &content[end..]].concat());
        for eol in [b"\r\n".as_slice(), b"\n"] {
            if let (Some(before), Some(after)) = (content[..at].strip_suffix(eol), content[end..].strip_prefix(eol)) {
                ways.push([before, after].concat());
            }
        }
    }
    ways
}

/// Two contents beside one another.
struct Reader<'a> {
    old: &'a [u8],
    slots: &'a [Slot],
    html: bool,
}

impl Reader<'_> {
    /// Reads `new` to the end of both, or says where they part.
    fn beside(&self, new: &[u8]) -> Result<(), String> {
        let (mut at, mut to, mut next) = (0, 0, 0);
        loop {
            if let Some((slot, quotes)) = self.our_link(new, at, to, next) {
                at = self.link_end(at, slot, quotes).ok_or_else(|| self.differ("link", new, at, to))?;
                to += url(&self.slots[slot]).len() + quotes;
                next = slot + 1;
            } else if let (Some(old), Some(now)) = (self.old.get(at), new.get(to))
                && old == now
            {
                (at, to) = (at + 1, to + 1);
            } else if at == self.old.len() && to == new.len() {
                return Ok(());
            } else if let Some((opt_out, back)) = self.opt_out(at) {
                (at, to) = (opt_out, to - back);
            } else if let Some((space, broken)) = self.broken_line(new, at, to) {
                (at, to) = (space, broken);
            } else {
                return Err(self.differ("text", new, at, to));
            }
        }
    }

    fn differ(&self, what: &str, new: &[u8], at: usize, to: usize) -> String {
        let show =
            |text: &[u8], at: usize| text[at.saturating_sub(30)..(at + 60).min(text.len())].escape_ascii().to_string();
        format!("{what} at {at}: {:?} became {:?}", show(self.old, at), show(new, to))
    }

    /// The slot whose URL stands at `to` in the copy and not at `at` in the original; how many quotes it brought.
    fn our_link(&self, new: &[u8], at: usize, to: usize, next: usize) -> Option<(usize, usize)> {
        let start = format!("{SITE}/c/");
        let rest = new.get(to..)?;
        let quotes = usize::from(self.html && rest.first() == Some(&b'"') && self.old.get(at) != Some(&b'"'));
        let rest = rest.get(quotes..).filter(|rest| rest.starts_with(start.as_bytes()))?;
        let found = (next..self.slots.len()).find(|slot| rest.starts_with(url(&self.slots[*slot]).as_bytes()))?;
        let there = self.old.get(at..).is_some_and(|old| old.starts_with(url(&self.slots[found]).as_bytes()));
        (!there).then_some((found, 2 * quotes))
    }

    /// Where the original's link that begins at `at` ends; `None`: it is not what the slot seals.
    fn link_end(&self, at: usize, slot: usize, quotes: usize) -> Option<usize> {
        let payload = self.slots[slot].payload.as_str();
        let rest = &self.old[at..];
        let same = |destination: Result<Destination, _>| destination.is_ok_and(|to| to.as_str() == payload);
        if !self.html {
            let ends = (1..=rest.len()).rev();
            let text = |end: &usize| std::str::from_utf8(&rest[..*end]).ok();
            return ends
                .filter(|end| rest[..*end].iter().all(|octet| !octet.is_ascii_control() && *octet != b' '))
                .find(|end| text(end).is_some_and(|text| same(Destination::from_text(text))))
                .map(|end| at + end);
        }
        let ends = |octet: &u8| match (quotes, at.checked_sub(1).map(|before| self.old[before])) {
            (0, Some(quote)) => *octet == quote,
            _ => octet.is_ascii_whitespace() || *octet == b'>',
        };
        let value = &rest[..rest.iter().position(ends)?];
        [true, false].iter().any(|utf8| same(Destination::from_attribute(value, *utf8))).then_some(at + value.len())
    }

    /// Where an opt-out attribute ends that `at` is in or stands before, and how far back it begins.
    fn opt_out(&self, at: usize) -> Option<(usize, usize)> {
        const NAME: &[u8] = b"data-waxseal";
        let space = |octet: &&u8| octet.is_ascii_whitespace();
        for name in (at.saturating_sub(40)..(at + 40).min(self.old.len())).rev() {
            let Some(rest) = self.old[name..].get(NAME.len()..) else { continue };
            if !self.old[name..].get(..NAME.len()).is_some_and(|text| text.eq_ignore_ascii_case(NAME)) {
                continue;
            }
            let start = name - self.old[..name].iter().rev().take_while(space).count();
            let rest = rest.trim_ascii_start().strip_prefix(b"=").unwrap_or_default().trim_ascii_start();
            let len = match rest.first() {
                Some(quote @ (b'"' | b'\'')) => rest[1..].iter().position(|octet| octet == quote)? + 2,
                _ => rest.iter().position(|octet| octet.is_ascii_whitespace() || *octet == b'>')?,
            };
            let end = self.old.len() - rest.len() + len;
            if start <= at && at < end {
                return Some((end, at - start));
            }
        }
        None
    }

    /// White space that became a line break: where both go on.
    fn broken_line(&self, new: &[u8], at: usize, to: usize) -> Option<(usize, usize)> {
        let spaces = |text: &[u8], from: usize| {
            text.get(from..).unwrap_or_default().iter().take_while(|octet| octet.is_ascii_whitespace()).count()
        };
        let before = new[..to].iter().rev().take_while(|octet| octet.is_ascii_whitespace()).count();
        let (old, now) = (spaces(self.old, at), spaces(new, to));
        let is_break = new[to - before..to + now].contains(&b'\n');
        (self.html && is_break && old + now > 0 && before + now > 0).then_some((at + old, to + now))
    }
}

fn url(slot: &Slot) -> String {
    match slot.kind {
        Kind::Click => format!("{SITE}/c/{}", mint(slot)),
        // It has been taken out; this matches nothing.
        _ => "\0".to_owned(),
    }
}

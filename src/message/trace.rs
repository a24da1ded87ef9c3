//! The trace of a mail: the `Received:` line we prepend, the loop count, and the fields that never leave.
//!
//! **Invariant:** nothing a client says can add a line to the header: what is not a plain word becomes `?`.

use std::net::IpAddr;
use std::ops::Range;

use super::header::{fields, next_line};

/// Facts for one `Received:` field (RFC 5321 §4.4).
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// What EHLO said.
    pub helo: &'a str,
    /// The client's address; `None` leaves it out.
    pub peer: Option<IpAddr>,
    /// Our own name.
    pub hostname: &'a str,
    /// `ESMTPSA` and the like (RFC 3848).
    pub protocol: &'a str,
    /// The message id.
    pub id: &'a str,
    /// Date and time as RFC 5322 §3.3 writes them, `Mon, 23 Nov 2026 20:49:17 +0000`.
    pub date: &'a str,
}

/// Longest word we repeat from a client, in octets (a domain name has at most 255).
const WORD_BYTES_MAX: usize = 255;

/// Writes the field: folded, CRLF line ends, US-ASCII. A name beyond ASCII in `helo` is replaced by `?`.
pub fn received(facts: &Received<'_>) -> Vec<u8> {
    let from = match facts.peer {
        Some(IpAddr::V6(peer)) => format!("{} ([IPv6:{peer}])", word(facts.helo)),
        Some(IpAddr::V4(peer)) => format!("{} ([{peer}])", word(facts.helo)),
        None => word(facts.helo),
    };
    format!(
        "Received: from {from}\r\n\tby {} (waxseal) with {} id {};\r\n\t{}\r\n",
        word(facts.hostname),
        word(facts.protocol),
        word(facts.id),
        phrase(facts.date),
    )
    .into_bytes()
}

/// Where the field goes: at the start, but after an mbox `From ` line.
pub fn received_at(raw: &[u8]) -> usize {
    let is_mbox_line = raw.starts_with(b"From ") && memchr::memchr(b'\n', raw).is_some();
    if is_mbox_line { next_line(raw, 0) } else { 0 }
}

/// Whether what stands there begins with a blank: it belongs to no field, and would be a part of ours, words and all.
pub fn begins_folded(raw: &[u8]) -> bool {
    matches!(raw.get(received_at(raw)), Some(b' ' | b'\t'))
}

/// A domain, an address literal or an id: everything else becomes `?`.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let word: String = text.chars().take(WORD_BYTES_MAX).map(|c| if plain(c) { c } else { '?' }).collect();
    if word.is_empty() { "unknown".to_owned() } else { word }
}

fn phrase(text: &str) -> String {
    text.chars().take(WORD_BYTES_MAX).map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// How many `Received:` fields the header holds: too many and the mail goes in circles (RFC 5321 §6.3).
pub fn received_count(raw: &[u8]) -> usize {
    fields(raw, 0).filter(|field| field.is(raw, "Received")).count()
}

/// Field names that never leave (DESIGN, promise 2). Names that begin with `X-Waxseal-` are ours and go too.
const NEVER_LEAVE: &[&str] = &["Bcc", "Resent-Bcc", "Return-Path"];
const OURS: &[u8] = b"x-waxseal-";

/// Ranges of the top header's fields that are removed whole: Bcc, Resent-Bcc, Return-Path, X-Waxseal-*.
/// In order, not overlapping; found in a broken header too.
pub fn removed_fields(raw: &[u8]) -> Vec<Range<usize>> {
    fields(raw, 0)
        .filter(|field| {
            let name = raw.get(field.name.clone()).unwrap_or_default();
            let ours = name.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS));
            ours || NEVER_LEAVE.iter().any(|never| field.is(raw, never))
        })
        .map(|field| field.whole)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Received<'static> = Received {
        helo: "client.example",
        peer: Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1))),
        hostname: "relay.example",
        protocol: "ESMTPSA",
        id: "00000000000000ab",
        date: "Mon, 23 Nov 2026 20:49:17 +0000",
    };

    fn written(facts: &Received<'_>) -> String {
        String::from_utf8(received(facts)).unwrap()
    }

    #[test]
    fn writes_one_folded_field() {
        assert_eq!(
            written(&FACTS),
            "Received: from client.example ([192.0.2.1])\r\n\tby relay.example (waxseal) with ESMTPSA id 00000000000000ab;\r\n\tMon, 23 Nov 2026 20:49:17 +0000\r\n"
        );
        let v6 = Received { peer: Some("2001:db8::1".parse().unwrap()), ..FACTS };
        assert!(written(&v6).starts_with("Received: from client.example ([IPv6:2001:db8::1])\r\n"));
        assert!(written(&Received { peer: None, ..FACTS }).starts_with("Received: from client.example\r\n"));
    }

    #[test]
    fn a_client_adds_no_line_and_no_comment() {
        // line ends, parentheses, NUL, beyond ASCII, nothing, very long
        for helo in ["x\r\nBcc: v@evil.test", "x) (y", "a\0b", "bücher.example", "", &"x".repeat(5000)] {
            let text = written(&Received { helo, ..FACTS });
            assert_eq!(text.matches("\r\n").count(), 3, "{helo:?}");
            assert_eq!(text.matches('\n').count(), 3, "{helo:?}");
            assert!(
                text.is_ascii() && !text.contains("\nBcc:") && text.lines().all(|line| line.len() <= 998),
                "{helo:?}"
            );
        }
        assert!(written(&Received { helo: "", ..FACTS }).contains("from unknown "));
    }

    #[test]
    fn a_first_line_that_would_be_a_part_of_ours_is_known() {
        let rows: &[(&[u8], bool)] = &[
            (b" Bcc: x\r\nTo: y\r\n\r\n", true),
            (b"\tx", true),
            (b" \r\nx", true),
            (b"From a b\r\n folded\r\n", true),
            (b"From a b", false),
            (b"To: y\r\n z\r\n", false),
            (b"\r\n x", false),
            (b"", false),
        ];
        for (raw, folded) in rows {
            assert_eq!(begins_folded(raw), *folded, "{:?}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn counts_only_received_fields_of_the_header() {
        assert_eq!(received_count(b"Received: a\r\n b\r\nreceived: c\r\nX-Received: d\r\n\r\nReceived: e\r\n"), 2);
        assert_eq!(received_count(b""), 0);
    }

    #[test]
    fn finds_what_never_leaves() {
        let raw = b"To: a\r\nBCC: b,\r\n c\r\nX-Waxseal-Track: off\r\nx-waxseal-: 1\r\nResent-Bcc: d\r\njunk\r\nReturn-Path : <e>\r\nBccx: f\r\n\r\nBcc: body\r\n";
        let gone: Vec<&[u8]> = removed_fields(raw).into_iter().map(|range| &raw[range]).collect();
        let expected: [&[u8]; 5] = [
            b"BCC: b,\r\n c\r\n",
            b"X-Waxseal-Track: off\r\n",
            b"x-waxseal-: 1\r\n",
            b"Resent-Bcc: d\r\n",
            b"Return-Path : <e>\r\n",
        ];
        assert_eq!(gone, expected);
    }
}

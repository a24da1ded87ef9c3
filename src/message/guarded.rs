//! What stays byte-identical: signed, encrypted, attached, forwarded, calendar and AMP parts, and signed messages whole.
//!
//! **Invariant:** a part under a guarded multipart is guarded too; a message that carries a signature over itself
//! (DKIM, ARC, a detached signature beside its text) is guarded as a whole (DESIGN, promise 3).

use std::fmt;

use super::header::{Field, fields, slice};
use super::media::Disposition;
use super::tree::Tree;

/// Why a part, or the whole message, is not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guard {
    /// DKIM-Signature, DKIM2-Signature or DomainKey-Signature on the message.
    DkimSigned,
    /// ARC-* on the message.
    ArcSealed,
    /// multipart/signed, S/MIME signed data, or a detached signature.
    Signed,
    /// multipart/encrypted or S/MIME enveloped data.
    Encrypted,
    /// PGP armour in the text itself.
    InlinePgp,
    /// message/rfc822 and the like.
    Forwarded,
    /// multipart/report: a bounce or receipt.
    Report,
    /// An attachment, or any part with a file name.
    Attached,
    /// text/calendar.
    Calendar,
    /// text/x-amp-html.
    Amp,
    /// A multipart of another kind than mixed, alternative or related.
    OtherMultipart,
    /// Content-MD5: a checksum over the part (RFC 1864).
    Checksum,
    /// The part's header has a line that is no header field.
    MalformedHeader,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guard::DkimSigned => "it carries a DKIM signature, which a change would break",
            Guard::ArcSealed => "it carries an ARC seal, which a change would break",
            Guard::Signed => "it is signed (S/MIME or PGP): a change would break the signature",
            Guard::Encrypted => "it is encrypted or sealed (S/MIME or PGP)",
            Guard::InlinePgp => "it holds a PGP block",
            Guard::Forwarded => "it is a forwarded message",
            Guard::Report => "it is a delivery report or receipt",
            Guard::Attached => "it is an attachment",
            Guard::Calendar => "it is a calendar entry",
            Guard::Amp => "it is an AMP part",
            Guard::OtherMultipart => "it is, or stands in, a multipart of an unusual kind",
            Guard::Checksum => "it carries a checksum of itself",
            Guard::MalformedHeader => "its header has a line that is no header field",
        })
    }
}

/// Why the whole message stays as it came; `None` when parts may be judged one by one ([`part`]).
pub fn message(raw: &[u8], tree: &Tree) -> Option<Guard> {
    by_header(raw).or_else(|| detached(tree)).or_else(|| tree.parts.first().and_then(|_| root(tree)))
}

/// Why part `number` stays as it came: for itself, or for one it stands in. `None`: it may be touched.
pub fn part(tree: &Tree, number: usize) -> Option<Guard> {
    let mut at = Some(number);
    let mut found = None;
    while let Some(part) = at.and_then(|n| tree.parts.get(n)) {
        // The outermost reason is the one to tell.
        found = own(tree, at.unwrap_or_default()).or(found);
        at = part.parent;
    }
    found
}

/// Why not even a transfer encoding of the message may change: a signature over all of it, or nothing of it to read.
pub fn seal_of_message(raw: &[u8], tree: &Tree) -> Option<Guard> {
    by_header(raw).or_else(|| detached(tree)).or_else(|| seal_of_part(tree, 0))
}

/// Why not even the transfer encoding of part `number` may change: it, or one it stands in, is signed or encrypted.
pub fn seal_of_part(tree: &Tree, number: usize) -> Option<Guard> {
    let mut at = Some(number);
    while let Some((n, part)) = at.and_then(|n| tree.parts.get(n).map(|part| (n, part))) {
        let seal = own(tree, n).filter(|guard| matches!(guard, Guard::Signed | Guard::Encrypted));
        if seal.is_some() {
            return seal;
        }
        at = part.parent;
    }
    None
}

fn by_header(raw: &[u8]) -> Option<Guard> {
    fields(raw, 0).find_map(|field| signature_field(raw, &field))
}

fn signature_field(raw: &[u8], field: &Field) -> Option<Guard> {
    const DKIM: &[&str] = &["DKIM-Signature", "DKIM2-Signature", "DomainKey-Signature"];
    const ARC: &[&str] = &["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"];
    match slice(raw, &field.name).first() {
        Some(b'd' | b'D') if DKIM.iter().any(|name| field.is(raw, name)) => Some(Guard::DkimSigned),
        Some(b'a' | b'A') if ARC.iter().any(|name| field.is(raw, name)) => Some(Guard::ArcSealed),
        _ => None,
    }
}

/// A signature part that stands outside multipart/signed covers its neighbours.
fn detached(tree: &Tree) -> Option<Guard> {
    let signature = |part: &super::tree::Part| {
        matches!(
            part.media.kind.as_str(),
            "application/pgp-signature" | "application/pkcs7-signature" | "application/x-pkcs7-signature"
        )
    };
    let outside = |n: usize| {
        let parent = tree.parts.get(n).and_then(|part| part.parent).and_then(|parent| tree.parts.get(parent));
        parent.is_none_or(|parent| parent.media.kind != "multipart/signed")
    };
    let found = tree.parts.iter().enumerate().any(|(n, part)| signature(part) && outside(n));
    found.then_some(Guard::Signed)
}

fn root(tree: &Tree) -> Option<Guard> {
    own(tree, 0)
}

fn own(tree: &Tree, number: usize) -> Option<Guard> {
    let part = tree.parts.get(number)?;
    let guard = match part.media.kind.as_str() {
        "multipart/signed" => Some(Guard::Signed),
        "multipart/encrypted" | "application/pgp-encrypted" => Some(Guard::Encrypted),
        // signed-data or enveloped-data: either way not ours to open
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => Some(Guard::Encrypted),
        "multipart/report" => Some(Guard::Report),
        "multipart/mixed" | "multipart/alternative" | "multipart/related" => None,
        "text/calendar" | "application/ics" => Some(Guard::Calendar),
        "text/x-amp-html" => Some(Guard::Amp),
        kind if kind.starts_with("message/") => Some(Guard::Forwarded),
        kind if kind.starts_with("multipart/") => Some(Guard::OtherMultipart),
        _ => None,
    };
    let leaf = !part.media.kind.starts_with("multipart/");
    // A file name makes a part an attachment, but not the one thing a message consists of.
    let named = number > 0 && ((leaf && part.media.named) || part.disposition == Disposition::Named);
    let attached = named || part.disposition == Disposition::Attached;
    guard
        .or_else(|| part.malformed_header.then_some(Guard::MalformedHeader))
        .or_else(|| attached.then_some(Guard::Attached))
        .or_else(|| part.checksum.then_some(Guard::Checksum))
}

/// Whether text holds PGP armour (RFC 9580 §6.2): at the start of a line, or after a tag in HTML. A quoted one (`> -----`)
/// is nobody's signature any more.
pub fn holds_pgp(text: &[u8]) -> bool {
    let starts =
        |at: usize| at.checked_sub(1).and_then(|before| text.get(before)).is_none_or(|b| matches!(b, b'\n' | b'>'));
    memchr::memmem::find_iter(text, b"-----BEGIN PGP ").any(starts)
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Limits, read};
    use super::*;

    fn judge(raw: &str) -> (Option<Guard>, Vec<Option<Guard>>) {
        let tree = read(raw.as_bytes(), &Limits::default()).unwrap();
        let parts = (0..tree.parts.len()).map(|n| part(&tree, n)).collect();
        (message(raw.as_bytes(), &tree), parts)
    }

    fn typed(kind: &str) -> String {
        format!("Content-Type: {kind}\n\n")
    }

    #[test]
    fn signed_messages_stay_whole() {
        let rows: &[(&str, Option<Guard>)] = &[
            ("Content-Type: text/html\n\n", None),
            ("DKIM-Signature: v=1\nContent-Type: text/html\n\n", Some(Guard::DkimSigned)),
            ("arc-seal: i=1\n\n", Some(Guard::ArcSealed)),
            ("Content-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b--\n", Some(Guard::Signed)),
            ("Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\n", Some(Guard::Encrypted)),
            ("Content-Type: multipart/encrypted; boundary=b\n\n", Some(Guard::Encrypted)),
            // PGP/MIME parts without their envelope: the signature is about the text beside it
            (
                "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: application/pgp-signature\n\ny\n--b--\n",
                Some(Guard::Signed),
            ),
            // a bounce is not mail to track
            ("Content-Type: multipart/report; boundary=b\n\n--b\n\nx\n--b--\n", Some(Guard::Report)),
            ("Content-Type: message/rfc822\n\nSubject: x\n\ny", Some(Guard::Forwarded)),
            // the message itself is shown, file name or not
            ("Content-Type: text/html; name=a.html\nContent-Disposition: inline; filename=a.html\n\n", None),
            ("Content-Type: text/html\nContent-Disposition: attachment\n\n", Some(Guard::Attached)),
            // a name in the body is no header
            ("A: b\n\nDKIM-Signature: v=1\n", None),
        ];
        for (raw, expected) in rows {
            assert_eq!(judge(raw).0, *expected, "{raw:?}");
        }
    }

    #[test]
    fn parts_are_guarded_for_themselves_and_their_parents() {
        let rows: &[(&str, Option<Guard>)] = &[
            ("text/html", None),
            ("text/html; name=x.html", Some(Guard::Attached)),
            ("text/html\nContent-Disposition: attachment", Some(Guard::Attached)),
            ("text/html\nContent-Disposition: inline", None),
            ("text/html\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==", Some(Guard::Checksum)),
            ("text/calendar; method=REQUEST", Some(Guard::Calendar)),
            ("text/x-amp-html", Some(Guard::Amp)),
            ("message/rfc822", Some(Guard::Forwarded)),
            ("message/partial", Some(Guard::Forwarded)),
        ];
        for (kind, expected) in rows {
            let raw = format!("{}--b\n{}x\n--b--\n", typed("multipart/mixed; boundary=b"), typed(kind));
            assert_eq!(judge(&raw), (None, vec![None, *expected]), "{kind}");
        }
        // HTML in plain sight inside a signature, and inside a digest
        for (outer, why) in [("multipart/signed", Guard::Signed), ("multipart/digest", Guard::OtherMultipart)] {
            let raw = format!(
                "{}--b\n{}--c\n{}x\n--c--\n--b--\n",
                typed("multipart/mixed; boundary=b"),
                typed(&format!("{outer}; boundary=c")),
                typed("text/html")
            );
            assert_eq!(judge(&raw), (None, vec![None, Some(why), Some(why)]));
        }
    }

    #[test]
    fn sees_pgp_armour_at_line_starts_only() {
        assert!(holds_pgp(b"-----BEGIN PGP SIGNED MESSAGE-----"));
        assert!(holds_pgp(b"hi\r\n-----BEGIN PGP MESSAGE-----"));
        assert!(holds_pgp(b"<pre>-----BEGIN PGP MESSAGE-----"));
        assert!(!holds_pgp(b"> -----BEGIN PGP MESSAGE-----"));
    }
}

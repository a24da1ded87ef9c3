//! Reverse and forward paths (RFC 5321 §4.1.2), kept as the octets the peer sent.
//!
//! **Invariant:** what was accepted is what is sent on. A quoted local part stays quoted, case stays, nothing is
//! decoded and re-encoded: `<"x@evil.test> NOTIFY=NEVER "@ok.test>` has the domain `ok.test` here and on the wire.

/// A mailbox as the peer wrote it: raw octets `local@domain`, without angle brackets and without a source route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    raw: Box<[u8]>,
    /// Where the `@` that divides local part and domain stands; `raw.len()` when there is no domain (`postmaster`).
    at: usize,
}

/// Where failures go: `<>` or a mailbox (RFC 5321 §4.5.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `MAIL FROM:<>`
    Null,
    /// `MAIL FROM:<mailbox>`
    Mailbox(Mailbox),
}

/// One recipient: `RCPT TO:<mailbox>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForwardPath(pub Mailbox);

/// Why octets are not a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// Not the grammar of RFC 5321 §4.1.2 (and RFC 6531 where UTF-8 is allowed).
    Syntax,
    /// Octets above 127 without SMTPUTF8, or not valid UTF-8 with it.
    NotAscii,
    /// Local part over 64 octets or path over 254 (RFC 5321 §4.5.3.1; we allow the local part 128, as real mail does).
    TooLong,
}

impl Mailbox {
    /// The octets, exactly as received.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// The local part with its quotes, as received.
    pub fn local(&self) -> &[u8] {
        self.raw.get(..self.at).unwrap_or_default()
    }

    /// The domain or address literal, as received; empty for `postmaster`.
    pub fn domain(&self) -> &[u8] {
        self.raw.get(self.at + 1..).unwrap_or_default()
    }

    /// The address for people, lossy where it is not UTF-8.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

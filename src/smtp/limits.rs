//! Limits of a conversation, each with its default and the reason for that number.

use super::data::BareNewlines;

/// Limits and choices of all sessions of a listener.
#[derive(Debug, Clone)]
pub struct Options {
    /// What we call ourselves.
    pub hostname: String,
    /// The largest message, in octets after unstuffing.
    pub message_bytes_max: usize,
    /// Recipients of one transaction.
    pub recipients_max: usize,
    /// A command line with its CRLF.
    pub line_bytes_max: usize,
    /// How much more of a line that is too long is read before the connection closes.
    pub discard_bytes_max: usize,
    /// Refused commands, until a mail is accepted.
    pub command_errors_max: u32,
    /// Wrong passwords.
    pub auth_failures_max: u32,
    /// Bare CR and LF in a message.
    pub bare_newlines: BareNewlines,
    /// DSN (RFC 3461) is carried through to the end, so it may be offered.
    pub dsn: bool,
    /// Somebody can judge bearer tokens, so XOAUTH2 and OAUTHBEARER may be offered.
    pub bearer_logins: bool,
}

/// 25 MiB: what large mailbox providers take.
pub const MESSAGE_BYTES_MAX: usize = 25 * 1024 * 1024;
/// RFC 5321 §4.5.3.1.8 asks for at least 100.
pub const RECIPIENTS_MAX: usize = 100;
/// RFC 5321 §4.5.3.1.4 asks for 512; paths with parameters (RFC 3461) need more.
pub const LINE_BYTES_MAX: usize = 4096;
/// A SASL response has up to 12,288 octets (RFC 4954 §4): tokens of some providers fill half of that. The rest is for `AUTH`, the
/// mechanism and the line end.
pub const SASL_LINE_BYTES_MAX: usize = 12_288 + 32;
/// Enough for a clumsy client to reach its line end, too little to be worth an attack.
pub const DISCARD_BYTES_MAX: usize = 64 * 1024;
/// As Postfix' hard error limit.
pub const COMMAND_ERRORS_MAX: u32 = 20;
/// A person mistypes twice; a sixth try is a program's.
pub const AUTH_FAILURES_MAX: u32 = 5;

impl Options {
    /// The defaults, for this host name.
    pub fn new(hostname: impl Into<String>) -> Options {
        Options {
            hostname: hostname.into(),
            message_bytes_max: MESSAGE_BYTES_MAX,
            recipients_max: RECIPIENTS_MAX,
            line_bytes_max: LINE_BYTES_MAX,
            discard_bytes_max: DISCARD_BYTES_MAX,
            command_errors_max: COMMAND_ERRORS_MAX,
            auth_failures_max: AUTH_FAILURES_MAX,
            bare_newlines: BareNewlines::Normalize,
            dsn: false,
            bearer_logins: false,
        }
    }
}

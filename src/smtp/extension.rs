//! Parameters of MAIL and RCPT (ESMTP), as values.

/// `BODY=` (RFC 6152).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyType {
    /// Not said, or `7BIT`.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
}

/// `RET=` (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// Whole message.
    Full,
    /// Headers only.
    Hdrs,
}

/// `NOTIFY=` (RFC 3461 §4.1); all false is `NEVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notify {
    /// `SUCCESS`
    pub success: bool,
    /// `FAILURE`
    pub failure: bool,
    /// `DELAY`
    pub delay: bool,
}

/// Parameters of `MAIL FROM`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParams {
    /// `SIZE=`, octets as declared (RFC 1870).
    pub size_bytes: Option<u64>,
    /// `BODY=`
    pub body: BodyType,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `RET=`
    pub ret: Option<Ret>,
    /// `ENVID=`, the xtext as received (RFC 3461 §4.4), never decoded so never encoded twice.
    pub envid: Option<String>,
}

/// Parameters of `RCPT TO`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RcptParams {
    /// `NOTIFY=`; `None` when absent.
    pub notify: Option<Notify>,
    /// `ORCPT=`, the text as received (RFC 3461 §4.2).
    pub orcpt: Option<String>,
}

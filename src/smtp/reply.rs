//! Replies (RFC 5321 §4.2, enhanced codes RFC 3463). Every text we ever send stands in this file.

/// An enhanced status code such as `5.1.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

/// One reply, ours or a peer's: code, enhanced code, lines of text without CRLF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200..=599.
    pub code: u16,
    /// First digit equals that of `code`.
    pub enhanced: Option<Enhanced>,
    /// At least one line; no CR, LF or other control octet in any.
    pub lines: Vec<String>,
}

impl Reply {
    /// Positive completion.
    pub fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// 4yz: try again later.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// 5yz: will not work however often it is tried.
    pub fn is_permanent(&self) -> bool {
        (500..600).contains(&self.code)
    }
}

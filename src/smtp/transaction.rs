//! One mail transaction: MAIL, then RCPT, then DATA (RFC 5321 §3.3).

use super::extension::{MailParams, RcptParams};
use super::path::{ForwardPath, ReversePath};

/// What MAIL and RCPT said. Dropped whole by RSET, EHLO, STARTTLS and every final reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// `MAIL FROM`.
    pub reverse_path: ReversePath,
    /// Its parameters.
    pub params: MailParams,
    /// Every accepted `RCPT TO`, in order, duplicates kept.
    pub recipients: Vec<(ForwardPath, RcptParams)>,
}

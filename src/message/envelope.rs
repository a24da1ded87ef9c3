//! The envelope: what MAIL and RCPT said, apart from the message's own headers.

use crate::smtp::extension::{MailParams, RcptParams};
use crate::smtp::path::{ForwardPath, ReversePath};
use crate::smtp::transaction::Transaction;

/// Who sends to whom, with the parameters that travel on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where bounces go.
    pub reverse_path: ReversePath,
    /// `BODY`, `SMTPUTF8`, `RET`, `ENVID`, the declared `SIZE`.
    pub params: MailParams,
    /// In the client's order.
    pub recipients: Vec<Recipient>,
}

/// One `RCPT TO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The path, raw.
    pub path: ForwardPath,
    /// `NOTIFY`, `ORCPT`.
    pub params: RcptParams,
}

impl From<Transaction> for Envelope {
    fn from(transaction: Transaction) -> Envelope {
        Envelope {
            reverse_path: transaction.reverse_path,
            params: transaction.params,
            recipients: transaction.recipients.into_iter().map(|(path, params)| Recipient { path, params }).collect(),
        }
    }
}

//! Where a page of messages begins, as text in an address: `<milliseconds>-<message id>`.

use crate::token::MessageId;

/// For an address.
pub(in crate::admin) fn print((at_ms, id): (i64, MessageId)) -> String {
    format!("{at_ms}-{id}")
}

/// Reads [`print`] back.
pub(in crate::admin) fn read(text: &str) -> Option<(i64, MessageId)> {
    let (at_ms, id) = text.rsplit_once('-')?;
    Some((at_ms.parse().ok()?, id.parse().ok()?))
}

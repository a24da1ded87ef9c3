//! A sender fixes or kills a link after sending: the override, durable before the answer.

use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::store::record::LinkRecord;
use crate::store::{Change, Override};
use crate::token::MessageId;
use crate::token::destination::Destination;

/// A link with what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkView {
    /// Index and sealed destination.
    pub link: LinkRecord,
    /// What replaces the sealed destination, if anything.
    pub replaced_by: Option<Override>,
}

/// What to do to a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// Lead there instead.
    To(String),
    /// Answer 410.
    Withdraw,
    /// Back to the sealed destination.
    Restore,
}

impl Actions {
    /// The tracked links of a message.
    ///
    /// # Errors
    /// As [`Actions::message`].
    pub async fn links(&self, viewer: &Viewer, id: MessageId) -> Result<Vec<LinkView>, Refusal> {
        let record = self.whole_message(viewer, id).await?;
        let snapshot = self.settings.snapshot();
        let view = |link: LinkRecord| {
            let replaced_by = snapshot.overrides.get(&(id, link.index)).cloned();
            LinkView { link, replaced_by }
        };
        Ok(record.links.into_iter().map(view).collect())
    }

    /// Changes where one link of a message leads, provided that it is still as the caller has `seen` it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a message or link that is not the viewer's; [`Refusal::Invalid`] for a destination
    /// that is no absolute http or https URL; [`Refusal::Changed`]; [`Refusal::Store`]: the link is as before.
    pub async fn change_link(
        &self,
        viewer: &Viewer,
        id: MessageId,
        index: u16,
        change: LinkChange,
        seen: impl FnOnce(&LinkView) -> bool + Send,
    ) -> Result<LinkView, Refusal> {
        let record = self.whole_message(viewer, id).await?;
        let known = record.links.into_iter().find(|link| link.index == index);
        let link = known.ok_or_else(|| Refusal::not_found("link", format_args!("{index} in message {id}")))?;
        let replaced_by = match change {
            LinkChange::To(text) => Some(Override::Destination(destination(&text)?)),
            LinkChange::Withdraw => Some(Override::Withdrawn),
            LinkChange::Restore => None,
        };
        let held = self.changing(viewer).await;
        let now = self.settings.snapshot().overrides.get(&(id, index)).cloned();
        if !seen(&LinkView { link: link.clone(), replaced_by: now }) {
            return Err(Refusal::Changed);
        }
        let change = match replaced_by.clone() {
            Some(replacement) => Change::PutOverride(id, index, replacement),
            None => Change::RemoveOverride(id, index),
        };
        self.write(&held, change).await?;
        Ok(LinkView { link, replaced_by })
    }
}

/// What a person typed, as the destination of a link is read from a mail: it goes into a `Location` header.
fn destination(text: &str) -> Result<String, Refusal> {
    let read = Destination::from_text(text.trim());
    // A blank is the one character that a destination may hold and an address may not.
    let plain = read.and_then(|destination| Destination::from_text(&destination.as_str().replace(' ', "%20")));
    plain.map(Destination::into_string).map_err(|why| {
        Refusal::invalid("destination", format!("{why}; an address that begins with https:// or http:// is needed"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let long = format!("https://a.example/{}", "x".repeat(1500));
        let rows: &[(&str, Option<&str>)] = &[
            // plain addresses pass as typed, outer blanks aside
            ("https://a.example/x?y=1#z", Some("https://a.example/x?y=1#z")),
            ("  HTTP://a.example ", Some("HTTP://a.example")),
            ("https://user@a.example:8443/", Some("https://user@a.example:8443/")),
            // no other scheme, no relative address, no missing host
            ("javascript:alert(1)", None),
            ("//a.example", None),
            ("/path", None),
            ("https:///x", None),
            ("https://", None),
            ("http:a.example", None),
            ("", None),
            // nothing that could break a header: what a client strips is stripped, the rest becomes ASCII
            ("https://a.example/\r\nSet-Cookie: x", Some("https://a.example/Set-Cookie:%20x")),
            ("https://a.example/\u{0}x", None),
            ("https://exämple.example/ü", Some("https://xn--exmple-cua.example/%C3%BC")),
            ("https://new.example/\u{e4} \u{f6}?a b#c d", Some("https://new.example/%C3%A4%20%C3%B6?a%20b#c%20d")),
            (&long, None),
        ];
        for (text, expected) in rows {
            assert_eq!(destination(text).ok().as_deref(), *expected, "{text:?}");
        }
    }
}

//! What waits, read from the disk for who asks: the records of somebody, due soonest first.
//!
//! Whose a record is stands in its head; what was read once is remembered beside its due time, so that a long queue of one
//! organisation is read once and then passed over when another's is asked for.

use std::sync::Arc;

use super::{Inner, Queue, Slot};
use crate::spool::{Head, SpoolError, State};
use crate::token::MessageId;

/// Heads read for one question: a second of a slow disk's time.
pub const READ_MAX: usize = 20_000;

/// Whose a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The organisation's name.
    pub org: String,
    /// The login; `None` for a trusted network or a report of our own.
    pub login: Option<String>,
}

/// Records without their mails.
#[derive(Debug, Default)]
pub struct Heads {
    /// Oldest first.
    pub found: Vec<(Head, State)>,
    /// There are more that fit, or that were not looked at.
    pub cut: bool,
}

impl Queue {
    /// The records that fit and are due soonest, at most `max` of them. Reads the disk: at most [`READ_MAX`] heads.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub async fn heads(&self, fits: impl Fn(&Owner) -> bool + Send + 'static, max: usize) -> Result<Heads, SpoolError> {
        let ids = candidates(&self.inner, &fits);
        // One that ended meanwhile is not there to read; one that is damaged is the pump's to find.
        let read = self.inner.on_disk(move |spool| Ok(until(ids, |id| spool.head(id).ok(), fits, max, READ_MAX)));
        let Until { read, mut found, cut } = read.await?;
        remember(&self.inner, read);
        found.sort_by_key(|(head, _)| (head.record.accepted_at_ms, head.record.id));
        Ok(Heads { found, cut })
    }
}

/// Those that fit or may, due soonest first.
fn candidates(inner: &Arc<Inner>, fits: &impl Fn(&Owner) -> bool) -> Vec<MessageId> {
    let slots = inner.slots();
    let may = |slot: &Slot| slot.known.as_ref().is_none_or(|known| fits(&known.owner));
    let mut ids: Vec<(i64, MessageId)> =
        slots.iter().filter(|(_, slot)| may(slot)).map(|(id, slot)| (slot.due_ms, *id)).collect();
    drop(slots);
    ids.sort_unstable();
    ids.into_iter().map(|(_, id)| id).collect()
}

/// What a head says once and for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Unix milliseconds of the acceptance.
    pub(super) accepted_at_ms: i64,
    pub(super) owner: Owner,
}

impl Known {
    pub(super) fn of(head: &Head) -> Known {
        let owner = Owner { org: head.record.org.clone(), login: head.record.login.clone() };
        Known { accepted_at_ms: head.record.accepted_at_ms, owner }
    }
}

pub(super) fn remember(inner: &Arc<Inner>, read: Vec<(MessageId, Known)>) {
    let mut slots = inner.slots();
    for (id, known) in read {
        if let Some(slot) = slots.get_mut(&id) {
            slot.known = Some(known);
        }
    }
}

struct Until {
    read: Vec<(MessageId, Known)>,
    found: Vec<(Head, State)>,
    cut: bool,
}

/// Reads one after the other until enough fit or enough were read.
fn until(
    ids: Vec<MessageId>,
    read_one: impl Fn(MessageId) -> Option<(Head, State)>,
    fits: impl Fn(&Owner) -> bool,
    max: usize,
    read_max: usize,
) -> Until {
    let mut until = Until { read: Vec::new(), found: Vec::new(), cut: ids.len() > read_max };
    for id in ids.into_iter().take(read_max) {
        if until.found.len() >= max {
            until.cut = true;
            break;
        }
        let Some((head, state)) = read_one(id) else { continue };
        let known = Known::of(&head);
        if fits(&known.owner) {
            until.found.push((head, state));
        }
        until.read.push((id, known));
    }
    until
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::record::tests::record;

    /// A thousand of `acme` are due before the three of `other`.
    fn read_one(id: MessageId) -> Option<(Head, State)> {
        let org = if id.0 < 1_000 { "acme" } else { "other" };
        let record = crate::spool::Record { id, org: org.to_owned(), ..record(b"") };
        (id.0 % 10 != 9).then(|| (Head { record, body_bytes: 0 }, State::waiting(1, 0)))
    }

    #[test]
    fn a_backlog_of_one_hides_nothing_of_another() {
        let ids = || (0..1_003).map(MessageId).collect::<Vec<_>>();
        let of = |org: &'static str| move |owner: &Owner| owner.org == org;
        let rows: &[(&'static str, usize, usize, usize, bool)] = &[
            // organisation, at most, read at most; found, cut
            ("other", 10, 5_000, 3, false),
            ("other", 2, 5_000, 2, true),
            ("acme", 1_000, 5_000, 900, false),
            ("acme", 10, 5_000, 10, true),
            ("none", 10, 5_000, 0, false),
            // what was not looked at may hold more
            ("other", 10, 500, 0, true),
        ];
        for (org, max, read_max, found, cut) in rows {
            let until = until(ids(), read_one, of(org), *max, *read_max);
            assert_eq!((until.found.len(), until.cut), (*found, *cut), "{org} {max} {read_max}");
        }
        // what was read is remembered, of whichever organisation
        let until = until(ids(), read_one, of("other"), 10, 5_000);
        assert_eq!(until.read.len(), 903);
        assert!(until.read.iter().all(|(id, known)| (known.owner.org == "acme") == (id.0 < 1_000)));
    }
}

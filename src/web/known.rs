//! The copies whose readers were here lately: what the history knows of them, and their last minute.
//!
//! **Invariant:** bounded, whoever asks: the least recently used half goes first. What may still change is read again; a
//! copy that the history does not know, or cannot say anything of, is judged without it.

use std::collections::HashMap;

use crate::event::classify::Accepted;
use crate::event::recent::{Hit, Recent, Shape};
use crate::settings::OrgName;
use crate::store::record::{CopyFacts, CopyId, Reader};
use crate::token::PersonId;

/// Copies in the younger half. Some 350 octets each, 60 for each event of the last minute, 64 of them at most, and 16 for
/// each who shares it.
const HALF_MAX: usize = 8192;
/// What may change is read again after so long.
const STALE_MS: i64 = 1000;

/// What is known of one copy.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its last minute.
    pub(super) recent: Recent,
    /// Whose mail; `None` when its record is not there.
    pub(super) org: Option<OrgName>,
    /// The login that sent it; `None` for a trusted network too.
    pub(super) login: Option<String>,
    /// Its one recipient; `None` for a shared copy.
    pub(super) reader: Option<Reader>,
    /// Everybody else's: who shares it.
    pub(super) sharers: Vec<PersonId>,
    /// Keyed hash of the submission's network.
    pub(super) submission_network: Option<[u8; 8]>,
    /// When upstream accepted it.
    pub(super) accepted: Accepted,
    /// Its links and readers.
    pub(super) shape: Shape,
    fresh: Freshness,
}

/// Whether the history is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Freshness {
    /// It was never answered.
    #[default]
    Unread,
    /// It may change; read at this time.
    ReadAt(i64),
    /// It will not change.
    Final,
}

/// The copies, in two halves.
#[derive(Debug, Default)]
pub(super) struct Copies {
    young: HashMap<CopyId, Known>,
    old: HashMap<CopyId, Known>,
}

impl Copies {
    /// Whether the history must be asked before an event of this time is judged.
    pub(super) fn must_read(&self, id: &CopyId, at_ms: i64) -> bool {
        match self.young.get(id).or_else(|| self.old.get(id)).map(|known| known.fresh) {
            None | Some(Freshness::Unread) => true,
            Some(Freshness::ReadAt(read_ms)) => at_ms.saturating_sub(read_ms) >= STALE_MS,
            Some(Freshness::Final) => false,
        }
    }

    /// What the history said of them holds no more. Their last minute does: a burst goes on whoever was erased.
    pub(super) fn read_anew(&mut self) {
        for known in self.young.values_mut().chain(self.old.values_mut()) {
            *known = Known { recent: std::mem::take(&mut known.recent), ..Known::default() };
        }
    }

    /// Takes in what the history says; `person` tells who an address is to an organisation.
    pub(super) fn learn(
        &mut self,
        id: CopyId,
        facts: Option<CopyFacts>,
        at_ms: i64,
        person: impl Fn(&OrgName, &str) -> PersonId,
    ) {
        let known = self.get(id);
        known.fresh = Freshness::ReadAt(at_ms);
        let Some(facts) = facts else { return };
        for past in known.recent.is_empty().then_some(&facts.past).into_iter().flatten() {
            known.recent.remember(Hit {
                ticket: past.sequence.cast_unsigned(),
                at_ms: past.at_ms,
                kind: past.kind,
                link: past.link,
                network: past.network_hash,
                rule: past.rule,
            });
        }
        if facts.settled {
            known.fresh = Freshness::Final;
        }
        known.accepted = accepted(&facts);
        known.shape = Shape { links: facts.links as usize, shared: facts.recipients != 1 };
        // Of those who were erased nobody knows what they said.
        let sharers = facts.readers.iter().filter(|reader| known.shape.shared && !reader.address.is_empty());
        known.sharers = sharers.map(|reader| person(&facts.org, &reader.address)).collect();
        known.reader = <[Reader; 1]>::try_from(facts.readers).ok().map(|[reader]| reader);
        known.org = Some(facts.org);
        known.login = facts.login;
        known.submission_network = facts.network_hash;
    }

    /// What is known of the copy; nothing, of a new one.
    pub(super) fn get(&mut self, id: CopyId) -> &mut Known {
        if !self.young.contains_key(&id) {
            if self.young.len() >= HALF_MAX {
                self.old = std::mem::take(&mut self.young);
            }
            let known = self.old.remove(&id).unwrap_or_default();
            self.young.insert(id, known);
        }
        self.young.entry(id).or_default()
    }
}

fn accepted(facts: &CopyFacts) -> Accepted {
    match (facts.accepted_at_ms, facts.waiting_since_ms) {
        (Some(at_ms), _) => Accepted::At(at_ms),
        (None, Some(since_ms)) => Accepted::NotYet(since_ms),
        (None, None) => Accepted::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::MessageId;

    const NOBODY: fn(&OrgName, &str) -> PersonId = |_, _| PersonId([0; 16]);

    fn id(number: usize) -> CopyId {
        CopyId { message: MessageId(number as u64), copy_index: 7 }
    }

    fn facts(accepted_at_ms: Option<i64>, waiting_since_ms: Option<i64>) -> CopyFacts {
        CopyFacts {
            org: "acme".parse().unwrap(),
            login: None,
            network_hash: Some([1; 8]),
            links: 4,
            recipients: 1,
            accepted_at_ms,
            waiting_since_ms,
            settled: waiting_since_ms.is_none(),
            readers: Vec::new(),
            past: Vec::new(),
        }
    }

    #[test]
    fn what_may_change_is_read_again() {
        let mut copies = Copies::default();
        assert!(copies.must_read(&id(1), 0));
        copies.get(id(1));
        assert!(copies.must_read(&id(1), 0), "a copy is known of, but the history did not answer");
        for (facts, at_once, later) in [
            (None, false, true),
            (Some(facts(None, Some(5))), false, true),
            (Some(facts(Some(5), Some(5))), false, true),
            (Some(facts(Some(5), None)), false, false),
        ] {
            copies.learn(id(1), facts.clone(), 10_000, NOBODY);
            assert_eq!(copies.must_read(&id(1), 10_999), at_once, "{facts:?}");
            assert_eq!(copies.must_read(&id(1), 11_000), later, "{facts:?}");
        }
        assert_eq!(copies.get(id(1)).accepted, Accepted::At(5));
        copies.learn(id(2), Some(facts(None, Some(9))), 0, NOBODY);
        assert_eq!(copies.get(id(2)).accepted, Accepted::NotYet(9));
    }

    #[test]
    fn the_most_recently_used_stay() {
        let mut copies = Copies::default();
        copies.learn(id(0), Some(facts(Some(5), None)), 0, NOBODY);
        for number in 1..(4 * HALF_MAX) {
            copies.get(id(number));
            assert!(copies.get(id(0)).org.is_some(), "the one always asked for went at {number}");
            assert!(copies.young.len() <= HALF_MAX && copies.old.len() <= HALF_MAX);
        }
        assert!(copies.must_read(&id(1), 0));
    }
}

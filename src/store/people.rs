//! Who has said what to whom, in memory: by organisation, by keyed hash.
//!
//! **Invariant:** a change copies one shard, so that a swap of the snapshot costs the same with a thousand people as with
//! a million.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::settings::OrgName;
use crate::settings::privacy::{Act, Says, Standing};
use crate::token::PersonId;

/// Shards of an organisation: the hash's first octet picks one.
const SHARDS: usize = 256;

/// Most people of all organisations that grants and refusals are kept of; some 60 octets each. Beyond it nothing more is
/// imported; what recipients decide themselves is always kept.
pub const PEOPLE_MAX: usize = 1_000_000;

/// Everyone who has said something.
#[derive(Debug, Clone, Default)]
pub struct People {
    orgs: BTreeMap<OrgName, Vec<Arc<HashMap<PersonId, Standing>>>>,
    count: usize,
    noes: usize,
}

/// One line of the ledger: what was said, when, where, in which words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// What.
    pub act: Act,
    /// Where from: the preference page, a form, a contract; at most 200 characters.
    pub source: String,
    /// The words they agreed to or refused; at most 2,000 characters.
    pub wording: String,
}

impl People {
    /// How this person stands; the default for one who has said nothing.
    pub fn standing(&self, org: &OrgName, person: PersonId) -> Standing {
        let shard = self.orgs.get(org).and_then(|shards| shards.get(shard_of(person)));
        shard.and_then(|shard| shard.get(&person)).copied().unwrap_or_default()
    }

    /// How many have said something, to all organisations.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether anybody has said no, to whatever organisation.
    pub fn has_noes(&self) -> bool {
        self.noes > 0
    }

    /// Nobody has said anything.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Everyone who has said something to this organisation, in no order.
    pub fn of(&self, org: &OrgName) -> impl Iterator<Item = (PersonId, Standing)> + '_ {
        let shards = self.orgs.get(org).into_iter().flatten();
        shards.flat_map(|shard| shard.iter().map(|(person, standing)| (*person, *standing)))
    }

    pub(super) fn put(&mut self, org: &OrgName, person: PersonId, standing: Standing) {
        let shards = self.orgs.entry(org.clone()).or_insert_with(|| vec![Arc::default(); SHARDS]);
        if let Some(shard) = shards.get_mut(shard_of(person)) {
            let before = Arc::make_mut(shard).insert(person, standing);
            self.count += usize::from(before.is_none());
            self.noes -= usize::from(before.is_some_and(|before| before.says() == Says::No));
            self.noes += usize::from(standing.says() == Says::No);
        }
    }
}

fn shard_of(person: PersonId) -> usize {
    usize::from(person.0[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_copies_one_shard() {
        let org: OrgName = "acme".parse().unwrap();
        let mut people = People::default();
        for n in 0..=255 {
            people.put(&org, PersonId([n; 16]), Standing::default());
        }
        let before = people.clone();
        let stopped = Standing { stopped: true, ..Standing::default() };
        people.put(&org, PersonId([3; 16]), stopped);
        assert_eq!((people.len(), before.len()), (256, 256));
        assert_eq!((people.has_noes(), before.has_noes()), (true, false));
        assert_eq!(people.standing(&org, PersonId([3; 16])), stopped);
        assert_eq!(before.standing(&org, PersonId([3; 16])), Standing::default());
        let shared = people.orgs[&org].iter().zip(&before.orgs[&org]).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, 255);
        assert_eq!(people.of(&org).count(), 256);
        people.put(&org, PersonId([3; 16]), Standing::default());
        assert!(!people.has_noes());
        assert_eq!(people.standing(&"beta".parse().unwrap(), PersonId([3; 16])), Standing::default());
    }
}

//! The duplicate guard: a client that never saw our answer sends the same mail again; whoever has it must not get it twice.
//!
//! The key is who sent, from which reverse path, and the hash of every octet; the results are kept per recipient, so that
//! the same bytes to somebody else are delivered normally. While the first submission still runs, the second waits for it.
//! An entry outlives its submission only where the answer may not have been seen.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::message::Mail;
use crate::settings::Submitter;
use crate::smtp::ReversePath;

/// How long a client goes on trying before a person sends again on purpose.
const KEPT_FOR: Duration = Duration::from_secs(30 * 60);
/// Entries at one time; above it mail goes unguarded, as it does everywhere else.
const ENTRIES_MAX: usize = 10_000;

/// Identity of a submission.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

/// Recipients (raw paths) an earlier submission has taken care of.
type Done = HashSet<Vec<u8>>;

struct Entry {
    done: Arc<tokio::sync::Mutex<Done>>,
    expires: Option<Instant>,
}

impl Entry {
    /// Kept past its submission, or its submission still runs (it holds the other reference).
    fn is_wanted(&self, now: Instant) -> bool {
        self.expires.map_or(Arc::strong_count(&self.done) > 1, |at| at > now)
    }
}

/// All submissions running now, and those whose answer may have been lost.
#[derive(Default)]
pub(crate) struct Guard {
    entries: Mutex<HashMap<Key, Entry>>,
}

/// One submission's hold on its entry.
pub(crate) struct Claim {
    key: Key,
    done: OwnedMutexGuard<Done>,
}

impl Key {
    /// `None` for a mail without Message-ID and Date: two such mails may well be two mails.
    pub(crate) fn of(submitter: &Submitter, mail: &Mail, has_id_and_date: bool) -> Option<Key> {
        if !has_id_and_date {
            return None;
        }
        let reverse_path = match &mail.envelope.reverse_path {
            ReversePath::Null => &b""[..],
            ReversePath::Mailbox(mailbox) => mailbox.as_bytes(),
        };
        let login = submitter.login.as_deref().unwrap_or_default();
        let mut hash = Sha256::new();
        for field in [submitter.org.as_str().as_bytes(), login.as_bytes(), reverse_path] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hash.update(&mail.raw);
        Some(Key(hash.finalize().into()))
    }
}

impl Guard {
    /// Takes the entry of this mail, waiting for an earlier submission of it that still runs. `None`: too many entries,
    /// or the earlier one did not end within `patience`.
    pub(crate) async fn claim(&self, key: Key, now: Instant, patience: Duration) -> Option<Claim> {
        let done = self.entry(&key, now)?;
        let done = tokio::time::timeout(patience, done.lock_owned()).await.ok()?;
        Some(Claim { key, done })
    }

    fn entry(&self, key: &Key, now: Instant) -> Option<Arc<tokio::sync::Mutex<Done>>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(key) {
            return Some(Arc::clone(&entry.done));
        }
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, entry| entry.is_wanted(now));
        }
        if entries.len() >= ENTRIES_MAX {
            return None;
        }
        let done = Arc::default();
        entries.insert(key.clone(), Entry { done: Arc::clone(&done), expires: None });
        Some(done)
    }

    /// Ends a submission. `keep` when its answer came late, could not be written, or was a 451 although somebody has the mail.
    pub(crate) fn release(
        &self,
        mut claim: Claim,
        taken_care_of: impl IntoIterator<Item = Vec<u8>>,
        keep: bool,
        now: Instant,
    ) {
        claim.done.extend(taken_care_of);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if keep && !claim.done.is_empty() {
            if let Some(entry) = entries.get_mut(&claim.key) {
                entry.expires = Some(now + KEPT_FOR);
            }
        } else {
            entries.remove(&claim.key);
        }
    }
}

impl Claim {
    /// Whether an earlier submission has taken care of this recipient.
    pub(crate) fn is_done(&self, recipient: &[u8]) -> bool {
        self.done.contains(recipient)
    }
}

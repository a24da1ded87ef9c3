//! The duplicate guard: a client that never saw our answer sends the same mail again; whoever has it must not get it twice.
//!
//! The key is who sent, from which reverse path, and the hash of every octet; the results are kept per recipient, so that
//! the same bytes to somebody else are delivered normally. While the first submission still runs, the second waits for it.
//! What an entry knows counts only where the answer may not have been seen: it came late, it was a 451 although somebody
//! has the mail, or the client's connection broke before it spoke again. That last is often known only afterwards, so the
//! entry keeps the client's handle and asks it when the same mail comes again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::listener::ClientGone;
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

/// An earlier submission of the same mail did not end in time: whether its recipients have it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StillRunning;

/// Recipients (raw paths) an earlier submission has taken care of.
type Done = HashSet<Vec<u8>>;

struct Entry {
    done: Arc<tokio::sync::Mutex<Done>>,
    expires: Option<Instant>,
    /// Who was answered in time; what is known counts only if they turn out to be gone.
    answered: Option<ClientGone>,
}

/// Whether the client may have missed its answer.
pub(crate) enum Seen {
    /// Late, or a 451 although somebody has the mail, or the client had left already.
    PerhapsNot,
    /// In time, unless this handle says later that the connection broke.
    Unless(ClientGone),
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
    /// Takes the entry of this mail, waiting for an earlier submission of it that still runs. `None`: too many entries.
    ///
    /// # Errors
    /// [`StillRunning`].
    pub(crate) async fn claim(
        &self,
        key: Key,
        now: Instant,
        patience: Duration,
    ) -> Result<Option<Claim>, StillRunning> {
        let Some(done) = self.entry(&key, now) else { return Ok(None) };
        let mut done = tokio::time::timeout(patience, done.lock_owned()).await.map_err(|_| StillRunning)?;
        if self.was_seen(&key) {
            // They know that it was taken: the same mail again is meant to be sent again.
            done.clear();
        }
        Ok(Some(Claim { key, done }))
    }

    fn was_seen(&self, key: &Key) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = entries.get(key).and_then(|entry| entry.answered.as_ref());
        answered.is_some_and(|client| !client.is_gone())
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
            // Those answered in time are the least likely to come again.
            entries.retain(|_, entry| entry.answered.as_ref().is_none_or(ClientGone::is_gone));
        }
        if entries.len() >= ENTRIES_MAX {
            return None;
        }
        let done = Arc::default();
        entries.insert(key.clone(), Entry { done: Arc::clone(&done), expires: None, answered: None });
        Some(done)
    }

    /// Ends a submission: who has been taken care of, and whether the client knows it.
    pub(crate) fn release(
        &self,
        mut claim: Claim,
        taken_care_of: impl IntoIterator<Item = Vec<u8>>,
        seen: Seen,
        now: Instant,
    ) {
        claim.done.extend(taken_care_of);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if claim.done.is_empty() {
            entries.remove(&claim.key);
        } else if let Some(entry) = entries.get_mut(&claim.key) {
            entry.expires = Some(now + KEPT_FOR);
            entry.answered = match seen {
                Seen::PerhapsNot => None,
                Seen::Unless(client) => Some(client),
            };
        }
    }
}

impl Claim {
    /// Whether an earlier submission has taken care of this recipient.
    pub(crate) fn is_done(&self, recipient: &[u8]) -> bool {
        self.done.contains(recipient)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::Envelope;
    use crate::smtp::extension::MailParams;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn key(raw: &'static str, login: &str) -> Key {
        let envelope =
            Envelope { reverse_path: ReversePath::Null, params: MailParams::default(), recipients: Vec::new() };
        let submitter = Submitter { org: "org1".parse().unwrap(), login: Some(login.to_owned()) };
        Key::of(&submitter, &Mail { envelope, raw: Bytes::from_static(raw.as_bytes()) }, true).unwrap()
    }

    async fn ends(guard: &Guard, key: Key, seen: Seen) {
        let claim = guard.claim(key, Instant::now(), PATIENCE).await.unwrap().unwrap();
        guard.release(claim, [b"b@ok.test".to_vec()], seen, Instant::now());
    }

    async fn is_done(guard: &Guard, key: Key, recipient: &[u8]) -> bool {
        guard.claim(key, Instant::now(), PATIENCE).await.unwrap().unwrap().is_done(recipient)
    }

    /// Only who may have missed the answer is guarded; another mail, sender or recipient never is.
    #[tokio::test]
    async fn who_is_guarded() {
        let guard = Guard::default();
        ends(&guard, key("mail", "ana"), Seen::PerhapsNot).await;
        assert!(is_done(&guard, key("mail", "ana"), b"b@ok.test").await);
        assert!(!is_done(&guard, key("mail", "ana"), b"c@ok.test").await, "another recipient");
        assert!(!is_done(&guard, key("other mail", "ana"), b"b@ok.test").await);
        assert!(!is_done(&guard, key("mail", "ben"), b"b@ok.test").await);

        let client = ClientGone::default();
        ends(&guard, key("seen", "ana"), Seen::Unless(client.clone())).await;
        assert!(!is_done(&guard, key("seen", "ana"), b"b@ok.test").await, "answered in time: sent again on purpose");
        ends(&guard, key("lost", "ana"), Seen::Unless(client.clone())).await;
        client.mark();
        assert!(is_done(&guard, key("lost", "ana"), b"b@ok.test").await, "the connection broke before it spoke again");
    }

    /// The second submission waits for the first, and knows what became of it.
    #[tokio::test]
    async fn a_second_submission_waits_for_the_first() {
        let guard = Arc::new(Guard::default());
        let first = guard.claim(key("mail", "ana"), Instant::now(), PATIENCE).await.unwrap().unwrap();
        let other = Arc::clone(&guard);
        let second = tokio::spawn(async move { is_done(&other, key("mail", "ana"), b"b@ok.test").await });
        tokio::task::yield_now().await;
        guard.release(first, [b"b@ok.test".to_vec()], Seen::PerhapsNot, Instant::now());
        assert!(second.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let guard = Guard::default();
        let first = guard.claim(key("mail", "ana"), Instant::now(), PATIENCE).await.unwrap().unwrap();
        assert!(guard.claim(key("mail", "ana"), Instant::now(), PATIENCE).await.is_err());
        guard.release(first, [], Seen::PerhapsNot, Instant::now());
        assert!(guard.claim(key("mail", "ana"), Instant::now(), PATIENCE).await.is_ok());
    }
}

//! What people say, noted: the only way to a new standing, for the preference page and for admins alike.
//!
//! **Invariant:** reading how somebody stands, deciding and writing happen one after the other, whether the caller stays
//! or leaves, so that no entry of the ledger is overwritten; standing and ledger change in one commit, durable before the
//! answer.

use std::collections::HashMap;
use std::sync::Arc;

use super::audit::{Author, Note, Via};
use super::people::{LedgerEntry, PEOPLE_MAX};
use super::{Change, SettingsStore, StoreError};
use crate::settings::OrgName;
use crate::settings::privacy::{Act, NotDone, Standing};
use crate::token::PersonId;

/// Characters of [`Said::source`]; more are cut.
pub const SOURCE_CHARS_MAX: usize = 200;
/// Characters of [`Said::wording`]; more are cut.
pub const WORDING_CHARS_MAX: usize = 2000;

/// One thing somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub person: PersonId,
    /// What.
    pub act: Act,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// Where from.
    pub source: String,
    /// The words they agreed to or refused.
    pub wording: String,
}

/// Notes what people say.
pub struct Consents {
    settings: Arc<dyn SettingsStore>,
    deciding: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Consents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consents").finish_non_exhaustive()
    }
}

impl Consents {
    /// Over these settings. One for the whole program.
    pub fn new(settings: Arc<dyn SettingsStore>) -> Consents {
        Consents { settings, deciding: Arc::default() }
    }

    /// Notes all of it, in order, as the recipients' own word: for each the new standing, or why it changes nothing. What
    /// changes something is durable when this answers, all or none. Their ledger is the record of it.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was noted.
    pub async fn note(&self, org: &OrgName, said: Vec<Said>) -> Result<Answers, StoreError> {
        self.note_all(None, org, said).await
    }

    /// [`Consents::note`] for somebody who notes it in the recipients' place: one line of the audit log tells of it.
    ///
    /// # Errors
    /// The same.
    pub async fn note_by(&self, author: Author, org: &OrgName, said: Vec<Said>) -> Result<Answers, StoreError> {
        self.note_all(Some(author), org, said).await
    }

    async fn note_all(&self, author: Option<Author>, org: &OrgName, said: Vec<Said>) -> Result<Answers, StoreError> {
        let (settings, deciding, org) = (Arc::clone(&self.settings), Arc::clone(&self.deciding), org.clone());
        let noting = tokio::spawn(async move {
            let _one_at_a_time = deciding.lock().await;
            let acts: Vec<(PersonId, Act)> = said.iter().map(|one| (one.person, one.act)).collect();
            let (answers, mut changes) = decide(settings.as_ref(), &org, said);
            if !changes.is_empty() {
                let done = acts.into_iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(act, _)| act);
                changes.extend(author.is_some().then(|| told(org, &done.collect::<Vec<_>>())));
                settings.change_by(author.unwrap_or(Author::of(Via::Server)), changes).await?;
            }
            Ok(answers)
        });
        noting.await.unwrap_or(Err(StoreError::Closed { store: "settings" }))
    }
}

/// For each that was said how the person stands now, or why it changes nothing.
pub type Answers = Vec<Result<Standing, NotDone>>;

/// Who is told of is a keyed hash; what they said and in which words stands in their ledger.
fn told(org: OrgName, done: &[(PersonId, Act)]) -> Change {
    let subject = match done {
        [(person, _)] => format!("recipient {person}"),
        many => format!("{} recipients", many.len()),
    };
    let counted = [Act::Grant, Act::Refuse, Act::Withdraw, Act::Stop, Act::Allow].map(|act| {
        let count = done.iter().filter(|(_, one)| *one == act).count();
        (count > 0).then(|| format!("{count} {}", act.as_str()))
    });
    let words = format!("noted: {}", counted.into_iter().flatten().collect::<Vec<_>>().join(", "));
    Change::Note(Note { org: Some(org), subject, words })
}

/// What each of them comes to, and what that changes.
fn decide(settings: &dyn SettingsStore, org: &OrgName, said: Vec<Said>) -> (Answers, Vec<Change>) {
    let snapshot = settings.snapshot();
    let mut now: HashMap<PersonId, Standing> = HashMap::new();
    let (mut answers, mut changes) = (Vec::with_capacity(said.len()), Vec::with_capacity(2 * said.len()));
    for one in said {
        let before = now.get(&one.person).copied().unwrap_or_else(|| snapshot.people.standing(org, one.person));
        let is_new = before.acts == 0;
        let own_word = matches!(one.act, Act::Stop | Act::Allow);
        let after = match is_new && !own_word && snapshot.people.len() + now.len() >= PEOPLE_MAX {
            true => Err(NotDone::Full),
            false => before.after(one.act, one.at_ms),
        };
        if let Ok(standing) = after {
            now.insert(one.person, standing);
            changes.push(Change::PutStanding(org.clone(), one.person, standing));
            changes.push(Change::AddEntry(org.clone(), one.person, before.acts, entry(one)));
        }
        answers.push(after);
    }
    (answers, changes)
}

fn entry(said: Said) -> LedgerEntry {
    let cut = |text: String, most: usize| text.chars().filter(|c| !c.is_control() || *c == '\n').take(most).collect();
    LedgerEntry {
        at_ms: said.at_ms,
        act: said.act,
        source: cut(said.source, SOURCE_CHARS_MAX),
        wording: cut(said.wording, WORDING_CHARS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::privacy::Says;
    use crate::store::settings::{Options, SledSettings};

    fn said(person: u8, act: Act, at_ms: i64) -> Said {
        Said { person: PersonId([person; 16]), act, at_ms, source: "form".to_owned(), wording: "w".repeat(3000) }
    }

    #[tokio::test]
    async fn what_is_said_is_durable_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let org: OrgName = "acme".parse().unwrap();
        let open = || Arc::new(SledSettings::open(folder.path(), &Options::default()).unwrap());
        let store = open();
        let consents = Consents::new(store.clone());
        let all = vec![said(1, Act::Grant, 5), said(2, Act::Stop, 6), said(1, Act::Stop, 7), said(1, Act::Grant, 8)];
        let answers = consents.note(&org, all).await.unwrap();
        let says: Vec<_> = answers.iter().map(|answer| answer.map(|standing| standing.says())).collect();
        assert_eq!(says, [Ok(Says::Yes), Ok(Says::No), Ok(Says::No), Err(NotDone::OnlyTheRecipient)]);
        drop((consents, store));

        let store = open();
        let standing = store.snapshot().people.standing(&org, PersonId([1; 16]));
        assert_eq!((standing.says(), standing.acts, standing.changed_at_ms), (Says::No, 2, 7));
        let ledger = store.ledger(&org, PersonId([1; 16])).await.unwrap();
        assert_eq!(
            ledger.iter().map(|entry| (entry.act, entry.at_ms)).collect::<Vec<_>>(),
            [(Act::Grant, 5), (Act::Stop, 7)]
        );
        assert_eq!(ledger[0].wording.len(), WORDING_CHARS_MAX);
        assert_eq!(store.ledger(&"acm".parse().unwrap(), PersonId([1; 16])).await.unwrap(), []);
    }

    /// Who leaves before the answer has said it all the same, and whoever comes next finds it noted.
    #[tokio::test]
    async fn a_caller_who_leaves_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let org: OrgName = "acme".parse().unwrap();
        let store = Arc::new(SledSettings::open(folder.path(), &Options::default()).unwrap());
        let consents = Consents::new(store.clone());
        let mut leaving = Box::pin(consents.note(&org, vec![said(1, Act::Grant, 5)]));
        std::future::poll_fn(|context| {
            assert!(leaving.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(leaving);
        tokio::task::yield_now().await;
        consents.note(&org, vec![said(1, Act::Refuse, 6)]).await.unwrap();
        let ledger = store.ledger(&org, PersonId([1; 16])).await.unwrap();
        assert_eq!(ledger.iter().map(|entry| entry.act).collect::<Vec<_>>(), [Act::Grant, Act::Refuse]);
    }

    /// Presses at one time: each has its own line.
    #[tokio::test]
    async fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let org: OrgName = "acme".parse().unwrap();
        let store = Arc::new(SledSettings::open(folder.path(), &Options::default()).unwrap());
        let consents = Consents::new(store.clone());
        let one = |act| consents.note(&org, vec![said(1, act, 0)]);
        let (a, b, c, d) = tokio::join!(one(Act::Grant), one(Act::Refuse), one(Act::Grant), one(Act::Stop));
        assert!([a, b, c, d].iter().all(|answer| answer.as_ref().is_ok_and(|one| one[0].is_ok())));
        assert_eq!(store.ledger(&org, PersonId([1; 16])).await.unwrap().len(), 4);
    }
}

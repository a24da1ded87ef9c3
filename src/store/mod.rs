//! Two embedded stores behind two small traits: settings in sled, history in SQLite (DESIGN 9).
//!
//! Settings are small and read whole into a [`Snapshot`] that is swapped on change, so the mail path and the tracking
//! site never wait for a disk to know their policy. History has one writer thread that commits in groups.

pub mod audit;
mod column;
pub mod consents;
mod copies;
mod correspondents;
mod counters;
pub mod credentials;
mod details;
pub mod disk;
mod events;
mod expire;
mod format;
pub mod history;
mod insert;
pub mod key_file;
pub mod logins;
pub mod memory;
mod message;
mod messages;
pub mod outbox;
pub mod people;
mod person;
mod readers;
pub mod record;
pub mod retention;
mod rows;
mod schema;
pub mod settings;
mod settle;
mod timeline;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::event::{Event, EventKind};
use crate::settings::access::{Access, Credential, DigestId, Invitation, SecondFactor};
use crate::settings::notices::{NoticeCeiling, NoticeChoice, Webhook, WebhookId};
use crate::settings::prepared::{folded, prepared};
use crate::settings::privacy::Standing;
use crate::settings::{Org, OrgName, User};
use crate::token::{MessageId, PersonId};
use audit::{AuditQuery, Author, Line, Note, Via};
use people::{LedgerEntry, People};
use record::{
    CopyCount, CopyFacts, CopyId, CopySpread, Correspondent, CorrespondentFilter, Counts, DayCount, DayCountFilter,
    Delivery, Expired, Expiry, Held, Judgements, LinkCount, MessageFilter, MessageRecord, MessageSummary, PlaceCount,
    RankedLink, Recording, TimelineEntry, Total, TotalsOf,
};

/// The key file in the data folder: what must be backed up.
pub const KEYS_FILE: &str = "keys.toml";
/// The settings store's folder in the data folder.
pub const SETTINGS_FOLDER: &str = "settings";
/// The history store's database in the data folder.
pub const HISTORY_FILE: &str = "history.sqlite";

/// The most events in an answer of [`HistoryStore::held`]: some 30 MB.
pub const HELD_EVENTS_MAX: usize = 100_000;
/// The most events of one mail in an answer of [`HistoryStore::correspondence`].
pub const PAGE_EVENTS_MAX: usize = 1_000;

/// A boxed future, as trait objects need it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything the mail path, the tracking site and logins need to know, in memory.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// By name.
    pub orgs: BTreeMap<OrgName, Org>,
    /// By login.
    pub users: BTreeMap<String, User>,
    /// By message and link index.
    pub overrides: HashMap<(MessageId, u16), Override>,
    /// Who has said what to whom.
    pub people: People,
    /// Programs that are told, by their names.
    pub webhooks: BTreeMap<WebhookId, Webhook>,
    /// By login: who asked for something else than the default.
    pub notices: BTreeMap<String, NoticeChoice>,
    /// By organisation: which allow less than everything.
    pub notice_ceilings: BTreeMap<OrgName, NoticeCeiling>,
    /// By organisation: those that ask for something else than the default.
    pub access: BTreeMap<OrgName, Access>,
    /// By login.
    pub second_factors: BTreeMap<String, SecondFactor>,
    /// App passwords and API keys.
    pub credentials: BTreeMap<DigestId, Credential>,
    /// When a credential was last used, Unix milliseconds, to the hour.
    pub used: BTreeMap<DigestId, i64>,
    /// Links that let somebody in once.
    pub invitations: BTreeMap<DigestId, Invitation>,
    /// By organisation: the password of its own upstream's account, sealed.
    pub upstream_passwords: BTreeMap<OrgName, Vec<u8>>,
}

impl Snapshot {
    /// The organisation whose domain a login ends in, in any spelling. `None` for a login without `@`, and for a domain that is
    /// nobody's here.
    pub fn org_of_login(&self, login: &str) -> Option<&Org> {
        let domain = login.rsplit_once('@')?.1;
        let domain = idna::domain_to_ascii(domain.strip_suffix('.').unwrap_or(domain)).ok()?;
        self.orgs.values().find(|org| org.domains.contains(&domain))
    }

    /// Whose login this is, as typed: of those that differ in case alone (there were such once) the exact spelling, else the
    /// only one. Looks at all of them whoever it is, so that the time tells nothing.
    pub fn user_named(&self, typed: &str) -> Option<&User> {
        let wanted = folded(typed);
        let mut alike = self.users.values().filter(|user| folded(&user.login) == wanted);
        let (first, others) = (alike.next(), alike.count());
        let exact = self.users.get(typed).or_else(|| self.users.get(prepared(typed).as_ref()));
        exact.or(first.filter(|_| others == 0))
    }

    /// Somebody has this login, in whatever case: another could not be told from it.
    pub fn is_taken(&self, login: &str) -> bool {
        let wanted = folded(login);
        self.users.values().any(|user| folded(&user.login) == wanted)
    }

    /// What a person of an organisation is told by mail.
    pub fn notices_of(&self, org: &OrgName, login: &str) -> NoticeChoice {
        let choice = self.notices.get(login).copied().unwrap_or_default();
        choice.narrowed_by(self.notice_ceilings.get(org).copied().unwrap_or_default())
    }
}

/// What a sender did to a link after sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Override {
    /// It leads here now.
    Destination(String),
    /// It answers 410.
    Withdrawn,
}

/// One change of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Creates or replaces.
    PutOrg(Org),
    /// Removes; its links go on working.
    RemoveOrg(OrgName),
    /// Creates or replaces.
    PutUser(User),
    /// Removes by login.
    RemoveUser(String),
    /// Creates or replaces.
    PutOverride(MessageId, u16, Override),
    /// Back to the sealed destination.
    RemoveOverride(MessageId, u16),
    /// Creates or replaces how a person stands.
    PutStanding(OrgName, PersonId, Standing),
    /// Adds a line to a person's ledger under this number. Never replaced, never removed.
    AddEntry(OrgName, PersonId, u16, LedgerEntry),
    /// Creates or replaces.
    PutWebhook(Webhook),
    /// Removes.
    RemoveWebhook(WebhookId),
    /// Pauses the webhook as it is by then, if it still is at this address.
    PauseWebhook {
        /// Which.
        id: WebhookId,
        /// Where it was when it asked for that.
        url: String,
    },
    /// What the person of this login is told.
    PutNotices(String, NoticeChoice),
    /// Back to the default.
    RemoveNotices(String),
    /// What an organisation allows its people to be told.
    PutNoticeCeiling(OrgName, NoticeCeiling),
    /// What an organisation decides about its people.
    PutAccess(OrgName, Access),
    /// Creates or replaces, by login.
    PutSecondFactor(String, SecondFactor),
    /// The password is enough again.
    RemoveSecondFactor(String),
    /// Creates or replaces.
    PutCredential(Credential),
    /// Revokes; when it was last used goes with it.
    RemoveCredential(DigestId),
    /// A credential was used, Unix milliseconds. No setting: the audit log does not tell it.
    PutUse(DigestId, i64),
    /// Creates or replaces.
    PutInvitation(Invitation),
    /// It was taken, or withdrawn.
    RemoveInvitation(DigestId),
    /// The password of an organisation's own upstream, sealed.
    PutUpstreamPassword(OrgName, Vec<u8>),
    /// It is not kept any more.
    RemoveUpstreamPassword(OrgName),
    /// Changes nothing; a line of the audit log.
    Note(Note),
}

/// The settings: read from memory, changed durably.
pub trait SettingsStore: Send + Sync {
    /// What is in force now. No I/O, no lock held.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Makes all changes durable, all or none, with their lines in the audit log, then swaps the snapshot, then answers.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was acknowledged; the snapshot is as before.
    fn change_by(&self, author: Author, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// [`SettingsStore::change_by`] the server itself.
    ///
    /// # Errors
    /// The same.
    fn change(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change_by(Author::of(Via::Server), changes)
    }

    /// Lines of the audit log, newest first. Read from the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    fn audit(&self, query: AuditQuery) -> BoxFuture<'_, Result<Vec<Line>, StoreError>>;

    /// A person's ledger, oldest first. Read from the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    fn ledger(&self, org: &OrgName, person: PersonId) -> BoxFuture<'_, Result<Vec<LedgerEntry>, StoreError>>;
}

/// What came of inserting a message record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is durable.
    Durable,
    /// The id is taken: draw another.
    IdTaken,
}

/// What was sealed with one key, as far as it is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    /// Mails.
    pub mails: u64,
    /// Their tracked links; each recipient has a token of each.
    pub links: u64,
}

/// Which timeline entries to read, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimelineFilter {
    /// Only this message.
    pub message: Option<MessageId>,
    /// Only the copy of this index in its tokens.
    pub copy: Option<u16>,
    /// Only this org.
    pub org: Option<OrgName>,
    /// Only this sender's.
    pub login: Option<String>,
    /// Only entries with a greater sequence.
    pub after_sequence: i64,
    /// Only entries with a smaller sequence.
    pub before_sequence: Option<i64>,
    /// Only of this kind.
    pub kind: Option<EventKind>,
    /// Only what was judged otherwise after this judgement.
    pub judged_after: Option<i64>,
    /// Only what was kept with its network. What is counted by the day is nobody's news: whoever follows events as they come
    /// must not see it.
    pub with_network: bool,
    /// When there are more than `limit`: the last of them instead of the first. Oldest first all the same.
    pub newest: bool,
    /// At most this many, 1..=1000.
    pub limit: u32,
}

/// The history: what was sent and what happened to it. Every write is durable when its future resolves.
pub trait HistoryStore: Send + Sync {
    /// Adds a message with its recipients and links.
    fn insert(&self, record: MessageRecord) -> BoxFuture<'_, Result<Inserted, StoreError>>;

    /// Sets how delivery to some recipients (by index) stands.
    fn settle(&self, id: MessageId, outcomes: Vec<(u16, Delivery)>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The copies of these recipients (by index) left as they came, and this is why.
    fn leave_untracked(
        &self,
        id: MessageId,
        recipients: Vec<u16>,
        why: String,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Adds events, with what they change of earlier ones and all counters; the sequences of the new ones.
    fn put_on_record(&self, recording: Arc<Recording>) -> BoxFuture<'_, Result<Vec<i64>, StoreError>>;

    /// Adds events that change no earlier ones.
    fn record(&self, events: Vec<Event>) -> BoxFuture<'_, Result<(), StoreError>> {
        let recorded = self.put_on_record(Arc::new(Recording { events, mended: Vec::new() }));
        Box::pin(async move { recorded.await.map(|_| ()) })
    }

    /// Writes what changes nothing, durably: whether writing works. The number of the schema; `None` where there is none.
    fn try_out(&self) -> BoxFuture<'_, Result<Option<u32>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    /// Forgets a slice of what is too old; the caller goes on with [`Expired::next`].
    fn expire(&self, expiry: Expiry) -> BoxFuture<'_, Result<Expired, StoreError>>;

    /// What is kept of one address, as recipient: at most `limit` mails, newest first, with at most [`HELD_EVENTS_MAX`] events
    /// in all. Reads every recipient: some seconds with millions. Only of one organisation, if named.
    fn held(&self, address: String, org: Option<OrgName>, limit: u32) -> BoxFuture<'_, Result<Vec<Held>, StoreError>>;

    /// Makes these recipients (message, index) nobody: no address, no place, device or network in the events of copies
    /// that were theirs alone. Durable when it answers.
    fn erase(&self, recipients: Vec<(MessageId, u16)>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What was erased or forgotten leaves the files, too, as far as that can be had in a few seconds; [`HistoryStore::erase`] does
    /// it by itself. A failure is logged: the next time makes it good.
    fn clear_traces(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Grows with every [`HistoryStore::erase`]: what was read of copies before holds no more.
    fn erasures(&self) -> u64 {
        0
    }

    /// What is known of some copies, in their order; `None` for those of an unknown message. With a time (Unix
    /// milliseconds), their events since then too.
    fn copies(
        &self,
        ids: Vec<CopyId>,
        events_since_ms: Option<i64>,
    ) -> BoxFuture<'_, Result<Vec<Option<CopyFacts>>, StoreError>>;

    /// The counters of a message's copies, by index. Copies without an event are left out.
    fn copy_counts(&self, id: MessageId) -> BoxFuture<'_, Result<Vec<CopyCount>, StoreError>>;

    /// From how far around each of a message's copies was read. Copies nobody read are left out.
    fn spreads(&self, id: MessageId) -> BoxFuture<'_, Result<Vec<CopySpread>, StoreError>>;

    /// Which judgements are known for [`TimelineFilter::judged_after`]. What is counted by the day is not among them.
    fn judgements(&self) -> BoxFuture<'_, Result<Judgements, StoreError>>;

    /// The counters of days. Days without an event are left out.
    fn day_counts(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<DayCount>, StoreError>>;

    /// The clicks of a message's links, by link and copy.
    fn link_counts(&self, id: MessageId) -> BoxFuture<'_, Result<Vec<LinkCount>, StoreError>>;

    /// The mails on record that were sealed with a key, and their links. Reads every mail: some seconds with millions.
    fn sealed_with(&self, key_id: u8) -> BoxFuture<'_, Result<Sealed, StoreError>>;

    /// The destinations people followed most on these days.
    fn ranked_links(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<RankedLink>, StoreError>>;

    /// Where people read on these days, most first.
    fn places(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<PlaceCount>, StoreError>>;

    /// Whom mail was sent to, by address.
    fn correspondents(&self, filter: CorrespondentFilter) -> BoxFuture<'_, Result<Vec<Correspondent>, StoreError>>;

    /// The newest mails to the address a filter holds, with the newest events known to be its reader's, at most
    /// [`PAGE_EVENTS_MAX`] of each; at most `limit` mails.
    fn correspondence(&self, filter: CorrespondentFilter) -> BoxFuture<'_, Result<Vec<Held>, StoreError>>;

    /// The sums of these days, most by people first; the filter's limit is about them.
    fn totals(&self, filter: DayCountFilter, of: TotalsOf) -> BoxFuture<'_, Result<Vec<Total>, StoreError>> {
        let limit = filter.limit as usize;
        let counted = self.day_counts(DayCountFilter { limit: u32::MAX, ..filter });
        Box::pin(async move {
            let mut sums: BTreeMap<(OrgName, Option<String>), Counts> = BTreeMap::new();
            for DayCount { org, login, counts, .. } in counted.await? {
                let sum = sums.entry((org, login.filter(|_| of == TotalsOf::Senders))).or_default();
                *sum = sum.and(counts);
            }
            let mut totals: Vec<Total> =
                sums.into_iter().map(|((org, login), counts)| Total { org, login, counts }).collect();
            totals.sort_by_key(|total| std::cmp::Reverse(total.counts.opens + total.counts.clicks));
            totals.truncate(limit);
            Ok(totals)
        })
    }

    /// The sum of each day that has events, the first first; the filter's limit is about senders, not about days.
    fn days(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<(i64, Counts)>, StoreError>> {
        let counted = self.day_counts(DayCountFilter { limit: u32::MAX, ..filter });
        Box::pin(async move {
            let mut days: BTreeMap<i64, Counts> = BTreeMap::new();
            for count in counted.await? {
                let sum = days.entry(count.day).or_default();
                *sum = sum.and(count.counts);
            }
            Ok(days.into_iter().collect())
        })
    }

    /// A page of messages, newest first.
    fn messages(&self, filter: MessageFilter) -> BoxFuture<'_, Result<Vec<MessageSummary>, StoreError>>;

    /// One message, whole.
    fn message(&self, id: MessageId) -> BoxFuture<'_, Result<Option<MessageRecord>, StoreError>>;

    /// Events with the names a person needs.
    fn timeline(&self, filter: TimelineFilter) -> BoxFuture<'_, Result<Vec<TimelineEntry>, StoreError>>;
}

/// Why a store did not do as asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk is full or fails: nothing is acknowledged until an operator acts.
    #[error("the {store} store cannot write: {detail}")]
    Disk {
        /// `settings` or `history`.
        store: &'static str,
        /// The system's words.
        detail: String,
    },
    /// What is on disk cannot be read.
    #[error("the {store} store holds something unreadable at {at}: {detail}")]
    Corrupt {
        /// `settings` or `history`.
        store: &'static str,
        /// Tree and key, or table.
        at: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The queue to the writer is full: try again.
    #[error("the {store} store is busy")]
    Busy {
        /// `settings` or `history`.
        store: &'static str,
    },
    /// What was asked does not fit: too large, or at odds with itself. Nothing was written.
    #[error("the {store} store refuses it: {detail}")]
    Refused {
        /// `settings` or `history`.
        store: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The store is shutting down.
    #[error("the {store} store is closed")]
    Closed {
        /// `settings` or `history`.
        store: &'static str,
    },
}

#[cfg(test)]
pub(crate) mod contract_tests;
#[cfg(test)]
mod counter_properties;
#[cfg(test)]
mod pages_tests;

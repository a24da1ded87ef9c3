//! The settings in sled: small values, read whole at start, changed durably.
//!
//! One tree, so that one batch can hold any set of changes, all or none:
//!
//! | key | value |
//! |---|---|
//! | `format` | one byte, the layout of this table: 1 |
//! | `org/` name | version byte, JSON (`format.rs`) |
//! | `user/` login | version byte, JSON |
//! | `override/` message id, 16 hex digits `/` link index, 4 hex digits | version byte, JSON |
//! | `person/` org `/` keyed hash, 32 hex digits | version byte, JSON: how they stand |
//! | `ledger/` org `/` keyed hash, 32 hex digits `/` number, 4 hex digits | version byte, JSON: one thing they said; never replaced |
//! | `webhook/` its id, 16 hex digits | version byte, JSON |
//! | `notices/` login | version byte, JSON |
//! | `notice-ceiling/` org name | version byte, JSON |
//! | `access/` org name | version byte, JSON (`format/access.rs`): what it decides about its people |
//! | `factor/` login | version byte, JSON: the second factor |
//! | `credential/` name, 32 hex digits | version byte, JSON: an app password or API key |
//! | `used/` name, 32 hex digits | version byte, JSON: when a credential was last used |
//! | `invitation/` name, 32 hex digits | version byte, JSON |
//! | `audit/` number, 16 hex digits | version byte, JSON (`format/audit.rs`): a line of the audit log, not in the snapshot |
//!
//! **Invariant:** a change is acknowledged only when it is on the medium. sled's own flush is no fsync, so after every
//! flush the `db` file is fdatasynced; one thread owns all commits. After the first I/O error nothing is acknowledged
//! any more until a restart, for what sled holds in memory and what the disk holds may then differ: the snapshot in
//! memory stays as last acknowledged, and mail and redirects go on from it. Opening sled on a full disk can destroy
//! it, so it is not opened there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::audit::{self, AuditQuery, Author, LINES_MAX, Line};
use super::disk::{Disk, RealDisk};
use super::format::{access, notices};
use super::people::LedgerEntry;
use super::{BoxFuture, Change, Override, SettingsStore, Snapshot, StoreError, format};
use crate::settings::OrgName;
use crate::settings::access::DigestId;
use crate::settings::notices::Webhook;
use crate::token::{MessageId, PersonId};

/// Below this much free space sled is not opened: on a full disk that destroyed the database in 5 of 6 tries.
pub const FREE_BYTES_MIN: u64 = 64 << 20;
/// sled's page cache; the settings are kilobytes and are read once.
pub const CACHE_BYTES: u64 = 8 << 20;
/// Changes that may wait for the writer: dashboards and command lines, never the mail path.
pub const QUEUE_MAX: usize = 64;
/// The largest value; larger ones would go to sled's `blobs/`, which the fdatasync of `db` does not cover.
pub const VALUE_BYTES_MAX: usize = 32 << 10;

const STORE: &str = "settings";
const FORMAT_KEY: &[u8] = b"format";
const FORMAT: u8 = 1;

/// How long opening waits for another process, which may be about to end, to let go of the store.
pub const LOCK_WAIT: Duration = Duration::from_secs(5);

/// What the store needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// See [`FREE_BYTES_MIN`].
    pub free_bytes_min: u64,
    /// See [`QUEUE_MAX`].
    pub queue_max: usize,
    /// See [`LOCK_WAIT`].
    pub lock_wait: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { free_bytes_min: FREE_BYTES_MIN, queue_max: QUEUE_MAX, lock_wait: LOCK_WAIT }
    }
}

/// The settings store. Dropping it waits for the changes already queued.
#[derive(Debug)]
pub struct SledSettings {
    snapshot: Arc<ArcSwap<Snapshot>>,
    queue: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    /// For what is not in the snapshot; the writer has its own handle.
    db: sled::Db,
}

impl SledSettings {
    /// Opens or creates the store in `folder` and reads it whole. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Disk`]: little space, no access, in use by another process. [`StoreError::Corrupt`]: a value that
    /// cannot be read; the server must not start without it, for it may be a withdrawn link.
    pub fn open(folder: &Path, options: &Options) -> Result<SledSettings, StoreError> {
        SledSettings::open_on(RealDisk::default(), folder, options)
    }

    /// [`SledSettings::open`] on a disk of the caller's.
    ///
    /// # Errors
    /// The same.
    pub fn open_on(mut disk: impl Disk, folder: &Path, options: &Options) -> Result<SledSettings, StoreError> {
        let db = open_db(&mut disk, folder, options)?;
        let snapshot = Arc::new(ArcSwap::from_pointee(read_all(&db)?));
        let (queue, requests) = mpsc::channel(options.queue_max);
        let reader = db.clone();
        let next_line = next_line(&db)?;
        let writer = Writer { db, disk: Box::new(disk), snapshot: Arc::clone(&snapshot), next_line, broken: None };
        let writer = std::thread::Builder::new()
            .name("settings-writer".to_owned())
            .spawn(move || writer.run(requests))
            .map_err(disk_error)?;
        Ok(SledSettings { snapshot, queue: Some(queue), writer: Some(writer), db: reader })
    }
}

impl SettingsStore for SledSettings {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    fn change_by(&self, author: Author, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let (answer, done) = oneshot::channel();
            let queue = self.queue.as_ref().ok_or(StoreError::Closed { store: STORE })?;
            queue.try_send(Request { author, changes, answer }).map_err(|e| match e {
                mpsc::error::TrySendError::Full(_) => StoreError::Busy { store: STORE },
                mpsc::error::TrySendError::Closed(_) => StoreError::Closed { store: STORE },
            })?;
            done.await.unwrap_or(Err(StoreError::Closed { store: STORE }))
        })
    }

    fn audit(&self, query: AuditQuery) -> BoxFuture<'_, Result<Vec<Line>, StoreError>> {
        let db = self.db.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read_lines(&db, &query));
            read.await.unwrap_or(Err(StoreError::Closed { store: STORE }))
        })
    }

    fn ledger(&self, org: &OrgName, person: PersonId) -> BoxFuture<'_, Result<Vec<LedgerEntry>, StoreError>> {
        let (db, prefix) = (self.db.clone(), format!("ledger/{org}/{person}/"));
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read_ledger(&db, &prefix));
            read.await.unwrap_or(Err(StoreError::Closed { store: STORE }))
        })
    }
}

fn read_ledger(db: &sled::Db, prefix: &str) -> Result<Vec<LedgerEntry>, StoreError> {
    let read = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
        let (key, value) = entry.map_err(sled_error)?;
        format::decode_entry(&value).map_err(|detail| unreadable(&key, detail))
    };
    db.scan_prefix(prefix).map(read).collect()
}

/// Newest first.
fn read_lines(db: &sled::Db, query: &AuditQuery) -> Result<Vec<Line>, StoreError> {
    let end = query.before.map_or_else(|| "audit0".to_owned(), line_key);
    let mut found = Vec::new();
    for entry in db.range("audit/".to_owned()..end).rev() {
        let (key, value) = entry.map_err(sled_error)?;
        let line = line_number(&key).ok_or("the key names no line".to_owned());
        let line = line.and_then(|number| format::audit::decode_line(number, &value));
        let line = line.map_err(|detail| unreadable(&key, detail))?;
        if query.fits(&line) {
            found.push(line);
        }
        if found.len() >= query.limit() {
            break;
        }
    }
    Ok(found)
}

fn line_key(number: u64) -> String {
    format!("audit/{number:016x}")
}

fn line_number(key: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(key).ok()?.strip_prefix("audit/")?, 16).ok()
}

fn next_line(db: &sled::Db) -> Result<u64, StoreError> {
    match db.scan_prefix("audit/").next_back().transpose().map_err(sled_error)? {
        None => Ok(1),
        Some((key, _)) => {
            let last = line_number(&key).ok_or_else(|| unreadable(&key, "the key names no line".to_owned()))?;
            Ok(last.saturating_add(1))
        }
    }
}

fn unreadable(key: &[u8], detail: String) -> StoreError {
    StoreError::Corrupt { store: STORE, at: String::from_utf8_lossy(key).into_owned(), detail }
}

impl Drop for SledSettings {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the settings writer ended in a panic");
        }
    }
}

/// Changes that wait, with whom to tell.
#[derive(Debug)]
struct Request {
    author: Author,
    changes: Vec<Change>,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

/// Owns every commit.
struct Writer {
    db: sled::Db,
    disk: Box<dyn Disk>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// The number of the next line of the audit log.
    next_line: u64,
    /// The first I/O error: no change is acknowledged after it.
    broken: Option<StoreError>,
}

impl Writer {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.blocking_recv() {
            let outcome = self.commit(&request.author, &request.changes);
            if request.answer.send(outcome).is_err() {
                tracing::debug!("a settings change was decided after its caller had left");
            }
        }
    }

    fn commit(&mut self, author: &Author, changes: &[Change]) -> Result<(), StoreError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let mut next = Snapshot::clone(&self.snapshot.load());
        let changes = &resolved(&next, changes);
        let mut batch = batch_of(changes)?;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let lines = audit::apply(&mut next, changes, author, now_ms, self.next_line);
        add_lines(&mut batch, &lines)?;
        if let Err(error) = self.make_durable(batch) {
            tracing::error!(%error, "the settings store fails: no change is possible until the disk is mended and waxseal restarted");
            self.broken = Some(error.clone());
            return Err(error);
        }
        self.next_line = lines.last().map_or(self.next_line, |line| line.sequence.saturating_add(1));
        self.snapshot.store(Arc::new(next));
        Ok(())
    }

    fn make_durable(&mut self, batch: sled::Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch).map_err(sled_error)?;
        self.db.flush().map_err(sled_error)?;
        self.disk.sync_changes().map_err(disk_error)
    }
}

fn open_db(disk: &mut impl Disk, folder: &Path, options: &Options) -> Result<sled::Db, StoreError> {
    std::fs::create_dir_all(folder).map_err(disk_error)?;
    let free_bytes = disk.free_bytes(folder).map_err(disk_error)?;
    if free_bytes < options.free_bytes_min {
        let detail = format!(
            "only {free_bytes} bytes are free at {}; it is opened with {} or more, for on a full disk it would be destroyed",
            folder.display(),
            options.free_bytes_min
        );
        return Err(StoreError::Disk { store: STORE, detail });
    }
    let db = open_sled(folder, options.lock_wait)?;
    claim_format(&db)?;
    db.flush().map_err(sled_error)?;
    disk.sync_opened(folder).map_err(disk_error)?;
    Ok(db)
}

fn open_sled(folder: &Path, lock_wait: Duration) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(PathBuf::from(folder)).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let begun = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if is_lock(&error) && begun.elapsed() < lock_wait => {
                std::thread::park_timeout(Duration::from_millis(20));
            }
            Err(sled::Error::Io(error)) if is_lock(&error) => {
                let detail = format!("{} is in use: is another waxseal running?", folder.display());
                return Err(StoreError::Disk { store: STORE, detail });
            }
            opened => return opened.map_err(sled_error),
        }
    }
}

/// sled wraps the lock's own error in one of its making, so only the words tell.
fn is_lock(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

fn claim_format(db: &sled::Db) -> Result<(), StoreError> {
    match db.get(FORMAT_KEY).map_err(sled_error)? {
        None if db.is_empty() => db.insert(FORMAT_KEY, &[FORMAT]).map(|_| ()).map_err(sled_error),
        Some(found) if *found == [FORMAT] => Ok(()),
        found => {
            let detail =
                format!("layout {found:?} is not one this program knows ({FORMAT}): run the version that wrote it");
            Err(StoreError::Corrupt { store: STORE, at: "format".to_owned(), detail })
        }
    }
}

fn read_all(db: &sled::Db) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot::default();
    for entry in db.iter() {
        let (key, value) = entry.map_err(sled_error)?;
        if &*key == FORMAT_KEY {
            continue;
        }
        if key.starts_with(b"ledger/") || key.starts_with(b"audit/") {
            // Read when asked for: they prove what was said and done, how things stand is told apart from them.
            continue;
        }
        let change = read_entry(&key, &value).map_err(|detail| unreadable(&key, detail))?;
        apply(&mut snapshot, &change);
    }
    Ok(snapshot)
}

/// One entry, as the change that would make it.
fn read_entry(key: &[u8], value: &[u8]) -> Result<Change, String> {
    let key = std::str::from_utf8(key).map_err(|e| e.to_string())?;
    let change = match key.split_once('/') {
        Some(("org", _)) => Change::PutOrg(format::decode_org(value)?),
        Some(("user", _)) => Change::PutUser(format::decode_user(value)?),
        Some(("override", rest)) => {
            let (message, link) = override_of(rest).ok_or("the key names no link")?;
            Change::PutOverride(message, link, format::decode_override(value)?)
        }
        Some(("person", rest)) => {
            let (org, person) = rest.split_once('/').ok_or("the key names nobody")?;
            let org = org.parse().map_err(|_| "the key names no organisation")?;
            let person = person.parse().map_err(|_| "the key names nobody")?;
            Change::PutStanding(org, person, format::decode_standing(value)?)
        }
        Some(("webhook", _)) => Change::PutWebhook(notices::decode_webhook(value)?),
        Some(("notices", login)) => Change::PutNotices(login.to_owned(), notices::decode_choice(value)?),
        Some(("notice-ceiling", org)) => {
            let org = org.parse().map_err(|_| "the key names no organisation".to_owned())?;
            Change::PutNoticeCeiling(org, notices::decode_ceiling(value)?)
        }
        Some(("upstream-password", org)) => {
            let org = org.parse().map_err(|_| "the key names no organisation".to_owned())?;
            Change::PutUpstreamPassword(org, format::upstream::decode_password(value)?)
        }
        Some((kind, name)) => read_way_in(kind, name, value)?,
        None => return Err("this program knows no such key".to_owned()),
    };
    if key_of(&change) == key { Ok(change) } else { Err("the key and its value disagree".to_owned()) }
}

fn read_way_in(kind: &str, name: &str, value: &[u8]) -> Result<Change, String> {
    Ok(match kind {
        "access" => {
            let org = name.parse().map_err(|_| "the key names no organisation")?;
            Change::PutAccess(org, access::decode_access(value)?)
        }
        "factor" => Change::PutSecondFactor(name.to_owned(), access::decode_factor(value)?),
        "credential" => Change::PutCredential(access::decode_credential(value)?),
        "used" => {
            let id = name.parse().map_err(|_| "the key names no credential")?;
            Change::PutUse(id, access::decode_use(value)?)
        }
        "invitation" => Change::PutInvitation(access::decode_invitation(value)?),
        _ => return Err("this program knows no such key".to_owned()),
    })
}

fn override_of(rest: &str) -> Option<(MessageId, u16)> {
    let (message, link) = rest.split_once('/')?;
    Some((message.parse().ok()?, u16::from_str_radix(link, 16).ok()?))
}

fn key_of(change: &Change) -> String {
    match change {
        Change::PutOrg(org) => format!("org/{}", org.name),
        Change::RemoveOrg(name) => format!("org/{name}"),
        Change::PutUser(user) => format!("user/{}", user.login),
        Change::RemoveUser(login) => format!("user/{login}"),
        Change::PutOverride(message, link, _) | Change::RemoveOverride(message, link) => {
            format!("override/{message}/{link:04x}")
        }
        Change::PutStanding(org, person, _) => format!("person/{org}/{person}"),
        Change::AddEntry(org, person, number, _) => format!("ledger/{org}/{person}/{number:04x}"),
        Change::PutWebhook(webhook) => format!("webhook/{}", webhook.id),
        Change::RemoveWebhook(id) | Change::PauseWebhook { id, .. } => format!("webhook/{id}"),
        Change::PutNotices(login, _) | Change::RemoveNotices(login) => format!("notices/{login}"),
        Change::PutNoticeCeiling(org, _) => format!("notice-ceiling/{org}"),
        Change::PutAccess(org, _) => format!("access/{org}"),
        Change::PutSecondFactor(login, _) | Change::RemoveSecondFactor(login) => format!("factor/{login}"),
        Change::PutCredential(credential) => format!("credential/{}", credential.id()),
        Change::RemoveCredential(id) => format!("credential/{id}"),
        Change::PutUse(id, _) => used_key(*id),
        Change::PutInvitation(invitation) => format!("invitation/{}", invitation.id()),
        Change::RemoveInvitation(id) => format!("invitation/{id}"),
        Change::PutUpstreamPassword(org, _) | Change::RemoveUpstreamPassword(org) => format!("upstream-password/{org}"),
        // Its line in the audit log is all there is of it.
        Change::Note(_) => String::new(),
    }
}

fn used_key(id: DigestId) -> String {
    format!("used/{id}")
}

/// The lines, and one line less at the other end for each, once there are as many as are kept.
fn add_lines(batch: &mut sled::Batch, lines: &[Line]) -> Result<(), StoreError> {
    let refused = |detail| StoreError::Refused { store: STORE, detail };
    for line in lines {
        let mut value = format::audit::encode_line(line).map_err(refused)?;
        if value.len() > VALUE_BYTES_MAX {
            // So much in one change is no work of a person's; that it happened is told all the same.
            value = format::audit::encode_line(&Line { fields: Vec::new(), ..line.clone() }).map_err(refused)?;
        }
        batch.insert(line_key(line.sequence).as_bytes(), value);
        if let Some(oldest) = line.sequence.checked_sub(LINES_MAX) {
            batch.remove(line_key(oldest).as_bytes());
        }
    }
    Ok(())
}

/// Changes of what is there by now, as what they come to; those that come to nothing are left out. The double does the same.
pub(super) fn resolved(now: &Snapshot, changes: &[Change]) -> Vec<Change> {
    let one = |change: &Change| match change {
        Change::PauseWebhook { id, url } => {
            let webhook = now.webhooks.get(id).filter(|webhook| webhook.url == *url)?;
            Some(Change::PutWebhook(Webhook { paused: true, ..webhook.clone() }))
        }
        other => Some(other.clone()),
    };
    changes.iter().filter_map(one).collect()
}

fn batch_of(changes: &[Change]) -> Result<sled::Batch, StoreError> {
    let mut batch = sled::Batch::default();
    for change in changes {
        let key = key_of(change);
        let value = match change {
            Change::PutOrg(org) => Some(format::encode_org(org)),
            Change::PutUser(user) => Some(format::encode_user(user)),
            Change::PutOverride(_, _, value) => Some(format::encode_override(value)),
            Change::PutStanding(_, _, standing) => Some(format::encode_standing(standing)),
            Change::AddEntry(_, _, _, entry) => Some(format::encode_entry(entry)),
            Change::PutWebhook(webhook) => Some(notices::encode_webhook(webhook)),
            Change::PutNotices(_, choice) => Some(notices::encode_choice(*choice)),
            Change::PutNoticeCeiling(_, ceiling) => Some(notices::encode_ceiling(*ceiling)),
            Change::PutAccess(_, put) => Some(access::encode_access(*put)),
            Change::PutSecondFactor(_, factor) => Some(access::encode_factor(factor)),
            Change::PutCredential(credential) => Some(access::encode_credential(credential)),
            Change::PutUse(_, at_ms) => Some(access::encode_use(*at_ms)),
            Change::PutInvitation(invitation) => Some(access::encode_invitation(invitation)),
            Change::PutUpstreamPassword(_, sealed) => Some(format::upstream::encode_password(sealed)),
            Change::RemoveCredential(id) => {
                batch.remove(used_key(*id).as_bytes());
                None
            }
            Change::RemoveOrg(_)
            | Change::RemoveSecondFactor(_)
            | Change::RemoveInvitation(_)
            | Change::RemoveUser(_)
            | Change::RemoveOverride(..)
            | Change::RemoveWebhook(_)
            | Change::RemoveUpstreamPassword(_)
            | Change::RemoveNotices(_) => None,
            // The second is another change by now: see `resolved`.
            Change::Note(_) | Change::PauseWebhook { .. } => continue,
        };
        match value.transpose().map_err(|detail| StoreError::Refused { store: STORE, detail })? {
            Some(value) if key.len() + value.len() > VALUE_BYTES_MAX => {
                let detail = format!("{key} would be {} bytes; {VALUE_BYTES_MAX} is the most", value.len());
                return Err(StoreError::Refused { store: STORE, detail });
            }
            Some(value) => batch.insert(key.as_bytes(), value),
            None => batch.remove(key.as_bytes()),
        }
    }
    Ok(batch)
}

/// What a change does to the snapshot. The double in [`super::memory`] does the same.
pub(crate) fn apply(snapshot: &mut Snapshot, change: &Change) {
    match change {
        Change::PutOrg(org) => {
            snapshot.orgs.insert(org.name.clone(), org.clone());
        }
        Change::RemoveOrg(name) => {
            snapshot.orgs.remove(name);
        }
        Change::PutUser(user) => {
            snapshot.users.insert(user.login.clone(), user.clone());
        }
        Change::RemoveUser(login) => {
            snapshot.users.remove(login);
        }
        Change::PutOverride(message, link, value) => {
            snapshot.overrides.insert((*message, *link), Override::clone(value));
        }
        Change::RemoveOverride(message, link) => {
            snapshot.overrides.remove(&(*message, *link));
        }
        Change::PutStanding(org, person, standing) => snapshot.people.put(org, *person, *standing),
        Change::AddEntry(..) | Change::Note(_) | Change::PauseWebhook { .. } => {}
        Change::PutWebhook(webhook) => {
            snapshot.webhooks.insert(webhook.id, webhook.clone());
        }
        Change::RemoveWebhook(id) => {
            snapshot.webhooks.remove(id);
        }
        Change::PutNotices(login, choice) => {
            snapshot.notices.insert(login.clone(), *choice);
        }
        Change::RemoveNotices(login) => {
            snapshot.notices.remove(login);
        }
        Change::PutNoticeCeiling(org, ceiling) => {
            snapshot.notice_ceilings.insert(org.clone(), *ceiling);
        }
        Change::PutUpstreamPassword(org, sealed) => {
            snapshot.upstream_passwords.insert(org.clone(), sealed.clone());
        }
        Change::RemoveUpstreamPassword(org) => {
            snapshot.upstream_passwords.remove(org);
        }
        Change::PutAccess(..)
        | Change::PutSecondFactor(..)
        | Change::RemoveSecondFactor(_)
        | Change::PutCredential(_)
        | Change::RemoveCredential(_)
        | Change::PutUse(..)
        | Change::PutInvitation(_)
        | Change::RemoveInvitation(_) => apply_way_in(snapshot, change),
    }
}

/// The changes of how people get in.
fn apply_way_in(snapshot: &mut Snapshot, change: &Change) {
    match change {
        Change::PutAccess(org, access) => {
            snapshot.access.insert(org.clone(), *access);
        }
        Change::PutSecondFactor(login, factor) => {
            snapshot.second_factors.insert(login.clone(), factor.clone());
        }
        Change::RemoveSecondFactor(login) => {
            snapshot.second_factors.remove(login);
        }
        Change::PutCredential(credential) => {
            snapshot.credentials.insert(credential.id(), credential.clone());
        }
        Change::RemoveCredential(id) => {
            snapshot.credentials.remove(id);
            snapshot.used.remove(id);
        }
        // One that was revoked meanwhile stays forgotten.
        Change::PutUse(id, at_ms) if snapshot.credentials.contains_key(id) => {
            snapshot.used.insert(*id, *at_ms);
        }
        Change::PutInvitation(invitation) => {
            snapshot.invitations.insert(invitation.id(), invitation.clone());
        }
        Change::RemoveInvitation(id) => {
            snapshot.invitations.remove(id);
        }
        _ => {}
    }
}

fn sled_error(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { at, .. } => StoreError::Corrupt {
            store: STORE,
            at: format!("{at:?}"),
            detail: "the database is damaged; restore its folder from a backup".to_owned(),
        },
        sled::Error::Io(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::CollectionNotFound(_) => StoreError::Disk { store: STORE, detail: error.to_string() },
    }
}

fn disk_error(error: std::io::Error) -> StoreError {
    StoreError::Disk { store: STORE, detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::audit::{Field, Note, Via};
    use super::super::format::access::tests::{credentials, factor, invitations};
    use super::super::format::notices::tests::webhook;
    use super::super::format::tests::{org, user};
    use super::*;
    use crate::settings::Org;
    use crate::settings::access::Access;
    use crate::settings::notices::{Level, NoticeCeiling, NoticeChoice, WebhookId};

    /// A disk with so much space, whose sync fails from the n-th change on.
    struct FailingDisk {
        real: RealDisk,
        free_bytes: u64,
        good_syncs: Arc<AtomicU64>,
    }

    impl Disk for FailingDisk {
        fn free_bytes(&self, _: &Path) -> io::Result<u64> {
            Ok(self.free_bytes)
        }
        fn sync_opened(&mut self, folder: &Path) -> io::Result<()> {
            self.real.sync_opened(folder)
        }
        fn sync_changes(&mut self) -> io::Result<()> {
            let take = |left: u64| left.checked_sub(1);
            match self.good_syncs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
                Ok(_) => self.real.sync_changes(),
                Err(_) => Err(io::Error::from_raw_os_error(5)),
            }
        }
    }

    fn open(folder: &Path) -> Result<SledSettings, StoreError> {
        SledSettings::open(folder, &Options::default())
    }

    fn refused() -> crate::settings::privacy::Standing {
        crate::settings::privacy::Standing { stopped: true, ..Default::default() }
    }

    fn every_kind() -> Vec<Change> {
        vec![
            Change::PutOrg(org("acme")),
            Change::PutOrg(org("beta")),
            Change::PutUser(user("ann@example.com")),
            Change::PutUser(user("bob/with\u{e9} slash")),
            Change::PutOverride(MessageId(u64::MAX), 65_535, Override::Withdrawn),
            Change::PutOverride(MessageId(1), 0, Override::Destination("https://example.com/".to_owned())),
            Change::PutOverride(MessageId(1), 1, Override::Withdrawn),
            Change::PutStanding("acme".parse().unwrap(), PersonId([9; 16]), refused()),
            Change::PutWebhook(webhook(7)),
            Change::PutWebhook(webhook(8)),
            Change::PutNotices("ann/ä".to_owned(), NoticeChoice { level: Level::Every, mail: true }),
            Change::PutNotices("bob".to_owned(), NoticeChoice { level: Level::None, mail: false }),
            Change::PutNoticeCeiling("acme".parse().unwrap(), NoticeCeiling { level: Level::First, mail: false }),
            Change::PutUpstreamPassword("acme".parse().unwrap(), vec![1, 2, 3]),
            Change::PutUpstreamPassword("beta".parse().unwrap(), vec![4]),
        ]
    }

    #[tokio::test]
    async fn the_audit_log_goes_on_where_it_was_and_is_read_in_pages() {
        let folder = tempfile::tempdir().unwrap();
        let author = Author { login: Some("root".to_owned()), ..Author::of(Via::Dashboard) };
        for round in ["one", "two"] {
            let store = open(folder.path()).unwrap();
            for name in ["acme", "beta"] {
                let org = Org { excluded_hosts: vec![format!("{round}.example")], ..org(name) };
                store.change_by(author.clone(), vec![Change::PutOrg(org)]).await.unwrap();
            }
        }
        let store = open(folder.path()).unwrap();
        let ask = |org: Option<&str>, before, limit| {
            store.audit(AuditQuery { org: org.map(|name| name.parse().unwrap()), before, limit })
        };
        let numbers = |lines: Vec<Line>| lines.iter().map(|line| line.sequence).collect::<Vec<_>>();
        let first = ask(None, None, 3).await.unwrap();
        assert_eq!((first[0].author.clone(), first[0].subject.as_str()), (author, "organisation beta"));
        let field = Field {
            name: "excluded_hosts".into(),
            before: Some("one.example".into()),
            after: Some("two.example".into()),
        };
        assert_eq!(first[0].fields, [field]);
        assert_eq!(numbers(first), [4, 3, 2]);
        assert_eq!(numbers(ask(None, Some(2), 3).await.unwrap()), [1]);
        assert_eq!(numbers(ask(Some("acme"), None, 9).await.unwrap()), [3, 1]);
        assert_eq!(numbers(ask(Some("acme"), Some(3), 9).await.unwrap()), [1]);
    }

    /// The log is bounded: the oldest line makes room.
    #[test]
    fn the_oldest_line_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let db = open_sled(folder.path(), LOCK_WAIT).unwrap();
        let line = |sequence| {
            let note = Change::Note(Note { org: None, subject: "s".into(), words: "w".into() });
            audit::apply(&mut Snapshot::default(), &[note], &Author::of(Via::Socket), 0, sequence)
        };
        for sequence in [1, 2, LINES_MAX, LINES_MAX + 1] {
            let mut batch = sled::Batch::default();
            add_lines(&mut batch, &line(sequence)).unwrap();
            db.apply_batch(batch).unwrap();
        }
        assert_eq!(next_line(&db).unwrap(), LINES_MAX + 2);
        let kept = read_lines(&db, &AuditQuery { limit: 9, ..AuditQuery::default() }).unwrap();
        assert_eq!(kept.iter().map(|line| line.sequence).collect::<Vec<_>>(), [LINES_MAX + 1, LINES_MAX, 2]);
    }

    #[tokio::test]
    async fn every_kind_of_change_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        store.change(every_kind()).await.unwrap();
        let removals = vec![
            Change::RemoveOrg("beta".parse().unwrap()),
            Change::RemoveUser("ann@example.com".to_owned()),
            Change::RemoveOverride(MessageId(1), 1),
            Change::RemoveWebhook(WebhookId(8)),
            Change::RemoveNotices("bob".to_owned()),
            Change::RemoveUpstreamPassword("beta".parse().unwrap()),
        ];
        store.change(removals).await.unwrap();
        let before = store.snapshot();
        assert_eq!((before.orgs.len(), before.users.len(), before.overrides.len()), (1, 1, 2));
        assert_eq!((before.webhooks.len(), before.notices.len(), before.notice_ceilings.len()), (1, 1, 1));
        drop(store);
        let after = open(folder.path()).unwrap().snapshot();
        assert_eq!(after.orgs, before.orgs);
        assert_eq!(after.users, before.users);
        assert_eq!(after.people.standing(&"acme".parse().unwrap(), PersonId([9; 16])), refused());
        assert_eq!(after.overrides, before.overrides);
        assert_eq!(after.webhooks, before.webhooks);
        assert_eq!((&after.notices, &after.notice_ceilings), (&before.notices, &before.notice_ceilings));
        assert_eq!(after.upstream_passwords, [("acme".parse().unwrap(), vec![1, 2, 3])].into());
    }

    fn every_way_in() -> Vec<Change> {
        let access = Access { admins_see_messages: true, second_factor_required: true };
        let mut changes = vec![
            Change::PutAccess("acme".parse().unwrap(), access),
            Change::PutSecondFactor("ann".to_owned(), factor()),
        ];
        changes.extend(credentials().map(Change::PutCredential));
        changes.push(Change::PutUse(credentials()[0].id(), 11));
        changes.extend(invitations().map(Change::PutInvitation));
        changes
    }

    #[tokio::test]
    async fn every_way_in_is_there_after_opening_again_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        store.change(every_way_in()).await.unwrap();
        let parts = |of: &Snapshot| {
            let Snapshot { access, second_factors, credentials, used, invitations, .. } = of.clone();
            (access, second_factors, credentials, used, invitations)
        };
        let before = parts(&store.snapshot());
        assert_eq!((before.1.len(), before.2.len(), before.3.len(), before.4.len()), (1, 2, 1, 2));
        drop(store);
        let store = open(folder.path()).unwrap();
        assert_eq!(parts(&store.snapshot()), before);
        let mut removals = vec![Change::RemoveSecondFactor("ann".to_owned())];
        removals.extend(credentials().map(|credential| Change::RemoveCredential(credential.id())));
        removals.extend(invitations().map(|invitation| Change::RemoveInvitation(invitation.id())));
        // a use that comes after the revocation
        removals.push(Change::PutUse(credentials()[0].id(), 12));
        store.change(removals).await.unwrap();
        drop(store);
        let after = parts(&open(folder.path()).unwrap().snapshot());
        assert_eq!((after.1.len(), after.2.len(), after.3.len(), after.4.len()), (0, 0, 0, 0));
    }

    #[tokio::test]
    async fn a_reader_keeps_the_snapshot_it_took() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        let taken = store.snapshot();
        store.change(every_kind()).await.unwrap();
        assert!(taken.orgs.is_empty() && !store.snapshot().orgs.is_empty());
    }

    #[tokio::test]
    async fn changes_are_all_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        let too_large = Override::Destination("x".repeat(VALUE_BYTES_MAX));
        let changes = vec![Change::PutOrg(org("acme")), Change::PutOverride(MessageId(1), 0, too_large)];
        assert!(matches!(store.change(changes).await, Err(StoreError::Refused { .. })));
        assert!(store.snapshot().orgs.is_empty());
        store.change(vec![Change::PutUser(user("ann"))]).await.unwrap();
        drop(store);
        assert!(open(folder.path()).unwrap().snapshot().orgs.is_empty());
    }

    /// After the first failed sync nothing is acknowledged, not even when the disk would work again, and the snapshot
    /// stays as last acknowledged. A restart mends it.
    #[tokio::test]
    async fn after_an_io_error_no_change_is_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let good_syncs = Arc::new(AtomicU64::new(1));
        let disk = FailingDisk { real: RealDisk::default(), free_bytes: u64::MAX, good_syncs: Arc::clone(&good_syncs) };
        let store = SledSettings::open_on(disk, folder.path(), &Options::default()).unwrap();
        store.change(vec![Change::PutOrg(org("acme"))]).await.unwrap();
        let put = || vec![Change::PutUser(user("ann"))];
        assert!(matches!(store.change(put()).await, Err(StoreError::Disk { .. })));
        good_syncs.store(9, Ordering::SeqCst);
        assert!(matches!(store.change(put()).await, Err(StoreError::Disk { .. })));
        assert_eq!((store.snapshot().orgs.len(), store.snapshot().users.len()), (1, 0));
        drop(store);
        let store = open(folder.path()).unwrap();
        assert_eq!(store.snapshot().orgs.len(), 1);
        store.change(put()).await.unwrap();
    }

    #[test]
    fn a_full_disk_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let disk =
            |free_bytes| FailingDisk { real: RealDisk::default(), free_bytes, good_syncs: Arc::new(AtomicU64::new(9)) };
        let error = SledSettings::open_on(disk(FREE_BYTES_MIN - 1), folder.path(), &Options::default()).unwrap_err();
        assert!(error.to_string().contains("free"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "sled was not even opened");
        SledSettings::open_on(disk(FREE_BYTES_MIN), folder.path(), &Options::default()).unwrap();
    }

    /// Rows: a value that cannot be read, a key that does not fit its value, a key of nobody's, a newer layout.
    #[test]
    fn what_cannot_be_read_stops_the_opening_and_names_its_place() {
        for (key, value, place) in [
            ("override/0000000000000001/0000", &b"\x02{}"[..], "override/0000000000000001/0000"),
            ("override/1/0", b"\x01{\"destination\":null}", "override/1/0"),
            ("override/0000000000000001/000A", b"\x01{\"destination\":null}", "000A"),
            ("grant/x", b"\x01{}", "grant/x"),
            ("format", b"\x02", "format"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            drop(open(folder.path()).unwrap());
            let db = open_sled(folder.path(), LOCK_WAIT).unwrap();
            db.insert(key, value).unwrap();
            db.flush().unwrap();
            drop(db);
            let error = open(folder.path()).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }) && error.to_string().contains(place), "{error}");
        }
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let _first = open(folder.path()).unwrap();
        let options = Options { lock_wait: Duration::from_millis(50), ..Options::default() };
        let error = SledSettings::open(folder.path(), &options).unwrap_err().to_string();
        assert!(error.contains("another waxseal"), "{error}");
    }

    /// Names the folder in which [`changes_until_killed`] works.
    const CRASH_FOLDER: &str = "WAXSEAL_TEST_SETTINGS_CRASH_FOLDER";

    #[tokio::test]
    #[ignore = "run by what_was_acknowledged_survives_sigkill, in a process of its own"]
    async fn changes_until_killed() {
        // Run for itself there is nobody to kill it, and nothing to do.
        let Some(folder) = std::env::var_os(CRASH_FOLDER) else { return };
        let store = open(Path::new(&folder)).unwrap();
        for link in 0..u16::MAX {
            // Two entries in one change: both or neither.
            let both = [MessageId(1), MessageId(2)];
            let changes = both.map(|message| Change::PutOverride(message, link, Override::Withdrawn)).to_vec();
            store.change(changes).await.unwrap();
            println!("acknowledged {link}");
        }
    }

    #[test]
    fn what_was_acknowledged_survives_sigkill() {
        for acknowledged_min in [1, 30] {
            let folder = tempfile::tempdir().unwrap();
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "store::settings::tests::changes_until_killed", "--nocapture"])
                .env(CRASH_FOLDER, folder.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut acknowledged = 0;
            for line in BufReader::new(child.stdout.take().unwrap()).lines() {
                if line.unwrap().starts_with("acknowledged ") {
                    acknowledged += 1;
                    if acknowledged == acknowledged_min {
                        child.kill().unwrap();
                    }
                }
            }
            child.wait().unwrap();
            assert!(acknowledged >= acknowledged_min, "the child ended by itself");
            let found = open(folder.path()).unwrap().snapshot();
            for link in 0..acknowledged {
                for message in [MessageId(1), MessageId(2)] {
                    assert!(found.overrides.contains_key(&(message, link)), "{message} {link}");
                }
            }
            assert_eq!(found.overrides.len() % 2, 0, "a change is there whole or not at all");
        }
    }
}

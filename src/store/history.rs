//! The history in SQLite: messages, recipients, links, events and their counters.
//!
//! `migrations/` is the format. WAL with `synchronous = FULL`: a commit is one fsync of the log, and what is
//! acknowledged survives the power. SQLite recovers by itself from a crash and from a full disk. `secure_delete`, and the log is
//! cleared after an erasure, after the retention's work and at the end: what was forgotten is to leave the files.
//! `writer.rs` writes, `readers.rs` reads; then one file a question.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::column::{STORE, store_error};
use super::disk::sync_folder;
use super::readers::Readers;
use super::record::{
    CopyCount, CopyFacts, CopyId, CopySpread, Correspondent, CorrespondentFilter, Counts, DayCount, DayCountFilter,
    Delivery, Expired, Expiry, Held, Judgements, LinkCount, MessageFilter, MessageRecord, MessageSummary, PlaceCount,
    RankedLink, Recording, TimelineEntry, Total, TotalsOf,
};
use super::writer::{Answer, WRITE_WAIT, Work};
use super::{
    BoxFuture, HistoryStore, Inserted, Sealed, StoreError, TimelineFilter, copies, correspondents, counters, details,
    events, message, messages, person, schema, timeline, writer,
};
use crate::settings::OrgName;
use crate::token::MessageId;

/// Writes that may wait for the writer: as many as sessions that may wait for their record.
pub const QUEUE_MAX: usize = 1024;
/// Read connections: pages are few, a question takes milliseconds.
pub const READERS_MAX: usize = 4;
/// How long a question waits for a free connection.
pub const READ_WAIT: Duration = Duration::from_secs(5);
/// How often, and how long apart, the log is tried to be cleared while somebody reads from it: some four seconds.
const CLEAR_TRIES: u32 = 20;
const CLEAR_PAUSE: Duration = Duration::from_millis(100);
/// The writer's page cache, in KiB as the pragma wants it (negative: KiB, not pages).
const WRITER_CACHE_KIB: i64 = -8192;

/// What the store needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// See [`QUEUE_MAX`].
    pub queue_max: usize,
    /// See [`READERS_MAX`].
    pub readers_max: usize,
    /// See [`READ_WAIT`].
    pub read_wait: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { queue_max: QUEUE_MAX, readers_max: READERS_MAX, read_wait: READ_WAIT }
    }
}

/// The history store. Dropping it waits for the writes already queued.
#[derive(Debug)]
pub struct SqliteHistory {
    queue: Option<mpsc::Sender<Work>>,
    writer: Option<JoinHandle<()>>,
    pub(super) readers: Readers,
    erasures: AtomicU64,
}

impl SqliteHistory {
    /// Opens or creates the database file and brings its schema up to date. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Disk`]: no access or no space. [`StoreError::Corrupt`]: no database, damaged, or from a newer
    /// program.
    pub fn open(path: &Path, options: &Options) -> Result<SqliteHistory, StoreError> {
        let connection = open_writer(path)?;
        let (queue, work) = mpsc::channel(options.queue_max);
        let writer = std::thread::Builder::new()
            .name("history-writer".to_owned())
            .spawn(move || writer::run(connection, work))
            .map_err(|e| disk_error(&e))?;
        let readers = Readers::new(path, options.readers_max, options.read_wait);
        Ok(SqliteHistory { queue: Some(queue), writer: Some(writer), readers, erasures: AtomicU64::new(0) })
    }

    pub(super) async fn write<T>(&self, work: impl FnOnce(Answer<T>) -> Work) -> Result<T, StoreError> {
        let queue = self.queue.as_ref().ok_or(StoreError::Closed { store: STORE })?;
        let (answer, done) = oneshot::channel();
        queue.try_send(work(Answer::new(answer))).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy { store: STORE },
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed { store: STORE },
        })?;
        done.await.unwrap_or(Err(StoreError::Closed { store: STORE }))
    }
}

impl HistoryStore for SqliteHistory {
    fn insert(&self, record: MessageRecord) -> BoxFuture<'_, Result<Inserted, StoreError>> {
        Box::pin(self.write(move |answer| Work::Insert(Box::new(record), answer)))
    }

    fn settle(&self, id: MessageId, outcomes: Vec<(u16, Delivery)>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(move |answer| Work::Settle(id, outcomes, answer)))
    }

    fn leave_untracked(
        &self,
        id: MessageId,
        recipients: Vec<u16>,
        why: String,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(move |answer| Work::Untrack(id, recipients, why, answer)))
    }

    fn put_on_record(&self, recording: Arc<Recording>) -> BoxFuture<'_, Result<Vec<i64>, StoreError>> {
        Box::pin(self.write(move |answer| Work::Record(recording, answer)))
    }

    fn try_out(&self) -> BoxFuture<'_, Result<Option<u32>, StoreError>> {
        Box::pin(async move { self.write(Work::TryOut).await.map(Some) })
    }

    fn expire(&self, expiry: Expiry) -> BoxFuture<'_, Result<Expired, StoreError>> {
        Box::pin(self.write(move |answer| Work::Expire(expiry, answer)))
    }

    fn held(&self, address: String, org: Option<OrgName>, limit: u32) -> BoxFuture<'_, Result<Vec<Held>, StoreError>> {
        let ask = move |connection: &Connection| person::held(connection, &address, org.as_ref(), limit);
        Box::pin(self.readers.ask("recipient", ask))
    }

    fn erase(&self, recipients: Vec<(MessageId, u16)>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let erased = self.write(move |answer| Work::Erase(recipients, answer)).await;
            self.erasures.fetch_add(1, Ordering::Release);
            erased?;
            self.clear_traces().await;
            Ok(())
        })
    }

    fn clear_traces(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for _ in 0..CLEAR_TRIES {
                match self.write(Work::Clear).await {
                    Ok(true) => return,
                    Ok(false) => tokio::time::sleep(CLEAR_PAUSE).await,
                    Err(error) => {
                        tracing::warn!(%error, "what was forgotten may still stand in the history's log");
                        return;
                    }
                }
            }
            tracing::warn!(
                "what was forgotten may still stand in the history's log, for somebody reads from it all the time"
            );
        })
    }

    fn erasures(&self) -> u64 {
        self.erasures.load(Ordering::Acquire)
    }

    fn copies(
        &self,
        ids: Vec<CopyId>,
        events_since_ms: Option<i64>,
    ) -> BoxFuture<'_, Result<Vec<Option<CopyFacts>>, StoreError>> {
        Box::pin(self.readers.ask("copies", move |connection| copies::copies(connection, &ids, events_since_ms)))
    }

    fn copy_counts(&self, id: MessageId) -> BoxFuture<'_, Result<Vec<CopyCount>, StoreError>> {
        Box::pin(self.readers.ask("counters", move |connection| counters::of_copies(connection, id)))
    }

    fn judgements(&self) -> BoxFuture<'_, Result<Judgements, StoreError>> {
        Box::pin(self.readers.ask("event", events::judgements))
    }

    fn spreads(&self, id: MessageId) -> BoxFuture<'_, Result<Vec<CopySpread>, StoreError>> {
        Box::pin(self.readers.ask("event", move |connection| copies::spreads(connection, id)))
    }

    fn day_counts(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<DayCount>, StoreError>> {
        Box::pin(self.readers.ask("counters", move |connection| counters::of_days(connection, &filter)))
    }

    fn link_counts(&self, id: MessageId) -> BoxFuture<'_, Result<Vec<LinkCount>, StoreError>> {
        Box::pin(self.readers.ask("counters", move |connection| details::of_links(connection, id)))
    }

    fn sealed_with(&self, key_id: u8) -> BoxFuture<'_, Result<Sealed, StoreError>> {
        Box::pin(self.readers.ask("message", move |connection| details::sealed_with(connection, key_id)))
    }

    fn ranked_links(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<RankedLink>, StoreError>> {
        Box::pin(self.readers.ask("counters", move |connection| details::ranked_links(connection, &filter)))
    }

    fn places(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<PlaceCount>, StoreError>> {
        Box::pin(self.readers.ask("counters", move |connection| details::places(connection, &filter)))
    }

    fn correspondents(&self, filter: CorrespondentFilter) -> BoxFuture<'_, Result<Vec<Correspondent>, StoreError>> {
        Box::pin(self.readers.ask("correspondents", move |c| correspondents::correspondents(c, &filter)))
    }

    fn correspondence(&self, filter: CorrespondentFilter) -> BoxFuture<'_, Result<Vec<Held>, StoreError>> {
        Box::pin(self.readers.ask("correspondents", move |c| correspondents::correspondence(c, &filter)))
    }

    fn totals(&self, filter: DayCountFilter, of: TotalsOf) -> BoxFuture<'_, Result<Vec<Total>, StoreError>> {
        Box::pin(self.readers.ask("counters", move |connection| counters::totals(connection, &filter, of)))
    }

    fn days(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<(i64, Counts)>, StoreError>> {
        Box::pin(self.readers.ask("counters", move |connection| counters::of_all_days(connection, &filter)))
    }

    fn messages(&self, filter: MessageFilter) -> BoxFuture<'_, Result<Vec<MessageSummary>, StoreError>> {
        Box::pin(self.readers.ask("messages", move |connection| messages::messages(connection, &filter)))
    }

    fn message(&self, id: MessageId) -> BoxFuture<'_, Result<Option<MessageRecord>, StoreError>> {
        Box::pin(self.readers.ask("message", move |connection| message::message(connection, id)))
    }

    fn timeline(&self, filter: TimelineFilter) -> BoxFuture<'_, Result<Vec<TimelineEntry>, StoreError>> {
        Box::pin(self.readers.ask("timeline", move |connection| timeline::timeline(connection, &filter)))
    }
}

impl Drop for SqliteHistory {
    fn drop(&mut self) {
        self.queue = None;
        // Who closes last clears the log away, and a reader may not write.
        self.readers.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the history writer ended in a panic");
        }
    }
}

fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    // Created here, for the owner only; SQLite gives its log the same mode.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|e| disk_error(&e))?;
    let failed = |e: rusqlite::Error| store_error("open", &e);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(WRITE_WAIT).map_err(failed)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB).map_err(failed)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        let detail = format!("the file system cannot hold a write-ahead log (journal mode is {mode})");
        return Err(StoreError::Disk { store: STORE, detail });
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    // What is erased is overwritten, on pages that become free, too; FAST would leave those.
    connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(())).map_err(failed)?;
    // What a statement of many rows needs to undo itself is small, and worth no file.
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(failed)?;
    schema::migrate(&mut connection)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        sync_folder(folder).map_err(|e| disk_error(&e))?;
    }
    Ok(connection)
}

fn disk_error(error: &std::io::Error) -> StoreError {
    StoreError::Disk { store: STORE, detail: error.to_string() }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::event::{EventKind, Verdict};
    use crate::store::contract_tests::{event, record};
    use crate::store::record::{DeliveryState, RecipientRecord};

    /// Names the folder in which [`writes_until_killed`] works.
    const CRASH_FOLDER: &str = "WAXSEAL_TEST_CRASH_FOLDER";

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    #[tokio::test]
    async fn a_bad_item_fails_alone_in_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap();
        let twice: Vec<RecipientRecord> = vec![record(2).recipients[0].clone(), record(2).recipients[0].clone()];
        let bad = MessageRecord { recipients: twice, ..record(2) };
        let (first, second, third) = tokio::join!(store.insert(record(1)), store.insert(bad), store.insert(record(3)));
        assert!(matches!(first, Ok(Inserted::Durable)));
        assert!(matches!(second, Err(StoreError::Refused { .. })), "{second:?}");
        assert!(matches!(third, Ok(Inserted::Durable)));
        assert_eq!(store.message(MessageId(2)).await.unwrap(), None, "nothing of the bad one stays");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap();
        let blocker = Connection::open(folder.path().join("h")).unwrap();
        blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
        // The first holds the writer in its wait for the lock; the second is given up while it is still queued.
        let mut first = store.insert(record(1));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut first).await.is_err());
        assert!(tokio::time::timeout(Duration::from_millis(100), store.insert(record(2))).await.is_err());
        blocker.execute_batch("ROLLBACK").unwrap();
        assert_eq!(first.await.unwrap(), Inserted::Durable);
        assert_eq!(store.insert(record(3)).await.unwrap(), Inserted::Durable);
        assert_eq!(store.message(MessageId(2)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_full_queue_is_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { queue_max: 1, ..Options::default() };
        let store = SqliteHistory::open(&folder.path().join("h"), &options).unwrap();
        let blocker = Connection::open(folder.path().join("h")).unwrap();
        blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut first = store.insert(record(1));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut first).await.is_err());
        let mut second = store.insert(record(2));
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut second).await.is_err());
        assert!(matches!(store.insert(record(3)).await, Err(StoreError::Busy { .. })));
        blocker.execute_batch("ROLLBACK").unwrap();
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Inserted::Durable, Inserted::Durable));
    }

    /// How often a text stands in the files of a folder.
    pub(in crate::store) fn traces(folder: &Path, text: &str) -> usize {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        files.map(|bytes| memchr::memmem::find_iter(&bytes, text).count()).sum()
    }

    /// Octets of the log of a database `h`.
    pub(in crate::store) fn log_len(folder: &Path) -> u64 {
        std::fs::metadata(folder.join("h-wal")).map_or(0, |file| file.len())
    }

    /// With the answer it is gone from the files, though somebody was reading from the log just then. As many mails as go on a
    /// page: where SQLite splits one, a copy can stay in its unused room (`docs/PRIVACY.md`).
    #[tokio::test]
    async fn who_is_erased_leaves_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap();
        for id in 1..=8 {
            let mut one = record(id);
            one.recipients[0].address = "forgotten@q.example".to_owned();
            one.recipients[0].name = "Fergus Otten".to_owned();
            store.insert(one).await.unwrap();
            let reply = "550 <forgotten@q.example>".to_owned();
            store
                .settle(MessageId(id), vec![(9, Delivery { state: DeliveryState::Refused, reply, at_ms: 7 })])
                .await
                .unwrap();
        }
        let texts = ["forgotten@q.example", "Fergus Otten"];
        assert!(texts.iter().all(|text| traces(folder.path(), text) > 8));
        let reader = Connection::open(folder.path().join("h")).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM recipient").unwrap();
        let reading = async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            reader.execute_batch("ROLLBACK").unwrap();
        };
        let ids = (1..=8).map(|id| (MessageId(id), 9)).collect();
        let (erased, ()) = tokio::join!(store.erase(ids), reading);
        erased.unwrap();
        assert_eq!(texts.map(|text| traces(folder.path(), text)), [0, 0]);
        assert!(traces(folder.path(), "r7@example.com") > 8, "nobody else");
        assert_eq!(log_len(folder.path()), 0);
    }

    /// Although connections for questions were open.
    #[tokio::test]
    async fn a_clean_end_leaves_no_log() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap();
        store.insert(record(1)).await.unwrap();
        assert!(store.message(MessageId(1)).await.unwrap().is_some());
        assert!(log_len(folder.path()) > 0);
        tokio::task::spawn_blocking(move || drop(store)).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the database alone");
    }

    #[test]
    fn the_files_are_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap();
        runtime().block_on(store.insert(record(1))).unwrap();
        let modes: Vec<u32> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o777)
            .collect();
        assert!(modes.len() >= 2 && modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("h"), vec![b'x'; 8192]).unwrap();
        let error = SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }

    /// The child of the next test: inserts for ever and prints each id once it is acknowledged.
    #[test]
    #[ignore = "run by what_was_acknowledged_survives_sigkill, in a process of its own"]
    fn writes_until_killed() {
        // Run for itself there is nobody to kill it, and nothing to do.
        let Some(folder) = std::env::var_os(CRASH_FOLDER) else { return };
        let store = SqliteHistory::open(&Path::new(&folder).join("h"), &Options::default()).unwrap();
        let store = &store;
        runtime().block_on(async {
            for id in (1..).step_by(8) {
                let group = (id..id + 8).map(|id| async move {
                    store.insert(record(id)).await.unwrap();
                    store.record(vec![event(id, 9, EventKind::Open, Verdict::Person)]).await.unwrap();
                    println!("acknowledged {id}");
                });
                let mut tasks: Vec<_> = group.map(Box::pin).collect();
                std::future::poll_fn(|context| {
                    tasks.retain_mut(|task| task.as_mut().poll(context).is_pending());
                    if tasks.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                })
                .await;
            }
        });
    }

    #[test]
    fn what_was_acknowledged_survives_sigkill() {
        for acknowledged_min in [1, 20, 60] {
            let folder = tempfile::tempdir().unwrap();
            let acknowledged = kill_a_writer(folder.path(), acknowledged_min);
            let store = SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap();
            runtime().block_on(async {
                for id in acknowledged {
                    assert_eq!(store.message(MessageId(id)).await.unwrap(), Some(record(id)));
                    let of_message = TimelineFilter { message: Some(MessageId(id)), limit: 9, ..Default::default() };
                    assert_eq!(store.timeline(of_message).await.unwrap().len(), 1, "the event of {id}");
                }
            });
        }
    }

    /// Runs [`writes_until_killed`] in a process of its own and kills it; the ids it had acknowledged by then.
    fn kill_a_writer(folder: &Path, acknowledged_min: usize) -> Vec<u64> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "store::history::tests::writes_until_killed", "--nocapture"])
            .env(CRASH_FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(id) = line.unwrap().strip_prefix("acknowledged ") {
                acknowledged.push(id.parse().unwrap());
                if acknowledged.len() == acknowledged_min {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= acknowledged_min, "the child ended by itself");
        acknowledged
    }
}

//! The history in SQLite: messages, recipients, links, events and their counters.
//!
//! `migrations/` is the format. WAL with `synchronous = FULL`: a commit is one fsync of the log, and what is
//! acknowledged survives the power. SQLite recovers by itself from a crash and from a full disk.
//! [`super::writer`] writes, [`super::readers`] reads; then one file a question.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::column::{STORE, store_error};
use super::disk::sync_folder;
use super::readers::Readers;
use super::record::{Delivery, MessageFilter, MessageRecord, MessageSummary, TimelineEntry};
use super::writer::{Answer, Work};
use super::{
    BoxFuture, HistoryStore, Inserted, StoreError, TimelineFilter, message, messages, schema, timeline, writer,
};
use crate::event::Event;
use crate::token::MessageId;

/// Writes that may wait for the writer: as many as sessions that may wait for their record.
pub const QUEUE_MAX: usize = 1024;
/// Read connections: pages are few, a question takes milliseconds.
pub const READERS_MAX: usize = 4;
/// How long a question waits for a free connection.
pub const READ_WAIT: Duration = Duration::from_secs(5);
/// How long the writer waits for another process that holds the database, such as an operator's shell.
const WRITE_WAIT: Duration = Duration::from_secs(5);
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
    readers: Readers,
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
        Ok(SqliteHistory { queue: Some(queue), writer: Some(writer), readers })
    }

    async fn write<T>(&self, work: impl FnOnce(Answer<T>) -> Work) -> Result<T, StoreError> {
        let queue = self.queue.as_ref().ok_or(StoreError::Closed { store: STORE })?;
        let (answer, done) = oneshot::channel();
        queue.try_send(work(answer)).map_err(|e| match e {
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

    fn record(&self, events: Vec<Event>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(move |answer| Work::Record(events, answer)))
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
    schema::migrate(&mut connection)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        sync_folder(folder).map_err(|e| disk_error(&e))?;
    }
    Ok(connection)
}

fn disk_error(error: &std::io::Error) -> StoreError {
    StoreError::Disk { store: STORE, detail: error.to_string() }
}

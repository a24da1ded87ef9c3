//! The history's one writer: a thread that commits in groups.
//!
//! **Invariant:** an answer is given after the commit that holds its item, never before. All that wait share one
//! commit (one fsync carries one item or sixty-four at the same price). A bad item fails alone: the group it is in is
//! rolled back and done again with a savepoint around each. Not at once so, for a savepoint costs as much as the work in
//! it: SQLite copies every page that the item changes.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::column::{STORE, store_error};
use super::outbox::{self, Write};
use super::record::{Delivery, Expired, Expiry, MessageRecord, Recording};
use super::{Inserted, StoreError, events, expire, insert, person, schema, settle};
use crate::token::MessageId;

/// The most items in one commit.
const GROUP_MAX: usize = 256;
/// How long the writer waits for another process that holds the database, such as an operator's shell.
pub(super) const WRITE_WAIT: Duration = Duration::from_secs(5);
/// How long it waits for readers who hold the log; mail and events wait with it.
const CLEAR_WAIT: Duration = Duration::from_millis(100);
/// The same at the end, when nothing waits any more.
const LAST_CLEAR_WAIT: Duration = Duration::from_secs(2);

/// Where an answer goes, and what it will be once it is committed.
#[derive(Debug)]
pub(super) struct Answer<T> {
    to: oneshot::Sender<Result<T, StoreError>>,
    value: Option<T>,
}

impl<T> Answer<T> {
    /// Nothing is known yet.
    pub(super) fn new(to: oneshot::Sender<Result<T, StoreError>>) -> Answer<T> {
        Answer { to, value: None }
    }

    /// What it is, if the commit succeeds.
    fn is(&mut self, value: T) {
        self.value = Some(value);
    }

    /// Whether anybody still waited for it. Without a value nothing is said: the caller hears that the store is closed.
    fn send(self, committed: Result<(), StoreError>) -> bool {
        match (committed, self.value) {
            (Ok(()), Some(value)) => self.to.send(Ok(value)).is_ok(),
            (Ok(()), None) => false,
            (Err(error), _) => self.to.send(Err(error)).is_ok(),
        }
    }
}

/// One write that waits.
#[derive(Debug)]
pub(super) enum Work {
    /// A message record. Not begun when nobody waits for it any more: its mail went out as it came.
    Insert(Box<MessageRecord>, Answer<Inserted>),
    /// States of recipients.
    Settle(MessageId, Vec<(u16, Delivery)>, Answer<()>),
    /// Recipients whose copies left as they came, and why.
    Untrack(MessageId, Vec<u16>, String, Answer<()>),
    /// Events.
    Record(Arc<Recording>, Answer<Vec<i64>>),
    /// Recipients who become nobody.
    Erase(Vec<(MessageId, u16)>, Answer<()>),
    /// A slice of forgetting.
    Expire(Expiry, Answer<Expired>),
    /// What is to be told, and what was.
    Outbox(Write, Answer<u64>),
    /// Nothing, durably.
    TryOut(Answer<u32>),
    /// What was overwritten leaves the log, too; whether it did.
    Clear(Answer<bool>),
}

/// Works until every sender is gone and the queue is empty.
pub(super) fn run(mut connection: Connection, mut queue: mpsc::Receiver<Work>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        let clear: Vec<Work> = group.extract_if(.., |work| matches!(work, Work::Clear(_))).collect();
        commit(&mut connection, group);
        if !clear.is_empty() {
            answer_cleared(clear, &clear_log(&connection, CLEAR_WAIT));
        }
    }
    match clear_log(&connection, LAST_CLEAR_WAIT) {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!("the history's log is in use to the end: old pages stay in it until the next start")
        }
        Err(error) => tracing::warn!(%error, "the history's log could not be cleared: old pages stay in it"),
    }
    if let Err((_, error)) = connection.close() {
        tracing::error!(%error, "the history store did not close cleanly; it recovers when it is opened");
    }
}

/// Carries the log into the database and cuts it to nothing: it holds pages as they were before something was erased. Whether
/// that was possible; not while somebody reads from it.
fn clear_log(connection: &Connection, wait: Duration) -> Result<bool, StoreError> {
    let failed = |e: rusqlite::Error| store_error("log", &e);
    connection.busy_timeout(wait).map_err(failed)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    connection.busy_timeout(WRITE_WAIT).map_err(failed)?;
    busy.map(|busy| busy == 0).map_err(failed)
}

fn answer_cleared(waiting: Vec<Work>, cleared: &Result<bool, StoreError>) {
    for work in waiting {
        if let Work::Clear(mut answer) = work {
            let result = cleared.clone().map(|cleared| answer.is(cleared));
            if !answer.send(result) {
                tracing::debug!("the history's log was cleared after its caller had left");
            }
        }
    }
}

fn commit(connection: &mut Connection, mut group: Vec<Work>) {
    group.retain(|work| !work.is_given_up());
    if group.is_empty() {
        return;
    }
    let results = match together(connection, &mut group) {
        Ok(()) => vec![Ok(()); group.len()],
        Err(Failed::Item(_)) if group.len() > 1 => apart(connection, &mut group),
        Err(Failed::Item(error) | Failed::Group(error)) => vec![Err(error); group.len()],
    };
    for (work, result) in group.into_iter().zip(results) {
        if !work.answer(result) {
            tracing::debug!("a write to the history was decided after its caller had left");
        }
    }
}

/// Why a group is not on the disk.
enum Failed {
    /// One item cannot be written. Perhaps the others can.
    Item(StoreError),
    /// Nothing can.
    Group(StoreError),
}

/// All in one transaction; all or nothing.
fn together(connection: &Connection, group: &mut [Work]) -> Result<(), Failed> {
    begin(connection).map_err(Failed::Group)?;
    for work in group.iter_mut() {
        if let Err(error) = work.perform(connection) {
            roll_back(connection);
            return Err(Failed::Item(store_error(work.table(), &error)));
        }
    }
    end(connection, group.len()).map_err(Failed::Group)
}

/// All in one transaction, each with a savepoint; what each came to.
fn apart(connection: &Connection, group: &mut [Work]) -> Vec<Result<(), StoreError>> {
    let begun = begin(connection);
    let results: Vec<_> = group.iter_mut().map(|work| begun.clone().and_then(|()| alone(connection, work))).collect();
    match begun.and_then(|()| end(connection, group.len())) {
        Ok(()) => results,
        Err(error) => results.into_iter().map(|result| result.and(Err(error.clone()))).collect(),
    }
}

fn alone(connection: &Connection, work: &mut Work) -> Result<(), StoreError> {
    let table = work.table();
    let failed = |e: rusqlite::Error| store_error(table, &e);
    let run =
        |sql: &str| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map_err(failed);
    if connection.is_autocommit() {
        // A full disk can end the whole transaction; what follows it must not commit on its own.
        let detail = "the group was rolled back".to_owned();
        return Err(StoreError::Disk { store: STORE, detail });
    }
    run("SAVEPOINT item")?;
    match work.perform(connection) {
        Ok(()) => run("RELEASE item").map(|_| ()),
        Err(error) => {
            run("ROLLBACK TO item")?;
            run("RELEASE item")?;
            Err(failed(error))
        }
    }
}

fn begin(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch("BEGIN IMMEDIATE").map_err(|e| store_error("begin", &e)).inspect_err(|error| {
        tracing::error!(%error, "the history store cannot write");
    })
}

fn end(connection: &Connection, items: usize) -> Result<(), StoreError> {
    connection.execute_batch("COMMIT").map_err(|e| store_error("commit", &e)).inspect_err(|error| {
        tracing::error!(%error, items, "the history store cannot write");
        roll_back(connection);
    })
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(%error, "the history store cannot roll back");
    }
}

impl Work {
    /// Whether nobody wants it done any more.
    fn is_given_up(&self) -> bool {
        matches!(self, Work::Insert(_, answer) if answer.to.is_closed())
    }

    fn perform(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Work::Insert(record, answer) => answer.is(insert::insert(connection, record)?),
            Work::Settle(id, outcomes, answer) => answer.is(settle::settle(connection, *id, outcomes)?),
            Work::Untrack(id, recipients, why, answer) => {
                answer.is(settle::leave_untracked(connection, *id, recipients, why)?)
            }
            Work::Record(recording, answer) => answer.is(events::record(connection, recording)?),
            Work::Erase(recipients, answer) => answer.is(person::erase(connection, recipients)?),
            Work::Expire(expiry, answer) => answer.is(expire::expire(connection, expiry)?),
            Work::Outbox(write, answer) => answer.is(outbox::write(connection, write)?),
            Work::TryOut(answer) => answer.is(schema::write_again(connection)?),
            // Only outside of a transaction: see `run`.
            Work::Clear(_) => {}
        }
        Ok(())
    }

    /// For errors.
    fn table(&self) -> &'static str {
        match self {
            Work::Insert(..) => "message",
            Work::Settle(..) | Work::Untrack(..) | Work::Erase(..) => "recipient",
            Work::Record(..) => "event",
            Work::Expire(..) => "retention",
            Work::Outbox(..) => "outbox",
            Work::TryOut(..) => "schema",
            Work::Clear(..) => "log",
        }
    }

    /// Whether the caller still waited.
    fn answer(self, committed: Result<(), StoreError>) -> bool {
        match self {
            Work::Insert(_, answer) => answer.send(committed),
            Work::Settle(.., answer) | Work::Untrack(.., answer) | Work::Erase(_, answer) => answer.send(committed),
            Work::Record(_, answer) => answer.send(committed),
            Work::Expire(_, answer) => answer.send(committed),
            Work::Outbox(_, answer) => answer.send(committed),
            Work::TryOut(answer) => answer.send(committed),
            Work::Clear(answer) => answer.send(committed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract_tests::{event, record};
    use super::*;
    use crate::event::{EventKind, Verdict};

    fn pages(connection: &Connection) -> i64 {
        connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
    }

    fn room_for(connection: &Connection, pages: i64) {
        let set = connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0));
        assert_eq!(set.unwrap(), pages);
    }

    /// A message too large for a few pages, and its answer.
    fn insertion(id: u64) -> (Work, oneshot::Receiver<Result<Inserted, StoreError>>) {
        let (answer, reply) = oneshot::channel();
        let large = MessageRecord { notes: vec!["n".repeat(100_000)], ..record(id) };
        (Work::Insert(Box::new(large), Answer::new(answer)), reply)
    }

    /// SQLite may end the whole transaction when the disk is full. Nothing of the group is then acknowledged, nothing
    /// of it commits on its own, and with room again the next group goes through.
    #[test]
    fn on_a_full_disk_nothing_is_acknowledged_and_room_mends_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        let present = pages(&connection);
        room_for(&connection, present + 4);
        let (first, mut first_reply) = insertion(1);
        let (second, mut second_reply) = insertion(2);
        let (answer, mut third_reply) = oneshot::channel();
        let third = Work::Record(
            Arc::new(Recording { events: vec![event(1, 9, EventKind::Open, Verdict::Person)], mended: Vec::new() }),
            Answer::new(answer),
        );
        commit(&mut connection, vec![first, second, third]);
        for reply in [&mut first_reply, &mut second_reply] {
            assert!(matches!(reply.try_recv().unwrap(), Err(StoreError::Disk { .. })));
        }
        let recorded = third_reply.try_recv().unwrap().is_ok();
        let events: i64 = connection.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap();
        assert_eq!(events, i64::from(recorded), "what was acknowledged is there, and nothing else");
        let messages: i64 = connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap();
        assert_eq!((messages, connection.is_autocommit()), (0, true));

        room_for(&connection, present + 400);
        let (again, mut reply) = insertion(1);
        commit(&mut connection, vec![again]);
        assert!(matches!(reply.try_recv().unwrap(), Ok(Inserted::Durable)));
    }

    /// A try writes to the medium, changes nothing, and is refused where nothing can be written.
    #[test]
    fn writing_is_tried_out_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = Connection::open(folder.path().join("h.sqlite")).unwrap();
        schema::migrate(&mut connection).unwrap();
        let modified = || std::fs::metadata(folder.path().join("h.sqlite")).unwrap().modified().unwrap();
        let before = modified();
        let (answer, mut reply) = oneshot::channel();
        commit(&mut connection, vec![Work::TryOut(Answer::new(answer))]);
        let version = reply.try_recv().unwrap().unwrap();
        assert_eq!(version, connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).unwrap());
        assert!(modified() > before, "nothing reached the file");
        connection.pragma_update(None, "query_only", true).unwrap();
        let (answer, mut reply) = oneshot::channel();
        commit(&mut connection, vec![Work::TryOut(Answer::new(answer))]);
        assert!(reply.try_recv().unwrap().is_err());
    }

    #[test]
    fn a_database_that_cannot_be_written_acknowledges_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        connection.pragma_update(None, "query_only", true).unwrap();
        let (work, mut reply) = insertion(1);
        commit(&mut connection, vec![work]);
        assert!(reply.try_recv().unwrap().is_err());
        assert!(connection.is_autocommit(), "no transaction is left open");
    }
}

//! The history's one writer: a thread that commits in groups.
//!
//! **Invariant:** an answer is given after the commit that holds its item, never before. All that wait share one
//! commit (one fsync carries one item or sixty-four at the same price); each item has a savepoint, so a bad one fails
//! alone.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::column::{STORE, store_error};
use super::outbox::{self, Write};
use super::record::{Delivery, Expired, Expiry, MessageRecord, Recording};
use super::{Inserted, StoreError, events, expire, insert, person, settle};
use crate::token::MessageId;

/// The most items in one commit.
const GROUP_MAX: usize = 256;

/// Where an answer goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// One write that waits.
#[derive(Debug)]
pub(super) enum Work {
    /// A message record. Not begun when nobody waits for it any more: its mail went out as it came.
    Insert(Box<MessageRecord>, Answer<Inserted>),
    /// States of recipients.
    Settle(MessageId, Vec<(u16, Delivery)>, Answer<()>),
    /// Events.
    Record(Arc<Recording>, Answer<Vec<i64>>),
    /// Recipients who become nobody.
    Erase(Vec<(MessageId, u16)>, Answer<()>),
    /// A slice of forgetting.
    Expire(Expiry, Answer<Expired>),
    /// What is to be told, and what was.
    Outbox(Write, Answer<u64>),
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
        commit(&mut connection, group);
    }
    if let Err((_, error)) = connection.close() {
        tracing::error!(%error, "the history store did not close cleanly; it recovers when it is opened");
    }
}

/// What one item came to, waiting for the commit.
enum Outcome {
    Inserted(Answer<Inserted>, Result<Inserted, StoreError>),
    Done(Answer<()>, Result<(), StoreError>),
    Recorded(Answer<Vec<i64>>, Result<Vec<i64>, StoreError>),
    Expired(Answer<Expired>, Result<Expired, StoreError>),
    Counted(Answer<u64>, Result<u64, StoreError>),
}

fn commit(connection: &mut Connection, group: Vec<Work>) {
    let begun = connection.execute_batch("BEGIN IMMEDIATE").map_err(|e| store_error("begin", &e));
    let outcomes: Vec<Outcome> = group.into_iter().filter_map(|work| attempt(connection, &begun, work)).collect();
    let committed = begun.and_then(|()| connection.execute_batch("COMMIT").map_err(|e| store_error("commit", &e)));
    if let Err(error) = &committed {
        tracing::error!(%error, items = outcomes.len(), "the history store cannot write");
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the history store cannot roll back");
        }
    }
    for outcome in outcomes {
        answer(outcome, &committed);
    }
}

/// Does one item inside its savepoint; `None` when nobody wants it any more.
fn attempt(connection: &Connection, begun: &Result<(), StoreError>, work: Work) -> Option<Outcome> {
    match work {
        Work::Insert(_, answer) if answer.is_closed() => None,
        Work::Insert(record, answer) => {
            let result = begun.clone().and_then(|()| apart(connection, "message", |c| insert::insert(c, &record)));
            Some(Outcome::Inserted(answer, result))
        }
        Work::Settle(id, outcomes, answer) => {
            let result =
                begun.clone().and_then(|()| apart(connection, "recipient", |c| settle::settle(c, id, &outcomes)));
            Some(Outcome::Done(answer, result))
        }
        Work::Record(recording, answer) => {
            let result = begun.clone().and_then(|()| apart(connection, "event", |c| events::record(c, &recording)));
            Some(Outcome::Recorded(answer, result))
        }
        Work::Erase(recipients, answer) => {
            let result = begun.clone().and_then(|()| apart(connection, "recipient", |c| person::erase(c, &recipients)));
            Some(Outcome::Done(answer, result))
        }
        Work::Expire(expiry, answer) => {
            let result = begun.clone().and_then(|()| apart(connection, "retention", |c| expire::expire(c, expiry)));
            Some(Outcome::Expired(answer, result))
        }
        Work::Outbox(write, answer) => {
            let result = begun.clone().and_then(|()| apart(connection, "outbox", |c| outbox::write(c, &write)));
            Some(Outcome::Counted(answer, result))
        }
    }
}

fn apart<T>(
    connection: &Connection,
    table: &'static str,
    write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let failed = |e: rusqlite::Error| store_error(table, &e);
    let run =
        |sql: &str| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map_err(failed);
    if connection.is_autocommit() {
        // A full disk can end the whole transaction; what follows it must not commit on its own.
        let detail = "the group was rolled back".to_owned();
        return Err(StoreError::Disk { store: STORE, detail });
    }
    run("SAVEPOINT item")?;
    match write(connection) {
        Ok(value) => run("RELEASE item").map(|_| value),
        Err(error) => {
            run("ROLLBACK TO item")?;
            run("RELEASE item")?;
            Err(failed(error))
        }
    }
}

fn answer(outcome: Outcome, committed: &Result<(), StoreError>) {
    let heard = match outcome {
        Outcome::Inserted(to, result) => to.send(committed.clone().and(result)).is_ok(),
        Outcome::Done(to, result) => to.send(committed.clone().and(result)).is_ok(),
        Outcome::Recorded(to, result) => to.send(committed.clone().and(result)).is_ok(),
        Outcome::Expired(to, result) => to.send(committed.clone().and(result)).is_ok(),
        Outcome::Counted(to, result) => to.send(committed.clone().and(result)).is_ok(),
    };
    if !heard {
        tracing::debug!("a write to the history was decided after its caller had left");
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract_tests::{event, record};
    use super::super::schema;
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
        (Work::Insert(Box::new(large), answer), reply)
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
            answer,
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

//! Write: forget what is older than the retention allows, a slice at a time, so that mail and events need not wait.
//!
//! **Invariant:** the counters stay, and so do the links: they need no record. What was recorded lately for a message
//! that is forgotten names nobody any more.

use rusqlite::{Connection, params};

use super::column::Column;
use super::record::{Expired, Expiry};
use crate::token::MessageId;

/// Events looked at in one slice: some 2 ms of the writer's time.
const EVENTS_MAX: u32 = 500;
/// Messages forgotten in one slice, with their recipients and links.
const MESSAGES_MAX: u32 = 20;
/// The walk over the events, oldest first, ends when so many in a row are young enough: a clock that was wrong for a while
/// hides no more than that.
const YOUNG_MAX: u32 = 10_000;

/// One slice: of the events while there are old ones, then of the messages, which have few events left by then. The caller
/// commits.
pub(super) fn expire(connection: &Connection, expiry: Expiry) -> rusqlite::Result<Expired> {
    let expired = expire_events(connection, expiry)?;
    if expired.next.is_some() {
        return Ok(expired);
    }
    let messages = expire_messages(connection, expiry.messages_before_ms)?;
    let next = (messages == MESSAGES_MAX).then_some(Expiry { after_sequence: i64::MAX, young: 0, ..expiry });
    Ok(Expired { messages, next, ..expired })
}

fn expire_events(connection: &Connection, expiry: Expiry) -> rusqlite::Result<Expired> {
    let seen: Vec<(i64, bool)> = connection
        .prepare_cached("SELECT sequence, at_ms < ?2 FROM event WHERE sequence > ?1 ORDER BY sequence LIMIT ?3")?
        .query_map(params![expiry.after_sequence, expiry.events_before_ms, EVENTS_MAX], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut delete = connection.prepare_cached("DELETE FROM event WHERE sequence = ?1")?;
    let (mut events, mut young) = (0, expiry.young);
    for (sequence, old) in &seen {
        if *old {
            delete.execute(params![sequence])?;
            events += 1;
            young = 0;
        } else {
            young += 1;
        }
    }
    let last = seen.last().filter(|_| seen.len() == EVENTS_MAX as usize && young < YOUNG_MAX);
    let next = last.map(|(sequence, _)| Expiry { after_sequence: *sequence, young, ..expiry });
    Ok(Expired { messages: 0, events, next })
}

fn expire_messages(connection: &Connection, before_ms: i64) -> rusqlite::Result<u32> {
    let old: Vec<MessageId> = connection
        .prepare_cached("SELECT id FROM message WHERE accepted_at_ms < ?1 ORDER BY accepted_at_ms LIMIT ?2")?
        .query_map(params![before_ms, MESSAGES_MAX], |row| Ok(row.get::<_, Column<MessageId>>(0)?.0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &old {
        for sql in [
            "DELETE FROM recipient WHERE message = ?1",
            "DELETE FROM link WHERE message = ?1",
            "DELETE FROM copy_count WHERE message = ?1",
            "DELETE FROM refusal WHERE message = ?1",
            "DELETE FROM webhook_delivery WHERE message = ?1",
            "DELETE FROM mail_notice WHERE message = ?1",
            "UPDATE event SET at_ms = at_ms - at_ms % 86400000, country = NULL, city = NULL, via = NULL, agent_family = NULL,
                              os_family = NULL, device_family = NULL, network_hash = NULL
             WHERE message = ?1 AND network_hash IS NOT NULL",
            "DELETE FROM message WHERE id = ?1",
        ] {
            connection.prepare_cached(sql)?.execute(params![Column(*id)])?;
        }
    }
    Ok(u32::try_from(old.len()).unwrap_or(u32::MAX))
}

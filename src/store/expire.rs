//! Write: forget what is older than the retention allows, a slice at a time, so that mail and events need not wait.
//!
//! **Invariant:** the counters stay, and so do the links: they need no record. Destinations and places by the day are no mere
//! counters: they can tell of somebody, and go with the events. What was recorded lately for a message that is forgotten names
//! nobody any more. No slice is larger than it says, whatever there is to forget.

use rusqlite::{Connection, Row, params};

use super::column::Column;
use super::events::WITHOUT_PERSON;
use super::record::{Expired, Expiry};
use super::{correspondents, events};
use crate::settings::OrgName;
use crate::token::MessageId;

/// The walk over the events, oldest first, ends when so many in a row are young enough: a clock that was wrong for a while
/// hides no more than that.
const YOUNG_MAX: u32 = 10_000;

/// One slice: of the events while there are old ones, then of what was counted of them by the day, then of the messages, which
/// have few events left by then. The caller commits.
pub(super) fn expire(connection: &Connection, expiry: &Expiry) -> rusqlite::Result<Expired> {
    let expired = expire_events(connection, expiry)?;
    if expired.next.is_some() {
        return Ok(expired);
    }
    let again = Expiry { after_sequence: i64::MAX, young: 0, ..expiry.clone() };
    if expire_days(connection, expiry)? {
        return Ok(Expired { next: Some(again), ..expired });
    }
    let messages = expire_messages(connection, expiry)?;
    let next = (messages == expiry.messages_max).then_some(again);
    Ok(Expired { messages, next, ..expired })
}

/// Destinations and places of old days, of everybody's and then of each organisation that keeps its events for a shorter time.
/// Whether the slice was full, so that there may be more.
fn expire_days(connection: &Connection, expiry: &Expiry) -> rusqlite::Result<bool> {
    const TABLES: [(&str, &str); 2] = [("link_day", "destination"), ("place_day", "country")];
    let mut left = i64::from(expiry.events_max);
    let forget = |sql: &str, day: i64, left: i64, org: Option<&str>| -> rusqlite::Result<i64> {
        let mut delete = connection.prepare_cached(sql)?;
        let forgotten = match org {
            None => delete.execute(params![day, left])?,
            Some(org) => delete.execute(params![day, left, org])?,
        };
        Ok(i64::try_from(forgotten).unwrap_or(left).min(left))
    };
    for (table, detail) in TABLES {
        let delete = |of: &str| {
            format!(
                "DELETE FROM {table} WHERE (org, login, day, {detail}) IN
                     (SELECT org, login, day, {detail} FROM {table} WHERE {of} LIMIT ?2)"
            )
        };
        let day = events::day(expiry.events_before_ms);
        left -= forget(&delete("day < ?1"), day, left, None)?;
        for org in expiry.of_orgs.keys() {
            if left == 0 {
                return Ok(true);
            }
            let day = events::day(expiry.events_before_ms(Some(org)));
            left -= forget(&delete("day < ?1 AND org = ?3"), day, left, Some(org.as_str()))?;
        }
        if left == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn expire_events(connection: &Connection, expiry: &Expiry) -> rusqlite::Result<Expired> {
    // Whose mail it is matters only where somebody keeps events for a shorter time.
    let org = if expiry.of_orgs.is_empty() { "NULL" } else { "(SELECT org FROM message WHERE id = event.message)" };
    let seen: Vec<(i64, i64, Option<OrgName>)> = connection
        .prepare_cached(&format!(
            "SELECT sequence, at_ms, {org} FROM event WHERE sequence > ?1 ORDER BY sequence LIMIT ?2"
        ))?
        .query_map(params![expiry.after_sequence, expiry.events_max], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<Column<_>>>(2)?.map(|org| org.0)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let shortest_ms = expiry.of_orgs.values().fold(expiry.events_before_ms, |last, before| last.max(*before));
    let mut delete = connection.prepare_cached("DELETE FROM event WHERE sequence = ?1")?;
    let (mut events, mut young) = (0, expiry.young);
    for (sequence, at_ms, org) in &seen {
        young = if *at_ms < shortest_ms { 0 } else { young + 1 };
        if *at_ms < expiry.events_before_ms(org.as_ref()) {
            delete.execute(params![sequence])?;
            events += 1;
        }
    }
    let last = seen.last().filter(|_| seen.len() == expiry.events_max as usize && young < YOUNG_MAX);
    let next = last.map(|(sequence, ..)| Expiry { after_sequence: *sequence, young, ..expiry.clone() });
    Ok(Expired { messages: 0, events, next })
}

fn expire_messages(connection: &Connection, expiry: &Expiry) -> rusqlite::Result<u32> {
    let old = old_messages(connection, expiry)?;
    for id in &old {
        correspondents::forget(connection, *id, None)?;
        for sql in [
            "DELETE FROM recipient WHERE message = ?1",
            "DELETE FROM link WHERE message = ?1",
            "DELETE FROM copy_count WHERE message = ?1",
            "DELETE FROM link_count WHERE message = ?1",
            "DELETE FROM refusal WHERE message = ?1",
            "DELETE FROM webhook_delivery WHERE message = ?1",
            "DELETE FROM mail_notice WHERE message = ?1",
            &format!("UPDATE event SET {WITHOUT_PERSON} WHERE message = ?1 AND network_hash IS NOT NULL"),
            "DELETE FROM message WHERE id = ?1",
        ] {
            connection.prepare_cached(sql)?.execute(params![Column(*id)])?;
        }
    }
    Ok(u32::try_from(old.len()).unwrap_or(u32::MAX))
}

/// The oldest of everybody's, then of each organisation that keeps its messages for a shorter time; as many as a slice takes.
fn old_messages(connection: &Connection, expiry: &Expiry) -> rusqlite::Result<Vec<MessageId>> {
    let id = |row: &Row<'_>| Ok(row.get::<_, Column<MessageId>>(0)?.0);
    let mut old: Vec<MessageId> = connection
        .prepare_cached("SELECT id FROM message WHERE accepted_at_ms < ?1 ORDER BY accepted_at_ms LIMIT ?2")?
        .query_map(params![expiry.messages_before_ms, expiry.messages_max], id)?
        .collect::<rusqlite::Result<_>>()?;
    for org in expiry.messages_of_orgs.keys() {
        let left = expiry.messages_max.saturating_sub(u32::try_from(old.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
        // What the first question found is found again here, and is not to be counted twice.
        let mut select = connection.prepare_cached(
            "SELECT id FROM message WHERE org = ?1 AND accepted_at_ms >= ?2 AND accepted_at_ms < ?3
             ORDER BY accepted_at_ms LIMIT ?4",
        )?;
        let (from, until) = (expiry.messages_before_ms, expiry.messages_before_ms(org));
        for found in select.query_map(params![org.as_str(), from, until, left], id)? {
            old.push(found?);
        }
    }
    Ok(old)
}

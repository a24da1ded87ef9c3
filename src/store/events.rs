//! Write: events, with the counters of their messages in the same commit.
//!
//! **Invariant:** what is kept of an event follows the mode its copy was sent under. Only `individual` keeps time of
//! day, place, device and network; `aggregate` keeps the day. A message that is not known (its record was erased or
//! lost, its links work on) is kept as an aggregate.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Statement, params};

use super::column::Column;
use crate::event::{Event, EventKind};
use crate::settings::Mode;
use crate::token::MessageId;

const INSERT: &str = "
    INSERT INTO event (at_ms, message, recipient, link, kind, verdict, rule, country,
                       agent_family, os_family, device_family, network_hash)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

const DAY_MS: i64 = 86_400_000;

/// What is kept of an event in aggregate mode: the day, what was opened or followed, and the verdict.
pub(super) fn without_person(event: &Event) -> Event {
    Event {
        at_ms: event.at_ms - event.at_ms.rem_euclid(DAY_MS),
        id: event.id,
        kind: event.kind,
        verdict: event.verdict,
        rule: event.rule.clone(),
        country: None,
        agent_family: None,
        os_family: None,
        device_family: None,
        network_hash: None,
    }
}

/// What a group of events adds to one message's counters.
#[derive(Debug, Default)]
struct Added {
    opens: i64,
    clicks: i64,
    machine_opens: i64,
    machine_clicks: i64,
}

/// Adds the events in order. The caller commits.
pub(super) fn record(connection: &Connection, events: &[Event]) -> rusqlite::Result<()> {
    let mut added: HashMap<MessageId, Added> = HashMap::new();
    let mut modes: HashMap<(MessageId, u16, EventKind), Mode> = HashMap::new();
    let mut into = connection.prepare_cached(INSERT)?;
    for event in events {
        let copy = (event.id.message, event.id.recipient, event.kind);
        let mode = match modes.get(&copy) {
            Some(mode) => *mode,
            None => *modes.entry(copy).or_insert(mode_of(connection, event)?),
        };
        match mode {
            Mode::Individual => insert(&mut into, event)?,
            Mode::Off | Mode::Aggregate => insert(&mut into, &without_person(event))?,
        }
        let counters = added.entry(event.id.message).or_default();
        match (event.kind, event.verdict.counts()) {
            (EventKind::Open, true) => counters.opens += 1,
            (EventKind::Click, true) => counters.clicks += 1,
            (EventKind::Open, false) => counters.machine_opens += 1,
            (EventKind::Click, false) => counters.machine_clicks += 1,
        }
    }
    for (message, counters) in &added {
        count(connection, *message, counters)?;
    }
    Ok(())
}

/// The mode the event's copy was sent under.
fn mode_of(connection: &Connection, event: &Event) -> rusqlite::Result<Mode> {
    let sql = match event.kind {
        EventKind::Open => "SELECT opens FROM recipient WHERE message = ?1 AND copy_index = ?2 LIMIT 1",
        EventKind::Click => "SELECT links FROM recipient WHERE message = ?1 AND copy_index = ?2 LIMIT 1",
    };
    let mode = connection
        .prepare_cached(sql)?
        .query_row(params![Column(event.id.message), event.id.recipient], |row| row.get::<_, Column<Mode>>(0))
        .optional()?;
    Ok(mode.map_or(Mode::Aggregate, |mode| mode.0))
}

fn insert(into: &mut Statement<'_>, event: &Event) -> rusqlite::Result<()> {
    into.execute(params![
        event.at_ms,
        Column(event.id.message),
        event.id.recipient,
        event.id.link,
        event.kind.as_str(),
        event.verdict.as_str(),
        event.rule,
        event.country,
        event.agent_family,
        event.os_family,
        event.device_family,
        event.network_hash,
    ])
    .map(|_| ())
}

fn count(connection: &Connection, message: MessageId, added: &Added) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE message SET opens = opens + ?2, clicks = clicks + ?3,
                                machine_opens = machine_opens + ?4, machine_clicks = machine_clicks + ?5
             WHERE id = ?1",
        )?
        .execute(params![Column(message), added.opens, added.clicks, added.machine_opens, added.machine_clicks])
        .map(|_| ())
}

//! Write: events, with the counters of their messages in the same commit.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::column::Column;
use crate::event::{Event, EventKind};
use crate::token::MessageId;

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
    for event in events {
        insert(connection, event)?;
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

fn insert(connection: &Connection, event: &Event) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO event (at_ms, message, recipient, link, kind, verdict, rule, country,
                                agent_family, os_family, device_family, network_hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
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

//! Question: what is known of some copies, for judging the events of their readers.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::column::Column;
use super::record::{CopyFacts, CopyId, CopySpread, DeliveryState, PastEvent, Reader};
use crate::event::Rule;
use crate::token::MessageId;

/// The most events of a message that are looked through for those of a copy's last minute.
const PAST_MAX: u32 = 1000;

/// The facts of each copy asked for, in that order; `None` when its message is not known. With a time, the copy's events
/// since then too.
pub(super) fn copies(
    connection: &Connection,
    ids: &[CopyId],
    events_since_ms: Option<i64>,
) -> rusqlite::Result<Vec<Option<CopyFacts>>> {
    ids.iter().map(|id| copy(connection, *id, events_since_ms)).collect()
}

fn copy(connection: &Connection, id: CopyId, events_since_ms: Option<i64>) -> rusqlite::Result<Option<CopyFacts>> {
    let found = connection
        .prepare_cached(
            "SELECT org, network_hash, (SELECT count(*) FROM link WHERE message = ?1), login FROM message WHERE id = ?1",
        )?
        .query_row(params![Column(id.message)], |row| {
            Ok(CopyFacts {
                org: row.get::<_, Column<_>>(0)?.0,
                login: row.get(3)?,
                network_hash: row.get(1)?,
                links: row.get(2)?,
                recipients: 0,
                accepted_at_ms: None,
                waiting_since_ms: None,
                settled: true,
                readers: Vec::new(),
                past: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut facts) = found else { return Ok(None) };
    let mut select = connection.prepare_cached(
        "SELECT state, at_ms, address, opens, links FROM recipient WHERE message = ?1 AND copy_index = ?2",
    )?;
    let mut rows = select.query(params![Column(id.message), id.copy_index])?;
    while let Some(row) = rows.next()? {
        let reader =
            Reader { address: row.get(2)?, opens: row.get::<_, Column<_>>(3)?.0, links: row.get::<_, Column<_>>(4)?.0 };
        facts.add(row.get::<_, Column<_>>(0)?.0, row.get(1)?, reader);
    }
    if let Some(since_ms) = events_since_ms {
        facts.past = past(connection, id, since_ms)?;
    }
    Ok(Some(facts))
}

/// From how far around each copy of a message was read. Reads the events of that one mail, which the index gives together.
pub(super) fn spreads(connection: &Connection, id: MessageId) -> rusqlite::Result<Vec<CopySpread>> {
    connection
        .prepare_cached(
            "SELECT recipient, count(DISTINCT country) FILTER (WHERE own), count(DISTINCT network_hash) FILTER (WHERE own),
                    count(*)
             FROM (SELECT *, verdict <> 'proxy' AND via IS NULL AS own FROM event
                   WHERE message = ?1 AND verdict NOT IN ('machine', 'self')) GROUP BY recipient",
        )?
        .query_map(params![Column(id)], |row| {
            Ok(CopySpread { copy_index: row.get(0)?, countries: row.get(1)?, networks: row.get(2)?, events: row.get(3)? })
        })?
        .collect()
}

impl CopyFacts {
    /// Takes in one of the recipients who got this copy.
    pub(super) fn add(&mut self, state: DeliveryState, at_ms: i64, reader: Reader) {
        self.readers.push(reader);
        self.recipients = self.recipients.saturating_add(1);
        match state {
            DeliveryState::Accepted => self.accepted_at_ms = self.accepted_at_ms.max(Some(at_ms)),
            DeliveryState::Pending | DeliveryState::Deferred => {
                self.waiting_since_ms = self.waiting_since_ms.max(Some(at_ms));
                self.settled = false;
            }
            DeliveryState::Unknown => self.settled = false,
            DeliveryState::Refused => {}
        }
    }
}

fn past(connection: &Connection, id: CopyId, since_ms: i64) -> rusqlite::Result<Vec<PastEvent>> {
    let mut past: Vec<PastEvent> = connection
        .prepare_cached(
            "SELECT sequence, at_ms, kind, link, network_hash, rule
             FROM (SELECT * FROM event WHERE message = ?1 ORDER BY sequence DESC LIMIT ?4)
             WHERE recipient = ?2 AND at_ms > ?3 AND network_hash IS NOT NULL ORDER BY sequence",
        )?
        .query_map(params![Column::<MessageId>(id.message), id.copy_index, since_ms, PAST_MAX], past_event)?
        .collect::<rusqlite::Result<_>>()?;
    past.sort_by_key(|event| event.at_ms);
    Ok(past)
}

fn past_event(row: &Row<'_>) -> rusqlite::Result<PastEvent> {
    let rule: String = row.get(5)?;
    Ok(PastEvent {
        sequence: row.get(0)?,
        at_ms: row.get(1)?,
        kind: row.get::<_, Column<_>>(2)?.0,
        link: row.get(3)?,
        network_hash: row.get(4)?,
        rule: Rule::parse(&rule),
    })
}

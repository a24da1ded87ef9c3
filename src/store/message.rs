//! Question: one message, whole.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::column::Column;
use super::record::{Delivery, LinkRecord, MessageRecord, RecipientRecord};
use crate::token::MessageId;

/// Reads the record with its recipients in envelope order and its links in order of appearance.
pub(super) fn message(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<MessageRecord>> {
    let found = connection
        .prepare_cached(
            "SELECT accepted_at_ms, org, login, reverse_path, header_from, subject, message_id_header, size_bytes,
                    network_hash, site, key_id, untouched, notes
             FROM message WHERE id = ?1",
        )?
        .query_row(params![Column(id)], |row| record(id, row))
        .optional()?;
    let Some(mut record) = found else { return Ok(None) };
    record.recipients = connection
        .prepare_cached(
            "SELECT idx, copy_index, address, opens, links, state, reply, at_ms, name
             FROM recipient WHERE message = ?1 ORDER BY position",
        )?
        .query_map(params![Column(id)], recipient)?
        .collect::<rusqlite::Result<_>>()?;
    record.links = connection
        .prepare_cached("SELECT idx, destination FROM link WHERE message = ?1 ORDER BY idx")?
        .query_map(params![Column(id)], |row| Ok(LinkRecord { index: row.get(0)?, destination: row.get(1)? }))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(record))
}

fn record(id: MessageId, row: &Row<'_>) -> rusqlite::Result<MessageRecord> {
    let notes: String = row.get(12)?;
    let notes = serde_json::from_str(&notes)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(12, rusqlite::types::Type::Text, e.into()))?;
    Ok(MessageRecord {
        id,
        accepted_at_ms: row.get(0)?,
        org: row.get::<_, Column<_>>(1)?.0,
        login: row.get(2)?,
        reverse_path: row.get(3)?,
        header_from: row.get(4)?,
        subject: row.get(5)?,
        message_id_header: row.get(6)?,
        size_bytes: row.get::<_, i64>(7)?.cast_unsigned(),
        network_hash: row.get(8)?,
        site: row.get::<_, Column<_>>(9)?.0,
        key_id: row.get(10)?,
        untouched: row.get(11)?,
        notes,
        recipients: Vec::new(),
        links: Vec::new(),
    })
}

/// Reads a recipient from the first nine columns.
pub(super) fn recipient(row: &Row<'_>) -> rusqlite::Result<RecipientRecord> {
    Ok(RecipientRecord {
        index: row.get(0)?,
        copy_index: row.get(1)?,
        address: row.get(2)?,
        opens: row.get::<_, Column<_>>(3)?.0,
        links: row.get::<_, Column<_>>(4)?.0,
        delivery: Delivery { state: row.get::<_, Column<_>>(5)?.0, reply: row.get(6)?, at_ms: row.get(7)? },
        name: row.get(8)?,
    })
}

//! Write: one message with its recipients and links.

use rusqlite::{Connection, params};

use super::column::Column;
use super::record::{DeliveryState, LinkRecord, MessageRecord, RecipientRecord};
use super::{Inserted, correspondents};
use crate::token::MessageId;

/// Adds the record, or says that its id is taken. The caller commits.
pub(super) fn insert(connection: &Connection, record: &MessageRecord) -> rusqlite::Result<Inserted> {
    if !insert_message(connection, record)? {
        return Ok(Inserted::IdTaken);
    }
    for (position, recipient) in record.recipients.iter().enumerate() {
        insert_recipient(connection, record.id, position, recipient)?;
    }
    for link in &record.links {
        insert_link(connection, record.id, link)?;
    }
    correspondents::note(connection, record)?;
    Ok(Inserted::Durable)
}

/// Whether the id was free.
fn insert_message(connection: &Connection, record: &MessageRecord) -> rusqlite::Result<bool> {
    let accepted = record.recipients.iter().filter(|r| r.delivery.state == DeliveryState::Accepted).count();
    let notes = serde_json::to_string(&record.notes).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    let added = connection
        .prepare_cached(
            "INSERT INTO message (id, accepted_at_ms, org, login, reverse_path, header_from, subject, message_id_header,
                                  size_bytes, network_hash, site, key_id, untouched, notes, recipients, accepted)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            Column(record.id),
            record.accepted_at_ms,
            record.org.as_str(),
            record.login,
            record.reverse_path,
            record.header_from,
            record.subject,
            record.message_id_header,
            record.size_bytes.cast_signed(),
            record.network_hash,
            record.site.0,
            record.key_id,
            record.untouched,
            notes,
            record.recipients.len().cast_signed(),
            accepted.cast_signed(),
        ])?;
    Ok(added == 1)
}

fn insert_recipient(
    connection: &Connection,
    message: MessageId,
    position: usize,
    recipient: &RecipientRecord,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO recipient (message, idx, position, copy_index, address, opens, links, state, reply, at_ms, name)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            Column(message),
            recipient.index,
            position.cast_signed(),
            recipient.copy_index,
            recipient.address,
            recipient.opens.as_str(),
            recipient.links.as_str(),
            recipient.delivery.state.as_str(),
            recipient.delivery.reply,
            recipient.delivery.at_ms,
            recipient.name,
        ])
        .map(|_| ())
}

fn insert_link(connection: &Connection, message: MessageId, link: &LinkRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO link (message, idx, destination) VALUES (?1, ?2, ?3)")?
        .execute(params![Column(message), link.index, link.destination])
        .map(|_| ())
}

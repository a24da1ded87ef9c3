//! Write: how delivery to some recipients of a message stands.

use rusqlite::{Connection, params};

use super::column::Column;
use super::outbox;
use super::record::{Delivery, DeliveryState};
use crate::token::MessageId;

/// Sets the states, notes who was refused for good, and counts the accepted anew. A recipient or message that is not there is passed over: the record
/// may not have been durable in time. Of somebody who was erased while their mail waited no words are kept, for upstream's name
/// them again. The caller commits.
pub(super) fn settle(connection: &Connection, id: MessageId, outcomes: &[(u16, Delivery)]) -> rusqlite::Result<()> {
    let mut set = connection.prepare_cached(
        "UPDATE recipient SET state = ?3, reply = iif(address = '', '', ?4), at_ms = ?5 WHERE message = ?1 AND idx = ?2",
    )?;
    for (index, delivery) in outcomes {
        if delivery.state == DeliveryState::Refused {
            outbox::note_refusal(connection, id, *index, delivery.at_ms)?;
        }
        set.execute(params![Column(id), index, delivery.state.as_str(), delivery.reply, delivery.at_ms])?;
    }
    connection
        .prepare_cached(
            "UPDATE message
             SET accepted = (SELECT count(*) FROM recipient WHERE message = ?1 AND state = 'accepted')
             WHERE id = ?1",
        )?
        .execute(params![Column(id)])
        .map(|_| ())
}

/// Nothing is tracked in these recipients' copies; and in the mail, when that holds for all of them. The caller commits.
pub(super) fn leave_untracked(
    connection: &Connection,
    id: MessageId,
    recipients: &[u16],
    why: &str,
) -> rusqlite::Result<()> {
    let mut set = connection
        .prepare_cached("UPDATE recipient SET opens = 'off', links = 'off' WHERE message = ?1 AND idx = ?2")?;
    for index in recipients {
        set.execute(params![Column(id), index])?;
    }
    connection
        .prepare_cached(
            "UPDATE message SET untouched = ?2
             WHERE id = ?1 AND untouched IS NULL
               AND NOT EXISTS (SELECT 1 FROM recipient WHERE message = ?1 AND (opens <> 'off' OR links <> 'off'))",
        )?
        .execute(params![Column(id), why])
        .map(|_| ())
}

//! Write: what news come to, what a try came to, and what is kept no longer. The caller commits.

use rusqlite::{Connection, params};

use super::super::column::Column;
use super::{NewDelivery, NewLine, Telling, Tried, WaitingNotice, Write};
use crate::event::EventKind;
use crate::settings::notices::WebhookId;
use crate::token::MessageId;

/// Does one write; what it counts.
pub(in crate::store) fn write(connection: &Connection, write: &Write) -> rusqlite::Result<u64> {
    match write {
        Write::Tell(telling) => tell(connection, telling),
        Write::Tried(tried) => note(connection, tried),
        Write::Replay { webhook, id, now_ms } => replay(connection, *webhook, *id, *now_ms),
        Write::Forget(webhook) => {
            connection
                .prepare_cached("DELETE FROM webhook_dropped WHERE webhook = ?1")?
                .execute(params![Column(*webhook)])?;
            connection
                .prepare_cached("DELETE FROM webhook_delivery WHERE webhook = ?1")?
                .execute(params![Column(*webhook)])
                .map(count)
        }
        Write::Noticed { notice, sent_at_ms } => noticed(connection, notice, *sent_at_ms),
        Write::GiveUp { before_ms, max } => give_up(connection, *before_ms, *max),
        Write::Purge { before_ms } => purge(connection, *before_ms),
    }
}

/// A recipient is refused for good: news, unless it was so before, or they were erased and are nobody's news. Called before the
/// state is set.
pub(in crate::store) fn note_refusal(
    connection: &Connection,
    message: MessageId,
    recipient: u16,
    at_ms: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO refusal (message, recipient, at_ms)
             SELECT message, idx, ?3 FROM recipient WHERE message = ?1 AND idx = ?2
                 AND state <> 'refused' AND address <> ''",
        )?
        .execute(params![Column(message), recipient, at_ms])
        .map(drop)
}

/// Forgets what waits to be told of a recipient, or was: it may name them.
pub(in crate::store) fn forget(connection: &Connection, message: MessageId, recipient: u16) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM webhook_delivery WHERE message = ?1 AND recipient = ?2",
        "DELETE FROM mail_notice WHERE message = ?1 AND recipient = ?2",
        "DELETE FROM refusal WHERE message = ?1 AND recipient = ?2",
    ] {
        connection.prepare_cached(sql)?.execute(params![Column(message), recipient])?;
    }
    Ok(())
}

fn tell(connection: &Connection, telling: &Telling) -> rusqlite::Result<u64> {
    let mut dropped = 0;
    for delivery in &telling.deliveries {
        if let Some(message) = delivery.message
            && is_forgotten(connection, message, delivery.recipient)?
        {
            continue;
        }
        if !add_delivery(connection, delivery, telling.waiting_max)? {
            dropped += 1;
            note_drop(connection, delivery)?;
        }
    }
    for line in &telling.lines {
        if !is_forgotten(connection, line.message, line.recipient)? {
            dropped += u64::from(!add_line(connection, line, telling.lines_max)?);
        }
    }
    let mut mark = connection.prepare_cached("UPDATE told SET sequence = ?2 WHERE what = ?1 AND sequence < ?2")?;
    mark.execute(params![EventKind::Open.as_str(), telling.to.opens])?;
    mark.execute(params![EventKind::Click.as_str(), telling.to.clicks])?;
    connection.prepare_cached("DELETE FROM refusal WHERE sequence <= ?1")?.execute(params![telling.to.refusals])?;
    Ok(dropped)
}

/// Whether the mail or the recipient was forgotten between the reading of the news and now: what is written down then would
/// outlive them, for nobody forgets it again.
fn is_forgotten(connection: &Connection, message: MessageId, recipient: Option<u16>) -> rusqlite::Result<bool> {
    let is_there = match recipient {
        None => connection.prepare_cached("SELECT 1 FROM message WHERE id = ?1")?.exists(params![Column(message)])?,
        Some(index) => connection
            .prepare_cached("SELECT 1 FROM recipient WHERE message = ?1 AND idx = ?2 AND address <> ''")?
            .exists(params![Column(message), index])?,
    };
    Ok(!is_there)
}

/// An event found no room. A test that does is refused to whoever asked for it.
fn note_drop(connection: &Connection, delivery: &NewDelivery) -> rusqlite::Result<()> {
    if delivery.message.is_none() {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO webhook_dropped (webhook, dropped, last_ms) VALUES (?1, 1, ?2)
             ON CONFLICT (webhook) DO UPDATE SET dropped = dropped + 1, last_ms = excluded.last_ms",
        )?
        .execute(params![Column(delivery.webhook), delivery.at_ms])
        .map(drop)
}

/// Whether there was room.
fn add_delivery(connection: &Connection, delivery: &NewDelivery, waiting_max: u32) -> rusqlite::Result<bool> {
    let added = connection
        .prepare_cached(
            "INSERT INTO webhook_delivery (webhook, message_id, topic, message, body, created_at_ms, since_ms, state,
                                           attempts, next_try_ms, answer, recipient)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?6, 'waiting', 0, ?6, '', ?8
             WHERE (SELECT count(*) FROM webhook_delivery WHERE webhook = ?1 AND state = 'waiting') < ?7",
        )?
        .execute(params![
            Column(delivery.webhook),
            delivery.message_id,
            delivery.topic,
            delivery.message.map(Column),
            delivery.body,
            delivery.at_ms,
            waiting_max,
            delivery.recipient,
        ])?;
    Ok(added == 1)
}

/// Whether there was room.
fn add_line(connection: &Connection, line: &NewLine, lines_max: u32) -> rusqlite::Result<bool> {
    let added = connection
        .prepare_cached(
            "INSERT INTO mail_notice (login, org, message, at_ms, sender, line, recipient)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?8 WHERE (SELECT count(*) FROM mail_notice WHERE login = ?1) < ?7",
        )?
        .execute(params![
            line.login,
            line.org.as_str(),
            Column(line.message),
            line.at_ms,
            line.sender,
            line.line,
            lines_max,
            line.recipient,
        ])?;
    Ok(added == 1)
}

fn note(connection: &Connection, tried: &Tried) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "UPDATE webhook_delivery
             SET state = ?2, attempts = attempts + 1, last_try_ms = ?3, next_try_ms = ?4, answer = ?5
             WHERE id = ?1",
        )?
        .execute(params![tried.id, tried.stage.as_str(), tried.at_ms, tried.next_try_ms, tried.answer])
        .map(count)
}

fn replay(connection: &Connection, webhook: WebhookId, id: Option<i64>, now_ms: i64) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "UPDATE webhook_delivery SET state = 'waiting', attempts = 0, since_ms = ?3, next_try_ms = ?3
             WHERE webhook = ?1 AND CASE WHEN ?2 IS NULL THEN state = 'failed' ELSE id = ?2 END",
        )?
        .execute(params![Column(webhook), id, now_ms])
        .map(count)
}

fn noticed(connection: &Connection, notice: &WaitingNotice, sent_at_ms: Option<i64>) -> rusqlite::Result<u64> {
    if let Some(at_ms) = sent_at_ms {
        connection
            .prepare_cached("INSERT INTO mail_notice_sent (login, at_ms) VALUES (?1, ?2)")?
            .execute(params![notice.login, at_ms])?;
    }
    connection
        .prepare_cached("DELETE FROM mail_notice WHERE login = ?1 AND sender = ?2 AND id <= ?3")?
        .execute(params![notice.login, notice.sender, notice.last_id])
        .map(count)
}

/// What was never tried has no answer; what was keeps its last one beside the reason. The writer must not read what may wait.
pub(super) const GIVE_UP: &str = "UPDATE webhook_delivery
    SET state = 'failed', answer = 'not taken in time' || iif(answer = '', '', '; at last: ' || answer)
    WHERE id IN (SELECT id FROM webhook_delivery INDEXED BY webhook_delivery_overdue
                 WHERE state = 'waiting' AND since_ms < ?1 LIMIT ?2)";

fn give_up(connection: &Connection, before_ms: i64, max: u32) -> rusqlite::Result<u64> {
    connection.prepare_cached(GIVE_UP)?.execute(params![before_ms, max]).map(count)
}

/// What was replayed and given up untried has ended later than its last try.
fn purge(connection: &Connection, before_ms: i64) -> rusqlite::Result<u64> {
    connection.prepare_cached("DELETE FROM mail_notice_sent WHERE at_ms < ?1")?.execute(params![before_ms])?;
    connection
        .prepare_cached(
            "DELETE FROM webhook_delivery
             WHERE state <> 'waiting' AND max(coalesce(last_try_ms, 0), since_ms) < ?1",
        )?
        .execute(params![before_ms])
        .map(count)
}

fn count(rows: usize) -> u64 {
    rows as u64
}

//! Questions: deliveries and lines that wait.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::super::column::Column;
use super::{DeliveryStage, Depth, Dropped, NewLine, WaitingNotice, WebhookDelivery};
use crate::settings::notices::WebhookId;
use crate::token::MessageId;

/// Most rows of one answer.
const ROWS_MAX: u32 = 500;
/// Most logins of one answer; the others are asked for again.
const LOGINS_MAX: u32 = 100;

const COLUMNS: &str =
    "id, webhook, message_id, topic, body, created_at_ms, since_ms, state, attempts, next_try_ms, last_try_ms, answer";

pub(super) fn due_webhooks(connection: &Connection, now_ms: i64) -> rusqlite::Result<Vec<WebhookId>> {
    connection
        .prepare_cached("SELECT DISTINCT webhook FROM webhook_delivery WHERE state = 'waiting' AND next_try_ms <= ?1")?
        .query_map(params![now_ms], |row| Ok(row.get::<_, Column<WebhookId>>(0)?.0))?
        .collect()
}

pub(super) fn due(
    connection: &Connection,
    webhook: WebhookId,
    now_ms: i64,
    max: u32,
) -> rusqlite::Result<Vec<WebhookDelivery>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM webhook_delivery
             WHERE state = 'waiting' AND webhook = ?1 AND next_try_ms <= ?2 ORDER BY next_try_ms, id LIMIT ?3"
        ))?
        .query_map(params![Column(webhook), now_ms, max], delivery)?
        .collect()
}

pub(super) fn deliveries(
    connection: &Connection,
    webhook: WebhookId,
    stage: Option<DeliveryStage>,
    before: Option<i64>,
    max: u32,
) -> rusqlite::Result<Vec<WebhookDelivery>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM webhook_delivery
             WHERE webhook = ?1 AND (?2 IS NULL OR state = ?2) AND id < ?3 ORDER BY id DESC LIMIT ?4"
        ))?
        .query_map(
            params![
                Column(webhook),
                stage.map(DeliveryStage::as_str),
                before.unwrap_or(i64::MAX),
                max.clamp(1, ROWS_MAX)
            ],
            delivery,
        )?
        .collect()
}

pub(super) fn depth(connection: &Connection) -> rusqlite::Result<Depth> {
    let count = |sql: &str| -> rusqlite::Result<u64> {
        let count: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    };
    Ok(Depth {
        waiting: count("SELECT count(*) FROM webhook_delivery WHERE state = 'waiting'")?,
        failed: count("SELECT count(*) FROM webhook_delivery WHERE state = 'failed'")?,
        lines: count("SELECT count(*) FROM mail_notice")?,
    })
}

pub(super) fn dropped(connection: &Connection) -> rusqlite::Result<BTreeMap<WebhookId, Dropped>> {
    connection
        .prepare_cached("SELECT webhook, dropped, last_ms FROM webhook_dropped")?
        .query_map([], |row| {
            let (count, last_ms): (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok((row.get::<_, Column<WebhookId>>(0)?.0, Dropped { count: count.unsigned_abs(), last_ms }))
        })?
        .collect()
}

pub(super) fn notices(
    connection: &Connection,
    sent_since_ms: i64,
    sent_max: u32,
    lines_max: u32,
) -> rusqlite::Result<Vec<WaitingNotice>> {
    let mut waiting: Vec<WaitingNotice> = connection
        .prepare_cached(
            "SELECT login, count(*), max(id),
                    (SELECT count(*) FROM mail_notice_sent s WHERE s.login = n.login AND s.at_ms > ?1) AS sent, sender
             FROM mail_notice n GROUP BY login, sender HAVING sent < ?3 ORDER BY min(id) LIMIT ?2",
        )?
        .query_map(params![sent_since_ms, LOGINS_MAX, sent_max], |row| {
            Ok(WaitingNotice {
                login: row.get(0)?,
                total: row.get(1)?,
                last_id: row.get(2)?,
                sent_lately: row.get(3)?,
                sender: row.get(4)?,
                lines: Vec::new(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for notice in &mut waiting {
        notice.lines = connection
            .prepare_cached(
                "SELECT login, org, message, at_ms, sender, line FROM mail_notice
                 WHERE login = ?1 AND sender = ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map(params![notice.login, notice.sender, lines_max], line)?
            .collect::<rusqlite::Result<_>>()?;
    }
    Ok(waiting)
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<WebhookDelivery> {
    Ok(WebhookDelivery {
        id: row.get(0)?,
        webhook: row.get::<_, Column<_>>(1)?.0,
        message_id: row.get(2)?,
        topic: row.get(3)?,
        body: row.get(4)?,
        created_at_ms: row.get(5)?,
        since_ms: row.get(6)?,
        stage: row.get::<_, Column<_>>(7)?.0,
        attempts: row.get(8)?,
        next_try_ms: row.get(9)?,
        last_try_ms: row.get(10)?,
        answer: row.get(11)?,
    })
}

fn line(row: &Row<'_>) -> rusqlite::Result<NewLine> {
    Ok(NewLine {
        login: row.get(0)?,
        org: row.get::<_, Column<_>>(1)?.0,
        message: row.get::<_, Column<MessageId>>(2)?.0,
        recipient: None,
        at_ms: row.get(3)?,
        sender: row.get(4)?,
        line: row.get(5)?,
    })
}

//! Question: what happened and is not told yet.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::TimelineFilter;
use super::super::column::Column;
use super::super::record::TimelineEntry;
use super::super::timeline::timeline;
use super::{Batch, News};
use crate::event::EventKind;
use crate::token::MessageId;

/// Events looked at for one batch: some 5 ms of a reader's time.
const EVENTS_MAX: u32 = 500;
/// Refusals of one batch.
const REFUSALS_MAX: u32 = 100;
/// A click that lies so far in the future is a clock that was set back: it is not waited for.
const CLOCK_SET_BACK_MS: i64 = 60_000;

/// The news, oldest first.
pub(super) fn news(connection: &Connection, clicks_before_ms: i64) -> rusqlite::Result<Batch> {
    let told: i64 = connection
        .prepare_cached("SELECT sequence FROM told WHERE what = 'event'")?
        .query_row([], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let filter = TimelineFilter { after_sequence: told, limit: EVENTS_MAX, ..TimelineFilter::default() };
    let entries = timeline(connection, &filter)?;
    let whole = entries.len() == EVENTS_MAX as usize;
    let mut batch = Batch { events_to: told, more: whole, ..Batch::default() };
    for entry in entries {
        let event = &entry.event;
        let age_ms = clicks_before_ms.saturating_sub(event.at_ms);
        if event.kind == EventKind::Click && age_ms < 0 && age_ms > -CLOCK_SET_BACK_MS {
            batch.more = false;
            break;
        }
        batch.events_to = entry.sequence;
        batch.quiet += 1;
        // Only what was kept with its network was sent under `individual`: counts a day are nobody's news.
        if event.verdict.counts() && event.network_hash.is_some() && entry.org.is_some() {
            batch.news.extend(of_event(connection, entry)?);
        }
    }
    refusals(connection, &mut batch)?;
    Ok(batch)
}

/// The newest event and the newest refusal.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    connection
        .prepare_cached(
            "SELECT max(coalesce((SELECT max(sequence) FROM event), 0), (SELECT sequence FROM told WHERE what = 'event')),
                    coalesce((SELECT max(sequence) FROM refusal), 0)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn of_event(connection: &Connection, entry: TimelineEntry) -> rusqlite::Result<Option<News>> {
    let id = entry.event.id;
    let mail = connection
        .prepare_cached("SELECT reverse_path, message_id_header FROM message WHERE id = ?1")?
        .query_row(params![Column(id.message)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((reverse_path, message_id_header)) = mail else { return Ok(None) };
    let first = entry.event.kind == EventKind::Open
        && !connection
            .prepare_cached(
                "SELECT 1 FROM event WHERE message = ?1 AND sequence < ?2 AND recipient = ?3 AND kind = 'open'
                 AND verdict NOT IN ('machine', 'self')",
            )?
            .exists(params![Column(id.message), entry.sequence, id.recipient])?;
    Ok(Some(News::Event { entry: Box::new(entry), first, reverse_path, message_id_header }))
}

fn refusals(connection: &Connection, batch: &mut Batch) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached(
        "SELECT f.sequence, f.at_ms, f.message, m.org, m.login, m.subject, m.message_id_header, r.address, r.reply, r.idx
         FROM refusal f
         LEFT JOIN message m ON m.id = f.message
         LEFT JOIN recipient r ON r.message = f.message AND r.idx = f.recipient AND r.address <> ''
         ORDER BY f.sequence LIMIT ?1",
    )?;
    let mut rows = select.query(params![REFUSALS_MAX])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        batch.refusals_to = row.get(0)?;
        let (org, recipient): (Option<Column<_>>, Option<String>) = (row.get(3)?, row.get(7)?);
        if let (Some(Column(org)), Some(recipient)) = (org, recipient) {
            batch.news.push(News::Refused {
                at_ms: row.get(1)?,
                message: row.get::<_, Column<MessageId>>(2)?.0,
                org,
                login: row.get(4)?,
                subject: row.get(5)?,
                message_id_header: row.get(6)?,
                index: row.get(9)?,
                recipient,
                reply: row.get(8)?,
            });
        }
    }
    batch.more |= count == REFUSALS_MAX;
    Ok(())
}

//! Question: what happened and is not told yet.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::TimelineFilter;
use super::super::column::Column;
use super::super::record::TimelineEntry;
use super::super::timeline::timeline;
use super::{Batch, Marks, News};
use crate::event::EventKind;
use crate::token::MessageId;

/// Events of a kind in one batch: some 5 ms of a reader's time.
const EVENTS_MAX: u32 = 500;
/// Events of any kind passed over on the way to them.
const PASSED_MAX: i64 = 10_000;
/// Refusals of one batch.
const REFUSALS_MAX: u32 = 100;
/// A click that lies so far in the future is a clock that was set back: it is not waited for.
const CLOCK_SET_BACK_MS: i64 = 60_000;

/// The news, oldest first.
pub(super) fn news(connection: &Connection, clicks_before_ms: i64) -> rusqlite::Result<Batch> {
    let told = told(connection)?;
    // Read before anything else: what is committed meanwhile has a greater sequence, and a mark must not pass over it.
    let newest: i64 =
        connection.prepare_cached("SELECT coalesce(max(sequence), 0) FROM event")?.query_row([], |row| row.get(0))?;
    let opens = slice(connection, EventKind::Open, told.opens, newest)?;
    let ready = match first_held(connection, told.clicks, newest, clicks_before_ms)? {
        Some(held) => held - 1,
        None => newest,
    };
    let clicks = slice(connection, EventKind::Click, told.clicks, ready)?;
    let mut batch = Batch {
        to: Marks { opens: opens.to, clicks: clicks.to, refusals: 0 },
        quiet: (opens.to - told.opens).max(clicks.to - told.clicks),
        more: opens.more || clicks.more,
        ..Batch::default()
    };
    let mut entries = opens.entries;
    entries.extend(clicks.entries);
    entries.sort_by_key(|entry| entry.sequence);
    for entry in entries {
        // Only what was kept with its network was sent under `individual`: counts a day are nobody's news.
        if entry.event.verdict.counts() && entry.event.network_hash.is_some() && entry.org.is_some() {
            batch.news.extend(of_event(connection, entry)?);
        }
    }
    refusals(connection, &mut batch)?;
    Ok(batch)
}

/// Where everything ends.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<Marks> {
    connection
        .prepare_cached(
            "SELECT max(coalesce((SELECT max(sequence) FROM event), 0), coalesce((SELECT max(sequence) FROM told), 0)),
                    coalesce((SELECT max(sequence) FROM refusal), 0)",
        )?
        .query_row([], |row| {
            let events = row.get(0)?;
            Ok(Marks { opens: events, clicks: events, refusals: row.get(1)? })
        })
}

/// The marks of events.
fn told(connection: &Connection) -> rusqlite::Result<Marks> {
    let mut select = connection.prepare_cached("SELECT coalesce(max(sequence), 0) FROM told WHERE what = ?1")?;
    let mut mark = |kind: EventKind| select.query_row(params![kind.as_str()], |row| row.get(0));
    Ok(Marks { opens: mark(EventKind::Open)?, clicks: mark(EventKind::Click)?, refusals: 0 })
}

/// Events of one kind.
struct Slice {
    entries: Vec<TimelineEntry>,
    /// All of the kind up to here are in it, or were told before.
    to: i64,
    /// There may be more that are ready.
    more: bool,
}

/// Those after a mark and up to a place, as many as a batch takes.
fn slice(connection: &Connection, kind: EventKind, told: i64, ready: i64) -> rusqlite::Result<Slice> {
    let to = ready.min(told.saturating_add(PASSED_MAX)).max(told);
    let filter = TimelineFilter {
        kind: Some(kind),
        after_sequence: told,
        before_sequence: Some(to.saturating_add(1)),
        limit: EVENTS_MAX,
        ..TimelineFilter::default()
    };
    let entries = timeline(connection, &filter)?;
    let to = match entries.last() {
        Some(last) if entries.len() == EVENTS_MAX as usize => last.sequence,
        _ => to,
    };
    Ok(Slice { entries, to, more: to < ready })
}

/// The first click that a burst may yet show a machine's.
fn first_held(connection: &Connection, told: i64, newest: i64, before_ms: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT sequence FROM event WHERE sequence > ?1 AND sequence <= ?2
             AND kind = 'click' AND at_ms > ?3 AND at_ms < ?4 ORDER BY sequence LIMIT 1",
        )?
        .query_row(
            params![
                told,
                newest.min(told.saturating_add(PASSED_MAX)),
                before_ms,
                before_ms.saturating_add(CLOCK_SET_BACK_MS)
            ],
            |row| row.get(0),
        )
        .optional()
}

fn of_event(connection: &Connection, entry: TimelineEntry) -> rusqlite::Result<Option<News>> {
    let id = entry.event.id;
    let mail = connection
        .prepare_cached("SELECT reverse_path, message_id_header FROM message WHERE id = ?1")?
        .query_row(params![Column(id.message)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((reverse_path, message_id_header)) = mail else { return Ok(None) };
    let first = entry.event.kind == EventKind::Open && is_first(connection, &entry)?;
    Ok(Some(News::Event { entry: Box::new(entry), first, reverse_path, message_id_header }))
}

/// Whether no earlier open of the copy was a person's: none that is on record, and none that is forgotten. Those are what was
/// counted beyond the events from this one on.
fn is_first(connection: &Connection, entry: &TimelineEntry) -> rusqlite::Result<bool> {
    let id = entry.event.id;
    connection
        .prepare_cached(
            "SELECT coalesce(sum(sequence < ?3), 0) = 0
                    AND count(*) >= coalesce((SELECT opens FROM copy_count WHERE message = ?1 AND copy = ?2), 0)
             FROM event
             WHERE message = ?1 AND recipient = ?2 AND kind = 'open' AND verdict NOT IN ('machine', 'self')",
        )?
        .query_row(params![Column(id.message), id.recipient, entry.sequence], |row| row.get(0))
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
        batch.to.refusals = row.get(0)?;
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

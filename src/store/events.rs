//! Write: events, what later ones change of them, and all counters, in one commit.
//!
//! **Invariant:** what is kept of an event follows the mode its copy was sent under. Only `individual` keeps time of
//! day, place, device and network; `aggregate` keeps the day. A message that is not known (its record was erased or
//! lost, its links work on) is kept as an aggregate. A counter always equals what its events say at the commit.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Statement, params};

use super::column::Column;
use super::counters::Added;
use super::details::{Detail, is_placed, own_place};
use super::record::{Counts, Mended, Recording};
use crate::event::{Event, EventKind, Verdict};
use crate::settings::Mode;
use crate::token::{MessageId, TokenId};

const INSERT: &str = "
    INSERT INTO event (at_ms, message, recipient, link, kind, verdict, rule, country,
                       agent_family, os_family, device_family, network_hash, former, repeats, city, via, address, agent)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

const DAY_MS: i64 = 86_400_000;

/// [`without_person`] for events on record: what an UPDATE sets.
pub(super) const WITHOUT_PERSON: &str = "at_ms = at_ms - at_ms % 86400000, country = NULL, city = NULL, via = NULL,
    agent_family = NULL, os_family = NULL, device_family = NULL, network_hash = NULL, address = NULL, agent = NULL";

/// What is kept of an event in aggregate mode: the day, what was opened or followed, and the verdict.
pub(super) fn without_person(event: &Event) -> Event {
    Event {
        at_ms: event.at_ms - event.at_ms.rem_euclid(DAY_MS),
        id: event.id,
        kind: event.kind,
        verdict: event.verdict,
        rule: event.rule.clone(),
        former: event.former,
        repeats: event.repeats,
        country: None,
        city: None,
        via: None,
        agent_family: None,
        os_family: None,
        device_family: None,
        network_hash: None,
        evidence: None,
    }
}

/// Days since 1970-01-01, UTC.
pub(super) fn day(at_ms: i64) -> i64 {
    at_ms.div_euclid(DAY_MS)
}

/// Adds the events in order and gives their sequences; mends earlier ones. The caller commits.
pub(super) fn record(connection: &Connection, recording: &Recording) -> rusqlite::Result<Vec<i64>> {
    let mut added = Added::default();
    let sequences = insert_all(connection, &recording.events, &mut added)?;
    for mended in &recording.mended {
        mend(connection, mended, &mut added)?;
    }
    added.write(connection)?;
    Ok(sequences)
}

fn insert_all(connection: &Connection, events: &[Event], added: &mut Added) -> rusqlite::Result<Vec<i64>> {
    let mut modes: HashMap<(MessageId, u16), Modes> = HashMap::new();
    let mut into = connection.prepare_cached(INSERT)?;
    let mut sequences = Vec::with_capacity(events.len());
    for event in events {
        let copy = (event.id.message, event.id.recipient);
        let modes = match modes.get(&copy) {
            Some(modes) => *modes,
            None => *modes.entry(copy).or_insert(modes_of(connection, event.id)?),
        };
        let country = match modes.of(event.kind) {
            Mode::Individual => {
                insert(&mut into, event)?;
                own_place(event)
            }
            Mode::Off | Mode::Aggregate => {
                insert(&mut into, &without_person(event))?;
                None
            }
        };
        sequences.push(connection.last_insert_rowid());
        let TokenId { message, recipient: copy, link } = event.id;
        let (kind, counts) = (event.kind, Counts::of(event.kind, event.verdict));
        added.count(Detail { message, copy, link, day: day(event.at_ms), kind, counts, country });
    }
    Ok(sequences)
}

/// What is in force for one copy.
#[derive(Debug, Clone, Copy)]
struct Modes {
    opens: Mode,
    links: Mode,
}

impl Modes {
    fn of(self, kind: EventKind) -> Mode {
        match kind {
            EventKind::Open => self.opens,
            EventKind::Click => self.links,
        }
    }
}

/// The modes the copy was sent under.
fn modes_of(connection: &Connection, id: TokenId) -> rusqlite::Result<Modes> {
    let modes = connection
        .prepare_cached("SELECT opens, links FROM recipient WHERE message = ?1 AND copy_index = ?2 LIMIT 1")?
        .query_row(params![Column(id.message), id.recipient], |row| {
            Ok(Modes { opens: row.get::<_, Column<Mode>>(0)?.0, links: row.get::<_, Column<Mode>>(1)?.0 })
        })
        .optional()?;
    Ok(modes.unwrap_or(Modes { opens: Mode::Aggregate, links: Mode::Aggregate }))
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
        event.former.map(|former| former.as_str()),
        event.repeats,
        event.city,
        event.via.map(|via| via.as_str()),
        event.evidence.as_ref().map(|evidence| evidence.address.to_string()),
        event.evidence.as_ref().and_then(|evidence| evidence.agent.as_deref()),
    ])
    .map(|_| ())
}

/// Changes one event and the counters with it. One that is not there any more has nothing to change.
fn mend(connection: &Connection, mended: &Mended, added: &mut Added) -> rusqlite::Result<()> {
    if mended.repeats > 0 {
        connection
            .prepare_cached("UPDATE event SET repeats = repeats + ?2 WHERE sequence = ?1")?
            .execute(params![mended.sequence, mended.repeats])?;
    }
    let Some((verdict, rule)) = mended.verdict else { return Ok(()) };
    let before = connection
        .prepare_cached(
            "SELECT message, recipient, link, at_ms, kind, verdict, iif(via IS NULL, country, NULL)
             FROM event WHERE sequence = ?1",
        )?
        .query_row(params![mended.sequence], |row| {
            let id = TokenId { message: row.get::<_, Column<_>>(0)?.0, recipient: row.get(1)?, link: row.get(2)? };
            let (kind, former) = (row.get::<_, Column<EventKind>>(4)?.0, row.get::<_, Column<Verdict>>(5)?.0);
            Ok((id, row.get::<_, i64>(3)?, kind, former, row.get::<_, Option<String>>(6)?))
        })
        .optional()?;
    let Some((id, at_ms, kind, former, country)) = before else { return Ok(()) };
    connection
        .prepare_cached(
            "UPDATE event SET verdict = ?2, rule = ?3, former = coalesce(former, verdict) WHERE sequence = ?1",
        )?
        .execute(params![mended.sequence, verdict.as_str(), rule.as_str()])?;
    let TokenId { message, recipient: copy, link } = id;
    let detail = |counts, country| Detail { message, copy, link, day: day(at_ms), kind, counts, country };
    added.count(detail(Counts::of(kind, verdict).less(Counts::of(kind, former)), None));
    // A place counts while a person's event stands there.
    let placed = |verdict| if is_placed(verdict) { Counts::of(kind, verdict) } else { Counts::default() };
    added.place(detail(placed(verdict).less(placed(former)), country.as_deref()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::migrate;

    /// A column that a later migration adds is either named here as impersonal, or forgotten with the person.
    #[test]
    fn every_column_is_impersonal_or_goes_with_the_person() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let mut select = connection.prepare("SELECT name FROM pragma_table_info('event')").unwrap();
        let columns: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        let impersonal = ["sequence", "message", "recipient", "link", "kind", "verdict", "rule", "former", "repeats"];
        for column in columns.iter().filter(|name| !impersonal.contains(&name.as_str()) && *name != "at_ms") {
            assert!(WITHOUT_PERSON.contains(&format!("{column} = NULL")), "{column}");
        }
    }
}

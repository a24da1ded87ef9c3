//! Write: events, what later ones change of them, and all counters, in one commit.
//!
//! **Invariant:** what is kept of an event follows the mode its copy was sent under. Only `individual` keeps time of
//! day, place, device and network; `aggregate` keeps the day, and counts for nobody's copy in particular. A message that is not known (its record was erased or
//! lost, its links work on) is kept as an aggregate. A counter always equals what its events say at the commit.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::column::Column;
use super::counters::Added;
use super::details::{Detail, is_placed, own_place};
use super::record::{Counts, Judgements, Mended, Recording};
use super::rows::{Insertion, Row};
use crate::event::{Event, EventKind, Verdict};
use crate::settings::Mode;
use crate::token::{MessageId, TokenId};

const INSERT: Insertion = Insertion {
    into: "INSERT INTO event (at_ms, message, recipient, link, kind, verdict, rule, country, agent_family, os_family,
                              device_family, network_hash, former, repeats, city, via, address, agent)",
    columns: 18,
    then: "",
};

/// Judgements that are known: those of a busy day, some 200 KB.
pub(super) const JUDGEMENTS_MAX: i64 = 10_000;

const DAY_MS: i64 = 86_400_000;

/// [`without_person`] for events on record: what an UPDATE sets.
pub(super) const WITHOUT_PERSON: &str = "at_ms = at_ms - at_ms % 86400000, country = NULL, city = NULL, via = NULL,
    agent_family = NULL, os_family = NULL, device_family = NULL, network_hash = NULL, address = NULL, agent = NULL";

/// What is kept of an event in aggregate mode: the day, what was opened or followed, and the verdict; of the copy `of`.
pub(super) fn without_person(event: &Event, of: u16) -> Event {
    Event {
        at_ms: event.at_ms - event.at_ms.rem_euclid(DAY_MS),
        id: TokenId { recipient: of, ..event.id },
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

/// An index that no recipient and no shared copy of a message has: what is kept under it is of none of them. The same for
/// as long as the message is known, for recipients are erased, never removed.
pub(super) fn nobody(taken: &HashSet<u16>) -> u16 {
    (0..=u16::MAX).find(|index| !taken.contains(index)).unwrap_or_default()
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

/// Inserts them and counts them. Sequences are never used twice and nobody else writes: they follow one another.
fn insert_all(connection: &Connection, events: &[Event], added: &mut Added) -> rusqlite::Result<Vec<i64>> {
    let mut messages = Messages::default();
    let mut kept = Vec::with_capacity(events.len());
    for event in events {
        let sent = messages.of(connection, event.id.message)?;
        let event = match sent.mode(event.id.recipient, event.kind) {
            Mode::Individual => Cow::Borrowed(event),
            Mode::Off | Mode::Aggregate => Cow::Owned(without_person(event, sent.place(event.id.recipient))),
        };
        kept.push(event);
    }
    INSERT.write(connection, &kept, |row, event| put(row, event))?;
    for event in &kept {
        let TokenId { message, recipient: copy, link } = event.id;
        let (kind, counts, country) = (event.kind, Counts::of(event.kind, event.verdict), own_place(event));
        added.count(Detail { message, copy, link, day: day(event.at_ms), kind, counts, country });
    }
    let next = connection.last_insert_rowid() + 1;
    Ok((next - kept.len() as i64..next).collect())
}

/// What the copies of one message were sent under.
#[derive(Debug, Default)]
struct Sent {
    copies: HashMap<u16, Copy>,
    nobody: u16,
}

#[derive(Debug, Clone, Copy)]
struct Copy {
    opens: Mode,
    links: Mode,
    /// One recipient's own, and so no place for what is kept of nobody.
    is_own: bool,
}

impl Sent {
    /// Of a copy that is not known: at most a figure.
    fn mode(&self, copy: u16, kind: EventKind) -> Mode {
        self.copies.get(&copy).map_or(Mode::Aggregate, |copy| match kind {
            EventKind::Open => copy.opens,
            EventKind::Click => copy.links,
        })
    }

    /// The copy that an aggregate counts for: the shared one, or nobody's. One mail is one copy, so that a pixel under `aggregate`
    /// beside links under `individual` has the reader's own token.
    fn place(&self, copy: u16) -> u16 {
        self.copies.get(&copy).filter(|sent| !sent.is_own).map_or(self.nobody, |_| copy)
    }
}

/// The messages of a group of events, each read once: its copies come together.
#[derive(Debug, Default)]
struct Messages {
    read: HashMap<MessageId, Sent>,
}

impl Messages {
    fn of(&mut self, connection: &Connection, id: MessageId) -> rusqlite::Result<&Sent> {
        Ok(match self.read.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(sent(connection, id)?),
        })
    }
}

fn sent(connection: &Connection, id: MessageId) -> rusqlite::Result<Sent> {
    let mut select =
        connection.prepare_cached("SELECT copy_index, idx, opens, links FROM recipient WHERE message = ?1")?;
    let mut rows = select.query(params![Column(id)])?;
    let (mut sent, mut taken) = (Sent::default(), HashSet::new());
    while let Some(row) = rows.next()? {
        let (copy_index, index): (u16, u16) = (row.get(0)?, row.get(1)?);
        let (opens, links) = (row.get::<_, Column<Mode>>(2)?.0, row.get::<_, Column<Mode>>(3)?.0);
        sent.copies.entry(copy_index).or_insert(Copy { opens, links, is_own: copy_index == index });
        taken.extend([copy_index, index]);
    }
    sent.nobody = nobody(&taken);
    Ok(sent)
}

fn put(row: &mut Row<'_, '_>, event: &Event) -> rusqlite::Result<()> {
    row.put(event.at_ms)?;
    row.put(Column(event.id.message))?;
    row.put(event.id.recipient)?;
    row.put(event.id.link)?;
    row.put(event.kind.as_str())?;
    row.put(event.verdict.as_str())?;
    row.put(&event.rule)?;
    row.put(&event.country)?;
    row.put(&event.agent_family)?;
    row.put(&event.os_family)?;
    row.put(&event.device_family)?;
    row.put(event.network_hash)?;
    row.put(event.former.map(|former| former.as_str()))?;
    row.put(event.repeats)?;
    row.put(&event.city)?;
    row.put(event.via.map(|via| via.as_str()))?;
    row.put(event.evidence.as_ref().map(|evidence| evidence.address.to_string()))?;
    row.put(event.evidence.as_ref().and_then(|evidence| evidence.agent.as_deref()))
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
    note_judgement(connection, mended.sequence)?;
    let TokenId { message, recipient: copy, link } = id;
    let detail = |counts, country| Detail { message, copy, link, day: day(at_ms), kind, counts, country };
    added.count(detail(Counts::of(kind, verdict).less(Counts::of(kind, former)), None));
    // A place counts while a person's event stands there.
    let placed = |verdict| if is_placed(verdict) { Counts::of(kind, verdict) } else { Counts::default() };
    added.place(detail(placed(verdict).less(placed(former)), country.as_deref()));
    Ok(())
}

/// What is counted by the day is nobody's news, and neither is how it is judged.
fn note_judgement(connection: &Connection, sequence: i64) -> rusqlite::Result<()> {
    let noted = connection
        .prepare_cached(
            "INSERT INTO judged (sequence) SELECT sequence FROM event WHERE sequence = ?1 AND network_hash IS NOT NULL",
        )?
        .execute(params![sequence])?;
    if noted > 0 {
        connection
            .prepare_cached("DELETE FROM judged WHERE number <= ?1")?
            .execute(params![connection.last_insert_rowid() - JUDGEMENTS_MAX])?;
    }
    Ok(())
}

/// Question: which judgements are known.
pub(super) fn judgements(connection: &Connection) -> rusqlite::Result<Judgements> {
    connection
        .prepare_cached(
            "SELECT coalesce((SELECT min(number) FROM judged), 1), coalesce((SELECT max(number) FROM judged), 0)",
        )?
        .query_row([], |row| Ok(Judgements { first: row.get(0)?, last: row.get(1)? }))
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

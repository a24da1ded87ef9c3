//! Question and write: what is kept of one address as a recipient, and making it nobody's.
//!
//! **Invariant:** erasing leaves every link working, every counter as it was and every other recipient untouched; what
//! is recorded later of a copy that was theirs alone names nobody, for its mode is aggregate from then on.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::column::Column;
use super::events::WITHOUT_PERSON;
use super::message::recipient;
use super::record::{Held, RecipientRecord};
use super::{HELD_EVENTS_MAX, TimelineFilter, correspondents, outbox, timeline};
use crate::event::Event;
use crate::settings::OrgName;
use crate::token::MessageId;
use crate::token::person::folded;

/// The largest answer of [`held`].
pub(super) const LIMIT_MAX: u32 = 10_000;

/// An address to compare others with.
#[derive(Debug)]
pub(super) struct Wanted(Vec<u8>);

impl Wanted {
    pub(super) fn new(address: &str) -> Wanted {
        Wanted(folded(address.as_bytes()))
    }

    /// Whether this is another spelling of it. Cheap for what is plain.
    pub(super) fn is(&self, address: &str) -> bool {
        let plain = address.is_ascii() && !address.starts_with('"') && !address.ends_with('.');
        match plain {
            true => self.0.eq_ignore_ascii_case(address.as_bytes()),
            false => self.0 == folded(address.as_bytes()),
        }
    }
}

/// The mails to this address, newest first, with its own events. Reads every recipient once.
pub(super) fn held(
    connection: &Connection,
    address: &str,
    org: Option<&OrgName>,
    limit: u32,
) -> rusqlite::Result<Vec<Held>> {
    let wanted = Wanted::new(address);
    let limit = limit.clamp(1, LIMIT_MAX) as usize;
    let mut found = Vec::new();
    let mut all = connection.prepare_cached("SELECT message, idx, address FROM recipient")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        if row.get_ref(2)?.as_str().is_ok_and(|address| wanted.is(address)) {
            found.push((row.get::<_, Column<MessageId>>(0)?.0, row.get::<_, u16>(1)?));
        }
    }
    let mut held = Vec::new();
    for (message, index) in found {
        held.extend(one(connection, message, index)?.filter(|held| org.is_none_or(|org| *org == held.org)));
    }
    held.sort_by_key(|held| std::cmp::Reverse((held.accepted_at_ms, held.message)));
    held.truncate(limit);
    let mut room = HELD_EVENTS_MAX;
    for held in &mut held {
        read_events(connection, held, room)?;
        room -= held.events.len();
    }
    Ok(held)
}

fn one(connection: &Connection, message: MessageId, index: u16) -> rusqlite::Result<Option<Held>> {
    let mut select = connection.prepare_cached(
        "SELECT r.idx, r.copy_index, r.address, r.opens, r.links, r.state, r.reply, r.at_ms, r.name,
                m.accepted_at_ms, m.org, m.header_from, m.subject
         FROM recipient r JOIN message m ON m.id = r.message WHERE r.message = ?1 AND r.idx = ?2",
    )?;
    let read = |row: &Row<'_>| {
        Ok(Held {
            message,
            accepted_at_ms: row.get(9)?,
            org: row.get::<_, Column<_>>(10)?.0,
            header_from: row.get(11)?,
            subject: row.get(12)?,
            recipient: recipient(row)?,
            events: Vec::new(),
            more_events: false,
        })
    };
    select.query_map(params![Column(message), index], read)?.next().transpose()
}

/// Reads the newest events of a mail that can be nobody else's: all of them, a page at a time, or as many as there is room for.
pub(super) fn read_events(connection: &Connection, held: &mut Held, room: usize) -> rusqlite::Result<()> {
    let mut filter = TimelineFilter {
        message: Some(held.message),
        copy: Some(held.recipient.index),
        limit: timeline::LIMIT_MAX,
        newest: true,
        ..TimelineFilter::default()
    };
    let mut newest_first: Vec<Event> = Vec::new();
    loop {
        let page = timeline::timeline(connection, &filter)?;
        filter.before_sequence = page.first().map(|entry| entry.sequence);
        let is_last = page.len() < timeline::LIMIT_MAX as usize;
        let theirs = page.into_iter().rev().filter(|entry| entry.recipient.is_some());
        newest_first.extend(theirs.map(|entry| entry.event));
        held.more_events = newest_first.len() > room;
        if is_last || held.more_events {
            break;
        }
    }
    newest_first.truncate(room);
    newest_first.reverse();
    held.events = newest_first;
    Ok(())
}

/// Makes these recipients nobody. The caller commits.
pub(super) fn erase(connection: &Connection, recipients: &[(MessageId, u16)]) -> rusqlite::Result<()> {
    for (message, index) in recipients {
        let key = params![Column(*message), index];
        let found = connection
            .prepare_cached(
                "SELECT address, (SELECT count(*) = 1 FROM recipient WHERE message = ?1 AND copy_index = ?2)
                 FROM recipient WHERE message = ?1 AND idx = ?2",
            )?
            .query_row(key, |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))
            .optional()?;
        let Some((address, alone)) = found else { continue };
        correspondents::forget(connection, *message, Some(*index))?;
        outbox::forget(connection, *message, *index)?;
        forget_words(connection, *message, *index, &address)?;
        connection
            .prepare_cached("UPDATE recipient SET address = '', name = '', reply = '' WHERE message = ?1 AND idx = ?2")?
            .execute(key)?;
        if !alone {
            continue;
        }
        for sql in [
            &format!("UPDATE event SET {WITHOUT_PERSON} WHERE message = ?1 AND recipient = ?2"),
            "UPDATE recipient SET opens = replace(opens, 'individual', 'aggregate'),
                                  links = replace(links, 'individual', 'aggregate')
             WHERE message = ?1 AND idx = ?2",
        ] {
            connection.prepare_cached(sql)?.execute(key)?;
        }
    }
    Ok(())
}

/// What upstream said to others of the mail may name this one: one answer can be for all of them.
fn forget_words(connection: &Connection, message: MessageId, index: u16, address: &str) -> rusqlite::Result<()> {
    for (said, forget) in [
        (
            "SELECT idx, reply FROM recipient WHERE message = ?1 AND idx <> ?2 AND reply <> ''",
            "UPDATE recipient SET reply = '' WHERE message = ?1 AND idx = ?2",
        ),
        (
            "SELECT id, coalesce(json_extract(body, '$.data.reply'), '') FROM webhook_delivery
             WHERE message = ?1 AND topic = 'message.bounced' AND recipient IS NOT ?2 AND json_valid(body)",
            "DELETE FROM webhook_delivery WHERE message = ?1 AND id = ?2",
        ),
    ] {
        let said: Vec<(i64, String)> = connection
            .prepare_cached(said)?
            .query_map(params![Column(message), index], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (row, _) in said.iter().filter(|(_, words)| is_named(address, words)) {
            connection.prepare_cached(forget)?.execute(params![Column(message), row])?;
        }
    }
    Ok(())
}

/// Whether words name this address: whole, in either case, and not as the end or the beginning of another.
pub(super) fn is_named(address: &str, words: &str) -> bool {
    let (address, words) = (address.to_lowercase(), words.to_lowercase());
    let goes_on = |c: char| c.is_alphanumeric() || "._%+-~".contains(c);
    let is_whole = |(at, _): (usize, &str)| {
        let before = words.get(..at).and_then(|text| text.chars().next_back());
        let mut after = words.get(at + address.len()..).unwrap_or_default().chars();
        // A full stop may end a sentence.
        let ends = match after.next() {
            Some('.') => !after.next().is_some_and(char::is_alphanumeric),
            next => !next.is_some_and(goes_on),
        };
        ends && !before.is_some_and(goes_on)
    };
    !address.is_empty() && words.match_indices(&address).any(is_whole)
}

/// [`erase`] on one recipient's record.
pub(super) fn nobody(recipient: &mut RecipientRecord, alone: bool) {
    recipient.address.clear();
    recipient.name.clear();
    recipient.delivery.reply.clear();
    if alone {
        recipient.opens = recipient.opens.min(crate::settings::Mode::Aggregate);
        recipient.links = recipient.links.min(crate::settings::Mode::Aggregate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventKind, Verdict};
    use crate::store::contract_tests::{event, record};
    use crate::store::record::Recording;
    use crate::store::{events, insert, schema};

    /// What there is no room for is left out, the oldest first, and that is said.
    #[test]
    fn what_is_left_out_is_said() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        insert::insert(&connection, &record(1)).unwrap();
        let all = (1..=3).map(|at_ms| Event { at_ms, ..event(1, 9, EventKind::Click, Verdict::Person) }).collect();
        events::record(&connection, &Recording { events: all, mended: Vec::new() }).unwrap();
        let mut held = one(&connection, MessageId(1), 9).unwrap().unwrap();
        for (room, expected, more) in
            [(0, vec![], true), (2, vec![2, 3], true), (3, vec![1, 2, 3], false), (9, vec![1, 2, 3], false)]
        {
            read_events(&connection, &mut held, room).unwrap();
            assert_eq!(held.events.iter().map(|event| event.at_ms).collect::<Vec<_>>(), expected, "{room}");
            assert_eq!(held.more_events, more, "{room}");
        }
    }

    #[test]
    fn an_address_is_named_whole_or_not_at_all() {
        let bob = "Bob@q.example";
        for words in [
            "550 5.1.1 <bob@q.example>: unknown",
            "no bob@Q.EXAMPLE.",
            "rcpt=bob@q.example, gone",
            "'bob@q.example'",
            "jimbob@q.example and bob@q.example",
        ] {
            assert!(is_named(bob, words), "{words}");
        }
        for words in
            ["", "<jimbob@q.example>", "jim.bob@q.example", "bob@q.example.org", "bob@q.examples", "bob at q.example"]
        {
            assert!(!is_named(bob, words), "{words}");
        }
        assert!(is_named("\"jö b\"@q.example", "550 <\"JÖ b\"@q.example>"));
        assert!(!is_named("", "anything"));
    }
}

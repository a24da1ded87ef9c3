//! Question: events, oldest first, with the names a person needs to read them.
//!
//! **Invariant:** a recipient is named only when the event can be nobody else's: the copy was theirs alone and their
//! mode for that kind of event was `individual`.

use rusqlite::{Connection, Row, ToSql};

use super::TimelineFilter;
use super::column::Column;
use super::record::{Addressee, TimelineEntry};
use crate::event::{Event, EventKind, Evidence};
use crate::token::TokenId;

/// The largest page.
pub(super) const LIMIT_MAX: u32 = 1000;

/// Of how many of the newest events (or the next, from a place on) a sender's are looked for one after the other. Whoever
/// has much is found among them; whoever has little is asked for by their mails. Some 30 ms.
const WALK_MAX: i64 = 20_000;

/// With `{join}` how the mail is joined, so that SQLite goes from events to mails and never the other way round.
const SELECT: &str = "
    SELECT e.sequence, e.at_ms, e.message, e.recipient, e.link, e.kind, e.verdict, e.rule, e.country,
           e.agent_family, e.os_family, e.device_family, e.network_hash,
           r.address, coalesce(m.subject, ''), l.destination, m.org, m.login,
           e.former, e.repeats, e.city, e.via, e.address, e.agent, r.name
    FROM event e
    {join} JOIN message m ON m.id = e.message
    LEFT JOIN link l ON l.message = e.message AND l.idx = e.link AND e.kind = 'click'
    LEFT JOIN recipient r ON r.message = e.message AND r.idx = e.recipient AND r.copy_index = r.idx
              AND CASE e.kind WHEN 'open' THEN r.opens ELSE r.links END = 'individual'
              AND NOT EXISTS (SELECT 1 FROM recipient o
                              WHERE o.message = r.message AND o.copy_index = r.idx AND o.idx <> r.idx)
    WHERE e.sequence > :after AND e.sequence <= :until";

/// Reads the entries.
pub(super) fn timeline(connection: &Connection, filter: &TimelineFilter) -> rusqlite::Result<Vec<TimelineEntry>> {
    let (first, last) =
        (filter.after_sequence, filter.before_sequence.map_or(i64::MAX, |before| before.saturating_sub(1)));
    let scoped = filter.org.is_some() || filter.login.is_some();
    // Those judged otherwise are few, and found by their sequences.
    let mut found = if filter.message.is_some() || filter.judged_after.is_some() || !scoped {
        read(connection, filter, (first, last), Way::Straight)?
    } else {
        of_sender(connection, filter, (first, last), WALK_MAX)?
    };
    if filter.newest {
        found.reverse();
    }
    Ok(found)
}

/// First by walking, then by their mails.
fn of_sender(
    connection: &Connection,
    filter: &TimelineFilter,
    (first, last): (i64, i64),
    walk_max: i64,
) -> rusqlite::Result<Vec<TimelineEntry>> {
    let newest: i64 =
        connection.prepare_cached("SELECT coalesce(max(sequence), 0) FROM event")?.query_row([], |row| row.get(0))?;
    let last = last.min(newest);
    let (from, to) = match filter.newest {
        true => (first.max(last.saturating_sub(walk_max)), last),
        false => (first, last.min(first.saturating_add(walk_max))),
    };
    let found = read(connection, filter, (from, to), Way::Straight)?;
    let enough = found.len() >= filter.limit.clamp(1, LIMIT_MAX) as usize;
    match enough || (from, to) == (first, last) {
        true => Ok(found),
        false => read(connection, filter, (first, last), Way::ByMails),
    }
}

/// How the events of a sender are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One after the other.
    Straight,
    /// Those of each of their mails, by the index.
    ByMails,
}

/// The entries above the first place up to the second, in the order they are looked for.
fn read(
    connection: &Connection,
    filter: &TimelineFilter,
    (after, until): (i64, i64),
    way: Way,
) -> rusqlite::Result<Vec<TimelineEntry>> {
    let limit = filter.limit.clamp(1, LIMIT_MAX);
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":after", &after), (":until", &until), (":limit", &limit)];
    let message = filter.message.map(Column);
    values.extend(message.as_ref().map(|message| (":message", message as &dyn ToSql)));
    values.extend(filter.copy.as_ref().map(|copy| (":copy", copy as &dyn ToSql)));
    let org = filter.org.as_ref().map(|org| org.as_str());
    values.extend(org.as_ref().map(|org| (":org", org as &dyn ToSql)));
    values.extend(filter.judged_after.as_ref().map(|judged| (":judged", judged as &dyn ToSql)));
    values.extend(filter.login.as_ref().map(|login| (":login", login as &dyn ToSql)));
    connection.prepare_cached(&sql(filter, way))?.query_map(values.as_slice(), entry)?.collect()
}

fn sql(filter: &TimelineFilter, way: Way) -> String {
    let conditions = [
        (filter.message.is_some(), " AND e.message = :message"),
        (filter.copy.is_some(), " AND e.recipient = :copy"),
        (filter.org.is_some(), " AND m.org = :org"),
        (filter.login.is_some(), " AND m.login = :login"),
        (filter.kind == Some(EventKind::Open), " AND e.kind = 'open'"),
        (filter.kind == Some(EventKind::Click), " AND e.kind = 'click'"),
        (filter.judged_after.is_some(), " AND e.sequence IN (SELECT sequence FROM judged WHERE number > :judged)"),
        (filter.with_network, " AND e.network_hash IS NOT NULL"),
    ];
    let conditions: String = conditions.into_iter().filter(|(asked, _)| *asked).map(|(_, sql)| sql).collect();
    let scoped = filter.org.is_some() || filter.login.is_some();
    let select = SELECT.replace("{join}", if scoped { "CROSS" } else { "LEFT" });
    let order = if filter.newest { "e.sequence DESC" } else { "e.sequence" };
    let of_mails = match way {
        Way::Straight => String::new(),
        Way::ByMails => format!(
            " AND e.sequence IN (SELECT e.sequence FROM message m CROSS JOIN event e ON e.message = m.id
                                 WHERE e.sequence > :after AND e.sequence <= :until{conditions}
                                 ORDER BY {order} LIMIT :limit)"
        ),
    };
    format!("{select}{conditions}{of_mails} ORDER BY {order} LIMIT :limit")
}

fn evidence(row: &Row<'_>) -> rusqlite::Result<Option<Evidence>> {
    let Some(text) = row.get::<_, Option<String>>(22)? else { return Ok(None) };
    let unreadable = |e| rusqlite::Error::FromSqlConversionFailure(22, rusqlite::types::Type::Text, Box::new(e));
    Ok(Some(Evidence { address: text.parse().map_err(unreadable)?, agent: row.get(23)? }))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<TimelineEntry> {
    let event = Event {
        at_ms: row.get(1)?,
        id: TokenId { message: row.get::<_, Column<_>>(2)?.0, recipient: row.get(3)?, link: row.get(4)? },
        kind: row.get::<_, Column<_>>(5)?.0,
        verdict: row.get::<_, Column<_>>(6)?.0,
        rule: row.get(7)?,
        former: row.get::<_, Option<Column<_>>>(18)?.map(|former| former.0),
        repeats: row.get(19)?,
        country: row.get(8)?,
        city: row.get(20)?,
        via: row.get::<_, Option<Column<_>>>(21)?.map(|via| via.0),
        agent_family: row.get(9)?,
        os_family: row.get(10)?,
        device_family: row.get(11)?,
        network_hash: row.get(12)?,
        evidence: evidence(row)?,
    };
    let recipient = match (row.get(13)?, row.get::<_, Option<String>>(24)?) {
        (Some(address), name) => Some(Addressee { address, name: name.unwrap_or_default() }),
        (None, _) => None,
    };
    Ok(TimelineEntry {
        sequence: row.get(0)?,
        event,
        recipient,
        subject: row.get(14)?,
        destination: row.get(15)?,
        org: row.get::<_, Option<Column<_>>>(16)?.map(|org| org.0),
        login: row.get(17)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::counters::tests::plan;
    use crate::store::schema::migrate;
    use crate::token::MessageId;

    /// However short the walk: the same events, from either end.
    #[test]
    fn walking_and_asking_by_mails_find_the_same() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        for (id, login) in [(1, "ann"), (2, "ann"), (3, "bo")] {
            let sql = "INSERT INTO message (id, accepted_at_ms, org, login, reverse_path, header_from, subject,
                           message_id_header, size_bytes, site, key_id, notes, recipients, accepted)
                       VALUES (?1, 0, 'acme', ?2, '', '', '', '', 0, x'00000000', 0, '[]', 1, 1)";
            connection.execute(sql, (id, login)).unwrap();
        }
        // ann's two mails and then, for long, only another's
        for message in [1, 2, 3, 1, 3, 3, 3, 3, 2, 3, 3, 3] {
            let sql = "INSERT INTO event (at_ms, message, recipient, link, kind, verdict, rule)
                       VALUES (0, ?1, 0, 0, 'open', 'person', '')";
            connection.execute(sql, [message]).unwrap();
        }
        let sequences = |found: Vec<TimelineEntry>| found.iter().map(|e| e.sequence).collect::<Vec<_>>();
        for (newest, range, limit, expected) in [
            (true, (0, i64::MAX), 9, vec![9, 4, 2, 1]),
            (true, (0, i64::MAX), 2, vec![9, 4]),
            (true, (0, 8), 2, vec![4, 2]),
            (false, (0, i64::MAX), 3, vec![1, 2, 4]),
            (false, (2, i64::MAX), 9, vec![4, 9]),
            (false, (9, i64::MAX), 9, vec![]),
        ] {
            let login = Some("ann".to_owned());
            let filter = TimelineFilter { login, newest, limit, ..TimelineFilter::default() };
            for walk_max in [1, 3, 100] {
                let found = of_sender(&connection, &filter, range, walk_max).unwrap();
                assert_eq!(sequences(found), expected, "{newest} {range:?} {limit} {walk_max}");
            }
        }
    }

    /// Events are walked in their order, or found by the index of their mail; nothing is sorted but what is shown.
    #[test]
    fn events_come_in_their_order_or_by_their_mail() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let all = TimelineFilter { newest: true, limit: 200, ..TimelineFilter::default() };
        let ann = TimelineFilter { org: "acme".parse().ok(), login: Some("ann".to_owned()), ..all.clone() };
        let mail = TimelineFilter { message: Some(MessageId(7)), ..all.clone() };
        let reader = TimelineFilter { copy: Some(3), ..mail.clone() };
        let judged = TimelineFilter { judged_after: Some(7), newest: false, ..ann.clone() };
        let walked = "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
        for (filter, way, first) in [
            (&all, Way::Straight, walked),
            (&ann, Way::Straight, walked),
            (&TimelineFilter { newest: false, ..ann.clone() }, Way::Straight, walked),
            (&mail, Way::Straight, "SEARCH e USING INDEX event_of_message (message=? AND sequence>? AND sequence<?)"),
            (&reader, Way::Straight, "SEARCH e USING INDEX event_of_message (message=? AND sequence>? AND sequence<?)"),
            (&judged, Way::Straight, "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"),
            (&ann, Way::ByMails, "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"),
        ] {
            let steps = plan(&connection, &sql(filter, way));
            assert_eq!(steps.first().unwrap(), first, "{filter:?}");
            assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{steps:?}");
            let by_mails = steps.iter().any(|step| step.contains("COVERING INDEX event_of_message (message=?"));
            assert_eq!(by_mails, way == Way::ByMails, "{steps:?}");
        }
    }
}

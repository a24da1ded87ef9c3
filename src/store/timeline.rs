//! Question: events, oldest first, with the names a person needs to read them.
//!
//! **Invariant:** a recipient is named only when the event can be nobody else's: the copy was theirs alone and their
//! mode for that kind of event was `individual`.

use rusqlite::{Connection, Row, ToSql};

use super::TimelineFilter;
use super::column::Column;
use super::record::TimelineEntry;
use crate::event::{Event, Evidence};
use crate::token::TokenId;

/// The largest page.
pub(super) const LIMIT_MAX: u32 = 1000;

const SELECT: &str = "
    SELECT e.sequence, e.at_ms, e.message, e.recipient, e.link, e.kind, e.verdict, e.rule, e.country,
           e.agent_family, e.os_family, e.device_family, e.network_hash,
           r.address, coalesce(m.subject, ''), l.destination, m.org, m.login,
           e.former, e.repeats, e.city, e.via, e.address, e.agent
    FROM event e
    LEFT JOIN message m ON m.id = e.message
    LEFT JOIN link l ON l.message = e.message AND l.idx = e.link AND e.kind = 'click'
    LEFT JOIN recipient r ON r.message = e.message AND r.idx = e.recipient AND r.copy_index = r.idx
              AND CASE e.kind WHEN 'open' THEN r.opens ELSE r.links END = 'individual'
              AND NOT EXISTS (SELECT 1 FROM recipient o
                              WHERE o.message = r.message AND o.copy_index = r.idx AND o.idx <> r.idx)
    WHERE e.sequence > :after";

/// Reads the entries.
pub(super) fn timeline(connection: &Connection, filter: &TimelineFilter) -> rusqlite::Result<Vec<TimelineEntry>> {
    let mut sql = String::from(SELECT);
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":after", &filter.after_sequence)];
    let message = filter.message.map(Column);
    if let Some(message) = &message {
        sql.push_str(" AND e.message = :message");
        values.push((":message", message));
    }
    let org = filter.org.as_ref().map(|org| org.as_str());
    if let Some(org) = &org {
        sql.push_str(" AND m.org = :org");
        values.push((":org", org));
    }
    if let Some(login) = &filter.login {
        sql.push_str(" AND m.login = :login");
        values.push((":login", login));
    }
    let limit = filter.limit.clamp(1, LIMIT_MAX);
    values.push((":limit", &limit));
    sql.push_str(if filter.newest {
        " ORDER BY e.sequence DESC LIMIT :limit"
    } else {
        " ORDER BY e.sequence LIMIT :limit"
    });
    let mut found: Vec<TimelineEntry> =
        connection.prepare_cached(&sql)?.query_map(values.as_slice(), entry)?.collect::<rusqlite::Result<_>>()?;
    if filter.newest {
        found.reverse();
    }
    Ok(found)
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
    Ok(TimelineEntry {
        sequence: row.get(0)?,
        event,
        recipient: row.get(13)?,
        subject: row.get(14)?,
        destination: row.get(15)?,
        org: row.get::<_, Option<Column<_>>>(16)?.map(|org| org.0),
        login: row.get(17)?,
    })
}

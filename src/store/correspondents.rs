//! Question and write: whom a sender wrote to, and what one of them did with it.
//!
//! **Invariant:** an open or click is counted for somebody only when it can be nobody else's: the copy was theirs alone
//! and their mode for that kind of event was `individual`.

use rusqlite::{Connection, Row, ToSql, params};

use super::PAGE_EVENTS_MAX;
use super::column::Column;
use super::message::recipient;
use super::messages::anywhere;
use super::person::read_events;
use super::record::{Correspondent, CorrespondentFilter, Counts, Held, MessageRecord};
use crate::settings::OrgName;
use crate::token::MessageId;

/// The largest page.
pub(super) const LIMIT_MAX: u32 = 500;
/// Of how many of somebody's newest mails the opens and clicks are added up.
pub(super) const COUNTED_MAX: u32 = 200;

/// One recipient alone in its copy, named `r`.
const ALONE: &str = "r.copy_index = r.idx AND NOT EXISTS (SELECT 1 FROM recipient o
                         WHERE o.message = r.message AND o.copy_index = r.idx AND o.idx <> r.idx)";

/// Notes the recipients of a message. The caller commits.
pub(super) fn note(connection: &Connection, record: &MessageRecord) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO correspondent (org, login, address, mails, last_ms, name) VALUES (?1, ?2, ?3, 1, ?4, ?5)
         ON CONFLICT (org, login, address) DO UPDATE SET mails = mails + 1, last_ms = max(last_ms, excluded.last_ms),
             name = iif(excluded.name = '', name, excluded.name)",
    )?;
    let login = record.login.as_deref().unwrap_or_default();
    for recipient in record.recipients.iter().filter(|recipient| !recipient.address.is_empty()) {
        put.execute(params![record.org.as_str(), login, recipient.address, record.accepted_at_ms, recipient.name])?;
    }
    Ok(())
}

/// Takes a mail from an address that is forgotten: one recipient, or with `None` all of the message. The caller commits.
pub(super) fn forget(connection: &Connection, message: MessageId, index: Option<u16>) -> rusqlite::Result<()> {
    for sql in forget_sql() {
        connection.prepare_cached(&sql)?.execute(params![Column(message), index])?;
    }
    Ok(())
}

/// Counted down, gone when nothing is left, and without the name that no other mail had. One by one, for SQLite finds no row by
/// three values at once whose letters count in either case.
fn forget_sql() -> [String; 3] {
    let of_mail = "org = (SELECT org FROM message WHERE id = ?1) AND login = (SELECT coalesce(login, '') FROM message WHERE id = ?1)
                   AND address IN (SELECT address FROM recipient WHERE message = ?1 AND (?2 IS NULL OR idx = ?2))";
    // As often as they were noted: an envelope may name somebody twice.
    let times = "(SELECT count(*) FROM recipient r WHERE r.message = ?1 AND (?2 IS NULL OR r.idx = ?2)
                    AND r.address = correspondent.address COLLATE NOCASE)";
    let elsewhere = "EXISTS (SELECT 1 FROM recipient r CROSS JOIN message m ON m.id = r.message
                     WHERE r.address = correspondent.address COLLATE NOCASE AND r.name = correspondent.name AND m.id <> ?1
                       AND m.org = correspondent.org AND coalesce(m.login, '') = correspondent.login)";
    [
        format!("UPDATE correspondent SET mails = mails - {times} WHERE {of_mail}"),
        format!("DELETE FROM correspondent WHERE {of_mail} AND mails <= 0"),
        format!("UPDATE correspondent SET name = '' WHERE {of_mail} AND name <> '' AND NOT {elsewhere}"),
    ]
}

/// Reads a page of them, by address.
pub(super) fn correspondents(
    connection: &Connection,
    filter: &CorrespondentFilter,
) -> rusqlite::Result<Vec<Correspondent>> {
    let limit = filter.limit.clamp(1, LIMIT_MAX);
    let pattern = filter.holding.as_deref().map(anywhere);
    let org = filter.org.as_ref().map(OrgName::as_str);
    let mut values = scope(filter, &org);
    values.extend(pattern.as_ref().map(|pattern| (":holding", pattern as &dyn ToSql)));
    values.extend(filter.after.as_ref().map(|after| (":after", after as &dyn ToSql)));
    values.push((":limit", &limit));
    let mut found: Vec<Correspondent> = connection
        .prepare_cached(&list_sql(filter))?
        .query_map(values.as_slice(), |row| {
            let (mails, counts) = (row.get::<_, i64>(1)?.cast_unsigned(), Counts::default());
            let (address, last_ms, name) = (row.get(0)?, row.get(2)?, row.get(3)?);
            Ok(Correspondent { address, name, mails, last_ms, opens_known: 0, counts })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for one in &mut found {
        count(connection, filter, one)?;
    }
    Ok(found)
}

/// The newest mails to the address that `holding` is, with the events known to be its reader's.
pub(super) fn correspondence(connection: &Connection, filter: &CorrespondentFilter) -> rusqlite::Result<Vec<Held>> {
    let limit = filter.limit.clamp(1, LIMIT_MAX);
    let org = filter.org.as_ref().map(OrgName::as_str);
    let mut values = scope(filter, &org);
    let address = filter.holding.clone().unwrap_or_default();
    values.push((":address", &address));
    values.push((":limit", &limit));
    let before = filter.before.map(|(at_ms, id)| (at_ms, Column(id)));
    values.extend(before.as_ref().map(|(at_ms, _)| (":at_ms", at_ms as &dyn ToSql)));
    values.extend(before.as_ref().map(|(_, id)| (":id", id as &dyn ToSql)));
    let older = if before.is_some() { " AND (m.accepted_at_ms, m.id) < (:at_ms, :id)" } else { "" };
    let sql = format!(
        "SELECT r.idx, r.copy_index, r.address, r.opens, r.links, r.state, r.reply, r.at_ms, r.name,
                m.accepted_at_ms, m.org, m.header_from, m.subject, m.id
         FROM recipient r CROSS JOIN message m ON m.id = r.message
         WHERE r.address = :address COLLATE NOCASE{}{older} ORDER BY m.accepted_at_ms DESC, m.id DESC LIMIT :limit",
        conditions(filter, "m.")
    );
    let mut held: Vec<Held> = connection
        .prepare_cached(&sql)?
        .query_map(values.as_slice(), |row| {
            Ok(Held {
                message: row.get::<_, Column<MessageId>>(13)?.0,
                accepted_at_ms: row.get(9)?,
                org: row.get::<_, Column<_>>(10)?.0,
                header_from: row.get(11)?,
                subject: row.get(12)?,
                recipient: recipient(row)?,
                events: Vec::new(),
                more_events: false,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for held in &mut held {
        read_events(connection, held, PAGE_EVENTS_MAX)?;
    }
    Ok(held)
}

fn scope<'a>(filter: &'a CorrespondentFilter, org: &'a Option<&'a str>) -> Vec<(&'static str, &'a dyn ToSql)> {
    let mut values: Vec<(&'static str, &dyn ToSql)> = Vec::new();
    values.extend(org.as_ref().map(|org| (":org", org as &dyn ToSql)));
    values.extend(filter.login.as_ref().map(|login| (":login", login as &dyn ToSql)));
    values
}

/// Written for what is asked, for a condition that may be absent keeps SQLite from every index.
fn conditions(filter: &CorrespondentFilter, table: &str) -> String {
    let org = filter.org.as_ref().map(|_| format!(" AND {table}org = :org"));
    let login = filter.login.as_ref().map(|_| format!(" AND {table}login = :login"));
    org.into_iter().chain(login).collect()
}

/// A page's addresses first, which the index alone tells, then their sums: what is passed over is never summed. Without a
/// sender, SQLite would rather sort all of an organisation.
fn list_sql(filter: &CorrespondentFilter) -> String {
    let holding = if filter.holding.is_some() {
        r" AND (address LIKE :holding ESCAPE '\' OR name LIKE :holding ESCAPE '\')"
    } else {
        ""
    };
    let after = if filter.after.is_some() { " AND address > :after" } else { "" };
    let index = if filter.login.is_some() && filter.org.is_some() { "" } else { "INDEXED BY correspondent_of_address" };
    format!(
        "SELECT c.address, sum(c.mails), max(c.last_ms), max(c.name)
         FROM (SELECT address FROM correspondent {index} WHERE true{}{holding}{after}
               GROUP BY address ORDER BY address LIMIT :limit) page
         CROSS JOIN correspondent c ON c.address = page.address WHERE true{}
         GROUP BY c.address ORDER BY c.address",
        conditions(filter, ""),
        conditions(filter, "c.")
    )
}

/// Adds up what is known of somebody's newest mails. (From the address to the mails: SQLite would rather begin at a sender's.)
fn count(connection: &Connection, filter: &CorrespondentFilter, one: &mut Correspondent) -> rusqlite::Result<()> {
    let org = filter.org.as_ref().map(OrgName::as_str);
    let mut values = scope(filter, &org);
    values.push((":address", &one.address));
    values.push((":limit", &COUNTED_MAX));
    let sql = format!(
        "SELECT coalesce(sum(r.opens = 'individual'), 0),
                coalesce(sum(iif(r.opens = 'individual', c.opens, 0)), 0),
                coalesce(sum(iif(r.links = 'individual', c.clicks, 0)), 0),
                coalesce(sum(iif(r.opens = 'individual', c.machine_opens, 0)), 0),
                coalesce(sum(iif(r.links = 'individual', c.machine_clicks, 0)), 0)
         FROM (SELECT r.* FROM recipient r CROSS JOIN message m ON m.id = r.message
               WHERE r.address = :address COLLATE NOCASE{}
               ORDER BY m.accepted_at_ms DESC, m.id DESC LIMIT :limit) r
         LEFT JOIN copy_count c ON c.message = r.message AND c.copy = r.copy_index
         WHERE {ALONE}",
        conditions(filter, "m.")
    );
    let read = |row: &Row<'_>| {
        let counts =
            Counts { opens: row.get(1)?, clicks: row.get(2)?, machine_opens: row.get(3)?, machine_clicks: row.get(4)? };
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), counts))
    };
    (one.opens_known, one.counts) = connection.prepare_cached(&sql)?.query_row(values.as_slice(), read)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::counters::tests::plan;
    use crate::store::schema::migrate;

    /// A sender's people come by index, in their order; nobody else's are read.
    #[test]
    fn a_page_reads_its_own_rows_only() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let own = CorrespondentFilter {
            org: Some("acme".parse().unwrap()),
            login: Some("ann".to_owned()),
            after: Some("m".to_owned()),
            limit: 50,
            ..CorrespondentFilter::default()
        };
        let steps = plan(&connection, &list_sql(&own));
        let page = "SEARCH correspondent USING PRIMARY KEY (org=? AND login=? AND address>?)";
        assert_eq!(steps[..3], ["CO-ROUTINE page", page, "SCAN page"]);
        let of_org = CorrespondentFilter { login: None, ..own.clone() };
        let all = CorrespondentFilter { org: None, after: None, ..of_org.clone() };
        for sql in forget_sql() {
            let steps = plan(&connection, &sql);
            assert!(
                steps[0].contains("correspondent USING PRIMARY KEY (org=? AND login=? AND address=?)"),
                "{steps:?}"
            );
        }
        for (filter, how) in [
            (of_org, "SEARCH correspondent USING COVERING INDEX correspondent_of_address (address>?)"),
            (all, "SCAN correspondent USING COVERING INDEX correspondent_of_address"),
        ] {
            let steps = plan(&connection, &list_sql(&filter));
            assert_eq!(steps[..3], ["CO-ROUTINE page", how, "SCAN page"]);
            assert!(steps.get(3).unwrap().starts_with("SEARCH c USING"), "{steps:?}");
        }
    }
}

//! Question: a page of messages, newest first. Every combination of filters walks an index.

use rusqlite::{Connection, Row, ToSql};

use super::column::Column;
use super::record::{MessageFilter, MessageSummary};

/// The largest page.
pub(super) const LIMIT_MAX: u32 = 500;

/// Reads the page.
pub(super) fn messages(connection: &Connection, filter: &MessageFilter) -> rusqlite::Result<Vec<MessageSummary>> {
    let mut conditions = Vec::new();
    let mut values: Vec<(&str, &dyn ToSql)> = Vec::new();
    let org = filter.org.as_ref().map(|org| org.as_str());
    if let Some(org) = &org {
        conditions.push("org = :org");
        values.push((":org", org));
    }
    if let Some(login) = &filter.login {
        conditions.push("login = :login");
        values.push((":login", login));
    }
    let before = filter.before.map(|(at_ms, id)| (at_ms, Column(id)));
    if let Some((at_ms, id)) = &before {
        conditions.push("(accepted_at_ms, id) < (:at_ms, :id)");
        values.push((":at_ms", at_ms));
        values.push((":id", id));
    }
    let limit = filter.limit.clamp(1, LIMIT_MAX);
    values.push((":limit", &limit));
    let filtered = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let sql = format!(
        "SELECT id, accepted_at_ms, org, login, header_from, subject, recipients, accepted, opens, clicks, untouched IS NULL,
                machine_opens, machine_clicks
         FROM message {filtered} ORDER BY accepted_at_ms DESC, id DESC LIMIT :limit"
    );
    connection.prepare_cached(&sql)?.query_map(values.as_slice(), summary)?.collect()
}

fn summary(row: &Row<'_>) -> rusqlite::Result<MessageSummary> {
    Ok(MessageSummary {
        id: row.get::<_, Column<_>>(0)?.0,
        accepted_at_ms: row.get(1)?,
        org: row.get::<_, Column<_>>(2)?.0,
        login: row.get(3)?,
        header_from: row.get(4)?,
        subject: row.get(5)?,
        recipients: row.get(6)?,
        accepted: row.get(7)?,
        opens: row.get::<_, i64>(8)?.cast_unsigned(),
        clicks: row.get::<_, i64>(9)?.cast_unsigned(),
        tracked: row.get(10)?,
        machine_opens: row.get::<_, i64>(11)?.cast_unsigned(),
        machine_clicks: row.get::<_, i64>(12)?.cast_unsigned(),
    })
}

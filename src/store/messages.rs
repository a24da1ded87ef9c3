//! Question: a page of messages, newest first. Every combination of filters walks an index.

use rusqlite::{Connection, Row, ToSql};

use super::column::Column;
use super::record::{MessageFilter, MessageSummary};

/// The largest page.
pub(super) const LIMIT_MAX: u32 = 500;

/// Reads the page.
pub(super) fn messages(connection: &Connection, filter: &MessageFilter) -> rusqlite::Result<Vec<MessageSummary>> {
    let mut values: Vec<(&str, &dyn ToSql)> = Vec::new();
    let org = filter.org.as_ref().map(|org| org.as_str());
    if let Some(org) = &org {
        values.push((":org", org));
    }
    if let Some(login) = &filter.login {
        values.push((":login", login));
    }
    let before = filter.before.map(|(at_ms, id)| (at_ms, Column(id)));
    if let Some((at_ms, id)) = &before {
        values.push((":at_ms", at_ms));
        values.push((":id", id));
    }
    let limit = filter.limit.clamp(1, LIMIT_MAX);
    values.push((":limit", &limit));
    connection.prepare_cached(&sql(filter))?.query_map(values.as_slice(), summary)?.collect()
}

fn sql(filter: &MessageFilter) -> String {
    let conditions = [
        (filter.org.is_some(), "org = :org"),
        (filter.login.is_some(), "login = :login"),
        (filter.before.is_some(), "(accepted_at_ms, id) < (:at_ms, :id)"),
    ];
    let conditions: Vec<&str> = conditions.into_iter().filter(|(asked, _)| *asked).map(|(_, sql)| sql).collect();
    let filtered = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    format!(
        "SELECT id, accepted_at_ms, org, login, header_from, subject, recipients, accepted, opens, clicks, untouched IS NULL,
                machine_opens, machine_clicks
         FROM message {filtered} ORDER BY accepted_at_ms DESC, id DESC LIMIT :limit"
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::counters::tests::plan;
    use crate::store::schema::migrate;
    use crate::token::MessageId;

    /// Every combination walks an index in the order of the list, sorts nothing and reads no event.
    #[test]
    fn a_page_reads_its_own_rows_only() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        for number in 0..8 {
            let filter = MessageFilter {
                org: (number & 1 > 0).then(|| "acme".parse().unwrap()),
                login: (number & 2 > 0).then(|| "ann".to_owned()),
                before: (number & 4 > 0).then_some((5, MessageId(7))),
                limit: 50,
            };
            let steps = plan(&connection, &sql(&filter));
            let [step] = &steps[..] else { panic!("{filter:?}: {steps:?}") };
            assert!(step.contains("message USING INDEX message_newest"), "{filter:?}: {step}");
        }
    }
}

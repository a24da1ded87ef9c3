//! Question: a page of messages, newest first. Every combination of filters walks an index.

use rusqlite::{Connection, Row, ToSql};

use super::column::Column;
use super::record::{DeliveryState, MessageFilter, MessageSummary, ReadersDid};
use crate::token::MessageId;

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
    let place = |place: Option<(i64, MessageId)>| place.map(|(at_ms, id)| (at_ms, Column(id)));
    let (before, after) = (place(filter.before), place(filter.after));
    if let Some((at_ms, id)) = &before {
        values.extend([(":at_ms", at_ms as &dyn ToSql), (":id", id)]);
    }
    if let Some((at_ms, id)) = &after {
        values.extend([(":after_ms", at_ms as &dyn ToSql), (":after_id", id)]);
    }
    let wanted = &filter.wanted;
    let texts = [(":recipient", &wanted.recipient), (":subject", &wanted.subject), (":sender", &wanted.sender)]
        .map(|(name, text)| (name, text.as_deref().map(anywhere)));
    let times = [(":from_ms", &wanted.from_ms), (":until_ms", &wanted.until_ms)];
    values.extend(texts.iter().filter_map(|(name, text)| Some((*name, text.as_ref()? as &dyn ToSql))));
    values.extend(times.iter().filter_map(|(name, at_ms)| Some((*name, at_ms.as_ref()? as &dyn ToSql))));
    let limit = filter.limit.clamp(1, LIMIT_MAX);
    values.push((":limit", &limit));
    let mut select = connection.prepare_cached(&sql(filter))?;
    let mut found: Vec<MessageSummary> =
        select.query_map(values.as_slice(), summary)?.collect::<rusqlite::Result<_>>()?;
    if filter.after.is_some() {
        found.reverse();
    }
    Ok(found)
}

/// A text as a pattern of LIKE that finds it anywhere.
pub(super) fn anywhere(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

fn sql(filter: &MessageFilter) -> String {
    let conditions = [
        (filter.org.is_some(), "org = :org"),
        (filter.login.is_some(), "login = :login"),
        (filter.before.is_some(), "(accepted_at_ms, id) < (:at_ms, :id)"),
        (filter.after.is_some(), "(accepted_at_ms, id) > (:after_ms, :after_id)"),
        (filter.wanted.from_ms.is_some(), "accepted_at_ms >= :from_ms"),
        (filter.wanted.until_ms.is_some(), "accepted_at_ms < :until_ms"),
        (filter.wanted.subject.is_some(), r"subject LIKE :subject ESCAPE '\'"),
        (filter.wanted.sender.is_some(), r"(header_from LIKE :sender ESCAPE '\' OR login LIKE :sender ESCAPE '\')"),
        // The plus keeps SQLite on the index of the list, in its order, instead of sorting everything that was found.
        (
            filter.wanted.recipient.is_some(),
            r"+id IN (SELECT message FROM recipient WHERE address LIKE :recipient ESCAPE '\' OR name LIKE :recipient ESCAPE '\')",
        ),
    ];
    let conditions = conditions.into_iter().filter(|(asked, _)| *asked).map(|(_, sql)| sql);
    let more = [filter.wanted.delivery.map(delivered), filter.wanted.readers.map(read)];
    let conditions: Vec<&str> = conditions.chain(more.into_iter().flatten()).collect();
    let filtered = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    // Few mails are on their way; SQLite would walk the list, for it cannot know that they are few.
    let undelivered = filter.wanted.delivery == Some(DeliveryState::Pending);
    let index = if undelivered { "INDEXED BY message_undelivered" } else { "" };
    let order = if filter.after.is_some() { "accepted_at_ms, id" } else { "accepted_at_ms DESC, id DESC" };
    format!(
        "SELECT id, accepted_at_ms, org, login, header_from, subject, recipients, accepted, opens, clicks, untouched IS NULL,
                machine_opens, machine_clicks
         FROM message {index} {filtered} ORDER BY {order} LIMIT :limit"
    )
}

/// In the words of the index `recipient_in_trouble`, else SQLite does not see that it is meant.
macro_rules! in_trouble {
    ($state:literal) => {
        concat!(
            "+id IN (SELECT message FROM recipient WHERE state IN ('refused', 'deferred', 'unknown') AND state = '",
            $state,
            "')"
        )
    };
}

/// Somebody's delivery stands so.
fn delivered(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => {
            "accepted < recipients AND EXISTS (SELECT 1 FROM recipient WHERE message = message.id AND state = 'pending')"
        }
        DeliveryState::Accepted => "accepted > 0",
        DeliveryState::Refused => in_trouble!("refused"),
        DeliveryState::Deferred => in_trouble!("deferred"),
        DeliveryState::Unknown => in_trouble!("unknown"),
    }
}

fn read(readers: ReadersDid) -> &'static str {
    match readers {
        ReadersDid::Opened => "opened = 1",
        ReadersDid::NotOpened => "opened = 0",
        ReadersDid::Clicked => "clicked = 1",
        ReadersDid::NotClicked => "clicked = 0",
    }
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
    use crate::store::record::Wanted;
    use crate::store::schema::migrate;

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
                ..MessageFilter::default()
            };
            let steps = plan(&connection, &sql(&filter));
            let [step] = &steps[..] else { panic!("{filter:?}: {steps:?}") };
            assert!(step.contains("message USING INDEX message_newest"), "{filter:?}: {step}");
        }
    }

    /// Whatever is searched for: the list is walked in its order, by index, and what it is compared with is found by index.
    #[test]
    fn a_search_walks_the_list_and_sorts_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let text = || Some("x".to_owned());
        let rows = [
            (Wanted { subject: text(), ..Wanted::default() }, None),
            (Wanted { sender: text(), ..Wanted::default() }, None),
            (Wanted { from_ms: Some(1), until_ms: Some(9), ..Wanted::default() }, None),
            (Wanted { recipient: text(), ..Wanted::default() }, Some("COVERING INDEX recipient_of_address")),
            (
                Wanted { delivery: Some(DeliveryState::Refused), ..Wanted::default() },
                Some("INDEX recipient_in_trouble"),
            ),
            (
                Wanted { delivery: Some(DeliveryState::Unknown), ..Wanted::default() },
                Some("INDEX recipient_in_trouble"),
            ),
            (
                Wanted { delivery: Some(DeliveryState::Deferred), ..Wanted::default() },
                Some("INDEX recipient_in_trouble"),
            ),
            (Wanted { delivery: Some(DeliveryState::Pending), ..Wanted::default() }, Some("PRIMARY KEY (message=?)")),
            (Wanted { delivery: Some(DeliveryState::Accepted), ..Wanted::default() }, None),
            (Wanted { readers: Some(ReadersDid::NotClicked), ..Wanted::default() }, None),
        ];
        for (wanted, inner) in rows {
            for login in [None, Some("ann".to_owned())] {
                for after in [None, Some((5, MessageId(7)))] {
                    let filter = MessageFilter {
                        login: login.clone(),
                        after,
                        wanted: wanted.clone(),
                        limit: 50,
                        ..Default::default()
                    };
                    let steps = plan(&connection, &sql(&filter));
                    let pending = wanted.delivery == Some(DeliveryState::Pending);
                    let list = if pending { "message_undelivered" } else { "message_newest" };
                    assert!(steps[0].contains(&format!("message USING INDEX {list}")), "{filter:?}: {steps:?}");
                    assert!(!steps.iter().any(|step| step.contains("B-TREE FOR ORDER")), "{filter:?}: {steps:?}");
                    let found = inner.is_none_or(|inner| steps.iter().skip(1).any(|step| step.contains(inner)));
                    assert!(found, "{filter:?}: {steps:?}");
                }
            }
        }
    }

    #[test]
    fn a_text_is_found_as_it_stands() {
        assert_eq!(anywhere(r"50%_\a"), r"%50\%\_\\a%");
    }
}

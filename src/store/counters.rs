//! Write and question: how many opens and clicks, by copy, message, org, sender and day.
//!
//! **Invariant:** what people did (person, proxy, unknown) and what machines and the sender did are counted apart. A
//! repeat is no count of its own. Events of a message that is not known are counted nowhere.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};

use super::column::Column;
use super::details::{Detail, Details};
use super::record::{CopyCount, Counts, DayCount, DayCountFilter, Total, TotalsOf};
use super::rows::{self, Insertion};
use crate::token::MessageId;

/// The most rows of one answer: ten years of one sender, or a month of a hundred.
pub(super) const DAYS_MAX: u32 = 4000;

/// What a group of events adds. In the order of the tables' keys, so that a page is looked up once for its neighbours.
#[derive(Debug, Default)]
pub(super) struct Added {
    copies: BTreeMap<(MessageId, u16), Counts>,
    days: BTreeMap<(MessageId, i64), Counts>,
    details: Details,
}

impl Added {
    /// Adds to a copy, its message and that day; to its link and its place.
    pub(super) fn count(&mut self, detail: Detail<'_>) {
        let Detail { message, copy, day, counts, .. } = detail;
        self.details.count(detail);
        let of_copy = self.copies.entry((message, copy)).or_default();
        *of_copy = of_copy.and(counts);
        let of_day = self.days.entry((message, day)).or_default();
        *of_day = of_day.and(counts);
    }

    /// Adds to its place only.
    pub(super) fn place(&mut self, detail: Detail<'_>) {
        self.details.place(detail);
    }

    /// Writes every counter. The caller commits.
    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut totals: BTreeMap<MessageId, Counts> = BTreeMap::new();
        for ((message, _), counts) in &self.days {
            let total = totals.entry(*message).or_default();
            *total = total.and(*counts);
        }
        let mut owners = Owners::new();
        for (message, counts) in totals {
            if let Some(owner) = count_message(connection, message, counts)? {
                owners.insert(message, owner);
            }
        }
        let known = |((message, _), _): &(_, _)| owners.contains_key(message);
        let copies: Vec<_> = self.copies.into_iter().filter(known).collect();
        COUNT_COPY.write(connection, &copies, |row, ((message, copy), counts)| {
            row.put(Column(*message))?;
            row.put(copy)?;
            put(row, counts)
        })?;
        let mut days: BTreeMap<(&Owner, i64), Counts> = BTreeMap::new();
        for ((message, day), counts) in self.days {
            if let Some(owner) = owners.get(&message) {
                let of_day = days.entry((owner, day)).or_default();
                *of_day = of_day.and(counts);
            }
        }
        let days: Vec<_> = days.into_iter().collect();
        COUNT_DAY.write(connection, &days, |row, ((owner, day), counts)| {
            row.put(&owner.org)?;
            row.put(&owner.login)?;
            row.put(day)?;
            put(row, counts)
        })?;
        self.details.write(connection, &owners)
    }
}

const COUNT_COPY: Insertion = Insertion {
    into: "INSERT INTO copy_count (message, copy, opens, clicks, machine_opens, machine_clicks)",
    columns: 6,
    then: "ON CONFLICT (message, copy) DO UPDATE SET
               opens = opens + excluded.opens, clicks = clicks + excluded.clicks,
               machine_opens = machine_opens + excluded.machine_opens,
               machine_clicks = machine_clicks + excluded.machine_clicks",
};

const COUNT_DAY: Insertion = Insertion {
    into: "INSERT INTO day_count (org, login, day, opens, clicks, machine_opens, machine_clicks)",
    columns: 7,
    then: "ON CONFLICT (org, login, day) DO UPDATE SET
               opens = opens + excluded.opens, clicks = clicks + excluded.clicks,
               machine_opens = machine_opens + excluded.machine_opens,
               machine_clicks = machine_clicks + excluded.machine_clicks",
};

fn put(row: &mut rows::Row<'_, '_>, counts: &Counts) -> rusqlite::Result<()> {
    row.put(counts.opens)?;
    row.put(counts.clicks)?;
    row.put(counts.machine_opens)?;
    row.put(counts.machine_clicks)
}

/// Whose the messages are that are known.
pub(super) type Owners = BTreeMap<MessageId, Owner>;

/// Whose mail it is. The login is empty for a trusted network.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) org: String,
    pub(super) login: String,
}

/// Counts for the message; whose it is, or `None` when it is not known.
fn count_message(connection: &Connection, message: MessageId, counts: Counts) -> rusqlite::Result<Option<Owner>> {
    let Counts { opens, clicks, machine_opens, machine_clicks } = counts;
    connection
        .prepare_cached(
            "UPDATE message SET opens = opens + ?2, clicks = clicks + ?3,
                                machine_opens = machine_opens + ?4, machine_clicks = machine_clicks + ?5
             WHERE id = ?1 RETURNING org, coalesce(login, '')",
        )?
        .query_row(params![Column(message), opens, clicks, machine_opens, machine_clicks], |row| {
            Ok(Owner { org: row.get(0)?, login: row.get(1)? })
        })
        .optional()
}

/// Question: the counters of a message's copies, by index.
pub(super) fn of_copies(connection: &Connection, message: MessageId) -> rusqlite::Result<Vec<CopyCount>> {
    connection
        .prepare_cached(
            "SELECT copy, opens, clicks, machine_opens, machine_clicks FROM copy_count WHERE message = ?1 ORDER BY copy",
        )?
        .query_map(params![Column(message)], |row| Ok(CopyCount { copy_index: row.get(0)?, counts: counts(row, 1)? }))?
        .collect()
}

/// Question: the counters of days, by org, sender and day.
pub(super) fn of_days(connection: &Connection, filter: &DayCountFilter) -> rusqlite::Result<Vec<DayCount>> {
    let limit = filter.limit.clamp(1, DAYS_MAX);
    let org = filter.org.as_ref().map(|org| org.as_str());
    let mut values = asked(filter, &org);
    values.push((":limit", &limit));
    connection.prepare_cached(&days_sql(filter))?.query_map(values.as_slice(), day_count)?.collect()
}

/// Question: the sum of each day, whoever's, the first first.
pub(super) fn of_all_days(connection: &Connection, filter: &DayCountFilter) -> rusqlite::Result<Vec<(i64, Counts)>> {
    let org = filter.org.as_ref().map(|org| org.as_str());
    connection
        .prepare_cached(&all_days_sql(filter))?
        .query_map(asked(filter, &org).as_slice(), |row| Ok((row.get(0)?, counts(row, 1)?)))?
        .collect()
}

/// Question: the sums of some days, most by people first.
pub(super) fn totals(connection: &Connection, filter: &DayCountFilter, of: TotalsOf) -> rusqlite::Result<Vec<Total>> {
    let limit = filter.limit.clamp(1, DAYS_MAX);
    let org = filter.org.as_ref().map(|org| org.as_str());
    let mut values = asked(filter, &org);
    values.push((":limit", &limit));
    connection
        .prepare_cached(&totals_sql(filter, of))?
        .query_map(values.as_slice(), |row| {
            let login: String = row.get(1)?;
            Ok(Total {
                org: row.get::<_, Column<_>>(0)?.0,
                login: Some(login).filter(|login| !login.is_empty()),
                counts: counts(row, 2)?,
            })
        })?
        .collect()
}

fn asked<'a>(filter: &'a DayCountFilter, org: &'a Option<&'a str>) -> Vec<(&'static str, &'a dyn ToSql)> {
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":first", &filter.first_day), (":last", &filter.last_day)];
    if let Some(org) = org {
        values.push((":org", org));
    }
    if let Some(login) = &filter.login {
        values.push((":login", login));
    }
    values
}

/// Written for what is asked, for a condition that may be absent keeps SQLite from every index.
fn days_sql(filter: &DayCountFilter) -> String {
    format!(
        "SELECT org, login, day, opens, clicks, machine_opens, machine_clicks FROM day_count
         WHERE {} ORDER BY org, login, day LIMIT :limit",
        condition(filter)
    )
}

fn totals_sql(filter: &DayCountFilter, of: TotalsOf) -> String {
    let (login, group) = match of {
        TotalsOf::Orgs => ("''", "org"),
        TotalsOf::Senders => ("login", "org, login"),
    };
    format!(
        "SELECT org, {login}, sum(opens), sum(clicks), sum(machine_opens), sum(machine_clicks) FROM day_count
         WHERE {} GROUP BY {group} ORDER BY sum(opens) + sum(clicks) DESC, {group} LIMIT :limit",
        condition(filter)
    )
}

fn all_days_sql(filter: &DayCountFilter) -> String {
    format!(
        "SELECT day, sum(opens), sum(clicks), sum(machine_opens), sum(machine_clicks) FROM day_count
         WHERE {} GROUP BY day ORDER BY day",
        condition(filter)
    )
}

fn condition(filter: &DayCountFilter) -> String {
    let org = if filter.org.is_some() { " AND org = :org" } else { "" };
    let login = if filter.login.is_some() { " AND login = :login" } else { "" };
    format!("day BETWEEN :first AND :last{org}{login}")
}

fn day_count(row: &Row<'_>) -> rusqlite::Result<DayCount> {
    let login: String = row.get(1)?;
    Ok(DayCount {
        org: row.get::<_, Column<_>>(0)?.0,
        login: Some(login).filter(|login| !login.is_empty()),
        day: row.get(2)?,
        counts: counts(row, 3)?,
    })
}

fn counts(row: &Row<'_>, first: usize) -> rusqlite::Result<Counts> {
    Ok(Counts {
        opens: row.get(first)?,
        clicks: row.get(first + 1)?,
        machine_opens: row.get(first + 2)?,
        machine_clicks: row.get(first + 3)?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::settings::OrgName;
    use crate::store::schema::migrate;

    /// How SQLite goes about it, a line a step.
    pub(in crate::store) fn plan(connection: &Connection, sql: &str) -> Vec<String> {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = explain.raw_query().mapped(|row| row.get(3));
        steps.collect::<Result<_, _>>().unwrap()
    }

    /// A month of a sender, an organisation or everybody: the rows of those days, by index, and no event.
    #[test]
    fn a_months_chart_reads_its_own_rows_only() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let org: OrgName = "acme".parse().unwrap();
        for (org, login, by) in [
            (None, None, "USING INDEX day_count_by_day (day>? AND day<?)"),
            (Some(org.clone()), None, "USING INDEX day_count_of_org (org=? AND day>? AND day<?)"),
            (Some(org), Some("ann".to_owned()), "USING PRIMARY KEY (org=? AND login=? AND day>? AND day<?)"),
        ] {
            let filter = DayCountFilter { org, login, first_day: 1, last_day: 31, limit: 100 };
            let steps = plan(&connection, &days_sql(&filter));
            assert_eq!(steps.first().unwrap(), &format!("SEARCH day_count {by}"));
            assert!(steps.iter().all(|step| !step.contains("SCAN") && !step.contains("event")), "{steps:?}");
            let steps = plan(&connection, &all_days_sql(&filter));
            assert_eq!(steps, [format!("SEARCH day_count {by}")], "already in the order of the days");
            for of in [TotalsOf::Orgs, TotalsOf::Senders] {
                let steps = plan(&connection, &totals_sql(&filter, of));
                assert!(steps.first().unwrap().starts_with("SEARCH day_count USING"), "{of:?} {steps:?}");
                assert!(steps.iter().all(|step| !step.contains("SCAN")), "{steps:?}");
            }
        }
        let copies = "SELECT copy, opens FROM copy_count WHERE message = ?1 ORDER BY copy";
        assert_eq!(plan(&connection, copies), ["SEARCH copy_count USING PRIMARY KEY (message=?)"]);
    }
}

//! Write and question: which links were followed, by which copies, and where people read.
//!
//! **Invariant:** as in `counters.rs`, people and machines are counted apart. A place is counted only where it is a
//! person's own: not a machine's, not a relay's or a hosting network's, and only of what is recorded individually.

use std::collections::BTreeMap;

use rusqlite::{Connection, ToSql, params};

use super::Sealed;
use super::column::Column;
use super::counters::{Owner, Owners};
use super::record::{Counts, DayCountFilter, LinkCount, PlaceCount, RankedLink};
use super::rows::Insertion;
use crate::event::{Event, EventKind, Verdict};
use crate::token::MessageId;

/// The most destinations or places of one answer.
const RANKED_MAX: u32 = 500;

/// What a group of events adds.
#[derive(Debug, Default)]
pub(super) struct Details {
    links: BTreeMap<(MessageId, u16, u16), Counts>,
    destinations: BTreeMap<(MessageId, u16, i64), Counts>,
    places: BTreeMap<(MessageId, i64, String), Counts>,
}

/// What is counted of one event, as a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detail<'a> {
    /// The message.
    pub(super) message: MessageId,
    /// The index in its tokens.
    pub(super) copy: u16,
    /// Which link.
    pub(super) link: u16,
    /// Days since 1970-01-01, UTC.
    pub(super) day: i64,
    /// What happened.
    pub(super) kind: EventKind,
    /// What it adds.
    pub(super) counts: Counts,
    /// Where, when that is a person's own place.
    pub(super) country: Option<&'a str>,
}

/// The country of an event, when it tells where a person was.
pub(super) fn own_place(event: &Event) -> Option<&str> {
    let own = event.via.is_none() && is_placed(event.verdict);
    event.country.as_deref().filter(|_| own)
}

/// A proxy's place is not its reader's.
pub(super) fn is_placed(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Person | Verdict::Unknown)
}

impl Details {
    /// Adds to the link and the place.
    pub(super) fn count(&mut self, detail: Detail<'_>) {
        let Detail { message, copy, link, day, kind, counts, .. } = detail;
        if kind == EventKind::Click {
            let of_link = self.links.entry((message, link, copy)).or_default();
            *of_link = of_link.and(counts);
            let of_destination = self.destinations.entry((message, link, day)).or_default();
            *of_destination = of_destination.and(counts);
        }
        self.place(detail);
    }

    /// Adds to the place only.
    pub(super) fn place(&mut self, detail: Detail<'_>) {
        let Detail { message, day, counts, country, .. } = detail;
        if let Some(country) = country {
            let of_place = self.places.entry((message, day, country.to_owned())).or_default();
            *of_place = of_place.and(counts);
        }
    }

    /// Writes them for the messages whose owner is known. The caller commits.
    pub(super) fn write(self, connection: &Connection, owners: &Owners) -> rusqlite::Result<()> {
        let links: Vec<_> = self.links.into_iter().filter(|((message, ..), _)| owners.contains_key(message)).collect();
        COUNT_LINK.write(connection, &links, |row, ((message, link, copy), counts)| {
            row.put(Column(*message))?;
            row.put(link)?;
            row.put(copy)?;
            row.put(counts.clicks)?;
            row.put(counts.machine_clicks)
        })?;
        for ((message, link, day), counts) in self.destinations {
            let Some(owner) = owners.get(&message) else { continue };
            count_destination(connection, owner, (message, link, day), counts)?;
        }
        let mut places: BTreeMap<(&Owner, i64, &str), Counts> = BTreeMap::new();
        for ((message, day, country), counts) in &self.places {
            let Some(owner) = owners.get(message) else { continue };
            let of_place = places.entry((owner, *day, country)).or_default();
            *of_place = of_place.and(*counts);
        }
        let places: Vec<_> = places.into_iter().collect();
        COUNT_PLACE.write(connection, &places, |row, ((owner, day, country), counts)| {
            row.put(&owner.org)?;
            row.put(&owner.login)?;
            row.put(day)?;
            row.put(country)?;
            row.put(counts.opens)?;
            row.put(counts.clicks)
        })
    }
}

const COUNT_LINK: Insertion = Insertion {
    into: "INSERT INTO link_count (message, link, copy, clicks, machine_clicks)",
    columns: 5,
    then: "ON CONFLICT (message, link, copy) DO UPDATE SET
               clicks = clicks + excluded.clicks, machine_clicks = machine_clicks + excluded.machine_clicks",
};

const COUNT_PLACE: Insertion = Insertion {
    into: "INSERT INTO place_day (org, login, day, country, opens, clicks)",
    columns: 6,
    then: "ON CONFLICT (org, login, day, country) DO UPDATE SET
               opens = opens + excluded.opens, clicks = clicks + excluded.clicks",
};

/// By what the link leads to. One that the record does not name is counted nowhere.
fn count_destination(
    connection: &Connection,
    owner: &Owner,
    (message, link, day): (MessageId, u16, i64),
    counts: Counts,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO link_day (org, login, day, destination, clicks, machine_clicks)
             SELECT ?1, ?2, ?3, destination, ?4, ?5 FROM link WHERE message = ?6 AND idx = ?7
             ON CONFLICT (org, login, day, destination) DO UPDATE SET
                 clicks = clicks + excluded.clicks, machine_clicks = machine_clicks + excluded.machine_clicks",
        )?
        .execute(params![owner.org, owner.login, day, counts.clicks, counts.machine_clicks, Column(message), link])
        .map(|_| ())
}

/// Question: the clicks of a message's links, by link and copy.
pub(super) fn of_links(connection: &Connection, message: MessageId) -> rusqlite::Result<Vec<LinkCount>> {
    connection
        .prepare_cached(
            "SELECT link, copy, clicks, machine_clicks FROM link_count WHERE message = ?1 ORDER BY link, copy",
        )?
        .query_map(params![Column(message)], |row| {
            Ok(LinkCount {
                link: row.get(0)?,
                copy_index: row.get(1)?,
                clicks: row.get(2)?,
                machine_clicks: row.get(3)?,
            })
        })?
        .collect()
}

/// Question: what was sealed with a key.
pub(super) fn sealed_with(connection: &Connection, key_id: u8) -> rusqlite::Result<Sealed> {
    let count = |sql: &str| -> rusqlite::Result<u64> {
        let counted: i64 = connection.query_row(sql, params![key_id], |row| row.get(0))?;
        Ok(u64::try_from(counted).unwrap_or_default())
    };
    Ok(Sealed {
        mails: count("SELECT count(*) FROM message WHERE key_id = ?1")?,
        links: count("SELECT count(*) FROM message JOIN link ON link.message = message.id WHERE key_id = ?1")?,
    })
}

/// Question: the destinations people followed most.
pub(super) fn ranked_links(connection: &Connection, filter: &DayCountFilter) -> rusqlite::Result<Vec<RankedLink>> {
    let sql = ranked(
        filter,
        "SELECT destination, sum(clicks) AS people, sum(machine_clicks) AS machines FROM link_day",
        "destination HAVING people > 0 OR machines > 0 ORDER BY people DESC, machines DESC, destination",
    );
    asked(connection, filter, &sql, |row| {
        Ok(RankedLink { destination: row.get(0)?, clicks: row.get(1)?, machine_clicks: row.get(2)? })
    })
}

/// Question: where people read, most first.
pub(super) fn places(connection: &Connection, filter: &DayCountFilter) -> rusqlite::Result<Vec<PlaceCount>> {
    let sql = ranked(
        filter,
        "SELECT country, sum(opens) AS opened, sum(clicks) AS clicked FROM place_day",
        "country HAVING opened > 0 OR clicked > 0 ORDER BY opened + clicked DESC, country",
    );
    asked(connection, filter, &sql, |row| {
        Ok(PlaceCount { country: row.get(0)?, opens: row.get(1)?, clicks: row.get(2)? })
    })
}

/// Written for what is asked, for a condition that may be absent keeps SQLite from every index.
fn ranked(filter: &DayCountFilter, select: &str, group: &str) -> String {
    let org = if filter.org.is_some() { " AND org = :org" } else { "" };
    let login = if filter.login.is_some() { " AND login = :login" } else { "" };
    format!("{select} WHERE day BETWEEN :first AND :last{org}{login} GROUP BY {group} LIMIT :limit")
}

fn asked<T>(
    connection: &Connection,
    filter: &DayCountFilter,
    sql: &str,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let limit = filter.limit.clamp(1, RANKED_MAX);
    let mut values: Vec<(&str, &dyn ToSql)> =
        vec![(":first", &filter.first_day), (":last", &filter.last_day), (":limit", &limit)];
    let org = filter.org.as_ref().map(|org| org.as_str());
    values.extend(org.as_ref().map(|org| (":org", org as &dyn ToSql)));
    values.extend(filter.login.as_ref().map(|login| (":login", login as &dyn ToSql)));
    connection.prepare_cached(sql)?.query_map(values.as_slice(), read)?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::OrgName;
    use crate::store::counters::tests::plan;
    use crate::store::schema::migrate;

    /// A month of a sender, an organisation or everybody: the rows of those days, by index, and no event.
    #[test]
    fn a_month_reads_its_own_rows_only() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let org: OrgName = "acme".parse().unwrap();
        for (org, login, by) in [
            (None, None, "USING INDEX link_day_by_day (day>? AND day<?)"),
            (Some(org.clone()), None, "USING INDEX link_day_of_org (org=? AND day>? AND day<?)"),
            (Some(org), Some("ann".to_owned()), "USING PRIMARY KEY (org=? AND login=? AND day>? AND day<?)"),
        ] {
            let filter = DayCountFilter { org, login, first_day: 1, last_day: 31, limit: 10 };
            let sql = ranked(&filter, "SELECT destination, sum(clicks) FROM link_day", "destination");
            let steps = plan(&connection, &sql);
            assert_eq!(steps.first().unwrap(), &format!("SEARCH link_day {by}"));
        }
    }
}

//! The history's tables, made by numbered migrations; `user_version` says how many have run.
//!
//! **Invariant:** a file of `migrations/` that was released is never edited; a change is a new file. A database from a
//! newer program is refused, not guessed at.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;
use super::column::{STORE, store_error};

/// In order; number n brings `user_version` from n - 1 to n.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_verdicts.sql"),
    include_str!("migrations/0003_evidence.sql"),
    include_str!("migrations/0004_outbox.sql"),
    include_str!("migrations/0005_pages.sql"),
    include_str!("migrations/0006_rare.sql"),
    include_str!("migrations/0007_dropped.sql"),
    include_str!("migrations/0008_names.sql"),
    include_str!("migrations/0009_click_mark.sql"),
    include_str!("migrations/0010_whose_it_is.sql"),
    include_str!("migrations/0011_judged.sql"),
];

/// Brings the database to the newest schema, each step whole or not at all.
///
/// # Errors
/// [`StoreError::Corrupt`] when it is newer than this program; [`StoreError::Disk`] when a step cannot be written.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    apply(connection, MIGRATIONS)
}

/// Writes the schema's number as it is: a page that changes nothing.
pub(super) fn write_again(connection: &Connection) -> rusqlite::Result<u32> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    connection.pragma_update(None, "user_version", version)?;
    Ok(version)
}

fn apply(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let failed = |e: rusqlite::Error| store_error("schema", &e);
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let newest = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if version > newest {
        let detail = format!(
            "schema {version} was written by a newer waxseal (this one knows up to {newest}): run that version, or restore the backup from before"
        );
        return Err(StoreError::Corrupt { store: STORE, at: "schema".to_owned(), detail });
    }
    for (number, sql) in (1..).zip(migrations).filter(|(number, _)| *number > version) {
        let step = connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(failed)?;
        step.execute_batch(sql).map_err(failed)?;
        step.pragma_update(None, "user_version", number).map_err(failed)?;
        step.commit().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> u32 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_fresh_database_gets_every_migration_and_an_up_to_date_one_none() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection), u32::try_from(MIGRATIONS.len()).unwrap());
        migrate(&mut connection).unwrap();
    }

    #[test]
    fn an_older_one_gets_only_what_is_missing() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, &["CREATE TABLE a (x)"]).unwrap();
        apply(&mut connection, &["not run again", "CREATE TABLE b (x)"]).unwrap();
        assert_eq!(version(&connection), 2);
        connection.execute_batch("SELECT x FROM a; SELECT x FROM b").unwrap();
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(apply(&mut connection, &["CREATE TABLE a (x); CREATE nonsense"]).is_err());
        assert_eq!(version(&connection), 0);
        assert!(connection.execute_batch("SELECT x FROM a").is_err());
    }

    #[test]
    fn a_newer_one_is_refused_in_clear_words() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 9999).unwrap();
        let error = migrate(&mut connection).unwrap_err().to_string();
        assert!(error.contains("newer waxseal"), "{error}");
    }

    /// What an older program has yet to tell of somebody goes with them, whoever else has an address that ends like theirs.
    #[test]
    fn what_waits_to_be_told_knows_whom_it_is_about() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, &MIGRATIONS[..8]).unwrap();
        connection
            .execute_batch(
                r#"INSERT INTO recipient (message, idx, position, copy_index, address, opens, links, state, reply, at_ms, name)
                   VALUES (1, 7, 0, 7, 'bob@q.example', 'off', 'off', 'pending', '', 0, 'Bob'),
                          (1, 8, 1, 8, 'jimbob@q.example', 'off', 'off', 'pending', '', 0, '');
                   INSERT INTO webhook_delivery (webhook, message_id, topic, message, body, created_at_ms, since_ms, state,
                                                 attempts, next_try_ms, answer)
                   SELECT 1, '', '', column1, column2, 0, 0, 'waiting', 0, 0, ''
                   FROM (VALUES (1, '{"data":{"recipient":"jimbob@q.example"}}'), (1, '{"data":{"recipient":"bob@q.example"}}'),
                                (1, '{"data":{"recipient":null}}'), (2, '{"data":{"recipient":"bob@q.example"}}'), (1, ''));
                   INSERT INTO mail_notice (login, org, message, at_ms, sender, line)
                   SELECT '', 'acme', 1, 0, '', column1
                   FROM (VALUES ('{"who":"jimbob@q.example"}'), ('{"who":"Bob <bob@q.example>"}'), ('{"who":null}'), (''));"#,
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let whose = |table: &str| -> Vec<Option<u16>> {
            let mut select = connection.prepare(&format!("SELECT recipient FROM {table} ORDER BY id")).unwrap();
            select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(whose("webhook_delivery"), [Some(8), Some(7), None, None, None]);
        assert_eq!(whose("mail_notice"), [Some(8), Some(7), None, None]);
    }

    /// What an older program told is not told again, whichever kind it is of.
    #[test]
    fn what_is_told_stays_told() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, &MIGRATIONS[..8]).unwrap();
        connection.execute_batch("UPDATE told SET sequence = 7").unwrap();
        migrate(&mut connection).unwrap();
        let mut select = connection.prepare("SELECT what, sequence FROM told ORDER BY what").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let told: Vec<(String, i64)> = rows.collect::<Result<_, _>>().unwrap();
        assert_eq!(told, [("click".to_owned(), 7), ("open".to_owned(), 7)]);
    }

    /// What an older program recorded is counted once, by copy and by day; what names no known message is not.
    #[test]
    fn counters_begin_with_what_is_on_record() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, &MIGRATIONS[..1]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO message (id, accepted_at_ms, org, login, reverse_path, header_from, subject,
                                      message_id_header, size_bytes, site, key_id, notes, recipients, accepted)
                 VALUES (1, 0, 'acme', 'ann', '', '', '', '', 0, x'00000000', 0, '[]', 1, 1),
                        (2, 0, 'acme', NULL, '', '', '', '', 0, x'00000000', 0, '[]', 1, 1);
                 INSERT INTO event (at_ms, message, recipient, link, kind, verdict, rule)
                 VALUES (5, 1, 7, 0, 'open', 'unknown', ''), (6, 1, 7, 0, 'open', 'machine', 'prefetch'),
                        (86400000, 1, 8, 3, 'click', 'person', ''), (9, 2, 7, 0, 'open', 'self', 'own'),
                        (9, 404, 7, 0, 'open', 'person', '');",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let rows = |sql: &str| -> Vec<String> {
            let mut select = connection.prepare(sql).unwrap();
            let rows = select.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        let counts = "opens, clicks, machine_opens, machine_clicks";
        assert_eq!(
            rows(&format!("SELECT concat_ws(' ', message, copy, {counts}) FROM copy_count")),
            ["1 7 1 0 1 0", "1 8 0 1 0 0", "2 7 0 0 1 0"]
        );
        assert_eq!(
            rows(&format!("SELECT concat_ws(' ', org, login, day, {counts}) FROM day_count")),
            ["acme  0 0 0 1 0", "acme ann 0 1 0 1 0", "acme ann 1 0 1 0 0"]
        );
    }
}

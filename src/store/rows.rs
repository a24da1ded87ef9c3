//! Write: many rows by one statement. SQLite's price for beginning and ending a statement is that of several rows.
//!
//! **Invariant:** every row is written, in order. The statements are of two lengths only, so that both stay prepared.

use rusqlite::{Connection, Statement, ToSql};

/// Rows of the longer statement. SQLite takes 32,766 parameters at most.
const ROWS: usize = 32;

/// An `INSERT` with as many rows as wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Insertion {
    /// Up to `VALUES`, without it.
    pub(super) into: &'static str,
    /// How many columns it names.
    pub(super) columns: usize,
    /// What follows the rows; may be empty.
    pub(super) then: &'static str,
}

/// Takes the values of a row, column by column.
pub(super) struct Row<'a, 'c> {
    statement: &'a mut Statement<'c>,
    column: usize,
}

impl Row<'_, '_> {
    /// The next column's value.
    pub(super) fn put(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.column += 1;
        self.statement.raw_bind_parameter(self.column, value)
    }
}

impl Insertion {
    /// Writes the rows; `bind` puts all columns of one. The caller commits.
    pub(super) fn write<T>(
        &self,
        connection: &Connection,
        rows: &[T],
        bind: impl Fn(&mut Row<'_, '_>, &T) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let (many, few) = rows.as_chunks::<ROWS>();
        let some = |chunks: &mut dyn Iterator<Item = &[T]>, length| {
            let Some(first) = chunks.next() else { return Ok(()) };
            let mut statement = connection.prepare_cached(&self.sql(length))?;
            for chunk in std::iter::once(first).chain(chunks) {
                let mut row = Row { statement: &mut statement, column: 0 };
                chunk.iter().try_for_each(|value| bind(&mut row, value))?;
                statement.raw_execute()?;
            }
            Ok::<_, rusqlite::Error>(())
        };
        some(&mut many.iter().map(<[T; ROWS]>::as_slice), ROWS)?;
        some(&mut few.chunks(1), 1)
    }

    fn sql(&self, rows: usize) -> String {
        let row = format!("({})", ["?"].repeat(self.columns).join(","));
        format!("{} VALUES {} {}", self.into, vec![row; rows].join(","), self.then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// None, one, a statement less one, a statement, some more: in order, and each once.
    #[test]
    fn every_row_is_written_in_order() {
        for count in [0, 1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 5] {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b TEXT)").unwrap();
            let rows: Vec<usize> = (0..count).collect();
            let insertion = Insertion { into: "INSERT INTO t (a, b)", columns: 2, then: "" };
            let bind = |row: &mut Row<'_, '_>, number: &usize| {
                row.put(*number as i64)?;
                row.put(number.to_string())
            };
            insertion.write(&connection, &rows, bind).unwrap();
            let mut select = connection.prepare("SELECT a, b FROM t ORDER BY id").unwrap();
            let read = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let read: Vec<(i64, String)> = read.collect::<Result<_, _>>().unwrap();
            assert_eq!(read, rows.iter().map(|n| (*n as i64, n.to_string())).collect::<Vec<_>>());
        }
    }

    /// A row that the table does not take fails them all; whoever calls has a savepoint.
    #[test]
    fn a_bad_row_is_an_error() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (a INTEGER PRIMARY KEY)").unwrap();
        let insertion = Insertion { into: "INSERT INTO t (a)", columns: 1, then: "" };
        assert!(insertion.write(&connection, &[1, 1], |row, number: &i64| row.put(*number)).is_err());
    }
}

//! Tables for people, and nothing a mail could say to a terminal: control characters never reach it.

use std::io::{self, Write as _};

use serde::Serialize;

/// Characters of a column: the longest id fits, and no row is as wide as the longest subject of a page. The last column,
/// which nothing stands behind, is whole.
const COLUMN_CHARS_MAX: usize = 72;

/// Rows under headings, columns two blanks apart.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// A longer cell is cut; else it stands whole, and its row is out of line.
    cuts: bool,
}

impl Table {
    /// With these headings.
    pub(super) fn new(headings: &[&str]) -> Table {
        Table { rows: vec![headings.iter().map(|heading| heading.to_uppercase()).collect()], cuts: true }
    }

    /// With these headings, and cells that are to be copied: none is cut.
    pub(super) fn whole(headings: &[&str]) -> Table {
        Table { cuts: false, ..Table::new(headings) }
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let is_last = |column: usize| column + 1 == N;
        let cell = |(column, cell): (usize, &String)| match self.cuts && !is_last(column) {
            true => cut(&clean(cell), COLUMN_CHARS_MAX),
            false => clean(cell),
        };
        let row = cells.iter().enumerate().map(cell).collect();
        self.rows.push(row);
    }

    /// Prints it, or `empty` when there is no row.
    pub(super) fn print(&self, empty: &str) -> io::Result<()> {
        if self.rows.len() == 1 { print(&format!("{empty}\n")) } else { print(&self.to_string()) }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0).min(COLUMN_CHARS_MAX)).collect();
        for row in &self.rows {
            let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Prints a text. Unlike `print!` it tells a closed pipe as an error instead of ending the program in a panic.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints octets as they are.
pub(super) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints a value as JSON, for programs.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(value)?))?)
}

/// One line of it, for programs that read as it comes.
pub(super) fn print_json_line(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(print(&format!("{}\n", serde_json::to_string(value)?))?)
}

/// Text from outside for a terminal: no escape sequences, no line ends, no overrides of the writing direction.
pub(super) fn clean(text: &str) -> String {
    let turning = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turning(c) { '\u{fffd}' } else { c }).collect()
}

/// At most so many characters; of what is longer the last is `…`.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    match text.chars().nth(chars_max) {
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// A time of the API (RFC 3339) as people read it, to the second.
pub(super) fn time(text: &str) -> String {
    text.split('.').next().unwrap_or_default().trim_end_matches('Z').replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_escapes() {
        let mut table = Table::new(&["login", "role"]);
        table.row(["ann".into(), "sender".into()]);
        table.row(["Ünal\u{1b}[31m\r\n".into(), String::new()]);
        assert_eq!(table.to_string(), "LOGIN        ROLE\nann          sender\nÜnal\u{fffd}[31m\u{fffd}\u{fffd}\n");
        assert_eq!((cut("äbcd", 4), cut("äbcde", 4)), ("äbcd".into(), "äbc…".into()));
        assert_eq!(time("2026-11-23T20:48:49.123Z"), "2026-11-23 20:48:49");
    }
    /// One long cell does not make every row as wide.
    #[test]
    fn a_long_cell_is_cut_and_the_last_one_is_not() {
        let long = "x".repeat(500);
        let rows = |mut table: Table| {
            table.row([long.clone(), "a".into(), long.clone()]);
            table.row(["b".into(), "c".into(), "d".into()]);
            table.to_string().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let cut = rows(Table::new(&["subject", "x", "reply"]));
        assert_eq!(cut[1], format!("{}…  a  {long}", "x".repeat(71)));
        assert_eq!((cut[2].find('c'), cut[2].chars().count()), (Some(74), 78));
        let whole = rows(Table::whole(&["recipient", "x", "reply"]));
        assert_eq!((whole[1].as_str(), whole[2].find('c')), (format!("{long}  a  {long}").as_str(), Some(74)));
    }
}

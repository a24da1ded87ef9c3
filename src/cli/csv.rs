//! CSV (RFC 4180) with a heading line that names the columns: quotes, doubled quotes and line ends inside them.

/// Reads every row with its line number, its fields in the order of `columns`. Other columns are left out; a missing one
/// is an error, so is a row of another length than the heading.
pub(super) fn read(text: &str, columns: &[&str]) -> Result<Vec<(usize, Vec<String>)>, String> {
    let mut rows = rows(text.strip_prefix('\u{feff}').unwrap_or(text))?.into_iter();
    let (_, heading) = rows.next().ok_or("the file is empty: its first line names the columns")?;
    let place = |column: &&str| {
        let found = heading.iter().position(|name| name.trim().eq_ignore_ascii_case(column));
        found.ok_or_else(|| format!("the first line names no column {column}; it needs {}", columns.join(", ")))
    };
    let places = columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let pick = |(line, fields): (usize, Vec<String>)| {
        if fields.len() != heading.len() {
            return Err(format!("line {line}: {} fields, and the first line names {}", fields.len(), heading.len()));
        }
        let field = |at: &usize| fields.get(*at).map(|field| field.trim().to_owned()).unwrap_or_default();
        Ok((line, places.iter().map(field).collect()))
    };
    rows.map(pick).collect()
}

fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun, mut quoted, mut was_quoted) = (1, 1, false, false);
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.is_empty() && !was_quoted => (quoted, was_quoted) = (true, true),
            _ if quoted => field.push(c),
            ',' => {
                row.push(std::mem::take(&mut field));
                was_quoted = false;
            }
            '\r' if letters.peek() == Some(&'\n') => {}
            '\n' => {
                end_row(&mut rows, &mut row, &mut field, begun);
                (begun, was_quoted) = (line, false);
            }
            _ if was_quoted => return Err(format!("line {line}: something follows a closing quote")),
            c => field.push(c),
        }
    }
    if quoted {
        return Err(format!("line {begun}: a quote is not closed"));
    }
    end_row(&mut rows, &mut row, &mut field, begun);
    Ok(rows)
}

/// An empty line is no row.
fn end_row(rows: &mut Vec<(usize, Vec<String>)>, row: &mut Vec<String>, field: &mut String, begun: usize) {
    if !row.is_empty() || !field.is_empty() {
        row.push(std::mem::take(field));
        rows.push((begun, std::mem::take(row)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_as_spreadsheets_write_them() {
        let text = "\u{feff}at,Address,x\r\n2026,a@b.c,\r\n\r\n2027,\"q\"\"r\n,\",y\n,d,z";
        let rows = read(text, &["address", "at"]).unwrap();
        let row = |line, a: &str, b: &str| (line, vec![a.to_owned(), b.to_owned()]);
        assert_eq!(rows, [row(2, "a@b.c", "2026"), row(4, "q\"r\n,", "2027"), row(6, "d", "")]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, words) in [
            ("", "empty"),
            ("a,b\n", "no column address"),
            ("address\nx,y", "line 2: 2 fields"),
            ("address\n\"x", "line 2: a quote is not closed"),
            ("address\n\"x\"y", "line 2: something follows"),
        ] {
            let error = read(text, &["address"]).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in "[a\",\r\n]{0,40}") {
            drop(read(&text, &["a"]));
        }

        #[test]
        fn what_is_quoted_comes_back(fields in proptest::collection::vec("[a-z\",\n ]{1,9}", 1..5)) {
            let heading: Vec<String> = (0..fields.len()).map(|n| format!("c{n}")).collect();
            let quoted: Vec<String> = fields.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect();
            let columns: Vec<&str> = heading.iter().map(String::as_str).collect();
            let rows = read(&format!("{}\n{}\n", heading.join(","), quoted.join(",")), &columns).unwrap();
            let trimmed: Vec<String> = fields.iter().map(|f| f.trim().to_owned()).collect();
            proptest::prop_assert_eq!(rows, [(2, trimmed)]);
        }
    }
}

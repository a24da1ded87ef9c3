//! What is written: the TOML document as sections, keys and values, each with its line.
//!
//! serde would stop at the first mistake; this reader goes on. A value that is wrong is noted and read as absent, and a key
//! that nobody asked for is unknown, so the list of known keys is what the sections ask for and can never lag behind.
//!
//! **Invariant:** nothing that stands in the file is ignored in silence.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Severity, Wrong};
use super::unknown::Unknown;

/// One parsed document and what was found while reading it.
pub(super) struct File<'i> {
    root: DeTable<'i>,
    /// Byte offsets at which lines begin.
    line_starts: Vec<usize>,
    notes: RefCell<Notes>,
}

/// What the sections leave behind.
#[derive(Default)]
struct Notes {
    problems: Vec<Problem>,
    /// `section.key` as asked for, without numbers.
    known: BTreeSet<String>,
    /// Keys nobody asked for.
    unknown: Vec<Unknown>,
    /// Line of every key that is written, by its shown name.
    lines: BTreeMap<String, u32>,
}

/// What remains when every section was read.
pub(super) struct Read {
    /// In the order of their lines.
    pub(super) problems: Vec<Problem>,
    /// Line of every key that is written, e.g. `listener[2].addr`.
    pub(super) lines: BTreeMap<String, u32>,
    /// Every key the program knows, e.g. `listener.addr`.
    pub(super) known: BTreeSet<String>,
}

impl<'i> File<'i> {
    /// Reads the text as TOML.
    ///
    /// # Errors
    /// Every syntax error, with its line. The rest is judged only when there is none, for half a document misleads.
    pub(super) fn parse(text: &'i str) -> Result<File<'i>, Vec<Problem>> {
        let line_starts: Vec<usize> =
            std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(File { root: root.into_inner(), line_starts, notes: RefCell::default() });
        }
        let problem = |error: &toml::de::Error| Problem {
            severity: Severity::Error,
            line: error.span().map(|span| line_of(&line_starts, &span)),
            key: String::new(),
            wrong: Wrong::Syntax(error.message().trim_end_matches(", expected nothing").to_owned()),
        };
        Err(errors.iter().map(problem).collect())
    }

    /// The section `[name]`, empty when it is not written.
    pub(super) fn section(&self, name: &'static str) -> Section<'_, 'i> {
        self.know(name);
        let mut section = Section { file: self, table: None, name, shown: name.to_owned(), line: None };
        let Some(entry) = self.root.get(name) else { return section };
        section.line = Some(line_of(&self.line_starts, &entry.span()));
        match entry.get_ref() {
            DeValue::Table(table) => section.table = Some(table),
            DeValue::Array(_) => section.wrong_here(Wrong::Repeated(name.to_owned())),
            other => section.wrong_here(wrong_type("a section", other, format!("[{name}] on a line of its own"))),
        }
        section
    }

    /// The sections `[[name]]`, in order.
    pub(super) fn sections(&self, name: &'static str) -> Vec<Section<'_, 'i>> {
        self.know(name);
        let Some(entry) = self.root.get(name) else { return Vec::new() };
        let one = |shown: String, entry: &Spanned<DeValue<'i>>, table| Section {
            file: self,
            table,
            name,
            shown,
            line: Some(line_of(&self.line_starts, &entry.span())),
        };
        let DeValue::Array(items) = entry.get_ref() else {
            let table = entry.get_ref().as_table();
            one(name.to_owned(), entry, table).wrong_here(Wrong::NotRepeated(name.to_owned()));
            return Vec::new();
        };
        let section = |(index, item)| {
            let section = one(format!("{name}[{}]", index + 1), item, item.get_ref().as_table());
            if section.table.is_none() {
                section.wrong_here(Wrong::NotRepeated(name.to_owned()));
            }
            section
        };
        items.iter().enumerate().map(section).collect()
    }

    /// Whether a section of this name is written, rightly or wrongly.
    pub(super) fn has(&self, name: &str) -> bool {
        self.root.contains_key(name)
    }

    /// Whether a key that was asked for is written, by its shown name.
    pub(super) fn is_written(&self, key: &str) -> bool {
        self.notes.borrow().lines.contains_key(key)
    }

    /// Notes a problem by its shown key, with that key's line where it is written.
    pub(super) fn note(&self, severity: Severity, key: &str, wrong: Wrong) {
        let line = self.notes.borrow().lines.get(key).copied();
        self.push(Problem { severity, line, key: key.to_owned(), wrong });
    }

    /// Ends the reading: unknown keys become problems with a hint, and all problems stand in the order of their lines.
    pub(super) fn finish(self) -> Read {
        for (key, entry) in &self.root {
            if !self.notes.borrow().known.contains(key.get_ref().as_ref()) {
                let line = line_of(&self.line_starts, &key.span());
                // A bare `hostname = "x"` at the top and a `[servr]` are the same mistake to TOML; both are helped alike.
                let shown =
                    if entry.get_ref().is_table() { format!("[{}]", key.get_ref()) } else { key.get_ref().to_string() };
                let unknown = Unknown { section: "", shown, key: key.get_ref().to_string(), line };
                self.notes.borrow_mut().unknown.push(unknown);
            }
        }
        let Notes { mut problems, known, unknown, lines } = self.notes.into_inner();
        problems.extend(unknown.iter().map(|unknown| unknown.problem(&known)));
        problems.sort_by_key(|problem| problem.line.unwrap_or(u32::MAX));
        Read { problems, lines, known }
    }

    fn know(&self, key: &str) {
        self.notes.borrow_mut().known.insert(key.to_owned());
    }

    fn push(&self, problem: Problem) {
        self.notes.borrow_mut().problems.push(problem);
    }
}

/// One section being read. What it is not asked for is unknown when it is dropped with [`Section::finish`].
pub(super) struct Section<'f, 'i> {
    file: &'f File<'i>,
    table: Option<&'f DeTable<'i>>,
    name: &'static str,
    shown: String,
    line: Option<u32>,
}

impl<'f, 'i> Section<'f, 'i> {
    /// Whether the key is written here, rightly or wrongly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether the section itself is written, as a section.
    pub(super) fn is_written(&self) -> bool {
        self.table.is_some()
    }

    /// The key as problems show it: `listener[2].addr`.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.shown)
    }

    /// Notes an error about a key; one that is not written gets the section's line.
    pub(super) fn wrong(&self, key: &str, wrong: Wrong) {
        self.note(Severity::Error, key, wrong);
    }

    /// Notes a warning about a key.
    pub(super) fn warn(&self, key: &str, wrong: Wrong) {
        self.note(Severity::Warning, key, wrong);
    }

    /// A string.
    fn text(&self, key: &'static str, example: &str) -> Option<&'f str> {
        let value = self.value(key)?;
        if value.as_str().is_none() {
            self.wrong(key, wrong_type("a string", value, example.to_owned()));
        }
        value.as_str()
    }

    /// A string that means something.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text = self.text(key, example)?;
        parse(text).map_err(|wrong| self.wrong(key, wrong)).ok()
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let example = format!("\"{}\"", words.first().map_or("", |word| word.0));
        self.parsed(key, &example, |text| match words.iter().find(|word| word.0 == text) {
            Some(word) => Ok(word.1),
            None => Err(Wrong::Choice { given: text.to_owned(), allowed: words.iter().map(|word| word.0).collect() }),
        })
    }

    /// A whole number within bounds; `usual` is what to suggest.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<u64>, usual: u64) -> Option<u64> {
        let (given, number) = self.integer(key, usual)?;
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        self.wrong(key, Wrong::Range { given, min: *range.start(), max: *range.end(), usual });
        None
    }

    /// A list of whole numbers within bounds; absent when any is wrong, each of which is a problem of its own.
    pub(super) fn numbers(&self, key: &'static str, range: RangeInclusive<u64>, usual: &[u64]) -> Option<Vec<u64>> {
        let value = self.value(key)?;
        let DeValue::Array(items) = value else {
            self.wrong(key, wrong_type("a list", value, format!("{usual:?}")));
            return None;
        };
        let element = |(index, item): (usize, &Spanned<DeValue<'i>>)| {
            let wrong = match item.get_ref() {
                DeValue::Integer(integer) => {
                    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
                    if number.is_some_and(|number| range.contains(&number)) {
                        return number;
                    }
                    let usual = usual.get(index).or(usual.last()).copied().unwrap_or(*range.start());
                    Wrong::Range { given: integer.to_string(), min: *range.start(), max: *range.end(), usual }
                }
                other => wrong_type("a list of whole numbers", other, format!("{usual:?}")),
            };
            self.wrong_element(key, item, wrong);
            None
        };
        let found: Vec<Option<u64>> = items.iter().enumerate().map(element).collect();
        found.into_iter().collect()
    }

    /// A TCP port other than 0.
    pub(super) fn port(&self, key: &'static str, usual: u16) -> Option<u16> {
        let (given, number) = self.integer(key, u64::from(usual))?;
        let port = number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port != 0);
        if port.is_none() {
            self.wrong(key, Wrong::Port(given));
        }
        port
    }

    /// True or false.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        match self.value(key)? {
            DeValue::Boolean(flag) => Some(*flag),
            other => {
                self.wrong(key, wrong_type("a boolean", other, "true or false".to_owned()));
                None
            }
        }
    }

    /// A list of strings that mean something; absent when any element is wrong, each of which is a problem of its own.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let DeValue::Array(items) = value else {
            self.wrong(key, wrong_type("a list", value, format!("[{example}]")));
            return None;
        };
        let element = |item: &'f Spanned<DeValue<'i>>| {
            let wrong = match item.get_ref().as_str().map(&parse) {
                Some(Ok(value)) => return Some(value),
                Some(Err(wrong)) => wrong,
                None => wrong_type("a list of strings", item.get_ref(), format!("[{example}]")),
            };
            self.wrong_element(key, item, wrong);
            None
        };
        let found: Vec<Option<T>> = items.iter().map(element).collect();
        found.into_iter().collect()
    }

    /// The section `[name.key]` inside this one, empty when it is not written. `path` is its whole name, as `org.upstream`.
    pub(super) fn section(&self, key: &'static str, path: &'static str) -> Section<'f, 'i> {
        let value = self.value(key);
        let line = self.file.notes.borrow().lines.get(&self.key(key)).copied();
        let section =
            Section { file: self.file, table: None, name: path, shown: self.key(key), line: line.or(self.line) };
        match value {
            None => section,
            Some(DeValue::Table(table)) => Section { table: Some(table), ..section },
            Some(other) => {
                section.wrong_here(wrong_type("a section", other, format!("[{path}] on a line of its own")));
                section
            }
        }
    }

    /// Ends the section: what is left over is unknown.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for key in table.keys() {
            let known = self.file.notes.borrow().known.contains(&format!("{}.{}", self.name, key.get_ref()));
            if !known {
                self.file.notes.borrow_mut().unknown.push(Unknown {
                    section: self.name,
                    shown: self.key(key.get_ref()),
                    key: key.get_ref().to_string(),
                    line: line_of(&self.file.line_starts, &key.span()),
                });
            }
        }
    }

    /// The number as written, and as a value where it is one at all.
    fn integer(&self, key: &'static str, usual: u64) -> Option<(String, Option<u64>)> {
        match self.value(key)? {
            DeValue::Integer(integer) => {
                Some((integer.to_string(), u64::from_str_radix(integer.as_str(), integer.radix()).ok()))
            }
            other => {
                self.wrong(key, wrong_type("a whole number", other, usual.to_string()));
                None
            }
        }
    }

    /// The value of a key, which is known from now on, and whose line is kept.
    fn value(&self, key: &'static str) -> Option<&'f DeValue<'i>> {
        self.file.know(&format!("{}.{key}", self.name));
        let (written, value) = self.table?.get_key_value(key)?;
        let line = line_of(&self.file.line_starts, &written.span());
        self.file.notes.borrow_mut().lines.insert(self.key(key), line);
        Some(value.get_ref())
    }

    fn note(&self, severity: Severity, key: &str, wrong: Wrong) {
        let line = self
            .table
            .and_then(|table| table.get_key_value(key))
            .map(|(written, _)| line_of(&self.file.line_starts, &written.span()));
        self.file.push(Problem { severity, line: line.or(self.line), key: self.key(key), wrong });
    }

    /// Notes an error about one element: lists may be written over many lines, and its own is the one to look at.
    fn wrong_element(&self, key: &str, item: &Spanned<DeValue<'i>>, wrong: Wrong) {
        let line = Some(line_of(&self.file.line_starts, &item.span()));
        self.file.push(Problem { severity: Severity::Error, line, key: self.key(key), wrong });
    }

    fn wrong_here(&self, wrong: Wrong) {
        self.file.push(Problem { severity: Severity::Error, line: self.line, key: self.shown.clone(), wrong });
    }
}

fn wrong_type(expected: &'static str, found: &DeValue<'_>, example: String) -> Wrong {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    };
    Wrong::Type { expected, found, example }
}

/// Counted from 1.
fn line_of(line_starts: &[usize], span: &Range<usize>) -> u32 {
    u32::try_from(line_starts.partition_point(|start| *start <= span.start)).unwrap_or(u32::MAX)
}

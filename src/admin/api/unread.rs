//! Which value of a request cannot be read, and what is wrong with it, in words that do not tell how it is read.

use std::error::Error;

/// A value that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::admin) struct Unread {
    /// Its name, or the path to it.
    pub(in crate::admin) field: Option<String>,
    /// What is wrong.
    pub(in crate::admin) detail: String,
}

impl Unread {
    /// Out of an extractor's error: its source names the field, and says what serde found.
    pub(in crate::admin) fn of(error: &dyn Error) -> Unread {
        Unread::said(&error.source().map_or_else(|| error.to_string(), ToString::to_string))
    }

    fn said(text: &str) -> Unread {
        let quoted = |after: &str| Some(text.split_once(after)?.1.split_once('`')?.0.to_owned());
        let missing = quoted("missing field `");
        let named = missing.clone().or_else(|| quoted("unknown field `")).or_else(|| quoted("duplicate field `"));
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c);
        let path = text.split_once(": ").filter(|(path, _)| path.chars().all(is_name));
        let rest = path.map_or(text, |(_, rest)| rest);
        // Where the value is missing, the path is that of what it should be in.
        let field = match (named, path) {
            (Some(name), Some((path, _))) if missing.is_some() => Some(format!("{path}.{name}")),
            (Some(name), _) => Some(name),
            (None, path) => path.map(|(path, _)| path.to_owned()),
        };
        let rest = rest.split_once(" at line ").map_or(rest, |(rest, _)| rest);
        Unread { field, detail: in_our_words(rest) }
    }

    /// Both, in one line.
    pub(in crate::admin) fn line(&self) -> String {
        match &self.field {
            Some(field) => format!("{field}: {}", self.detail),
            None => self.detail.clone(),
        }
    }
}

/// What people meet has our words; the rest says itself what it expects.
fn in_our_words(said: &str) -> String {
    let digits = ["invalid digit", "number too", "cannot parse integer"];
    match said {
        _ if digits.iter().any(|words| said.contains(words)) => "write a whole number, and none too large".to_owned(),
        _ if said.starts_with("missing field") => "it is missing".to_owned(),
        _ if said.starts_with("duplicate field") => "it is there more than once".to_owned(),
        _ if said.starts_with("unknown field") => match said.split_once("expected ") {
            Some((_, good)) => format!("there is no such name here; there is {}", good.replace('`', "")),
            None => "there is no such name here".to_owned(),
        },
        _ if said.starts_with("invalid type: null") => "null is no value here; leave it out and it stays".to_owned(),
        _ if said.contains("was not `true` or `false`") => "write true or false".to_owned(),
        _ => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_named_and_serde_is_not() {
        let rows = [
            ("days: invalid digit found in string", Some("days"), "write a whole number, and none too large"),
            ("missing field `from`", Some("from"), "it is missing"),
            ("notes[1]: missing field `act` at line 1 column 23", Some("notes[1].act"), "it is missing"),
            (
                "shado: unknown field `shado`, expected one of `a`, `b` at line 1 column 9",
                Some("shado"),
                "there is no such name here; there is one of a, b",
            ),
            (
                "place: invalid type: null, expected a string at line 1 column 13",
                Some("place"),
                "null is no value here; leave it out and it stays",
            ),
            (
                "domains: invalid type: integer `3`, expected a sequence at line 1 column 13",
                Some("domains"),
                "invalid type: integer `3`, expected a sequence",
            ),
            ("duplicate field `done`", Some("done"), "it is there more than once"),
            ("invalid type: sequence, expected struct X: Y", None, "invalid type: sequence, expected struct X: Y"),
        ];
        for (said, field, detail) in rows {
            assert_eq!(
                Unread::said(said),
                Unread { field: field.map(str::to_owned), detail: detail.to_owned() },
                "{said}"
            );
        }
    }
}

//! A key that nobody asked for: what it probably should have been, or why it is not here.

use std::collections::BTreeSet;

use super::problem::{Problem, Severity, Wrong};

/// Keys of features that this version does not have. Refused by name: a setting that does nothing would be a lie.
const NOT_AVAILABLE: &[&str] = &["upstream.token_command"];

/// Settings that a person changes while the program runs: they live in the store.
const LIVE: &[&str] = &["org.visible_urls", "org.quotes"];

/// One key as it is written.
pub(super) struct Unknown {
    /// Its section without a number; empty at the top.
    pub(super) section: &'static str,
    /// As problems show it: `listener[2].adress`, `[servr]`.
    pub(super) shown: String,
    /// Itself.
    pub(super) key: String,
    /// Counted from 1.
    pub(super) line: u32,
}

impl Unknown {
    /// The problem, once all known keys are known.
    pub(super) fn problem(&self, known: &BTreeSet<String>) -> Problem {
        let path = if self.section.is_empty() { self.key.clone() } else { format!("{}.{}", self.section, self.key) };
        let wrong = match NOT_AVAILABLE.contains(&path.as_str()) {
            true => Wrong::KeyNotAvailable,
            false if LIVE.contains(&path.as_str()) => Wrong::LiveSetting,
            false if self.shown.starts_with('[') => Wrong::UnknownSection { hint: self.hint(known) },
            false => Wrong::UnknownKey { hint: self.hint(known) },
        };
        Problem { severity: Severity::Error, line: Some(self.line), key: self.shown.clone(), wrong }
    }

    /// The nearest key of the same section, else the section that has a key of this very name.
    fn hint(&self, known: &BTreeSet<String>) -> Option<String> {
        let split = |path: &'_ String| match path.rsplit_once('.') {
            Some((section, key)) => (section.to_owned(), key.to_owned()),
            None => (String::new(), path.clone()),
        };
        let all: Vec<(String, String)> = known.iter().map(split).collect();
        let near = |(section, key): &&(String, String)| section == self.section && is_near(key, &self.key);
        if let Some((_, key)) =
            all.iter().filter(near).min_by_key(|(_, key)| strsim::damerau_levenshtein(key, &self.key))
        {
            return Some(format!("did you mean \"{key}\"?"));
        }
        // A section inside another is the less likely one to be meant.
        let is_it = |(section, key): &&(String, String)| !section.is_empty() && *key == self.key;
        let elsewhere = all.iter().filter(is_it).min_by_key(|(section, _)| section.contains('.'));
        elsewhere.map(|(section, key)| format!("{key} belongs in [{section}]"))
    }
}

/// One slip of the fingers for every three letters, at least one and at most three.
fn is_near(known: &str, given: &str) -> bool {
    strsim::damerau_levenshtein(known, given) <= (known.len() / 3).clamp(1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints() {
        let known: BTreeSet<String> =
            ["server", "server.hostname", "server.data_dir", "web", "web.public_url", "web.admin"]
                .map(str::to_owned)
                .into();
        let rows: &[(&str, &str, Option<&str>)] = &[
            // A slip: a letter missing, doubled, swapped, or another dash.
            ("server", "hostnam", Some("did you mean \"hostname\"?")),
            ("server", "hsotname", Some("did you mean \"hostname\"?")),
            ("server", "datadir", Some("did you mean \"data_dir\"?")),
            ("server", "data-dir", Some("did you mean \"data_dir\"?")),
            ("", "serverr", Some("did you mean \"server\"?")),
            // Right, but elsewhere.
            ("server", "public_url", Some("public_url belongs in [web]")),
            ("", "admin", Some("admin belongs in [web]")),
            // Nothing like it.
            ("server", "colour", None),
            ("", "mail", None),
        ];
        for (section, key, expected) in rows {
            let unknown = Unknown { section, shown: String::new(), key: (*key).to_owned(), line: 1 };
            assert_eq!(unknown.hint(&known).as_deref(), *expected, "{section}.{key}");
        }
    }
}

//! Every limit that is counted is in the operator's list, and every name in that list is counted somewhere.

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All of the program's text but its tests.
fn source(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_tests = path.file_stem().is_some_and(|name| name.to_string_lossy().contains("tests"));
        if path.is_dir() && !is_tests {
            all.push_str(&source(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests {
            let text = std::fs::read_to_string(&path).unwrap();
            all.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
        }
    }
    all
}

/// The names of the table "Limits that were met".
fn listed() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("docs/OPERATE.md")).unwrap();
    let section = page.split("### Limits that were met").nth(1).expect("the section is there");
    let rows = section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

#[test]
fn what_is_counted_is_what_is_listed() {
    let (source, listed) = (source(&root().join("src")), listed());
    assert!(listed.len() > 30, "{listed:?}");
    for name in &listed {
        assert!(source.contains(&format!("\"{name}\"")), "{name} is in docs/OPERATE.md and counted nowhere");
    }
    for before in ["limit_met(\"", "\"limit\" => \""] {
        for rest in source.split(before).skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(listed.contains(name), "{name} is counted and not in docs/OPERATE.md");
        }
    }
}

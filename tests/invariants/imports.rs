//! The architecture table as a test: who may import whom. The same table stands in `docs/ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Module, what it may import of ours. A module adds its row in the commit that adds it.
const TABLE: &[(&str, &[&str])] = &[
    // core
    ("smtp", &[]),
    ("message", &["smtp"]),
    ("token", &[]),
    ("event", &["token"]),
    ("settings", &[]),
    ("caller", &["settings"]),
    ("policy", &["message", "settings", "smtp"]),
    ("rewrite", &["message", "policy", "settings", "token"]),
    // shell
    ("telemetry", &["message", "token", "event", "settings", "smtp"]),
    ("geo", &["telemetry"]),
    ("proxy_protocol", &[]),
    ("certificate", &[]),
    ("spool", &["smtp", "message", "token"]),
    ("store", &["message", "event", "settings", "token", "telemetry"]),
    ("deliver", &["smtp", "message", "telemetry"]),
    ("health", &["certificate", "deliver", "settings"]),
    ("acme", &["certificate", "deliver"]),
    ("queue", &["smtp", "message", "token", "spool", "store", "deliver", "telemetry"]),
    ("copies", &["message", "token", "settings", "policy", "rewrite", "spool", "store", "queue"]),
    (
        "relay",
        &[
            "caller",
            "smtp",
            "message",
            "token",
            "event",
            "settings",
            "policy",
            "rewrite",
            "store",
            "deliver",
            "listener",
            "telemetry",
            "spool",
            "queue",
            "copies",
        ],
    ),
    ("listener", &["caller", "smtp", "message", "settings", "proxy_protocol", "telemetry"]),
    ("inbox", &["smtp", "message", "settings", "listener", "deliver", "telemetry"]),
    ("web", &["acme", "caller", "token", "event", "settings", "store", "geo", "proxy_protocol", "telemetry"]),
    ("notify", &["smtp", "message", "token", "event", "settings", "store", "deliver", "telemetry"]),
    (
        "admin",
        &[
            "caller",
            "smtp",
            "message",
            "token",
            "event",
            "settings",
            "policy",
            "rewrite",
            "store",
            "deliver",
            "health",
            "inbox",
            "notify",
            "telemetry",
        ],
    ),
    // root
    (
        "config",
        &["acme", "certificate", "smtp", "message", "token", "event", "settings", "policy", "rewrite", "telemetry"],
    ),
    ("app", &["*"]),
    ("cli", &["*"]),
    ("main", &["cli"]),
];

/// Core modules are plain synchronous Rust: none of these crates may appear there.
const NOT_IN_CORE: &[&str] =
    &["tokio", "std::net::TcpStream", "std::fs", "std::time::SystemTime", "getrandom", "axum", "rusqlite", "sled"];
const CORE: &[&str] = &["smtp", "message", "token", "event", "settings", "caller", "policy", "rewrite"];

#[test]
fn every_import_is_in_the_table() {
    let allowed: BTreeMap<&str, &[&str]> = TABLE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (module, file, target) in imports() {
        let Some(may) = allowed.get(module.as_str()) else {
            wrong.push(format!("{}: module `{module}` has no row in the table", file.display()));
            continue;
        };
        if target != module && !may.contains(&"*") && !may.contains(&target.as_str()) {
            wrong.push(format!("{}: `{module}` may not import `{target}`", file.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_table_has_no_cycle() {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut left: Vec<(&str, &[&str])> = TABLE.iter().filter(|row| !row.1.contains(&"*")).copied().collect();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|(name, may)| {
            let ready = may.iter().all(|m| done.contains(m) || *m == "cli");
            if ready {
                done.insert(name);
            }
            !ready
        });
        assert!(left.len() < before, "a cycle among {left:?}");
    }
}

#[test]
fn core_does_no_io() {
    let mut wrong = Vec::new();
    for file in sources() {
        let module = module_of(&file);
        if !CORE.contains(&module.as_str()) {
            continue;
        }
        let text = code_of(&file);
        for word in NOT_IN_CORE {
            if text.contains(&format!("{word}::")) {
                wrong.push(format!("{}: `{word}` has no place in the core", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// (importing module, file, imported module) of every `crate::x` outside tests.
fn imports() -> Vec<(String, PathBuf, String)> {
    let mut found = Vec::new();
    for file in sources() {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        for rest in code_of(&file).split("crate::").skip(1) {
            let target: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if !target.is_empty() {
                found.push((module.clone(), file.clone(), target));
            }
        }
    }
    assert!(found.len() > 20, "the reader found only {} imports: it no longer reads the source", found.len());
    found
}

/// The code without comments and without the test module at its foot.
fn code_of(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn module_of(file: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = file.strip_prefix(src).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found
}

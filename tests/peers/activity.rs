//! The Activity page's script in a real Chromium: a line stands where it happened, however late its judgement comes.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

#[test]
#[ignore = "needs Chromium, Node and playwright-core"]
fn a_line_stands_where_it_happened() {
    let peers =
        std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Command::new("node")
        .arg(folder.join("tests/peers/activity.js"))
        .arg(folder.join("src/admin/assets/activity.js"))
        .env("NODE_PATH", Path::new(&peers).join("node_modules"))
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}");
    let told: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(
        told["lists"],
        json!([
            "9 [8 6] 5 4",
            // news is on top
            "10 9 [8 6] 5 4",
            // a machine after all: where it stood, and with its neighbours
            "10 9 [8 6] 5 [4]",
            "10 [9 8 6] 5 [4]",
            // a person after all: between those it came between
            "10 [9] 8 [6] 5 [4]",
            "10 [9 8 6] 5 [4]",
            "10 [9 8 6 5 4]",
            "10 [9 8] 6 [5 4]",
            "[11] 10 [9 8] 6 [5 4]",
            "[12 11] 10 [9 8] 6 [5 4]",
        ])
    );
    let by_day: Vec<&str> = told["times"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(by_day.iter().filter(|words| **words == "that day").count(), 1, "{by_day:?}");
    assert_eq!(by_day.iter().filter(|words| **words == "just now").count(), 7, "{by_day:?}");
    assert_eq!(told["errors"], json!([]));
}

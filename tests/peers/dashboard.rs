//! The dashboard in a real Chromium: what a person does on the first afternoon, and every page as it is seen, read aloud
//! and held in a hand.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use waxseal::store::HISTORY_FILE;

use super::places;
use crate::scenarios::first_light::wait_for;
use crate::support::process::{Installation, Process};

const OTHER: &str = "[[org]]\nname = \"other\"\ndomains = [\"other.example\"]\nopens = \"off\"\n";

/// Routes whose answer is a file, a frame, a stream or the way to another page, not a page.
const FILES: [&str; 9] = [
    "/messages",
    "/messages.csv",
    "/audit/{file}",
    "/inbox/{id}/frame",
    "/inbox/{id}/raw",
    "/metrics",
    "/assets/{name}",
    "/api/openapi.json",
    "/logout",
];

/// Pages that no link of an admin's leads to, looked at all the same.
const SEEDS: [&str; 7] = [
    "/?recipient=nobody",
    "/people?address=nobody",
    "/people/one?address=marta@studio-marta.example",
    "/orgs/default/privacy?address=office@bauwerk.example",
    "/activity?before=3",
    "/tracking?login=lena@example.com",
    "/users/edit?login=lena@example.com",
];

/// Starts it and gives the one-time password that it printed.
fn first_start(installation: &Installation) -> (Process, String) {
    let running = installation.start();
    // It is printed once everything runs; the listener answers a little before.
    let password = wait_for(|| {
        let log = std::fs::read_to_string(installation.path("log")).ok()?;
        let line = log.lines().find_map(|line| line.strip_prefix("Dashboard login   admin  "))?;
        line.split_whitespace().next().map(str::to_owned)
    });
    (running, password)
}

/// Starts it and gives the admin this password, as an operator would who did not write the first one down.
fn settled(installation: &Installation) -> (Process, String) {
    let running = installation.start();
    let password = "a password of the admin's own";
    installation.cli_with(&["user", "passwd", "admin"], &format!("{password}\n"));
    (running, password.to_owned())
}

/// What a script of ours is told of a running waxseal.
fn site(installation: &Installation, password: &str, more: Value) -> Value {
    let mut site = json!({
        "admin": installation.admin.to_string(),
        "tracking": installation.tracking.to_string(),
        "smtp": installation.smtp.to_string(),
        "password": password,
    });
    site.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    site
}

/// Runs a script; what it told.
fn run(script: &str, site: &Value, installation: &Installation) -> Value {
    let peers =
        std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled");
    let out = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script))
        .arg(site.to_string())
        .env("NODE_PATH", Path::new(&peers).join("node_modules"))
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}\n{}", installation.log());
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {said}"))
}

#[test]
#[ignore = "needs Chromium, Node, playwright-core and nodemailer"]
fn an_afternoon_from_the_first_start_to_a_no() {
    let installation = Installation::inbox(OTHER);
    let (_running, password) = first_start(&installation);
    let told = run("dashboard_story.js", &site(&installation, &password, json!({})), &installation);
    assert!(told["steps"].as_u64().is_some_and(|steps| steps > 9), "{told}");
}

#[test]
#[ignore = "needs Chromium, Node, playwright-core and nodemailer"]
fn without_a_mouse() {
    let installation = Installation::inbox("");
    let (_running, password) = settled(&installation);
    let told = run("dashboard_keyboard.js", &site(&installation, &password, json!({})), &installation);
    assert!(told["steps"].as_u64().is_some_and(|steps| steps > 5), "{told}");
}

/// The shortest that may be configured, and a little more than that.
#[test]
#[ignore = "needs Chromium, Node, playwright-core and nodemailer; takes a minute"]
fn a_session_ends_by_itself() {
    let installation = Installation::inbox("[limits]\nadmin_session_idle_secs_max = 60\n");
    let (_running, password) = settled(&installation);
    run("dashboard_idle.js", &site(&installation, &password, json!({"idle_ms": 62_000})), &installation);
}

/// Every address of the router's own table that answers GET with a page.
fn routes() -> BTreeSet<String> {
    let table = include_str!("../../src/admin/pages/mod.rs").split(".route(").skip(1);
    let rows = table.filter_map(|row| row.trim_start().trim_start_matches('"').split_once('"'));
    let read = rows.filter(|(_, handlers)| handlers.split('\n').next().is_some_and(|line| line.contains("get(")));
    read.map(|(path, _)| path.to_owned()).filter(|path| !path.starts_with("/api/v1/")).collect()
}

#[test]
#[ignore = "needs Chromium, Node, playwright-core, axe-core and nodemailer"]
fn every_page_can_be_seen_by_everybody() {
    let routes = routes();
    assert!(routes.len() > 25, "the routes are found: {routes:?}");
    let pictures = std::env::var_os("WAXSEAL_PICTURES_KEEP").map(|folder| folder.to_string_lossy().into_owned());
    let mut visited = BTreeSet::new();
    let mut faults = Vec::new();
    // With mail that was read; with mail that waits, for nobody listens at the upstream's port; with nothing yet.
    let geo = format!("{OTHER}[geo]\ndatabase = \"{}\"\n", places::countries().display());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (prefix, installation) in [
        ("", Installation::inbox(&geo).trusting_the_proxy()),
        ("queue-", Installation::new(nobody, OTHER)),
        ("empty-", Installation::inbox("")),
    ] {
        let (_running, password) = settled(&installation);
        let (empty, inbox) = (prefix == "empty-", prefix != "queue-");
        if !empty {
            let filling = site(&installation, &password, json!({"fill": true, "inbox": inbox}));
            run("dashboard_pages.js", &filling, &installation);
            a_month(&installation);
        }
        let webhook = (prefix.is_empty()).then_some("https://hooks.example.com/waxseal");
        let seeds = if empty { &[][..] } else { &SEEDS[..] };
        let more = json!({"prefix": prefix, "routes": routes, "files": FILES, "seeds": seeds,
                          "pictures": pictures, "webhook": webhook});
        let told = run("dashboard_pages.js", &site(&installation, &password, more), &installation);
        let texts = |key: &str| -> Vec<String> {
            told[key].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
        };
        visited.extend(texts("visited"));
        faults.extend(texts("faults"));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let unseen: Vec<&String> =
        routes.iter().filter(|r| !FILES.contains(&r.as_str()) && !visited.contains(*r)).collect();
    assert!(unseen.is_empty(), "no link leads to {unseen:?}: link them, or name an example in SEEDS");
}

/// Spreads what was just sent over some days, and adds the counters of a month: what a chart shows.
fn a_month(installation: &Installation) {
    let history = rusqlite::Connection::open(installation.data().join(HISTORY_FILE)).unwrap();
    history.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    let sql = "
        CREATE TEMP TABLE back AS SELECT id, 5000000 * row_number() OVER (ORDER BY accepted_at_ms DESC) AS by_ms FROM message;
        UPDATE message SET accepted_at_ms = accepted_at_ms - (SELECT by_ms FROM back WHERE back.id = message.id);
        UPDATE recipient SET at_ms = at_ms - (SELECT by_ms FROM back WHERE back.id = message);
        UPDATE event SET at_ms = at_ms - (SELECT by_ms FROM back WHERE back.id = message) + 400000 * (sequence % 9 + 1);
        WITH RECURSIVE d (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM d LIMIT 29)
        INSERT OR REPLACE INTO day_count SELECT 'default', '', unixepoch('now') / 86400 - n,
            iif(n % 7 IN (3, 4), 2, 9 + n * 5 % 11), iif(n % 7 IN (3, 4), 0, 3 + n * 3 % 5), 2 + n % 4, n % 3 FROM d;
        INSERT OR REPLACE INTO place_day VALUES ('default', '', unixepoch('now') / 86400 - 1, 'NL', 61, 20),
            ('default', '', unixepoch('now') / 86400 - 1, 'IT', 48, 17), ('default', '', unixepoch('now') / 86400 - 2, 'SE', 12, 3),
            ('default', '', unixepoch('now') / 86400 - 2, 'BR', 9, 1);
        INSERT OR REPLACE INTO link_day VALUES ('default', '', unixepoch('now') / 86400 - 1, 'https://www.example.com/drawings/2026/rev-3', 41, 6),
            ('default', '', unixepoch('now') / 86400 - 1, 'https://www.example.com/prices', 22, 9);";
    history.execute_batch(sql).unwrap();
}

//! The audit log: every form and every call that changes something leaves its line, under the name of who did it; who may
//! read which; the files.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::api::call;
use super::fixture::{PASSWORD, World, records, world};
use super::telling::ACMES;
use crate::admin::{Actions, Parts, Viewer};
use crate::settings::access::Access;
use crate::settings::{Role, User};
use crate::store::audit::{AuditQuery, Author, Line, Note, Via};
use crate::store::history::{self, SqliteHistory};
use crate::store::{Change, HistoryStore as _, SettingsStore as _};

/// Names and values.
type Form = &'static [(&'static str, &'static str)];

async fn lines(world: &World) -> Vec<Line> {
    world.settings.audit(AuditQuery { limit: 1_000, ..AuditQuery::default() }).await.unwrap()
}

/// What the newest line says: `ann, dashboard: link 0 of message … added`.
fn said(line: &Line) -> String {
    let Author { via, login, .. } = &line.author;
    let login = login.as_deref().unwrap_or("-");
    format!("{login}, {}: {} {}", via.as_str(), line.subject, line.action.as_str())
}

#[tokio::test]
async fn every_form_leaves_its_line() {
    const NEW_PASSWORD: &str = "an entirely new one";
    // Who, where, with what, and how the line begins. Forms that are not here (send a test) change nothing.
    let rows: &[(&str, &str, Form, &str)] = &[
        (
            "ann",
            "/messages/00000000000000a1/links/0",
            &[("do", "withdraw")],
            "ann, dashboard: link 0 of message 00000000000000a1 added",
        ),
        ("boss", "/orgs/acme", &[("opens", "off")], "boss, dashboard: organisation acme changed"),
        ("boss", "/orgs/acme/privacy", &[("footer", "See [here]")], "boss, dashboard: organisation acme changed"),
        (
            "boss",
            "/users",
            &[("login", "new"), ("org", "acme"), ("role", "sender"), ("password", NEW_PASSWORD)],
            "boss, dashboard: user new added",
        ),
        (
            "root",
            "/users/password",
            &[("login", "eve"), ("password", NEW_PASSWORD)],
            "root, dashboard: user eve changed",
        ),
        ("boss", "/users/set", &[("login", "ann"), ("role", "org-admin")], "boss, dashboard: user ann changed"),
        ("root", "/users/remove", &[("login", "eve")], "root, dashboard: user eve removed"),
        (
            "ann",
            "/account",
            &[("present", PASSWORD), ("password", NEW_PASSWORD), ("again", NEW_PASSWORD)],
            "ann, dashboard: user ann changed",
        ),
        ("ann", "/notices", &[("level", "every"), ("mail", "on")], "ann, dashboard: notices of ann changed"),
        (
            "boss",
            "/orgs/acme/upstream-password",
            &[("password", NEW_PASSWORD)],
            "boss, dashboard: upstream of acme added",
        ),
        ("boss", "/notices/org", &[("org", "acme"), ("level", "none")], "boss, dashboard: notices in acme changed"),
        ("boss", "/webhooks/00000000000000ac", &[("do", "pause")], "boss, dashboard: webhook 00000000000000ac changed"),
        (
            "boss",
            "/webhooks/00000000000000ac",
            &[("do", "remove")],
            "boss, dashboard: webhook 00000000000000ac removed",
        ),
        (
            "boss",
            "/orgs/acme/privacy/note",
            &[("address", "b@r.example"), ("act", "refuse"), ("source", "call")],
            "boss, dashboard: recipient",
        ),
        (
            "ann",
            "/webhooks",
            &[("url", "https://hooks.example/T0KEN"), ("opened", "on"), ("whose", "own")],
            "ann, dashboard: webhook",
        ),
        ("root", "/orgs/acme/access", &[("admins_see_messages", "on")], "root, dashboard: access of acme changed"),
        ("ann", "/account/app-passwords", &[("name", "phone")], "ann, dashboard: app password phone of ann added"),
        ("ann", "/account/api-keys", &[("name", "ci"), ("scope", "read")], "ann, dashboard: API key ci of ann added"),
        (
            "boss",
            "/users/credentials/remove",
            &[("login", "ann"), ("id", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")],
            "boss, dashboard: app password laptop of ann removed",
        ),
        (
            "boss",
            "/users/invite",
            &[("login", "n"), ("org", "acme"), ("role", "sender")],
            "boss, dashboard: invitation",
        ),
        ("boss", "/users/link", &[("login", "ann")], "boss, dashboard: invitation"),
        (
            "boss",
            "/users/invite/withdraw",
            &[("id", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")],
            "boss, dashboard: invitation bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb removed",
        ),
        (
            "ann",
            "/messages/00000000000000a1/events",
            &[("own", "1")],
            "ann, dashboard: event 1 of message 00000000000000a1 done",
        ),
        ("ann", "/queue/00000000000000a1/retry", &[], "ann, dashboard: mail 00000000000000a1 done"),
        ("ann", "/queue/00000000000000a1/drop", &[], "ann, dashboard: mail 00000000000000a1 done"),
    ];
    for (who, path, fields, expected) in rows {
        let world = world().await;
        let before = lines(&world).await.len();
        let answer = world.logged_in(who).post(path, fields).await;
        assert!(!answer.status.is_client_error(), "{who} {path}: {}", answer.text);
        let after = lines(&world).await;
        assert_eq!(after.len(), before + 1, "{path}: {after:?}");
        assert!(said(&after[0]).starts_with(expected), "{path}: {}", said(&after[0]));
        let text = format!("{:?}", after[0]);
        assert!(![NEW_PASSWORD, "argon2", "T0KEN", "b@r."].iter().any(|secret| text.contains(secret)), "{text}");
    }
}

#[tokio::test]
async fn every_call_of_the_socket_leaves_its_line() {
    let world = world().await;
    let link = "/api/v1/messages/00000000000000a1/links/1";
    let webhook = format!("/api/v1/webhooks/{ACMES}");
    let note = json!({"address": "bob@reader.example", "act": "grant", "source": "form", "wording": "yes"});
    let rows: Vec<(&str, &str, Value, &str)> = vec![
        ("PUT", link, json!({"withdrawn": true}), "link 1 of message 00000000000000a1 added"),
        ("DELETE", link, Value::Null, "link 1 of message 00000000000000a1 removed"),
        ("PATCH", "/api/v1/orgs/acme", json!({"excluded_hosts": ["a.example"]}), "organisation acme changed"),
        ("PATCH", "/api/v1/orgs/acme/privacy", json!({"consent": "required"}), "organisation acme changed"),
        ("POST", "/api/v1/orgs/acme/people", json!({"notes": [note]}), "done"),
        ("POST", "/api/v1/privacy/erase", json!({"address": "bob@reader.example", "org": "acme"}), "done"),
        ("PUT", "/api/v1/users/ann/password", json!({"password": "an entirely new one"}), "user ann changed"),
        ("PUT", "/api/v1/users/ann/notices", json!({"level": "every", "mail": true}), "notices of ann changed"),
        ("PATCH", &webhook, json!({"paused": true}), "webhook 00000000000000ac changed"),
        ("DELETE", &webhook, Value::Null, "webhook 00000000000000ac removed"),
        ("POST", "/api/v1/keys/rotate", Value::Null, "keys done"),
        (
            "PUT",
            "/api/v1/messages/00000000000000a1/events/1",
            json!({"own": true}),
            "event 1 of message 00000000000000a1 done",
        ),
        (
            "PUT",
            "/api/v1/messages/00000000000000a1/events/1",
            json!({"own": false}),
            "event 1 of message 00000000000000a1 done",
        ),
        ("POST", "/api/v1/queue/00000000000000e0/retry", Value::Null, "mail 00000000000000e0 done"),
        ("DELETE", "/api/v1/queue/00000000000000e0", Value::Null, "mail 00000000000000e0 done"),
    ];
    for (method, path, body, expected) in rows {
        let before = lines(&world).await.len();
        let (status, answer) = call(&world, method, path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        let after = lines(&world).await;
        assert_eq!(after.len(), before + 1, "{method} {path}: {:?}", after[0]);
        let said = said(&after[0]);
        assert!(said.starts_with("-, admin socket: ") && said.ends_with(expected), "{method} {path}: {said}");
        assert!(!format!("{:?}", after[0]).contains("bob@"), "an address: {:?}", after[0]);
    }
    // What was noted for a recipient names them by their hash, and is one with what the ledger says.
    let all = lines(&world).await;
    let noted = all.iter().find(|line| line.subject.starts_with("recipient ")).unwrap();
    let people: Vec<String> =
        world.settings.snapshot().people.of(&"acme".parse().unwrap()).map(|(person, _)| person.to_string()).collect();
    assert_eq!(noted.subject, format!("recipient {}", people[0]));
}

#[tokio::test]
async fn what_changes_nothing_leaves_no_line() {
    let world = world().await;
    let before = lines(&world).await.len();
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"opens": "follow"})).await;
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"opens": "nonsense"})).await;
    world.logged_in("ann").post("/orgs/acme", &[("opens", "off")]).await;
    assert_eq!(lines(&world).await.len(), before);
}

/// The page, its files and the API say the same; an organisation's admin reads nothing of others.
#[tokio::test]
async fn who_reads_what_in_pages_and_files() {
    let world = world().await;
    world.logged_in("boss").post("/orgs/acme", &[("opens", "off")]).await;
    world.logged_in("chief").post("/orgs/other", &[("links", "off")]).await;
    world.logged_in("root").post("/users/remove", &[("login", "mia")]).await;
    call(&world, "POST", "/api/v1/keys/rotate", Value::Null).await;

    for path in ["/audit", "/audit/log.csv", "/audit/log.json"] {
        let boss = world.logged_in("boss").get(path).await.text;
        assert!(boss.contains("organisation acme") && boss.contains("boss"), "{path}: {boss}");
        for foreign in ["organisation other", "chief", "mia", "rotated"] {
            assert!(!boss.contains(foreign), "{path}: {foreign}");
        }
        let root = world.logged_in("root").get(path).await.text;
        for all in ["organisation acme", "organisation other", "user mia", "rotated", "admin socket"] {
            assert!(root.contains(all), "{path}: {all}");
        }
        let acme = world.logged_in("root").get(&format!("{path}?org=acme")).await.text;
        assert!(acme.contains("organisation acme") && !acme.contains("organisation other"), "{path}");
    }
    let csv = world.logged_in("boss").get("/audit/log.csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"waxseal-audit.csv\"");
    assert!(csv.text.starts_with("number,time,by,via,from,organisation,what,action,value,before,after\r\n"));
    assert!(csv.text.contains(",boss,dashboard,,acme,organisation acme,changed,opens,follow,off\r\n"), "{}", csv.text);

    // In pages: each line once, newest first, to the end.
    let (mut numbers, mut before) = (Vec::new(), String::new());
    loop {
        let (_, page) = call(&world, "GET", &format!("/api/v1/audit?limit=5{before}"), Value::Null).await;
        numbers.extend(page["lines"].as_array().unwrap().iter().map(|line| line["number"].as_u64().unwrap()));
        match page["next"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    let expected: Vec<u64> = (1..=lines(&world).await.len() as u64).rev().collect();
    assert_eq!(numbers, expected);
    assert_eq!(call(&world, "GET", "/api/v1/audit?org=none", Value::Null).await.1["lines"], json!([]));
    assert_eq!(call(&world, "GET", "/api/v1/audit?org=no%20name", Value::Null).await.0, StatusCode::NOT_FOUND);
}

/// What a server admin of an organisation does to the whole server is not that organisation's to read.
#[tokio::test]
async fn a_server_admin_of_an_organisation_tells_it_nothing() {
    use crate::settings::{Role, User};
    let world = world().await;
    let root = world.settings.snapshot().users["root"].clone();
    let local = User { login: "local".into(), org: Some("acme".parse().unwrap()), role: Role::ServerAdmin, ..root };
    world.settings.change(vec![crate::store::Change::PutUser(local)]).await.unwrap();
    let local = world.logged_in("local");
    local.post("/messages/00000000000000e0/links/0", &[("do", "withdraw")]).await;
    let newest = &lines(&world).await[0];
    assert_eq!((newest.author.via, newest.org.as_ref()), (Via::Dashboard, None));
    assert!(!world.logged_in("boss").get("/audit").await.text.contains("00000000000000e0"));
}

/// An organisation's admin reads what a server admin did, not who that is and from where; and not where a link leads that
/// stands in somebody else's mail.
#[tokio::test]
async fn an_admin_reads_no_more_than_is_theirs() {
    let world = world().await;
    let root = world.logged_in("root").at("203.0.113.9");
    let deputy =
        User { login: "deputy".into(), role: Role::ServerAdmin, ..world.settings.snapshot().users["boss"].clone() };
    world.settings.change(vec![Change::PutUser(deputy)]).await.unwrap();
    root.post("/orgs/acme", &[("opens", "off")]).await;
    root.post("/users/password", &[("login", "deputy"), ("password", "long enough for us")]).await;
    let secret = [("do", "to"), ("destination", "https://secret.example/offer")];
    let changed = world.logged_in("ann").post("/messages/00000000000000a1/links/0", &secret).await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER, "{}", changed.text);
    let own = [("do", "to"), ("destination", "https://bosses.example/")];
    let boss = world.logged_in("boss");
    boss.post("/messages/00000000000000b0/links/0", &own).await;
    let all = ["/audit", "/audit/log.csv", "/audit/log.json", "/api/v1/audit"];
    for path in all {
        let text = boss.get(path).await.text;
        assert!(text.contains("organisation acme") && text.contains("https://bosses.example/"), "{path}: {text}");
        assert!(text.contains("link 0 of message 00000000000000a1") && text.contains("in another person"), "{path}");
        for hidden in ["secret.example", "203.0.113.9", "root", "deputy"] {
            assert!(!text.contains(hidden), "{path} tells {hidden}: {text}");
        }
        assert!(text.contains("a server admin") || text.contains("\"by_server_admin\":true"), "{path}: {text}");
    }
    // also when they are no server admin, and not there any more
    world.settings.change(vec![Change::RemoveUser("root".into())]).await.unwrap();
    assert!(!boss.get("/audit").await.text.contains("root"));
    // who sees everybody's mail reads where its links lead
    let access = Access { admins_see_messages: true, ..Access::default() };
    world.settings.change(vec![Change::PutAccess("acme".parse().unwrap(), access)]).await.unwrap();
    for path in all {
        assert!(world.logged_in("boss").get(path).await.text.contains("https://secret.example/offer"), "{path}");
    }
}

/// The CSV file is whole, however long the log; the JSON file says where the next one begins.
#[tokio::test]
async fn the_file_is_the_whole_log() {
    let world = world().await;
    let note = |n: usize| Change::Note(Note { org: None, subject: format!("thing {n}"), words: "done".to_owned() });
    let before = lines(&world).await.len();
    for some in 0..11 {
        world.settings.change((0..1_000).map(|n| note(some * 1_000 + n)).collect()).await.unwrap();
    }
    let csv = world.logged_in("root").get("/audit/log.csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let subjects = csv.text.lines().filter(|line| line.contains("thing ")).count();
    assert_eq!(subjects, 11_000);
    assert!(csv.text.contains(",thing 0,") || csv.text.contains("\"thing 0\""), "to the first line, of {before}");
    let json: Value = serde_json::from_str(&world.logged_in("root").get("/audit/log.json").await.text).unwrap();
    assert_eq!((json["lines"].as_array().unwrap().len(), json["next"].is_u64()), (10_000, true));
}

/// Who asked for an erasure and left has it finished and in the log.
#[tokio::test]
async fn an_erasure_that_was_begun_is_finished_and_told() {
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    // Of a history that takes its time: a disk's.
    let history = SqliteHistory::open(&folder.path().join("h"), &history::Options::default()).unwrap();
    for record in records() {
        history.insert(record).await.unwrap();
    }
    let actions = Arc::new(Actions::new(Parts {
        settings: world.settings.clone(),
        history: Arc::new(history),
        logins: world.actions.logins.clone(),
        ceiling: world.ceiling.clone(),
        inbox: None,
        test_mail: None,
        keys: None,
        queue: None,
        metrics: None,
        privacy: None,
        notify: None,
        health: None,
        upstream_passwords: None,
    }));
    let mut erasing = Box::pin(actions.erase(&Viewer::Operator, "bob@reader.example", None));
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(erasing.as_mut().poll(context).is_pending())).await);
    drop(erasing);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !lines(&world).await.iter().any(|line| format!("{line:?}").contains("erased from the history of 4 mails")) {
        assert!(std::time::Instant::now() < end, "it is never told");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let held = actions.held(&Viewer::Operator, "bob@reader.example", None).await.unwrap();
    assert!(held.is_empty(), "{held:?}");
}

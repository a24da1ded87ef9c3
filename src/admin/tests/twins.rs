//! Whatever a page shows or does, a program can, too: each route of the pages names its twin in the API, or why it has none.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::accounts::call;
use super::fixture::world;
use super::openapi::documented;

/// Method and route of a page; method and address of the API, or `-` and a reason.
const TWINS: &[(&str, &str)] = &[
    ("get /", "get /api/v1/messages"),
    ("get /messages.csv", "get /api/v1/messages"),
    ("get /people", "get /api/v1/readers"),
    ("get /people/one", "get /api/v1/readers/{address}"),
    ("get /figures", "get /api/v1/figures"),
    ("get /health", "get /api/v1/health"),
    ("get /messages/{id}", "get /api/v1/messages/{id}"),
    ("post /messages/{id}/links/{index}", "put /api/v1/messages/{id}/links/{index}"),
    ("post /messages/{id}/events", "put /api/v1/messages/{id}/events/{sequence}"),
    ("get /orgs", "get /api/v1/orgs"),
    ("get /orgs/{name}", "get /api/v1/orgs/{name}"),
    ("post /orgs/{name}", "patch /api/v1/orgs/{name}"),
    ("get /why", "get /api/v1/why"),
    ("get /audit", "get /api/v1/audit"),
    ("get /audit/{file}", "get /api/v1/audit"),
    ("get /orgs/{name}/privacy", "get /api/v1/orgs/{name}/privacy"),
    ("post /orgs/{name}/privacy", "patch /api/v1/orgs/{name}/privacy"),
    ("post /orgs/{name}/privacy/note", "post /api/v1/orgs/{name}/people"),
    ("get /users", "get /api/v1/users"),
    ("post /users", "post /api/v1/users"),
    ("get /users/edit", "get /api/v1/users/{login}"),
    ("post /users/set", "patch /api/v1/users/{login}"),
    ("post /users/password", "put /api/v1/users/{login}/password"),
    ("post /users/remove", "delete /api/v1/users/{login}"),
    ("get /orgs/{name}/access", "get /api/v1/orgs/{name}/access"),
    ("post /orgs/{name}/access", "patch /api/v1/orgs/{name}/access"),
    ("post /orgs/{name}/upstream-password", "put /api/v1/orgs/{name}/upstream-password"),
    ("post /users/factor", "delete /api/v1/users/{login}/second-factor"),
    ("get /account/second-factor", "get /api/v1/users/{login}/second-factor"),
    ("post /account/second-factor", "- a person with the app in hand sets it up, no program"),
    ("post /users/invite", "post /api/v1/invitations"),
    ("post /users/invite/withdraw", "delete /api/v1/invitations/{id}"),
    ("post /users/link", "post /api/v1/users/{login}/password-link"),
    ("get /join/{secret}", "- for who has no login yet"),
    ("post /join/{secret}", "- for who has no login yet"),
    ("post /users/credentials/remove", "delete /api/v1/users/{login}/app-passwords/{id}"),
    ("post /users/sessions/end", "delete /api/v1/users/{login}/sessions"),
    ("get /account", "get /api/v1/session"),
    ("post /account", "put /api/v1/users/{login}/password"),
    ("get /tracking", "get /api/v1/users/{login}/tracking"),
    ("post /tracking", "patch /api/v1/users/{login}/tracking"),
    ("post /account/app-passwords", "post /api/v1/users/{login}/app-passwords"),
    ("post /account/api-keys", "post /api/v1/users/{login}/api-keys"),
    ("post /account/credentials/remove", "delete /api/v1/users/{login}/api-keys/{id}"),
    ("post /account/sessions/end", "delete /api/v1/users/{login}/sessions/{id}"),
    ("get /activity", "get /api/v1/activity"),
    ("get /notices", "get /api/v1/users/{login}/notices"),
    ("post /notices", "put /api/v1/users/{login}/notices"),
    ("post /notices/org", "put /api/v1/orgs/{name}/notices"),
    ("post /webhooks", "post /api/v1/webhooks"),
    ("get /webhooks/{id}", "get /api/v1/webhooks/{id}"),
    ("post /webhooks/{id}", "patch /api/v1/webhooks/{id}"),
    ("post /webhooks/{id}/deliveries/{delivery}", "post /api/v1/webhooks/{id}/deliveries/{delivery}/replay"),
    ("get /queue", "get /api/v1/queue"),
    ("get /queue/{id}", "get /api/v1/queue/{id}"),
    ("post /queue/retry", "post /api/v1/queue/{id}/retry"),
    ("post /queue/{id}/retry", "post /api/v1/queue/{id}/retry"),
    ("get /queue/{id}/drop", "- asks a person once more; a program has decided"),
    ("post /queue/{id}/drop", "delete /api/v1/queue/{id}"),
    ("get /inbox", "get /api/v1/inbox"),
    ("post /inbox/test-mail", "post /api/v1/test-mail"),
    ("get /inbox/{id}", "get /api/v1/inbox/{id}"),
    ("get /inbox/{id}/frame", "get /api/v1/inbox/{id}/raw"),
    ("get /inbox/{id}/raw", "get /api/v1/inbox/{id}/raw"),
    ("get /setup", "get /api/v1/setup"),
    ("post /setup/test-mail", "post /api/v1/test-mail"),
    ("get /setup/test-mail/{id}", "get /api/v1/messages/{id}"),
    ("get /api", "get /api/openapi.json"),
    ("get /metrics", "- it is for programs already"),
    ("get /login", "- programs have keys"),
    ("post /login", "- programs have keys"),
    ("post /login/code", "- programs have keys"),
    ("post /login/password", "- programs have keys"),
    ("post /logout", "delete /api/v1/users/{login}/sessions/{id}"),
    ("get /assets/{name}", "- the pages' own style and script"),
];

/// Method and route of every page, from the router's source.
fn pages() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for row in include_str!("../pages/mod.rs").split(".route(").skip(1) {
        let (path, handlers) = row.trim_start().trim_start_matches('"').split_once('"').unwrap();
        let handlers = handlers.split('\n').next().unwrap();
        for verb in ["get", "post"].iter().filter(|verb| handlers.contains(&format!("{verb}("))) {
            found.insert(format!("{verb} {path}"));
        }
    }
    found
}

#[test]
fn every_page_names_its_twin() {
    let pages: BTreeSet<String> = pages().into_iter().filter(|page| !page.contains("/api/v1/")).collect();
    let named: BTreeSet<String> = TWINS.iter().map(|(page, _)| (*page).to_owned()).collect();
    assert!(pages.len() > 60, "the routes are found: {pages:?}");
    assert_eq!(pages, named);
    let api: BTreeSet<String> = documented().into_iter().map(|(path, verb)| format!("{verb} {path}")).collect();
    for (page, twin) in TWINS {
        assert!(twin.starts_with("- ") || api.contains(*twin), "{page}: there is no {twin}");
    }
}

#[tokio::test]
async fn a_test_mail_is_ones_own() {
    let world = world().await;
    let to = json!({"to": "reader@example.com"});
    for who in ["root", "boss", "ann", "eve"] {
        let (answer, sent) = call(&world.logged_in(who), "POST", "/api/v1/test-mail", to.clone()).await;
        assert_eq!((answer.status, &sent["reply"]), (StatusCode::OK, &json!("250 2.0.0 accepted")), "{who}: {sent}");
    }
    // under an organisation's settings from nobody's login: the server's admin
    let named = json!({"to": "reader@example.com", "org": "acme"});
    assert_eq!(
        call(&world.logged_in("root"), "POST", "/api/v1/test-mail", named.clone()).await.0.status,
        StatusCode::OK
    );
    assert_eq!(
        call(&world.logged_in("boss"), "POST", "/api/v1/test-mail", named).await.0.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn set_up_is_told_with_ones_own_values() {
    let world = world().await;
    let (_, told) = call(&world.logged_in("ann"), "GET", "/api/v1/setup", Value::Null).await;
    assert_eq!((&told["host"], &told["login"]), (&json!("relay.acme.example"), &json!("ann")));
    assert_eq!(told["senders"], json!(["…@acme.example"]));
    assert_eq!(told["doors"][1], json!({"port": 2465, "tls": "implicit", "loopback": true, "networks": false}));
    let recipes = told["sections"].to_string();
    assert!(recipes.contains("relay.acme.example") && !recipes.contains("relay.example.com"), "{recipes}");
    let (_, told) = call(&world.logged_in("root"), "GET", "/api/v1/setup", Value::Null).await;
    assert_eq!((&told["login"], told["notes"].as_array().unwrap().is_empty()), (&Value::Null, false));
}

/// As the page: an organisation's admin learns that something happened to others' mail, and no more.
#[tokio::test]
async fn activity_counts_what_an_admin_may_not_read() {
    let world = world().await;
    let of = async |who: &str| call(&world.logged_in(who), "GET", "/api/v1/activity", Value::Null).await.1;
    let (boss, ann, eve) = (of("boss").await, of("ann").await, of("eve").await);
    let counts = boss["events"].as_array().unwrap();
    assert_eq!((counts.len(), &counts[0]["login"], &counts[0]["of"]), (3, &json!("ann"), &Value::Null));
    assert!(!boss.to_string().contains("reader.example") && !boss.to_string().contains("offer"), "{boss}");
    assert_eq!(ann["events"][1]["of"]["destination"], "https://shop.example/offer?id=42");
    assert_eq!(eve["events"].as_array().unwrap().len(), 1);
    let (_, page) = call(&world.logged_in("root"), "GET", "/api/v1/activity?limit=2", Value::Null).await;
    assert_eq!((page["events"].as_array().unwrap().len(), &page["before"]), (2, &json!(3)));
    let (_, rest) = call(&world.logged_in("root"), "GET", "/api/v1/activity?limit=2&before=3", Value::Null).await;
    assert_eq!(rest["events"][0]["sequence"], 1);
}

//! The API over the dashboard's listener, and its document: every address is in it, and nothing else.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::fixture::{Answer, Browser, world};
use crate::admin::{Viewer, api};

const VERBS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

fn document() -> Value {
    serde_json::to_value(api::openapi::document_of_all()).unwrap()
}

/// Every verb of every address, as the document has them.
pub(super) fn documented() -> BTreeSet<(String, String)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().iter();
    let verbs = paths.flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |verb| (path, verb)));
    verbs.map(|(path, verb)| (path.clone(), verb.clone())).collect()
}

/// Every address under `/api/` that a router's source names, with its verbs.
fn routed() -> BTreeSet<(String, String)> {
    let sources = [include_str!("../api/mod.rs"), include_str!("../pages/mod.rs")];
    let mut found = BTreeSet::new();
    for line in sources.iter().flat_map(|source| source.split(".route(").skip(1)) {
        let (path, handlers) = line.trim_start().trim_start_matches('"').split_once('"').unwrap();
        if !path.starts_with("/api/") {
            continue;
        }
        let handlers = handlers.split(".route(").next().unwrap().split("_fallback").next().unwrap();
        let verbs = VERBS.iter().filter(|verb| handlers.contains(&format!("{verb}(")));
        let before = found.len();
        found.extend(verbs.map(|verb| (path.to_owned(), (*verb).to_owned())));
        assert!(found.len() > before, "{path} has a verb on its line");
    }
    found
}

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    let (routed, documented) = (routed(), documented());
    assert!(routed.len() > 40, "the routes are found: {routed:?}");
    assert_eq!(routed.difference(&documented).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "undocumented");
    assert_eq!(documented.difference(&routed).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "no such route");
}

#[tokio::test]
async fn the_router_knows_every_documented_verb_and_no_other() {
    let world = world().await;
    let documented = documented();
    let paths: BTreeSet<&String> =
        documented.iter().map(|(path, _)| path).filter(|path| *path != "/api/v1/feed").collect();
    for path in paths {
        let real = path.replace("{index}", "1").replace("{delivery}", "1").replace(['{', '}'], "");
        for verb in VERBS {
            let router = api::router(world.actions.clone(), Viewer::Operator);
            let request = Request::builder().method(verb.to_uppercase().parse::<Method>().unwrap()).uri(&real);
            let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from("null")).unwrap();
            let response = router.oneshot(request).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&body);
            let known = documented.contains(&(path.clone(), verb.to_owned()));
            assert_eq!(status != StatusCode::METHOD_NOT_ALLOWED, known, "{verb} {path}: {status} {text}");
            assert!(!text.contains("there is no such address"), "{verb} {path}");
            assert!(!status.is_server_error(), "{verb} {path}: {status} {text}");
        }
    }
}

#[test]
fn the_document_is_whole() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    // every reference leads somewhere
    let text = document.to_string();
    let names: BTreeSet<&str> =
        text.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(names.len() > 20);
    for name in names {
        assert!(schemas.contains_key(name), "{name}");
    }
    // every operation has words, a name of its own, and may answer with a problem
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].as_str().is_some_and(|words| words.len() > 5), "{verb} {path}");
            assert!(operations.insert(operation["operationId"].as_str().unwrap().to_owned()), "{verb} {path}: twice");
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{verb} {path}");
        }
    }
    // secrets go in, none comes out; what is refused when unknown says so
    for shape in ["User", "Webhook", "Key"] {
        assert!(
            !schemas[shape].to_string().contains("\"password\"") && !schemas[shape].to_string().contains("\"secret\"")
        );
    }
    assert_eq!(schemas["OrgPatch"]["additionalProperties"], false);
}

async fn send(browser: &Browser, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> (Answer, Value) {
    let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
    request = request.header(header::COOKIE, &browser.cookie).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let answer = browser.answer(request.body(body).unwrap()).await;
    if answer.status.is_client_error() {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
    }
    let json = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
    (answer, json)
}

#[tokio::test]
async fn a_session_reads_and_its_token_changes() {
    let world = world().await;
    let stranger = world.stranger();
    let (answer, problem) = send(&stranger, "GET", "/api/v1/orgs", &[], Value::Null).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.header("www-authenticate").starts_with("Cookie "));
    assert_eq!(problem["type"], "urn:waxseal:problem:unauthorized");
    // the document is for everyone; what is not there is a problem, not a page
    assert_eq!(send(&stranger, "GET", "/api/openapi.json", &[], Value::Null).await.1["info"]["title"], "waxseal");
    let (answer, _) = send(&stranger, "GET", "/api/v1/none", &[], Value::Null).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let (answer, _) = send(&stranger, "PUT", "/api/v1/orgs", &[], Value::Null).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);

    let boss = world.logged_in("boss");
    let (_, session) = send(&boss, "GET", "/api/v1/session", &[], Value::Null).await;
    assert_eq!(
        (&session["login"], &session["role"], &session["org"]),
        (&json!("boss"), &json!("org-admin"), &json!("acme"))
    );
    let token = session["csrf_token"].as_str().unwrap();
    let (change, path) = (json!({"opens": "off"}), "/api/v1/orgs/acme");
    let rows: &[(&[(&str, &str)], u16)] = &[
        // no token, another's token, the token from another site
        (&[], 403),
        (&[("x-csrf-token", "wrong")], 403),
        (&[("x-csrf-token", token), ("sec-fetch-site", "cross-site")], 403),
        (&[("x-csrf-token", token)], 200),
        (&[("x-csrf-token", token), ("sec-fetch-site", "same-origin")], 200),
    ];
    for (headers, status) in rows {
        let (answer, _) = send(&boss, "PATCH", path, headers, change.clone()).await;
        assert_eq!(answer.status.as_u16(), *status, "{headers:?}: {}", answer.text);
    }
    // the roles are the pages' own: another organisation's does not exist, the server's is not theirs
    let own: &[(&str, &str)] = &[("x-csrf-token", token)];
    assert_eq!(send(&boss, "PATCH", "/api/v1/orgs/other", own, change).await.0.status, StatusCode::NOT_FOUND);
    assert_eq!(send(&boss, "GET", "/api/v1/keys", &[], Value::Null).await.0.status, StatusCode::FORBIDDEN);
}

/// Whether a path is one of this template's.
pub(super) fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len() && template.iter().zip(&path).all(|(t, p)| t == p || t.starts_with('{'))
}

/// What is changed whole or in part has a tag, and the document says so.
#[test]
fn every_change_of_what_is_there_takes_a_tag() {
    let document = document();
    // A password is never read, and what was said of an event is told by the mail.
    let without = [
        "/api/v1/users/{login}/password",
        "/api/v1/orgs/{name}/upstream-password",
        "/api/v1/messages/{id}/events/{sequence}",
    ];
    for (path, item) in document["paths"].as_object().unwrap() {
        for verb in ["put", "patch"].iter().filter(|verb| item.get(**verb).is_some()) {
            let text = item[*verb]["parameters"].to_string();
            assert_eq!(text.contains("If-Match"), !without.contains(&path.as_str()), "{verb} {path}");
            if text.contains("If-Match") {
                assert!(item["get"]["responses"]["200"]["headers"]["ETag"].is_object(), "GET {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_change_decided_on_an_old_state_is_not_made() {
    let world = world().await;
    let boss = world.logged_in("boss");
    let csrf = boss.csrf.as_str();
    let root = world.logged_in("root");
    for (path, first, second) in [
        ("/api/v1/orgs/acme/access", json!({"admins_see_messages": true}), json!({"admins_see_messages": false})),
        ("/api/v1/users/ann", json!({"role": "org-admin"}), json!({"role": "sender"})),
        ("/api/v1/users/ann/tracking", json!({"opens": "off"}), json!({"opens": "follow"})),
        ("/api/v1/users/ann/tracking", json!({"excluded_recipients": ["a.example"]}), json!({"place": "country"})),
        ("/api/v1/users/ann/notices", json!({"mail": true, "level": "every"}), json!({"mail": true, "level": "none"})),
        ("/api/v1/orgs/acme/notices", json!({"mail": true, "level": "first"}), json!({"mail": false, "level": "none"})),
        ("/api/v1/webhooks/00000000000000ac", json!({"paused": true}), json!({"paused": false})),
        (
            "/api/v1/messages/00000000000000a1/links/0",
            json!({"withdrawn": true}),
            json!({"destination": "https://new.example/"}),
        ),
    ] {
        let verb = if document()["paths"]
            .as_object()
            .unwrap()
            .iter()
            .any(|(known, item)| fits(known, path) && item.get("patch").is_some())
        {
            "PATCH"
        } else {
            "PUT"
        };
        let own = ("x-csrf-token", root.csrf.as_str());
        let read = send(&root, "GET", path, &[], Value::Null).await.0;
        let seen = read.header("etag").to_owned();
        assert!(seen.len() > 20, "{path}: {}", read.text);
        let again = send(&root, "GET", path, &[("if-none-match", &seen)], Value::Null).await.0;
        assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
        let changed = send(&root, verb, path, &[own, ("if-match", &seen)], first.clone()).await.0;
        assert!(changed.status.is_success(), "{verb} {path}: {}", changed.text);
        let refused = send(&root, verb, path, &[own, ("if-match", &seen)], second.clone()).await.0;
        assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED, "{verb} {path}: {}", refused.text);
        let now = send(&root, "GET", path, &[("if-none-match", &seen)], Value::Null).await.0;
        assert_eq!(now.status, StatusCode::OK, "{path}");
        let tag = now.header("etag").to_owned();
        let then = send(&root, verb, path, &[own, ("if-match", &tag)], second.clone()).await.0;
        assert!(then.status.is_success(), "{verb} {path}: {}", then.text);
    }
    for (path, first, second) in [
        ("/api/v1/orgs/acme", json!({"opens": "off"}), json!({"opens": "aggregate"})),
        ("/api/v1/orgs/acme/privacy", json!({"shown_name": "Acme"}), json!({"shown_name": "Acme Ltd"})),
    ] {
        let read = send(&boss, "GET", path, &[], Value::Null).await.0;
        let seen = read.header("etag").to_owned();
        assert!(seen.starts_with('"') && seen.len() > 20, "{path}: {seen}");
        let (changed, _) = send(&boss, "PATCH", path, &[("x-csrf-token", csrf), ("if-match", &seen)], first).await;
        assert_eq!(changed.status, StatusCode::OK, "{path}: {}", changed.text);
        assert_ne!(changed.header("etag"), seen);
        // a second admin who read before that
        let old = [("x-csrf-token", csrf), ("if-match", seen.as_str())];
        let (refused, problem) = send(&boss, "PATCH", path, &old, second.clone()).await;
        assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED, "{path}");
        assert_eq!(problem["type"], "urn:waxseal:problem:changed");
        assert_eq!(send(&boss, "GET", path, &[], Value::Null).await.0.header("etag"), changed.header("etag"));
        // and who reads again may
        let now = [("x-csrf-token", csrf), ("if-match", changed.header("etag"))];
        assert_eq!(send(&boss, "PATCH", path, &now, second).await.0.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn the_reference_page_names_every_address_and_shape() {
    let world = world().await;
    let page = world.logged_in("ann").get("/api").await;
    assert_eq!(page.status, StatusCode::OK);
    for (path, verb) in documented() {
        assert!(page.text.contains(&format!("<code>{} {path}</code>", verb.to_uppercase())), "{verb} {path}");
    }
    for name in document()["components"]["schemas"].as_object().unwrap().keys() {
        assert!(page.text.contains(&format!("<h3 id=\"{name}\">")), "{name}");
    }
    // what is code looks like it
    assert!(page.text.contains("<code>X-CSRF-Token</code>") && !page.text.contains('`'));
    // nothing from elsewhere, nothing that runs
    assert!(!page.text.contains("<script") && !page.text.contains("src=\"http"));
}

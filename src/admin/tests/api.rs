//! The API as the operator meets it: every address, its errors, and once over a real socket.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::fixture::{World, world};
use crate::admin::actions::messages::EventQuery;
use crate::admin::{Options, Viewer, api, socket};
use crate::store::TimelineFilter;

pub(super) async fn call(world: &World, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let router = api::router(world.actions.clone(), Viewer::Operator);
    let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    request = request.header(header::CONTENT_TYPE, "application/json");
    let response = router.oneshot(request.body(body).unwrap()).await.unwrap();
    let (status, kind) = (response.status(), response.headers().get(header::CONTENT_TYPE).cloned());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(kind.unwrap(), "application/problem+json", "{method} {path}");
    }
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test]
async fn reading() {
    let world = world().await;
    let (_, page) = call(&world, "GET", "/api/v1/messages?limit=3", Value::Null).await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 3);
    assert_eq!(page["messages"][0]["subject"], "Report of the night");
    let next = page["next"].as_str().unwrap();
    let (_, rest) = call(&world, "GET", &format!("/api/v1/messages?limit=3&before={next}"), Value::Null).await;
    assert_eq!(rest["messages"][0]["subject"], "Your offer of today");
    assert_eq!(rest["next"], Value::Null);

    let (_, message) = call(&world, "GET", "/api/v1/messages/00000000000000a1", Value::Null).await;
    assert_eq!(message["recipients"][1]["delivery"], "refused");
    assert_eq!(message["events"].as_array().unwrap().len(), 3);
    assert_eq!(message["events"][1]["destination"], "https://shop.example/offer?id=42");
    assert_eq!(message["events"][0]["recipient"], "bob@reader.example");
    assert_eq!(message["events"][0]["recipient_name"], "Bob Reader");
    assert_eq!(
        (&message["recipients"][0]["name"], &message["recipients"][1]["name"]),
        (&"Bob Reader".into(), &Value::Null)
    );
    assert_eq!(message["accepted_at"], "2026-11-23T20:00:00.000Z");

    let (_, events) = call(&world, "GET", "/api/v1/events?limit=1", Value::Null).await;
    assert_eq!((&events["events"][0]["sequence"], &events["after"]), (&json!(4), &json!(4)), "the newest");
    let (_, events) = call(&world, "GET", "/api/v1/events?after=1&limit=2", Value::Null).await;
    assert_eq!((&events["events"][0]["sequence"], &events["after"]), (&json!(2), &json!(3)), "those after");

    let (_, org) = call(&world, "GET", "/api/v1/orgs/managed", Value::Null).await;
    assert_eq!(org["managed"], json!(["domains", "opens"]));
    assert_eq!(org["in_force"], json!({"opens": "individual", "links": "aggregate", "text_links": false}));
    let (_, users) = call(&world, "GET", "/api/v1/users", Value::Null).await;
    assert_eq!(users.as_array().unwrap().len(), 6);
    assert!(!users.to_string().contains("argon2"), "no hash leaves the house");
    let (_, inbox) = call(&world, "GET", "/api/v1/inbox", Value::Null).await;
    assert_eq!(inbox[0]["subject"], "Your offer of today");
    let (_, keys) = call(&world, "GET", "/api/v1/keys", Value::Null).await;
    assert_eq!((&keys[0]["current"], &keys[1]["current"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn changing() {
    let world = world().await;
    let new = json!({"login": "new@acme.example", "org": "acme", "role": "sender", "password": "long enough for us"});
    assert_eq!(call(&world, "POST", "/api/v1/users", new.clone()).await.0, StatusCode::CREATED);
    assert_eq!(call(&world, "POST", "/api/v1/users", new).await.0, StatusCode::CONFLICT);
    let path = "/api/v1/users/new%40acme.example";
    assert_eq!(call(&world, "GET", path, Value::Null).await.1["role"], "sender");
    let put = json!({"password": "another password"});
    assert_eq!(call(&world, "PUT", &format!("{path}/password"), put).await.0, StatusCode::NO_CONTENT);
    assert_eq!(call(&world, "DELETE", path, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(call(&world, "DELETE", path, Value::Null).await.0, StatusCode::NOT_FOUND);

    let (status, org) =
        call(&world, "PATCH", "/api/v1/orgs/acme", json!({"opens": "aggregate", "excluded_hosts": ["A.example"]}))
            .await;
    assert_eq!(
        (status, &org["in_force"]["opens"], &org["excluded_hosts"]),
        (StatusCode::OK, &json!("aggregate"), &json!(["a.example"]))
    );
    let (_, org) = call(&world, "PATCH", "/api/v1/orgs/acme", json!({"opens": "follow"})).await;
    assert_eq!((&org["choice"]["opens"], &org["in_force"]["opens"]), (&Value::Null, &json!("individual")));

    let link = "/api/v1/messages/00000000000000a1/links/1";
    let (_, changed) = call(&world, "PUT", link, json!({"destination": "https://new.example/"})).await;
    assert_eq!(changed["changed_to"], "https://new.example/");
    assert_eq!(call(&world, "PUT", link, json!({"withdrawn": true})).await.1["withdrawn"], true);
    assert_eq!(call(&world, "DELETE", link, Value::Null).await.1["changed_to"], Value::Null);
    assert_eq!(call(&world, "POST", "/api/v1/keys/rotate", Value::Null).await.1["id"], 2);
    assert_eq!(
        call(&world, "POST", "/api/v1/test-mail", json!({"to": "a@b.example"})).await.1["reply"],
        "250 2.0.0 accepted"
    );
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let world = world().await;
    let rows: &[(&str, &str, Value, u16, &str)] = &[
        // not there
        ("GET", "/api/v1/messages/0000000000000bad", Value::Null, 404, "there is no message"),
        ("GET", "/api/v1/orgs/none", Value::Null, 404, "there is no organisation"),
        ("GET", "/api/v2/", Value::Null, 404, "under /api/v1/"),
        ("DELETE", "/api/v1/orgs", Value::Null, 405, "does not take that method"),
        // above the ceiling, managed, taken
        ("PATCH", "/api/v1/orgs/acme", json!({"links": "individual"}), 422, "raise [tracking] links in config.toml"),
        ("PATCH", "/api/v1/orgs/managed", json!({"opens": "off"}), 409, "change it there and reload"),
        ("PATCH", "/api/v1/orgs/acme", json!({"domains": ["other.example"]}), 409, "another organisation"),
        (
            "PATCH",
            "/api/v1/orgs/acme",
            json!({"opens": "sometimes"}),
            422,
            "none of off, aggregate, individual, follow",
        ),
        ("PATCH", "/api/v1/orgs/acme", json!({"open": "off"}), 422, "no such name here"),
        ("DELETE", "/api/v1/users/root", Value::Null, 409, "last server admin"),
        // passwords and logins
        (
            "POST",
            "/api/v1/users",
            json!({"login": "n", "org": "acme", "role": "sender", "password": "short"}),
            422,
            "at least 10",
        ),
        (
            "POST",
            "/api/v1/users",
            json!({"login": " n", "org": "acme", "role": "sender", "password": "long enough"}),
            422,
            "outer blanks",
        ),
        ("POST", "/api/v1/users", json!({"login": "n", "role": "sender", "password": "long enough"}), 422, "name one"),
        (
            "POST",
            "/api/v1/users",
            json!({"login": "n", "org": "acme", "role": "king", "password": "long enough"}),
            422,
            "none of sender",
        ),
        // what cannot be read
        ("GET", "/api/v1/messages?before=yesterday", Value::Null, 422, "before"),
        ("GET", "/api/v1/messages?limit=many", Value::Null, 422, "limit"),
        ("PUT", "/api/v1/messages/00000000000000a1/links/0", json!({}), 422, "either a destination or withdrawn"),
        ("POST", "/api/v1/test-mail", json!({"to": "nobody@example.com"}), 502, "550 5.1.1"),
    ];
    for (method, path, body, status, words) in rows {
        let (got, problem) = call(&world, method, path, body.clone()).await;
        assert_eq!(got.as_u16(), *status, "{method} {path} {body}: {problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(words), "{method} {path} {body}: {detail}");
        assert_eq!(problem["status"], *status);
    }
}

#[tokio::test]
async fn waiting_for_an_event_ends_with_it_or_in_time() {
    let world = world().await;
    let query = EventQuery { after_sequence: Some(4), limit: 10, ..EventQuery::default() };
    let began = Instant::now();
    let none = world.actions.next_events(&Viewer::Operator, query.clone(), Duration::from_millis(50)).await.unwrap();
    assert!(none.is_empty() && began.elapsed() >= Duration::from_millis(50), "it waits");
    assert!(began.elapsed() < Duration::from_secs(20), "and no longer");
    // an event ends the wait
    let waiting = world.actions.next_events(&Viewer::Operator, query, Duration::from_secs(30));
    let first = TimelineFilter { limit: 1, ..TimelineFilter::default() };
    let event = world.actions.history.timeline(first).await.unwrap().remove(0).event;
    let later = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        world.actions.history.record(vec![event]).await.unwrap();
    };
    let began = Instant::now();
    let (found, ()) = tokio::join!(waiting, later);
    assert_eq!(found.unwrap()[0].sequence, 5);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn over_the_socket_until_it_is_told_to_stop() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(socket::SOCKET_NAME);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (actions, at) = (world.actions.clone(), path.clone());
    let serving = tokio::spawn(async move {
        let shutdown = async { drop(stopped.await) };
        socket::serve(&at, actions, &Options::default(), shutdown).await
    });
    let mut stream = loop {
        match tokio::net::UnixStream::connect(&path).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    stream.write_all(b"GET /api/v1/keys HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 200"), "{answer:?}");
    // an idle connection does not hold the shutdown up
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(3), serving).await.expect("it stops").unwrap().unwrap();
    assert!(!path.exists());
}

/// What is no value is refused by its name, in words of ours, and nothing is changed.
#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let world = world().await;
    for (method, path, body, field) in [
        ("GET", "/api/v1/figures?days=abc", Value::Null, "days"),
        ("GET", "/api/v1/audit?before=abc", Value::Null, "before"),
        ("GET", "/api/v1/why?from=ann", Value::Null, "to"),
        ("GET", "/api/v1/why?from=ann&to=bob&form=x", Value::Null, "form"),
        ("GET", "/api/v1/messages/zz", Value::Null, "id"),
        ("PATCH", "/api/v1/orgs/acme", json!({"events_days": "x"}), "events_days"),
        ("PATCH", "/api/v1/orgs/acme", json!({"shado": true}), "shado"),
        ("PATCH", "/api/v1/orgs/acme", json!({"shadow": null}), "shadow"),
        ("PATCH", "/api/v1/orgs/acme", json!({"domains": null}), "domains"),
        ("PATCH", "/api/v1/users/ann", json!({"role": null}), "role"),
        ("PATCH", "/api/v1/users/ann/tracking", json!({"leave_links": null}), "leave_links"),
        ("PATCH", "/api/v1/orgs/acme/access", json!({"second_factor": null}), "second_factor"),
    ] {
        let (status, problem) = call(&world, method, path, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {problem}");
        assert_eq!(
            (&problem["type"], &problem["field"]),
            (&json!("urn:waxseal:problem:invalid"), &json!(field)),
            "{path}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(field) && !detail.contains("deserialize"), "{path}: {detail}");
    }
}

/// Null goes back to what a GET shows as null.
#[tokio::test]
async fn null_goes_back() {
    let world = world().await;
    let set =
        json!({"opens": "aggregate", "links": "off", "text_links": "off", "events_days": 30, "messages_days": 60});
    call(&world, "PATCH", "/api/v1/orgs/acme", set).await;
    let null = json!({"opens": null, "text_links": null, "events_days": null, "messages_days": null});
    let (status, org) = call(&world, "PATCH", "/api/v1/orgs/acme", null).await;
    assert_eq!((status, &org["choice"]), (StatusCode::OK, &json!({"opens": null, "links": "off", "text_links": null})));
    assert_eq!((&org["events_days"], &org["messages_days"]), (&Value::Null, &Value::Null));
    let set = json!({"consent": "required", "shown_name": "Acme Shop", "page_text": "Hello."});
    call(&world, "PATCH", "/api/v1/orgs/acme/privacy", set).await;
    let null = json!({"consent": null, "shown_name": null, "page_text": null});
    let (_, privacy) = call(&world, "PATCH", "/api/v1/orgs/acme/privacy", null).await;
    assert_eq!((&privacy["consent"], &privacy["shown_name"]), (&json!("none"), &Value::Null));
    assert_eq!(privacy["page_text"], Value::Null);
    let own = "/api/v1/users/ann/tracking";
    call(&world, "PATCH", own, json!({"opens": "off", "place": "country"})).await;
    let (_, own) = call(&world, "PATCH", own, json!({"opens": null, "place": null})).await;
    assert_eq!((&own["choice"]["opens"], &own["place"]["choice"]), (&Value::Null, &Value::Null));
    // the document says which take it
    let document = serde_json::to_value(api::openapi::document_of_all()).unwrap();
    let kind = |name: &str| document["components"]["schemas"]["OrgPatch"]["properties"][name]["type"].clone();
    assert_eq!((kind("opens"), kind("shadow")), (json!(["string", "null"]), json!("boolean")));
    assert_eq!(document["components"]["schemas"]["OrgPatch"]["required"], Value::Null);
}

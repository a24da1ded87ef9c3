//! Every verb of the API, asked by people of another organisation for things of `acme`: nothing is reached, nothing changes.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::accounts::call;
use super::fixture::{World, world};
use super::openapi::{documented, fits};
use crate::store::SettingsStore as _;

/// What an answer to somebody else's question may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// 403 or 404.
    No,
    /// The caller's own, and nothing of acme's.
    Own,
    /// That, or for admins alone.
    OwnOrNo,
    /// The same for everybody, and about nobody.
    Anybody,
}
use Then::{Anybody, No, Own, OwnOrNo};

const APP: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PASSWORD: &str = "long enough for us";

/// Method, address, body.
fn rows() -> Vec<(&'static str, String, Value, Then)> {
    let none = || Value::Null;
    let user = json!({"login": "new", "org": "acme", "role": "sender", "password": PASSWORD});
    let notices = json!({"mail": true, "level": "every"});
    let note = json!({"notes": [{"address": "bob@reader.example", "act": "refuse", "source": "call"}]});
    let hook = json!({"url": "https://hooks.example/in", "org": "acme"});
    let mail = "/api/v1/messages/00000000000000a1";
    let queued = "/api/v1/queue/00000000000000a1";
    let ann = "/api/v1/users/ann";
    let acmes = "/api/v1/webhooks/00000000000000ac";
    vec![
        ("get", "/api/openapi.json".into(), none(), Anybody),
        ("get", "/api/v1/session".into(), none(), Own),
        ("get", "/api/v1/setup".into(), none(), Anybody),
        ("get", "/api/v1/messages".into(), none(), Own),
        ("get", "/api/v1/messages?org=acme".into(), none(), No),
        ("get", mail.into(), none(), No),
        ("put", format!("{mail}/events/1"), json!({"own": true}), No),
        ("get", "/api/v1/readers".into(), none(), Own),
        ("get", "/api/v1/readers/cy@reader.example".into(), none(), No),
        ("get", format!("{mail}/links"), none(), No),
        ("get", format!("{mail}/links/0"), none(), No),
        ("put", format!("{mail}/links/0"), json!({"withdrawn": true}), No),
        ("delete", format!("{mail}/links/0"), none(), No),
        ("get", "/api/v1/events".into(), none(), Own),
        ("get", "/api/v1/events?message=00000000000000a1".into(), none(), Own),
        ("get", "/api/v1/events?org=acme".into(), none(), No),
        ("get", "/api/v1/activity".into(), none(), Own),
        ("get", "/api/v1/figures?org=acme".into(), none(), No),
        ("get", "/api/v1/figures/senders?org=acme".into(), none(), No),
        ("get", "/api/v1/figures/links?org=acme".into(), none(), No),
        ("get", "/api/v1/figures/places?org=acme".into(), none(), No),
        ("get", "/api/v1/health".into(), none(), OwnOrNo),
        ("get", "/api/v1/users".into(), none(), Own),
        ("post", "/api/v1/users".into(), user.clone(), No),
        ("get", ann.into(), none(), No),
        ("patch", ann.into(), json!({"role": "org-admin"}), No),
        ("delete", ann.into(), none(), No),
        ("put", format!("{ann}/password"), json!({"password": PASSWORD}), No),
        ("get", format!("{ann}/notices"), none(), No),
        ("put", format!("{ann}/notices"), notices.clone(), No),
        ("get", format!("{ann}/tracking"), none(), No),
        ("patch", format!("{ann}/tracking"), json!({"opens": "off"}), No),
        ("get", format!("{ann}/app-passwords"), none(), No),
        ("post", format!("{ann}/app-passwords"), json!({"name": "x"}), No),
        ("delete", format!("{ann}/app-passwords/{APP}"), none(), No),
        ("get", format!("{ann}/api-keys"), none(), No),
        ("post", format!("{ann}/api-keys"), json!({"name": "x", "scopes": ["read"]}), No),
        ("delete", format!("{ann}/api-keys/{APP}"), none(), No),
        ("get", "/api/v1/orgs/acme/access".into(), none(), No),
        ("patch", "/api/v1/orgs/acme/access".into(), json!({"second_factor": "required"}), No),
        ("get", "/api/v1/orgs/acme/upstream-password".into(), none(), No),
        ("put", "/api/v1/orgs/acme/upstream-password".into(), json!({"password": PASSWORD}), No),
        ("delete", "/api/v1/orgs/acme/upstream-password".into(), none(), No),
        ("get", format!("{ann}/second-factor"), none(), No),
        ("delete", format!("{ann}/second-factor"), none(), No),
        ("get", "/api/v1/invitations".into(), none(), Own),
        ("post", "/api/v1/invitations".into(), json!({"login": "n", "org": "acme", "role": "sender"}), No),
        ("delete", "/api/v1/invitations/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb".into(), none(), No),
        ("post", format!("{ann}/password-link"), none(), No),
        ("get", format!("{ann}/sessions"), none(), No),
        ("delete", format!("{ann}/sessions"), none(), No),
        ("delete", format!("{ann}/sessions/{APP}"), none(), No),
        ("get", "/api/v1/orgs".into(), none(), Own),
        ("get", "/api/v1/orgs/acme".into(), none(), No),
        ("patch", "/api/v1/orgs/acme".into(), json!({"opens": "off"}), No),
        ("get", "/api/v1/why?from=ann&to=bob@reader.example".into(), none(), No),
        ("get", "/api/v1/orgs/acme/notices".into(), none(), No),
        ("put", "/api/v1/orgs/acme/notices".into(), notices, No),
        ("get", "/api/v1/audit?org=acme".into(), none(), No),
        ("get", "/api/v1/orgs/acme/privacy".into(), none(), No),
        ("patch", "/api/v1/orgs/acme/privacy".into(), json!({"shown_name": "x"}), No),
        ("get", "/api/v1/orgs/acme/people".into(), none(), No),
        ("get", "/api/v1/orgs/acme/people?address=bob@reader.example".into(), none(), No),
        ("post", "/api/v1/orgs/acme/people".into(), note, No),
        ("post", "/api/v1/privacy/export".into(), json!({"address": "bob@reader.example"}), No),
        ("post", "/api/v1/privacy/erase".into(), json!({"address": "bob@reader.example"}), No),
        ("get", "/api/v1/inbox".into(), none(), No),
        ("get", "/api/v1/inbox/20261123T200007Z-a1".into(), none(), No),
        ("get", "/api/v1/inbox/20261123T200007Z-a1/raw".into(), none(), No),
        ("post", "/api/v1/test-mail".into(), json!({"to": "reader@example.com", "org": "acme"}), No),
        ("get", "/api/v1/queue".into(), none(), Own),
        ("get", queued.into(), none(), No),
        ("delete", queued.into(), none(), No),
        ("post", format!("{queued}/retry"), none(), No),
        ("get", "/api/v1/webhooks".into(), none(), Own),
        ("post", "/api/v1/webhooks".into(), hook, No),
        ("get", acmes.into(), none(), No),
        ("patch", acmes.into(), json!({"paused": true}), No),
        ("delete", acmes.into(), none(), No),
        ("post", format!("{acmes}/test"), none(), No),
        ("get", format!("{acmes}/deliveries"), none(), No),
        ("post", format!("{acmes}/deliveries/1/replay"), none(), No),
        ("post", format!("{acmes}/replay"), none(), No),
        ("get", "/api/v1/keys".into(), none(), No),
        ("get", "/api/v1/keys/0".into(), none(), No),
        ("post", "/api/v1/keys/rotate".into(), none(), No),
        ("post", "/api/v1/keys/0/revoke".into(), none(), No),
    ]
}

/// What must be as before.
fn state(world: &World) -> String {
    let (snapshot, hurried) = (world.settings.snapshot(), world.queue.hurried.lock().unwrap().clone());
    format!("{snapshot:?} {:?} {hurried:?}", world.queue.ids())
}

#[test]
fn every_verb_has_its_row() {
    // A stream without an end; who gets it is in the pages' table.
    let all: Vec<_> = documented().into_iter().filter(|(path, _)| path != "/api/v1/feed").collect();
    let rows = rows();
    for (path, verb) in all {
        let asked = |row: &&(&str, String, Value, Then)| {
            let plain = row.1.split('?').next().unwrap();
            row.0 == verb && (plain == path || (path.contains('{') && fits(&path, plain)))
        };
        assert!(rows.iter().any(|row| asked(&row)), "{verb} {path} has no row");
    }
}

#[tokio::test]
async fn nothing_of_another_organisation_is_reached_or_changed() {
    let world = world().await;
    let before = state(&world);
    for who in ["chief", "eve"] {
        let browser = world.logged_in(who);
        for (verb, path, body, then) in rows() {
            let (answer, _) = call(&browser, &verb.to_uppercase(), &path, body).await;
            let told = format!("{who} {verb} {path}: {} {}", answer.status, answer.text);
            match then {
                No => assert!([StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&answer.status), "{told}"),
                OwnOrNo => assert!([StatusCode::FORBIDDEN, StatusCode::OK].contains(&answer.status), "{told}"),
                Own | Anybody => assert_eq!(answer.status, StatusCode::OK, "{told}"),
            }
            let foreign = ["acme", "ann", "boss", "Your offer", "Report of", "cy@reader", "shop.example", "invited"];
            if then != Anybody {
                // What was asked for may be named in the refusal, and nothing else.
                let spoken = |word: &&str| answer.text.contains(*word) && !(then == No && path.contains(*word));
                let named = ["acme", "ann"].iter().filter(|_| then == No).copied().collect::<Vec<_>>();
                let told_of = foreign.iter().filter(|word| !named.contains(word)).find(|word| spoken(word));
                assert!(told_of.is_none(), "tells of {told_of:?}: {told}");
            }
            assert_eq!(state(&world), before, "{told}");
        }
    }
}

/// Inside an organisation: a sender reaches nothing of its admin's, and rules nothing.
#[tokio::test]
async fn a_sender_rules_nothing() {
    let world = world().await;
    let (ann, before) = (world.logged_in("ann"), state(&world));
    let rows: &[(&str, &str, Value)] = &[
        ("PATCH", "/api/v1/orgs/acme", json!({"opens": "off"})),
        ("PATCH", "/api/v1/orgs/acme/access", json!({"second_factor": "required"})),
        ("PATCH", "/api/v1/orgs/acme/privacy", json!({"shown_name": "x"})),
        ("PUT", "/api/v1/orgs/acme/notices", json!({"mail": true, "level": "every"})),
        ("POST", "/api/v1/orgs/acme/people", json!({"notes": []})),
        ("GET", "/api/v1/users/boss", Value::Null),
        ("PATCH", "/api/v1/users/boss", json!({"role": "sender"})),
        ("PATCH", "/api/v1/users/ann", json!({"role": "org-admin"})),
        ("DELETE", "/api/v1/users/ann", Value::Null),
        ("PUT", "/api/v1/users/boss/password", json!({"password": PASSWORD})),
        ("DELETE", "/api/v1/users/boss/sessions", Value::Null),
        ("POST", "/api/v1/users", json!({"login": "n", "org": "acme", "role": "sender", "password": PASSWORD})),
        ("POST", "/api/v1/invitations", json!({"login": "n", "org": "acme", "role": "sender"})),
        ("DELETE", "/api/v1/invitations/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", Value::Null),
        ("GET", "/api/v1/messages/00000000000000b0", Value::Null),
        ("PUT", "/api/v1/messages/00000000000000b0/links/0", json!({"withdrawn": true})),
        ("DELETE", "/api/v1/queue/00000000000000b0", Value::Null),
        ("PATCH", "/api/v1/webhooks/00000000000000ac", json!({"paused": true})),
        ("GET", "/api/v1/audit", Value::Null),
        ("GET", "/api/v1/keys", Value::Null),
        ("POST", "/api/v1/keys/0/revoke", Value::Null),
        ("POST", "/api/v1/privacy/erase", json!({"address": "bob@reader.example"})),
    ];
    for (verb, path, body) in rows {
        let (answer, _) = call(&ann, verb, path, body.clone()).await;
        let refused = [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&answer.status);
        assert!(refused, "{verb} {path}: {} {}", answer.status, answer.text);
        assert_eq!(state(&world), before, "{verb} {path}");
    }
}

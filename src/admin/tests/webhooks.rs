//! Webhooks and notices from the page and the API: what is kept, what is shown once, what waits.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::api::call;
use super::fixture::{HOSTILE, world};
use super::telling::{ACMES, ANNS};
use crate::settings::notices::{Level, NoticeCeiling, NoticeChoice, Topic};
use crate::store::SettingsStore as _;

#[tokio::test]
async fn a_secret_is_shown_once_and_kept_sealed() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let fields = [("url", "https://hooks.example/in?a=1"), ("opened", "on"), ("clicked", "on"), ("whose", "own")];
    let answer = ann.post("/webhooks", &fields).await;
    let secret = answer.text.split("whsec_").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let snapshot = world.settings.snapshot();
    let made = snapshot.webhooks.values().find(|webhook| webhook.url.contains("a=1")).unwrap();
    let found = (made.login.as_deref(), made.words, made.level, made.topics.as_slice());
    assert_eq!(found, (Some("ann"), true, Level::First, &[Topic::Opened, Topic::Clicked][..]));
    assert!(!made.sealed_secret.is_empty() && !String::from_utf8_lossy(&made.sealed_secret).contains(&secret));
    for path in ["/notices".to_owned(), format!("/webhooks/{}", made.id)] {
        let page = ann.get(&path).await.text;
        assert!(page.contains("a=1") && !page.contains(&secret), "{path}");
    }
}

#[tokio::test]
async fn the_bound_of_an_organisation_and_what_a_form_says_again() {
    let world = world().await;
    let boss = world.logged_in("boss");
    let add = [("url", "https://hooks.example/more"), ("opened", "on"), ("whose", "own")];
    assert_eq!(boss.post("/webhooks", &add).await.status, StatusCode::OK);
    let refused = boss.post("/webhooks", &add).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains("has 3 webhooks already") && refused.text.contains("https://hooks.example/more"));
    let hostile = boss.post("/webhooks", &[("url", HOSTILE), ("opened", "on"), ("whose", "own")]).await;
    assert_eq!(hostile.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!hostile.text.contains("<script>alert") && hostile.text.contains("absolute address"), "{}", hostile.text);
}

#[tokio::test]
async fn a_test_waits_is_shown_and_can_be_tried_again() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let path = format!("/webhooks/{ANNS}");
    assert_eq!(ann.post(&path, &[("do", "test")]).await.status, StatusCode::SEE_OTHER);
    let page = ann.get(&path).await.text;
    assert!(page.contains("waxseal.test") && page.contains("waiting") && page.contains("msg_"), "{page}");
    let waiting = world.telling.notify.deliveries(ANNS, None, None, 9).await.unwrap();
    let again = format!("{path}/deliveries/{}", waiting[0].id);
    assert_eq!(ann.post(&again, &[]).await.status, StatusCode::SEE_OTHER);
    // Nobody else's, and not by another's door.
    assert_eq!(world.logged_in("boss").post(&again, &[]).await.status, StatusCode::NOT_FOUND);
    let elsewhere = format!("/webhooks/{ACMES}/deliveries/{}", waiting[0].id);
    assert_eq!(world.logged_in("boss").post(&elsewhere, &[]).await.status, StatusCode::NOT_FOUND);
    // Paused: no test. Removed: gone with what waited.
    ann.post(&path, &[("do", "pause")]).await;
    assert_eq!(ann.post(&path, &[("do", "test")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(ann.post(&path, &[("do", "remove")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.telling.notify.deliveries(ANNS, None, None, 9).await.unwrap(), []);
    assert!(!world.settings.snapshot().webhooks.contains_key(&ANNS));
}

#[tokio::test]
async fn a_person_chooses_and_the_organisation_narrows() {
    let world = world().await;
    let (ann, boss) = (world.logged_in("ann"), world.logged_in("boss"));
    ann.post("/notices", &[("level", "every"), ("mail", "on")]).await;
    let snapshot = world.settings.snapshot();
    let acme = super::fixture::org_name("acme");
    assert_eq!(snapshot.notices_of(&acme, "ann"), NoticeChoice { level: Level::Every, mail: true });
    boss.post("/notices/org", &[("org", "acme"), ("level", "first")]).await;
    let snapshot = world.settings.snapshot();
    assert_eq!(snapshot.notice_ceilings.get(&acme), Some(&NoticeCeiling { level: Level::First, mail: false }));
    assert_eq!(snapshot.notices_of(&acme, "ann"), NoticeChoice { level: Level::First, mail: false });
    assert!(ann.get("/notices").await.text.contains("allows no notices by mail"));
    let put = json!({"mail": true, "level": "none"});
    assert_eq!(call(&world, "PUT", "/api/v1/users/ann/notices", put.clone()).await.0, StatusCode::NO_CONTENT);
    assert_eq!(world.settings.snapshot().notices["ann"], NoticeChoice { level: Level::None, mail: true });
    assert_eq!(call(&world, "PUT", "/api/v1/users/nobody/notices", put).await.0, StatusCode::NOT_FOUND);
    // A removed login takes its wishes and its webhooks along.
    boss.post("/users/remove", &[("login", "ann")]).await;
    let snapshot = world.settings.snapshot();
    assert!(!snapshot.notices.contains_key("ann") && !snapshot.webhooks.contains_key(&ANNS));
    assert!(snapshot.webhooks.contains_key(&ACMES));
}

#[tokio::test]
async fn the_api_makes_changes_and_replays() {
    let world = world().await;
    let post = json!({"org": "other", "url": "https://hooks.example/api", "words": true, "level": "every"});
    let (status, made) = call(&world, "POST", "/api/v1/webhooks", post).await;
    assert_eq!((status, &made["words"], &made["level"]), (StatusCode::CREATED, &json!(true), &json!("every")));
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let path = format!("/api/v1/webhooks/{}", made["id"].as_str().unwrap());
    let (_, shown) = call(&world, "GET", &path, Value::Null).await;
    assert_eq!(
        (&shown["secret"], &shown["topics"]),
        (&Value::Null, &json!(["message.opened", "message.clicked", "message.bounced"]))
    );
    let patch = json!({"url": "https://hooks.example/v2", "topics": ["message.bounced"], "paused": true});
    let (_, changed) = call(&world, "PATCH", &path, patch).await;
    assert_eq!(
        (&changed["url"], &changed["topics"], &changed["paused"]),
        (&json!("https://hooks.example/v2"), &json!(["message.bounced"]), &json!(true))
    );
    call(&world, "PATCH", &path, json!({"paused": false})).await;
    assert_eq!(call(&world, "POST", &format!("{path}/test"), Value::Null).await.0, StatusCode::ACCEPTED);
    let (_, deliveries) = call(&world, "GET", &format!("{path}/deliveries?state=waiting"), Value::Null).await;
    assert_eq!(
        (&deliveries[0]["topic"], &deliveries[0]["body"]["data"]["org"]),
        (&json!("waxseal.test"), &json!("other"))
    );
    let replay = format!("{path}/deliveries/{}/replay", deliveries[0]["id"]);
    assert_eq!(call(&world, "POST", &replay, Value::Null).await.1["replayed"], 1);
    assert_eq!(call(&world, "POST", &format!("{path}/replay"), Value::Null).await.1["replayed"], 0);
    assert_eq!(call(&world, "GET", "/api/v1/webhooks", Value::Null).await.1.as_array().unwrap().len(), 4);
    assert_eq!(call(&world, "DELETE", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    // what is wrong is said
    for (method, path, body, code, words) in [
        ("GET", path.as_str(), Value::Null, 404, "there is no webhook"),
        ("POST", "/api/v1/webhooks", json!({"org": "acme", "url": "hooks"}), 422, "absolute address"),
        ("POST", "/api/v1/webhooks", json!({"url": "https://hooks.example/"}), 422, "name the organisation"),
        ("POST", "/api/v1/webhooks", json!({"org": "acme", "url": "http://10.0.0.1/"}), 422, "allow_private"),
        (
            "POST",
            "/api/v1/webhooks",
            json!({"org": "acme", "url": "https://h.example/", "topics": ["x"]}),
            422,
            "none of",
        ),
        (
            "POST",
            "/api/v1/webhooks",
            json!({"org": "acme", "url": "https://h.example/", "topics": []}),
            422,
            "at least one",
        ),
        (
            "POST",
            "/api/v1/webhooks",
            json!({"org": "acme", "login": "eve", "url": "https://h.example/"}),
            404,
            "no user",
        ),
    ] {
        let (status, problem) = call(&world, method, path, body).await;
        assert_eq!(status.as_u16(), code, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
}

/// Whoever looks at a webhook sees that it was not told everything.
#[tokio::test]
async fn what_found_no_room_is_shown() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let path = format!("/webhooks/{ANNS}");
    assert!(!ann.get(&path).await.text.contains("dropped"));
    world.telling.drop_events(ANNS, 3);
    assert!(ann.get(&path).await.text.contains("<strong>3 dropped.</strong>"));
    assert!(ann.get("/notices").await.text.contains("3 dropped"));
    let (_, shown) = call(&world, "GET", &format!("/api/v1/webhooks/{ANNS}"), Value::Null).await;
    assert!(shown["dropped"] == 3 && shown["last_dropped_at"].is_string(), "{shown}");
    let (_, listed) = call(&world, "GET", "/api/v1/webhooks", Value::Null).await;
    let dropped: Vec<&Value> = listed.as_array().unwrap().iter().map(|webhook| &webhook["dropped"]).collect();
    assert_eq!(dropped, [3, 0, 0], "{listed}");
}

/// Where clients log in upstream as themselves nothing of our own can leave: that is said, and nothing is switched on for nothing.
#[tokio::test]
async fn notices_that_cannot_leave_are_refused() {
    let world = world().await;
    let mia = world.logged_in("mia");
    let page = mia.get("/notices").await.text;
    assert!(page.contains("no notices by mail can be sent here") && page.contains("value=\"on\" disabled"), "{page}");
    let refused = mia.post("/notices", &[("level", "first"), ("mail", "on")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains("no notices by mail can be sent here"), "{}", refused.text);
    let path = "/api/v1/users/mia/notices";
    let (status, problem) = call(&world, "PUT", path, json!({"mail": true, "level": "first"})).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("mail")));
    assert!(!world.settings.snapshot().notices.contains_key("mia"));
    // What was asked for before the upstream server was changed: it is not in force, and can be changed.
    let before = NoticeChoice { level: Level::First, mail: true };
    world.settings.change(vec![crate::store::Change::PutNotices("mia".to_owned(), before)]).await.unwrap();
    let (_, shown) = call(&world, "GET", path, Value::Null).await;
    assert_eq!((&shown["asked"]["mail"], &shown["in_force"]["mail"]), (&json!(true), &json!(false)));
    assert_eq!(mia.post("/notices", &[("level", "every")]).await.status, StatusCode::SEE_OTHER);
    assert!(!world.settings.snapshot().notices["mia"].mail);
}

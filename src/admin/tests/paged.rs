//! Lists page by page: what one page says is next is where the next begins, and nothing is twice or left out.

use axum::http::{Request, StatusCode, header};
use serde_json::Value;

use super::fixture::{Answer, Browser, world};
use crate::settings::privacy::Standing;
use crate::store::{Change, SettingsStore as _};
use crate::token::PersonId;

/// The address of the next page: of a `Link` header, or of a page's link.
fn next(path: &str, answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    if let Some(query) = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")) {
        return Some(format!("{}{query}", path.split('?').next().unwrap()));
    }
    let before = answer.text.split("\" rel=\"next\"").next().filter(|before| before.len() < answer.text.len())?;
    Some(before.rsplit("href=\"").next().unwrap().replace("&amp;", "&"))
}

/// Every answer from the first page to the last.
async fn pages(browser: &Browser, first: &str) -> Vec<String> {
    let (mut texts, mut path) = (Vec::new(), Some(first.to_owned()));
    while let Some(asked) = path {
        let answer = browser.get(&asked).await;
        assert_eq!(answer.status, StatusCode::OK, "{asked}: {}", answer.text);
        path = next(&asked, &answer);
        texts.push(answer.text);
        assert!(texts.len() < 20, "it ends: {first}");
    }
    texts
}

/// The values of a key in an array of objects, page after page.
fn values(pages: &[String], key: &str) -> Vec<String> {
    let rows = pages.iter().flat_map(|page| serde_json::from_str::<Vec<Value>>(page).unwrap());
    rows.map(|row| row[key].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn arrays_name_their_next_page_in_a_header() {
    let world = world().await;
    let root = world.logged_in("root");
    let users = pages(&root, "/api/v1/users?limit=4").await;
    assert_eq!(
        (users.len(), values(&users, "login")),
        (2, ["ann", "boss", "chief", "eve", "mia", "root"].map(String::from).into())
    );
    let inbox = pages(&root, "/api/v1/inbox?limit=1").await;
    assert_eq!((inbox.len(), values(&inbox, "id").len()), (2, 2));
    // those who said something at the same moment, too
    let said = |n: u8| Standing { stopped: true, changed_at_ms: i64::from(n / 2), acts: 1, ..Standing::default() };
    let acme = "acme".parse().unwrap();
    let changes = (0..5).map(|n| Change::PutStanding(Clone::clone(&acme), PersonId([n; 16]), said(n))).collect();
    world.settings.change(changes).await.unwrap();
    let people = pages(&root, "/api/v1/orgs/acme/people?limit=2").await;
    let of = |n: u8| PersonId([n; 16]).to_string();
    assert_eq!((people.len(), values(&people, "person")), (3, vec![of(4), of(2), of(3), of(0), of(1)]));
    // what no page said is a problem that names the field
    for bad in
        ["/api/v1/orgs/acme/people?after=x", "/api/v1/queue?after=x", "/api/v1/readers/bob@reader.example?before=x"]
    {
        let answer = root.get(bad).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_queue_goes_on_after_its_last_row() {
    let world = world().await;
    let root = world.logged_in("root");
    let (mut ids, mut path) = (Vec::new(), "/api/v1/queue?limit=2".to_owned());
    loop {
        let page: Value = serde_json::from_str(&root.get(&path).await.text).unwrap();
        let mails = page["mails"].as_array().unwrap();
        ids.extend(mails.iter().map(|mail| mail["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/queue?limit=2&after={next}");
    }
    let whole: Value = serde_json::from_str(&root.get("/api/v1/queue").await.text).unwrap();
    let all: Vec<&str> = whole["mails"].as_array().unwrap().iter().map(|mail| mail["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), whole["next"].is_null()), (5, true));
    assert_eq!(ids, all);
}

#[tokio::test]
async fn users_of_a_page_are_fifty() {
    let world = world().await;
    let root = world.settings.snapshot().users.get("ann").cloned().unwrap();
    let more = (0..60).map(|n| {
        Change::PutUser(crate::settings::User { login: format!("person{n:02}@acme.example"), ..root.clone() })
    });
    world.settings.change(more.collect()).await.unwrap();
    let pages = pages(&world.logged_in("root"), "/users").await;
    let shown: Vec<usize> = pages.iter().map(|page| page.matches("href=\"/users/edit?login=").count()).collect();
    assert_eq!(shown, [50, 16]);
}

#[tokio::test]
async fn events_and_activity_go_back() {
    let world = world().await;
    let root = world.logged_in("root");
    let events = async |query: &str| -> (Vec<i64>, Option<i64>) {
        let answer: Value = serde_json::from_str(&root.get(&format!("/api/v1/events?{query}")).await.text).unwrap();
        let events = answer["events"].as_array().unwrap();
        (events.iter().map(|event| event["sequence"].as_i64().unwrap()).collect(), answer["before"].as_i64())
    };
    assert_eq!(events("limit=2").await, (vec![3, 4], Some(3)));
    assert_eq!(events("limit=2&before=3").await, (vec![1, 2], Some(1)));
    assert_eq!(events("limit=2&before=1").await, (vec![], None));
    assert_eq!(events("limit=2&after=1").await, (vec![2, 3], None), "forwards there is `after`");
    let older = root.get("/activity?before=4").await.text;
    assert!(!older.contains("<script") && older.contains("href=\"/activity\">Newest"), "nothing comes into the past");
    assert!(!older.contains("data-sequence=\"4\"") && older.contains("data-sequence=\"1\""));
}

/// What a page shows is an answer of the API, too, and for the same people.
#[tokio::test]
async fn every_page_has_its_twin() {
    let world = world().await;
    let (root, ann, chief) = (world.logged_in("root"), world.logged_in("ann"), world.logged_in("chief"));
    let json = async |browser: &Browser, path: &str| -> Value {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        serde_json::from_str(&answer.text).unwrap()
    };
    let bob = json(&ann, "/api/v1/readers/BOB%40reader.example").await;
    assert_eq!(
        (&bob["address"], &bob["says"][0]["says"]),
        (&Value::from("bob@reader.example"), &Value::from("nothing"))
    );
    assert_eq!((bob["mails"].as_array().unwrap().len(), &bob["next"]), (1, &Value::Null));
    assert_eq!(json(&root, "/api/v1/readers/bob%40reader.example").await["mails"].as_array().unwrap().len(), 4);
    assert_eq!(chief.get("/api/v1/readers/cy%40reader.example").await.status, StatusCode::NOT_FOUND);
    // ranked over the days of the fixture, whenever that is
    for what in ["links", "places"] {
        assert!(json(&root, &format!("/api/v1/figures/{what}?days=31")).await[what].is_array());
        assert_eq!(chief.get(&format!("/api/v1/figures/{what}?org=acme")).await.status, StatusCode::NOT_FOUND);
    }
    // what people are told: the choice of each, and what the organisation allows
    let own = json(&ann, "/api/v1/users/ann/notices").await;
    assert_eq!((&own["asked"]["mail"], &own["in_force"]["level"]), (&Value::from(false), &Value::from("first")));
    assert_eq!(chief.get("/api/v1/users/ann/notices").await.status, StatusCode::NOT_FOUND);
    assert_eq!(ann.get("/api/v1/orgs/acme/notices").await.status, StatusCode::FORBIDDEN);
    let put = async |browser: &Browser, path: &str, body: &str| {
        let request = Request::put(path).header("x-csrf-token", &browser.csrf).header(header::COOKIE, &browser.cookie);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        browser.answer(request.body(axum::body::Body::from(body.to_owned())).unwrap()).await.status
    };
    let boss = world.logged_in("boss");
    let first_by_mail = r#"{"mail": true, "level": "every"}"#;
    assert_eq!(put(&ann, "/api/v1/users/ann/notices", first_by_mail).await, StatusCode::NO_CONTENT);
    assert_eq!(put(&ann, "/api/v1/users/boss/notices", first_by_mail).await, StatusCode::FORBIDDEN);
    assert_eq!(put(&chief, "/api/v1/orgs/acme/notices", first_by_mail).await, StatusCode::NOT_FOUND);
    assert_eq!(
        put(&boss, "/api/v1/orgs/acme/notices", r#"{"mail": false, "level": "first"}"#).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(json(&boss, "/api/v1/orgs/acme/notices").await["mail"], false);
    let narrowed = json(&ann, "/api/v1/users/ann/notices").await;
    assert_eq!((&narrowed["asked"]["mail"], &narrowed["in_force"]["mail"]), (&Value::from(true), &Value::from(false)));
}

//! The queue's pages and API: what each role reads of a mail that waits, and what the two actions do.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::fixture::{ANNS, EVES, NETWORKS, START_MS, World, world};
use super::queued::REPORT;
use crate::admin::{QueueHealth, Viewer, api};
use crate::store::record::{DROPPED, Delivery, DeliveryState};
use crate::token::MessageId;

/// (who, what their page says, what it must not say)
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

#[tokio::test]
async fn the_list_tells_no_more_than_its_reader_may_know() {
    let world = world().await;
    let rows: &[Row] = &[
        // the server's admin: everybody's mail and the state of the whole
        (
            "root",
            &["cy@reader.example", "Greylisted", "secret@reader.example", "12.4 GB free", "A report to a sender"],
            &["Mail of another sender"],
        ),
        // an organisation's admin: own mail whole, counts of the rest; no address, also not inside a server's words
        (
            "boss",
            &["Mail of another sender", "1 waiting", "1 perhaps delivered", "A report to a sender"],
            &["reader.example", "Greylisted", "eve", "spool/corrupt", "cannot be reached", "GB free"],
        ),
        // a sender: own mail
        ("ann", &["cy@reader.example", "Greylisted", "1 delivered"], &["secret@", "boss", "A report", "GB free"]),
        ("chief", &["Mail of another sender"], &["reader.example", "acme", "boss"]),
        ("eve", &["secret@reader.example"], &["Greylisted", "Mail of another sender", "A report"]),
        // who has nothing there is told so
        ("mia", &["Nothing waits"], &["<table", "reader.example"]),
    ];
    for (who, says, silent) in rows {
        check(&world, who, "/queue", says, silent).await;
    }
    // one mail by its address: the same rule
    check(
        &world,
        "boss",
        "/queue/00000000000000a1",
        &["a recipient", "perhaps delivered", "Try now"],
        &["reader.example", "Greylisted", "Drop"],
    )
    .await;
    check(&world, "ann", "/queue/00000000000000a1", &["cy@reader.example", "may bring it twice", "/drop"], &[]).await;
}

async fn check(world: &World, who: &str, path: &str, says: &[&str], silent: &[&str]) {
    let page = world.logged_in(who).get(path).await.text;
    for word in says {
        assert!(page.contains(word), "{path} as {who} misses {word:?}: {page}");
    }
    for word in silent {
        assert!(!page.contains(word), "{path} as {who} says {word:?}: {page}");
    }
}

#[tokio::test]
async fn trouble_is_said_to_who_can_mend_it_and_only_while_it_lasts() {
    let world = world().await;
    let alerts = ["are unreadable", "cannot be reached", "nearly full"];
    let well = QueueHealth { depth: 5, corrupt: 0, free_bytes: 1 << 40, short_of_room: false, upstream_down: false };
    let rows = [
        (well, [false, false, false]),
        (QueueHealth { corrupt: 3, ..well }, [true, false, false]),
        (QueueHealth { upstream_down: true, ..well }, [false, true, false]),
        (QueueHealth { short_of_room: true, ..well }, [false, false, true]),
    ];
    for (health, expected) in rows {
        *world.queue.health.lock().unwrap() = health;
        let page = world.logged_in("root").get("/queue").await.text;
        assert_eq!(alerts.map(|words| page.contains(words)), expected, "{health:?}");
        let page = world.logged_in("boss").get("/queue").await.text;
        assert_eq!(alerts.map(|words| page.contains(words)), [false; 3], "{health:?}");
    }
}

#[tokio::test]
async fn dropping_takes_two_steps_and_only_the_second_changes_anything() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let asked = ann.get("/queue/00000000000000a1/drop").await.text;
    // who would never get it is named; who has it, or is being sent it, is not
    assert!(asked.contains("cy@reader.example") && asked.contains("di@reader.example"), "{asked}");
    assert!(!asked.contains("bob@reader.example"), "{asked}");
    assert!(world.queue.ids().contains(&ANNS), "the question drops nothing");
    let without_token = ann.post_body("/queue/00000000000000a1/drop", "csrf=".to_owned()).await;
    assert_eq!(without_token.status, StatusCode::FORBIDDEN);
    assert!(world.queue.ids().contains(&ANNS));
    let done = ann.post("/queue/00000000000000a1/drop", &[]).await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, "/queue?done=dropped"));
    assert!(!world.queue.ids().contains(&ANNS));
    assert_eq!(ann.post("/queue/00000000000000a1/drop", &[]).await.status, StatusCode::NOT_FOUND);
    // an organisation's admin may hurry what they may not read, and not drop it
    let boss = world.logged_in("boss");
    assert_eq!(boss.post("/queue/00000000000000ff/retry", &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(*world.queue.hurried.lock().unwrap(), [NETWORKS]);
    assert_eq!(boss.post("/queue/000000000000004e/drop", &[]).await.status, StatusCode::FORBIDDEN);
    assert!(world.queue.ids().contains(&REPORT));
}

/// "Try all" hurries what its visitor may know of, and nothing else.
#[tokio::test]
async fn all_that_wait_are_tried_again() {
    let world = world().await;
    let boss = world.logged_in("boss");
    assert!(boss.get("/queue").await.text.contains("action=\"/queue/retry\""));
    let done = boss.post("/queue/retry", &[]).await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, "/queue?done=retry-all"));
    assert!(boss.get("/queue?done=retry-all").await.text.contains("They are being tried"));
    let hurried = world.queue.hurried.lock().unwrap().clone();
    assert!(hurried.contains(&ANNS) && hurried.contains(&NETWORKS) && !hurried.contains(&EVES), "{hurried:?}");
}

#[tokio::test]
async fn over_the_api() {
    let world = world().await;
    let (status, queue) = call(&world, "GET", "/api/v1/queue").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(queue["mails"].as_array().unwrap().len(), 5);
    let mail = &queue["mails"][0];
    assert_eq!((&mail["from"], &mail["attempts"]), (&"ann@acme.example".into(), &3.into()));
    assert_eq!(mail["recipients"][2]["stage"], "unknown");
    assert_eq!(mail["recipients"][3]["next_try"], Value::Null);
    assert_eq!((&queue["corrupt"], &queue["upstream_down"]), (&2.into(), &true.into()));
    assert_eq!(call(&world, "GET", "/api/v1/queue/00000000000000a1").await.1, *mail);
    assert_eq!(call(&world, "POST", "/api/v1/queue/00000000000000a1/retry").await.0, StatusCode::NO_CONTENT);
    assert_eq!(*world.queue.hurried.lock().unwrap(), [ANNS]);
    assert_eq!(call(&world, "DELETE", "/api/v1/queue/00000000000000a1").await.0, StatusCode::NO_CONTENT);
    let (status, problem) = call(&world, "DELETE", "/api/v1/queue/00000000000000a1").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(problem["detail"].as_str().unwrap().contains("delivered, given up or dropped"), "{problem}");
    assert_eq!(call(&world, "GET", "/api/v1/queue/nonsense").await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

async fn call(world: &World, method: &str, path: &str) -> (StatusCode, Value) {
    let router = api::router(world.actions.clone(), Viewer::Operator);
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// A thousand mails of one organisation wait before another's one.
#[tokio::test]
async fn a_backlog_of_one_organisation_hides_nothing_of_another() {
    let world = world().await;
    let first = world.queue.mails.lock().unwrap()[0].clone();
    let many = (0..1_500).map(|n| crate::admin::QueueEntry { id: MessageId(0x10_000 + n), ..first.clone() });
    let all: Vec<_> = many.chain(world.queue.mails.lock().unwrap().clone()).collect();
    *world.queue.mails.lock().unwrap() = all;
    for (who, there) in [("chief", true), ("eve", true), ("root", false)] {
        let page: serde_json::Value =
            serde_json::from_str(&world.logged_in(who).get("/api/v1/queue").await.text).unwrap();
        let mails = page["mails"].as_array().unwrap();
        assert_eq!(mails.iter().any(|mail| mail["id"] == EVES.to_string()), there, "{who}");
        assert_eq!((mails.len() == 1, page["cut"] == false), (there, there), "{who}");
    }
}

/// What its operator dropped was refused by nobody, wherever it is told.
#[tokio::test]
async fn a_dropped_mail_is_called_so() {
    let world = world().await;
    let dropped = Delivery { state: DeliveryState::Refused, reply: DROPPED.to_owned(), at_ms: START_MS };
    world.actions.history.settle(ANNS, vec![(9, dropped)]).await.unwrap();
    let page = world.logged_in("ann").get("/messages/00000000000000a1").await.text;
    assert!(page.contains("Dropped for <strong>cy@reader.example</strong>"), "{page}");
    assert!(page.contains(">dropped</span>") && !page.contains("Refused for"), "{page}");
    let message = call(&world, "GET", "/api/v1/messages/00000000000000a1").await.1;
    assert_eq!(message["recipients"][1]["delivery"], "dropped");
    // the store has it as before, so a search finds it where it was
    let found = call(&world, "GET", "/api/v1/messages?delivery=refused").await.1;
    assert_eq!(found["messages"][0]["id"], "00000000000000a1");
}

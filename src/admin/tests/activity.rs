//! The Activity page and the live feed: people first, nothing of others, nothing missed, nobody who holds a place for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::api::call;
use super::fixture::{ANNS, EVES, START_MS, World, world};
use crate::admin::actions::credentials::NewKey;
use crate::admin::{self, Viewer};
use crate::event::{Event, EventKind, Rule, Verdict};
use crate::settings::access::Scope;
use crate::store::audit::{Author, Via};
use crate::store::record::{Mended, Recording};
use crate::store::{Change, SettingsStore as _};
use crate::token::{MessageId, TokenId};

#[tokio::test]
async fn the_page_tells_people_first_and_folds_machines() {
    let world = world().await;
    let page = world.logged_in("ann").get("/activity").await;
    let text = &page.text;
    assert!(text.contains("<strong>Bob Reader</strong> opened <a href=\"/messages/00000000000000a1\">"), "{text}");
    assert!(text.contains("followed a link in") && text.contains("https://shop.example/offer?id=42"));
    assert!(text.contains("1 look by machines") && text.contains("<details>"));
    assert!(!text.contains("Secret of other"));
    assert!(
        text.contains("data-after=\"3\" data-judged=\"0\"")
            && text.contains("Germany")
            && text.contains("Thunderbird · Linux")
    );
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self'") && policy.contains("connect-src 'self'"), "{policy}");
    // The script is ours, kept for ever, and runs nowhere else.
    let script = text.split("<script src=\"").nth(1).unwrap().split('"').next().unwrap();
    let served = world.stranger().get(script).await;
    assert_eq!((served.status, served.header("content-type")), (StatusCode::OK, "text/javascript; charset=utf-8"));
    assert!(!world.logged_in("ann").get("/").await.header("content-security-policy").contains("script-src"));
}

#[tokio::test]
async fn the_page_names_nobody_to_who_may_not_know() {
    let world = world().await;
    let page = world.logged_in("boss").get("/activity").await.text;
    assert!(page.contains("A recipient</strong> opened a mail of ann"), "{page}");
    for word in [
        "bob@",
        "Bob Reader",
        "Your offer",
        "shop.example",
        "messages/00000000000000a1",
        "Secret",
        "of eve",
        "Germany",
        "Thunderbird",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    let eves = world.logged_in("eve").get("/activity").await.text;
    assert!(eves.contains("Secret of other") && !eves.contains("offer"));
}

/// A feed as a browser holds it.
struct Stream {
    body: Body,
    seen: String,
}

impl Stream {
    /// Reads until the text is there; what came in all.
    async fn until(&mut self, text: &str) -> &str {
        let reading = async {
            while !self.seen.contains(text) {
                let frame = self.body.frame().await.expect("the stream ended").unwrap();
                self.seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap_or_else(|_| panic!("no {text}"));
        &self.seen
    }

    async fn ends(&mut self) {
        let reading = async { while self.body.frame().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(40), reading).await.expect("the stream goes on");
    }
}

async fn listen(world: &World, who: &str, path: &str, last: Option<&str>) -> Stream {
    let mut request = Request::get(path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = world.logged_in(who).open(request).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    assert!(answer.headers()["cache-control"].to_str().unwrap().contains("no-store"));
    Stream { body: answer.into_body(), seen: String::new() }
}

/// Begins to tell, until the sender is dropped or says stop.
fn running(world: &World) -> watch::Sender<bool> {
    let stop = watch::Sender::new(false);
    tokio::spawn(crate::notify::run(world.telling.notify.clone(), stop.subscribe()));
    stop
}

fn opened(message: MessageId, network_hash: Option<[u8; 8]>) -> Event {
    Event {
        at_ms: START_MS,
        id: TokenId { message, recipient: 7, link: 0 },
        kind: EventKind::Open,
        verdict: Verdict::Person,
        rule: String::new(),
        former: None,
        repeats: 0,
        city: Some("Lisbon".into()),
        via: None,
        country: Some("PT".into()),
        agent_family: Some("Apple Mail".into()),
        os_family: None,
        device_family: None,
        network_hash,
        evidence: None,
    }
}

async fn happens(world: &World, events: Vec<Event>) {
    world.actions.history.record(events).await.unwrap();
    world.telling.news.send_replace(());
}

#[tokio::test]
async fn each_hears_what_is_theirs_as_it_happens() {
    let world = world().await;
    let _stop = running(&world);
    let mut ann = listen(&world, "ann", "/api/v1/feed", None).await;
    let mut chief = listen(&world, "chief", "/api/v1/feed", None).await;
    ann.until("retry: ").await;
    ann.until(": still here").await;
    chief.until(": still here").await;
    happens(&world, vec![opened(EVES, Some([1; 8])), opened(ANNS, None), opened(ANNS, Some([1; 8]))]).await;
    let heard = ann.until("id: 7").await;
    assert!(
        heard.contains("\"who\":\"Bob Reader\"")
            && heard.contains("\"bob@reader.example\"")
            && heard.contains("Lisbon, Portugal")
            && heard.contains("event: activity")
    );
    // what is counted by the day is not seen as it happens, and others' never
    assert!(!heard.contains("id: 6") && !heard.contains("id: 5") && !heard.contains("Secret"), "{heard}");
    let heard = chief.until("id: 5").await;
    assert!(heard.contains("a mail of eve") && !heard.contains("bob@") && !heard.contains("Lisbon"), "{heard}");
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed() {
    let world = world().await;
    let _stop = running(&world);
    // By the browser's header, which counts more than the page's address.
    let mut ann = listen(&world, "ann", "/api/v1/feed?after=0", Some("1")).await;
    let heard = ann.until("id: 3").await;
    assert!(!heard.contains("id: 1.") && heard.contains("id: 2."), "{heard}");
    let mut page = listen(&world, "ann", "/api/v1/feed?after=2", None).await;
    assert!(!page.until("id: 3").await.contains("id: 2."));
    // Too much: the page is to be loaded again.
    drop((ann, page));
    happens(&world, vec![opened(ANNS, Some([1; 8])); 300]).await;
    let mut late = loop {
        // A place is free once the dropped streams are noticed.
        let answer = world.logged_in("ann").open(Request::get("/api/v1/feed?after=1")).await;
        if answer.status() == StatusCode::OK {
            break Stream { body: answer.into_body(), seen: String::new() };
        }
        happens(&world, vec![opened(ANNS, Some([1; 8]))]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    late.until("event: reload").await;
}

/// What is counted by the day is in lists under its day; neither who comes back nor who asks again and again sees it happen.
#[tokio::test]
async fn what_is_counted_by_the_day_cannot_be_watched() {
    let world = world().await;
    let _stop = running(&world);
    let of_day = Event { at_ms: START_MS.div_euclid(86_400_000) * 86_400_000, ..opened(ANNS, None) };
    happens(&world, vec![of_day, opened(ANNS, Some([1; 8]))]).await;
    let mut ann = listen(&world, "ann", "/api/v1/feed?after=3", None).await;
    let heard = ann.until("id: 6.").await;
    assert!(!heard.contains("id: 5."), "{heard}");
    let listed = async |path: &str| -> Vec<(i64, String)> {
        let (_, answer) = call(&world, "GET", path, serde_json::Value::Null).await;
        let events = answer["events"].as_array().unwrap();
        let of = |event: &serde_json::Value| (event["sequence"].as_i64().unwrap(), event["at"].to_string());
        events.iter().map(of).collect()
    };
    let followed = listed("/api/v1/events?after=4&wait_secs=1").await;
    assert_eq!(followed.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [6]);
    let all = listed("/api/v1/events?limit=2").await;
    assert_eq!(all.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [5, 6]);
    assert!(all[0].1.contains("2026-11-23T00:00:00"), "{all:?}");
    let page = world.logged_in("ann").get("/activity").await.text;
    assert!(page.contains(">23 Nov 2026<") && !page.contains("23 Nov 2026, 00:00"), "{page}");
    // the page's script counts no hours from it
    let of_day = page.split("data-sequence=\"5\"").nth(1).unwrap().split("</li>").next().unwrap();
    assert!(of_day.contains("<time data-by-day datetime="), "{of_day}");
    let timed = page.split("data-sequence=\"6\"").nth(1).unwrap().split("</li>").next().unwrap();
    assert!(timed.contains("<time datetime="), "{timed}");
    let script = page.split("<script src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(world.stranger().get(script).await.text.contains("time:not([data-by-day])"));
}

#[tokio::test]
async fn a_stream_ends_with_its_login_and_with_us_and_there_are_so_many() {
    let world = world().await;
    let stop = running(&world);
    let mut ann = listen(&world, "ann", "/api/v1/feed", None).await;
    let mut boss = listen(&world, "boss", "/api/v1/feed", None).await;
    ann.until(": still here").await;
    boss.until(": still here").await;
    assert_eq!(world.logged_in("root").begins_stream("/api/v1/feed").await, "409");
    world.settings.change(vec![Change::RemoveUser("ann".to_owned())]).await.unwrap();
    ann.ends().await;
    assert_eq!(world.logged_in("root").begins_stream("/api/v1/feed").await, "stream");
    stop.send_replace(true);
    boss.ends().await;
}

/// Whatever the time of the event: who was away while it was judged otherwise hears of that when they come back, once.
#[tokio::test]
async fn what_was_judged_while_away_is_told() {
    let world = world().await;
    let _stop = running(&world);
    let click = |minutes: i64| Event { at_ms: START_MS + minutes * 60_000, ..opened(ANNS, Some([1; 8])) };
    happens(&world, vec![click(0), click(60), click(61), Event { network_hash: None, ..click(62) }]).await;
    // From 5 to 8 they are. The last is counted by the day, and the one after them is not theirs yet.
    happens(&world, vec![opened(EVES, Some([1; 8])), click(63)]).await;
    let judge = async |sequences: &[i64]| {
        let verdict = Some((Verdict::Machine, Rule::Burst));
        let mended = sequences.iter().map(|sequence| Mended { sequence: *sequence, repeats: 0, verdict }).collect();
        world.actions.history.put_on_record(Arc::new(Recording { events: Vec::new(), mended })).await.unwrap();
    };
    judge(&[6]).await;
    let page = world.logged_in("ann").get("/activity").await.text;
    assert!(page.contains("data-after=\"10\" data-judged=\"1\""), "{page}");
    judge(&[7, 8, 9, 10]).await;
    world.actions.say_own(&Viewer::Operator, ANNS, 5, true).await.unwrap();
    let ann = world.actions.viewer_of(&world.settings.snapshot().users["ann"], Author::of(Via::Dashboard));
    for (up_to, judged, expected) in [
        // what the page shows, and what a browser has that went away in the midst of it
        (10, Some(1), vec![5, 7, 10]),
        (9, Some(1), vec![5, 7]),
        (10, Some(3), vec![5, 10]),
        (10, Some(5), vec![]),
        // as before there was a second number
        (10, None, vec![5, 6, 7, 10]),
    ] {
        let anew = world.actions.judged_since(&ann, up_to, judged).await.unwrap().unwrap();
        assert_eq!(anew.iter().map(|row| row.sequence).collect::<Vec<_>>(), expected, "{up_to} {judged:?}");
    }
    let mut late = listen(&world, "ann", "/api/v1/feed?after=0", Some("9.1")).await;
    let heard = late.until("id: 10.5").await;
    let changes: Vec<&str> = heard.split("\n\n").filter(|piece| piece.contains("event: change")).collect();
    assert!(changes[0].starts_with("event: change") && changes[0].contains("\"sequence\":5"), "{heard}");
    assert!(changes[1].starts_with("id: 9.5\nevent: change") && changes[1].contains("\"sequence\":7"), "{heard}");
    assert_eq!(changes.len(), 2, "{heard}");
    // Who was told has the newer mark, and is not told again.
    late.until(": still here").await;
    world.actions.say_own(&Viewer::Operator, ANNS, 5, false).await.unwrap();
    let heard = late.until("id: 10.6\nevent: change").await;
    assert_eq!(heard.matches("event: change").count(), 3, "{heard}");
}

/// What cannot be told: too much, or as after a restore of an older database.
#[tokio::test]
async fn who_cannot_be_told_of_judgements_is_to_reload() {
    let world = world().await;
    let _stop = running(&world);
    happens(&world, vec![opened(ANNS, Some([1; 8])); 200]).await;
    let verdict = Some((Verdict::Machine, Rule::Burst));
    let mended = (5..=204).map(|sequence| Mended { sequence, repeats: 0, verdict }).collect();
    world.actions.history.put_on_record(Arc::new(Recording { events: Vec::new(), mended })).await.unwrap();
    for mark in ["204.0", "204.201"] {
        let mut ann = listen(&world, "ann", "/api/v1/feed", Some(mark)).await;
        let heard = ann.until("event: reload").await;
        assert!(!heard.contains("event: change"), "{heard}");
    }
}

/// What somebody says of an event is seen on every page that shows it.
#[tokio::test]
async fn this_was_me_is_heard_by_the_others() {
    let world = world().await;
    let _stop = running(&world);
    let mut ann = listen(&world, "ann", "/api/v1/feed", None).await;
    ann.until(": still here").await;
    happens(&world, vec![opened(ANNS, Some([1; 8]))]).await;
    ann.until("id: 5").await;
    world.actions.say_own(&Viewer::Operator, ANNS, 5, true).await.unwrap();
    ann.until("event: change\ndata: ").await;
    let heard = ann.until("\n\n").await;
    assert!(heard.split("event: change").nth(1).unwrap().contains("\"sequence\":5"), "{heard}");
}

/// A program is answered as one, and may listen with its key, for as long as that is good.
#[tokio::test]
async fn a_program_may_listen_with_a_key() {
    let world = world().await;
    let _stop = running(&world);
    let stranger = world.stranger().get("/api/v1/feed").await;
    assert_eq!(
        (stranger.status, stranger.header("content-type")),
        (StatusCode::UNAUTHORIZED, "application/problem+json")
    );
    let key = async |name: &str, scope| {
        let new = NewKey { name: name.to_owned(), scopes: [scope].into(), days: None };
        world.actions.add_api_key(&Viewer::Operator, "ann", new).await.unwrap().1
    };
    let asked = |key: &str| Request::get("/api/v1/feed").header("authorization", format!("Bearer {key}"));
    let narrow = world.stranger().open(asked(&key("narrow", Scope::Users).await)).await;
    assert_eq!(
        (narrow.status(), &narrow.headers()["content-type"]),
        (StatusCode::FORBIDDEN, &"application/problem+json".parse().unwrap())
    );
    let answer = world.stranger().open(asked(&key("wide", Scope::Read).await)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut stream = Stream { body: answer.into_body(), seen: String::new() };
    stream.until(": still here").await;
    happens(&world, vec![opened(EVES, Some([1; 8])), opened(ANNS, Some([1; 8]))]).await;
    let heard = stream.until("id: 6").await;
    assert!(heard.contains("bob@reader.example") && !heard.contains("id: 5"), "{heard}");
    let id = world.settings.snapshot().credentials.values().find(|c| c.name == "wide").unwrap().id();
    world.settings.change(vec![Change::RemoveCredential(id)]).await.unwrap();
    stream.ends().await;
}

/// A reader that takes nothing is cut off, whatever its connection still holds: neither its place nor its events are kept.
#[tokio::test]
#[ignore = "takes ten seconds and more"]
async fn a_reader_that_does_not_read_is_hung_up_on() {
    let world = world().await;
    let _stop = running(&world);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(admin::serve(listener, world.site.clone(), std::future::pending()));
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stuck = socket.connect(addr).await.unwrap();
    let cookie = world.logged_in("ann").cookie;
    let request = format!("GET /api/v1/feed HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n");
    stuck.write_all(request.as_bytes()).await.unwrap();
    let listeners = || world.telling.notify.feed().listeners();
    let mut rounds = 0;
    while listeners() == 0 || rounds < 60 {
        happens(&world, vec![opened(ANNS, Some([1; 8])); 200]).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        rounds += 1;
    }
    // Nobody listens any more, and what is still to be read has no proper end.
    let gone = async {
        while listeners() > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("it still listens");
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stuck.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the connection is still open");
    assert!(!rest.ends_with(b"0\r\n\r\n") && rest.starts_with(b"HTTP/1.1 200 OK"), "{} bytes", rest.len());
}

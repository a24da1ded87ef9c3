//! The outbox over a real database.

use std::sync::Arc;

use super::*;
use crate::event::{EventKind, Verdict};
use crate::store::contract_tests::{event, record};
use crate::store::counters::tests::plan;
use crate::store::history::Options;
use crate::store::record::{Delivery, DeliveryState, Expiry, Mended, Recording};
use crate::store::schema::migrate;
use crate::store::{HistoryStore as _, Inserted};

const HOOK: WebhookId = WebhookId(u64::MAX);
const FUTURE: i64 = i64::MAX;

struct World {
    history: Arc<SqliteHistory>,
    outbox: Outbox,
    folder: tempfile::TempDir,
}

/// With message 1 of ann's on record.
async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let history = Arc::new(SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap());
    assert_eq!(history.insert(record(1)).await.unwrap(), Inserted::Durable);
    World { outbox: Outbox::new(Arc::clone(&history)), history, folder }
}

impl World {
    /// The program was ended and begun again.
    fn opened_again(self) -> World {
        let World { history, outbox, folder } = self;
        drop((history, outbox));
        let history = Arc::new(SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap());
        World { outbox: Outbox::new(Arc::clone(&history)), history, folder }
    }
}

fn refused(at_ms: i64) -> Delivery {
    Delivery { state: DeliveryState::Refused, reply: "550 5.1.1 nobody".to_owned(), at_ms }
}

fn delivery(number: i64) -> NewDelivery {
    NewDelivery {
        webhook: HOOK,
        message_id: format!("msg_{number}"),
        topic: "message.opened".to_owned(),
        message: Some(MessageId(1)),
        recipient: None,
        body: "{}".to_owned(),
        at_ms: number,
    }
}

fn line(login: &str, at_ms: i64) -> NewLine {
    NewLine {
        login: login.to_owned(),
        org: "acme".parse().unwrap(),
        message: MessageId(1),
        recipient: None,
        at_ms,
        sender: "ann@example.com".to_owned(),
        line: "{}".to_owned(),
    }
}

fn told(batch: &Batch) -> Telling {
    Telling { to: batch.to, waiting_max: 10, lines_max: 10, ..Telling::default() }
}

/// (sequence, first) of events; refusals as their recipient.
fn seen(batch: &Batch) -> Vec<String> {
    let one = |news: &News| match news {
        News::Event { entry, first, .. } => format!("{} {} {first}", entry.sequence, entry.event.kind.as_str()),
        News::Refused { recipient, .. } => recipient.clone(),
    };
    batch.news.iter().map(one).collect()
}

/// People's events in order, each once; machines' and the sender's own, day counts and mail nobody knows are no news.
#[tokio::test]
async fn news_are_what_people_did_and_come_once() {
    let world = world().await;
    let (open, click) = (EventKind::Open, EventKind::Click);
    let events = vec![
        event(1, 9, open, Verdict::Machine),
        event(1, 9, open, Verdict::Proxy),
        event(1, 9, open, Verdict::Person),
        event(1, 9, open, Verdict::Own),
        event(1, 20, open, Verdict::Unknown),
        event(1, 7, open, Verdict::Person),
        event(404, 9, open, Verdict::Person),
        event(1, 9, click, Verdict::Person),
    ];
    world.history.record(events).await.unwrap();
    let batch = world.outbox.news(FUTURE).await.unwrap();
    assert_eq!(seen(&batch), ["2 open true", "3 open false", "5 open true", "8 click false"]);
    assert_eq!((batch.to, batch.more), (Marks { opens: 8, clicks: 8, refusals: 0 }, false));
    let News::Event { entry, reverse_path, .. } = &batch.news[0] else { panic!() };
    let address = entry.recipient.as_ref().map(|who| who.address.as_str());
    assert_eq!((address, reverse_path.as_str()), (Some("r9@example.com"), "ann@example.com"));
    assert_eq!(world.outbox.news(FUTURE).await.unwrap(), batch, "reading tells nobody");
    world.outbox.tell(told(&batch)).await.unwrap();
    assert_eq!(seen(&world.outbox.news(FUTURE).await.unwrap()), Vec::<String>::new());
    assert_eq!(world.outbox.last().await.unwrap(), Marks { opens: 8, clicks: 8, refusals: 0 });
}

/// A click waits for what comes after it; judged a machine's meanwhile, it is no news.
#[tokio::test]
async fn a_click_waits_for_the_burst() {
    let world = world().await;
    let clicked = event(1, 9, EventKind::Click, Verdict::Person);
    let at_ms = clicked.at_ms;
    world.history.record(vec![clicked.clone(), clicked]).await.unwrap();
    let early = world.outbox.news(at_ms - 1).await.unwrap();
    assert_eq!((seen(&early), early.to, early.more), (vec![], Marks { opens: 2, clicks: 0, refusals: 0 }, false));
    let verdict = Some((Verdict::Machine, crate::event::Rule::Burst));
    let mended = vec![Mended { sequence: 1, repeats: 0, verdict }];
    world.history.put_on_record(Arc::new(Recording { events: Vec::new(), mended })).await.unwrap();
    assert_eq!(seen(&world.outbox.news(at_ms).await.unwrap()), ["2 click false"]);
    // A clock that was set back by an hour holds nothing up.
    assert_eq!(seen(&world.outbox.news(at_ms - 3_600_000).await.unwrap()), ["2 click false"]);
}

/// Whosever clicks there are: opens do not wait behind them, and whatever is told when, each comes once, also when the clicks
/// before it were told in another life of the program.
#[tokio::test]
async fn an_open_waits_for_no_click() {
    let mut world = world().await;
    let (open, click) = (EventKind::Open, EventKind::Click);
    let of = |kind, after_ms: i64| {
        let event = event(1, 9, kind, Verdict::Person);
        crate::event::Event { at_ms: event.at_ms + after_ms, ..event }
    };
    let begin_ms = of(open, 0).at_ms;
    world.history.record(vec![of(click, 10), of(open, 20), of(click, 30), of(open, 40)]).await.unwrap();
    let mut told_so_far = Vec::new();
    for (clicks_before_ms, expected) in [
        // no click is ripe, one is, both are
        (0, vec!["2 open true", "4 open false"]),
        (5, vec![]),
        (10, vec!["1 click false"]),
        (29, vec!["6 open false"]),
        (30, vec!["3 click false"]),
        (60, vec!["5 click false"]),
        (90, vec![]),
    ] {
        if clicks_before_ms == 29 {
            world.history.record(vec![of(click, 50), of(open, 60)]).await.unwrap();
        }
        let batch = world.outbox.news(begin_ms + clicks_before_ms).await.unwrap();
        assert_eq!((seen(&batch), batch.more), (expected.iter().map(ToString::to_string).collect(), false));
        // Read and not told: the same again.
        assert_eq!(world.outbox.news(begin_ms + clicks_before_ms).await.unwrap(), batch);
        world.outbox.tell(told(&batch)).await.unwrap();
        told_so_far.extend(expected);
        world = world.opened_again();
    }
    assert_eq!(told_so_far.len(), 6);
}

/// As much as there is, in batches, and each event once: however the kinds are mixed, and with a click in their midst that is
/// still held.
#[tokio::test]
async fn much_comes_in_batches_and_nothing_is_passed_over() {
    let world = world().await;
    let (open, click) = (EventKind::Open, EventKind::Click);
    let begin_ms = event(1, 9, open, Verdict::Person).at_ms;
    let mut events: Vec<_> =
        (0..1_300).map(|n| event(1, 9, if n % 3 == 0 { click } else { open }, Verdict::Person)).collect();
    events[900].at_ms += 1_000;
    events.extend(vec![event(1, 9, open, Verdict::Machine); 10_500]);
    events.push(event(1, 9, click, Verdict::Person));
    let all: Vec<i64> = (1..=1_300).chain([11_801]).collect();
    world.history.record(events).await.unwrap();
    let mut found = Vec::new();
    for clicks_before_ms in [begin_ms + 999, begin_ms + 1_000] {
        loop {
            let batch = world.outbox.news(clicks_before_ms).await.unwrap();
            found.extend(batch.news.iter().map(|news| match news {
                News::Event { entry, .. } => entry.sequence,
                News::Refused { .. } => panic!("nobody was refused"),
            }));
            world.outbox.tell(told(&batch)).await.unwrap();
            if !batch.more {
                break;
            }
        }
        let clicks_held =
            all.iter().filter(|sequence| **sequence > 900 && (**sequence - 1) % 3 == 0 || **sequence == 11_801);
        let waiting = if clicks_before_ms < begin_ms + 1_000 { clicks_held.count() } else { 0 };
        assert_eq!(found.len(), all.len() - waiting);
    }
    found.sort_unstable();
    assert_eq!(found, all);
}

/// Also when the first is forgotten, for its counter stays; not when somebody said that it was their own.
#[tokio::test]
async fn the_first_open_is_the_first_for_ever() {
    let world = world().await;
    let opened = event(1, 9, EventKind::Open, Verdict::Person);
    let later = |days: i64| crate::event::Event { at_ms: opened.at_ms + days * 86_400_000, ..opened.clone() };
    let next = async |days| {
        world.history.record(vec![later(days), event(1, 20, EventKind::Click, Verdict::Person)]).await.unwrap();
        let batch = world.outbox.news(FUTURE).await.unwrap();
        world.outbox.tell(told(&batch)).await.unwrap();
        seen(&batch).remove(0)
    };
    assert_eq!(next(0).await, "1 open true");
    world.history.expire(Expiry::of(0, later(1).at_ms)).await.unwrap();
    assert_eq!(next(2).await, "3 open false");
    world.history.expire(Expiry::of(0, later(3).at_ms)).await.unwrap();
    assert_eq!(next(4).await, "5 open false");
    // Another's copy has its own counter.
    world.history.record(vec![event(1, 20, EventKind::Open, Verdict::Person)]).await.unwrap();
    let batch = world.outbox.news(FUTURE).await.unwrap();
    assert_eq!(seen(&batch), ["7 open true"]);
    world.outbox.tell(told(&batch)).await.unwrap();
    let own = Some((Verdict::Own, crate::event::Rule::SaidSo));
    let mended = vec![Mended { sequence: 7, repeats: 0, verdict: own }];
    world.history.put_on_record(Arc::new(Recording { events: Vec::new(), mended })).await.unwrap();
    world.history.record(vec![event(1, 20, EventKind::Open, Verdict::Person)]).await.unwrap();
    assert_eq!(seen(&world.outbox.news(FUTURE).await.unwrap()), ["8 open true"]);
}

#[tokio::test]
async fn a_refusal_is_news_once() {
    let world = world().await;
    world.history.settle(MessageId(1), vec![(9, refused(50)), (404, refused(50))]).await.unwrap();
    world.history.settle(MessageId(1), vec![(9, refused(60))]).await.unwrap();
    world.history.settle(MessageId(404), vec![(9, refused(60))]).await.unwrap();
    let batch = world.outbox.news(FUTURE).await.unwrap();
    assert_eq!(seen(&batch), ["r9@example.com"]);
    assert!(matches!(&batch.news[0], News::Refused { at_ms: 50, reply, .. } if reply == "550 5.1.1 nobody"));
    world.outbox.tell(told(&batch)).await.unwrap();
    assert_eq!(world.outbox.news(FUTURE).await.unwrap().news, []);
}

#[tokio::test]
async fn a_delivery_from_due_to_its_end_and_again() {
    let world = world().await;
    let deliveries = vec![delivery(10), delivery(11), delivery(12)];
    let telling = Telling { deliveries, waiting_max: 2, ..Telling::default() };
    assert_eq!(world.outbox.tell(telling).await.unwrap(), 1, "no room for the third");
    assert_eq!(world.outbox.due_webhooks(9).await.unwrap(), []);
    assert_eq!(world.outbox.due_webhooks(10).await.unwrap(), [HOOK]);
    let due = world.outbox.due(HOOK, 11, 9).await.unwrap();
    assert_eq!(due.iter().map(|d| d.message_id.as_str()).collect::<Vec<_>>(), ["msg_10", "msg_11"]);
    let tried = |id, stage, next_try_ms| Tried { id, stage, at_ms: 100, next_try_ms, answer: "500".to_owned() };
    world.outbox.tried(tried(due[0].id, DeliveryStage::Waiting, 500)).await.unwrap();
    world.outbox.tried(tried(due[1].id, DeliveryStage::Failed, 0)).await.unwrap();
    assert_eq!(world.outbox.due(HOOK, 499, 9).await.unwrap(), []);
    assert_eq!(world.outbox.due(HOOK, 500, 9).await.unwrap()[0].attempts, 1);
    let failed = world.outbox.deliveries(HOOK, Some(DeliveryStage::Failed), None, 9).await.unwrap();
    assert_eq!((failed.len(), failed[0].answer.as_str(), failed[0].last_try_ms), (1, "500", Some(100)));
    assert_eq!(world.outbox.depth().await.unwrap(), Depth { waiting: 1, failed: 1, lines: 0 });
    // Replayed under the same name, as new.
    assert_eq!(world.outbox.replay(HOOK, None, 700).await.unwrap(), 1);
    let again = world.outbox.deliveries(HOOK, None, None, 1).await.unwrap().remove(0);
    let found = (again.message_id.as_str(), again.stage, again.attempts, again.since_ms, again.created_at_ms);
    assert_eq!(found, ("msg_11", DeliveryStage::Waiting, 0, 700, 11));
    // What waits is never purged, what has ended is.
    world.outbox.tried(tried(again.id, DeliveryStage::Delivered, 0)).await.unwrap();
    assert_eq!(world.outbox.purge(700).await.unwrap(), 0);
    assert_eq!(world.outbox.purge(701).await.unwrap(), 1);
    assert_eq!(world.outbox.deliveries(HOOK, None, None, 9).await.unwrap().len(), 1);
    assert_eq!(world.outbox.forget(HOOK).await.unwrap(), 1);
}

#[tokio::test]
async fn lines_wait_by_login_and_are_bounded() {
    let world = world().await;
    let lines = vec![line("ann", 1), line("bob", 2), line("ann", 3), line("ann", 4)];
    assert_eq!(world.outbox.tell(Telling { lines, lines_max: 2, ..Telling::default() }).await.unwrap(), 1);
    let waiting = world.outbox.notices(0, 9, 1).await.unwrap();
    assert_eq!(
        waiting.iter().map(|w| (w.login.as_str(), w.total, w.lines.len())).collect::<Vec<_>>(),
        [("ann", 2, 1), ("bob", 1, 1)]
    );
    world.outbox.noticed(waiting[0].clone(), Some(1_000)).await.unwrap();
    world.outbox.noticed(waiting[1].clone(), None).await.unwrap();
    assert_eq!(world.outbox.notices(0, 9, 9).await.unwrap(), []);
    let lines = vec![line("ann", 5), line("bob", 5)];
    world.outbox.tell(Telling { lines, lines_max: 2, ..Telling::default() }).await.unwrap();
    let sent = |since_ms| async move {
        let waiting = world.outbox.notices(since_ms, 9, 9).await.unwrap();
        waiting.iter().map(|notice| notice.sent_lately).collect::<Vec<_>>()
    };
    assert_eq!(sent(999).await, [1, 0]);
}

/// A message that is forgotten takes with it what was to be told of it.
#[tokio::test]
async fn what_is_forgotten_is_not_told() {
    let world = world().await;
    world.history.settle(MessageId(1), vec![(9, refused(50))]).await.unwrap();
    let telling = Telling {
        deliveries: vec![delivery(1)],
        lines: vec![line("ann", 1)],
        waiting_max: 9,
        lines_max: 9,
        ..Telling::default()
    };
    world.outbox.tell(telling).await.unwrap();
    let expiry = Expiry::of(i64::MAX, 0);
    world.history.expire(expiry).await.unwrap();
    assert_eq!(world.outbox.depth().await.unwrap(), Depth::default());
    assert_eq!(world.outbox.news(FUTURE).await.unwrap().news, []);
}

/// Nor is a person told of who was erased; of the others it is.
#[tokio::test]
async fn who_is_erased_is_not_told_of() {
    let world = world().await;
    world.history.settle(MessageId(1), vec![(9, refused(50))]).await.unwrap();
    let about = |number, index| {
        let recipient = Some(index);
        (NewDelivery { recipient, ..delivery(number) }, NewLine { recipient, ..line("ann", number) })
    };
    let (of_nine, of_other) = (about(1, 9), about(2, 7));
    let telling = Telling {
        deliveries: vec![of_nine.0, of_other.0],
        lines: vec![of_nine.1, of_other.1],
        waiting_max: 9,
        lines_max: 9,
        ..Telling::default()
    };
    world.outbox.tell(telling).await.unwrap();
    world.history.erase(vec![(MessageId(1), 9)]).await.unwrap();
    let depth = world.outbox.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.lines), (1, 1));
    assert_eq!(world.outbox.news(FUTURE).await.unwrap().news, [], "the refusal names them");
}

/// Whose address is the end of another's, and is spelled as JSON would not: they go, and nobody else does.
#[tokio::test]
async fn what_is_told_of_others_stays() {
    let folder = tempfile::tempdir().unwrap();
    let history = Arc::new(SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap());
    let addresses = [
        (1, "bob@q.example"),
        (2, "jimbob@q.example"),
        (3, "\"b\\\\o\"@q.example"),
        (4, "bob@q.example.org"),
        (5, "ö@q.example"),
    ];
    let of = |(index, address): (u16, &str)| crate::store::record::RecipientRecord {
        index,
        copy_index: index,
        address: address.to_owned(),
        ..record(1).recipients[0].clone()
    };
    let recipients = addresses.map(of).to_vec();
    history.insert(crate::store::record::MessageRecord { recipients, ..record(1) }).await.unwrap();
    let outbox = Outbox::new(Arc::clone(&history));
    let naming = |(index, address): (u16, &str)| {
        let body = serde_json::json!({"data": {"recipient": address, "reply": format!("<{address}> is not bob")}});
        let topic = "message.bounced".to_owned();
        NewDelivery { recipient: Some(index), topic, body: body.to_string(), ..delivery(i64::from(index)) }
    };
    let lines = addresses.map(|(index, address)| NewLine {
        recipient: Some(index),
        line: serde_json::json!({"who": address}).to_string(),
        ..line("ann", 1)
    });
    let telling = Telling {
        deliveries: addresses.map(naming).to_vec(),
        lines: lines.to_vec(),
        waiting_max: 9,
        lines_max: 9,
        ..Telling::default()
    };
    outbox.tell(telling).await.unwrap();
    for (index, left) in [(1, vec![5, 4, 3, 2]), (3, vec![5, 4, 2]), (5, vec![4, 2])] {
        history.erase(vec![(MessageId(1), index)]).await.unwrap();
        let told = outbox.deliveries(HOOK, None, None, 9).await.unwrap();
        assert_eq!(told.iter().map(|one| one.created_at_ms).collect::<Vec<_>>(), left);
        assert_eq!(outbox.depth().await.unwrap().lines, left.len() as u64);
    }
    // A refusal of another's that names them too.
    let body = serde_json::json!({"data": {"recipient": "jimbob@q.example", "reply": "neither bob@q.example.org"}});
    let told =
        NewDelivery { topic: "message.bounced".to_owned(), body: body.to_string(), recipient: Some(2), ..delivery(20) };
    outbox.tell(Telling { deliveries: vec![told], waiting_max: 9, ..Telling::default() }).await.unwrap();
    history.erase(vec![(MessageId(1), 4)]).await.unwrap();
    let left = outbox.deliveries(HOOK, None, None, 9).await.unwrap();
    assert_eq!(left.iter().map(|one| one.created_at_ms).collect::<Vec<_>>(), [2]);
}

/// Nor is a refusal that comes after: their mail still waited. One that an older program noted is passed over.
#[tokio::test]
async fn who_was_erased_is_no_news_when_refused_later() {
    let world = world().await;
    world.history.erase(vec![(MessageId(1), 9)]).await.unwrap();
    world.history.settle(MessageId(1), vec![(9, refused(50))]).await.unwrap();
    assert_eq!(world.outbox.last().await.unwrap(), Marks::default(), "nothing is noted");
    let older = rusqlite::Connection::open(world.folder.path().join("h")).unwrap();
    older.execute("INSERT INTO refusal (message, recipient, at_ms) VALUES (1, 9, 50), (1, 7, 60)", []).unwrap();
    let batch = world.outbox.news(FUTURE).await.unwrap();
    assert_eq!((seen(&batch), batch.to.refusals), (vec!["r7@example.com".to_owned()], 2));
}

/// Whatever its webhook does: paused, resting or slow. As much as there is, not a slice of it.
#[tokio::test]
async fn what_waits_too_long_is_given_up_and_listed() {
    let world = world().await;
    let many = i64::from(GIVEN_UP_MAX) + 5;
    let deliveries = (1..=many).map(delivery).collect();
    let telling = Telling { deliveries, waiting_max: u32::MAX, ..Telling::default() };
    assert_eq!(world.outbox.tell(telling).await.unwrap(), 0);
    let first = world.outbox.due(HOOK, FUTURE, 1).await.unwrap().remove(0);
    let stage = DeliveryStage::Waiting;
    let tried = Tried { id: first.id, stage, at_ms: 1, next_try_ms: 50_000, answer: "503".to_owned() };
    world.outbox.tried(tried).await.unwrap();
    assert_eq!(world.outbox.give_up(1).await.unwrap(), 0, "it has its whole time");
    assert_eq!(world.outbox.give_up(many).await.unwrap().cast_signed(), many - 1);
    let depth = world.outbox.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.failed.cast_signed()), (1, many - 1));
    let oldest = world.outbox.deliveries(HOOK, Some(DeliveryStage::Failed), Some(3), 9).await.unwrap();
    let answers: Vec<&str> = oldest.iter().map(|delivery| delivery.answer.as_str()).collect();
    assert_eq!(answers, ["not taken in time", "not taken in time; at last: 503"]);
    // Replayed and given up again untried: it has ended now, not at its last try long ago.
    assert_eq!(world.outbox.replay(HOOK, Some(first.id), 9_000).await.unwrap(), 1);
    assert_eq!(world.outbox.give_up(9_001).await.unwrap(), 2);
    world.outbox.purge(8_000).await.unwrap();
    let left = world.outbox.deliveries(HOOK, None, None, 9).await.unwrap();
    assert_eq!(left.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), [first.id]);
}

/// At its webhook, until that is forgotten; a test that is refused is no event.
#[tokio::test]
async fn what_finds_no_room_is_counted() {
    let world = world().await;
    let other = WebhookId(7);
    let deliveries = vec![delivery(1), delivery(2), delivery(30), NewDelivery { webhook: other, ..delivery(4) }];
    let telling = Telling { deliveries, waiting_max: 1, ..Telling::default() };
    assert_eq!(world.outbox.tell(telling).await.unwrap(), 2);
    world.outbox.add(NewDelivery { message: None, ..delivery(40) }, 1).await.unwrap_err();
    let dropped = world.outbox.dropped().await.unwrap();
    assert_eq!(dropped.into_iter().collect::<Vec<_>>(), [(HOOK, Dropped { count: 2, last_ms: 30 })]);
    world.outbox.forget(HOOK).await.unwrap();
    assert_eq!(world.outbox.dropped().await.unwrap().len(), 0);
}

/// Who is forgotten between the reading of the news and their telling: nobody would forget it again.
#[tokio::test]
async fn who_is_erased_while_news_are_told_is_not_told_of() {
    let world = world().await;
    let telling = || Telling {
        deliveries: [9, 7].map(|index| NewDelivery { recipient: Some(index), ..delivery(1) }).to_vec(),
        lines: [9, 7].map(|index| NewLine { recipient: Some(index), ..line("ann", 1) }).to_vec(),
        waiting_max: 9,
        lines_max: 9,
        ..Telling::default()
    };
    world.history.erase(vec![(MessageId(1), 9)]).await.unwrap();
    assert_eq!(world.outbox.tell(telling()).await.unwrap(), 0, "that is no want of room");
    assert_eq!(world.outbox.depth().await.unwrap(), Depth { waiting: 1, failed: 0, lines: 1 });
    // The same with the whole mail.
    world.history.expire(Expiry::of(i64::MAX, 0)).await.unwrap();
    let unnamed = Telling { deliveries: vec![delivery(1)], lines: vec![line("ann", 1)], ..telling() };
    world.outbox.tell(unnamed).await.unwrap();
    assert_eq!(world.outbox.depth().await.unwrap(), Depth::default());
}

/// Those who had their notices of this hour do not stand before others.
#[tokio::test]
async fn who_had_enough_for_now_keeps_nobody_waiting() {
    let world = world().await;
    let lines: Vec<NewLine> = (0..101).map(|n| line(&format!("u{n:03}"), n)).collect();
    world.outbox.tell(Telling { lines: lines.clone(), lines_max: 9, ..Telling::default() }).await.unwrap();
    let first = world.outbox.notices(0, 1, 9).await.unwrap();
    assert_eq!(first.len(), 100, "so many at a time");
    for notice in first {
        world.outbox.noticed(notice, Some(1_000)).await.unwrap();
    }
    let again = lines.into_iter().take(100).collect();
    world.outbox.tell(Telling { lines: again, lines_max: 9, ..Telling::default() }).await.unwrap();
    let next = world.outbox.notices(0, 1, 9).await.unwrap();
    assert_eq!(next.iter().map(|notice| notice.login.as_str()).collect::<Vec<_>>(), ["u100"]);
}

/// However many wait, the writer reads those that are overdue.
#[test]
fn what_may_wait_is_not_read_to_give_up_what_may_not() {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    migrate(&mut connection).unwrap();
    let steps = plan(&connection, write::GIVE_UP);
    let found = "SEARCH webhook_delivery USING COVERING INDEX webhook_delivery_overdue (since_ms<?)";
    assert!(steps.iter().any(|step| step == found), "{steps:?}");
    assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{steps:?}");
}

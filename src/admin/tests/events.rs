//! What a sender reads of opens and clicks, and what an admin may change about them: the page, the JSON, the form.

use std::sync::Arc;

use axum::http::StatusCode;

use super::fixture::{ANNS, NETWORKS, START_MS, World, org_name, world};
use crate::admin::Viewer;
use crate::admin::actions::figures::FiguresQuery;
use crate::admin::api::shapes;
use crate::event::{Event, EventKind, Evidence, Rule, Verdict, Via};
use crate::settings::{Keeping, Mode, PlaceDetail};
use crate::store::SettingsStore as _;
use crate::store::audit::{self, Author};
use crate::store::record::{Expiry, Recording};
use crate::token::{MessageId, TokenId};

/// The page of the trusted network's mail to bob alone, of which nothing is on record yet.
const PAGE: &str = "/messages/00000000000000ff";

/// A person's, in Turin, with everything known.
fn event(minutes: i64, kind: EventKind) -> Event {
    Event {
        at_ms: START_MS + minutes * 60_000,
        id: TokenId { message: NETWORKS, recipient: 7, link: 0 },
        kind,
        verdict: Verdict::Person,
        rule: String::new(),
        former: None,
        repeats: 0,
        country: Some("IT".into()),
        city: Some("Turin".into()),
        via: None,
        agent_family: Some("Firefox".into()),
        os_family: Some("Windows".into()),
        device_family: Some("PC".into()),
        network_hash: Some([1; 8]),
        evidence: None,
    }
}

async fn put(world: &World, events: Vec<Event>) {
    let recording = Arc::new(Recording { events, mended: Vec::new() });
    world.actions.history.put_on_record(recording).await.unwrap();
}

/// What a person reads: the page without its tags, on one line.
async fn read(world: &World, path: &str) -> String {
    let page = world.logged_in("root").get(path).await;
    assert_eq!(page.status, StatusCode::OK, "{path}");
    let mut text = String::new();
    for piece in page.text.split('<') {
        text.push_str(piece.split_once('>').map_or(piece, |(_, text)| text));
        text.push(' ');
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("&#39;", "'").replace("&#34;", "\"")
}

async fn message(world: &World) -> shapes::Message {
    world.actions.message(&Viewer::Operator, NETWORKS).await.unwrap().into()
}

#[tokio::test]
async fn the_timeline_says_who_where_with_what_and_why() {
    let world = world().await;
    let machine = |rule: Rule, former| Event {
        verdict: Verdict::Machine,
        rule: rule.as_str().to_owned(),
        former,
        ..event(190, EventKind::Click)
    };
    put(
        &world,
        vec![
            Event { repeats: 2, ..event(185, EventKind::Open) },
            machine(Rule::Burst, Some(Verdict::Person)),
            Event { via: Some(Via::Relay), city: None, country: Some("US".into()), ..event(195, EventKind::Open) },
            Event {
                verdict: Verdict::Proxy,
                rule: "image-proxy".into(),
                country: None,
                city: None,
                os_family: None,
                device_family: None,
                agent_family: Some("GmailImageProxy".into()),
                ..event(196, EventKind::Open)
            },
            Event {
                evidence: Some(Evidence { address: "192.0.2.7".parse().unwrap(), agent: Some("Firefox <b>".into()) }),
                ..event(200, EventKind::Open)
            },
        ],
    )
    .await;
    let text = read(&world, PAGE).await;
    for words in [
        "Bob Reader opened it ×3 3 times within a minute",
        "· Firefox · Windows · PC · Turin, Italy",
        "· probably a machine: several links at once (was: a person)",
        "· United States (unreliable: that is a relay's place)",
        "· GmailImageProxy · a person behind an image proxy: place and device unknown",
        "· 192.0.2.7, Firefox &#60;b&#62;",
        "opened 4 times · no link followed yet (and once by machines or your own)",
    ] {
        assert!(text.contains(words), "{words}\nnot in\n{text}");
    }
    assert!(!text.contains("Places are unknown") && !text.contains("read (inferred)"), "{text}");
    let list = read(&world, "/").await;
    assert!(list.contains("0 +1 and 1 by machines or your own"), "{list}");
    assert!(list.contains("Small figures are by machines and your own people."), "{list}");
    let message = message(&world).await;
    let click = &message.events[1];
    assert_eq!((click.verdict.as_str(), click.rule.as_str()), ("machine", "burst"));
    assert_eq!(click.former_verdict.as_deref(), Some("person"));
    let [open, _, relayed, ..] = &message.events[..] else { panic!("five events") };
    assert_eq!((open.repeats, open.city.as_deref(), open.place_unreliable.as_deref()), (2, Some("Turin"), None));
    assert_eq!(relayed.place_unreliable.as_deref(), Some("relay"));
    assert_eq!(message.events[4].address.as_deref(), Some("192.0.2.7"));
    let bob = &message.recipients[0];
    assert_eq!((bob.read.as_deref(), bob.perhaps_shared), (Some("opened"), Some(false)));
    assert_eq!((bob.counts.opens, bob.counts.machine_clicks), (Some(4), Some(1)));
}

#[tokio::test]
async fn who_clicked_has_read_and_who_is_in_two_countries_may_be_two() {
    let world = world().await;
    put(&world, vec![event(185, EventKind::Click)]).await;
    let text = read(&world, PAGE).await;
    assert!(text.contains("not opened yet · clicked once read (inferred) :"), "{text}");
    assert!(!text.contains("forwarded or shared?"), "{text}");
    assert_eq!(message(&world).await.recipients[0].read.as_deref(), Some("inferred"));
    put(&world, vec![Event { country: Some("FR".into()), ..event(186, EventKind::Open) }]).await;
    let text = read(&world, PAGE).await;
    assert!(text.contains("forwarded or shared?") && !text.contains("read (inferred)"), "{text}");
    assert_eq!(message(&world).await.recipients[0].perhaps_shared, Some(true));
}

/// What would show it is forgotten, and counted: nobody says that it was not so.
#[tokio::test]
async fn who_is_forgotten_was_perhaps_two() {
    let world = world().await;
    put(&world, vec![event(185, EventKind::Open), Event { country: Some("FR".into()), ..event(190, EventKind::Open) }])
        .await;
    assert_eq!(message(&world).await.recipients[0].perhaps_shared, Some(true));
    let expire = async |minutes: i64| {
        let expiry = Expiry::of(0, START_MS + minutes * 60_000);
        world.actions.history.expire(expiry).await.unwrap();
        message(&world).await.recipients[0].perhaps_shared
    };
    for minutes in [187, 300] {
        assert_eq!(expire(minutes).await, None);
        let text = read(&world, PAGE).await;
        assert!(text.contains("cannot be said any more") && !text.contains("forwarded or shared?"), "{text}");
    }
    // The others show it.
    put(&world, vec![event(400, EventKind::Open), Event { country: Some("FR".into()), ..event(401, EventKind::Open) }])
        .await;
    assert_eq!(expire(300).await, Some(true));
}

/// A scanner's thousand looks come first: what is said of the reader goes by all events, and the newest are shown.
#[tokio::test]
async fn scanners_hide_no_reader() {
    let world = world().await;
    let scanned = Event { verdict: Verdict::Machine, rule: "network".into(), ..event(181, EventKind::Open) };
    put(&world, vec![scanned; 1_200]).await;
    let french = Event { country: Some("FR".into()), ..event(195, EventKind::Click) };
    put(&world, vec![event(190, EventKind::Open), french]).await;
    let message = message(&world).await;
    let bob = &message.recipients[0];
    assert_eq!((bob.read.as_deref(), bob.perhaps_shared), (Some("opened"), Some(true)));
    assert_eq!((message.events.len(), message.events.last().unwrap().verdict.as_str()), (1_000, "person"));
    let text = read(&world, PAGE).await;
    assert!(text.contains("forwarded or shared?") && text.contains("The newest 1,000 events are shown"), "{text}");
}

/// One alone whose opens are only counted: the count would be theirs, so nobody is given it as theirs.
#[tokio::test]
async fn a_count_of_one_is_not_told_as_theirs() {
    let world = world().await;
    let mut record = world.actions.history.message(NETWORKS).await.unwrap().unwrap();
    (record.id, record.recipients[0].opens) = (MessageId(0xcc), Mode::Aggregate);
    world.actions.history.insert(record).await.unwrap();
    let of = |kind| Event { id: TokenId { message: MessageId(0xcc), recipient: 7, link: 0 }, ..event(190, kind) };
    put(&world, vec![of(EventKind::Open), of(EventKind::Click)]).await;
    let view = world.actions.message(&Viewer::Operator, MessageId(0xcc)).await.unwrap();
    let message = shapes::Message::from(view);
    let bob = &message.recipients[0];
    assert_eq!((bob.counts.opens, bob.counts.machine_opens), (None, None));
    assert_eq!((bob.counts.clicks, bob.read.as_deref()), (Some(1), Some("inferred")));
}

/// That no place is known is said once; not where there is nothing to know it of.
#[tokio::test]
async fn unknown_places_are_said_once() {
    let world = world().await;
    let words = "Places are unknown";
    assert!(!read(&world, PAGE).await.contains(words), "nothing has happened");
    let nowhere = |minutes| Event { country: None, city: None, ..event(minutes, EventKind::Open) };
    put(&world, vec![Event { verdict: Verdict::Machine, ..nowhere(181) }]).await;
    assert!(!read(&world, PAGE).await.contains(words), "a machine is nowhere");
    put(&world, vec![nowhere(182), nowhere(190)]).await;
    assert_eq!(read(&world, PAGE).await.matches(words).count(), 1);
    put(&world, vec![event(200, EventKind::Open)]).await;
    assert!(!read(&world, PAGE).await.contains(words), "one is known");
}

/// The form as the page shows it, sent back with a change; then what may not be changed.
#[tokio::test]
async fn an_admin_steers_what_is_judged_and_kept() {
    let world = world().await;
    let boss = world.logged_in("boss");
    let page = boss.get("/orgs/acme").await.text;
    assert_eq!(page.matches("type=\"checkbox\" name=\"rule\"").count(), 11);
    let boxes = page.split("name=\"rule\" value=").skip(1).map(|rest| rest.split('>').next().unwrap());
    assert!(boxes.into_iter().all(|attributes| attributes.ends_with(" checked")), "{page}");
    let fields = [
        ("rules", "shown"),
        ("rule", "own"),
        ("rule", "burst"),
        ("own_networks", "192.0.2.0/24\n2001:db8::7"),
        ("place", "country"),
        ("honour_gpc", "off"),
        ("raw_evidence", "on"),
        ("events_days", "30"),
        ("messages_days", "60"),
    ];
    assert_eq!(boss.post("/orgs/acme", &fields).await.status, StatusCode::SEE_OTHER);
    let org = || world.settings.snapshot().orgs[&org_name("acme")].clone();
    let all_but = |on: &[&str]| -> Vec<String> {
        let names = Rule::ALL.iter().map(|rule| rule.as_str());
        names.filter(|name| !on.contains(name)).map(str::to_owned).collect()
    };
    assert_eq!(org().rules_off, all_but(&["own", "burst"]));
    assert_eq!(org().own_networks.len(), 2);
    let keeping = Keeping {
        place: PlaceDetail::Country,
        raw_evidence: true,
        honour_gpc: false,
        events_days: Some(30),
        messages_days: Some(60),
    };
    assert_eq!(org().keeping, keeping);
    let page = boss.get("/orgs/acme").await.text;
    assert!(
        page.contains("value=\"30\"")
            && page.contains("value=\"60\"")
            && page.contains("192.0.2.0/24\n2001:db8::7/128"),
        "{page}"
    );
    // A field that is not sent stays; an empty number is the server's.
    assert_eq!(boss.post("/orgs/acme", &[("events_days", "")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!((org().keeping, org().own_networks.len()), (Keeping { events_days: None, ..keeping }, 2));
    // What is wrong is said and changes nothing.
    for (field, value, words) in [
        ("own_networks", "0.0.0.0/0", "makes every reader one of your own people"),
        ("own_networks", "office", "office is no network"),
        ("place", "street", "is none of city, country"),
        ("events_days", "9999", "at most 3650 can be chosen"),
        ("messages_days", "9999", "at most 3650 can be chosen"),
    ] {
        let answer = boss.post("/orgs/acme", &[(field, value)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        assert!(answer.text.contains(words), "{words} not in {}", answer.text);
    }
    assert_eq!(org().own_networks.len(), 2);
    assert_eq!(world.logged_in("ann").post("/orgs/acme", &fields).await.status, StatusCode::FORBIDDEN);
}

/// What config.toml sets is shown and cannot be changed.
#[tokio::test]
async fn what_the_file_sets_is_read_only() {
    let world = world().await;
    let mut org = world.settings.snapshot().orgs[&org_name("acme")].clone();
    org.managed.place = true;
    org.managed.rules_off = true;
    world.settings.change(vec![crate::store::Change::PutOrg(org)]).await.unwrap();
    let boss = world.logged_in("boss");
    let page = boss.get("/orgs/acme").await.text;
    assert_eq!(page.matches("managed in config.toml").count(), 2, "{page}");
    for fields in [[("place", "country")], [("rules", "shown")]] {
        let answer = boss.post("/orgs/acme", &fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text.contains("is managed in config.toml"), "{}", answer.text);
    }
    assert_eq!(boss.post("/orgs/acme", &[("honour_gpc", "off")]).await.status, StatusCode::SEE_OTHER);
}

/// A month by the day, each as far as the viewer may know.
#[tokio::test]
async fn figures_are_for_whom_they_concern() {
    let world = world().await;
    let day = START_MS.div_euclid(86_400_000);
    let figures = async |login: Option<&str>, org: Option<&str>| {
        let viewer = login.map_or(Viewer::Operator, |login| {
            Viewer::of(&world.settings.snapshot().users[login], Author::of(audit::Via::Dashboard))
        });
        let query = FiguresQuery { org: org.map(org_name), last_day: day, days: 2, login: None };
        let days = world.actions.figures(&viewer, query).await.ok()?;
        assert_eq!(days.iter().map(|(day, _)| *day).collect::<Vec<_>>(), [day - 1, day], "no day is left out");
        Some((days[1].1.opens, days[1].1.clicks, days[1].1.machine_opens))
    };
    // Everything; one org's, for its admin; the own mail, for a sender; nobody else's.
    assert_eq!(figures(None, None).await, Some((2, 1, 1)));
    assert_eq!(figures(None, Some("other")).await, Some((1, 0, 0)));
    assert_eq!(figures(Some("boss"), None).await, Some((1, 1, 1)));
    assert_eq!(figures(Some("ann"), None).await, Some((1, 1, 1)));
    assert_eq!(figures(Some("mia"), None).await, Some((0, 0, 0)));
    assert_eq!(figures(Some("ann"), Some("other")).await, None);
    let today = jiff::Timestamp::now().as_millisecond();
    put(&world, vec![Event { at_ms: today, ..event(0, EventKind::Click) }]).await;
    let page = world.logged_in("root").get("/figures?org=acme").await.text;
    assert_eq!(page.matches("<rect class=\"opens\"").count(), 30, "{page}");
    assert!(page.contains("by people,") && page.contains("scope=\"row\""), "{page}");
    // The period is chosen; a year is drawn by the week; nonsense is a month.
    for (days, columns) in [("7", 7), ("90", 90), ("365", 53), ("1000000", 30)] {
        let page = world.logged_in("root").get(&format!("/figures?days={days}")).await.text;
        assert_eq!(page.matches("<rect class=\"opens\"").count(), columns, "{days}");
    }
    // Who rules chooses among senders; of another's mail an organisation's admin sees counts, not links or places.
    let of_boss = world.logged_in("boss").get("/figures?login=ann").await;
    assert_eq!(of_boss.status, 200);
    assert!(of_boss.text.matches("you see counts only").count() == 2, "{}", of_boss.text);
    let choice = world.logged_in("boss").get("/figures").await.text;
    assert!(choice.contains("/figures?days=30&#38;login=ann"), "{choice}");
    assert!(!world.logged_in("ann").get("/figures").await.text.contains("By sender"), "a sender has no others");
    assert_eq!(world.logged_in("ann").get("/figures?login=boss").await.status, 404);
    assert!(read(&world, "/figures?org=managed").await.contains("Nothing was opened or clicked in these days."));
}

/// With one mail, its country is its reader's: an organisation's admin learns places of the mail they may read.
#[tokio::test]
async fn places_are_of_mail_one_may_read() {
    let world = world().await;
    let id = TokenId { message: ANNS, recipient: 7, link: 0 };
    put(&world, vec![Event { id, country: Some("PT".to_owned()), ..event(0, EventKind::Open) }]).await;
    let day = START_MS.div_euclid(86_400_000);
    let places = async |login: &str, of: Option<&str>| {
        let viewer = Viewer::of(&world.settings.snapshot().users[login], Author::of(audit::Via::Dashboard));
        let query = FiguresQuery { org: None, last_day: day, days: 2, login: of.map(str::to_owned) };
        let places = world.actions.places(&viewer, query).await.ok()?;
        Some(places.into_iter().any(|place| place.country == "PT"))
    };
    for (login, of, expected) in [
        ("root", None, Some(true)),
        ("root", Some("boss"), Some(false)),
        ("ann", None, Some(true)),
        ("boss", None, Some(false)),
        ("boss", Some("ann"), None),
        ("ann", Some("boss"), None),
    ] {
        assert_eq!(places(login, of).await, expected, "{login} asks for {of:?}");
    }
}

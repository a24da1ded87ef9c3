//! The site over a real socket: every row of its table, what becomes an event, its limits and its end.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Instant;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;
use crate::event::network::network_hash;
use crate::event::{Event, EventKind, Verdict};
use crate::settings::{Mode, OrgName};
use crate::store::memory::MemorySettings;
use crate::store::record::{
    CopyCount, CopyFacts, CopyId, CopySpread, Correspondent, CorrespondentFilter, DayCount, DayCountFilter, Delivery,
    Expired, Expiry, Held, Judgements, LinkCount, MessageFilter, MessageRecord, MessageSummary, PlaceCount, RankedLink,
    Recording, TimelineEntry,
};
use crate::store::{BoxFuture, Change, Inserted, Override, Sealed, StoreError, TimelineFilter};
use crate::token::{Kind, MessageId, RootKey, Secret, Site as Host, SiteId, TokenId};

const DESTINATION: &str = "https://example.com/a%20b?x=1&y='\"#z";
const ID: TokenId = TokenId { message: MessageId(77), recipient: 5, link: 2 };
const ALL: Tracking = Tracking { opens: Mode::Individual, links: Mode::Individual, text_links: false };
const HOME: SiteId = SiteId([1; 4]);
const ACME: SiteId = SiteId([2; 4]);

/// A history that keeps events, or fails as told.
#[derive(Default)]
struct Recorded {
    events: Mutex<Vec<Event>>,
    fails: Mutex<Option<StoreError>>,
    copies: slow_store::Copies,
}

impl HistoryStore for Recorded {
    fn insert(&self, _: MessageRecord) -> BoxFuture<'_, Result<Inserted, StoreError>> {
        unimplemented!("the site inserts nothing")
    }
    fn settle(&self, _: MessageId, _: Vec<(u16, Delivery)>) -> BoxFuture<'_, Result<(), StoreError>> {
        unimplemented!("the site settles nothing")
    }
    fn leave_untracked(&self, _: MessageId, _: Vec<u16>, _: String) -> BoxFuture<'_, Result<(), StoreError>> {
        unimplemented!("the site sends nothing")
    }
    fn put_on_record(&self, recording: Arc<Recording>) -> BoxFuture<'_, Result<Vec<i64>, StoreError>> {
        Box::pin(async move {
            if let Some(error) = self.fails.lock().unwrap().clone() {
                return Err(error);
            }
            let mut events = self.events.lock().unwrap();
            for mended in &recording.mended {
                events[usize::try_from(mended.sequence - 1).unwrap()].repeats += mended.repeats;
            }
            events.extend(recording.events.iter().cloned());
            let first = events.len() - recording.events.len() + 1;
            Ok((first..=events.len()).map(|sequence| sequence as i64).collect())
        })
    }
    fn sealed_with(&self, _: u8) -> BoxFuture<'_, Result<Sealed, StoreError>> {
        unimplemented!("the site counts nothing")
    }
    fn held(&self, _: String, _: Option<OrgName>, _: u32) -> BoxFuture<'_, Result<Vec<Held>, StoreError>> {
        unimplemented!("the site looks nobody up")
    }
    fn erase(&self, _: Vec<(MessageId, u16)>) -> BoxFuture<'_, Result<(), StoreError>> {
        unimplemented!("the site erases nothing")
    }
    fn expire(&self, _: Expiry) -> BoxFuture<'_, Result<Expired, StoreError>> {
        unimplemented!("the site forgets nothing")
    }
    fn copies(&self, ids: Vec<CopyId>, _: Option<i64>) -> BoxFuture<'_, Result<Vec<Option<CopyFacts>>, StoreError>> {
        Box::pin(async move {
            self.copies.asked().await?;
            match self.fails.lock().unwrap().clone() {
                Some(error) => Err(error),
                None => Ok(ids.iter().map(|_| self.copies.facts.lock().unwrap().clone()).collect()),
            }
        })
    }
    fn copy_counts(&self, _: MessageId) -> BoxFuture<'_, Result<Vec<CopyCount>, StoreError>> {
        unimplemented!("the site asks nothing")
    }
    fn judgements(&self) -> BoxFuture<'_, Result<Judgements, StoreError>> {
        unimplemented!("the site asks nothing")
    }
    fn spreads(&self, _: MessageId) -> BoxFuture<'_, Result<Vec<CopySpread>, StoreError>> {
        unimplemented!("the site asks nothing")
    }
    fn day_counts(&self, _: DayCountFilter) -> BoxFuture<'_, Result<Vec<DayCount>, StoreError>> {
        unimplemented!("the site asks nothing")
    }
    fn link_counts(&self, _: MessageId) -> BoxFuture<'_, Result<Vec<LinkCount>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn ranked_links(&self, _: DayCountFilter) -> BoxFuture<'_, Result<Vec<RankedLink>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn places(&self, _: DayCountFilter) -> BoxFuture<'_, Result<Vec<PlaceCount>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn correspondents(&self, _: CorrespondentFilter) -> BoxFuture<'_, Result<Vec<Correspondent>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn correspondence(&self, _: CorrespondentFilter) -> BoxFuture<'_, Result<Vec<Held>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn messages(&self, _: MessageFilter) -> BoxFuture<'_, Result<Vec<MessageSummary>, StoreError>> {
        unimplemented!("the site asks nothing")
    }
    fn message(&self, _: MessageId) -> BoxFuture<'_, Result<Option<MessageRecord>, StoreError>> {
        unimplemented!("the site asks nothing")
    }
    fn timeline(&self, _: TimelineFilter) -> BoxFuture<'_, Result<Vec<TimelineEntry>, StoreError>> {
        unimplemented!("the site asks nothing")
    }
}

/// A running site.
struct Running {
    addr: SocketAddr,
    keyring: Arc<ArcSwap<Keyring>>,
    settings: Arc<MemorySettings>,
    history: Arc<Recorded>,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn start(options: Options) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let keyring = Arc::new(ArcSwap::from_pointee(keyring()));
        let settings = Arc::new(MemorySettings::default());
        let history = Arc::new(Recorded::default());
        let counters = Arc::new(Counters::default());
        let deps = Deps {
            keyring: Arc::clone(&keyring),
            settings: Arc::clone(&settings) as Arc<dyn SettingsStore>,
            history: Arc::clone(&history) as Arc<dyn HistoryStore>,
            geo: Arc::new(Geo::none()),
            counters: Arc::clone(&counters),
            privacy: Privacy::under(ALL, Arc::clone(&settings) as Arc<dyn SettingsStore>),
        };
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, deps, options, stopped));
        Running { addr, keyring, settings, history, counters, stop, serving }
    }

    fn path(&self, site: SiteId, kind: Kind) -> String {
        let payload = if kind == Kind::Click { DESTINATION } else { "" };
        let keyring = self.keyring.load();
        let token = keyring.sealer(site, 0).unwrap().seal(kind, ID, payload.as_bytes());
        [kind.path_prefix(), &token, kind.path_suffix()].concat()
    }

    async fn ask(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).await.unwrap();
        Reply::read(&octets)
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: t.example.com\r\nConnection: close\r\n\r\n")).await
    }

    /// Stops the site and gives what it has recorded.
    async fn end(self) -> Vec<Event> {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap().unwrap();
        std::mem::take(&mut *self.history.events.lock().unwrap())
    }
}

struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn read(octets: &[u8]) -> Reply {
        let end = octets.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer with a head");
        let head = std::str::from_utf8(&octets[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .filter(|(name, _)| name != "date")
            .collect();
        headers.sort();
        Reply { status, headers, body: octets[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

fn keyring() -> Keyring {
    let host = |id, url: &str, default| Host { id, url: url.to_owned(), former_urls: Vec::new(), default };
    let key = RootKey { id: 0, secret: Secret([3; 32]), created: Timestamp::UNIX_EPOCH, revoked: None };
    let sites = vec![host(HOME, "https://t.example.com", true), host(ACME, "https://t.acme.example", false)];
    Keyring::new(vec![key], sites).unwrap()
}

/// Each limit is counted under its name.
#[test]
fn what_a_client_met_is_counted() {
    let short = Duration::from_millis(50);
    let request = |more: usize| format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n", "y".repeat(more));
    let rows: [(&str, Options, String); 5] = [
        ("web_connections", Options { connections_max: 0, ..Options::default() }, String::new()),
        ("web_request_secs", Options { head_max: short, ..Options::default() }, request(1)),
        ("web_connection_secs", Options { connection_max: short, grace_max: short, ..Options::default() }, request(1)),
        ("web_head_bytes", Options { head_bytes_max: 8192, ..Options::default() }, request(20_000)),
        (
            "web_request_secs",
            Options {
                head_max: short,
                proxy_protocol: true,
                trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
                ..Options::default()
            },
            "PROXY ".to_owned(),
        ),
    ];
    for (limit, options, octets) in rows {
        let met = crate::telemetry::metrics::limits_met_in(async {
            let full = options.connections_max == 0;
            let running = Running::start(options).await;
            let mut stream = TcpStream::connect(running.addr).await.unwrap();
            stream.write_all(octets.as_bytes()).await.unwrap();
            if full {
                tokio::time::sleep(short).await; // nobody answers: it waits for a place
            } else {
                drop(stream.read_to_end(&mut Vec::new()).await);
            }
            running.end().await;
        });
        assert_eq!(met, [(limit.to_owned(), 1)]);
    }
}

#[tokio::test]
async fn the_pixel_is_an_image_for_any_token() {
    let site = Running::start(Options::default()).await;
    let good = site.path(HOME, Kind::Pixel);
    let click = site.path(HOME, Kind::Click).replace("/c/", "/i/") + ".gif";
    for path in [&good, &format!("{good}?utm=1"), "/i/.gif", "/i/x.gif", "/i/%00%ff/../x.gif", &click] {
        let reply = site.get(path).await;
        assert_eq!((reply.status, reply.body.as_slice()), (200, pixel::GIF.as_slice()), "{path}");
        assert_eq!(reply.header("content-type"), Some("image/gif"));
        assert_eq!(reply.header("content-length"), Some("43"));
        assert_eq!(reply.header("cache-control"), Some("no-store, private, max-age=0"));
    }
    assert_eq!(site.counters.bad_tokens(), 4);
    let events = site.end().await;
    let [open] = &events[..] else { panic!("one open, not {events:?}") };
    assert_eq!((open.kind, open.id, open.repeats), (EventKind::Open, ID, 1), "the second counts on the first");
}

#[tokio::test]
async fn a_click_leads_to_the_sealed_destination_octet_for_octet() {
    let site = Running::start(Options::default()).await;
    let good = site.path(HOME, Kind::Click);
    for path in [&good, &format!("{good}?to=https://evil.example/")] {
        let reply = site.get(path).await;
        assert_eq!((reply.status, reply.header("location")), (302, Some(DESTINATION)));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(reply.header("x-robots-tag"), Some("noindex"));
    }
    let events = site.end().await;
    let [click] = &events[..] else { panic!("one click, not {events:?}") };
    assert_eq!((click.kind, click.id, click.repeats), (EventKind::Click, ID, 1), "the second counts on the first");
}

/// A token of another kind, of another site, altered, cut, or none; a path that is nobody's.
#[tokio::test]
async fn what_does_not_open_is_a_plain_page_and_no_event() {
    let site = Running::start(Options::default()).await;
    let good = site.path(HOME, Kind::Click);
    let pixel = site.path(HOME, Kind::Pixel).replace("/i/", "/c/").replace(".gif", "");
    for path in [
        pixel.as_str(),
        &site.path(ACME, Kind::Click),
        &good.replace("/c/A", "/c/B"),
        &format!("{good}A"),
        &format!("{good}/"),
        "/c/",
        "/c/https://evil.example/",
        "/",
        "/I/x.gif",
        "/admin",
        "*",
    ] {
        let reply = site.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.header("location"), None);
        assert!(String::from_utf8(reply.body.clone()).unwrap().contains("does not work"));
        assert!(reply.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    assert_eq!(site.end().await, []);
}

#[tokio::test]
async fn the_sender_may_move_or_withdraw_a_link() {
    let site = Running::start(Options::default()).await;
    let good = site.path(HOME, Kind::Click);
    let change = |change| site.settings.change(vec![change]);
    change(Change::PutOverride(ID.message, ID.link + 1, Override::Withdrawn)).await.unwrap();
    assert_eq!(site.get(&good).await.header("location"), Some(DESTINATION), "that was another link");
    let moved = Override::Destination("https://example.org/new".to_owned());
    change(Change::PutOverride(ID.message, ID.link, moved)).await.unwrap();
    assert_eq!(site.get(&good).await.header("location"), Some("https://example.org/new"));
    change(Change::PutOverride(ID.message, ID.link, Override::Withdrawn)).await.unwrap();
    let reply = site.get(&good).await;
    assert_eq!((reply.status, reply.header("location")), (410, None));
    assert!(reply.header("content-security-policy").is_some());
    change(Change::RemoveOverride(ID.message, ID.link)).await.unwrap();
    assert_eq!(site.get(&good).await.header("location"), Some(DESTINATION));
}

/// The host in any case and with any port; nobody's host and none is the default site; the absolute form counts.
#[tokio::test]
async fn the_host_picks_the_site() {
    let site = Running::start(Options::default()).await;
    let (home, acme) = (site.path(HOME, Kind::Click), site.path(ACME, Kind::Click));
    for (line, host, status) in [
        (acme.clone(), "T.Acme.example:81", 302),
        (home.clone(), "t.acme.example", 404),
        (home.clone(), "127.0.0.1:8025", 302),
        (home.clone(), "", 302),
        (format!("http://t.acme.example{acme}"), "t.example.com", 302),
    ] {
        let reply = site.ask(&format!("GET {line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(reply.status, status, "{line} at {host}");
    }
    assert_eq!(site.ask(&format!("GET {home} HTTP/1.0\r\n\r\n")).await.status, 302);
}

#[tokio::test]
async fn head_answers_as_get_and_is_no_event() {
    let site = Running::start(Options::default()).await;
    for path in [site.path(HOME, Kind::Pixel), site.path(HOME, Kind::Click), "/healthz".to_owned(), "/x".to_owned()] {
        let head = site.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: t.example.com\r\nConnection: close\r\n\r\n")).await;
        let get = site.get(&path).await;
        assert_eq!((head.status, &head.headers), (get.status, &get.headers), "{path}");
        assert!(head.body.is_empty());
    }
    assert_eq!(site.end().await.len(), 2, "the two GETs");
}

#[tokio::test]
async fn other_methods_are_refused_and_no_event() {
    let site = Running::start(Options::default()).await;
    for (method, body) in [("POST", "a=1"), ("PUT", "x"), ("OPTIONS", ""), ("DELETE", ""), ("TRACE", "")] {
        for path in [site.path(HOME, Kind::Pixel), site.path(HOME, Kind::Click)] {
            let length = body.len();
            let reply = site
                .ask(&format!(
                    "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                ))
                .await;
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    assert_eq!(site.end().await, []);
}

#[tokio::test]
async fn health_answers_and_no_answer_sets_a_cookie() {
    let site = Running::start(Options::default()).await;
    let reply = site.get("/healthz").await;
    assert_eq!((reply.status, reply.body.as_slice()), (200, b"ok\n".as_slice()));
    for path in [site.path(HOME, Kind::Pixel), site.path(HOME, Kind::Click), "/healthz".to_owned(), "/".to_owned()] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nCookie: id=1\r\nConnection: close\r\n\r\n");
        assert_eq!(site.ask(&request).await.header("set-cookie"), None);
    }
}

/// What is kept of a visit: families and a keyed hash, neither address nor agent; whom a trusted proxy names.
#[tokio::test]
async fn an_event_keeps_what_it_may() {
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let site = Running::start(Options { trusted_proxies, ..Options::default() }).await;
    let path = site.path(HOME, Kind::Pixel);
    let agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.3.1";
    for lines in [
        format!("User-Agent: {agent}\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.77\r\n"),
        "Sec-Purpose: prefetch;prerender\r\n".to_owned(),
        "X-Moz: prefetch\r\n".to_owned(),
    ] {
        let reply = site.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n")).await;
        assert_eq!(reply.status, 200);
    }
    let instance = keyring().instance_key().clone();
    let events = site.end().await;
    let [person, prefetched] = &events[..] else { panic!("two events, not {events:?}") };
    let expected = Event {
        at_ms: person.at_ms,
        id: ID,
        kind: EventKind::Open,
        verdict: Verdict::Person,
        rule: String::new(),
        former: None,
        repeats: 0,
        country: None,
        city: None,
        via: None,
        agent_family: Some("Thunderbird".to_owned()),
        os_family: Some("Windows".to_owned()),
        device_family: Some("PC".to_owned()),
        network_hash: Some(network_hash(&instance, ID.message, "192.0.2.0".parse().unwrap())),
        evidence: None,
    };
    assert_eq!(*person, expected);
    assert!((Timestamp::now().as_millisecond() - person.at_ms).abs() < 60_000);
    let seen = (prefetched.verdict, prefetched.rule.as_str(), prefetched.repeats);
    assert_eq!(seen, (Verdict::Machine, "prefetch", 1));
}

/// With a history that takes nothing every answer is as ever, and what does not fit the queue is counted.
#[tokio::test]
async fn recording_may_fail_serving_may_not() {
    let site = Running::start(Options { event_queue_max: 2, ..Options::default() }).await;
    let fails = |error| *site.history.fails.lock().unwrap() = error;
    fails(Some(StoreError::Disk { store: "history", detail: "no space".to_owned() }));
    let path = site.path(HOME, Kind::Click);
    for _ in 0..10 {
        assert_eq!(site.get(&path).await.header("location"), Some(DESTINATION));
    }
    // At most three are in the recorder's hand and two wait; the rest are lost.
    let lost = site.counters.lost();
    assert!((5..=8).contains(&lost), "{lost} of 10 lost");
    assert_eq!(site.counters.recorded(), 0);
    fails(None);
    let (counters, started) = (Arc::clone(&site.counters), Instant::now());
    let events = site.end().await;
    let times: u64 = events.iter().map(|event| 1 + u64::from(event.repeats)).sum();
    assert_eq!((times, counters.recorded(), counters.lost()), (10 - lost, 10 - lost, lost));
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn events_a_store_refuses_are_counted_as_lost() {
    let site = Running::start(Options::default()).await;
    let refused = StoreError::Refused { store: "history", detail: "no".to_owned() };
    *site.history.fails.lock().unwrap() = Some(refused);
    site.get(&site.path(HOME, Kind::Pixel)).await;
    let counters = Arc::clone(&site.counters);
    assert_eq!(site.end().await, []);
    assert_eq!((counters.recorded(), counters.lost()), (0, 1));
}

#[tokio::test]
async fn a_head_too_large_or_too_slow_ends_the_connection() {
    let options = Options { head_max: Duration::from_millis(200), ..Options::default() };
    let site = Running::start(options).await;
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
    assert_eq!(site.ask(&large).await.status, 431);
    let long = format!("GET /c/{} HTTP/1.1\r\nHost: x\r\n\r\n", "A".repeat(HEAD_BYTES_MAX));
    assert!([414, 431].contains(&site.ask(&long).await.status));
    // Nothing sent; half a head; one answer and then nothing.
    for begun in ["", "GET / HTTP/1.1\r\nHost:", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(site.addr).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut octets = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(3), stream.read_to_end(&mut octets)).await;
        assert!(closed.is_ok(), "{begun:?} is still open");
    }
}

/// It reads nothing of what it asks for, so no answer can be sent any more: the connection's life is limited.
#[tokio::test]
async fn a_client_that_never_reads_ends_too() {
    let options = Options {
        connection_max: Duration::from_millis(300),
        grace_max: Duration::from_millis(100),
        connections_max: 1,
        ..Options::default()
    };
    let site = Running::start(options).await;
    let mut stream = TcpStream::connect(site.addr).await.unwrap();
    let requests = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10_000);
    let flood = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_secs(5), flood).await.is_ok(), "it is still served");
    assert_eq!(site.get("/healthz").await.status, 200, "its place is free again");
}

#[tokio::test]
async fn beyond_the_limit_a_client_waits_its_turn() {
    let site = Running::start(Options { connections_max: 1, ..Options::default() }).await;
    let first = TcpStream::connect(site.addr).await.unwrap();
    let mut second = TcpStream::connect(site.addr).await.unwrap();
    second.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut octets = [0; 4096];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut octets)).await;
    assert!(early.is_err(), "served beside the first");
    drop(first);
    assert!(second.read(&mut octets).await.unwrap() > 0);
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let site = Running::start(Options::default()).await;
    let mut idle = TcpStream::connect(site.addr).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut octets = [0; 4096];
    assert!(idle.read(&mut octets).await.unwrap() > 0);
    let addr = site.addr;
    let started = Instant::now();
    site.end().await;
    assert!(started.elapsed() < Duration::from_secs(HEAD_SECS_MAX), "{:?}", started.elapsed());
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
}

/// A trusted proxy's word comes first and counts; without it, or without the option, there is no connection or no header.
#[tokio::test]
async fn a_proxy_says_for_whom_it_connects() {
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let options = Options { trusted_proxies, proxy_protocol: true, ..Options::default() };
    let site = Running::start(Options { head_max: Duration::from_millis(300), ..options.clone() }).await;
    let path = site.path(HOME, Kind::Pixel);
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n");
    let reply = site.ask(&format!("PROXY TCP4 192.0.2.77 127.0.0.1 4711 80\r\n{request}")).await;
    assert_eq!(reply.status, 200);
    for unsaid in ["PROXY", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(site.addr).await.unwrap();
        stream.write_all(unsaid.as_bytes()).await.unwrap();
        let mut octets = Vec::new();
        // A reset is as good as an end.
        let answer = tokio::time::timeout(Duration::from_secs(3), stream.read_to_end(&mut octets)).await;
        assert!(answer.is_ok() && octets.is_empty(), "{unsaid} was answered");
    }
    let instance = keyring().instance_key().clone();
    let events = site.end().await;
    let from = |address: &str| Some(network_hash(&instance, ID.message, address.parse().unwrap()));
    assert_eq!(events.iter().map(|event| event.network_hash).collect::<Vec<_>>(), [from("192.0.2.77")]);

    let open = Running::start(Options { trusted_proxies: Vec::new(), ..options }).await;
    assert_eq!(open.get("/healthz").await.status, 200, "who is not trusted says nothing first");
}

mod preference;
mod protected;
mod slow_store;

/// A look changes nothing, a POST stops the notices and is answered when that is kept; other tokens are nobody's.
#[tokio::test]
async fn notices_are_stopped_with_one_click() {
    let site = Running::start(Options::default()).await;
    let (login, role) = ("ann@acme.example".to_owned(), crate::settings::Role::Sender);
    let user = crate::settings::User::new(login, None, role, String::new());
    let asked = crate::settings::notices::NoticeChoice { level: crate::settings::notices::Level::Every, mail: true };
    let put = vec![Change::PutUser(user.clone()), Change::PutNotices(user.login.clone(), asked)];
    site.settings.change(put).await.unwrap();
    let path = site.keyring.load().stop_path([9; 12], &user.login).unwrap();
    let post = |path: &str| {
        let body = "List-Unsubscribe=One-Click";
        format!(
            "POST {path} HTTP/1.1\r\nHost: t.example.com\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let page = site.get(&path).await;
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert!(text.contains("<form method=\"post\">") && !text.contains("ann"), "{text}");
    assert!(page.header("content-security-policy").unwrap().contains("form-action 'self'"));
    assert_eq!(site.settings.snapshot().notices[&user.login], asked, "a look changes nothing");
    assert_eq!(site.ask(&post(&path)).await.status, 200);
    let stopped = site.settings.snapshot().notices[&user.login];
    assert_eq!((stopped.mail, stopped.level), (false, asked.level));
    assert_eq!(site.ask(&post(&path)).await.status, 200, "again is no error");
    let cut = path.split_at(path.len() - 3).0;
    for other in ["/n/", "/n/AAAA", cut] {
        assert_eq!((site.get(other).await.status, site.ask(&post(other)).await.status), (404, 404), "{other}");
    }
    // Somebody who is gone is not brought back.
    let gone = site.keyring.load().stop_path([8; 12], "gone").unwrap();
    assert_eq!(site.ask(&post(&gone)).await.status, 200);
    assert!(!site.settings.snapshot().notices.contains_key("gone"));
    assert_eq!(site.end().await, []);
}

//! Two organisations, six logins, four mails with a history, a queue of five, an inbox of two: enough for every page and every role.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::queued::QueueOfFive;
use super::telling::Telling;
use crate::admin::http::Peer;
use crate::admin::session::SessionId;
use crate::admin::setup::{DoorTls, Setup, SetupDoor};
use crate::admin::{
    self, Actions, InboxEntry, InboxReader, KeyEntry, Keys, LimiterOptions, MetricsText, Options, Parts, PortError,
    Site, Submitted, TestMail, TestMailRequest, UpstreamPasswords,
};
use crate::event::{Event, EventKind, Verdict};
use crate::settings::access::{Credential, Gift, Invitation, Purpose};
use crate::settings::{Managed, Mode, Org, OrgName, Role, Tracking, User};
use crate::store::consents::Consents;
use crate::store::logins::{LoginOptions, Logins};
use crate::store::memory::{MemoryHistory, MemorySettings};
use crate::store::record::{Delivery, DeliveryState, LinkRecord, MessageRecord, RecipientRecord};
use crate::store::{BoxFuture, Change, HistoryStore as _, SettingsStore as _};
use crate::token::{self, Keyring, MessageId, RootKey, Secret, SiteId, TokenId};

/// Everybody's password.
pub(super) const PASSWORD: &str = "correct horse battery";
/// Its hash, made once for all tests: argon2id is slow on purpose.
static PASSWORD_HASH: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
/// What every text of a mail carries: it must never reach a page unescaped.
pub(super) const HOSTILE: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>";
/// 23 November 2026, 20:00 UTC.
pub(super) const START_MS: i64 = 1_795_464_000_000;

/// ann's mail in `acme`, boss's mail in `acme`, eve's mail in `other`, a mail from acme's trusted network.
pub(super) const ANNS: MessageId = MessageId(0xa1);
pub(super) const BOSSES: MessageId = MessageId(0xb0);
pub(super) const EVES: MessageId = MessageId(0xe0);
pub(super) const NETWORKS: MessageId = MessageId(0xff);

/// A site with its stores.
pub(super) struct World {
    pub(super) site: Arc<Site>,
    pub(super) actions: Arc<Actions>,
    pub(super) settings: Arc<MemorySettings>,
    pub(super) ceiling: Arc<ArcSwap<Tracking>>,
    pub(super) queue: Arc<QueueOfFive>,
    pub(super) telling: Telling,
}

pub(super) fn org_name(name: &str) -> OrgName {
    name.parse().unwrap()
}

fn org(name: &str, domain: &str) -> Org {
    Org { domains: vec![domain.to_owned()], ..Org::named(org_name(name)) }
}

fn user(login: &str, org: Option<&str>, role: Role, password_hash: &str) -> Change {
    Change::PutUser(User::new(login.to_owned(), org.map(org_name), role, password_hash.to_owned()))
}

/// The world with the built-in inbox.
pub(super) async fn world() -> World {
    let settings = Arc::new(MemorySettings::default());
    let history = Arc::new(MemoryHistory::default());
    let logins = Arc::new(Logins::new(settings.clone(), LoginOptions::default()).unwrap());
    let hash = PASSWORD_HASH.get_or_init(async || logins.hash(PASSWORD).await.unwrap()).await;
    let managed =
        Org { managed: Managed { org: true, opens: true, ..Managed::default() }, ..org("managed", "m.example") };
    let changes = vec![
        Change::PutOrg(org("acme", "acme.example")),
        Change::PutOrg(org("other", "other.example")),
        Change::PutOrg(managed),
        user("root", None, Role::ServerAdmin, hash),
        user("boss", Some("acme"), Role::OrgAdmin, hash),
        user("ann", Some("acme"), Role::Sender, hash),
        user("chief", Some("other"), Role::OrgAdmin, hash),
        user("eve", Some("other"), Role::Sender, hash),
        user("mia", Some("managed"), Role::OrgAdmin, hash),
        Change::PutInvitation(Invitation {
            digest: [0xbb; 32],
            gives: Gift::Account { login: "invited".to_owned(), org: Some(org_name("acme")), role: Role::Sender },
            by: "root".to_owned(),
            expires_at_ms: i64::MAX,
        }),
        Change::PutCredential(Credential {
            login: "ann".to_owned(),
            name: "laptop".to_owned(),
            purpose: Purpose::Mail,
            digest: [0xaa; 32],
            created_at_ms: START_MS,
        }),
    ];
    settings.change(changes).await.unwrap();
    for record in records() {
        history.insert(record).await.unwrap();
    }
    history.record(events()).await.unwrap();
    let ceiling = Arc::new(ArcSwap::from_pointee(Tracking {
        opens: Mode::Individual,
        links: Mode::Aggregate,
        text_links: false,
    }));
    let queue = Arc::new(QueueOfFive::new());
    let telling = Telling::new(settings.clone(), history.clone()).await;
    let actions = Arc::new(Actions::new(Parts {
        settings: settings.clone(),
        history: history.clone(),
        logins,
        ceiling: ceiling.clone(),
        inbox: Some(Arc::new(Inbox)),
        test_mail: Some(Arc::new(Tester)),
        keys: Some(Arc::new(KeyFile)),
        queue: Some(queue.clone()),
        metrics: Some(Arc::new(Counted)),
        privacy: Some(privacy(settings.clone())),
        notify: Some(Arc::clone(&telling.notify)),
        health: Some(Arc::new(super::health::Examined)),
        upstream_passwords: Some(Arc::new(Sealing)),
    }));
    let options = Options {
        limiter: LimiterOptions { per_address_max: 1_000, ..LimiterOptions::default() },
        example_command:
            "curl smtp://127.0.0.1:2525 --mail-from you@example.com --mail-rcpt reader@example.com -T mail.eml".into(),
        example_org: Some(org_name("acme")),
        setup: Setup {
            host: "relay.acme.example".to_owned(),
            doors: vec![
                SetupDoor { port: 2587, tls: DoorTls::StartTls, loopback: true, networks: true },
                SetupDoor { port: 2465, tls: DoorTls::Implicit, loopback: true, networks: false },
            ],
            self_signed: true,
            passthrough: false,
            inbox: true,
        },
        ..Options::default()
    };
    let site = Site::new(actions.clone(), options, admin::direct_clients());
    World { site, actions, settings, ceiling, queue, telling }
}

fn privacy(settings: Arc<MemorySettings>) -> admin::Privacy {
    let key = RootKey { id: 0, secret: Secret([3; 32]), created: jiff::Timestamp::UNIX_EPOCH, revoked: None };
    let url = "https://t.example.com".to_owned();
    let site = token::Site { id: SiteId([1; 4]), url, former_urls: Vec::new(), default: true };
    admin::Privacy {
        consents: Arc::new(Consents::new(settings)),
        keyring: Arc::new(ArcSwap::from_pointee(Keyring::new(vec![key], vec![site]).unwrap())),
        consent: Arc::default(),
    }
}

pub(super) fn records() -> Vec<MessageRecord> {
    let plain = |id: MessageId, org: &str, login: Option<&str>, minutes: i64, subject: &str| MessageRecord {
        id,
        accepted_at_ms: START_MS + minutes * 60_000,
        org: org_name(org),
        login: login.map(str::to_owned),
        reverse_path: format!("{}@{org}.example", login.unwrap_or("robot")),
        header_from: format!("{}@{org}.example", login.unwrap_or("robot")),
        subject: subject.to_owned(),
        message_id_header: format!("<{id}@{org}.example>"),
        size_bytes: 20_480,
        network_hash: None,
        site: SiteId([1, 2, 3, 4]),
        key_id: 1,
        untouched: None,
        notes: vec!["link 3 left: it is the unsubscribe link".into(), "text/plain left: text links are off".into()],
        recipients: vec![recipient(
            7,
            "bob@reader.example",
            DeliveryState::Accepted,
            "2.0.0 Ok: queued as 4F1",
            minutes,
        )],
        links: vec![link(0, "https://shop.example/offer?id=42"), link(1, "https://docs.example/terms")],
    };
    let anns = MessageRecord {
        recipients: vec![
            recipient(7, "bob@reader.example", DeliveryState::Accepted, "2.0.0 Ok: queued as 4F1", 1),
            recipient(9, "cy@reader.example", DeliveryState::Refused, "5.1.1 <cy@reader.example>: no such user", 1),
            recipient(11, &format!("\"{HOSTILE}\"@x.example"), DeliveryState::Deferred, "4.2.0 try later", 2),
        ],
        ..plain(ANNS, "acme", Some("ann"), 0, "Your offer of today")
    };
    let hostile = MessageRecord {
        untouched: Some("the mail is signed (multipart/signed)".into()),
        notes: vec![HOSTILE.into()],
        links: vec![link(0, &format!("https://x.example/{HOSTILE}"))],
        header_from: HOSTILE.into(),
        message_id_header: HOSTILE.into(),
        ..plain(BOSSES, "acme", Some("boss"), 60, HOSTILE)
    };
    vec![
        anns,
        hostile,
        plain(EVES, "other", Some("eve"), 120, "Secret of other"),
        plain(NETWORKS, "acme", None, 180, "Report of the night"),
    ]
}

fn recipient(index: u16, address: &str, state: DeliveryState, reply: &str, minutes: i64) -> RecipientRecord {
    RecipientRecord {
        index,
        copy_index: index,
        address: address.to_owned(),
        name: if address.starts_with("bob@") { "Bob Reader".to_owned() } else { String::new() },
        opens: Mode::Individual,
        links: Mode::Individual,
        delivery: Delivery { state, reply: reply.to_owned(), at_ms: START_MS + minutes * 60_000 + 1_500 },
    }
}

fn link(index: u16, destination: &str) -> LinkRecord {
    LinkRecord { index, destination: destination.to_owned() }
}

fn events() -> Vec<Event> {
    let event = |message, minutes: i64, kind, link, verdict| Event {
        at_ms: START_MS + minutes * 60_000,
        id: TokenId { message, recipient: 7, link },
        kind,
        verdict,
        rule: String::new(),
        former: None,
        repeats: 0,
        city: None,
        via: None,
        country: Some("DE".into()),
        agent_family: Some("Thunderbird".into()),
        os_family: Some("Linux".into()),
        device_family: None,
        network_hash: Some([9; 8]),
        evidence: None,
    };
    vec![
        event(ANNS, 14, EventKind::Open, 0, Verdict::Unknown),
        event(ANNS, 15, EventKind::Click, 0, Verdict::Unknown),
        event(ANNS, 16, EventKind::Open, 0, Verdict::Machine),
        event(EVES, 130, EventKind::Open, 0, Verdict::Unknown),
    ]
}

struct Inbox;

/// The mails of the inbox: one of ours, one hostile in every header.
fn mails() -> Vec<(InboxEntry, Bytes)> {
    let entry = |id: &str, from: &str, to: &str, size_bytes| InboxEntry {
        id: id.to_owned(),
        received_at_ms: START_MS + 7_000,
        from: from.to_owned(),
        to: vec![to.to_owned()],
        size_bytes,
    };
    let offer = "From: Ann <ann@acme.example>\r\nTo: bob@reader.example\r\nSubject: Your offer of today\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello Bob\r\n--b\r\nContent-Type: text/html\r\n\r\n\
        <!doctype html><html><body style=\"font-family:sans-serif\"><h1>Hello Bob</h1><p>Here is <a href=\"https://shop.example/offer\">your offer</a>.</p></body></html>\r\n--b--\r\n";
    let hostile = format!("From: {HOSTILE}\r\nTo: {HOSTILE}\r\nSubject: {HOSTILE}\r\n\r\n{HOSTILE}\r\n");
    vec![
        (entry("20261123T200007Z-a1", "ann@acme.example", "bob@reader.example", offer.len() as u64), offer.into()),
        (entry("20261123T200007Z-b2", HOSTILE, HOSTILE, hostile.len() as u64), hostile.into()),
    ]
}

impl InboxReader for Inbox {
    fn list(&self, before: Option<String>, limit: usize) -> BoxFuture<'_, Result<Vec<InboxEntry>, PortError>> {
        let skipped = before.map_or(0, |before| 1 + mails().iter().take_while(|(entry, _)| entry.id != before).count());
        let entries = mails().into_iter().map(|(entry, _)| entry).skip(skipped).take(limit).collect();
        Box::pin(async move { Ok(entries) })
    }

    fn read(&self, id: &str) -> BoxFuture<'_, Result<Option<(InboxEntry, Bytes)>, PortError>> {
        let found = mails().into_iter().find(|(entry, _)| entry.id == id);
        Box::pin(async move { Ok(found) })
    }
}

/// Acme has an upstream of its own; what is sealed is turned.
struct Sealing;

impl UpstreamPasswords for Sealing {
    fn takes(&self, org: &OrgName) -> bool {
        org.as_str() == "acme"
    }
    fn seal(&self, org: &OrgName, password: &str) -> Option<Vec<u8>> {
        self.takes(org).then(|| password.bytes().map(|octet| !octet).collect())
    }
    fn renew(&self) -> BoxFuture<'_, Result<(), PortError>> {
        Box::pin(async { Ok(()) })
    }
}

struct Tester;

impl TestMail for Tester {
    fn suggested_to(&self) -> String {
        "reader@example.com".to_owned()
    }

    fn send(&self, request: TestMailRequest) -> BoxFuture<'_, Result<Submitted, PortError>> {
        Box::pin(async move {
            match request.to.as_str() {
                "nobody@example.com" => Err(PortError("550 5.1.1 no such user".to_owned())),
                "lost@example.com" => Ok(Submitted { words: "250 2.0.0 accepted".to_owned(), message: None }),
                _ => Ok(Submitted { words: "250 2.0.0 accepted".to_owned(), message: Some(ANNS) }),
            }
        })
    }
}

struct KeyFile;

impl Keys for KeyFile {
    fn list(&self) -> BoxFuture<'_, Result<Vec<KeyEntry>, PortError>> {
        let key = |id, current| KeyEntry { id, created_at_ms: START_MS, current, revoked: false };
        Box::pin(async move { Ok(vec![key(0, false), key(1, true)]) })
    }

    fn rotate(&self) -> BoxFuture<'_, Result<KeyEntry, PortError>> {
        Box::pin(async { Ok(KeyEntry { id: 2, created_at_ms: START_MS, current: true, revoked: false }) })
    }

    fn revoke(&self, id: u8) -> BoxFuture<'_, Result<KeyEntry, PortError>> {
        Box::pin(async move { Ok(KeyEntry { id, created_at_ms: START_MS, current: false, revoked: true }) })
    }
}

struct Counted;

impl MetricsText for Counted {
    fn text(&self) -> BoxFuture<'_, String> {
        Box::pin(async { "waxseal_trial_total 7\n".to_owned() })
    }
}

/// An answer, whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// A browser: keeps its cookie, sends forms as browsers do.
pub(super) struct Browser {
    router: Router,
    pub(super) cookie: String,
    pub(super) csrf: String,
    /// Where it connects from; `None`: over no socket.
    peer: Option<IpAddr>,
}

impl World {
    pub(super) fn stranger(&self) -> Browser {
        Browser { router: admin::router(self.site.clone()), cookie: String::new(), csrf: String::new(), peer: None }
    }

    /// A browser whose session is simply there.
    pub(super) fn logged_in(&self, login: &str) -> Browser {
        let user = self.settings.snapshot().users.get(login).cloned().unwrap();
        let session = SessionId::random().unwrap();
        self.site.sessions().begin(&session, &user, "curl".to_owned(), std::time::Instant::now());
        Browser { cookie: format!("waxseal={}", session.as_str()), csrf: session.csrf_token(), ..self.stranger() }
    }

    /// Logs in through the form.
    pub(super) async fn browser(&self, login: &str) -> Browser {
        let mut browser = self.stranger();
        let answer = browser.post("/login", &[("login", login), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{login} logs in: {}", answer.text);
        browser.cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        let page = browser.get("/account").await;
        let token = page.text.split("name=\"csrf\" value=\"").nth(1).expect("a page has a form token");
        browser.csrf = token.split('"').next().unwrap().to_owned();
        browser
    }
}

impl Browser {
    /// The same at this address.
    pub(super) fn at(self, address: &str) -> Browser {
        Browser { peer: Some(address.parse().unwrap()), ..self }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path)).await
    }

    /// `stream` when the answer is one.
    pub(super) async fn begins_stream(&self, path: &str) -> String {
        let response = self.open(Request::get(path)).await;
        let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        match kind.as_deref() {
            Some("text/event-stream; charset=utf-8") => "stream".to_owned(),
            _ => response.status().as_u16().to_string(),
        }
    }

    /// The answer as it begins.
    pub(super) async fn open(&self, request: axum::http::request::Builder) -> Response<Body> {
        let request = request.header(header::COOKIE, &self.cookie).body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let encode = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
        let csrf = ("csrf", self.csrf.as_str());
        let pairs: Vec<String> =
            fields.iter().chain([&csrf]).map(|(name, value)| format!("{name}={}", encode(value))).collect();
        self.post_body(path, pairs.join("&")).await
    }

    pub(super) async fn post_body(&self, path: &str, body: String) -> Answer {
        let form = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        self.answer(form.header(header::COOKIE, &self.cookie).body(Body::from(body)).unwrap()).await
    }

    pub(super) async fn send(&self, request: axum::http::request::Builder) -> Answer {
        self.answer(request.header(header::COOKIE, &self.cookie).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn answer(&self, mut request: Request<Body>) -> Answer {
        if let Some(address) = self.peer {
            request.extensions_mut().insert(Peer(address));
        }
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }
}

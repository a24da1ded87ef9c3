//! Every page of the dashboard and its twin in the API over a year of mail: 100,000 messages and 2,000,000 events.
//! `cargo bench --bench pages [-- messages events times [FOLDER]]`; with a folder the history is kept and found again.
//!
//! The history is written at once (`history.sql`), then a whole waxseal runs over it. What is measured is one request on
//! a connection kept alive over loopback, from its first octet to the answer's last; and the CPU it took on all threads,
//! which a busy machine changes little. The pages are those of the routers' own tables: each address that answers GET is
//! asked, some of them in several ways. It fails when one answers otherwise than it should, or when the slowest twentieth
//! of a page's answers begins above [`AIM`].

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement ends at the first thing that is not as it should be"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use waxseal::admin::first_run::{ADMIN_LOGIN, ensure_admin};
use waxseal::app::App;
use waxseal::config::Config;
use waxseal::settings::{Role, User};
use waxseal::store::history::{self, SqliteHistory};
use waxseal::store::logins::{LoginOptions, Logins};
use waxseal::store::settings::{self, SledSettings};
use waxseal::store::{Change, HISTORY_FILE, KEYS_FILE, SETTINGS_FOLDER, SettingsStore as _, key_file};

const PASSWORD: &str = "correct horse battery";
/// What no page may take, but for one answer in twenty.
const AIM: Duration = Duration::from_millis(100);
/// Logins besides those that ask.
const USERS: usize = 1_000;
const CONFIG: &str = r#"
[server]
hostname = "localhost"
data_dir = "data"
[[listener]]
addr = "127.0.0.1:0"
tls = "starttls"
networks = ["127.0.0.0/8"]
org = "acme"
# Nobody is asked and nobody answers: what is measured is here.
[dns]
servers = ["127.0.0.1:9"]
[upstream]
mode = "inbox"
[web]
tracking = "127.0.0.1:0"
public_url = "http://t.example"
admin = "127.0.0.1:0"
[tracking]
opens = "individual"
links = "individual"
text_links = false
[privacy]
consent = "none"
[[org]]
name = "acme"
domains = ["acme.example"]
# Its mail waits in the queue; the others' ends in the inbox.
[org.upstream]
host = "127.0.0.1"
port = 9
tls = "none"
[[org]]
name = "beta"
domains = ["beta.example"]
[[org]]
name = "gamma"
domains = ["gamma.example"]
"#;

struct Asked {
    messages: u64,
    events: u64,
    times: usize,
    folder: Option<PathBuf>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let number = |at: usize, default| words.get(at).map_or(default, |word: &String| word.parse().unwrap());
    let times = usize::try_from(number(2, 30)).unwrap();
    let asked = Asked {
        messages: number(0, 100_000),
        events: number(1, 2_000_000),
        times,
        folder: words.get(3).map(PathBuf::from),
    };
    let temporary = tempfile::tempdir().unwrap();
    let folder = asked.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let database = folder.join("data").join(HISTORY_FILE);
    if !database.exists() {
        // As the program wants it: nobody else's to read, and the keys there before the rest.
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder.join("data")).unwrap();
        let url = "http://t.example";
        key_file::open(&folder.join("data").join(KEYS_FILE), url, jiff::Timestamp::now()).unwrap();
        write_history(&database, &asked);
        runtime.block_on(write_settings(&folder.join("data").join(SETTINGS_FOLDER)));
    }
    println!("{} MB of history", std::fs::metadata(&database).unwrap().len() / 1_000_000);
    let config = Config::parse(CONFIG, &folder).unwrap().config;
    let app = runtime.block_on(App::start(config)).unwrap();
    let slow = ask_all(app.admin(), &asked);
    runtime.block_on(app.stop());
    for one in &slow {
        println!("above {} ms: {one}", AIM.as_millis());
    }
    if slow.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The tables by the program's own schema, filled in one commit.
fn write_history(path: &Path, asked: &Asked) {
    let begun = Instant::now();
    drop(SqliteHistory::open(path, &history::Options::default()).unwrap());
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; BEGIN").unwrap();
    let now = jiff::Timestamp::now().as_millisecond().to_string();
    let (messages, events) = (asked.messages.to_string(), asked.events.to_string());
    let sql = include_str!("history.sql");
    let sql = sql.replace(":messages", &messages).replace(":events", &events).replace(":now_ms", &now);
    connection.execute_batch(&sql).unwrap();
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    println!("{messages} messages and {events} events written in {:.0} s", begun.elapsed().as_secs_f64());
}

/// One who asks in each role, and many others.
async fn write_settings(folder: &Path) {
    let settings = Arc::new(SledSettings::open(folder, &settings::Options::default()).unwrap());
    let logins = Logins::new(settings.clone(), LoginOptions::default()).unwrap();
    ensure_admin(&*settings, &logins).await.unwrap();
    let admin = settings.snapshot().users.get(ADMIN_LOGIN).cloned().unwrap();
    let admin = admin.with_password(logins.hash(PASSWORD).await.unwrap());
    let of_acme = |login: &str, role| User {
        login: format!("{login}@acme.example"),
        org: "acme".parse().ok(),
        role,
        ..admin.clone()
    };
    let mut changes = vec![Change::PutUser(admin.clone()), Change::PutUser(of_acme("boss", Role::OrgAdmin))];
    changes.push(Change::PutUser(of_acme("ann", Role::Sender)));
    changes.extend((0..USERS).map(|n| Change::PutUser(of_acme(&format!("user{n}"), Role::Sender))));
    for some in changes.chunks(100) {
        settings.change(some.to_vec()).await.unwrap();
    }
}

/// Asks each page so often as each visitor, and prints how long it took. Those that took too long.
fn ask_all(admin: SocketAddr, asked: &Asked) -> Vec<String> {
    let mut slow = Vec::new();
    let known = Known::made(&mut Browser::logged_in(admin, ADMIN_LOGIN), asked.messages);
    for login in [ADMIN_LOGIN, "boss@acme.example", "ann@acme.example"] {
        let mut browser = Browser::logged_in(admin, login);
        println!("\n{login}\n{:>9} {:>9} {:>9} {:>9}  status  page", "CPU ms", "p50 ms", "p95 ms", "max ms");
        for path in paths(&known) {
            let apart = APART.iter().find(|(begin, _)| path.starts_with(begin));
            let before = cpu();
            let (status, took) = browser.times(&path, if apart.is_some() { 1 } else { asked.times });
            let each = cpu().saturating_sub(before) / u32::try_from(took.len()).unwrap();
            // All is the server admin's, but for an address that only leads elsewhere; others are told that something is not for
            // them, or not there, too.
            assert!(
                [200, 303].contains(&status) || (login != ADMIN_LOGIN && [403, 404].contains(&status)),
                "{login} {path} answers {status}"
            );
            let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1000.0;
            let mark = match apart {
                Some((_, why)) => format!("  ({why})"),
                None if at(95) > AIM.as_secs_f64() * 1000.0 => "  <<".to_owned(),
                None => String::new(),
            };
            if mark == "  <<" {
                slow.push(format!("{login} {path}: {:.0} ms", at(95)));
            }
            let each = each.as_secs_f64() * 1000.0;
            println!("{each:>9.1} {:>9.1} {:>9.1} {:>9.1}  {status}     {path}{mark}", at(50), at(95), at(100));
        }
    }
    slow
}

/// What this process has had of the processors, all its threads.
fn cpu() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let spent = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    spent.map(|text| Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())).sum()
}

/// The mail in the middle of the year, with a fiftieth of all events: its id, as `history.sql` makes it.
fn busiest(messages: u64) -> String {
    let middle = messages / 2;
    format!("{:016x}", ((middle * 1_103_515_245 + 12_345) % (1 << 31)) << 32 | middle)
}

/// Answers that are no pages, and are judged apart.
const APART: [(&str, &str); 4] = [
    ("/messages.csv", "a download of everything: as long as there is"),
    ("/audit/", "a download of everything: as long as there is"),
    ("/api/v1/health", "it looks at everything now; the page shows what was seen last"),
    ("/api/v1/feed", "a stream that stays open: not asked"),
];

/// Every address of the routers' own tables that answers GET.
fn routes() -> Vec<&'static str> {
    let tables = [include_str!("../../src/admin/pages/mod.rs"), include_str!("../../src/admin/api/mod.rs")];
    let rows = tables.into_iter().flat_map(|table| table.split(".route(").skip(1));
    let read = rows.filter_map(|row| row.trim_start().trim_start_matches('"').split_once('"'));
    // The first handler stands on the row, or alone on the next.
    let gets = read.filter(|(_, handlers)| handlers.split(".route(").next().is_some_and(|row| row.contains("get(")));
    gets.map(|(path, _)| path).filter(|path| *path != "/api/v1/feed").collect()
}

/// Things that are there to be asked for.
struct Known {
    newest: String,
    busiest: String,
    /// Of the list, the page after the first.
    older: String,
    queued: String,
    in_inbox: String,
    webhook: String,
    /// Index of a link of the busiest mail.
    link: String,
    secret: String,
    style: String,
}

impl Known {
    /// Finds what the history has, and makes the rest.
    fn made(admin: &mut Browser, messages: u64) -> Known {
        admin.posts("/api/v1/test-mail", r#"{"to": "reader@x.test", "org": "acme"}"#);
        admin.posts("/api/v1/test-mail", r#"{"to": "reader@x.test", "org": "beta"}"#);
        let webhook = admin.posts("/api/v1/webhooks", r#"{"org": "acme", "url": "https://hooks.example/waxseal"}"#);
        let login = format!("guest{}@acme.example", jiff::Timestamp::now().as_microsecond());
        let invitation = format!(r#"{{"login": "{login}", "org": "acme", "role": "sender"}}"#);
        let invited = admin.posts("/api/v1/invitations", &invitation);
        let queue = admin.json("/api/v1/queue");
        let inbox = admin.json("/api/v1/inbox");
        // The newest are the two test mails.
        let newest = admin.json("/api/v1/messages?limit=3");
        let list = admin.get("/").1;
        let after = |text: &str, begin: &str| text.split(begin).nth(1).unwrap().split('"').next().unwrap().to_owned();
        let entries = |value: &Value| value.as_array().or(value["mails"].as_array()).unwrap()[0].clone();
        Known {
            newest: text(&newest["messages"][2]["id"]),
            busiest: busiest(messages),
            older: after(&list, "href=\"/?before=").replace("&amp;", "&"),
            queued: text(&entries(&queue)["id"]),
            in_inbox: text(&entries(&inbox)["id"]),
            webhook: text(&webhook["id"]),
            link: admin.json(&format!("/api/v1/messages/{}/links", busiest(messages)))[0]["index"].to_string(),
            secret: text(&invited["path"]).trim_start_matches("/join/").to_owned(),
            style: after(&list, "href=\"/assets/"),
        }
    }

    /// An address of this route.
    fn example(&self, route: &str) -> String {
        let id = match route {
            route if route.contains("/queue/") => &self.queued,
            route if route.contains("/inbox/") => &self.in_inbox,
            route if route.contains("/webhooks/") => &self.webhook,
            "/api/v1/keys/{id}" => "0",
            // Every mail has some; the busiest has them for certain.
            "/api/v1/messages/{id}/links/{index}" => &self.busiest,
            _ => &self.newest,
        };
        let name = if route.starts_with("/assets/") { &self.style } else { "acme" };
        let file = "log.csv";
        let path = route.replace("{id}", id).replace("{name}", name).replace("{file}", file);
        let path = path.replace("{secret}", &self.secret).replace("{login}", "user7@acme.example");
        let path = path.replace("{address}", "colleague@partner.example").replace("{index}", &self.link);
        assert!(!path.contains('{'), "no example of {route}");
        match route {
            "/users/edit" | "/users/remove" | "/tracking" => format!("{path}?login=user7@acme.example"),
            "/people/one" => format!("{path}?address=colleague@partner.example"),
            "/why" | "/api/v1/why" => format!("{path}?from=user7@acme.example&to=colleague@partner.example"),
            "/api/v1/orgs/{name}/people" => format!("{path}?address=colleague@partner.example"),
            _ => path,
        }
    }
}

fn text(value: &Value) -> String {
    assert!(value.is_string(), "no text: {value}");
    value.as_str().unwrap_or_default().to_owned()
}

/// Every page and its twin, with the addresses of things that are there; lists in all their ways.
fn paths(known: &Known) -> Vec<String> {
    let searches = [
        "recipient=colleague",
        "recipient=reader77",
        "recipient=nobody-at-all",
        "subject=Invoice",
        "subject=no+such+words",
        "sender=user7",
        "sender=nobody-at-all",
        "delivery=pending",
        "delivery=refused",
        "delivery=deferred",
        "delivery=unknown",
        "readers=opened",
        "readers=not-opened",
        "readers=clicked",
        "readers=not-clicked",
        "readers=not-clicked&subject=no+such+words",
        "recipient=nobody-at-all&subject=no+such+words&sender=none",
        "from=2020-01-01&until=2020-02-01",
        "recipient=colleague&delivery=refused",
    ];
    let routes = routes();
    assert!(routes.len() > 70, "the routes are found: {routes:?}");
    let mut paths: Vec<String> = routes.iter().map(|route| known.example(route)).collect();
    paths.extend(searches.iter().map(|search| format!("/?{search}")));
    paths.extend(searches.iter().map(|search| format!("/api/v1/messages?{search}")));
    paths.push(format!("/?before={}", known.older));
    for one in [&known.newest, &known.busiest] {
        paths.push(format!("/messages/{one}"));
        paths.push(format!("/api/v1/messages/{one}"));
        paths.push(format!("/api/v1/messages/{one}/links"));
        paths.push(format!("/api/v1/events?message={one}"));
    }
    let others = "/figures?days=7 /figures?days=90 /figures?days=365 /figures?org=acme&days=365 \
        /figures?login=ann@acme.example&days=365 /api/v1/figures?org=acme /api/v1/figures?days=366 \
        /api/v1/figures/senders?days=366 /api/v1/figures/places?days=31 /people?address=reader77 \
        /people?address=nobody-at-all /api/v1/readers?address=reader77 \
        /activity?before=1000000";
    paths.extend(others.split_whitespace().map(str::to_owned));
    paths
}

/// One connection with a session.
struct Browser {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
    cookie: String,
}

impl Browser {
    fn logged_in(host: SocketAddr, login: &str) -> Browser {
        let stream = TcpStream::connect(host).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut browser = Browser { stream: BufReader::new(stream), host, cookie: String::new() };
        let form = format!("login={}&password={}", login.replace('@', "%40"), PASSWORD.replace(' ', "+"));
        let head = format!(
            "POST /login HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let (status, headers, _) = browser.exchange(&head);
        assert_eq!(status, 303, "{login} logs in");
        let cookie = headers.iter().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        browser
    }

    /// Status and body. The login page is for who has no session.
    fn get(&mut self, path: &str) -> (u16, String) {
        let cookie = if path == "/login" { "" } else { &self.cookie };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", self.host);
        let (status, _, body) = self.exchange(&request);
        (status, String::from_utf8(body).unwrap())
    }

    /// The same from JSON.
    fn json(&mut self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Makes something; what the answer says.
    fn posts(&mut self, path: &str, body: &str) -> Value {
        let token = text(&self.json("/api/v1/session")["csrf_token"]);
        let (host, cookie, length) = (self.host, &self.cookie, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nX-CSRF-Token: {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let (status, _, answer) = self.exchange(&request);
        assert!((200..300).contains(&status), "{path} {status}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap_or_default()
    }

    /// The status, and the times in order of their length. The first, with nothing in a cache yet, is among them.
    fn times(&mut self, path: &str, times: usize) -> (u16, Vec<Duration>) {
        let mut took = Vec::with_capacity(times);
        let mut status = 0;
        for _ in 0..times.max(1) {
            let begun = Instant::now();
            status = self.get(path).0;
            took.push(begun.elapsed());
        }
        took.sort();
        (status, took)
    }

    fn exchange(&mut self, request: &str) -> (u16, Vec<String>, Vec<u8>) {
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = || {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<String> = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty())).collect();
        let of = |name: &str| headers.iter().find_map(|line| line.strip_prefix(name));
        let body = match of("content-length: ") {
            _ if of("transfer-encoding: ") == Some("chunked") => self.chunks(),
            length => self.octets(length.unwrap_or("0").parse().unwrap()),
        };
        (status, headers, body)
    }

    fn octets(&mut self, length: usize) -> Vec<u8> {
        let mut octets = vec![0; length];
        self.stream.read_exact(&mut octets).unwrap();
        octets
    }

    /// A body whose length nobody knew before.
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let chunk = self.octets(length + 2);
            body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                return body;
            }
        }
    }
}

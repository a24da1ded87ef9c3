//! The tracking site beside nginx with an access log: requests a second and CPU a request, 64 connections at once, kept
//! alive or new for each request, in turns; medians of the turns. When the server's process has ended, its store is opened and counted: a run where not every
//! answer is an event on disk, or a counter says otherwise than the events do, fails. `cargo bench --bench tracking [-- seconds]`
//!
//! nginx answers its built-in pixel and a `return 302`; it is the least a web server can do for a tracked mail.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement ends at the first thing that is not as it should be"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use waxseal::geo::Geo;
use waxseal::settings::{Mode, Tracking};
use waxseal::store::history::{self, SqliteHistory};
use waxseal::store::memory::MemorySettings;
use waxseal::store::record::{Delivery, DeliveryState, MessageRecord, RecipientRecord};
use waxseal::store::{HistoryStore, Inserted};
use waxseal::token::{Keyring, Kind, MessageId, RootKey, Secret, Site, SiteId, TokenId};
use waxseal::web;

const CONNECTIONS: usize = 64;
/// Each round asks nginx and then us; what is said of a row are the medians.
const ROUNDS: usize = 5;
const MESSAGES: u64 = 500;
const RECIPIENTS: u16 = 10;
const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.3.1";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("serve") => serve(Path::new(arguments.get(2).unwrap())),
        Some(seconds) if seconds.parse::<u64>().is_ok() => compare(Duration::from_secs(seconds.parse().unwrap())),
        _ => compare(Duration::from_secs(5)),
    }
}

fn compare(length: Duration) {
    let folder = tempfile::tempdir().unwrap();
    for (how, keep_alive) in [("kept alive", true), ("new connections", false)] {
        for (what, kind) in [("pixel", Kind::Pixel), ("click", Kind::Click)] {
            let load = Load { kind, keep_alive, length };
            let mut rounds = Vec::new();
            for round in 1..=ROUNDS {
                let reference = nginx(folder.path(), &load);
                rounds.push((waxseal(folder.path(), &format!("{what} {how}, round {round}"), &load), reference));
            }
            let (rate, cpu) = (median(rounds.iter().map(|(of, _)| of.0)), median(rounds.iter().map(|(of, _)| of.1)));
            println!("waxseal {what}, {how}: {rate:>8.0} /s  {cpu:>5.2} CPU s per 100,000");
            let pairs: Vec<_> = rounds.iter().filter_map(|(of, reference)| Some((*of, (*reference)?))).collect();
            if !pairs.is_empty() {
                let (rate, cpu) = (median(pairs.iter().map(|(_, of)| of.0)), median(pairs.iter().map(|(_, of)| of.1)));
                println!("nginx   {what}, {how}: {rate:>8.0} /s  {cpu:>5.2} CPU s per 100,000");
                let rate = median(pairs.iter().map(|(ours, theirs)| ours.0 / theirs.0));
                let cpu = median(pairs.iter().map(|(ours, theirs)| ours.1 / theirs.1));
                println!("  {rate:.2} x the rate, {cpu:.2} x the CPU");
            }
        }
    }
    println!("to reach, kept alive: 0.7 x nginx and 2.00 CPU s per 100,000");
}

/// Of a few rounds, so that one in which the machine did something else does not count.
fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = of.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// What is asked for, how, and how long.
struct Load {
    kind: Kind,
    keep_alive: bool,
    length: Duration,
}

/// Requests a second and CPU seconds per 100,000.
fn waxseal(folder: &Path, name: &str, load: &Load) -> (f64, f64) {
    let data = folder.join(name);
    std::fs::create_dir(&data).unwrap();
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .arg(&data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    let addr: SocketAddr = said.next().unwrap().unwrap().parse().unwrap();
    let before = cpu_secs(server.id());
    let (requests, rate) = ask(addr, load);
    // Closing its input asks it to put everything on record and end; that CPU counts too.
    let mut input = server.stdin.take().unwrap();
    input.write_all(b"end\n").unwrap();
    let (lost, after): (u64, f64) = {
        let line = said.next().unwrap().unwrap();
        let mut words = line.split(' ');
        let lost = words.next().unwrap().parse().unwrap();
        (lost, words.next().unwrap().parse().unwrap())
    };
    drop(input);
    assert!(server.wait().unwrap().success());
    assert_eq!(lost, 0, "{name}: events were lost to overload, of {requests}");
    count_the_store(&data.join("history.sqlite"), name, requests);
    (rate, (after - before) / requests as f64 * 100_000.0)
}

/// Every answer is an event on disk, or a repeat of one; every counter says what the events say.
fn count_the_store(path: &Path, name: &str, requests: u64) {
    let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let ask = |sql: &str| -> u64 { store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned() };
    let events = ask("SELECT count(*) FROM event");
    let repeats = ask("SELECT coalesce(sum(repeats), 0) FROM event");
    assert_eq!(events + repeats, requests, "{name}: on disk are {events} events and {repeats} repeats");
    for table in ["copy_count", "day_count", "message"] {
        let sum = format!("SELECT sum(opens + clicks + machine_opens + machine_clicks) FROM {table}");
        assert_eq!(ask(&sum), events, "{name}: {table} counts otherwise than the events");
    }
    println!("{name}: {requests} answers, {events} events and {repeats} repeats in the store");
}

/// The same load on nginx; `None` when there is none.
fn nginx(folder: &Path, load: &Load) -> Option<(f64, f64)> {
    let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let root = folder.display();
    let config = format!(
        "worker_processes 2; daemon off; pid {root}/nginx.pid; error_log {root}/error.log;
         events {{ worker_connections 1024; }}
         http {{ access_log {root}/access.log combined; keepalive_requests 1000000000;
                 client_body_temp_path {root}/t; proxy_temp_path {root}/t; fastcgi_temp_path {root}/t;
                 uwsgi_temp_path {root}/t; scgi_temp_path {root}/t;
                 server {{ listen {addr}; location / {{ empty_gif; }} location /c/ {{ return 302 https://www.example.com/a/page?with=parameters; }} }} }}"
    );
    std::fs::write(folder.join("nginx.conf"), config).unwrap();
    let mut server = match Command::new("nginx").arg("-c").arg(folder.join("nginx.conf")).stderr(Stdio::null()).spawn()
    {
        Ok(server) => server,
        Err(error) => {
            println!("no nginx to compare with: {error}");
            return None;
        }
    };
    while std::net::TcpStream::connect(addr).is_err() {
        std::thread::yield_now();
    }
    let mut workers = children(&server);
    while workers.len() < 2 {
        workers = children(&server);
    }
    let cpu = || workers.iter().map(|id| cpu_secs(*id)).sum::<f64>();
    let before = cpu();
    let (requests, rate) = ask(addr, load);
    let per_100k = (cpu() - before) / requests as f64 * 100_000.0;
    Command::new("kill").arg(server.id().to_string()).status().unwrap();
    server.wait().unwrap();
    Some((rate, per_100k))
}

/// Asks over and over on every connection; how many answers came, and how many a second.
fn ask(addr: SocketAddr, load: &Load) -> (u64, f64) {
    let (paths, keep_alive, length) = (paths(load.kind), load.keep_alive, load.length);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answers = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    runtime.block_on(async {
        let paths = Arc::new(paths);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..CONNECTIONS {
            let (paths, answers) = (Arc::clone(&paths), Arc::clone(&answers));
            tasks.spawn(async move {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let close = if keep_alive { "" } else { "Connection: close\r\n" };
                let mut octets = vec![0; 4096];
                for (turn, path) in (0_u32..).zip(paths.iter().cycle().skip(number * 97)) {
                    if begun.elapsed() > length {
                        break;
                    }
                    // Each from another network: the same again within a minute would only be counted on the first.
                    let [_, a, b, c] = (turn * CONNECTIONS as u32 + number as u32).to_be_bytes();
                    let request = format!(
                        "GET {path} HTTP/1.1\r\nHost: t.example.com\r\nX-Forwarded-For: {}.{b}.{c}.9\r\nUser-Agent: {AGENT}\r\nAccept: image/*\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en-GB\r\n{close}\r\n",
                        100 + a % 20
                    );
                    stream.write_all(request.as_bytes()).await.unwrap();
                    // Every answer here is small and comes in one piece.
                    assert!(stream.read(&mut octets).await.unwrap() > 100);
                    answers.fetch_add(1, Ordering::Relaxed);
                    if !keep_alive {
                        stream = TcpStream::connect(addr).await.unwrap();
                        stream.set_nodelay(true).unwrap();
                    }
                }
            });
        }
        tasks.join_all().await;
    });
    let answers = answers.load(Ordering::Relaxed);
    (answers, answers as f64 / begun.elapsed().as_secs_f64())
}

/// The server's process: says its address, serves until a line comes, says how many events were lost and its CPU.
fn serve(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let history = SqliteHistory::open(&folder.join("history.sqlite"), &history::Options::default()).unwrap();
        for id in 0..MESSAGES {
            assert_eq!(history.insert(message(id)).await.unwrap(), Inserted::Durable);
        }
        let counters = Arc::new(web::Counters::default());
        let deps = web::Deps {
            keyring: Arc::new(ArcSwap::from_pointee(keyring())),
            settings: Arc::new(MemorySettings::default()),
            history: Arc::new(history),
            geo: Arc::new(Geo::none()),
            counters: Arc::clone(&counters),
            privacy: web::Privacy::under(
                Tracking { opens: Mode::Individual, links: Mode::Individual, text_links: false },
                Arc::new(MemorySettings::default()),
            ),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let options = web::Options { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..web::Options::default() };
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(web::serve(listener, deps, options, stopped));
        let mut line = String::new();
        tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line)).await.unwrap().unwrap();
        stop.send(true).unwrap();
        serving.await.unwrap().unwrap();
        println!("{} {}", counters.lost(), cpu_secs(std::process::id()));
    });
}

fn keyring() -> Keyring {
    let key = RootKey { id: 0, secret: Secret([3; 32]), created: Timestamp::UNIX_EPOCH, revoked: None };
    let url = "https://t.example.com".to_owned();
    Keyring::new(vec![key], vec![Site { id: SiteId([1; 4]), url, former_urls: Vec::new(), default: true }]).unwrap()
}

/// The paths of a pixel or link in every copy.
fn paths(kind: Kind) -> Vec<String> {
    let keyring = keyring();
    let sealer = keyring.sealer(SiteId([1; 4]), 0).unwrap();
    let payload: &[u8] = if kind == Kind::Click { b"https://www.example.com/a/page?with=parameters" } else { b"" };
    let url = |message, recipient| {
        let id = TokenId { message: MessageId(message), recipient, link: 0 };
        sealer.url(kind, id, payload).replace("https://t.example.com", "")
    };
    (0..MESSAGES)
        .flat_map(|message| (0..RECIPIENTS).map(move |recipient| (message, recipient)))
        .map(|(m, r)| url(m, r))
        .collect()
}

fn message(id: u64) -> MessageRecord {
    let recipient = |index| RecipientRecord {
        index,
        copy_index: index,
        address: format!("r{index}@example.com"),
        name: format!("Reader {index}"),
        opens: Mode::Individual,
        links: Mode::Individual,
        delivery: Delivery { state: DeliveryState::Accepted, reply: "250 2.0.0 ok".to_owned(), at_ms: 0 },
    };
    MessageRecord {
        id: MessageId(id),
        accepted_at_ms: 0,
        org: "default".parse().unwrap(),
        login: None,
        reverse_path: "a@example.com".to_owned(),
        header_from: "a@example.com".to_owned(),
        subject: "A subject".to_owned(),
        message_id_header: "<1@example.com>".to_owned(),
        size_bytes: 20_000,
        network_hash: None,
        site: SiteId([1; 4]),
        key_id: 0,
        untouched: None,
        notes: Vec::new(),
        recipients: (0..RECIPIENTS).map(recipient).collect(),
        links: Vec::new(),
    }
}

/// User and system time of a process, all its threads.
fn cpu_secs(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields.iter().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

fn children(of: &Child) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", of.id())).unwrap();
    listed.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

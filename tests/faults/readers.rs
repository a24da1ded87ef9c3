//! kill -9 while many readers open and click: what was told as recorded is there, and every counter says what the events say.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::eventually;
use crate::scenarios::first_light::submit;
use crate::support::process::{Installation, PUBLIC_URL, Process};
use crate::support::unsplice::{clicks, http, pixels};

const READERS: usize = 4;
/// How long the load goes on after the first events are on record, at most.
const LIFE_MS_MAX: u64 = 400;
/// Until the first events are on record; everything shares two processors with every other test.
const FIRST_MAX: Duration = Duration::from_secs(60);
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0";

#[test]
fn no_recorded_event_is_lost_by_a_kill() {
    kill_over_and_over(4);
}

#[test]
#[ignore = "needs two minutes"]
fn no_recorded_event_is_lost_by_sixty_kills() {
    kill_over_and_over(std::env::var("WAXSEAL_KILL_ROUNDS").map_or(60, |n| n.parse().expect("a number of rounds")));
}

fn kill_over_and_over(rounds: usize) {
    let installation = Installation::inbox("").trusting_the_proxy();
    let mut process = installation.start();
    send_mails(&installation);
    let paths = Arc::new(paths(&installation));
    assert_eq!(paths.len(), 2 * 3 * 4, "two mails, three copies, a pixel and three links each");
    let sent = Arc::new(AtomicU64::new(0));
    let mut known = Known::default();
    for round in 0..rounds {
        let load = Load::start(installation.tracking, &paths, &sent);
        let told = Watch::start(&installation, known.on_record);
        // Every third is killed before it has told of anything; the others some time later.
        if round % 3 != 2 {
            eventually(FIRST_MAX, "an event is on record", || told.events.load(Ordering::Relaxed) > known.on_record);
        }
        std::thread::sleep(Duration::from_millis(getrandom::u64().unwrap() % LIFE_MS_MAX));
        process.kill();
        load.stop();
        known.learn(told);
        process = installation.start();
        known.check(&installation, sent.load(Ordering::Relaxed));
        links_lead_on(installation.tracking, &paths);
    }
    assert!(known.acknowledged > 0 && !known.sequences.is_empty(), "nothing was told before any kill");
    an_orderly_end_loses_nothing(&installation, process, &paths, &mut known);
}

/// Stopped in order, every answered request is on record.
fn an_orderly_end_loses_nothing(
    installation: &Installation,
    process: Process,
    paths: &Arc<Vec<String>>,
    known: &mut Known,
) {
    let sent = Arc::new(AtomicU64::new(0));
    let load = Load::start(installation.tracking, paths, &sent);
    eventually(FIRST_MAX, "readers are answered", || sent.load(Ordering::Relaxed) > 100);
    load.stop();
    assert!(process.terminate().success());
    let before = known.on_record;
    let process = installation.start();
    known.check(installation, before + sent.load(Ordering::Relaxed));
    assert_eq!(known.on_record, before + sent.load(Ordering::Relaxed), "each request is an event or a repeat of one");
    assert!(process.terminate().success());
}

/// What anybody was told before the kills.
#[derive(Default)]
struct Known {
    /// Events and repeats in the store, the last time we looked.
    on_record: u64,
    /// As many as the metric told of, with those from before.
    told: u64,
    /// Over all kills, how many were told of in that run.
    acknowledged: u64,
    /// What `waxseal events` showed.
    sequences: BTreeSet<i64>,
}

impl Known {
    fn learn(&mut self, watch: Watch) {
        let (told, sequences) = watch.stop();
        self.acknowledged += told - self.on_record;
        self.told = self.told.max(told);
        self.sequences.extend(sequences);
    }

    fn check(&mut self, installation: &Installation, sent: u64) {
        let path = installation.data().join("history.sqlite");
        let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let count = "SELECT count(*) + coalesce(sum(repeats), 0) FROM event";
        self.on_record = store.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned();
        assert!(self.on_record >= self.told, "{} were told of, {} are there", self.told, self.on_record);
        assert!(self.on_record <= sent, "{sent} were asked for, {} are there", self.on_record);
        let mut there = store.prepare("SELECT 1 FROM event WHERE sequence = ?1").unwrap();
        for sequence in &self.sequences {
            assert!(there.exists([sequence]).unwrap(), "event {sequence} was shown and is gone");
        }
        let rows = |sql: &str| -> Vec<String> {
            let mut select = store.prepare(sql).unwrap();
            select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        for (counted, recount) in COUNTERS {
            assert_eq!(rows(counted), rows(recount), "{counted}");
        }
    }
}

/// A counter, and what it must say.
const COUNTERS: [(&str, &str); 5] = [
    (
        "SELECT concat_ws(' ', id, opens, clicks, machine_opens, machine_clicks) FROM message WHERE opens + clicks + machine_opens + machine_clicks > 0 ORDER BY id",
        "SELECT concat_ws(' ', message, sum(kind = 'open' AND verdict NOT IN ('machine', 'self')), sum(kind = 'click' AND verdict NOT IN ('machine', 'self')),
                sum(kind = 'open' AND verdict IN ('machine', 'self')), sum(kind = 'click' AND verdict IN ('machine', 'self')))
         FROM event GROUP BY message ORDER BY message",
    ),
    (
        "SELECT concat_ws(' ', message, copy, opens, clicks, machine_opens, machine_clicks) FROM copy_count ORDER BY message, copy",
        "SELECT concat_ws(' ', message, recipient, sum(kind = 'open' AND verdict NOT IN ('machine', 'self')), sum(kind = 'click' AND verdict NOT IN ('machine', 'self')),
                sum(kind = 'open' AND verdict IN ('machine', 'self')), sum(kind = 'click' AND verdict IN ('machine', 'self')))
         FROM event GROUP BY message, recipient ORDER BY message, recipient",
    ),
    (
        "SELECT concat_ws(' ', org, login, day, opens, clicks, machine_opens, machine_clicks) FROM day_count ORDER BY org, login, day",
        "SELECT concat_ws(' ', m.org, coalesce(m.login, ''), e.at_ms / 86400000,
                sum(e.kind = 'open' AND e.verdict NOT IN ('machine', 'self')), sum(e.kind = 'click' AND e.verdict NOT IN ('machine', 'self')),
                sum(e.kind = 'open' AND e.verdict IN ('machine', 'self')), sum(e.kind = 'click' AND e.verdict IN ('machine', 'self')))
         FROM event e JOIN message m ON m.id = e.message GROUP BY m.org, coalesce(m.login, ''), e.at_ms / 86400000 ORDER BY 1",
    ),
    (
        "SELECT concat_ws(' ', message, link, copy, clicks, machine_clicks) FROM link_count ORDER BY message, link, copy",
        "SELECT concat_ws(' ', message, link, recipient, sum(verdict NOT IN ('machine', 'self')), sum(verdict IN ('machine', 'self')))
         FROM event WHERE kind = 'click' GROUP BY message, link, recipient ORDER BY message, link, recipient",
    ),
    (
        "SELECT concat_ws(' ', day, destination, clicks, machine_clicks) FROM link_day ORDER BY day, destination",
        "SELECT concat_ws(' ', e.at_ms / 86400000, l.destination, sum(e.verdict NOT IN ('machine', 'self')), sum(e.verdict IN ('machine', 'self')))
         FROM event e JOIN link l ON l.message = e.message AND l.idx = e.link WHERE e.kind = 'click'
         GROUP BY e.at_ms / 86400000, l.destination ORDER BY e.at_ms / 86400000, l.destination",
    ),
];

/// Asks what is on record for as long as anybody answers.
struct Watch {
    stop: Arc<AtomicBool>,
    /// The last answer of the metric, with what was there before this run.
    events: Arc<AtomicU64>,
    threads: (JoinHandle<()>, JoinHandle<BTreeSet<i64>>),
}

impl Watch {
    fn start(installation: &Installation, before: u64) -> Watch {
        let (stop, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(before)));
        let (over, told, admin) = (Arc::clone(&stop), Arc::clone(&events), installation.admin);
        let metric = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed)
                && let Ok(recorded) = recorded(admin)
            {
                told.fetch_max(before + recorded, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let (over, config) = (Arc::clone(&stop), installation.path("config.toml"));
        let shown = std::thread::spawn(move || {
            let mut sequences = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal"));
                let shown = command.args(["events", "--json", "--config"]).arg(&config).output().unwrap();
                for line in String::from_utf8_lossy(&shown.stdout).lines() {
                    let event: serde_json::Value = serde_json::from_str(line).unwrap();
                    sequences.insert(event["sequence"].as_i64().unwrap());
                }
            }
            sequences
        });
        Watch { stop, events, threads: (metric, shown) }
    }

    fn stop(self) -> (u64, BTreeSet<i64>) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.0.join().unwrap();
        (self.events.load(Ordering::Relaxed), self.threads.1.join().unwrap())
    }
}

/// `waxseal_events_recorded_total`.
fn recorded(admin: SocketAddr) -> io::Result<u64> {
    let mut reader = Reader::connect(admin)?;
    let (_, body) = reader.get("/metrics", "")?;
    let told = body.lines().find_map(|line| line.strip_prefix("waxseal_events_recorded_total "));
    Ok(told.expect("the metric").parse().unwrap())
}

/// Readers that open and click, each request from a network of its own but every eighth, which comes again.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(tracking: SocketAddr, paths: &Arc<Vec<String>>, sent: &Arc<AtomicU64>) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let read = |first: usize| {
            let (stop, paths, sent) = (Arc::clone(&stop), Arc::clone(paths), Arc::clone(sent));
            std::thread::spawn(move || {
                // A connection that breaks is the kill.
                drop(read_on(tracking, &paths[first..], &sent, &stop));
            })
        };
        let threads = (0..READERS).map(read).collect();
        Load { stop, threads }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn read_on(tracking: SocketAddr, paths: &[String], sent: &AtomicU64, stop: &AtomicBool) -> io::Result<()> {
    let mut reader = Reader::connect(tracking)?;
    for path in paths.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let number = sent.fetch_add(1, Ordering::Relaxed);
        let [.., a, b, c] = (number - u64::from(number % 8 == 7)).to_be_bytes();
        let (status, _) = reader.get(path, &format!("X-Forwarded-For: {}.{b}.{c}.9\r\n", 100 + a % 20))?;
        assert_eq!(status, if path.starts_with("/i/") { 200 } else { 302 }, "{path}");
    }
    Ok(())
}

/// One connection that is kept.
struct Reader(BufReader<TcpStream>);

impl Reader {
    fn connect(addr: SocketAddr) -> io::Result<Reader> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        Ok(Reader(BufReader::new(stream)))
    }

    /// Status and body of an answer; an error when the connection ends before it.
    fn get(&mut self, path: &str, from: &str) -> io::Result<(u16, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n{from}User-Agent: {AGENT}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

fn send_mails(installation: &Installation) {
    for mail in ["first", "second"] {
        let links: String =
            (1..=3).map(|n| format!("<a href=\"https://shop.example/{mail}/{n}\">{n}</a>\r\n")).collect();
        let text = format!(
            "From: a@example.com\r\nTo: b@x.test\r\nSubject: {mail}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n{links}</body></html>\r\n"
        );
        let answer = submit(installation.smtp, "a@example.com", &["b@x.test", "c@x.test", "d@x.test"], &text);
        assert!(answer.starts_with("250"), "{answer}");
    }
}

/// Everything that can be asked for, in the copies of the inbox.
fn paths(installation: &Installation) -> Vec<String> {
    let inbox = std::fs::read_dir(installation.data().join("inbox")).unwrap();
    let mails = inbox.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "eml"));
    mails
        .flat_map(|path| {
            let copy = std::fs::read(path).unwrap();
            [pixels(&copy, PUBLIC_URL), clicks(&copy, PUBLIC_URL)].concat()
        })
        .collect()
}

fn links_lead_on(tracking: SocketAddr, paths: &[String]) {
    for path in paths.iter().filter(|path| path.starts_with("/c/")) {
        let answer = http(tracking, "HEAD", path, &[]);
        let to = answer.header("location").unwrap_or_default();
        assert!(answer.status == 302 && to.starts_with("https://shop.example/"), "{path}: {} {to}", answer.status);
    }
}

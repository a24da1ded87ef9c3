//! Mail through waxseal, tracking on, beside HAProxy copying bytes, Postfix as a plain relay, and nothing in between:
//! messages a second and CPU seconds per 1,000, into Postfix's smtp-sink. `cargo bench --bench delivery [-- messages]`
//!
//! Each message is 20 KB of HTML with 20 links. Rates are until upstream has everything; the CPU is that of the relay
//! alone, its children included. Peers that are not installed are left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement ends at the first thing that is not as it should be"
)]

#[path = "../tests/support/postfix.rs"]
#[allow(dead_code, reason = "a measurement needs less of it than the tests")]
mod postfix;
#[path = "../tests/support/process.rs"]
#[allow(dead_code, reason = "a measurement needs less of it than the tests")]
mod process;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postfix::Postfix;
use process::{Installation, answers, free_port};

/// More than any measurement here needs, less than anybody's patience.
const RUN_MAX: Duration = Duration::from_secs(60);
/// Messages of a run with many sessions.
const MESSAGES: usize = 2_000;
/// More sessions than the default lets one address have.
const LIMITS: &str = "[limits]\nconnections_per_address_max = 1000\n[log]\nlevel = \"info\"\n";

fn main() {
    let messages = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(MESSAGES);
    if !installed("smtp-sink") {
        return println!("Postfix (for smtp-sink) is not installed");
    }
    let sink = free_port();
    let _sink = Running(Command::new("smtp-sink").args(["-u", "nobody", &sink.to_string(), "1000"]).spawn().unwrap());
    wait_for(sink);
    let mut table = Table::default();
    table.measure("direct", sink, messages, &|| Duration::ZERO, &|| true);
    if installed("haproxy") {
        let (haproxy, addr) = haproxy(sink);
        let pid = haproxy.0.id();
        table.measure("HAProxy", addr, messages, &|| cpu_of_tree(pid), &|| true);
    }
    let installation = Installation::new(sink, LIMITS);
    let waxseal = installation.start();
    let spool = installation.spool();
    let nothing_queued = || fs::read_dir(&spool).unwrap().count() <= 3; // lock, tmp, corrupt
    table.measure("waxseal", installation.smtp, messages, &|| waxseal.cpu(), &nothing_queued);
    drop(waxseal);
    let relay = Postfix::start_with(&format!("relayhost = [127.0.0.1]:{}\n", sink.port()));
    let master: u32 = relay.master_pid();
    let empty = || relay.queue().is_empty();
    table.measure("Postfix", relay.addr, messages, &|| cpu_of_tree(master), &empty);
}

/// Results as they come, and HAProxy's rates to hold the others beside.
#[derive(Default)]
struct Table {
    reference: Vec<((usize, bool), f64)>,
}

impl Table {
    fn measure(
        &mut self,
        name: &str,
        addr: SocketAddr,
        messages: usize,
        cpu: &dyn Fn() -> Duration,
        is_through: &dyn Fn() -> bool,
    ) {
        load(addr, 4, 100, false);
        for (sessions, kept) in [(1, false), (16, false), (64, false), (16, true)] {
            let messages = if sessions == 1 { messages / 4 } else { messages };
            let (before, begun) = (cpu(), Instant::now());
            let taken = load(addr, sessions, messages, kept);
            while !is_through() {
                assert!(begun.elapsed() < RUN_MAX, "{name} does not get through");
                std::thread::sleep(Duration::from_millis(20));
            }
            let rate = taken as f64 / begun.elapsed().as_secs_f64();
            let cpu_secs = (cpu() - before).as_secs_f64() * 1_000.0 / taken as f64;
            let row = (sessions, kept);
            if name == "HAProxy" {
                self.reference.push((row, rate));
            }
            let beside = self.reference.iter().find(|(of, _)| *of == row).map_or(f64::NAN, |(_, other)| rate / other);
            let way = if kept { "connections kept" } else { "a connection a message" };
            println!(
                "{name:<8} {sessions:>2} sessions, {way:<22} {rate:>7.0} /s  {beside:>5.2} x HAProxy  {cpu_secs:>5.2} CPU s per 1,000"
            );
        }
    }
}

/// Sends so many messages over so many sessions at one time; gives how many were accepted. All must be.
fn load(addr: SocketAddr, sessions: usize, messages: usize, kept: bool) -> usize {
    let next = AtomicUsize::new(0);
    let deadline = Instant::now() + RUN_MAX;
    std::thread::scope(|scope| {
        let session = || {
            let mut sent = 0;
            let mut connection = None;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= messages || Instant::now() > deadline {
                    return sent;
                }
                let mut open = connection.take().unwrap_or_else(|| Connection::open(addr));
                open.send(n);
                sent += 1;
                if kept {
                    connection = Some(open);
                } else {
                    open.say(b"QUIT\r\n", "221");
                }
            }
        };
        let threads: Vec<_> = (0..sessions).map(|_| scope.spawn(session)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(addr: SocketAddr) -> Connection {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(RUN_MAX)).unwrap();
        let mut connection = Connection(BufReader::new(stream));
        connection.hear("220");
        connection.say(b"EHLO load.test\r\n", "250");
        connection
    }

    fn send(&mut self, n: usize) {
        self.say(b"MAIL FROM:<a@example.com>\r\n", "250");
        self.say(b"RCPT TO:<b@ok.test>\r\n", "250");
        self.say(b"DATA\r\n", "354");
        self.say(&mail(n), "250");
    }

    fn say(&mut self, octets: &[u8], expected: &str) {
        self.0.get_mut().write_all(octets).unwrap();
        self.hear(expected);
    }

    fn hear(&mut self, expected: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            assert!(line.starts_with(expected), "{line:?} instead of {expected}");
            if line.as_bytes().get(3) == Some(&b' ') {
                return;
            }
        }
    }
}

/// 20 KB of HTML with 20 links, the end of data included.
fn mail(n: usize) -> Vec<u8> {
    let mut mail = format!(
        "From: a@example.com\r\nTo: b@ok.test\r\nSubject: news\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <bench-{n}@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
         <!DOCTYPE html>\r\n<html><body>\r\n"
    );
    for link in 0..20 {
        let text = "The quick brown fox jumps over the lazy dog, again. ".repeat(17);
        let lines: Vec<&str> = text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
        mail.push_str(&format!("<p><a href=\"https://shop.example/news/{link}?from=mail&amp;n={link}\">more</a>\r\n"));
        mail.push_str(&lines.join("\r\n"));
        mail.push_str("</p>\r\n");
    }
    mail.push_str("</body></html>\r\n.\r\n");
    mail.into_bytes()
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Killed at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn haproxy(to: SocketAddr) -> (Running, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let (addr, path) = (free_port(), folder.path().join("haproxy.cfg"));
    let config = format!(
        "global\n maxconn 4000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         listen smtp\n bind {addr}\n server sink {to}\n"
    );
    fs::write(&path, config).unwrap();
    let child = Command::new("haproxy").args(["-db", "-f"]).arg(&path).stderr(Stdio::null()).spawn().unwrap();
    wait_for(addr);
    (Running(child), addr)
}

fn wait_for(addr: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !answers(addr) {
        assert!(Instant::now() < deadline, "nobody answers at {addr}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Processor time of a process and all it started, those that have ended included.
fn cpu_of_tree(root: u32) -> Duration {
    let mut ticks = 0;
    let mut family = vec![root];
    let all: Vec<(u32, u32, u64)> = fs::read_dir("/proc").unwrap().filter_map(|entry| stat(&entry.ok()?)).collect();
    while let Some(pid) = family.pop() {
        ticks += all.iter().find(|(of, ..)| *of == pid).map_or(0, |(.., ticks)| *ticks);
        family.extend(all.iter().filter(|(_, parent, _)| *parent == pid).map(|(of, ..)| *of));
    }
    Duration::from_millis(ticks * 10)
}

/// Process, parent, and hundredths of a second used by it and by its children that have ended (proc(5)).
fn stat(entry: &fs::DirEntry) -> Option<(u32, u32, u64)> {
    let pid = entry.file_name().to_str()?.parse().ok()?;
    let text = fs::read_to_string(entry.path().join("stat")).ok()?;
    let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some((pid, fields.get(1)?.parse().ok()?, ticks))
}

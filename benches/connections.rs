//! What many clients that say little cost, and whether mail still flows beside them:
//! `cargo bench --bench connections [-- IDLE IDLE_TLS SLOW]`, by default 10,000, 2,000 and 500.
//!
//! Memory is what the process has of its own (`RssAnon`) after each crowd has come: idle ones that have said EHLO, in clear and under TLS;
//! then slow ones, a third in the midst of a command, a third in the midst of a mail, a third in the midst of a TLS
//! handshake, an octet a second each. Mail is sent before and while all of them are there, over the same four sessions.
//! Needs Postfix's smtp-sink, and file descriptors for both ends (`ulimit -n 20000`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement ends at the first thing that is not as it should be"
)]

#[path = "../tests/support/client.rs"]
#[allow(dead_code, reason = "a measurement needs less of it than the tests")]
mod client;
#[path = "../tests/support/process.rs"]
#[allow(dead_code, reason = "a measurement needs less of it than the tests")]
mod process;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::{Load, Submission};
use process::{Installation, Process, answers, free_port};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

/// Few enough from one address for the shipped limit of 50.
const PER_ADDRESS: usize = 40;
const SESSIONS: usize = 4;
const RUN: Duration = Duration::from_secs(10);
/// A slow client's pace. A third of them could not keep it longer than `tls_handshake_secs_max`: they come back.
const PACE: Duration = Duration::from_secs(1);

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [idle, idle_tls, slow] =
        [(0, 10_000), (1, 2_000), (2, 500)].map(|(at, usual)| *asked.get(at).unwrap_or(&usual));
    if !raise_descriptors(idle + idle_tls + slow + 500) {
        return println!("too few file descriptors: ulimit -n {}", idle + idle_tls + slow + 500);
    }
    let Some(sink) = Sink::start() else { return println!("Postfix (for smtp-sink) is not installed") };
    let tls_addr = free_port();
    let installation = Installation::new(sink.addr, &more(tls_addr));
    let relay = installation.start();
    std::thread::sleep(Duration::from_secs(2));
    println!(
        "just started:                 {:>8} KiB resident, {} KiB its own",
        relay.resident_kib(),
        relay.anonymous_kib()
    );

    flow(installation.smtp, 2);
    let alone = flow(installation.smtp, RUN.as_secs());
    println!("mail alone:                   {alone}");
    let mut sources = Sources::default();
    let crowd = Crowd { relay: &relay, before_kib: relay.anonymous_kib() };
    let in_clear: Vec<TcpStream> = (0..idle).map(|_| greeted(installation.smtp, &mut sources)).collect();
    let crowd = crowd.has_come("idle in clear", in_clear.len());
    let tls = client_tls(&installation);
    let under_tls: Vec<Tls> = (0..idle_tls).map(|_| greeted_tls(tls_addr, &tls, &mut sources)).collect();
    let crowd = crowd.has_come("idle under TLS", under_tls.len());

    let stop = Arc::new(AtomicBool::new(false));
    let trickle = trickle(slow, installation.smtp, tls_addr, sources, &stop);
    std::thread::sleep(Duration::from_secs(2));
    crowd.has_come("slow", slow);
    let beside = flow(installation.smtp, RUN.as_secs());
    println!("mail beside all of them:      {beside}");
    println!("of the speed alone:           {:>8.2}", beside.per_sec / alone.per_sec);
    stop.store(true, Ordering::Relaxed);
    let back = trickle.join().unwrap();
    println!("slow ones sent away at a limit, and back: {back}");
    let held = |stream: &TcpStream| stream.set_nonblocking(true).is_ok() && stream.peek(&mut [0]).is_err_and(is_silent);
    assert!(in_clear.iter().all(held), "an idle connection was closed");
    assert!(under_tls.iter().all(|tls| held(&tls.sock)), "an idle connection under TLS was closed");
}

fn is_silent(error: io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Both ends of every connection: ours here, the server's in the process that we start, which gets what we have.
fn raise_descriptors(needed: usize) -> bool {
    let needed = u64::try_from(needed).unwrap();
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return true;
    }
    let maximum = now.maximum.map(|maximum| maximum.max(needed));
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).is_ok()
}

/// A second listener with TLS from the first octet, and room for all.
fn more(tls_addr: SocketAddr) -> String {
    format!(
        "[[listener]]\naddr = \"{tls_addr}\"\ntls = \"implicit\"\nauth = \"required\"\nnetworks = [\"127.0.0.0/8\"]\n\
         org = \"default\"\n[limits]\nconnections_max = 50000\nidle_secs_max = 3600\n[log]\nlevel = \"warn\"\n"
    )
}

/// Postfix's, which takes everything.
struct Sink {
    addr: SocketAddr,
    child: Child,
}

impl Sink {
    fn start() -> Option<Sink> {
        let addr = free_port();
        let child = Command::new("smtp-sink").args(["-u", "nobody", &addr.to_string(), "1000"]).spawn().ok()?;
        let sink = Sink { addr, child };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !answers(addr) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(sink)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How mail flowed.
struct Flow {
    per_sec: f64,
    mails: usize,
    secs: f64,
}

impl std::fmt::Display for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>8.1} mails a second ({} in {:.1} s)", self.per_sec, self.mails, self.secs)
    }
}

fn flow(addr: SocketAddr, secs: u64) -> Flow {
    let begun = Instant::now();
    let load = Load::start(addr, SESSIONS, move |client, number| {
        Submission::new(&format!("m{}-{client}-{number}", begun.elapsed().as_nanos()), &["b"])
    });
    std::thread::sleep(Duration::from_secs(secs));
    let told = load.stop();
    let secs = begun.elapsed().as_secs_f64();
    assert!(told.iter().all(|one| one.code() == 250), "{:?}", told.iter().find(|one| one.code() != 250));
    Flow { per_sec: told.len() as f64 / secs, mails: told.len(), secs }
}

/// 127.0.1.1, 127.0.1.2 and so on: as many clients each as the shipped limit allows, and ports enough.
#[derive(Default)]
struct Sources(usize);

impl Sources {
    fn connect(&mut self, to: SocketAddr) -> TcpStream {
        let [.., high, low] = u32::try_from(256 + self.0 / PER_ADDRESS + 1).unwrap().to_be_bytes();
        self.0 += 1;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, high, low), 0)).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }
}

fn greeted(to: SocketAddr, sources: &mut Sources) -> TcpStream {
    let mut stream = sources.connect(to);
    hello(&mut stream);
    stream
}

/// The banner, EHLO, its answer.
fn hello(stream: &mut (impl io::Read + io::Write)) {
    ask(stream, "");
    ask(stream, "EHLO client.test\r\n");
}

fn ask(stream: &mut (impl io::Read + io::Write), line: &str) {
    stream.write_all(line.as_bytes()).unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\n")
        || said.rsplit(|octet| *octet == b'\n').nth(1).is_some_and(|last| last.get(3) == Some(&b'-'))
    {
        let mut octets = [0; 1024];
        let count = stream.read(&mut octets).unwrap();
        assert!(count > 0, "closed after {line}");
        said.extend_from_slice(&octets[..count]);
    }
    assert!(said[0] == b'2' || said[0] == b'3', "{line}: {}", String::from_utf8_lossy(&said));
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn client_tls(installation: &Installation) -> Arc<rustls::ClientConfig> {
    let pem = std::fs::read(installation.path("certs/relay.crt")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn greeted_tls(to: SocketAddr, config: &Arc<rustls::ClientConfig>, sources: &mut Sources) -> Tls {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, sources.connect(to));
    hello(&mut stream);
    stream
}

/// What the process held before the next crowd came.
struct Crowd<'r> {
    relay: &'r Process,
    before_kib: u64,
}

impl<'r> Crowd<'r> {
    fn has_come(self, which: &str, count: usize) -> Crowd<'r> {
        std::thread::sleep(Duration::from_secs(1));
        let now_kib = self.relay.anonymous_kib();
        let more_kib = now_kib as f64 - self.before_kib as f64;
        println!(
            "{:<30}{now_kib:>8} KiB its own, {:.1} KiB each",
            format!("{count} {which}:"),
            more_kib / count as f64
        );
        Crowd { before_kib: now_kib, ..self }
    }
}

/// One slow client's beginning: what it has said when it begins to be slow, and what it goes on with.
fn slow_one(number: usize, smtp: SocketAddr, tls: SocketAddr, sources: &mut Sources) -> (TcpStream, &'static [u8]) {
    match number % 3 {
        0 => (greeted(smtp, sources), b"NOOP and so on and on and on and on and on and on and on and on"),
        1 => {
            let mut stream = greeted(smtp, sources);
            for line in ["MAIL FROM:<a@example.com>", "RCPT TO:<slow@ok.test>", "DATA"] {
                ask(&mut stream, &format!("{line}\r\n"));
            }
            (stream, b"Subject: a mail that does not come to its end, an octet at a time")
        }
        // The record's header promises a ClientHello of 512 octets.
        _ => (
            sources.connect(tls),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and random octets that never are all there",
        ),
    }
}

/// An octet each, at the slow ones' pace, until it is to stop; how many had to come back.
fn trickle(
    slow: usize,
    smtp: SocketAddr,
    tls: SocketAddr,
    mut sources: Sources,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<usize> {
    let stop = Arc::clone(stop);
    let mut all: Vec<_> = (0..slow).map(|number| (slow_one(number, smtp, tls, &mut sources), 0)).collect();
    std::thread::spawn(move || {
        let mut back = 0;
        while !stop.load(Ordering::Relaxed) {
            for (number, ((stream, words), at)) in all.iter_mut().enumerate() {
                let octet = [words[*at % words.len()]];
                *at += 1;
                if stream.write_all(&octet).is_err() {
                    back += 1;
                    ((*stream, *words), *at) = (slow_one(number, smtp, tls, &mut sources), 0);
                }
            }
            std::thread::sleep(PACE);
        }
        back
    })
}

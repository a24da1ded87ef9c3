//! A listening socket: who is let in, how it stops, and a certificate that changes while it runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use waxseal::listener::{Door, Options, Rules, Shared, serve};

use super::backend::Recorder;
use super::client::{self, Certificate, Client};
use super::script::Facts;

pub(super) struct Running {
    pub(super) addr: SocketAddr,
    backend: Arc<Recorder>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    done: JoinHandle<()>,
}

async fn start(facts: Facts, certificate: Option<&Certificate>, change: impl FnOnce(&mut Options)) -> Running {
    start_at(IpAddr::V4(Ipv4Addr::LOCALHOST), client::rules(facts).0, facts, certificate, change).await
}

pub(super) async fn start_at(
    at: IpAddr,
    rules: Rules,
    facts: Facts,
    certificate: Option<&Certificate>,
    change: impl FnOnce(&mut Options),
) -> Running {
    let mut options = Options::new(facts.options());
    change(&mut options);
    let backend = Arc::new(Recorder::default());
    let tls = certificate.map(|certificate| Arc::new(certificate.load()));
    let shared = Arc::new(Shared::new(options, backend.clone(), tls));
    let socket = TcpListener::bind((at, 0)).await.unwrap();
    let addr = socket.local_addr().unwrap();
    let (stop, shutdown) = watch::channel(false);
    let done = tokio::spawn(serve(Door { socket, rules }, Arc::clone(&shared), shutdown));
    Running { addr, backend, shared, stop, done }
}

pub(super) async fn dial(addr: SocketAddr) -> Client {
    Client::over(TcpStream::connect(addr).await.unwrap())
}

fn trusted() -> Facts {
    Facts { trusted: true, ..Facts::default() }
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_a_place_comes_free() {
    let rows: &[fn(&mut Options)] = &[|o| o.connections_max = 2, |o| o.connections_per_address_max = 2];
    for limit in rows {
        let running = start(trusted(), None, limit).await;
        let mut first = dial(running.addr).await;
        assert!(first.answer(b"").await.starts_with("220"));
        let mut second = dial(running.addr).await;
        assert!(second.answer(b"").await.starts_with("220"));
        let mut third = dial(running.addr).await;
        assert!(third.answer(b"").await.starts_with("421 4.7.0"));
        assert_eq!(third.reply().await, None);

        assert!(first.answer(b"QUIT\r\n").await.starts_with("221"));
        drop(first);
        let mut tries = 0;
        while !dial(running.addr).await.answer(b"").await.starts_with("220") {
            tries += 1;
            assert!(tries < 100, "the place of the first never came free");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn stopping_lets_mails_end_and_takes_no_new_client() {
    let running = start(trusted(), None, |_| {}).await;
    let mut client = dial(running.addr).await;
    assert!(client.answer(b"").await.starts_with("220"));
    assert!(client.answer(b"HELO c.test\r\n").await.starts_with("250"));
    assert!(client.answer(b"MAIL FROM:<>\r\n").await.starts_with("250"));
    assert!(client.answer(b"RCPT TO:<slow@ok.test>\r\n").await.starts_with("250"));
    assert!(client.answer(b"DATA\r\n").await.starts_with("354"));
    running.stop.send(true).unwrap();
    while TcpStream::connect(running.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(client.answer(b".\r\n").await.starts_with("250"));
    drop(client);
    running.done.await.unwrap();
    assert_eq!(running.backend.taken.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let running = start(trusted(), None, |options| options.grace_max = Duration::from_millis(50)).await;
    let mut client = dial(running.addr).await;
    assert!(client.answer(b"").await.starts_with("220"));
    assert!(client.answer(b"HELO c.test\r\n").await.starts_with("250"));
    assert!(client.answer(b"MAIL FROM:<>\r\n").await.starts_with("250"));
    running.stop.send(true).unwrap();
    running.done.await.unwrap();
    assert_eq!(client.reply().await, None);
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let certificate = Certificate::new();
    let running = start(Facts { implicit: true, ..trusted() }, Some(&certificate), |_| {}).await;
    let mut before = dial(running.addr).await;
    before.try_tls(&certificate.connector).await.unwrap();
    assert!(before.answer(b"").await.starts_with("220"));

    let renewed = Certificate::renew(certificate.folder.path());
    certificate.reload(running.shared.tls.as_ref().unwrap());
    assert!(before.answer(b"NOOP\r\n").await.starts_with("250"), "a connection outlives the reload");
    assert!(dial(running.addr).await.try_tls(&certificate.connector).await.is_err(), "the old one is gone");
    let mut after = dial(running.addr).await;
    after.try_tls(&renewed).await.unwrap();
    assert!(after.answer(b"").await.starts_with("220"));
}

#[tokio::test]
async fn new_limits_are_for_new_connections() {
    let running = start(trusted(), None, |_| {}).await;
    let mut before = dial(running.addr).await;
    assert!(before.answer(b"").await.starts_with("220"));
    running.shared.change_options(Options::new(Facts { small: true, ..trusted() }.options()));
    assert!(before.answer(b"EHLO c.test\r\n").await.contains("SIZE 26214400"));
    let mut after = dial(running.addr).await;
    assert!(after.answer(b"").await.starts_with("220"));
    assert!(after.answer(b"EHLO c.test\r\n").await.contains("SIZE 100|"));
}

/// A client may send without a login only from a trusted network; what counts is whom the proxy names.
#[tokio::test]
async fn a_proxy_says_for_whom_it_connects() {
    let rules = Rules {
        networks: vec!["192.0.2.0/24".parse().unwrap(), "127.0.0.0/8".parse().unwrap()],
        proxies: vec!["127.0.0.1/32".parse().unwrap()],
        ..client::rules(trusted()).0
    };
    let running = start_at(Ipv4Addr::LOCALHOST.into(), rules, trusted(), None, |_| {}).await;
    let v2 = |command: u8, family: u8, rest: &[u8]| {
        let length = u8::try_from(rest.len()).unwrap();
        [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family, 0, length], rest].concat()
    };
    let mut v6 = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets().to_vec();
    v6.extend([0; 20]);
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n".to_vec(), "250"),
        (b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 25\r\n".to_vec(), "530"),
        (b"PROXY TCP6 2001:db8::1 ::1 56324 25\r\n".to_vec(), "530"),
        (v2(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 1, 1, 0, 25]), "250"),
        (v2(0x21, 0x21, &v6), "530"),
        // whom the proxy does not name is nobody, although the proxy itself stands in a trusted network
        (b"PROXY UNKNOWN\r\n".to_vec(), "530"),
        (v2(0x20, 0, b""), "530"),
        // nor does a name from its own machine count as this machine's
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 56324 25\r\n".to_vec(), "530"),
    ];
    for (header, expected) in rows {
        for cut in [0, 1, header.len() / 2, header.len()] {
            let mut client = dial(running.addr).await;
            client.send(&header[..cut]).await;
            tokio::task::yield_now().await;
            client.send(&header[cut..]).await;
            assert!(client.answer(b"").await.starts_with("220"), "{}", header.escape_ascii());
            assert!(client.answer(b"EHLO c.test\r\n").await.starts_with("250"));
            let answer = client.answer(b"MAIL FROM:<a@x.test>\r\n").await;
            assert!(answer.starts_with(expected), "{}: {answer}", header.escape_ascii());
        }
    }
    // no header, half of one, one that lies: closed without a word
    for octets in
        [&b"EHLO c.test\r\nMAIL FROM:<a@x.test>\r\n"[..], b"PROXY TCP4 x y 1 2\r\n", &[b'P'; 200], b"PROXY TCP9 \r\n"]
    {
        let mut client = dial(running.addr).await;
        client.send(octets).await;
        assert_eq!(client.reply().await, None, "{}", octets.escape_ascii());
    }
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_not_waited_for() {
    let rules = Rules { proxies: vec!["127.0.0.1/32".parse().unwrap()], ..client::rules(trusted()).0 };
    let quick = |options: &mut Options| options.tls_handshake_max = Duration::from_millis(50);
    let running = start_at(Ipv4Addr::LOCALHOST.into(), rules, trusted(), None, quick).await;
    assert_eq!(dial(running.addr).await.reply().await, None);
}

/// Each client behind a proxy has its own share of connections.
#[tokio::test]
async fn connections_through_a_proxy_are_counted_by_the_client() {
    let rules = Rules { proxies: vec!["127.0.0.1/32".parse().unwrap()], ..client::rules(trusted()).0 };
    let one = |options: &mut Options| options.connections_per_address_max = 1;
    let running = start_at(Ipv4Addr::LOCALHOST.into(), rules, trusted(), None, one).await;
    let mut kept = Vec::new();
    for (source, expected) in [("192.0.2.1", "220"), ("192.0.2.2", "220"), ("192.0.2.1", "421 4.7.0")] {
        let mut client = dial(running.addr).await;
        client.send(format!("PROXY TCP4 {source} 198.51.100.1 56324 25\r\n").as_bytes()).await;
        assert!(client.answer(b"").await.starts_with(expected), "{source}");
        kept.push(client);
    }
}

/// A header from somebody who is no proxy is no command.
#[tokio::test]
async fn nobody_else_speaks_for_others() {
    let running = start(trusted(), None, |_| {}).await;
    let mut client = dial(running.addr).await;
    assert!(client.answer(b"").await.starts_with("220"));
    assert!(client.answer(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n").await.starts_with("500"));
}

/// `[::]` takes both families, and an IPv4 client is judged by its IPv4 address.
#[tokio::test]
async fn an_ipv6_listener_knows_who_comes() {
    for (at, from) in
        [(Ipv6Addr::UNSPECIFIED, "127.0.0.1"), (Ipv6Addr::UNSPECIFIED, "::1"), (Ipv6Addr::LOCALHOST, "::1")]
    {
        for (network, expected) in [("127.0.0.0/8", from == "127.0.0.1"), ("::1/128", from == "::1")] {
            let rules = Rules { networks: vec![network.parse().unwrap()], ..client::rules(trusted()).0 };
            let running = start_at(at.into(), rules, trusted(), None, |_| {}).await;
            let mut client = dial(SocketAddr::new(from.parse().unwrap(), running.addr.port())).await;
            assert!(client.answer(b"").await.starts_with("220"));
            assert!(client.answer(b"EHLO c.test\r\n").await.contains("AUTH PLAIN LOGIN"), "on this machine");
            let answer = client.answer(b"MAIL FROM:<a@x.test>\r\n").await;
            assert_eq!(answer.starts_with("250"), expected, "{at} {from} {network}: {answer}");
        }
    }
}

/// The eleventh error waits for its answer, and so does every further one; a good command never does.
#[tokio::test]
async fn errors_cost_time() {
    let slow = |options: &mut Options| {
        options.errors_free_max = 2;
        options.error_delay = Duration::from_millis(400);
    };
    let running = start(trusted(), None, slow).await;
    let mut client = dial(running.addr).await;
    assert!(client.answer(b"").await.starts_with("220"));
    for wrong in 1..=4 {
        let begun = Instant::now();
        assert!(client.answer(b"WHAT\r\n").await.starts_with("500"));
        if wrong > 2 {
            assert!(begun.elapsed() >= Duration::from_millis(400), "error {wrong} was answered at once");
        }
    }
    let begun = Instant::now();
    assert!(
        client
            .answer(b"NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n")
            .await
            .starts_with("250")
    );
    assert!(begun.elapsed() < Duration::from_secs(4), "ten good commands took {:?}", begun.elapsed());
}

/// A ClientHello of TLS 1.1 (and 1.0), by hand: every modern library has forgotten how.
fn old_hello(minor: u8) -> Vec<u8> {
    let suites: &[u8] = &[0xc0, 0x13, 0xc0, 0x14, 0xc0, 0x09, 0xc0, 0x0a, 0x00, 0x2f, 0x00, 0x35];
    let extensions: &[u8] = &[0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0];
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, u8::try_from(suites.len()).unwrap()]);
    body.extend(suites);
    body.extend([1, 0, 0, u8::try_from(extensions.len()).unwrap()]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], body.as_slice()].concat()
}

#[tokio::test]
async fn tls_before_1_2_is_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let certificate = Certificate::new();
    let running = start(Facts { implicit: true, ..trusted() }, Some(&certificate), |_| {}).await;
    for minor in [1, 2] {
        let mut stream = TcpStream::connect(running.addr).await.unwrap();
        stream.write_all(&old_hello(minor)).await.unwrap();
        let mut said = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut said)).await.unwrap().ok();
        // A fatal alert: protocol_version (70), or handshake_failure (40).
        assert!(matches!(said.as_slice(), [21, 3, _, 0, 2, 2, 70 | 40]), "TLS 1.{}: {said:?}", minor - 1);
    }
}

/// Nothing but forward secrecy and authenticated encryption, in TLS 1.2 too.
#[test]
fn only_modern_ciphers() {
    let suites = rustls::crypto::ring::default_provider().cipher_suites;
    for suite in suites.iter().map(|suite| format!("{:?}", suite.suite())) {
        let modern = suite.starts_with("TLS13_") || suite.starts_with("TLS_ECDHE_");
        let aead = suite.contains("_GCM_") || suite.contains("CHACHA20_POLY1305");
        assert!(modern && aead, "{suite}");
    }
}

//! A listening socket: who is let in, how it stops, and a certificate that changes while it runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use waxseal::listener::{Door, Options, Shared, serve};

use super::backend::Recorder;
use super::client::{self, Certificate, Client};
use super::script::Facts;

struct Running {
    addr: SocketAddr,
    backend: Arc<Recorder>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    done: JoinHandle<()>,
}

async fn start(facts: Facts, certificate: Option<&Certificate>, change: impl FnOnce(&mut Options)) -> Running {
    let mut options = Options::new(facts.options());
    change(&mut options);
    let backend = Arc::new(Recorder::default());
    let tls = certificate.map(|certificate| Arc::new(certificate.load()));
    let shared = Arc::new(Shared::new(options, backend.clone(), tls));
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = socket.local_addr().unwrap();
    let (stop, shutdown) = watch::channel(false);
    let done = tokio::spawn(serve(Door { socket, rules: client::rules(facts).0 }, Arc::clone(&shared), shutdown));
    Running { addr, backend, shared, stop, done }
}

async fn dial(addr: SocketAddr) -> Client {
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

//! Certificates ordered from a CA: the first, the next, and what happens when the CA says no.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use waxseal::acme::{Acme, Options, Patience, Proof, Status, door};
use waxseal::deliver::tls::Roots;

use super::first_light::wait_for;
use crate::support::acme::TestCa;
use crate::support::relay::{Running, Upstream};

/// One that orders, with a door of its own.
struct Order {
    acme: Arc<Acme>,
    installed: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    runtime: Runtime,
}

fn options(ca: &TestCa, folder: &Path, domains: &[&str]) -> Options {
    Options {
        directory: ca.directory(),
        contacts: vec!["postmaster@example.com".to_owned()],
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        roots: Roots::System,
        folder: folder.join("acme"),
        proof: Proof::Http01,
        patience: Patience { first_secs: 1, last_secs: 2 },
    }
}

fn now_secs() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

impl Order {
    fn start(ca: &TestCa, options: Options) -> Order {
        Order::start_seen(ca, options, true)
    }

    /// With a door that the CA looks at, or looks past.
    fn start_seen(ca: &TestCa, options: Options, is_seen: bool) -> Order {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let acme = Arc::new(Acme::open(options, now_secs()).unwrap());
        let (stop, stopped) = watch::channel(false);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        ca.look_at(if is_seen { listener.local_addr().unwrap() } else { nobody });
        runtime.spawn(door::serve(listener, acme.challenges(), stopped.clone()));
        let installed = Arc::new(AtomicUsize::new(0));
        let (running, count) = (Arc::clone(&acme), Arc::clone(&installed));
        runtime.spawn(async move {
            let installed = move || {
                count.fetch_add(1, Ordering::SeqCst);
            };
            running.run(installed, stopped).await;
        });
        Order { acme, installed, stop, runtime }
    }

    fn installed(&self) -> usize {
        self.installed.load(Ordering::SeqCst)
    }

    fn wait_until(&self, is: impl Fn(&Status) -> bool) -> Arc<Status> {
        wait_for(|| Some(self.acme.status()).filter(|status| is(status)))
    }

    fn end(self) {
        self.stop.send_replace(true);
        self.runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    }
}

fn kept(folder: &Path, name: &str) -> PathBuf {
    folder.join("acme").join(name)
}

/// Two names, nonces that turn bad, and one file with key and chain; a second run orders nothing.
#[test]
fn an_order_and_nothing_more_until_it_is_time() {
    let (ca, folder) = (TestCa::start(), tempfile::tempdir().unwrap());
    ca.bad_nonces(2);
    let running = Order::start(&ca, options(&ca, folder.path(), &["relay.example.com", "t.example.com"]));
    let status = running.wait_until(|status| status.not_after_secs.is_some());
    assert_eq!((running.installed(), ca.issued(), ca.wrong()), (1, 1, Vec::new()));
    let (begin, end) = (status.not_before_secs.unwrap(), status.not_after_secs.unwrap());
    let latest = begin + (end - begin) / 3 * 2;
    assert!((latest - (end - begin) / 20..=latest).contains(&status.next_try_secs), "{status:?}");
    let pem = std::fs::read(kept(folder.path(), "certificate.pem")).unwrap();
    assert_eq!(CertificateDer::pem_slice_iter(&pem).count(), 2, "with its issuer");
    running.end();
    let again = Order::start(&ca, options(&ca, folder.path(), &["relay.example.com", "t.example.com"]));
    assert_eq!(*again.acme.status(), *status);
    again.end();
    // Another name is another certificate, of the same account.
    let other = Order::start(&ca, options(&ca, folder.path(), &["relay.example.com"]));
    other.wait_until(|status| status.not_after_secs.is_some());
    assert_eq!((ca.issued(), ca.accounts(), ca.wrong()), (2, 1, Vec::new()));
    other.end();
}

/// Its end is near at once, so the next is ordered; then one that lasts.
#[test]
fn a_certificate_is_renewed_before_it_ends() {
    let (ca, folder) = (TestCa::start(), tempfile::tempdir().unwrap());
    ca.life(60, 30);
    let running = Order::start(&ca, options(&ca, folder.path(), &["relay.example.com"]));
    wait_for(|| (running.installed() > 0).then_some(()));
    ca.life(60, 90 * 86_400);
    running.wait_until(|status| status.not_after_secs.is_some_and(|end| end > now_secs() + 80 * 86_400));
    assert!(running.installed() >= 2);
    assert_eq!((ca.accounts(), ca.wrong()), (1, Vec::new()));
    running.end();
}

/// The CA's own words are kept, the wait is, too, and a success clears both.
#[test]
fn what_the_ca_says_is_kept_until_it_is_well() {
    let (ca, folder) = (TestCa::start(), tempfile::tempdir().unwrap());
    ca.refuse(Some((429, "rateLimited", "too many certificates already issued for example.com")));
    let running = Order::start(&ca, options(&ca, folder.path(), &["relay.example.com"]));
    let limited = running.wait_until(|status| status.failures == 1);
    assert!(limited.last_error.contains("too many certificates already issued for example.com"), "{limited:?}");
    assert!(limited.next_try_secs >= now_secs() + 3 * 3600 - 60, "a CA that says so is left alone for hours");
    running.end();
    assert_eq!(waxseal::acme::status_in(&folder.path().join("acme")).as_ref(), Some(&*limited));
    assert_eq!(ca.orders(), 1);

    // Another CA, which sees nothing, and then it does.
    let (ca, folder) = (TestCa::start(), tempfile::tempdir().unwrap());
    let running = Order::start_seen(&ca, options(&ca, folder.path(), &["relay.example.com"]), false);
    let unseen = running.wait_until(|status| status.failures > 0);
    assert!(unseen.last_error.contains("nothing to be seen at http://relay.example.com/"), "{unseen:?}");
    running.end();
    let running = Order::start(&ca, options(&ca, folder.path(), &["relay.example.com"]));
    let well = running.wait_until(|status| status.not_after_secs.is_some());
    assert_eq!((well.failures, well.last_error.as_str()), (0, ""));
    running.end();
}

/// A CA that has lost its accounts is told of a new one.
#[test]
fn an_account_that_is_gone_is_made_anew() {
    let (ca, folder) = (TestCa::start(), tempfile::tempdir().unwrap());
    let running = Order::start(&ca, options(&ca, folder.path(), &["relay.example.com"]));
    running.wait_until(|status| status.not_after_secs.is_some());
    running.end();
    ca.forget_accounts();
    let running = Order::start(&ca, options(&ca, folder.path(), &["other.example.com"]));
    running.wait_until(|status| status.not_after_secs.is_some());
    assert_eq!((ca.accounts(), ca.issued(), ca.wrong()), (2, 2, Vec::new()));
    running.end();
}

/// The whole program: it starts with a certificate of its own making, answers the CA on the tracking site, and shows the CA's
/// certificate to mail clients without a restart.
#[test]
fn the_program_starts_at_once_and_changes_over() {
    let ca = TestCa::start();
    let more = format!(
        "[acme]\ndomains = [\"localhost\"]\nterms_agreed = true\ndirectory = \"{}\"\n[dns]\nservers = [\"127.0.0.1:9\"]\n",
        ca.directory()
    );
    let relay = Running::start(Upstream::Inbox, &more);
    assert!(!shows_to(relay.smtps, ca.root()), "the first one is self-signed");
    ca.look_at(relay.tracking);
    wait_for(|| shows_to(relay.smtps, ca.root()).then_some(()));
    assert_eq!((ca.issued(), ca.wrong()), (1, Vec::new()));
    assert!(!relay.folder().join("certs").exists(), "nothing is put where an operator's own would be");
    assert!(
        !get(relay.tracking, "/.well-known/acme-challenge/token-of-order-0-name-0").contains("token"),
        "the order is over"
    );
    // Whatever else a doctor finds in a test's own world.
    let health = String::from_utf8(relay.cli_with(&["doctor", "--json"], "").stdout).unwrap();
    let order = health.split("listeners.order").nth(1).unwrap_or_else(|| panic!("{health}"));
    assert!(order.contains("certificate for localhost from") && order.contains("days left"), "{health}");
    // A restart orders nothing.
    let folder = relay.stop();
    let relay = Running::start_in(folder, Upstream::Inbox, &more);
    assert!(shows_to(relay.smtps, ca.root()));
    assert_eq!(ca.orders(), 1);
}

/// The tracking site over TLS, with the certificate of the listeners.
#[test]
fn the_tracking_site_speaks_tls() {
    let changes = [("public_url = \"http://track.example\"", "public_url = \"https://track.example\"\ntls = true")];
    let relay = Running::start_with(Upstream::Inbox, "", &changes);
    let pem = std::fs::read_to_string(relay.certificate()).unwrap();
    let answer =
        over_tls(relay.tracking, &pem, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let plain = get(relay.tracking, "/healthz");
    assert!(!plain.contains("200 OK"), "in clear it says nothing: {plain}");
}

fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A server that hangs up without a word has answered, too.
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

fn shows_to(addr: SocketAddr, root: &str) -> bool {
    over_tls(addr, root, "QUIT\r\n").is_ok()
}

/// What comes over TLS in answer to this, for whoever trusts this root only.
fn over_tls(addr: SocketAddr, root: &str, say: &str) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(addr)?);
    stream.write_all(say.as_bytes())?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

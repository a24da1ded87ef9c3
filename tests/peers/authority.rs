//! A real CA: Pebble, the small sibling of the software that runs Let's Encrypt, with a DNS server of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpListener;
use tokio::sync::watch;
use waxseal::acme::{Acme, Options, Patience, Proof, door};
use waxseal::deliver::tls::Roots;

use crate::scenarios::first_light::wait_for;
use crate::support::process::free_port;
use crate::support::relay::{Running, Upstream};

/// A process that ends with its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn server(command: &mut Command) -> Server {
    Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// Pebble and its DNS server.
struct Authority {
    _names: Server,
    _ca: Server,
    folder: tempfile::TempDir,
    directory: String,
}

impl Authority {
    /// One that asks at these ports of whatever name. It rejects nonces at random, as the real one may.
    fn start(http_port: u16, tls_port: u16) -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = folder.path().join("pebble.key");
        std::fs::write(folder.path().join("pebble.crt"), made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let [api, management, dns, dns_management] = [free_port(), free_port(), free_port(), free_port()];
        let config = serde_json::json!({"pebble": {"listenAddress": api.to_string(),
            "managementListenAddress": management.to_string(), "certificate": folder.path().join("pebble.crt"), "privateKey": key,
            "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": "", "externalAccountBindingRequired": false}});
        let config_file = folder.path().join("pebble.json");
        std::fs::write(&config_file, config.to_string()).unwrap();
        let names = server(
            Command::new("pebble-challtestsrv")
                .args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""])
                .args(["-dns01", &dns.to_string(), "-management", &dns_management.to_string()]),
        );
        let ca = server(
            Command::new("pebble")
                .arg("-config")
                .arg(&config_file)
                .args(["-dnsserver", &dns.to_string()])
                .env("PEBBLE_WFE_NONCEREJECT", "20")
                .env("PEBBLE_VA_NOSLEEP", "1"),
        );
        wait_for(|| std::net::TcpStream::connect(api).ok());
        let directory = format!("https://localhost:{}/dir", api.port());
        Authority { _names: names, _ca: ca, folder, directory }
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("pebble.crt")
    }
}

/// The CA looks the names up and asks over HTTP, as the real one does.
#[test]
#[ignore = "needs Pebble"]
fn a_real_ca_gives_us_one() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let ca = Authority::start(listener.local_addr().unwrap().port(), 1);
    let folder = tempfile::tempdir().unwrap();
    let domains: Vec<String> = ["relay.example.com", "t.example.com"].map(str::to_owned).to_vec();
    let options = Options {
        directory: ca.directory.clone(),
        contacts: vec!["postmaster@example.com".to_owned()],
        domains,
        roots: Roots::File(ca.ca_file()),
        folder: folder.path().join("acme"),
        proof: Proof::Http01,
        patience: Patience { first_secs: 1, last_secs: 1 },
    };
    let acme = Arc::new(Acme::open(options, 0).unwrap());
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(door::serve(listener, acme.challenges(), stopped.clone()));
    let installed = Arc::new(AtomicUsize::new(0));
    let (running, count) = (Arc::clone(&acme), Arc::clone(&installed));
    runtime.spawn(async move {
        let installed = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        running.run(installed, stopped).await;
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    while installed.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "no certificate: {:?}", acme.status());
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = wait_for(|| Some(acme.status()).filter(|status| status.not_after_secs.is_some()));
    assert_eq!(status.last_error, "");
    let pem = std::fs::read(waxseal::acme::certificate_file(&folder.path().join("acme"))).unwrap();
    assert!(CertificateDer::pem_slice_iter(&pem).count() >= 2, "with its issuer");
    stop.send_replace(true);
}

/// The whole program behind one port: the CA asks in a TLS handshake with the tracking site, which goes on speaking TLS with readers.
#[test]
#[ignore = "needs Pebble"]
fn a_real_ca_asks_the_tracking_site_over_tls() {
    let tracking = free_port();
    let ca = Authority::start(1, tracking.port());
    let site = format!("tracking = \"{tracking}\"\ntls = true\npublic_url = \"https://track.example\"");
    let more = format!(
        "[acme]\ndomains = [\"relay.example.com\"]\nterms_agreed = true\nchallenge = \"tls-alpn-01\"\ndirectory = \"{}\"\n\
         ca_file = \"{}\"\n",
        ca.directory,
        ca.ca_file().display()
    );
    let plain = "tracking = \"127.0.0.1:0\"\npublic_url = \"http://track.example\"";
    let relay = Running::start_with(Upstream::Inbox, &more, &[(plain, &site)]);
    let folder = relay.folder().join("data/acme");
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_there = |status: &waxseal::acme::Status| status.not_after_secs.is_some();
    while !waxseal::acme::status_in(&folder).as_ref().is_some_and(is_there) {
        assert!(Instant::now() < deadline, "no certificate: {:?}", waxseal::acme::status_in(&folder));
        std::thread::sleep(Duration::from_millis(100));
    }
}

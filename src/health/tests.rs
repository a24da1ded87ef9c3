//! The tracking site seen through its public URL: over real sockets, real TLS and certificates made for the purpose.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::dns::{Dns, Texts, Told};
use super::*;
use crate::deliver::tls::Roots;

/// An authority that exists in this test alone.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    fn roots(&self) -> Roots {
        Roots::File(self.folder.path().join("ca.pem"))
    }

    /// A server's side for this name, good until the end of a year.
    fn serves(&self, name: &str, until_year: i32) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A site that answers everything with these octets, over TLS where it has a certificate.
async fn site_that_answers(answer: String, tls: Option<TlsAcceptor>) -> SocketAddr {
    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
        let mut asked = [0; 4096];
        if stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
            drop(stream.write_all(answer.as_bytes()).await);
            drop(stream.shutdown().await);
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => serve(stream, &answer).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &answer).await;
                    }
                }
            }
        }
    });
    address
}

use tokio::io::{AsyncRead, AsyncWrite};

const HSTS: &str = "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n";
/// 2026-11-24.
const NOW: i64 = 1_795_478_400;

fn ok(proof: &str, headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\nok {proof}\n", proof.len() + 4)
}

fn challenge() -> Challenge {
    Challenge { nonce: "0".repeat(32), proof: "the-right-answer".to_owned() }
}

fn through(host: &str) -> Leaves {
    Leaves::Through(host.to_owned())
}

fn domain(org: &str, name: &str, leaves: Leaves) -> Domain {
    Domain { org: org.parse().unwrap(), name: name.to_owned(), leaves }
}

/// The report on one URL; the name `t.example.com` is this machine.
async fn report(url: &str, roots: Option<&Authority>) -> Vec<Check> {
    let mut told = Told::default();
    told.addresses.insert("t.example.com".to_owned(), vec!["127.0.0.1".parse().unwrap()]);
    outside(Outside {
        places: vec![Site { org: None, url: url.to_owned(), inbox: true }],
        domains: Vec::new(),
        resolver: Arc::new(told),
        looker: roots.map(|authority| Looker::new(&authority.roots()).unwrap()),
        challenge: challenge(),
        now_secs: NOW,
    })
    .await
}

fn find<'c>(checks: &'c [Check], name: &str) -> &'c Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name} in {checks:?}"))
}

#[tokio::test]
async fn a_site_over_https_is_looked_at_through_its_public_url() {
    let authority = Authority::new("ours");
    let stranger = Authority::new("a stranger");
    const NAME: &str = "t.example.com";
    // (name in the certificate, its last year, who judges, headers) → (site, certificate, HSTS), words
    let good = (State::Ok, State::Ok, State::Ok);
    let rows = [
        // all is well
        (NAME, 2040, &authority, HSTS, good, "more days, until 2040-12-31"),
        // no HSTS, and one that is too short
        (NAME, 2040, &authority, "", (State::Ok, State::Ok, State::Warn), "no Strict-Transport-Security"),
        (
            NAME,
            2040,
            &authority,
            "Strict-Transport-Security: max-age=300\r\n",
            (State::Ok, State::Ok, State::Warn),
            "too short",
        ),
        // certificates that browsers refuse; the site behind them is ours all the same
        ("other.example.com", 2040, &authority, HSTS, (State::Ok, State::Fail, State::Ok), "not for t.example.com"),
        (NAME, 2021, &authority, HSTS, (State::Ok, State::Fail, State::Ok), "ended on 2021-12-31"),
        (NAME, 2040, &stranger, HSTS, (State::Ok, State::Fail, State::Ok), "vouches"),
    ];
    for (name, year, judge, headers, (site, certificate, hsts), words) in rows {
        let address = site_that_answers(ok("the-right-answer", headers), Some(authority.serves(name, year))).await;
        let checks = report(&format!("https://{NAME}:{}", address.port()), Some(judge)).await;
        let states = ["tracking.site", "tracking.certificate", "tracking.hsts"].map(|name| find(&checks, name).state);
        assert_eq!(states, [site, certificate, hsts], "{checks:?}");
        assert!(checks.iter().any(|check| check.seen.contains(words)), "{words}: {checks:?}");
        assert!(checks.iter().all(|check| check.state < State::Warn || !check.fix.is_empty()), "{checks:?}");
    }
}

/// A certificate is good for some days more or it is warned of: seen a week before its end.
#[tokio::test]
async fn an_end_that_is_near_is_said() {
    let authority = Authority::new("ours");
    let address = site_that_answers(ok("the-right-answer", HSTS), Some(authority.serves("t.example.com", 2040))).await;
    let url = format!("https://t.example.com:{}", address.port());
    let place = Place::of(&url).unwrap();
    let mut told = Told::default();
    told.addresses.insert("t.example.com".to_owned(), vec!["127.0.0.1".parse().unwrap()]);
    let looker = Looker::new(&authority.roots()).unwrap();
    let until = Instant::now() + LOOK_MAX;
    let seen = site::look(&place, &told, Some(&looker), &challenge(), until).await;
    let end = seen.tls.as_ref().unwrap().facts.as_ref().unwrap().not_after_secs;
    for (days, expected) in [(7, State::Warn), (15, State::Ok)] {
        let checks = site::judge(&place, &seen, true, end - days * 86_400);
        let check = find(&checks, "tracking.certificate");
        assert!(check.state == expected && check.seen.contains(&format!("{days} more days")), "{check:?}");
    }
}

#[tokio::test]
async fn what_answers_in_our_place_is_known() {
    let redirect = "HTTP/1.1 301 Moved\r\nLocation: https://www.example.com/\r\nContent-Length: 0\r\n\r\n";
    let rows = [
        (ok("the-right-answer", ""), State::Ok, "it is this server"),
        (ok("another-answer", ""), State::Fail, "not this server"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n".to_owned(), State::Fail, "not this server"),
        // more than anybody should read
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{}", "x".repeat(9999)),
            State::Fail,
            "not this server",
        ),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".to_owned(), State::Fail, "answers 502"),
        (redirect.to_owned(), State::Fail, "leads to https://www.example.com/"),
        ("220 smtp.example.net ESMTP\r\n".to_owned(), State::Fail, "no HTTP"),
    ];
    for (answer, expected, words) in rows {
        let address = site_that_answers(answer, None).await;
        let checks = report(&format!("http://{address}"), None).await;
        let check = find(&checks, "tracking.site");
        assert!(check.state == expected && check.seen.contains(words), "{check:?}");
    }
}

#[tokio::test]
async fn a_host_without_an_address_and_one_that_nobody_can_ask_for() {
    let checks = report("https://gone.example.com", Some(&Authority::new("ours"))).await;
    assert_eq!(find(&checks, "tracking.dns").state, State::Fail);
    assert_eq!(find(&checks, "tracking.site").state, State::Unknown);
    // A port where nobody listens.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let checks = report(&format!("http://{closed}"), None).await;
    assert!(find(&checks, "tracking.site").seen.contains("cannot connect"), "{checks:?}");
    // Plain http where TLS is expected.
    let address = site_that_answers("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), None).await;
    let checks = report(&format!("https://t.example.com:{}", address.port()), Some(&Authority::new("ours"))).await;
    assert!(find(&checks, "tracking.site").seen.contains("no TLS"), "{checks:?}");
    // Without a network nothing is broken, only unseen.
    let silent = Told { silent: true, ..Told::default() };
    let checks = outside(Outside {
        places: vec![Site { org: None, url: "https://t.example.com".to_owned(), inbox: false }],
        domains: vec![domain("acme", "example.com", through("smtp.example.net"))],
        resolver: Arc::new(silent),
        looker: None,
        challenge: challenge(),
        now_secs: NOW,
    })
    .await;
    assert!(checks.len() >= 5 && checks.iter().all(|check| check.state == State::Unknown), "{checks:?}");
}

/// Each organisation's host and domains are its own; domains of mail that stays here are not asked about.
#[tokio::test]
async fn organisations_are_told_apart_and_much_is_cut() {
    let org = |name: &str| -> OrgName { name.parse().unwrap() };
    let mut told = Told::default();
    told.texts.insert("a.example.com".to_owned(), Texts::Found(vec!["v=spf1 -all".to_owned()]));
    let mut asked = Outside {
        places: vec![Site { org: Some(org("b")), url: "http://127.0.0.1:1".to_owned(), inbox: false }],
        domains: vec![
            domain("a", "a.example.com", through("smtp.a.example")),
            domain("a", "localhost", through("smtp.a.example")),
            domain("c", "c.example.com", through("smtp.c.example")),
            domain("d", "d.example.com", Leaves::Held),
        ],
        resolver: Arc::new(told),
        looker: None,
        challenge: challenge(),
        now_secs: NOW,
    };
    let report = Report::new(0, true, outside(asked.clone()).await);
    let of_a = report.of_org(&org("a"));
    assert!(of_a.checks.iter().all(|check| check.area == Area::Domains), "{of_a:?}");
    assert_eq!(find(&of_a.checks, "domains.spf").state, State::Ok);
    assert!(find(&of_a.checks, "domains.spf").seen.contains("smtp.a.example"), "its own upstream: {of_a:?}");
    let of_d = report.of_org(&org("d"));
    assert!(find(&of_d.checks, "domains.records").seen.contains("held"), "{of_d:?}");
    assert_eq!(find(&of_a.checks, "domains.records").state, State::Skipped);
    assert!(report.of_org(&org("b")).checks.iter().all(|check| check.area == Area::Tracking));

    asked.domains = (0..60).map(|n| domain("a", &format!("d{n}.example.com"), Leaves::Inbox)).collect();
    let checks = outside(asked).await;
    assert!(find(&checks, "domains.more").seen.contains("10 more"), "{checks:?}");
    assert!(checks.iter().filter(|check| check.area == Area::Domains).count() == DOMAINS_MAX + 1);
    assert!(checks.iter().any(|check| check.seen.contains("built-in inbox")));
    drop(Dns::over(&[]));
}

#[test]
fn urls_are_taken_apart() {
    for (url, expected) in [
        ("https://t.example.com", true),
        ("http://127.0.0.1:8025", true),
        ("https://[2001:db8::1]", true),
        ("http://[::1]:8025", true),
        ("t.example.com", false),
        ("https://", false),
        ("https://t.example.com:port", false),
    ] {
        assert_eq!(Place::of(url).is_some(), expected, "{url}");
    }
}

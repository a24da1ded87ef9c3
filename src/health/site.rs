//! The tracking site as recipients reach it: by name, over TLS, to this very server.
//!
//! [`look`] goes the whole way through the public URL and comes back with what it saw; [`judge`] is pure and says what
//! that means.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{CONNECTION, HOST, LOCATION, STRICT_TRANSPORT_SECURITY, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::dns::{NoAnswer, Resolver, literal};
use super::report::{Area, Check};
use super::tls::{Flaw, Looker, Shown};
use crate::certificate::EXPIRY_WARNING_DAYS;

/// Octets of an answer's body that are read.
const BODY_BYTES_MAX: usize = 1024;
/// No address is given less than this, however many there are.
const ADDRESS_MIN: Duration = Duration::from_millis(500);
/// Half a year of HSTS; below it browsers forget between two mails.
const HSTS_SECS_MIN: u64 = 15_552_000;
const AGENT: &str = concat!("waxseal-doctor/", env!("CARGO_PKG_VERSION"));

/// A public URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As configured.
    pub url: String,
    https: bool,
    host: String,
    port: u16,
    authority: String,
}

impl Place {
    /// Takes `http://host[:port]` or `https://host[:port]` apart; `None` when it is no such thing.
    pub fn of(url: &str) -> Option<Place> {
        let (https, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return None,
        };
        let authority = rest.split('/').next()?.to_owned();
        let colon = authority.rfind(':').filter(|at| authority.rfind(']').is_none_or(|bracket| bracket < *at));
        let (host, port) = match colon {
            Some(at) => (authority.get(..at)?.to_owned(), authority.get(at + 1..)?.parse().ok()?),
            None => (authority.clone(), if https { 443 } else { 80 }),
        };
        (!host.is_empty()).then(|| Place { url: url.to_owned(), https, host, port, authority })
    }
}

/// How far a look came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What the DNS said.
    pub addresses: Result<Vec<IpAddr>, NoAnswer>,
    /// What was shown, over https.
    pub tls: Option<Shown>,
    /// The answer; `None` when there was no address to go to.
    pub answer: Option<Result<Answered, String>>,
}

/// An answer to `/healthz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// It proves that it is this server.
    pub ours: bool,
    /// `Strict-Transport-Security`.
    pub hsts: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// From the begin of the connection to here.
    pub took: Duration,
}

/// A question and the only right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// For `?nonce=`.
    pub nonce: String,
    /// What we would answer.
    pub proof: String,
}

/// Goes to a place by its public URL; every step ends by `until`.
pub async fn look(
    place: &Place,
    resolver: &dyn Resolver,
    looker: Option<&Looker>,
    challenge: &Challenge,
    until: Instant,
) -> Seen {
    let addresses = match timeout_at(until, resolver.addresses(&place.host)).await {
        Ok(addresses) => addresses,
        Err(_) => Err(NoAnswer("no name server answers".to_owned())),
    };
    let mut seen = Seen { addresses, tls: None, answer: None };
    let Some(found) = seen.addresses.as_ref().ok().filter(|found| !found.is_empty()) else { return seen };
    let visit = visit(place, found, looker, challenge, until, &mut seen.tls);
    let answer = timeout_at(until, visit).await;
    seen.answer = Some(answer.unwrap_or_else(|_| Err("no answer in time".to_owned())));
    seen
}

async fn visit(
    place: &Place,
    addresses: &[IpAddr],
    looker: Option<&Looker>,
    challenge: &Challenge,
    until: Instant,
    shown: &mut Option<Shown>,
) -> Result<Answered, String> {
    let begun = Instant::now();
    let stream = connected(addresses, place.port, until).await.map_err(|error| format!("cannot connect: {error}"))?;
    if !place.https {
        return exchange(stream, place, challenge, begun).await;
    }
    let looker = looker.ok_or("this machine has no root certificates to judge by: install ca-certificates")?;
    let handshake = looker.handshake(stream, &place.host).await;
    let (stream, seen) = handshake.map_err(|error| format!("there is no TLS: {error}"))?;
    *shown = Some(seen);
    exchange(stream, place, challenge, begun).await
}

async fn connected(addresses: &[IpAddr], port: u16, until: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried + 1).unwrap_or(u32::MAX);
        let at = SocketAddr::new(*address, port);
        match timeout(share.max(ADDRESS_MIN), TcpStream::connect(at)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{at}: {error}")),
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{at} does not answer")),
        }
    }
    Err(last)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    place: &Place,
    challenge: &Challenge,
    begun: Instant,
) -> Result<Answered, String> {
    let request = Request::get(format!("/healthz?nonce={}", challenge.nonce))
        .header(HOST, &place.authority)
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let told = |error: hyper::Error| format!("there is no HTTP: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(told);
    let answered = match response {
        Ok(response) => Ok(read(response, challenge, begun).await),
        Err(error) => Err(error),
    };
    driver.abort();
    answered
}

async fn read(response: Response<hyper::body::Incoming>, challenge: &Challenge, begun: Instant) -> Answered {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (hsts, location, status) = (text(STRICT_TRANSPORT_SECURITY), text(LOCATION), response.status().as_u16());
    // A body that is too long or breaks off is not ours.
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await.map(|body| body.to_bytes());
    let ours = body.is_ok_and(|body| body.trim_ascii() == format!("ok {}", challenge.proof).as_bytes());
    Answered { status, ours, hsts, location, took: begun.elapsed() }
}

/// What was seen, as checks. `inbox`: mail stays on this machine, so its readers are here too.
pub fn judge(place: &Place, seen: &Seen, inbox: bool, now_secs: i64) -> Vec<Check> {
    let checks = [
        Some(found(place, &seen.addresses, inbox)),
        Some(reached(seen)),
        transport(place, seen, inbox, now_secs),
        seen.answer.as_ref().and_then(|answer| answer.as_ref().ok()).and_then(|answer| hsts(place, answer)),
    ];
    checks.into_iter().flatten().map(|check| check.about(place.url.clone())).collect()
}

const DNS: &str = "tracking.dns";
const SITE: &str = "tracking.site";
const CERTIFICATE: &str = "tracking.certificate";
const HSTS: &str = "tracking.hsts";

fn found(place: &Place, addresses: &Result<Vec<IpAddr>, NoAnswer>, inbox: bool) -> Check {
    let host = &place.host;
    let addresses = match addresses {
        Err(error) => {
            return Check::unknown(
                Area::Tracking,
                DNS,
                format!("{host} cannot be looked up: {error}"),
                "give this machine a name server: /etc/resolv.conf, or [dns] servers",
            );
        }
        Ok(addresses) if addresses.is_empty() => {
            let fix = format!("add an A or AAAA record for {host}; until then no open and no click arrives");
            return Check::fail(Area::Tracking, DNS, format!("{host} has no address in the DNS"), fix);
        }
        Ok(addresses) => addresses,
    };
    let list = match literal(host) {
        Some(_) => "an address".to_owned(),
        None => addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", "),
    };
    let is_inside = |address: &IpAddr| is_inside(*address);
    match addresses.iter().all(is_inside) {
        true if inbox => Check::ok(
            Area::Tracking,
            DNS,
            format!("{host} is {list} of this machine or network: mail stays in the inbox"),
        ),
        true => Check::warn(
            Area::Tracking,
            DNS,
            format!("{host} is {list} of this machine or network: recipients elsewhere cannot reach it"),
            "let public_url (or the organisation's tracking_url) name a host with a public address",
        ),
        false => Check::ok(Area::Tracking, DNS, format!("{host} is {list}")),
    }
}

/// An address that means something on this machine or in this network alone.
fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn reached(seen: &Seen) -> Check {
    let answer = match &seen.answer {
        None => return Check::unknown(Area::Tracking, SITE, "nobody was asked: there is no address to go to", ""),
        Some(Err(why)) => {
            return Check::fail(
                Area::Tracking,
                SITE,
                why.clone(),
                "look at the proxy, the firewall and [web] tracking; if other machines do reach it, this network does \
                 not let a machine visit its own public address, and only this check fails",
            );
        }
        Some(Ok(answer)) => answer,
    };
    let status = answer.status;
    if let (300..=399, Some(location)) = (status, &answer.location) {
        return Check::fail(
            Area::Tracking,
            SITE,
            format!("answers {status} and leads to {}", short(location)),
            "let public_url say where it leads to, or let the proxy pass /i/, /c/, /p/ and /healthz on as they are",
        );
    }
    match (status, answer.ours) {
        (200, true) => {
            let took = answer.took.as_millis();
            Check::ok(
                Area::Tracking,
                SITE,
                format!("answers through the public URL in {took} ms, and it is this server"),
            )
        }
        (200, false) => Check::fail(
            Area::Tracking,
            SITE,
            "something answers, but it is not this server: another one, or one with other keys",
            "let the name and the proxy lead to the address of [web] tracking, with the whole path and query",
        ),
        _ => Check::fail(
            Area::Tracking,
            SITE,
            format!("answers {status}"),
            "let the proxy pass requests on to the address of [web] tracking; its own log says why it does not",
        ),
    }
}

fn transport(place: &Place, seen: &Seen, inbox: bool, now_secs: i64) -> Option<Check> {
    if !place.https {
        let local = seen.addresses.as_ref().is_ok_and(|found| found.iter().all(|address| is_inside(*address)));
        return Some(match local || inbox {
            true => Check::skipped(Area::Tracking, CERTIFICATE, "plain http, and nobody else's network between"),
            false => Check::warn(
                Area::Tracking,
                CERTIFICATE,
                "plain http: whoever is between sees who reads what, and mail programs warn of such links",
                "put a proxy with a certificate in front and let the URL begin with https://: docs/DEPLOY.md",
            ),
        });
    }
    let shown = seen.tls.as_ref()?;
    Some(certificate(&place.host, shown, now_secs))
}

fn certificate(host: &str, shown: &Shown, now_secs: i64) -> Check {
    let fail = |seen: String, fix: &str| Check::fail(Area::Tracking, CERTIFICATE, seen, fix);
    let ended = shown.facts.as_ref().map_or_else(String::new, |facts| format!(" on {}", facts.last_day()));
    match &shown.judged {
        Err(Flaw::Expired) => fail(
            format!("the certificate ended{ended}: browsers refuse it, and with it every link"),
            "renew it now, and find out why the renewal did not run",
        ),
        Err(Flaw::NotYet) => {
            fail("the certificate does not hold yet".to_owned(), "set the clock of one of the two machines")
        }
        Err(Flaw::Name) => fail(
            format!("the certificate is not for {host}: browsers refuse it"),
            "let the proxy show the certificate of this name, or make one that names it",
        ),
        Err(Flaw::Issuer) => fail(
            "nobody that this machine knows vouches for the certificate, or the chain is not whole".to_owned(),
            "use a certificate of a public authority, and let the proxy send the whole chain (fullchain.pem)",
        ),
        Err(Flaw::Other(why)) => fail(format!("the certificate is refused: {why}"), "replace the certificate"),
        Ok(()) => match &shown.facts {
            None => Check::ok(Area::Tracking, CERTIFICATE, "the certificate is good"),
            Some(facts) => {
                let (days, day) = (facts.days_left(now_secs), facts.last_day());
                let seen = format!("the certificate is good for {days} more days, until {day}");
                match days < EXPIRY_WARNING_DAYS {
                    true => Check::warn(
                        Area::Tracking,
                        CERTIFICATE,
                        seen,
                        "renew it: automatic renewal comes at 30 days, so it has failed for two weeks",
                    ),
                    false => Check::ok(Area::Tracking, CERTIFICATE, seen),
                }
            }
        },
    }
}

fn hsts(place: &Place, answer: &Answered) -> Option<Check> {
    if !place.https {
        return None;
    }
    const FIX: &str = "let the proxy add `Strict-Transport-Security: max-age=31536000` to its answers";
    Some(match &answer.hsts {
        None => {
            Check::warn(Area::Tracking, HSTS, "no Strict-Transport-Security: a browser can be led to plain http", FIX)
        }
        Some(value) => match max_age(value) {
            Some(secs) if secs >= HSTS_SECS_MIN => {
                Check::ok(Area::Tracking, HSTS, format!("Strict-Transport-Security for {} days", secs / 86_400))
            }
            _ => Check::warn(
                Area::Tracking,
                HSTS,
                format!("Strict-Transport-Security is {}: too short to help", short(value)),
                FIX,
            ),
        },
    })
}

/// RFC 6797 §6.1.1.
fn max_age(value: &str) -> Option<u64> {
    let directives = value.split(';').filter_map(|directive| directive.trim().split_once('='));
    let mut ages = directives.filter(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"));
    ages.next().and_then(|(_, secs)| secs.trim().trim_matches('"').parse().ok())
}

/// What others say, cut to a line.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

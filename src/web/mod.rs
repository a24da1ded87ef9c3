//! The public tracking site: pixel, click and the recipient's own page, nothing else of ours.
//!
//! **Invariant:** recording may fail, serving may not (DESIGN, promise 6): no answer waits for a disk, a lock or a
//! look-up, but that to a recipient's choice, which must be durable first. A destination comes from a sealed token or from the sender's own override, never from the request. No
//! cookie is read or set, and no reader's address is logged at any level.

mod agent;
mod bad_tokens;
mod click;
pub mod client;
mod group;
mod headers;
mod health;
mod known;
mod notices;
mod page;
mod pixel;
mod preference;
pub mod recorder;
mod router;
mod visit;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use crate::acme::Challenges;
use crate::event::BadLine;
use crate::event::agent::AgentList;
use crate::event::source::NetworkList;
use crate::geo::Geo;
use crate::proxy_protocol;
use crate::settings::Tracking;
use crate::settings::privacy::ConsentRule;
use crate::store::consents::Consents;
use crate::store::{HistoryStore, SettingsStore};
use crate::telemetry::metrics::limit_met;
use crate::token::Keyring;
use bad_tokens::BadTokens;
use client::ForwardedBy;
use group::Judging;
use recorder::Recorder;
use router::Answer;

/// Connections at once. Beyond it new ones wait in the listen queue; idle ones leave within [`HEAD_SECS_MAX`].
pub const CONNECTIONS_MAX: usize = 4096;
/// Seconds to send a request's head, and to be idle between two.
pub const HEAD_SECS_MAX: u64 = 10;
/// Octets of a request's head: a token takes up to 2.8 KB, browsers' headers a few more.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Seconds a connection may live, however busy: one that sends but never reads must end too.
pub const CONNECTION_SECS_MAX: u64 = 300;
/// Tokens that do not open, from one source in a minute; a mail scanner that garbles links shows some tens.
pub const BAD_TOKENS_PER_MINUTE_MAX: u32 = 60;
/// Seconds at shutdown for answers under way, and again for the events still queued.
pub const GRACE_SECS_MAX: u64 = 5;

/// Gives what one handshake needs: the certificate that is in use just then.
#[derive(Clone)]
pub struct TlsSource(Arc<dyn Fn() -> TlsAcceptor + Send + Sync>);

impl TlsSource {
    /// Asked for each connection; it must not wait.
    pub fn new(source: impl Fn() -> TlsAcceptor + Send + Sync + 'static) -> TlsSource {
        TlsSource(Arc::new(source))
    }
}

impl fmt::Debug for TlsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSource")
    }
}

/// What the site needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose word about their clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How they say it.
    pub forwarded_by: ForwardedBy,
    /// They begin each connection with a PROXY header, version 1 or 2. Others' connections have none.
    pub proxy_protocol: bool,
    /// Mail stays in the built-in inbox: who reads it is in the sender's network, and at once.
    pub inbox_mode: bool,
    /// The site speaks TLS itself.
    pub tls: Option<TlsSource>,
    /// What a CA's questions are answered from.
    pub challenges: Arc<Challenges>,
    /// More names of machines, in the form of `src/event/agents.txt`. Lines that cannot be read are logged and left out.
    pub more_agents: String,
    /// More networks, in the form of `src/event/networks.txt`. Lines that cannot be read are logged and left out.
    pub more_networks: String,
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`HEAD_SECS_MAX`].
    pub head_max: Duration,
    /// See [`HEAD_BYTES_MAX`]; at least 8 KiB.
    pub head_bytes_max: usize,
    /// See [`CONNECTION_SECS_MAX`].
    pub connection_max: Duration,
    /// See [`BAD_TOKENS_PER_MINUTE_MAX`].
    pub bad_tokens_per_minute_max: u32,
    /// See [`GRACE_SECS_MAX`].
    pub grace_max: Duration,
    /// See [`recorder::QUEUE_MAX`].
    pub event_queue_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            trusted_proxies: Vec::new(),
            forwarded_by: ForwardedBy::default(),
            proxy_protocol: false,
            inbox_mode: false,
            tls: None,
            challenges: Arc::default(),
            more_agents: String::new(),
            more_networks: String::new(),
            connections_max: CONNECTIONS_MAX,
            head_max: Duration::from_secs(HEAD_SECS_MAX),
            head_bytes_max: HEAD_BYTES_MAX,
            connection_max: Duration::from_secs(CONNECTION_SECS_MAX),
            bad_tokens_per_minute_max: BAD_TOKENS_PER_MINUTE_MAX,
            grace_max: Duration::from_secs(GRACE_SECS_MAX),
            event_queue_max: recorder::QUEUE_MAX,
        }
    }
}

/// What the site works with.
#[derive(Clone)]
pub struct Deps {
    /// Opens tokens; swapped when a key is added.
    pub keyring: Arc<ArcSwap<Keyring>>,
    /// Knows the overrides.
    pub settings: Arc<dyn SettingsStore>,
    /// Takes the events.
    pub history: Arc<dyn HistoryStore>,
    /// Knows countries.
    pub geo: Arc<Geo>,
    /// What happened so far.
    pub counters: Arc<Counters>,
    /// For recipients' own pages.
    pub privacy: Privacy,
}

/// What recipients' own pages go by.
#[derive(Clone)]
pub struct Privacy {
    /// `[tracking]`.
    pub ceiling: Arc<ArcSwap<Tracking>>,
    /// `[privacy]`.
    pub consent: Arc<ArcSwap<ConsentRule>>,
    /// Takes what recipients say.
    pub consents: Arc<Consents>,
}

impl Privacy {
    /// Under these switches, where nobody is asked for consent.
    pub fn under(ceiling: Tracking, settings: Arc<dyn SettingsStore>) -> Privacy {
        let consents = Arc::new(Consents::new(settings));
        Privacy { ceiling: Arc::new(ArcSwap::from_pointee(ceiling)), consent: Arc::default(), consents }
    }
}

/// What happened on the site since the start.
#[derive(Debug, Default)]
pub struct Counters {
    recorded: AtomicU64,
    lost: AtomicU64,
    withheld: AtomicU64,
    bad_tokens: AtomicU64,
    limited: AtomicU64,
    news: watch::Sender<()>,
}

impl Counters {
    /// Changes whenever events are on record.
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Events that are on record.
    pub fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    /// Events that were not recorded: the queue was full, or the store refused them.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Opens and clicks of people who do not want to be recorded: nothing was kept.
    pub fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::Relaxed)
    }

    /// Requests with a token that does not open.
    pub fn bad_tokens(&self) -> u64 {
        self.bad_tokens.load(Ordering::Relaxed)
    }

    /// Of these, how many came from a source that had shown too many, and was told to wait.
    pub fn limited(&self) -> u64 {
        self.limited.load(Ordering::Relaxed)
    }
}

/// What every request is answered from.
struct Site {
    keyring: Arc<ArcSwap<Keyring>>,
    settings: Arc<dyn SettingsStore>,
    recorder: Recorder,
    privacy: Privacy,
    counters: Arc<Counters>,
    trusted_proxies: Vec<IpNet>,
    forwarded_by: ForwardedBy,
    challenges: Arc<Challenges>,
    bad_tokens: Mutex<BadTokens>,
    /// The site speaks TLS itself.
    https: bool,
}

impl Site {
    /// The answer to a token that does not open: 404, or 429 where its source has shown too many.
    fn bad_token<B>(&self, peer: IpAddr, request: &Request<B>) -> Answer {
        self.counters.bad_tokens.fetch_add(1, Ordering::Relaxed);
        let client = client::address(peer, &self.trusted_proxies, request.headers(), self.forwarded_by);
        // Whole between any two lines that hold the lock, so a panic elsewhere has not broken it.
        let counted = self.bad_tokens.lock().unwrap_or_else(PoisonError::into_inner).count(client, Instant::now());
        match counted {
            Ok(()) => page::not_found(),
            Err(wait) => {
                self.counters.limited.fetch_add(1, Ordering::Relaxed);
                page::too_many(wait)
            }
        }
    }
}

/// The client's address: the peer's, or what a trusted proxy says of it in that header, read right to left.
pub fn client_address(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap, by: ForwardedBy) -> IpAddr {
    client::address(peer, trusted, headers, by)
}

/// Serves until `shutdown` turns true (or its sender goes); then lets answers under way end, puts the queued events on
/// record, and returns.
///
/// # Errors
/// The system gives no thread for the recorder.
pub async fn serve(
    listener: TcpListener,
    deps: Deps,
    options: Options,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let judging = judging(&deps, &options);
    let (recorder, drained) = recorder::start(
        deps.history,
        Arc::clone(&deps.settings),
        judging,
        Arc::clone(&deps.counters),
        options.event_queue_max,
    )?;
    let site = Arc::new(Site {
        keyring: deps.keyring,
        settings: deps.settings,
        recorder,
        privacy: deps.privacy,
        counters: deps.counters,
        trusted_proxies: options.trusted_proxies.clone(),
        forwarded_by: options.forwarded_by,
        challenges: Arc::clone(&options.challenges),
        bad_tokens: Mutex::new(BadTokens::new(options.bad_tokens_per_minute_max, Instant::now())),
        https: options.tls.is_some(),
    });
    let permits = Arc::new(Semaphore::new(options.connections_max));
    let mut connections = JoinSet::new();
    while let Some((stream, peer, permit)) = next(&listener, &permits, &mut connections, &mut shutdown).await {
        let (site, options, shutdown) = (Arc::clone(&site), options.clone(), shutdown.clone());
        connections.spawn(async move {
            converse(stream, peer, site, &options, shutdown).await;
            drop(permit);
        });
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(options.grace_max, finished).await.is_err() {
        connections.shutdown().await;
    }
    drop(site);
    drained.wait(options.grace_max).await;
    Ok(())
}

/// The shipped lists with the operator's additions, and what else judging needs.
fn judging(deps: &Deps, options: &Options) -> Judging {
    let say = |list: &'static str, bad: Vec<BadLine>| {
        for BadLine { number, line } in bad {
            tracing::warn!(list, number, line, "a line of the additional {list} cannot be read and is left out");
        }
    };
    let (mut agents, mut networks) = (AgentList::shipped(), NetworkList::shipped());
    say("agents", agents.add(&options.more_agents));
    say("networks", networks.add(&options.more_networks));
    let instance = deps.keyring.load().instance_key().clone();
    let (geo, consent) = (Arc::clone(&deps.geo), Arc::clone(&deps.privacy.consent));
    Judging { agents, networks, geo, instance, inbox_mode: options.inbox_mode, consent }
}

/// The next client and its permit; `None` at shutdown.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    connections: &mut JoinSet<()>,
    shutdown: &mut watch::Receiver<bool>,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let accept = async {
        if permits.available_permits() == 0 {
            limit_met("web_connections");
        }
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return Some((stream, peer.ip(), permit)),
                Err(error) => {
                    // Out of descriptors, or a client that left before we looked; the listener itself is sound.
                    tracing::warn!(%error, "the tracking site cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::pin!(accept);
    loop {
        tokio::select! {
            () = stopped(shutdown) => return None,
            client = &mut accept => return client,
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|stop| *stop).await.is_err() {
        tracing::debug!("whoever could ask the tracking site to stop is gone: it stops");
    }
}

/// Whom the connection is for: whom a trusted proxy names, where proxies are to say so; else the peer. `None`: the proxy
/// did not say it in time, or not so that one can read it.
async fn introduced(stream: &mut TcpStream, peer: IpAddr, options: &Options) -> Option<IpAddr> {
    if !options.proxy_protocol || !client::is_trusted(peer.to_canonical(), &options.trusted_proxies) {
        return Some(peer);
    }
    match tokio::time::timeout(options.head_max, proxy_protocol::read(stream)).await {
        Ok(Ok(client)) => Some(client.unwrap_or(peer)),
        Ok(Err(error)) => {
            tracing::debug!(peer.addr = %peer, %error, "a proxy's connection was closed");
            None
        }
        Err(_) => {
            limit_met("web_request_secs");
            tracing::debug!(peer.addr = %peer, "a proxy did not say in time whom it speaks for");
            None
        }
    }
}

/// Answers one client until it leaves, idles, has been here long enough, or the site stops.
async fn converse(
    mut stream: TcpStream,
    peer: IpAddr,
    site: Arc<Site>,
    options: &Options,
    mut shutdown: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let introduced = tokio::select! {
        introduced = introduced(&mut stream, peer, options) => introduced,
        () = stopped(&mut shutdown) => None,
    };
    let Some(peer) = introduced else { return };
    let Some(tls) = &options.tls else { return serve_http(stream, peer, &site, options, shutdown).await };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(options.head_max, shake_hands(stream, tls, &options.challenges)) => shaken,
        () = stopped(&mut shutdown) => return,
    };
    match shaken {
        // Boxed: a connection in clear need not be as large.
        Ok(Ok(Some(stream))) => Box::pin(serve_http(stream, peer, &site, options, shutdown)).await,
        Ok(Ok(None)) => tracing::debug!("a CA was shown its answer"),
        Ok(Err(error)) => tracing::debug!(%error, "no TLS with a reader"),
        Err(_) => {
            limit_met("web_request_secs");
            tracing::debug!("a reader's TLS handshake took too long");
        }
    }
}

/// The handshake; `None` when it was a CA's and all it wanted.
async fn shake_hands(
    stream: TcpStream,
    tls: &TlsSource,
    challenges: &Challenges,
) -> std::io::Result<Option<TlsStream<TcpStream>>> {
    let begun = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    if let Some(answer) = challenges.shown(&begun.client_hello()) {
        begun.into_stream(answer).await?.shutdown().await?;
        return Ok(None);
    }
    begun.into_stream(Arc::clone((tls.0)().config())).await.map(Some)
}

/// The same over a stream that stands.
async fn serve_http<S>(stream: S, peer: IpAddr, site: &Site, options: &Options, mut shutdown: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let service = service_fn(|request| {
        async move {
            let answer = match notices::is_for(&request) {
                // Only what a person's button asks for waits for a disk.
                true => notices::answer(site, request.method().clone(), request.uri().path()).await,
                false => router::answer(site, peer, request).await,
            };
            Ok::<_, std::convert::Infallible>(headers::complete(answer, site.https))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_max)
        .max_buf_size(options.head_bytes_max)
        // Answers are small: one piece costs less than a list of pieces.
        .writev(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = stopped(&mut shutdown) => None,
        () = tokio::time::sleep(options.connection_max) => {
            limit_met("web_connection_secs");
            None
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(options.grace_max, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        if error.is_timeout() {
            limit_met("web_request_secs");
        } else if error.is_parse_too_large() {
            limit_met("web_head_bytes");
        }
        tracing::debug!(%error, "a tracking connection ended early");
    }
}

#[cfg(test)]
mod tests;

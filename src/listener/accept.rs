//! The accept loop of one listening socket.
//!
//! A trusted proxy's connection is its client's, whom its PROXY header names; without one it is closed.
//!
//! **Invariant:** a connection runs only with a permit; at shutdown none is cut before it could reach a reply, for as
//! long as the grace period lasts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::capacity::{ConnectionPermit, Slot};
use super::{Door, Rules, Shared, TlsMode, conn, limit_met, stopped};
use crate::proxy_protocol;
use crate::smtp::Reply;

/// After an accept that failed for want of something of ours, file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The limit of connections from one address.
const PER_ADDRESS: &str = "connections_per_address";

/// Serves one socket until `shutdown` turns true (or its sender goes), then lets sessions end and returns.
pub async fn serve(door: Door, shared: Arc<Shared>, mut shutdown: watch::Receiver<bool>) {
    let Door { socket, rules } = door;
    let rules = Arc::new(rules);
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            Some(ended) = sessions.join_next() => note(ended),
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => admit(&mut sessions, stream, peer.ip(), &rules, &shared, &shutdown),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(socket);
    let all_ended = async {
        while let Some(ended) = sessions.join_next().await {
            note(ended);
        }
    };
    if tokio::time::timeout(shared.options().grace_max, all_ended).await.is_err() {
        tracing::warn!(sessions = sessions.len(), "grace period over, closing the remaining sessions");
        sessions.shutdown().await;
    }
}

fn admit(
    sessions: &mut JoinSet<()>,
    stream: TcpStream,
    peer: IpAddr,
    rules: &Arc<Rules>,
    shared: &Arc<Shared>,
    shutdown: &watch::Receiver<bool>,
) {
    let proxied = rules.is_proxy(peer);
    let Some(slot) = shared.capacity.slot() else { return refuse(&stream, peer, rules.tls, "connections") };
    let place = match proxied {
        true => Place::Proxied(slot),
        false => match shared.capacity.claim(slot, peer) {
            Some(permit) => Place::Known(permit),
            None => return refuse(&stream, peer, rules.tls, PER_ADDRESS),
        },
    };
    // Nagle against delayed acknowledgement costs 40 ms a mail.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it began");
        return;
    }
    let (rules, shared, shutdown) = (Arc::clone(rules), Arc::clone(shared), shutdown.clone());
    let counted = Counted::begin();
    sessions.spawn(async move {
        if let Some((stream, peer, permit)) = introduced(stream, peer, place, &rules, &shared, &shutdown).await {
            conn::converse(stream, peer, &rules, shared, shutdown).await;
            drop(permit);
        }
        drop(counted);
    });
}

/// A connection's place, before or after it is known whose it is.
enum Place {
    Proxied(Slot),
    Known(ConnectionPermit),
}

/// Whom the connection is for: whom a proxy names, else the peer. `None`: it was closed.
async fn introduced(
    mut stream: TcpStream,
    peer: IpAddr,
    place: Place,
    rules: &Rules,
    shared: &Shared,
    shutdown: &watch::Receiver<bool>,
) -> Option<(TcpStream, IpAddr, ConnectionPermit)> {
    let slot = match place {
        Place::Known(permit) => return Some((stream, peer, permit)),
        Place::Proxied(slot) => slot,
    };
    let mut shutdown = shutdown.clone();
    let header = tokio::select! {
        header = tokio::time::timeout(shared.options().tls_handshake_max, proxy_protocol::read(&mut stream)) => header,
        () = stopped(&mut shutdown) => return None,
    };
    let client = match header {
        Ok(Ok(named)) => client_of(named),
        Ok(Err(error)) => {
            tracing::warn!(peer.addr = %peer, %error, "a proxy's connection was closed");
            return None;
        }
        Err(_) => {
            limit_met("proxy_header");
            tracing::warn!(peer.addr = %peer, "a proxy did not say in time whom it speaks for");
            return None;
        }
    };
    match shared.capacity.claim(slot, client) {
        Some(permit) => Some((stream, client, permit)),
        None => {
            refuse(&stream, client, rules.tls, PER_ADDRESS);
            None
        }
    }
}

/// The client a proxy names. One that it does not name, or that is on the proxy's own machine, is nobody we trust: what
/// loopback may do here, it may not do there.
fn client_of(named: Option<IpAddr>) -> IpAddr {
    let stranger = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    named.filter(|address| !address.to_canonical().is_loopback()).unwrap_or(stranger)
}

fn refuse(stream: &TcpStream, peer: IpAddr, tls: TlsMode, limit: &'static str) {
    counter!("waxseal_connections_refused_total").increment(1);
    limit_met(limit);
    tracing::warn!(peer.addr = %peer, limit, "too many connections");
    turn_away(stream, tls);
}

/// Declares what is counted of connections.
pub fn describe_metrics() {
    describe_gauge!("waxseal_connections_open", "Connections of mail clients that are open.");
    describe_counter!("waxseal_connections_total", "Connections of mail clients that were let in.");
    describe_counter!("waxseal_connections_refused_total", "Connections turned away because there were too many.");
}

/// One open connection; no longer one when it is dropped.
struct Counted;

impl Counted {
    fn begin() -> Counted {
        counter!("waxseal_connections_total").increment(1);
        gauge!("waxseal_connections_open").increment(1.0);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!("waxseal_connections_open").decrement(1.0);
    }
}

/// 421 before the banner (RFC 5321 §3.8), without waiting: a flood must not make us wait.
fn turn_away(stream: &TcpStream, tls: TlsMode) {
    if tls == TlsMode::Implicit {
        return;
    }
    if let Err(error) = SockRef::from(stream).send(&Reply::too_many_connections().to_bytes()) {
        tracing::debug!(%error, "could not say that there are too many connections");
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session ended in a panic");
    }
}

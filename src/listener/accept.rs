//! The accept loop of one listening socket.
//!
//! **Invariant:** a connection runs only with a permit; at shutdown none is cut before it could reach a reply, for as
//! long as the grace period lasts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Door, Rules, Shared, TlsMode, conn, stopped};
use crate::smtp::Reply;

/// After an accept that failed for want of something of ours, file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    let Some(permit) = shared.capacity.connection(peer) else {
        counter!("waxseal_connections_refused_total").increment(1);
        tracing::warn!(peer.addr = %peer, "too many connections");
        return turn_away(&stream, rules.tls);
    };
    // Nagle against delayed acknowledgement costs 40 ms a mail.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it began");
        return;
    }
    let (rules, shared, shutdown) = (Arc::clone(rules), Arc::clone(shared), shutdown.clone());
    let counted = Counted::begin();
    sessions.spawn(async move {
        conn::converse(stream, peer, &rules, shared, shutdown).await;
        drop((permit, counted));
    });
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

//! Serves a router over TCP or a Unix socket with bounds on everything: connections, request head, answer, farewell.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;
use tower_http::timeout::TimeoutLayer;

use super::Options;

/// After a failed `accept` (too many open files): long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// The peer of a connection, as an extension of each of its requests; absent on a Unix socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Ends a request's connection from within, as an extension of the request. Does nothing where there is none.
#[derive(Debug, Clone, Default)]
pub(super) struct HangUp(Arc<tokio::sync::Notify>);

impl HangUp {
    /// Closes the connection, whatever is under way on it.
    pub(super) fn now(&self) {
        self.0.notify_one();
    }
}

impl<S: Send + Sync> FromRequestParts<S> for HangUp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<HangUp, Infallible> {
        Ok(parts.extensions.get::<HangUp>().cloned().unwrap_or_default())
    }
}

/// Where connections come from.
pub(super) trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The next connection. Cancel safe.
    async fn accept(&self) -> io::Result<(Self::Stream, Option<Peer>)>;
}

pub(super) struct Tcp(pub(super) TcpListener);

impl Accept for Tcp {
    type Stream = tokio::net::TcpStream;
    async fn accept(&self) -> io::Result<(Self::Stream, Option<Peer>)> {
        let (stream, peer) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, Some(Peer(peer.ip().to_canonical()))))
    }
}

pub(super) struct Unix(pub(super) UnixListener);

impl Accept for Unix {
    type Stream = tokio::net::UnixStream;
    async fn accept(&self) -> io::Result<(Self::Stream, Option<Peer>)> {
        Ok((self.0.accept().await?.0, None))
    }
}

/// Serves until `shutdown` resolves; then no new connection, and answers under way get `grace_max`.
pub(super) async fn serve<A: Accept>(
    listener: A,
    router: Router,
    options: &Options,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, options.request_max);
    let router = router.layer(timeout).layer(DefaultBodyLimit::max(options.body_bytes_max));
    let permits = Arc::new(Semaphore::new(options.connections_max));
    let (closing, _) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit.map_err(io::Error::other)?,
            () = &mut shutdown => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(stream, peer, router.clone(), options.head_max, closing.subscribe());
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin site cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    closing.send_replace(true);
    let all = u32::try_from(options.connections_max).unwrap_or(u32::MAX);
    let farewell = tokio::time::timeout(options.grace_max, permits.acquire_many(all));
    if farewell.await.is_err() {
        tracing::debug!("admin connections were still open after the grace period");
    }
    Ok(())
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Option<Peer>,
    router: Router,
    head_max: std::time::Duration,
    mut closing: watch::Receiver<bool>,
) {
    let hang_up = HangUp::default();
    let hung_up = hang_up.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(hang_up.clone());
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_max).max_headers(100).max_buf_size(64 * 1024);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = hung_up.0.notified() => return,
        _ = closing.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended early: {error}");
    }
}

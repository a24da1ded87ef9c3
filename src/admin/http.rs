//! Serves a router over TCP or a Unix socket with bounds on everything: connections, request head, answer, farewell.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

use super::Options;
use super::api::Problem;
use super::pages::error::PageError;
use crate::telemetry::metrics::limit_met;

/// What a program is told whose answer did not come in time.
const TOO_LONG: &str =
    "this took too long and was given up; what it was to change may have been changed. Try again later";

/// After a failed `accept` (too many open files): long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Octets of a request's head, cookies and all: no key, for browsers send a few KiB and nothing of ours grows with it.
const HEAD_BYTES_MAX: usize = 64 * 1024;

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
    let router = bounded(router, options);
    let waits = Waits { head_max: options.head_max, write_max: options.write_max };
    let permits = Arc::new(Semaphore::new(options.connections_max));
    let (closing, _) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        if permits.available_permits() == 0 {
            limit_met("admin_connections");
        }
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
                let connection = connection(stream, peer, router.clone(), waits, closing.subscribe());
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

/// With an end to every answer and a bound to every body.
fn bounded(router: Router, options: &Options) -> Router {
    let request_max = options.request_max;
    let in_time = move |request: Request, next: Next| async move {
        let is_program = request.uri().path().starts_with("/api/");
        let answer = tokio::time::timeout(request_max, next.run(request)).await;
        match &answer {
            Ok(answer) if answer.status() == StatusCode::PAYLOAD_TOO_LARGE => limit_met("admin_body_bytes"),
            Ok(_) => {}
            Err(_) => limit_met("admin_request_secs"),
        }
        match answer {
            Ok(answer) => answer,
            Err(_) if is_program => Problem::new(StatusCode::SERVICE_UNAVAILABLE, TOO_LONG).into_response(),
            Err(_) => PageError::TooLong.into_response(),
        }
    };
    router.layer(axum::middleware::from_fn(in_time)).layer(DefaultBodyLimit::max(options.body_bytes_max))
}

/// How long a connection waits for its client.
#[derive(Debug, Clone, Copy)]
struct Waits {
    head_max: Duration,
    write_max: Duration,
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Option<Peer>,
    router: Router,
    waits: Waits,
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
        async move { router.oneshot(request).await }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(waits.head_max).max_headers(100).max_buf_size(HEAD_BYTES_MAX);
    // Who asks and does not read would keep the place for good, and with 256 of them nobody else has one.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(waits.write_max));
    let stream = TokioIo::new(Box::pin(stream));
    let mut serving = std::pin::pin!(builder.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = hung_up.0.notified() => return,
        _ = closing.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        if error.is_timeout() {
            limit_met("admin_head_secs");
        } else if error.is_parse_too_large() {
            limit_met("admin_head_bytes");
        } else if is_unread(&error) {
            limit_met("admin_write_secs");
        }
        tracing::debug!(%error, "an admin connection ended early: {error}");
    }
}

/// Whether the client took nothing for [`Waits::write_max`].
fn is_unread(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use axum::http::header;
    use axum::routing::get;
    use http_body_util::BodyExt as _;

    use super::*;

    /// A program is answered as a program, a person as a person.
    #[tokio::test]
    async fn what_takes_too_long_is_given_up() {
        let never = || get(std::future::pending::<StatusCode>);
        let router = Router::new().route("/api/v1/slow", never()).route("/slow", never());
        let options = Options { request_max: std::time::Duration::from_millis(20), ..Options::default() };
        let router = bounded(router, &options);
        for (path, kind, words) in [
            ("/api/v1/slow", "application/problem+json", "urn:waxseal:problem:service-unavailable"),
            ("/slow", "text/html; charset=utf-8", "took too long"),
        ] {
            let answer = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], kind, "{path}");
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&body).contains(words), "{path}");
        }
    }
}

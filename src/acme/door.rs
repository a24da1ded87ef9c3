//! A door of its own for the CA's questions, on port 80, where the tracking site does not listen there in clear.
//!
//! It answers those questions and nothing else; everything it holds is bounded.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::Challenges;

/// A CA asks from a handful of places at one time.
const CONNECTIONS_MAX: usize = 64;
/// To send a request's head.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// For a connection in all.
const CONNECTION_MAX: Duration = Duration::from_secs(30);
/// After the system could not give us a connection.
const REST: Duration = Duration::from_millis(100);

/// Serves until `stop` turns true.
pub async fn serve(listener: TcpListener, challenges: Arc<Challenges>, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&permits).try_acquire_owned()) {
            (Ok((stream, _)), Ok(permit)) => {
                let challenges = Arc::clone(&challenges);
                connections.spawn(async move {
                    converse(stream, challenges).await;
                    drop(permit);
                });
            }
            // Full: the CA asks again.
            (Ok(_), Err(_)) => {}
            (Err(error), _) => {
                tracing::warn!(%error, "the door for ACME cannot accept a connection");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, challenges: Arc<Challenges>) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let answer = answer(&challenges, request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_MAX, connection).await {
        tracing::debug!(%error, "a connection to the door for ACME ended early");
    }
}

fn answer(challenges: &Challenges, path: &str) -> Response<Full<Bytes>> {
    let found = challenges.answer(path);
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let mut answer = Response::new(Full::new(Bytes::from(found.unwrap_or_else(|| "nothing here\n".to_owned()))));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/plain"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

//! A client of the admin socket: one request, one answer.
//!
//! Every wait has a deadline; an error says what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::Place;
use crate::admin::api::EVENT_WAIT_MAX;
use crate::admin::api::shapes::ProblemShape;
use crate::admin::socket::SOCKET_NAME;
use crate::config::load::Source;

/// For one request and its answer; a request that waits for an event has that on top.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Largest answer: a mail of the inbox.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Asks the running server.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the server this place names. Nothing is connected yet.
    ///
    /// # Errors
    /// The configuration cannot be read, so that nobody knows where the socket is.
    pub(super) fn at(place: &Place) -> anyhow::Result<Client> {
        if let Some(socket) = &place.socket {
            return Ok(Client { socket: socket.clone() });
        }
        let source = Source::fetch(place.config.as_deref()).map_err(|problem| anyhow!("{problem}"))?;
        let parsed = source.parse().map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            anyhow!("{first} ({} in all; `waxseal check` tells them)", problems.len())
        })?;
        Ok(Client { socket: parsed.config.server.data_dir.join(SOCKET_NAME) })
    }

    /// Whether a server answers here.
    ///
    /// # Errors
    /// One may, but not to this user.
    pub(super) async fn is_answered(&self) -> anyhow::Result<bool> {
        match UnixStream::connect(&self.socket).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(false)
            }
            Err(error) => Err(not_reached(&self.socket, &error)),
        }
    }

    /// `GET` of a JSON value.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        read(&self.get_bytes(path).await?)
    }

    /// `GET` as octets.
    pub(super) async fn get_bytes(&self, path: &str) -> anyhow::Result<Bytes> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    /// A request with a JSON body whose answer is a JSON value.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        read(&self.request(method, path, serde_json::to_vec(body)?.into()).await?)
    }

    /// A request whose answer is empty.
    pub(super) async fn order(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> anyhow::Result<()> {
        let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        self.request(method, path, body.into()).await.map(drop)
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let answered = tokio::time::timeout(ANSWER_MAX + EVENT_WAIT_MAX, self.exchange(method, path, body)).await;
        answered.map_err(|_| anyhow!("the server at {} does not answer", self.socket.display()))?
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| not_reached(&self.socket, &error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "waxseal");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let response =
            sender.send_request(request.body(Full::new(body))?).await.context("the server closed the connection")?;
        let status = response.status();
        let read = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        driver.abort();
        let bytes = read.map_err(|error| anyhow!("the answer cannot be read: {error}"))?.to_bytes();
        match status.is_success() {
            true => Ok(bytes),
            false => bail!("{}", refusal(status, &bytes)),
        }
    }
}

/// One segment of a path, percent-encoded.
pub(super) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A query of the pairs that have a value.
pub(super) fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", segment(value.as_deref()?))));
    given.collect::<Vec<_>>().join("&")
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(bytes).context("the server speaks another version of the API; use the same waxseal for both")
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    match serde_json::from_slice::<ProblemShape>(body) {
        Ok(problem) => problem.detail,
        Err(_) => format!("the server answered {status}"),
    }
}

fn not_reached(socket: &Path, error: &io::Error) -> anyhow::Error {
    let socket = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => anyhow!(
            "the server is not running (nobody answers at {socket}): start it with `waxseal serve`, or name its \
             configuration with --config"
        ),
        io::ErrorKind::PermissionDenied => {
            anyhow!("{socket} belongs to the user the server runs as: run this as that user, for instance with sudo -u")
        }
        _ => anyhow!("{socket}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_encoded() {
        assert_eq!(segment("a@b.example/../x y"), "a%40b.example%2F..%2Fx%20y");
        let pairs = [("org", Some("a".to_owned())), ("login", None), ("before", Some("1-2&x=3".to_owned()))];
        assert_eq!(query(&pairs), "org=a&before=1-2%26x%3D3");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_said_so() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client { socket: folder.path().join("admin.sock") };
        let error = client.get::<serde_json::Value>("/api/v1/keys").await.unwrap_err().to_string();
        assert!(error.contains("not running") && error.contains("waxseal serve"), "{error}");
    }
}

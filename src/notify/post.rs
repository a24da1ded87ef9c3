//! One try: an HTTP POST with deadlines on everything, to an address that was looked at when it was connected to.
//!
//! **Invariant:** unless private networks are allowed, no connection is made to one, whatever the name resolves to and
//! however often; and no redirect is followed, so no answer leads to one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::Options;
use super::address::is_private;
use super::target::Target;
use crate::deliver::dial::Stream;
use crate::deliver::tls::{Roots, TlsClient, TlsSetupError};

/// Octets of an answer's head, and of its body, that are read; neither is kept.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Headers of an answer.
const HEADERS_MAX: usize = 100;
/// No address is given less than this, however many there are.
const ADDRESS_MIN: Duration = Duration::from_millis(500);
/// Who we say we are.
const AGENT: &str = concat!("waxseal/", env!("CARGO_PKG_VERSION"));

/// Posts.
pub(super) struct Poster {
    allow_private: bool,
    connect_max: Duration,
    answer_max: Duration,
    roots: Roots,
    /// Read when the first https webhook is told.
    tls: OnceCell<TlsClient>,
}

/// The three headers of Standard Webhooks.
pub(super) struct Signed {
    pub(super) id: String,
    pub(super) timestamp: i64,
    pub(super) signature: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// The name resolves to this machine or a private network only.
    #[error("{0} is a private address: allow_private in [webhooks] lets such through")]
    Private(IpAddr),
    /// Nobody is there.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// TLS.
    #[error("no TLS: {0}")]
    Tls(String),
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// What came is no HTTP.
    #[error("no answer: {0}")]
    Http(hyper::Error),
    /// The request cannot be written.
    #[error("the address cannot be asked: {0}")]
    Request(#[from] hyper::http::Error),
}

impl Poster {
    pub(super) fn new(options: &Options) -> Poster {
        Poster {
            allow_private: options.allow_private,
            connect_max: options.connect_max,
            answer_max: options.answer_max,
            roots: options.ca_file.clone().map_or(Roots::System, Roots::File),
            tls: OnceCell::new(),
        }
    }

    /// The receiver's status.
    pub(super) async fn post(&self, target: &Target, signed: Signed, body: String) -> Result<StatusCode, PostError> {
        let connect_by = Instant::now() + self.connect_max;
        let connecting = async {
            let stream: Box<dyn Stream> = Box::new(self.connect(target, connect_by).await?);
            if target.tls { self.secured(target, stream).await } else { Ok(stream) }
        };
        let stream = timeout_at(connect_by, connecting).await.map_err(|_| PostError::Timeout)??;
        let request = request(target, signed, body)?;
        let answer_by = Instant::now() + self.answer_max;
        timeout_at(answer_by, exchange(stream, request)).await.map_err(|_| PostError::Timeout)?
    }

    async fn connect(&self, target: &Target, by: Instant) -> Result<TcpStream, PostError> {
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await.map_err(PostError::Connect)?;
        let addresses: Vec<SocketAddr> = found.collect();
        let (private, public): (Vec<SocketAddr>, Vec<SocketAddr>) =
            addresses.into_iter().partition(|address| !self.allow_private && is_private(address.ip()));
        if let (Some(refused), true) = (private.first(), public.is_empty()) {
            return Err(PostError::Private(refused.ip().to_canonical()));
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for (tried, address) in public.iter().enumerate() {
            let left = by.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(public.len() - tried).unwrap_or(u32::MAX);
            match tokio::time::timeout(share.max(ADDRESS_MIN), TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "it does not answer"),
            }
        }
        Err(PostError::Connect(last))
    }

    async fn secured(&self, target: &Target, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, PostError> {
        let told = |error: TlsSetupError| PostError::Tls(error.to_string());
        let (host, roots) = (target.host.clone(), self.roots.clone());
        let client = self.tls.get_or_try_init(|| async move {
            let reading = tokio::task::spawn_blocking(move || TlsClient::new(&host, &roots));
            reading.await.map_err(|died| PostError::Tls(died.to_string()))?.map_err(told)
        });
        let client = client.await?.for_host(&target.host).map_err(told)?;
        client.secure(stream).await.map_err(|error| PostError::Tls(error.to_string()))
    }
}

fn request(target: &Target, signed: Signed, body: String) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    Request::post(&target.path_and_query)
        .header(HOST, &target.authority)
        .header(USER_AGENT, AGENT)
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .header("webhook-id", signed.id)
        .header("webhook-timestamp", signed.timestamp)
        .header("webhook-signature", signed.signature)
        .body(Full::new(Bytes::from(body)))
}

async fn exchange(stream: Box<dyn Stream>, request: Request<Full<Bytes>>) -> Result<StatusCode, PostError> {
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(ANSWER_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(PostError::Http)?;
    let conversing = async {
        let response = sender.send_request(request).await.map_err(PostError::Http)?;
        let status = response.status();
        // Read, so that a receiver that writes is not cut off; what it says beyond its status is its own.
        if let Err(error) = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
            tracing::debug!(%error, "a webhook's answer was not read to its end");
        }
        Ok(status)
    };
    tokio::pin!(connection);
    tokio::pin!(conversing);
    let ended = tokio::select! {
        answered = &mut conversing => return answered,
        ended = &mut connection => ended,
    };
    match conversing.await {
        Err(PostError::Http(_)) if ended.is_err() => Err(ended.map_or_else(PostError::Http, |()| PostError::Timeout)),
        answered => answered,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn poster(allow_private: bool) -> Poster {
        let options = Options {
            allow_private,
            connect_max: Duration::from_secs(5),
            answer_max: Duration::from_secs(1),
            ..Options::default()
        };
        Poster::new(&options)
    }

    fn signed() -> Signed {
        Signed { id: "msg_1".to_owned(), timestamp: 7, signature: "v1,x".to_owned() }
    }

    /// A receiver that says this once; what it was asked, and what was made of the answer.
    async fn answered(says: &'static [u8]) -> (String, Result<StatusCode, PostError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in?x=1", listener.local_addr().unwrap());
        let receiver = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"{\"a\":1}") {
                stream.read_buf(&mut asked).await.unwrap();
            }
            stream.write_all(says).await.unwrap();
            if says.is_empty() {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            String::from_utf8(asked).unwrap()
        });
        let target = Target::parse(&url, true).unwrap();
        let answer = poster(true).post(&target, signed(), "{\"a\":1}".to_owned()).await;
        let asked = if says.is_empty() { String::new() } else { receiver.await.unwrap() };
        (asked, answer)
    }

    #[tokio::test]
    async fn a_post_and_its_answer() {
        let (asked, answer) = answered(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(answer.unwrap(), StatusCode::NO_CONTENT);
        let asked = asked.to_lowercase();
        for line in [
            "post /in?x=1 http/1.1\r\n",
            "host: 127.0.0.1:",
            "webhook-id: msg_1\r\n",
            "webhook-timestamp: 7\r\n",
            "webhook-signature: v1,x\r\n",
            "content-type: application/json\r\n",
            "content-length: 7\r\n",
        ] {
            assert!(asked.contains(line), "{line} is not in {asked}");
        }
        // A redirect is an answer and leads nowhere.
        let (_, answer) =
            answered(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(answer.unwrap(), StatusCode::FOUND);
    }

    #[tokio::test]
    async fn what_is_no_answer() {
        assert!(matches!(answered(b"").await.1, Err(PostError::Timeout)));
        assert!(matches!(answered(b"220 mail.example ESMTP\r\n").await.1, Err(PostError::Http(_))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let nobody = poster(true).post(&Target::parse(&url, true).unwrap(), signed(), String::new()).await;
        assert!(matches!(nobody, Err(PostError::Connect(_))), "{nobody:?}");
    }

    /// By name, so that only the address that would be connected to tells. Nobody may have been called.
    #[tokio::test]
    async fn a_name_that_leads_home_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "2130706433", "0x7f000001"] {
            let target = Target::parse(&format!("http://{host}:{port}/"), false).unwrap();
            let refused = poster(false).post(&target, signed(), String::new()).await;
            let unknown = matches!(refused, Err(PostError::Connect(_))) && host != "localhost";
            assert!(unknown || matches!(refused, Err(PostError::Private(_))), "{host}: {refused:?}");
        }
        let called = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
        assert!(called.is_err(), "somebody was called");
    }

    /// A receiver that reads the request and then writes pieces for as long as it is let, each after this pause. What was made
    /// of it, and the octets it got rid of.
    async fn against(
        begins: &'static str,
        goes_on: &'static str,
        pause_ms: u64,
    ) -> (Result<StatusCode, PostError>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::parse(&format!("http://{}/", listener.local_addr().unwrap()), true).unwrap();
        let receiver = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"{}") {
                stream.read_buf(&mut asked).await.unwrap();
            }
            let (mut written, mut piece) = (0, begins);
            while stream.write_all(piece.as_bytes()).await.is_ok() {
                written += piece.len();
                piece = goes_on;
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
            written
        });
        let posting = poster(true);
        let posted = posting.post(&target, signed(), "{}".to_owned());
        let answer =
            tokio::time::timeout(Duration::from_secs(30), posted).await.expect("it holds us for as long as it likes");
        let written =
            tokio::time::timeout(Duration::from_secs(30), receiver).await.expect("its connection is still open");
        (answer, written.unwrap())
    }

    /// However a receiver behaves: an end within the time there is for an answer, and next to nothing read or kept.
    #[tokio::test]
    async fn a_hostile_receiver_is_bounded() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n";
        /// What may stand in the kernel's buffers of both sides, besides what was read.
        const WRITTEN_MAX: usize = 32 << 20;
        let long: &'static str = Box::leak("x".repeat(1 << 16).into_boxed_str());
        let chunk: &'static str = Box::leak(format!("10000\r\n{long}\r\n").into_boxed_str());
        let headers: &'static str = Box::leak("X: y\r\n".repeat(1_000).into_boxed_str());
        let rows = [
            // drips: its head, its body, answers before the answer
            ("HTTP/1.1 204 No Content\r\nX: ", "x", 50, "no answer in time"),
            (HEAD, "x", 50, "no answer in time"),
            ("", "HTTP/1.1 103 Early Hints\r\n\r\n", 50, "no answer in time"),
            // floods: headers, one header, bodies of both kinds
            ("HTTP/1.1 204 No Content\r\n", headers, 0, "no answer: "),
            ("HTTP/1.1 204 No Content\r\nX: ", long, 0, "no answer: "),
            (HEAD, long, 0, "200 OK"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, 0, "200 OK"),
        ];
        for (begins, goes_on, pause_ms, expected) in rows {
            let (answer, written) = against(begins, goes_on, pause_ms).await;
            let words = answer.map_or_else(|error| error.to_string(), |status| status.to_string());
            assert!(words.starts_with(expected), "{begins:?}: {words}");
            assert!(written < WRITTEN_MAX, "{begins:?}: {written} octets went");
        }
    }

    /// Somebody who accepts and says nothing, where TLS is to begin.
    #[tokio::test]
    async fn tls_that_stalls_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        let authority = rcgen::generate_simple_self_signed(vec!["receiver.example".to_owned()]).unwrap();
        std::fs::write(&ca_file, authority.cert.pem()).unwrap();
        let connect_max = Duration::from_millis(300);
        let options = Options { allow_private: true, ca_file: Some(ca_file), connect_max, ..Options::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let stalling = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = Vec::new();
            stream.read_to_end(&mut hello).await.unwrap();
            hello.len()
        });
        let target = Target::parse(&url, true).unwrap();
        let answer = Poster::new(&options).post(&target, signed(), String::new()).await;
        assert!(matches!(answer, Err(PostError::Timeout)), "{answer:?}");
        let hello =
            tokio::time::timeout(Duration::from_secs(30), stalling).await.expect("its connection is still open");
        assert!(hello.unwrap() > 0, "TLS had begun");
    }
}

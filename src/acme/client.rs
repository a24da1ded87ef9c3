//! The protocol's HTTP, over our own client: one connection a question, a deadline on each, rustls.
//!
//! **Invariant:** nothing goes out in clear unless the directory itself is `http`, which only a CA on this machine is.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::time::timeout;

use crate::deliver::dial::Stream;
use crate::deliver::tls::TlsClient;
use crate::deliver::{Dial as _, TcpDial};

/// To connect, over all addresses.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// For one question, connecting and TLS included.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Octets of an answer: chains are some kilobytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Asks the CA.
pub(super) struct Client {
    tls: TlsClient,
    may_be_plain: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error("{0} is not https")]
    Plain(String),
    #[error("{0} is no address")]
    Address(String),
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    #[error("no TLS with {0}: {1}")]
    Tls(String, io::Error),
    #[error("no answer from {0}: {1}")]
    Http(String, hyper::Error),
    #[error("the answer of {0} is cut off or too long: {1}")]
    Body(String, Box<dyn std::error::Error + Send + Sync>),
    #[error("{0} does not answer in time")]
    TooLong(String),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
}

impl Client {
    pub(super) fn new(tls: TlsClient, directory: &str) -> Client {
        Client { tls, may_be_plain: directory.starts_with("http://") }
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (tls, may_be_plain) = (self.tls.clone(), self.may_be_plain);
        Box::pin(async move {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let answered = timeout(ANSWER_MAX, ask(tls, may_be_plain, request)).await;
            let answered = answered.unwrap_or(Err(ClientError::TooLong(host)));
            answered.map(BytesResponse::from).map_err(|error| Error::Other(Box::new(error)))
        })
    }
}

async fn ask(
    tls: TlsClient,
    may_be_plain: bool,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, ClientError> {
    let uri = request.uri().clone();
    let is_tls = uri.scheme_str() == Some("https");
    if !is_tls && !may_be_plain {
        return Err(ClientError::Plain(uri.to_string()));
    }
    let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
        return Err(ClientError::Address(uri.to_string()));
    };
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let dialed = TcpDial::new(host, port, CONNECT_MAX).dial().await;
    let stream = dialed.map_err(|error| ClientError::Connect(authority.to_string(), error))?.stream;
    let stream = match is_tls {
        true => {
            let client = tls.for_host(host).map_err(|_| ClientError::Address(host.to_owned()))?;
            client.secure(stream).await.map_err(|error| ClientError::Tls(authority.to_string(), error))?
        }
        false => stream,
    };
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_or_else(|never| match never {}, |body| body.to_bytes());
    let mut to_send =
        Request::builder().method(parts.method).uri(uri.path_and_query().map_or("/", |path| path.as_str()));
    to_send = to_send.header(HOST, authority.as_str()).header(CONNECTION, "close");
    for (name, value) in &parts.headers {
        to_send = to_send.header(name, value);
    }
    exchange(stream, authority.as_str(), to_send.body(Full::new(body))?).await
}

async fn exchange(
    stream: Box<dyn Stream>,
    host: &str,
    request: Request<Full<Bytes>>,
) -> Result<Response<Full<Bytes>>, ClientError> {
    let failed = |error| ClientError::Http(host.to_owned(), error);
    let (mut sender, connection) =
        hyper::client::conn::http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let conversing = async {
        let (parts, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| ClientError::Body(host.to_owned(), error))?.to_bytes();
        Ok(Response::from_parts(parts, Full::new(body)))
    };
    tokio::pin!(connection);
    tokio::pin!(conversing);
    tokio::select! {
        answered = &mut conversing => return answered,
        // It may end before what it brought is read.
        _ = &mut connection => {}
    }
    conversing.await
}

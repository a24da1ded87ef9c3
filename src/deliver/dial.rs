//! How a connection to upstream comes to be: TCP here, the built-in inbox elsewhere.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::BoxFuture;

/// Octets both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections to one upstream.
pub trait Dial: Send + Sync + 'static {
    /// One new connection, banner not yet read. The caller bounds the wait.
    ///
    /// # Errors
    /// The host cannot be reached now.
    fn dial(&self) -> BoxFuture<'_, io::Result<Dialed>>;

    /// Whom this dials, for logs: `smtp.example.com:587`.
    fn name(&self) -> &str;
}

/// A connection just made.
pub struct Dialed {
    /// The octets.
    pub stream: Box<dyn Stream>,
    /// No one else can read it: loopback, or never left the process.
    pub local: bool,
}

/// Dials something in this process: the built-in inbox, whose octets never leave it.
pub struct LocalDial<F> {
    name: String,
    connect: F,
}

impl<F> LocalDial<F> {
    /// `connect` makes one connection, banner first, without waiting.
    pub fn new(name: impl Into<String>, connect: F) -> LocalDial<F> {
        LocalDial { name: name.into(), connect }
    }
}

impl<F, S> Dial for LocalDial<F>
where
    F: Fn() -> S + Send + Sync + 'static,
    S: Stream + 'static,
{
    fn dial(&self) -> BoxFuture<'_, io::Result<Dialed>> {
        Box::pin(async { Ok(Dialed { stream: Box::new((self.connect)()), local: true }) })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Dials a host and port over TCP.
#[derive(Debug, Clone)]
pub struct TcpDial {
    host: String,
    port: u16,
    name: String,
    connect: Duration,
}

/// No address is given less than this, however many there are.
const ADDRESS_MIN: Duration = Duration::from_millis(500);

impl TcpDial {
    /// `connect` bounds the wait over all addresses of the host.
    pub fn new(host: impl Into<String>, port: u16, connect: Duration) -> TcpDial {
        let host = host.into();
        let name = format!("{host}:{port}");
        // `[2001:db8::1]` in the configuration, `2001:db8::1` for the resolver.
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).map(str::to_owned);
        TcpDial { name, host: bare.unwrap_or(host), port, connect }
    }

    /// Tries every address in the resolver's order. An address that swallows packets gets its share of the time and
    /// no more, so that a dead IPv6 route does not use up the whole wait.
    async fn connected(&self) -> io::Result<TcpStream> {
        let until = Instant::now() + self.connect;
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for (tried, address) in addresses.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            match timeout(share.max(ADDRESS_MIN), TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")),
            }
        }
        Err(last)
    }
}

impl Dial for TcpDial {
    fn dial(&self) -> BoxFuture<'_, io::Result<Dialed>> {
        Box::pin(async move {
            let stream = self.connected().await?;
            // The end of DATA would wait for a delayed ACK otherwise: 40 ms a mail.
            stream.set_nodelay(true)?;
            let local = stream.peer_addr()?.ip().to_canonical().is_loopback();
            Ok(Dialed { stream: Box::new(stream), local })
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

//! A client that sends exactly the octets it is told, and a server for it on a port of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use waxseal::listener::{Options, Rules, ServerTls, Shared, TlsMode, conn};

use super::backend::Recorder;
use super::script::Facts;
use super::segments::{Counts, Reading, Sending};

/// No answer within this is no answer.
const PATIENCE: Duration = Duration::from_secs(30);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A certificate for `localhost`, and a client that trusts this one only.
pub(super) struct Certificate {
    pub(super) folder: tempfile::TempDir,
    pub(super) connector: tokio_rustls::TlsConnector,
}

static CERTIFICATE: LazyLock<Certificate> = LazyLock::new(Certificate::new);

impl Certificate {
    pub(super) fn new() -> Certificate {
        let folder = tempfile::tempdir().unwrap();
        let connector = Certificate::renew(folder.path());
        Certificate { folder, connector }
    }

    /// Writes another certificate and its key over those in the folder.
    pub(super) fn renew(folder: &std::path::Path) -> tokio_rustls::TlsConnector {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("c.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("k.pem"), made.signing_key.serialize_pem()).unwrap();
        trusting(made.cert.der().clone())
    }

    pub(super) fn load(&self) -> ServerTls {
        ServerTls::load(&self.folder.path().join("c.pem"), &self.folder.path().join("k.pem")).unwrap()
    }

    pub(super) fn reload(&self, tls: &ServerTls) {
        tls.reload(&self.folder.path().join("c.pem"), &self.folder.path().join("k.pem")).unwrap();
    }
}

fn trusting(certificate: rustls::pki_types::CertificateDer<'static>) -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Arc::new(config).into()
}

/// A server for one connection.
pub(super) struct Server {
    pub(super) backend: Arc<Recorder>,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) done: JoinHandle<()>,
    pub(super) client: Client,
}

pub(super) struct Client {
    stream: Option<Box<dyn Stream>>,
    read: Vec<u8>,
    counts: Option<Arc<Counts>>,
}

/// Starts a server with these facts and connects to it; with implicit TLS the handshake is done.
pub(super) async fn connect(facts: Facts) -> Server {
    connect_with(facts, |_| {}).await
}

pub(super) async fn connect_with(facts: Facts, change: impl FnOnce(&mut Options)) -> Server {
    connect_saying(facts, b"", change).await
}

/// A client that does not wait for the banner.
pub(super) async fn connect_early(facts: Facts, octets: &[u8]) -> Server {
    connect_saying(facts, octets, |_| {}).await
}

/// Over implicit TLS: these octets leave in one write with the client's end of the handshake.
pub(super) async fn connect_hasty(facts: Facts, octets: &[u8]) -> Server {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let corked = Arc::new(AtomicBool::new(true));
    let ours = Corked { stream: ours, corked: Arc::clone(&corked), spoken: false, held: Vec::new() };
    let mut server = run(facts, Options::new(facts.options()), theirs, ours);
    server.client.start_tls().await;
    corked.store(false, Ordering::SeqCst);
    server.client.send(octets).await;
    server
}

/// Over a pipe in memory: when the client drops it, the server cannot write.
pub(super) fn connect_in_memory(facts: Facts) -> Server {
    connect_in_memory_with(facts, |_| {})
}

pub(super) fn connect_in_memory_with(facts: Facts, change: impl FnOnce(&mut Options)) -> Server {
    let mut options = Options::new(facts.options());
    change(&mut options);
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    run(facts, options, theirs, ours)
}

async fn connect_saying(facts: Facts, early: &[u8], change: impl FnOnce(&mut Options)) -> Server {
    let mut options = Options::new(facts.options());
    change(&mut options);
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut stream = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
    stream.write_all(early).await.unwrap();
    let (theirs, _) = socket.accept().await.unwrap();
    let mut server = run(facts, options, theirs, stream);
    if facts.implicit {
        server.client.start_tls().await;
    }
    server
}

fn run(facts: Facts, options: Options, theirs: impl Stream + 'static, ours: impl Stream + 'static) -> Server {
    let backend = Arc::new(Recorder::default());
    let shared = Arc::new(Shared::new(options, backend.clone(), Some(Arc::new(CERTIFICATE.load()))));
    let (stop, shutdown) = watch::channel(false);
    let (rules, peer) = rules(facts);
    let serving = Arc::clone(&shared);
    let counts = Arc::new(Counts::default());
    let theirs = Reading(theirs, Arc::clone(&counts));
    let done = tokio::spawn(async move { conn::converse(theirs, peer, &rules, serving, shutdown).await });
    let mut client = Client::over(Sending(ours, Arc::clone(&counts)));
    client.counts = Some(counts);
    Server { backend, shared, stop, done, client }
}

pub(super) fn rules(facts: Facts) -> (Rules, IpAddr) {
    let peer: IpAddr = if facts.remote { [192, 0, 2, 9].into() } else { Ipv4Addr::LOCALHOST.into() };
    let tls = match (facts.implicit, facts.starttls) {
        (true, _) => TlsMode::Implicit,
        (_, true) => TlsMode::Starttls,
        _ => TlsMode::None,
    };
    let networks = if facts.trusted { vec![peer.into()] } else { Vec::new() };
    let rules =
        Rules { tls, logins: !facts.no_logins, networks, org: Some("default".parse().unwrap()), proxies: Vec::new() };
    (rules, peer)
}

/// Holds back what comes after the first flight, for as long as it is corked.
struct Corked {
    stream: DuplexStream,
    corked: Arc<AtomicBool>,
    /// The first flight has left.
    spoken: bool,
    held: Vec<u8>,
}

impl AsyncRead for Corked {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Corked {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.held.extend_from_slice(octets);
        if !this.spoken || !this.corked.load(Ordering::SeqCst) {
            this.spoken = true;
            // The pipe has room for all of a handshake.
            let written = ready!(Pin::new(&mut this.stream).poll_write(cx, &this.held))?;
            assert_eq!(written, this.held.len());
            this.held.clear();
        }
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Client {
    pub(super) fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Client {
        Client { stream: Some(Box::new(stream)), read: Vec::new(), counts: None }
    }

    /// The server may have closed already; what it said before tells.
    pub(super) async fn send(&mut self, octets: &[u8]) {
        let stream = self.stream.as_mut().unwrap();
        let written = timeout(PATIENCE, async {
            stream.write_all(octets).await?;
            stream.flush().await
        });
        drop(written.await.expect("the server takes what is sent"));
    }

    /// In two parts, the second once the first has been read: two segments, or two TLS records.
    pub(super) async fn send_cut(&mut self, octets: &[u8], at: usize) {
        let (first, second) = octets.split_at(at);
        for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
            self.counts.as_ref().unwrap().settled().await;
            self.send(part).await;
        }
    }

    pub(super) async fn start_tls(&mut self) {
        self.try_tls(&CERTIFICATE.connector).await.expect("a handshake");
    }

    pub(super) async fn try_tls(&mut self, connector: &tokio_rustls::TlsConnector) -> io::Result<()> {
        let stream = self.stream.take().unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = timeout(PATIENCE, connector.connect(name, stream)).await.expect("a handshake in time")?;
        assert_eq!(self.read, b"", "nothing is left over from before TLS");
        self.stream = Some(Box::new(stream));
        Ok(())
    }

    /// Says nothing and hears all there is, to the server's end.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.read);
        let read = timeout(PATIENCE, self.stream.as_mut().unwrap().read_to_end(&mut rest)).await;
        drop(read.expect("the server closes in time"));
        rest
    }

    /// Ends our side only.
    pub(super) async fn shut_down(&mut self) {
        self.stream.as_mut().unwrap().shutdown().await.unwrap();
    }

    /// The lines of the next reply; `None` when the server has closed.
    pub(super) async fn reply(&mut self) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return Some(lines);
            }
        }
    }

    /// The next reply's only line.
    pub(super) async fn answer(&mut self, octets: &[u8]) -> String {
        self.send(octets).await;
        self.reply().await.map(|lines| lines.join("|")).unwrap_or_default()
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.read.drain(..at + 2).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            let mut chunk = [0; 4096];
            let read = timeout(PATIENCE, self.stream.as_mut().unwrap().read(&mut chunk)).await;
            match read.expect("the server answers in time") {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.read.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

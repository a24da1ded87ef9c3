//! A scripted upstream: an SMTP server on a port of its own that records every transaction octet by octet and misbehaves
//! where its script says so.
//!
//! It shares no code with the client it tests: its own line reader, its own end-of-data search, its own unstuffing.
//!
//! ```ignore
//! let upstream = ScriptedUpstream::start(Script::new().on(At::Dot, [Act::say("451 later")])).await;
//! // … deliver to upstream.addr() …
//! assert_eq!(upstream.mails()[0].content, b"…");
//! ```
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Where in the dialogue a fault sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Instead of the banner.
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// After the 354, before the content is read.
    Content,
    /// The final dot has been read.
    Dot,
    Rset,
    Quit,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Octets as they are.
    Say(Vec<u8>),
    /// Octets one by one, so far apart.
    Drip(Vec<u8>, Duration),
    /// What a healthy server would do here.
    Default,
    Wait(Duration),
    /// An orderly end (FIN).
    Close,
    /// A RST: what was said and not yet read may be lost.
    Reset,
    /// Neither reads nor says anything any more.
    Hang,
}

impl Act {
    /// One line; CRLF is added.
    pub(crate) fn say(line: &str) -> Act {
        Act::Say(format!("{line}\r\n").into_bytes())
    }
}

#[derive(Debug, Clone)]
struct Fault {
    at: At,
    /// Only for commands that hold this text.
    holding: String,
    /// Matching commands to let pass first.
    skip: usize,
    /// How often it strikes.
    times: usize,
    acts: Vec<Act>,
}

/// How the upstream behaves.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// EHLO keywords, said as they are.
    keywords: Vec<String>,
    /// STARTTLS (offered) or implicit TLS.
    tls: Option<(TestCertificate, TlsStart)>,
    /// A login it demands.
    login: Option<(String, String)>,
    /// Recipients it takes in one transaction; more get 452.
    recipients_max: usize,
    faults: Vec<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsStart {
    StartTls,
    Implicit,
}

impl Script {
    /// A modern, healthy server without TLS.
    pub(crate) fn new() -> Script {
        let keywords = ["PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"];
        let keywords = keywords.map(str::to_owned).to_vec();
        Script { keywords, tls: None, login: None, recipients_max: usize::MAX, faults: Vec::new() }
    }

    /// Only these keywords.
    pub(crate) fn keywords(mut self, keywords: &[&str]) -> Script {
        self.keywords = keywords.iter().map(|&k| k.to_owned()).collect();
        self
    }

    pub(crate) fn starttls(mut self, certificate: &TestCertificate) -> Script {
        self.keywords.push("STARTTLS".to_owned());
        self.tls = Some((certificate.clone(), TlsStart::StartTls));
        self
    }

    pub(crate) fn implicit_tls(mut self, certificate: &TestCertificate) -> Script {
        self.tls = Some((certificate.clone(), TlsStart::Implicit));
        self
    }

    /// Demands this login, and offers AUTH with these mechanisms.
    pub(crate) fn login(mut self, username: &str, password: &str, mechanisms: &str) -> Script {
        self.keywords.push(format!("AUTH {mechanisms}"));
        self.login = Some((username.to_owned(), password.to_owned()));
        self
    }

    /// Takes so many recipients in one transaction.
    pub(crate) fn recipients_max(mut self, recipients: usize) -> Script {
        self.recipients_max = recipients;
        self
    }

    /// Always misbehaves here.
    pub(crate) fn on(self, at: At, acts: impl Into<Vec<Act>>) -> Script {
        self.fault(at, "", 0, usize::MAX, acts)
    }

    /// Misbehaves the `nth` time (1 is the first) it comes here, over all connections.
    pub(crate) fn on_nth(self, at: At, nth: usize, acts: impl Into<Vec<Act>>) -> Script {
        self.fault(at, "", nth - 1, 1, acts)
    }

    /// Answers a command that holds this text, always.
    pub(crate) fn answer(self, at: At, holding: &str, line: &str) -> Script {
        self.fault(at, holding, 0, usize::MAX, [Act::say(line)])
    }

    fn fault(mut self, at: At, holding: &str, skip: usize, times: usize, acts: impl Into<Vec<Act>>) -> Script {
        self.faults.push(Fault { at, holding: holding.to_owned(), skip, times, acts: acts.into() });
        self
    }

    fn take(&mut self, at: At, line: &str) -> Option<Vec<Act>> {
        let fault = self.faults.iter_mut().find(|f| f.at == at && f.times > 0 && line.contains(&f.holding))?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= usize::from(fault.times != usize::MAX);
        Some(fault.acts.clone())
    }
}

/// One transaction that got as far as a 354.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecordedMail {
    /// Which connection, from 1.
    pub(crate) connection: usize,
    /// The MAIL command without CRLF.
    pub(crate) mail: String,
    /// The RCPT commands that were accepted, without CRLF.
    pub(crate) rcpts: Vec<String>,
    /// Everything after the 354 up to and with the end of data, as it came.
    pub(crate) wire: Vec<u8>,
    /// The same without the end of data and without dot-stuffing.
    pub(crate) content: Vec<u8>,
    /// The end of data was there.
    pub(crate) complete: bool,
    /// It was answered 2yz.
    pub(crate) accepted: bool,
    /// It came over TLS.
    pub(crate) tls: bool,
    /// Who had logged in.
    pub(crate) login: Option<String>,
}

#[derive(Default)]
struct Records {
    mails: Vec<RecordedMail>,
    commands: Vec<String>,
    connections: usize,
    open: usize,
}

/// The server. Ends when dropped.
pub(crate) struct ScriptedUpstream {
    addr: SocketAddr,
    records: Arc<Mutex<Records>>,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedUpstream {
    pub(crate) async fn start(script: Script) -> ScriptedUpstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let records: Arc<Mutex<Records>> = Arc::default();
        let script = Arc::new(Mutex::new(script));
        let task = tokio::spawn(accept(listener, records.clone(), script.clone()));
        ScriptedUpstream { addr, records, script, task }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From the next command on.
    pub(crate) fn change(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// Every transaction that got a 354, in the order of their ends.
    pub(crate) fn mails(&self) -> Vec<RecordedMail> {
        self.records.lock().unwrap().mails.clone()
    }

    /// Those answered 2yz at the dot.
    pub(crate) fn accepted(&self) -> Vec<RecordedMail> {
        self.mails().into_iter().filter(|mail| mail.accepted).collect()
    }

    /// Every command line of every connection, without CRLF; lines sent in AUTH included.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.records.lock().unwrap().commands.clone()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.records.lock().unwrap().connections
    }

    /// How many are open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.records.lock().unwrap().open
    }
}

async fn accept(listener: TcpListener, records: Arc<Mutex<Records>>, script: Arc<Mutex<Script>>) {
    // Connections end with the server.
    let mut peers = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let connection = {
            let mut records = records.lock().unwrap();
            records.connections += 1;
            records.open += 1;
            records.connections
        };
        let (records, script) = (records.clone(), script.clone());
        peers.spawn(async move {
            let peer = Peer::new(stream, connection, records.clone(), script);
            drop(Box::pin(peer.serve()).await);
            records.lock().unwrap().open -= 1;
        });
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The connection is over, one way or another.
struct Over;

type Step<T> = Result<T, Over>;

struct Peer {
    stream: Option<Box<dyn Stream>>,
    /// The same socket, to set how it closes.
    socket: socket2::Socket,
    read: Vec<u8>,
    records: Arc<Mutex<Records>>,
    script: Arc<Mutex<Script>>,
    connection: usize,
    tls: bool,
    login: Option<String>,
    mail: Option<RecordedMail>,
}

impl Peer {
    fn new(stream: TcpStream, connection: usize, records: Arc<Mutex<Records>>, script: Arc<Mutex<Script>>) -> Peer {
        stream.set_nodelay(true).unwrap();
        let socket = socket2::SockRef::from(&stream).try_clone().unwrap();
        let stream: Option<Box<dyn Stream>> = Some(Box::new(stream));
        Peer { stream, socket, read: Vec::new(), records, script, connection, tls: false, login: None, mail: None }
    }

    async fn serve(mut self) -> Step<()> {
        let tls = self.script.lock().unwrap().tls.clone();
        if let Some((certificate, TlsStart::Implicit)) = &tls {
            self.secure(certificate).await?;
        }
        self.answer(At::Greeting, "", "220 upstream.test ESMTP").await?;
        loop {
            let line = self.line().await?;
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => self.ehlo(&line).await?,
                "HELO" => drop(self.answer(At::Helo, &line, "250 upstream.test").await?),
                "STARTTLS" => self.starttls(&line).await?,
                "AUTH" => self.auth(&line).await?,
                "MAIL" => self.mail_from(&line).await?,
                "RCPT" => self.rcpt(&line).await?,
                "DATA" => self.data(&line).await?,
                "RSET" => {
                    self.mail = None;
                    self.answer(At::Rset, &line, "250 2.0.0 reset").await?;
                }
                "QUIT" => {
                    self.answer(At::Quit, &line, "221 2.0.0 bye").await?;
                    return Err(Over);
                }
                _ => self.say(b"500 5.5.2 unrecognized\r\n").await?,
            }
        }
    }

    async fn ehlo(&mut self, line: &str) -> Step<()> {
        self.mail = None;
        let mut keywords = self.script.lock().unwrap().keywords.clone();
        if self.tls {
            keywords.retain(|k| k != "STARTTLS");
        }
        let mut lines = vec!["upstream.test".to_owned()];
        lines.extend(keywords);
        let last = lines.pop().unwrap();
        let mut answer: String = lines.iter().map(|l| format!("250-{l}\r\n")).collect();
        answer.push_str(&format!("250 {last}"));
        self.answer(At::Ehlo, line, &answer).await.map(drop)
    }

    async fn starttls(&mut self, line: &str) -> Step<()> {
        let tls = self.script.lock().unwrap().tls.clone();
        let Some((certificate, _)) = tls else {
            return self.say(b"502 5.5.1 no TLS here\r\n").await;
        };
        if self.answer(At::StartTls, line, "220 2.0.0 go ahead").await?.starts_with(b"220") {
            self.read.clear();
            self.secure(&certificate).await?;
        }
        Ok(())
    }

    async fn secure(&mut self, certificate: &TestCertificate) -> Step<()> {
        let acceptor = TlsAcceptor::from(certificate.server.clone());
        let stream = self.stream.take().ok_or(Over)?;
        let secured = acceptor.accept(stream).await.map_err(|_| Over)?;
        self.stream = Some(Box::new(secured));
        self.tls = true;
        Ok(())
    }

    async fn auth(&mut self, line: &str) -> Step<()> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mechanism = words.get(1).map(|m| m.to_ascii_uppercase()).unwrap_or_default();
        let (username, password) = match mechanism.as_str() {
            "PLAIN" => {
                let response = match words.get(2) {
                    Some(response) => response.clone(),
                    None => self.challenge("").await?,
                };
                let decoded = String::from_utf8(STANDARD.decode(response).unwrap_or_default()).unwrap_or_default();
                let mut parts = decoded.split('\0').skip(1).map(str::to_owned);
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            }
            "LOGIN" => {
                let username = self.challenge("Username:").await?;
                let password = self.challenge("Password:").await?;
                let text = |b64: &str| String::from_utf8(STANDARD.decode(b64).unwrap_or_default()).unwrap_or_default();
                (text(&username), text(&password))
            }
            _ => return self.say(b"504 5.5.4 unknown mechanism\r\n").await,
        };
        let known = self.script.lock().unwrap().login.clone();
        let right = known.is_some_and(|(u, p)| u == username && p == password);
        let default = if right { "235 2.7.0 welcome" } else { "535 5.7.8 wrong" };
        if self.answer(At::Auth, line, default).await?.starts_with(b"235") {
            self.login = Some(username);
        }
        Ok(())
    }

    async fn challenge(&mut self, text: &str) -> Step<String> {
        self.say(format!("334 {}\r\n", STANDARD.encode(text)).as_bytes()).await?;
        self.line().await
    }

    async fn mail_from(&mut self, line: &str) -> Step<()> {
        let login_missing = self.script.lock().unwrap().login.is_some() && self.login.is_none();
        let default = match (&self.mail, login_missing) {
            (Some(_), _) => "503 5.5.1 nested MAIL",
            (None, true) => "530 5.7.0 log in first",
            (None, false) => "250 2.1.0 sender ok",
        };
        if self.answer(At::Mail, line, default).await?.starts_with(b"2") {
            self.mail = Some(RecordedMail {
                connection: self.connection,
                mail: line.to_owned(),
                tls: self.tls,
                login: self.login.clone(),
                ..RecordedMail::default()
            });
        }
        Ok(())
    }

    async fn rcpt(&mut self, line: &str) -> Step<()> {
        if self.mail.is_none() {
            return self.say(b"503 5.5.1 MAIL first\r\n").await;
        }
        let full = self.mail.as_ref().is_some_and(|m| m.rcpts.len() >= self.script.lock().unwrap().recipients_max);
        let default = if full { "452 4.5.3 too many" } else { "250 2.1.5 recipient ok" };
        let accepted = self.answer(At::Rcpt, line, default).await?.starts_with(b"2");
        if let (true, Some(mail)) = (accepted, &mut self.mail) {
            mail.rcpts.push(line.to_owned());
        }
        Ok(())
    }

    async fn data(&mut self, line: &str) -> Step<()> {
        let default = match &self.mail {
            None => "503 5.5.1 MAIL first",
            Some(mail) if mail.rcpts.is_empty() => "554 5.5.1 no valid recipients",
            Some(_) => "354 go ahead",
        };
        if !self.answer(At::Data, line, default).await?.starts_with(b"354") {
            return Ok(());
        }
        let mut mail = self.mail.take().unwrap_or_default();
        let over = match self.answer(At::Content, line, "").await {
            Ok(_) => self.content(&mut mail).await.err(),
            Err(over) => Some(over),
        };
        let at = {
            let mut records = self.records.lock().unwrap();
            records.mails.push(mail);
            records.mails.len() - 1
        };
        if let Some(over) = over {
            return Err(over);
        }
        let acts = self.script.lock().unwrap().take(At::Dot, line);
        let queued = "250 2.0.0 queued as Q1\r\n";
        let accepted = match &acts {
            None => true,
            Some(acts) => acts.iter().any(|act| match act {
                Act::Say(octets) | Act::Drip(octets, _) => octets.starts_with(b"2"),
                Act::Default => true,
                _ => false,
            }),
        };
        // Before the answer leaves, so that whoever has read it finds the record complete.
        self.records.lock().unwrap().mails[at].accepted = accepted;
        self.perform(acts.unwrap_or_else(|| vec![Act::Default]), queued.as_bytes()).await.map(drop)
    }

    /// Everything up to CRLF.CRLF (or a dot alone at the very start).
    async fn content(&mut self, mail: &mut RecordedMail) -> Step<()> {
        let mut searched: usize = 0;
        let end = loop {
            if self.read.starts_with(b".\r\n") {
                break 3;
            }
            let from = searched.saturating_sub(4);
            if let Some(at) = memchr::memmem::find(&self.read[from..], b"\r\n.\r\n") {
                break from + at + 5;
            }
            searched = self.read.len();
            if self.fill().await.is_err() {
                mail.wire = std::mem::take(&mut self.read);
                return Err(Over);
            }
        };
        mail.wire = self.read.drain(..end).collect();
        mail.complete = true;
        mail.content = unstuffed(&mail.wire);
        Ok(())
    }

    /// Does what the script says here, else says `default`; gives what was said first.
    async fn answer(&mut self, at: At, line: &str, default: &str) -> Step<Vec<u8>> {
        let acts = self.script.lock().unwrap().take(at, line).unwrap_or_else(|| vec![Act::Default]);
        let default = if default.is_empty() { Vec::new() } else { format!("{default}\r\n").into_bytes() };
        self.perform(acts, &default).await
    }

    async fn perform(&mut self, acts: Vec<Act>, default: &[u8]) -> Step<Vec<u8>> {
        let mut first = Vec::new();
        for act in acts {
            let said = match act {
                Act::Say(octets) => {
                    self.say(&octets).await?;
                    octets
                }
                Act::Default => {
                    self.say(default).await?;
                    default.to_vec()
                }
                Act::Drip(octets, pause) => {
                    for octet in &octets {
                        self.say(&[*octet]).await?;
                        tokio::time::sleep(pause).await;
                    }
                    octets
                }
                Act::Wait(time) => {
                    tokio::time::sleep(time).await;
                    continue;
                }
                Act::Close => {
                    if let Some(stream) = &mut self.stream {
                        drop(stream.shutdown().await);
                    }
                    return Err(Over);
                }
                Act::Reset => {
                    self.socket.set_linger(Some(Duration::ZERO)).unwrap();
                    return Err(Over);
                }
                Act::Hang => std::future::pending().await,
            };
            if first.is_empty() {
                first = said;
            }
        }
        Ok(first)
    }

    async fn say(&mut self, octets: &[u8]) -> Step<()> {
        let stream = self.stream.as_mut().ok_or(Over)?;
        stream.write_all(octets).await.map_err(|_| Over)?;
        stream.flush().await.map_err(|_| Over)
    }

    async fn line(&mut self) -> Step<String> {
        loop {
            if let Some(lf) = self.read.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=lf).collect();
                assert!(line.ends_with(b"\r\n"), "a command line that ends in a bare LF: {line:?}");
                let line = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
                self.records.lock().unwrap().commands.push(line.clone());
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Step<()> {
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.as_mut().ok_or(Over)?.read(&mut chunk).await.map_err(|_| Over)?;
        self.read.extend_from_slice(&chunk[..read]);
        if read == 0 { Err(Over) } else { Ok(()) }
    }
}

fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let content = wire.strip_suffix(b".\r\n").unwrap();
    let mut lines = Vec::new();
    for line in content.split_inclusive(|&b| b == b'\n') {
        lines.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    lines
}

/// A self-signed certificate and its PEM file, which goes with it.
#[derive(Clone)]
pub(crate) struct TestCertificate {
    server: Arc<ServerConfig>,
    folder: Arc<tempfile::TempDir>,
}

impl std::fmt::Debug for TestCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestCertificate")
    }
}

impl TestCertificate {
    /// Valid now, for these names.
    pub(crate) fn new(names: &[&str]) -> TestCertificate {
        TestCertificate::from_params(params(names))
    }

    /// Valid until 2001.
    pub(crate) fn expired(names: &[&str]) -> TestCertificate {
        let mut params = params(names);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        TestCertificate::from_params(params)
    }

    fn from_params(params: CertificateParams) -> TestCertificate {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], der)
            .unwrap();
        TestCertificate { server: Arc::new(server), folder: Arc::new(folder) }
    }

    /// For `ca_file`.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()).unwrap()
}

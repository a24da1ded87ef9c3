//! One connection of the scripted upstream.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::script::{Act, At, Script, TlsStart};
use super::{RecordedMail, Records};
use crate::support::certificate::TestCertificate;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The connection is over, one way or another.
pub(super) struct Over;

pub(super) type Step<T> = Result<T, Over>;

pub(super) struct Peer {
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
    pub(super) fn new(
        stream: TcpStream,
        connection: usize,
        records: Arc<Mutex<Records>>,
        script: Arc<Mutex<Script>>,
    ) -> Peer {
        stream.set_nodelay(true).unwrap();
        let socket = socket2::SockRef::from(&stream).try_clone().unwrap();
        let stream: Option<Box<dyn Stream>> = Some(Box::new(stream));
        Peer { stream, socket, read: Vec::new(), records, script, connection, tls: false, login: None, mail: None }
    }

    pub(super) async fn serve(mut self) -> Step<()> {
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
            "XOAUTH2" | "OAUTHBEARER" => {
                let response = words.get(2).cloned().unwrap_or_default();
                let decoded = String::from_utf8(STANDARD.decode(response).unwrap()).unwrap();
                let username = match mechanism.as_str() {
                    "XOAUTH2" => decoded.strip_prefix("user=").unwrap().split('\u{1}').next().unwrap().to_owned(),
                    _ => decoded.strip_prefix("n,a=").unwrap().split(",\u{1}").next().unwrap().to_owned(),
                };
                let token = decoded.split("\u{1}auth=Bearer ").nth(1).unwrap().strip_suffix("\u{1}\u{1}").unwrap();
                let pair = Some((username.clone(), token.to_owned()));
                if self.script.lock().unwrap().login != pair {
                    let end = self.challenge("{\"status\":\"401\"}").await?;
                    assert_eq!(end, if mechanism == "XOAUTH2" { "" } else { "AQ==" });
                }
                (username, token.to_owned())
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

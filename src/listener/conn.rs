//! One client, from its first octet to its last, over any stream.
//!
//! **Invariants:** every wait has a deadline. A message is read only as far as the byte budget has room for it. The
//! backend takes a mail in a task that owns it, so that a client that leaves cannot stop it half-way.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tracing::Instrument as _;

use super::capacity::Room;
use super::transport::{READ_BYTES, Transport};
use super::{Backend, ClientGone, LoginOutcome, Options, Rules, Shared, Submission, TlsMode, stopped};
use crate::message::Mail;
use crate::settings::Submitter;
use crate::smtp::sasl::Credentials;
use crate::smtp::session::{Action, Facts, Incoming, Input, LoginAnswer, Session, Tls, Wait};
use crate::smtp::{Reply, ReversePath};

/// Numbers the sessions of this process, for the log.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// Runs one conversation to its end. The stream may be anything; `peer` is who the rules are asked about.
pub async fn converse<S>(stream: S, peer: IpAddr, rules: &Rules, shared: Arc<Shared>, shutdown: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let id = SESSIONS.fetch_add(1, Ordering::Relaxed);
    let span = tracing::info_span!("session", session.id = id, peer.addr = %peer);
    let conn = Conn::new(stream, peer, rules, shared, shutdown);
    let implicit = rules.tls == TlsMode::Implicit;
    async move {
        let end = conn.run(implicit).await;
        tracing::debug!(%end, "session ended");
    }
    .instrument(span)
    .await;
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by us")]
    Closed,
    #[error("the client hung up: {0}")]
    Lost(#[from] io::Error),
    #[error("TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("the client did not read our replies")]
    NotRead,
    #[error("the backend gave no answer in time")]
    NoAnswer,
}

struct Conn<S> {
    transport: Transport<S>,
    session: Session<Submitter>,
    /// Replies not yet sent.
    out: Vec<u8>,
    peer: IpAddr,
    shared: Arc<Shared>,
    options: Arc<Options>,
    shutdown: watch::Receiver<bool>,
    session_end: Instant,
    line_since: (u64, Instant),
    body: Body,
}

/// Of the message that is being read.
struct Body {
    room: Option<Room>,
    /// There was no more room: what follows is thrown away.
    abandoned: bool,
    window_end: Instant,
    window_bytes: u64,
}

/// Replies are sent when so many octets have gathered, at the latest.
const OUT_BYTES_MAX: usize = 16 * 1024;
/// A reply buffer larger than this is given back.
const OUT_KEPT_BYTES_MAX: usize = 1024;
/// How much a client may pipeline behind a final dot while it waits for our answer.
const HELD_BYTES_MAX: usize = 64 * 1024;
/// How long and how much is read from a client after the last reply, so that our closing does not tear the reply down.
const LINGER_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

impl<S> Conn<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn new(stream: S, peer: IpAddr, rules: &Rules, shared: Arc<Shared>, shutdown: watch::Receiver<bool>) -> Conn<S> {
        let tls = match (rules.tls, &shared.tls) {
            (TlsMode::Implicit, _) => Tls::Active,
            (TlsMode::Starttls, Some(_)) => Tls::Available,
            (TlsMode::Starttls | TlsMode::None, _) => Tls::Unavailable,
        };
        let facts = Facts::new(peer.to_canonical().is_loopback(), tls, rules.logins, rules.trusted(peer));
        let (now, options) = (Instant::now(), shared.options());
        Conn {
            transport: Transport::Plain(stream),
            session: Session::new(Arc::clone(&options.session), facts),
            out: Vec::new(),
            peer,
            session_end: now + options.session_max,
            shared,
            options,
            shutdown,
            line_since: (0, now),
            body: Body { room: None, abandoned: false, window_end: now, window_bytes: 0 },
        }
    }

    async fn run(mut self, implicit_tls: bool) -> End {
        if implicit_tls && let Err(end) = self.handshake().await {
            return end;
        }
        let mut action = self.greet().await;
        loop {
            action = match self.act(action).await {
                Ok(next) => next,
                Err(end) => return end,
            };
        }
    }

    /// Looks whether the client talks before it was spoken to.
    async fn greet(&mut self) -> Action<Submitter> {
        tokio::task::yield_now().await; // lets the runtime see what has arrived
        let session = &mut self.session;
        let early = |octets: &[u8]| match octets {
            [] => session.step(Input::Eof),
            _ => session.step(Input::Bytes(octets)),
        };
        match self.transport.try_read_with(early).await {
            Some(Ok(action)) => action,
            Some(Err(_)) => self.session.step(Input::Eof),
            None => self.session.step(Input::Continue),
        }
    }

    async fn act(&mut self, action: Action<Submitter>) -> Result<Action<Submitter>, End> {
        let input = match action {
            Action::Read => {
                self.flush().await?;
                return self.read().await;
            }
            Action::Reply(reply) => {
                if self.session.wait() != Wait::Body {
                    self.body.room = None; // a message that ended in a refusal
                }
                self.push(&reply);
                if self.out.len() >= OUT_BYTES_MAX {
                    self.flush().await?;
                }
                Input::Continue
            }
            Action::StartTls(reply) => {
                self.push(&reply);
                self.flush().await?;
                self.handshake().await?;
                Input::TlsStarted
            }
            Action::CheckLogin(credentials) => self.login(credentials).await,
            Action::CheckSender(submitter, path) => self.sender(&submitter, &path),
            Action::MakeRoom(declared) => self.open_body(declared).await,
            Action::Deliver(incoming) => {
                self.flush().await?;
                Input::Delivered(self.deliver(*incoming).await?)
            }
            Action::Close(reply) => return Err(self.close(reply).await),
        };
        Ok(self.session.step(input))
    }

    /// Reads once, within whatever deadline holds now.
    async fn read(&mut self) -> Result<Action<Submitter>, End> {
        if self.session.wait() == Wait::Body && !self.more_room().await {
            return Ok(self.session.step(Input::Room(false)));
        }
        let deadline = self.deadline();
        let may_stop = self.session.is_between_mails();
        let (session, window_bytes) = (&mut self.session, &mut self.body.window_bytes);
        let feed = |octets: &[u8]| {
            *window_bytes += octets.len() as u64;
            if octets.is_empty() { session.step(Input::Eof) } else { session.step(Input::Bytes(octets)) }
        };
        tokio::select! {
            action = timeout_at(deadline, self.transport.read_with(feed)) => match action {
                Ok(action) => Ok(action?),
                Err(_) => Ok(self.out_of_time()),
            },
            () = stopped(&mut self.shutdown), if may_stop => Ok(Action::Close(Some(Reply::shutting_down()))),
        }
    }

    fn deadline(&mut self) -> Instant {
        let options = &self.options;
        let now = Instant::now();
        let deadline = match self.session.wait() {
            Wait::Idle => now + options.idle_max,
            Wait::Body => self.body.window_end,
            Wait::Line => {
                let lines = self.session.lines_taken() + 1;
                if self.line_since.0 != lines {
                    self.line_since = (lines, now);
                }
                self.line_since.1 + options.command_max
            }
        };
        deadline.min(self.session_end)
    }

    fn out_of_time(&mut self) -> Action<Submitter> {
        let options = &self.options;
        let enough = options.data_bytes_per_sec_min.saturating_mul(options.data_window.as_secs());
        let in_body = self.session.wait() == Wait::Body;
        if in_body && self.body.window_bytes >= enough && Instant::now() < self.session_end {
            self.body.window_bytes = 0;
            self.body.window_end = Instant::now() + options.data_window;
            return Action::Read;
        }
        Action::Close(Some(Reply::timed_out()))
    }

    fn push(&mut self, reply: &Reply) {
        tracing::trace!(code = reply.code, "reply");
        self.out.extend_from_slice(&reply.to_bytes());
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let write = async {
            self.transport.write_all(&self.out).await?;
            self.transport.flush().await
        };
        timeout(self.options.write_max, write).await.map_err(|_| End::NotRead)??;
        if self.out.capacity() > OUT_KEPT_BYTES_MAX {
            self.out = Vec::new()
        } else {
            self.out.clear()
        }
        Ok(())
    }

    /// The plaintext connection becomes a TLS connection by value; octets read before it are forgotten by the session.
    async fn handshake(&mut self) -> Result<(), End> {
        let plain = std::mem::replace(&mut self.transport, Transport::Gone);
        let (Transport::Plain(stream), Some(tls)) = (plain, &self.shared.tls) else {
            return Err(End::Handshake(io::Error::other("no certificate, or TLS twice")));
        };
        // Boxed: it is large, and every idle connection would carry its size.
        let accept = Box::pin(tls.acceptor().accept(stream));
        let accepted = timeout(self.options.tls_handshake_max, accept).await;
        let stream = accepted.map_err(|_| End::Handshake(io::ErrorKind::TimedOut.into()))?.map_err(End::Handshake)?;
        self.transport = Transport::Tls(Box::new(stream));
        Ok(())
    }

    async fn login(&mut self, credentials: Credentials) -> Input<'static, Submitter> {
        let Credentials { login, password } = credentials;
        let judge = self.shared.backend.login(login, password, self.peer);
        Input::Login(match timeout(self.options.login_max, judge).await {
            Ok(LoginOutcome::Welcome(submitter)) => LoginAnswer::Welcome(submitter),
            Ok(LoginOutcome::Refused) => LoginAnswer::Refused,
            Ok(LoginOutcome::Unavailable) | Err(_) => LoginAnswer::Unavailable,
        })
    }

    fn sender(&self, submitter: &Submitter, path: &ReversePath) -> Input<'static, Submitter> {
        Input::Sender(self.shared.backend.may_send_from(submitter, path))
    }

    /// Before 354: room for what the client says it will send, or for one read.
    async fn open_body(&mut self, declared: Option<u64>) -> Input<'static, Submitter> {
        let options = &self.options;
        let declared = declared.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
        let bytes = declared.min(options.session.message_bytes_max) + READ_BYTES;
        let room = self.shared.capacity.room(bytes, options.room_wait_max).await;
        let window_end = Instant::now() + options.data_window;
        self.body = Body { room, abandoned: false, window_end, window_bytes: 0 };
        if self.body.room.is_none() {
            tracing::warn!("no room for another message in flight");
        }
        Input::Room(self.body.room.is_some())
    }

    /// Before each read of a message: room for one read more. Grows by doubling.
    async fn more_room(&mut self) -> bool {
        let kept = self.session.body_bytes();
        let have = self.body.room.as_ref().map_or(0, Room::bytes);
        if self.body.abandoned || kept + READ_BYTES <= have {
            return true;
        }
        let started = Instant::now();
        let options = &self.options;
        let wanted = (have * 2).min(options.session.message_bytes_max + READ_BYTES).max(kept + READ_BYTES);
        let more = self.shared.capacity.room(wanted - have, options.room_wait_max).await;
        self.body.window_end += started.elapsed(); // it was we who paused
        match (&mut self.body.room, more) {
            (Some(room), Some(more)) => room.add(more),
            (_, more) => {
                tracing::warn!("no room for the rest of a message in flight");
                self.body.abandoned = more.is_none();
                self.body.room = more;
            }
        }
        !self.body.abandoned
    }

    /// Hands the mail to the backend and waits for its word, with an eye on the client.
    async fn deliver(&mut self, incoming: Incoming<Submitter>) -> Result<Reply, End> {
        let client_gone = ClientGone::default();
        let (submission, bytes) = submission(incoming, self.peer, client_gone.clone());
        let mut room = self.body.room.take();
        if let Some(room) = &mut room {
            room.shrink_to(bytes);
        }
        let backend = Arc::clone(&self.shared.backend);
        let mut task = tokio::spawn(accept(backend, submission, room).in_current_span());
        let deadline = Instant::now() + self.options.accept_max;
        let mut watching = true;
        loop {
            let session = &mut self.session;
            tokio::select! {
                answer = timeout_at(deadline, &mut task) => return match answer {
                    Ok(Ok(reply)) => Ok(reply),
                    Ok(Err(error)) => {
                        tracing::error!(%error, "taking a mail ended in a panic");
                        Ok(Reply::internal_error())
                    }
                    Err(_) => Err(End::NoAnswer),
                },
                read = self.transport.read_with(|octets| { session.hold(octets); octets.len() }), if watching => {
                    // A client that has pipelined QUIT and shut its side down still waits for our replies.
                    match read {
                        Ok(0) if self.session.held_bytes() == 0 => client_gone.mark(),
                        Ok(_) => {}
                        Err(_) => client_gone.mark(),
                    }
                    let ended = matches!(read, Ok(0) | Err(_));
                    watching = !ended && self.session.held_bytes() < HELD_BYTES_MAX;
                }
            }
        }
    }

    /// Sends the last words and closes; reads on for a moment, or unread octets would tear the reply down (RFC 1122 §4.2.2.13).
    async fn close(&mut self, reply: Option<Reply>) -> End {
        let Some(reply) = reply else { return End::Closed };
        self.push(&reply);
        if let Err(end) = self.flush().await {
            return end;
        }
        let deadline = Instant::now() + LINGER_MAX;
        let last = async {
            self.transport.shutdown().await?;
            let mut read_bytes = 0;
            while read_bytes < LINGER_BYTES_MAX {
                match self.transport.read_with(<[u8]>::len).await? {
                    0 => break,
                    more => read_bytes += more,
                }
            }
            Ok::<(), io::Error>(())
        };
        match timeout_at(deadline, last).await {
            Ok(Err(error)) => End::Lost(error),
            Ok(Ok(())) | Err(_) => End::Closed,
        }
    }
}

fn submission(incoming: Incoming<Submitter>, peer: IpAddr, client_gone: ClientGone) -> (Submission, usize) {
    let Incoming { transaction, raw, bare_newlines, who, helo, protocol } = incoming;
    let bytes = raw.len();
    let mail = Mail { envelope: transaction.into(), raw };
    (Submission { mail, submitter: who, peer, helo, protocol, bare_newlines, client_gone }, bytes)
}

/// Owns the mail and its room in memory until the backend has answered.
async fn accept(backend: Arc<dyn Backend>, submission: Submission, room: Option<Room>) -> Reply {
    let reply = backend.accept(submission).await;
    drop(room);
    reply
}

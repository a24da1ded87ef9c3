//! One client, from its first octet to its last, over any stream.
//!
//! **Invariants:** every wait has a deadline. A message is read only as far as the byte budget has room for it. The
//! backend takes a mail in a task that owns it, so that a client that leaves cannot stop it half-way.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tracing::Instrument as _;

use super::transport::Transport;
use super::{Backend, ClientGone, Lease, LoginOutcome, Options, Rules, Shared, TlsMode, limit_met, stopped};
use crate::settings::Submitter;
use crate::smtp::command::Verb;
use crate::smtp::sasl::Credentials;
use crate::smtp::session::{self, Action, Facts, Input, LoginAnswer, Session, Tls, Wait};
use crate::smtp::{Reply, ReversePath};
use crate::telemetry::maillog;
use room::Body;

mod handover;
mod room;

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
    conn.run(implicit).instrument(span).await;
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by us")]
    Closed,
    #[error("the connection was lost: {0}")]
    Lost(#[from] io::Error),
    #[error("TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("the TLS handshake took too long")]
    HandshakeTooSlow,
    #[error("the client hung up")]
    HungUp,
    #[error("the client did not read our replies")]
    NotRead,
    #[error("the backend gave no answer in time")]
    NoAnswer,
}

impl End {
    /// Which limit the conversation ended at.
    fn limit(&self) -> Option<&'static str> {
        match self {
            End::HandshakeTooSlow => Some("tls_handshake_secs"),
            End::NotRead => Some("write_secs"),
            End::NoAnswer => Some("accept_secs"),
            End::Closed | End::Lost(_) | End::Handshake(_) | End::HungUp => None,
        }
    }
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
    /// Of the last mail, until the client is known to have seen its answer.
    unanswered: Option<ClientGone>,
    /// What the backend gave with the login.
    lease: Lease,
}

/// Replies are sent when so many octets have gathered, at the latest.
const OUT_BYTES_MAX: usize = 16 * 1024;
/// A reply buffer larger than this is given back.
const OUT_KEPT_BYTES_MAX: usize = 1024;
/// How long and how much is read from a client after the last reply, so that our closing does not tear the reply down.
const LINGER_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// What cannot succeed is not offered: tokens, where nobody takes them.
fn session_options(options: &Arc<session::Options>, backend: &dyn Backend) -> Arc<session::Options> {
    if !options.bearer_logins || backend.offers_bearer() {
        return Arc::clone(options);
    }
    Arc::new(session::Options { bearer_logins: false, ..session::Options::clone(options) })
}

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
        let session = session_options(&options.session, shared.backend.as_ref());
        Conn {
            transport: Transport::Plain(stream),
            session: Session::new(session, facts),
            out: Vec::new(),
            peer,
            session_end: now + options.session_max,
            shared,
            options,
            shutdown,
            line_since: (0, now),
            body: Body::none(now),
            unanswered: None,
            lease: Lease::default(),
        }
    }

    async fn run(mut self, implicit_tls: bool) {
        let end = match self.converse(implicit_tls).await {
            Err(end) => end,
            Ok(never) => match never {},
        };
        if matches!(end, End::Lost(_) | End::NotRead) {
            self.client_left();
        }
        if let Some(limit) = end.limit() {
            limit_met(limit);
        }
        if matches!(end, End::Lost(_) | End::HungUp) {
            maillog::hung_up(self.session.last_verb().map_or("the start", Verb::name));
        }
        tracing::debug!(%end, "session ended");
    }

    async fn converse(&mut self, implicit_tls: bool) -> Result<Infallible, End> {
        if implicit_tls {
            self.handshake().await?;
        }
        let mut action = self.greet().await;
        loop {
            action = self.act(action).await?;
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
                self.slow_down(&reply).await?;
                if self.out.len() >= OUT_BYTES_MAX {
                    self.flush().await?;
                }
                Input::Continue
            }
            Action::StartTls(reply) => {
                self.push(&reply);
                self.flush().await?;
                self.lease = Lease::default(); // with the login that is forgotten
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
        let (session, unanswered) = (&mut self.session, &mut self.unanswered);
        let window_bytes = &mut self.body.window_bytes;
        let feed = |octets: &[u8]| {
            *window_bytes += octets.len() as u64;
            *unanswered = None; // whoever speaks on, or ends in order, has seen the answer
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

    /// Who makes many errors waits for each further answer: guessing and scanning cost time, and no processor of ours.
    async fn slow_down(&mut self, reply: &Reply) -> Result<(), End> {
        let too_many = self.session.errors() > self.options.errors_free_max;
        if reply.code < 400 || !too_many || self.options.error_delay.is_zero() {
            return Ok(());
        }
        limit_met("errors_free");
        let until = (Instant::now() + self.options.error_delay).min(self.session_end);
        tokio::select! {
            () = tokio::time::sleep_until(until) => Ok(()),
            () = stopped(&mut self.shutdown) => Ok(()),
        }
    }

    /// Adds a reply. What is refused before there is a mail is for the mail log; the rest is noise there.
    fn push(&mut self, reply: &Reply) {
        if let Some(limit) = limit_of(reply) {
            limit_met(limit);
        }
        if !reply.is_positive()
            && reply.code >= 400
            && let Some(verb @ (Verb::Mail | Verb::Rcpt | Verb::Data)) = self.session.last_verb()
        {
            maillog::refused(verb.name(), reply);
        }
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
        let stream = accepted.map_err(|_| End::HandshakeTooSlow)?.map_err(End::Handshake)?;
        self.transport = Transport::Tls(Box::new(stream));
        Ok(())
    }

    async fn login(&mut self, credentials: Credentials) -> Input<'static, Submitter> {
        let judge = self.shared.backend.login(credentials, self.peer);
        Input::Login(match timeout(self.options.login_max, judge).await {
            Ok(LoginOutcome::Welcome(submitter)) => LoginAnswer::Welcome(submitter),
            Ok(LoginOutcome::WelcomeWith(submitter, lease)) => {
                self.lease = lease;
                LoginAnswer::Welcome(submitter)
            }
            Ok(LoginOutcome::Told(reply)) => LoginAnswer::Told(reply),
            Ok(LoginOutcome::Refused) => LoginAnswer::Refused,
            Ok(LoginOutcome::Unavailable) => LoginAnswer::Unavailable,
            Err(_) => {
                limit_met("login_secs");
                LoginAnswer::Unavailable
            }
        })
    }

    fn sender(&self, submitter: &Submitter, path: &ReversePath) -> Input<'static, Submitter> {
        Input::Sender(self.shared.backend.may_send_from(submitter, path))
    }

    /// Sends the last words and closes; reads on for a moment, or unread octets would tear the reply down (RFC 1122 §4.2.2.13).
    async fn close(&mut self, reply: Option<Reply>) -> End {
        let Some(reply) = reply else { return End::HungUp };
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

/// Which limit of a session this reply tells of.
fn limit_of(reply: &Reply) -> Option<&'static str> {
    if reply.code < 400 {
        return None;
    }
    let told: [(Reply, &'static str); 6] = [
        (Reply::too_many_recipients(), "recipients"),
        (Reply::message_too_large(), "message_bytes"),
        (Reply::line_too_long(), "command_line_bytes"),
        (Reply::flood(), "command_line_bytes"),
        (Reply::too_many_errors(), "command_errors"),
        (Reply::too_many_logins(), "auth_failures"),
    ];
    told.iter().find(|(limit, _)| limit == reply).map(|(_, name)| *name)
}

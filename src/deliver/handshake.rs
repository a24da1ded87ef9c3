//! From nothing to a connection that takes mail: dial, banner, EHLO, TLS, EHLO again, AUTH.
//!
//! **Invariant:** a password leaves only over a connection nobody else can read: TLS with a verified certificate, a
//! connection that never leaves the machine, or `tls = "none"`, said by the operator in so many words. What upstream
//! said before TLS is forgotten.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::{Instant, timeout_at};

use crate::smtp::Reply;

use super::capabilities::Capabilities;
use super::dial::{Dial, Dialed};
use super::fate::{Stage, Trouble, Why};
use super::tls::TlsClient;
use super::wire::Wire;
use super::{BoxFuture, Options};

/// How the connection is protected.
#[derive(Debug, Clone)]
pub enum Security {
    /// Never TLS.
    None,
    /// TLS when upstream offers STARTTLS, plaintext when not; a handshake that fails is a temporary failure, not a
    /// reason to go on in plaintext. Meant for [`super::tls::Roots::Anyone`], under which no login is sent; with
    /// roots that verify, a login goes where TLS is offered and nowhere else.
    Opportunistic(TlsClient),
    /// STARTTLS or nothing.
    StartTls(TlsClient),
    /// TLS from the first octet.
    Implicit(TlsClient),
}

/// How we log in at upstream.
#[derive(Clone)]
pub enum Login {
    /// With a password: PLAIN or LOGIN.
    Password(Credentials),
    /// With an OAuth access token: XOAUTH2 or OAUTHBEARER.
    Bearer {
        /// Who.
        username: String,
        /// Where the token comes from.
        tokens: Arc<dyn Tokens>,
    },
}

/// Gives access tokens.
pub trait Tokens: Send + Sync + 'static {
    /// A token that should be good now. The caller bounds the wait.
    ///
    /// # Errors
    /// Why there is none, for the operator; never with a secret in it.
    fn token(&self) -> BoxFuture<'_, Result<String, String>>;

    /// Upstream did not take the token given last: the next one should be another.
    fn refused(&self);
}

/// One token, good or not.
impl Tokens for String {
    fn token(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async { Ok(self.clone()) })
    }

    fn refused(&self) {}
}

/// A login with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub username: String,
    /// The secret.
    pub password: String,
}

/// A connection that is ready for MAIL.
pub(super) struct Ready {
    pub(super) wire: Wire,
    pub(super) capabilities: Capabilities,
}

/// Whom to reach, and how.
pub(super) struct Route<'a> {
    pub(super) dial: &'a dyn Dial,
    pub(super) security: &'a Security,
    pub(super) login: Option<&'a Login>,
    pub(super) options: &'a Options,
}

impl Route<'_> {
    /// Makes one ready connection.
    ///
    /// # Errors
    /// [`Trouble`]: temporary for every mail that waits.
    pub(super) async fn connected(&self, until: Instant) -> Result<Ready, Trouble> {
        let dialed = self.dialed(until).await?;
        let local = dialed.local;
        let (wire, secret) = match self.security {
            Security::Implicit(tls) => (self.secured(tls, dialed, until).await?, local || tls.is_verified()),
            _ => (Wire::new(dialed), local || matches!(self.security, Security::None)),
        };
        let mut hand = Hand { route: self, wire, until, secret };
        hand.greeted().await?;
        let mut capabilities = hand.hello().await?;
        if let Some(tls) = self.starttls(&capabilities)? {
            (hand, capabilities) = hand.upgraded(tls, local || tls.is_verified()).await?;
        }
        if let Some(login) = self.login {
            hand.login(&capabilities, login).await?;
        }
        Ok(Ready { wire: hand.wire, capabilities })
    }

    async fn dialed(&self, until: Instant) -> Result<Dialed, Trouble> {
        match timeout_at(sooner(until, self.options.connect), self.dial.dial()).await {
            Err(_) => Err(Trouble { stage: Stage::Connect, why: Why::TimedOut }),
            Ok(Err(error)) => Err(Trouble { stage: Stage::Connect, why: Why::Lost(error.to_string()) }),
            Ok(Ok(dialed)) => Ok(dialed),
        }
    }

    async fn secured(&self, tls: &TlsClient, dialed: Dialed, until: Instant) -> Result<Wire, Trouble> {
        let local = dialed.local;
        match timeout_at(sooner(until, self.options.tls_handshake), tls.secure(dialed.stream)).await {
            Err(_) => Err(Trouble { stage: Stage::Tls, why: Why::TimedOut }),
            Ok(Err(error)) => Err(Trouble { stage: Stage::Tls, why: Why::Tls(error.to_string()) }),
            Ok(Ok(stream)) => Ok(Wire::new(Dialed { stream, local })),
        }
    }

    /// Whether STARTTLS comes next.
    fn starttls(&self, capabilities: &Capabilities) -> Result<Option<&TlsClient>, Trouble> {
        match self.security {
            Security::None | Security::Implicit(_) => Ok(None),
            Security::Opportunistic(tls) => Ok(capabilities.starttls.then_some(tls)),
            Security::StartTls(tls) if capabilities.starttls => Ok(Some(tls)),
            Security::StartTls(_) => Err(Trouble { stage: Stage::Tls, why: Why::NotOffered("STARTTLS") }),
        }
    }
}

/// The dialogue while it lasts.
struct Hand<'a> {
    route: &'a Route<'a>,
    wire: Wire,
    until: Instant,
    /// A password may go over this connection.
    secret: bool,
}

impl<'a> Hand<'a> {
    async fn greeted(&mut self) -> Result<(), Trouble> {
        let until = sooner(self.until, self.route.options.greeting);
        let banner = self.wire.reply(until).await.map_err(|why| Trouble { stage: Stage::Greeting, why })?;
        positive(Stage::Greeting, banner).map(drop)
    }

    /// EHLO; HELO where that is not understood (RFC 5321 §3.2). HELO offers neither TLS nor a login, so where one is
    /// asked for the dialogue ends at the next step.
    async fn hello(&mut self) -> Result<Capabilities, Trouble> {
        let name = &self.route.options.helo_name;
        let answer = self.ask(Stage::Ehlo, &format!("EHLO {name}")).await?;
        if answer.is_permanent() {
            let answer = self.ask(Stage::Ehlo, &format!("HELO {name}")).await?;
            return positive(Stage::Ehlo, answer).map(|_| Capabilities::default());
        }
        positive(Stage::Ehlo, answer).map(|reply| Capabilities::read(&reply))
    }

    /// STARTTLS, the handshake, and EHLO again, because what was said before cannot be believed.
    async fn upgraded(mut self, tls: &TlsClient, secret: bool) -> Result<(Hand<'a>, Capabilities), Trouble> {
        let answer = self.ask(Stage::Tls, "STARTTLS").await?;
        positive(Stage::Tls, answer)?;
        let local = self.wire.local;
        let stream = self.wire.into_stream().map_err(|why| Trouble { stage: Stage::Tls, why })?;
        let wire = self.route.secured(tls, Dialed { stream, local }, self.until).await?;
        let mut hand = Hand { route: self.route, wire, until: self.until, secret };
        let capabilities = hand.hello().await?;
        Ok((hand, capabilities))
    }

    async fn login(&mut self, offered: &Capabilities, login: &Login) -> Result<(), Trouble> {
        if !self.secret {
            return Err(Trouble { stage: Stage::Auth, why: Why::NotSecret });
        }
        match login {
            Login::Password(credentials) => self.with_password(offered, credentials).await,
            Login::Bearer { username, tokens } => self.with_token(offered, username, tokens.as_ref()).await,
        }
    }

    async fn with_token(&mut self, offered: &Capabilities, login: &str, tokens: &dyn Tokens) -> Result<(), Trouble> {
        let trouble = |why| Trouble { stage: Stage::Auth, why };
        let (mechanism, header) = match (offered.auth_xoauth2, offered.auth_oauthbearer) {
            (true, _) => ("XOAUTH2", format!("user={login}")),
            (_, true) => ("OAUTHBEARER", format!("n,a={},", login.replace('=', "=3D").replace(',', "=2C"))),
            _ => return Err(trouble(Why::NotOffered("AUTH XOAUTH2 or OAUTHBEARER"))),
        };
        let token = timeout_at(self.until, tokens.token()).await.map_err(|_| trouble(Why::TimedOut))?;
        let token = token.map_err(|why| trouble(Why::NoToken(why)))?;
        let response = STANDARD.encode(format!("{header}\u{1}auth=Bearer {token}\u{1}\u{1}"));
        let mut answer = self.ask(Stage::Auth, &format!("AUTH {mechanism} {response}")).await?;
        // A token that is not good is answered by a challenge that says why; the answer to it ends the exchange
        // (RFC 7628 §3.2.3).
        if answer.code == 334 {
            answer = self.ask(Stage::Auth, if mechanism == "XOAUTH2" { "" } else { "AQ==" }).await?;
        }
        if answer.is_permanent() {
            tokens.refused();
        }
        positive(Stage::Auth, answer).map(drop)
    }

    async fn with_password(&mut self, offered: &Capabilities, credentials: &Credentials) -> Result<(), Trouble> {
        let answer = if offered.auth_plain {
            self.auth_plain(credentials).await?
        } else if offered.auth_login {
            self.auth_login(credentials).await?
        } else {
            return Err(Trouble { stage: Stage::Auth, why: Why::NotOffered("AUTH PLAIN or LOGIN") });
        };
        positive(Stage::Auth, answer).map(drop)
    }

    /// RFC 4616, with the initial response of RFC 4954; a server that wants it asked for gets it again.
    async fn auth_plain(&mut self, credentials: &Credentials) -> Result<Reply, Trouble> {
        let response = STANDARD.encode(format!("\0{}\0{}", credentials.username, credentials.password));
        let answer = self.ask(Stage::Auth, &format!("AUTH PLAIN {response}")).await?;
        if answer.code == 334 { self.ask(Stage::Auth, &response).await } else { Ok(answer) }
    }

    /// `AUTH LOGIN`: never standardised, still all that some servers have.
    async fn auth_login(&mut self, credentials: &Credentials) -> Result<Reply, Trouble> {
        let mut answer = self.ask(Stage::Auth, "AUTH LOGIN").await?;
        for secret in [&credentials.username, &credentials.password] {
            if answer.code != 334 {
                return Ok(answer);
            }
            answer = self.ask(Stage::Auth, &STANDARD.encode(secret)).await?;
        }
        Ok(answer)
    }

    /// One command, one answer.
    async fn ask(&mut self, stage: Stage, command: &str) -> Result<Reply, Trouble> {
        let trouble = |why| Trouble { stage, why };
        let until = sooner(self.until, self.route.options.command);
        self.wire.expect_silence(until).await.map_err(trouble)?;
        if command.bytes().any(|octet| octet.is_ascii_control()) {
            return Err(trouble(Why::Unsendable));
        }
        self.wire.send(format!("{command}\r\n").as_bytes(), until).await.map_err(trouble)?;
        self.wire.reply(until).await.map_err(trouble)
    }
}

fn positive(stage: Stage, reply: Reply) -> Result<Reply, Trouble> {
    if reply.is_positive() {
        Ok(reply)
    } else if reply.is_transient() || reply.is_permanent() {
        Err(Trouble { stage, why: Why::Reply(reply) })
    } else {
        Err(Trouble { stage, why: Why::OutOfPlace(reply) })
    }
}

/// The earlier of the caller's deadline and a wait that begins now.
pub(super) fn sooner(until: Instant, wait: Duration) -> Instant {
    until.min(Instant::now() + wait)
}

impl fmt::Debug for Login {
    /// Never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Password(credentials) => f.debug_tuple("Password").field(credentials).finish(),
            Login::Bearer { username, .. } => {
                f.debug_struct("Bearer").field("username", username).finish_non_exhaustive()
            }
        }
    }
}

impl fmt::Debug for Credentials {
    /// Never the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

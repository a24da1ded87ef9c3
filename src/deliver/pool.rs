//! The connections to one upstream: a bounded number, kept for a while, never trusted blindly.
//!
//! **Invariant:** a connection comes back only after a transaction that ended in step. One that died while it lay idle
//! costs the next mail nothing but a new connection; once a dot has left nothing is tried twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::message::Envelope;

use super::Options;
use super::capabilities::{CannotCarry, Capabilities};
use super::dial::Dial;
use super::fate::{Fate, Stage, Trouble, Why};
use super::handshake::{Credentials, Login, Route, Security};
use super::outbound::{Deadlines, Outbound};
use super::upstream::{Attempt, Connection};

/// The server we forward to.
pub struct Upstream {
    dial: Box<dyn Dial>,
    security: Security,
    login: Option<Login>,
    options: Options,
    permits: Arc<Semaphore>,
    idle: Arc<Idle>,
    /// Whether the last new connection offered DSN.
    offers_dsn: AtomicBool,
    /// Whether the last new connection offered 8BITMIME.
    takes_eight_bit: AtomicBool,
    /// Whether the last new connection offered a login by token.
    offers_bearer: AtomicBool,
}

/// Connections at rest, the one used last at the end.
#[derive(Default)]
struct Idle {
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    connections: Vec<(Connection, Instant)>,
    /// A task is at work that closes those at rest for too long.
    swept: bool,
}

/// How long a goodbye may take.
const QUIT: Duration = Duration::from_secs(5);

impl Upstream {
    /// No connection is made yet.
    pub fn new(dial: impl Dial, security: Security, credentials: Option<Credentials>, options: Options) -> Upstream {
        let permits = Arc::new(Semaphore::new(options.connections_max.max(1)));
        Upstream {
            dial: Box::new(dial),
            security,
            login: credentials.map(Login::Password),
            options,
            permits,
            idle: Arc::default(),
            offers_dsn: AtomicBool::new(false),
            takes_eight_bit: AtomicBool::new(true),
            offers_bearer: AtomicBool::new(true),
        }
    }

    /// The same with another way to log in.
    #[must_use]
    pub fn logging_in(mut self, login: Login) -> Upstream {
        self.login = Some(login);
        self
    }

    /// Connects and logs in now; the connection is kept for the next mail, as after a mail.
    ///
    /// # Errors
    /// [`Trouble`]: at [`Stage::Auth`] with a reply it is upstream's word about the login, else ours to mend.
    pub async fn log_in(&self, until: Instant) -> Result<(), Trouble> {
        let busy = |why| Trouble { stage: Stage::Connect, why };
        let _permit = self.permit(until).await.map_err(busy)?;
        let connection = Connection::new(self.route().connected(until).await?);
        self.learn(&connection);
        self.put_back(connection, ());
        Ok(())
    }

    /// Whether upstream sends delivery status notifications itself (RFC 3461), as its last new connection said.
    pub fn offers_dsn(&self) -> bool {
        self.offers_dsn.load(Ordering::Relaxed)
    }

    /// Whether upstream takes 8-bit content (RFC 6152), as its last new connection said; yes before the first.
    pub fn takes_eight_bit(&self) -> bool {
        self.takes_eight_bit.load(Ordering::Relaxed)
    }

    /// Whether upstream lets in by an access token (XOAUTH2, OAUTHBEARER), as its last new connection said; yes before the first.
    pub fn offers_bearer(&self) -> bool {
        self.offers_bearer.load(Ordering::Relaxed)
    }

    /// Whom we forward to, for logs.
    pub fn name(&self) -> &str {
        self.dial.name()
    }

    /// Hands one copy to upstream: one fate a recipient, in order. Recipients refused only because there were too many
    /// in one transaction (452) get further transactions at once.
    ///
    /// # Errors
    /// Upstream cannot carry this mail as it is; nothing was sent.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the transaction off; whether the dot had left is then unknown. Run it in a task that
    /// outlives the client.
    pub async fn deliver(&self, mut outbound: Outbound, deadlines: Deadlines) -> Result<Vec<Fate>, CannotCarry> {
        let mut fates = self.attempt(&mut outbound, deadlines).await?;
        let mut waiting = too_many(&fates);
        let all = outbound.envelope;
        let mut body = outbound.body;
        while !waiting.is_empty() {
            let envelope = only(&all, &waiting);
            let mut rest = Outbound { envelope, facts: outbound.facts, body };
            let Ok(round) = self.attempt(&mut rest, deadlines).await else {
                // Another server behind the same name can do less; those who wait stay deferred.
                break;
            };
            body = rest.body;
            let still: Vec<usize> = too_many(&round).iter().filter_map(|&at| waiting.get(at).copied()).collect();
            for (index, fate) in waiting.into_iter().zip(round) {
                if let Some(first) = fates.get_mut(index) {
                    *first = fate;
                }
            }
            waiting = still;
        }
        Ok(fates)
    }

    /// Connects, logs in and says goodbye: what upstream can do, or what stands in the way.
    ///
    /// # Errors
    /// [`Trouble`], for the operator.
    pub async fn probe(&self, until: Instant) -> Result<Capabilities, Trouble> {
        let ready = self.route().connected(until).await?;
        let connection = Connection::new(ready);
        let capabilities = connection.capabilities().clone();
        connection.quit(until).await;
        Ok(capabilities)
    }

    /// Says goodbye on every connection at rest: at shutdown, when no more mail comes.
    pub async fn close(&self) {
        let resting = std::mem::take(&mut self.idle.lock().connections);
        let until = Instant::now() + QUIT;
        let mut goodbyes = JoinSet::new();
        resting.into_iter().for_each(|(connection, _)| drop(goodbyes.spawn(connection.quit(until))));
        goodbyes.join_all().await;
    }

    fn route(&self) -> Route<'_> {
        Route { dial: self.dial.as_ref(), security: &self.security, login: self.login.as_ref(), options: &self.options }
    }

    /// One transaction, on a connection at rest if there is a live one.
    async fn attempt(&self, outbound: &mut Outbound, deadlines: Deadlines) -> Result<Vec<Fate>, CannotCarry> {
        let _permit = match self.permit(deadlines.dot_sent_by).await {
            Ok(permit) => permit,
            Err(why) => return Ok(all_deferred(outbound, Trouble { stage: Stage::Connect, why })),
        };
        if let Some(mut connection) = self.rested() {
            let outcome = connection.send(outbound, &self.options, deadlines).await;
            match outcome {
                Ok(Attempt::Stale) => drop(connection),
                Ok(Attempt::Settled(fates)) => return Ok(self.put_back(connection, fates)),
                Err(cannot) => return Err(self.put_back(connection, cannot)),
            }
        }
        let mut connection = match self.route().connected(deadlines.dot_sent_by).await {
            Ok(ready) => Connection::new(ready),
            Err(trouble) => return Ok(all_deferred(outbound, trouble)),
        };
        self.learn(&connection);
        match connection.send(outbound, &self.options, deadlines).await {
            Ok(Attempt::Settled(fates)) => Ok(self.put_back(connection, fates)),
            Ok(Attempt::Stale) => {
                let why = Why::Lost("closed".to_owned());
                Ok(all_deferred(outbound, Trouble { stage: Stage::Mail, why }))
            }
            Err(cannot) => Err(self.put_back(connection, cannot)),
        }
    }

    fn learn(&self, connection: &Connection) {
        self.offers_dsn.store(connection.capabilities().dsn, Ordering::Relaxed);
        self.takes_eight_bit.store(connection.capabilities().eight_bit_mime, Ordering::Relaxed);
        let bearer = connection.capabilities().auth_xoauth2 || connection.capabilities().auth_oauthbearer;
        self.offers_bearer.store(bearer, Ordering::Relaxed);
    }

    async fn permit(&self, until: Instant) -> Result<OwnedSemaphorePermit, Why> {
        match timeout_at(until, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Why::Busy),
        }
    }

    /// The connection used last that is still alive; dead ones met on the way are dropped.
    fn rested(&self) -> Option<Connection> {
        let oldest = Instant::now().checked_sub(self.options.idle);
        loop {
            let (mut connection, since) = self.idle.lock().connections.pop()?;
            let young = oldest.is_none_or(|oldest| since > oldest);
            if young && connection.is_fresh() {
                return Some(connection);
            }
        }
    }

    fn put_back<T>(&self, connection: Connection, outcome: T) -> T {
        if connection.may_serve(self.options.mails_per_connection_max) {
            self.idle.rest(connection, self.options.idle);
        } else {
            retire(connection);
        }
        outcome
    }
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // The shelf is whole between any two lines that hold the lock, so a panic elsewhere has not broken it.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rest(self: &Arc<Idle>, connection: Connection, idle: Duration) {
        let mut shelf = self.lock();
        shelf.connections.push((connection, Instant::now()));
        if !std::mem::replace(&mut shelf.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), idle));
        }
    }

    /// Takes out those at rest since before `oldest`; when the next is due.
    fn overdue(&self, idle: Duration) -> (Vec<Connection>, Option<Instant>) {
        let mut shelf = self.lock();
        let now = Instant::now();
        let due = shelf.connections.iter().take_while(|(_, since)| *since + idle <= now).count();
        let overdue = shelf.connections.drain(..due).map(|(connection, _)| connection).collect();
        let next = shelf.connections.first().map(|(_, since)| *since + idle);
        shelf.swept = next.is_some();
        (overdue, next)
    }
}

/// Closes connections that have rested too long, and ends when none is left.
async fn sweep(idle: std::sync::Weak<Idle>, rest: Duration) {
    let mut next = Instant::now() + rest;
    loop {
        sleep_until(next).await;
        let Some(shelf) = idle.upgrade() else { return };
        let (overdue, then) = shelf.overdue(rest);
        overdue.into_iter().for_each(retire);
        match then {
            Some(then) => next = then,
            None => return,
        }
    }
}

/// Goodbye in the background: no mail waits for it.
fn retire(connection: Connection) {
    tokio::spawn(connection.quit(Instant::now() + QUIT));
}

fn all_deferred(outbound: &Outbound, trouble: Trouble) -> Vec<Fate> {
    let fate = Fate::of_failure(trouble.stage, trouble.why);
    vec![fate; outbound.envelope.recipients.len()]
}

/// Recipients that were too many for a transaction which delivered to others (RFC 5321 §4.5.3.1.10): those go again.
/// Without an accepted one there is no progress, and it is an ordinary temporary failure.
fn too_many(fates: &[Fate]) -> Vec<usize> {
    if !fates.iter().any(Fate::is_accepted) {
        return Vec::new();
    }
    let is = |fate: &Fate| match fate {
        Fate::Deferred { stage: Stage::Rcpt, why: Why::Reply(reply) } => matches!(reply.code, 452 | 552),
        _ => false,
    };
    fates.iter().enumerate().filter(|(_, fate)| is(fate)).map(|(index, _)| index).collect()
}

fn only(envelope: &Envelope, indices: &[usize]) -> Envelope {
    Envelope {
        reverse_path: envelope.reverse_path.clone(),
        params: envelope.params.clone(),
        recipients: indices.iter().filter_map(|&index| envelope.recipients.get(index).cloned()).collect(),
    }
}

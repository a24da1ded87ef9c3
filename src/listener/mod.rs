//! Sockets and TLS: feeds bytes to [`Session`](crate::smtp::Session), carries out what it asks.
//!
//! [`serve`] runs one listening socket; [`conn::converse`] runs one client over any stream. What happens to a mail is
//! the [`Backend`]'s. **Invariant:** every wait has a deadline, every connection a permit, every message a part of the
//! byte budget.

use std::any::Any;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::message::Mail;
use crate::settings::{OrgName, Submitter};
use crate::smtp::sasl::Credentials;
use crate::smtp::{Reply, ReversePath};
use crate::telemetry::metrics::limit_met;

mod accept;
pub mod capacity;
pub mod conn;
pub mod options;
pub mod tls;
mod transport;

pub use accept::{describe_metrics, serve};
pub use capacity::Capacity;
pub use options::Options;
pub use tls::ServerTls;

/// A boxed future, as trait objects need it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whom a listener serves: the relay, or the built-in inbox.
pub trait Backend: Send + Sync + 'static {
    /// Judges a login. Takes the same time whether or not the user exists.
    fn login(&self, credentials: Credentials, peer: IpAddr) -> BoxFuture<'_, LoginOutcome>;

    /// Whether a login by access token (XOAUTH2, OAUTHBEARER) can succeed. Asked for each connection; no I/O.
    fn offers_bearer(&self) -> bool {
        true
    }

    /// May this submitter use this reverse path? Asked at MAIL; no I/O.
    ///
    /// # Errors
    /// The reply for the client.
    fn may_send_from(&self, submitter: &Submitter, path: &ReversePath) -> Result<(), Reply>;

    /// Takes one mail and answers the final dot. Runs in a task of its own, so a client that leaves does not stop it.
    fn accept(&self, submission: Submission) -> BoxFuture<'_, Reply>;
}

/// Answer to a login.
#[derive(Debug, Clone)]
pub enum LoginOutcome {
    /// Let in.
    Welcome(Submitter),
    /// Let in, with something to be kept as long as the session lasts.
    WelcomeWith(Submitter, Lease),
    /// Wrong user or password; never says which.
    Refused,
    /// Could not be judged now (hashing pool full, store closed): 454.
    Unavailable,
    /// Not let in, in these words; a 5yz counts as a wrong password.
    Told(Reply),
}

/// What a backend keeps for one login as long as its session lasts; comes with every mail of it. The listener only holds it.
#[derive(Clone, Default)]
pub struct Lease(Option<Arc<dyn Any + Send + Sync>>);

impl Lease {
    /// Keeps this.
    pub fn of<T: Any + Send + Sync>(kept: Arc<T>) -> Lease {
        Lease(Some(kept))
    }

    /// What is kept, if it is of this type.
    pub fn kept<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.as_ref()?).downcast().ok()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Lease(kept)" } else { "Lease(nothing)" })
    }
}

/// One mail with the facts of its session.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The mail, normalised.
    pub mail: Mail,
    /// Who sends.
    pub submitter: Submitter,
    /// The client's address.
    pub peer: IpAddr,
    /// What EHLO said, at most 255 printable octets.
    pub helo: String,
    /// `ESMTPSA`, `ESMTPA`, `ESMTPS`, `ESMTP` or `SMTP` and the UTF8 forms (RFC 3848, RFC 6531).
    pub protocol: &'static str,
    /// How many bare CR or LF were normalised while the content was read.
    pub bare_newlines: u64,
    /// Tells whether the client hung up while the mail is being taken.
    pub client_gone: ClientGone,
    /// What the backend gave with the login.
    pub lease: Lease,
}

/// Is the client still there? Cheap to ask, to clone and to keep. Once gone, gone.
///
/// Kept beyond the mail it goes on telling: it also turns true when the answer to the final dot could not be written, or
/// the connection broke before the client said anything after it.
#[derive(Debug, Clone, Default)]
pub struct ClientGone(Arc<AtomicBool>);

impl ClientGone {
    /// The client's connection ended before its reply was written.
    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Notes that the client left.
    pub fn mark(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// How TLS is done on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Offered by STARTTLS.
    Starttls,
    /// From the first octet (RFC 8314 §3.3).
    Implicit,
    /// Not at all.
    None,
}

/// What holds for all clients of one listener.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How TLS is done; without certificate (`Shared::tls`) there is none.
    pub tls: TlsMode,
    /// There are logins. Without, only `networks` may submit.
    pub logins: bool,
    /// From here mail is taken without login, for `org`.
    pub networks: Vec<IpNet>,
    /// On whose behalf `networks` submit.
    pub org: Option<OrgName>,
    /// Connections from here begin with a PROXY header, and are the client's whom it names.
    pub proxies: Vec<IpNet>,
}

impl Rules {
    /// Who this client is by its address alone.
    pub fn trusted(&self, peer: IpAddr) -> Option<Submitter> {
        let peer = peer.to_canonical();
        let org = self.org.as_ref().filter(|_| self.networks.iter().any(|network| network.contains(&peer)))?;
        Some(Submitter { org: org.clone(), login: None })
    }

    /// Whether this peer is a proxy that speaks for others.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxies.iter().any(|network| network.contains(&peer))
    }
}

/// One listening socket.
#[derive(Debug)]
pub struct Door {
    /// Bound and listening.
    pub socket: tokio::net::TcpListener,
    /// For all who come through it.
    pub rules: Rules,
}

/// What all listeners have in common.
pub struct Shared {
    options: ArcSwap<Options>,
    /// Who judges logins and takes mail.
    pub backend: Arc<dyn Backend>,
    /// The certificate; it can be replaced while we run.
    pub tls: Option<Arc<ServerTls>>,
    /// Connections and octets there is room for, over all listeners.
    pub capacity: Capacity,
}

impl Shared {
    /// With a capacity as the options say.
    pub fn new(options: Options, backend: Arc<dyn Backend>, tls: Option<Arc<ServerTls>>) -> Shared {
        let capacity = Capacity::new(&options);
        Shared { options: ArcSwap::from_pointee(options), backend, tls, capacity }
    }

    /// Limits and deadlines as connections that begin now see them.
    pub fn options(&self) -> Arc<Options> {
        self.options.load_full()
    }

    /// New limits and deadlines for the connections to come. How many connections and octets there is room for in all
    /// stays as it was at start.
    pub fn change_options(&self, options: Options) {
        self.capacity.change_shares(&options);
        self.options.store(Arc::new(options));
    }
}

/// Waits until shutdown is asked for; a sender that went away means the same.
async fn stopped(shutdown: &mut tokio::sync::watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}

//! The admin site: dashboard, its JSON API on a Unix socket, and the functions both share.
//!
//! [`actions`] is what can be done and by whom; `pages` shows it to people, `api` to programs. The site serves plain HTTP
//! and belongs on loopback or behind a proxy that adds TLS; the socket belongs to the owner of the data folder.

pub mod actions;
pub mod api;
mod browser;
mod clients;
mod csv;
pub mod first_run;
mod halfway;
mod http;
mod limiter;
mod login;
mod mail_view;
mod pages;
mod paging;
pub mod ports;
mod search;
mod secret;
mod session;
pub mod setup;
pub mod socket;
mod totp;
pub mod viewer;
mod visitor;
pub(crate) mod why_words;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

pub use actions::people::Privacy;
pub use actions::{Actions, Parts, Refusal};
pub use limiter::LimiterOptions;
pub use ports::{
    ClientAddress, Glance, HealthKeeper, InboxEntry, InboxReader, KeyEntry, Keys, MetricsText, PortError, QueueEntry,
    QueueHealth, QueueKeeper, QueueList, QueueOf, QueueRecipient, QueueStage, Submitted, TestMail, TestMailRequest,
    UpstreamPasswords,
};
pub use secret::OneTimePassword;
pub use session::{SessionOptions, SessionView};
pub use viewer::Viewer;

use halfway::Halfway;
use limiter::Limiter;
use session::Sessions;

/// What the admin site allows itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections at once; more wait in the kernel's queue. Default 256: a page needs two, and each may hold a request of 64 KiB.
    pub connections_max: usize,
    /// From connection, or from the answer before, to a whole request head. Default 10 s.
    pub head_max: Duration,
    /// Time in which a client takes nothing of its answer.
    pub write_max: Duration,
    /// From head to answer. Default 30 s: a test mail waits for upstream, and that may take 20.
    pub request_max: Duration,
    /// Octets of a request body. Default 64 KiB; forms are small.
    pub body_bytes_max: usize,
    /// At shutdown, how long answers under way may take. Default 5 s.
    pub grace_max: Duration,
    /// Dashboard logins.
    pub sessions: SessionOptions,
    /// Password tries.
    pub limiter: LimiterOptions,
    /// Requests with API keys.
    pub keys: LimiterOptions,
    /// A command line that sends a mail through this server, shown while there is none; e.g. `curl smtp://…`.
    pub example_command: String,
    /// Whose mail that is: it needs no login, so nobody else of an organisation is shown it. `None`: server admins alone.
    pub example_org: Option<crate::settings::OrgName>,
    /// What mail programs are told.
    pub setup: setup::Setup,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connections_max: 256,
            head_max: Duration::from_secs(10),
            write_max: Duration::from_secs(30),
            request_max: Duration::from_secs(30),
            body_bytes_max: 64 * 1024,
            grace_max: Duration::from_secs(5),
            sessions: SessionOptions::default(),
            limiter: LimiterOptions::default(),
            keys: LimiterOptions::of_keys(),
            example_command: String::new(),
            example_org: None,
            setup: setup::Setup::default(),
        }
    }
}

/// Everything the dashboard's pages share.
pub struct Site {
    actions: Arc<Actions>,
    options: Options,
    client_address: ClientAddress,
    limiter: Mutex<Limiter>,
    keys: Mutex<Limiter>,
    /// Codes of second factors.
    codes: Mutex<Limiter>,
    halfway: Mutex<Halfway>,
    /// Who has logged in with a one-time password and chooses their own.
    choosing: Mutex<Halfway>,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Site {
    /// A site over `actions`. `client_address` tells who is behind a trusted proxy.
    pub fn new(actions: Arc<Actions>, options: Options, client_address: ClientAddress) -> Arc<Site> {
        actions.sessions().set_options(options.sessions);
        Arc::new(Site {
            limiter: Mutex::new(Limiter::new(options.limiter, "login_attempts_per_minute")),
            keys: Mutex::new(Limiter::new(options.keys, "api_requests_per_minute")),
            codes: Mutex::new(Limiter::new(halfway::codes(), "second_factor_codes")),
            halfway: Mutex::default(),
            choosing: Mutex::default(),
            actions,
            options,
            client_address,
        })
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.actions.sessions()
    }

    fn keys(&self) -> MutexGuard<'_, Limiter> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn codes(&self) -> MutexGuard<'_, Limiter> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn halfway(&self) -> MutexGuard<'_, Halfway> {
        self.halfway.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn choosing(&self) -> MutexGuard<'_, Halfway> {
        self.choosing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client address when there is no proxy: the peer's.
pub fn direct_clients() -> ClientAddress {
    Arc::new(|peer: IpAddr, _| peer)
}

/// The dashboard as a router. Serve it through [`serve`], which tells it who connects.
pub fn router(site: Arc<Site>) -> Router {
    pages::router(site)
}

/// Serves the dashboard until `shutdown` resolves, then lets answers under way finish.
///
/// # Errors
/// The listener failed for good.
pub async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let options = site.options.clone();
    http::serve(http::Tcp(listener), router(site), &options, shutdown).await
}

#[cfg(test)]
mod tests;

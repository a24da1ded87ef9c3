//! Builds the parts from a [`Config`], hands them out, and stops them in order.
//!
//! **Invariant:** nothing listens before everything it needs is open; at a stop, what takes in stops first and what keeps
//! promises last: listeners, then the queue, then the sites, then the stores.

mod acme;
mod certificate;
pub mod health;
mod keeper;
mod metrics;
mod notify;
mod open;
mod options;
mod orgs;
mod ports;
mod reload;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::open::Open;
use crate::acme::Acme;
use crate::config::first_run;
use crate::config::{Config, ListenerTls};
use crate::geo;
use crate::listener::{self, Door, Rules, Shared, TlsMode, tls::ServerTls};
use crate::queue::{self, Queue};
use crate::store;
use crate::{admin, web};
pub use ports::example_command;

/// The spool's folder in the data folder.
pub const SPOOL_FOLDER: &str = "spool";
/// The inbox's folder in the data folder.
pub const INBOX_FOLDER: &str = "inbox";
/// The admin socket in the data folder.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// The running program.
pub struct App {
    config: Config,
    open: Open,
    shared: Arc<Shared>,
    acme: Option<Arc<Acme>>,
    listeners: Vec<SocketAddr>,
    tracking: SocketAddr,
    admin: SocketAddr,
    first_password: Option<String>,
    stop_listeners: watch::Sender<bool>,
    stop_queue: watch::Sender<bool>,
    stop_sites: watch::Sender<bool>,
    accepting: JoinSet<()>,
    pumping: JoinHandle<()>,
    serving: JoinSet<()>,
}

impl App {
    /// Opens everything and begins to listen. Files are made where a first run needs them.
    ///
    /// # Errors
    /// What stands in the way, in words for the operator; nothing listens then.
    pub async fn start(config: Config) -> anyhow::Result<App> {
        let made = first_run::ensure_certificate(&config, Timestamp::now()).map_err(|why| anyhow::anyhow!("{why}"))?;
        if let Some(made) = made {
            tracing::info!("made a self-signed certificate: {}", made.certificate.display());
        }
        let parts = open::open(&config).await?;
        let (tls, acme) = (server_tls(&config)?, acme::open(&config)?);
        let backend: Arc<dyn listener::Backend> = Arc::clone(&parts.relay) as _;
        let shared = Arc::new(Shared::new(options::listener(&config), backend, tls.clone()));
        let doors = doors(&config).await?;
        let tracking_socket = bind(config.web.tracking, "web.tracking").await?;
        let admin_socket = bind(config.web.admin, "web.admin").await?;
        let first_password = admin::first_run::ensure_admin(parts.settings.as_ref(), &parts.logins).await?;
        let (stop_listeners, listeners_stop) = watch::channel(false);
        let (stop_queue, queue_stop) = watch::channel(false);
        let (stop_sites, sites_stop) = watch::channel(false);
        let listeners = doors.iter().map(|door| door.socket.local_addr()).collect::<Result<_, _>>()?;
        let (tracking, admin) = (tracking_socket.local_addr()?, admin_socket.local_addr()?);
        let mut accepting = JoinSet::new();
        for door in doors {
            accepting.spawn(listener::serve(door, Arc::clone(&shared), listeners_stop.clone()));
        }
        let queue = parts.queue.clone();
        let pumping = tokio::spawn(async move { queue.run(queue_stop).await });
        let mut serving = JoinSet::new();
        if let Some(tls) = &tls {
            serving.spawn(certificate::watch(Arc::clone(tls), config.tls.reload, sites_stop.clone()));
        }
        let secure = tls.filter(|_| config.web.tls);
        serve_tracking(&mut serving, &config, &parts, (tracking_socket, secure, &acme), sites_stop.clone());
        if let Some(acme) = &acme {
            acme::begin(&mut serving, &config, acme, &shared, sites_stop.clone()).await?;
        }
        begin_chores(&mut serving, &config, &parts, &sites_stop);
        ports::serve_admin(&mut serving, &config, &parts, &shared, admin_socket, sites_stop)?;
        let first_password = first_password.map(|password| password.reveal().to_owned());
        Ok(App {
            config,
            open: parts,
            shared,
            acme,
            listeners,
            tracking,
            admin,
            first_password,
            stop_listeners,
            stop_queue,
            stop_sites,
            accepting,
            pumping,
            serving,
        })
    }

    /// Where mail clients connect, in the order of `[[listener]]`.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Where the tracking site answers.
    pub fn tracking(&self) -> SocketAddr {
        self.tracking
    }

    /// Where the dashboard answers.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The password of the account `admin`, when this start made it. Shown once, kept nowhere.
    pub fn take_first_password(&mut self) -> Option<String> {
        self.first_password.take()
    }

    /// Takes over what a new config can change while we run; lines that say what changed and what needs a restart.
    ///
    /// # Errors
    /// The new organisations could not be made durable, or the certificate cannot be read: the old ones stand.
    pub async fn reload(&mut self, new: Config) -> anyhow::Result<Vec<String>> {
        reload::reload(self, new).await
    }

    /// Stops in order: no new mail, mail under way to its answer or into the spool, events to the disk.
    pub async fn stop(mut self) {
        let patience = self.config.limits.shutdown_max;
        self.stop_listeners.send_replace(true);
        finish(&mut self.accepting, patience, "mail sessions").await;
        self.stop_queue.send_replace(true);
        if tokio::time::timeout(patience, &mut self.pumping).await.is_err() {
            tracing::warn!("the queue was busy to the end: what it was sending is marked and will be tried again");
            self.pumping.abort();
        }
        self.stop_sites.send_replace(true);
        finish(&mut self.serving, patience, "sites").await;
    }
}

async fn finish(tasks: &mut JoinSet<()>, patience: Duration, what: &str) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, all).await.is_err() {
        tracing::warn!("{what} did not end within {} s and are cut off", patience.as_secs());
    }
}

/// What goes on beside mail: no client waits for any of it.
fn begin_chores(serving: &mut JoinSet<()>, config: &Config, open: &Open, stop: &watch::Receiver<bool>) {
    if let Some(reader) = open.metrics.clone() {
        metrics::keep_small(serving, reader, stop.clone());
    }
    serving.spawn(settle_interrupted(open.queue.clone(), open.interrupted.clone()));
    let (history, settings) = (Arc::clone(&open.history), Arc::clone(&open.settings));
    serving.spawn(store::retention::run(history, settings, options::retention(config), stop.clone()));
    serving.spawn(geo::watch::run(Arc::clone(&open.geo), geo::watch::EVERY, stop.clone()));
    serving.spawn(crate::notify::run(Arc::clone(&open.notify), stop.clone()));
}

/// History hears what it missed when the last run ended.
async fn settle_interrupted(queue: Queue, start: queue::interrupted::Start) {
    match queue.settle_interrupted(&start).await {
        Ok(0) => {}
        Ok(mails) => tracing::warn!(
            mails,
            "waxseal was stopped before the outcome of {mails} mails was on record: the history calls them perhaps delivered, the mail log may say more"
        ),
        Err(error) => {
            tracing::error!(%error, "the history does not hear what it missed when waxseal was stopped; the next start goes on with it");
        }
    }
}

fn serve_tracking(
    serving: &mut JoinSet<()>,
    config: &Config,
    open: &Open,
    (socket, tls, acme): (TcpListener, Option<Arc<ServerTls>>, &Option<Arc<Acme>>),
    stop: watch::Receiver<bool>,
) {
    let deps = web::Deps {
        keyring: Arc::clone(&open.keyring),
        settings: Arc::clone(&open.settings),
        history: Arc::clone(&open.history),
        geo: Arc::clone(&open.geo),
        counters: Arc::clone(&open.counters),
        privacy: web::Privacy {
            ceiling: Arc::clone(&open.ceiling),
            consent: Arc::clone(&open.consent),
            consents: Arc::clone(&open.consents),
        },
    };
    let options = web::Options {
        tls: tls.map(|tls| web::TlsSource::new(move || tls.acceptor())),
        challenges: acme.as_ref().map(|acme| acme.challenges()).unwrap_or_default(),
        ..options::tracking(config)
    };
    serving.spawn(async move {
        if let Err(error) = web::serve(socket, deps, options, stop).await {
            tracing::error!(%error, "the tracking site ended");
        }
    });
}

fn server_tls(config: &Config) -> anyhow::Result<Option<Arc<ServerTls>>> {
    if !config.shows_certificate() {
        return Ok(None);
    }
    Ok(Some(Arc::new(ServerTls::load(&config.tls.certificate, &config.tls.private_key)?)))
}

async fn doors(config: &Config) -> anyhow::Result<Vec<Door>> {
    let mut doors = Vec::with_capacity(config.listeners.len());
    for listener in &config.listeners {
        let rules = Rules {
            tls: match listener.tls {
                ListenerTls::StartTls => TlsMode::Starttls,
                ListenerTls::Implicit => TlsMode::Implicit,
                ListenerTls::None => TlsMode::None,
            },
            logins: true,
            networks: listener.networks.clone(),
            org: listener.org.clone(),
            proxies: listener.proxy_networks.clone(),
        };
        doors.push(Door { socket: bind(listener.addr, "listener.addr").await?, rules });
    }
    Ok(doors)
}

async fn bind(addr: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let hint = "is another program (or another waxseal) using it?";
    TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr} ({key}): {hint}"))
}

/// Unix milliseconds.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Where the admin socket of this config is.
pub fn admin_socket(config: &Config) -> PathBuf {
    config.server.data_dir.join(ADMIN_SOCKET)
}

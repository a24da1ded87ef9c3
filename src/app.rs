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
mod orgs;
mod ports;
mod reload;
mod upstream;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::acme::Acme;
use crate::config::first_run;
use crate::config::{Config, LimitsConfig, ListenerTls, limits::BareNewlines};
use crate::copies::Composer;
use crate::deliver::couriers::Couriers;
use crate::deliver::predict;
use crate::deliver::safekeeping::Seal;
use crate::geo::{self, Geo};
use crate::inbox::Inbox;
use crate::listener::{self, Door, Rules, Shared, TlsMode, tls::ServerTls};
use crate::notify::Notify;
use crate::queue::{self, Queue};
use crate::relay::{self, Relay};
use crate::settings::Tracking;
use crate::settings::privacy::ConsentRule;
use crate::smtp::session;
use crate::spool::{DiskFiles, Spool, recover};
use crate::store::consents::Consents;
use crate::store::history::{self, SqliteHistory};
use crate::store::logins::{LoginOptions, Logins};
use crate::store::outbox::Outbox;
use crate::store::settings::{self, SledSettings};
use crate::store::{self, HistoryStore, SettingsStore, key_file};
use crate::token::Keyring;
use crate::web::client::ForwardedBy;
use crate::{admin, telemetry, web};
pub use ports::example_command;

/// The spool's folder in the data folder.
pub const SPOOL_FOLDER: &str = "spool";
/// The inbox's folder in the data folder.
pub const INBOX_FOLDER: &str = "inbox";
/// The admin socket in the data folder.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// Everything that is open.
struct Open {
    /// In force, as far as a reload could change it.
    config: Arc<ArcSwap<Config>>,
    settings: Arc<dyn SettingsStore>,
    history: Arc<dyn HistoryStore>,
    keyring: Arc<ArcSwap<Keyring>>,
    ceiling: Arc<ArcSwap<Tracking>>,
    consent: Arc<ArcSwap<ConsentRule>>,
    consents: Arc<Consents>,
    logins: Arc<Logins>,
    inbox: Option<Inbox>,
    queue: Queue,
    /// What the last run may have left undone.
    interrupted: queue::interrupted::Start,
    couriers: Arc<Couriers>,
    upstreams: Arc<upstream::Upstreams>,
    relay: Arc<Relay>,
    geo: Arc<Geo>,
    counters: Arc<web::Counters>,
    notify: Arc<Notify>,
    metrics: Option<telemetry::metrics::Reader>,
}

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
        let parts = open(&config).await?;
        let (tls, acme) = (server_tls(&config)?, acme::open(&config)?);
        let backend: Arc<dyn listener::Backend> = Arc::clone(&parts.relay) as _;
        let shared = Arc::new(Shared::new(listener_options(&config), backend, tls.clone()));
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
        if let Some(reader) = parts.metrics.clone() {
            metrics::keep_small(&mut serving, reader, sites_stop.clone());
        }
        if let Some(tls) = &tls {
            serving.spawn(certificate::watch(Arc::clone(tls), config.tls.reload, sites_stop.clone()));
        }
        let secure = tls.filter(|_| config.web.tls);
        serve_tracking(&mut serving, &config, &parts, (tracking_socket, secure, &acme), sites_stop.clone());
        if let Some(acme) = &acme {
            acme::begin(&mut serving, &config, acme, &shared, sites_stop.clone()).await?;
        }
        serving.spawn(settle_interrupted(parts.queue.clone(), parts.interrupted.clone()));
        let history = Arc::clone(&parts.history);
        let settings = Arc::clone(&parts.settings);
        serving.spawn(store::retention::run(history, settings, retention_options(&config), sites_stop.clone()));
        serving.spawn(geo::watch::run(Arc::clone(&parts.geo), geo::watch::EVERY, sites_stop.clone()));
        serving.spawn(crate::notify::run(Arc::clone(&parts.notify), sites_stop.clone()));
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

async fn open(config: &Config) -> anyhow::Result<Open> {
    // Before anything that counts.
    let metrics = metrics::begin();
    let data_dir = &config.server.data_dir;
    private_folder(data_dir)?;
    let spool = Spool::open(&data_dir.join(SPOOL_FOLDER), Arc::new(DiskFiles))?;
    // Keys before stores: stores without a key file mean a lost key file, which must not be made anew.
    let keyring = open_keys(config)?;
    let (settings, history, outbox) = open_stores(data_dir).await?;
    let ceiling = Arc::new(ArcSwap::from_pointee(config.tracking));
    let consent = Arc::new(ArcSwap::from_pointee(config.privacy.rule()));
    let consents = Arc::new(Consents::new(Arc::clone(&settings)));
    orgs::overlay(settings.as_ref(), &config.orgs).await?;
    let keyring = Arc::new(ArcSwap::from_pointee(with_org_sites(config, keyring, settings.as_ref())?));
    let logins = Arc::new(Logins::new(Arc::clone(&settings), login_options(&config.limits))?);
    logins.ask_admins_for_factor(config.web.admin_second_factor);
    let inbox = upstream::inbox(config)?;
    let seal: Arc<dyn Seal> = Arc::new(upstream::KeyringSeal(Arc::clone(&keyring)));
    let sealed = settings.snapshot().upstream_passwords.clone();
    let own_ways = upstream::own_ways(config, &upstream::OwnWays::default(), &seal, &sealed)?;
    let server = upstream::server(config, inbox.as_ref(), &seal)?;
    let couriers = Arc::new(Couriers::new(upstream::ways(server, &own_ways, &settings.snapshot(), config)));
    let in_force = Arc::new(ArcSwap::from_pointee(config.clone()));
    let upstreams = Arc::new(upstream::Upstreams {
        config: Arc::clone(&in_force),
        settings: Arc::clone(&settings),
        seal,
        couriers: Arc::clone(&couriers),
        own: tokio::sync::Mutex::new(own_ways),
    });
    let composer = Arc::new(Composer {
        keyring: Arc::clone(&keyring),
        settings: Arc::clone(&settings),
        limits: rewrite_limits(&config.limits),
    });
    let (queue, interrupted) = open_queue(config, spool, &couriers, &composer, &history).await?;
    let parts = relay::Parts {
        settings: Arc::clone(&settings),
        history: Arc::clone(&history),
        keyring: Arc::clone(&keyring),
        ceiling: Arc::clone(&ceiling),
        consent: Arc::clone(&consent),
        logins: Arc::clone(&logins),
        composer,
        couriers: Arc::clone(&couriers),
        queue: queue.clone(),
        passthrough: upstream::passthrough(config)?,
        clock: now_ms,
    };
    let renderer = Arc::clone(&parts.composer);
    let relay = Arc::new(Relay::new(parts, relay_options(config)));
    let counters: Arc<web::Counters> = Arc::default();
    let notify = Notify::new(
        crate::notify::Parts {
            outbox,
            history: Arc::clone(&history),
            settings: Arc::clone(&settings),
            keyring: Arc::clone(&keyring),
            postman: Arc::new(notify::Spooler::new(queue.clone(), Arc::clone(&couriers), renderer)),
            news: counters.news(),
            clock: now_ms,
        },
        notify::options(config),
    );
    let geo = Arc::new(Geo::open(&config.geo.databases())?);
    Ok(Open {
        config: in_force,
        settings,
        history,
        keyring,
        ceiling,
        consent,
        consents,
        logins,
        inbox,
        queue,
        interrupted,
        couriers,
        upstreams,
        relay,
        geo,
        counters,
        notify,
        metrics,
    })
}

/// Mode 0700: keys, mail and addresses are in it.
fn private_folder(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("cannot make the data folder {}", folder.display()))?;
    let mode = std::fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "others can reach {} (mode {:o}): chmod 700 it, for keys and mail are in it",
            folder.display(),
            mode & 0o777
        );
    }
    Ok(())
}

type Stores = (Arc<dyn SettingsStore>, Arc<dyn HistoryStore>, Outbox);

async fn open_stores(data_dir: &Path) -> anyhow::Result<Stores> {
    let (settings_at, history_at) = (data_dir.join(store::SETTINGS_FOLDER), data_dir.join(store::HISTORY_FILE));
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let settings = SledSettings::open(&settings_at, &settings::Options::default())?;
        let history = SqliteHistory::open(&history_at, &history::Options::default())?;
        Ok((settings, history))
    });
    let (settings, history) = opened.await??;
    let history = Arc::new(history);
    let outbox = Outbox::new(Arc::clone(&history));
    Ok((Arc::new(settings), history, outbox))
}

fn open_keys(config: &Config) -> anyhow::Result<Keyring> {
    let path = config.server.data_dir.join(store::KEYS_FILE);
    Ok(key_file::open(&path, &config.web.public_url.to_string(), Timestamp::now())?)
}

/// A site for every organisation that has a tracking host of its own.
fn with_org_sites(config: &Config, mut keyring: Keyring, settings: &dyn SettingsStore) -> anyhow::Result<Keyring> {
    let path = config.server.data_dir.join(store::KEYS_FILE);
    for org in settings.snapshot().orgs.values() {
        if let Some(url) = &org.tracking_url {
            keyring = key_file::ensure_site(&path, &keyring, url, &org.former_urls)?;
        }
    }
    Ok(keyring)
}

async fn open_queue(
    config: &Config,
    spool: Spool,
    couriers: &Arc<Couriers>,
    composer: &Arc<Composer>,
    history: &Arc<dyn HistoryStore>,
) -> anyhow::Result<(Queue, queue::interrupted::Start)> {
    let options = upstream::queue_options(config);
    let unknown_wait_ms = i64::try_from(options.rules.schedule.unknown_wait_min.as_millis()).unwrap_or(i64::MAX);
    let found = {
        let spool = spool.clone();
        tokio::task::spawn_blocking(move || recover::recover(&spool, now_ms(), unknown_wait_ms)).await??
    };
    if !found.due.is_empty() || !found.set_aside.is_empty() {
        let (waiting, corrupt) = (found.due.len(), found.set_aside.len());
        tracing::info!(
            waiting,
            corrupt,
            "the spool holds {waiting} mails to go on with; {corrupt} were moved to corrupt/"
        );
    }
    let start = queue::interrupted::Start {
        at_ms: now_ms(),
        spooled: found.due.iter().map(|(id, _)| *id).collect(),
        ended: found.ended,
        corrupt: spool.corrupt_ids()?,
    };
    let parts = queue::Parts {
        spool,
        couriers: Arc::clone(couriers),
        renderer: Arc::clone(composer) as _,
        history: Arc::clone(history),
        clock: now_ms,
    };
    Ok((Queue::new(parts, options, found.due), start))
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
        trusted_proxies: config.web.trusted_proxies.clone(),
        tls: tls.map(|tls| web::TlsSource::new(move || tls.acceptor())),
        challenges: acme.as_ref().map(|acme| acme.challenges()).unwrap_or_default(),
        inbox_mode: matches!(config.upstream, crate::config::UpstreamConfig::Inbox),
        connections_max: config.limits.web_connections_max,
        head_max: config.limits.web_request_max,
        head_bytes_max: config.limits.web_head_bytes_max,
        connection_max: config.limits.web_connection_max,
        event_queue_max: config.limits.event_queue_max,
        bad_tokens_per_minute_max: config.limits.bad_tokens_per_minute_max,
        forwarded_by: forwarded_by(config),
        proxy_protocol: config.web.proxy_protocol,
        more_agents: config.verdicts.more_agents.join("\n"),
        more_networks: config.verdicts.more_networks.join("\n"),
        ..web::Options::default()
    };
    serving.spawn(async move {
        if let Err(error) = web::serve(socket, deps, options, stop).await {
            tracing::error!(%error, "the tracking site ended");
        }
    });
}

fn forwarded_by(config: &Config) -> ForwardedBy {
    match config.web.forwarded_by {
        crate::config::ForwardedBy::XForwardedFor => ForwardedBy::XForwardedFor,
        crate::config::ForwardedBy::Forwarded => ForwardedBy::Forwarded,
    }
}

fn retention_options(config: &Config) -> store::retention::Options {
    store::retention::Options {
        message_days: config.privacy.messages_days,
        event_days: config.privacy.events_days,
        every: config.limits.forget_every,
        pause: Duration::from_millis(config.limits.forget_pause_ms),
        events_max: config.limits.forget_events_max,
        messages_max: config.limits.forget_messages_max,
    }
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

/// Beside a message that is read there is room for what one read brings.
const READ_AHEAD_BYTES: usize = 64 * 1024;

fn listener_options(config: &Config) -> listener::Options {
    let limits = &config.limits;
    let mut session = session::Options::new(config.server.hostname.clone());
    session.message_bytes_max = limits.message_bytes_max;
    session.recipients_max = limits.recipients_max;
    session.line_bytes_max = limits.command_line_bytes_max;
    session.command_errors_max = limits.command_errors_max;
    session.auth_failures_max = limits.auth_failures_max;
    session.dsn = true;
    session.bearer_logins = config.any_passthrough();
    session.bare_newlines = match limits.bare_newlines {
        BareNewlines::Normalize => crate::smtp::data::BareNewlines::Normalize,
        BareNewlines::Reject => crate::smtp::data::BareNewlines::Reject,
    };
    let mut options = listener::Options::new(session);
    options.connections_max = limits.connections_max;
    options.connections_per_address_max = limits.connections_per_address_max;
    options.session_max = limits.session_max;
    options.idle_max = limits.idle_max;
    options.command_max = limits.command_max;
    options.data_bytes_per_sec_min = limits.data_bytes_per_sec_min;
    options.data_window = limits.data_window;
    options.write_max = limits.write_max;
    options.room_wait_max = limits.room_wait_max;
    options.login_max = limits.login_max;
    options.tls_handshake_max = limits.tls_handshake_max;
    options.in_flight_bytes_max = limits.in_flight_bytes_max;
    let largest = limits.message_bytes_max.saturating_add(READ_AHEAD_BYTES);
    options.in_flight_bytes_per_sender_max = limits.in_flight_bytes_per_sender_max.max(largest);
    options.grace_max = limits.shutdown_max;
    options.errors_free_max = limits.command_errors_free_max;
    options.error_delay = limits.command_error_delay;
    options
}

fn relay_options(config: &Config) -> relay::Options {
    let (limits, spool) = (&config.limits, &config.spool);
    relay::Options {
        hostname: config.server.hostname.clone(),
        received_headers_max: limits.received_headers_max,
        split_recipients_max: spool.split_recipients_max,
        record_max: limits.record_max,
        predict: predict::Rules {
            copies_max: spool.copies_max,
            bytes_max: spool.copies_bytes_max,
            budget_ms: i64::try_from(spool.budget.as_millis()).unwrap_or(i64::MAX),
            in_flight_max: spool.in_flight_max,
        },
        budget: spool.budget,
        keep_by: spool.record_by,
        dot: limits.upstream_dot_max,
        parallel_max: spool.parallel_max,
        logins: relay::throttle::Limits {
            per_login_free: limits.login_failures_free_max,
            per_source_free: limits.login_failures_per_address_free_max,
            wait_max: limits.login_wait_max,
        },
        login_max: limits.login_max,
        allowance: relay::allowance::Allowance {
            messages_per_hour: limits.user_messages_per_hour_max,
            messages_per_day: limits.user_messages_per_day_max,
            recipients_per_hour: limits.user_recipients_per_hour_max,
            recipients_per_day: limits.user_recipients_per_day_max,
        },
        passthrough: relay::passthrough::Limits {
            per_user_per_minute: limits.upstream_logins_per_user_per_minute_max,
            per_minute: limits.upstream_logins_per_minute_max,
            create_users: config.orgs.iter().filter(|org| org.create_users).map(|org| org.name.clone()).collect(),
        },
        show_client: config.privacy.show_client,
    }
}

fn login_options(limits: &LimitsConfig) -> LoginOptions {
    LoginOptions {
        hashing_concurrency_max: limits.hashing_concurrency_max,
        hashing_waiting_max: limits.hashing_waiting_max,
        hashing_wait_max: limits.hashing_wait_max,
        ..LoginOptions::default()
    }
}

fn rewrite_limits(limits: &LimitsConfig) -> crate::rewrite::Limits {
    let mut of = crate::rewrite::Limits::default();
    of.tree.header_bytes_max = limits.header_bytes_max;
    of.tree.header_lines_max = limits.header_lines_max;
    of.tree.parts_max = limits.parts_max;
    of.tree.nesting_max = limits.nesting_max;
    of.text_bytes_max = limits.decoded_bytes_max;
    of.links_max = limits.links_max;
    of.html_memory_bytes_max = limits.html_memory_bytes_max;
    of
}

/// Unix milliseconds.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Where the admin socket of this config is.
pub fn admin_socket(config: &Config) -> PathBuf {
    config.server.data_dir.join(ADMIN_SOCKET)
}

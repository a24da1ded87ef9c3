//! Opens everything the program works with, each after what it needs.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::{SPOOL_FOLDER, metrics, notify, now_ms, options, orgs, upstream};
use crate::config::Config;
use crate::copies::Composer;
use crate::deliver::couriers::Couriers;
use crate::geo::Geo;
use crate::inbox::Inbox;
use crate::notify::Notify;
use crate::queue::{self, Queue};
use crate::relay::{self, Relay};
use crate::settings::Tracking;
use crate::settings::privacy::ConsentRule;
use crate::spool::{DiskFiles, Spool, recover};
use crate::store::consents::Consents;
use crate::store::history::{self, SqliteHistory};
use crate::store::logins::Logins;
use crate::store::outbox::Outbox;
use crate::store::settings::{self, SledSettings};
use crate::store::{self, HistoryStore, SettingsStore, key_file};
use crate::telemetry;
use crate::token::Keyring;
use crate::web;

/// Everything that is open.
pub(super) struct Open {
    /// In force, as far as a reload could change it.
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) settings: Arc<dyn SettingsStore>,
    pub(super) history: Arc<dyn HistoryStore>,
    pub(super) keyring: Arc<ArcSwap<Keyring>>,
    pub(super) ceiling: Arc<ArcSwap<Tracking>>,
    pub(super) consent: Arc<ArcSwap<ConsentRule>>,
    pub(super) consents: Arc<Consents>,
    pub(super) logins: Arc<Logins>,
    pub(super) inbox: Option<Inbox>,
    pub(super) queue: Queue,
    /// What the last run may have left undone.
    pub(super) interrupted: queue::interrupted::Start,
    pub(super) couriers: Arc<Couriers>,
    pub(super) upstreams: Arc<upstream::Upstreams>,
    pub(super) relay: Arc<Relay>,
    pub(super) geo: Arc<Geo>,
    pub(super) counters: Arc<web::Counters>,
    pub(super) notify: Arc<Notify>,
    pub(super) metrics: Option<telemetry::metrics::Reader>,
}

/// Opens all of it. Files are made where a first run needs them.
///
/// # Errors
/// What cannot be opened, in words for the operator.
pub(super) async fn open(config: &Config) -> anyhow::Result<Open> {
    // Before anything that counts.
    let metrics = metrics::begin();
    let Kept { spool, settings, history, outbox, keyring, logins } = keep(config).await?;
    let ceiling = Arc::new(ArcSwap::from_pointee(config.tracking));
    let consent = Arc::new(ArcSwap::from_pointee(config.privacy.rule()));
    let consents = Arc::new(Consents::new(Arc::clone(&settings)));
    let inbox = upstream::inbox(config)?;
    let upstreams = Arc::new(upstream::Upstreams::open(config, &settings, &keyring, inbox.as_ref())?);
    let couriers = Arc::clone(&upstreams.couriers);
    let composer = Arc::new(Composer {
        keyring: Arc::clone(&keyring),
        settings: Arc::clone(&settings),
        limits: options::rewrite(&config.limits),
    });
    let (queue, interrupted) = open_queue(config, spool, &couriers, &composer, &history).await?;
    let parts = relay::Parts {
        settings: Arc::clone(&settings),
        history: Arc::clone(&history),
        keyring: Arc::clone(&keyring),
        ceiling: Arc::clone(&ceiling),
        consent: Arc::clone(&consent),
        logins: Arc::clone(&logins),
        composer: Arc::clone(&composer),
        couriers: Arc::clone(&couriers),
        queue: queue.clone(),
        passthrough: upstream::passthrough(config)?,
        clock: now_ms,
    };
    let relay = Arc::new(Relay::new(parts, options::relay(config)));
    let counters: Arc<web::Counters> = Arc::default();
    let parts = crate::notify::Parts {
        outbox,
        history: Arc::clone(&history),
        settings: Arc::clone(&settings),
        keyring: Arc::clone(&keyring),
        postman: Arc::new(notify::Spooler::new(queue.clone(), Arc::clone(&couriers), composer)),
        news: counters.news(),
        clock: now_ms,
    };
    let notify = Notify::new(parts, notify::options(config));
    let geo = Arc::new(Geo::open(&config.geo.databases())?);
    Ok(Open {
        config: Arc::clone(&upstreams.config),
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

/// What is on the disk.
struct Kept {
    spool: Spool,
    settings: Arc<dyn SettingsStore>,
    history: Arc<dyn HistoryStore>,
    outbox: Outbox,
    keyring: Arc<ArcSwap<Keyring>>,
    logins: Arc<Logins>,
}

async fn keep(config: &Config) -> anyhow::Result<Kept> {
    let data_dir = &config.server.data_dir;
    private_folder(data_dir)?;
    let spool = Spool::open(&data_dir.join(SPOOL_FOLDER), Arc::new(DiskFiles))?;
    // Keys before stores: stores without a key file mean a lost key file, which must not be made anew.
    let keyring = open_keys(config)?;
    let (settings, history, outbox) = open_stores(data_dir).await?;
    orgs::overlay(settings.as_ref(), &config.orgs).await?;
    let keyring = Arc::new(ArcSwap::from_pointee(with_org_sites(config, keyring, settings.as_ref())?));
    let logins = Arc::new(Logins::new(Arc::clone(&settings), options::logins(&config.limits))?);
    logins.ask_admins_for_factor(config.web.admin_second_factor);
    Ok(Kept { spool, settings, history, outbox, keyring, logins })
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

pub(super) fn open_keys(config: &Config) -> anyhow::Result<Keyring> {
    let path = config.server.data_dir.join(store::KEYS_FILE);
    Ok(key_file::open(&path, &config.web.public_url.to_string(), Timestamp::now())?)
}

/// A site for every organisation that has a tracking host of its own.
pub(super) fn with_org_sites(
    config: &Config,
    mut keyring: Keyring,
    settings: &dyn SettingsStore,
) -> anyhow::Result<Keyring> {
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

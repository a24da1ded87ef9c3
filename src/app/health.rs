//! What there is to look at in this set-up, and who looks: the running server at itself, or a command at its files.
//!
//! Everything is asked at once, each within [`LOOK_MAX`]. `kept` has the last reports.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::time::{Instant, timeout, timeout_at};

use super::Open;
use super::upstream::{self, KeyringSeal};
use crate::admin::{Glance, HealthKeeper};
use crate::config::{Config, ListenerTls, SmtpUpstream, UpstreamAuth, UpstreamConfig};
use crate::deliver::couriers::{Couriers, Way, Ways};
use crate::health::running::{self, SpoolFacts, StoreTried, TRIES_DOWN, Unheard};
use crate::health::site::Challenge;
use crate::health::{self, Area, Check, LOOK_MAX, Report, State, machine};
use crate::listener::Shared;
use crate::notify::Notify;
use crate::queue::Queue;
use crate::settings::OrgName;
use crate::settings::notices::Webhook;
use crate::store::outbox::DeliveryStage;
use crate::store::{self, BoxFuture, HistoryStore, SettingsStore, StoreError};
use crate::token::{InstanceKey, Keyring, proof};
use crate::web;

mod kept;
mod surroundings;

use kept::Kept;
use surroundings::Around;

/// Webhooks whose waiting events are looked at.
const WEBHOOKS_MAX: usize = 100;
/// Waiting events of each.
const DELIVERIES_MAX: u32 = 20;

/// The running server, looking at itself.
pub(super) struct Doctor {
    eyes: Arc<Eyes>,
    kept: Kept,
}

/// All there is to see.
struct Eyes {
    config: Arc<ArcSwap<Config>>,
    settings: Arc<dyn SettingsStore>,
    history: Arc<dyn HistoryStore>,
    keyring: Arc<ArcSwap<Keyring>>,
    couriers: Arc<Couriers>,
    queue: Queue,
    site: Arc<web::Counters>,
    notify: Arc<Notify>,
    shared: Arc<Shared>,
}

impl HealthKeeper for Doctor {
    fn look(&self, org: Option<OrgName>) -> BoxFuture<'_, Report> {
        Box::pin(async move { self.kept.fresh(org.clone(), self.eyes.examine(org.as_ref())).await })
    }

    fn glance(&self, org: Option<OrgName>) -> Glance {
        let eyes = Arc::clone(&self.eyes);
        self.kept.glance(org.clone(), async move { eyes.examine(org.as_ref()).await })
    }
}

impl Doctor {
    pub(super) fn new(open: &Open, shared: Arc<Shared>) -> Doctor {
        let eyes = Eyes {
            config: Arc::clone(&open.config),
            settings: Arc::clone(&open.settings),
            history: Arc::clone(&open.history),
            keyring: Arc::clone(&open.keyring),
            couriers: Arc::clone(&open.couriers),
            queue: open.queue.clone(),
            site: Arc::clone(&open.counters),
            notify: Arc::clone(&open.notify),
            shared,
        };
        Doctor { eyes: Arc::new(eyes), kept: Kept::default() }
    }
}

impl Eyes {
    /// Everything, or what concerns one organisation.
    async fn examine(&self, org: Option<&OrgName>) -> Report {
        let (config, now) = (self.config.load_full(), Timestamp::now());
        let (snapshot, ways) = (self.settings.snapshot(), self.couriers.ways());
        let orgs = snapshot.orgs.values().filter(|of| org.is_none_or(|org| of.name == *org));
        let (seal, sealed) = (KeyringSeal(Arc::clone(&self.keyring)), &snapshot.upstream_passwords);
        let unsealed = |org: &OrgName, smtp: &SmtpUpstream| upstream::unsealed(&seal, org, smtp, sealed);
        let orgs: Vec<Around> = orgs.map(|org| Around::of(org, &config, &ways.stranded, unsealed)).collect();
        let challenge = challenge(Some(self.keyring.load().instance_key()));
        let surroundings = surroundings::look(&config, org.is_none(), &orgs, challenge, now);
        let deliveries = deliveries(&config, &ways, org);
        if org.is_some() {
            let (around, webhooks) = tokio::join!(surroundings, self.webhooks(org));
            return Report::new(now.as_millisecond(), true, [around, deliveries, webhooks].concat());
        }
        let (around, machine, inside) = tokio::join!(surroundings, machine(&config, now), self.inside(&config));
        Report::new(now.as_millisecond(), true, [around, deliveries, machine, inside].concat())
    }

    /// What only we know.
    async fn inside(&self, config: &Config) -> Vec<Check> {
        let (settings, history, spool, webhooks) =
            tokio::join!(self.settings_store(config), self.history_store(config), self.spool(), self.webhooks(None));
        let free = u64::try_from(self.shared.capacity.free_bytes()).unwrap_or(u64::MAX);
        let budget = u64::try_from(config.limits.in_flight_bytes_max).unwrap_or(u64::MAX);
        let mut checks = vec![
            running::settings(&settings),
            running::history(&history),
            running::spool(&spool),
            running::events(self.site.recorded(), self.site.lost()),
            machine::memory(free, budget),
        ];
        checks.extend(webhooks);
        checks
    }

    async fn settings_store(&self, config: &Config) -> StoreTried {
        let begun = Instant::now();
        let written = in_time(self.settings.change(Vec::new()), "settings").await.map(|()| begun.elapsed());
        StoreTried { written, bytes: bytes_under(config, store::SETTINGS_FOLDER).await, schema: None }
    }

    async fn history_store(&self, config: &Config) -> StoreTried {
        let begun = Instant::now();
        let tried = in_time(self.history.try_out(), "history").await;
        let (written, schema) = match tried {
            Ok(schema) => (Ok(begun.elapsed()), schema),
            Err(why) => (Err(why), None),
        };
        StoreTried { written, bytes: bytes_under(config, store::HISTORY_FILE).await, schema }
    }

    async fn spool(&self) -> Result<SpoolFacts, String> {
        let looked = timeout(LOOK_MAX, async { (self.queue.corrupt_count().await, self.queue.oldest_ms().await) });
        let (corrupt, oldest_ms) = looked.await.map_err(|_| "the spool's disk does not answer".to_owned())?;
        let age = oldest_ms.map(|at_ms| super::now_ms().saturating_sub(at_ms));
        Ok(SpoolFacts {
            waiting: self.queue.depth(),
            oldest: age.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
            corrupt: corrupt.map_err(|error| error.to_string())?,
            short_of_room: !self.queue.has_room(),
        })
    }

    /// All of them, or one organisation's. How many events were given up is known of all together.
    async fn webhooks(&self, org: Option<&OrgName>) -> Vec<Check> {
        let until = Instant::now() + LOOK_MAX;
        let snapshot = self.settings.snapshot();
        let of = |webhook: &&Webhook| !webhook.paused && org.is_none_or(|org| webhook.org == *org);
        let used: Vec<&Webhook> = snapshot.webhooks.values().filter(of).collect();
        let failed = match org {
            Some(_) => Some(0),
            None => timeout_at(until, self.notify.depth()).await.ok().and_then(Result::ok).map(|depth| depth.failed),
        };
        let mut unheard = Vec::new();
        for webhook in used.iter().take(WEBHOOKS_MAX) {
            let waiting = self.notify.deliveries(webhook.id, Some(DeliveryStage::Waiting), None, DELIVERIES_MAX);
            let Ok(Ok(waiting)) = timeout_at(until, waiting).await else { break };
            let tried = waiting.into_iter().max_by_key(|delivery| delivery.attempts);
            if let Some(tried) = tried.filter(|delivery| delivery.attempts >= TRIES_DOWN) {
                let (org, webhook) = (webhook.org.clone(), webhook.id.to_string());
                unheard.push(Unheard { webhook, org, words: tried.answer, tries: tried.attempts });
            }
        }
        running::webhooks(used.len(), &unheard, failed)
    }
}

/// What can be known from outside, of a server that does not run.
pub async fn offline(config: &Config) -> Report {
    let now = Timestamp::now();
    let orgs: Vec<Around> = config.orgs.iter().map(Around::named).collect();
    let around = surroundings::look(config, true, &orgs, challenge(None), now);
    let (around, machine) = tokio::join!(around, machine(config, now));
    let fix = "waxseal serve, or systemctl start waxseal";
    let down =
        Check::fail(Area::Process, "process.running", "the server is not running: its own part is not known", fix);
    let mut checks = [vec![down], around, machine].concat();
    for check in checks.iter_mut().filter(|check| check.name == "tracking.site") {
        // Nobody can answer for a server that does not run.
        (check.state, check.seen, check.fix) = (State::Skipped, "the server is not running".to_owned(), String::new());
    }
    Report::new(now.as_millisecond(), false, checks)
}

/// How deliveries went: through the server's upstream, for its administrators, and through organisations' own.
fn deliveries(config: &Config, ways: &Ways, org: Option<&OrgName>) -> Vec<Check> {
    let of = |smtp: &SmtpUpstream, way: &Way| health::upstream::deliveries(&way.courier.standing()).about(smtp.name());
    let mut checks = Vec::new();
    if let (UpstreamConfig::Smtp(smtp), None) = (&config.upstream, org) {
        checks.push(of(smtp, &ways.server));
    }
    for named in config.orgs.iter().filter(|named| org.is_none_or(|org| named.name == *org)) {
        if let (Some(smtp), Some(way)) = (&named.upstream, ways.own.get(named.name.as_str())) {
            checks.push(of(smtp, way).of_org(Some(&named.name)));
        }
    }
    checks
}

async fn machine(config: &Config, now: Timestamp) -> Vec<Check> {
    let speaks_tls = config.listeners.iter().any(|listener| listener.tls != ListenerTls::None);
    let tls = &config.tls;
    let options = machine::Options {
        data_dir: config.server.data_dir.clone(),
        keys: config.server.data_dir.join(store::KEYS_FILE),
        secrets: secrets(config, speaks_tls),
        // What the first start makes is not missing.
        tls: (speaks_tls && (tls.certificate.exists() || !tls.may_generate))
            .then(|| (tls.certificate.clone(), tls.private_key.clone(), config.server.hostname.clone())),
        geo: config.geo.databases(),
    };
    let acme = config.acme.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let ordered = acme.map(|acme| super::acme::standing(&acme, now));
        machine::look(&options, now).into_iter().chain(ordered).collect()
    });
    match timeout(LOOK_MAX, looked).await {
        Ok(Ok(checks)) => checks,
        _ => vec![Check::fail(Area::Storage, "storage.disk", "the disk does not answer", "look at the disk: dmesg")],
    }
}

/// The listeners' key, which a group may read, and passwords of upstreams. What the first start makes is not missing.
fn secrets(config: &Config, speaks_tls: bool) -> Vec<(PathBuf, u32)> {
    let key = (config.tls.private_key.clone(), 0o007);
    let key = Some(key).filter(|(path, _)| speaks_tls && (path.exists() || !config.tls.may_generate));
    let servers = match &config.upstream {
        UpstreamConfig::Smtp(smtp) => Some(smtp),
        UpstreamConfig::Inbox => None,
    };
    let all = servers.into_iter().chain(config.orgs.iter().filter_map(|org| org.upstream.as_ref()));
    let password = |smtp: &SmtpUpstream| match &smtp.auth {
        UpstreamAuth::Login { password_file, .. } => password_file.clone().map(|file| (file, 0o077)),
        _ => None,
    };
    key.into_iter().chain(all.filter_map(password)).collect()
}

/// A random question to our own site. Without a key nothing is the right answer.
fn challenge(key: Option<&InstanceKey>) -> Challenge {
    let mut octets = [0_u8; proof::NONCE_LEN / 2];
    let random = getrandom::fill(&mut octets).is_ok();
    let nonce: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let proof = key.filter(|_| random).and_then(|key| proof::proof(key, &nonce));
    Challenge { nonce, proof: proof.unwrap_or_else(|| "nobody knows".to_owned()) }
}

async fn in_time<T>(write: BoxFuture<'_, Result<T, StoreError>>, store: &str) -> Result<T, String> {
    match timeout(LOOK_MAX, write).await {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the {store} store does not answer")),
    }
}

/// Octets of a file, with what lies beside it under the same name (SQLite's log), or of the files in a folder.
async fn bytes_under(config: &Config, name: &str) -> u64 {
    let (folder, name) = (config.server.data_dir.clone(), name.to_owned());
    let counted = tokio::task::spawn_blocking(move || {
        let inside = sum(&folder.join(&name), "");
        if inside > 0 { inside } else { sum(&folder, &name) }
    });
    timeout(LOOK_MAX, counted).await.ok().and_then(Result::ok).unwrap_or(0)
}

fn sum(folder: &Path, prefix: &str) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of_name = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    of_name.filter_map(|entry| entry.metadata().ok()).filter(|found| found.is_file()).map(|found| found.len()).sum()
}

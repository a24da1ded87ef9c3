//! The upstreams of a config: the built-in inbox or a real server, and those of organisations, each with connections, breaker and
//! pace of its own; and the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::INBOX_FOLDER;
use crate::admin::{PortError, UpstreamPasswords};
use crate::config::{Config, SmtpUpstream, UpstreamAuth, UpstreamConfig, UpstreamTls, load};
use crate::deliver::backoff::Schedule;
use crate::deliver::courier::Courier;
use crate::deliver::couriers::{Connect, Couriers, Way, Ways};
use crate::deliver::dial::LocalDial;
use crate::deliver::safekeeping::{Safekeeping, Seal};
use crate::deliver::standing::Memory;
use crate::deliver::tls::{Roots, TlsClient};
use crate::deliver::token_command::TokenCommand;
use crate::deliver::{self, Credentials, Login, Security, Stage, TcpDial, Trouble, Upstream, Why};
use crate::health::LOOK_MAX;
use crate::health::upstream::{Expected, LoginKind, Tried};
use crate::inbox::{self, Inbox};
use crate::queue::{self, due};
use crate::relay::passthrough::Passthrough;
use crate::settings::OrgName;
use crate::store::{BoxFuture, SettingsStore, Snapshot};
use crate::token::Keyring;

/// The built-in inbox, when the config says so.
pub(super) fn inbox(config: &Config) -> anyhow::Result<Option<Inbox>> {
    if config.upstream != UpstreamConfig::Inbox {
        return Ok(None);
    }
    let options = inbox::Options {
        hostname: config.server.hostname.clone(),
        message_bytes_max: config.limits.message_bytes_max.saturating_mul(2),
        recipients_max: config.limits.recipients_max,
        messages_max: config.limits.inbox_messages_max,
    };
    let path = config.server.data_dir.join(INBOX_FOLDER);
    Inbox::open(&path, &options).map(Some).with_context(|| format!("cannot open the inbox {}", path.display()))
}

/// What messages call the server's own.
const SECTION: &str = "upstream";

/// The server's way upstream.
pub(super) fn server(config: &Config, inbox: Option<&Inbox>, seal: &Arc<dyn Seal>) -> anyhow::Result<Way> {
    match (&config.upstream, inbox) {
        (UpstreamConfig::Smtp(smtp), _) => {
            let whose = Whose { org: "", section: SECTION.to_owned() };
            way(config, &whose, smtp, in_file(&whose.section, smtp)?, seal)
        }
        (UpstreamConfig::Inbox, Some(inbox)) => {
            let inbox = inbox.clone();
            let dial = LocalDial::new("inbox", move || inbox.dial());
            let upstream = Upstream::new(dial, Security::None, None, client_options(config));
            let structure = super::options::rewrite(&config.limits).tree;
            let courier =
                Courier::new(upstream, "inbox".to_owned(), None).following(structure).remembering(Arc::default());
            Ok(Way { courier: Arc::new(courier), connect: None, safekeeping: None })
        }
        (UpstreamConfig::Inbox, None) => anyhow::bail!("the inbox is not open"),
    }
}

/// The ways of organisations with an upstream of their own, and what each was made of.
pub(super) type OwnWays = BTreeMap<OrgName, OwnWay>;

/// One way, and what it was made of.
#[derive(Clone)]
pub(super) struct OwnWay {
    smtp: SmtpUpstream,
    password: Option<String>,
    way: Way,
}

/// The ways this config asks for. One that is to be as it was stays the very same, with its connections and what it has
/// learnt. One whose password is nowhere is left out.
pub(super) fn own_ways(
    config: &Config,
    before: &OwnWays,
    seal: &Arc<dyn Seal>,
    sealed: &BTreeMap<OrgName, Vec<u8>>,
) -> anyhow::Result<OwnWays> {
    let mut own = OwnWays::new();
    for org in &config.orgs {
        let Some(smtp) = &org.upstream else { continue };
        let whose = Whose { org: org.name.as_str(), section: format!("the [org.upstream] of {}", org.name) };
        let password = match takes_sealed(smtp) {
            true => unsealed(seal.as_ref(), &org.name, smtp, sealed),
            false => in_file(&whose.section, smtp)?,
        };
        if password.is_none() && takes_sealed(smtp) {
            continue;
        }
        let same = before.get(&org.name).filter(|known| known.smtp == *smtp && known.password == password);
        let way = match same {
            Some(known) => known.way.clone(),
            None => way(config, &whose, smtp, password.clone(), seal)?,
        };
        own.insert(org.name.clone(), OwnWay { smtp: smtp.clone(), password, way });
    }
    Ok(own)
}

/// All ways, and whose is missing.
pub(super) fn ways(server: Way, own: &OwnWays, settings: &Snapshot, config: &Config) -> Ways {
    let marked = settings.orgs.values().filter(|org| org.managed.upstream && !own.contains_key(&org.name));
    let stranded: BTreeSet<String> = marked.map(|org| org.name.to_string()).collect();
    for org in &stranded {
        if config.orgs.iter().any(|named| named.name.as_str() == org && named.upstream.is_some()) {
            tracing::error!(
                org,
                "the upstream of {org} has no password, or one that was sealed for another server or account: its mail is held. Type it: waxseal org upstream-password {org}; or write password_file into its [org.upstream]"
            );
            continue;
        }
        tracing::error!(
            org,
            "{org} had an upstream of its own, which is no longer in config.toml: its mail is held, for it must not leave through another's account. Put its [org.upstream] back; or name {org} in an [[org]] without one, and new mail uses the server's"
        );
    }
    let own = own.iter().map(|(org, own)| (org.to_string(), own.way.clone())).collect();
    Ways { server, own, stranded }
}

/// Whose upstream it is: an organisation's (empty: the server's), and what messages call its section.
struct Whose<'a> {
    org: &'a str,
    section: String,
}

/// The way to one server.
fn way(
    config: &Config,
    whose: &Whose<'_>,
    smtp: &SmtpUpstream,
    password: Option<String>,
    seal: &Arc<dyn Seal>,
) -> anyhow::Result<Way> {
    let structure = super::options::rewrite(&config.limits).tree;
    let upstream = smtp_upstream(&whose.section, smtp, password, client_options(config))?;
    let memory: Arc<Memory> = Arc::default();
    let courier = Courier::new(upstream, smtp.host.clone(), smtp.messages_per_minute).following(structure);
    let courier = courier.remembering(Arc::clone(&memory));
    let is_passed = smtp.auth == UpstreamAuth::Passthrough;
    let connect = is_passed.then(|| connect(config, &whose.section, smtp, &memory)).transpose()?;
    let safekeeping = Safekeeping::new(Arc::clone(seal), whose.org, &smtp.host, smtp.port);
    let safekeeping = Some(safekeeping).filter(|_| is_passed && smtp.spool_credentials);
    Ok(Way { courier: Arc::new(courier), connect, safekeeping })
}

/// Seals under the key file's keys, whichever they are then.
pub(super) struct KeyringSeal(pub(super) Arc<ArcSwap<Keyring>>);

impl Seal for KeyringSeal {
    fn seal(&self, purpose: &str, secret: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).ok()?;
        self.0.load().lock_away(purpose, nonce, secret)
    }

    fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.load().take_out(purpose, sealed)
    }
}

/// Whether the password of this upstream is one that is sealed in the settings store.
pub(super) fn takes_sealed(smtp: &SmtpUpstream) -> bool {
    matches!(smtp.auth, UpstreamAuth::Login { password_file: None, .. })
}

/// Sealed for one account at one server: a config that changes sends nobody's password elsewhere.
fn purpose(org: &OrgName, smtp: &SmtpUpstream) -> String {
    let username = if let UpstreamAuth::Login { username, .. } = &smtp.auth { username } else { "" };
    format!("upstream password {org} {}:{} {username}", smtp.host, smtp.port)
}

/// The password of this organisation's upstream, where it is kept sealed; `None` where it is not, or was sealed for another.
pub(super) fn unsealed(
    seal: &dyn Seal,
    org: &OrgName,
    smtp: &SmtpUpstream,
    sealed: &BTreeMap<OrgName, Vec<u8>>,
) -> Option<String> {
    let sealed = sealed.get(org).filter(|_| takes_sealed(smtp))?;
    String::from_utf8(seal.open(&purpose(org, smtp), sealed)?).ok()
}

/// Makes the ways upstream anew while we run, and seals the passwords that some of them are made with.
pub(super) struct Upstreams {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) settings: Arc<dyn SettingsStore>,
    pub(super) seal: Arc<dyn Seal>,
    pub(super) couriers: Arc<Couriers>,
    /// What the ways of organisations were made of; held while they are made anew.
    pub(super) own: tokio::sync::Mutex<OwnWays>,
}

impl Upstreams {
    /// The ways of this config.
    pub(super) fn open(
        config: &Config,
        settings: &Arc<dyn SettingsStore>,
        keyring: &Arc<ArcSwap<Keyring>>,
        inbox: Option<&Inbox>,
    ) -> anyhow::Result<Upstreams> {
        let seal: Arc<dyn Seal> = Arc::new(KeyringSeal(Arc::clone(keyring)));
        let snapshot = settings.snapshot();
        let own = own_ways(config, &OwnWays::default(), &seal, &snapshot.upstream_passwords)?;
        let couriers = Arc::new(Couriers::new(ways(server(config, inbox, &seal)?, &own, &snapshot, config)));
        Ok(Upstreams {
            config: Arc::new(ArcSwap::from_pointee(config.clone())),
            settings: Arc::clone(settings),
            seal,
            couriers,
            own: tokio::sync::Mutex::new(own),
        })
    }

    /// The ways of organisations as this config and the settings ask for.
    async fn made(&self, config: Arc<Config>, before: OwnWays) -> anyhow::Result<OwnWays> {
        let (seal, sealed) = (Arc::clone(&self.seal), self.settings.snapshot().upstream_passwords.clone());
        // Passwords and roots are read from the disk.
        tokio::task::spawn_blocking(move || own_ways(&config, &before, &seal, &sealed)).await?
    }
}

impl UpstreamPasswords for Upstreams {
    fn takes(&self, org: &OrgName) -> bool {
        let config = self.config.load();
        config.orgs.iter().any(|named| named.name == *org && named.upstream.as_ref().is_some_and(takes_sealed))
    }

    fn seal(&self, org: &OrgName, password: &str) -> Option<Vec<u8>> {
        let config = self.config.load();
        let smtp = config.orgs.iter().find(|named| named.name == *org)?.upstream.as_ref()?;
        self.seal.seal(&purpose(org, smtp), password.as_bytes())
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), PortError>> {
        Box::pin(async move {
            let mut own = self.own.lock().await;
            let config = self.config.load_full();
            let made = self.made(Arc::clone(&config), own.clone()).await;
            *own = made.map_err(|error| PortError(error.to_string()))?;
            let server = self.couriers.ways().server.clone();
            self.couriers.change(ways(server, &own, &self.settings.snapshot(), &config));
            Ok(())
        })
    }
}

/// The password of a way that has one in a file.
fn in_file(section: &str, smtp: &SmtpUpstream) -> anyhow::Result<Option<String>> {
    let UpstreamAuth::Login { password_file: Some(password_file), .. } = &smtp.auth else { return Ok(None) };
    load::password(password_file).map(Some).map_err(|why| anyhow::anyhow!("{section}: password_file: {why}"))
}

fn security(section: &str, smtp: &SmtpUpstream) -> anyhow::Result<Security> {
    let client =
        |roots: &Roots| TlsClient::new(&smtp.host, roots).map_err(|why| anyhow::anyhow!("{section}: tls: {why}"));
    let verified = smtp.ca_file.clone().map_or(Roots::System, Roots::File);
    Ok(match smtp.tls {
        UpstreamTls::StartTls => Security::StartTls(client(&verified)?),
        UpstreamTls::Implicit => Security::Implicit(client(&verified)?),
        UpstreamTls::Opportunistic => Security::Opportunistic(client(&opportunistic_roots(smtp, verified))?),
        UpstreamTls::None => Security::None,
    })
}

fn smtp_upstream(
    section: &str,
    smtp: &SmtpUpstream,
    password: Option<String>,
    options: deliver::Options,
) -> anyhow::Result<Upstream> {
    let dial = TcpDial::new(smtp.host.clone(), smtp.port, options.connect);
    let upstream = Upstream::new(dial, security(section, smtp)?, None, options);
    Ok(match (&smtp.auth, password) {
        (UpstreamAuth::Login { username, .. }, Some(password)) => {
            upstream.logging_in(Login::Password(Credentials { username: username.clone(), password }))
        }
        (UpstreamAuth::Login { .. }, None) => anyhow::bail!("{section}: the password is missing"),
        (UpstreamAuth::Oauth { username, token_command }, _) => {
            let tokens = Arc::new(TokenCommand::new(token_command.clone()));
            upstream.logging_in(Login::Bearer { username: username.clone(), tokens })
        }
        (UpstreamAuth::None | UpstreamAuth::Passthrough, _) => upstream,
    })
}

/// Judges the logins of clients that log in upstream as themselves.
pub(super) fn passthrough(config: &Config) -> anyhow::Result<Passthrough> {
    let limits = &config.limits;
    Passthrough::new(limits.upstream_logins_max, limits.upstream_sessions_max)
        .context("the system gives no random numbers")
}

/// Where clients log in upstream as themselves.
fn connect(config: &Config, section: &str, smtp: &SmtpUpstream, memory: &Arc<Memory>) -> anyhow::Result<Connect> {
    let mut options = client_options(config);
    options.connections_max = options.connections_max.min(config.spool.parallel_max.max(1));
    // For as long as a client may think about its next mail.
    options.idle = config.limits.idle_max;
    let base = Arc::new(WayUpstream::new(section, smtp, options)?);
    let (host, structure) = (smtp.host.clone(), super::options::rewrite(&config.limits).tree);
    let messages_per_minute = smtp.messages_per_minute;
    let memory = Arc::clone(memory);
    Ok(Arc::new(move |login| {
        let courier = Courier::new(base.upstream().logging_in(login), host.clone(), messages_per_minute);
        courier.following(structure).remembering(Arc::clone(&memory))
    }))
}

/// Everything but the login, read once.
struct WayUpstream {
    dial: TcpDial,
    security: Security,
    options: deliver::Options,
}

impl WayUpstream {
    fn new(section: &str, smtp: &SmtpUpstream, options: deliver::Options) -> anyhow::Result<WayUpstream> {
        let dial = TcpDial::new(smtp.host.clone(), smtp.port, options.connect);
        Ok(WayUpstream { dial, security: security(section, smtp)?, options })
    }

    fn upstream(&self) -> Upstream {
        Upstream::new(self.dial.clone(), self.security.clone(), None, self.options.clone())
    }
}

/// Tries an upstream from outside the queue: what it offers, and whether it takes the login. With the server's login only
/// for its administrators (`whole`), and an organisation's `own` with less words for its admins. `sealed` is its password
/// where that is kept in the settings store.
pub(super) async fn examine(
    config: &Config,
    smtp: &SmtpUpstream,
    sealed: Option<String>,
    own: bool,
    whole: bool,
) -> (Expected, Tried) {
    let expected = Expected {
        name: smtp.name(),
        own,
        tls: smtp.tls.as_str(),
        login: match &smtp.auth {
            UpstreamAuth::None => LoginKind::None,
            UpstreamAuth::Passthrough => LoginKind::Passthrough,
            UpstreamAuth::Login { .. } | UpstreamAuth::Oauth { .. } => LoginKind::Own,
        },
        message_bytes_max: u64::try_from(config.limits.message_bytes_max).unwrap_or(u64::MAX),
    };
    let mut options = client_options(config);
    options.connect = options.connect.min(LOOK_MAX / 2);
    let (smtp, with_login) = (smtp.clone(), (own || whole) && expected.login == LoginKind::Own);
    // Certificates and the password are read from the disk.
    let made = tokio::task::spawn_blocking(move || {
        let own = with_login.then(|| {
            // Where it lies is the server's business.
            let unread = |why| if whole { why } else { anyhow::anyhow!("the password cannot be read") };
            let password = if takes_sealed(&smtp) { sealed } else { in_file(SECTION, &smtp).map_err(unread)? };
            smtp_upstream(SECTION, &smtp, password, options.clone())
        });
        (WayUpstream::new(SECTION, &smtp, options).map(|way| way.upstream()), own)
    });
    let (bare, own) = match made.await {
        Ok(made) => made,
        Err(died) => (Err(anyhow::anyhow!("a task died: {died}")), None),
    };
    let until = Instant::now() + LOOK_MAX;
    let unset = |error: anyhow::Error| Trouble { stage: Stage::Connect, why: Why::Lost(error.to_string()) };
    let (reached, logged_in) = tokio::join!(
        async {
            match bare {
                Ok(bare) => bare.probe(until).await,
                Err(error) => Err(unset(error)),
            }
        },
        async {
            Some(match own? {
                Ok(own) => own.probe(until).await.map(drop).map_err(|trouble| trouble.to_string()),
                Err(error) => Err(error.to_string()),
            })
        }
    );
    (expected, Tried { reached, logged_in })
}

/// With a login the certificate is verified even here: a password is worth an attack.
fn opportunistic_roots(smtp: &SmtpUpstream, verified: Roots) -> Roots {
    if smtp.auth == UpstreamAuth::None { Roots::Anyone } else { verified }
}

fn client_options(config: &Config) -> deliver::Options {
    let limits = &config.limits;
    let mut options = deliver::Options::named(config.server.hostname.clone());
    options.connect = limits.upstream_connect_max;
    options.command = limits.upstream_command_max;
    options.dot = limits.upstream_dot_max;
    options.connections_max = limits.upstream_connections_max;
    options.idle = limits.upstream_idle_max;
    options.mails_per_connection_max = limits.upstream_mails_per_connection_max;
    options
}

pub(super) fn queue_options(config: &Config) -> queue::Options {
    let spool = &config.spool;
    let schedule = Schedule { waits: spool.retry.clone(), life: spool.life, unknown_wait_min: spool.unknown_wait };
    queue::Options {
        hostname: config.server.hostname.clone(),
        bounce_sender: spool.bounce_sender.clone(),
        rules: due::Rules { schedule, delay_notice: spool.delay_notice },
        workers_max: spool.workers_max,
        attempt: queue::ATTEMPT,
        dot: config.limits.upstream_dot_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// The queue's own defaults and those of the file are the same numbers.
    #[test]
    fn the_shipped_times_are_the_queues() {
        let shipped = Config::parse(config::SHIPPED, std::path::Path::new("/c")).unwrap().config;
        let options = queue_options(&shipped);
        assert_eq!(options.rules, due::Rules { schedule: Schedule::default(), delay_notice: due::DELAY_NOTICE });
    }

    struct Nothing;

    impl Seal for Nothing {
        fn seal(&self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
            None
        }

        fn open(&self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }

    /// A second mail within the minute that one may be sent in waits for the next.
    #[tokio::test]
    async fn messages_per_minute_sets_the_pace() {
        let text = config::SHIPPED.replace(
            "mode = \"inbox\"",
            "mode = \"smtp\"\nhost = \"127.0.0.1\"\ntls = \"none\"\nmessages_per_minute = 1",
        );
        let text = format!("{text}\n").replace("[privacy]", "[privacy]\nconsent = \"none\"");
        let paced = Config::parse(&text, std::path::Path::new("/c")).unwrap().config;
        let seal: Arc<dyn Seal> = Arc::new(Nothing);
        assert_eq!(server(&paced, None, &seal).unwrap().courier.forecast(2, 1).pace_wait_ms, 60_000);
    }
}

//! What the admin site plugs in: the inbox, the test mail, the key file.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::health::Doctor;
use super::keeper::Keeper;
use super::metrics::Gauges;
use super::{Open, admin_socket};
use crate::admin::setup::{DoorTls, Setup, SetupDoor};
use crate::admin::{
    self, Actions, InboxEntry, InboxReader, KeyEntry, Keys, MetricsText, PortError, Submitted, TestMail,
    TestMailRequest, UpstreamPasswords,
};
use crate::certificate;
use crate::config::{Config, ListenerConfig, ListenerTls, UpstreamConfig};
use crate::deliver::own;
use crate::inbox::{Entry, EntryId, Inbox};
use crate::listener::{ClientGone, Lease, Shared, Submission};
use crate::message::Mail;
use crate::relay::Relay;
use crate::settings::{OrgName, Submitter};
use crate::smtp::Mailbox;
use crate::store::record::MessageFilter;
use crate::store::{self, BoxFuture, HistoryStore, SettingsStore, key_file};
use crate::token::{Keyring, MessageId};
use crate::web;

/// Begins to serve the dashboard and the admin socket.
pub(super) fn serve_admin(
    serving: &mut JoinSet<()>,
    config: &Config,
    open: &Open,
    shared: &Arc<Shared>,
    socket: TcpListener,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let actions = Arc::new(Actions::new(admin::Parts {
        settings: Arc::clone(&open.settings),
        history: Arc::clone(&open.history),
        logins: Arc::clone(&open.logins),
        ceiling: Arc::clone(&open.ceiling),
        inbox: open.inbox.clone().map(|inbox| Arc::new(Reader(inbox)) as Arc<dyn InboxReader>),
        test_mail: Some(Arc::new(Tester::new(config, open))),
        keys: Some(Arc::new(KeyFile {
            path: config.server.data_dir.join(store::KEYS_FILE),
            keyring: Arc::clone(&open.keyring),
            changing: Arc::default(),
        })),
        metrics: open.metrics.clone().map(|reader| {
            let (queue, couriers) = (open.queue.clone(), Arc::clone(&open.couriers));
            let (counters, notify) = (Arc::clone(&open.counters), Arc::clone(&open.notify));
            Arc::new(Gauges::new(reader, queue, couriers, counters, notify)) as Arc<dyn MetricsText>
        }),
        privacy: Some(admin::Privacy {
            consents: Arc::clone(&open.consents),
            keyring: Arc::clone(&open.keyring),
            consent: Arc::clone(&open.consent),
        }),
        queue: Some(Arc::new(Keeper::new(open.queue.clone(), Arc::clone(&open.couriers)))),
        notify: Some(Arc::clone(&open.notify)),
        health: Some(Arc::new(Doctor::new(open, Arc::clone(shared)))),
        upstream_passwords: Some(Arc::clone(&open.upstreams) as Arc<dyn UpstreamPasswords>),
    }));
    let options = options(config);
    let (proxies, by) = (config.web.trusted_proxies.clone(), super::options::forwarded_by(config));
    let address: admin::ClientAddress = Arc::new(move |peer, headers| web::client_address(peer, &proxies, headers, by));
    let site = admin::Site::new(Arc::clone(&actions), options.clone(), address);
    let (site_stop, socket_stop) = (stopped(stop.clone()), stopped(stop));
    serving.spawn(async move {
        if let Err(error) = admin::serve(socket, site, site_stop).await {
            tracing::error!(%error, "the dashboard ended");
        }
    });
    let path = admin_socket(config);
    // Bound before anybody is told that we are up, so that the first command finds us.
    let bound = admin::socket::Socket::bind(&path);
    serving.spawn(async move {
        let served = match bound {
            Ok(bound) => bound.serve(actions, &options, socket_stop).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::error!(%error, path = %path.display(), "the admin socket ended: the command line cannot reach this server");
        }
    });
    Ok(())
}

fn options(config: &Config) -> admin::Options {
    let limits = &config.limits;
    let mut options = admin::Options {
        connections_max: limits.admin_connections_max,
        head_max: limits.admin_head_max,
        request_max: limits.admin_request_max,
        write_max: limits.admin_write_max,
        body_bytes_max: limits.admin_body_bytes_max,
        ..admin::Options::default()
    };
    options.sessions.idle_max = limits.admin_session_idle_max;
    options.sessions.age_max = limits.admin_session_max;
    options.limiter.per_address_max = limits.login_attempts_per_minute_max;
    options.example_command = example_command(config);
    options.example_org = config.listeners.first().and_then(|listener| listener.org.clone());
    options.setup = setup(config);
    options
}

/// What mail programs are told. The certificate is the one of the start.
fn setup(config: &Config) -> Setup {
    let door = |listener: &ListenerConfig| SetupDoor {
        port: listener.addr.port(),
        tls: match listener.tls {
            ListenerTls::StartTls => DoorTls::StartTls,
            ListenerTls::Implicit => DoorTls::Implicit,
            ListenerTls::None => DoorTls::None,
        },
        loopback: listener.addr.ip().is_loopback(),
        networks: !listener.networks.is_empty(),
    };
    let pem = std::fs::read(&config.tls.certificate).ok();
    let own = pem.and_then(|pem| certificate::chain(&pem).ok()).and_then(|chain| chain.into_iter().next());
    let facts = own.and_then(|own| certificate::facts(&own, &config.server.hostname).ok());
    Setup {
        host: config.server.hostname.clone(),
        doors: config.listeners.iter().map(door).collect(),
        self_signed: facts.is_some_and(|facts| facts.self_signed),
        passthrough: config.upstream.is_passthrough(),
        inbox: config.upstream == UpstreamConfig::Inbox,
    }
}

/// A line that sends a mail through the first listener.
pub fn example_command(config: &Config) -> String {
    let port = config.listeners.first().map_or(2525, |listener| listener.addr.port());
    // The line needs no login where the listener knows whose mail it is.
    let trusted = config.listeners.first().and_then(|listener| listener.org.as_ref());
    let org = config.orgs.iter().find(|org| Some(&org.name) == trusted).or(config.orgs.first());
    let domain = org.and_then(|org| org.domains.last()).map_or("example.com", String::as_str);
    format!(
        "printf 'From: you@{domain}\\nTo: ana@example.net\\nSubject: Hello\\nMIME-Version: 1.0\\nContent-Type: text/html\\n\\n\
         <p>Hello <a href=\"https://example.org/\">there</a></p>\\n' | \
         curl -sS smtp://127.0.0.1:{port} --mail-from you@{domain} --mail-rcpt ana@example.net -T -"
    )
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// The built-in inbox for the dashboard. Its calls block, so they run on blocking threads.
struct Reader(Inbox);

impl InboxReader for Reader {
    fn list(&self, before: Option<String>, limit: usize) -> BoxFuture<'_, Result<Vec<InboxEntry>, PortError>> {
        let inbox = self.0.clone();
        Box::pin(async move {
            let listed = tokio::task::spawn_blocking(move || inbox.list()).await.map_err(died)?;
            let entries = listed.map_err(|error| PortError(format!("the inbox cannot be read: {error}")))?;
            // Ids sort by time.
            let older = |entry: &&Entry| before.as_ref().is_none_or(|before| entry.id.as_str() < before.as_str());
            Ok(entries.iter().filter(older).take(limit).map(shown).collect())
        })
    }

    fn read(&self, id: &str) -> BoxFuture<'_, Result<Option<(InboxEntry, Bytes)>, PortError>> {
        let (inbox, id) = (self.0.clone(), id.parse::<EntryId>());
        Box::pin(async move {
            let Ok(id) = id else { return Ok(None) };
            let read = tokio::task::spawn_blocking(move || inbox.read(&id)).await.map_err(died)?;
            let stored = read.map_err(|error| PortError(format!("the inbox cannot be read: {error}")))?;
            Ok(stored.map(|stored| (shown(&stored.entry), stored.raw)))
        })
    }
}

fn shown(entry: &Entry) -> InboxEntry {
    InboxEntry {
        id: entry.id.as_str().to_owned(),
        received_at_ms: entry.received_at.parse::<Timestamp>().map_or(0, Timestamp::as_millisecond),
        from: entry.from.clone(),
        to: entry.to.clone(),
        size_bytes: entry.size_bytes,
    }
}

fn died(error: tokio::task::JoinError) -> PortError {
    PortError(format!("a task died: {error}"))
}

/// Records looked at for the one just made; others' mail may have come in between.
const RECORDS_LOOKED_AT_MAX: u32 = 50;

/// Writes the test mail and submits it like anybody's.
struct Tester {
    relay: Arc<Relay>,
    history: Arc<dyn HistoryStore>,
    settings: Arc<dyn SettingsStore>,
    hostname: String,
    link: String,
    inbox: bool,
}

impl Tester {
    fn new(config: &Config, open: &Open) -> Tester {
        Tester {
            relay: Arc::clone(&open.relay),
            history: Arc::clone(&open.history),
            settings: Arc::clone(&open.settings),
            hostname: config.server.hostname.clone(),
            link: format!("{}/healthz", config.web.public_url),
            inbox: config.upstream == UpstreamConfig::Inbox,
        }
    }

    fn write(&self, request: &TestMailRequest, now: SystemTime) -> Result<Mail, PortError> {
        let snapshot = self.settings.snapshot();
        let domain = snapshot.orgs.get(&request.org).and_then(|org| org.domains.last().cloned());
        let domain = domain.ok_or_else(|| PortError(format!("{} has no domain to send from", request.org)))?;
        let bad = |what: &str| PortError(format!("{what} is no address a mail can go to"));
        let from = request.from.clone().unwrap_or_else(|| format!("waxseal-test@{domain}"));
        let from = Mailbox::parse(from.as_bytes(), false).map_err(|_| bad(&from))?;
        let to = Mailbox::parse(request.to.as_bytes(), false).map_err(|_| bad(&request.to))?;
        let written = own::test_mail(&from, &to, &self.hostname, &self.link, now);
        let (envelope, raw) = written.map_err(|error| PortError(error.to_string()))?;
        Ok(Mail { envelope, raw })
    }
}

impl Tester {
    /// The record of the mail with this Message-ID, among those just made.
    async fn record(&self, org: OrgName, message_id: &str) -> Option<MessageId> {
        let filter = MessageFilter { org: Some(org), limit: RECORDS_LOOKED_AT_MAX, ..MessageFilter::default() };
        for summary in self.history.messages(filter).await.ok()? {
            let record = self.history.message(summary.id).await.ok().flatten();
            if record.is_some_and(|record| record.message_id_header == message_id) {
                return Some(summary.id);
            }
        }
        None
    }
}

impl TestMail for Tester {
    fn suggested_to(&self) -> String {
        if self.inbox { "ana@example.net".to_owned() } else { String::new() }
    }

    fn send(&self, request: TestMailRequest) -> BoxFuture<'_, Result<Submitted, PortError>> {
        Box::pin(async move {
            let now = SystemTime::now();
            let mail = self.write(&request, now)?;
            let org = request.org.clone();
            let submission = Submission {
                mail,
                submitter: Submitter { org: request.org, login: request.login },
                peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
                helo: self.hostname.clone(),
                protocol: "ESMTP",
                bare_newlines: 0,
                client_gone: ClientGone::default(),
                lease: Lease::default(),
            };
            let relay = Arc::clone(&self.relay);
            let reply = tokio::spawn(async move { relay.submit(submission).await }).await.map_err(died)?;
            let words = reply.lines.join(" ");
            if !reply.is_positive() {
                return Err(PortError(format!("{} {words}", reply.code)));
            }
            Ok(Submitted { words, message: self.record(org, &own::test_mail_id(&self.hostname, now)).await })
        })
    }
}

/// The key file, changed by one at a time.
struct KeyFile {
    path: PathBuf,
    keyring: Arc<ArcSwap<Keyring>>,
    changing: Arc<tokio::sync::Mutex<()>>,
}

impl KeyFile {
    fn entries(&self) -> Vec<KeyEntry> {
        let keyring = self.keyring.load();
        let current = keyring.current_key();
        let entry = |key: &crate::token::RootKey| KeyEntry {
            id: key.id,
            created_at_ms: key.created.as_millisecond(),
            current: current == Some(key.id),
            revoked: key.revoked.is_some(),
        };
        keyring.keys().iter().map(entry).collect()
    }
}

impl Keys for KeyFile {
    fn list(&self) -> BoxFuture<'_, Result<Vec<KeyEntry>, PortError>> {
        Box::pin(async move { Ok(self.entries()) })
    }

    fn rotate(&self) -> BoxFuture<'_, Result<KeyEntry, PortError>> {
        Box::pin(async move {
            let _one_at_a_time = self.changing.lock().await;
            let (path, old) = (self.path.clone(), self.keyring.load_full());
            let rotated = tokio::task::spawn_blocking(move || key_file::rotate(&path, &old, Timestamp::now()));
            let rotated = rotated.await.map_err(died)?.map_err(|error| PortError(error.to_string()))?;
            self.keyring.store(Arc::new(rotated));
            let current = self.entries().into_iter().find(|key| key.current);
            current.ok_or_else(|| PortError("the key file has no key in use".to_owned()))
        })
    }

    fn revoke(&self, id: u8) -> BoxFuture<'_, Result<KeyEntry, PortError>> {
        Box::pin(async move {
            let _one_at_a_time = self.changing.lock().await;
            let (path, old) = (self.path.clone(), self.keyring.load_full());
            let revoked = tokio::task::spawn_blocking(move || key_file::revoke(&path, &old, id, Timestamp::now()));
            let revoked = revoked.await.map_err(died)?.map_err(|error| PortError(error.to_string()))?;
            self.keyring.store(Arc::new(revoked));
            let entry = self.entries().into_iter().find(|key| key.id == id);
            entry.ok_or_else(|| PortError(format!("the key file has no key {id}")))
        })
    }
}

//! The drill: both stores are gone, the key file is there, and every link ever sent works. Without the key file none
//! does, and waxseal says so instead of making a new one.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use waxseal::event::EventKind;
use waxseal::geo::Geo;
use waxseal::settings::{Mode, Tracking};
use waxseal::store::history::SqliteHistory;
use waxseal::store::settings::SledSettings;
use waxseal::store::{
    Change, HISTORY_FILE, HistoryStore as _, KEYS_FILE, Override, SETTINGS_FOLDER, SettingsStore as _, TimelineFilter,
    history, key_file, settings,
};
use waxseal::token::{Keyring, Kind, MessageId, TokenId};
use waxseal::web;

const FIRST_URL: &str = "http://127.0.0.1:8025";
const ALL: Tracking = Tracking { opens: Mode::Individual, links: Mode::Individual, text_links: false };
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A site with real stores in one folder.
struct Running {
    addr: SocketAddr,
    settings: Arc<SledSettings>,
    history: Arc<SqliteHistory>,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn start(folder: &Path, keyring: Keyring) -> Running {
        let settings = SledSettings::open(&folder.join(SETTINGS_FOLDER), &settings::Options::default()).unwrap();
        let history = SqliteHistory::open(&folder.join(HISTORY_FILE), &history::Options::default()).unwrap();
        let (settings, history) = (Arc::new(settings), Arc::new(history));
        let deps = web::Deps {
            keyring: Arc::new(ArcSwap::from_pointee(keyring)),
            settings: settings.clone(),
            history: history.clone(),
            geo: Arc::new(Geo::none()),
            counters: Arc::default(),
            privacy: web::Privacy::under(ALL, settings.clone()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(web::serve(listener, deps, web::Options::default(), stopped));
        Running { addr, settings, history, stop, serving }
    }

    /// Status line and headers for the path in one of our URLs.
    async fn head_of(&self, url: &str) -> String {
        let (host, path) = url.split_once("://").unwrap().1.split_once('/').unwrap();
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).await.unwrap();
        String::from_utf8_lossy(&octets).split("\r\n\r\n").next().unwrap().to_owned()
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap().unwrap();
    }
}

/// Twenty links as a message would carry them.
fn links(keyring: &Keyring) -> Vec<(String, String)> {
    let sealer = keyring.sealer(keyring.default_site().unwrap().id, keyring.current_key().unwrap()).unwrap();
    (0..20)
        .map(|link| {
            let destination = format!("https://example.com/{link}?a=1&b=%20#x");
            let id = TokenId { message: MessageId(0xfeed), recipient: 9, link };
            (sealer.url(Kind::Click, id, destination.as_bytes()), destination)
        })
        .collect()
}

async fn assert_all_lead_there(site: &Running, links: &[(String, String)]) {
    for (url, destination) in links {
        let head = site.head_of(url).await;
        assert!(head.starts_with("HTTP/1.1 302 "), "{url}: {head}");
        assert!(head.lines().any(|line| line == format!("location: {destination}")), "{url}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_link_works_without_the_stores_and_none_without_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join(KEYS_FILE);
    let first = key_file::open(&keys, FIRST_URL, NOW).unwrap();
    let old = links(&first);
    let rotated = key_file::rotate(&keys, &first, NOW).unwrap();
    let all: Vec<_> = old.iter().cloned().chain(links(&rotated)).collect();
    let site = Running::start(folder.path(), rotated).await;
    assert_all_lead_there(&site, &all).await;
    site.end().await;

    std::fs::remove_dir_all(folder.path().join(SETTINGS_FOLDER)).unwrap();
    for end in ["", "-wal", "-shm"] {
        let file = folder.path().join(format!("{HISTORY_FILE}{end}"));
        assert!(std::fs::remove_file(&file).is_ok() || !file.exists());
    }
    // Meanwhile the site has moved to another host, too.
    let again = key_file::open(&keys, "https://t.example.com", NOW).unwrap();
    let site = Running::start(folder.path(), again).await;
    assert_all_lead_there(&site, &all).await;
    site.end().await;

    std::fs::remove_file(&keys).unwrap();
    let error = key_file::open(&keys, "https://t.example.com", NOW).unwrap_err().to_string();
    assert!(error.contains("backup") && !keys.exists(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_is_in_force_after_a_restart_and_its_clicks_are_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = || key_file::open(&folder.path().join(KEYS_FILE), FIRST_URL, NOW).unwrap();
    let (url, _) = links(&keyring()).remove(3);
    let site = Running::start(folder.path(), keyring()).await;
    let moved = Override::Destination("https://example.org/mended".to_owned());
    site.settings.change(vec![Change::PutOverride(MessageId(0xfeed), 3, moved)]).await.unwrap();
    site.end().await;

    let site = Running::start(folder.path(), keyring()).await;
    assert!(site.head_of(&url).await.contains("location: https://example.org/mended\r\n"));
    let history = site.history.clone();
    site.end().await;
    let events = history.timeline(TimelineFilter { limit: 9, ..TimelineFilter::default() }).await.unwrap();
    let [click] = &events[..] else { panic!("one click was made, read {events:?}") };
    assert_eq!((click.event.kind, click.event.id.link), (EventKind::Click, 3));
}

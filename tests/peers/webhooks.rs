//! Webhooks against the library of the specification, through kills of waxseal and outages of the receiver: every event
//! arrives, each under one id, every signature is good.
#![expect(clippy::disallowed_methods, reason = "these tests have no runtime to block")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::scenarios::first_light::submit;
use crate::support::process::{Installation, PUBLIC_URL, free_port};
use crate::support::unsplice::{clicks, http, pixels};

const AGENT: [(&str, &str); 1] =
    [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0")];
const ROUNDS: usize = 6;
/// Generous: everything shares two processors with every other test.
const ARRIVAL_MAX: Duration = Duration::from_secs(120);

/// The receiver, on one port through all its lives.
struct Receiver {
    addr: SocketAddr,
    secret: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Receiver {
    fn up(&mut self) {
        let peers = std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that install.sh filled");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/webhook_receiver.js");
        let before = self.lines().iter().filter(|line| *line == "ready").count();
        let child = Command::new("node")
            .arg(script)
            .args([&self.addr.port().to_string(), &self.secret])
            .arg(&self.log)
            .env("NODE_PATH", Path::new(&peers).join("node_modules"))
            .spawn()
            .unwrap();
        self.child = Some(child);
        soon("the receiver", || self.lines().iter().filter(|line| *line == "ready").count() > before);
    }

    fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The ids under which each event came.
    fn heard(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut heard: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in self.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            assert_ne!(words[0], "bad", "a signature was refused: {line}");
            if let ["good", id, topic, recipient] = words[..] {
                heard.entry(format!("{topic} {recipient}")).or_default().insert(id.to_owned());
            }
        }
        heard
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.down();
    }
}

fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + ARRIVAL_MAX;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn copy_for(inbox: &Path, who: &str) -> Vec<u8> {
    let find = || {
        fs::read_dir(inbox).ok()?.flatten().map(|entry| entry.path()).find_map(|path| {
            let is_theirs = path.extension().is_some_and(|e| e == "toml")
                && fs::read_to_string(&path).is_ok_and(|text| text.contains(who));
            is_theirs.then(|| fs::read(path.with_extension("eml")).unwrap())
        })
    };
    soon("a copy", || find().is_some());
    find().unwrap()
}

#[test]
#[ignore = "needs Node and standardwebhooks"]
fn every_event_arrives_under_one_id_whoever_dies_in_between() {
    let waxseal = Installation::inbox("[webhooks]\nallow_private = true\nretry_secs = [1, 2]\n");
    let mut process = waxseal.start();
    let addr = free_port();
    let made = waxseal.cli(&["webhook", "add", &format!("http://{addr}/in"), "--org", "default", "--words", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let secret = made["secret"].as_str().unwrap().to_owned();
    let mut receiver = Receiver { addr, secret, log: waxseal.path("heard"), child: None };

    let mut expected = BTreeSet::new();
    for round in 0..ROUNDS {
        // Up in every other round; waxseal dies in each, right behind an event.
        if round % 2 == 0 {
            receiver.up()
        } else {
            receiver.down()
        }
        let who = format!("reader{round}@x.test");
        let mail = format!(
            "From: ana@example.com\r\nTo: {who}\r\nSubject: Round {round}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/html; charset=utf-8\r\n\r\n<p><a href=\"https://shop.example/{round}\">offer</a></p>\r\n"
        );
        let answer = submit(waxseal.smtp, "ana@example.com", &[&who], &mail);
        assert!(answer.starts_with("250"), "{answer}\n{}", waxseal.log());
        let copy = copy_for(&waxseal.data().join("inbox"), &who);
        let recorded = || waxseal.cli(&["events", "--json"]).matches(&who).count();
        for (number, path) in [pixels(&copy, PUBLIC_URL), clicks(&copy, PUBLIC_URL)].concat().iter().enumerate() {
            assert!(matches!(http(waxseal.tracking, "GET", path, &AGENT).status, 200 | 302));
            // On record: from now on it must arrive.
            soon("the event on record", || recorded() > number);
        }
        expected.insert(format!("message.opened {who}"));
        expected.insert(format!("message.clicked {who}"));
        process.kill();
        process = waxseal.start();
    }
    receiver.down();
    receiver.up();
    // Down for a while, waxseal has lost patience with it: it is tried less often, and yet again.
    waxseal.cli(&["webhook", "test", made["id"].as_str().unwrap()]);
    soon("every event", || {
        let heard = receiver.heard();
        expected.iter().all(|event| heard.contains_key(event))
    });
    for (event, ids) in receiver.heard() {
        assert_eq!(ids.len(), 1, "{event} came under {ids:?}");
    }
    drop(process);
}

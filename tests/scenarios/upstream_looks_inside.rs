//! Upstream follows links and loads pictures of the mail it is just being handed: no reader has it yet, however long that
//! takes and whenever it happens. And each recipient's own answer is what its readers are judged by.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::first_light::{submit, wait_for};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, pixels};
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};

const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: readers@x.test\r\nSubject: The offer\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/html; charset=utf-8\r\n\r\n\
    <html><body><p>See <a href=\"https://shop.example/offer\">the offer</a></p></body></html>\r\n";
const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";
/// How long a slow upstream thinks: longer than everything around it takes on a busy machine.
const SLOW: Duration = Duration::from_secs(4);
/// Answers what is held for so long.
const HURRIED: &str = "[spool]\nbudget_secs = 1\n";

struct Scene {
    upstream: ScriptedUpstream,
    relay: Running,
    /// Last: upstream runs in it.
    _runtime: Runtime,
}

fn scene(script: Script, more: &str) -> Scene {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = runtime.block_on(ScriptedUpstream::start(script));
    let web = "trusted_proxies = [\"127.0.0.1\"]";
    let relay = Running::start_with_web(Upstream::Smtp(upstream.addr()), web, more);
    Scene { upstream, relay, _runtime: runtime }
}

impl Scene {
    /// The content of the mail that upstream was handed as the `nth`, from 1, whole; answered or not.
    fn in_hand(&self, nth: usize) -> Vec<u8> {
        wait_for(|| self.upstream.mails().get(nth - 1).filter(|mail| mail.complete).map(|mail| mail.content.clone()))
    }

    /// What a scanner of upstream's does with a copy, with a browser's agent, from a network nobody knows.
    fn look_into(&self, copy: &[u8]) {
        let public_url = self.relay.public_url();
        for path in pixels(copy, &public_url).into_iter().chain(clicks(copy, &public_url)) {
            let headers = [("X-Forwarded-For", "203.0.113.60"), ("User-Agent", FIREFOX)];
            assert!(http(self.relay.tracking, "GET", &path, &headers).status < 400);
        }
    }

    /// Verdict and rule of what is on record, once there are so many.
    fn events(&self, at_least: usize) -> Vec<(String, String)> {
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        wait_for(|| {
            let told = self.relay.cli(&["events", "--json"]);
            let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            (events.len() >= at_least)
                .then(|| events.iter().map(|event| (text(event, "verdict"), text(event, "rule"))).collect())
        })
    }

    fn history(&self) -> Connection {
        let connection = Connection::open(self.relay.folder().join("data/history.sqlite")).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection
    }

    /// State and time of every recipient, by address.
    fn deliveries(&self) -> Vec<(String, String, i64)> {
        let connection = self.history();
        let mut select = connection.prepare("SELECT address, state, at_ms FROM recipient ORDER BY address").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    fn wait_for_state(&self, state: &str) {
        wait_for(|| self.deliveries().iter().all(|(_, at, _)| at == state).then_some(()));
    }
}

fn instant() -> Vec<(String, String)> {
    vec![("machine".to_owned(), "instant".to_owned()); 2]
}

/// The first copy is taken at once, the second one four seconds later: each has its own moment.
#[test]
fn each_recipient_has_the_moment_of_its_own_answer() {
    let scene = scene(Script::new().on_nth(At::Dot, 2, [Act::Wait(SLOW), Act::Default]), "");
    assert!(submit(scene.relay.smtp, "ana@example.com", &["a@x.test", "b@x.test"], MAIL).starts_with("250"));
    scene.wait_for_state("accepted");
    let taken: Vec<i64> = scene.deliveries().into_iter().map(|(_, _, at_ms)| at_ms).collect();
    // Copies leave in the order of their recipients.
    assert!(taken[1] - taken[0] >= 3_500, "{taken:?}");
}

/// It holds the dot longer than the client is kept waiting, and looks into the mail meanwhile.
#[test]
fn an_answer_that_outlives_the_client_is_still_awaited() {
    let scene = scene(Script::new().on(At::Dot, [Act::Wait(SLOW), Act::Default]), HURRIED);
    let answer = submit(scene.relay.smtp, "ana@example.com", &["a@x.test"], MAIL);
    assert!(answer.starts_with("250") && answer.contains("queued as"), "{answer}");
    let stands = wait_for(|| {
        let one = "SELECT concat(state, ': ', reply) FROM recipient WHERE reply != ''";
        scene.history().query_row(one, [], |row| row.get::<_, String>(0)).ok()
    });
    assert_eq!(stands, "pending: the answer of upstream is awaited");
    scene.look_into(&scene.in_hand(1));
    assert_eq!(scene.events(2), instant());
    scene.wait_for_state("accepted");
}

/// Put off, and handed over again an hour later: it looks into the mail before it takes it.
#[test]
fn a_second_try_an_hour_later_is_on_its_way_again() {
    let scene = scene(Script::new().answer(At::Dot, "", "451 4.7.1 greylisted"), "");
    let answer = submit(scene.relay.smtp, "ana@example.com", &["a@x.test"], MAIL);
    assert!(answer.starts_with("250") && answer.contains("queued as"), "{answer}");
    scene.wait_for_state("deferred");
    let aged = scene.history().execute("UPDATE recipient SET at_ms = at_ms - 3600000", []).unwrap();
    assert_eq!(aged, 1);
    scene.upstream.change(Script::new().on(At::Dot, [Act::Wait(SLOW), Act::Default]));
    let list = scene.relay.cli(&["queue", "list"]);
    let id = list.lines().nth(1).unwrap().split(' ').next().unwrap();
    scene.relay.cli(&["queue", "retry", id]);
    scene.look_into(&scene.in_hand(2));
    assert_eq!(scene.events(2), instant());
    scene.wait_for_state("accepted");
}

/// A drop is about those who wait: who has the mail has it since then.
#[test]
fn a_drop_leaves_the_others_moment_alone() {
    let scene = scene(Script::new().answer(At::Rcpt, "b@x.test", "450 4.2.0 later"), "");
    let answer = submit(scene.relay.smtp, "ana@example.com", &["a@x.test", "b@x.test"], MAIL);
    assert!(answer.starts_with("250"), "{answer}");
    let before = wait_for(|| Some(scene.deliveries()).filter(|all| all[1].1 == "deferred"));
    assert_eq!(before[0].1, "accepted");
    let list = scene.relay.cli(&["queue", "list"]);
    let id = list.lines().nth(1).unwrap().split(' ').next().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    scene.relay.cli(&["queue", "drop", id, "--yes"]);
    let after = scene.deliveries();
    assert_eq!(after[0], before[0]);
    assert_eq!(after[1].1, "refused");
    assert!(after[1].2 > before[1].2);
}

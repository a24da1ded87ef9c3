//! Readers behind a proxy open and click; what is recorded of them is what their organisation says, in the dashboard, on the
//! command line or in the file: places, refusals, rules, raw evidence, and in aggregate mode nothing that tells them apart.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::Value;

use super::first_light::{copy_for, submit, wait_for};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, pixels};

const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: readers@x.test\r\nSubject: The offer\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/html; charset=utf-8\r\n\r\n\
    <html><body><p>See <a href=\"https://shop.example/offer\">the offer</a></p></body></html>\r\n";
const THUNDERBIRD: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0";
const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";
/// In the test database: Turin in Italy, and nowhere.
const TURIN: &str = "192.0.2.77";
const NOWHERE: &str = "203.0.114.9";
const BEHIND_A_PROXY: &str = "trusted_proxies = [\"127.0.0.1\"]";

fn databases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo")
}

fn cities() -> String {
    format!("[geo]\ndatabase = \"{}\"\n", databases().join("cities-test.mmdb").display())
}

/// A mail to each of these, and what is in the copy of each: pixel and link.
fn sent(relay: &Running, to: &[&str]) -> Vec<(String, String)> {
    let answer = submit(relay.smtp, "ana@example.com", to, MAIL);
    assert!(answer.starts_with("250"), "{answer}");
    let of = |who: &&str| {
        let copy = copy_for(relay, who);
        (pixels(&copy, &relay.public_url()).remove(0), clicks(&copy, &relay.public_url()).remove(0))
    };
    to.iter().map(of).collect()
}

fn ask(relay: &Running, path: &str, address: &str, more: &[(&str, &str)]) {
    let mut headers = vec![("X-Forwarded-For", address), ("User-Agent", THUNDERBIRD)];
    headers.extend(more);
    assert!(http(relay.tracking, "GET", path, &headers).status < 400);
}

/// The events on record, once there are so many.
fn events(relay: &Running, at_least: usize) -> Vec<Value> {
    wait_for(|| {
        let told = relay.cli(&["events", "--json"]);
        let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (events.len() >= at_least).then_some(events)
    })
}

/// By the file: no city, no `declared`, and read-only for everybody else. By the command line: refusals and evidence.
#[test]
fn what_the_file_and_the_command_line_say_takes_effect() {
    let more = format!("place = \"country\"\nrules_off = [\"declared\"]\n{}", cities());
    let relay = Running::start_with_web(Upstream::Inbox, BEHIND_A_PROXY, &more);
    let shown = relay.cli(&["org", "show", "default"]);
    assert!(shown.contains("place (config.toml): country"), "{shown}");
    assert!(shown.contains("rules_off (config.toml): declared") && shown.contains("honour_gpc: on"), "{shown}");
    for change in [["--place", "city"], ["--rule-off", "instant"]] {
        let out = relay.cli_with(&["org", "set", "default", change[0], change[1]], "");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.contains("is managed in config.toml"), "{said}");
    }
    let copies = sent(&relay, &["one@x.test", "two@x.test", "three@x.test"]);
    let (gpc, dnt) = ([("Sec-GPC", "1")], [("DNT", "1")]);
    ask(&relay, &copies[0].0, TURIN, &gpc);
    ask(&relay, &copies[0].1, TURIN, &dnt);
    // What says that it is a machine, which no rule goes by any more; `0` is no refusal.
    http(relay.tracking, "GET", &copies[1].0, &[("X-Forwarded-For", TURIN), ("User-Agent", "curl/8"), ("DNT", "0")]);
    let first = events(&relay, 1);
    let [event] = &first[..] else { panic!("one event, not {first:?}") };
    assert_eq!((&event["recipient"], &event["verdict"]), (&"two@x.test".into(), &"person".into()));
    assert_eq!((&event["country"], &event["city"], &event["address"]), (&"IT".into(), &Value::Null, &Value::Null));

    relay.cli(&["org", "set", "default", "--honour-gpc", "false", "--raw-evidence", "true"]);
    ask(&relay, &copies[2].0, TURIN, &gpc);
    let event = events(&relay, 2).remove(1);
    assert_eq!((&event["recipient"], &event["address"]), (&"three@x.test".into(), &TURIN.into()));
    assert_eq!(event["agent"], THUNDERBIRD);
    let told = relay.cli(&["events"]);
    assert!(told.contains("three@x.test opened  (Thunderbird · Linux · PC; Italy; 192.0.2.77, Mozilla/5.0"), "{told}");
}

/// A database that is put there later is used without a restart; until then places are unknown, which is no error.
#[test]
fn a_database_may_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("places.mmdb");
    let geo = format!("[geo]\ndatabase = \"{}\"\n", database.display());
    let mut relay = Running::start_with_web(Upstream::Inbox, BEHIND_A_PROXY, &geo);
    let copies = sent(&relay, &["one@x.test", "two@x.test"]);
    ask(&relay, &copies[0].0, TURIN, &[]);
    assert_eq!(events(&relay, 1)[0]["country"], Value::Null);
    std::fs::copy(databases().join("cities-test.mmdb"), &database).unwrap();
    relay.reload();
    ask(&relay, &copies[1].0, TURIN, &[]);
    assert_eq!(events(&relay, 2)[1]["city"], "Turin");
}

/// Three readers, three networks, two programs, an hour of the day: in aggregate mode none of it is in the database.
#[test]
fn aggregate_mode_keeps_nothing_per_recipient() {
    let relay = Running::start_with_web(Upstream::Inbox, BEHIND_A_PROXY, &cities());
    relay.cli(&["org", "set", "default", "--opens", "aggregate", "--links", "aggregate", "--raw-evidence", "true"]);
    let copies = sent(&relay, &["one@x.test", "two@x.test", "three@x.test"]);
    assert!(copies.iter().all(|copy| *copy == copies[0]), "one token for all of them");
    for (copy, address) in copies.iter().zip([TURIN, NOWHERE, "198.51.100.200"]) {
        ask(&relay, &copy.0, address, &[]);
        http(relay.tracking, "GET", &copy.1, &[("X-Forwarded-For", address), ("User-Agent", FIREFOX)]);
    }
    let seen = events(&relay, 6);
    assert!(seen.iter().all(|event| event["recipient"].is_null()), "{seen:?}");
    let list = relay.cli(&["message", "list"]);
    assert!(list.contains("  3  "), "{list}");
    let figures: Value = serde_json::from_str(&relay.cli(&["figures", "--days", "2", "--json"])).unwrap();
    let sum = |key: &str| figures["days"].as_array().unwrap().iter().map(|day| day[key].as_i64().unwrap()).sum::<i64>();
    assert_eq!((sum("opens"), sum("clicks"), sum("machine_opens")), (3, 3, 0), "{figures}");
    let folder = relay.stop();
    let data = folder.path().join("data");
    let connection = Connection::open(data.join("history.sqlite")).unwrap();
    let rows = |sql: &str| -> Vec<String> {
        let mut select = connection.prepare(sql).unwrap();
        let rows = select.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    // Six events, of which one can tell the day, what was opened, and the verdict; nothing else.
    let told = rows(
        "SELECT concat_ws(' ', count(*), count(DISTINCT recipient), sum(at_ms % 86400000), verdict, rule)
         FROM event GROUP BY verdict, rule",
    );
    assert_eq!(told, ["6 1 0 person "]);
    let personal = "country, city, via, agent_family, os_family, device_family, network_hash, address, agent";
    assert_eq!(
        rows(&format!("SELECT coalesce({personal}) FROM event WHERE coalesce({personal}) IS NOT NULL")),
        [""; 0]
    );
    let columns = rows("SELECT name FROM pragma_table_info('event')");
    let impersonal =
        ["sequence", "at_ms", "message", "recipient", "link", "kind", "verdict", "rule", "former", "repeats"];
    let unexplained: Vec<&String> = columns
        .iter()
        .filter(|name| !impersonal.contains(&name.as_str()) && !personal.contains(name.as_str()))
        .collect();
    assert!(unexplained.is_empty(), "what is in {unexplained:?}?");
    // Nor anywhere in the files, log and free pages included.
    for name in ["history.sqlite", "history.sqlite-wal"] {
        let octets = std::fs::read(data.join(name)).unwrap_or_default();
        for trace in [TURIN, NOWHERE, "Thunderbird", "Firefox", "Turin", "Windows"] {
            assert!(!octets.windows(trace.len()).any(|part| part == trace.as_bytes()), "{trace} is in {name}");
        }
    }
}

/// More recipients than get copies of their own: what their one copy brings is one of them, and neither where nor when.
#[test]
fn a_copy_for_many_tells_of_nobody() {
    let more = format!("[spool]\nsplit_recipients_max = 2\n{}", cities());
    let relay = Running::start_with_web(Upstream::Inbox, BEHIND_A_PROXY, &more);
    let copies = sent(&relay, &["one@x.test", "two@x.test", "three@x.test"]);
    assert!(copies.iter().all(|copy| *copy == copies[0]), "one copy for all of them");
    ask(&relay, &copies[0].0, TURIN, &[]);
    let event = events(&relay, 1).remove(0);
    assert_eq!(
        (&event["recipient"], &event["country"], &event["verdict"]),
        (&Value::Null, &Value::Null, &"person".into())
    );
    assert!(event["at"].as_str().unwrap().contains("T00:00:00"), "{event}");
    let shown = relay.cli(&["message", "show", event["message"].as_str().unwrap()]);
    assert!(shown.contains("counted only: with so many recipients copies are shared"), "{shown}");
    let alone = sent(&relay, &["four@x.test", "five@x.test"]);
    assert_ne!(alone[0], alone[1], "these are few enough");
}

/// A proxy that speaks the PROXY protocol, both versions; and one whose header is the RFC's.
#[test]
fn proxies_say_whom_they_speak_for_as_the_file_says() {
    let web = format!("{BEHIND_A_PROXY}\nproxy_protocol = true");
    let relay = Running::start_with_web(Upstream::Inbox, &web, &cities());
    let (pixel, click) = sent(&relay, &["one@x.test"]).remove(0);
    let version_1 = format!("PROXY TCP4 {TURIN} 198.51.100.1 4711 80\r\n");
    let version_2 =
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[192, 0, 2, 78, 127, 0, 0, 1, 1, 1, 2, 2]].concat();
    for (header, path) in [(version_1.as_bytes(), &pixel), (&version_2, &click)] {
        let answer = raw(relay.tracking, header, path, "X-Forwarded-For: 203.0.114.9\r\n");
        assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 302"), "{answer}");
    }
    assert_eq!(raw(relay.tracking, b"", &pixel, ""), "", "without the header nobody is answered");
    let seen = events(&relay, 2);
    assert!(seen.iter().all(|event| event["city"] == "Turin"), "{seen:?}");

    let web = format!("{BEHIND_A_PROXY}\nforwarded_by = \"forwarded\"");
    let relay = Running::start_with_web(Upstream::Inbox, &web, &cities());
    let (pixel, _) = sent(&relay, &["one@x.test"]).remove(0);
    raw(relay.tracking, b"", &pixel, &format!("X-Forwarded-For: {NOWHERE}\r\nForwarded: for={TURIN};proto=https\r\n"));
    assert_eq!(events(&relay, 1)[0]["city"], "Turin");
}

/// One request with these octets before it and these lines in it; the answer as text, empty when there is none.
fn raw(addr: SocketAddr, before: &[u8], path: &str, lines: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: track.example\r\nUser-Agent: {FIREFOX}\r\n{lines}Connection: close\r\n\r\n"
    );
    stream.write_all(&[before, head.as_bytes()].concat()).unwrap();
    let mut answer = Vec::new();
    // A connection that is closed on an unread request is reset: nobody was answered either.
    if stream.read_to_end(&mut answer).is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&answer).into_owned()
}

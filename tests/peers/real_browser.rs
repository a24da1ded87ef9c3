//! A real reader in a real Chromium, behind a proxy that says where they are, with a real database of places: the open and the
//! click are a person's, in that country. Prefetching, HEAD and curl are not.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::places;
use crate::scenarios::first_light::{copy_for, submit, wait_for};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, pixels};

/// RIPE NCC, in the Netherlands.
const READER: &str = "193.0.6.139";
const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: readers@x.test\r\nSubject: The offer\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/html; charset=utf-8\r\n\r\n\
    <!DOCTYPE html><html><body><p>See <a href=\"http://shop.example/offer?a=1&amp;b=2\">the offer</a></p></body></html>\r\n";

#[test]
#[ignore = "needs Chromium, Node, playwright-core, curl and the databases of places from npm"]
fn a_reader_in_a_real_browser_is_a_person_in_their_country() {
    let geo = format!("[geo]\ndatabase = \"{}\"\n", places::countries().display());
    let relay = Running::start_with_web(Upstream::Inbox, "trusted_proxies = [\"127.0.0.1\"]", &geo);
    let to = ["reader@x.test", "ahead@x.test", "curl@x.test", "head@x.test"];
    let answer = submit(relay.smtp, "ana@example.com", &to, MAIL);
    assert!(answer.starts_with("250"), "{answer}");
    let copies: Vec<Vec<u8>> = to.iter().map(|who| copy_for(&relay, who)).collect();
    let url = relay.public_url();
    let tracked = |number: usize| (pixels(&copies[number], &url).remove(0), clicks(&copies[number], &url).remove(0));

    let mail = relay.folder().join("mail.html");
    let html = String::from_utf8(copies[0].clone()).unwrap();
    std::fs::write(&mail, html.split_once("\r\n\r\n").unwrap().1).unwrap();
    let ahead = relay.folder().join("ahead.html");
    let link = format!("<!DOCTYPE html><link rel=prefetch href=\"{url}{}\"><p>A page</p>", tracked(1).1);
    std::fs::write(&ahead, link).unwrap();
    let told = browse(&relay, &mail, &ahead);
    assert_eq!(told["title"], "arrived at shop.example/offer?a=1&b=2");

    let (pixel, click) = tracked(2);
    for path in [&pixel, &click] {
        let curl = Command::new("curl")
            .args(["-sS", "-o", "/dev/null", "-H", &format!("X-Forwarded-For: {READER}")])
            .arg(format!("http://{}{path}", relay.tracking))
            .status();
        assert!(curl.unwrap().success());
    }
    let (pixel, click) = tracked(3);
    for path in [&pixel, &click] {
        http(
            relay.tracking,
            "HEAD",
            path,
            &[("X-Forwarded-For", READER), ("User-Agent", "Mozilla/5.0 (X11) Firefox/1")],
        );
    }

    let events: Vec<Value> = wait_for(|| {
        let told = relay.cli(&["events", "--json"]);
        let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (events.len() >= 5).then_some(events)
    });
    let seen: Vec<String> = events
        .iter()
        .map(|event| {
            ["recipient", "kind", "verdict", "rule", "country", "client"].map(|key| text(&event[key])).join(" ")
        })
        .collect();
    let person = |kind| format!("reader@x.test {kind} person  NL Chrome");
    let (declared, first) = ("machine declared NL", (person("open"), person("click")));
    assert_eq!((seen[0].clone(), seen[1].clone()), first, "{told}");
    assert_eq!(seen[2], "ahead@x.test click machine prefetch NL Chrome", "{told}");
    assert!(seen[3].starts_with(&format!("curl@x.test open {declared}")), "{}", seen[3]);
    assert!(seen[4].starts_with(&format!("curl@x.test click {declared}")), "{}", seen[4]);
    assert_eq!(seen.len(), 5, "HEAD is no event: {seen:?}");
    // What the sender reads of it.
    let shown = relay.cli(&["events"]);
    assert!(shown.contains("reader@x.test opened  (Chrome · Windows · PC; Netherlands)"), "{shown}");
    assert!(shown.contains("probably a machine: fetched before anybody looked"), "{shown}");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What the browser's script told.
fn browse(relay: &Running, mail: &Path, ahead: &Path) -> Value {
    let peers =
        std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled");
    let out = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/real_browser.js"))
        .args([&relay.tracking.to_string(), READER])
        .args([mail, ahead])
        .env("NODE_PATH", Path::new(&peers).join("node_modules"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

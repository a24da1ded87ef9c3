//! A sender narrows their own mail below the organisation: links and recipients when it is sent, places and addresses when
//! it is read. Others' mail stays as it was, and what the organisation locks does not count.

use std::path::Path;

use serde_json::Value;

use super::first_light::{copy_for, submit, wait_for};
use super::logins::plain;
use crate::support::client::{Client, Submission};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, pixels};

const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: bob@x.test\r\nSubject: The offer\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/html; charset=utf-8\r\n\r\n\
    <html><body><p><a href=\"https://shop.example/offer\">the offer</a> <a href=\"https://other.example/a\">www.other.example/a</a>\r\n\
    <a href=\"https://portal.example/me/7\">yours</a> <a href=\"https://other.example/b\">b</a></p></body></html>\r\n";
const THUNDERBIRD: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0";
/// In the test database: Turin in Italy.
const TURIN: &str = "192.0.2.77";
const ANA: &str = "ana@example.com";

/// Where addresses are known and kept, by an organisation that tracks everything.
fn relay() -> Running {
    let cities = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo/cities-test.mmdb");
    let more = format!("raw_evidence = true\n[geo]\ndatabase = \"{}\"\n", cities.display());
    let relay = Running::start_with_web(Upstream::Inbox, "trusted_proxies = [\"127.0.0.1\"]", &more);
    relay.add_user(ANA, "correct horse", "default");
    relay
}

/// A mail of Ana's, who logs in.
fn send(relay: &Running, to: &[&str]) {
    let mut client = Client::connect(relay.smtp).unwrap();
    assert_eq!(client.command(&plain(ANA, "correct horse")).unwrap().code, 235);
    let mut mail = Submission::new("less", &[]);
    mail.sender = ANA.to_owned();
    mail.recipients = to.iter().map(|to| (*to).to_owned()).collect();
    mail.content = MAIL.as_bytes().to_vec();
    assert_eq!(client.submit(&mail).code(), 250);
}

/// Pixels and links of one copy.
fn marks(relay: &Running, who: &str) -> (Vec<String>, Vec<String>) {
    let copy = copy_for(relay, who);
    (pixels(&copy, &relay.public_url()), clicks(&copy, &relay.public_url()))
}

fn counts(relay: &Running, who: &str) -> (usize, usize) {
    let (pixels, clicks) = marks(relay, who);
    (pixels.len(), clicks.len())
}

/// The newest message, as the command line shows it.
fn newest(relay: &Running) -> String {
    let list: Value = serde_json::from_str(&relay.cli(&["message", "list", "--json"])).unwrap();
    relay.cli(&["message", "show", list["messages"][0]["id"].as_str().unwrap()])
}

/// Somebody in Turin asks for this; how place and address of the newest event are kept, when there are so many.
fn read_in_turin(relay: &Running, path: &str, events: usize) -> (Value, Value, Value) {
    assert!(http(relay.tracking, "GET", path, &[("X-Forwarded-For", TURIN), ("User-Agent", THUNDERBIRD)]).status < 400);
    let told = wait_for(|| {
        let told = relay.cli(&["events", "--json"]);
        (told.lines().count() >= events).then_some(told)
    });
    let event: Value = serde_json::from_str(told.lines().nth(events - 1).unwrap()).unwrap();
    (event["country"].clone(), event["city"].clone(), event["address"].clone())
}

fn told(country: &str, city: Option<&str>, address: Option<&str>) -> (Value, Value, Value) {
    (country.into(), city.into(), address.into())
}

const EVERYTHING: [&str; 12] = [
    "--visible-urls",
    "leave",
    "--place",
    "country",
    "--raw-evidence",
    "off",
    "--exclude-recipient",
    "partner.test",
    "--exclude",
    "shop.example",
    "--leave-link",
    "portal.example/me",
];

#[test]
fn a_sender_takes_away_from_their_own_mail_alone() {
    let relay = relay();
    relay.cli(&[&["user", "tracking", ANA][..], &EVERYTHING].concat());
    send(&relay, &["one@x.test", "bob@mail.Partner.test"]);
    assert_eq!(counts(&relay, "one@x.test"), (1, 1), "the pixel, and b");
    assert_eq!(counts(&relay, "bob@mail.Partner.test"), (0, 0));
    let record = newest(&relay);
    for part in [
        "host shop.example is excluded by the sender",
        "(visible_urls = \"leave\" of the sender)",
        "links like portal.example/me are left (leave_links of the sender)",
        "recipient 2: not tracked: the sender excludes this recipient",
    ] {
        assert!(record.contains(part), "{part}: {record}");
    }
    // the printer's mail is the organisation's alone
    assert!(submit(relay.smtp, ANA, &["two@x.test", "cy@partner.test"], MAIL).starts_with("250"));
    assert_eq!((counts(&relay, "two@x.test"), counts(&relay, "cy@partner.test")), ((1, 4), (1, 4)));
    // as they are read: the country alone of hers
    assert_eq!(read_in_turin(&relay, &marks(&relay, "one@x.test").0[0], 1), told("IT", None, None));
    let (pixels, _) = marks(&relay, "two@x.test");
    assert_eq!(read_in_turin(&relay, &pixels[0], 2), told("IT", Some("Turin"), Some(TURIN)));
    // in shadow mode the same is told, and nothing is done
    relay.cli(&["user", "tracking", ANA, "--shadow", "true"]);
    send(&relay, &["three@x.test", "dan@partner.test"]);
    assert_eq!(counts(&relay, "three@x.test"), (0, 0));
    let record = newest(&relay);
    for part in [
        "shadow mode of the sender: would have tracked opens (individual) and 1 link (individual), of 1 of 2 recipients",
        "https://shop.example/offer: left: host shop.example is excluded by the sender",
        "recipient 2: not tracked: the sender excludes this recipient",
    ] {
        assert!(record.contains(part), "{part}: {record}");
    }
    let why = relay.cli(&["why", "--from", ANA, "--to", "dan@partner.test"]);
    for part in [
        "opens: off: the sender excludes this recipient (partner.test)",
        "place: country: the sender has chosen it",
        "excluded_hosts: shop.example (user)",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
}

#[test]
fn what_is_locked_does_not_count_and_comes_back() {
    let relay = relay();
    relay.cli(&[&["user", "tracking", ANA][..], &EVERYTHING].concat());
    send(&relay, &["one@x.test"]);
    let names = ["visible_urls", "place", "raw_evidence", "excluded_recipients", "excluded_hosts", "leave_links"];
    let locks: Vec<&str> = names.iter().flat_map(|name| ["--lock", name]).collect();
    relay.cli(&[&["org", "set", "default"][..], &locks].concat());
    send(&relay, &["two@x.test", "bob@partner.test"]);
    assert_eq!((counts(&relay, "two@x.test"), counts(&relay, "bob@partner.test")), ((1, 4), (1, 4)));
    // how events are kept goes by what is so when they come
    let (pixels, clicks) = marks(&relay, "one@x.test");
    assert_eq!(read_in_turin(&relay, &pixels[0], 1), told("IT", Some("Turin"), Some(TURIN)));
    let shown = relay.cli(&["user", "tracking", ANA]);
    let place = shown.lines().find(|line| line.starts_with("place")).unwrap();
    assert_eq!(place.split_whitespace().collect::<Vec<_>>(), ["place", "city", "country", "city", "locked"]);
    assert!(shown.contains("excluded_recipients (locked): partner.test"), "{shown}");
    let refused = relay.cli_with(&["user", "tracking", ANA, "--place", "follow"], "");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("place is locked"), "{refused:?}");

    relay.cli(&["org", "set", "default", "--lock", ""]);
    assert_eq!(read_in_turin(&relay, &clicks[0], 2), told("IT", None, None));
    // an empty list empties, and what is not named stays
    relay.cli(&["user", "tracking", ANA, "--exclude", "", "--visible-urls", "follow"]);
    send(&relay, &["three@x.test", "cy@partner.test"]);
    assert_eq!((counts(&relay, "three@x.test"), counts(&relay, "cy@partner.test")), ((1, 3), (0, 0)));
    // and stays through a stop
    let folder = relay.stop();
    let relay = Running::start_in(folder, Upstream::Inbox, "");
    let shown = relay.cli(&["user", "tracking", ANA]);
    assert!(shown.contains("excluded_recipients: partner.test") && shown.contains("leave_links: portal.example/me"));
}

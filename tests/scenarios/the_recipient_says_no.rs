//! A recipient presses "stop" on their page: the next mail comes as it was sent, the pixel of the old one records
//! nothing and is an image all the same, its link leads where it led. A restart and the loss of the history change
//! none of it.

use std::path::Path;

use waxseal::store::{HISTORY_FILE, KEYS_FILE, key_file};
use waxseal::token::{Kind, MessageId, PersonId, TokenId};

use super::first_light::{copy_for, submit, wait_for};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, http_post, pixels};

const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: bob@x.test, eve@x.test\r\nSubject: The offer\r\n\
    MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
    <html><body><p>See <a href=\"https://shop.example/offer\">the offer</a></p></body></html>\r\n";
const AGENT: [(&str, &str); 1] =
    [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0")];

/// The path of the page that a mail to this address of the org `default` would carry.
fn page(folder: &Path, address: &str) -> String {
    let keys = folder.join("data").join(KEYS_FILE);
    let keyring = key_file::open(&keys, "http://track.example", jiff::Timestamp::UNIX_EPOCH).unwrap();
    let person = PersonId::of(keyring.instance_key(), "default", address.as_bytes());
    let sealer = keyring.sealer(keyring.default_site().unwrap().id, keyring.current_key().unwrap()).unwrap();
    let id = TokenId { message: MessageId(1), recipient: 2, link: 0 };
    format!("/p/{}", sealer.seal(Kind::Preference, id, &person.payload("default")))
}

/// Opens and follows a copy; the link must lead on.
fn read(relay: &Running, copy: &[u8]) {
    for pixel in pixels(copy, &relay.public_url()) {
        let image = http(relay.tracking, "GET", &pixel, &AGENT);
        assert_eq!((image.status, image.body.len()), (200, 43));
    }
    for click in clicks(copy, &relay.public_url()) {
        let followed = http(relay.tracking, "GET", &click, &AGENT);
        assert_eq!((followed.status, followed.header("location")), (302, Some("https://shop.example/offer")));
    }
}

fn events(relay: &Running) -> String {
    relay.cli(&["events", "--json"])
}

/// A mail to somebody else is read, and its two events are on record: so is all that came before it.
fn all_on_record(relay: &Running, who: &str) -> String {
    assert!(submit(relay.smtp, "ana@example.com", &[who], MAIL).starts_with("250"));
    read(relay, &copy_for(relay, who));
    wait_for(|| Some(events(relay)).filter(|events| events.matches(who).count() >= 2))
}

#[test]
fn from_then_on_nothing_is_recorded() {
    let relay = Running::start(Upstream::Inbox, "");
    assert!(submit(relay.smtp, "ana@example.com", &["Bob@X.test", "eve@x.test"], MAIL).starts_with("250"));
    let bobs = copy_for(&relay, "Bob@X.test");
    let page = page(relay.folder(), "bob@x.test");
    let shown = http(relay.tracking, "GET", &page, &[]);
    let text = String::from_utf8(shown.body).unwrap();
    assert!(text.contains("whether and when you opened a mail") && !text.contains("x.test"), "{text}");
    assert_eq!(http_post(relay.tracking, &page, "choice=stop").status, 303);

    // the mail he has: served, not recorded
    read(&relay, &bobs);
    let recorded = all_on_record(&relay, "one@x.test");
    assert!(!recorded.to_lowercase().contains("bob@x.test"), "{recorded}");
    assert_eq!(recorded.matches("\"kind\"").count(), 2, "{recorded}");

    // the next mail, however his address is spelled: as it came, and the plan says why
    assert!(submit(relay.smtp, "ana@example.com", &["bob@x.test", "second@x.test"], MAIL).starts_with("250"));
    let copy = copy_for(&relay, "bob@x.test");
    let (ours, rest) = crate::support::postfix::split_first_field(&copy);
    assert!(ours.starts_with(b"Received: "));
    assert_eq!(String::from_utf8_lossy(rest), MAIL);
    assert_eq!(pixels(&copy_for(&relay, "second@x.test"), &relay.public_url()).len(), 1);
    let list: serde_json::Value = serde_json::from_str(&relay.cli(&["message", "list", "--json"])).unwrap();
    let told = relay.cli(&["message", "show", list["messages"][0]["id"].as_str().unwrap()]);
    assert!(told.contains("recipient 1: not tracked: the recipient said no"), "{told}");

    // after a restart
    let relay = Running::start_in(relay.stop(), Upstream::Inbox, "");
    read(&relay, &bobs);
    let recorded = all_on_record(&relay, "three@x.test");
    assert!(!recorded.to_lowercase().contains("bob@x.test"), "{recorded}");

    // with the history gone nobody can tell whose the copy was: nothing is kept of it
    let folder = relay.stop();
    for end in ["", "-wal", "-shm"] {
        let file = folder.path().join("data").join(format!("{HISTORY_FILE}{end}"));
        assert!(std::fs::remove_file(&file).is_ok() || !file.exists());
    }
    let relay = Running::start_in(folder, Upstream::Inbox, "");
    read(&relay, &bobs);
    assert!(submit(relay.smtp, "ana@example.com", &["BOB@x.test"], MAIL).starts_with("250"));
    assert!(pixels(&copy_for(&relay, "BOB@x.test"), &relay.public_url()).is_empty());
    let recorded = all_on_record(&relay, "four@x.test");
    assert_eq!(recorded.matches("\"kind\"").count(), 2, "{recorded}");

    // and back again
    let text = String::from_utf8(http(relay.tracking, "GET", &page, &[]).body).unwrap();
    assert!(text.contains("You said no"), "{text}");
    assert_eq!(http_post(relay.tracking, &page, "choice=allow").status, 303);
    assert!(submit(relay.smtp, "ana@example.com", &["boB@x.test"], MAIL).starts_with("250"));
    assert_eq!(pixels(&copy_for(&relay, "boB@x.test"), &relay.public_url()).len(), 1);
}

//! An organisation asks for consent: who has not agreed is not tracked, who agreed is, and the proof is kept. A footer
//! leads each recipient to their own page. One address is exported and made nobody's; its links go on working.

use serde_json::Value;

use super::first_light::{copy_for, submit, wait_for};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, http_post, pixels};

const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: bob@x.test\r\nSubject: The offer\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"alternatives\"\r\n\r\n\
    --alternatives\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSee https://shop.example/offer\r\n\
    --alternatives\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
    <html><body><p>See <a href=\"https://shop.example/offer\">the offer</a></p></body></html>\r\n\
    --alternatives--\r\n";
const AGENT: [(&str, &str); 1] =
    [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0")];

fn sent(relay: &Running, to: &[&str]) {
    let answer = submit(relay.smtp, "ana@example.com", to, MAIL);
    assert!(answer.starts_with("250"), "{answer}");
}

/// Pixels and clicks of the copy for this recipient.
fn tracked(relay: &Running, who: &str) -> (Vec<String>, Vec<String>) {
    let copy = copy_for(relay, who);
    (pixels(&copy, &relay.public_url()), clicks(&copy, &relay.public_url()))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The pages that a copy's footer leads to.
fn pages(copy: &[u8], relay: &Running) -> Vec<String> {
    let text = String::from_utf8_lossy(copy).into_owned();
    let before = format!("{}/p/", relay.public_url());
    let is_token = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
    text.split(&before)
        .skip(1)
        .map(|rest| format!("/p/{}", rest.chars().take_while(is_token).collect::<String>()))
        .collect()
}

#[test]
fn where_consent_is_required_only_who_agreed_is_tracked() {
    let relay = Running::start(Upstream::Inbox, "");
    relay.cli(&["consent", "rule", "--org", "default", "--consent", "required"]);
    let file = relay.folder().join("grants.csv");
    let rows = "address,at,source,wording\nYES@x.test,2026-01-02T03:04:05Z,web form,\"Yes, you may\"\n";
    std::fs::write(&file, rows).unwrap();
    let told = relay.cli(&["consent", "import", file.to_str().unwrap(), "--org", "default"]);
    assert!(told.starts_with("1 of 1 grants noted"), "{told}");
    sent(&relay, &["yes@x.test", "unasked@x.test"]);
    assert_eq!(tracked(&relay, "yes@x.test").0.len(), 1);
    assert_eq!(tracked(&relay, "unasked@x.test"), (vec![], vec![]));
    let shown = json(&relay.cli(&["consent", "show", "yes@x.test", "--org", "default", "--json"]));
    assert_eq!(
        (shown["says"].as_str(), shown["ledger"][0]["at"].as_str()),
        (Some("yes"), Some("2026-01-02T03:04:05.000Z"))
    );
    assert_eq!(shown["ledger"][0]["wording"], "Yes, you may");

    // counted as a whole, without who, where the organisation says so
    relay.cli(&["consent", "rule", "--org", "default", "--without-consent", "aggregate"]);
    sent(&relay, &["third@x.test", "fourth@x.test"]);
    assert_eq!(tracked(&relay, "third@x.test"), tracked(&relay, "fourth@x.test"));
    assert_eq!(tracked(&relay, "third@x.test").0.len(), 1);

    // taken back: at once, for the mail already there, too
    let given = ["--org", "default", "--source", "call"];
    relay.cli(&[&["consent", "withdraw", "yes@x.test"], &given[..]].concat());
    http(relay.tracking, "GET", &tracked(&relay, "yes@x.test").0[0], &AGENT);
    sent(&relay, &["Yes@x.test"]);
    assert_eq!(tracked(&relay, "Yes@x.test"), (vec![], vec![]));

    // what only the recipient may do, an admin cannot undo
    let page = shown["page_url"].as_str().unwrap().strip_prefix(&relay.public_url()).unwrap().to_owned();
    assert_eq!(http_post(relay.tracking, &page, "choice=stop").status, 303);
    let grant = [&["consent", "grant", "yes@x.test", "--wording", "yes"], &given[..]].concat();
    let refused = relay.cli_with(&grant, "");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("only they can take that back"));
    let list = json(&relay.cli(&["consent", "list", "--org", "default", "--json"]));
    assert_eq!((list.as_array().unwrap().len(), list[0]["says"].as_str()), (1, Some("no")));
    assert!(!list.to_string().contains("x.test"), "no address is kept");
}

#[test]
fn a_footer_leads_each_recipient_to_their_own_page() {
    let relay = Running::start(Upstream::Inbox, "");
    relay.cli(&["consent", "rule", "--org", "default", "--footer", "default", "--shown-name", "Ana & Co"]);
    relay.cli(&["org", "set", "default", "--opens", "aggregate", "--links", "aggregate"]);
    sent(&relay, &["one@x.test", "two@x.test"]);
    // counted together, and yet a page each: the same in both parts of a copy, another in the other copy
    assert_eq!(tracked(&relay, "one@x.test"), tracked(&relay, "two@x.test"));
    let of = |who: &str| pages(&copy_for(&relay, who), &relay);
    let (one, two) = (of("one@x.test"), of("two@x.test"));
    assert_eq!((one.len(), two.len()), (2, 2));
    assert!(one[0] == one[1] && two[0] == two[1] && one[0] != two[0], "{one:?} {two:?}");
    assert!(String::from_utf8(http(relay.tracking, "GET", &one[0], &[]).body).unwrap().contains("Ana &#38; Co"));
    assert_eq!(http_post(relay.tracking, &one[0], "choice=stop").status, 303);

    // who said no keeps the footer and gets nothing else; the other is counted as before
    sent(&relay, &["One@x.test", "Two@x.test"]);
    assert_eq!(tracked(&relay, "One@x.test"), (vec![], vec![]));
    assert_eq!(of("One@x.test").len(), 2);
    assert_eq!(tracked(&relay, "Two@x.test").0.len(), 1);
    // off again: not an octet
    relay.cli(&["consent", "rule", "--org", "default", "--footer", ""]);
    sent(&relay, &["oNe@x.test"]);
    let copy = copy_for(&relay, "oNe@x.test");
    assert_eq!(String::from_utf8_lossy(crate::support::postfix::split_first_field(&copy).1), MAIL);
}

#[test]
fn one_address_is_exported_and_made_nobodys() {
    let relay = Running::start(Upstream::Inbox, "");
    sent(&relay, &["Bob@x.test", "eve@x.test"]);
    let read = |who: &str| {
        let (pixels, clicks) = tracked(&relay, who);
        assert_eq!(http(relay.tracking, "GET", &pixels[0], &AGENT).status, 200);
        assert_eq!(http(relay.tracking, "GET", &clicks[0], &AGENT).status, 302);
    };
    let events = |least: usize| {
        let enough = |text: &String| text.matches("\"kind\"").count() >= least;
        wait_for(|| Some(relay.cli(&["events", "--json"])).filter(enough))
    };
    read("Bob@x.test");
    read("eve@x.test");
    events(4);
    let export = json(&relay.cli(&["privacy", "export", "bob@X.test"]));
    let mail = &export["mails"][0];
    assert_eq!((mail["subject"].as_str(), mail["address"].as_str()), (Some("The offer"), Some("Bob@x.test")));
    assert_eq!(mail["events"].as_array().unwrap().len(), 2);
    assert_eq!(json(&relay.cli(&["privacy", "export", "nobody@x.test"]))["mails"], Value::Array(vec![]));

    assert!(relay.cli(&["privacy", "erase", "bob@x.test", "--yes"]).contains("1 mails"));
    let after = relay.cli(&["privacy", "export", "bob@x.test"]);
    assert_eq!(json(&after)["mails"], Value::Array(vec![]), "{after}");
    let message = relay.cli(&["message", "show", mail["id"].as_str().unwrap(), "--json"]);
    assert!(!message.to_lowercase().contains("bob@x.test") && message.contains("eve@x.test"), "{message}");
    // links go on working, and nothing more is recorded of that copy
    read("Bob@x.test");
    sent(&relay, &["last@x.test"]);
    read("last@x.test");
    let recorded = wait_for(|| Some(events(4)).filter(|text| text.matches("last@x.test").count() >= 2));
    assert_eq!(recorded.matches("\"kind\"").count(), 6, "{recorded}");
    // nor does the address stand anywhere in the files, and a clean stop leaves no log of old pages
    let folder = relay.stop();
    let history = std::fs::read(folder.path().join("data/history.sqlite")).unwrap();
    let count = |address: &str| memchr::memmem::find_iter(&history, address).count();
    assert!(count("Bob@x.test") == 0 && count("eve@x.test") > 0);
    // It is empty, and not gone, where a question was still being answered.
    let log = std::fs::metadata(folder.path().join("data/history.sqlite-wal"));
    assert_eq!(log.map_or(0, |file| file.len()), 0);
}

//! In shadow mode a mail leaves as it came and its record says what would have been tracked; what a user chose does not
//! count while the organisation has locked it; excluded recipients and links get none of it.

use std::path::Path;

use super::first_light::{copy_for, submit, wait_for};
use super::logins::plain;
use crate::support::client::{Client, Submission};
use crate::support::postfix::split_first_field;
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, pixels};

const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: bob@x.test, eve@x.test\r\nSubject: The offer\r\n\
    MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
    <html><body><p>See <a href=\"https://shop.example/offer\">the offer</a>, <a href='https://shop.example/b?c=1&amp;d'>b</a>,\r\n\
    <a href=\"https://shop.example/account/7\">yours</a> and <a href=\"https://shop.example/x?token=1\">in</a></p></body></html>\r\n";

/// The newest message, as the command line shows it.
fn newest(relay: &Running) -> String {
    let list: serde_json::Value = serde_json::from_str(&relay.cli(&["message", "list", "--json"])).unwrap();
    relay.cli(&["message", "show", list["messages"][0]["id"].as_str().unwrap()])
}

fn came_as_it_was_sent(copy: &[u8], mail: &str) {
    let (ours, rest) = split_first_field(copy);
    assert!(ours.starts_with(b"Received: "));
    assert_eq!(String::from_utf8_lossy(rest), mail);
}

/// The pump has delivered the copy of this one.
fn is_there(folder: &Path, who: &str) -> bool {
    let mut files = std::fs::read_dir(folder.join("data/inbox")).unwrap().filter_map(Result::ok);
    files.any(|file| {
        let path = file.path();
        path.extension().is_some_and(|end| end == "toml")
            && path.with_extension("eml").exists()
            && std::fs::read_to_string(&path).is_ok_and(|text| text.contains(who))
    })
}

/// Files of the inbox that hold something of the tracking site.
fn token_anywhere(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder.join("data/inbox")).unwrap();
    files.filter_map(Result::ok).any(|file| {
        std::fs::read(file.path()).is_ok_and(|octets| String::from_utf8_lossy(&octets).contains("track.example"))
    })
}

#[test]
fn in_shadow_mode_mail_leaves_as_it_came_and_the_record_says_what_would_have_been() {
    let relay = Running::start(Upstream::Inbox, "shadow = true\nleave_links = [\"shop.example/account\"]\n");
    relay.cli(&["consent", "rule", "--org", "default", "--footer", "default"]);
    relay.cli(&["consent", "refuse", "eve@x.test", "--org", "default", "--source", "call"]);
    let quoted = MAIL.replace("See", "&gt; http://track.example/c/AQ See");
    assert!(submit(relay.smtp, "ana@example.com", &["bob@x.test", "eve@x.test"], &quoted).starts_with("250"));
    came_as_it_was_sent(&copy_for(&relay, "bob@x.test"), &quoted);
    came_as_it_was_sent(&copy_for(&relay, "eve@x.test"), &quoted);
    assert!(submit(relay.smtp, "ana@example.com", &["cy@x.test", "eve@x.test"], MAIL).starts_with("250"));
    came_as_it_was_sent(&copy_for(&relay, "cy@x.test"), MAIL);
    let told = newest(&relay);
    for part in [
        "shadow mode of the organisation: would have tracked opens (individual) and 2 links (individual), of 1 of 2 recipients",
        "shadow: part 0: https://shop.example/offer: tracked as link 1",
        "shadow: part 0: https://shop.example/account/7: left: links like shop.example/account are left",
        "shadow: part 0: https://shop.example/x?token=1: left: token link",
        "shadow: pixel: in part 0",
        "recipient 2: not tracked: the recipient said no",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("\nLINKS\n"), "no link of it can be changed: {told}");
    assert!(!told.contains("footer"), "{told}");

    // through the spool it is the same; then tracking begins with the next mail
    let plain_mail = "Subject: none\r\nFrom: ana@example.com\r\nX-Waxseal-Track: off\r\n\r\nhello\r\n";
    assert!(submit(relay.smtp, "ana@example.com", &["dan@x.test"], plain_mail).starts_with("250"));
    let told = newest(&relay);
    assert!(told.contains("would have tracked nothing"), "{told}");
    let told = relay.cli(&["org", "show", "default"]);
    assert!(told.contains("shadow (config.toml): on") && told.contains("leave_links (config.toml)"), "{told}");
}

#[test]
fn no_token_leaves_in_shadow_mode_also_through_the_spool() {
    let relay = Running::start(Upstream::Inbox, "shadow = true\n[spool]\ncopies_max = 0\n");
    assert!(submit(relay.smtp, "ana@example.com", &["bob@x.test", "eve@x.test"], MAIL).starts_with("250"));
    for who in ["bob@x.test", "eve@x.test"] {
        wait_for(|| is_there(relay.folder(), who).then_some(()));
        came_as_it_was_sent(&copy_for(&relay, who), MAIL);
    }
    assert!(!token_anywhere(relay.folder()));
}

#[test]
fn locks_and_exclusions_hold_in_the_mail_path() {
    let mut relay =
        Running::start(Upstream::Inbox, "excluded_recipients = [\"partner.test\"]\nsensitive_off = [\"token\"]\n");
    relay.add_user("ana@example.com", "correct horse", "default");
    relay.cli(&["user", "tracking", "ana@example.com", "--opens", "off", "--links", "off"]);
    let send = |relay: &Running, to: &[&str]| {
        let mut client = Client::connect(relay.smtp).unwrap();
        assert_eq!(client.command(&plain("ana@example.com", "correct horse")).unwrap().code, 235);
        let mut mail = Submission::new("locks", &[]);
        mail.sender = "ana@example.com".to_owned();
        mail.recipients = to.iter().map(|to| (*to).to_owned()).collect();
        mail.content = MAIL.as_bytes().to_vec();
        assert_eq!(client.submit(&mail).code(), 250);
    };
    let marks = |relay: &Running, who: &str| {
        let copy = copy_for(relay, who);
        (pixels(&copy, &relay.public_url()).len(), clicks(&copy, &relay.public_url()).len())
    };
    // her own choice
    send(&relay, &["one@x.test"]);
    assert_eq!(marks(&relay, "one@x.test"), (0, 0));
    // opens are locked: only what she says of links counts
    relay.cli(&["org", "set", "default", "--lock", "opens"]);
    send(&relay, &["two@x.test", "bob@mail.Partner.test"]);
    assert_eq!(marks(&relay, "two@x.test"), (1, 0));
    assert_eq!(marks(&relay, "bob@mail.Partner.test"), (0, 0));
    assert!(newest(&relay).contains("recipient 2: not tracked: the organisation excludes this recipient"));
    let told = relay.cli(&["user", "tracking", "ana@example.com"]);
    let line = told.lines().find(|line| line.starts_with("opens")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["opens", "individual", "off", "individual", "locked"]);
    // the token rule is off in the file, and read-only there
    relay.cli(&["org", "set", "default", "--lock", "opens", "--lock", "links"]);
    send(&relay, &["three@x.test"]);
    assert_eq!(marks(&relay, "three@x.test"), (1, 4), "every link, that with the token too");
    let refused = relay.cli_with(&["org", "set", "default", "--sensitive-off", ""], "");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("managed in config.toml"));
    let refused = relay.cli_with(&["user", "tracking", "ana@example.com", "--links", "follow"], "");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("links is locked"));
    // the file lets go: what it had set follows the default again
    let path = relay.folder().join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("sensitive_off = [\"token\"]\n", "")).unwrap();
    relay.reload();
    send(&relay, &["four@x.test"]);
    assert_eq!(marks(&relay, "four@x.test"), (1, 3));
}

//! The test mail of the set-up page through the real relay: taken, delivered or queued, opened, its link followed.

use std::net::SocketAddr;

use super::first_light::wait_for;
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, http_post, http_post_as, pixels};

const PASSWORD: &str = "correct horse battery";

/// A browser that is logged in.
struct Browser {
    admin: SocketAddr,
    cookie: String,
}

impl Browser {
    fn of(relay: &Running, login: &str) -> Browser {
        let form = format!("login={}&password={}", login.replace('@', "%40"), PASSWORD.replace(' ', "+"));
        let answer = http_post(relay.admin, "/login", &form);
        assert_eq!(answer.status, 303, "{}", answer.head);
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Browser { admin: relay.admin, cookie }
    }

    fn get(&self, path: &str) -> String {
        let answer = http(self.admin, "GET", path, &[("Cookie", &self.cookie)]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.head);
        String::from_utf8(answer.body).unwrap()
    }

    /// Presses the button; the page it leads to.
    fn sends_test_mail(&self, to: &str) -> String {
        let page = self.get("/setup");
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let form = format!("csrf={csrf}&to={}", to.replace('@', "%40"));
        let answer = http_post_as(self.admin, "/setup/test-mail", &self.cookie, &form);
        let shown = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 303, "{}\n{shown}", answer.head);
        answer.header("location").unwrap().to_owned()
    }

    /// The page, once it says this.
    fn waits_for(&self, path: &str, words: &str) -> String {
        wait_for(|| Some(self.get(path)).filter(|page| page.contains(words)))
    }
}

#[test]
fn into_the_inbox_and_back() {
    let relay = Running::start(Upstream::Inbox, "");
    relay.add_user("ana@example.com", PASSWORD, "default");
    let made = relay.cli_with(&["user", "add", "chief", "--role", "server-admin"], &format!("{PASSWORD}\n"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let ana = Browser::of(&relay, "ana@example.com");
    let set_up = ana.get("/setup");
    assert!(set_up.contains("ana@example.com") && set_up.contains("self-signed"), "{set_up}");

    let path = ana.sends_test_mail("reader@x.test");
    let page = ana.waits_for(&path, "Delivered to upstream");
    assert!(page.contains("Taken by waxseal") && page.contains("from ana@example.com"), "{page}");
    assert!(page.contains("Not opened yet") && page.contains("data-pending=\"yes\""), "{page}");

    // It is like anybody's mail: tracked, and one's own to see.
    let copy = relay.inbox_copy("reader@x.test");
    let shown = mail_parser::MessageParser::default().parse(&copy).unwrap().body_html(0).unwrap().into_owned();
    let links = [pixels(shown.as_bytes(), &relay.public_url()), clicks(shown.as_bytes(), &relay.public_url())].concat();
    assert_eq!(links.len(), 2, "{shown}");
    for link in links {
        http(relay.tracking, "GET", &link, &[]);
    }
    let page = ana.waits_for(&path, "Link followed");
    assert!(page.contains("Opened") && page.contains("data-pending=\"no\""), "{page}");
    assert!(!page.contains("Read it in the built-in inbox"), "a sender does not look into it");
    let chief = Browser::of(&relay, "chief");
    let page = chief.get(&path);
    let inbox = page.split("<a href=\"/inbox/").nth(1).unwrap_or_else(|| panic!("{page}")).split('"').next().unwrap();
    assert!(chief.get(&format!("/inbox/{inbox}")).contains("A test mail from waxseal"));
}

/// The real report by role: an organisation's admin sees its own part of it.
#[test]
fn health_goes_by_who_looks() {
    let names = format!("[dns]\nservers = [\"{}\"]\n", super::doctor::name_server());
    let relay = Running::start(Upstream::Inbox, &names);
    for (login, more) in
        [("chief", ["--role", "server-admin"].as_slice()), ("boss", &["--org", "default", "--role", "org-admin"])]
    {
        let made = relay.cli_with(&[&["user", "add", login], more].concat(), &format!("{PASSWORD}\n"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    // The first look ends behind the page.
    let boss = Browser::of(&relay, "boss").waits_for("/health", "Seen on");
    assert!(boss.contains("example.com") && boss.contains("built-in inbox"), "{boss}");
    assert!(!boss.contains("Storage") && !boss.contains("track.example"), "{boss}");
    let chief = Browser::of(&relay, "chief").waits_for("/health", "Seen on");
    for words in ["Storage", "track.example", "is durable in", "no mail waits"] {
        assert!(chief.contains(words), "{words}: {chief}");
    }
}

#[test]
fn with_upstream_away_it_waits_in_the_queue() {
    // A port where nobody listens.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let relay = Running::start(Upstream::Smtp(nobody), "");
    relay.add_user("ana@example.com", PASSWORD, "default");
    let ana = Browser::of(&relay, "ana@example.com");
    let path = ana.sends_test_mail("reader@x.test");
    let page = ana.waits_for(&path, "Waits in the queue");
    assert!(page.contains("Connection refused") && page.contains("data-pending=\"yes\""), "{page}");
    assert!(relay.cli(&["queue", "list"]).contains("reader@x.test"));
}

//! The key file is in wrong hands: with another key in use the old one is revoked, and what it sealed is dead for ever,
//! while what the new one seals works.

use super::first_light::{copy_for, submit};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, pixels};

const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: bob@x.test\r\nSubject: The offer\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/html\r\n\r\n<html><body><a href=\"https://shop.example/offer\">the offer</a></body></html>\r\n";

/// The path of the first link of a copy.
fn link(relay: &Running, who: &str) -> String {
    assert!(submit(relay.smtp, "ana@example.com", &[who], MAIL).starts_with("250"));
    let copy = copy_for(relay, who);
    assert_eq!(pixels(&copy, &relay.public_url()).len(), 1);
    clicks(&copy, &relay.public_url()).remove(0)
}

#[test]
fn what_a_revoked_key_sealed_is_dead_and_nothing_else() {
    let relay = Running::start(Upstream::Inbox, "");
    let status = |path: &str| http(relay.tracking, "GET", path, &[]).status;
    let old = link(&relay, "bob@x.test");
    assert_eq!(status(&old), 302);
    let refused = |args: &[&str]| {
        let out = relay.cli_with(args, "");
        assert!(!out.status.success(), "{args:?}");
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let current = refused(&["keys", "revoke", "0", "--yes"]);
    assert!(current.contains("rotate"), "never the one in use: {current}");
    relay.cli(&["keys", "rotate"]);
    assert_eq!(status(&old), 302, "rotating takes nothing away");
    let new = link(&relay, "cy@x.test");
    // what would be dead is told, and nothing is done
    let told = refused(&["keys", "revoke", "0"]);
    assert!(told.contains("1 links of 1 mails on record") && told.contains("--yes"), "{told}");
    assert_eq!(status(&old), 302);
    let done = relay.cli(&["keys", "revoke", "0", "--yes"]);
    assert!(done.starts_with("key 0 is revoked: 1 links of 1 mails"), "{done}");
    assert_eq!((status(&old), status(&new)), (404, 302));
    let list = relay.cli(&["keys", "list"]);
    assert!(list.contains("revoked: its links answer 404"), "{list}");
    assert!(relay.cli(&["audit"]).contains("revoked key 0"));
    assert!(refused(&["keys", "revoke", "9", "--yes"]).contains("there is no key 9"));
    // and it stays so
    let relay = Running::start_in(relay.stop(), Upstream::Inbox, "");
    assert_eq!(http(relay.tracking, "GET", &old, &[]).status, 404);
    assert_eq!(http(relay.tracking, "GET", &new, &[]).status, 302);
}

//! Signed mail through waxseal into a real Postfix: dkimpy, openssl and gpg verify what it queued. Each is left as it
//! came, and says why; an unsigned one beside them is tracked.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::mailbox::send;
use crate::support::postfix::{Postfix, split_first_field};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, find, pixels};

/// Name of the mail in `signed_mails.py`, and why it is not tracked, in the words of `message show`.
const MAILS: &[(&str, &str)] = &[
    ("dkim-relaxed", "it carries a DKIM signature"),
    ("dkim-simple", "it carries a DKIM signature"),
    ("arc", "it carries an ARC seal"),
    ("smime", "it is signed"),
    ("smime-opaque", "it is encrypted or sealed"),
    ("pgp-mime", "it is signed"),
    ("inline-pgp", "it holds a PGP block"),
    ("unsigned", ""),
];

#[test]
#[ignore = "needs Postfix, openssl, gpg and dkimpy"]
fn signatures_hold_and_each_mail_says_why_it_was_left() {
    let postfix = Postfix::start();
    let relay = Running::start(Upstream::Smtp(postfix.addr), "");
    // Not the relay's: gpg's socket needs a short path.
    let folder = tempfile::Builder::new().prefix("wx").tempdir().unwrap();
    python("make", folder.path());
    for (name, _) in MAILS {
        let sent = std::fs::read(folder.path().join(format!("{name}.eml"))).unwrap();
        send(&relay, &format!("{name}@ok.test"), &sent);
    }
    let queue = postfix.wait_for(MAILS.len(), Duration::from_secs(20));
    for (name, why) in MAILS {
        let subject = format!("Subject:  {name}\n");
        let copies: Vec<Vec<u8>> = queue.iter().map(|id| postfix.content(id)).collect();
        let copy = copies.iter().find(|copy| find(copy, subject.as_bytes()).is_some()).expect("a copy");
        std::fs::write(folder.path().join(format!("{name}.copy")), copy).unwrap();
        let sent = std::fs::read(folder.path().join(format!("{name}.eml"))).unwrap();
        check_copy(&relay, name, why, split_first_field(copy).1, &sent);
    }
    println!("{}", python("check", folder.path()));
}

fn check_copy(relay: &Running, name: &str, why: &str, copy: &[u8], sent: &[u8]) {
    let shown = shown(relay, name);
    let url = relay.public_url();
    if why.is_empty() {
        assert_eq!((pixels(copy, &url).len(), clicks(copy, &url).len()), (1, 2), "{name} is tracked");
        assert!(!shown.contains("not tracked"), "{shown}");
        return;
    }
    let lf: Vec<u8> = sent.iter().copied().filter(|octet| *octet != b'\r').collect();
    assert_eq!(String::from_utf8_lossy(copy), String::from_utf8_lossy(&lf), "{name} is as it came");
    assert!(shown.contains("not tracked") && shown.contains(why), "{name}: {why}\n{shown}");
    println!("{name}: {}", shown.lines().filter(|line| line.contains(why)).collect::<Vec<_>>().join(" | "));
}

/// `message show` of the mail with this subject.
fn shown(relay: &Running, name: &str) -> String {
    let list = relay.cli(&["message", "list"]);
    let line = list.lines().find(|line| line.split_whitespace().any(|word| word == name)).expect("a line a mail");
    let id = line.split_whitespace().next().expect("its id");
    relay.cli(&["message", "show", id])
}

fn python(verb: &str, folder: &Path) -> String {
    let peers =
        std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/signed_mails.py");
    let out =
        Command::new(Path::new(&peers).join("venv/bin/python")).arg(script).arg(verb).arg(folder).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}");
    said
}

//! The page of a test mail in a real Chromium: what becomes of the mail is shown as it happens, without a reload.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, pixels};

#[test]
#[ignore = "needs Chromium, Node and playwright-core"]
fn its_steps_come_by_themselves() {
    let relay = Running::start(Upstream::Inbox, "");
    relay.add_user("ana@example.com", "correct horse battery", "default");
    let peers =
        std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled");
    let mut browser = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/test_mail.js"))
        .arg(format!("http://{}", relay.admin))
        .args(["ana@example.com", "correct horse battery", "reader@x.test"])
        .env("NODE_PATH", Path::new(&peers).join("node_modules"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(browser.stdout.take().unwrap()).lines();
    let mut next = || -> Value {
        let line = told.next().expect("the browser tells how it goes; see its errors above").unwrap();
        serde_json::from_str(&line).unwrap()
    };
    assert!(next()["path"].as_str().unwrap().starts_with("/setup/test-mail/"));
    // Only now, with the page open, somebody reads it.
    let copy = relay.inbox_copy("reader@x.test");
    let shown = mail_parser::MessageParser::default().parse(&copy).unwrap().body_html(0).unwrap().into_owned();
    for link in [pixels(shown.as_bytes(), &relay.public_url()), clicks(shown.as_bytes(), &relay.public_url())].concat()
    {
        http(relay.tracking, "GET", &link, &[]);
    }
    assert_eq!(next(), json!({"steps": ["done", "done", "done", "done"], "reloaded": false, "errors": []}));
    assert!(browser.wait().unwrap().success());
}

//! Upstream takes the sender's mail, and not what our links make of it: it leaves as it came, is no bounce, and says so.

use tokio::runtime::Runtime;

use super::first_light::{submit, wait_for};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::pixels;
use crate::support::upstream::{Script, ScriptedUpstream};

/// Twenty links: some 3 kB more when they are tracked.
fn mail() -> String {
    let links: String = (0..20).map(|n| format!("<a href=\"https://shop.example/{n}\">{n}</a>\r\n")).collect();
    format!(
        "From: Ana <ana@example.com>\r\nTo: one@x.test\r\nSubject: full\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/html\r\n\r\n<body>{links}</body>\r\n"
    )
}

/// Takes the mail with our `Received:` line, and little more.
fn upstream(mail: &str) -> (Runtime, ScriptedUpstream) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let size = format!("SIZE {}", mail.len() + 500);
    let script = Script::new().keywords(&["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", &size]);
    let server = runtime.block_on(ScriptedUpstream::start(script));
    (runtime, server)
}

fn leaves_as_it_came(more: &str, waits: bool) {
    let mail = mail();
    let (_runtime, server) = upstream(&mail);
    let relay = Running::start(Upstream::Smtp(server.addr()), more);
    let answer = submit(relay.smtp, "ana@example.com", &["one@x.test", "two@x.test"], &mail);
    assert!(answer.starts_with("250 2.0.0") && answer.contains("queued as Q") != waits, "{answer}");
    let mails = wait_for(|| Some(server.accepted()).filter(|mails| mails.len() == 2));
    for left in &mails {
        let (_, rest) = crate::support::postfix::split_first_field(&left.content);
        assert_eq!(String::from_utf8_lossy(rest), mail);
        assert!(pixels(&left.content, &relay.public_url()).is_empty());
    }
    let rcpts: Vec<&str> = mails.iter().flat_map(|mail| &mail.rcpts).map(String::as_str).collect();
    assert!(rcpts.contains(&"RCPT TO:<one@x.test>") && rcpts.contains(&"RCPT TO:<two@x.test>"), "{rcpts:?}");
    let said = wait_for(|| {
        let list = relay.cli(&["message", "list"]);
        let id = list.lines().find(|line| line.contains("full"))?.split_whitespace().next()?.to_owned();
        Some(relay.cli(&["message", "show", &id])).filter(|said| said.contains("larger than upstream takes"))
    });
    let of_one = said.lines().find(|line| line.starts_with("one@x.test")).expect("the recipient");
    assert!(of_one.split_whitespace().filter(|word| *word == "off").count() == 2, "{said}");
    assert_eq!(server.accepted().len(), 2, "nothing came back to the sender");
}

#[test]
fn while_the_client_waits() {
    leaves_as_it_came("", false);
}

#[test]
fn from_the_spool() {
    leaves_as_it_came("[spool]\ncopies_max = 0", true);
}

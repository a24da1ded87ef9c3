//! What the sender is told is what is in the mail: a link that stayed is not listed as tracked, a mail without a pixel is
//! not "not opened yet", and each says why.

use super::first_light::submit;
use crate::support::relay::{Running, Upstream};

fn shown(relay: &Running, subject: &str, mail: &str) -> String {
    let mail =
        format!("From: Ana <ana@example.com>\r\nTo: b@x.test\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n{mail}");
    let answer = submit(relay.smtp, "ana@example.com", &["b@x.test"], &mail);
    assert!(answer.starts_with("250"), "{answer}");
    let list = relay.cli(&["message", "list"]);
    let line = list.lines().find(|line| line.split_whitespace().any(|word| word == subject)).expect("a line a mail");
    relay.cli(&["message", "show", line.split_whitespace().next().unwrap()])
}

/// The line of the recipient, in single spaces.
fn recipient(shown: &str) -> String {
    let line = shown.lines().find(|line| line.starts_with("b@x.test")).expect("the recipient");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_reason_reaches_the_sender() {
    let relay = Running::start(Upstream::Inbox, "");
    // One link fits into its line, one does not, one is sensitive.
    let wide = format!(
        "Content-Type: text/html\r\n\r\n<body><a href=\"https://shop.example/fits\">1</a>\r\n\
         <a href=\"https://shop.example/{}\">2</a>{}\r\n<a href=\"https://shop.example/unsubscribe\">3</a></body>\r\n",
        "x".repeat(600),
        "y".repeat(300)
    );
    let mixed = shown(&relay, "mixed", &wide);
    assert!(mixed.contains("fits: tracked as link 1") && mixed.contains("line length"), "{mixed}");
    assert!(mixed.contains("unsubscribe: left: unsubscribe link"), "{mixed}");
    let listed = mixed.split_once("\nLINKS\n").expect("a list of links").1.split_once("\nNOTES\n").expect("notes").0;
    assert!(listed.contains("https://shop.example/fits") && !listed.contains("xxxx"), "{listed}");
    // (header and body, reason, what is in force for opens and links)
    let html = "Content-Type: text/html\r\n\r\n<body><a href=\"https://shop.example/\">x</a></body>\r\n";
    let rows = [
        (
            "plain",
            "Content-Type: text/plain\r\n\r\nSee https://shop.example/\r\n".to_owned(),
            "it has no HTML",
            "off off",
        ),
        ("sealed", format!("DKIM-Signature: v=1; a=rsa-sha256\r\n{html}"), "it carries a DKIM signature", "off off"),
        (
            "asked",
            format!("X-Waxseal-Track: off\r\n{html}"),
            "tracking is off: the mail's own header asks for it",
            "off off",
        ),
        (
            "frames",
            "Content-Type: text/html\r\n\r\n<frameset><frame src=x></frameset>\r\n".to_owned(),
            "no safe place",
            "off off",
        ),
        (
            "half",
            format!("X-Waxseal-Opens: off\r\n{html}"),
            "opens: off: the mail's own header asks for it",
            "off individual",
        ),
    ];
    for (name, mail, reason, in_force) in rows {
        let said = shown(&relay, name, &mail);
        assert!(said.contains(reason), "{name}: {said}");
        assert!(recipient(&said).contains(in_force), "{name}: {said}");
    }
}

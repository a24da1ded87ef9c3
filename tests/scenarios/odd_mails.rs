//! Mails that hardly are any, over the whole relay: what leaves is clean, whole, and ours is one field before it.

use super::hostile_clients::{assert_clean, upstream};
use crate::support::client::Client;
use crate::support::postfix::split_first_field;
use crate::support::relay::{Running, Upstream};
use crate::support::upstream::Script;

const QUICK: &str = "[spool]\nbudget_secs = 5\nrecord_by_secs = 10\n";

/// What a client sends before the final CRLF.CRLF, and what leaves behind our own `Received:`.
#[rustfmt::skip]
const ROWS: &[(&[u8], &[u8])] = &[
    // no header at all: nothing, a body only, a line that is no field
    (b"", b""),
    (b"\r\n", b"\r\n"),
    (b"\r\nonly a body\r\n", b"\r\nonly a body\r\n"),
    (b"hello there\r\nno field here\r\n", b"hello there\r\nno field here\r\n"),
    (b"..\r\n", b".\r\n"),
    // the last octet before the end is a bare CR, a bare LF, a dot, or two of them
    (b"From: ana@example.com\r\n\r\nbody\r", b"From: ana@example.com\r\n\r\nbody \r\n"),
    (b"From: ana@example.com\r\n\r\nbody\n", b"From: ana@example.com\r\n\r\nbody\r\n\r\n"),
    (b"From: ana@example.com\r\n\r\nbody.", b"From: ana@example.com\r\n\r\nbody.\r\n"),
    (b"From: ana@example.com\r\n\r\nbody\r\n..", b"From: ana@example.com\r\n\r\nbody\r\n.\r\n"),
    (b"From: ana@example.com\r\n\r\nbody\r\n..\n", b"From: ana@example.com\r\n\r\nbody\r\n.\r\n\r\n"),
    (b"From: ana@example.com\r\n\r\nbody\n\r", b"From: ana@example.com\r\n\r\nbody\r\n \r\n"),
    // a header only, whose last field has no end of its own
    (b"From: ana@example.com\r\nSubject: x", b"From: ana@example.com\r\nSubject: x\r\n"),
    (b"From: ana@example.com\r\nSubject: x\r", b"From: ana@example.com\r\nSubject: x \r\n"),
];

#[test]
fn they_leave_clean_and_whole() {
    let (_runtime, upstream) = upstream(Script::new());
    let relay = Running::start(Upstream::Smtp(upstream.addr()), QUICK);
    for (sent, expected) in ROWS {
        let place = sent.escape_ascii().to_string();
        let mut client = Client::connect(relay.smtp).unwrap();
        for line in ["MAIL FROM:<ana@example.com>", "RCPT TO:<b@ok.test>", "DATA"] {
            assert!(client.command(line).unwrap().code < 400, "{place}");
        }
        // At the start of a line the dot alone ends it.
        let end: &[u8] = if sent.is_empty() || sent.ends_with(b"\r\n") { b".\r\n" } else { b"\r\n.\r\n" };
        client.send(&[sent, end].concat()).unwrap();
        assert_eq!(client.reply().unwrap().code, 250, "{place}");
        assert_eq!(client.command("NOOP").unwrap().code, 250, "{place}");
        let mail = upstream.mails().pop().unwrap();
        assert_clean(&mail, &place);
        let (ours, left) = split_first_field(&mail.content);
        assert!(ours.starts_with(b"Received: from "), "{place}");
        assert_eq!(left.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{place}");
    }
    assert_eq!(upstream.mails().len(), ROWS.len());
}

//! Protocol vectors: octets that servers disagree about, and our answer. Any octets: no panic, and a bounded answer.

use proptest::prelude::*;

use super::pure::Server;
use super::script::Facts;

fn trusted() -> Server {
    let facts = Facts { trusted: true, ..Facts::default() };
    let mut server = Server::start(facts.options(), facts.pure());
    server.wire.clear();
    server
}

fn replies(server: &mut Server) -> Vec<String> {
    std::iter::from_fn(|| server.next_reply()).map(|lines| lines.last().cloned().unwrap()).collect()
}

/// After EHLO and, where a row says so, MAIL: these octets in one piece; the replies begin so; closed or not.
fn check(before: &[&str], octets: &[u8], expected: &[&str], closed: bool) {
    let mut server = trusted();
    for line in before {
        server.send(format!("{line}\r\n").as_bytes());
    }
    replies(&mut server);
    server.send(octets);
    let seen = replies(&mut server);
    let shown: String = octets.escape_ascii().to_string().chars().take(80).collect();
    assert_eq!(seen.len(), expected.len(), "{shown}: {seen:?}");
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen.starts_with(expected), "{shown}: {seen:?}");
    }
    assert_eq!(server.closed, closed, "{shown}");
}

const EHLO: &[&str] = &["EHLO c.test"];
const MAIL: &[&str] = &["EHLO c.test", "MAIL FROM:<a@x.test>"];
const UTF8: &[&str] = &["EHLO c.test", "MAIL FROM:<a@x.test> SMTPUTF8"];
const RCPT: &[&str] = &["EHLO c.test", "MAIL FROM:<a@x.test>", "RCPT TO:<b@ok.test>"];

#[test]
fn what_comes_together() {
    // what had to wait for a reply closes; what may be pipelined does not
    check(&[], b"EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n", &["554 5.5.0"], true);
    check(&[], b"HELO x\r\nN", &["554 5.5.0"], true);
    check(RCPT, b"DATA\r\nSubject: x\r\n\r\n.\r\n", &["554 5.5.0"], true);
    check(EHLO, b"STARTTLS\r\nRSET\r\n", &["554 5.5.0"], true);
    check(EHLO, b"AUTH PLAIN\r\nAGEAYg==\r\n", &["554 5.5.0"], true);
    check(EHLO, b"NOOP\r\nRSET\r\nNOOP\r\n", &["250", "250", "250"], false);
    check(EHLO, b"QUIT\r\nNOOP\r\n", &["221"], true);
}

#[test]
fn before_the_banner() {
    let facts = Facts { trusted: true, ..Facts::default() };
    let mut server = Server::silent(facts.options(), facts.pure());
    server.send(b"EHLO x\r\n");
    assert_eq!(server.next_reply().unwrap(), ["554 5.5.0 SMTP protocol synchronization error"]);
    assert!(server.closed);
}

#[test]
fn arguments_and_order() {
    check(EHLO, b"STARTTLS x\r\n", &["501 5.5.4"], false);
    check(RCPT, b"DATA x\r\n", &["501 5.5.4"], false);
    check(EHLO, b"DATA\r\n", &["503 5.5.1"], false);
    check(MAIL, b"DATA\r\n", &["554 5.5.1"], false);
    check(MAIL, b"MAIL FROM:<c@x.test>\r\n", &["503 5.5.1"], false);
    check(EHLO, b"MAIL FROM:<a@x.test> SIZE=99999999\r\n", &["552 5.3.4"], false);
    check(EHLO, b"MAIL FROM:<a@x.test> SIZE=99999999999999999999\r\n", &["552 5.3.4"], false);
    check(EHLO, b"MAIL FROM:<a@x.test> SIZE=-1\r\n", &["501 5.5.4"], false);
    check(EHLO, b"MAIL FROM:<a@x.test> SIZE=1x\r\n", &["501 5.5.4"], false);
    check(EHLO, b"MAIL FROM:<a@x.test> FOO=1\r\n", &["555 5.5.4"], false);
    check(EHLO, b"MAIL FROM:<a@x.test> RET=FULL\r\n", &["555 5.5.4"], false);
    check(MAIL, b"RCPT TO:<>\r\n", &["501 5.1.3"], false);
    check(MAIL, b"RCPT TO:<b@ok.test> FOO\r\n", &["555 5.5.4"], false);
}

#[test]
fn octets_that_do_not_belong() {
    check(EHLO, b"MAIL FROM:<a\0@x>\r\n", &["501 5.5.2"], false);
    check(EHLO, b"MAIL FROM:<a@x>\rRCPT TO:<b>\r\n", &["501 5.5.2"], false);
    check(EHLO, b"NOOP\nNOOP\r\n", &["500 5.5.2"], false);
    check(EHLO, b"NOOP\r\r\n", &["501 5.5.2"], false);
    check(UTF8, b"RCPT TO:<\xff@ok.test>\r\nNOOP\r\n", &["553 5.6.7", "250"], false);
    check(MAIL, b"RCPT TO:<\xc3\xa4@ok.test>\r\nNOOP\r\n", &["553 5.6.7", "250"], false);
    check(EHLO, b"\r\n", &["500 5.5.2"], false);
    check(EHLO, b"\x16\x03\x01\x02\x00\x01", &["421"], true);
}

#[test]
fn lines_without_end() {
    let noop = |bytes: usize| [b"NOOP ", "x".repeat(bytes).as_bytes(), b"\r\nNOOP\r\n"].concat();
    check(EHLO, &noop(4096 - 7), &["250", "250"], false);
    check(EHLO, &noop(4096 - 6), &["500 5.5.6", "250"], false);
    check(EHLO, &noop(60_000), &["500 5.5.6", "250"], false);
    check(EHLO, &noop(70_000), &["421"], true);
    check(EHLO, &vec![b'x'; 3_000_000], &["421"], true);
    check(&["EHLO c.test", "AUTH PLAIN"], &[vec![b'A'; 20_000], b"\r\n".to_vec()].concat(), &["500 5.5.6"], false);
}

#[test]
fn other_protocols() {
    for verb in ["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "PRI"] {
        check(&[], format!("{verb} / HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(), &["421"], true);
    }
    for bdat in ["BDAT 5", "BDAT 5 LAST", "BDAT 99999999999999999999", "BDAT -1"] {
        check(RCPT, format!("{bdat}\r\nQUIT\r\n").as_bytes(), &["502 5.5.1"], true);
    }
}

#[test]
fn too_many_errors() {
    let mut expected = vec!["500"; 19];
    expected.push("421 4.7.0");
    check(EHLO, &b"FOO\r\n".repeat(30), &expected, true);
    // an accepted mail begins the count anew
    let mail = ["MAIL FROM:<a@x.test>\r\nRCPT TO:<b@ok.test>\r\nDATA\r\n", ".\r\n"];
    let mut server = trusted();
    server.send(b"EHLO c.test\r\n");
    for _ in 0..3 {
        server.send(&b"FOO\r\n".repeat(15));
        mail.iter().for_each(|part| server.send(part.as_bytes()));
    }
    assert!(!server.closed);
    assert_eq!(server.taken.len(), 3);
}

/// Commands, halves of commands, newlines of all kinds, and noise.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "EHLO x\r\n",
            "HELO x\r\n",
            "MAIL FROM:<a@x>\r\n",
            "RCPT TO:<b@x>\r\n",
            "DATA\r\n",
            "\r\n.\r\n",
            "RSET\r\n",
            "STARTTLS\r\n",
            "AUTH PLAIN\r\n",
            "AUTH LOGIN\r\n",
            "AGEAYg==\r\n",
            "YWxpY2U=\r\n",
            "*\r\n",
            "NOOP\r\n",
            "\r",
            "\n",
            ".",
            "<",
            "\"",
            "\\",
            "@",
            " SIZE=",
            "MAIL FROM:<",
            "RCPT TO:<\"",
            "\u{e4}",
            "QUIT\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..5),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_octets_get_well_formed_replies(octets in words(), size in 1usize..50, small in any::<bool>()) {
        let facts = Facts { trusted: true, small, dsn: small, ..Facts::default() };
        let mut server = Server::start(facts.options(), facts.pure());
        for chunk in octets.chunks(size) {
            server.send(chunk);
        }
        let wire = String::from_utf8(server.wire.clone()).unwrap();
        for line in wire.split_terminator("\r\n") {
            prop_assert!(line.len() <= 510 && line.bytes().all(|octet| (0x20..0x7f).contains(&octet)), "{line:?}");
            prop_assert!(line.as_bytes()[..3].iter().all(u8::is_ascii_digit), "{line:?}");
        }
        prop_assert!(wire.ends_with("\r\n"));
        for mail in &server.taken {
            let crlf = mail.raw.windows(2).filter(|two| two == b"\r\n").count();
            prop_assert_eq!(mail.raw.iter().filter(|octet| matches!(octet, b'\r' | b'\n')).count(), 2 * crlf);
        }
    }
}

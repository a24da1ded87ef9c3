//! Protocol vectors: octets that servers disagree about, and our answer. Any octets: no panic, and a bounded answer.

use std::sync::Arc;

use proptest::prelude::*;

use super::client;
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

/// After these lines, one by one, these octets; the replies begin so; closed or not.
struct Row {
    before: &'static [&'static str],
    octets: Vec<u8>,
    expected: Vec<&'static str>,
    closed: bool,
    /// The meaning lies in what comes together.
    whole: bool,
}

fn row(before: &'static [&'static str], octets: impl AsRef<[u8]>, expected: &[&'static str], closed: bool) -> Row {
    Row { before, octets: octets.as_ref().to_vec(), expected: expected.to_vec(), closed, whole: false }
}

const EHLO: &[&str] = &["EHLO c.test"];
const MAIL: &[&str] = &["EHLO c.test", "MAIL FROM:<a@x.test>"];
const UTF8: &[&str] = &["EHLO c.test", "MAIL FROM:<a@x.test> SMTPUTF8"];
const RCPT: &[&str] = &["EHLO c.test", "MAIL FROM:<a@x.test>", "RCPT TO:<b@ok.test>"];
const AUTH: &[&str] = &["EHLO c.test", "AUTH PLAIN"];

/// What had to wait for a reply closes; what may be pipelined does not.
fn what_comes_together() -> Vec<Row> {
    let rows = vec![
        row(&[], b"EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n", &["554 5.5.0"], true),
        row(&[], b"HELO x\r\nN", &["554 5.5.0"], true),
        row(RCPT, b"DATA\r\nSubject: x\r\n\r\n.\r\n", &["554 5.5.0"], true),
        row(EHLO, b"STARTTLS\r\nRSET\r\n", &["554 5.5.0"], true),
        row(EHLO, b"AUTH PLAIN\r\nAGEAYg==\r\n", &["554 5.5.0"], true),
        row(EHLO, b"NOOP\r\nRSET\r\nNOOP\r\n", &["250", "250", "250"], false),
        row(EHLO, b"QUIT\r\nNOOP\r\n", &["221"], true),
        row(EHLO, b"\x16\x03\x01\x02\x00\x01", &["421"], true),
    ];
    rows.into_iter().map(|row| Row { whole: true, ..row }).collect()
}

fn arguments_and_order() -> Vec<Row> {
    vec![
        row(EHLO, b"STARTTLS x\r\n", &["501 5.5.4"], false),
        row(RCPT, b"DATA x\r\n", &["501 5.5.4"], false),
        row(EHLO, b"DATA\r\n", &["503 5.5.1"], false),
        row(MAIL, b"DATA\r\n", &["554 5.5.1"], false),
        row(MAIL, b"MAIL FROM:<c@x.test>\r\n", &["503 5.5.1"], false),
        row(EHLO, b"MAIL FROM:<a@x.test> SIZE=99999999\r\n", &["552 5.3.4"], false),
        row(EHLO, b"MAIL FROM:<a@x.test> SIZE=99999999999999999999\r\n", &["552 5.3.4"], false),
        row(EHLO, b"MAIL FROM:<a@x.test> SIZE=-1\r\n", &["501 5.5.4"], false),
        row(EHLO, b"MAIL FROM:<a@x.test> SIZE=1x\r\n", &["501 5.5.4"], false),
        row(EHLO, b"MAIL FROM:<a@x.test> FOO=1\r\n", &["555 5.5.4"], false),
        row(EHLO, b"MAIL FROM:<a@x.test> RET=FULL\r\n", &["555 5.5.4"], false),
        row(MAIL, b"RCPT TO:<>\r\n", &["501 5.1.3"], false),
        row(MAIL, b"RCPT TO:<b@ok.test> FOO\r\n", &["555 5.5.4"], false),
        // a refusal and a VRFY in the midst leave the transaction as it was; an error of BDAT ends everything
        row(MAIL, b"RCPT TO:<>\r\nVRFY b\r\nRCPT TO:<b@ok.test>\r\n", &["501", "252", "250"], false),
        row(RCPT, b"RSET\r\nVRFY b\r\nRCPT TO:<b@ok.test>\r\n", &["250", "252", "503"], false),
        row(EHLO, b"BDAT 5\r\n", &["502 5.5.1"], true),
    ]
}

fn octets_that_do_not_belong() -> Vec<Row> {
    vec![
        row(EHLO, b"MAIL FROM:<a\0@x>\r\n", &["501 5.5.2"], false),
        row(EHLO, b"MAIL FROM:<a@x>\rRCPT TO:<b>\r\n", &["501 5.5.2"], false),
        row(EHLO, b"NOOP\nNOOP\r\n", &["500 5.5.2"], false),
        row(EHLO, b"NOOP\r\r\n", &["501 5.5.2"], false),
        row(UTF8, b"RCPT TO:<\xff@ok.test>\r\nNOOP\r\n", &["553 5.6.7", "250"], false),
        row(MAIL, b"RCPT TO:<\xc3\xa4@ok.test>\r\nNOOP\r\n", &["553 5.6.7", "250"], false),
        row(EHLO, b"\r\n", &["500 5.5.2"], false),
        // a name that would begin a line of its own in Received
        row(&[], b"EHLO x\rBcc: v@evil.test\r\n", &["501 5.5.2"], false),
        row(&[], b"EHLO x\nBcc: v@evil.test\r\n", &["500 5.5.2"], false),
    ]
}

fn lines_without_end() -> Vec<Row> {
    let noop = |bytes: usize| [b"NOOP ", "x".repeat(bytes).as_bytes(), b"\r\nNOOP\r\n"].concat();
    vec![
        row(EHLO, noop(4096 - 7), &["250", "250"], false),
        row(EHLO, noop(4096 - 6), &["500 5.5.6", "250"], false),
        row(EHLO, noop(60_000), &["500 5.5.6", "250"], false),
        row(EHLO, noop(70_000), &["421"], true),
        row(EHLO, vec![b'x'; 3_000_000], &["421"], true),
        row(AUTH, [vec![b'A'; 20_000], b"\r\n".to_vec()].concat(), &["500 5.5.6"], false),
        // a response may be longer than other lines (RFC 4954 section 4), here or behind the command; what follows may not
        row(AUTH, [vec![b'A'; 12_288], b"\r\n".to_vec()].concat(), &["501 5.5.2"], false),
        row(EHLO, [b"auth plain ".to_vec(), vec![b'A'; 12_288], b"\r\n".to_vec()].concat(), &["501 5.5.2"], false),
        row(EHLO, [b"AUTH PLAIN ".to_vec(), vec![b'A'; 20_000], b"\r\n".to_vec()].concat(), &["500 5.5.6"], false),
        row(EHLO, [&noop(5_000)[..5_005], b"AUTH PLAIN ", &[b'A'; 2_000], b"\r\n"].concat(), &["500 5.5.6"], false),
    ]
}

fn other_protocols() -> Vec<Row> {
    let mut rows = Vec::new();
    for verb in ["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "PRI"] {
        rows.push(row(&[], format!("{verb} / HTTP/1.1\r\nHost: x\r\n\r\n"), &["421"], true));
    }
    for bdat in ["BDAT 5", "BDAT 5 LAST", "BDAT 99999999999999999999", "BDAT -1"] {
        rows.push(row(RCPT, format!("{bdat}\r\nQUIT\r\n"), &["502 5.5.1"], true));
    }
    rows
}

fn all() -> Vec<Row> {
    [what_comes_together(), arguments_and_order(), octets_that_do_not_belong(), lines_without_end(), other_protocols()]
        .into_iter()
        .flatten()
        .collect()
}

fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string().chars().take(80).collect()
}

fn judge(row: &Row, seen: &[String], closed: bool, place: &str) {
    let shown = shown(&row.octets);
    assert_eq!(seen.len(), row.expected.len(), "{shown} {place}: {seen:?}");
    for (seen, expected) in seen.iter().zip(&row.expected) {
        assert!(seen.starts_with(expected), "{shown} {place}: {seen:?}");
    }
    assert_eq!(closed, row.closed, "{shown} {place}");
}

/// Where to cut: everywhere in what is short, at both ends of what is long.
fn cuts(row: &Row) -> Vec<usize> {
    let length = row.octets.len();
    match row.whole {
        true => vec![0],
        false if length < 200 => (0..=length).collect(),
        false => {
            (0..20).chain(4_090..4_110).chain(length.saturating_sub(20)..=length).filter(|at| *at <= length).collect()
        }
    }
}

#[test]
fn against_the_pure_session_cut_anywhere() {
    for row in all() {
        for cut in cuts(&row) {
            let mut server = trusted();
            row.before.iter().for_each(|line| server.send(format!("{line}\r\n").as_bytes()));
            replies(&mut server);
            let (first, second) = row.octets.split_at(cut);
            [first, second].iter().filter(|part| !part.is_empty()).for_each(|part| server.send(part));
            judge(&row, &replies(&mut server), server.closed, &format!("cut at {cut}"));
        }
    }
}

/// The same in TCP segments and in TLS records, cut everywhere too. A NOOP behind it tells whether the session lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sockets_and_tls_cut_anywhere() {
    let mut running = tokio::task::JoinSet::new();
    for row in all().into_iter().map(Arc::new) {
        // What only exists before TLS.
        let is_plain = row.octets.starts_with(b"STARTTLS") || row.octets.starts_with(b"\x16");
        for implicit in [false, true].into_iter().filter(|implicit| !(*implicit && is_plain)) {
            for cut in cuts_over_sockets(&row) {
                if running.len() == 16 {
                    running.join_next().await.unwrap().unwrap();
                }
                running.spawn(over_a_socket(Arc::clone(&row), implicit, cut));
            }
        }
    }
    running.join_all().await;
}

/// As [`cuts`]; what is long only about in its middle and at its ends, for each cut sends it whole.
fn cuts_over_sockets(row: &Row) -> Vec<usize> {
    let length = row.octets.len();
    match length {
        ..200 => cuts(row),
        _ => [1, 4_095, 4_096, 4_097, length / 2, length - 2].into_iter().filter(|at| *at < length).collect(),
    }
}

async fn over_a_socket(row: Arc<Row>, implicit: bool, cut: usize) {
    let place = format!("over {} cut at {cut}", if implicit { "TLS" } else { "TCP" });
    let mut server = client::connect(Facts { trusted: true, implicit, ..Facts::default() }).await;
    server.client.reply().await.unwrap();
    for line in row.before {
        server.client.answer(format!("{line}\r\n").as_bytes()).await;
    }
    server.client.send_cut(&row.octets, cut).await;
    let mut seen = Vec::new();
    for _ in &row.expected {
        seen.extend(server.client.reply().await.map(|lines| lines.last().cloned().unwrap()));
    }
    let closed = !server.client.answer(b"NOOP\r\n").await.starts_with("250");
    judge(&row, &seen, closed, &place);
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
fn too_many_errors() {
    let mut expected = vec!["500"; 19];
    expected.push("421 4.7.0");
    let mut server = trusted();
    server.send(b"EHLO c.test\r\n");
    replies(&mut server);
    server.send(&b"FOO\r\n".repeat(30));
    judge(&row(EHLO, b"FOO", &expected, true), &replies(&mut server), server.closed, "thirty times");
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

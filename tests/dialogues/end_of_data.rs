//! Smuggling: bytes that others took for the end of a message. Each vector is followed by a second mail as an attacker
//! would write it; exactly one reply and one mail must come of it, wherever the octets are cut.

use std::sync::Arc;
use std::time::Duration;

use super::client;
use super::pure::Server;
use super::script::Facts;

const FACTS: Facts = Facts {
    remote: true,
    trusted: true,
    starttls: false,
    implicit: false,
    no_logins: false,
    dsn: false,
    bearer: false,
    reject: false,
    small: false,
    plain: false,
    segments: true,
};

const OPENING: &[&[u8]] = &[b"EHLO c.test\r\n", b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@ok.test>\r\n", b"DATA\r\n"];
const SMUGGLED: &[u8] = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<c@ok.test>\r\nDATA\r\nx\r\nEND\r\n.\r\n";

#[rustfmt::skip]
const NO_END: &[&[u8]] = &[
    b"\n.\n", b"\n.\r\n", b"\r\n.\n",
    b"\r.\r", b"\r.\n", b"\r.\r\n",
    b"\n.\r", b"\r\n.\r",
    b"\r\n.\r\r\n", b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n. \r\n",
    b"\n\n.\n\n", b"\r\n..\r\n", b"\r\n.\n\r\n", b"\n\r.\r\n", b"\r\r.\r\r",
];

fn wire(vector: &[u8]) -> Vec<u8> {
    [b"START", vector, SMUGGLED].concat()
}

fn in_data(reject: bool) -> Server {
    let facts = Facts { reject, ..FACTS };
    let mut server = Server::start(facts.options(), facts.pure());
    OPENING.iter().for_each(|group| server.send(group));
    assert_eq!(server.wire.rsplit(|octet| *octet == b'\n').nth(1).map(|line| &line[..3]), Some(&b"354"[..]));
    server.wire.clear();
    server
}

#[test]
fn one_reply_and_one_mail() {
    for vector in NO_END {
        let wire = wire(vector);
        for cut in 0..=wire.len() {
            let mut server = in_data(false);
            server.send(&wire[..cut]);
            server.send(&wire[cut..]);
            let replies: Vec<String> = std::iter::from_fn(|| server.next_reply()).map(|lines| lines.concat()).collect();
            let place = format!("{} cut at {cut}: {replies:?}", vector.escape_ascii());
            assert_eq!((replies.len(), server.taken.len(), server.closed), (1, 1, false), "{place}");
            assert!(replies[0].starts_with("250"), "{place}");
            let raw = &server.taken[0].raw;
            assert!(raw.starts_with(b"START") && raw.ends_with(b"x\r\nEND\r\n"), "{place}");
            let crlf_only = raw.windows(2).filter(|two| two == b"\r\n").count();
            let newlines = raw.iter().filter(|octet| **octet == b'\n').count();
            let returns = raw.iter().filter(|octet| **octet == b'\r').count();
            assert_eq!((newlines, returns), (crlf_only, crlf_only), "{place}: a bare newline stayed");
        }
    }
}

/// Is there a CR or LF that stands alone?
fn has_bare(vector: &[u8]) -> bool {
    vector.iter().enumerate().any(|(at, octet)| match octet {
        b'\n' => at == 0 || vector[at - 1] != b'\r',
        b'\r' => vector.get(at + 1) != Some(&b'\n'),
        _ => false,
    })
}

#[test]
fn refusing_bare_newlines_finds_the_same_end() {
    for vector in NO_END {
        let mut server = in_data(true);
        server.send(&wire(vector));
        let reply = server.next_reply().unwrap().concat();
        assert_eq!(reply.starts_with("550 5.5.2"), has_bare(vector), "{}: {reply}", vector.escape_ascii());
        assert_eq!(server.next_reply(), None, "{}", vector.escape_ascii());
    }
}

#[test]
fn what_ends_it() {
    let rows: &[(&[u8], &[u8])] = &[
        (b".\r\n", b""),
        (b"START\r\n.\r\n", b"START\r\n"),
        // CRLF.CRLF is in it, after a bare CR
        (b"START\r\r\n.\r\n", b"START \r\n"),
    ];
    for (end, raw) in rows {
        let wire = [*end, b"NOOP\r\n"].concat();
        for cut in 0..=wire.len() {
            let mut server = in_data(false);
            server.send(&wire[..cut]);
            server.send(&wire[cut..]);
            assert_eq!(server.taken[0].raw, *raw);
            assert!(server.next_reply().unwrap()[0].starts_with("250 2.0.0 OK, accepted"));
            assert_eq!(server.next_reply().unwrap(), ["250 2.0.0 OK"], "what follows is a command again");
        }
    }
}

/// What is sent after the 354 (the last octets end it), what is answered, and what the mail is then.
#[derive(Clone)]
struct Sent {
    wire: Vec<u8>,
    refused: Option<&'static str>,
    small: bool,
    reject: bool,
}

/// Every row of the matrix: what is no end, what is one, and what is too large.
fn matrix() -> Vec<Sent> {
    let mut all = Vec::new();
    let ends: [&[u8]; 3] = [b".\r\n", b"START\r\n.\r\n", b"START\r\r\n.\r\n"];
    let wires = NO_END.iter().map(|vector| wire(vector)).chain(ends.map(<[u8]>::to_vec));
    for wire in wires {
        for reject in [false, true] {
            let refused = (reject && has_bare(&wire)).then_some("550 5.5.2");
            all.push(Sent { wire: wire.clone(), refused, small: false, reject });
        }
    }
    // Over the limit of 100 octets: swallowed to its true end, with one answer.
    for vector in [&b"\n.\nHELP\r\n"[..], b"\r\n.\nHELP\r\n", b"\n.\r\nHELP\r\n", b"\r\n.\r\r\nHELP\r\n"] {
        let wire = [&[b'x'; 101], vector, b".\r\n"].concat();
        all.push(Sent { wire, refused: Some("552 5.3.4"), small: true, reject: false });
    }
    all
}

/// The same over a socket and over TLS: each cut into two segments or two TLS records at every place. One connection a row,
/// a mail a cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sockets_and_tls_cut_anywhere() {
    let mut running = tokio::task::JoinSet::new();
    for sent in matrix() {
        for implicit in [false, true] {
            running.spawn(cut_everywhere(
                Facts { implicit, reject: sent.reject, small: sent.small, ..FACTS },
                sent.clone(),
            ));
        }
    }
    running.join_all().await;
}

async fn cut_everywhere(facts: Facts, sent: Sent) {
    let mut server = client::connect_with(facts, |options| {
        options.error_delay = Duration::ZERO;
        Arc::make_mut(&mut options.session).command_errors_max = u32::MAX;
    })
    .await;
    server.client.reply().await.unwrap();
    assert!(server.client.answer(OPENING[0]).await.starts_with("250"));
    let shown = sent.wire.escape_ascii();
    for cut in 0..=sent.wire.len() {
        server.client.send(&OPENING[1..].concat()).await;
        for code in ["250", "250", "354"] {
            assert!(server.client.reply().await.unwrap()[0].starts_with(code), "{shown} cut at {cut}");
        }
        server.client.send_cut(&sent.wire, cut).await;
        let reply = server.client.reply().await.unwrap();
        assert!(
            reply[0].starts_with(sent.refused.unwrap_or("250 2.0.0 OK, accepted")),
            "{shown} cut at {cut}: {reply:?}"
        );
        let taken = server.backend.taken.lock().unwrap().len();
        assert_eq!(taken, if sent.refused.is_some() { 0 } else { cut + 1 }, "{shown} cut at {cut}");
        // Nothing of it was a command, and the transaction is over.
        assert!(
            server.client.answer(b"RCPT TO:<b@ok.test>\r\n").await.starts_with("503 5.5.1"),
            "{shown} cut at {cut}"
        );
    }
    assert_eq!(server.client.answer(b"QUIT\r\n").await, "221 2.0.0 Bye", "{shown}");
}

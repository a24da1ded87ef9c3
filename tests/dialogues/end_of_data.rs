//! Smuggling: bytes that others took for the end of a message. Each vector is followed by a second mail as an attacker
//! would write it; exactly one reply and one mail must come of it, wherever the octets are cut.

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

#[test]
fn refusing_bare_newlines_finds_the_same_end() {
    for vector in NO_END {
        let mut server = in_data(true);
        server.send(&wire(vector));
        let reply = server.next_reply().unwrap().concat();
        let bare = vector.iter().enumerate().any(|(at, octet)| match octet {
            b'\n' => at == 0 || vector[at - 1] != b'\r',
            b'\r' => vector.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        assert_eq!(reply.starts_with("550 5.5.2"), bare, "{}: {reply}", vector.escape_ascii());
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

/// The same over a socket and over TLS: cut into two writes, thus two segments and two TLS records, at every place in and
/// around the vector. One connection a vector, a mail a cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sockets_and_tls() {
    for facts in [FACTS, Facts { implicit: true, ..FACTS }] {
        for vector in NO_END {
            let mut server = client::connect(facts).await;
            server.client.reply().await.unwrap();
            for (group, codes) in OPENING.iter().zip([&["250"][..], &["250", "250"], &["354"]]) {
                server.client.send(group).await;
                for code in codes {
                    assert!(server.client.reply().await.unwrap()[0].starts_with(code));
                }
            }
            let wire = wire(vector);
            let cuts = 4..vector.len() + 7;
            for cut in cuts.clone() {
                if cut > cuts.start {
                    server.client.send(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@ok.test>\r\nDATA\r\n").await;
                    for code in ["250", "250", "354"] {
                        assert!(server.client.reply().await.unwrap()[0].starts_with(code));
                    }
                }
                let (first, second) = wire.split_at(cut);
                server.client.send(first).await;
                tokio::task::yield_now().await;
                server.client.send(second).await;
                let reply = server.client.reply().await.unwrap();
                assert!(reply[0].starts_with("250"), "{} cut at {cut}: {reply:?}", vector.escape_ascii());
                let taken = server.backend.taken.lock().unwrap().len();
                assert_eq!(taken, cut - cuts.start + 1, "{} cut at {cut}", vector.escape_ascii());
            }
            assert_eq!(server.client.answer(b"QUIT\r\n").await, "221 2.0.0 Bye", "{}", vector.escape_ascii());
        }
    }
}

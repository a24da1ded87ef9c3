//! A client that means harm, over a whole relay: one mail stays one mail, nobody is impersonated, no header is smuggled in,
//! and what the upstream sees is clean.

use tokio::runtime::Runtime;

use super::first_light::{dialogue, submit};
use super::logins::plain;
use crate::support::client::Client;
use crate::support::relay::{Running, Upstream};
use crate::support::upstream::{At, RecordedMail, Script, ScriptedUpstream};

const QUICK: &str = "[spool]\nbudget_secs = 5\nrecord_by_secs = 10\n";

pub(super) fn upstream(script: Script) -> (Runtime, ScriptedUpstream) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = runtime.block_on(ScriptedUpstream::start(script));
    (runtime, upstream)
}

/// No bare CR or LF, one end of data, and no line that begins with a dot but is not doubled.
pub(super) fn assert_clean(mail: &RecordedMail, place: &str) {
    let wire = &mail.wire;
    let shown = || format!("{place}: {}", wire.escape_ascii());
    for (at, octet) in wire.iter().enumerate() {
        assert!(*octet != b'\n' || (at > 0 && wire[at - 1] == b'\r'), "a bare LF: {}", shown());
        assert!(*octet != b'\r' || wire.get(at + 1) == Some(&b'\n'), "a bare CR: {}", shown());
    }
    let ends = memchr::memmem::find_iter(wire, b"\r\n.\r\n").count();
    assert_eq!(ends, 1, "{}", shown());
    let content = wire.strip_suffix(b"\r\n.\r\n").unwrap();
    for (at, _) in memchr::memmem::find_iter(content, b"\r\n.").map(|at| (at, ())) {
        assert_eq!(content.get(at + 3), Some(&b'.'), "a lone dot: {}", shown());
    }
}

const VECTORS: &[&[u8]] = &[
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\n",
    b"\r.\r\n",
    b"\n.\r",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n. \r\n",
];

/// Every vector in every place a mail has: header, HTML that is rewritten, each transfer encoding, a link, the very end.
#[test]
fn one_mail_in_is_one_mail_out_and_clean() {
    let (_runtime, upstream) = upstream(Script::new());
    let relay = Running::start(Upstream::Smtp(upstream.addr()), QUICK);
    let evil = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<v@ok.test>\r\nDATA\r\nx\r\nEND\r\n";
    let html = |encoding: &str, body: &[u8]| {
        let head = format!(
            "From: ana@example.com\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    let mut sent = 0;
    for vector in VECTORS {
        let link = [b"<a href=\"https://shop.example/", *vector, b"x\">one</a>"].concat();
        let quoted: Vec<u8> = vector.iter().flat_map(|octet| format!("={octet:02X}").into_bytes()).collect();
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD
            .encode([b"<p>x</p>", *vector, b"<a href=\"https://x.example/\">y</a>"].concat());
        let mails: Vec<Vec<u8>> = vec![
            [b"From: ana@example.com\r\n\r\nSTART", *vector, evil].concat(),
            [b"From: ana@example.com\r\nSubject: a", *vector, b"b\r\n\r\nx\r\n"].concat(),
            html("7bit", &[b"<p>START", *vector, evil, b"<a href=\"https://x.example/\">y</a>\r\n"].concat()),
            html("8bit", &[&link, b"\r\n".as_slice()].concat()),
            html(
                "quoted-printable",
                &[b"<p>", quoted.as_slice(), b"<a href=3D\"https://x.example/\">y</a>\r\n"].concat(),
            ),
            html("base64", &[encoded.as_bytes(), b"\r\n"].concat()),
            [b".x: y\r\nFrom: ana@example.com\r\n\r\nA", *vector].concat(),
        ];
        for mail in mails {
            let octets = [mail.as_slice(), b"\r\n.\r\n"].concat();
            let mut client = Client::connect(relay.smtp).unwrap();
            for line in ["MAIL FROM:<ana@example.com>", "RCPT TO:<b@ok.test>", "DATA"] {
                assert!(client.command(line).unwrap().code < 400);
            }
            client.send(&octets).unwrap();
            let reply = client.reply().unwrap();
            assert_eq!(reply.code, 250, "{}: {reply:?}", octets.escape_ascii());
            assert_eq!(client.command("NOOP").unwrap().code, 250, "one reply: {}", octets.escape_ascii());
            sent += 1;
            let mails = upstream.mails();
            assert_eq!(mails.len(), sent, "{}", octets.escape_ascii());
            assert_clean(mails.last().unwrap(), &vector.escape_ascii().to_string());
        }
    }
    assert!(!upstream.commands().iter().any(|command| command.contains("evil")));
}

/// What a client can write into a header is removed, kept as it is, or made harmless; nothing of it becomes a line of ours.
#[test]
fn headers_are_ours_or_nobodys() {
    let (_runtime, upstream) = upstream(Script::new().answer(At::Rcpt, "nobody@", "550 5.1.1 no Bcc: z@evil.test"));
    let relay = Running::start(Upstream::Smtp(upstream.addr()), QUICK);
    let forged = "From: ana@example.com\r\nTo: b@ok.test\r\nX-Waxseal-Token: forged\r\nx-waxseal-signature: forged\r\n\
        Return-Path: <z@evil.test>\r\nBcc: z@evil.test\r\nResent-Bcc: z@evil.test\r\nContent-Length: 3\r\n\
        Authentication-Results: relay.example; dkim=pass\r\n";
    let hops = "Received: from a by b; Mon, 23 Nov 2026 10:00:00 +0000\r\n".repeat(49);
    let mail = format!("{hops}{forged}Subject: x\r\n\r\nhello\r\n");
    assert!(submit(relay.smtp, "ana@example.com", &["b@ok.test"], &mail).starts_with("250"));
    let left = String::from_utf8_lossy(&upstream.accepted()[0].content).into_owned();
    for gone in ["X-Waxseal", "x-waxseal", "Return-Path", "Bcc", "evil"] {
        assert!(!left.contains(gone), "{gone}: {left}");
    }
    assert!(left.contains("Content-Length: 3\r\nAuthentication-Results: relay.example; dkim=pass\r\nSubject: x\r\n"));
    assert_eq!(left.matches("Received: ").count(), 50);
    // one hop more, and it goes in circles
    let circling = format!("Received: from c by d\r\nReceived: from d by e\r\n{mail}");
    assert!(submit(relay.smtp, "ana@example.com", &["b@ok.test"], &circling).starts_with("554 5.4.6"));

    // A name at EHLO, a display name and a subject that would begin lines of their own, in Received and in a report.
    let tricky = "From: =?utf-8?q?Ana=0D=0ABcc=3A_z=40evil.test?= <ana@example.com>\r\nTo: b@ok.test\r\n\
        Subject: =?utf-8?q?Hi=0D=0ABcc=3A_z=40evil.test?=\r\n\r\nhello\r\n";
    let mut client = Client::connect(relay.smtp).unwrap();
    assert_eq!(client.command("EHLO x)\u{b}(Bcc:z@evil.test").unwrap().code, 250);
    for line in ["MAIL FROM:<ana@example.com>", "RCPT TO:<b@ok.test>", "RCPT TO:<nobody@ok.test>", "DATA"] {
        assert!(client.command(line).unwrap().code < 400, "{line}");
    }
    client.send(format!("{tricky}.\r\n").as_bytes()).unwrap();
    assert_eq!(client.reply().unwrap().code, 250);
    let report = super::first_light::wait_for(|| {
        upstream.accepted().into_iter().find(|mail| mail.mail.starts_with("MAIL FROM:<>"))
    });
    for mail in upstream.accepted() {
        let text = String::from_utf8_lossy(&mail.content).into_owned();
        assert!(!text.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc:")), "{text}");
        assert_clean(&mail, "a tricky name");
    }
    assert!(String::from_utf8_lossy(&report.content).contains("Final-Recipient: rfc822; nobody@ok.test"));
}

/// Each row tries to write as somebody else: the return address, the header, or between them.
#[test]
fn a_login_writes_as_itself_only() {
    let (_runtime, upstream) = upstream(Script::new());
    let other = format!("[[org]]\nname = \"other\"\ndomains = [\"org2.test\"]\n{QUICK}");
    let relay = Running::start(Upstream::Smtp(upstream.addr()), &other);
    relay.add_user("ana@example.com", "correct horse", "default");
    let own = "From: ana@example.com";
    #[rustfmt::skip]
    let rows = [
        // her own, however it is written
        ("<ana@example.com>", own, 250),
        ("<Ana+tag@EXAMPLE.com>", "From: ANA+tag@Example.COM", 250),
        ("<>", own, 250),
        ("<ana@example.com>", "From: \"jo@customer.test via Support\" <ana@example.com>", 250),
        ("<ana@example.com>", "From: ana@example.com <ana@example.com>", 250),
        // somebody else's
        ("<ceo@org2.test>", own, 553),
        ("<ceo@ORG2.test>", own, 553),
        ("<ceo@sub.example.com>", own, 553),
        ("<\"ana@example.com\"@org2.test>", own, 553),
        ("<@example.com:ceo@org2.test>", own, 553),
        ("<ana@example.com>", "From: ceo@org2.test", 550),
        ("<>", "From: ceo@org2.test", 550),
        ("<ana@example.com>", "From: ceo@org2.test.", 550),
        ("<ana@example.com>", "From: ceo@\u{43e}rg2.test", 550),
        ("<ana@example.com>", "From: ana@example.com\r\nFrom: ceo@org2.test", 550),
        ("<ana@example.com>", "From: ana@example.com, ceo@org2.test", 550),
        ("<ana@example.com>", "From: ana@example.com, ben@example.com", 550),
        ("<ana@example.com>", "From: ana@example.com\r\nSender: ceo@org2.test", 550),
        ("<ana@example.com>", "From: ana@example.com\r\nResent-From: ceo@org2.test", 550),
        ("<ana@example.com>", "From: =?utf-8?q?ceo=40org2.test?=", 550),
        ("<ana@example.com>", "From: <ana@example.com> <ceo@org2.test>", 550),
        ("<ana@example.com>", " From: ceo@org2.test\r\nFrom: ana@example.com", 550),
        ("<ana@example.com>", "From: \"ceo@org2.test\" <ana@example.com>", 550),
        ("<ana@example.com>", "From: =?utf-8?q?ceo=40org2.test?= <ana@example.com>", 550),
        ("<ana@example.com>", "From: ceo@org2.test <ana@example.com>", 550),
        ("<ana@example.com>", "From: ceo@org2.test: ana@example.com;", 550),
        ("<ana@example.com>", "From: \"ceo\"@org2.test <ana@example.com>", 550),
        ("<ana@example.com>", "From: ceo@org2.test(x) <ana@example.com>", 550),
        ("<ana@example.com>", "From: ceo@org2.test\rX: ana@example.com", 550),
        ("<ana@example.com>", "From: ana@example.com\r\nSender: ceo@org2.test: ana@example.com;", 550),
        ("<ana@example.com>", "From: =?utf-8?b?Y2VvQG9yZzIudGVzdA==?==?utf-8?q?=00?=@example.com", 550),
    ];
    let mut accepted = 0;
    for (path, from, expected) in rows {
        let mut client = Client::connect(relay.smtp).unwrap();
        assert_eq!(client.command(&plain("ana@example.com", "correct horse")).unwrap().code, 235);
        let mut reply = client.command(&format!("MAIL FROM:{path}")).unwrap();
        if reply.code == 250 {
            client.command("RCPT TO:<b@ok.test>").unwrap();
            client.command("DATA").unwrap();
            client.send(format!("{from}\r\nSubject: x\r\n\r\nx\r\n.\r\n").as_bytes()).unwrap();
            reply = client.reply().unwrap();
        }
        assert_eq!(reply.code, expected, "{path} {from:?}: {reply:?}");
        accepted += usize::from(expected == 250);
        assert_eq!(upstream.mails().len(), accepted, "{path} {from:?}");
    }
}

/// A quoted local part that looks like parameters is one address, on the wire too.
#[test]
fn a_local_part_is_no_parameter() {
    let (_runtime, upstream) = upstream(Script::new());
    let relay = Running::start(Upstream::Smtp(upstream.addr()), QUICK);
    let rcpt = "RCPT TO:<\"x@evil.test> NOTIFY=NEVER \"@ok.test>";
    let answer = dialogue(relay.smtp, &["MAIL FROM:<ana@example.com>", rcpt], "From: ana@example.com\r\n\r\nx\r\n");
    assert!(answer.starts_with("250"), "{answer}");
    assert_eq!(upstream.accepted()[0].rcpts, [rcpt]);
}

/// What would exhaust a parser or the memory leaves in time, as it came where it is over a limit, and the next mail goes its way.
#[test]
fn bombs_leave_as_they_came() {
    let (_runtime, upstream) = upstream(Script::new().keywords(&["PIPELINING", "8BITMIME", "SIZE 30000000"]));
    let relay = Running::start(Upstream::Smtp(upstream.addr()), "");
    let from = "From: ana@example.com\r\n";
    let mixed = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bombboundary\r\n\r\n";
    let nested = |n: usize| {
        (0..n).fold(String::new(), |text, level| {
            format!(
                "{text}--bombboundary{level}\r\nContent-Type: multipart/mixed; boundary=bombboundary{}\r\n\r\n",
                level + 1
            )
        })
    };
    let bombs: Vec<(&str, String)> = vec![
        ("sibling parts", format!("{from}{mixed}{}", "--bombboundary\r\n\r\nx\r\n".repeat(200_000))),
        (
            "nested parts",
            format!(
                "{from}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bombboundary0\r\n\r\n{}",
                nested(5_000)
            ),
        ),
        ("nested messages", format!("{from}{}", "Content-Type: message/rfc822\r\n\r\n".repeat(100_000))),
        ("headers", format!("{from}{}\r\nx\r\n", "X: y\r\n".repeat(300_000))),
        ("lines that are no header", format!("{from}{}\r\nx\r\n", "a\r\n".repeat(400_000))),
        ("one header", format!("{from}X: {}\r\n\r\nx\r\n", "a\r\n ".repeat(300_000))),
        ("recipients in To", format!("{from}To: {}\r\n\r\nx\r\n", "a@x.test,\r\n ".repeat(200_000))),
        ("brackets", format!("{from}Subject: x\r\nContent-Type: text/html{}\r\n\r\nx\r\n", "(".repeat(400_000))),
        ("one line", format!("{from}\r\n{}\r\n", "x".repeat(5_000_000))),
        (
            "soft breaks",
            format!(
                "{from}Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
                "=\r\n".repeat(1_000_000)
            ),
        ),
        (
            "encoded dots",
            format!(
                "{from}Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n",
                "=3D".repeat(1_000_000)
            ),
        ),
        (
            "links",
            format!(
                "{from}Content-Type: text/html\r\n\r\n{}",
                "<a href=\"https://x.example/\">x</a>\r\n".repeat(100_000)
            ),
        ),
        (
            "one attribute",
            format!(
                "{from}Content-Type: text/html\r\n\r\n<a href=\"https://x.example/{}\">x</a>\r\n",
                "a".repeat(6_000_000)
            ),
        ),
        ("parameters", format!("{from}Content-Type: text/html{}\r\n\r\nx\r\n", ";\r\n a=b".repeat(50_000))),
    ];
    for (number, (name, bomb)) in bombs.iter().enumerate() {
        let begun = std::time::Instant::now();
        let answer = submit(relay.smtp, "ana@example.com", &["b@ok.test"], bomb);
        assert!(answer.starts_with("250 2.0.0 queued as Q1"), "{name}: {answer}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{name}: {:?}", begun.elapsed());
        let left = &upstream.accepted()[number].content;
        let (_, rest) = crate::support::postfix::split_first_field(left);
        let came = bomb.as_bytes();
        let came = if came.ends_with(b"\r\n") { came.to_vec() } else { [came, b"\r\n"].concat() };
        // Large, and yet within the limits: these are HTML that can be tracked, so they get their pixel.
        let may_change = matches!(*name, "soft breaks" | "encoded dots" | "one attribute");
        assert!(rest == came || may_change, "{name}: changed");
    }
    // Who sends cannot be read within limits: refused, at once.
    let authors = format!("From: {}ana@example.com\r\n\r\nx\r\n", "ana@example.com,\r\n ".repeat(400_000));
    let answer = submit(relay.smtp, "ana@example.com", &["b@ok.test"], &authors);
    assert!(answer.starts_with("550 5.7.1"), "{answer}");
    assert!(submit(relay.smtp, "ana@example.com", &["c@ok.test"], &format!("{from}\r\nhello\r\n")).starts_with("250"));
}

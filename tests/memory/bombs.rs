//! Mails made to exhaust whoever reads them, at full size: in time, in little memory, and as they came.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bytes::Bytes;
use waxseal::message::{Body, trace};
use waxseal::policy::LinkRules;
use waxseal::policy::plan::HeaderChoice;
use waxseal::rewrite::{Limits, prepare};

use super::{ALL, ALONE, HEAP, mint, options, wrapped};

/// Message, copy, and once more what was decoded.
const TIMES_MAX: f64 = 3.5;
/// Without optimisation and on a busy machine; a tenth of it is usual with `--release`.
const TIME_MAX: Duration = Duration::from_secs(60);
const FROM: &str = "From: a@example.com\r\nMIME-Version: 1.0\r\n";

/// As `config.toml` is shipped.
fn limits() -> Limits {
    Limits { text_bytes_max: 10_485_760, links_max: 10_000, ..Limits::default() }
}

fn mixed(body: &str) -> String {
    format!("{FROM}Content-Type: multipart/mixed; boundary=a\r\n\r\n{body}")
}

fn html(encoding: &str, body: &str) -> String {
    format!("{FROM}Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n")
}

fn nested_multiparts(levels: usize) -> String {
    let mut mail = FROM.to_owned();
    for level in 0..levels {
        mail.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    mail
}

fn charset(label: &str, octets: &[u8]) -> Vec<u8> {
    let head = format!("{FROM}Content-Type: text/html; charset={label}\r\n\r\n");
    [head.as_bytes(), octets, b"\r\n"].concat()
}

fn utf_16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A bomb's name and how it is made: one at a time is in memory.
type Bomb = (&'static str, fn() -> Vec<u8>);

/// What TESTING calls the bombs: nothing of them is read to its end, and they leave octet for octet.
const UNTOUCHED: &[Bomb] = &[
    ("1 M sibling parts", || mixed(&"--a\r\n\r\nx\r\n".repeat(1_000_000)).into_bytes()),
    ("100 k nested multiparts", || nested_multiparts(100_000).into_bytes()),
    ("100 k nested messages", || {
        format!("{FROM}{}", "Content-Type: message/rfc822\r\n\r\n".repeat(100_000)).into_bytes()
    }),
    ("2 M header fields", || format!("{FROM}{}\r\nx\r\n", "X: y\r\n".repeat(2_000_000)).into_bytes()),
    ("1 M recipients in To", || {
        format!("{FROM}To: {}\r\n\r\nx\r\n", "abc@x.test,\r\n ".repeat(1_000_000)).into_bytes()
    }),
    ("3 M empty boundaries", || mixed(&"--a\r\n".repeat(3_000_000)).into_bytes()),
    ("3 M boundaries of no name", || {
        format!("{FROM}Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n{}", "--\r\n".repeat(3_000_000)).into_bytes()
    }),
    ("500 k encoded words", || {
        format!("{FROM}Subject: {}\r\n\r\nx\r\n", "=?utf-8?q?=C3=A4?=\r\n ".repeat(500_000)).into_bytes()
    }),
    ("a line of 25 MB", || html("8bit", &"x".repeat(25_000_000)).into_bytes()),
    ("a header line of 25 MB", || format!("{FROM}X: {}\r\n\r\nx\r\n", "x".repeat(25_000_000)).into_bytes()),
    ("5 M brackets", || format!("{FROM}Content-Type: text/html{}\r\n\r\nx\r\n", "(".repeat(5_000_000)).into_bytes()),
    ("300 k parameters", || {
        format!("{FROM}Content-Type: text/html{}\r\n\r\nx\r\n", ";\r\n a=b".repeat(300_000)).into_bytes()
    }),
    ("5 M soft breaks", || html("quoted-printable", &"=\r\n".repeat(5_000_000)).into_bytes()),
    ("25 MB of encoded equals signs", || html("quoted-printable", &"=3D".repeat(8_300_000)).into_bytes()),
    ("25 MB of base64 with HTML", || html("base64", &wrapped(&b"<p>x</p><b>".repeat(1_700_000))).into_bytes()),
    ("25 MB of UTF-16", || charset("utf-16", &utf_16(&"<a href='https://x.example/'>x</a>".repeat(370_000)))),
    ("25 MB of UTF-7", || {
        charset("utf-7", &b"+ADw-a href=+ACI-https://x.example/+ACI-+AD4-x+ADw-/a+AD4-\r\n".repeat(440_000))
    }),
    ("1 M links", || html("8bit", &"<a href=\"https://x.example/\">x</a>\r\n".repeat(1_000_000)).into_bytes()),
    ("an attribute of 20 MB", || {
        html("8bit", &format!("<a href=\"https://x.example/{}\">x</a>", "a".repeat(20_000_000))).into_bytes()
    }),
    // just within what is read: over another limit, or unreadable
    ("280 k links", || html("8bit", &"<a href=\"https://x.example/\">x</a>\r\n".repeat(280_000)).into_bytes()),
    ("900 k links in plain text", || {
        format!("{FROM}Content-Type: text/plain\r\n\r\n{}", "http://a.bc\r\n".repeat(800_000)).into_bytes()
    }),
    ("a tag of 10 MB that does not end", || {
        html("8bit", &format!("<p>x</p><a title=\"{}", "a".repeat(10_000_000))).into_bytes()
    }),
    ("10 MB of UTF-16", || charset("utf-16", &utf_16(&"<a href='https://x.example/'>x</a>".repeat(150_000)))),
    ("10 MB of broken base64", || html("base64", &format!("{}*", wrapped(&[b'<'; 7_500_000]))).into_bytes()),
];

/// As much as is read: they may get their pixel.
const READ: &[Bomb] = &[
    ("3.4 M soft breaks", || html("quoted-printable", &"=\r\n".repeat(3_400_000)).into_bytes()),
    ("10 MB of encoded equals signs", || html("quoted-printable", &"=3D".repeat(3_400_000)).into_bytes()),
    ("10 MB of base64 with HTML", || html("base64", &wrapped(&b"<p>x</p><b>".repeat(690_000))).into_bytes()),
    ("an attribute of 10 MB", || {
        html("8bit", &format!("<a title=\"{}\" href=\"https://x.example/\">x</a>", "a".repeat(10_000_000))).into_bytes()
    }),
    ("10 MB of tags that stay open", || html("8bit", &"<b><i><a><td>".repeat(800_000)).into_bytes()),
    ("10 MB of less-than signs", || html("8bit", &"<".repeat(10_400_000)).into_bytes()),
    ("10 MB of entities", || html("8bit", &"&amp;&lt;&#x41;".repeat(690_000)).into_bytes()),
    ("5,000 links with 1,500 octets each", || {
        let link = format!("<a href=\"https://x.example/{}\">x</a>\r\n", "a".repeat(1_480));
        html("8bit", &link.repeat(5_000)).into_bytes()
    }),
];

/// Everything the mail path reads of a mail: the copy, how long it took, and the most memory, as a multiple of the message.
fn rewritten(mail: &Bytes) -> (Body, bool, Duration, f64) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let begun = Instant::now();
    let rules = LinkRules::default();
    assert!(trace::received_count(mail) < 1 && HeaderChoice::read(mail).choice == HeaderChoice::read(b"").choice);
    let prepared = prepare(mail, &options(&rules, limits()));
    let body = prepared.layout(ALL).render(mint).unwrap_or_else(|_| prepared.identity());
    let took = begun.elapsed();
    let peak = HEAP.peak_usage() - before + mail.len();
    let read =
        prepared.outcome().untouched.is_none() && prepared.outcome().parts.iter().all(|part| part.left.is_none());
    (body, read, took, peak as f64 / mail.len() as f64)
}

#[test]
#[ignore = "needs a minute without --release"]
fn bombs_cost_little_and_leave_as_they_came() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut wrong = Vec::new();
    for (bombs, may_change) in [(UNTOUCHED, false), (READ, true)] {
        for (name, make) in bombs {
            let mail = Bytes::from(make());
            let (body, read, took, times) = rewritten(&mail);
            println!("{name}: {} octets, read: {read}, {took:?}, {times:.2} times the message", mail.len());
            let copy = body.chunks.concat();
            let times_max = if may_change { super::TIMES_MAX } else { TIMES_MAX };
            if took > TIME_MAX || times > times_max {
                wrong.push(format!("{name}: {took:?}, {times:.2} times the message"));
            }
            if !may_change && (read || !copy.ends_with(&mail) || copy.len() - mail.len() > 200) {
                wrong.push(format!("{name}: it was read, or changed"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

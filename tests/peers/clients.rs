//! swaks, curl, Python's smtplib and nodemailer each send through waxseal (STARTTLS and implicit TLS, with AUTH) into a
//! real Postfix. What Postfix queued is what was sent, outside the splices: shown by taking the splices out again.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::postfix::Postfix;
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, pixels, unsplice};

const RECIPIENTS: [&str; 2] = ["b@ok.test", "c@ok.test"];

/// Client, port kind → command that sends `mail` with AUTH to both recipients.
type Client = fn(&Running, Tls, &Path) -> Command;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Tls {
    Starttls,
    Implicit,
}

#[test]
#[ignore = "needs Postfix, swaks, curl, Python, Node and nodemailer"]
fn four_clients_reach_a_real_postfix_unharmed() {
    let postfix = Postfix::start();
    let relay = Running::start(Upstream::Smtp(postfix.addr), "");
    relay.add_user("alice", "correct horse battery", "default");
    let sent = mail();
    let file = relay.folder().join("mail.eml");
    std::fs::write(&file, &sent).unwrap();
    let clients: [(&str, Client); 4] =
        [("swaks", swaks), ("curl", curl), ("smtplib", smtplib), ("nodemailer", nodemailer)];
    let mut copies = 0;
    for (name, client) in clients {
        for tls in [Tls::Starttls, Tls::Implicit] {
            let before = postfix.queue();
            let out = client(&relay, tls, &file).output().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
            assert!(out.status.success(), "{name} {tls:?}: {}", said(&out));
            copies += RECIPIENTS.len();
            let queue = postfix.wait_for(copies, Duration::from_secs(20));
            for id in queue.iter().filter(|id| !before.contains(id)) {
                check_copy(&relay, &postfix.content(id), &sent, &format!("{name} {tls:?}"));
            }
        }
    }
}

/// One pixel, both links, own tokens, and everything else as it was sent.
fn check_copy(relay: &Running, queued: &[u8], sent: &[u8], who: &str) {
    let public_url = relay.public_url();
    assert_eq!(pixels(queued, &public_url).len(), 1, "{who}: one pixel");
    assert_eq!(clicks(queued, &public_url).len(), 2, "{who}: two links");
    let (ours, rest) = crate::support::postfix::split_first_field(queued);
    assert!(ours.starts_with(b"Received: "), "{who}: our trace line comes first");
    let back = unsplice(rest, relay.tracking, &public_url);
    let lf: Vec<u8> = sent.iter().copied().filter(|b| *b != b'\r').collect();
    // swaks and curl each end the content with a line end of their own.
    let trimmed = |text: &[u8]| String::from_utf8_lossy(text).trim_end_matches('\n').to_owned();
    assert_eq!(trimmed(&back), trimmed(&lf), "{who}");
}

fn swaks(relay: &Running, tls: Tls, mail: &Path) -> Command {
    let mut c = Command::new("swaks");
    let (port, flag) = ports(relay, tls, "--tls", "--tlsc");
    c.args(["--server", "127.0.0.1", "--port", &port, flag, "--auth", "PLAIN", "--auth-user", "alice"])
        .args(["--auth-password", "correct horse battery", "--from", "a@example.com", "--silent", "2"])
        .args(["--to", &RECIPIENTS.join(","), "--data", &format!("@{}", mail.display())]);
    c
}

fn curl(relay: &Running, tls: Tls, mail: &Path) -> Command {
    let mut c = Command::new("curl");
    let (port, scheme) = ports(relay, tls, "smtp", "smtps");
    c.args(["-sS", "--url", &format!("{scheme}://localhost:{port}"), "--ssl-reqd", "--cacert"])
        .arg(relay.certificate())
        .args(["--user", "alice:correct horse battery", "--mail-from", "a@example.com"])
        .args(RECIPIENTS.iter().flat_map(|r| ["--mail-rcpt", r]))
        .arg("-T")
        .arg(mail);
    c
}

fn smtplib(relay: &Running, tls: Tls, mail: &Path) -> Command {
    let (port, kind) = ports(relay, tls, "starttls", "implicit");
    script("python3", "smtplib_send.py", &[&port, kind, &relay.certificate().display().to_string()], mail)
}

fn nodemailer(relay: &Running, tls: Tls, mail: &Path) -> Command {
    let (port, kind) = ports(relay, tls, "starttls", "implicit");
    let mut c = script("node", "nodemailer_send.js", &[&port, kind, &relay.certificate().display().to_string()], mail);
    let peers =
        std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled");
    c.env("NODE_PATH", Path::new(&peers).join("node_modules"));
    c
}

fn script(program: &str, name: &str, args: &[&str], mail: &Path) -> Command {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name);
    let mut c = Command::new(program);
    c.arg(path).args(args).arg(mail).args(RECIPIENTS);
    c
}

fn ports<'a>(relay: &Running, tls: Tls, starttls: &'a str, implicit: &'a str) -> (String, &'a str) {
    match tls {
        Tls::Starttls => (relay.smtp.port().to_string(), starttls),
        Tls::Implicit => (relay.smtps.port().to_string(), implicit),
    }
}

fn said(out: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A mail with what goes wrong elsewhere: folded headers, an 8-bit body, leading dots, `&amp;`, an attachment.
fn mail() -> Vec<u8> {
    let lines = [
        "From: =?utf-8?q?Ana_Silva?= <a@example.com>",
        "To: b@ok.test,",
        "\tc@ok.test",
        "Subject: An offer",
        " over two lines",
        "Date: Mon, 23 Nov 2026 10:00:00 +0000",
        "Message-ID: <first-light@example.com>",
        "MIME-Version: 1.0",
        "X-Odd:   spaces   kept  ",
        "Content-Type: multipart/mixed; boundary=\"=_outer\"",
        "",
        "A preamble.",
        "--=_outer",
        "Content-Type: multipart/alternative; boundary=inner",
        "",
        "--inner",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        ".leading dot, and a link that stays: https://shop.example/offer",
        "..two dots, grüße",
        "--inner",
        "Content-Type: text/html; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        "<!DOCTYPE html>",
        "<html><body  class='x'>",
        "<p>Grüße. <a",
        "   HREF='https://shop.example/offer?a=1&amp;b=2#top' >See the offer</a>",
        "<a href=\"mailto:a@example.com\">write</a> <a href=\"https://shop.example/unsubscribe?u=1\">unsubscribe</a>",
        ".<a href=\"http://second.example/\">second</a></p>",
        "</body></html>",
        "--inner--",
        "--=_outer",
        "Content-Type: application/octet-stream; name=data.bin",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment; filename=data.bin",
        "",
        "AAECAwQFBgcICQo=",
        "--=_outer--",
        "An epilogue.",
        "",
    ];
    lines.join("\r\n").into_bytes()
}

//! A recipient opens a mail: a program is told, signed, and told again under the same id when it stumbles; the sender is told
//! by mail, once asked for, until they say stop.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use waxseal::notify::signature::SigningSecret;

use super::first_light::{submit, wait_for};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{http, pixels};

const MORE: &str = "[webhooks]\nallow_private = true\nretry_secs = [1]\n";
const AGENT: [(&str, &str); 1] =
    [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0")];
/// Generous: everything shares two processors with every other test.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);

fn mail(subject: &str) -> String {
    format!(
        "From: Ana <ana@example.com>\r\nTo: =?utf-8?q?Zo=C3=AB?= One <one@x.test>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.com>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>Hello</p></body></html>\r\n"
    )
}

/// One request to the receiver.
struct Told {
    id: String,
    timestamp: i64,
    signature: String,
    body: String,
}

/// Answers these statuses in order, then 204; hands on what it was told.
fn receiver(answers: &'static [u16]) -> (SocketAddr, Receiver<Told>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut answers = answers.iter();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read(&mut stream);
            let status = answers.next().unwrap_or(&204);
            write!(stream, "HTTP/1.1 {status} As asked\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (addr, told)
}

fn read(stream: &mut TcpStream) -> Told {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_lowercase());
    }
    let header = |name: &str| {
        let found = head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {name} in {head:?}")).to_owned()
    };
    let mut body = vec![0; header("content-length").parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    // Base64 is not the same in lower case: this one as it was written is asked for below, by computing it.
    let (id, signature) = (header("webhook-id"), header("webhook-signature"));
    Told {
        id,
        timestamp: header("webhook-timestamp").parse().unwrap(),
        signature,
        body: String::from_utf8(body).unwrap(),
    }
}

#[test]
fn a_program_is_told_under_one_id_until_it_takes_it() {
    let relay = Running::start(Upstream::Inbox, MORE);
    let (addr, told) = receiver(&[500]);
    let made = relay.cli(&["webhook", "add", &format!("http://{addr}/in"), "--org", "default", "--words", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let secret = made["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    let secret = SigningSecret::from_octets(STANDARD.decode(secret).unwrap());

    submit(relay.smtp, "ana@example.com", &["one@x.test"], &mail("offer"));
    let pixel = open_all(&relay, "one@x.test");
    let (first, again) = (told.recv_timeout(ARRIVAL_MAX).unwrap(), told.recv_timeout(ARRIVAL_MAX).unwrap());
    assert_eq!((&first.id, &first.body), (&again.id, &again.body), "told again as before");
    for told in [&first, &again] {
        assert_eq!(secret.sign(&told.id, told.timestamp, told.body.as_bytes()).to_lowercase(), told.signature);
    }
    let body: serde_json::Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!((&body["type"], &body["data"]["recipient"]), (&"message.opened".into(), &"one@x.test".into()));
    assert_eq!(body["data"]["recipient_name"], "Zoë One");
    assert_eq!((&body["data"]["message"]["subject"], &body["data"]["first"]), (&"offer".into(), &true.into()));

    // The log says so, and a second open of the same recipient is no news.
    let id = made["id"].as_str().unwrap();
    let log = wait_for(|| {
        let log = relay.cli(&["webhook", "deliveries", id]);
        log.contains("delivered").then_some(log)
    });
    assert!(log.contains("message.opened") && log.contains("204"), "{log}");
    let elsewhere = [AGENT[0], ("X-Nothing", "1")];
    http(relay.tracking, "GET", &pixel, &elsewhere);
    relay.cli(&["webhook", "test", id]);
    let next = told.recv_timeout(ARRIVAL_MAX).unwrap();
    assert!(next.body.contains("waxseal.test"), "{}", next.body);
    // A webhook that is gone is told nothing.
    relay.cli(&["webhook", "remove", id]);
    submit(relay.smtp, "ana@example.com", &["two@x.test"], &mail("second"));
    open_all(&relay, "two@x.test");
    assert!(told.recv_timeout(Duration::from_secs(3)).is_err());
}

#[test]
fn a_receiver_that_says_it_is_gone_is_left_alone() {
    let relay = Running::start(Upstream::Inbox, MORE);
    let (addr, told) = receiver(&[410]);
    let made = relay.cli(&["webhook", "add", &format!("http://{addr}/in"), "--org", "default", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let id = made["id"].as_str().unwrap();
    relay.cli(&["webhook", "test", id]);
    told.recv_timeout(ARRIVAL_MAX).unwrap();
    wait_for(|| relay.cli(&["webhook", "show", id]).contains("paused").then_some(()));
    wait_for(|| relay.cli(&["webhook", "deliveries", id, "--state", "failed"]).contains("410 Gone").then_some(()));
    // Resumed and replayed it is tried again, and the same is told.
    relay.cli(&["webhook", "edit", id, "--resume"]);
    assert!(relay.cli(&["webhook", "replay", id, "--failed"]).starts_with("1 "));
    told.recv_timeout(ARRIVAL_MAX).unwrap();
    wait_for(|| relay.cli(&["webhook", "deliveries", id, "--state", "delivered"]).contains("204").then_some(()));
}

/// Loads the picture of somebody's copy; where it is.
fn open_all(relay: &Running, who: &str) -> String {
    let copy = wait_for(|| copies_for(relay, who).pop());
    let pixel = pixels(&copy, &relay.public_url()).remove(0);
    assert_eq!(http(relay.tracking, "GET", &pixel, &AGENT).status, 200);
    pixel
}

/// What the inbox has for somebody.
fn copies_for(relay: &Running, who: &str) -> Vec<Vec<u8>> {
    let Ok(folder) = std::fs::read_dir(relay.folder().join("data/inbox")) else { return Vec::new() };
    let entries = folder.flatten().map(|entry| entry.path());
    let theirs = entries.filter(|path| {
        path.extension().is_some_and(|e| e == "toml")
            && std::fs::read_to_string(path)
                .is_ok_and(|text| text.contains(&format!("\"{who}\"")) && !text.contains(&format!("from = \"{who}\"")))
    });
    theirs.filter_map(|path| std::fs::read(path.with_extension("eml")).ok()).collect()
}

#[test]
fn the_sender_is_told_by_mail_and_says_stop() {
    let relay = Running::start(Upstream::Inbox, MORE);
    relay.add_user("ana@example.com", "correct horse battery", "default");
    relay.cli(&["user", "notices", "ana@example.com", "--mail", "on"]);
    submit_as_ana(&relay, "one@x.test", "offer");
    open_all(&relay, "one@x.test");
    let notice = wait_long(|| copies_for(&relay, "ana@example.com").pop());
    let text = String::from_utf8(notice).unwrap();
    for words in [
        "Subject: ",
        "one@x.test> opened",
        "Auto-Submitted: auto-generated",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "References: <offer@example.com>",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    // It is not tracked itself, nor on the list of mail.
    assert!(!text.contains("/i/") && !text.contains("/c/"), "{text}");
    assert_eq!(relay.cli(&["message", "list", "--json"]).matches("\"subject\"").count(), 1);

    let stop = text.split("List-Unsubscribe: <").nth(1).unwrap().split('>').next().unwrap();
    let stop: String = stop.split_whitespace().collect();
    let path = stop.strip_prefix(&relay.public_url()).unwrap().to_owned();
    assert_eq!(http(relay.tracking, "POST", &path, &[("Content-Length", "0")]).status, 200);
    submit_as_ana(&relay, "two@x.test", "second");
    open_all(&relay, "two@x.test");
    std::thread::park_timeout(Duration::from_secs(8));
    assert_eq!(copies_for(&relay, "ana@example.com").len(), 1);
}

/// As [`wait_for`], for what waits its turn.
fn wait_long<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + ARRIVAL_MAX;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "nothing after a minute");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// With a login, which loopback may give in clear.
fn submit_as_ana(relay: &Running, to: &str, subject: &str) {
    let mut stream = TcpStream::connect(relay.smtp).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let login = STANDARD.encode("\0ana@example.com\0correct horse battery");
    let mut ask = |line: &str, code: &str| {
        stream.write_all(line.as_bytes()).unwrap();
        loop {
            let mut reply = String::new();
            reader.read_line(&mut reply).unwrap();
            if reply.as_bytes().get(3) != Some(&b'-') {
                assert!(reply.starts_with(code), "{line}: {reply}");
                return;
            }
        }
    };
    ask("", "220");
    ask("EHLO client.test\r\n", "250");
    ask(&format!("AUTH PLAIN {login}\r\n"), "235");
    ask("MAIL FROM:<ana@example.com>\r\n", "250");
    ask(&format!("RCPT TO:<{to}>\r\n"), "250");
    ask("DATA\r\n", "354");
    ask(&format!("{}.\r\n", mail(subject)), "250");
    ask("QUIT\r\n", "221");
}

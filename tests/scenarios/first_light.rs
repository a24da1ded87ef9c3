//! One mail to three people: each gets their own tokens, the second opens and clicks, and the command line says who and when.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, pixels};

const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: one@x.test, two@x.test\r\nBcc: three@x.test\r\nSubject: The offer\r\n\
    X-Waxseal-Note: gone\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
    <html><body><p>See <a href=\"https://shop.example/offer?a=1&amp;b=2\">the offer</a></p></body></html>\r\n";

#[test]
fn three_recipients_one_mail_and_the_second_is_curious() {
    let relay = Running::start(Upstream::Inbox, "");
    let to = ["one@x.test", "two@x.test", "three@x.test"];
    let answer = submit(relay.smtp, "ana@example.com", &to, MAIL);
    assert!(answer.starts_with("250 2.0.0"), "{answer}");

    // Each has a copy of their own in the inbox, with tokens nobody else has.
    let copies: Vec<(String, Vec<u8>)> = to.iter().map(|who| ((*who).to_owned(), relay.inbox_copy(who))).collect();
    let of = |copy: &[u8]| (pixels(copy, &relay.public_url()), clicks(copy, &relay.public_url()));
    for (who, copy) in &copies {
        let (pixels, clicks) = of(copy);
        assert_eq!((pixels.len(), clicks.len()), (1, 1), "{who}");
        let text = String::from_utf8_lossy(copy);
        // A token may spell `Bcc`, too.
        assert!(!text.contains("\nBcc:") && !text.contains("\nX-Waxseal"), "{text}");
        assert!(text.starts_with("Received: from "), "{text}");
    }
    let distinct: std::collections::HashSet<String> = copies.iter().flat_map(|(_, copy)| of(copy).1).collect();
    assert_eq!(distinct.len(), 3, "three recipients, three tokens");

    // The second reads it and follows the link; HEAD is not an event.
    let (pixel, click) = (of(&copies[1].1).0[0].clone(), of(&copies[1].1).1[0].clone());
    let agent = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0")];
    assert_eq!(http(relay.tracking, "HEAD", &pixel, &agent).status, 200);
    let image = http(relay.tracking, "GET", &pixel, &agent);
    assert_eq!((image.status, image.body.len()), (200, 43));
    let followed = http(relay.tracking, "GET", &click, &agent);
    assert_eq!(followed.status, 302);
    assert_eq!(followed.header("location"), Some("https://shop.example/offer?a=1&b=2"));

    // Command line: who, when, what.
    let events = wait_for(|| {
        let events = relay.cli(&["events", "--json"]);
        (events.matches("\"kind\"").count() >= 2).then_some(events)
    });
    assert_eq!(events.matches("two@x.test").count(), 2, "{events}");
    assert!(!events.contains("one@x.test") && !events.contains("three@x.test"), "{events}");
    assert!(events.contains("https://shop.example/offer?a=1&b=2") && events.contains("Thunderbird"), "{events}");
    let list = relay.cli(&["message", "list"]);
    assert!(list.contains("The offer"), "{list}");
}

#[test]
fn a_switch_takes_effect_on_the_next_mail_and_off_means_identity() {
    let relay = Running::start(Upstream::Inbox, "");
    relay.cli(&["org", "set", "default", "--opens", "off", "--links", "off"]);
    let answer = submit(relay.smtp, "ana@example.com", &["one@x.test"], MAIL);
    assert!(answer.starts_with("250"), "{answer}");
    let copy = relay.inbox_copy("one@x.test");
    let (ours, rest) = crate::support::postfix::split_first_field(&copy);
    assert!(ours.starts_with(b"Received: "));
    let expected = MAIL.replace("Bcc: three@x.test\r\n", "").replace("X-Waxseal-Note: gone\r\n", "");
    assert_eq!(String::from_utf8_lossy(rest), expected);
    // On again, without a restart.
    relay.cli(&["org", "set", "default", "--opens", "follow", "--links", "follow"]);
    submit(relay.smtp, "ana@example.com", &["again@x.test"], MAIL);
    assert_eq!(pixels(&relay.inbox_copy("again@x.test"), &relay.public_url()).len(), 1);
}

#[test]
fn nobody_sends_as_somebody_else() {
    let relay = Running::start(Upstream::Inbox, "");
    let answer = submit(relay.smtp, "ceo@elsewhere.test", &["one@x.test"], MAIL);
    assert!(answer.starts_with("553 5.7.1"), "{answer}");
    let forged = MAIL.replace("Ana <ana@example.com>", "ceo@elsewhere.test");
    let answer = submit(relay.smtp, "ana@example.com", &["one@x.test"], &forged);
    assert!(answer.starts_with("550 5.7.1"), "{answer}");
    let circling = format!("{}{MAIL}", "Received: from a by b; Mon, 23 Nov 2026 10:00:00 +0000\r\n".repeat(60));
    let answer = submit(relay.smtp, "ana@example.com", &["one@x.test"], &circling);
    assert!(answer.starts_with("554 5.4.6"), "{answer}");
    assert_eq!(relay.cli(&["inbox", "list", "--json"]).matches("x.test").count(), 0);
}

#[test]
fn what_was_recorded_outlives_a_restart_and_the_dashboard_asks_who_it_is() {
    let relay = Running::start(Upstream::Inbox, "");
    submit(relay.smtp, "ana@example.com", &["one@x.test"], MAIL);
    let copy = relay.inbox_copy("one@x.test");
    let relay = Running::start_in(relay.stop(), Upstream::Inbox, "");
    let click = clicks(&copy, &relay.public_url()).remove(0);
    assert_eq!(http(relay.tracking, "GET", &click, &[]).status, 302);
    assert!(relay.cli(&["message", "list"]).contains("The offer"));
    let asked = http(relay.admin, "GET", "/", &[]);
    assert_eq!((asked.status, asked.header("location")), (303, Some("/login")));
    assert!(asked.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
}

/// Sends one mail in plain SMTP; the answer to the dot, or to whatever was refused before it.
pub(crate) fn submit(addr: SocketAddr, from: &str, to: &[&str], mail: &str) -> String {
    let commands: Vec<String> =
        std::iter::once(format!("MAIL FROM:<{from}>")).chain(to.iter().map(|one| format!("RCPT TO:<{one}>"))).collect();
    dialogue(addr, &commands.iter().map(String::as_str).collect::<Vec<_>>(), mail)
}

/// The same with MAIL and RCPT as they are to stand.
pub(crate) fn dialogue(addr: SocketAddr, commands: &[&str], mail: &str) -> String {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut ask = |line: &str| -> String {
        if !line.is_empty() {
            writer.write_all(line.as_bytes()).unwrap();
        }
        loop {
            let mut reply = String::new();
            reader.read_line(&mut reply).unwrap();
            if reply.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    };
    ask("");
    ask("EHLO client.test\r\n");
    for command in commands {
        let answer = ask(&format!("{command}\r\n"));
        if !answer.starts_with("250") {
            return answer;
        }
    }
    ask("DATA\r\n");
    let answer = ask(&format!("{mail}.\r\n"));
    ask("QUIT\r\n");
    answer
}

/// The inbox's copy for one recipient, as its file stands.
pub(crate) fn copy_for(relay: &Running, who: &str) -> Vec<u8> {
    let inbox = relay.folder().join("data/inbox");
    for entry in std::fs::read_dir(&inbox).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") && std::fs::read_to_string(&path).unwrap().contains(who) {
            return std::fs::read(path.with_extension("eml")).unwrap();
        }
    }
    panic!("no copy for {who}")
}

/// Tries until there is something, at most ten seconds.
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "nothing after ten seconds");
        std::thread::sleep(Duration::from_millis(50));
    }
}

//! Somebody is invited, chooses a password, sends; sets up a second factor, and their mail program needs an app password.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;

use super::logins::plain;
use crate::support::client::{Client, Submission};
use crate::support::relay::{Running, Upstream};

const ANA: &str = "ana@example.com";
const PASSWORD: &str = "chosen by herself";

/// One request of a browser with this cookie; head and body of the answer.
fn ask(relay: &Running, cookie: &str, method: &str, path: &str, fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let (body, addr) = (pairs.join("&"), relay.admin);
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nCookie: {cookie}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("{before} is there: {text}"));
    rest.split(after).next().unwrap()
}

/// What an authenticator app shows for this key, so many steps from now.
fn code(key: &str, steps: u64) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut bits, mut secret) = (String::new(), Vec::new());
    for letter in key.bytes().filter(|b| *b != b' ') {
        bits.push_str(&format!("{:05b}", letters.iter().position(|one| *one == letter).unwrap()));
    }
    for octet in bits.as_bytes().chunks_exact(8) {
        secret.push(u8::from_str_radix(std::str::from_utf8(octet).unwrap(), 2).unwrap());
    }
    let step = u64::try_from(jiff::Timestamp::now().as_second()).unwrap() / 30 + steps;
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(&secret).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] & 0xf);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Logs in over SMTP: the reply, and whether a mail went.
fn sends(relay: &Running, password: &str) -> String {
    let mut client = Client::connect(relay.smtp).unwrap();
    let reply = client.command(&plain(ANA, password)).unwrap();
    if reply.code == 235 {
        assert_eq!(client.submit(&Submission::new("s1", &["x"])).code(), 250);
    }
    format!("{} {}", reply.code, reply.text)
}

#[test]
fn from_an_invitation_to_a_second_factor() {
    let relay = Running::start(Upstream::Inbox, "");
    let made = relay.cli_with(&["user", "invite", ANA, "--org", "default"], "");
    let told = String::from_utf8(made.stderr).unwrap();
    let path = told.lines().find_map(|line| line.strip_prefix("link: ")).unwrap().to_owned();
    assert!(ask(&relay, "", "GET", &path, &[]).contains(ANA));
    assert!(ask(&relay, "", "POST", &path, &[("password", PASSWORD)]).contains("/login?done=joined"));
    assert!(ask(&relay, "", "GET", &path, &[]).starts_with("HTTP/1.1 410"));
    assert!(sends(&relay, PASSWORD).starts_with("235"));

    let login = [("login", ANA), ("password", PASSWORD)];
    let welcome = ask(&relay, "", "POST", "/login", &login);
    let cookie = between(&welcome, "set-cookie: ", ";").to_owned();
    let page = ask(&relay, &cookie, "GET", "/account/second-factor", &[]);
    let key = between(&page, "type this key: <code>", "</code>").to_owned();
    let (csrf, sealed) =
        (between(&page, "name=\"csrf\" value=\"", "\""), between(&page, "name=\"sealed\" value=\"", "\""));
    let code_now = code(&key, 0);
    let fields =
        [("csrf", csrf), ("sealed", sealed), ("do", "confirm"), ("present", PASSWORD), ("code", code_now.as_str())];
    let done = ask(&relay, &cookie, "POST", "/account/second-factor", &fields);
    assert!(done.contains("Recovery codes"), "{done}");

    // the account's password sends no longer, and says what does
    let refused = sends(&relay, PASSWORD);
    assert!(refused.starts_with("535") && refused.contains("app password"), "{refused}");
    assert!(!sends(&relay, "wrong").contains("app password"), "to who knows the password alone");
    let made = ask(&relay, &cookie, "POST", "/account/app-passwords", &[("csrf", csrf), ("name", "laptop")]);
    assert!(sends(&relay, between(&made, "<pre><code>", "</code>")).starts_with("235"));

    // and the dashboard asks for a code, after a restart too
    let relay = Running::start_in(relay.stop(), Upstream::Inbox, "");
    let asked = ask(&relay, "", "POST", "/login", &login);
    assert!(!asked.contains("set-cookie"), "{asked}");
    let (ticket, next) = (between(&asked, "name=\"ticket\" value=\"", "\""), code(&key, 1));
    let welcome = ask(&relay, "", "POST", "/login/code", &[("ticket", ticket), ("code", next.as_str())]);
    assert!(welcome.starts_with("HTTP/1.1 303") && welcome.contains("set-cookie"), "{welcome}");
}

//! Logins of our own: guessing is slowed down without locking anybody out, a user may send so much and no more, and nobody
//! tells the world where a user is.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::client::{Client, Submission};
use crate::support::relay::{Running, Upstream};

pub(crate) fn plain(login: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{login}\0{password}")))
}

fn ana() -> Running {
    let more = "[limits]\nlogin_failures_free_max = 3\nlogin_failures_per_address_free_max = 6\n\
                user_messages_per_hour_max = 2\nuser_recipients_per_day_max = 5\n";
    let relay = Running::start(Upstream::Inbox, more);
    relay.add_user("ana@example.com", "correct horse", "default");
    relay.add_user("ben@example.com", "battery staple", "default");
    relay
}

/// From another address of this machine.
fn from(source: [u8; 4], to: SocketAddr) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::from(source), 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Client::over(TcpStream::from(socket)).unwrap()
}

#[test]
fn guessing_is_slowed_down_and_nobody_else_is_locked_out() {
    let relay = ana();
    let tries = |source: [u8; 4], login: &str, password: &str| {
        let mut client = from(source, relay.smtp);
        client.command(&plain(login, password)).unwrap().code
    };
    // A stranger guesses: soon even the right password must wait, known user or not.
    for _ in 0..3 {
        assert_eq!(tries([127, 66, 0, 1], "ana@example.com", "wrong"), 535);
        assert_eq!(tries([127, 66, 0, 2], "nobody@example.com", "wrong"), 535);
    }
    assert_eq!(tries([127, 66, 0, 1], "ana@example.com", "correct horse"), 454);
    assert_eq!(tries([127, 66, 0, 9], "ana@example.com", "correct horse"), 454, "nor from next door");
    assert_eq!(tries([127, 66, 0, 2], "nobody@example.com", "wrong"), 454, "no user is treated otherwise");
    // Ana herself, elsewhere, does not.
    assert_eq!(tries([127, 77, 0, 1], "ana@example.com", "correct horse"), 235);
    // One password at many logins: the address waits, but not for who is known there.
    assert_eq!(tries([127, 88, 0, 1], "ben@example.com", "battery staple"), 235);
    for n in 0..6 {
        assert_eq!(tries([127, 88, 0, 1], &format!("user{n}@example.com"), "Summer2026"), 535);
    }
    assert_eq!(tries([127, 88, 0, 1], "ana@example.com", "correct horse"), 454);
    assert_eq!(tries([127, 88, 0, 1], "ben@example.com", "battery staple"), 235);
}

/// However many guess at one time, and however they spell the login, no more are judged than one after another would be.
#[test]
fn guesses_at_one_time_are_judged_in_turn() {
    let (relay, spellings) = (ana(), ["ana@example.com", "ANA@example.com", "an\u{ad}a@example.com"]);
    let smtp = relay.smtp;
    let guess = |n: usize| from([127, 66, 2, 1], smtp).command(&plain(spellings[n % 3], "wrong")).unwrap().code;
    let codes: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..20).map(|n| scope.spawn(move || guess(n))).collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let said = |code| codes.iter().filter(|said| **said == code).count();
    assert_eq!((said(535), said(454)), (3, 17), "{codes:?}");
}

#[test]
fn a_mail_program_has_a_password_of_its_own_that_is_taken_back_alone() {
    let relay = ana();
    let made = relay.cli_with(&["user", "app-password", "add", "ana@example.com", "--name", "phone"], "");
    assert!(made.status.success(), "{made:?}");
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    let secret = told.lines().find_map(|line| line.strip_prefix("app password: ")).unwrap().to_owned();
    assert!(secret.starts_with("wxm-"), "{secret}");
    let logs_in = |login: &str, password: &str| {
        let mut client = from([127, 66, 1, 1], relay.smtp);
        client.command(&plain(login, password)).unwrap().code
    };
    assert_eq!(logs_in("ana@example.com", &secret), 235);
    assert_eq!(logs_in("ana@example.com", "correct horse"), 235, "the account's own password goes on");
    assert_eq!(logs_in("ben@example.com", &secret), 535, "it is nobody else's");
    let listed = relay.cli(&["user", "app-password", "list", "ana@example.com", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert!(listed[0]["used_at"].is_string() && !listed.to_string().contains(&secret), "{listed}");
    let id = listed[0]["id"].as_str().unwrap();
    relay.cli(&["user", "app-password", "revoke", "ana@example.com", id]);
    assert_eq!(logs_in("ana@example.com", &secret), 535);
    assert_eq!(logs_in("ana@example.com", "correct horse"), 235);
}

#[test]
fn a_user_may_send_so_much_and_a_trusted_network_any() {
    let relay = ana();
    let mut client = Client::connect(relay.smtp).unwrap();
    assert_eq!(client.command(&plain("ana@example.com", "correct horse")).unwrap().code, 235);
    // Refused for a reason of its own: that does not count.
    let mut forged = Submission::new("f1", &["x"]);
    forged.content = b"From: ceo@elsewhere.test\r\n\r\nx\r\n".to_vec();
    assert_eq!(client.submit(&forged).code(), 550);
    assert_eq!(client.submit(&Submission::new("a1", &["x", "y"])).code(), 250);
    let too_many = client.submit(&Submission::new("a2", &["1", "2", "3", "4"]));
    assert_eq!((too_many.code(), too_many.reply.unwrap().text.contains("to 5 recipients within a day")), (450, true));
    assert_eq!(client.submit(&Submission::new("a3", &["x"])).code(), 250);
    let told = client.submit(&Submission::new("a4", &["x"])).reply.unwrap();
    assert!(
        told.code == 450 && told.text.starts_with("4.7.1 You may send 2 mails within an hour; try again in"),
        "{told:?}"
    );
    assert_eq!(client.command("NOOP").unwrap().code, 250, "the session goes on");
    let mut other = Client::connect(relay.smtp).unwrap();
    assert_eq!(other.command(&plain("ben@example.com", "battery staple")).unwrap().code, 235);
    assert_eq!(other.submit(&Submission::new("b1", &["x"])).code(), 250, "each has their own");
    for n in 0..4 {
        let mut network = Client::connect(relay.smtp).unwrap();
        assert_eq!(network.submit(&Submission::new(&format!("n{n}"), &["x"])).code(), 250);
    }
}

#[test]
fn where_a_user_is_stays_between_us() {
    for (more, shown) in [("", false), ("show", true)] {
        let relay = match more {
            "" => Running::start(Upstream::Inbox, ""),
            _ => Running::start_with(
                Upstream::Inbox,
                "",
                &[("consent = \"none\"", "consent = \"none\"\nreceived_client = \"show\"")],
            ),
        };
        relay.add_user("ana@example.com", "correct horse", "default");
        let mut client = Client::connect(relay.smtp).unwrap();
        assert_eq!(client.command("EHLO anas-laptop.home").unwrap().code, 250);
        assert_eq!(client.submit(&Submission::new("network", &["x"])).code(), 250);
        assert_eq!(client.command(&plain("ana@example.com", "correct horse")).unwrap().code, 235);
        assert_eq!(client.submit(&Submission::new("login", &["x"])).code(), 250);
        let received = |id: &str| {
            let copy = relay.inbox_copy(&format!("x.{id}@ok.test"));
            String::from_utf8_lossy(&copy).split("\r\nFrom:").next().unwrap().to_owned()
        };
        let tells = |field: &str| (field.contains("anas-laptop.home"), field.contains("[127.0.0.1]"));
        assert_eq!(tells(&received("network")), (true, true), "a server of the operator's own");
        assert_eq!(tells(&received("login")), (shown, shown), "{}", received("login"));
    }
}

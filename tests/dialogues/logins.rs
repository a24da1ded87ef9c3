//! What needs a real connection: logins under TLS, deadlines, room for mail, leaving.

use std::time::{Duration, Instant};

use super::client;
use super::script::Facts;

const MAIL: &[u8] = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@ok.test>\r\nDATA\r\n";

fn trusted() -> Facts {
    Facts { trusted: true, ..Facts::default() }
}

/// Greets and opens a mail; the body is awaited.
async fn to_data(server: &mut client::Server, opening: &[u8]) -> String {
    assert!(server.client.answer(b"").await.starts_with("220"));
    assert!(server.client.answer(b"EHLO c.test\r\n").await.starts_with("250"));
    assert!(server.client.answer(opening).await.starts_with("250"));
    assert!(server.client.answer(b"").await.starts_with("250"));
    server.client.answer(b"").await
}

#[tokio::test]
async fn a_login_under_tls_is_on_the_record() {
    let mut server = client::connect(Facts { remote: true, starttls: true, ..Facts::default() }).await;
    assert!(server.client.answer(b"").await.starts_with("220"));
    assert!(server.client.answer(b"EHLO before.test\r\n").await.contains("STARTTLS"));
    assert!(server.client.answer(b"STARTTLS\r\n").await.starts_with("220"));
    server.client.start_tls().await;
    assert!(server.client.answer(b"EHLO after.test\r\n").await.contains("AUTH PLAIN LOGIN"));
    assert!(server.client.answer(b"AUTH PLAIN AGFsaWNlAHMzY3JldA==\r\n").await.starts_with("235"));
    server.client.send(MAIL).await;
    for code in ["250", "250", "354"] {
        assert!(server.client.reply().await.unwrap()[0].starts_with(code));
    }
    assert!(server.client.answer(b".\r\n").await.starts_with("250"));
    let taken = server.backend.taken.lock().unwrap()[0].clone();
    assert_eq!(taken.submitter.login.as_deref(), Some("alice"));
    assert_eq!((taken.protocol, taken.helo.as_str()), ("ESMTPSA", "after.test"));
}

const SLOW: &[u8] = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<slow@ok.test>\r\nDATA\r\n";

#[tokio::test]
async fn a_client_that_hangs_up_is_noticed_and_does_not_stop_the_mail() {
    // gone while the mail is taken; gone once its answer could not be delivered
    let rows: &[(&[u8], bool)] = &[(b".\r\n", true), (b".\r\nQUIT\r\n", false)];
    for (octets, gone) in rows {
        let mut server = client::connect(trusted()).await;
        assert!(to_data(&mut server, SLOW).await.starts_with("354"));
        server.client.send(octets).await;
        server.client.shut_down().await;
        server.done.await.unwrap();
        assert_eq!(server.backend.taken.lock().unwrap().len(), 1, "the mail was taken all the same");
        let seen = server.backend.gone.lock().unwrap().remove(0);
        assert_eq!((seen.0, seen.1.is_gone()), (*gone, *gone), "{}", octets.escape_ascii());
        if !gone {
            let replies = [server.client.reply().await, server.client.reply().await].map(|reply| reply.unwrap());
            assert!(replies[0][0].starts_with("250") && replies[1][0].starts_with("221"), "{replies:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_could_not_be_written_is_on_the_record() {
    for hears in [true, false] {
        let mut server = client::connect_in_memory(trusted());
        assert!(to_data(&mut server, SLOW).await.starts_with("354"));
        server.client.send(b".\r\nNOOP\r\n").await;
        if hears {
            assert!(server.client.reply().await.unwrap()[0].starts_with("250"));
            server.client.answer(b"QUIT\r\n").await;
        }
        drop(server.client);
        server.done.await.unwrap();
        let seen = server.backend.gone.lock().unwrap().remove(0);
        assert_eq!((seen.0, seen.1.is_gone()), (false, !hears));
    }
}

#[tokio::test]
async fn a_backend_that_panics_loses_no_connection() {
    let mut server = client::connect(trusted()).await;
    assert!(to_data(&mut server, b"MAIL FROM:<>\r\nRCPT TO:<panic@ok.test>\r\nDATA\r\n").await.starts_with("354"));
    assert!(server.client.answer(b".\r\n").await.starts_with("451 4.3.0"));
    assert!(server.client.answer(b"NOOP\r\n").await.starts_with("250"));
}

#[tokio::test]
async fn each_wait_has_its_deadline() {
    let short = Duration::from_millis(150);
    // a command that does not end; nothing at all; a body that does not flow; a handshake that does not begin
    let rows: &[(&str, &[u8], &str)] = &[
        ("command", b"NOO", "421 4.4.2"),
        ("idle", b"", "421 4.4.2"),
        ("data", b"Subject: slow\r\n", "421 4.4.2"),
        ("session", b"", "421 4.4.2"),
    ];
    for (which, octets, expected) in rows {
        let mut server = client::connect_with(trusted(), |options| match *which {
            "command" => options.command_max = short,
            "idle" => options.idle_max = short,
            "data" => options.data_window = Duration::from_secs(1),
            _ => options.session_max = short,
        })
        .await;
        if *which == "data" {
            assert!(to_data(&mut server, MAIL).await.starts_with("354"));
        } else {
            assert!(server.client.answer(b"").await.starts_with("220"));
        }
        assert!(server.client.answer(octets).await.starts_with(expected), "{which}");
        assert_eq!(server.client.reply().await, None, "{which}");
    }
}

#[tokio::test]
async fn a_trickle_of_a_command_does_not_move_its_deadline() {
    let mut server = client::connect_with(trusted(), |options| options.command_max = Duration::from_millis(200)).await;
    assert!(server.client.answer(b"").await.starts_with("220"));
    let started = Instant::now();
    for _ in 0..10 {
        server.client.send(b"N").await;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert!(server.client.answer(b"").await.starts_with("421"));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_handshake_that_does_not_begin_ends() {
    let facts = Facts { starttls: true, ..trusted() };
    let mut server = client::connect_with(facts, |options| options.tls_handshake_max = Duration::from_millis(50)).await;
    assert!(server.client.answer(b"").await.starts_with("220"));
    assert!(server.client.answer(b"STARTTLS\r\n").await.starts_with("220"));
    assert_eq!(server.client.reply().await, None);
}

#[tokio::test]
async fn a_body_that_flows_outlasts_the_window() {
    let mut server = client::connect_with(trusted(), |options| {
        options.data_window = Duration::from_secs(1);
        options.data_bytes_per_sec_min = 1;
    })
    .await;
    assert!(to_data(&mut server, MAIL).await.starts_with("354"));
    for _ in 0..5 {
        server.client.send(&[b"x".repeat(400), b"\r\n".to_vec()].concat()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(server.client.answer(b".\r\n").await.starts_with("250"));
}

#[tokio::test]
async fn room_for_mail_is_shared_and_given_back() {
    let size = 100 * 1024;
    let mut server = client::connect_with(trusted(), |options| {
        options.in_flight_bytes_max = size;
        options.room_wait_max = Duration::from_millis(20);
    })
    .await;
    // says it is too much for now: told so before it is sent
    let refused = to_data(&mut server, b"MAIL FROM:<a@x.test> SIZE=90000\r\nRCPT TO:<b@ok.test>\r\nDATA\r\n").await;
    assert!(refused.starts_with("452 4.3.1"), "{refused}");
    assert!(server.client.answer(b"RCPT TO:<c@ok.test>\r\n").await.starts_with("503 5.5.1"), "that mail is over");
    assert_eq!(server.shared.capacity.free_bytes(), size);
    // does not say so: read to its end and refused there
    server.client.send(MAIL).await;
    for code in ["250", "250", "354"] {
        assert!(server.client.reply().await.unwrap()[0].starts_with(code));
    }
    server.client.send(&[b"x".repeat(78), b"\r\n".to_vec()].concat().repeat(4000)).await;
    assert!(server.client.answer(b".\r\n").await.starts_with("452 4.3.1"));
    assert_eq!(server.shared.capacity.free_bytes(), size);
    // a small one fits, and leaves nothing behind
    server.client.send(MAIL).await;
    for code in ["250", "250", "354"] {
        assert!(server.client.reply().await.unwrap()[0].starts_with(code));
    }
    assert!(server.client.answer(b"x\r\n.\r\n").await.starts_with("250"));
    assert_eq!(server.shared.capacity.free_bytes(), size);
}

#[tokio::test]
async fn at_shutdown_a_mail_under_way_gets_its_reply() {
    let mut idle = client::connect(trusted()).await;
    assert!(idle.client.answer(b"").await.starts_with("220"));
    idle.stop.send(true).unwrap();
    assert!(idle.client.answer(b"").await.starts_with("421 4.3.2"));

    let mut busy = client::connect(trusted()).await;
    assert!(to_data(&mut busy, MAIL).await.starts_with("354"));
    busy.stop.send(true).unwrap();
    assert!(busy.client.answer(b"last\r\n.\r\n").await.starts_with("250"));
    assert!(busy.client.answer(b"").await.starts_with("421 4.3.2"));
    assert_eq!(busy.client.reply().await, None);
}

#[tokio::test]
async fn a_client_that_talks_before_the_banner_is_sent_away() {
    let mut server = client::connect_early(trusted(), b"EHLO c.test\r\n").await;
    assert!(server.client.answer(b"").await.starts_with("554 5.5.0"));
    assert_eq!(server.client.reply().await, None);
}

/// A client that lets its first command leave with the end of its handshake, as an attacker or an old program does.
#[tokio::test]
async fn nor_does_tls_let_a_client_talk_before_the_banner() {
    let mut server = client::connect_hasty(Facts { implicit: true, ..trusted() }, b"EHLO c.test\r\n").await;
    assert!(server.client.answer(b"").await.starts_with("554 5.5.0"));
    assert_eq!(server.client.reply().await, None);
}

/// Commands in the clear where the handshake has to begin: never heard, neither before TLS nor after.
#[tokio::test]
async fn plaintext_behind_the_220_of_starttls_is_no_command() {
    for octets in [&b"RSET\r\n"[..], b"MAIL FROM:<evil@x.test>\r\n", b"EHLO c.test\r\nNOOP\r\n", b"\r\n"] {
        let mut server = client::connect(Facts { starttls: true, ..trusted() }).await;
        assert!(server.client.answer(b"").await.starts_with("220"));
        assert!(server.client.answer(b"EHLO c.test\r\n").await.contains("STARTTLS"));
        assert!(server.client.answer(b"STARTTLS\r\n").await.starts_with("220"));
        server.client.send(octets).await;
        let rest = server.client.rest().await;
        // An alert of TLS at most.
        assert!(rest.is_empty() || rest.starts_with(b"\x15\x03"), "{}: {}", octets.escape_ascii(), rest.escape_ascii());
        server.done.await.unwrap();
    }
}

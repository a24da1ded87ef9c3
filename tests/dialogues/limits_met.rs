//! Each limit a client can meet is counted under its name, and nothing else is.

use std::net::Ipv4Addr;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use waxseal::listener::{Options, Rules};

use super::client::{self, Server};
use super::script::Facts;
use super::serving;

const SHORT: Duration = Duration::from_millis(50);
const MAIL: &[&str] = &["EHLO c.test", "MAIL FROM:<a@x.test>", "RCPT TO:<b@ok.test>", "DATA"];

type Change = fn(&mut Options);

/// What a client does in one row.
struct Row {
    limit: &'static str,
    change: fn(&mut Options),
    facts: Facts,
    /// Lines, each answered; then octets, and the connection is heard to its end or for its next reply.
    lines: &'static [&'static str],
    octets: Vec<u8>,
}

fn row(limit: &'static str, change: fn(&mut Options), lines: &'static [&'static str], octets: &[u8]) -> Row {
    Row {
        limit,
        change,
        facts: Facts { trusted: true, small: true, ..Facts::default() },
        lines,
        octets: octets.to_vec(),
    }
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    let large = [b"x".repeat(200), b"\r\n.\r\n".to_vec()].concat();
    let roomy = |options: &mut Options| {
        options.room_wait_max = SHORT;
        options.in_flight_bytes_max = 1024;
    };
    vec![
        row("recipients", |_| {}, &["EHLO c.test", "MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "RCPT TO:<c@x.test>", "RCPT TO:<d@x.test>"], b"RCPT TO:<e@x.test>\r\n"),
        row("message_bytes", |_| {}, &["EHLO c.test"], b"MAIL FROM:<a@x.test> SIZE=101\r\n"),
        row("message_bytes", |_| {}, MAIL, &large),
        row("command_line_bytes", |_| {}, &["EHLO c.test"], &[b"NOOP ".as_slice(), &[b'x'; 5_000], b"\r\n"].concat()),
        row("command_line_bytes", |_| {}, &["EHLO c.test"], &[b'x'; 80_000]),
        row("command_errors", |_| {}, &["WHAT", "WHAT", "WHAT"], b"WHAT\r\n"),
        row("errors_free", |options| { options.errors_free_max = 0; options.error_delay = SHORT; }, &[], b"WHAT\r\n"),
        row("auth_failures", |_| {}, &["EHLO c.test", "AUTH PLAIN AGFsaWNlAHdyb25n"], b"AUTH PLAIN AGFsaWNlAHdyb25n\r\n"),
        row("login_secs", |options| options.login_max = SHORT, &["EHLO c.test"], b"AUTH PLAIN AHNsZWVweQB4\r\n"),
        row("in_flight_bytes", roomy, &["EHLO c.test", "MAIL FROM:<a@x.test>", "RCPT TO:<b@ok.test>"], b"DATA\r\n"),
        row("session_secs", |options| options.session_max = SHORT, &[], b""),
        row("idle_secs", |options| options.idle_max = SHORT, &[], b""),
        row("command_secs", |options| options.command_max = SHORT, &[], b"NOO"),
        row("data_bytes_per_sec", |options| options.data_window = Duration::from_secs(1), MAIL, b"slow\r\n"),
        row("accept_secs", |options| options.accept_max = SHORT, &["EHLO c.test", "MAIL FROM:<a@x.test>", "RCPT TO:<slow@ok.test>", "DATA"], b".\r\n"),
        Row { facts: Facts { trusted: true, starttls: true, ..Facts::default() }, ..row("tls_handshake_secs", |options| options.tls_handshake_max = SHORT, &["EHLO c.test", "STARTTLS"], b"") },
        Row { facts: Facts { implicit: true, ..Facts::default() }, ..row("tls_handshake_secs", |options| options.tls_handshake_max = SHORT, &[], b"") },
    ]
}

/// Runs it and gives what was counted, `limit` and how often.
fn counted(what: impl Future<Output = ()>) -> Vec<(String, String)> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(what));
    let text = recorder.handle().render();
    let lines =
        text.lines().filter_map(|line| line.strip_prefix("waxseal_limits_met_total{limit=\"")?.split_once("\"} "));
    lines.map(|(limit, count)| (limit.to_owned(), count.to_owned())).collect()
}

fn once(limit: &str) -> Vec<(String, String)> {
    vec![(limit.to_owned(), "1".to_owned())]
}

#[test]
fn in_a_session() {
    for row in rows() {
        let found = counted(async {
            let mut server = match row.facts.implicit {
                true => client::connect_in_memory_with(row.facts, row.change),
                false => client::connect_with(row.facts, row.change).await,
            };
            if !row.facts.implicit {
                assert!(server.client.answer(b"").await.starts_with("220"), "{}", row.limit);
            }
            for line in row.lines {
                server.client.answer(format!("{line}\r\n").as_bytes()).await;
            }
            if !row.octets.is_empty() {
                server.client.send(&row.octets).await;
            }
            server.client.reply().await;
            let Server { client, done, .. } = server;
            drop(client);
            done.await.unwrap();
        });
        assert_eq!(found, once(row.limit));
    }
}

#[test]
fn replies_that_nobody_reads() {
    let found = counted(async {
        let facts = Facts { trusted: true, ..Facts::default() };
        let mut server = client::connect_in_memory_with(facts, |options| options.write_max = SHORT);
        assert!(server.client.answer(b"").await.starts_with("220"));
        server.client.send(&b"NOOP\r\n".repeat(10_000)).await;
        server.done.await.unwrap();
    });
    assert_eq!(found, once("write_secs"));
}

#[test]
fn at_the_door() {
    let facts = Facts { trusted: true, ..Facts::default() };
    let rows: [(&str, Change, bool); 4] = [
        ("connections", |options| options.connections_max = 0, false),
        ("connections_per_address", |options| options.connections_per_address_max = 0, false),
        ("proxy_header", |options| options.tls_handshake_max = SHORT, true),
        ("connections", |options| options.connections_max = 0, true),
    ];
    for (limit, change, proxied) in rows {
        let found = counted(async {
            let own = client::rules(facts).0;
            let proxies = if proxied { vec!["127.0.0.1/32".parse().unwrap()] } else { Vec::new() };
            let running =
                serving::start_at(Ipv4Addr::LOCALHOST.into(), Rules { proxies, ..own }, facts, None, change).await;
            serving::dial(running.addr).await.rest().await;
        });
        assert_eq!(found, once(limit));
    }
}

//! Each limit of the dashboard is counted under its name.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::fixture::{World, world};
use crate::admin::limiter::{Limiter, LimiterOptions};
use crate::admin::{Options, http};
use crate::telemetry::metrics::limits_met_in;

const SHORT: Duration = Duration::from_millis(50);

/// More than the kernel holds for a client that does not read.
const UNREAD: &str = "/unread";
const UNREAD_BYTES: usize = 32 * 1024 * 1024;

/// Serves one path that takes a body and answers late, and one whose answer is large.
async fn heard(options: Options, octets: Vec<u8>) {
    let reads = options.connections_max > 0 && !octets.starts_with(format!("GET {UNREAD} ").as_bytes());
    let late = |_: Bytes| async { tokio::time::sleep(SHORT * 4).await };
    let router = Router::new().route("/", post(late)).route(UNREAD, get(async || vec![b'z'; UNREAD_BYTES]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        http::serve(http::Tcp(listener), router, &options, async { drop(stopped.await) }).await.unwrap();
    });
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&octets).await.unwrap();
    if reads {
        drop(stream.read_to_end(&mut Vec::new()).await);
    } else {
        tokio::time::sleep(SHORT).await; // it waits for a place, or for us to read
    }
    drop(stop);
    serving.await.unwrap();
    drop(stream);
}

#[test]
fn of_the_server() {
    let whole = |body: usize| {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {body}\r\n\r\n");
        [head.into_bytes(), vec![b'x'; body]].concat()
    };
    let usual = Options::default;
    let unread = format!("GET {UNREAD} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    let rows: [(&str, Options, Vec<u8>); 6] = [
        ("admin_connections", Options { connections_max: 0, grace_max: SHORT, ..usual() }, Vec::new()),
        ("admin_head_secs", Options { head_max: SHORT, ..usual() }, b"POST / HTTP/1.1\r\n".to_vec()),
        ("admin_head_bytes", usual(), [b"POST / HTTP/1.1\r\nX: ".to_vec(), vec![b'y'; 70_000]].concat()),
        ("admin_request_secs", Options { request_max: SHORT, ..usual() }, whole(3)),
        ("admin_write_secs", Options { write_max: SHORT, ..usual() }, unread),
        ("admin_body_bytes", Options { body_bytes_max: 10, ..usual() }, whole(11)),
    ];
    for (limit, options, octets) in rows {
        assert_eq!(limits_met_in(heard(options, octets)), [(limit.to_owned(), 1)]);
    }
}

#[test]
fn of_guessing() {
    let none = LimiterOptions { per_address_max: 0, per_login_max: 0, ..LimiterOptions::default() };
    let (address, now) = ([192, 0, 2, 1].into(), std::time::Instant::now());
    let tries: [fn(&mut Limiter, std::net::IpAddr, std::time::Instant) -> bool; 3] = [
        |limiter, address, now| limiter.try_login(address, "ann", now).is_err(),
        |limiter, address, now| limiter.try_address(address, now).is_err(),
        |limiter, _, now| limiter.try_again("ann", now).is_err(),
    ];
    for one in tries {
        let met = limits_met_in(async { assert!(one(&mut Limiter::new(none, "guessing"), address, now)) });
        assert_eq!(met, [("guessing".to_owned(), 1)]);
    }
    // and each of the site's three tables is counted as its own
    let met = limits_met_in(async {
        let World { site, .. } = world().await;
        while site.limiter().try_address(address, now).is_ok() {}
        while site.keys().try_address(address, now).is_ok() {}
        while site.codes().try_address(address, now).is_ok() {}
    });
    let names: Vec<&str> = met.iter().map(|(limit, _)| limit.as_str()).collect();
    for limit in ["login_attempts_per_minute", "api_requests_per_minute", "second_factor_codes"] {
        assert!(names.contains(&limit), "{limit}: {names:?}");
    }
}

#[test]
fn of_the_feed() {
    let met = limits_met_in(async {
        let world = world().await;
        let mut open = Vec::new();
        while let Ok(listener) = world.actions.listen() {
            open.push(listener);
        }
        drop((open, Arc::clone(&world.actions)));
    });
    assert_eq!(met, [("feed_streams".to_owned(), 1)]);
}

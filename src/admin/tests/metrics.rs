//! Who reads `/metrics` without a login.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{Request, StatusCode};

use super::fixture::world;
use crate::admin::http::Peer;

#[tokio::test]
async fn only_a_program_of_this_machine_that_asks_for_itself() {
    let world = world().await;
    let stranger = world.stranger();
    let rows = [
        // this machine, in all its names
        ("127.0.0.1", None, StatusCode::OK),
        ("127.3.2.1", None, StatusCode::OK),
        ("::1", None, StatusCode::OK),
        // another one, also of the same network
        ("192.168.1.5", None, StatusCode::NOT_FOUND),
        ("2001:db8::1", None, StatusCode::NOT_FOUND),
        // a proxy on this machine that asks for somebody, whoever that may be
        ("127.0.0.1", Some(("x-forwarded-for", "203.0.113.9")), StatusCode::NOT_FOUND),
        ("127.0.0.1", Some(("x-forwarded-for", "127.0.0.1")), StatusCode::NOT_FOUND),
        ("127.0.0.1", Some(("forwarded", "for=203.0.113.9")), StatusCode::NOT_FOUND),
        ("::1", Some(("x-real-ip", "203.0.113.9")), StatusCode::NOT_FOUND),
    ];
    for (peer, header, expected) in rows {
        let mut request = Request::get("/metrics").extension(Peer(peer.parse::<IpAddr>().unwrap()));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = stranger.answer(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, expected, "{peer} {header:?}");
        assert_eq!(answer.text.contains("waxseal_trial_total"), expected == StatusCode::OK, "{peer} {header:?}");
        if expected == StatusCode::OK {
            assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        }
    }
}

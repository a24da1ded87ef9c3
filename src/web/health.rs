//! `GET /healthz`: the process answers. It says nothing of the stores: redirects work without them.
//!
//! `?nonce=` is answered with a proof that this is the server with these keys: so `waxseal doctor` can tell us from
//! another server behind the public URL.

use hyper::{Request, StatusCode};

use super::router::Answer;
use super::{Site, page};
use crate::token::proof;

/// 200.
pub(super) fn answer<B>(site: &Site, request: &Request<B>) -> Answer {
    let nonce = request.uri().query().and_then(|query| query.strip_prefix("nonce="));
    match nonce.and_then(|nonce| proof::proof(site.keyring.load().instance_key(), nonce)) {
        Some(proof) => page::plain(StatusCode::OK, format!("ok {proof}\n")),
        None => page::plain(StatusCode::OK, "ok\n"),
    }
}

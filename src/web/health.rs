//! `GET /healthz`: the process answers. It says nothing of the stores: redirects work without them.

use hyper::StatusCode;

use super::page;
use super::router::Answer;

/// 200.
pub(super) fn answer() -> Answer {
    page::plain(StatusCode::OK, "ok\n")
}

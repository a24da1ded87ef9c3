//! `/n/<token>`: the link in a notice by mail that stops such notices, with one click (RFC 8058).
//!
//! **Invariant:** a look changes nothing, for scanners follow links; a POST does, whoever sends it, for the token is sealed. It
//! is answered when the change is durable. Whose token it is stands in no answer.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};

use super::router::Answer;
use super::{Site, page};
use crate::settings::notices::NoticeChoice;
use crate::store::Change;
use crate::store::audit::{Author, Via};
use crate::token::STOP_PATH;

/// What stops them is asked once more, of whoever looks.
fn ask() -> Bytes {
    let what = "<p>waxseal will no longer write to you when somebody opens your mail or follows a link in it.</p>\
                <form method=\"post\"><button>Stop</button></form>";
    page::words("Stop these notices?", what)
}

fn stopped() -> Bytes {
    let then = "<p>You can have them again in the dashboard, under Notifications.</p>";
    page::words("The notices have stopped", then)
}

/// Whether the request is for this page.
pub(super) fn is_for<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with(STOP_PATH)
}

/// 200, 404, or 503 when the choice could not be kept.
pub(super) async fn answer(site: &Site, method: Method, path: &str) -> Answer {
    let login = site.keyring.load().stops(path);
    let Some(login) = login else { return page::not_found() };
    if method != Method::POST {
        return with_button(page::html(StatusCode::OK, ask()));
    }
    let snapshot = site.settings.snapshot();
    if snapshot.users.contains_key(&login) {
        let present = snapshot.notices.get(&login).copied().unwrap_or_default();
        let author = Author { login: Some(login.clone()), ..Author::of(Via::Mail) };
        let change = Change::PutNotices(login, NoticeChoice { mail: false, ..present });
        if let Err(error) = site.settings.change_by(author, vec![change]).await {
            tracing::error!(%error, "somebody asked to get no more notices, and that could not be kept");
            let mut busy =
                page::plain(StatusCode::SERVICE_UNAVAILABLE, "That could not be done. Try again in a minute.\n");
            busy.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
            return busy;
        }
    }
    page::html(StatusCode::OK, stopped())
}

fn with_button(mut answer: hyper::Response<Full<Bytes>>) -> Answer {
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, page::policy_with_form());
    answer
}

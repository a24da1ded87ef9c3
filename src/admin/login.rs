//! Logging in and out of the dashboard.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Site;
use super::pages::error::PageError;
use super::pages::login::LoginPage;
use super::session::SessionId;
use super::visitor::{self, Fields, Posted, Visitor};

/// Requests that come over no socket share it.
const NO_ADDRESS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// Longest `next` that is followed, in bytes.
const NEXT_BYTES_MAX: usize = 512;

/// Where to go after the login.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Next {
    next: Option<String>,
}

/// `GET /login`
pub(super) async fn form(visitor: Result<Visitor, Response>, Query(Next { next }): Query<Next>) -> Response {
    let next = safe_next(next.as_deref());
    match visitor {
        Ok(_) => Redirect::to(next).into_response(),
        Err(_) => LoginPage::new(next, "", None).into_response(),
    }
}

/// `POST /login`
pub(super) async fn log_in(State(site): State<Arc<Site>>, request: Request) -> Result<Response, PageError> {
    let headers = request.headers().clone();
    if !visitor::is_from_our_pages(&headers) {
        return Err(PageError::ForeignForm);
    }
    let address = visitor::client(&site, request.extensions(), &headers).unwrap_or(NO_ADDRESS);
    let fields = Fields::read(request).await?;
    let (login, next) = (fields.text("login").trim().to_owned(), safe_next(fields.optional("next")));
    let again = |status: StatusCode, words: &str| (status, LoginPage::new(next, &login, Some(words))).into_response();
    if let Err(wait) = site.limiter().try_login(address, &login, Instant::now()) {
        return Ok(too_often(
            again(StatusCode::TOO_MANY_REQUESTS, "Too many attempts. Wait a minute and try again."),
            wait,
        ));
    }
    match site.actions.logins.check(&login, fields.text("password").as_bytes()).await {
        Ok(Some(user)) => {
            site.limiter().forgive(address, &login);
            let session = SessionId::random().map_err(|_| PageError::Broken)?;
            site.sessions().begin(&session, &user, Instant::now());
            Ok(([(header::SET_COOKIE, visitor::cookie(&headers, &session))], Redirect::to(next)).into_response())
        }
        Ok(None) => {
            metrics::counter!("waxseal_logins_failed_total", "door" => "dashboard").increment(1);
            tracing::info!(peer.addr = %address, "a dashboard login from {address} was refused");
            Ok(again(StatusCode::UNAUTHORIZED, "The login or the password is wrong."))
        }
        Err(busy) => Ok(again(StatusCode::SERVICE_UNAVAILABLE, &format!("{busy}."))),
    }
}

/// `POST /logout`
pub(super) async fn log_out(State(site): State<Arc<Site>>, headers: HeaderMap, posted: Posted) -> Response {
    site.sessions().end(&posted.visitor.session);
    ([(header::SET_COOKIE, visitor::no_cookie(&headers))], Redirect::to("/login")).into_response()
}

fn too_often(mut response: Response, wait: Duration) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
    response
}

/// A path of ours, or the first page: never another site (an address bar that begins with us must end with us).
fn safe_next(next: Option<&str>) -> &str {
    let ours = |next: &&str| {
        next.starts_with('/')
            && !next.starts_with("//")
            && !next.starts_with("/login")
            && next.len() <= NEXT_BYTES_MAX
            && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
    };
    next.filter(ours).unwrap_or("/")
}

/// Percent-encodes a path with query for use inside a query.
pub(super) fn encode_next(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_never_leaves_the_site() {
        let rows: &[(Option<&str>, &str)] = &[
            // our own pages
            (Some("/messages/00ff"), "/messages/00ff"),
            (Some("/messages?before=1-2&org=a"), "/messages?before=1-2&org=a"),
            (None, "/"),
            // other sites in every disguise a browser understands
            (Some("//evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("https://evil.example/"), "/"),
            (Some("/a\r\nSet-Cookie: x"), "/"),
            (Some("/\t/evil.example"), "/"),
            (Some(""), "/"),
            // no circle
            (Some("/login?next=/login"), "/"),
        ];
        for (next, expected) in rows {
            assert_eq!(safe_next(*next), *expected, "{next:?}");
        }
        assert_eq!(encode_next("/m?a=b&c"), "/m%3Fa%3Db%26c");
    }
}

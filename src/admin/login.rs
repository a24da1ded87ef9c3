//! Logging in and out of the dashboard.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::pages::Notice;
use super::pages::error::PageError;
use super::pages::login::{ChoosePage, CodePage, LoginPage};
use super::session::SessionId;
use super::visitor::{self, Fields, Posted, Visitor};
use super::{Refusal, Site, browser};
use crate::settings::User;
use crate::store::audit::{Author, Via};

/// Requests that come over no socket share it.
pub(super) const NO_ADDRESS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// Longest `next` that is followed, in bytes.
const NEXT_BYTES_MAX: usize = 512;

/// Where to go after the login.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Next {
    next: Option<String>,
    done: Option<String>,
}

/// `GET /login`
pub(super) async fn form(visitor: Result<Visitor, Response>, Query(Next { next, done }): Query<Next>) -> Response {
    let next = safe_next(next.as_deref());
    match visitor {
        Ok(_) => Redirect::to(next).into_response(),
        Err(_) => LoginPage::new(next, "", None).after(done.as_deref()).into_response(),
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
        Ok(Some(user)) if site.actions.has_second_factor(&user.login) => {
            let ticket = SessionId::random().map_err(|_| PageError::Broken)?;
            site.halfway().begin(&ticket, &user, Instant::now());
            Ok(CodePage::new(next, ticket.as_str(), None).into_response())
        }
        Ok(Some(user)) => {
            site.limiter().succeeded(address, &login, Instant::now());
            enter(&site, &headers, &user, next)
        }
        Ok(None) => {
            metrics::counter!("waxseal_logins_failed_total", "door" => "dashboard").increment(1);
            tracing::info!(peer.addr = %address, "a dashboard login from {address} was refused");
            Ok(again(StatusCode::UNAUTHORIZED, "The login or the password is wrong."))
        }
        Err(busy) => Ok(again(StatusCode::SERVICE_UNAVAILABLE, &format!("{busy}."))),
    }
}

/// A form of ours that carries a login on, from somebody who is half in.
struct Step {
    headers: HeaderMap,
    from: Option<IpAddr>,
    fields: Fields,
    ticket: Option<SessionId>,
}

impl Step {
    async fn read(site: &Site, request: Request) -> Result<Step, PageError> {
        let headers = request.headers().clone();
        if !visitor::is_from_our_pages(&headers) {
            return Err(PageError::ForeignForm);
        }
        let from = visitor::client(site, request.extensions(), &headers);
        let fields = Fields::read(request).await?;
        let ticket = SessionId::from_cookie(fields.text("ticket"));
        Ok(Step { headers, from, fields, ticket })
    }
}

/// `POST /login/code`: the second step of a login with a second factor.
pub(super) async fn code(State(site): State<Arc<Site>>, request: Request) -> Result<Response, PageError> {
    let Step { headers, from, fields, ticket } = Step::read(&site, request).await?;
    let next = safe_next(fields.optional("next"));
    let known = ticket.and_then(|ticket| {
        let login = site.halfway().try_ticket(&ticket, Instant::now())?;
        let user = site.actions.settings.snapshot().users.get(&login).cloned()?;
        Some((ticket, user))
    });
    let Some((ticket, user)) = known else { return Ok(Redirect::to("/login?done=over").into_response()) };
    let again =
        |status: StatusCode, words: &str| (status, CodePage::new(next, ticket.as_str(), Some(words))).into_response();
    let address = from.unwrap_or(NO_ADDRESS);
    if let Err(wait) = site.codes().try_login(address, &user.login, Instant::now()) {
        let page = again(StatusCode::TOO_MANY_REQUESTS, "Too many attempts. Wait a quarter of an hour and try again.");
        return Ok(too_often(page, wait));
    }
    let viewer = site.actions.viewer_of(&user, Author { from, ..Author::of(Via::Dashboard) });
    if !site.actions.take_code(&viewer, &user.login, fields.text("code")).await? {
        metrics::counter!("waxseal_logins_failed_total", "door" => "dashboard").increment(1);
        tracing::info!(peer.addr = %address, "a second factor from {address} was refused");
        return Ok(again(StatusCode::UNAUTHORIZED, "That code is wrong, or was used before. Wait for the next one."));
    }
    if !site.halfway().finish(&ticket, &user) {
        return Ok(Redirect::to("/login?done=over").into_response());
    }
    site.codes().succeeded(address, &user.login, Instant::now());
    site.limiter().succeeded(address, &user.login, Instant::now());
    enter(&site, &headers, &user, next)
}

/// Begins a session; with a one-time password, not before there is another.
fn enter(site: &Site, headers: &HeaderMap, user: &User, next: &str) -> Result<Response, PageError> {
    let random = SessionId::random().map_err(|_| PageError::Broken)?;
    if user.one_time {
        site.choosing().begin(&random, user, Instant::now());
        return Ok(ChoosePage::new(next, random.as_str(), &user.login, None).into_response());
    }
    site.sessions().begin(&random, user, browser_of(headers), Instant::now());
    Ok(([(header::SET_COOKIE, visitor::cookie(headers, &random))], Redirect::to(next)).into_response())
}

/// `POST /login/password`: the last step of a login with a one-time password.
pub(super) async fn choose(State(site): State<Arc<Site>>, request: Request) -> Result<Response, PageError> {
    let Step { headers, from, fields, ticket } = Step::read(&site, request).await?;
    let next = safe_next(fields.optional("next"));
    let over = || Ok(Redirect::to("/login?done=over").into_response());
    let Some(ticket) = ticket else { return over() };
    let Some(login) = site.choosing().try_ticket(&ticket, Instant::now()) else { return over() };
    let Some(user) = site.actions.settings.snapshot().users.get(&login).cloned() else { return over() };
    if !site.choosing().is_of(&ticket, &user) {
        return over();
    }
    let viewer = site.actions.viewer_of(&user, Author { from, ..Author::of(Via::Dashboard) });
    match site.actions.choose_password(&viewer, fields.text("password")).await {
        Ok(user) => {
            site.choosing().end(&ticket);
            enter(&site, &headers, &user, next)
        }
        Err(wrong @ (Refusal::Invalid { .. } | Refusal::Busy(_))) => {
            let page = ChoosePage::new(next, ticket.as_str(), &login, Some(Notice::wrong(&wrong, &fields)));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(Refusal::Conflict(_)) => over(),
        Err(refusal) => Err(PageError::Refused(refusal)),
    }
}

/// `POST /logout`
pub(super) async fn log_out(State(site): State<Arc<Site>>, headers: HeaderMap, posted: Posted) -> Response {
    site.sessions().end(&posted.visitor.session);
    ([(header::SET_COOKIE, visitor::no_cookie(&headers))], Redirect::to("/login")).into_response()
}

fn browser_of(headers: &HeaderMap) -> String {
    browser::named(headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default())
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

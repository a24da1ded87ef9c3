//! Who is behind a request: the only two ways a page gets at a logged-in person.
//!
//! **Invariant:** a handler that changes something takes a [`Posted`], and there is none without a living session, the
//! session's own form token and a request from our own pages (RFC 6265bis cookies alone do not prove that).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Request};
use axum::http::{Extensions, HeaderMap, Method, Uri, header, request};
use axum::response::{IntoResponse, Redirect, Response};

use super::http::Peer;
use super::login;
use super::pages::error::PageError;
use super::pages::way_back;
use super::session::SessionId;
use super::viewer::Viewer;
use super::{Refusal, Site};
use crate::settings::User;
use crate::store::audit::{Author, Via};

/// The cookie over https: the prefix makes browsers insist on Secure, Path=/ and no Domain.
const COOKIE_HTTPS: &str = "__Host-waxseal";
/// The cookie over plain http, on loopback.
const COOKIE_HTTP: &str = "waxseal";

/// A logged-in person as of this request.
pub(super) struct Visitor {
    pub(super) viewer: Viewer,
    pub(super) user: User,
    pub(super) session: SessionId,
}

/// A form sent by a logged-in person from one of our pages.
pub(super) struct Posted {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

/// The fields of a form, in order.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    /// Where it was sent to.
    path: String,
    pairs: Vec<(String, String)>,
}

/// Fields that no page shows again.
const SECRETS: [&str; 5] = ["password", "present", "code", "csrf", SEEN];
/// The field with the tag of what its form shows.
const SEEN: &str = "seen";

/// What was there when a form was made, by its tag.
pub(super) struct Seen<'f>(Option<&'f str>);

impl Seen<'_> {
    /// Whether that is there still. A form that says nothing, as a program's, takes what is there.
    pub(super) fn is(&self, present: &str) -> bool {
        self.0.is_none_or(|seen| seen == present)
    }
}

impl Fields {
    /// No form, but a page that is read at this path.
    pub(super) fn none(path: &str) -> Fields {
        Fields { path: path.to_owned(), pairs: Vec::new() }
    }

    /// Where the form was sent to.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// What the form was made for.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen(self.optional(SEEN))
    }

    /// What may be shown again.
    pub(super) fn without_secrets(&self) -> Fields {
        let shown = self.pairs.iter().filter(|(name, _)| !SECRETS.contains(&name.as_str()));
        Fields { path: self.path.clone(), pairs: shown.cloned().collect() }
    }

    /// The first value of a field; empty when it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_default()
    }

    /// The first value of a field.
    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a field, as checkboxes of one name send them.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// A field of many values, one a line or between commas.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        let split =
            |text: &str| text.split(['\n', ',']).map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
        self.optional(name).map(split)
    }

    /// A list whose entries may hold commas: one a line.
    pub(super) fn lines(&self, name: &str) -> Option<Vec<String>> {
        let lines = |text: &str| text.lines().map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
        self.optional(name).map(lines)
    }

    /// Reads the form of a request.
    ///
    /// # Errors
    /// It is no form, or too large.
    pub(super) async fn read(request: Request) -> Result<Fields, PageError> {
        let path = path_of(request.extensions(), request.uri()).to_owned();
        let form = axum::Form::<Vec<(String, String)>>::from_request(request, &()).await;
        let pairs = form.map(|axum::Form(pairs)| pairs).map_err(|rejection| PageError::BadForm(rejection.status()))?;
        Ok(Fields { path, pairs })
    }
}

impl FromRequestParts<Arc<Site>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut request::Parts, site: &Arc<Site>) -> Result<Visitor, Response> {
        match find(site, &parts.extensions, &parts.headers) {
            Some(visitor) if owes_factor(site, &visitor, path_of(&parts.extensions, &parts.uri)) => {
                Err(Redirect::to(FACTOR_PATH).into_response())
            }
            Some(visitor) => Ok(visitor),
            None => Err(to_login(parts)),
        }
    }
}

impl FromRequest<Arc<Site>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Arc<Site>) -> Result<Posted, Response> {
        let Some(visitor) = find(site, request.extensions(), request.headers()) else {
            return Err(login_ended(&request));
        };
        if owes_factor(site, &visitor, path_of(request.extensions(), request.uri())) {
            return Err(Redirect::to(FACTOR_PATH).into_response());
        }
        if !is_from_our_pages(request.headers()) {
            return Err(PageError::ForeignForm.into_response());
        }
        let fields = Fields::read(request).await.map_err(IntoResponse::into_response)?;
        if !visitor.session.owns_csrf_token(fields.text("csrf")) {
            return Err(PageError::ForeignForm.into_response());
        }
        Ok(Posted { visitor, fields })
    }
}

impl Visitor {
    /// What a page answers for a refusal that is not the form's fault.
    pub(super) fn refused(&self, refusal: Refusal) -> PageError {
        PageError::Refused(refusal)
    }
}

/// Whether the browser says that the request comes from our own pages. A browser that says nothing is let through: the
/// form token still decides.
pub(super) fn is_from_our_pages(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("unreadable"));
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin" || site == "none";
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, from)| from == host),
        (Some(_), None) => false,
    }
}

/// The `Set-Cookie` value that begins a session; gone with the browser.
pub(super) fn cookie(headers: &HeaderMap, id: &SessionId) -> String {
    if over_https(headers) {
        format!("{COOKIE_HTTPS}={}; Path=/; HttpOnly; SameSite=Strict; Secure", id.as_str())
    } else {
        format!("{COOKIE_HTTP}={}; Path=/; HttpOnly; SameSite=Strict", id.as_str())
    }
}

/// The `Set-Cookie` value that ends one.
pub(super) fn no_cookie(headers: &HeaderMap) -> String {
    let (name, secure) = if over_https(headers) { (COOKIE_HTTPS, "; Secure") } else { (COOKIE_HTTP, "") };
    format!("{name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{secure}")
}

/// The person of a living session, whatever they still owe.
pub(super) fn find(site: &Site, extensions: &Extensions, headers: &HeaderMap) -> Option<Visitor> {
    let session = session_id(headers)?;
    let login = site.sessions().login(&session, Instant::now())?;
    let author = Author { from: client(site, extensions, headers), ..Author::of(Via::Dashboard) };
    of_session(site, session, &login, author)
}

/// Who is behind a request that came to nothing: it does not keep a session alive.
pub(super) fn passing(site: &Site, session: SessionId) -> Option<Visitor> {
    let login = site.sessions().login_of(&session, Instant::now())?;
    of_session(site, session, &login, Author::of(Via::Dashboard))
}

/// The person of a session that lives, unless they are gone or have another password now.
fn of_session(site: &Site, session: SessionId, login: &str, author: Author) -> Option<Visitor> {
    let Some(user) = site.actions.settings.snapshot().users.get(login).cloned() else {
        site.sessions().end(&session);
        return None;
    };
    let viewer = site.actions.viewer_of(&user, author);
    site.sessions().still_belongs_to(&session, &user).then_some(Visitor { viewer, user, session })
}

/// Where a second factor is set up.
const FACTOR_PATH: &str = "/account/second-factor";

/// Whoever must set up a second factor does that first, or leaves.
fn owes_factor(site: &Site, visitor: &Visitor, path: &str) -> bool {
    path != FACTOR_PATH && path != "/logout" && site.actions.factor_missing(&visitor.user)
}

fn path_of<'a>(extensions: &'a Extensions, uri: &'a Uri) -> &'a str {
    extensions.get::<OriginalUri>().map_or(uri, |original| &original.0).path()
}

/// The person's address; requests that come over no socket have none.
pub(super) fn client(site: &Site, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    extensions.get::<Peer>().map(|peer| (site.client_address)(peer.0, headers))
}

pub(super) fn session_id(headers: &HeaderMap) -> Option<SessionId> {
    let wanted = if over_https(headers) { COOKIE_HTTPS } else { COOKIE_HTTP };
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == wanted).find_map(|(_, value)| SessionId::from_cookie(value))
}

/// Whether the browser speaks https to the proxy in front of us. Believed from anyone: a client that lies about its own
/// connection only gives itself a cookie it cannot use, and a policy that its browser does not believe over plain http.
pub(super) fn over_https(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// A path of ours as an address to be copied: from the very request that a logged-in person made.
pub(super) fn absolute(headers: &HeaderMap, path: &str) -> String {
    let scheme = if over_https(headers) { "https" } else { "http" };
    match headers.get(header::HOST).and_then(|host| host.to_str().ok()) {
        Some(host) => format!("{scheme}://{host}{path}"),
        None => path.to_owned(),
    }
}

/// To the login page, which says that nothing was saved, and to the form's page afterwards.
fn login_ended(request: &Request) -> Response {
    let path = path_of(request.extensions(), request.uri());
    if path == "/logout" {
        return Redirect::to("/login").into_response();
    }
    let page = page_before(request.headers()).or_else(|| way_back::page_of(path)).unwrap_or_else(|| path.to_owned());
    Redirect::to(&format!("/login?done=unsaved&next={}", login::encode_next(&page))).into_response()
}

/// The page a request comes from, if it is one of ours and the browser says so (RFC 9110, section 10.1.3); without what it
/// said was done.
fn page_before(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name)?.to_str().ok();
    let (_, address) = text(header::REFERER)?.split_once("://")?;
    let page = address.strip_prefix(text(header::HOST)?).filter(|page| page.starts_with('/'))?;
    let (path, query) = page.split_once('?').unwrap_or((page, ""));
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("done=")).collect();
    Some(if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) })
}

/// To the login page, and back here afterwards.
fn to_login(parts: &request::Parts) -> Response {
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    let here = uri.path_and_query().map_or("/", |path| path.as_str());
    if parts.method != Method::GET || here == "/" {
        return Redirect::to("/login").into_response();
    }
    Redirect::to(&format!("/login?next={}", login::encode_next(here))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
        rows.iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn forms_from_elsewhere_are_known() {
        let host = ("host", "127.0.0.1:8026");
        let rows: &[(&[(&str, &str)], bool)] = &[
            // what browsers say of our own forms
            (&[host, ("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8026")], true),
            (&[host, ("origin", "http://127.0.0.1:8026")], true),
            // a proxy that changes Host does not matter to a browser that says it itself
            (&[("host", "backend:1"), ("sec-fetch-site", "same-origin"), ("origin", "https://admin.example")], true),
            // no browser at all
            (&[host], true),
            // other sites, also on the same machine
            (&[host, ("sec-fetch-site", "cross-site")], false),
            (&[host, ("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:8025")], false),
            (&[host, ("origin", "http://127.0.0.1:8025")], false),
            (&[host, ("origin", "null")], false),
            (&[host, ("origin", "http://evil.example")], false),
            (&[("origin", "http://evil.example")], false),
        ];
        for (rows, expected) in rows {
            assert_eq!(is_from_our_pages(&headers(rows)), *expected, "{rows:?}");
        }
    }

    #[test]
    fn cookies_carry_every_flag() {
        let id = SessionId::random().unwrap();
        let plain = cookie(&headers(&[]), &id);
        assert_eq!(plain, format!("waxseal={}; Path=/; HttpOnly; SameSite=Strict", id.as_str()));
        let https = headers(&[("x-forwarded-proto", "https")]);
        assert_eq!(
            cookie(&https, &id),
            format!("__Host-waxseal={}; Path=/; HttpOnly; SameSite=Strict; Secure", id.as_str())
        );
        // over https the plain cookie, which any neighbour host can set, is not looked at
        let planted = headers(&[("x-forwarded-proto", "https"), ("cookie", plain.split(';').next().unwrap())]);
        assert!(session_id(&planted).is_none());
        assert!(session_id(&headers(&[("cookie", &format!("a=b; {}", plain.split(';').next().unwrap()))])).is_some());
    }
}

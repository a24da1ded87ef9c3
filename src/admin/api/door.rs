//! Who calls: the one place where a request of the API gets its viewer.
//!
//! **Invariant:** every handler but those of the document takes an [`Api`], and there is none without a session or a key. A
//! request that changes something over a session carries the session's own token in `X-CSRF-Token`: no other site can read it.
//! A key may do what its scopes allow and never more than its owner's present role.

use std::sync::Arc;

use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{Problem, scopes};
use crate::admin::login::NO_ADDRESS;
use crate::admin::session::SessionId;
use crate::admin::setup::Setup;
use crate::admin::viewer::Viewer;
use crate::admin::visitor;
use crate::admin::{Actions, Site};
use crate::settings::User;
use crate::settings::access::{Credential, Purpose};
use crate::store::audit::{Author, Via};

/// How a program may say who it is (RFC 6750 §3).
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"waxseal\"");
const BEARER_WRONG: HeaderValue = HeaderValue::from_static("Bearer realm=\"waxseal\", error=\"invalid_token\"");
const BEARER_NARROW: HeaderValue = HeaderValue::from_static("Bearer realm=\"waxseal\", error=\"insufficient_scope\"");

/// The session's form token, of `GET /api/v1/session`.
pub(super) const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// How requests come in.
#[derive(Clone)]
pub(super) enum Door {
    /// Whoever gets here is this viewer: the admin socket, which belongs to the owner of the data folder.
    Open {
        /// What it leads to.
        actions: Arc<Actions>,
        /// Who it is.
        viewer: Viewer,
        /// What mail programs are told.
        setup: Arc<Setup>,
    },
    /// The dashboard's listener: each request says who it is.
    Site(Arc<Site>),
}

/// A request that was let in, and on whose behalf.
pub(in crate::admin) struct Api {
    pub(in crate::admin) actions: Arc<Actions>,
    pub(in crate::admin) viewer: Viewer,
    /// What the session's changes carry; empty where there is no session.
    pub(super) csrf_token: String,
    /// The session it came with.
    pub(in crate::admin) session: Option<SessionId>,
    /// The key it came with.
    pub(in crate::admin) key: Option<Credential>,
    /// What mail programs are told.
    pub(super) setup: Arc<Setup>,
    /// The listener's site; none over the socket.
    site: Option<Arc<Site>>,
}

impl Api {
    /// Counts a try of somebody who is logged in and proves it again: a borrowed session must not become a way to guess.
    ///
    /// # Errors
    /// 429: too many.
    pub(super) fn try_again(&self) -> Result<(), Problem> {
        match (&self.site, self.viewer.login()) {
            (Some(site), Some(login)) => site.limiter().try_again(login, Instant::now()).map_err(too_often),
            _ => Ok(()),
        }
    }
}

impl FromRequestParts<Door> for Api {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Api, Problem> {
        match door {
            Door::Open { actions, viewer, setup } => Ok(Api {
                actions: Arc::clone(actions),
                viewer: viewer.clone(),
                csrf_token: String::new(),
                session: None,
                key: None,
                setup: Arc::clone(setup),
                site: None,
            }),
            Door::Site(site) => {
                let (actions, setup) = (Arc::clone(&site.actions), Arc::new(site.options.setup.clone()));
                if let Some(key) = bearer(&parts.headers) {
                    let (viewer, key) = with_key(parts, site, &key).await?;
                    return Ok(Api {
                        actions,
                        viewer,
                        csrf_token: String::new(),
                        session: None,
                        key: Some(key),
                        setup,
                        site: Some(Arc::clone(site)),
                    });
                }
                let (viewer, session) = authenticate(parts, site)?;
                let csrf_token = session.csrf_token();
                let session = Some(session);
                Ok(Api { actions, viewer, csrf_token, session, key: None, setup, site: Some(Arc::clone(site)) })
            }
        }
    }
}

/// Who sent this request, in which session.
fn authenticate(parts: &Parts, site: &Arc<Site>) -> Result<(Viewer, SessionId), Problem> {
    let Some(visitor) = visitor::find(site, &parts.extensions, &parts.headers) else {
        let detail =
            "log in first: at /login, which sets the session's cookie, or send an API key as Authorization: Bearer";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail).with(header::WWW_AUTHENTICATE, BEARER));
    };
    with_factor(site, &visitor.user)?;
    if parts.method.is_safe() {
        return Ok((visitor.viewer, visitor.session));
    }
    let sent = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !visitor::is_from_our_pages(&parts.headers) || !visitor.session.owns_csrf_token(sent) {
        let detail = "a change needs the header X-CSRF-Token with the token of GET /api/v1/session";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok((visitor.viewer, visitor.session))
}

/// Whoever must set up a second factor does that first; what they made before does nothing meanwhile.
fn with_factor(site: &Site, user: &User) -> Result<(), Problem> {
    match site.actions.factor_missing(user) {
        false => Ok(()),
        true => {
            let detail = "a second factor is asked of you: set it up at /account/second-factor";
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
    }
}

/// The key of `Authorization: Bearer`. Another scheme belongs to a proxy in front of us, and says nothing here.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().to_owned())
}

/// Who sent this request with this key. No form token: a browser never adds the header by itself.
async fn with_key(parts: &Parts, site: &Arc<Site>, key: &str) -> Result<(Viewer, Credential), Problem> {
    let from = visitor::client(site, &parts.extensions, &parts.headers);
    let address = from.unwrap_or(NO_ADDRESS);
    site.keys().try_address(address, Instant::now()).map_err(too_often)?;
    let Some((user, credential)) = site.actions.logins.check_key(key, jiff::Timestamp::now().as_millisecond()).await
    else {
        metrics::counter!("waxseal_logins_failed_total", "door" => "api").increment(1);
        let detail = "this API key is unknown, expired or revoked: make another on the account page of the dashboard";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail).with(header::WWW_AUTHENTICATE, BEARER_WRONG));
    };
    site.keys().forgive_address(address);
    site.keys().try_again(&credential.id().to_string(), Instant::now()).map_err(too_often)?;
    with_factor(site, &user)?;
    let Purpose::Api { scopes, .. } = credential.purpose.clone() else {
        return Err(Problem::new(StatusCode::FORBIDDEN, "this is no API key"));
    };
    let scope = scopes::needed(&parts.method, parts.uri.path());
    if !scopes.contains(&scope) {
        let detail = format!(
            "this API key lacks the scope `{scope}`: make one that has it, on the account page",
            scope = scope.as_str()
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, detail).with(header::WWW_AUTHENTICATE, BEARER_NARROW));
    }
    Ok((site.actions.viewer_of(&user, Author { from, ..Author::of(Via::Key) }).with_key(scopes), credential))
}

fn too_often(wait: Duration) -> Problem {
    let secs = wait.as_secs().max(1);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, format!("too many requests: again in {secs} s"))
        .with(header::RETRY_AFTER, secs)
}

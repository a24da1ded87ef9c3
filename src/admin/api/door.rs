//! Who calls: the one place where a request of the API gets its viewer.
//!
//! **Invariant:** every handler but those of the document takes an [`Api`], and there is none without [`authenticate`]. A
//! request that changes something over a session carries the session's own token in `X-CSRF-Token`: no other site can read it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};

use super::Problem;
use crate::admin::viewer::Viewer;
use crate::admin::visitor::{self, Visitor};
use crate::admin::{Actions, Site};

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
    },
    /// The dashboard's listener: each request says who it is.
    Site(Arc<Site>),
}

/// A request that was let in, and on whose behalf.
pub(super) struct Api {
    pub(super) actions: Arc<Actions>,
    pub(super) viewer: Viewer,
    /// What the session's changes carry; empty where there is no session.
    pub(super) csrf_token: String,
}

impl FromRequestParts<Door> for Api {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Api, Problem> {
        match door {
            Door::Open { actions, viewer } => {
                Ok(Api { actions: Arc::clone(actions), viewer: viewer.clone(), csrf_token: String::new() })
            }
            Door::Site(site) => {
                let (viewer, csrf_token) = authenticate(parts, site).await?;
                Ok(Api { actions: Arc::clone(&site.actions), viewer, csrf_token })
            }
        }
    }
}

/// Who sent this request, and the token its session's changes carry.
async fn authenticate(parts: &mut Parts, site: &Arc<Site>) -> Result<(Viewer, String), Problem> {
    let visitor = Visitor::from_request_parts(parts, site).await.map_err(|_| {
        Problem::new(StatusCode::UNAUTHORIZED, "log in first: at /login, which sets the session's cookie")
    })?;
    let token = visitor.session.csrf_token();
    if parts.method.is_safe() {
        return Ok((visitor.viewer, token));
    }
    let sent = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !visitor::is_from_our_pages(&parts.headers) || !visitor.session.owns_csrf_token(sent) {
        let detail = "a change needs the header X-CSRF-Token with the token of GET /api/v1/session";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok((visitor.viewer, token))
}

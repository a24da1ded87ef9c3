//! `/metrics`: what was counted, for Prometheus.
//!
//! A collector has no login. It is answered on the machine itself, where it connects over loopback and speaks for nobody
//! else; from anywhere else only a server admin is. To all others the address does not exist.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::error::PageError;
use crate::admin::Site;
use crate::admin::http::Peer;
use crate::admin::visitor::Visitor;

/// Whoever sets one of these speaks for somebody else.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// `GET /metrics`
pub(super) async fn text(
    State(site): State<Arc<Site>>,
    visitor: Result<Visitor, Response>,
    request: Request,
) -> Result<Response, PageError> {
    let is_admin = visitor.is_ok_and(|visitor| visitor.viewer.rules_all());
    if !is_admin && !is_local(&request) {
        return Err(PageError::NoPage);
    }
    let metrics = site.actions.metrics.as_deref().ok_or(PageError::NoPage)?;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], metrics.text().await).into_response())
}

/// A program on this machine that asks for itself: a proxy in front of us says for whom it asks.
fn is_local(request: &Request) -> bool {
    let forwarded = |headers: &HeaderMap| FORWARDED.iter().any(|name| headers.contains_key(*name));
    let peer = request.extensions().get::<Peer>();
    peer.is_some_and(|peer| peer.0.is_loopback()) && !forwarded(request.headers())
}

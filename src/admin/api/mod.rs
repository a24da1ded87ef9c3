//! The JSON API: the same actions as the pages, for programs, over the admin socket and the dashboard's listener.
//!
//! `door` finds out who calls; a handler that takes an `Api` has been let in. Answers are JSON; errors are problem details
//! (RFC 9457) whose `detail` says what to do. `openapi` is the document of it all.

mod access;
mod activity;
mod audit;
mod credentials;
mod door;
mod etag;
mod figures;
mod health;
mod inbox;
mod invitations;
mod keys;
mod linked;
mod links;
mod messages;
pub mod openapi;
mod orgs;
mod people;
mod problem;
mod queue;
mod scopes;
mod session;
mod sessions;
mod setup;
pub mod shapes;
pub(super) mod tags;
mod unread;
mod users;
mod webhooks;
mod why;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::de::DeserializeOwned;

use super::pages::feed;
use super::setup::Setup;
use super::viewer::Viewer;
use super::{Actions, Refusal, Site};
pub(super) use door::Api;
use door::Door;
pub(super) use problem::Problem;
pub(super) use unread::Unread;

/// Longest wait of one request for the next event; the caller asks again. Below every common idle time-out.
pub const EVENT_WAIT_MAX: Duration = Duration::from_secs(25);

/// The API as `viewer` may use it, whoever calls: for a door that only one may pass, as the admin socket.
pub fn router(actions: Arc<Actions>, viewer: Viewer) -> Router {
    router_telling(actions, viewer, Setup::default())
}

/// [`router`], which knows what mail programs are told.
pub fn router_telling(actions: Arc<Actions>, viewer: Viewer, setup: Setup) -> Router {
    routes(Door::Open { actions, viewer, setup: Arc::new(setup) }).fallback(nothing_here)
}

/// The API of the dashboard's listener; each request says who it is. Without a fallback: the pages have theirs.
pub(super) fn site(site: Arc<Site>) -> Router {
    routes(Door::Site(site))
}

/// What an address that is not there answers.
pub(super) async fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such address; the API is under /api/v1/")
}

/// Every address. Each has its words in [`openapi`], and a test sees to that.
fn routes(door: Door) -> Router {
    Router::new()
        .route("/api/openapi.json", get(openapi::serve))
        .route("/api/v1/session", get(session::show))
        .route("/api/v1/messages", get(messages::list))
        .route("/api/v1/messages/{id}", get(messages::show))
        .route("/api/v1/messages/{id}/events/{sequence}", put(messages::say_own))
        .route("/api/v1/readers", get(messages::readers))
        .route("/api/v1/readers/{address}", get(messages::reader))
        .route("/api/v1/messages/{id}/links", get(links::list))
        .route("/api/v1/messages/{id}/links/{index}", get(links::show).put(links::change).delete(links::restore))
        .route("/api/v1/events", get(messages::events))
        .route("/api/v1/feed", get(feed::stream))
        .route("/api/v1/activity", get(activity::list))
        .route("/api/v1/setup", get(setup::show))
        .route("/api/v1/figures", get(figures::show))
        .route("/api/v1/figures/senders", get(figures::senders))
        .route("/api/v1/figures/links", get(figures::links))
        .route("/api/v1/figures/places", get(figures::places))
        .route("/api/v1/health", get(health::show))
        .route("/api/v1/users", get(users::list).post(users::add))
        .route("/api/v1/users/{login}", get(users::show).patch(users::set).delete(users::remove))
        .route("/api/v1/users/{login}/password", put(users::password))
        .route("/api/v1/users/{login}/notices", get(users::notices_of).put(users::notices))
        .route("/api/v1/users/{login}/tracking", get(users::tracking).patch(users::set_tracking))
        .route(
            "/api/v1/users/{login}/app-passwords",
            get(credentials::app_passwords).post(credentials::add_app_password),
        )
        .route("/api/v1/users/{login}/app-passwords/{id}", delete(credentials::remove_app_password))
        .route("/api/v1/users/{login}/api-keys", get(credentials::api_keys).post(credentials::add_api_key))
        .route("/api/v1/users/{login}/api-keys/{id}", delete(credentials::remove_api_key))
        .route("/api/v1/orgs/{name}/access", get(access::show).patch(access::change))
        .route(
            "/api/v1/orgs/{name}/upstream-password",
            get(access::upstream_password).put(access::set_upstream_password).delete(access::remove_upstream_password),
        )
        .route("/api/v1/users/{login}/second-factor", get(access::factor).delete(access::remove_factor))
        .route("/api/v1/invitations", get(invitations::list).post(invitations::add))
        .route("/api/v1/invitations/{id}", delete(invitations::withdraw))
        .route("/api/v1/users/{login}/password-link", post(invitations::password_link))
        .route("/api/v1/users/{login}/sessions", get(sessions::list).delete(sessions::end_all))
        .route("/api/v1/users/{login}/sessions/{id}", delete(sessions::end))
        .route("/api/v1/orgs", get(orgs::list))
        .route("/api/v1/orgs/{name}", get(orgs::show).patch(orgs::set))
        .route("/api/v1/why", get(why::show))
        .route("/api/v1/orgs/{name}/notices", get(orgs::notices).put(orgs::set_notices))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/orgs/{name}/privacy", get(people::privacy).patch(people::set_privacy))
        .route("/api/v1/orgs/{name}/people", get(people::people).post(people::note))
        .route("/api/v1/privacy/export", post(people::export))
        .route("/api/v1/privacy/erase", post(people::erase))
        .route("/api/v1/inbox", get(inbox::list))
        .route("/api/v1/inbox/{id}", get(inbox::show))
        .route("/api/v1/inbox/{id}/raw", get(inbox::raw))
        .route("/api/v1/test-mail", post(inbox::test_mail))
        .route("/api/v1/queue", get(queue::list))
        .route("/api/v1/queue/{id}", get(queue::show).delete(queue::discard))
        .route("/api/v1/queue/{id}/retry", post(queue::retry))
        .route("/api/v1/webhooks", get(webhooks::list).post(webhooks::add))
        .route("/api/v1/webhooks/{id}", get(webhooks::show).patch(webhooks::change).delete(webhooks::remove))
        .route("/api/v1/webhooks/{id}/test", post(webhooks::test))
        .route("/api/v1/webhooks/{id}/deliveries", get(webhooks::deliveries))
        .route("/api/v1/webhooks/{id}/deliveries/{delivery}/replay", post(webhooks::replay_one))
        .route("/api/v1/webhooks/{id}/replay", post(webhooks::replay_failed))
        .route("/api/v1/keys", get(keys::list))
        .route("/api/v1/keys/rotate", post(keys::rotate))
        .route("/api/v1/keys/{id}", get(keys::show))
        .route("/api/v1/keys/{id}/revoke", post(keys::revoke))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method")
        })
        .layer(axum::middleware::from_fn(etag::not_again))
        .with_state(door)
}

/// A JSON body, or a problem that says what is wrong with it.
struct Body<T>(T);

/// The variables of a path, or a problem that says what is wrong with them.
struct Path<T>(T);

/// A query, or a problem that says what is wrong with it.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Problem> {
        let read = Json::from_request(request, state).await;
        read.map(|Json(value)| Body(value)).map_err(|no| match &no {
            JsonRejection::JsonDataError(wrong) => Problem::unread(Unread::of(wrong)),
            _ => Problem::new(no.status(), no.body_text()),
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, Problem> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(value)| Query(value)).map_err(|no| Problem::unread(Unread::of(&no)))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(value)| Path(value)).map_err(|no| Problem::new(no.status(), no.body_text()))
    }
}

/// Reads a value typed as text, naming the field when it is wrong.
fn parsed<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Refusal::invalid(field, format!("{text:?} cannot be read")).into())
}

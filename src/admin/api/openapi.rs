//! The API's own description: OpenAPI 3.1, made from the handlers and shapes themselves.

use std::sync::LazyLock;

use axum::http::{Method, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi as _};

use super::problem::Problem;
use super::scopes;
use super::{
    access, activity, audit, credentials, figures, health, inbox, invitations, keys, links, messages, orgs, people,
    queue, session, sessions, setup, users, webhooks, why,
};
use crate::admin::pages::feed;

/// Name of the answer every operation may give.
const PROBLEM: &str = "Problem";
/// Media type of that answer.
const PROBLEM_JSON: &str = "application/problem+json";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "waxseal",
        description = "Everything the dashboard shows and does, for programs. Times are RFC 3339 in UTC; ids of mails are 16 hex \
                       digits. Every error is a problem detail (RFC 9457). Lists of mail are read page by page: `next` of one \
                       page is `before` of the following; a list that is an array names its next page in a `Link` header (RFC 8288); events: `after` of one answer is `after` of the next request. \
                       A change with `If-Match` is made only when nothing has changed since that `ETag` was read.",
    ),
    paths(
        document,
        activity::list,
        setup::show,
        session::show,
        messages::list,
        messages::show,
        messages::events,
        messages::say_own,
        messages::readers,
        messages::reader,
        audit::list,
        feed::stream,
        figures::show,
        figures::senders,
        figures::links,
        figures::places,
        health::show,
        links::list,
        links::show,
        links::change,
        links::restore,
        users::list,
        users::show,
        users::add,
        users::set,
        users::password,
        users::notices,
        users::tracking,
        users::set_tracking,
        users::notices_of,
        users::remove,
        credentials::app_passwords,
        credentials::add_app_password,
        credentials::remove_app_password,
        credentials::api_keys,
        credentials::add_api_key,
        credentials::remove_api_key,
        access::show,
        access::change,
        access::upstream_password,
        access::set_upstream_password,
        access::remove_upstream_password,
        access::factor,
        access::remove_factor,
        invitations::list,
        invitations::add,
        invitations::withdraw,
        invitations::password_link,
        sessions::list,
        sessions::end_all,
        sessions::end,
        orgs::list,
        orgs::show,
        orgs::set,
        why::show,
        orgs::notices,
        orgs::set_notices,
        people::privacy,
        people::set_privacy,
        people::people,
        people::note,
        people::export,
        people::erase,
        inbox::list,
        inbox::show,
        inbox::raw,
        inbox::test_mail,
        queue::list,
        queue::show,
        queue::retry,
        queue::discard,
        webhooks::list,
        webhooks::show,
        webhooks::add,
        webhooks::change,
        webhooks::remove,
        webhooks::test,
        webhooks::deliveries,
        webhooks::replay_one,
        webhooks::replay_failed,
        keys::list,
        keys::rotate,
        keys::show,
        keys::revoke,
    ),
    components(schemas(Problem)),
    modifiers(&Problems, &Doors)
)]
struct Document;

/// The whole document.
pub fn document_of_all() -> OpenApi {
    Document::openapi()
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "document", operation_id = "document", security(()),
    responses((status = 200, body = Object)))]
#[expect(
    clippy::expect_used,
    reason = "its keys are words and its values lists, maps and words: all of that can be written as JSON"
)]
async fn document() -> impl IntoResponse {
    // Anybody may ask: it is made once.
    static WRITTEN: LazyLock<Bytes> =
        LazyLock::new(|| document_of_all().to_json().expect("a document that can be written").into());
    ([(header::CONTENT_TYPE, "application/json")], WRITTEN.clone())
}

/// `GET /api/openapi.json`: the same for everyone, so it may be kept for a while.
pub(super) async fn serve() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "private, max-age=300")], document().await)
}

/// Every operation may answer with a problem.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut OpenApi) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(PROBLEM))).build();
        let words = "Why it was not done";
        let problem = ResponseBuilder::new().description(words).content(PROBLEM_JSON, content).build();
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                for answer in responses.values_mut() {
                    if let RefOr::T(answer) = answer
                        && answer.description.is_empty()
                    {
                        answer.description = "Done".to_owned();
                    }
                }
                responses.insert("default".to_owned(), RefOr::T(problem.clone()));
            }
        }
    }
}

/// How a caller says who it is.
struct Doors;

impl Modify for Doors {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let words = "The dashboard's session; behind a proxy with TLS the cookie is called __Host-waxseal";
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description("waxseal", words));
        let words = "For changes over a session: csrf_token of GET /api/v1/session";
        let token = ApiKey::Header(ApiKeyValue::with_description("X-CSRF-Token", words));
        let words = "An API key, made on the account page; it may do what its scopes and its owner's role both allow";
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(words)).build();
        components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
        components.add_security_scheme("csrf_token", SecurityScheme::ApiKey(token));
        let none: [&str; 0] = [];
        let both = SecurityRequirement::new("session", none).add("csrf_token", none);
        document.security = Some(vec![both]);
        for (path, item) in &mut document.paths.paths {
            let operations = [
                (Method::GET, &mut item.get),
                (Method::PUT, &mut item.put),
                (Method::POST, &mut item.post),
                (Method::PATCH, &mut item.patch),
                (Method::DELETE, &mut item.delete),
            ];
            for (method, operation) in operations {
                if let Some(operation) = operation.as_mut().filter(|operation| operation.security.is_none()) {
                    operation.security = Some(doors_of(&method, path));
                }
            }
        }
    }
}

/// A session, with its token for a change; or a key that has the scope.
fn doors_of(method: &Method, path: &str) -> Vec<SecurityRequirement> {
    let none: [&str; 0] = [];
    let session = SecurityRequirement::new("session", none);
    let session = if method.is_safe() { session } else { session.add("csrf_token", none) };
    vec![session, SecurityRequirement::new("api_key", [scopes::needed(method, path).as_str()])]
}

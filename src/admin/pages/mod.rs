//! The dashboard's pages: this file is the table of contents, then one file a page.
//!
//! Handlers read the request, call one action, fill a template. **Invariant:** every answer carries a content security
//! policy without `unsafe-inline`; there is no script, but for those of the Activity, test mail and Health pages. (The one exception is the mail in its
//! frame, which is sandboxed.)

mod access;
mod account;
mod activity;
mod assets;
mod audit;
mod chart;
pub(super) mod error;
mod export;
pub(super) mod feed;
mod figures;
mod form;
mod health;
mod inbox;
mod join;
mod labels;
pub(super) mod login;
mod message;
mod messages;
mod metrics;
mod notices;
mod org_events;
mod org_tracking;
mod orgs;
pub(super) mod place;
mod privacy;
mod query;
mod queue;
mod readers;
mod reference;
mod second_factor;
mod setup;
mod tracking;
mod users;
pub(super) mod way_back;
mod ways;
mod webhooks;
mod why;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Request;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tower_http::set_header::SetResponseHeaderLayer;

use super::visitor::{Fields, Visitor, over_https};
use super::{Refusal, Site, api, login as sessions};
use error::PageError;
pub(super) use messages::encoded;

/// Nothing from anywhere but ourselves; no script at all; nobody may frame us.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// Every page of the dashboard.
pub(super) fn router(site: Arc<Site>) -> Router {
    let router = Router::new()
        .route("/", get(messages::page))
        .route("/messages", get(async || Redirect::to("/")))
        .route("/messages.csv", get(export::csv))
        .route("/people", get(readers::list))
        .route("/people/one", get(readers::one))
        .route("/figures", get(figures::page))
        .route("/health", get(health::page))
        .route("/messages/{id}", get(message::page))
        .route("/messages/{id}/links/{index}", post(message::change_link))
        .route("/messages/{id}/events", post(message::say_own))
        .route("/orgs", get(orgs::list))
        .route("/orgs/{name}", get(orgs::page).post(orgs::save))
        .route("/why", get(why::page))
        .route("/audit", get(audit::page))
        .route("/audit/{file}", get(audit::export))
        .route("/orgs/{name}/privacy", get(privacy::page).post(privacy::save))
        .route("/orgs/{name}/privacy/note", post(privacy::note))
        .route("/users", get(users::page).post(users::add))
        .route("/users/edit", get(users::edit))
        .route("/users/password", post(users::password))
        .route("/users/set", post(users::set))
        .route("/users/remove", get(users::ask_remove).post(users::remove))
        .route("/orgs/{name}/access", get(access::page).post(access::save))
        .route("/orgs/{name}/upstream-password", post(access::save_password))
        .route("/users/factor", post(users::remove_factor))
        .route("/account/second-factor", get(second_factor::page).post(second_factor::save))
        .route("/login/code", post(sessions::code))
        .route("/login/password", post(sessions::choose))
        .route("/users/invite", post(users::invite))
        .route("/users/invite/withdraw", post(users::withdraw))
        .route("/users/link", post(users::link))
        .route("/join/{secret}", get(join::page).post(join::join))
        .route("/users/credentials/remove", post(users::revoke))
        .route("/users/sessions/end", post(users::end_sessions))
        .route("/account", get(account::page).post(account::password))
        .route("/tracking", get(tracking::page).post(tracking::save))
        .route("/account/app-passwords", post(account::app_password))
        .route("/account/api-keys", post(account::api_key))
        .route("/account/credentials/remove", post(account::revoke))
        .route("/account/sessions/end", post(account::end_sessions))
        .route("/activity", get(activity::page))
        .route("/notices", get(notices::page).post(notices::save))
        .route("/notices/org", post(notices::save_org))
        .route("/webhooks", post(notices::add_webhook))
        .route("/webhooks/{id}", get(webhooks::page).post(webhooks::change))
        .route("/webhooks/{id}/deliveries/{delivery}", post(webhooks::replay))
        .route("/queue", get(queue::page))
        .route("/queue/retry", post(queue::retry_all))
        .route("/queue/{id}", get(queue::mail))
        .route("/queue/{id}/retry", post(queue::retry))
        .route("/queue/{id}/drop", get(queue::ask).post(queue::discard))
        .route("/inbox", get(inbox::page))
        .route("/inbox/test-mail", post(inbox::test_mail))
        .route("/inbox/{id}", get(inbox::mail))
        .route("/inbox/{id}/frame", get(inbox::frame))
        .route("/inbox/{id}/raw", get(inbox::raw))
        .route("/setup", get(setup::page))
        .route("/setup/test-mail", post(setup::send))
        .route("/setup/test-mail/{id}", get(setup::progress))
        .route("/api", get(reference::page))
        .route("/metrics", get(metrics::text))
        .route("/login", get(sessions::form).post(sessions::log_in))
        .route("/logout", post(sessions::log_out))
        .route("/assets/{name}", get(assets::asset))
        .method_not_allowed_fallback(not_like_this)
        .with_state(Arc::clone(&site))
        .merge(api::site(Arc::clone(&site)))
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(site, error::framed));
    [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // `same-origin`, not `no-referrer`: with the latter browsers send `Origin: null` for our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ]
    .into_iter()
    .fold(router, |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value)))
    })
    .layer(middleware::from_fn(https_only))
}

/// Behind a proxy that speaks https browsers shall come in no other way (RFC 6797); a year, as their lists ask for.
async fn https_only(request: Request, next: Next) -> Response {
    let over_https = over_https(request.headers());
    let mut answer = next.run(request).await;
    if over_https {
        let policy = HeaderValue::from_static("max-age=31536000");
        answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, policy);
    }
    answer
}

/// A form's address, read: after a form was refused it is in the address bar, and leads back to the form.
async fn not_like_this(method: Method, uri: Uri) -> Response {
    match way_back::page_of(uri.path()).filter(|_| method == Method::GET || method == Method::HEAD) {
        Some(page) => Redirect::to(&page).into_response(),
        None => PageError::NoMethod.into_response(),
    }
}

/// A page for people; a problem for programs.
async fn nothing_here(uri: Uri) -> Response {
    match uri.path().starts_with("/api/") {
        true => api::nothing_here().await.into_response(),
        false => PageError::NoPage.into_response(),
    }
}

/// What every page has around it.
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) style: String,
    pub(super) icon: String,
    /// `None` before the login.
    pub(super) person: Option<FramePerson>,
    pub(super) notice: Option<Notice>,
}

/// The logged-in half of the frame.
pub(super) struct FramePerson {
    login: String,
    csrf: String,
    tabs: Vec<Tab>,
}

struct Tab {
    href: &'static str,
    label: &'static str,
    current: bool,
}

/// One sentence on top of a page about what was just asked.
pub(super) struct Notice {
    good: bool,
    /// The field it is about: where that is on the page, and what it is called.
    field: Option<(String, String)>,
    text: String,
    /// The form that was refused.
    again: Option<form::Again>,
}

impl Frame {
    /// A frame for somebody who is not logged in.
    pub(super) fn public(title: &str) -> Frame {
        let (style, icon) = (assets::style_path(), assets::icon_path());
        Frame { title: title.to_owned(), style, icon, person: None, notice: None }
    }

    /// A frame with the tabs this visitor has; `tab` is the one the page belongs to.
    pub(super) fn of(site: &Site, visitor: &Visitor, title: impl Into<String>, tab: &str) -> Frame {
        let ruling = visitor.viewer.rules_all() || visitor.viewer.org_ruled().is_some();
        let all = [
            (true, "/", "Messages"),
            (true, "/activity", "Activity"),
            (true, "/people", "People"),
            (true, "/figures", "Analytics"),
            (site.actions.queue.is_some(), "/queue", "Queue"),
            (site.actions.has_inbox(&visitor.viewer), "/inbox", "Inbox"),
            (true, "/orgs", "Settings"),
            (ruling, "/users", "Users"),
            (ruling, "/audit", "Audit"),
            (site.actions.notify.is_some(), "/notices", "Notifications"),
            (site.actions.has_health(&visitor.viewer), "/health", "Health"),
            (true, "/setup", "Set up"),
        ];
        let seen = all.into_iter().filter(|(seen, ..)| *seen);
        let tabs = seen.map(|(_, href, label)| Tab { href, label, current: href == tab }).collect();
        let person = FramePerson { login: visitor.user.login.clone(), csrf: visitor.session.csrf_token(), tabs };
        Frame { person: Some(person), title: title.into(), ..Frame::public("") }
    }

    /// With what a redirect brought, or with why a form was not accepted.
    pub(super) fn with(mut self, notice: Option<Notice>) -> Frame {
        self.notice = notice;
        self
    }

    /// The form token; empty before the login.
    pub(super) fn csrf(&self) -> &str {
        self.person.as_ref().map_or("", |person| &person.csrf)
    }
}

impl Notice {
    /// A refusal in words.
    pub(super) fn bad(text: impl std::fmt::Display) -> Option<Notice> {
        let text = text.to_string();
        let mut letters = text.chars();
        let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
        let text = format!("{first}{}.", letters.as_str().trim_end_matches('.'));
        Some(Notice { good: false, field: None, text, again: None })
    }

    /// Why a form was refused, with what was posted.
    pub(super) fn wrong(refusal: &Refusal, fields: &Fields) -> Notice {
        let wrong = form::field_of(refusal);
        let path = fields.path();
        let text = match refusal {
            Refusal::Invalid { detail, .. } => format!(": {}.", detail.trim_end_matches('.')),
            Refusal::Managed { .. } => " is managed in config.toml: change it there and reload.".to_owned(),
            Refusal::Locked { .. } => " is locked: the organisation decides it for all its users.".to_owned(),
            Refusal::Changed => {
                "Changed meanwhile by somebody else, so nothing was saved. What you entered is still here: \
                                 look at it once more, then save again."
                    .to_owned()
            }
            other => Notice::bad(other).map(|notice| notice.text).unwrap_or_default(),
        };
        Notice {
            good: false,
            field: wrong.map(|field| (labels::id(path, field), labels::label(path, field))),
            text,
            again: Some(form::Again::of(fields, wrong)),
        }
    }

    /// All it says.
    pub(super) fn words(&self) -> String {
        let label = self.field.as_ref().map_or("", |(_, label)| label.as_str());
        format!("{label}{}", self.text)
    }

    /// What a redirect after a form says, by its code; nothing of a request is ever repeated here.
    pub(super) fn done(code: Option<&str>) -> Option<Notice> {
        let text = match code? {
            "saved" => "Saved. It is in force for the next mail.",
            "noted" => "Noted. It is in force at once.",
            "added" => "The user was added.",
            "password" => "The password was changed; open sessions of that login have ended.",
            "changed" => "Your password was changed; your other sessions have ended.",
            "revoked" => "Revoked. It has stopped working.",
            "ended" => "Ended.",
            "access" => "Saved. It is in force with the next request.",
            "upstream" => "Sealed. It is in force with the next mail, and for what waits.",
            "upstream_gone" => "Forgotten. The organisation's mail is held until there is another.",
            "factor_gone" => "The second factor is gone; the password is enough again.",
            "over" => "That took too long, or too many tries. Log in again.",
            "withdrawn" => "The link was withdrawn.",
            "joined" => "Your password is set. Log in with it.",
            "unsaved" => {
                return Notice::bad(
                    "your login had ended, so what you entered was not saved: log in, then enter it again",
                );
            }
            "removed" => "The user was removed.",
            "own" => "Noted. It is counted anew, with everything that goes by it.",
            "link" => "The link was changed. It is in force at once.",
            "sent" => "The test mail was sent.",
            "retry" => "It is being tried. If it is delivered, it is gone from here within a moment.",
            "notices" => "Saved. It is in force for what happens from now on.",
            "webhook" => "The webhook was changed.",
            "unhooked" => "The webhook was removed.",
            "tested" => "A test was sent. How it went is below in a moment.",
            "replayed" => "It is being tried again. How it went is below in a moment.",
            "retry-all" => {
                "They are being tried, the first thousand of them. What is delivered is gone from here within a moment."
            }
            "dropped" => "The mail was dropped. Nobody who did not have it yet will get it.",
            _ => return None,
        };
        Some(Notice { good: true, field: None, text: text.to_owned(), again: None })
    }
}

/// The one query value pages take after a form.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Done {
    pub(super) done: Option<String>,
}

/// Fills a template.
pub(super) fn html(page: &impl Template) -> Response {
    html_with(StatusCode::OK, page)
}

/// Fills a template under a status.
pub(super) fn html_with(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be filled: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

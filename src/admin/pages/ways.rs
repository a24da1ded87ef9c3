//! What a person and their programs log in with, as the account page and an admin's page about a user show it.

use askama::Template;
use jiff::Timestamp;

use super::words::{self, Moment};
use super::{Frame, error::PageError};
use crate::admin::actions::credentials::CredentialView;
use crate::admin::visitor::{Fields, Visitor};
use crate::admin::{Refusal, SessionView, Site};
use crate::settings::access::{DigestId, Purpose, Scope};

/// The lists of one user.
pub(super) struct Ways {
    /// Where its forms go.
    pub(super) base: &'static str,
    pub(super) login: String,
    /// The visitor's own, who may make more of them.
    pub(super) own: bool,
    /// The user sends mail.
    pub(super) sends: bool,
    pub(super) app_passwords: Vec<CredentialRow>,
    pub(super) keys: Vec<CredentialRow>,
    pub(super) scopes: Vec<ScopeRow>,
    pub(super) sessions: Vec<SessionRow>,
    /// Sessions that are not the visitor's present one.
    pub(super) others: usize,
}

pub(super) struct CredentialRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) made: Moment,
    pub(super) used: Option<Moment>,
    pub(super) shown: String,
    pub(super) scopes: String,
    pub(super) expires: Option<Moment>,
    pub(super) expired: bool,
}

pub(super) struct ScopeRow {
    pub(super) name: &'static str,
    pub(super) words: &'static str,
}

pub(super) struct SessionRow {
    pub(super) id: String,
    pub(super) browser: String,
    pub(super) began: Moment,
    pub(super) used: Moment,
    pub(super) current: bool,
}

/// A secret, shown once.
#[derive(Template)]
#[template(path = "shown_once.html")]
pub(super) struct ShownOnce {
    pub(super) frame: Frame,
    pub(super) heading: &'static str,
    pub(super) name: String,
    pub(super) secret: String,
    pub(super) words: &'static str,
    pub(super) back: &'static str,
    pub(super) back_words: &'static str,
}

impl Ways {
    /// Of a user the visitor may know of.
    pub(super) fn of(site: &Site, visitor: &Visitor, login: &str) -> Result<Ways, Refusal> {
        let own = visitor.user.login == login;
        let credentials = site.actions.credentials(&visitor.viewer, login)?;
        let sessions = site.actions.sessions_of(&visitor.viewer, login, Some(&visitor.session))?;
        let (mail, keys): (Vec<_>, Vec<_>) = credentials.into_iter().partition(CredentialView::is_for_mail);
        Ok(Ways {
            base: if own { "/account" } else { "/users" },
            login: login.to_owned(),
            own,
            sends: visitor.user.org.is_some(),
            app_passwords: mail.into_iter().map(credential_row).collect(),
            keys: keys.into_iter().map(credential_row).collect(),
            scopes: Scope::ALL.map(|scope| ScopeRow { name: scope.as_str(), words: scope_words(scope) }).into(),
            others: sessions.iter().filter(|session| !session.current).count(),
            sessions: sessions.into_iter().map(session_row).collect(),
        })
    }
}

/// Revokes what the form names.
pub(super) async fn revoke(site: &Site, visitor: &Visitor, login: &str, fields: &Fields) -> Result<(), Refusal> {
    site.actions.remove_credential(&visitor.viewer, login, id_of(fields)?).await
}

/// Ends the session the form names, or all but the visitor's own.
pub(super) async fn end_sessions(site: &Site, visitor: &Visitor, login: &str, fields: &Fields) -> Result<(), Refusal> {
    match fields.text("id") {
        "all" => site.actions.end_sessions(&visitor.viewer, login, Some(&visitor.session)).await.map(drop),
        _ => site.actions.end_session(&visitor.viewer, login, id_of(fields)?).await,
    }
}

/// The scopes a form has ticked.
pub(super) fn scopes_of(fields: &Fields) -> Result<std::collections::BTreeSet<Scope>, PageError> {
    let damaged = || PageError::BadForm(axum::http::StatusCode::BAD_REQUEST);
    fields.all("scope").into_iter().map(|name| Scope::named(name).ok_or_else(damaged)).collect()
}

fn id_of(fields: &Fields) -> Result<DigestId, Refusal> {
    let unknown = || Refusal::NotFound { what: "such credential or session".to_owned() };
    fields.text("id").parse().map_err(|_| unknown())
}

fn credential_row(view: CredentialView) -> CredentialRow {
    let (shown, scopes, expires_at_ms) = match view.purpose {
        Purpose::Mail => (String::new(), String::new(), None),
        Purpose::Api { shown, scopes, expires_at_ms } => {
            (shown, scopes.into_iter().map(Scope::as_str).collect::<Vec<_>>().join(", "), expires_at_ms)
        }
    };
    CredentialRow {
        id: view.id.to_string(),
        name: view.name,
        made: words::moment(view.created_at_ms),
        used: view.used_at_ms.map(words::moment),
        shown,
        scopes,
        expires: expires_at_ms.map(words::day),
        expired: expires_at_ms.is_some_and(|at_ms| at_ms <= Timestamp::now().as_millisecond()),
    }
}

fn session_row(view: SessionView) -> SessionRow {
    let (began, used) = (words::moment(view.began_at_ms()), words::moment(view.used_at_ms()));
    SessionRow { id: view.id.to_string(), browser: view.browser, began, used, current: view.current }
}

fn scope_words(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "Read everything you can read; change nothing.",
        Scope::SendTest => "Send a test mail.",
        Scope::Mail => "Change and withdraw links of mail that was sent; hurry or drop mail that waits.",
        Scope::Settings => "Change organisations, their switches and what recipients said; erase; rotate keys.",
        Scope::Users => {
            "Add and invite senders, change and remove users, revoke app passwords and keys, end sessions. Sets no password and makes no admin."
        }
        Scope::Webhooks => "Add, change and remove webhooks.",
    }
}

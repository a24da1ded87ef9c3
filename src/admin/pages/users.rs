//! `/users`: who has a login.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::query::Query;
use super::ways::{self, ShownOnce, Ways};
use super::{Frame, Notice, encoded, error::PageError, form, html, html_with, words};
use crate::admin::actions::invitations::{InvitationMade, InvitationView, NewInvitation};
use crate::admin::actions::user_change::UserPatch;
use crate::admin::actions::users::{GoesWith, NewUser, UserView, role_named};
use crate::admin::api::tags;
use crate::admin::visitor::{Fields, Posted, Visitor, absolute};
use crate::admin::{Refusal, Site};
use crate::settings::access::Gift;
use crate::settings::{OrgName, Role};

/// Rows of one page.
const ROWS: usize = 50;

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    frame: Frame,
    rows: Vec<UserRow>,
    /// Address of the page after this one.
    next: Option<String>,
    first_page: bool,
    orgs: Vec<String>,
    roles: Vec<(&'static str, &'static str)>,
    rules_all: bool,
    invitations: Vec<InvitationRow>,
}

struct InvitationRow {
    id: String,
    login: String,
    gives: String,
    by: String,
    expires: words::Moment,
}

struct UserRow {
    login: String,
    href: String,
    /// Of its own choice below the organisation's.
    tracking: String,
    role: &'static str,
    /// The same as forms send it.
    role_value: &'static str,
    org: String,
    addresses: String,
    own: bool,
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    frame: Frame,
    seen: String,
    user: UserRow,
    ways: Ways,
    factor: bool,
    /// Where removing it is asked once more.
    remove: String,
    /// The roles the visitor may give.
    roles: Vec<(&'static str, &'static str)>,
    rules_all: bool,
}

/// Is that meant?
#[derive(Template)]
#[template(path = "user_remove.html")]
struct RemovePage {
    frame: Frame,
    login: String,
    /// The user's page.
    back: String,
    /// What goes too.
    goes: Vec<String>,
}

/// Whom a page is about.
#[derive(Debug, Default, Deserialize)]
pub(super) struct About {
    #[serde(default)]
    login: String,
    done: Option<String>,
}

/// What the list's address may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
    /// Only after this login.
    after: Option<String>,
}

/// `GET /users`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(Asked { done, after }): Query<Asked>,
) -> Result<Response, PageError> {
    Ok(html(&filled(&site, &visitor, after, Notice::done(done.as_deref()))?))
}

/// `POST /users`
pub(super) async fn add(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    match site.actions.add_user(&visitor.viewer, new_user(&fields)?).await {
        Ok(_) => Ok(Redirect::to("/users?done=added").into_response()),
        Err(wrong) => list_again(&site, &visitor, wrong, &fields),
    }
}

fn new_user(fields: &Fields) -> Result<NewUser, PageError> {
    let damaged = || PageError::BadForm(StatusCode::BAD_REQUEST);
    let role = role_named(fields.text("role")).ok_or_else(damaged)?;
    let org: Option<OrgName> = match fields.text("org") {
        "" => None,
        name => Some(name.parse().map_err(|_| damaged())?),
    };
    Ok(NewUser {
        login: fields.text("login").trim().to_owned(),
        org,
        role,
        addresses: fields.list("addresses").unwrap_or_default(),
        password: fields.text("password").to_owned(),
    })
}

/// `GET /users/edit?login=…`
pub(super) async fn edit(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(About { login, done }): Query<About>,
) -> Result<Response, PageError> {
    Ok(html(&about(&site, &visitor, &login, Notice::done(done.as_deref()))?))
}

/// `POST /users/password`
pub(super) async fn password(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let login = fields.text("login");
    let done = site.actions.reset_password(&visitor.viewer, login, fields.text("password")).await;
    after(&site, &visitor, &fields, done, "password")
}

/// `POST /users/set`: what it may do and send as.
pub(super) async fn set(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let login = fields.text("login");
    let role = fields.optional("role").map(|name| role_named(name).ok_or(PageError::BadForm(StatusCode::BAD_REQUEST)));
    let patch = UserPatch { role: role.transpose()?, addresses: fields.list("addresses") };
    let seen = fields.seen();
    let done = site.actions.set_user(&visitor.viewer, login, patch, |now| seen.is(&tags::user(now))).await;
    after_one(&site, &visitor, &fields, done.map(drop), "access")
}

/// `GET /users/remove?login=…`: is that meant?
pub(super) async fn ask_remove(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(About { login, .. }): Query<About>,
) -> Result<Response, PageError> {
    let GoesWith { webhooks, keys, app_passwords } = site.actions.goes_with(&visitor.viewer, &login)?;
    let rows = [(webhooks, "webhook"), (keys, "API key"), (app_passwords, "app password")];
    let goes = rows.into_iter().filter(|(count, _)| *count > 0);
    Ok(html(&RemovePage {
        frame: Frame::of(&site, &visitor, format!("Remove {login}"), "/users"),
        back: format!("/users/edit?login={}", crate::admin::login::encode_next(&login)),
        goes: goes.map(|(count, name)| words::count(count as u64, name)).collect(),
        login,
    }))
}

/// `POST /users/remove`
pub(super) async fn remove(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let login = fields.text("login");
    let done = site.actions.remove_user(&visitor.viewer, login).await;
    after(&site, &visitor, &fields, done, "removed")
}

/// `POST /users/invite`: the link is shown once.
pub(super) async fn invite(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let NewUser { login, org, role, .. } = new_user(&fields)?;
    match site.actions.invite(&visitor.viewer, NewInvitation { login, org, role }).await {
        Ok(made) => Ok(html(&link_made(&site, &visitor, &headers, made))),
        Err(wrong) => list_again(&site, &visitor, wrong, &fields),
    }
}

/// `POST /users/link`: a link to a new password, shown once.
pub(super) async fn link(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let login = fields.text("login");
    match site.actions.password_link(&visitor.viewer, login).await {
        Ok(made) => Ok(html(&link_made(&site, &visitor, &headers, made))),
        Err(refusal) => after(&site, &visitor, &fields, Err(refusal), ""),
    }
}

/// `POST /users/invite/withdraw`
pub(super) async fn withdraw(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let id = fields.text("id").parse().map_err(|_| Refusal::NotFound { what: "such invitation".to_owned() })?;
    site.actions.withdraw_invitation(&visitor.viewer, id).await?;
    Ok(Redirect::to("/users?done=withdrawn").into_response())
}

fn link_made(site: &Site, visitor: &Visitor, headers: &HeaderMap, made: InvitationMade) -> ShownOnce {
    ShownOnce {
        frame: Frame::of(site, visitor, "Link", "/users"),
        heading: "The link is there",
        name: made.view.gives.login().to_owned(),
        secret: absolute(headers, &made.path),
        words: "Copy it now and give it to this person alone: whoever has it sets the password. It works once, for 72 \
                hours, and is not shown again.",
        back: "/users",
        back_words: "Users",
    }
}

fn invitation_row(view: InvitationView) -> InvitationRow {
    let gives = match &view.gives {
        Gift::Account { org: Some(org), role, .. } => format!("an account in {org}, {}", words::role(*role)),
        Gift::Account { org: None, role, .. } => format!("an account, {}", words::role(*role)),
        Gift::Password { .. } => "a new password".to_owned(),
    };
    let by = if view.by.is_empty() { "a server admin".to_owned() } else { view.by };
    let login = view.gives.login().to_owned();
    InvitationRow { id: view.id.to_string(), login, gives, by, expires: words::moment(view.expires_at_ms) }
}

/// `POST /users/factor`: takes the second factor away.
pub(super) async fn remove_factor(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let login = fields.text("login");
    let done = site.actions.remove_second_factor(&visitor.viewer, login).await;
    after_one(&site, &visitor, &fields, done, "factor_gone")
}

/// `POST /users/credentials/remove`
pub(super) async fn revoke(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let login = fields.text("login");
    let done = ways::revoke(&site, &visitor, login, &fields).await;
    after_one(&site, &visitor, &fields, done, "revoked")
}

/// `POST /users/sessions/end`
pub(super) async fn end_sessions(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let login = fields.text("login");
    let done = ways::end_sessions(&site, &visitor, login, &fields).await;
    after_one(&site, &visitor, &fields, done, "ended")
}

/// Back to the user's page.
fn after_one(
    site: &Site,
    visitor: &Visitor,
    fields: &Fields,
    done: Result<(), Refusal>,
    code: &str,
) -> Result<Response, PageError> {
    match done {
        Ok(()) => {
            let login = crate::admin::login::encode_next(fields.text("login"));
            Ok(Redirect::to(&format!("/users/edit?login={login}&done={code}")).into_response())
        }
        no => after(site, visitor, fields, no, code),
    }
}

/// Back to the list, or to the user's page with what is wrong.
fn after(
    site: &Site,
    visitor: &Visitor,
    fields: &Fields,
    done: Result<(), Refusal>,
    code: &str,
) -> Result<Response, PageError> {
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/users?done={code}")).into_response()),
        Err(wrong) => {
            let (status, notice) = form::refused(wrong, fields)?;
            Ok(html_with(status, &about(site, visitor, fields.text("login"), notice)?))
        }
    }
}

/// The list, with why one of its forms was refused.
fn list_again(site: &Site, visitor: &Visitor, wrong: Refusal, fields: &Fields) -> Result<Response, PageError> {
    let (status, notice) = form::refused(wrong, fields)?;
    Ok(html_with(status, &filled(site, visitor, None, notice)?))
}

fn about(site: &Site, visitor: &Visitor, login: &str, notice: Option<Notice>) -> Result<UserPage, PageError> {
    let user = ruled(visitor).and_then(|()| site.actions.user(&visitor.viewer, login))?;
    let (seen, user) = (tags::user(&user), row(visitor, user));
    let remove = format!("/users/remove?login={}", crate::admin::login::encode_next(login));
    let frame = Frame::of(site, visitor, user.login.clone(), "/users").with(notice);
    let ways = Ways::of(site, visitor, login)?;
    let factor = site.actions.second_factor(&visitor.viewer, login)?.is_some();
    let rules_all = visitor.viewer.rules_all();
    Ok(UserPage { frame, seen, user, ways, factor, remove, roles: given(rules_all), rules_all })
}

fn filled(
    site: &Site,
    visitor: &Visitor,
    after: Option<String>,
    notice: Option<Notice>,
) -> Result<UsersPage, PageError> {
    ruled(visitor)?;
    let (users, next) = site.actions.users_page(&visitor.viewer, after.as_ref(), ROWS);
    let orgs = site.actions.orgs(&visitor.viewer).into_iter().map(|view| view.org.name.as_str().to_owned()).collect();
    let rules_all = visitor.viewer.rules_all();
    Ok(UsersPage {
        frame: Frame::of(site, visitor, "Users", "/users").with(notice),
        rows: users.into_iter().map(|user| row(visitor, user)).collect(),
        next: next.map(|login| format!("/users?after={}", encoded(&login))),
        first_page: after.is_none(),
        orgs,
        roles: given(rules_all),
        rules_all,
        invitations: site.actions.invitations(&visitor.viewer).into_iter().map(invitation_row).collect(),
    })
}

/// The roles that somebody may give, as forms and as people write them.
fn given(rules_all: bool) -> Vec<(&'static str, &'static str)> {
    let all = [Role::Sender, Role::OrgAdmin, Role::ServerAdmin].into_iter();
    all.filter(|role| rules_all || *role != Role::ServerAdmin).map(|role| (role.as_str(), words::role(role))).collect()
}

/// These pages are for admins; a sender has the account page.
fn ruled(visitor: &Visitor) -> Result<(), Refusal> {
    match visitor.viewer.rules_all() || visitor.viewer.org_ruled().is_some() {
        true => Ok(()),
        false => Err(Refusal::Forbidden("users are managed by admins; your own password is under your login")),
    }
}

fn row(visitor: &Visitor, user: UserView) -> UserRow {
    UserRow {
        href: format!("/users/edit?login={}", crate::admin::login::encode_next(&user.login)),
        tracking: format!("/tracking?login={}", crate::admin::login::encode_next(&user.login)),
        role: words::role(user.role),
        role_value: user.role.as_str(),
        org: user.org.as_ref().map(|org| org.as_str().to_owned()).unwrap_or_default(),
        addresses: user.addresses.join(", "),
        own: visitor.user.login == user.login,
        login: user.login,
    }
}

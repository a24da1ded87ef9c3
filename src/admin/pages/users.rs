//! `/users`: who has a login.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::{Done, Frame, Notice, error::PageError, html, html_with, words};
use crate::admin::actions::users::{NewUser, UserView, role_named};
use crate::admin::visitor::{Fields, Posted, Visitor};
use crate::admin::{Refusal, Site};
use crate::settings::{OrgName, Role};

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    frame: Frame,
    rows: Vec<UserRow>,
    orgs: Vec<String>,
    roles: Vec<(&'static str, &'static str)>,
    rules_all: bool,
    typed: Typed,
}

struct UserRow {
    login: String,
    href: String,
    role: &'static str,
    org: String,
    addresses: String,
    own: bool,
}

/// What was typed before the form was refused; never the password.
#[derive(Default)]
struct Typed {
    login: String,
    org: String,
    role: String,
    addresses: String,
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    frame: Frame,
    user: UserRow,
}

/// Whom a page is about.
#[derive(Debug, Default, Deserialize)]
pub(super) struct About {
    #[serde(default)]
    login: String,
}

/// `GET /users`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(Done { done }): Query<Done>,
) -> Result<Response, PageError> {
    Ok(html(&filled(&site, &visitor, Typed::default(), Notice::done(done.as_deref()))?))
}

/// `POST /users`
pub(super) async fn add(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let typed = Typed {
        login: fields.text("login").trim().to_owned(),
        org: fields.text("org").to_owned(),
        role: fields.text("role").to_owned(),
        addresses: fields.text("addresses").to_owned(),
    };
    match site.actions.add_user(&visitor.viewer, new_user(&fields)?).await {
        Ok(_) => Ok(Redirect::to("/users?done=added").into_response()),
        Err(wrong @ (Refusal::Invalid { .. } | Refusal::Conflict(_) | Refusal::Busy(_))) => {
            let page = filled(&site, &visitor, typed, Notice::bad(wrong))?;
            Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
        Err(refusal) => Err(visitor.refused(refusal)),
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
    Query(About { login }): Query<About>,
) -> Result<Response, PageError> {
    Ok(html(&about(&site, &visitor, &login, None)?))
}

/// `POST /users/password`
pub(super) async fn password(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let login = fields.text("login");
    let done = site.actions.reset_password(&visitor.viewer, login, fields.text("password")).await;
    after(&site, &visitor, login, done, "password")
}

/// `POST /users/remove`
pub(super) async fn remove(
    State(site): State<Arc<Site>>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let login = fields.text("login");
    let done = site.actions.remove_user(&visitor.viewer, login).await;
    after(&site, &visitor, login, done, "removed")
}

/// Back to the list, or to the user's page with what is wrong.
fn after(
    site: &Site,
    visitor: &Visitor,
    login: &str,
    done: Result<(), Refusal>,
    code: &str,
) -> Result<Response, PageError> {
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/users?done={code}")).into_response()),
        Err(wrong @ (Refusal::Invalid { .. } | Refusal::Conflict(_) | Refusal::Busy(_))) => {
            let page = about(site, visitor, login, Notice::bad(wrong))?;
            Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
        Err(refusal) => Err(visitor.refused(refusal)),
    }
}

fn about(site: &Site, visitor: &Visitor, login: &str, notice: Option<Notice>) -> Result<UserPage, PageError> {
    let user = row(visitor, ruled(visitor).and_then(|()| site.actions.user(&visitor.viewer, login))?);
    let frame = Frame::of(site, visitor, user.login.clone(), "/users").with(notice);
    Ok(UserPage { frame, user })
}

fn filled(site: &Site, visitor: &Visitor, typed: Typed, notice: Option<Notice>) -> Result<UsersPage, PageError> {
    ruled(visitor)?;
    let orgs = site.actions.orgs(&visitor.viewer).into_iter().map(|view| view.org.name.as_str().to_owned()).collect();
    let rules_all = visitor.viewer.rules_all();
    let given = [Role::Sender, Role::OrgAdmin, Role::ServerAdmin].into_iter();
    let given = given.filter(|role| rules_all || *role != Role::ServerAdmin);
    Ok(UsersPage {
        frame: Frame::of(site, visitor, "Users", "/users").with(notice),
        rows: site.actions.users(&visitor.viewer).into_iter().map(|user| row(visitor, user)).collect(),
        orgs,
        roles: given.map(|role| (role.as_str(), words::role(role))).collect(),
        rules_all,
        typed,
    })
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
        role: words::role(user.role),
        org: user.org.as_ref().map(|org| org.as_str().to_owned()).unwrap_or_default(),
        addresses: user.addresses.join(", "),
        own: visitor.user.login == user.login,
        login: user.login,
    }
}

//! Accounts after they were made: what a user may do is changed, passwords, and what a key must never do.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::fixture::{Answer, Browser, PASSWORD, World, org_name, world};
use super::ways_in::{ask, key_of, shown};
use crate::settings::access::Access;
use crate::settings::{Role, User};
use crate::store::credentials::MailLogin;
use crate::store::{Change, SettingsStore as _};

/// A call over a session.
pub(super) async fn call(browser: &Browser, method: &str, path: &str, body: Value) -> (Answer, Value) {
    let request = Request::builder().method(method).uri(path).header("x-csrf-token", &browser.csrf);
    let request = request.header(header::COOKIE, &browser.cookie).header(header::CONTENT_TYPE, "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let answer = browser.answer(request.body(body).unwrap()).await;
    let json = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
    (answer, json)
}

fn role_of(world: &World, login: &str) -> Role {
    world.settings.snapshot().users[login].role
}

/// A server admin who belongs to acme, beside root.
async fn second_admin(world: &World) {
    let boss = world.settings.snapshot().users["boss"].clone();
    let deputy = User { login: "deputy".into(), role: Role::ServerAdmin, ..boss };
    world.settings.change(vec![Change::PutUser(deputy)]).await.unwrap();
}

#[tokio::test]
async fn who_may_less_loses_it_at_once() {
    let world = world().await;
    let (root, ann) = (world.logged_in("root"), world.logged_in("ann"));
    assert_eq!(ann.get("/users").await.status, StatusCode::FORBIDDEN);
    let made =
        root.post("/users/set", &[("login", "ann"), ("role", "org-admin"), ("addresses", "me@home.example")]).await;
    assert_eq!(made.header("location"), "/users/edit?login=ann&done=access");
    assert_eq!(world.settings.snapshot().users["ann"].addresses, ["me@home.example"]);
    let log = root.get("/audit").await.text;
    assert!(log.contains("org-admin") && log.contains("me@home.example"), "{log}");
    // the session that was there rules now, and so do a key and a link that it makes
    assert_eq!(ann.get("/users").await.status, StatusCode::OK);
    let key = key_of(&world, "ann", &["settings", "users"]).await;
    let off = || json!({"opens": "off"});
    assert_eq!(ask(&world, &key, "PATCH", "/api/v1/orgs/acme", off()).await.0.status, StatusCode::OK);
    let link = shown(&ann.post("/users/invite", &[("login", "n"), ("org", "acme"), ("role", "org-admin")]).await);
    let link = format!("/join/{}", link.split("/join/").nth(1).unwrap());
    assert_eq!(world.stranger().get(&link).await.status, StatusCode::OK);
    // and nothing of it the moment she is a sender again; she stays logged in
    let (answer, user) = call(&world.logged_in("boss"), "PATCH", "/api/v1/users/ann", json!({"role": "sender"})).await;
    assert_eq!((answer.status, &user["role"]), (StatusCode::OK, &json!("sender")), "{}", answer.text);
    assert_eq!(user["addresses"], json!(["me@home.example"]), "what was not named stays");
    assert_eq!(ann.get("/users").await.status, StatusCode::FORBIDDEN);
    assert_eq!(ann.get("/account").await.status, StatusCode::OK);
    assert_eq!(ask(&world, &key, "PATCH", "/api/v1/orgs/acme", off()).await.0.status, StatusCode::FORBIDDEN);
    assert_eq!(world.stranger().get(&link).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn nobody_hands_out_more_than_they_have() {
    let world = world().await;
    let rows: &[(&str, &str, Value, u16)] = &[
        // a sender nobody, an admin their own organisation's, up to their own role
        ("ann", "ann", json!({"role": "org-admin"}), 404),
        ("boss", "ann", json!({"role": "org-admin"}), 200),
        ("boss", "ann", json!({"role": "server-admin"}), 403),
        ("boss", "eve", json!({"role": "sender"}), 404),
        ("boss", "root", json!({"role": "sender"}), 404),
        ("chief", "ann", json!({"role": "sender"}), 404),
        // addresses outside: given by a server admin, and never another organisation's
        ("boss", "ann", json!({"addresses": ["me@home.example"]}), 403),
        ("root", "ann", json!({"addresses": ["me@home.example"]}), 200),
        ("root", "ann", json!({"addresses": ["me@other.example"]}), 409),
        ("root", "ann", json!({"addresses": ["nobody"]}), 422),
        // taken away by an admin of the organisation
        ("boss", "ann", json!({"addresses": []}), 200),
        // oneself, the last server admin, who belongs nowhere
        ("boss", "boss", json!({"role": "sender"}), 409),
        ("root", "root", json!({"role": "sender"}), 409),
        ("deputy", "root", json!({"role": "sender"}), 422),
        ("root", "deputy", json!({"role": "org-admin"}), 200),
        ("root", "ann", json!({"role": "king"}), 422),
        ("root", "ann", json!({"org": "other"}), 422),
    ];
    second_admin(&world).await;
    for (who, whom, patch, status) in rows {
        let before = world.settings.snapshot().users.clone();
        let (answer, _) = call(&world.logged_in(who), "PATCH", &format!("/api/v1/users/{whom}"), patch.clone()).await;
        assert_eq!(answer.status.as_u16(), *status, "{who} {whom} {patch}: {}", answer.text);
        assert_eq!(before == world.settings.snapshot().users, *status != 200, "{who} {whom} {patch}");
    }
    // the operator changes anybody but the last one
    let last = super::api::call(&world, "PATCH", "/api/v1/users/root", json!({"role": "sender"})).await;
    assert!(last.0 == StatusCode::UNPROCESSABLE_ENTITY && role_of(&world, "root") == Role::ServerAdmin, "{last:?}");
    let removed = super::api::call(&world, "DELETE", "/api/v1/users/root", Value::Null).await;
    assert_eq!(removed.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn the_last_server_admin_stays_one() {
    let world = world().await;
    second_admin(&world).await;
    world.settings.change(vec![Change::RemoveUser("root".into())]).await.unwrap();
    let (status, problem) = super::api::call(&world, "PATCH", "/api/v1/users/deputy", json!({"role": "sender"})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("last server admin"));
}

/// A new password ends the links to one that are open, whoever sets it.
#[tokio::test]
async fn a_new_password_ends_the_links_to_one() {
    let world = world().await;
    let (boss, root) = (world.logged_in("boss"), world.logged_in("root"));
    let link = async || {
        let link = shown(&boss.post("/users/link", &[("login", "ann")]).await);
        format!("/join/{}", link.split("/join/").nth(1).unwrap())
    };
    let works = async |path: &str| world.stranger().get(path).await.status == StatusCode::OK;
    let first = link().await;
    assert!(works(&first).await);
    let invited = world.settings.snapshot().invitations.len();
    root.post("/users/password", &[("login", "ann"), ("password", "set by an admin")]).await;
    assert!(!works(&first).await);
    let second = link().await;
    let own = [("present", "set by an admin"), ("password", "chosen by herself")];
    assert_eq!(world.logged_in("ann").post("/account", &own).await.status, StatusCode::SEE_OTHER);
    assert!(!works(&second).await);
    assert_eq!(world.settings.snapshot().invitations.len(), invited - 1, "other links stay");
}

/// One's own password over the API: with the present one, in a session, and as seldom as on the page.
#[tokio::test]
async fn ones_own_password_by_the_api() {
    let world = world().await;
    let (ann, elsewhere, path) = (world.logged_in("ann"), world.logged_in("ann"), "/api/v1/users/ann/password");
    let put = |present: &str| json!({"present": present, "password": "a better password"});
    assert_eq!(call(&ann, "PUT", path, put("wrong")).await.0.status, StatusCode::UNPROCESSABLE_ENTITY);
    let another = call(&ann, "PUT", "/api/v1/users/boss/password", put(PASSWORD)).await.0.status;
    assert_eq!(another, StatusCode::UNPROCESSABLE_ENTITY, "and nobody else's");
    assert_eq!(call(&ann, "PUT", path, put(PASSWORD)).await.0.status, StatusCode::NO_CONTENT);
    assert_eq!(ann.get("/account").await.status, StatusCode::OK, "this session goes on");
    assert_eq!(elsewhere.get("/account").await.status, StatusCode::SEE_OTHER);
    let mut last = StatusCode::OK;
    for _ in 0..31 {
        last = call(&ann, "PUT", path, json!({"present": "", "password": "short"})).await.0.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}

/// With every scope and a server admin behind it, a key makes no way in that outlives it, and no admin.
#[tokio::test]
async fn a_key_begets_no_way_in() {
    let world = world().await;
    let key = key_of(&world, "root", &["read", "users", "settings"]).await;
    let password = "long enough for us";
    let new = |role: &str| json!({"login": "n", "org": "acme", "role": role, "password": password});
    let invited = |role: &str| json!({"login": "i", "org": "acme", "role": role});
    let rows = [
        ("PUT", "/api/v1/users/ann/password", json!({"password": password}), 403),
        ("PUT", "/api/v1/users/root/password", json!({"password": password}), 409),
        ("PUT", "/api/v1/users/root/password", json!({"present": PASSWORD, "password": password}), 422),
        ("POST", "/api/v1/users/ann/password-link", Value::Null, 403),
        ("POST", "/api/v1/users", new("org-admin"), 403),
        ("POST", "/api/v1/users", new("server-admin"), 403),
        ("POST", "/api/v1/invitations", invited("org-admin"), 403),
        ("PATCH", "/api/v1/users/ann", json!({"role": "org-admin"}), 403),
        ("DELETE", "/api/v1/users/ann/second-factor", Value::Null, 403),
        // what it is for: senders come and go
        ("POST", "/api/v1/users", new("sender"), 201),
        ("POST", "/api/v1/invitations", invited("sender"), 201),
        ("PATCH", "/api/v1/users/boss", json!({"role": "sender"}), 200),
        ("DELETE", "/api/v1/users/n", Value::Null, 204),
    ];
    for (method, path, body, status) in rows {
        let (answer, problem) = ask(&world, &key, method, path, body.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {body}: {problem}");
    }
    assert!(world.actions.logins.check("root", PASSWORD.as_bytes()).await.unwrap().is_some());
}

/// Where a second factor is asked for, what was made before it is there does nothing: neither a key, nor the password at
/// the mail door.
#[tokio::test]
async fn what_owes_a_second_factor_waits_for_it() {
    let world = world().await;
    let (anns, roots) = (key_of(&world, "ann", &["read"]).await, key_of(&world, "root", &["read"]).await);
    let asks = async |key: &str| ask(&world, key, "GET", "/api/v1/messages", Value::Null).await.0;
    let mail = async |login: &str| world.actions.logins.check_mail(login, PASSWORD.as_bytes()).await.unwrap();
    assert_eq!((asks(&anns).await.status, asks(&roots).await.status), (StatusCode::OK, StatusCode::OK));
    let access = Access { second_factor_required: true, ..Access::default() };
    world.settings.change(vec![Change::PutAccess(org_name("acme"), access)]).await.unwrap();
    let refused = asks(&anns).await;
    assert!(refused.status == StatusCode::FORBIDDEN && refused.text.contains("/account/second-factor"));
    assert_eq!(mail("ann").await, MailLogin::NeedsAppPassword);
    assert!(matches!(mail("eve").await, MailLogin::Welcome(_)), "another organisation");
    // server admins, who may belong to none: the server asks
    assert_eq!(asks(&roots).await.status, StatusCode::OK);
    let root = world.logged_in("root");
    world.actions.logins.ask_admins_for_factor(true);
    assert_eq!(asks(&roots).await.status, StatusCode::FORBIDDEN);
    assert_eq!(root.get("/users").await.header("location"), "/account/second-factor");
    assert_eq!(root.get("/account/second-factor").await.status, StatusCode::OK);
    assert_eq!(world.logged_in("chief").get("/users").await.status, StatusCode::OK, "nobody else");
    world.actions.logins.ask_admins_for_factor(false);
    assert_eq!(asks(&roots).await.status, StatusCode::OK);
}

/// Whoever logs in at their own provider would find the login taken, or its password asked about at a stranger's.
#[tokio::test]
async fn a_login_in_anothers_domain_is_given_to_nobody() {
    let world = world().await;
    let of =
        |login: &str, org: &str| json!({"login": login, "org": org, "role": "sender", "password": "a good long one"});
    for (who, path) in [("boss", "/api/v1/users"), ("root", "/api/v1/users"), ("boss", "/api/v1/invitations")] {
        for login in ["ceo@other.example", "CEO@Other.Example", "ceo@other.example."] {
            let mut asked = of(login, "acme");
            if path.ends_with("invitations") {
                asked.as_object_mut().unwrap().remove("password");
            }
            let (answer, _) = call(&world.logged_in(who), "POST", path, asked).await;
            assert_eq!(answer.status, StatusCode::CONFLICT, "{who} {path} {login}: {}", answer.text);
            assert!(answer.text.contains("belongs to another organisation"), "{}", answer.text);
        }
    }
    for login in ["new@acme.example", "guest@elsewhere.example"] {
        let (answer, _) = call(&world.logged_in("boss"), "POST", "/api/v1/users", of(login, "acme")).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{login}: {}", answer.text);
    }
}

/// A login is one person's in whatever case: it opens the dashboard and the mail door, and nobody is added beside it.
#[tokio::test]
async fn a_login_is_the_same_in_any_case() {
    let world = world().await;
    let new = |login: &str| json!({"login": login, "org": "acme", "role": "sender", "password": "long enough for us"});
    let root = world.logged_in("root");
    assert_eq!(call(&root, "POST", "/api/v1/users", new("olga@acme.example")).await.0.status, StatusCode::CREATED);
    for twin in ["Olga@acme.example", "OLGA@ACME.example", "olga@acme.example"] {
        let (answer, problem) = call(&root, "POST", "/api/v1/users", new(twin)).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{twin}: {problem}");
        let invited = json!({"login": twin, "org": "acme", "role": "sender"});
        let (answer, problem) = call(&root, "POST", "/api/v1/invitations", invited).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{twin}: {problem}");
        let typed = [("login", twin), ("password", "long enough for us")];
        let entered = world.stranger().post("/login", &typed).await;
        assert_eq!(entered.status, StatusCode::SEE_OTHER, "{twin}: {}", entered.text);
        let mail = world.actions.logins.check_mail(twin, b"long enough for us").await.unwrap();
        assert!(matches!(mail, MailLogin::Welcome(user) if user.login == "olga@acme.example"), "{twin}");
    }
}

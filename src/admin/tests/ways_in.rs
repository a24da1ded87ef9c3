//! App passwords, API keys and sessions, through the pages and the API.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use super::fixture::{Answer, Browser, PASSWORD, World, world};
use crate::store::credentials::MailLogin;
use crate::store::{Change, SettingsStore as _};

/// What a page shows once.
pub(super) fn shown(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let secret = answer.text.split("<pre><code>").nth(1).expect("a secret is shown");
    secret.split('<').next().unwrap().to_owned()
}

pub(super) async fn key_of(world: &World, login: &str, scopes: &[&str]) -> String {
    let name = format!("program {}", world.settings.snapshot().credentials.len());
    let scopes = scopes.iter().map(|scope| ("scope", *scope));
    let fields: Vec<(&str, &str)> = [("name", name.as_str())].into_iter().chain(scopes).collect();
    shown(&world.logged_in(login).post("/account/api-keys", &fields).await)
}

pub(super) async fn ask(world: &World, key: &str, method: &str, path: &str, body: Value) -> (Answer, Value) {
    let request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
    let request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let answer = world.stranger().answer(request.body(body).unwrap()).await;
    if answer.status.is_client_error() {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
    }
    let json = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
    (answer, json)
}

fn challenges(answer: &Answer) -> String {
    let all = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
    all.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(" | ")
}

#[tokio::test]
async fn an_app_password_is_shown_once_and_sends() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let secret = shown(&ann.post("/account/app-passwords", &[("name", "the <phone>")]).await);
    assert!(secret.starts_with("wxm-"), "{secret}");
    let page = ann.get("/account").await.text;
    assert!(page.contains("the &#60;phone&#62;") && page.contains("never") && !page.contains(&secret), "{page}");
    assert!(matches!(
        world.actions.logins.check_mail("ann", secret.as_bytes()).await.unwrap(),
        MailLogin::Welcome(user) if user.login == "ann"
    ));
    assert_eq!(
        world.stranger().post("/login", &[("login", "ann"), ("password", &secret)]).await.status,
        StatusCode::UNAUTHORIZED,
        "it opens mail and nothing else"
    );
    // twice the same name is refused, and so is one too many
    let again = ann.post("/account/app-passwords", &[("name", "the <phone>")]).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    for n in 0..24 {
        ann.post("/account/app-passwords", &[("name", &n.to_string())]).await;
    }
    let full = ann.post("/account/app-passwords", &[("name", "one more")]).await;
    assert!(full.text.contains("revoke one first"), "{}", full.text);
    // the log tells of it and keeps the secret
    let boss = world.logged_in("boss");
    let log = boss.get("/audit").await.text;
    assert!(log.contains("app password the &#60;phone&#62; of ann") && !log.contains(&secret), "{log}");
    // her admin takes it back
    let page = boss.get("/users/edit?login=ann").await.text;
    let row = page.split("the &#60;phone&#62;").nth(1).unwrap();
    let id = row.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let revoked = boss.post("/users/credentials/remove", &[("login", "ann"), ("id", &id)]).await;
    assert_eq!(revoked.header("location"), "/users/edit?login=ann&done=revoked");
    assert_eq!(world.actions.logins.check_mail("ann", secret.as_bytes()).await.unwrap(), MailLogin::Refused);
}

#[tokio::test]
async fn a_key_does_what_its_scopes_and_its_owner_may() {
    let world = world().await;
    let (reads, rules) = (key_of(&world, "boss", &["read"]).await, key_of(&world, "boss", &["settings"]).await);
    let users = key_of(&world, "ann", &["users", "read"]).await;
    let off = || json!({"opens": "off"});
    let rows: &[(&str, &str, &str, Value, u16)] = &[
        // reading, and nothing else
        (&reads, "GET", "/api/v1/orgs/acme", Value::Null, 200),
        (&reads, "GET", "/api/v1/users", Value::Null, 200),
        (&reads, "PATCH", "/api/v1/orgs/acme", off(), 403),
        (&reads, "POST", "/api/v1/test-mail", json!({"to": "a@b.example"}), 403),
        // changing settings, and not reading
        (&rules, "PATCH", "/api/v1/orgs/acme", off(), 200),
        (&rules, "GET", "/api/v1/orgs/acme", Value::Null, 403),
        (&rules, "DELETE", "/api/v1/users/ann", Value::Null, 403),
        // never more than the owner: another organisation is not there, a sender adds nobody
        (&reads, "GET", "/api/v1/orgs/other", Value::Null, 404),
        (&rules, "PATCH", "/api/v1/orgs/other", off(), 404),
        (
            &users,
            "POST",
            "/api/v1/users",
            json!({"login": "n", "org": "acme", "role": "sender", "password": "long enough"}),
            403,
        ),
        (&users, "GET", "/api/v1/messages/00000000000000e0", Value::Null, 404),
        // a key begets no key
        (&users, "POST", "/api/v1/users/ann/api-keys", json!({"name": "n", "scopes": ["read"]}), 403),
        (&users, "POST", "/api/v1/users/ann/app-passwords", json!({"name": "n"}), 403),
    ];
    for (key, method, path, body, status) in rows {
        let (answer, problem) = ask(&world, key, method, path, body.clone()).await;
        assert_eq!(answer.status.as_u16(), *status, "{method} {path}: {problem}");
    }
    let (narrow, problem) = ask(&world, &reads, "PATCH", "/api/v1/orgs/acme", off()).await;
    assert!(challenges(&narrow).contains("insufficient_scope"), "{}", challenges(&narrow));
    assert!(problem["detail"].as_str().unwrap().contains("`settings`"), "{problem}");
    // who it is, and what the log says
    let (_, session) = ask(&world, &reads, "GET", "/api/v1/session", Value::Null).await;
    assert_eq!((&session["login"], &session["scopes"]), (&json!("boss"), &json!(["read"])));
    let log = world.logged_in("boss").get("/audit").await.text;
    assert!(log.contains("API key") && !log.contains(&reads), "{log}");
    // its owner becomes a sender: so does the key
    let user = world.settings.snapshot().users["boss"].clone();
    let sender = crate::settings::User { role: crate::settings::Role::Sender, ..user };
    world.settings.change(vec![Change::PutUser(sender)]).await.unwrap();
    assert_eq!(ask(&world, &rules, "PATCH", "/api/v1/orgs/acme", off()).await.0.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_key_that_is_none_says_so_and_too_many_wait() {
    let world = world().await;
    let key = key_of(&world, "ann", &["read"]).await;
    let (none, problem) = ask(&world, "wxk_nonsense", "GET", "/api/v1/messages", Value::Null).await;
    assert_eq!(none.status, StatusCode::UNAUTHORIZED);
    assert!(challenges(&none).contains("invalid_token"), "{}", challenges(&none));
    assert!(problem["detail"].as_str().unwrap().contains("make another"), "{problem}");
    // a wrong key beside a good cookie is still a wrong key
    let ann = world.logged_in("ann");
    let both = Request::get("/api/v1/messages").header(header::AUTHORIZATION, "Bearer wxk_nonsense");
    assert_eq!(ann.send(both).await.status, StatusCode::UNAUTHORIZED);
    // a proxy's own scheme says nothing here
    let basic = Request::get("/api/v1/messages").header(header::AUTHORIZATION, "Basic YTpi");
    assert_eq!(ann.send(basic).await.status, StatusCode::OK);
    // no pages with a key
    let page = Request::get("/").header(header::AUTHORIZATION, format!("Bearer {key}"));
    assert_eq!(world.stranger().send(page).await.status, StatusCode::SEE_OTHER);
    // wrong ones from an address, after which even a right one waits
    let mut last = none.status;
    for _ in 0..40 {
        last = ask(&world, "wxk_nonsense", "GET", "/api/v1/messages", Value::Null).await.0.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let (waits, _) = ask(&world, &key, "GET", "/api/v1/messages", Value::Null).await;
    assert_eq!(waits.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(waits.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn a_key_ends_when_revoked_and_with_its_owner() {
    let world = world().await;
    let key = key_of(&world, "ann", &["read"]).await;
    let works =
        async |key: &str| ask(&world, key, "GET", "/api/v1/messages", Value::Null).await.0.status == StatusCode::OK;
    assert!(works(&key).await);
    let boss = key_of(&world, "boss", &["users", "read"]).await;
    let (_, keys) = ask(&world, &boss, "GET", "/api/v1/users/ann/api-keys", Value::Null).await;
    assert!(key.starts_with(keys[0]["begins_with"].as_str().unwrap()) && key.len() > 40);
    assert!(keys[0]["used_at"].is_string() && !keys.to_string().contains(&key), "{keys}");
    let path = format!("/api/v1/users/ann/api-keys/{}", keys[0]["id"].as_str().unwrap());
    assert_eq!(
        ask(&world, &boss, "DELETE", &path.replace("ann", "eve"), Value::Null).await.0.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(ask(&world, &boss, "DELETE", &path, Value::Null).await.0.status, StatusCode::NO_CONTENT);
    assert!(!works(&key).await, "revoked");
    let another = key_of(&world, "ann", &["read"]).await;
    assert!(works(&another).await);
    assert_eq!(ask(&world, &boss, "DELETE", "/api/v1/users/ann", Value::Null).await.0.status, StatusCode::NO_CONTENT);
    assert!(!works(&another).await, "its owner is gone");
    assert!(world.settings.snapshot().credentials.values().all(|credential| credential.login != "ann"));
}

async fn is_in(browser: &Browser) -> bool {
    browser.get("/account").await.status == StatusCode::OK
}

#[tokio::test]
async fn sessions_are_seen_and_ended() {
    let world = world().await;
    let (here, there, root) = (world.logged_in("ann"), world.logged_in("ann"), world.logged_in("root"));
    let page = here.get("/account").await.text;
    assert_eq!(page.matches("this session").count(), 1);
    assert_eq!(page.matches("End the session of").count(), 1);
    let ended = here.post("/account/sessions/end", &[("id", "all")]).await;
    assert_eq!(ended.header("location"), "/account?done=ended");
    assert!(is_in(&here).await && !is_in(&there).await);
    // an admin ends them all, and another organisation's admin none
    let there = world.logged_in("ann");
    world.logged_in("chief").post("/users/sessions/end", &[("login", "ann"), ("id", "all")]).await;
    assert!(is_in(&here).await && is_in(&there).await);
    root.post("/users/sessions/end", &[("login", "ann"), ("id", "all")]).await;
    assert!(!is_in(&here).await && !is_in(&there).await && is_in(&root).await);
    let log = root.get("/audit").await.text;
    assert!(log.contains("2 sessions were ended"), "{log}");
    // the API says the same
    let key = key_of(&world, "root", &["read", "users"]).await;
    let _ann = world.logged_in("ann");
    let (_, sessions) = ask(&world, &key, "GET", "/api/v1/users/ann/sessions", Value::Null).await;
    assert_eq!((&sessions[0]["browser"], &sessions[0]["current"]), (&json!("curl"), &json!(false)));
    let (_, ended) = ask(&world, &key, "DELETE", "/api/v1/users/ann/sessions", Value::Null).await;
    assert_eq!(ended["ended"], 1);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let world = world().await;
    let (here, there) = (world.logged_in("ann"), world.logged_in("ann"));
    let changed = here.post("/account", &[("present", PASSWORD), ("password", "a better password")]).await;
    assert_eq!(changed.header("location"), "/account?done=changed");
    assert!(is_in(&here).await && !is_in(&there).await);
}

fn path_of(link: &str) -> String {
    format!("/join/{}", link.split("/join/").nth(1).unwrap())
}

const CHOSEN: (&str, &str) = ("password", "chosen by herself");

#[tokio::test]
async fn an_invitation_lets_one_person_in_once() {
    let world = world().await;
    let boss = world.logged_in("boss");
    let fields = [("login", "new@acme.example"), ("org", "acme"), ("role", "sender")];
    let path = path_of(&shown(&boss.post("/users/invite", &fields).await));
    let stranger = world.stranger();
    let page = stranger.get(&path).await;
    assert!(page.status == StatusCode::OK && page.text.contains("new@acme.example") && page.text.contains("in acme"));
    // looking uses nothing up, and neither does a weak password
    assert_eq!(stranger.post(&path, &[("password", "short")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let from_elsewhere = Request::post(&path).header("sec-fetch-site", "cross-site");
    assert_eq!(stranger.send(from_elsewhere).await.status, StatusCode::FORBIDDEN);
    // what is asked for besides is not given
    let joined = stranger.post(&path, &[CHOSEN, ("role", "server-admin"), ("login", "root")]).await;
    assert_eq!(joined.header("location"), "/login?done=joined", "{}", joined.text);
    let user = world.settings.snapshot().users["new@acme.example"].clone();
    assert_eq!((user.role.as_str(), user.org.unwrap().as_str()), ("sender", "acme"));
    let logged_in = stranger.post("/login", &[("login", "new@acme.example"), CHOSEN]).await;
    assert_eq!(logged_in.status, StatusCode::SEE_OTHER);
    // used
    assert_eq!(stranger.get(&path).await.status, StatusCode::GONE);
    assert_eq!(stranger.post(&path, &[CHOSEN]).await.status, StatusCode::GONE);
    let log = boss.get("/audit").await.text;
    assert!(log.contains("the account new@acme.example in acme as sender") && log.contains("invitation"), "{log}");
    let secret = path.strip_prefix("/join/").unwrap();
    assert!(!log.contains(secret) && !boss.get("/users").await.text.contains(secret));
    assert!(!format!("{:?}", world.settings.snapshot()).contains(secret), "kept as a hash");
}

#[tokio::test]
async fn a_link_ends_with_its_time_its_maker_and_the_next_one() {
    let world = world().await;
    let (root, boss) = (world.logged_in("root"), world.logged_in("boss"));
    let invite = async |by: &Browser, login: &str| {
        path_of(&shown(&by.post("/users/invite", &[("login", login), ("org", "acme"), ("role", "sender")]).await))
    };
    let works = async |path: &str| world.stranger().get(path).await.status == StatusCode::OK;
    // 72 hours
    let old = invite(&boss, "n1").await;
    let invitation = world.settings.snapshot().invitations.values().find(|one| one.gives.login() == "n1").cloned();
    let expired = crate::settings::access::Invitation { expires_at_ms: 1, ..invitation.unwrap() };
    assert!(works(&old).await);
    world.settings.change(vec![Change::PutInvitation(expired)]).await.unwrap();
    assert!(!works(&old).await);
    // a new one takes its place
    let (first, second) = (invite(&boss, "n2").await, invite(&boss, "n2").await);
    assert!(!works(&first).await && works(&second).await);
    // the login was taken meanwhile
    let fields = [("login", "n2"), ("org", "acme"), ("role", "sender"), ("password", "long enough for us")];
    root.post("/users", &fields).await;
    assert_eq!(world.stranger().post(&second, &[CHOSEN]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    // its maker goes
    let third = invite(&boss, "n3").await;
    root.post("/users/remove", &[("login", "boss")]).await;
    assert!(!works(&third).await);
}

#[tokio::test]
async fn a_link_to_a_new_password_ends_what_the_old_one_opened() {
    let world = world().await;
    let (boss, ann) = (world.logged_in("boss"), world.logged_in("ann"));
    let path = path_of(&shown(&boss.post("/users/link", &[("login", "ann")]).await));
    assert!(is_in(&ann).await);
    assert_eq!(world.stranger().post(&path, &[CHOSEN]).await.status, StatusCode::SEE_OTHER);
    assert!(!is_in(&ann).await);
    let logs_in =
        async |password| world.stranger().post("/login", &[("login", "ann"), ("password", password)]).await.status;
    assert_eq!((logs_in(PASSWORD).await, logs_in(CHOSEN.1).await), (StatusCode::UNAUTHORIZED, StatusCode::SEE_OTHER));
    assert_eq!(world.stranger().get(&path).await.status, StatusCode::GONE);
}

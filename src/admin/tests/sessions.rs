//! Logging in, staying logged in, and every way a session ends.

use axum::http::{Request, StatusCode};

use super::fixture::{PASSWORD, world};
use crate::settings::User;
use crate::store::{Change, SettingsStore as _};

#[tokio::test]
async fn the_cookie_has_its_flags_and_leads_back() {
    let world = world().await;
    let stranger = world.stranger();
    let asked = stranger.get("/messages/00000000000000a1?x=1").await;
    assert_eq!(asked.header("location"), "/login?next=/messages/00000000000000a1%3Fx%3D1");
    let fields = [("login", "ann"), ("password", PASSWORD), ("next", "/messages/00000000000000a1")];
    let answer = stranger.post("/login", &fields).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/messages/00000000000000a1"));
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("waxseal=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(PASSWORD) && !cookie.contains("=ann"), "{cookie}");
    // a place outside is not followed
    let outside =
        stranger.post("/login", &[("login", "ann"), ("password", PASSWORD), ("next", "//evil.example")]).await;
    assert_eq!(outside.header("location"), "/");
}

#[tokio::test]
async fn wrong_logins_look_alike_and_are_limited() {
    let world = world().await;
    let stranger = world.stranger();
    let known = stranger.post("/login", &[("login", "ann"), ("password", "wrong password")]).await;
    let unknown = stranger.post("/login", &[("login", "xyz"), ("password", "wrong password")]).await;
    assert_eq!((known.status, unknown.status), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    assert_eq!(known.text.replace("ann", "xyz"), unknown.text);
    assert!(known.header("set-cookie").is_empty());
    for _ in 0..29 {
        stranger.post("/login", &[("login", "ann"), ("password", "")]).await;
    }
    let limited = stranger.post("/login", &[("login", "ann"), ("password", PASSWORD)]).await;
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS, "even the right password waits");
    assert!(limited.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(
        stranger.post("/login", &[("login", "eve"), ("password", PASSWORD)]).await.status,
        StatusCode::SEE_OTHER
    );
}

/// Who has used up every try for a login, under every spelling of it, keeps nobody out where she is known.
#[tokio::test]
async fn strangers_lock_nobody_out() {
    let world = world().await;
    let right = [("login", "ann"), ("password", PASSWORD)];
    let home = world.stranger().at("192.0.2.1");
    assert_eq!(home.post("/login", &right).await.status, StatusCode::SEE_OTHER);
    let mut answers = Vec::new();
    for host in 0..40 {
        let spelled = format!("an{}n", "\u{ad}".repeat(host % 20));
        let stranger = world.stranger().at(&format!("198.51.100.{host}"));
        answers.push(stranger.post("/login", &[("login", &spelled), ("password", "")]).await.status);
    }
    assert!(answers[..29].iter().all(|status| *status == StatusCode::UNAUTHORIZED), "{answers:?}");
    assert!(answers[30..].iter().all(|status| *status == StatusCode::TOO_MANY_REQUESTS), "{answers:?}");
    let elsewhere = world.stranger().at("203.0.113.1");
    assert_eq!(elsewhere.post("/login", &right).await.status, StatusCode::TOO_MANY_REQUESTS);
    let ann = home.post("/login", &right).await;
    assert_eq!(ann.status, StatusCode::SEE_OTHER, "{}", ann.text);
}

/// The password that was made up for the first login leads to the choice of another, and to nothing else; once that is
/// made, it is worth nothing.
#[tokio::test]
async fn a_one_time_password_is_for_one_login() {
    let world = world().await;
    let root = world.settings.snapshot().users["root"].clone();
    world.settings.change(vec![Change::PutUser(User { one_time: true, ..root })]).await.unwrap();
    let stranger = world.stranger();
    let first = [("login", "root"), ("password", PASSWORD), ("next", "/audit")];
    let page = stranger.post("/login", &first).await;
    assert_eq!((page.status, page.header("set-cookie")), (StatusCode::OK, ""), "no session yet");
    let ticket = page.text.split("name=\"ticket\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let choose = async |ticket: &str, password: &str| {
        stranger.post("/login/password", &[("ticket", ticket), ("password", password), ("next", "/audit")]).await
    };
    for (password, words) in [("short", "at least 10"), (PASSWORD, "choose your own")] {
        let refused = choose(&ticket, password).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    // the ticket is no session and no answer to a code
    let cookie = format!("waxseal={ticket}");
    assert_eq!(stranger.send(Request::get("/account").header("cookie", &cookie)).await.status, StatusCode::SEE_OTHER);
    let code = stranger.post("/login/code", &[("ticket", &ticket), ("code", "000000")]).await;
    assert_eq!(code.header("location"), "/login?done=over");
    let second = stranger.post("/login", &first).await.text;
    let second = second.split("name=\"ticket\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let chosen = choose(&ticket, "a password of her own").await;
    assert_eq!((chosen.status, chosen.header("location")), (StatusCode::SEE_OTHER, "/audit"));
    assert!(chosen.header("set-cookie").starts_with("waxseal="));
    // neither the password nor another ticket of it opens anything now
    assert_eq!(stranger.post("/login", &first).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(choose(&second, "a password of a thief").await.header("location"), "/login?done=over");
    let own = [("login", "root"), ("password", "a password of her own")];
    assert_eq!(stranger.post("/login", &own).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_ends_at_logout_with_the_password_and_with_the_account() {
    let world = world().await;
    let (root, ann, ann_too) = (world.logged_in("root"), world.browser("ann").await, world.browser("ann").await);
    assert_eq!(ann.get("/account").await.status, StatusCode::OK);
    let left = ann.post("/logout", &[]).await;
    assert!(left.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(ann.get("/account").await.status, StatusCode::SEE_OTHER, "the cookie is worth nothing any more");
    assert_eq!(ann_too.get("/account").await.status, StatusCode::OK, "another session of hers lives on");
    // somebody sets her password
    let reset = root.post("/users/password", &[("login", "ann"), ("password", "her new password")]).await;
    assert_eq!(reset.status, StatusCode::SEE_OTHER);
    assert_eq!(ann_too.get("/account").await.status, StatusCode::SEE_OTHER);
    assert_eq!(
        world.stranger().post("/login", &[("login", "ann"), ("password", PASSWORD)]).await.status,
        StatusCode::UNAUTHORIZED
    );
    // her account goes
    let ann = world.logged_in("ann");
    assert_eq!(ann.get("/account").await.status, StatusCode::OK);
    assert_eq!(root.post("/users/remove", &[("login", "ann")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(ann.get("/account").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn ones_own_password_needs_the_present_one() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let rows = [
        // the present one wrong; the new one too short, or the login itself
        ("wrong", "long enough", StatusCode::UNPROCESSABLE_ENTITY),
        (PASSWORD, "short", StatusCode::UNPROCESSABLE_ENTITY),
        (PASSWORD, "a better password", StatusCode::SEE_OTHER),
    ];
    for (present, new, expected) in rows {
        assert_eq!(ann.post("/account", &[("present", present), ("password", new)]).await.status, expected, "{new}");
    }
    let logged_in = world.stranger().post("/login", &[("login", "ann"), ("password", "a better password")]).await;
    assert_eq!(logged_in.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_made_up_cookie_is_nobody() {
    let world = world().await;
    for cookie in ["waxseal=", "waxseal=x", &format!("waxseal={}", "A".repeat(43)), "waxseal=é", ";;=;waxseal"] {
        let answer = world.stranger().send(Request::get("/").header("cookie", cookie)).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/login"), "{cookie}");
    }
}

#[tokio::test]
async fn a_borrowed_session_does_not_guess_the_password() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let guess = async || ann.post("/account", &[("present", ""), ("password", "short")]).await.status;
    for _ in 0..30 {
        assert_eq!(guess().await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(guess().await, StatusCode::TOO_MANY_REQUESTS);
}

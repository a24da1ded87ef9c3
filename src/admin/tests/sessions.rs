//! Logging in, staying logged in, and every way a session ends.

use axum::http::{Request, StatusCode};

use super::fixture::{PASSWORD, world};

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
    assert!(!cookie.contains(PASSWORD) && !cookie.contains("ann"), "{cookie}");
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

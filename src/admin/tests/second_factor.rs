//! The second factor from set-up to recovery, and organisations that ask for one.

use axum::http::{Request, StatusCode};

use super::fixture::{Answer, Browser, PASSWORD, World, world};
use crate::admin::totp;
use crate::settings::access::Access;
use crate::store::credentials::MailLogin;
use crate::store::{Change, SettingsStore as _};

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("{before} is there: {text}"));
    rest.split(after).next().unwrap()
}

/// The form's sealed secret, and the secret that the app is told.
fn begun(page: &Answer) -> (String, Vec<u8>) {
    assert!(page.text.contains("<svg "), "{}", page.text);
    let sealed = between(&page.text, "name=\"sealed\" value=\"", "\"").to_owned();
    let key = between(&page.text, "type this key: <code>", "</code>").replace(' ', "");
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String =
        key.bytes().map(|b| format!("{:05b}", letters.iter().position(|letter| *letter == b).unwrap())).collect();
    let octets = bits.as_bytes().chunks_exact(8).map(|chunk| std::str::from_utf8(chunk).unwrap());
    (sealed, octets.map(|octet| u8::from_str_radix(octet, 2).unwrap()).collect())
}

fn step() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap() / 30
}

/// Sets it up; the secret, the step whose code was used, and the recovery codes.
async fn set_up(browser: &Browser) -> (Vec<u8>, u64, Vec<String>) {
    let (sealed, secret) = begun(&browser.get("/account/second-factor").await);
    let step = step();
    let code = totp::code(&secret, step);
    let fields = [("do", "confirm"), ("sealed", sealed.as_str()), ("present", PASSWORD), ("code", code.as_str())];
    let done = browser.post("/account/second-factor", &fields).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    let codes = between(&done.text, "<pre><code>", "</code>").lines().map(str::to_owned).collect();
    (secret, step, codes)
}

/// Gives the password, then this code: where that leads.
async fn log_in(world: &World, login: &str, code: &str) -> Answer {
    let stranger = world.stranger();
    let asked = stranger.post("/login", &[("login", login), ("password", PASSWORD), ("next", "/people")]).await;
    assert_eq!(asked.status, StatusCode::OK, "{}", asked.text);
    assert!(asked.header("set-cookie").is_empty(), "the password alone is nobody");
    let ticket = between(&asked.text, "name=\"ticket\" value=\"", "\"").to_owned();
    stranger.post("/login/code", &[("ticket", ticket.as_str()), ("code", code), ("next", "/people")]).await
}

#[tokio::test]
async fn from_set_up_to_recovery() {
    let world = world().await;
    let (ann, elsewhere) = (world.logged_in("ann"), world.logged_in("ann"));
    let (secret, step, recovery) = set_up(&ann).await;
    assert_eq!(recovery.len(), 10);
    assert_eq!(ann.get("/account").await.status, StatusCode::OK);
    assert_eq!(elsewhere.get("/account").await.status, StatusCode::SEE_OTHER, "other sessions end");
    // the code of the set-up, a wrong one, then the next
    assert_eq!(log_in(&world, "ann", &totp::code(&secret, step)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(log_in(&world, "ann", "nonsense").await.status, StatusCode::UNAUTHORIZED);
    let next = totp::code(&secret, step + 1);
    let welcome = log_in(&world, "ann", &next).await;
    assert_eq!((welcome.status, welcome.header("location")), (StatusCode::SEE_OTHER, "/people"));
    assert!(welcome.header("set-cookie").starts_with("waxseal="));
    assert_eq!(log_in(&world, "ann", &next).await.status, StatusCode::UNAUTHORIZED, "no code twice");
    // a recovery code, in capitals and without hyphens, once
    let typed = recovery[3].to_uppercase().replace('-', "");
    assert_eq!(log_in(&world, "ann", &typed).await.status, StatusCode::SEE_OTHER);
    assert_eq!(log_in(&world, "ann", &recovery[3]).await.status, StatusCode::UNAUTHORIZED);
    // what is kept opens nothing
    let kept = format!("{:?}", world.settings.snapshot().second_factors["ann"].sealed_secret);
    let secret_text = format!("{secret:?}");
    assert!(!kept.contains(secret_text.trim_matches(['[', ']'])), "sealed");
    let log = world.logged_in("boss").get("/audit").await.text;
    assert!(log.contains("second factor of ann") && !log.contains(&recovery[0]), "{log}");
    // mail programs need an app password now
    let judged = world.actions.logins.check_mail("ann", PASSWORD.as_bytes()).await.unwrap();
    assert_eq!(judged, MailLogin::NeedsAppPassword);
}

#[tokio::test]
async fn what_does_not_set_it_up_and_what_takes_it_away() {
    let world = world().await;
    let (ann, boss) = (world.logged_in("ann"), world.logged_in("boss"));
    let (sealed, secret) = begun(&ann.get("/account/second-factor").await);
    let (boss_sealed, _) = begun(&boss.get("/account/second-factor").await);
    let code = totp::code(&secret, step());
    // a wrong password, a wrong code, another's key, no key
    for (sealed, present, code) in [
        (&sealed, "wrong", code.as_str()),
        (&sealed, PASSWORD, "1"),
        (&boss_sealed, PASSWORD, &code),
        (&String::new(), PASSWORD, &code),
    ] {
        let fields = [("do", "confirm"), ("sealed", sealed.as_str()), ("present", present), ("code", code)];
        let no = ann.post("/account/second-factor", &fields).await;
        assert_eq!(no.status, StatusCode::UNPROCESSABLE_ENTITY, "{present}");
        let again = begun(&no).1;
        assert_eq!(again == secret, present == "wrong" || code == "1", "the key in the app goes on");
    }
    assert!(world.settings.snapshot().second_factors.is_empty());
    let (_, _, recovery) = set_up(&ann).await;
    // with the password and a code; an admin without either, and another organisation's not at all
    let take =
        async |browser: &Browser, fields: &[(&str, &str)]| browser.post("/account/second-factor", fields).await.status;
    let code = recovery[0].as_str();
    assert_eq!(
        take(&ann, &[("do", "remove"), ("present", "wrong"), ("code", code)]).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        take(&ann, &[("do", "remove"), ("present", PASSWORD), ("code", "1")]).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(take(&ann, &[("do", "remove"), ("present", PASSWORD), ("code", code)]).await, StatusCode::SEE_OTHER);
    assert!(world.settings.snapshot().second_factors.is_empty());
    let _codes = set_up(&ann).await;
    let chief = world.logged_in("chief");
    assert_eq!(chief.post("/users/factor", &[("login", "ann")]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(boss.post("/users/factor", &[("login", "ann")]).await.status, StatusCode::SEE_OTHER);
    assert!(world.settings.snapshot().second_factors.is_empty());
    assert_eq!(ann.get("/account").await.status, StatusCode::SEE_OTHER, "and her sessions end");
}

#[tokio::test]
async fn where_it_is_required_it_comes_first() {
    let world = world().await;
    let (ann, eve) = (world.logged_in("ann"), world.logged_in("eve"));
    let access = Access { second_factor_required: true, ..Access::default() };
    world.settings.change(vec![Change::PutAccess("acme".parse().unwrap(), access)]).await.unwrap();
    for path in ["/", "/account", "/people", "/messages.csv"] {
        let sent = ann.get(path).await;
        assert_eq!((sent.status, sent.header("location")), (StatusCode::SEE_OTHER, "/account/second-factor"), "{path}");
    }
    assert_eq!(ann.post("/account/app-passwords", &[("name", "x")]).await.header("location"), "/account/second-factor");
    for path in ["/api/v1/messages", "/api/v1/feed"] {
        let api = ann.send(Request::get(path)).await;
        assert!(api.status == StatusCode::FORBIDDEN && api.text.contains("/account/second-factor"), "{}", api.text);
    }
    assert_eq!(eve.get("/").await.status, StatusCode::OK, "another organisation");
    assert_eq!(world.logged_in("root").get("/").await.status, StatusCode::OK, "who belongs to none");
    let (_, _, recovery) = set_up(&ann).await;
    assert_eq!(ann.get("/").await.status, StatusCode::OK);
    let fields = [("do", "remove"), ("present", PASSWORD), ("code", recovery[0].as_str())];
    let kept = ann.post("/account/second-factor", &fields).await;
    assert!(kept.status == StatusCode::UNPROCESSABLE_ENTITY && kept.text.contains("is asked of you"), "{}", kept.text);
    let boss = world.logged_in("boss");
    assert_eq!(boss.post("/logout", &[]).await.header("location"), "/login", "leaving is always possible");
}

#[tokio::test]
async fn codes_are_not_guessed_by_who_has_the_password() {
    let world = world().await;
    set_up(&world.logged_in("ann")).await;
    let mut last = StatusCode::OK;
    for _ in 0..11 {
        last = log_in(&world, "ann", "000000").await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    // a ticket is good for five
    let stranger = world.stranger();
    let asked = stranger.post("/login", &[("login", "ann"), ("password", PASSWORD)]).await;
    let ticket = between(&asked.text, "name=\"ticket\" value=\"", "\"").to_owned();
    let mut answer = asked;
    for _ in 0..6 {
        answer = stranger.post("/login/code", &[("ticket", ticket.as_str()), ("code", "000000")]).await;
    }
    assert_eq!(answer.header("location"), "/login?done=over");
}

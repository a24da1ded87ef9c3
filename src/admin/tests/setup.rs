//! The set-up page with everybody's own values, and the test mail from button to last step.

use super::fixture::world;
use crate::settings::User;
use crate::settings::access::SecondFactor;
use crate::store::{Change, SettingsStore as _};

#[tokio::test]
async fn everyone_sees_the_values_of_this_server_and_their_own() {
    let world = world().await;
    let ann = world.logged_in("ann").get("/setup").await;
    assert_eq!(ann.status, 200);
    for words in [
        "relay.acme.example",
        "2587",
        "SSL/TLS, from the first byte",
        "…@acme.example",
        "self-signed",
        "only programs on this machine",
        "built-in inbox",
        // programs, with the values in place
        "relayhost = [relay.acme.example]:2587",
        "EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = &#34;ann&#34;",
        "port 465",
        "spring.mail.host=relay.acme.example",
    ] {
        let found = ann.text.contains(words);
        // What this server has a value for is filled in everywhere.
        assert_eq!(found, words != "port 465", "{words}\n{}", ann.text);
    }
    assert!(!ann.text.contains("relay.example.com"), "an example is left");
    // The form suggests one's own address: the login, where it is one, else the first address.
    assert!(ann.text.contains("value=\"reader@example.com\""), "{}", ann.text);
    let user = world.settings.snapshot().users["ann"].clone();
    let user = User { addresses: vec!["ann@acme.example".to_owned()], ..user };
    world.settings.change(vec![Change::PutUser(user)]).await.unwrap();
    assert!(world.logged_in("ann").get("/setup").await.text.contains("value=\"ann@acme.example\""));
    assert!(world.logged_in("root").get("/setup").await.text.contains("yours belongs to none"));
}

#[tokio::test]
async fn a_test_mail_is_followed_from_the_button_to_the_last_step() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let sent = ann.post("/setup/test-mail", &[("to", "reader@example.com")]).await;
    assert_eq!((sent.status.as_u16(), sent.header("location")), (303, "/setup/test-mail/00000000000000a1"));
    let page = ann.get(sent.header("location")).await;
    for words in ["Taken by waxseal", "Delivered to upstream", "2.0.0 Ok: queued as 4F1", "Opened", "Link followed"] {
        assert!(page.text.contains(words), "{words}\n{}", page.text);
    }
    assert!(page.text.contains("data-pending=\"no\"") && page.text.contains("<script src=\"/assets/"), "{}", page.text);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    // Its script is ours, and there.
    let script = page.text.split("<script src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(ann.get(script).await.text.contains("EventSource"));
    // The link to the inbox is for who may look into it.
    assert!(!page.text.contains("built-in inbox"), "{}", page.text);

    // A mail whose way is not at its end waits for what is to come.
    let boss = world.logged_in("boss").get("/setup/test-mail/00000000000000b0").await;
    assert!(boss.text.contains("Not tracked") && !boss.text.contains("Link followed"), "{}", boss.text);
    let eve = world.logged_in("eve").get("/setup/test-mail/00000000000000e0").await;
    assert!(eve.text.contains("data-pending=\"yes\"") && eve.text.contains("was not followed yet"), "{}", eve.text);
}

#[tokio::test]
async fn a_test_mail_that_does_not_go_says_why() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let refused = ann.post("/setup/test-mail", &[("to", "nobody@example.com")]).await;
    assert!(refused.status == 422 && refused.text.contains("550 5.1.1 no such user"), "{}", refused.text);
    assert!(refused.text.contains("value=\"nobody@example.com\""), "what was typed stays");
    assert_eq!(ann.post("/setup/test-mail", &[("to", "no address")]).await.status, 422);
    let lost = ann.post("/setup/test-mail", &[("to", "lost@example.com")]).await;
    assert!(lost.status == 200 && lost.text.contains("record could not be written"), "{}", lost.text);
}

/// Whom mail programs are asked for an app password are told so, and where it is made; others not.
#[tokio::test]
async fn who_has_a_second_factor_is_told_of_app_passwords() {
    let world = world().await;
    let page = world.logged_in("ann").get("/setup").await.text;
    assert!(page.contains("same as for this dashboard") && !page.contains("Make an app password"), "{page}");
    let factor = SecondFactor { sealed_secret: vec![0; 64], last_step: 0, recovery: Vec::new(), since_ms: 0 };
    world.settings.change(vec![Change::PutSecondFactor("ann".into(), factor)]).await.unwrap();
    let page = world.logged_in("ann").get("/setup").await.text;
    assert!(page.contains("an app password, made on the page Account"), "{page}");
    assert!(page.contains("<a href=\"/account\">Make an app password</a>"), "{page}");
    assert!(!page.contains("same as for this dashboard"), "{page}");
}

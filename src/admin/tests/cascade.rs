//! The levels below the ceiling as pages and programs turn them: what an organisation never tracks, what it locks, and what
//! its users choose for themselves.

use serde_json::{Value, json};

use super::api::call;
use super::fixture::{World, world};

const ANN: &str = "/api/v1/users/ann/tracking";

#[tokio::test]
async fn an_organisation_says_what_is_never_tracked() {
    let world = world().await;
    let patch = json!({
        "excluded_recipients": ["Press@News.Example", "partner.example"],
        "leave_links": ["Portal.example/Account", "*/sign,here"],
        "sensitive_off": ["token"],
        "locked": ["links"],
        "shadow": true,
    });
    let (status, org) = call(&world, "PATCH", "/api/v1/orgs/acme", patch).await;
    assert_eq!(status, 200, "{org}");
    assert_eq!(org["excluded_recipients"], json!(["press@news.example", "partner.example"]));
    assert_eq!(org["leave_links"], json!(["portal.example/account", "*/sign,here"]));
    assert_eq!(
        (&org["sensitive_off"], &org["locked"], &org["shadow"]),
        (&json!(["token"]), &json!(["links"]), &json!(true))
    );
    // the page shows it, and sending the page back as it is changes nothing
    let boss = world.logged_in("boss");
    let page = boss.get("/orgs/acme").await.text;
    for part in [
        "press@news.example\npartner.example</textarea>",
        "portal.example/account\n*/sign,here</textarea>",
        "name=\"sensitive\" value=\"password-reset\" checked",
        "name=\"sensitive\" value=\"token\">",
        "name=\"locked\" value=\"links\" checked",
        "name=\"locked\" value=\"opens\">",
        "name=\"shadow\" value=\"on\" checked",
        "mail leaves as it came. Each message says",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let rules = ["password-reset", "verification", "sign-in", "single-sign-on", "invitation", "calendar-reply"];
    let mut form = vec![
        ("excluded_recipients", "press@news.example\r\npartner.example"),
        ("leave_links", "portal.example/account\r\n*/sign,here"),
        ("sensitive_rules", "shown"),
        ("locks", "shown"),
        ("locked", "links"),
        ("shadow", "on"),
    ];
    form.extend(rules.map(|rule| ("sensitive", rule)));
    assert_eq!(boss.post("/orgs/acme", &form).await.status, 303);
    assert_eq!(call(&world, "GET", "/api/v1/orgs/acme", Value::Null).await.1, org);
    // no box ticked: nothing locked, every rule off
    assert_eq!(boss.post("/orgs/acme", &[("sensitive_rules", "shown"), ("locks", "shown")]).await.status, 303);
    let (_, org) = call(&world, "GET", "/api/v1/orgs/acme", Value::Null).await;
    assert_eq!((&org["locked"], org["sensitive_off"].as_array().unwrap().len()), (&json!([]), 7));
    // what is wrong is said, in the page and to programs
    let answer = boss.post("/orgs/acme", &[("leave_links", "https://portal.example/")]).await;
    assert!(answer.status == 422 && answer.text.contains("leave https:// away"), "{}", answer.text);
    for (patch, field, words) in [
        (json!({"leave_links": ["*"]}), "leave_links", "it means every link"),
        (json!({"excluded_recipients": ["a b"]}), "excluded_recipients", "write an address"),
        (json!({"sensitive_off": ["unsubscribe"]}), "sensitive_off", "none of password-reset"),
        (json!({"locked": ["place"]}), "locked", "none of opens"),
    ] {
        let (status, problem) = call(&world, "PATCH", "/api/v1/orgs/acme", patch).await;
        assert_eq!((status.as_u16(), &problem["field"]), (422, &json!(field)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
}

#[tokio::test]
async fn a_user_asks_for_less_and_not_for_what_is_locked() {
    let world = world().await;
    let (_, before) = call(&world, "GET", ANN, Value::Null).await;
    assert_eq!((&before["in_force"]["opens"], &before["choice"]["opens"]), (&json!("individual"), &Value::Null));
    let (status, set) = call(&world, "PATCH", ANN, json!({"opens": "off", "shadow": true})).await;
    assert_eq!((status.as_u16(), &set["in_force"]["opens"], &set["shadow"]), (200, &json!("off"), &json!(true)));
    // more than the organisation has
    let (status, problem) = call(&world, "PATCH", ANN, json!({"links": "individual"})).await;
    assert_eq!((status.as_u16(), &problem["field"]), (422, &json!("links")), "{problem}");
    // locked: the choice of before is shown, and does not count
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"locked": ["opens", "shadow"]})).await;
    let (_, locked) = call(&world, "GET", ANN, Value::Null).await;
    assert_eq!((&locked["choice"]["opens"], &locked["own_shadow"]), (&json!("off"), &json!(true)));
    assert_eq!((&locked["in_force"]["opens"], &locked["shadow"]), (&json!("individual"), &json!(false)));
    assert_eq!(locked["locked"], json!(["opens", "shadow"]));
    let (status, problem) = call(&world, "PATCH", ANN, json!({"opens": "aggregate"})).await;
    assert_eq!((status.as_u16(), &problem["field"]), (409, &json!("opens")));
    assert_eq!(problem["type"], "urn:waxseal:problem:locked");
    assert!(problem["detail"].as_str().unwrap().contains("decides it for all its users"), "{problem}");
    assert_eq!(call(&world, "PATCH", ANN, json!({"links": "off"})).await.0, 200, "what is not locked is free");
    // her page says why
    let ann = world.logged_in("ann");
    let page = ann.get("/tracking").await.text;
    assert_eq!(page.matches("<fieldset disabled>").count(), 2, "{page}");
    assert!(page.contains("What was chosen here before (off) does not count while it is locked."), "{page}");
    let refused = ann.post("/tracking", &[("opens", "follow")]).await;
    assert!(refused.status == 422 && refused.text.contains("Opens is locked"), "{}", refused.text);
    // open again: it counts again
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"locked": []})).await;
    assert_eq!(call(&world, "GET", ANN, Value::Null).await.1["in_force"]["opens"], "off");
    // an admin helps; what was done is in the log, with whose it was
    let boss = world.logged_in("boss");
    assert_eq!(boss.post("/tracking", &[("login", "ann"), ("opens", "follow"), ("shadow", "off")]).await.status, 303);
    let audit = boss.get("/audit").await.text;
    assert!(audit.contains("user ann") && audit.contains("shadow"), "{audit}");
}

/// The answer as `switch=value by level`, and each switch's sentence.
async fn why(world: &World, query: &str) -> (Vec<String>, Value) {
    let (status, why) = call(world, "GET", &format!("/api/v1/why?{query}"), Value::Null).await;
    assert_eq!(status, 200, "{why}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line =
        |one: &Value| format!("{}={} by {}", text(&one["switch"]), text(&one["in_force"]), text(&one["decided_by"]));
    (why["switches"].as_array().unwrap().iter().map(line).collect(), why)
}

#[tokio::test]
async fn who_decided_is_told_level_by_level() {
    let world = world().await;
    let ask = "from=ann&to=bob@reader.example";
    let (lines, told) = why(&world, ask).await;
    assert_eq!(lines, ["opens=individual by ceiling", "links=aggregate by ceiling", "text_links=off by ceiling"]);
    assert_eq!((&told["org"], &told["login"], &told["recipient"]), (&json!("acme"), &json!("ann"), &json!("unasked")));
    assert_eq!(told["switches"][0]["levels"].as_array().unwrap().len(), 5);
    // each level in turn takes over
    call(&world, "PATCH", ANN, json!({"opens": "aggregate", "links": "off"})).await;
    let (lines, told) = why(&world, ask).await;
    assert_eq!(lines, ["opens=aggregate by user", "links=off by user", "text_links=off by ceiling"]);
    assert_eq!(told["switches"][0]["why"], "the sender has chosen it");
    let (lines, _) = why(&world, &format!("{ask}&header=X-Waxseal-Opens:off")).await;
    assert_eq!(lines[0], "opens=off by header");
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"opens": "aggregate", "locked": ["links"], "shadow": true}))
        .await;
    let (lines, told) = why(&world, ask).await;
    assert_eq!(lines[..2], ["opens=aggregate by org", "links=aggregate by ceiling"]);
    let users = &told["switches"][1]["levels"][2];
    assert_eq!((&users["says"], &users["locked"]), (&json!("off"), &json!(true)));
    assert_eq!(told["shadow"], "org");
    // the recipient: excluded, and their own no before that
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"excluded_recipients": ["reader.example"]})).await;
    let (lines, told) = why(&world, ask).await;
    assert_eq!(lines[0], "opens=off by recipient");
    assert_eq!((&told["excluded_by"], &told["recipient"]), (&json!("reader.example"), &json!("excluded")));
    assert_eq!(told["switches"][0]["why"], "the organisation excludes this recipient (reader.example)");
    let note = json!({"notes": [{"act": "refuse", "address": "bob@reader.example", "source": "call"}]});
    let (status, noted) = call(&world, "POST", "/api/v1/orgs/acme/people", note).await;
    assert!(status.is_success(), "{noted}");
    assert_eq!(why(&world, ask).await.1["switches"][0]["why"], "the recipient said no");
    // a sender without a login, by domain and by organisation
    for query in ["from=print@acme.example&to=x@y.example", "org=acme&from=-&to=x@y.example"] {
        assert_eq!(why(&world, query).await.1["login"], Value::Null, "{query}");
    }
    // the page says the same, and the message page leads to it
    let boss = world.logged_in("boss");
    let page = boss.get(&format!("/why?{ask}")).await.text;
    for part in
        ["The organisation&#39;s shadow mode is on", "the recipient said no.", "locked: does not count", "decides"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let message = world.logged_in("ann").get("/messages/00000000000000a1").await.text;
    assert!(message.contains("/why?org=acme&#38;from=ann&#38;to=bob"), "{message}");
}

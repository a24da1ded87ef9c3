//! The levels below the ceiling as pages and programs turn them: what an organisation never tracks, what it locks, and what
//! its users choose for themselves.

use serde_json::{Value, json};

use super::api::call;
use super::fixture::{World, world};
use crate::settings::access::Access;
use crate::store::{Change, SettingsStore as _};

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
        (json!({"locked": ["footer"]}), "locked", "none of opens"),
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
    assert_eq!(page.matches("locked by the organisation").count(), 2, "{page}");
    assert_eq!(
        page.split('<').filter(|tag| tag.starts_with("fieldset ") && tag.contains(" disabled>")).count(),
        3,
        "and raw evidence, of which the organisation keeps none: {page}"
    );
    assert!(page.contains("What was chosen here before (off) does not count while it is locked."), "{page}");
    let refused = ann.post("/tracking", &[("opens", "follow")]).await;
    assert!(refused.status == 422 && refused.text.contains("Email tracking</a> is locked"), "{}", refused.text);
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
    // what is no header of ours is named, not passed over
    let bogus = format!("{ask}&header=X-Waxseal-Bogus:yes%0AX-Waxseal-Links:off%0ABogus");
    assert_eq!(why(&world, &bogus).await.1["header_unknown"], json!(["X-Waxseal-Bogus", "Bogus"]));
    let page = world.logged_in("boss").get(&format!("/why?{bogus}")).await.text;
    assert!(page.contains("X-Waxseal-Bogus, Bogus are no headers that waxseal knows"), "{page}");
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

/// What a user narrows besides the switches: by the API, in the page, locked, and back again.
#[tokio::test]
async fn a_user_takes_away_more_than_the_switches() {
    let world = world().await;
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"raw_evidence": true})).await;
    let (_, before) = call(&world, "GET", ANN, Value::Null).await;
    assert_eq!(before["place"], json!({"in_force": "city", "choice": null, "most": "city"}));
    assert_eq!((&before["excluded_recipients"], &before["leave_links"]), (&json!([]), &json!([])));
    let asked = json!({
        "visible_urls": "leave", "place": "country", "raw_evidence": "off",
        "excluded_recipients": ["Cy@Reader.Example"], "excluded_hosts": ["Shop.example."], "leave_links": ["Portal.example/Me"],
    });
    let (status, set) = call(&world, "PATCH", ANN, asked).await;
    assert_eq!(status, 200, "{set}");
    assert_eq!(set["visible_urls"], json!({"in_force": "leave", "choice": "leave", "most": "track"}));
    assert_eq!(set["raw_evidence"], json!({"in_force": "off", "choice": "off", "most": "on"}));
    assert_eq!(
        (&set["excluded_recipients"], &set["excluded_hosts"], &set["leave_links"]),
        (&json!(["cy@reader.example"]), &json!(["shop.example"]), &json!(["portal.example/me"]))
    );
    // her page shows it, and sent back as it is changes nothing
    let ann = world.logged_in("ann");
    let page = ann.get("/tracking").await.text;
    for part in [
        "name=\"place\" value=\"country\" checked",
        "As the organisation (country and city)",
        "name=\"raw_evidence\" value=\"off\" checked",
        "name=\"visible_urls\" value=\"leave\" checked",
        "cy@reader.example</textarea>",
        "<label for=\"excluded_hosts\">",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let form = [
        ("visible_urls", "leave"),
        ("place", "country"),
        ("raw_evidence", "off"),
        ("excluded_recipients", "cy@reader.example\r\n"),
        ("excluded_hosts", "shop.example"),
        ("leave_links", "portal.example/me"),
    ];
    assert_eq!(ann.post("/tracking", &form).await.status, 303);
    assert_eq!(call(&world, "GET", ANN, Value::Null).await.1, set);
    // locked: kept, shown, without effect, and not to be changed; each by its name
    let names = ["visible_urls", "place", "raw_evidence", "excluded_recipients", "excluded_hosts", "leave_links"];
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"locked": names})).await;
    let (_, locked) = call(&world, "GET", ANN, Value::Null).await;
    assert_eq!(locked["locked"], json!(names));
    assert_eq!(locked["place"], json!({"in_force": "city", "choice": "country", "most": "city"}));
    assert_eq!(locked["excluded_recipients"], set["excluded_recipients"]);
    for (name, value) in form {
        let value = if name.contains("ed_") || name == "leave_links" { json!([]) } else { json!(value) };
        let value = if name == "raw_evidence" { json!("follow") } else { value };
        let (status, problem) = call(&world, "PATCH", ANN, json!({name: value})).await;
        assert_eq!((status.as_u16(), &problem["field"]), (409, &json!(name)), "{problem}");
        let refused = ann.post("/tracking", &[(name, form.iter().find(|(n, _)| *n == name).unwrap().1)]).await;
        assert!(refused.status == 422 && refused.text.contains("is locked"), "{name}: {}", refused.text);
    }
    let page = ann.get("/tracking").await.text;
    assert_eq!(page.matches("locked by the organisation").count(), 6, "{page}");
    assert!(page.contains("(the country alone) does not count while it is locked."), "{page}");
    assert!(page.contains("What stands here does not count while it is locked."), "{page}");
    let org_page = world.logged_in("boss").get("/orgs/acme").await.text;
    assert!(org_page.contains("name=\"locked\" value=\"place\" checked"), "{org_page}");
    // open again it counts again
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"locked": []})).await;
    assert_eq!(call(&world, "GET", ANN, Value::Null).await.1, set);
    // and back to the organisation, which by now keeps less itself: there is nothing to take away
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"place": "country", "visible_urls": "leave"})).await;
    let back =
        json!({"visible_urls": "follow", "place": "follow", "raw_evidence": "follow", "excluded_recipients": []});
    let (_, back) = call(&world, "PATCH", ANN, back).await;
    assert_eq!(back["place"], json!({"in_force": "country", "choice": null, "most": "country"}));
    assert_eq!((&back["raw_evidence"]["in_force"], &back["excluded_recipients"]), (&json!("on"), &json!([])));
    let page = ann.get("/tracking").await.text;
    for part in ["keeps the country alone already.", "leaves such links alone already."] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

/// Nobody asks for more, nor for more than there is room for; and what is wrong says what would be right.
#[tokio::test]
async fn what_a_user_cannot_ask_for_is_said() {
    let world = world().await;
    let many = |ending: &str| json!((0..201).map(|n| format!("a{n}{ending}")).collect::<Vec<_>>());
    let long = "x".repeat(60);
    let wide: Vec<String> = (0..200).map(|n| format!("{long}.{long}.{long}.a{n}.example")).collect();
    for (patch, field, words) in [
        (json!({"visible_urls": "track"}), "visible_urls", "none of leave, follow: a user can only ask for less"),
        (json!({"place": "city"}), "place", "none of country, follow"),
        (json!({"raw_evidence": "on"}), "raw_evidence", "none of off, follow"),
        (json!({"excluded_recipients": ["a b"]}), "excluded_recipients", "write an address"),
        (json!({"excluded_recipients": many("@x.example")}), "excluded_recipients", "at most 200"),
        (json!({"excluded_hosts": ["https://a.example"]}), "excluded_hosts", "is no host name"),
        (json!({"excluded_hosts": many(".example")}), "excluded_hosts", "at most 200"),
        (json!({"excluded_hosts": wide}), "excluded_hosts", "name whole domains"),
        (json!({"leave_links": ["*"]}), "leave_links", "it means every link"),
    ] {
        let (status, problem) = call(&world, "PATCH", ANN, patch).await;
        assert_eq!((status.as_u16(), &problem["field"]), (422, &json!(field)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    assert_eq!(call(&world, "PATCH", ANN, json!({"footer": "x"})).await.0.as_u16(), 422);
    // in the page what was typed stays to be mended
    let ann = world.logged_in("ann");
    let answer = ann.post("/tracking", &[("excluded_hosts", "good.example\r\nhttps://bad.example")]).await;
    assert!(answer.status == 422 && answer.text.contains("is no host name"), "{}", answer.text);
    assert!(
        answer.text.contains("good.example\nhttps://bad.example</textarea>")
            || answer.text.contains("good.example\r\nhttps:")
    );
    assert_eq!(ann.post("/tracking", &[("place", "city")]).await.status, 400, "no page sends that");
}

/// Whom a sender excludes is somebody they write to: an admin who sees counts alone neither reads nor changes it, in no
/// page, answer or line of the log.
#[tokio::test]
async fn whom_a_sender_excludes_is_theirs_to_know() {
    let world = world().await;
    call(
        &world,
        "PATCH",
        ANN,
        json!({"excluded_recipients": ["secret@reader.example"], "excluded_hosts": ["s.example"]}),
    )
    .await;
    let ann = world.logged_in("ann");
    assert!(ann.get("/tracking").await.text.contains("secret@reader.example"));
    let boss = world.logged_in("boss");
    for sees in [false, true] {
        let access = Access { admins_see_messages: sees, ..Access::default() };
        let acme = "acme".parse().unwrap();
        world.settings.change(vec![Change::PutAccess(acme, access)]).await.unwrap();
        let page = boss.get("/tracking?login=ann").await.text;
        assert_eq!(page.contains("secret@reader.example"), sees, "{page}");
        assert_eq!(page.contains("is not yours to see"), !sees, "{page}");
        assert!(page.contains("s.example</textarea>"), "{page}");
        let told = boss.get("/api/v1/users/ann/tracking").await.text;
        assert_eq!(told.contains("secret@reader.example"), sees, "{told}");
        let other = boss.post("/tracking", &[("login", "ann"), ("excluded_hosts", "s.example")]).await;
        assert_eq!(other.status, 303, "the rest can be helped with");
        let change = boss.post("/tracking", &[("login", "ann"), ("excluded_recipients", "x.example")]).await;
        assert_eq!(change.status.as_u16(), if sees { 303 } else { 403 });
    }
    for audit in [boss.get("/audit").await.text, boss.get("/api/v1/audit").await.text] {
        assert!(audit.contains("excluded_recipients") && audit.contains("s.example"), "{audit}");
        assert!(!audit.contains("secret@reader.example"), "{audit}");
    }
}

/// Whose word each of them is, level by level, in the answer and in the page.
#[tokio::test]
async fn who_narrowed_is_told() {
    let world = world().await;
    let ask = "from=ann&to=cy@reader.example";
    let line = |one: &Value| format!("{}={} by {}", one["switch"], one["in_force"], one["decided_by"]).replace('"', "");
    let told = |why: &Value| why["narrowed"].as_array().unwrap().iter().map(line).collect::<Vec<_>>();
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"excluded_hosts": ["acme.example"], "raw_evidence": true})).await;
    let (_, before) = why(&world, ask).await;
    assert_eq!(told(&before), ["visible_urls=track by org", "place=city by org", "raw_evidence=on by org"]);
    assert_eq!(before["narrowed"][1]["why"], "the organisation acme has it so");
    let patch = json!({
        "visible_urls": "leave", "place": "country", "raw_evidence": "off",
        "excluded_recipients": ["reader.example"], "excluded_hosts": ["shop.example"],
    });
    call(&world, "PATCH", ANN, patch).await;
    let (lines, after) = why(&world, ask).await;
    assert_eq!(lines[0], "opens=off by recipient");
    assert_eq!(
        (&after["recipient"], &after["excluded_by"], &after["excluded_level"]),
        (&json!("excluded"), &json!("reader.example"), &json!("user"))
    );
    assert_eq!(after["switches"][0]["why"], "the sender excludes this recipient (reader.example)");
    assert_eq!(told(&after), ["visible_urls=leave by user", "place=country by user", "raw_evidence=off by user"]);
    let never = json!([
        {"list": "excluded_hosts", "entry": "acme.example", "decided_by": "org"},
        {"list": "excluded_hosts", "entry": "shop.example", "decided_by": "user"},
    ]);
    assert_eq!(after["never_tracked"], never);
    let page = world.logged_in("boss").get(&format!("/why?{ask}")).await.text;
    for part in ["the sender has chosen it.", "shop.example (the sender)", "Whom is theirs to know"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // whom a sender excludes tells to whom they write: an admin of counts learns it neither by name nor by asking
    assert!(!page.contains("the sender excludes") && page.contains("Individual"), "{page}");
    let own = world.logged_in("ann").get(&format!("/why?{ask}")).await.text;
    assert!(own.contains("the sender excludes this recipient (reader.example)"), "{own}");
    // under a lock it is the organisation again, and what does not count is told
    call(&world, "PATCH", "/api/v1/orgs/acme", json!({"locked": ["place", "excluded_recipients", "excluded_hosts"]}))
        .await;
    let (lines, locked) = why(&world, ask).await;
    assert_eq!((lines[0].as_str(), &locked["excluded_by"]), ("opens=individual by ceiling", &Value::Null));
    assert_eq!(told(&locked)[1], "place=city by org");
    let words = locked["narrowed"][1]["why"].as_str().unwrap();
    assert!(words.ends_with("what the sender has chosen (country) does not count: it is locked"), "{words}");
    assert_eq!(locked["never_tracked"].as_array().unwrap().len(), 1);
}

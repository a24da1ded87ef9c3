//! What every page owes: a strict policy, nothing hostile unescaped, forms only from our own pages.

use axum::http::{Request, StatusCode};

use super::fixture::{HOSTILE, PASSWORD, org_name, world};
use crate::event::{Rule, Verdict};
use crate::settings::{Mode, Org, Role, User};
use crate::store::record::{Mended, Recording};
use crate::store::{Change, Override, SettingsStore as _};

const PAGES: &[&str] = &[
    "/",
    "/messages/00000000000000a1",
    "/people",
    "/people?address=%3Cscript%3Ealert",
    "/people/one?address=bob@reader.example",
    "/people/one?address=%22%3Cscript%3Ealert%28%27x%27%29%3C%2Fscript%3E%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%22%40x.example",
    "/?subject=%3Cscript%3Ealert&recipient=%22&readers=opened",
    "/messages/00000000000000b0",
    "/figures",
    "/orgs",
    "/orgs/acme",
    "/orgs/managed",
    "/users",
    "/users/edit?login=ann",
    "/users/remove?login=ann",
    "/account",
    "/tracking?login=ann",
    "/why?org=acme&from=%3Cscript%3Ealert&to=%22%3Cscript%3Ealert%22@x.example&header=%3Cscript%3Ealert",
    "/why?from=ann&to=bob@reader.example",
    "/queue",
    "/queue/00000000000000a1",
    "/queue/00000000000000b0",
    "/queue/00000000000000b0/drop",
    "/activity",
    "/health",
    "/setup",
    "/setup/test-mail/00000000000000a1",
    "/setup/test-mail/00000000000000b0",
    "/notices",
    "/webhooks/00000000000000ac",
    "/inbox",
    "/inbox/20261123T200007Z-a1",
    "/inbox/20261123T200007Z-b2",
    "/login",
    "/nowhere",
    "/messages/nonsense",
];

/// In clear a browser would not believe it, and loopback has no https.
#[tokio::test]
async fn behind_a_proxy_with_https_browsers_are_told_to_stay_there() {
    let stranger = world().await.stranger();
    for path in ["/login", "/nowhere", "/api/v1/orgs", "/assets/none"] {
        assert_eq!(stranger.get(path).await.header("strict-transport-security"), "", "{path}");
        let behind = stranger.send(Request::get(path).header("x-forwarded-proto", "https")).await;
        assert_eq!(behind.header("strict-transport-security"), "max-age=31536000", "{path}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers() {
    let world = world().await;
    let (root, stranger) = (world.logged_in("root"), world.stranger());
    let mut answers = Vec::new();
    for path in PAGES {
        answers.push((path, root.get(path).await));
        answers.push((path, stranger.get(path).await));
    }
    answers.push((&"DELETE /", root.send(Request::delete("/")).await));
    answers.push((&"POST /users", stranger.post("/users", &[]).await));
    answers.push((&"POST /login", stranger.post("/login", &[("login", "x"), ("password", "y")]).await));
    for (path, answer) in answers {
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        // the policy forbids scripts and inline styles, so a page that had them would be broken
        assert!(
            !answer.text.replace("<script src=\"/assets/", "").contains("<script")
                && !answer.text.contains("style=\"")
                && !answer.text.contains("onclick"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn nothing_hostile_reaches_a_page_unescaped() {
    let world = world().await;
    let root = world.logged_in("root");
    let mut seen = 0;
    for path in PAGES {
        let page = root.get(path).await.text;
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{path}: {page}");
        seen += usize::from(page.contains("&#60;script&#62;alert"));
    }
    assert!(seen >= 5, "only {seen} pages show the hostile texts: the fixture no longer reaches them");
    // what was typed comes back in a form, escaped
    for (path, fields) in [
        (
            "/users",
            vec![("login", HOSTILE), ("addresses", HOSTILE), ("org", "acme"), ("role", "sender"), ("password", "x")],
        ),
        ("/login", vec![("login", HOSTILE), ("password", "x")]),
        ("/messages/00000000000000a1/links/0", vec![("do", "to"), ("destination", HOSTILE)]),
        ("/inbox/test-mail", vec![("to", HOSTILE)]),
        ("/orgs/acme", vec![("excluded_hosts", HOSTILE)]),
        ("/users/password", vec![("login", HOSTILE), ("password", "x")]),
    ] {
        let page = root.post(path, &fields).await;
        assert!(!page.text.contains("<script>alert"), "{path}: {}", page.text);
        assert!(page.status.is_client_error(), "{path}: {}", page.status);
    }
}

#[tokio::test]
async fn a_form_counts_only_from_our_own_page() {
    let world = world().await;
    let root = world.logged_in("root");
    let other = world.logged_in("root");
    let fields = |csrf: &str| format!("csrf={csrf}&opens=off");
    let form = |site: &str, origin: &str, body: String| {
        Request::post("/orgs/acme")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("host", "127.0.0.1:8026")
            .header(
                if site.is_empty() { "origin" } else { "sec-fetch-site" },
                if site.is_empty() { origin } else { site },
            )
            .header("cookie", &root.cookie)
            .body(axum::body::Body::from(body))
            .unwrap()
    };
    let rows = [
        // no token, a wrong one, another session's
        (form("same-origin", "", "opens=off".to_owned()), StatusCode::FORBIDDEN),
        (form("same-origin", "", fields("")), StatusCode::FORBIDDEN),
        (form("same-origin", "", fields("wrong")), StatusCode::FORBIDDEN),
        (form("same-origin", "", fields(&other.csrf)), StatusCode::FORBIDDEN),
        // the right one from another site
        (form("cross-site", "", fields(&root.csrf)), StatusCode::FORBIDDEN),
        (form("", "http://127.0.0.1:8025", fields(&root.csrf)), StatusCode::FORBIDDEN),
        (form("", "null", fields(&root.csrf)), StatusCode::FORBIDDEN),
    ];
    for (request, expected) in rows {
        let words = format!("{request:?}");
        assert_eq!(root.answer(request).await.status, expected, "{words}");
        assert_eq!(world.settings.snapshot().orgs.values().next().unwrap().choice.opens, None, "{words}");
    }
    let right = form("same-origin", "", fields(&root.csrf));
    assert_eq!(root.answer(right).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.settings.snapshot().orgs.values().next().unwrap().choice.opens, Some(Mode::Off));
    // the same for the login form, which has no session to hold a token
    let foreign = Request::post("/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "cross-site")
        .body(axum::body::Body::from(format!("login=root&password={PASSWORD}")))
        .unwrap();
    assert_eq!(root.answer(foreign).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let world = world().await;
    let root = world.logged_in("root");
    let answer = root.post_body("/users", format!("csrf={}&login={}", root.csrf, "x".repeat(3 << 20))).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_link_is_changed_withdrawn_and_restored() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let (message, path) = ("/messages/00000000000000a1", "/messages/00000000000000a1/links/0");
    let override_now = || world.settings.snapshot().overrides.get(&(super::fixture::ANNS, 0)).cloned();
    assert_eq!(
        ann.post(path, &[("do", "to"), ("destination", "https://new.example/")]).await.status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(override_now(), Some(Override::Destination("https://new.example/".into())));
    assert!(ann.get(message).await.text.contains("https://new.example/"));
    assert_eq!(ann.post(path, &[("do", "withdraw")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(override_now(), Some(Override::Withdrawn));
    assert!(ann.get(message).await.text.contains("withdrawn"));
    assert_eq!(ann.post(path, &[("do", "restore")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(override_now(), None);
    let refused = ann.post(path, &[("do", "to"), ("destination", "javascript:alert(1)")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(override_now(), None);
}

#[tokio::test]
async fn the_settings_page_shows_the_ceiling_and_what_is_managed() {
    let world = world().await;
    let boss = world.logged_in("boss");
    let page = boss.get("/orgs/acme").await.text;
    let input = |page: &str, name: &str, value: &str| {
        let tags = page.split('<').filter(|tag| tag.starts_with("input type=\"radio\""));
        let wanted = [format!("name=\"{name}\""), format!("value=\"{value}\"")];
        tags.filter(|tag| wanted.iter().all(|part| tag.contains(part))).map(str::to_owned).next().unwrap()
    };
    // follows the ceiling; what is above it cannot be chosen
    assert!(input(&page, "opens", "follow").contains("checked"));
    assert!(input(&page, "links", "individual").contains("disabled"));
    assert!(!input(&page, "links", "aggregate").contains("disabled"));
    assert!(input(&page, "text_links", "on").contains("disabled"));
    // a choice is kept and shown; a lowered ceiling is seen at once
    assert_eq!(boss.post("/orgs/acme", &[("opens", "individual")]).await.status, StatusCode::SEE_OTHER);
    world.ceiling.store(std::sync::Arc::new(crate::settings::Tracking {
        opens: Mode::Off,
        links: Mode::Off,
        text_links: false,
    }));
    let page = boss.get("/orgs/acme").await.text;
    assert!(input(&page, "opens", "individual").contains("checked"));
    let force = page.split("class=\"force\"").nth(1).unwrap().split("</dl>").next().unwrap();
    assert_eq!(force.matches(">Off<").count(), 3, "{force}");
    // managed values are read-only, and say so
    let page = world.logged_in("mia").get("/orgs/managed").await.text;
    assert!(page.contains("<fieldset id=\"opens\" disabled>") && page.contains("managed in config.toml"), "{page}");
    assert!(!page.contains("name=\"domains\""));
    // a sender reads and cannot save
    let page = world.logged_in("ann").get("/orgs/acme").await.text;
    assert!(!page.contains("<button>Save</button>"));
}

#[tokio::test]
async fn the_mail_in_the_frame_has_no_powers() {
    let world = world().await;
    let root = world.logged_in("root");
    let page = root.get("/inbox/20261123T200007Z-a1").await.text;
    assert!(page.contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""), "{page}");
    for id in ["20261123T200007Z-a1", "20261123T200007Z-b2"] {
        let frame = root.get(&format!("/inbox/{id}/frame")).await;
        let policy = frame.header("content-security-policy");
        assert!(
            policy.starts_with("sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("script") && !policy.contains("allow-same-origin"), "{policy}");
        assert!(policy.contains("frame-ancestors 'self'"));
        assert_eq!(frame.header("referrer-policy"), "no-referrer");
        assert_eq!(frame.header("content-type"), "text/html; charset=utf-8");
    }
    let frame = root.get("/inbox/20261123T200007Z-a1/frame").await.text;
    assert!(frame.contains("<h1>Hello Bob</h1>") && frame.ends_with("<base target=\"_blank\">"), "{frame}");
    let raw = root.get("/inbox/20261123T200007Z-a1/raw").await;
    assert!(raw.header("content-disposition").starts_with("attachment") && raw.text.starts_with("From: Ann"));
    // the test mail, and what upstream says to it
    let refused = root.post("/inbox/test-mail", &[("to", "nobody@example.com")]).await;
    assert!(refused.text.contains("550 5.1.1 no such user"), "{}", refused.text);
}

/// Who is in stays in: an error page has their tabs, a stranger's has none.
#[tokio::test]
async fn an_error_page_has_the_tabs_of_who_is_logged_in() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let wrong = ann.post_body("/tracking", "csrf=forged".to_owned()).await;
    for (page, status) in [
        (ann.get("/no-such-page").await, StatusCode::NOT_FOUND),
        (ann.get("/messages/00000000000000b2").await, StatusCode::NOT_FOUND),
        (ann.get("/users").await, StatusCode::FORBIDDEN),
        (wrong, StatusCode::FORBIDDEN),
    ] {
        assert_eq!(page.status, status);
        assert!(page.text.contains("<nav aria-label=\"Pages\">") && page.text.contains("Log out"), "{}", page.text);
        assert!(page.header("content-security-policy").contains("default-src 'none'"));
    }
    assert_eq!(ann.post("/activity", &[]).await.header("allow"), "GET,HEAD", "what else it says stays");
    let page = world.stranger().get("/no-such-page").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("Nothing here") && !page.text.contains("<nav"), "{}", page.text);
    // a program is answered as before
    let problem = ann.get("/api/v1/nothing").await;
    assert_eq!(problem.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn the_style_sheet_is_named_by_its_content() {
    let world = world().await;
    let page = world.stranger().get("/login").await.text;
    let path =
        page.split("href=\"").find(|part| part.starts_with("/assets/")).unwrap().split('"').next().unwrap().to_owned();
    let style = world.stranger().get(&path).await;
    assert_eq!((style.status, style.header("content-type")), (StatusCode::OK, "text/css; charset=utf-8"));
    assert!(style.header("cache-control").contains("immutable"));
    assert_eq!(world.stranger().get("/assets/other.css").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_search_is_kept_in_its_links_and_comes_as_a_file() {
    let world = world().await;
    let root = world.logged_in("root");
    let page = root.get("/?subject=Offer+of&readers=opened").await.text;
    assert!(page.contains("Your offer of today") && !page.contains("Secret of other"), "{page}");
    assert!(page.contains("/messages.csv?subject=Offer%20of&#38;readers=opened"), "{page}");
    assert!(page.contains("<option value=\"opened\" selected>"), "{page}");
    assert!(root.get("/?subject=nowhere").await.text.contains("Nothing was found"));
    let file = root.get("/messages.csv?subject=offer").await;
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert!(file.header("content-disposition").starts_with("attachment"));
    let lines: Vec<&str> = file.text.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let offer = "\"ann@acme.example\",\"Your offer of today\",acme,\"ann\",3,1,1,1,1,0,yes,\"id 00000000000000a1\"";
    assert!(lines[1].ends_with(offer), "{}", lines[1]);
    // who may know the counts only does not find a mail by its words, in neither form
    let boss = world.logged_in("boss");
    assert!(boss.get("/?subject=offer").await.text.contains("Nothing was found"));
    assert_eq!(boss.get("/messages.csv?subject=offer").await.text.lines().count(), 1);
    assert!(!boss.get("/messages.csv").await.text.contains("Your offer"));
}

#[tokio::test]
async fn who_says_it_was_themselves_is_counted_so() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let (message, path) = ("/messages/00000000000000a1", "/messages/00000000000000a1/events");
    let opens = async || {
        let row = ann.get("/?subject=offer").await.text;
        row.split("data-label=\"Opens\"").nth(1).unwrap().split("</td>").next().unwrap().to_owned()
    };
    assert!(opens().await.contains("<strong>1</strong>"));
    assert!(ann.get(message).await.text.contains("name=\"own\" value=\"1\""));
    assert_eq!(ann.post(path, &[("own", "1")]).await.status, StatusCode::SEE_OTHER);
    assert!(opens().await.contains("2 by machines or your own"));
    let page = ann.get(message).await.text;
    assert!(page.contains("one of your own: the sender said so (was: not judged)"), "{page}");
    assert!(page.contains("name=\"not_own\" value=\"1\""), "{page}");
    // Said twice changes nothing; taken back, it is what it was.
    assert_eq!(ann.post(path, &[("own", "1")]).await.status, StatusCode::SEE_OTHER);
    assert!(opens().await.contains("2 by machines or your own"));
    assert_eq!(ann.post(path, &[("not_own", "1")]).await.status, StatusCode::SEE_OTHER);
    assert!(opens().await.contains("<strong>1</strong>"));
    // Who followed which link is said with it.
    assert!(ann.get(message).await.text.contains("<li>Bob Reader once</li>"));
    // A machine's look is nobody's: to claim it and take that back would make a person of it.
    let page = ann.get(message).await.text;
    assert!(page.contains("name=\"own\" value=\"1\"") && !page.contains("name=\"own\" value=\"3\""), "{page}");
    let burst = Mended { sequence: 2, repeats: 0, verdict: Some((Verdict::Machine, Rule::Burst)) };
    let recording = Recording { events: Vec::new(), mended: vec![burst] };
    world.actions.history.put_on_record(std::sync::Arc::new(recording)).await.unwrap();
    for sequence in ["2", "3"] {
        assert_eq!(ann.post(path, &[("own", sequence)]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(ann.post(path, &[("not_own", sequence)]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert!(ann.get(message).await.text.contains("several links at once (was: not judged)"));
}

/// An address that cannot be read is answered by a page of ours, which says which value.
#[tokio::test]
async fn an_address_that_cannot_be_read_says_why() {
    let world = world().await;
    let ann = world.logged_in("ann");
    for (path, name) in
        [("/figures?days=abc", "days"), ("/audit?before=abc", "before"), ("/activity?before=abc", "before")]
    {
        let page = ann.get(path).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(page.text.contains("<h1>The address cannot be read</h1>"), "{path}: {}", page.text);
        assert!(page.text.contains(&format!("{name}: write a whole number")), "{path}: {}", page.text);
        assert!(!page.text.contains("deserialize") && page.text.contains("/activity"), "{path}: {}", page.text);
    }
}

/// The line that sends without a login is shown to whose mail that is; a member of another organisation is led to set-up.
#[tokio::test]
async fn the_line_without_a_login_is_shown_to_whose_mail_it_is() {
    let world = world().await;
    for (login, org, shown) in [("newcomer", "acme", true), ("stranger", "other", false)] {
        let user = User::new(login.to_owned(), Some(org_name(org)), Role::Sender, String::new());
        world.settings.change(vec![Change::PutUser(user)]).await.unwrap();
        let page = world.logged_in(login).get("/").await.text;
        assert!(page.contains("No mail yet"), "{login}: {page}");
        assert_eq!(page.contains("curl smtp://"), shown, "{login}");
        assert_eq!(page.contains("<a href=\"/setup\">Set up</a> has what"), !shown, "{login}");
    }
}

/// The list says whose mail leaves as it came, whatever its switches say.
#[tokio::test]
async fn shadow_mode_is_in_the_list_of_organisations() {
    let world = world().await;
    let root = world.logged_in("root");
    assert!(!root.get("/orgs").await.text.contains("<span class=\"tag\">shadow</span>"));
    let org = world.settings.snapshot().orgs[&org_name("acme")].clone();
    world.settings.change(vec![Change::PutOrg(Org { shadow: true, ..org })]).await.unwrap();
    assert_eq!(root.get("/orgs").await.text.matches("<span class=\"tag\">shadow</span>").count(), 1);
}

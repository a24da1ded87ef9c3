//! What every form owes: it undoes nothing that somebody else has done meanwhile, and after a mistake it shows what was typed
//! and chosen, and where the mistake is.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use super::fixture::{Answer, Browser, HOSTILE, World, world};
use crate::settings::Role;
use crate::store::{Change, Override, SettingsStore as _};

/// The fields of a form.
type Pairs = Vec<(String, String)>;

const ANNS: &str = "/messages/00000000000000a1";
const LINK: &str = "/messages/00000000000000a1/links/0";

/// The form of a page that is sent there and has this field, as a browser would send it if nobody touched it.
fn form(page: &str, action: &str, has: &str) -> Pairs {
    let begins = format!("action=\"{action}\"");
    let forms = page.split("<form ").skip(1).map(|form| form.split("</form>").next().unwrap());
    let of_it = forms.filter(|form| form.split('>').next().unwrap().contains(&begins)).map(sent);
    let mut found = of_it.filter(|fields| fields.iter().any(|(name, _)| name == has));
    let first = found.next().unwrap_or_else(|| panic!("no form to {action} with {has}: {page}"));
    assert!(found.next().is_none(), "two forms to {action} with {has}");
    first
}

fn sent(form: &str) -> Pairs {
    let (mut fields, mut off, mut select) = (Pairs::new(), false, None::<(String, Option<String>)>);
    for (tag, text) in form.split('<').skip(1).filter_map(|part| part.split_once('>')) {
        let name = || attribute(tag, "name").unwrap_or_default();
        let value = || attribute(tag, "value");
        match tag.split(' ').next().unwrap() {
            "fieldset" => off = tag.ends_with(" disabled"),
            "/fieldset" => off = false,
            "input" if off || tag.ends_with(" disabled") => {}
            "input" => match attribute(tag, "type").unwrap_or_default().as_str() {
                "radio" | "checkbox" if !tag.contains(" checked") => {}
                _ => fields.push((name(), value().unwrap_or_default())),
            },
            "textarea" if !off => fields.push((name(), unescaped(text))),
            "select" => select = Some((name(), None)),
            "option" => {
                if let Some((_, chosen)) = &mut select
                    && (chosen.is_none() || tag.contains(" selected"))
                {
                    *chosen = value();
                }
            }
            "/select" => fields.extend(select.take().map(|(name, chosen)| (name, chosen.unwrap()))),
            _ => {}
        }
    }
    fields
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split_once(&format!(" {name}=\""))?.1;
    Some(unescaped(value.split('"').next().unwrap()))
}

fn unescaped(text: &str) -> String {
    let plain = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
    plain.iter().fold(text.to_owned(), |text, (code, sign)| text.replace(code, sign))
}

/// The form, filled in by somebody: `name` says this, or with `-` before it no longer does.
fn filled(form: &Pairs, changes: &[(&str, &str)]) -> Pairs {
    let mut filled = form.clone();
    for (name, value) in changes {
        match (name.strip_prefix('-'), filled.iter_mut().find(|(field, _)| field == name)) {
            (Some(name), _) => filled.retain(|pair| (pair.0.as_str(), pair.1.as_str()) != (name, *value)),
            (None, Some((_, old))) => *old = (*value).to_owned(),
            (None, None) => filled.push(((*name).to_owned(), (*value).to_owned())),
        }
    }
    filled
}

async fn post(browser: &Browser, action: &str, fields: &Pairs) -> Answer {
    // The browser's own token is in the form already.
    let fields: Vec<(&str, &str)> =
        fields.iter().filter(|(name, _)| name != "csrf").map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post(action, &fields).await
}

/// Without what no page shows again, in one order.
fn shown(fields: &Pairs) -> Pairs {
    let hidden = ["csrf", "seen", "password", "present", "code"];
    let mut shown: Pairs = fields.iter().filter(|(name, _)| !hidden.contains(&name.as_str())).cloned().collect();
    shown.sort();
    shown
}

/// Who, page, form, a field that tells it from others, what the one changes, what the other does.
type Race = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [(&'static str, &'static str)],
);

const RACES: &[Race] = &[
    ("boss", "/orgs/acme", "/orgs/acme", "opens", &[("opens", "off")], &[("excluded_hosts", "a.example")]),
    (
        "boss",
        "/orgs/acme",
        "/orgs/acme",
        "opens",
        &[("sensitive", "token"), ("-sensitive", "token")],
        &[("links", "off")],
    ),
    (
        "boss",
        "/orgs/acme/privacy",
        "/orgs/acme/privacy",
        "footer",
        &[("consent", "required")],
        &[("footer", "See [here]")],
    ),
    // in force is the same before and after
    ("boss", "/orgs/acme/privacy", "/orgs/acme/privacy", "footer", &[("consent", "none")], &[("shown_name", "Acme")]),
    (
        "root",
        "/orgs/acme/access",
        "/orgs/acme/access",
        "second_factor",
        &[("second_factor", "required")],
        &[("admins_see_messages", "on")],
    ),
    (
        "root",
        "/users/edit?login=ann",
        "/users/set",
        "role",
        &[("role", "org-admin")],
        &[("addresses", "me@home.example")],
    ),
    ("ann", "/tracking", "/tracking", "opens", &[("links", "off")], &[("excluded_hosts", "a.example")]),
    ("boss", "/tracking?login=ann", "/tracking", "opens", &[("links", "off")], &[("shadow", "on")]),
    ("ann", "/notices", "/notices", "level", &[("level", "every")], &[("mail", "on")]),
    ("boss", "/notices", "/notices/org", "level", &[("level", "none")], &[("mail", "on")]),
    (
        "ann",
        "/webhooks/00000000000000a1",
        "/webhooks/00000000000000a1",
        "url",
        &[("-clicked", "on")],
        &[("url", "https://elsewhere.example/")],
    ),
    (
        "ann",
        ANNS,
        LINK,
        "destination",
        &[("destination", "https://b.example/")],
        &[("destination", "https://c.example/")],
    ),
];

#[tokio::test]
async fn a_form_of_before_undoes_nothing() {
    for (who, page, action, has, first, second) in RACES {
        let world = world().await;
        let (one, other) = (world.logged_in(who), world.logged_in(who));
        let what = format!("{action} of {page}, {first:?}");
        let stale = form(&one.get(page).await.text, action, has);
        let fresh = form(&other.get(page).await.text, action, has);
        let done = post(&other, action, &filled(&fresh, first)).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{what}: {}", done.text);
        let present = shown(&form(&one.get(page).await.text, action, has));

        let typed = filled(&stale, second);
        let refused = post(&one, action, &typed).await;
        assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED, "{what}: {}", refused.text);
        assert!(refused.text.contains("Changed meanwhile by somebody else"), "{what}");
        assert_eq!(shown(&form(&one.get(page).await.text, action, has)), present, "{what}: nothing was changed");
        let again = form(&refused.text, action, has);
        assert_eq!(shown(&again), shown(&typed), "{what}: it shows what was typed");
        assert_eq!(post(&one, action, &again).await.status, StatusCode::SEE_OTHER, "{what}: looked at once more");
    }
}

/// The pages send what programs send, so that one tag is true of both.
#[tokio::test]
async fn the_tag_of_a_form_is_that_of_the_api() {
    let world = world().await;
    let root = world.logged_in("root");
    for (page, action, has, address) in [
        ("/orgs/acme", "/orgs/acme", "opens", "/api/v1/orgs/acme"),
        ("/orgs/acme/access", "/orgs/acme/access", "second_factor", "/api/v1/orgs/acme/access"),
        ("/users/edit?login=ann", "/users/set", "role", "/api/v1/users/ann"),
        ("/tracking?login=ann", "/tracking", "opens", "/api/v1/users/ann/tracking"),
        (ANNS, LINK, "destination", "/api/v1/messages/00000000000000a1/links/0"),
        ("/webhooks/00000000000000a1", "/webhooks/00000000000000a1", "url", "/api/v1/webhooks/00000000000000a1"),
    ] {
        let fields = form(&root.get(page).await.text, action, has);
        let seen = fields.iter().find(|(name, _)| name == "seen").unwrap();
        assert_eq!(seen.1, root.get(address).await.header("etag"), "{page}");
    }
}

/// What comes by another way counts as well: the command line, config.toml, a program.
#[tokio::test]
async fn who_was_demoted_meanwhile_stays_so() {
    let world = world().await;
    let root = world.logged_in("root");
    let page = "/users/edit?login=boss";
    let stale = form(&root.get(page).await.text, "/users/set", "role");
    let mut boss = world.settings.snapshot().users.get("boss").cloned().unwrap();
    boss.role = Role::Sender;
    world.settings.change(vec![Change::PutUser(boss)]).await.unwrap();
    let refused = post(&root, "/users/set", &filled(&stale, &[("addresses", "me@home.example")])).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    let boss = world.settings.snapshot().users.get("boss").cloned().unwrap();
    assert_eq!((boss.role, boss.addresses.len()), (Role::Sender, 0));
}

#[tokio::test]
async fn a_link_withdrawn_meanwhile_stays_so() {
    let world = world().await;
    let ann = world.logged_in("ann");
    let stale = form(&ann.get(ANNS).await.text, LINK, "destination");
    assert_eq!(ann.post(LINK, &[("do", "withdraw")]).await.status, StatusCode::SEE_OTHER);
    let refused = post(&ann, LINK, &filled(&stale, &[("destination", "https://b.example/")])).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    assert!(refused.text.contains("<details open>"), "{}", refused.text);
    let now = world.settings.snapshot().overrides.get(&(super::fixture::ANNS, 0)).cloned();
    assert_eq!(now, Some(Override::Withdrawn));
}

/// A recipient who says no changes a number on the page, and nothing that an admin sets there.
#[tokio::test]
async fn what_moves_by_itself_makes_no_form_old() {
    let world = world().await;
    let boss = world.logged_in("boss");
    let (page, note) = ("/orgs/acme/privacy", "/orgs/acme/privacy/note");
    let fields = form(&boss.get(page).await.text, page, "footer");
    let no = [("address", "bob@reader.example"), ("act", "refuse"), ("source", "a letter"), ("wording", "no")];
    assert_eq!(boss.post(note, &no).await.status, StatusCode::SEE_OTHER);
    let saved = post(&boss, page, &filled(&fields, &[("shown_name", "Acme")])).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text);
}

/// A form that is wrong: who, its page, where it is sent, a field that tells it from others, what is typed, and what the
/// page then says is wrong: the label that people see, and where it leads; none: no one field.
struct Wrong {
    who: &'static str,
    page: &'static str,
    action: &'static str,
    has: &'static str,
    typed: &'static [(&'static str, &'static str)],
    says: Option<(&'static str, &'static str)>,
}

const WRONG: &[Wrong] = &[
    Wrong {
        who: "root",
        page: "/orgs/acme",
        action: "/orgs/acme",
        has: "opens",
        typed: &[
            ("opens", "aggregate"),
            ("text_links", "off"),
            ("visible_urls", "leave"),
            ("quotes", "leave"),
            ("shadow", "on"),
            ("locked", "links"),
            ("-sensitive", "token"),
            ("-rule", "own"),
            ("place", "country"),
            ("honour_gpc", "off"),
            ("raw_evidence", "on"),
            ("events_days", "30"),
            ("domains", "acme.example\nb.example"),
            ("excluded_hosts", "a.example"),
            ("excluded_recipients", "press@news.example"),
            ("leave_links", "*/sign"),
            ("own_networks", "10.0.0.0/33"),
        ],
        says: Some(("own_networks", "Your own networks")),
    },
    Wrong {
        who: "boss",
        page: "/orgs/acme",
        action: "/orgs/acme",
        has: "opens",
        typed: &[("opens", "aggregate"), ("events_days", "9999"), ("excluded_hosts", HOSTILE)],
        says: Some(("events_days", "Days they are kept")),
    },
    // more than fits a number
    Wrong {
        who: "boss",
        page: "/orgs/acme",
        action: "/orgs/acme",
        has: "opens",
        typed: &[("messages_days", "99999999999999"), ("links", "off")],
        says: Some(("messages_days", "Days the mails’ records are kept")),
    },
    Wrong {
        who: "boss",
        page: "/orgs/acme",
        action: "/orgs/acme",
        has: "opens",
        typed: &[("excluded_hosts", "bad host!"), ("place", "country")],
        says: Some(("excluded_hosts", "Hosts never tracked")),
    },
    Wrong {
        who: "boss",
        page: "/orgs/acme/privacy",
        action: "/orgs/acme/privacy",
        has: "footer",
        typed: &[
            ("consent", "required"),
            ("without_consent", "off"),
            ("footer", "Not [closed"),
            ("shown_name", "Acme"),
            ("page_text", "Hello"),
        ],
        says: Some(("footer", "Footer")),
    },
    Wrong {
        who: "boss",
        page: "/orgs/acme/privacy?address=bob@reader.example",
        action: "/orgs/acme/privacy/note",
        has: "source",
        typed: &[("act", "grant"), ("source", "a fair"), ("wording", "")],
        says: Some(("wording", "In which words")),
    },
    Wrong {
        who: "ann",
        page: "/tracking",
        action: "/tracking",
        has: "opens",
        typed: &[
            ("links", "off"),
            ("visible_urls", "leave"),
            ("place", "country"),
            ("shadow", "on"),
            ("excluded_recipients", "press@news.example"),
            ("excluded_hosts", "bad host!"),
        ],
        says: Some(("excluded_hosts", "Hosts never tracked")),
    },
    Wrong {
        who: "root",
        page: "/users",
        action: "/users",
        has: "addresses",
        typed: &[
            ("login", "new"),
            ("role", "org-admin"),
            ("org", "other"),
            ("addresses", "not one"),
            ("password", "long enough for us"),
        ],
        says: Some(("addresses", "May also send as")),
    },
    Wrong {
        who: "root",
        page: "/users",
        action: "/users",
        has: "addresses",
        typed: &[("login", "new"), ("role", "sender"), ("org", ""), ("password", "long enough for us")],
        says: Some(("org", "Organisation")),
    },
    Wrong {
        who: "root",
        page: "/users",
        action: "/users/invite",
        has: "login",
        typed: &[("login", "eve"), ("role", "org-admin"), ("org", "managed")],
        says: None,
    },
    Wrong {
        who: "root",
        page: "/users",
        action: "/users/invite",
        has: "login",
        typed: &[("login", " "), ("role", "org-admin"), ("org", "other")],
        says: Some(("invite-login", "Login")),
    },
    Wrong {
        who: "root",
        page: "/users/edit?login=ann",
        action: "/users/set",
        has: "role",
        typed: &[("role", "org-admin"), ("addresses", "not one")],
        says: Some(("addresses", "Also sends as")),
    },
    Wrong {
        who: "root",
        page: "/users/edit?login=ann",
        action: "/users/password",
        has: "password",
        typed: &[("password", "short")],
        says: Some(("password", "Password")),
    },
    Wrong {
        who: "ann",
        page: "/account",
        action: "/account",
        has: "present",
        typed: &[("present", "not it"), ("password", "another password")],
        says: Some(("present", "Present password")),
    },
    Wrong {
        who: "ann",
        page: "/account",
        action: "/account/app-passwords",
        has: "name",
        typed: &[("name", " ")],
        says: Some(("app-name", "What is it for?")),
    },
    Wrong {
        who: "ann",
        page: "/account",
        action: "/account/api-keys",
        has: "days",
        typed: &[("name", "The backup"), ("scope", "mail"), ("days", "99999")],
        says: Some(("key-days", "Days until it expires")),
    },
    Wrong {
        who: "ann",
        page: "/account",
        action: "/account/api-keys",
        has: "days",
        typed: &[("name", "The backup"), ("-scope", "read"), ("days", "7")],
        says: Some(("key-scopes", "What may it do?")),
    },
    Wrong {
        who: "ann",
        page: ANNS,
        action: LINK,
        has: "destination",
        typed: &[("destination", "ftp://b.example/")],
        says: Some(("destination-0", "New destination")),
    },
    Wrong {
        who: "boss",
        page: "/notices",
        action: "/webhooks",
        has: "url",
        typed: &[("url", "ftp://b.example/"), ("whose", "all"), ("-clicked", "on"), ("all_opens", "on")],
        says: Some(("url", "Address")),
    },
    Wrong {
        who: "root",
        page: "/notices",
        action: "/webhooks",
        has: "url",
        typed: &[
            ("url", "https://b.example/"),
            ("org", "other"),
            ("words", "on"),
            ("-opened", "on"),
            ("-clicked", "on"),
            ("-bounced", "on"),
        ],
        says: Some(("topics", "What is it told of?")),
    },
    Wrong {
        who: "ann",
        page: "/webhooks/00000000000000a1",
        action: "/webhooks/00000000000000a1",
        has: "url",
        typed: &[("url", "nonsense"), ("-opened", "on"), ("all_opens", "on")],
        says: Some(("url", "Address")),
    },
    Wrong {
        who: "root",
        page: "/inbox",
        action: "/inbox/test-mail",
        has: "to",
        typed: &[("to", "nobody")],
        says: Some(("to", "Recipient of the test mail")),
    },
    Wrong {
        who: "ann",
        page: "/setup",
        action: "/setup/test-mail",
        has: "to",
        typed: &[("to", "nobody")],
        says: Some(("to", "Recipient of the test mail")),
    },
    Wrong {
        who: "ann",
        page: "/account/second-factor",
        action: "/account/second-factor",
        has: "sealed",
        typed: &[("do", "confirm"), ("code", "000000"), ("present", "not it")],
        says: Some(("present", "Present password")),
    },
];

async fn refused(world: &World, wrong: &Wrong) -> (Pairs, Answer) {
    let browser = world.logged_in(wrong.who);
    let form = form(&browser.get(wrong.page).await.text, wrong.action, wrong.has);
    let typed = filled(&form, wrong.typed);
    let answer = post(&browser, wrong.action, &typed).await;
    let what = format!("{} {:?}", wrong.action, wrong.typed);
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{what}: {}", answer.text);
    (typed, answer)
}

#[tokio::test]
async fn after_a_mistake_everything_is_still_as_typed() {
    let world = world().await;
    for wrong in WRONG {
        let (typed, answer) = refused(&world, wrong).await;
        let what = format!("{} {:?}", wrong.action, wrong.typed);
        let mut typed = shown(&typed);
        // Which button it was is not shown.
        typed.retain(|(name, _)| name != "act" && !(name == "do" && wrong.has == "sealed"));
        let mut again = shown(&form(&answer.text, wrong.action, wrong.has));
        again.retain(|(name, _)| !(name == "do" && wrong.has == "sealed"));
        assert_eq!(again, typed, "{what}");
        for (name, value) in wrong.typed.iter().filter(|(name, _)| ["password", "present"].contains(name)) {
            assert!(!answer.text.contains(value), "{what}: a {name} is shown");
        }
    }
}

/// Whatever is not in the way is kept too when the other forms of that page are shown: they are as they were.
#[tokio::test]
async fn a_mistake_in_one_form_leaves_the_others() {
    let world = world().await;
    let root = world.logged_in("root");
    let page = root.get("/users").await.text;
    let answer = root.post("/users/invite", &[("login", ""), ("org", "other"), ("role", "org-admin")]).await;
    assert_eq!(shown(&form(&answer.text, "/users", "addresses")), shown(&form(&page, "/users", "addresses")));
    // of several with one address, the one that was sent
    let (acme, other) = (("org", "acme"), ("org", "other"));
    let typed = [acme, ("level", "none"), ("mail", "on"), ("seen", "another")];
    let answer = root.post("/notices/org", &typed).await;
    assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED);
    let before = root.get("/notices").await.text;
    let of = |page: &str, (name, value): (&str, &str)| {
        let forms = page.split("<form ").map(|form| sent(form.split("</form>").next().unwrap()));
        let of_org = |fields: &Pairs| fields.iter().any(|pair| (pair.0.as_str(), pair.1.as_str()) == (name, value));
        forms.filter(of_org).map(|fields| shown(&fields)).next().unwrap()
    };
    assert_eq!(of(&answer.text, other), of(&before, other));
    assert_eq!(of(&answer.text, acme), shown(&typed.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()));
}

#[tokio::test]
async fn a_mistake_is_named_as_people_see_it_and_led_to() {
    let world = world().await;
    for wrong in WRONG {
        let (_, answer) = refused(&world, wrong).await;
        let (page, what) = (&answer.text, format!("{} {:?}", wrong.action, wrong.typed));
        let notice = page.split("<p class=\"notice bad\" id=\"wrong\"").nth(1).expect("it says what is wrong");
        let notice = notice.split("</p>").next().unwrap();
        let Some((id, label)) = wrong.says else {
            assert!(!notice.contains("<a href"), "{what}: {notice}");
            continue;
        };
        assert!(notice.contains(&format!("<a href=\"#{id}\">{label}</a>: ")), "{what}: {notice}");
        let tags: Vec<&str> = page.split('<').filter(|tag| tag.contains(&format!(" id=\"{id}\""))).collect();
        let [tag] = tags.as_slice() else { panic!("{what}: {tags:?}") };
        assert!(tag.contains("aria-describedby=\"wrong") && tag.contains(" autofocus"), "{what}: {tag}");
        assert_eq!(page.matches(" autofocus").count(), 1, "{what}");
        let is_group = tag.starts_with("fieldset");
        assert!(is_group || tag.contains(" aria-invalid=\"true\""), "{what}: {tag}");
        // and that is what it is called beside it
        let called = match is_group {
            true => page.split(tag).nth(1).unwrap().contains(&format!("legend>{label}")),
            false => page.contains(&format!("for=\"{id}\">{label}</label>")),
        };
        assert!(called, "{what}: nothing at {id} is called {label}");
    }
}

/// Each field that an action can find wrong has a name for people.
#[tokio::test]
async fn no_page_names_a_field_as_programs_do() {
    let world = world().await;
    let root = world.logged_in("root");
    for (path, says) in [
        ("/why?from=ann&to=nobody", "<a href=\"#to\">To</a>: "),
        ("/?from=yesterday", "<a href=\"#s-from\">From day</a>: "),
        ("/?readers=yawned", "<a href=\"#s-readers\">Readers</a>: "),
        ("/orgs/acme/privacy?address=nobody", "<a href=\"#address\">Address</a>: "),
    ] {
        let answer = root.get(path).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert!(answer.text.contains(says), "{path}: {}", answer.text);
    }
    assert!(root.get("/orgs/acme/privacy?address=nobody").await.text.contains("value=\"nobody\""));
    // above the ceiling, which no browser lets one choose
    let above = root.post("/orgs/acme", &[("links", "individual")]).await.text;
    assert!(above.contains("<a href=\"#links\">Link tracking</a>: individual is above the ceiling"), "{above}");
    let group = "<fieldset id=\"links\" role=\"radiogroup\" aria-invalid=\"true\" aria-describedby=\"wrong\"";
    assert!(above.contains(group), "{above}");
    let managed = root.post("/orgs/managed", &[("opens", "off")]).await.text;
    assert!(managed.contains("<a href=\"#opens\">Email tracking</a> is managed in config.toml"), "{managed}");
}

/// Who logs in again is told that nothing was saved, and is then on the page whose form it was.
#[tokio::test]
async fn who_saves_after_the_login_ended_is_told_so() {
    let world = world().await;
    let stranger = world.stranger();
    let on_the_way = async |path: &str, referer: &str| {
        let form = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("host", "127.0.0.1:8026")
            .header("referer", referer)
            .body(Body::from("opens=off"))
            .unwrap();
        stranger.answer(form).await.header("location").to_owned()
    };
    for (path, referer, next) in [
        // the page that the browser names, without what it said was done
        ("/orgs/acme", "http://127.0.0.1:8026/orgs/acme?done=saved", "/orgs/acme"),
        ("/users/set", "http://127.0.0.1:8026/users/edit?login=ann&done=access", "/users/edit%3Flogin%3Dann"),
        // the page of the form, where it names none, or none of ours
        ("/users/set", "", "/users"),
        ("/orgs/acme", "http://evil.example/orgs/other", "/orgs/acme"),
        ("/orgs/acme", "http://127.0.0.1:80260/orgs/other", "/orgs/acme"),
        (
            "/messages/00000000000000a1/links/0",
            "http://127.0.0.1:8026.evil.example/",
            "/messages/00000000000000a1%23links",
        ),
    ] {
        assert_eq!(on_the_way(path, referer).await, format!("/login?done=unsaved&next={next}"), "{path} {referer}");
    }
    let asked = stranger.get("/login?done=unsaved&next=/users/edit%3Flogin%3Dann").await.text;
    assert!(asked.contains("what you entered was not saved"), "{asked}");
    assert!(asked.contains("name=\"next\" value=\"/users/edit?login=ann\""), "{asked}");
    // whatever the browser named, the way on stays here
    let elsewhere = on_the_way("/orgs/acme", "http://127.0.0.1:8026//evil.example/").await;
    assert!(stranger.get(&elsewhere).await.text.contains("name=\"next\" value=\"/\""), "{elsewhere}");
    assert_eq!(stranger.post("/logout", &[]).await.header("location"), "/login");
}

/// The address of a refused form is in the address bar: read, it is the page of the form.
#[tokio::test]
async fn the_address_of_a_form_leads_back_to_it() {
    let world = world().await;
    let root = world.logged_in("root");
    let mut forms = 0;
    for row in include_str!("../pages/mod.rs").split(".route(\"").skip(1) {
        let (route, handlers) = row.split_once('"').unwrap();
        let handlers = handlers.split('\n').next().unwrap();
        if !handlers.contains(" post(") {
            continue;
        }
        forms += 1;
        let id = match route.split('/').nth(1) {
            Some("orgs") => "acme",
            Some("webhooks") => "00000000000000ac",
            _ => "00000000000000a1",
        };
        let path = route.replace("{id}", id).replace("{name}", id).replace("{index}", "0").replace("{delivery}", "1");
        let answer = root.get(&path).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        let page = answer.header("location").split('#').next().unwrap().to_owned();
        let shown = root.get(&page).await.status;
        assert!(shown == StatusCode::OK || page == "/login", "{path} leads to {page}: {shown}");
    }
    assert!(forms > 20, "the forms are found: {forms}");
    assert_eq!(root.get("/messages").await.header("location"), "/");
    // what is no reading is refused as ever
    let deleted = root.send(Request::delete("/users/invite")).await;
    assert_eq!(deleted.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn removing_a_user_is_asked_once_more() {
    let world = world().await;
    let root = world.logged_in("root");
    let page = root.get("/users/edit?login=ann").await.text;
    assert!(!page.contains("action=\"/users/remove\""), "no button that removes at once");
    assert!(page.contains("href=\"/users/remove?login=ann\""), "{page}");
    let asked = root.get("/users/remove?login=ann").await.text;
    for says in ["<li>1 webhook</li>", "<li>1 app password</li>", "Mail already sent <strong>stays</strong>"] {
        assert!(asked.contains(says), "{says}: {asked}");
    }
    assert!(world.settings.snapshot().users.contains_key("ann"), "asking removes nobody");
    let form = form(&asked, "/users/remove", "csrf");
    let removed = post(&root, "/users/remove", &filled(&form, &[("login", "ann")])).await;
    assert_eq!(removed.header("location"), "/users?done=removed");
    assert!(!world.settings.snapshot().users.contains_key("ann"));
}

//! The client's own login, judged by upstream, and mail over the connection that was let in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::runtime::Runtime;

use super::logins::plain;
use crate::support::client::{Client, Reply, Submission};
use crate::support::relay::{Running, Upstream};
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};

const ANA: &str = "ana@example.com";
const SECRET: &str = "Tr0ub4dor&3-of-ana";

struct Story {
    relay: Running,
    upstream: ScriptedUpstream,
    _runtime: Runtime,
}

fn healthy() -> Script {
    Script::new().login(ANA, SECRET, "PLAIN LOGIN XOAUTH2")
}

fn story(script: Script, more: &str) -> Story {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = runtime.block_on(ScriptedUpstream::start(script));
    // Directly behind the standard [[org]].
    let relay = Running::start(Upstream::Passthrough(upstream.addr()), &format!("create_users = true\n{more}"));
    Story { relay, upstream, _runtime: runtime }
}

impl Story {
    fn log_in(&self, login: &str, secret: &str) -> (Client, Reply) {
        let mut client = Client::connect(self.relay.smtp).unwrap();
        let reply = client.command(&plain(login, secret)).unwrap();
        (client, reply)
    }

    fn spooled(&self) -> usize {
        let spool = std::fs::read_dir(self.relay.folder().join("data/spool")).unwrap();
        spool.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "mail")).count()
    }

    /// Times this recipient has got the mail.
    fn copies(&self, name: &str) -> usize {
        self.upstream
            .accepted()
            .iter()
            .flat_map(|mail| &mail.rcpts)
            .filter(|rcpt| rcpt.contains(&format!("<{name}.")))
            .count()
    }
}

/// One connection for the login and for the mails; the user is made at the first success, and no secret is anywhere.
#[test]
fn a_login_that_is_good_upstream_sends_over_its_own_connection() {
    let story = story(healthy(), "");
    let (mut client, reply) = story.log_in("Ana@Example.com", SECRET);
    assert_eq!(reply.code, 535, "what the client says is what upstream is asked, letter by letter");
    assert!(!story.relay.cli(&["user", "list"]).contains("ana@"), "nobody is made a user by failing");
    let connections = story.upstream.connections();
    assert_eq!(client.command(&plain(ANA, SECRET)).unwrap().code, 235);
    for n in 0..3 {
        assert_eq!(client.submit(&Submission::new(&format!("m{n}"), &["b"])).code(), 250);
    }
    assert_eq!(story.upstream.connections(), connections + 1);
    assert!(story.upstream.accepted().iter().all(|mail| mail.login.as_deref() == Some(ANA)));
    assert_eq!(story.upstream.accepted().len(), 3);
    assert!(story.relay.cli(&["user", "list"]).contains(ANA));
    assert!(story.relay.cli(&["message", "list"]).contains("m2"));
    assert!(client.command("QUIT").is_ok());
    drop(client);
    super::first_light::wait_for(|| (story.upstream.open_connections() == 0).then_some(()));
    let folder = story.relay.stop();
    assert!(!holds(folder.path(), SECRET.as_bytes()) && !holds(folder.path(), STANDARD.encode(SECRET).as_bytes()));
}

/// Does any file under here hold this?
fn holds(folder: &std::path::Path, octets: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, octets),
            false => std::fs::read(&path).is_ok_and(|text| memchr::memmem::find(&text, octets).is_some()),
        }
    })
}

#[test]
fn every_mechanism_is_passed_on() {
    let story = story(healthy(), "");
    let bearer = |token: &str| STANDARD.encode(format!("user={ANA}\u{1}auth=Bearer {token}\u{1}\u{1}"));
    let oauth = |token: &str| STANDARD.encode(format!("n,a={ANA},\u{1}host=h\u{1}auth=Bearer {token}\u{1}\u{1}"));
    let rows = [
        (plain(ANA, SECRET), 235),
        (format!("AUTH XOAUTH2 {}", bearer(SECRET)), 235),
        (format!("AUTH OAUTHBEARER {}", oauth(SECRET)), 235),
        (format!("AUTH XOAUTH2 {}", bearer("wrong")), 535),
        (format!("AUTH OAUTHBEARER {}", oauth("wr0ng")), 535),
    ];
    for (line, expected) in rows {
        let mut client = Client::connect(story.relay.smtp).unwrap();
        assert_eq!(client.command(&line).unwrap().code, expected, "{line}");
    }
    let mut client = Client::connect(story.relay.smtp).unwrap();
    assert_eq!(client.command("AUTH LOGIN").unwrap().code, 334);
    assert_eq!(client.command(&STANDARD.encode(ANA)).unwrap().code, 334);
    assert_eq!(client.command(&STANDARD.encode(SECRET)).unwrap().code, 235);
    let offered = client.command("EHLO again.test").unwrap();
    assert!(offered.text.contains("AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER"), "{offered:?}");
    // A server that has only OAUTHBEARER gets that.
    story.upstream.change(Script::new().login(ANA, "t0ken", "OAUTHBEARER"));
    let mut client = Client::connect(story.relay.smtp).unwrap();
    assert_eq!(client.command(&format!("AUTH XOAUTH2 {}", bearer("t0ken"))).unwrap().code, 235);
}

/// Upstream's own words, once: the same pair is then refused here; and who is nobody's is never asked about.
#[test]
fn refusals_are_upstreams_and_are_remembered() {
    let script = healthy().on(At::Auth, [Act::say("534 5.7.9 Application-specific password required")]);
    let story = story(script, "");
    let (_, reply) = story.log_in(ANA, "wrong");
    assert_eq!((reply.code, reply.text.as_str()), (534, "5.7.9 Application-specific password required"));
    let asked = story.upstream.connections();
    assert_eq!(story.log_in(ANA, "wrong").1.code, 535);
    assert_eq!(story.log_in("who@elsewhere.test", "x").1.code, 535);
    assert_eq!(story.log_in("no-address", "x").1.code, 535);
    assert_eq!(story.upstream.connections(), asked, "upstream was asked again");
    // What is not about the login, or not for good, is neither passed on as a refusal nor remembered.
    for (line, code) in [("454 4.7.0 not now", 454), ("503 5.5.1 what", 454), ("421 4.3.2 bye", 454)] {
        story.upstream.change(healthy().on(At::Auth, [Act::say(line)]));
        assert_eq!(story.log_in(ANA, SECRET).1.code, code, "{line}");
    }
    story.upstream.change(healthy());
    assert_eq!(story.log_in(ANA, SECRET).1.code, 235);
}

#[test]
fn upstream_is_not_asked_too_often() {
    let more = "[limits]\nupstream_logins_per_user_per_minute_max = 2\nupstream_logins_per_minute_max = 3\n";
    let story = story(healthy(), more);
    assert_eq!(story.log_in(ANA, SECRET).1.code, 235);
    assert_eq!(story.log_in(ANA, SECRET).1.code, 235);
    assert_eq!(story.log_in(ANA, SECRET).1.code, 454);
    assert_eq!(story.log_in("ben@example.com", "x").1.code, 535);
    assert_eq!(story.log_in("cleo@example.com", "x").1.code, 454);
    assert_eq!(story.upstream.connections(), 3);
}

/// Nobody is made a user where the organisation does not say so.
#[test]
fn users_are_made_only_where_that_is_allowed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = runtime.block_on(ScriptedUpstream::start(healthy()));
    let relay = Running::start(Upstream::Passthrough(upstream.addr()), "");
    let log_in = || Client::connect(relay.smtp).unwrap().command(&plain(ANA, SECRET)).unwrap().code;
    assert_eq!(log_in(), 535);
    assert_eq!(upstream.connections(), 0);
    relay.add_user(ANA, "another password, for the dashboard", "default");
    assert_eq!(log_in(), 235, "who is there already may come");
}

/// What upstream cannot take now is left to the client; its next try brings only the rest. The spool stays empty.
#[test]
fn what_upstream_cannot_take_now_is_left_to_the_client() {
    let story = story(healthy().answer(At::Rcpt, "<late.", "451 4.2.0 not now"), "");
    let (mut client, reply) = story.log_in(ANA, SECRET);
    assert_eq!(reply.code, 235);
    let mail = Submission::new("m1", &["soon", "late"]);
    let told = client.submit(&mail).reply.unwrap();
    assert!(told.code == 451 && told.text.contains("1 of 2 recipients could not be served now"), "{told:?}");
    assert_eq!((story.copies("soon"), story.copies("late"), story.spooled()), (1, 0, 0));
    story.upstream.change(healthy());
    assert_eq!(client.submit(&mail).code(), 250);
    assert_eq!((story.copies("soon"), story.copies("late"), story.spooled()), (1, 1, 0));
    // Upstream hangs up before it has heard of the next mail: a new connection, with the same login.
    story.upstream.change(healthy().on_nth(At::Mail, 1, [Act::Close]));
    assert_eq!(client.submit(&Submission::new("m2", &["x"])).code(), 250);
    // Everybody refused alike passes through, as ever.
    story.upstream.change(healthy().answer(At::Rcpt, "", "550 5.1.1 nobody"));
    assert_eq!(client.submit(&Submission::new("m3", &["x", "y"])).code(), 550);
    story.upstream.change(healthy().on(At::Dot, [Act::say("451 4.3.0 later")]));
    assert_eq!(client.submit(&Submission::new("m4", &["x"])).code(), 451);
    assert_eq!(story.spooled(), 0);
}

/// Accepted and refused: the report goes over the same login at once; where it cannot, the client keeps the mail.
#[test]
fn a_report_goes_over_the_senders_own_login() {
    let refusing = || healthy().answer(At::Rcpt, "<nobody.", "550 5.1.1 no such user here");
    let story = story(refusing().answer(At::Mail, "<>", "550 5.7.1 not from nobody"), "");
    let (mut client, _) = story.log_in(ANA, SECRET);
    let mail = Submission::new("m1", &["b", "nobody"]);
    assert_eq!(client.submit(&mail).code(), 451, "no report, no 250");
    assert_eq!(story.copies("b"), 1);
    story.upstream.change(refusing());
    assert_eq!(client.submit(&mail).code(), 250);
    assert_eq!((story.copies("b"), story.copies("nobody"), story.spooled()), (1, 0, 0));
    let reports: Vec<_> =
        story.upstream.accepted().into_iter().filter(|mail| mail.mail.starts_with("MAIL FROM:<>")).collect();
    assert_eq!(reports.len(), 1);
    let text = String::from_utf8_lossy(&reports[0].content).into_owned();
    assert!(text.contains("Final-Recipient: rfc822; nobody.m1@ok.test") && text.contains("550 5.1.1"), "{text}");
    assert_eq!(reports[0].login.as_deref(), Some(ANA));
}

/// Upstream is down: nobody is told that their password is wrong.
#[test]
fn an_upstream_that_is_down_refuses_nobody() {
    let story = story(healthy().on(At::Greeting, [Act::Close]), "");
    assert_eq!(story.log_in(ANA, SECRET).1.code, 454);
    story.upstream.change(healthy());
    assert_eq!(story.log_in(ANA, SECRET).1.code, 235);
}

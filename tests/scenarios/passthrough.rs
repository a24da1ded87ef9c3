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
pub(super) fn holds(folder: &std::path::Path, octets: &[u8]) -> bool {
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

/// Tokens are offered as long as upstream may take them, and no longer than it says that it does not.
#[test]
fn tokens_are_offered_where_upstream_takes_them() {
    let offered = |story: &Story| {
        let mut client = Client::connect(story.relay.smtp).unwrap();
        client.command("EHLO again.test").unwrap().text.contains("XOAUTH2")
    };
    let story = story(Script::new().login(ANA, SECRET, "PLAIN LOGIN"), "");
    assert!(offered(&story), "nobody has heard upstream yet");
    assert_eq!(story.log_in(ANA, SECRET).1.code, 235);
    assert!(!offered(&story));
    let mut client = Client::connect(story.relay.smtp).unwrap();
    assert_eq!(client.command("AUTH XOAUTH2").unwrap().code, 504);
    story.upstream.change(healthy());
    assert_eq!(story.log_in(ANA, SECRET).1.code, 235);
    assert!(offered(&story), "upstream has learnt it");
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
    // Strangers use up what strangers may ask ...
    for (login, code) in [("ben@example.com", 535), ("cleo@example.com", 535), ("dora@example.com", 454)] {
        assert_eq!(story.log_in(login, "x").1.code, code, "{login}");
    }
    // ... and not what is asked for who has come from there before.
    for code in [235, 235, 454] {
        assert_eq!(story.log_in(ANA, SECRET).1.code, code);
    }
    assert_eq!(story.upstream.connections(), 5);
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

/// `spool_credentials = "sealed"`: mail waits, over a kill -9, with the sender's own login, which no file shows; and when the last
/// copy is settled, nothing of it is left.
#[test]
fn a_sealed_login_waits_with_its_mail() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = runtime.block_on(ScriptedUpstream::start(healthy()));
    let installation = crate::support::process::Installation::new(upstream.addr(), "[spool]\nretry_secs = [1, 1]\n");
    let path = installation.path("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("networks = [\"127.0.0.0/8\"]\norg = \"default\"\n", "");
    let text = text.replace("auth = \"none\"", "auth = \"passthrough\"\nspool_credentials = \"sealed\"");
    std::fs::write(&path, text.replace("name = \"default\"", "name = \"default\"\ncreate_users = true")).unwrap();
    let process = installation.start();
    let log_in = || {
        let mut client = Client::connect(installation.smtp).unwrap();
        assert_eq!(client.command(&plain(ANA, SECRET)).unwrap().code, 235);
        client
    };
    let later = || healthy().on(At::Mail, [Act::say("451 4.3.0 later")]);
    upstream.change(later());
    assert_eq!(log_in().submit(&Submission::new("m1", &["b", "c"])).code(), 250, "it may wait");
    process.kill();
    let spooled = || {
        let entries = std::fs::read_dir(installation.spool()).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "mail")).count()
    };
    assert_eq!(spooled(), 1);
    for hidden in [SECRET.to_owned(), STANDARD.encode(SECRET), STANDARD.encode(format!("\0{ANA}\0{SECRET}"))] {
        assert!(!holds(&installation.data(), hidden.as_bytes()), "{hidden}");
    }
    // One is refused now: the report leaves with the same login.
    upstream.change(healthy().answer(At::Rcpt, "<c.", "550 5.1.1 no such user here"));
    let process = installation.start();
    super::first_light::wait_for(|| (upstream.accepted().len() == 2 && spooled() == 0).then_some(()));
    assert!(upstream.accepted().iter().all(|mail| mail.login.as_deref() == Some(ANA)), "{:?}", upstream.accepted());
    assert_eq!(upstream.accepted().iter().filter(|mail| mail.mail.starts_with("MAIL FROM:<>")).count(), 1);
    super::first_light::wait_for(|| (upstream.open_connections() == 0).then_some(()));
    // A token is not kept: the client keeps its mail.
    upstream.change(later());
    let mut client = Client::connect(installation.smtp).unwrap();
    let bearer = STANDARD.encode(format!("user={ANA}\u{1}auth=Bearer {SECRET}\u{1}\u{1}"));
    assert_eq!(client.command(&format!("AUTH XOAUTH2 {bearer}")).unwrap().code, 235);
    assert_eq!(client.submit(&Submission::new("m2", &["b"])).code(), 451);
    // The operator changes his mind, or the server: what was sealed opens no more, and is sent nowhere.
    assert_eq!(log_in().submit(&Submission::new("m3", &["b"])).code(), 250);
    process.kill();
    let other = runtime.block_on(ScriptedUpstream::start(healthy()));
    let text = std::fs::read_to_string(&path).unwrap();
    let port = |addr: std::net::SocketAddr| format!("port = {}", addr.port());
    std::fs::write(&path, text.replace(&port(upstream.addr()), &port(other.addr()))).unwrap();
    let _process = installation.start();
    super::first_light::wait_for(|| installation.log().contains("is held").then_some(()));
    assert_eq!(other.connections(), 0);
}

/// What waxseal itself would send has no login there: it is refused when it is asked for, not for five days in the queue.
#[test]
fn notices_of_our_own_are_not_promised() {
    let story = story(healthy(), "");
    let (mut client, reply) = story.log_in(ANA, SECRET);
    assert_eq!(reply.code, 235);
    assert_eq!(client.submit(&Submission::new("m", &["b"])).code(), 250);
    let refused = story.relay.cli_with(&["user", "notices", ANA, "--mail", "on"], "");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("passthrough") && words.contains("webhooks"), "{words}");
    story.relay.cli(&["user", "notices", ANA, "--mail", "off"]);
}

//! An organisation with an upstream of its own: its mail, bounces, logins and retries leave through that one, and nobody
//! else's do; not when it fails, not after a crash, and not when it is taken out of the configuration.

use tokio::runtime::Runtime;

use super::first_light::wait_for;
use super::logins::plain;
use crate::support::client::{Client, Submission};
use crate::support::process::Installation;
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{http, http_post, pixels};
use crate::support::upstream::{Act, At, RecordedMail, Script, ScriptedUpstream};

const ANA: &str = "ana@acme.example";
const PASSWORD: &str = "correct horse";
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0";
const ACCOUNT: &str = "relay@acme.example";
const SECRET: &str = "the-account-of-acme";

/// The server's upstream, and two that may be an organisation's.
struct Upstreams {
    server: ScriptedUpstream,
    first: ScriptedUpstream,
    second: ScriptedUpstream,
    runtime: Runtime,
    secrets: tempfile::TempDir,
}

fn with_login() -> Script {
    Script::new().login(ACCOUNT, SECRET, "PLAIN LOGIN")
}

impl Upstreams {
    fn new() -> Upstreams {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let start = |script| runtime.block_on(ScriptedUpstream::start(script));
        let (server, first, second) = (start(Script::new()), start(with_login()), start(with_login()));
        let secrets = tempfile::tempdir().unwrap();
        std::fs::write(secrets.path().join("acme.password"), format!("{SECRET}\n")).unwrap();
        Upstreams { server, first, second, runtime, secrets }
    }

    /// `[[org]]` acme with this upstream.
    fn acme(&self, upstream: &ScriptedUpstream) -> String {
        let (addr, password) = (upstream.addr(), self.secrets.path().join("acme.password"));
        format!(
            "{ACME}[org.upstream]\nhost = \"{}\"\nport = {}\ntls = \"none\"\nauth = \"login\"\nusername = \"{ACCOUNT}\"\n\
             password_file = \"{}\"\n",
            addr.ip(),
            addr.port(),
            password.display()
        )
    }
}

const ACME: &str = "[[org]]\nname = \"acme\"\ndomains = [\"acme.example\"]\n";

/// A mail of acme's.
fn of_acme(id: &str, names: &[&str]) -> Submission {
    let mail = Submission::new(id, names);
    let content = String::from_utf8(mail.content).unwrap().replace("From: a@example.com", "From: ana@acme.example");
    Submission { sender: format!("ana+{id}@acme.example"), content: content.into_bytes(), ..mail }
}

fn ids(mails: &[RecordedMail]) -> Vec<String> {
    let id = |mail: &RecordedMail| {
        let text = String::from_utf8_lossy(&mail.content).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("X-Ledger-Id: ").map(str::to_owned));
        line.filter(|_| !mail.mail.starts_with("MAIL FROM:<>")).unwrap_or_else(|| "report".to_owned())
    };
    let mut ids: Vec<String> = mails.iter().map(id).collect();
    ids.sort();
    ids
}

fn logged_in(relay: &Running) -> Client {
    let mut client = Client::connect(relay.smtp).unwrap();
    assert_eq!(client.command(&plain(ANA, PASSWORD)).unwrap().code, 235);
    client
}

/// Writes the part behind the default organisation anew, and reads it as SIGHUP does.
fn change_orgs(relay: &mut Running, before: &str, after: &str) {
    let path = relay.folder().join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(before));
    std::fs::write(&path, text.replace(before, after)).unwrap();
    relay.reload();
}

fn queued_ids(relay: &Running) -> Vec<String> {
    let text = relay.cli(&["queue", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mails = list["mails"].as_array().or(list.as_array()).unwrap().clone();
    mails.iter().map(|mail| mail["id"].as_str().unwrap().to_owned()).collect()
}

/// Held until somebody types the password; then it goes, also what waits, through the account it was sealed for and no other.
#[test]
fn a_password_is_sealed_and_opens_one_account() {
    let ups = Upstreams::new();
    let sealed = |upstream: &ScriptedUpstream| {
        let text = ups.acme(upstream);
        text.lines()
            .filter(|line| !line.starts_with("password_file"))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    let (first, second) = (sealed(&ups.first), sealed(&ups.second));
    let relay = Running::start(Upstream::Smtp(ups.server.addr()), &first);
    relay.add_user(ANA, PASSWORD, "acme");
    let mut client = logged_in(&relay);
    assert_eq!(client.submit(&of_acme("acme-1", &["b"])).code(), 451, "there is no password");
    let answer = relay.cli_with(&["org", "upstream-password", "acme"], &format!("{SECRET}\n"));
    assert!(answer.status.success(), "{answer:?}");
    assert_eq!(client.submit(&of_acme("acme-1", &["b"])).code(), 250);
    assert_eq!(ids(&ups.first.accepted()), ["acme-1"]);
    assert_eq!(ups.first.accepted()[0].login.as_deref(), Some(ACCOUNT));
    assert!(relay.cli(&["audit"]).contains("upstream of acme"));
    // It survives a restart, and nowhere in clear.
    let folder = relay.stop();
    assert!(!super::passthrough::holds(&folder.path().join("data"), SECRET.as_bytes()), "the password is at rest");
    let mut relay = Running::start_in(folder, Upstream::Smtp(ups.server.addr()), &first);
    let mut client = logged_in(&relay);
    assert_eq!(client.submit(&of_acme("acme-2", &["b"])).code(), 250);
    // Another server in the file: the password stays where it was sealed for, and is not tried there.
    change_orgs(&mut relay, &first, &second);
    assert_eq!(logged_in(&relay).submit(&of_acme("acme-3", &["b"])).code(), 451);
    assert_eq!((ups.second.connections(), ups.server.connections()), (0, 0));
    change_orgs(&mut relay, &second, &first);
    assert_eq!(logged_in(&relay).submit(&of_acme("acme-3", &["b"])).code(), 250);
    // Without an upstream of its own it is forgotten.
    change_orgs(&mut relay, &first, ACME);
    assert!(relay.cli(&["audit"]).contains("removed"), "its line");
    change_orgs(&mut relay, ACME, &first);
    assert_eq!(logged_in(&relay).submit(&of_acme("acme-4", &["b"])).code(), 451);
    assert_eq!(ids(&ups.first.accepted()), ["acme-1", "acme-2", "acme-3"]);
}

#[test]
fn each_organisation_sends_through_its_own() {
    let ups = Upstreams::new();
    let relay = Running::start(Upstream::Smtp(ups.server.addr()), &ups.acme(&ups.first));
    relay.add_user(ANA, PASSWORD, "acme");
    let (mut client, mut other) = (logged_in(&relay), Client::connect(relay.smtp).unwrap());
    // The first refuses somebody: the bounce leaves there, too.
    ups.first.change(with_login().answer(At::Rcpt, "<nobody.", "550 5.1.1 no such user here"));
    assert_eq!(client.submit(&of_acme("acme-1", &["b", "nobody"])).code(), 250);
    assert_eq!(other.submit(&Submission::new("default-1", &["b"])).code(), 250);
    wait_for(|| (ups.first.accepted().len() == 2).then_some(()));
    assert_eq!(ids(&ups.first.accepted()), ["acme-1", "report"]);
    assert_eq!(ids(&ups.server.accepted()), ["default-1"]);
    assert!(ups.first.accepted().iter().all(|mail| mail.login.as_deref() == Some(ACCOUNT)));
    // Acme's is down: its mail waits, and the others' does not notice.
    ups.first.change(with_login().on(At::Mail, [Act::say("451 4.3.0 later")]));
    assert_eq!(client.submit(&of_acme("acme-2", &["b"])).code(), 250);
    assert_eq!(other.submit(&Submission::new("default-2", &["b"])).code(), 250);
    assert_eq!(ids(&ups.server.accepted()), ["default-1", "default-2"]);
    assert_eq!(queued_ids(&relay).len(), 1);
    // The server's is down: acme's mail leaves at once.
    ups.server.change(Script::new().on(At::Greeting, [Act::Close]));
    ups.first.change(with_login());
    for id in queued_ids(&relay) {
        relay.cli(&["queue", "retry", &id]);
    }
    wait_for(|| ids(&ups.first.accepted()).contains(&"acme-2".to_owned()).then_some(()));
    assert_eq!(client.submit(&of_acme("acme-3", &["b"])).code(), 250);
    assert_eq!(ids(&ups.first.accepted()), ["acme-1", "acme-2", "acme-3", "report"]);
    assert_eq!(ups.second.connections(), 0);
    let folder = relay.stop();
    assert!(!super::passthrough::holds(&folder.path().join("data"), SECRET.as_bytes()), "the password is at rest");
}

/// What we write ourselves about an organisation's mail leaves through its own account, too.
#[test]
fn notices_leave_through_the_organisations_own() {
    let ups = Upstreams::new();
    let acme = ups.acme(&ups.first).replacen("domains", "rules_off = [\"instant\"]\ndomains", 1);
    let relay = Running::start_with_web(Upstream::Smtp(ups.server.addr()), "trusted_proxies = [\"127.0.0.1\"]", &acme);
    relay.add_user(ANA, PASSWORD, "acme");
    relay.cli(&["user", "notices", ANA, "--mail", "on"]);
    assert_eq!(logged_in(&relay).submit(&of_acme("acme-1", &["b"])).code(), 250);
    let pixel = pixels(&ups.first.accepted()[0].content, &relay.public_url()).remove(0);
    let reader = [("User-Agent", AGENT), ("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(http(relay.tracking, "GET", &pixel, &reader).status, 200);
    let notice = wait_for(|| ups.first.accepted().into_iter().nth(1));
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(text.contains("Auto-Submitted: auto-generated") && text.contains("b.acme-1@ok.test"), "{text}");
    assert_eq!((notice.login.as_deref(), ups.server.accepted().len()), (Some(ACCOUNT), 0));
}

/// What waits leaves through the new one; nothing leaves through another's account when its own is gone.
#[test]
fn a_reload_changes_the_way_and_never_lends_another() {
    let ups = Upstreams::new();
    let (first, second) = (ups.acme(&ups.first), ups.acme(&ups.second));
    let mut relay = Running::start(Upstream::Smtp(ups.server.addr()), &first);
    relay.add_user(ANA, PASSWORD, "acme");
    let mut client = logged_in(&relay);
    ups.first.change(with_login().on(At::Mail, [Act::say("451 4.3.0 later")]));
    assert_eq!(client.submit(&of_acme("acme-1", &["b"])).code(), 250);
    change_orgs(&mut relay, &first, &second);
    let [waiting] = queued_ids(&relay).try_into().unwrap();
    relay.cli(&["queue", "retry", &waiting]);
    wait_for(|| (ids(&ups.second.accepted()) == ["acme-1"]).then_some(()));
    assert_eq!(client.submit(&of_acme("acme-2", &["b"])).code(), 250);
    assert_eq!(ids(&ups.second.accepted()), ["acme-1", "acme-2"]);
    // One waits, and the organisation is taken out of the file: it is held, and new mail is left to its client.
    ups.second.change(with_login().on(At::Mail, [Act::say("451 4.3.0 later")]));
    assert_eq!(client.submit(&of_acme("acme-3", &["b"])).code(), 250);
    change_orgs(&mut relay, &second, "");
    let told = client.submit(&of_acme("acme-4", &["b"]));
    assert_eq!(told.code(), 451, "{told:?}");
    let [waiting] = queued_ids(&relay).try_into().unwrap();
    relay.cli(&["queue", "retry", &waiting]);
    wait_for(|| {
        relay.cli(&["queue", "show", &waiting]).contains("own upstream is not in the configuration").then_some(())
    });
    // Named without an upstream it uses the server's, but not for what was taken before.
    change_orgs(&mut relay, "consent = \"none\"", "consent = \"none\"\n# acme below");
    let text = std::fs::read_to_string(relay.folder().join("config.toml")).unwrap();
    std::fs::write(relay.folder().join("config.toml"), format!("{text}\n{ACME}")).unwrap();
    relay.reload();
    assert_eq!(client.submit(&of_acme("acme-5", &["b"])).code(), 250);
    relay.cli(&["queue", "retry", &waiting]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(ids(&ups.server.accepted()), ["acme-5"]);
    // Given back, it delivers what was held.
    ups.second.change(with_login());
    change_orgs(&mut relay, ACME, &second);
    relay.cli(&["queue", "retry", &waiting]);
    wait_for(|| (ids(&ups.second.accepted()) == ["acme-1", "acme-2", "acme-3"]).then_some(()));
    assert_eq!(ids(&ups.server.accepted()), ["acme-5"]);
}

/// What `waxseal doctor` says of upstreams and domains: whose, name, state, words with the fix.
fn examined(relay: &Running) -> Vec<[String; 4]> {
    let out = relay.cli_with(&["doctor", "--json"], "");
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    rows(&report)
}

fn rows(report: &serde_json::Value) -> Vec<[String; 4]> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    let told = checks.filter(|check| check["area"] == "upstream" || check["area"] == "domains");
    let words = |check: &serde_json::Value| format!("{} {}", text(&check["seen"]), text(&check["fix"]));
    told.map(|check| [text(&check["org"]), text(&check["name"]), text(&check["state"]), words(check)]).collect()
}

fn row<'r>(rows: &'r [[String; 4]], org: &str, name: &str) -> (&'r str, &'r str) {
    let found = rows.iter().find(|row| row[0] == org && row[1] == name);
    let [_, _, state, words] = found.unwrap_or_else(|| panic!("no {name} of {org:?}: {rows:#?}"));
    (state, words)
}

/// The server keeps its mail in its inbox, acme's leaves: its upstream and its domains are looked at, under its name and
/// login; its admin sees that and nothing of the server's; and when its upstream is gone from the file, that is said.
#[test]
fn health_looks_at_each_organisations_own() {
    let ups = Upstreams::new();
    let first = ups.acme(&ups.first);
    let names = format!("[dns]\nservers = [\"{}\"]\n", super::doctor::name_server());
    let mut relay = Running::start(Upstream::Inbox, &format!("{names}{first}"));
    let chief = ["user", "add", ANA, "--org", "acme", "--role", "org-admin"];
    assert!(relay.cli_with(&chief, &format!("{PASSWORD}\n")).status.success());
    let told = examined(&relay);
    assert_eq!(row(&told, "", "upstream.reachable").0, "skipped");
    assert_eq!(row(&told, "acme", "upstream.reachable").0, "ok");
    assert_eq!(row(&told, "acme", "upstream.login").0, "ok");
    assert!(row(&told, "acme", "domains.spf").1.contains(&ups.first.addr().ip().to_string()), "{told:#?}");
    assert!(row(&told, "acme", "upstream.deliveries").1.contains("nothing was delivered"), "{told:#?}");
    assert_eq!(ups.server.connections(), 0);
    // Its login is refused there: the server's administrator and its own are told.
    ups.first.change(Script::new().login(ACCOUNT, "another", "PLAIN LOGIN"));
    let form = format!("login={}&password={}", ANA.replace('@', "%40"), PASSWORD.replace(' ', "+"));
    let answer = http_post(relay.admin, "/login", &form);
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let seen = wait_for(|| {
        let answer = http(relay.admin, "GET", "/api/v1/health", &[("Cookie", &cookie)]);
        let seen = rows(&serde_json::from_slice(&answer.body).unwrap());
        (row(&seen, "acme", "upstream.login").0 == "fail").then_some(seen)
    });
    assert!(seen.iter().all(|row| row[0] == "acme"), "{seen:#?}");
    // Taken out of the file: it is held, and its domains leave through nobody.
    change_orgs(&mut relay, &first, "");
    let told = wait_for(|| {
        let told = examined(&relay);
        (row(&told, "acme", "upstream.reachable").0 == "fail").then_some(told)
    });
    assert!(row(&told, "acme", "upstream.reachable").1.contains("held"), "{told:#?}");
    assert_eq!(row(&told, "acme", "domains.records").0, "skipped");
}

/// A way that stays as it was keeps its connections over a reload.
#[test]
fn a_reload_of_something_else_keeps_the_connections() {
    let ups = Upstreams::new();
    let first = ups.acme(&ups.first);
    let mut relay = Running::start(Upstream::Smtp(ups.server.addr()), &first);
    relay.add_user(ANA, PASSWORD, "acme");
    let mut client = logged_in(&relay);
    assert_eq!(client.submit(&of_acme("acme-1", &["b"])).code(), 250);
    change_orgs(&mut relay, "consent = \"none\"", "consent = \"none\"\nwithout_consent = \"aggregate\"");
    assert_eq!(client.submit(&of_acme("acme-2", &["b"])).code(), 250);
    assert_eq!(ups.first.connections(), 1);
    // Another password in the same file is another way.
    std::fs::write(ups.secrets.path().join("acme.password"), "another").unwrap();
    ups.first.change(Script::new().login(ACCOUNT, "another", "PLAIN"));
    relay.reload();
    assert_eq!(client.submit(&of_acme("acme-3", &["b"])).code(), 250);
    assert_eq!(ups.first.connections(), 2);
}

/// Killed with mails of two organisations in the spool: each leaves through its own after the start.
#[test]
fn after_a_crash_each_mail_finds_its_own_way() {
    let ups = Upstreams::new();
    ups.first.change(with_login().on(At::Mail, [Act::say("451 4.3.0 later")]));
    ups.server.change(Script::new().on(At::Mail, [Act::say("451 4.3.0 later")]));
    let more = format!("{}[spool]\nretry_secs = [1, 1]\n", ups.acme(&ups.first));
    let installation = Installation::new(ups.server.addr(), &more);
    let process = installation.start();
    installation.cli_with(&["user", "add", ANA, "--org", "acme"], &format!("{PASSWORD}\n"));
    let mut client = Client::connect(installation.smtp).unwrap();
    assert_eq!(client.command(&plain(ANA, PASSWORD)).unwrap().code, 235);
    assert_eq!(client.submit(&of_acme("acme-1", &["b"])).code(), 250);
    let mut other = Client::connect(installation.smtp).unwrap();
    assert_eq!(other.submit(&Submission::new("default-1", &["b"])).code(), 250);
    process.kill();
    ups.first.change(with_login());
    ups.server.change(Script::new());
    let _process = installation.start();
    wait_for(|| (!ups.first.accepted().is_empty() && !ups.server.accepted().is_empty()).then_some(()));
    assert_eq!(
        (ids(&ups.first.accepted()), ids(&ups.server.accepted())),
        (vec!["acme-1".to_owned()], vec!["default-1".to_owned()])
    );
}

/// Acme's people log in at acme's upstream as themselves, the others here; neither is asked about at the other's door.
#[test]
fn passthrough_is_each_organisations_own() {
    let ups = Upstreams::new();
    ups.first.change(Script::new().login(ANA, "secret of ana", "PLAIN LOGIN"));
    let addr = ups.first.addr();
    let more = format!(
        "{ACME}create_users = true\n[org.upstream]\nhost = \"{}\"\nport = {}\ntls = \"none\"\nauth = \"passthrough\"\n",
        addr.ip(),
        addr.port()
    );
    let relay = Running::start(Upstream::Smtp(ups.server.addr()), &more);
    relay.add_user("ben@example.com", PASSWORD, "default");
    let log_in = |login: &str, password: &str| {
        let mut client = Client::connect(relay.smtp).unwrap();
        let code = client.command(&plain(login, password)).unwrap().code;
        (client, code)
    };
    let (mut ben, code) = log_in("ben@example.com", PASSWORD);
    assert_eq!((code, ups.first.connections()), (235, 0));
    assert_eq!(log_in("nobody@example.com", "x").1, 535);
    assert_eq!(ups.first.connections(), 0, "a stranger is nobody's of acme");
    let (mut ana, code) = log_in(ANA, "secret of ana");
    assert_eq!(code, 235);
    assert_eq!(ana.submit(&of_acme("acme-1", &["b"])).code(), 250);
    assert_eq!(ben.submit(&Submission::new("default-1", &["b"])).code(), 250);
    assert_eq!(ids(&ups.first.accepted()), ["acme-1"]);
    assert_eq!(ups.first.accepted()[0].login.as_deref(), Some(ANA));
    assert_eq!(ids(&ups.server.accepted()), ["default-1"]);
    // Nothing of acme's waits in the spool; the others' does.
    ups.first.change(Script::new().login(ANA, "secret of ana", "PLAIN").on(At::Mail, [Act::say("451 4.3.0 later")]));
    ups.server.change(Script::new().on(At::Mail, [Act::say("451 4.3.0 later")]));
    assert_eq!(ana.submit(&of_acme("acme-2", &["b"])).code(), 451);
    assert_eq!(ben.submit(&Submission::new("default-2", &["b"])).code(), 250);
    drop(ups.runtime);
}

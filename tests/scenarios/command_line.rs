//! An operator at the command line, against a running server's admin socket: the real binary, both forms of output.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::Value;
use waxseal::admin::{Actions, Options, Parts, socket};
use waxseal::settings::{Mode, Org, Tracking};
use waxseal::store::logins::{LoginOptions, Logins};
use waxseal::store::memory::{MemoryHistory, MemorySettings};
use waxseal::store::{Change, SettingsStore as _};

/// A server with one organisation and nothing else.
struct Server {
    folder: tempfile::TempDir,
    settings: Arc<MemorySettings>,
    logins: Arc<Logins>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Server {
        let settings = Arc::new(MemorySettings::default());
        settings.change(vec![Change::PutOrg(acme())]).await.unwrap();
        let logins = Arc::new(Logins::new(settings.clone(), LoginOptions::default()).unwrap());
        let ceiling = Tracking { opens: Mode::Individual, links: Mode::Individual, text_links: false };
        let actions = Arc::new(Actions::new(Parts {
            settings: settings.clone(),
            history: Arc::new(MemoryHistory::default()),
            logins: logins.clone(),
            ceiling: Arc::new(ArcSwap::from_pointee(ceiling)),
            inbox: None,
            test_mail: None,
            keys: None,
            queue: None,
            metrics: None,
            privacy: None,
            notify: None,
            upstream_passwords: None,
            health: None,
        }));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(socket::SOCKET_NAME);
        let at = path.clone();
        let serving =
            tokio::spawn(async move { socket::serve(&at, actions, &Options::default(), std::future::pending()).await });
        while !path.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Server { folder, settings, logins, serving }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(socket::SOCKET_NAME)
    }

    /// Runs one command line, `typed` on its standard input.
    async fn run(&self, line: &str, typed: &str) -> Told {
        let (socket, line, typed) = (self.socket(), line.to_owned(), typed.to_owned());
        tokio::task::spawn_blocking(move || waxseal(&socket, &line, &typed)).await.unwrap()
    }
}

fn acme() -> Org {
    Org { domains: vec!["acme.example".to_owned()], ..Org::named("acme".parse().unwrap()) }
}

/// What a command said.
struct Told {
    code: i32,
    out: String,
    err: String,
}

fn waxseal(socket: &Path, line: &str, typed: &str) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal"));
    command.arg("--socket").arg(socket).args(line.split_whitespace());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Told { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_and_go() {
    let server = Server::start().await;
    let added = server.run("user add ann@acme.example --org acme", "a piped password\n").await;
    assert_eq!((added.code, added.out.as_str()), (0, "added ann@acme.example, sender of acme\n"), "{}", added.err);
    assert!(server.logins.check("ann@acme.example", b"a piped password").await.unwrap().is_some());

    // a password that is made up is shown once, on standard error, and logs in
    let made_up = server.run("user passwd ann@acme.example --generate", "").await;
    assert!(made_up.out.starts_with("changed the password"), "{}", made_up.err);
    let password = made_up.err.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
    assert!(server.logins.check("ann@acme.example", password.as_bytes()).await.unwrap().is_some());
    assert!(!made_up.out.contains(password));

    let listed = server.run("user list", "").await.out;
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["ann@acme.example", "sender", "acme"]);
    let json: Value = serde_json::from_str(&server.run("user list --json", "").await.out).unwrap();
    assert_eq!(json[0]["login"], "ann@acme.example");

    // what it may do and send as; what is not named stays
    let set = server.run("user set ann@acme.example --role org-admin --address me@home.example", "").await;
    let words = "ann@acme.example is org-admin of acme, sends as me@home.example, too\n";
    assert_eq!((set.code, set.out.as_str()), (0, words), "{}", set.err);
    let set = server.run("user set ann@acme.example --no-address", "").await;
    assert_eq!((set.code, set.out.as_str()), (0, "ann@acme.example is org-admin of acme\n"), "{}", set.err);
    assert_eq!(server.run("user set ann@acme.example", "").await.code, 2, "nothing to change");

    assert_eq!(server.run("user remove ann@acme.example", "").await.code, 0);
    assert!(server.settings.snapshot().users.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn switches_are_turned_and_never_above_the_ceiling() {
    let server = Server::start().await;
    let set = server.run("org set acme --opens aggregate --exclude Bank.example --exclude b.example", "").await;
    assert_eq!(set.code, 0, "{}", set.err);
    let org = server.settings.snapshot().orgs.values().next().cloned().unwrap();
    assert_eq!(
        (org.choice.opens, org.excluded_hosts),
        (Some(Mode::Aggregate), vec!["bank.example".into(), "b.example".into()])
    );
    let above = server.run("org set acme --text-links on", "").await;
    assert_eq!(above.code, 1);
    assert!(above.err.contains("raise [tracking] text_links in config.toml"), "{}", above.err);
    assert!(above.out.is_empty());
    let shown: Value = serde_json::from_str(&server.run("org show acme --json", "").await.out).unwrap();
    assert_eq!(shown["in_force"]["opens"], "aggregate");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_words() {
    let server = Server::start().await;
    // (line, standard input, exit code, words on standard error)
    let rows = [
        ("message show 00000000000000a1", "", 1, "there is no message 00000000000000a1"),
        ("link withdraw 00000000000000a1 1", "", 1, "there is no message"),
        ("org show none", "", 1, "there is no organisation none"),
        ("message list --from yesterday", "", 1, "from: "),
        ("people show bob@reader.example", "", 1, "there is no"),
        ("test-mail bob@reader.example", "", 1, "test mail"),
        ("user add ann --org acme", "", 1, "standard input holds no password"),
        ("user add ann --org acme", "short\n", 1, "at least 10 characters"),
        ("user add ann --org none", "long enough for us\n", 1, "there is no organisation none"),
        ("user passwd nobody", "long enough for us\n", 1, "there is no user nobody"),
        ("inbox list", "", 1, "there is no built-in inbox"),
        ("keys list", "", 1, "without a key file"),
        // the line itself is wrong
        ("user add ann", "", 2, "--org"),
        ("fly", "", 2, "unrecognized subcommand"),
    ];
    for (line, typed, code, words) in rows {
        let told = server.run(line, typed).await;
        assert_eq!(told.code, code, "{line}: {}", told.err);
        assert!(told.err.contains(words), "{line}: {}", told.err);
        assert!(told.out.is_empty(), "{line}: {}", told.out);
    }
    // a server that is gone
    server.serving.abort();
    drop(server.serving);
    std::fs::remove_file(server.folder.path().join(socket::SOCKET_NAME)).unwrap_or_default();
    let gone = waxseal(&server.folder.path().join(socket::SOCKET_NAME), "message list", "");
    assert_eq!(gone.code, 1);
    assert!(gone.err.contains("the server is not running") && gone.err.contains("waxseal serve"), "{}", gone.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_lists_say_so_and_json_stays_json() {
    let server = Server::start().await;
    assert_eq!(server.run("message list", "").await.out, "no mail yet\n");
    let search = "message list --recipient bob --delivery refused --readers not-opened --from 2026-11-01";
    assert_eq!(server.run(search, "").await.out, "no mail like that\n");
    assert_eq!(server.run("people list --address bob", "").await.out, "mail was sent to nobody like that\n");
    for by in ["day", "sender", "link", "place"] {
        let figures = server.run(&format!("figures --by {by}"), "").await;
        assert!(figures.code == 0 && figures.out.contains("in these days"), "{by}: {}{}", figures.out, figures.err);
    }
    assert_eq!(server.run("events", "").await.out, "no events yet\n");
    assert_eq!(server.run("user list", "").await.out, "no users\n");
    let page: Value = serde_json::from_str(&server.run("message list --json", "").await.out).unwrap();
    assert_eq!(page["messages"], Value::Array(Vec::new()));
    assert_eq!(server.run("events --json", "").await.out, "", "one event a line: none, no line");
}

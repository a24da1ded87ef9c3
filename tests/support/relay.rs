//! A whole waxseal in this process, on ports of the system's choice, in a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use waxseal::app::App;
use waxseal::config::Config;

use super::process::{ORGANISATION, PUBLIC_URL};

/// Where the relay forwards to.
pub(crate) enum Upstream {
    /// The built-in inbox.
    Inbox,
    /// A server on loopback, plaintext, no login.
    Smtp(SocketAddr),
    /// The same with each client's own login; nobody submits without one.
    Passthrough(SocketAddr),
    /// The same with what stands here instead of `auth = "none"`.
    Login(SocketAddr, String),
}

/// Stops (in order, as SIGTERM does) when dropped.
pub(crate) struct Running {
    folder: tempfile::TempDir,
    runtime: Option<Runtime>,
    app: Option<App>,
    /// STARTTLS listener; loopback may submit without login for the org `default`.
    pub(crate) smtp: SocketAddr,
    /// Implicit TLS listener; login required.
    pub(crate) smtps: SocketAddr,
    /// The tracking site.
    pub(crate) tracking: SocketAddr,
    /// The admin site.
    pub(crate) admin: SocketAddr,
}

impl Running {
    /// Starts with the standard test configuration plus `more` lines of TOML (whole sections).
    pub(crate) fn start(upstream: Upstream, more: &str) -> Running {
        Running::start_in(tempfile::tempdir().unwrap(), upstream, more)
    }

    /// The same with lines for `[web]`.
    pub(crate) fn start_with_web(upstream: Upstream, web: &str, more: &str) -> Running {
        Running::start_as(tempfile::tempdir().unwrap(), &config(&upstream, web, more))
    }

    /// The same with these texts of the configuration replaced.
    pub(crate) fn start_with(upstream: Upstream, more: &str, changes: &[(&str, &str)]) -> Running {
        let mut text = config(&upstream, "", more);
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        Running::start_as(tempfile::tempdir().unwrap(), &text)
    }

    /// Starts in a folder that an earlier run left.
    pub(crate) fn start_in(folder: tempfile::TempDir, upstream: Upstream, more: &str) -> Running {
        Running::start_as(folder, &config(&upstream, "", more))
    }

    fn start_as(folder: tempfile::TempDir, config: &str) -> Running {
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let config = || Config::parse(&text, folder.path()).unwrap_or_else(|problems| panic!("{problems:?}")).config;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        // A program that another test is just starting holds our locks, too, from its fork to its exec.
        let deadline = Instant::now() + Duration::from_secs(20);
        let app = loop {
            match runtime.block_on(App::start(config())) {
                Err(e) if e.to_string().contains("in use by another") && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                started => break started.unwrap(),
            }
        };
        Running {
            smtp: app.listeners()[0],
            smtps: app.listeners()[1],
            tracking: app.tracking(),
            admin: app.admin(),
            folder,
            runtime: Some(runtime),
            app: Some(app),
        }
    }

    /// Reads the configuration file again, as SIGHUP does.
    pub(crate) fn reload(&mut self) {
        let text = std::fs::read_to_string(self.folder.path().join("config.toml")).unwrap();
        let config = Config::parse(&text, self.folder.path()).unwrap_or_else(|problems| panic!("{problems:?}")).config;
        if let (Some(runtime), Some(app)) = (&self.runtime, &mut self.app) {
            runtime.block_on(app.reload(config)).unwrap();
        }
    }

    /// Stops in order and hands the folder on.
    pub(crate) fn stop(mut self) -> tempfile::TempDir {
        self.stop_now();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    fn stop_now(&mut self) {
        if let (Some(runtime), Some(app)) = (self.runtime.take(), self.app.take()) {
            runtime.block_on(app.stop());
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }

    /// The folder that holds `config.toml`, `data/` and `certs/`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The inbox's copy for one recipient, as its file stands.
    pub(crate) fn inbox_copy(&self, who: &str) -> Vec<u8> {
        for entry in std::fs::read_dir(self.folder.path().join("data/inbox")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "toml") && std::fs::read_to_string(&path).unwrap().contains(who) {
                return std::fs::read(path.with_extension("eml")).unwrap();
            }
        }
        panic!("no copy for {who}")
    }

    /// The certificate clients must trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certs/relay.crt")
    }

    /// What tracked URLs begin with.
    pub(crate) fn public_url(&self) -> String {
        PUBLIC_URL.to_owned()
    }

    /// Runs the real command line against this server, with these words on standard input.
    pub(crate) fn cli_with(&self, args: &[&str], stdin: &str) -> Output {
        use std::io::Write;
        let mut child = Command::new(env!("CARGO_BIN_EXE_waxseal"))
            .args(args)
            .args(["--config"])
            .arg(self.folder.path().join("config.toml"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs the real command line; it must succeed. Returns what it printed.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let out = self.cli_with(args, "");
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Adds a user through the command line, the password on standard input.
    pub(crate) fn add_user(&self, login: &str, password: &str, org: &str) {
        let out = self.cli_with(&["user", "add", login, "--org", org], &format!("{password}\n"));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop_now();
    }
}

fn smtp(addr: &SocketAddr, auth: &str) -> String {
    format!("mode = \"smtp\"\nhost = \"{}\"\nport = {}\ntls = \"none\"\n{auth}\n", addr.ip(), addr.port())
}

fn config(upstream: &Upstream, web: &str, more: &str) -> String {
    let passthrough = matches!(upstream, Upstream::Passthrough(_));
    let upstream = match upstream {
        Upstream::Inbox => "mode = \"inbox\"\n".to_owned(),
        Upstream::Smtp(addr) => smtp(addr, "auth = \"none\""),
        Upstream::Passthrough(addr) => smtp(addr, "auth = \"passthrough\""),
        Upstream::Login(addr, auth) => smtp(addr, auth),
    };
    let networks = match passthrough {
        true => "",
        false => "networks = [\"127.0.0.0/8\"]\norg = \"default\"",
    };
    format!(
        r#"
[server]
hostname = "localhost"
data_dir = "data"
[[listener]]
addr = "127.0.0.1:0"
tls = "starttls"
{networks}
[[listener]]
addr = "127.0.0.1:0"
tls = "implicit"
[tls]
certificate = "certs/relay.crt"
private_key = "certs/relay.key"
reload_secs = 1
[upstream]
{upstream}
[web]
tracking = "127.0.0.1:0"
public_url = "{PUBLIC_URL}"
admin = "127.0.0.1:0"
{web}
{ORGANISATION}
{more}
"#
    )
}

//! `[upstream]`: the server that mail is forwarded to, or the built-in inbox.
//!
//! **Invariant:** an accepted login never crosses a network in clear.

use std::path::{Path, PathBuf};

use super::file::{File, Section};
use super::problem::Wrong;
use super::{server, values};

/// Where accepted mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamConfig {
    /// The built-in catch-all inbox: nothing leaves this machine.
    Inbox,
    /// A real server.
    Smtp(SmtpUpstream),
}

/// A real upstream server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpUpstream {
    /// A-labels or an IP address; also the name its certificate must carry.
    pub host: String,
    /// 1..=65535.
    pub port: u16,
    /// When TLS begins.
    pub tls: UpstreamTls,
    /// How waxseal logs in.
    pub auth: UpstreamAuth,
    /// Roots to trust instead of the system's; PEM.
    pub ca_file: Option<PathBuf>,
    /// What the provider allows; no limit when left out.
    pub messages_per_minute: Option<u32>,
    /// With clients' own logins: they are kept, sealed, for mail that waits.
    pub spool_credentials: bool,
}

impl SmtpUpstream {
    /// `smtp.example.com:587`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// When TLS begins towards upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamTls {
    /// By STARTTLS, verified; no mail without it.
    StartTls,
    /// From the first byte, verified.
    Implicit,
    /// By STARTTLS where it is offered, not verified; else in clear.
    Opportunistic,
    /// In clear.
    None,
}

impl UpstreamTls {
    /// As written in the config.
    pub fn as_str(self) -> &'static str {
        match self {
            UpstreamTls::StartTls => "starttls",
            UpstreamTls::Implicit => "implicit",
            UpstreamTls::Opportunistic => "opportunistic",
            UpstreamTls::None => "none",
        }
    }

    /// Whether the server's certificate is checked.
    pub fn is_verified(self) -> bool {
        matches!(self, UpstreamTls::StartTls | UpstreamTls::Implicit)
    }

    /// The port this is usually spoken on (RFC 8314, RFC 6409).
    pub fn usual_port(self) -> u16 {
        match self {
            UpstreamTls::StartTls => 587,
            UpstreamTls::Implicit => 465,
            UpstreamTls::Opportunistic | UpstreamTls::None => 25,
        }
    }
}

/// How waxseal logs in at upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamAuth {
    /// Not at all.
    None,
    /// AUTH PLAIN or LOGIN.
    Login {
        /// The account.
        username: String,
        /// Holds the password on its first line; mode 0600. `None`, of an organisation's own upstream only: it is sealed in
        /// the settings store.
        password_file: Option<PathBuf>,
    },
    /// AUTH XOAUTH2 or OAUTHBEARER.
    Oauth {
        /// The account.
        username: String,
        /// A line for `/bin/sh` that prints an access token.
        token_command: String,
    },
    /// As each client, with what it said at AUTH; waxseal has no login of its own.
    Passthrough,
}

/// The words of `mode`.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Inbox,
    Smtp,
}

/// The words of `auth`.
#[derive(Clone, Copy, PartialEq)]
enum Auth {
    None,
    Login,
    Oauth,
    Passthrough,
}

impl Auth {
    /// As written in the config.
    fn as_str(self) -> &'static str {
        match self {
            Auth::None => "none",
            Auth::Login => "login",
            Auth::Oauth => "oauth",
            Auth::Passthrough => "passthrough",
        }
    }

    /// The keys it needs beside it.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Auth::None | Auth::Passthrough => &[],
            Auth::Login => &["username", "password_file"],
            Auth::Oauth => &["username", "token_command"],
        }
    }
}

/// Keys that mean something only beside `mode = "smtp"`.
/// Above this a limit by the minute is none: a hundred a second.
const MESSAGES_PER_MINUTE_MAX: u64 = 6_000;

const SMTP_KEYS: &[&str] = &[
    "host",
    "port",
    "tls",
    "auth",
    "username",
    "password_file",
    "token_command",
    "ca_file",
    "messages_per_minute",
    "spool_credentials",
];

impl UpstreamConfig {
    /// Whether clients log in upstream as themselves.
    pub fn is_passthrough(&self) -> bool {
        matches!(self, UpstreamConfig::Smtp(smtp) if smtp.auth == UpstreamAuth::Passthrough)
    }

    /// `None` when it is wrong; the problems are noted.
    pub(super) fn read(file: &File<'_>, base_dir: &Path) -> Option<UpstreamConfig> {
        let section = file.section("upstream");
        let mode = section.choice("mode", &[("inbox", Mode::Inbox), ("smtp", Mode::Smtp)]);
        let smtp = read_smtp(&section, base_dir, mode == Some(Mode::Smtp), false);
        if mode == Some(Mode::Inbox) || !section.has("mode") {
            for key in SMTP_KEYS.iter().filter(|key| section.has(key)) {
                section.warn(key, Wrong::UnusedInInbox);
            }
        }
        let has_mode = section.has("mode");
        section.finish();
        match mode {
            Some(Mode::Smtp) => smtp.map(UpstreamConfig::Smtp),
            Some(Mode::Inbox) => Some(UpstreamConfig::Inbox),
            None => (!has_mode).then_some(UpstreamConfig::Inbox),
        }
    }
}

/// `[org.upstream]` of one organisation: a server of its own. Also `None` when it is wrong; the problems are noted.
pub(super) fn read_own(org: &Section<'_, '_>, base_dir: &Path) -> Option<SmtpUpstream> {
    let section = org.section("upstream", "org.upstream");
    section.choice("mode", &[("smtp", Mode::Smtp)]);
    let smtp = read_smtp(&section, base_dir, section.is_written(), true);
    section.finish();
    smtp
}

/// Reads every key in either mode, so that a slip in one that is not used yet is found today. `sealed`: its password may be
/// in the settings store instead of a file.
fn read_smtp(section: &Section<'_, '_>, base_dir: &Path, in_use: bool, sealed: bool) -> Option<SmtpUpstream> {
    let host = section.parsed("host", "\"smtp.example.com\"", values::host);
    let port = section.port("port", UpstreamTls::StartTls.usual_port());
    let tls = section.choice(
        "tls",
        &[
            ("starttls", UpstreamTls::StartTls),
            ("implicit", UpstreamTls::Implicit),
            ("opportunistic", UpstreamTls::Opportunistic),
            ("none", UpstreamTls::None),
        ],
    );
    let auth = section.parsed("auth", "\"login\"", auth);
    let username =
        section.parsed("username", "\"relay@example.com\"", |text| values::printable(text, "write the account's name"));
    let password_file = section.parsed("password_file", "\"upstream.password\"", |text| server::path(base_dir, text));
    let token_command =
        section.parsed("token_command", "\"get-token\"", |text| values::printable(text, "write a command line"));
    let ca_file = section.parsed("ca_file", "\"certs/upstream-ca.pem\"", |text| server::path(base_dir, text));
    let messages_per_minute = section.number("messages_per_minute", 1..=MESSAGES_PER_MINUTE_MAX, 30);
    let messages_per_minute = messages_per_minute.and_then(|number| u32::try_from(number).ok());
    let spool_credentials = section.choice("spool_credentials", &[("none", false), ("sealed", true)]);
    if !in_use {
        return None;
    }
    let tls = if section.has("tls") { tls? } else { UpstreamTls::StartTls };
    if !section.has("host") {
        section.wrong("host", Wrong::Missing("say where mail goes, as host = \"smtp.example.com\""));
    }
    let auth = read_auth(section, auth, Secrets { username, password_file, token_command, sealed });
    let host = host?;
    let port = if section.has("port") { port? } else { tls.usual_port() };
    let auth = auth?;
    if spool_credentials == Some(true) && auth != UpstreamAuth::Passthrough {
        section.wrong("spool_credentials", Wrong::NothingToSeal);
    }
    let spool_credentials = spool_credentials.unwrap_or(false);
    let upstream = SmtpUpstream { host, port, tls, auth, ca_file, messages_per_minute, spool_credentials };
    judge_privacy(section, &upstream);
    Some(upstream)
}

/// What the kinds of login are made of.
struct Secrets {
    username: Option<String>,
    password_file: Option<PathBuf>,
    token_command: Option<String>,
    /// There may be a password elsewhere.
    sealed: bool,
}

/// A login needs both its halves, and its halves need a login.
fn read_auth(section: &Section<'_, '_>, auth: Option<Auth>, secrets: Secrets) -> Option<UpstreamAuth> {
    let auth = if section.has("auth") { auth? } else { Auth::None };
    for key in ["username", "password_file", "token_command"] {
        match (auth.keys().contains(&key), section.has(key)) {
            (true, false) if key == "password_file" && secrets.sealed => {}
            (true, false) => section.wrong(key, Wrong::Missing(why_needed(key))),
            (false, true) => section.wrong(key, Wrong::UnusedWithoutLogin { auth: auth.as_str() }),
            _ => {}
        }
    }
    let Secrets { username, password_file, token_command, sealed } = secrets;
    let is_there = password_file.is_some() || (sealed && !section.has("password_file"));
    match auth {
        Auth::None => Some(UpstreamAuth::None),
        Auth::Passthrough => Some(UpstreamAuth::Passthrough),
        Auth::Login => is_there.then_some(UpstreamAuth::Login { username: username?, password_file }),
        Auth::Oauth => Some(UpstreamAuth::Oauth { username: username?, token_command: token_command? }),
    }
}

fn why_needed(key: &str) -> &'static str {
    match key {
        "username" => "auth = \"login\" and auth = \"oauth\" need the account's name",
        "password_file" => "auth = \"login\" needs a file that holds the password, mode 0600",
        _ => "auth = \"oauth\" needs a command that prints an access token",
    }
}

/// What would cross the network readable, and what looks like a slip.
fn judge_privacy(section: &Section<'_, '_>, upstream: &SmtpUpstream) {
    let (port, tls) = (upstream.port, upstream.tls);
    if upstream.ca_file.is_some() && !tls.is_verified() {
        section.warn("ca_file", Wrong::UnusedCaFile { tls: tls.as_str() });
    }
    match (port, tls) {
        (25 | 587, UpstreamTls::Implicit) => section.warn("port", Wrong::UnusualPort { port, usual: "starttls" }),
        (465, tls) if tls != UpstreamTls::Implicit => {
            section.warn("port", Wrong::UnusualPort { port, usual: "implicit" })
        }
        _ => {}
    }
    if tls.is_verified() || values::is_loopback(&upstream.host) {
        return;
    }
    if upstream.auth != UpstreamAuth::None {
        section.wrong("auth", Wrong::PasswordInClear { tls: tls.as_str() });
    } else if tls == UpstreamTls::None {
        section.warn("tls", Wrong::MailInClear);
    }
}

fn auth(text: &str) -> Result<Auth, Wrong> {
    match text {
        "none" => Ok(Auth::None),
        "login" => Ok(Auth::Login),
        "oauth" => Ok(Auth::Oauth),
        "passthrough" => Ok(Auth::Passthrough),
        _ => Err(Wrong::Choice { given: text.to_owned(), allowed: vec!["none", "login", "oauth", "passthrough"] }),
    }
}

//! The machine around the config: files, permissions, certificate dates, addresses, upstream. It looks and changes nothing.
//!
//! What the first start would make (data folder, self-signed certificate) is not missing.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use jiff::Timestamp;

use super::load;
use super::problem::{Problem, Severity, Until, Wrong};
use super::{AcmeConfig, Config, Parsed, SmtpUpstream, UpstreamAuth};
use crate::acme;
use crate::certificate::{self, EXPIRY_WARNING_DAYS, Unusable, date};

/// How long upstream may take to answer, its name's look-up included.
const UPSTREAM_WAIT: Duration = Duration::from_secs(5);

/// Everything outside the file.
pub(super) fn look(parsed: &Parsed, now: Timestamp) -> Vec<Problem> {
    let config = &parsed.config;
    let mut found = Found { parsed, problems: Vec::new() };
    data_dir(&mut found, &config.server.data_dir);
    if config.shows_certificate() {
        certificate(&mut found, config, now);
    }
    if let Some(acme) = &config.acme {
        ordered(&mut found, acme);
    }
    for (section, smtp) in config.servers() {
        upstream(&mut found, &section, smtp);
    }
    for (key, database) in [("geo.database", &config.geo.database), ("geo.database_ipv6", &config.geo.database_ipv6)] {
        if let Some(database) = database {
            geo(&mut found, key, database);
        }
    }
    addresses(&mut found, config);
    if let Some(ca_file) = &config.webhooks.ca_file {
        roots(&mut found, "webhooks.ca_file", ca_file);
    }
    found.problems
}

/// Problems with the lines of the keys they are about.
struct Found<'p> {
    parsed: &'p Parsed,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn error(&mut self, key: &str, wrong: Wrong) {
        self.note(Severity::Error, key, wrong);
    }

    fn warning(&mut self, key: &str, wrong: Wrong) {
        self.note(Severity::Warning, key, wrong);
    }

    fn note(&mut self, severity: Severity, key: &str, wrong: Wrong) {
        let line = self.parsed.lines.get(key).copied();
        self.problems.push(Problem { severity, line, key: key.to_owned(), wrong });
    }
}

/// It is there and ours alone, or it can be made.
fn data_dir(found: &mut Found<'_>, path: &Path) {
    const KEY: &str = "server.data_dir";
    let shown = path.display().to_string();
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            found.error(KEY, Wrong::NotWritable { path: shown, detail: "it is a file".to_owned() });
        }
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                found.error(KEY, Wrong::TooOpen { path: shown, mode, wanted: 0o700 });
            }
            writable(found, KEY, path);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.ancestors().skip(1).find(|parent| parent.exists()) {
                writable(found, KEY, parent);
            }
        }
        Err(error) => found.error(KEY, Wrong::NotWritable { path: shown, detail: error.to_string() }),
    }
}

fn writable(found: &mut Found<'_>, key: &str, folder: &Path) {
    if let Err(error) = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
        found.error(key, Wrong::NotWritable { path: folder.display().to_string(), detail: error.to_string() });
    }
}

/// Both files are there, fit each other and hold today; or the first start makes them.
fn certificate(found: &mut Found<'_>, config: &Config, now: Timestamp) {
    const KEY: &str = "tls.private_key";
    let (certificate, private_key) = (&config.tls.certificate, &config.tls.private_key);
    if config.tls.may_generate && !certificate.exists() && !private_key.exists() {
        return;
    }
    let certificate_pem =
        readable(found, "tls.certificate", certificate, "name the PEM file that holds the certificate");
    let key_pem = readable(found, KEY, private_key, "name the PEM file that holds the certificate's key");
    let mode = fs::metadata(private_key).map_or(0, |metadata| metadata.permissions().mode() & 0o7777);
    // A group such as Debian's ssl-cert may read it; everybody may not.
    if mode & 0o007 != 0 {
        found.warning(KEY, Wrong::TooOpen { path: private_key.display().to_string(), mode, wanted: 0o600 });
    }
    let (Some(certificate_pem), Some(key_pem)) = (certificate_pem, key_pem) else { return };
    let path = certificate.display().to_string();
    match certificate::examine(&certificate_pem, &key_pem, &config.server.hostname) {
        Err(Unusable::Certificate(detail)) => found.error("tls.certificate", Wrong::NoCertificate { path, detail }),
        Err(Unusable::Key(detail)) => {
            found.error(KEY, Wrong::KeyMismatch { path: private_key.display().to_string(), detail });
        }
        Ok(facts) => dates_and_names(found, &facts, path, config, now.as_second()),
    }
}

fn dates_and_names(found: &mut Found<'_>, facts: &certificate::Facts, path: String, config: &Config, now_secs: i64) {
    const KEY: &str = "tls.certificate";
    let days = facts.days_left(now_secs);
    if facts.not_after_secs < now_secs {
        found.error(KEY, Wrong::CertificateExpired { path: path.clone(), date: date(facts.not_after_secs) });
    } else if days < EXPIRY_WARNING_DAYS {
        let date = date(facts.not_after_secs);
        found.warning(KEY, Wrong::CertificateExpiresSoon { path: path.clone(), date, days });
    } else if facts.not_before_secs > now_secs {
        found.error(KEY, Wrong::CertificateNotYet { path: path.clone(), date: date(facts.not_before_secs) });
    }
    if !facts.names_host {
        found.warning(KEY, Wrong::CertificateName { path, hostname: config.server.hostname.clone() });
    }
}

/// What the CA said last, whether it can be asked, and the roots to trust for it.
fn ordered(found: &mut Found<'_>, config: &AcmeConfig) {
    if let Some(ca_file) = &config.ca_file {
        roots(found, "acme.ca_file", ca_file);
    }
    let status = acme::status_in(&config.folder).unwrap_or_default();
    if !status.last_error.is_empty() {
        let (date, next) = (date(status.last_error_secs), date(status.next_try_secs));
        found.warning("acme.domains", Wrong::AcmeFailed { date, detail: status.last_error, next });
    }
    let (host, port) = config.server();
    if let Err(detail) = reach(&host, port, UPSTREAM_WAIT) {
        found.warning(
            "acme.directory",
            Wrong::Unreachable { address: format!("{host}:{port}"), detail, until: Until::NoCertificate },
        );
    }
}

/// The files of one upstream, and whether it answers at all. No mail dialogue is begun: that is the server's own business.
fn upstream(found: &mut Found<'_>, section: &str, smtp: &SmtpUpstream) {
    if let UpstreamAuth::Login { password_file: None, .. } = &smtp.auth {
        found.warning(&format!("{section}.password_file"), Wrong::PasswordElsewhere);
    }
    if let UpstreamAuth::Login { password_file: Some(password_file), .. } = &smtp.auth {
        let key = &format!("{section}.password_file");
        match load::password(password_file) {
            Err(wrong) => found.error(key, wrong),
            Ok(_) => {
                let mode = fs::metadata(password_file).map_or(0, |metadata| metadata.permissions().mode() & 0o7777);
                if mode & 0o077 != 0 {
                    found.warning(
                        key,
                        Wrong::TooOpen { path: password_file.display().to_string(), mode, wanted: 0o600 },
                    );
                }
            }
        }
    }
    if let Some(ca_file) = &smtp.ca_file {
        roots(found, &format!("{section}.ca_file"), ca_file);
    }
    if let Err(detail) = reach(&smtp.host, smtp.port, UPSTREAM_WAIT) {
        // It may be down for an hour; the relay starts all the same.
        let address = format!("{}:{}", smtp.host, smtp.port);
        let until = if smtp.auth == UpstreamAuth::Passthrough { Until::Refused } else { Until::Waits };
        found.warning(&format!("{section}.host"), Wrong::Unreachable { address, detail, until });
    }
}

/// A file of certificates to trust.
fn roots(found: &mut Found<'_>, key: &str, ca_file: &Path) {
    let Some(pem) = readable(found, key, ca_file, "name the PEM file of the certificates to trust") else { return };
    let detail = match certificate::chain(&pem) {
        Ok(chain) if chain.is_empty() => Some("it holds no PEM certificate".to_owned()),
        Ok(_) => None,
        Err(detail) => Some(detail),
    };
    if let Some(detail) = detail {
        found.error(key, Wrong::NoCertificate { path: ca_file.display().to_string(), detail });
    }
}

/// Whether one of the host's addresses takes a connection within `wait`. A look-up knows no deadline, hence the thread.
fn reach(host: &str, port: u16, wait: Duration) -> Result<(), String> {
    let (answer, answered) = mpsc::sync_channel(1);
    let host = host.to_owned();
    std::thread::spawn(move || {
        let connect = |addresses: std::vec::IntoIter<SocketAddr>| {
            let mut last = Err("the name has no address".to_owned());
            for address in addresses {
                last = TcpStream::connect_timeout(&address, wait).map(drop).map_err(|error| error.to_string());
                if last.is_ok() {
                    break;
                }
            }
            last
        };
        let result = (host.as_str(), port).to_socket_addrs().map_err(|error| error.to_string()).and_then(connect);
        // Nobody listens any more when the wait is over: then the answer does not matter.
        answer.send(result).ok();
    });
    answered.recv_timeout(wait).unwrap_or_else(|_| Err(format!("no answer within {} seconds", wait.as_secs())))
}

fn geo(found: &mut Found<'_>, key: &str, path: &Path) {
    const FIX: &str = "name a country or city database in MaxMind's format (.mmdb), or remove the key";
    let path_shown = path.display().to_string();
    if !path.exists() {
        found.error(key, Wrong::FileMissing { path: path_shown, fix: FIX });
    } else if let Err(error) = maxminddb::Reader::open_readfile(path) {
        found.error(key, Wrong::FileUnreadable { path: path_shown, detail: error.to_string(), fix: FIX });
    }
}

/// Every address can be listened on now. One in use is a warning: waxseal itself may be running.
fn addresses(found: &mut Found<'_>, config: &Config) {
    let listeners = config.listeners.iter().enumerate();
    let listeners = listeners.map(|(index, listener)| (format!("listener[{}].addr", index + 1), listener.addr));
    let web = [("web.tracking".to_owned(), config.web.tracking), ("web.admin".to_owned(), config.web.admin)];
    let door = config.acme.as_ref().and_then(|acme| acme.listen).map(|addr| ("acme.listen".to_owned(), addr));
    for (key, addr) in listeners.chain(web).chain(door) {
        let Err(error) = TcpListener::bind(addr) else { continue };
        let addr = addr.to_string();
        match error.kind() {
            io::ErrorKind::AddrInUse => found.warning(&key, Wrong::AddressInUse(addr)),
            io::ErrorKind::PermissionDenied => found.error(&key, Wrong::PortNeedsRoot(addr)),
            _ => found.error(&key, Wrong::CannotListen { addr, detail: error.to_string() }),
        }
    }
}

/// The file's bytes; a file that is not there or cannot be read is noted.
fn readable(found: &mut Found<'_>, key: &str, path: &Path, fix: &'static str) -> Option<Vec<u8>> {
    let shown = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => return Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            found.error(key, Wrong::FileMissing { path: shown, fix });
        }
        Err(error) => found.error(key, Wrong::FileUnreadable { path: shown, detail: error.to_string(), fix }),
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::path::PathBuf;

    use socket2::{Domain, Socket, Type};

    use super::super::first_run;
    use super::super::load::Source;
    use super::*;

    /// A folder with a config file, and the report on it.
    struct Desk {
        folder: tempfile::TempDir,
    }

    impl Desk {
        fn new(text: &str) -> Desk {
            let desk = Desk { folder: tempfile::tempdir().unwrap() };
            desk.write("config.toml", text, 0o644);
            desk
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, text: &str, mode: u32) {
            fs::write(self.path(name), text).unwrap();
            fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
        }

        fn parsed(&self) -> Parsed {
            Source::fetch(Some(&self.path("config.toml"))).unwrap().parse().unwrap()
        }

        /// Every problem as it is printed, at a moment.
        fn told(&self, now: Timestamp) -> String {
            look(&self.parsed(), now).iter().map(|problem| format!("{}\n", problem.in_file("c"))).collect()
        }
    }

    const PORTS: &str =
        "[web]\ntracking = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[[listener]]\naddr = \"127.0.0.1:0\"\n";

    fn day(text: &str) -> Timestamp {
        format!("{text}T12:00:00Z").parse().unwrap()
    }

    fn assert_told(told: &str, expected: &[&str]) {
        assert_eq!(told.lines().count(), expected.len(), "{told}");
        for words in expected {
            assert!(told.contains(words), "{words}\nnot in\n{told}");
        }
    }

    #[test]
    fn the_data_folder_is_ours_alone() {
        let desk = Desk::new(PORTS);
        fs::create_dir(desk.path("data")).unwrap();
        for (mode, expected) in
            [(0o700, vec![]), (0o755, vec!["has mode 0755", "chmod 700"]), (0o701, vec!["has mode 0701"])]
        {
            fs::set_permissions(desk.path("data"), Permissions::from_mode(mode)).unwrap();
            let told = desk.told(day("2026-01-01"));
            assert_eq!(told.lines().count(), usize::from(!expected.is_empty()), "{told}");
            assert!(expected.iter().all(|words| told.contains(words)), "{told}");
        }
        fs::remove_dir(desk.path("data")).unwrap();
        desk.write("data", "", 0o600);
        assert_told(&desk.told(day("2026-01-01")), &["server.data_dir: ", "it is a file"][..1]);
    }

    #[test]
    fn a_certificates_dates_and_names_are_looked_at() {
        let desk = Desk::new(PORTS);
        let made = first_run::ensure_certificate(&desk.parsed().config, day("2026-01-02")).unwrap().unwrap();
        // It holds from 2026-01-01 for 825 days, to 2028-04-05.
        for (now, expected) in [
            ("2026-01-02", vec![]),
            ("2028-03-21", vec![]),
            ("2028-03-25", vec!["warning: tls.certificate: ", "expires on 2028-04-05, in 10 days"]),
            ("2028-04-05", vec!["tls.certificate: ", "expired on 2028-04-05"]),
            ("2025-12-31", vec!["tls.certificate: ", "is not valid before 2026-01-01"]),
        ] {
            let told = desk.told(day(now));
            assert_eq!(told.lines().count(), usize::from(!expected.is_empty()), "{now}: {told}");
            assert!(expected.iter().all(|words| told.contains(words)), "{now}: {told}");
        }
        let named = Desk::new(&format!("[server]\nhostname = \"relay.example.com\"\n{PORTS}"));
        fs::create_dir(named.path("certs")).unwrap();
        fs::copy(&made.certificate, named.path("certs/relay.crt")).unwrap();
        fs::copy(&made.private_key, named.path("certs/relay.key")).unwrap();
        assert_told(&named.told(day("2026-01-02")), &["is not for relay.example.com (server.hostname)"]);
        fs::set_permissions(named.path("certs/relay.key"), Permissions::from_mode(0o644)).unwrap();
        assert_told(&named.told(day("2026-01-02")), &["is not for relay", "warning: tls.private_key: "]);
    }

    #[test]
    fn missing_and_broken_files_are_told_with_their_line() {
        let tls = "[tls]\ncertificate = \"a.crt\"\nprivate_key = \"a.key\"\n";
        let desk = Desk::new(&format!("{tls}{PORTS}[geo]\ndatabase = \"no.mmdb\"\n"));
        let now = day("2026-01-01");
        assert_told(&desk.told(now), &["c:2: tls.certificate: ", "c:3: tls.private_key: ", "c:10: geo.database: "]);
        desk.write("a.crt", "no certificate", 0o644);
        desk.write("a.key", "no key", 0o600);
        desk.write("no.mmdb", "no database", 0o644);
        assert_told(&desk.told(now), &["c:2: tls.certificate: ", "c:10: geo.database: "]);
    }

    #[test]
    fn upstream_is_reached_and_its_files_are_read() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let smtp = format!(
            "[upstream]\nmode = \"smtp\"\nhost = \"127.0.0.1\"\nport = {port}\nauth = \"login\"\nusername = \"u\"\npassword_file = \"pw\"\nca_file = \"ca\"\n"
        );
        let desk = Desk::new(&format!("{smtp}[privacy]\nconsent = \"none\"\n{PORTS}"));
        let now = day("2026-01-01");
        assert_told(&desk.told(now), &["c:7: upstream.password_file: ", "c:8: upstream.ca_file: "]);
        desk.write("pw", "secret words\n", 0o644);
        desk.write("ca", "not PEM", 0o644);
        let told = desk.told(now);
        assert_told(&told, &["c:7: warning: upstream.password_file: ", "c:8: upstream.ca_file: "]);
        assert!(!told.contains("secret"), "a secret is never told");
        let made = first_run::ensure_certificate(&desk.parsed().config, now).unwrap().unwrap();
        fs::copy(made.certificate, desk.path("ca")).unwrap();
        desk.write("pw", "secret words\n", 0o600);
        assert_told(&desk.told(now), &[]);
        // Bound, so that nobody else gets the port, but not listening.
        let closed = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        closed.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let closed_port = closed.local_addr().unwrap().as_socket().unwrap().port();
        let text = fs::read_to_string(desk.path("config.toml")).unwrap();
        desk.write("config.toml", &text.replace(&format!("port = {port}"), &format!("port = {closed_port}")), 0o644);
        let told = desk.told(now);
        assert_told(&told, &["c:3: warning: upstream.host: "]);
        assert!(told.contains("Mail is taken and waits in the spool until it does"), "{told}");
        // Where logins are upstream's own, nobody gets in meanwhile.
        let login = "auth = \"login\"\nusername = \"u\"\npassword_file = \"pw\"\n";
        let text = fs::read_to_string(desk.path("config.toml")).unwrap().replace(login, "auth = \"passthrough\"\n");
        desk.write("config.toml", &text, 0o644);
        let told = desk.told(now);
        assert!(told.contains("upstream.host: ") && told.contains("refused with 451 until it does"), "{told}");
    }

    /// What the running server wrote down of its CA is told by whoever asks.
    #[test]
    fn the_cas_last_words_are_told() {
        let ca = TcpListener::bind("127.0.0.1:0").unwrap();
        let acme = format!(
            "[acme]\ndomains = [\"a.example\"]\nterms_agreed = true\ndirectory = \"http://{}/dir\"\nca_file = \"ca\"\n",
            ca.local_addr().unwrap()
        );
        let desk = Desk::new(&format!("{acme}{PORTS}"));
        desk.write("ca", "not PEM", 0o644);
        let now = day("2026-01-01");
        assert_told(&desk.told(now), &["c:5: acme.ca_file: "]);
        let made = first_run::ensure_certificate(&desk.parsed().config, now).unwrap().unwrap();
        assert_eq!(made.certificate, made.private_key);
        fs::copy(&made.certificate, desk.path("ca")).unwrap();
        assert_told(&desk.told(now), &[]);
        let status = acme::Status {
            last_error: "too many certificates".to_owned(),
            last_error_secs: now.as_second(),
            next_try_secs: day("2026-01-02").as_second(),
            failures: 1,
            ..acme::Status::default()
        };
        let folder = made.certificate.parent().unwrap();
        fs::write(folder.join("status.json"), serde_json::to_vec(&status).unwrap()).unwrap();
        let words =
            "c:2: warning: acme.domains: the order of 2026-01-01 failed; next try 2026-01-02: too many certificates";
        assert_told(&desk.told(now), &[words]);
        drop(ca);
        assert_told(&desk.told(now), &[words, "c:4: warning: acme.directory: "]);
    }

    #[test]
    fn a_silent_upstream_does_not_hold_the_check() {
        // A backlog of one that nobody accepts from is not reliably silent; a deadline of nothing is.
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        assert_eq!(reach("127.0.0.1", port, Duration::from_secs(5)), Ok(()));
        assert!(reach("127.0.0.1", port, Duration::ZERO).is_err());
    }

    #[test]
    fn an_address_in_use_is_a_warning() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = other.local_addr().unwrap();
        let desk = Desk::new(&PORTS.replace("addr = \"127.0.0.1:0\"", &format!("addr = \"{addr}\"\ntls = \"none\"")));
        assert_told(&desk.told(day("2026-01-01")), &["c:5: warning: listener[1].addr: "]);
    }
}

//! The machine under the server: data folder, disk, key file, certificate, clock, geo databases, memory. Blocks: run it on a
//! thread for that.
//!
//! **Invariant:** nothing stays behind: the one file that is written is removed again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::report::{Area, Check};
use crate::certificate::{self, EXPIRY_WARNING_DAYS, Unusable};

/// Beyond it mail that must wait is slow for everybody.
const WRITE_SLOW: Duration = Duration::from_secs(1);
/// Octets of the probe: a small mail.
const PROBE_BYTES: usize = 4096;
/// Below it waxseal saves room; the same numbers as the queue's.
const FREE_SHORT_BYTES: u64 = 1 << 30;
/// Twice that: time to act.
const FREE_WARNING_BYTES: u64 = 2 << 30;
/// A busy spool makes two files a mail.
const INODES_MIN: u64 = 10_000;
/// Places move; databases are published weekly or monthly.
const GEO_DAYS_MAX: u64 = 90;
/// 2026-01-01: no later than this program was written.
const WRITTEN_SECS: i64 = 1_767_225_600;
/// 2100-01-01.
const FAR_SECS: i64 = 4_102_444_800;

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The data folder.
    pub data_dir: PathBuf,
    /// The key file in it.
    pub keys: PathBuf,
    /// Files that are nobody's business but the server's, each with the bits of a mode that it must not have.
    pub secrets: Vec<(PathBuf, u32)>,
    /// Certificate, key and the name clients connect to, when a listener shows them.
    pub tls: Option<(PathBuf, PathBuf, String)>,
    /// Geo databases.
    pub geo: Vec<PathBuf>,
}

/// Looks at everything.
pub fn look(options: &Options, now: Timestamp) -> Vec<Check> {
    let mut checks = vec![folder(&options.data_dir)];
    if options.data_dir.is_dir() {
        checks.extend([disk(&options.data_dir), write(&options.data_dir), keys(&options.keys)]);
    }
    checks.extend(options.secrets.iter().map(|(path, forbidden)| secret(path, *forbidden)));
    checks.push(match &options.tls {
        Some((certificate, key, host)) => listeners(certificate, key, host, now.as_second()),
        None => Check::skipped(
            Area::Listeners,
            CERTIFICATE,
            "no listener speaks TLS, or its certificate is made at the first start",
        ),
    });
    checks.push(clock(now.as_second()));
    checks.extend(geo(&options.geo));
    checks
}

const SECRET: &str = "storage.secret";
const FOLDER: &str = "storage.folder";
const DISK: &str = "storage.disk";
const WRITE: &str = "storage.write";
const KEYS: &str = "storage.keys";
const CERTIFICATE: &str = "listeners.certificate";
const CLOCK: &str = "process.clock";
const GEO: &str = "process.geo";
const MEMORY: &str = "process.memory";

fn folder(path: &Path) -> Check {
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Check::skipped(Area::Storage, FOLDER, format!("{shown} is not there yet: the first start makes it"))
        }
        Err(error) => Check::fail(
            Area::Storage,
            FOLDER,
            format!("{shown}: {error}"),
            "run this as the user the server runs as, for instance with sudo -u",
        ),
        Ok(found) => match found.permissions().mode() & 0o777 {
            mode if mode & 0o077 == 0 => {
                Check::ok(Area::Storage, FOLDER, format!("{shown} is its owner's alone (mode {mode:04o})"))
            }
            mode => Check::fail(
                Area::Storage,
                FOLDER,
                format!("others can reach {shown} (mode {mode:04o}); keys and mail are in it"),
                format!("chmod 700 {shown}"),
            ),
        },
    }
}

fn disk(folder: &Path) -> Check {
    match rustix::fs::statvfs(folder) {
        Err(error) => Check::unknown(Area::Storage, DISK, format!("the file system does not say: {error}"), ""),
        Ok(stat) => {
            let of = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            room(of(stat.f_bavail), of(stat.f_blocks), (stat.f_files > 0).then_some(stat.f_favail))
        }
    }
}

/// `free_files`: `None` where the file system counts none.
fn room(free: u64, total: u64, free_files: Option<u64>) -> Check {
    let short = (total / 10).min(FREE_SHORT_BYTES);
    let seen = format!("{} free of {}", size(free), size(total));
    const FIX: &str = "make room outside the data folder, or give it a larger disk; never delete in spool/, it is mail";
    match free_files {
        Some(files) if files < INODES_MIN => {
            return Check::warn(Area::Storage, DISK, format!("{seen}, but room for {files} files only"), FIX);
        }
        _ => {}
    }
    if free < short {
        let seen = format!("{seen}: below {} room is saved, and new mail goes out untracked", size(short));
        Check::fail(Area::Storage, DISK, seen, FIX)
    } else if free < short.saturating_mul(2).min(FREE_WARNING_BYTES) {
        Check::warn(Area::Storage, DISK, format!("{seen}; below {} room is saved", size(short)), FIX)
    } else {
        Check::ok(Area::Storage, DISK, seen)
    }
}

/// Writes a small file to the medium, as a mail that must wait is.
fn write(folder: &Path) -> Check {
    let path = folder.join(format!(".health-{}", std::process::id()));
    let begun = Instant::now();
    let written = written(&path);
    let took = begun.elapsed();
    // Where it could not be made there is nothing to remove.
    let removed = fs::remove_file(&path);
    match written.and(removed) {
        Err(error) => Check::fail(
            Area::Storage,
            WRITE,
            format!("a file cannot be written to the data folder: {error}"),
            "mend the disk or its permissions; mail that must wait is refused until then",
        ),
        Ok(()) => speed(Area::Storage, WRITE, "a file reaches the disk", took),
    }
}

fn written(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&[b'.'; PROBE_BYTES])?;
    file.sync_all()
}

/// A write that worked, and whether it was quick enough.
pub(super) fn speed(area: Area, name: &'static str, what: &str, took: Duration) -> Check {
    let seen = format!("{what} in {} ms", took.as_millis());
    match took > WRITE_SLOW {
        true => Check::warn(
            area,
            name,
            seen,
            "the disk is slow or busy: above 2 s mail goes out untracked, for its record is not durable in time",
        ),
        false => Check::ok(area, name, seen),
    }
}

fn keys(path: &Path) -> Check {
    let shown = path.display();
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seen = format!("{shown} is not there: a start without mail makes it");
            let fix = "if mail was sent before, restore it from the backup: without it no link works";
            return Check::warn(Area::Storage, KEYS, seen, fix);
        }
        Err(error) => return Check::fail(Area::Storage, KEYS, format!("{shown}: {error}"), "let its owner read it"),
        Ok(found) => found,
    };
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let seen = format!("others can read {shown} (mode {mode:04o}), and make links of yours with it");
        return Check::fail(Area::Storage, KEYS, seen, format!("chmod 600 {shown}, then `waxseal keys rotate`"));
    }
    if found.len() == 0 {
        return Check::fail(Area::Storage, KEYS, format!("{shown} is empty"), "restore it from the backup");
    }
    let days = age_days(&found);
    let seen = format!("{shown} is its owner's alone, changed {days} days ago: a backup must be newer than that");
    Check::ok(Area::Storage, KEYS, seen)
}

fn secret(path: &Path, forbidden: u32) -> Check {
    let shown = path.display().to_string();
    let check = match fs::metadata(path).map(|found| found.permissions().mode() & 0o777) {
        Err(error) => Check::fail(Area::Storage, SECRET, error.to_string(), "let the server's user read it"),
        Ok(mode) if mode & forbidden != 0 => {
            let seen = format!("others can read it (mode {mode:04o})");
            Check::warn(Area::Storage, SECRET, seen, format!("chmod 600 {shown}"))
        }
        Ok(mode) => Check::ok(Area::Storage, SECRET, format!("others cannot read it (mode {mode:04o})")),
    };
    check.about(shown)
}

fn age_days(found: &fs::Metadata) -> u64 {
    let age = found.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    age.map_or(0, |age| age.as_secs() / 86_400)
}

fn listeners(certificate: &Path, key: &Path, host: &str, now_secs: i64) -> Check {
    let fail = |seen: String, fix: String| Check::fail(Area::Listeners, CERTIFICATE, seen, fix);
    let both = fs::read(certificate).and_then(|certificate| Ok((certificate, fs::read(key)?)));
    let (chain, private) = match both {
        Ok(both) => both,
        Err(error) => {
            let seen = format!("{} or its key cannot be read: {error}", certificate.display());
            return fail(seen, "name both PEM files in [tls]; the first start makes the shipped ones".to_owned());
        }
    };
    match certificate::examine(&chain, &private, host) {
        Err(Unusable::Certificate(why)) => {
            fail(format!("{}: {why}", certificate.display()), "name a PEM certificate in [tls]".to_owned())
        }
        Err(Unusable::Key(why)) => {
            fail(format!("{}: {why}", key.display()), "name the certificate's own key".to_owned())
        }
        Ok(facts) => dates(&facts, host, now_secs),
    }
}

fn dates(facts: &certificate::Facts, host: &str, now_secs: i64) -> Check {
    let (days, day) = (facts.days_left(now_secs), facts.last_day());
    let by = if facts.self_signed { ", self-signed: programs ask or refuse" } else { "" };
    let seen = format!("good for {days} more days, until {day}{by}");
    const RENEW: &str =
        "renew it and reload (systemctl reload waxseal); files that change are read again by themselves";
    if facts.not_after_secs < now_secs {
        Check::fail(Area::Listeners, CERTIFICATE, format!("the certificate ended on {day}: programs refuse it"), RENEW)
    } else if facts.not_before_secs > now_secs {
        Check::fail(Area::Listeners, CERTIFICATE, "the certificate does not hold yet", "look at this machine's clock")
    } else if days < EXPIRY_WARNING_DAYS {
        Check::warn(Area::Listeners, CERTIFICATE, seen, RENEW)
    } else if !facts.names_host {
        let fix = format!("get a certificate for {host}, or set server.hostname to the name that programs connect to");
        Check::warn(Area::Listeners, CERTIFICATE, format!("the certificate is not for {host}; {seen}"), fix)
    } else {
        Check::ok(Area::Listeners, CERTIFICATE, seen)
    }
}

fn clock(now_secs: i64) -> Check {
    let day = certificate::date(now_secs);
    if (WRITTEN_SECS..FAR_SECS).contains(&now_secs) {
        Check::ok(Area::Process, CLOCK, format!("it is {day}; how far the clock is off is not measured"))
    } else {
        let seen = format!("the clock says {day}: certificates, queues and figures go by it");
        Check::fail(Area::Process, CLOCK, seen, "set it: timedatectl set-ntp true")
    }
}

fn geo(databases: &[PathBuf]) -> Vec<Check> {
    if databases.is_empty() {
        return vec![Check::skipped(Area::Process, GEO, "no geo.database is named: places stay unknown")];
    }
    let look = |path: &PathBuf| match fs::metadata(path) {
        Err(error) => Check::warn(
            Area::Process,
            GEO,
            format!("{}: {error}; places stay unknown", path.display()),
            "put a database in MaxMind's format there, or remove the key",
        ),
        Ok(found) => match age_days(&found) {
            days if days > GEO_DAYS_MAX => Check::warn(
                Area::Process,
                GEO,
                format!("{} is {days} days old: networks have moved since", path.display()),
                "replace it; it is read again by itself",
            ),
            days => Check::ok(Area::Process, GEO, format!("{} is {days} days old", path.display())),
        },
    };
    databases.iter().map(|path| look(path).about(path.display().to_string())).collect()
}

/// Memory of the process, and of the budget for mails under way.
pub fn memory(free_bytes: u64, budget_bytes: u64) -> Check {
    let own = resident_bytes().map_or_else(String::new, |bytes| format!("{} in use; ", size(bytes)));
    let seen = format!("{own}{} of {} are free for mails that are coming in", size(free_bytes), size(budget_bytes));
    match free_bytes < budget_bytes / 10 {
        true => Check::warn(
            Area::Process,
            MEMORY,
            seen,
            "raise [limits] in_flight_bytes_max if the machine has the memory; clients wait or are told 452 meanwhile",
        ),
        false => Check::ok(Area::Process, MEMORY, seen),
    }
}

/// As the kernel counts it (proc(5)).
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Octets as people say them, in the units of disks and of their makers: `812 bytes`, `20 KB`, `1.4 MB`, `12.4 GB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".to_owned(),
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} KB", bytes.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::super::report::State;
    use super::*;

    fn at(day: &str) -> Timestamp {
        format!("{day}T12:00:00Z").parse().unwrap()
    }

    fn state(checks: &[Check], name: &str) -> Option<State> {
        checks.iter().find(|check| check.name == name).map(|check| check.state)
    }

    fn desk() -> (tempfile::TempDir, Options) {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        fs::create_dir(&data_dir).unwrap();
        fs::set_permissions(&data_dir, Permissions::from_mode(0o700)).unwrap();
        let keys = data_dir.join("keys.toml");
        fs::write(&keys, "secret").unwrap();
        fs::set_permissions(&keys, Permissions::from_mode(0o600)).unwrap();
        (folder, Options { data_dir, keys, secrets: Vec::new(), tls: None, geo: Vec::new() })
    }

    #[test]
    fn a_sound_folder_and_what_can_be_wrong_with_it() {
        let (folder, options) = desk();
        let checks = look(&options, at("2026-11-24"));
        for name in [FOLDER, WRITE, KEYS, CLOCK] {
            assert_eq!(state(&checks, name), Some(State::Ok), "{checks:?}");
        }
        assert_eq!(fs::read_dir(&options.data_dir).unwrap().count(), 1, "the probe is gone");
        fs::set_permissions(&options.keys, Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(&options.data_dir, Permissions::from_mode(0o750)).unwrap();
        let checks = look(&options, at("1999-01-01"));
        for name in [FOLDER, KEYS, CLOCK] {
            assert_eq!(state(&checks, name), Some(State::Fail), "{checks:?}");
        }
        fs::remove_file(&options.keys).unwrap();
        assert_eq!(state(&look(&options, at("2026-11-24")), KEYS), Some(State::Warn));
        // Before the first start there is nothing to look at.
        let fresh = Options { data_dir: folder.path().join("none"), ..options };
        let checks = look(&fresh, at("2026-11-24"));
        assert_eq!((state(&checks, FOLDER), state(&checks, WRITE)), (Some(State::Skipped), None));
    }

    /// A group such as Debian's ssl-cert may read a key; nobody but the server a password.
    #[test]
    fn secrets_stay_secret() {
        let (folder, mut options) = desk();
        let path = folder.path().join("password");
        for (mode, forbidden, expected) in [
            (None, 0o077, State::Fail),
            (Some(0o600), 0o077, State::Ok),
            (Some(0o640), 0o077, State::Warn),
            (Some(0o640), 0o007, State::Ok),
            (Some(0o644), 0o007, State::Warn),
        ] {
            if let Some(mode) = mode {
                fs::write(&path, "x").unwrap();
                fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            }
            options.secrets = vec![(path.clone(), forbidden)];
            assert_eq!(state(&look(&options, at("2026-11-24")), SECRET), Some(expected), "{mode:?}");
        }
    }

    #[test]
    fn room_on_the_disk() {
        const G: u64 = 1 << 30;
        for (free, total, files, expected) in [
            (50 * G, 100 * G, Some(1_000_000), State::Ok),
            (50 * G, 100 * G, None, State::Ok),
            // a large disk: 1 GiB is the limit, 2 the warning
            (3 * G / 2, 100 * G, None, State::Warn),
            (G - 1, 100 * G, None, State::Fail),
            // a small one: a tenth
            (G / 5, G, None, State::Ok),
            (G / 8, G, None, State::Warn),
            (G / 20, G, None, State::Fail),
            // no room for files
            (50 * G, 100 * G, Some(9), State::Warn),
        ] {
            assert_eq!(room(free, total, files).state, expected, "{free} {total} {files:?}");
        }
        assert_eq!((size(1536), size(12_480_000_000), size(7)), ("2 KB".into(), "12.4 GB".into(), "7 bytes".into()));
    }

    #[test]
    fn a_listeners_certificate() {
        let (folder, mut options) = desk();
        let mut params = CertificateParams::new(vec!["relay.example.com".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let key = KeyPair::generate().unwrap();
        let paths = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        fs::write(&paths.0, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&paths.1, key.serialize_pem()).unwrap();
        for (host, day, expected, words) in [
            ("relay.example.com", "2026-11-24", State::Ok, "self-signed"),
            ("relay.example.com", "2026-12-24", State::Warn, "7 more days"),
            ("relay.example.com", "2027-02-01", State::Fail, "ended on 2027-01-01"),
            ("relay.example.com", "2025-12-01", State::Fail, "not hold yet"),
            ("mail.example.com", "2026-11-24", State::Warn, "not for mail.example.com"),
        ] {
            options.tls = Some((paths.0.clone(), paths.1.clone(), host.to_owned()));
            let checks = look(&options, at(day));
            let check = checks.iter().find(|check| check.name == CERTIFICATE).unwrap();
            assert!(check.state == expected && check.seen.contains(words), "{check:?}");
        }
        options.tls = Some((paths.1.clone(), paths.0, "x".to_owned()));
        assert_eq!(state(&look(&options, at("2026-11-24")), CERTIFICATE), Some(State::Fail));
    }

    #[test]
    fn geo_databases_grow_old() {
        let (folder, mut options) = desk();
        assert_eq!(state(&look(&options, at("2026-11-24")), GEO), Some(State::Skipped));
        let path = folder.path().join("city.mmdb");
        options.geo = vec![path.clone()];
        assert_eq!(state(&look(&options, at("2026-11-24")), GEO), Some(State::Warn), "it is not there");
        let file = fs::File::create(&path).unwrap();
        assert_eq!(state(&look(&options, at("2026-11-24")), GEO), Some(State::Ok));
        file.set_modified(SystemTime::now() - Duration::from_secs(100 * 86_400)).unwrap();
        assert_eq!(state(&look(&options, at("2026-11-24")), GEO), Some(State::Warn));
    }

    #[test]
    fn memory_that_runs_out() {
        assert_eq!(memory(256 << 20, 256 << 20).state, State::Ok);
        assert_eq!(memory(1 << 20, 256 << 20).state, State::Warn);
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}

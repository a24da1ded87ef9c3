//! What a first start makes so that a fresh checkout works: a self-signed certificate for the listeners.
//!
//! **Invariant:** a file that is there is never overwritten, and a path that an operator chose is never filled.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};

use super::Config;
use super::problem::Wrong;

/// How long the certificate holds: what Apple's clients accept of a self-signed one at most.
const VALID_DAYS: i64 = 825;
/// A clock that is a little slow must not find a certificate from the future.
const BACKDATED_DAYS: i64 = 1;

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The certificate, to be trusted by hand (`curl --cacert`).
    pub certificate: PathBuf,
    /// Its key, mode 0600.
    pub private_key: PathBuf,
}

/// Makes a self-signed certificate if a listener needs one, none is there and the shipped names are in force.
///
/// # Errors
/// What the operator must mend: one of the two files is there alone, or the folder cannot be written.
pub fn ensure_certificate(config: &Config, now: Timestamp) -> Result<Option<Made>, Wrong> {
    let needed = config.shows_certificate();
    let (certificate, private_key) = (&config.tls.certificate, &config.tls.private_key);
    match (certificate.exists(), private_key.exists()) {
        _ if !needed || !config.tls.may_generate => return Ok(None),
        (true, true) => return Ok(None),
        (false, false) => {}
        (true, false) => return Err(alone(private_key)),
        (false, true) => return Err(alone(certificate)),
    }
    let failed = |path: &Path, detail: String| Wrong::NotWritable { path: path.display().to_string(), detail };
    let (certificate_pem, key_pem) =
        self_signed(&config.server.hostname, now).map_err(|error| failed(certificate, error.to_string()))?;
    let folder = certificate.parent().unwrap_or(Path::new("."));
    // A folder inside the data folder is as private as that.
    let mode = if config.acme.is_some() { 0o700 } else { 0o777 };
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(folder);
    made.map_err(|error| failed(folder, error.to_string()))?;
    if certificate == private_key {
        let both = format!("{key_pem}{certificate_pem}");
        write_new(certificate, 0o600, &both).map_err(|error| failed(certificate, error.to_string()))?;
        return Ok(Some(Made { certificate: certificate.clone(), private_key: private_key.clone() }));
    }
    write_new(private_key, 0o600, &key_pem).map_err(|error| failed(private_key, error.to_string()))?;
    write_new(certificate, 0o644, &certificate_pem).map_err(|error| failed(certificate, error.to_string()))?;
    Ok(Some(Made { certificate: certificate.clone(), private_key: private_key.clone() }))
}

fn alone(missing: &Path) -> Wrong {
    Wrong::FileMissing {
        path: missing.display().to_string(),
        fix: "bring it back, or move the other file of the pair away and a new pair is made at the next start",
    }
}

/// Certificate and key as PEM: for the host name and for this machine, so that any client can be tried against it.
fn self_signed(hostname: &str, now: Timestamp) -> Result<(String, String), rcgen::Error> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if !names.iter().any(|name| name == hostname) {
        names.insert(0, hostname.to_owned());
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, hostname);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (from, until) = (date_from(now, -BACKDATED_DAYS), date_from(now, VALID_DAYS - BACKDATED_DAYS));
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// The date (UTC) so many days from a moment: year, month, day.
fn date_from(now: Timestamp, days: i64) -> (i32, u8, u8) {
    let date = TimeZone::UTC.to_datetime(now).date().saturating_add(SignedDuration::from_hours(24 * days));
    (i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
}

/// Creates the file with its mode, whole and on disk; fails where one is there.
fn write_new(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::certificate::examine;

    fn config(folder: &Path, text: &str) -> Config {
        Config::parse(&format!("[[listener]]\naddr = \"127.0.0.1:0\"\n{text}"), folder).unwrap().config
    }

    #[test]
    fn a_fresh_checkout_gets_a_pair_that_clients_accept() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "[server]\nhostname = \"relay.example.com\"");
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let made = ensure_certificate(&config, now).unwrap().unwrap();
        let (certificate, key) = (fs::read(&made.certificate).unwrap(), fs::read(&made.private_key).unwrap());
        for name in ["relay.example.com", "localhost", "127.0.0.1", "::1"] {
            let facts = examine(&certificate, &key, name).unwrap();
            assert!(facts.names_host, "{name}");
            assert!(facts.not_before_secs < now.as_second());
            assert_eq!((facts.not_after_secs - facts.not_before_secs) / 86_400, VALID_DAYS);
        }
        assert_eq!(fs::metadata(&made.private_key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ensure_certificate(&config, now), Ok(None), "the second start makes nothing");
        assert_eq!(fs::read(&made.certificate).unwrap(), certificate);
    }

    #[test]
    fn what_is_there_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let both = config(folder.path(), "");
        fs::create_dir(folder.path().join("certs")).unwrap();
        for (there, missing) in [("relay.crt", "relay.key"), ("relay.key", "relay.crt")] {
            let there = folder.path().join("certs").join(there);
            fs::write(&there, "mine").unwrap();
            let wrong = ensure_certificate(&both, now).unwrap_err().to_string();
            assert!(wrong.contains(missing), "{wrong}");
            assert_eq!(fs::read_to_string(&there).unwrap(), "mine");
            fs::remove_file(there).unwrap();
        }
    }

    #[test]
    fn nothing_is_made_where_nothing_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        // Paths that an operator chose, and listeners that need no certificate.
        for text in ["tls = \"none\"", "[tls]\ncertificate = \"mine.crt\"\nprivate_key = \"mine.key\""] {
            assert_eq!(ensure_certificate(&config(folder.path(), text), Timestamp::UNIX_EPOCH), Ok(None), "{text}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

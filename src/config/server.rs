//! `[server]` and `[tls]`: who this machine is, where it keeps what, and the certificate it shows to mail clients.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::File;
use super::values;

/// What EHLO, Received and bounces say when nothing is set: fits a laptop, not the internet.
const HOSTNAME: &str = "localhost";
/// Beside the config file, so that a fresh checkout needs no root.
const DATA_DIR: &str = "data";
/// Where the first run puts its self-signed certificate.
const CERTIFICATE: &str = "certs/relay.crt";
/// A renewal comes a month before the end, so a minute is soon enough; a look costs two system calls.
const RELOAD_SECS: u64 = 60;
/// And its key.
const PRIVATE_KEY: &str = "certs/relay.key";

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Lower-case A-labels.
    pub hostname: String,
    /// Absolute when the folder of the config file is. Stores, keys, inbox, admin socket; mode 0700.
    pub data_dir: PathBuf,
}

/// `[tls]`: PEM files for the listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The server's own certificate first, then its issuers.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
    /// Both are the shipped names: the first run may make a self-signed pair. A path that an operator chose is never filled by us.
    pub may_generate: bool,
    /// How often the files are looked at for a change.
    pub reload: Duration,
}

impl ServerConfig {
    pub(super) fn read(file: &File<'_>, base_dir: &Path) -> ServerConfig {
        let section = file.section("server");
        let hostname = section.parsed("hostname", "\"relay.example.com\"", values::domain);
        let data_dir = section.parsed("data_dir", "\"data\"", |text| path(base_dir, text));
        section.finish();
        ServerConfig {
            hostname: hostname.unwrap_or_else(|| HOSTNAME.to_owned()),
            data_dir: data_dir.unwrap_or_else(|| base_dir.join(DATA_DIR)),
        }
    }
}

impl TlsConfig {
    pub(super) fn read(file: &File<'_>, base_dir: &Path) -> TlsConfig {
        let section = file.section("tls");
        let certificate = section.parsed("certificate", "\"certs/relay.crt\"", |text| path(base_dir, text));
        let private_key = section.parsed("private_key", "\"certs/relay.key\"", |text| path(base_dir, text));
        let reload_secs = section.number("reload_secs", 1..=86_400, RELOAD_SECS).unwrap_or(RELOAD_SECS);
        section.finish();
        let shipped = (base_dir.join(CERTIFICATE), base_dir.join(PRIVATE_KEY));
        let certificate = certificate.unwrap_or_else(|| shipped.0.clone());
        let private_key = private_key.unwrap_or_else(|| shipped.1.clone());
        let may_generate = certificate == shipped.0 && private_key == shipped.1;
        TlsConfig { certificate, private_key, may_generate, reload: Duration::from_secs(reload_secs) }
    }
}

/// A path, relative to the folder of the config file.
pub(super) fn path(base_dir: &Path, text: &str) -> Result<PathBuf, super::problem::Wrong> {
    values::printable(text, "write a path; a relative one starts at the folder of this file")
        .map(|text| base_dir.join(text))
}

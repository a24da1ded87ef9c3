//! What is kept: `data_dir/acme/account.json`, `certificate.pem`, `status.json`; mode 0600, in a folder of mode 0700.
//!
//! **Invariant:** a file appears whole or not at all: temporary name, fsync, rename, fsync of the folder. Certificate and key
//! are one file, so no crash leaves one without the other.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Status;

/// Key first, then the chain.
pub(super) const CERTIFICATE: &str = "certificate.pem";
const ACCOUNT: &str = "account.json";
const STATUS: &str = "status.json";

/// The folder.
#[derive(Clone)]
pub(super) struct Files {
    folder: PathBuf,
}

/// The account at one CA; its key is a secret.
#[derive(Serialize, Deserialize)]
pub(super) struct AccountFile {
    /// An account is known to one CA only.
    pub(super) directory: String,
    /// As the library writes them.
    pub(super) credentials: serde_json::Value,
}

impl Files {
    pub(super) fn new(folder: &Path) -> Files {
        Files { folder: folder.to_owned() }
    }

    pub(super) fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    /// `None` when it is not there or unreadable: a CA gives out a new one for nothing.
    pub(super) fn account(&self, directory: &str) -> Option<AccountFile> {
        let file: AccountFile = serde_json::from_slice(&fs::read(self.folder.join(ACCOUNT)).ok()?).ok()?;
        (file.directory == directory).then_some(file)
    }

    pub(super) fn put_account(&self, account: &AccountFile) -> io::Result<()> {
        self.put(ACCOUNT, &serde_json::to_vec_pretty(account)?)
    }

    pub(super) fn forget_account(&self) -> io::Result<()> {
        fs::remove_file(self.folder.join(ACCOUNT))
    }

    pub(super) fn certificate(&self) -> Option<Vec<u8>> {
        fs::read(self.folder.join(CERTIFICATE)).ok()
    }

    pub(super) fn put_certificate(&self, pem: &str) -> io::Result<()> {
        self.put(CERTIFICATE, pem.as_bytes())
    }

    pub(super) fn status(&self) -> Option<Status> {
        serde_json::from_slice(&fs::read(self.folder.join(STATUS)).ok()?).ok()
    }

    pub(super) fn put_status(&self, status: &Status) -> io::Result<()> {
        self.put(STATUS, &serde_json::to_vec_pretty(status)?)
    }

    fn put(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let (path, new) = (self.folder.join(name), self.folder.join(format!("{name}.new")));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_ours_alone_and_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(&folder.path().join("acme"));
        files.make_folder().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("acme")), 0o700);
        let account = AccountFile { directory: "https://a".to_owned(), credentials: serde_json::json!({"id": "x"}) };
        files.put_account(&account).unwrap();
        assert_eq!(files.account("https://a").unwrap().credentials, account.credentials);
        assert!(files.account("https://b").is_none(), "another CA does not know it");
        let status = Status { failures: 3, last_error: "words".to_owned(), ..Status::default() };
        files.put_status(&status).unwrap();
        files.put_status(&status).unwrap();
        assert_eq!(files.status(), Some(status));
        files.put_certificate("pem").unwrap();
        assert_eq!(files.certificate().as_deref(), Some(b"pem".as_slice()));
        for name in [ACCOUNT, STATUS, CERTIFICATE] {
            assert_eq!(mode(&folder.path().join("acme").join(name)), 0o600, "{name}");
        }
        fs::write(folder.path().join("acme").join(STATUS), "{").unwrap();
        assert_eq!(files.status(), None);
        files.forget_account().unwrap();
        assert!(files.account("https://a").is_none());
    }
}

//! `data/keys.toml` on disk: read, made, and replaced whole.
//!
//! **Invariant:** a new key or site is on the medium before anything is sealed with it, and a key file is never made
//! where one must have been: links sent under the lost one would be dead and nobody would know why.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::disk::replace_file;
use super::{HISTORY_FILE, SETTINGS_FOLDER};
use crate::token::{Keyring, KeyringError, RootKey, Secret, Site, SiteId};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The system's.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Others than the owner may read it.
    #[error("{path} may be read by others (mode {mode:04o}): `chmod 600 {path}`, and rotate the key if someone has", path = path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What stands in it.
    #[error("{path}: {source}", path = path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: KeyringError,
    },
    /// It is gone, and mail was sent.
    #[error(
        "{path} is missing, but {found} is there: restore the key file from its backup, for no link sent so far works without it; \
         to start anew all the same, move {found} away", path = path.display(), found = found.display()
    )]
    Missing {
        /// Which file.
        path: PathBuf,
        /// The store that shows that mail was sent.
        found: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// Reads the key file, or makes one with a first key where none can have been, and sees to it that the default site is
/// at `public_url` (the URL it had is kept as a former one). Called before the stores are opened: a store that is there
/// already shows that mail was sent. Blocks.
///
/// # Errors
/// [`KeyFileError`].
pub fn open(path: &Path, public_url: &str, now: Timestamp) -> Result<Keyring, KeyFileError> {
    let keyring = match std::fs::read_to_string(path) {
        Ok(text) => read(path, &text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return create(path, public_url, now),
        Err(source) => return Err(KeyFileError::Io { path: path.to_owned(), source }),
    };
    if keyring.default_site().is_some_and(|site| site.url == public_url) {
        return Ok(keyring);
    }
    save(path, keyring.with_default_url(public_url))
}

/// Adds a key, which is from now on in use. Blocks.
///
/// # Errors
/// [`KeyFileError`]: the old key file still stands and its keyring goes on.
pub fn rotate(path: &Path, keyring: &Keyring, now: Timestamp) -> Result<Keyring, KeyFileError> {
    save(path, keyring.rotated(random_secret()?, now))
}

/// Revokes a key: its links answer 404 from now on. Blocks.
///
/// # Errors
/// [`KeyFileError`]: the old key file still stands and its keyring goes on.
pub fn revoke(path: &Path, keyring: &Keyring, id: u8, now: Timestamp) -> Result<Keyring, KeyFileError> {
    save(path, keyring.revoked(id, now))
}

/// Sees to it that a site is at `url` which formerly was at `former_urls`. Blocks.
///
/// # Errors
/// [`KeyFileError`]: the old key file still stands and its keyring goes on.
pub fn ensure_site(path: &Path, keyring: &Keyring, url: &str, former_urls: &[String]) -> Result<Keyring, KeyFileError> {
    let mut fresh = random_site()?;
    while keyring.site(fresh).is_some() {
        fresh = random_site()?;
    }
    let changed = keyring.with_site(url, former_urls, fresh);
    if changed.as_ref().is_ok_and(|changed| changed.sites() == keyring.sites()) {
        return changed.map_err(|source| KeyFileError::Content { path: path.to_owned(), source });
    }
    save(path, changed)
}

fn read(path: &Path, text: &str) -> Result<Keyring, KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    Keyring::parse(text).map_err(|source| KeyFileError::Content { path: path.to_owned(), source })
}

fn create(path: &Path, public_url: &str, now: Timestamp) -> Result<Keyring, KeyFileError> {
    let beside = |name: &str| path.with_file_name(name);
    if let Some(found) = [beside(SETTINGS_FOLDER), beside(HISTORY_FILE)].into_iter().find(|store| store.exists()) {
        return Err(KeyFileError::Missing { path: path.to_owned(), found });
    }
    let key = RootKey { id: 0, secret: random_secret()?, created: now, revoked: None };
    let site = Site { id: random_site()?, url: public_url.to_owned(), former_urls: Vec::new(), default: true };
    save(path, Keyring::new(vec![key], vec![site]))
}

fn save(path: &Path, keyring: Result<Keyring, KeyringError>) -> Result<Keyring, KeyFileError> {
    let written = keyring.and_then(|keyring| Ok((keyring.print()?, keyring)));
    let (text, keyring) = written.map_err(|source| KeyFileError::Content { path: path.to_owned(), source })?;
    replace_file(path, text.as_bytes()).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
    Ok(keyring)
}

fn random_secret() -> Result<Secret, KeyFileError> {
    let mut secret = Secret([0; 32]);
    getrandom::fill(&mut secret.0).map_err(KeyFileError::Random)?;
    Ok(secret)
}

fn random_site() -> Result<SiteId, KeyFileError> {
    let mut site = [0; 4];
    getrandom::fill(&mut site).map_err(KeyFileError::Random)?;
    Ok(SiteId(site))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Kind, MessageId, TokenId};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const URL: &str = "http://127.0.0.1:8025";
    const ID: TokenId = TokenId { message: MessageId(1), recipient: 2, link: 3 };

    fn sealed(keyring: &Keyring) -> String {
        let site = keyring.default_site().unwrap().id;
        keyring.sealer(site, keyring.current_key().unwrap()).unwrap().seal(Kind::Click, ID, b"x")
    }

    #[test]
    fn a_first_start_makes_a_key_file_and_the_next_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let first = open(&path, URL, NOW).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = open(&path, URL, NOW).unwrap();
        assert_eq!((second.keys(), second.sites()), (first.keys(), first.sites()));
        let other = tempfile::tempdir().unwrap();
        let other = open(&other.path().join("keys.toml"), URL, NOW).unwrap();
        assert_ne!(other.keys(), first.keys());
        assert_ne!(other.sites(), first.sites());
    }

    /// Through a changed public URL, a rotation and a new site, each read again from the file.
    #[test]
    fn old_tokens_open_after_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let token = sealed(&open(&path, URL, NOW).unwrap());
        let renamed = open(&path, "https://t.example.com", NOW).unwrap();
        let rotated = rotate(&path, &renamed, NOW).unwrap();
        ensure_site(&path, &rotated, "https://t.acme.example", &["https://old.acme.example".to_owned()]).unwrap();
        let read = open(&path, "https://t.example.com", NOW).unwrap();
        assert_eq!((read.keys().len(), read.sites().len()), (2, 2));
        assert_eq!(read.sites()[0].former_urls, [URL]);
        for host in ["127.0.0.1:8025", "t.example.com"] {
            assert!(read.open_at(Some(host), Kind::Click, &token).is_ok(), "{host}");
        }
        assert_ne!(sealed(&read), token, "the new key is in use");
        let revoked = revoke(&path, &read, 0, NOW).unwrap();
        assert!(revoked.open_at(None, Kind::Click, &token).is_err());
    }

    #[test]
    fn a_site_that_is_there_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let keyring = open(&path, URL, NOW).unwrap();
        let keyring = ensure_site(&path, &keyring, "https://t.acme.example", &[]).unwrap();
        std::fs::remove_file(&path).unwrap();
        let same = ensure_site(&path, &keyring, "https://t.acme.example", &[]).unwrap();
        assert_eq!(same.sites(), keyring.sites());
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        open(&path, URL, NOW).unwrap();
        for mode in [0o640, 0o604, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = open(&path, URL, NOW).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        open(&path, URL, NOW).unwrap();
    }

    #[test]
    fn a_lost_file_is_not_made_anew_beside_a_store() {
        for store in [SETTINGS_FOLDER, HISTORY_FILE] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join(store)).unwrap();
            let path = folder.path().join("keys.toml");
            assert!(matches!(open(&path, URL, NOW), Err(KeyFileError::Missing { .. })));
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_damaged_file_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        replace_file(&path, b"[[key]]\nid = 0\n").unwrap();
        assert!(matches!(open(&path, URL, NOW), Err(KeyFileError::Content { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"[[key]]\nid = 0\n");
    }
}

//! The few calls on files that make a change durable, as a trait, so that a test can make each of them fail.
//!
//! **Invariant:** what a call here acknowledged is on the medium, not in a cache: `fsync` and `fdatasync`, nothing less.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What the settings store asks of the disk besides what sled does itself.
pub trait Disk: Send + 'static {
    /// Bytes an unprivileged process may still write on the file system of `folder`.
    ///
    /// # Errors
    /// The system's.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;

    /// Makes a freshly opened and flushed sled folder durable: its `db` and `conf`, the folder, `blobs/`, the parent.
    /// Keeps `db` open for [`Disk::sync_changes`].
    ///
    /// # Errors
    /// The system's.
    fn sync_opened(&mut self, folder: &Path) -> io::Result<()>;

    /// Makes what sled has flushed since durable.
    ///
    /// # Errors
    /// The system's; after one, nothing may be acknowledged any more.
    fn sync_changes(&mut self) -> io::Result<()>;
}

/// The disk itself.
#[derive(Debug, Default)]
pub struct RealDisk {
    db: Option<File>,
}

impl Disk for RealDisk {
    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn sync_opened(&mut self, folder: &Path) -> io::Result<()> {
        let db = OpenOptions::new().write(true).open(folder.join("db"))?;
        db.sync_all()?;
        File::open(folder.join("conf"))?.sync_all()?;
        sync_folder(folder)?;
        sync_folder(&folder.join("blobs"))?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent)?;
        }
        self.db = Some(db);
        Ok(())
    }

    fn sync_changes(&mut self) -> io::Result<()> {
        match &self.db {
            Some(db) => db.sync_data(),
            None => Err(io::Error::other("the settings store was not opened")),
        }
    }
}

/// Makes the entries of a folder durable.
///
/// # Errors
/// The system's.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Puts a whole file in place, mode 0600: temporary name, fsync, rename, fsync of the folder. After an error the old
/// file, if any, still stands.
///
/// # Errors
/// The system's.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_whole_and_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        for content in ["first, and longer", "second"] {
            replace_file(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn what_cannot_be_replaced_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        std::fs::create_dir(&path).unwrap();
        assert!(replace_file(&path, b"x").is_err());
        assert!(path.is_dir());
    }
}

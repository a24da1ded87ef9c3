//! One database file: read whole, and again when it changes.
//!
//! **Invariant:** a reader in use is whole; it is swapped, never changed. A file that cannot be read is tried again when it
//! changes, and said once.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use maxminddb::{MaxMindDbError, Reader};

use super::GeoError;

/// What tells one file from the next under the same name: inode, length, modification time in nanoseconds.
type Stamp = (u64, u64, i64, i64);

/// A database, or the place where one is expected.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    reader: ArcSwapOption<Readable>,
    /// The file that was last tried; `None` when there was none.
    tried: Mutex<Option<Stamp>>,
}

/// A reader, which cannot be printed.
pub(super) struct Readable(Reader<Vec<u8>>);

impl std::fmt::Debug for Readable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Readable")
    }
}

impl std::ops::Deref for Readable {
    type Target = Reader<Vec<u8>>;
    fn deref(&self) -> &Reader<Vec<u8>> {
        &self.0
    }
}

impl File {
    /// Reads the database; where nothing is, that is said and there may be one later.
    ///
    /// # Errors
    /// [`GeoError`]: something is there, but no database.
    pub(super) fn open(path: &Path) -> Result<File, GeoError> {
        let file = File { path: path.to_owned(), reader: ArcSwapOption::empty(), tried: Mutex::new(None) };
        let failed = |source| GeoError { path: path.to_owned(), source };
        match stamp(path) {
            Ok(Some(stamp)) => {
                *file.tried() = Some(stamp);
                file.read().map_err(failed)?;
            }
            Ok(None) => tracing::warn!(path = %path.display(), "there is no geo database: places stay unknown"),
            Err(error) => return Err(failed(MaxMindDbError::Io(error))),
        }
        Ok(file)
    }

    /// The database in use.
    pub(super) fn reader(&self) -> Option<Arc<Readable>> {
        self.reader.load_full()
    }

    /// Reads it again if it has changed; whether a new one is in use.
    pub(super) fn refresh(&self) -> bool {
        let path = self.path.display();
        let mut tried = self.tried();
        let now = match stamp(&self.path) {
            Ok(now) => now,
            Err(error) => {
                tracing::debug!(%path, %error, "the geo database cannot be looked at");
                return false;
            }
        };
        if *tried == now {
            return false;
        }
        *tried = now;
        if now.is_none() {
            tracing::warn!(%path, "the geo database is gone: what was read of it stays in use until the next start");
            return false;
        }
        match self.read() {
            Ok(()) => {
                tracing::info!(%path, "the geo database was read again");
                true
            }
            Err(error) => {
                tracing::warn!(%path, %error, "the geo database has changed and cannot be read: the old one stays in use");
                false
            }
        }
    }

    fn read(&self) -> Result<(), MaxMindDbError> {
        let reader = Reader::open_readfile(&self.path)?;
        self.reader.store(Some(Arc::new(Readable(reader))));
        Ok(())
    }

    fn tried(&self) -> std::sync::MutexGuard<'_, Option<Stamp>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    match std::fs::metadata(path) {
        Ok(of) => Ok(Some((of.ino(), of.len(), of.mtime(), of.mtime_nsec()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Geo;

    fn shipped(name: &str) -> Vec<u8> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo").join(name)).unwrap()
    }

    fn put(path: &Path, octets: &[u8]) {
        let whole = path.with_extension("new");
        std::fs::write(&whole, octets).unwrap();
        std::fs::rename(whole, path).unwrap();
    }

    /// One that appears, one that replaces it, one that is broken, none at all, and a good one again.
    #[test]
    fn a_file_that_changes_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("places.mmdb");
        let geo = Geo::open(std::slice::from_ref(&path)).unwrap();
        let city = || geo.place("192.0.2.77".parse().unwrap()).city;
        let country = || geo.place("192.0.2.77".parse().unwrap()).country;
        assert_eq!((geo.refresh(), country()), (0, None));
        put(&path, &shipped("countries-test.mmdb"));
        assert_eq!((geo.refresh(), country().as_deref(), city()), (1, Some("IT"), None));
        assert_eq!(geo.refresh(), 0, "nothing has changed");
        put(&path, &shipped("cities-test.mmdb"));
        assert_eq!((geo.refresh(), city().as_deref()), (1, Some("Turin")));
        for broken in [&shipped("countries-test.mmdb")[..200], b"".as_slice(), b"no database"] {
            put(&path, broken);
            assert_eq!((geo.refresh(), city().as_deref()), (0, Some("Turin")), "the old one stays in use");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!((geo.refresh(), city().as_deref()), (0, Some("Turin")));
        put(&path, &shipped("countries-test.mmdb"));
        assert_eq!((geo.refresh(), country().as_deref(), city()), (1, Some("IT"), None));
    }

    /// While one thread changes the file, others always find the place.
    #[test]
    fn no_look_up_is_lost_while_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("places.mmdb");
        put(&path, &shipped("cities-test.mmdb"));
        let geo = Geo::open(std::slice::from_ref(&path)).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let lookers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut asked = 0_u64;
                        while !done.load(std::sync::atomic::Ordering::Relaxed) || asked == 0 {
                            let place = geo.place("192.0.2.77".parse().unwrap());
                            assert_eq!(place.country.as_deref(), Some("IT"));
                            asked += 1;
                        }
                        asked
                    })
                })
                .collect();
            for turn in 0..20 {
                let name = if turn % 2 == 0 { "countries-test.mmdb" } else { "cities-test.mmdb" };
                put(&path, &shipped(name));
                assert_eq!(geo.refresh(), 1);
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(lookers.into_iter().all(|looker| looker.join().unwrap() > 0));
        });
    }
}

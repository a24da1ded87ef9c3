//! Spool files on a disk that may fail: whole or not at all, and the owner's lock.
//!
//! A new record is `tmp → fsync → rename → fsync the folder`; only then may anyone say 250. An fsync that failed is
//! never tried again on the same file (the kernel has already dropped the dirty pages): the file is deleted and the
//! caller told. A record ends by unlinking its mail file, syncing the folder, and only then its state file: the other
//! way round, a power cut could bring the mail back with its first state and deliver it twice.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock, statvfs};

use super::record::{FormatError, Head, Record, State};
use crate::token::MessageId;

/// What the spool asks of a file system. All calls block.
pub trait Files: Send + Sync {
    /// Creates `path` (which must not exist) with these octets, mode 0600, and fsyncs it.
    ///
    /// # Errors
    /// The system's; the file may then exist in part.
    fn write_synced(&self, path: &Path, parts: &[Bytes]) -> io::Result<()>;
    /// Atomically gives `from` the name `to`.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the folder's entries durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Unlinks; a file that is not there is no error.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Reads a file whole.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Reads the first octets of a file, at most `bytes_max` of them.
    ///
    /// # Errors
    /// The system's.
    fn read_start(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut octets = self.read(path)?;
        octets.truncate(bytes_max);
        Ok(octets)
    }
    /// Names in a folder.
    ///
    /// # Errors
    /// The system's.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Octets free for us, and in all.
    ///
    /// # Errors
    /// The system's.
    fn space(&self, folder: &Path) -> io::Result<(u64, u64)>;
}

/// The real thing.
#[derive(Debug, Default, Clone, Copy)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn write_synced(&self, path: &Path, parts: &[Bytes]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
    fn read_start(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        File::open(path)?.take(u64::try_from(bytes_max).unwrap_or(u64::MAX)).read_to_end(&mut octets)?;
        Ok(octets)
    }
    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
    fn space(&self, folder: &Path) -> io::Result<(u64, u64)> {
        let stat = statvfs(folder)?;
        Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
    }
}

/// Holds the head of a mail to a hundred recipients; a longer one costs a second read.
const HEAD_READ_BYTES: usize = 64 * 1024;

/// Why the spool could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk is full, read-only or failing. Nothing was promised.
    #[error("spool {path}: {source}")]
    Disk {
        /// The file concerned.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another process owns this spool.
    #[error("{0} is in use by another waxseal process: stop it, or give this one its own data_dir")]
    InUse(PathBuf),
    /// The record cannot be written or read.
    #[error("spool record {id}: {source}")]
    Format {
        /// Which record.
        id: MessageId,
        /// What is wrong.
        source: FormatError,
    },
}

impl SpoolError {
    /// Whether the disk is out of space or inodes, so that the right words are `452 4.3.1`.
    pub fn is_full(&self) -> bool {
        matches!(self, SpoolError::Disk { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// The spool folder, owned by this process alone. Cheap to clone. Every method blocks: call it on a blocking thread.
#[derive(Clone)]
pub struct Spool {
    folder: PathBuf,
    files: Arc<dyn Files>,
    /// Holds the owner's lock until the last clone is gone.
    _lock: Arc<File>,
}

impl Spool {
    /// Opens (and makes) `folder` with its `tmp/` and `corrupt/`, and takes the owner's lock.
    ///
    /// # Errors
    /// [`SpoolError::InUse`] when another process has it; [`SpoolError::Disk`] otherwise.
    pub fn open(folder: &Path, files: Arc<dyn Files>) -> Result<Spool, SpoolError> {
        let disk = |path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::Disk { path, source }
        };
        for dir in [folder.to_owned(), folder.join("tmp"), folder.join("corrupt")] {
            fs::create_dir_all(&dir).map_err(disk(&dir))?;
        }
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(disk(&lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| SpoolError::InUse(folder.to_owned()))?;
        Ok(Spool { folder: folder.to_owned(), files, _lock: Arc::new(lock) })
    }

    /// Writes a new record durably. When this returns `Ok`, a 250 may be said.
    ///
    /// # Errors
    /// [`SpoolError`]: nothing of it is left, and nothing was promised.
    pub fn add(&self, record: &Record) -> Result<(), SpoolError> {
        let parts = record.encode().map_err(|source| SpoolError::Format { id: record.id, source })?;
        self.replace(&self.mail_path(record.id), &parts)
    }

    /// Replaces the state of a record durably.
    ///
    /// # Errors
    /// [`SpoolError`]: the state before stands.
    pub fn set_state(&self, id: MessageId, state: &State) -> Result<(), SpoolError> {
        let octets = state.encode().map_err(|source| SpoolError::Format { id, source })?;
        // A failed folder sync would leave the new state in place: that is harmless, it is the truth.
        let path = self.state_path(id);
        let tmp = self.tmp_path(&path);
        self.write_tmp(&tmp, &[octets])?;
        self.files.rename(&tmp, &path).map_err(|source| self.disk(&path, source))?;
        self.files.sync_folder(&self.folder).map_err(|source| self.disk(&self.folder, source))
    }

    /// Reads a record and its present state.
    ///
    /// # Errors
    /// [`SpoolError::Format`]: move it aside with [`Spool::set_aside`]. [`SpoolError::Disk`]: try again later.
    pub fn load(&self, id: MessageId) -> Result<(Record, State), SpoolError> {
        let path = self.mail_path(id);
        let octets: Bytes = self.files.read(&path).map_err(|source| self.disk(&path, source))?.into();
        let record = Record::decode(&octets).map_err(|source| SpoolError::Format { id, source })?;
        let state = self.state_of(&record)?;
        Ok((record, state))
    }

    /// Reads what there is to know of a record without its mail: enough for a list, cheap however large the mail is.
    /// The checksum, which covers the mail, is not looked at.
    ///
    /// # Errors
    /// As [`Spool::load`].
    pub fn head(&self, id: MessageId) -> Result<(Head, State), SpoolError> {
        let path = self.mail_path(id);
        let start = self.files.read_start(&path, HEAD_READ_BYTES).map_err(|source| self.disk(&path, source))?;
        let head = match Record::decode_head(&start) {
            Err(FormatError::Truncated) if start.len() == HEAD_READ_BYTES => {
                let whole = self.files.read(&path).map_err(|source| self.disk(&path, source))?;
                Record::decode_head(&whole)
            }
            decoded => decoded,
        };
        let head = head.map_err(|source| SpoolError::Format { id, source })?;
        let state = self.state_of(&head.record)?;
        Ok((head, state))
    }

    fn state_of(&self, record: &Record) -> Result<State, SpoolError> {
        let id = record.id;
        let path = self.state_path(id);
        let state = match self.files.read(&path) {
            Ok(octets) => State::decode(&octets).map_err(|source| SpoolError::Format { id, source })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => record.first_state.clone(),
            Err(source) => return Err(self.disk(&path, source)),
        };
        if state.recipients.len() != record.envelope.recipients.len() {
            let source = FormatError::Header("state and mail file differ in their recipients".to_owned());
            return Err(SpoolError::Format { id, source });
        }
        Ok(state)
    }

    /// Ends a record: everything about it is settled.
    ///
    /// # Errors
    /// [`SpoolError::Disk`]: it may still be there; its state says that nothing is to be done.
    pub fn remove(&self, id: MessageId) -> Result<(), SpoolError> {
        let mail = self.mail_path(id);
        self.files.remove(&mail).map_err(|source| self.disk(&mail, source))?;
        self.files.sync_folder(&self.folder).map_err(|source| self.disk(&self.folder, source))?;
        let state = self.state_path(id);
        self.files.remove(&state).map_err(|source| self.disk(&state, source))
    }

    /// Moves an unreadable record into `corrupt/`, where a person can look at it. It is never dropped.
    ///
    /// # Errors
    /// [`SpoolError::Disk`]: it stays where it is.
    pub fn set_aside(&self, id: MessageId) -> Result<(), SpoolError> {
        for path in [self.mail_path(id), self.state_path(id)] {
            let Some(name) = path.file_name() else { continue };
            match self.files.rename(&path, &self.folder.join("corrupt").join(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(self.disk(&path, e)),
                _ => {}
            }
        }
        self.files.sync_folder(&self.folder).map_err(|source| self.disk(&self.folder, source))
    }

    /// The ids of all records, in no order; removes what a crash left half-written (never promised to anyone).
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub fn ids(&self) -> Result<Vec<MessageId>, SpoolError> {
        let tmp = self.folder.join("tmp");
        for name in self.files.names(&tmp).map_err(|source| self.disk(&tmp, source))? {
            let path = tmp.join(name);
            self.files.remove(&path).map_err(|source| self.disk(&path, source))?;
        }
        let names = self.files.names(&self.folder).map_err(|source| self.disk(&self.folder, source))?;
        let named = |suffix: &str| -> Vec<MessageId> {
            names.iter().filter_map(|name| name.strip_suffix(suffix)?.parse().ok()).collect()
        };
        let mails = named(".mail");
        for orphan in named(".state").into_iter().filter(|id| !mails.contains(id)) {
            let path = self.state_path(orphan);
            self.files.remove(&path).map_err(|source| self.disk(&path, source))?;
        }
        Ok(mails)
    }

    /// How many records stand in `corrupt/`, whichever of their files is left.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub fn corrupt_count(&self) -> Result<usize, SpoolError> {
        Ok(self.corrupt_stems()?.len())
    }

    /// Which they are.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub fn corrupt_ids(&self) -> Result<HashSet<MessageId>, SpoolError> {
        Ok(self.corrupt_stems()?.iter().filter_map(|stem| stem.parse().ok()).collect())
    }

    fn corrupt_stems(&self) -> Result<HashSet<String>, SpoolError> {
        let folder = self.folder.join("corrupt");
        let names = self.files.names(&folder).map_err(|source| self.disk(&folder, source))?;
        Ok(names.iter().map(|name| name.split('.').next().unwrap_or_default().to_owned()).collect())
    }

    /// Octets free and in all on the spool's file system.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub fn space(&self) -> Result<(u64, u64), SpoolError> {
        self.files.space(&self.folder).map_err(|source| self.disk(&self.folder, source))
    }

    /// `tmp → fsync → rename → fsync the folder`; on any failure nothing is left under `path`.
    fn replace(&self, path: &Path, parts: &[Bytes]) -> Result<(), SpoolError> {
        let tmp = self.tmp_path(path);
        self.write_tmp(&tmp, parts)?;
        if let Err(source) = self.files.rename(&tmp, path) {
            self.discard(&tmp);
            self.discard(path); // a network file system may have carried it out all the same
            return Err(self.disk(path, source));
        }
        if let Err(source) = self.files.sync_folder(&self.folder) {
            self.discard(path);
            return Err(self.disk(&self.folder, source));
        }
        Ok(())
    }

    fn write_tmp(&self, tmp: &Path, parts: &[Bytes]) -> Result<(), SpoolError> {
        self.files.write_synced(tmp, parts).map_err(|source| {
            self.discard(tmp);
            self.disk(tmp, source)
        })
    }

    /// Best effort: what stays behind in `tmp/` is removed at the next start.
    fn discard(&self, path: &Path) {
        if let Err(error) = self.files.remove(path) {
            tracing::warn!(path = %path.display(), %error, "could not remove an unfinished spool file");
        }
    }

    fn tmp_path(&self, path: &Path) -> PathBuf {
        self.folder.join("tmp").join(path.file_name().unwrap_or_default())
    }

    fn mail_path(&self, id: MessageId) -> PathBuf {
        self.folder.join(format!("{id}.mail"))
    }

    fn state_path(&self, id: MessageId) -> PathBuf {
        self.folder.join(format!("{id}.state"))
    }

    fn disk(&self, path: &Path, source: io::Error) -> SpoolError {
        SpoolError::Disk { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::message::{Envelope, Recipient};
    use crate::smtp::extension::{MailParams, RcptParams};
    use crate::smtp::path::{ForwardPath, Mailbox, ReversePath};
    use crate::spool::record::Stage;

    /// A disk that fails its Nth call with EIO and remembers what it was asked.
    struct FailingFiles {
        fail_at: usize,
        calls: Mutex<Vec<String>>,
    }

    impl FailingFiles {
        fn new(fail_at: usize) -> FailingFiles {
            FailingFiles { fail_at, calls: Mutex::new(Vec::new()) }
        }

        fn call<T>(&self, what: String, real: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
            let mut calls = self.calls.lock().unwrap();
            calls.push(what);
            let fails = calls.len() == self.fail_at;
            drop(calls);
            let done = real();
            // The call is carried out and reported as failed: the worst a disk can do.
            if fails { Err(io::Error::from_raw_os_error(5)) } else { done }
        }
    }

    impl Files for FailingFiles {
        fn write_synced(&self, path: &Path, parts: &[Bytes]) -> io::Result<()> {
            self.call(format!("write {}", path.display()), || DiskFiles.write_synced(path, parts))
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.call("rename".to_owned(), || DiskFiles.rename(from, to))
        }
        fn sync_folder(&self, folder: &Path) -> io::Result<()> {
            self.call("sync folder".to_owned(), || DiskFiles.sync_folder(folder))
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            DiskFiles.remove(path)
        }
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            DiskFiles.read(path)
        }
        fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
            DiskFiles.names(folder)
        }
        fn space(&self, folder: &Path) -> io::Result<(u64, u64)> {
            DiskFiles.space(folder)
        }
    }

    fn record(id: u64) -> Record {
        let mailbox = |text: &str| Mailbox::parse(text.as_bytes(), false).unwrap();
        Record {
            id: MessageId(id),
            accepted_at_ms: 1,
            org: "default".to_owned(),
            login: None,
            own_report: false,
            envelope: Envelope {
                reverse_path: ReversePath::Mailbox(mailbox("a@x.test")),
                params: MailParams::default(),
                recipients: vec![Recipient { path: ForwardPath(mailbox("b@ok.test")), params: RcptParams::default() }],
            },
            first_state: State::waiting(1, 0),
            recipe: "{}".to_owned(),
            via: crate::spool::Via::default(),
            raw: Bytes::from_static(b"Subject: x\r\n\r\nhi\r\n"),
        }
    }

    /// Whatever call fails, an `add` that says no leaves nothing to deliver, and no fsync is asked for twice.
    #[test]
    fn a_failed_add_leaves_nothing_and_repeats_no_fsync() {
        for fail_at in 1..=3 {
            let dir = tempfile::tempdir().unwrap();
            let files = Arc::new(FailingFiles::new(fail_at));
            let spool = Spool::open(dir.path(), files.clone()).unwrap();
            assert!(spool.add(&record(7)).is_err(), "call {fail_at} failed");
            assert_eq!(spool.ids().unwrap(), [], "call {fail_at} failed");
            let calls = files.calls.lock().unwrap();
            let writes = calls.iter().filter(|c| c.starts_with("write")).count();
            assert_eq!(writes, 1, "a failed fsync was tried again: {calls:?}");
        }
    }

    #[test]
    fn a_state_outlives_the_process_and_an_ended_record_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), Arc::new(DiskFiles)).unwrap();
        spool.add(&record(7)).unwrap();
        assert_eq!(spool.load(MessageId(7)).unwrap(), (record(7), State::waiting(1, 0)));
        let mut state = State::waiting(1, 99);
        state.recipients[0].stage = Stage::InFlight;
        spool.set_state(MessageId(7), &state).unwrap();
        drop(spool);
        let spool = Spool::open(dir.path(), Arc::new(DiskFiles)).unwrap();
        assert_eq!(spool.load(MessageId(7)).unwrap().1, state);
        spool.remove(MessageId(7)).unwrap();
        assert_eq!(spool.ids().unwrap(), []);
    }

    /// A list needs no mail: the head comes from a short read, and from a second one where it is longer than that.
    #[test]
    fn a_head_is_read_without_the_mail() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), Arc::new(DiskFiles)).unwrap();
        let large = Bytes::from(vec![b'x'; 2 * HEAD_READ_BYTES]);
        for recipe in ["{}".to_owned(), format!("{{\"x\":\"{}\"}}", "y".repeat(HEAD_READ_BYTES))] {
            let written = Record { raw: large.clone(), recipe, ..record(7) };
            spool.add(&written).unwrap();
            let (head, state) = spool.head(MessageId(7)).unwrap();
            assert_eq!((head.record, head.body_bytes), (Record { raw: Bytes::new(), ..written }, large.len()));
            assert_eq!(state, State::waiting(1, 0));
            spool.remove(MessageId(7)).unwrap();
        }
        assert!(matches!(spool.head(MessageId(7)), Err(SpoolError::Disk { .. })));
        fs::write(dir.path().join("0000000000000009.mail"), "something else").unwrap();
        assert!(matches!(spool.head(MessageId(9)), Err(SpoolError::Format { .. })));
    }

    /// Two processes on one spool would deliver everything twice.
    #[test]
    fn a_second_owner_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = Spool::open(dir.path(), Arc::new(DiskFiles)).unwrap();
        assert!(matches!(Spool::open(dir.path(), Arc::new(DiskFiles)), Err(SpoolError::InUse(_))));
        drop(first);
        assert!(Spool::open(dir.path(), Arc::new(DiskFiles)).is_ok());
    }

    #[test]
    fn a_damaged_record_is_set_aside_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), Arc::new(DiskFiles)).unwrap();
        spool.add(&record(7)).unwrap();
        let path = dir.path().join("0000000000000007.mail");
        let mut octets = fs::read(&path).unwrap();
        let last = octets.len() - 80;
        octets[last] ^= 1;
        fs::write(&path, octets).unwrap();
        assert!(matches!(spool.load(MessageId(7)), Err(SpoolError::Format { .. })));
        spool.set_aside(MessageId(7)).unwrap();
        assert_eq!(spool.ids().unwrap(), []);
        assert_eq!(spool.corrupt_count().unwrap(), 1);
    }
}

//! The inbox's folder: files appear whole, the oldest go.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::entry::{Entry, EntryId, Stored};

/// Made readable for the owner only: it holds mail.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Both files, durable when this returns.
pub(super) fn write(folder: &Path, entry: &Entry, raw: &[u8]) -> io::Result<()> {
    let side = entry.to_toml().map_err(io::Error::other)?;
    write_whole(folder, &format!("{}.toml", entry.id), side.as_bytes())?;
    write_whole(folder, &format!("{}.eml", entry.id), raw)?;
    File::open(folder)?.sync_all()
}

/// The mails, newest first. A file that is no mail of ours is passed over; one that cannot be read is logged.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for id in ids(folder)?.into_iter().rev() {
        match entry(folder, &id) {
            Ok(found) => entries.extend(found),
            Err(error) => tracing::warn!(%error, inbox.id = %id, "an inbox entry cannot be read"),
        }
    }
    Ok(entries)
}

/// One mail.
pub(super) fn read(folder: &Path, id: &EntryId) -> io::Result<Option<Stored>> {
    let Some(entry) = entry(folder, id)? else { return Ok(None) };
    let raw = found(fs::read(folder.join(format!("{id}.eml"))))?;
    Ok(raw.map(|raw| Stored { entry, raw: raw.into() }))
}

/// Removes mails until no more than so many are left. The mail goes before its envelope, so none is listed half.
pub(super) fn remove_oldest(folder: &Path, messages_max: usize) -> io::Result<()> {
    let ids = ids(folder)?;
    for id in ids.iter().take(ids.len().saturating_sub(messages_max)) {
        found(fs::remove_file(folder.join(format!("{id}.eml"))))?;
        found(fs::remove_file(folder.join(format!("{id}.toml"))))?;
    }
    Ok(())
}

/// Ids with a mail, oldest first.
fn ids(folder: &Path) -> io::Result<Vec<EntryId>> {
    let mut ids = Vec::new();
    for file in fs::read_dir(folder)? {
        let name = file?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".eml")).and_then(|stem| stem.parse().ok());
        ids.extend(id);
    }
    ids.sort();
    Ok(ids)
}

fn entry(folder: &Path, id: &EntryId) -> io::Result<Option<Entry>> {
    let Some(text) = found(fs::read_to_string(folder.join(format!("{id}.toml"))))? else { return Ok(None) };
    Entry::from_toml(id.clone(), &text).map(Some).map_err(io::Error::other)
}

/// Written aside, fsynced, renamed. The caller fsyncs the folder.
fn write_whole(folder: &Path, name: &str, octets: &[u8]) -> io::Result<()> {
    let aside = folder.join(format!("{name}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&aside, folder.join(name))
}

/// A file that is not there is `None`, not an error.
fn found<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Envelope;
    use crate::smtp::ReversePath;
    use crate::smtp::extension::MailParams;

    fn sample(second: i64) -> Entry {
        let envelope =
            Envelope { reverse_path: ReversePath::Null, params: MailParams::default(), recipients: Vec::new() };
        Entry::new(jiff::Timestamp::from_second(second).unwrap(), 7, 4, &envelope)
    }

    #[test]
    fn the_oldest_go_and_strangers_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.eml"), "mine").unwrap();
        let entries: Vec<Entry> = (0..5).map(sample).collect();
        for entry in &entries {
            write(folder.path(), entry, b"mail").unwrap();
        }
        remove_oldest(folder.path(), 2).unwrap();
        let expected: Vec<Entry> = entries.iter().rev().take(2).cloned().collect();
        assert_eq!(list(folder.path()).unwrap(), expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5, "two mails of two files, and a stranger");
        assert_eq!(read(folder.path(), &entries[0].id).unwrap(), None);
        assert_eq!(&read(folder.path(), &entries[4].id).unwrap().unwrap().raw[..], b"mail");
    }

    #[test]
    fn a_mail_without_envelope_is_not_listed_and_a_broken_one_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &sample(1), b"mail").unwrap();
        write(folder.path(), &sample(2), b"mail").unwrap();
        write(folder.path(), &sample(3), b"mail").unwrap();
        fs::write(folder.path().join(format!("{}.toml", sample(1).id)), "broken").unwrap();
        fs::remove_file(folder.path().join(format!("{}.toml", sample(2).id))).unwrap();
        assert_eq!(list(folder.path()).unwrap(), vec![sample(3)]);
        assert!(read(folder.path(), &sample(1).id).is_err());
    }
}

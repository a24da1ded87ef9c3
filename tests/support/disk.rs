//! A small disk of its own, to be filled.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs. Unmounted when dropped.
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one with these options at this folder, which is made.
    pub(crate) fn mount(at: &Path, options: &str) -> SmallDisk {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(at).unwrap();
        let out = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output().unwrap();
        assert!(out.status.success(), "mount: {} (this test needs root)", String::from_utf8_lossy(&out.stderr));
        SmallDisk { at: at.to_owned() }
    }

    /// Writes until nothing more fits, but for `spare` octets.
    pub(crate) fn fill(&self, spare: usize) {
        let path = self.at.join("filler");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        drop(file);
        if spare > 0 {
            let len = fs::metadata(&path).unwrap().len();
            File::options().write(true).open(&path).unwrap().set_len(len - spare as u64).unwrap();
        }
    }

    /// Makes files until there is no room for another.
    pub(crate) fn fill_inodes(&self) {
        for n in 0.. {
            if File::create(self.at.join(format!("filler.{n}"))).is_err() {
                break;
            }
        }
    }

    /// Takes the fillers away again.
    pub(crate) fn empty(&self) {
        for entry in fs::read_dir(&self.at).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("filler")) {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy: a process that is still being taken down may hold files in it.
        let done = Command::new("umount").arg("-l").arg(&self.at).status();
        assert!(done.is_ok_and(|status| status.success()), "umount {}", self.at.display());
    }
}

//! Postfix's smtp-sink: an SMTP server that takes everything, or fails where it is told to.
#![expect(clippy::disallowed_methods, reason = "the threads of these tests have no runtime to block")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::process::{answers, free_port};

/// A place for sinks, one after another: the address stays and what they took stays.
pub(crate) struct SinkPlace {
    /// Where they listen.
    pub(crate) addr: SocketAddr,
    folder: tempfile::TempDir,
}

/// One run of smtp-sink. Killed when dropped.
pub(crate) struct Sink {
    child: Child,
}

impl SinkPlace {
    /// An address where nobody listens yet.
    pub(crate) fn new() -> SinkPlace {
        let folder = tempfile::tempdir().unwrap();
        // smtp-sink gives up root before it writes.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        SinkPlace { addr: free_port(), folder }
    }

    /// Starts one with these faults and waits for its banner.
    pub(crate) fn start(&self, faults: &[&str]) -> Sink {
        let child = Command::new("smtp-sink")
            .args(["-u", "nobody", "-d"])
            .arg(self.folder.path().join("mail."))
            .args(faults)
            .args([&self.addr.to_string(), "100"])
            .stderr(Stdio::null())
            .spawn()
            .expect("Postfix is not installed");
        let sink = Sink { child };
        let deadline = Instant::now() + Duration::from_secs(15);
        while !answers(self.addr) {
            assert!(Instant::now() < deadline, "smtp-sink does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        sink
    }

    /// What came up to a final dot, whatever was answered to it: one file a mail, its envelope in `X-Rcpt-Args:` lines.
    pub(crate) fn mails(&self) -> Vec<String> {
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        fs::read_dir(self.folder.path()).unwrap().map(|entry| read(entry.unwrap().path())).collect()
    }

    /// How many of them were for a recipient of this address.
    pub(crate) fn copies_for(&self, recipient: &str) -> usize {
        let line = format!("X-Rcpt-Args: <{recipient}>");
        self.mails().iter().filter(|mail| mail.lines().any(|l| l.starts_with(&line))).count()
    }
}

impl Sink {
    /// Stops it in its tracks: connections stay open and nothing is answered.
    pub(crate) fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

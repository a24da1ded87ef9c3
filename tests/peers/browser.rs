//! Chromium, headless, looks at mails before and after. Python's `email` decodes them: neither reader shares code with ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::relay::Running;

/// A folder of mails, in pairs.
pub(super) struct Pairs {
    folder: tempfile::TempDir,
    names: Vec<String>,
}

impl Pairs {
    pub(super) fn new() -> Pairs {
        let mut folder = tempfile::tempdir().unwrap();
        folder.disable_cleanup(std::env::var_os("WAXSEAL_PICTURES_KEEP").is_some());
        Pairs { folder, names: Vec::new() }
    }

    /// One mail as it was sent and as it arrived.
    pub(super) fn add(&mut self, name: &str, before: &[u8], after: &[u8]) {
        std::fs::write(self.folder.path().join(format!("{name}.before.eml")), before).unwrap();
        std::fs::write(self.folder.path().join(format!("{name}.after.eml")), after).unwrap();
        self.names.push(name.to_owned());
    }

    /// Decodes them all and runs one of our scripts on them in the browser; gives what it printed. `track.example` is the
    /// running relay, and no other host answers.
    pub(super) fn look(&self, script: &str, relay: &Running) -> String {
        let mut decode = Command::new("python3");
        decode.arg(here("html_of.py")).arg(self.folder.path());
        run(decode);
        let peers =
            std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled");
        let mut look = Command::new("node");
        look.arg(here(script)).arg(self.folder.path()).arg(relay.tracking.port().to_string());
        look.env("NODE_PATH", Path::new(&peers).join("node_modules"));
        run(look)
    }
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

fn run(mut command: Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}");
    said
}

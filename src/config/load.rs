//! Fetching the config file, and the one secret it points to. The only I/O of a start's first step.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::problem::{Problem, Severity, Wrong};
use super::{Config, Parsed, SHIPPED};

/// The name that is looked for when none is given.
pub const FILE_NAME: &str = "config.toml";
/// Longest config file, octets: a slip such as `--config mail.mbox` is told at once.
pub const FILE_BYTES_MAX: u64 = 4 << 20;
/// Longest password, octets (an OAuth token or an API key may be long).
pub const PASSWORD_BYTES_MAX: usize = 4_096;

/// A config file as it stands on disk, or the shipped one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// For people: the path as given, or what stands in its place.
    pub name: String,
    /// The folder its relative paths start at.
    pub base_dir: PathBuf,
    /// Its text.
    pub text: String,
}

impl Source {
    /// Reads the file named, else `config.toml` in the current folder, else takes the shipped one.
    ///
    /// # Errors
    /// One problem, for the operator: the file cannot be read or is not text.
    pub fn fetch(path: Option<&Path>) -> Result<Source, Problem> {
        let here = std::env::current_dir().map_err(|error| unreadable(Path::new("."), &error))?;
        let path = match path {
            Some(path) => path,
            None if !here.join(FILE_NAME).exists() => {
                return Ok(Source {
                    name: "config.toml (as shipped)".to_owned(),
                    base_dir: here,
                    text: SHIPPED.to_owned(),
                });
            }
            None => Path::new(FILE_NAME),
        };
        let length = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
        if length > FILE_BYTES_MAX {
            return Err(unreadable(path, &io::Error::other("larger than 4 MiB")));
        }
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let folder = here.join(path).parent().map_or(here, Path::to_path_buf);
        Ok(Source { name: path.display().to_string(), base_dir: folder, text })
    }

    /// Reads and judges the text.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse(&self) -> Result<Parsed, Vec<Problem>> {
        Config::parse(&self.text, &self.base_dir)
    }
}

/// Reads a password file: its first line, without the line end.
///
/// # Errors
/// What is wrong with it: not there, not readable, empty, too long. (Who else can read it is for `check` to say:
/// container secrets are mounted readable.)
pub fn password(path: &Path) -> Result<String, Wrong> {
    let fault = |detail: String| Wrong::FileUnreadable {
        path: path.display().to_string(),
        detail,
        fix: "it must hold the password on its first line",
    };
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Wrong::FileMissing {
            path: path.display().to_string(),
            fix: "make it with the password on its first line, mode 0600",
        },
        _ => fault(error.to_string()),
    })?;
    let line = text.lines().next().unwrap_or_default();
    match line.len() {
        0 => Err(fault("it is empty".to_owned())),
        1..=PASSWORD_BYTES_MAX => Ok(line.to_owned()),
        _ => Err(fault("its first line is longer than 4,096 bytes".to_owned())),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let wrong = match error.kind() {
        io::ErrorKind::NotFound => Wrong::FileMissing {
            path: path.display().to_string(),
            fix: "name another with --config, or leave that out",
        },
        _ => Wrong::FileUnreadable {
            path: path.display().to_string(),
            detail: error.to_string(),
            fix: "it must be a readable text file",
        },
    };
    Problem { severity: Severity::Error, line: None, key: String::new(), wrong }
}

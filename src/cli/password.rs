//! A password from a person: typed without echo, piped in, or made up.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, bail};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::admin::OneTimePassword;

/// Longest line that is read as a password, in bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// Where a new password comes from.
pub(super) enum Password {
    /// A person or a pipe gave it.
    Given(String),
    /// It was made up and must be shown once.
    MadeUp(OneTimePassword),
}

impl Password {
    /// The password, for the request.
    pub(super) fn reveal(&self) -> &str {
        match self {
            Password::Given(text) => text,
            Password::MadeUp(password) => password.reveal(),
        }
    }
}

/// Makes one up, asks twice at a terminal, or reads the first line of a pipe.
pub(super) fn new(generate: bool) -> anyhow::Result<Password> {
    if generate {
        let made_up = OneTimePassword::random().map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        return Ok(Password::MadeUp(made_up));
    }
    if !io::stdin().is_terminal() {
        return Ok(Password::Given(first_line(io::stdin().lock())?));
    }
    let typed = prompt("New password: ")?;
    if prompt("Again: ")? != typed {
        bail!("the two passwords differ");
    }
    Ok(Password::Given(typed))
}

fn first_line(input: impl io::Read) -> anyhow::Result<String> {
    let mut text = String::new();
    input.take(LINE_BYTES_MAX).read_to_string(&mut text).context("no password could be read from standard input")?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        bail!("standard input holds no password; use a terminal, or --generate");
    }
    Ok(line.to_owned())
}

/// The terminal as it was, put back when dropped.
struct Echo {
    before: Termios,
}

impl Echo {
    /// Neither echoes nor interrupts: Ctrl-C comes as a letter, so that the echo is always put back.
    fn off() -> io::Result<Echo> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Echo { before })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Err(error) = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.before) {
            eprintln!("waxseal: the terminal's echo stays off ({error}); type `stty sane`");
        }
    }
}

fn prompt(words: &str) -> anyhow::Result<String> {
    let mut screen = io::stderr();
    write!(screen, "{words}")?;
    screen.flush()?;
    let echo = Echo::off().context("the terminal cannot hide what is typed")?;
    let typed = typed(io::stdin().lock());
    drop(echo);
    writeln!(screen)?;
    typed
}

/// Reads until the return key, minding the keys a line usually knows.
fn typed(input: impl io::BufRead) -> anyhow::Result<String> {
    let mut line = Vec::new();
    for byte in input.bytes().take(LINE_BYTES_MAX as usize) {
        match byte? {
            b'\r' | b'\n' | 0x04 => break,
            0x03 => bail!("stopped; nothing was changed"),
            0x7f | 0x08 => while line.pop().is_some_and(|last: u8| last & 0b1100_0000 == 0b1000_0000) {},
            0x15 => line.clear(),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).context("the password is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_line() {
        let rows: &[(&[u8], Option<&str>)] = &[
            // the return key in both forms, the end of input
            (b"secret\rrest", Some("secret")),
            (b"secret\nrest", Some("secret")),
            (b"secret", Some("secret")),
            // backspace takes a whole letter, Ctrl-U the line
            (b"secrez\x7ft\r", Some("secret")),
            ("sä\x7f\x7fx\r".as_bytes(), Some("x")),
            (b"\x7f\x7fx\r", Some("x")),
            (b"wrong\x15right\r", Some("right")),
            // Ctrl-C stops
            (b"sec\x03ret\r", None),
        ];
        for (keys, expected) in rows {
            assert_eq!(typed(*keys).ok().as_deref(), *expected, "{keys:?}");
        }
    }

    #[test]
    fn a_pipe_gives_its_first_line() {
        assert_eq!(first_line(&b"secret\r\nmore"[..]).unwrap(), "secret");
        assert!(first_line(&b"\n"[..]).is_err());
        assert!(first_line(&b""[..]).is_err());
    }
}

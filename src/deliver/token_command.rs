//! Access tokens from a command of the operator's: its output is kept until shortly before it expires.
//!
//! What the command prints is a token alone on a line, or JSON with `access_token` and perhaps `expires_in` (seconds), as
//! token endpoints answer.
//!
//! **Invariant:** the command runs for at most [`COMMAND_MAX`], one at a time; its output is never logged.

use std::fmt;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex as StdMutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::BoxFuture;
use super::handshake::Tokens;

/// A token endpoint answers in a second; one that does not within this is down.
pub const COMMAND_MAX: Duration = Duration::from_secs(30);
/// How long a token is used that does not say when it expires: tokens live an hour, the command may have had it for long.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);
/// A token is renewed so long before it expires, for a mail with it may be under way.
const MARGIN: Duration = Duration::from_secs(60);
/// A command that failed is not run again before this, however many mails wait.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest output, octets: a token with its wrapping has some thousands.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;
/// How often the command is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);

/// Runs the command when a token is needed.
pub struct TokenCommand {
    command: String,
    command_max: Duration,
    /// Held while the command runs, so that all who wait get the same token.
    running: Mutex<()>,
    last: StdMutex<Last>,
}

/// What the last run brought.
enum Last {
    Nothing,
    Token { token: String, until: Instant },
    Failed { why: String, until: Instant },
}

impl TokenCommand {
    /// Runs this line with `/bin/sh -c`.
    pub fn new(command: impl Into<String>) -> TokenCommand {
        TokenCommand::within(command, COMMAND_MAX)
    }

    fn within(command: impl Into<String>, command_max: Duration) -> TokenCommand {
        TokenCommand {
            command: command.into(),
            command_max,
            running: Mutex::default(),
            last: StdMutex::new(Last::Nothing),
        }
    }

    fn kept(&self) -> Option<Result<String, String>> {
        match &*self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            Last::Token { token, until } if *until > Instant::now() => Some(Ok(token.clone())),
            Last::Failed { why, until } if *until > Instant::now() => Some(Err(why.clone())),
            _ => None,
        }
    }

    fn keep(&self, last: Last) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    async fn fresh(&self) -> Result<String, String> {
        let _one_at_a_time = self.running.lock().await;
        if let Some(kept) = self.kept() {
            return kept;
        }
        let (command, command_max, begun) = (self.command.clone(), self.command_max, Instant::now());
        let ran = tokio::task::spawn_blocking(move || run(&command, command_max)).await;
        let read =
            ran.unwrap_or_else(|_| Err("running token_command died".to_owned())).and_then(|output| read(&output));
        match read {
            Ok((token, life)) => {
                self.keep(Last::Token { token: token.clone(), until: begun + life });
                Ok(token)
            }
            Err(why) => {
                tracing::error!("no access token for upstream: {why}");
                self.keep(Last::Failed { why: why.clone(), until: Instant::now() + PAUSE });
                Err(why)
            }
        }
    }
}

impl Tokens for TokenCommand {
    fn token(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async {
            match self.kept() {
                Some(kept) => kept,
                None => self.fresh().await,
            }
        })
    }

    fn refused(&self) {
        self.keep(Last::Nothing);
    }
}

impl fmt::Debug for TokenCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCommand").finish_non_exhaustive()
    }
}

/// Blocks until the command has ended or its time is over.
fn run(command: &str, command_max: Duration) -> Result<String, String> {
    let deadline = Instant::now() + command_max;
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("token_command cannot be run: {error}"))?;
    let output = child.stdout.take().ok_or("token_command has no output")?;
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    // In a thread of its own: a grandchild may hold the pipe open for longer than we care to wait.
    thread::spawn(move || {
        let mut text = String::new();
        let read = output.take(OUTPUT_BYTES_MAX).read_to_string(&mut text);
        tell.send(read.map(|_| text)).ok();
    });
    ended(&mut child, deadline)?;
    match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(format!("the output of token_command cannot be read: {error}")),
        Err(_) => Err("the output of token_command does not end".to_owned()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a blocking thread of its own; nothing tells when a child ends without waiting for it"
)]
fn ended(child: &mut Child, deadline: Instant) -> Result<(), String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("token_command failed: {status}")),
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
            Ok(None) => {
                child.kill().ok();
                child.wait().ok();
                return Err("token_command took too long and was ended".to_owned());
            }
            Err(error) => return Err(format!("token_command cannot be waited for: {error}")),
        }
    }
}

/// The token, and how long it may be used from now.
fn read(output: &str) -> Result<(String, Duration), String> {
    let text = output.trim();
    let (token, expires_in) = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(answer)) => {
            let token = answer.get("access_token").and_then(|token| token.as_str());
            let token = token.ok_or("the output of token_command is JSON without access_token")?;
            (token.to_owned(), answer.get("expires_in").and_then(serde_json::Value::as_u64))
        }
        _ => (text.to_owned(), None),
    };
    // RFC 6750 §2.1.
    if token.is_empty() || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err("the output of token_command is neither a token on one line nor JSON with access_token".to_owned());
    }
    let life = match expires_in {
        Some(secs) => Duration::from_secs(secs).saturating_sub(MARGIN),
        None => KEPT_FOR,
    };
    Ok((token, life))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs() {
        type Expected = Result<(&'static str, u64), &'static str>;
        let rows: &[(&str, Expected)] = &[
            ("ya29.a0-_x/=\n", Ok(("ya29.a0-_x/=", 300))),
            ("{\"access_token\": \"t\", \"expires_in\": 3599, \"token_type\": \"Bearer\"}", Ok(("t", 3539))),
            ("{\"access_token\": \"t\"}", Ok(("t", 300))),
            ("{\"access_token\": \"t\", \"expires_in\": 5}", Ok(("t", 0))),
            ("", Err("neither a token")),
            ("two lines\nof it", Err("neither a token")),
            ("{\"error\": \"invalid_grant\"}", Err("without access_token")),
            ("{\"access_token\": \"a\\r\\nb\"}", Err("neither a token")),
        ];
        for (output, expected) in rows {
            match (read(output), expected) {
                (Ok((token, life)), Ok((wanted, secs))) => {
                    assert_eq!((token.as_str(), life.as_secs()), (*wanted, *secs))
                }
                (Err(why), Err(words)) => assert!(why.contains(words), "{why}"),
                (got, _) => panic!("{output:?}: {got:?}"),
            }
        }
    }

    #[tokio::test]
    async fn it_runs_once_until_the_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let command = TokenCommand::new(format!("echo x >> {0}; wc -l < {0} | tr -d ' '", runs.display()));
        let (one, two) = tokio::join!(command.token(), command.token());
        assert_eq!((one.unwrap(), two.unwrap()), ("1".to_owned(), "1".to_owned()));
        assert_eq!(command.token().await.unwrap(), "1");
        command.refused();
        assert_eq!(command.token().await.unwrap(), "2");
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said_and_not_tried_at_once_again() {
        let rows = [
            ("exit 3", "token_command failed: exit status: 3"),
            ("sleep 60", "took too long"),
            ("echo", "neither a token"),
            ("/no/such/command", "token_command failed: exit status: 127"),
        ];
        for (line, words) in rows {
            let command = TokenCommand::within(line, Duration::from_secs(2));
            let begun = Instant::now();
            let why = command.token().await.unwrap_err();
            assert!(why.contains(words), "{line}: {why}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{line}");
            assert!(matches!(command.kept(), Some(Err(_))), "{line}");
        }
    }
}

//! A backend that writes down what it gets. What it answers is told by the recipients' local parts.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use waxseal::listener::{Backend, BoxFuture, ClientGone, LoginOutcome, Submission};
use waxseal::message::Envelope;
use waxseal::settings::Submitter;
use waxseal::smtp::reply::Enhanced;
use waxseal::smtp::sasl::{Credentials, Kind};
use waxseal::smtp::{Reply, ReversePath};

/// A mail as the backend saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) raw: Vec<u8>,
    pub(super) submitter: Submitter,
    pub(super) protocol: &'static str,
    pub(super) helo: String,
    pub(super) bare_newlines: u64,
}

#[derive(Default)]
pub(super) struct Recorder {
    pub(super) taken: Mutex<Vec<Taken>>,
    /// Had the client of each mail to `slow@` left before it was answered? And the handle, to ask again.
    pub(super) gone: Mutex<Vec<(bool, ClientGone)>>,
}

pub(super) fn network_submitter() -> Submitter {
    Submitter { org: "default".parse().unwrap(), login: None }
}

/// alice knows her password and has a token; nobody can tell about busy; the others are told in words of their own.
pub(super) fn login(credentials: &Credentials) -> LoginOutcome {
    let Credentials { login, password, kind } = credentials;
    match (login.as_str(), password.as_slice(), kind) {
        ("alice", b"s3cret", Kind::Password) | ("alice", b"t0ken", Kind::Bearer) => {
            LoginOutcome::Welcome(Submitter { login: Some(login.clone()), ..network_submitter() })
        }
        ("busy", ..) => LoginOutcome::Unavailable,
        ("expired", ..) => LoginOutcome::Told(Reply::new(534, Enhanced(5, 7, 9), "ask the administrator")),
        ("hasty", ..) => LoginOutcome::Told(Reply::login_later(90)),
        ("banned", ..) => LoginOutcome::Told(Reply::shutting_down()),
        _ => LoginOutcome::Refused,
    }
}

/// All but the other organisation's addresses.
pub(super) fn may_send_from(path: &ReversePath) -> Result<(), Reply> {
    match path {
        ReversePath::Mailbox(mailbox) if mailbox.domain().eq_ignore_ascii_case(b"org2.test") => {
            Err(Reply::sender_not_yours())
        }
        _ => Ok(()),
    }
}

pub(super) fn answer(envelope: &Envelope) -> Reply {
    let to = |local: &[u8]| envelope.recipients.iter().any(|recipient| recipient.path.0.local() == local);
    match () {
        () if to(b"refuse") => Reply::new(550, Enhanced(5, 7, 1), "no\r\n250 thanks"),
        () if to(b"later") => Reply::new(451, Enhanced(4, 3, 0), "later"),
        () if to(b"bye") => Reply::new(421, Enhanced(4, 3, 2), "bye"),
        () if to(b"panic") => panic!("asked for"),
        () => Reply::accepted("1"),
    }
}

pub(super) fn addresses(envelope: &Envelope) -> (String, Vec<String>) {
    let from = match &envelope.reverse_path {
        ReversePath::Null => "<>".to_owned(),
        ReversePath::Mailbox(mailbox) => mailbox.display(),
    };
    (from, envelope.recipients.iter().map(|recipient| recipient.path.0.display()).collect())
}

impl Backend for Recorder {
    fn login(&self, credentials: Credentials, _: IpAddr) -> BoxFuture<'_, LoginOutcome> {
        Box::pin(async move {
            if credentials.login == "sleepy" {
                std::future::pending::<()>().await;
            }
            login(&credentials)
        })
    }

    fn may_send_from(&self, _: &Submitter, path: &ReversePath) -> Result<(), Reply> {
        may_send_from(path)
    }

    fn accept(&self, submission: Submission) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let Submission { mail, submitter, helo, protocol, bare_newlines, client_gone, .. } = submission;
            let (from, to) = addresses(&mail.envelope);
            if to.iter().any(|address| address.starts_with("slow@")) {
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.gone.lock().unwrap().push((client_gone.is_gone(), client_gone));
            }
            let raw = mail.raw.to_vec();
            self.taken.lock().unwrap().push(Taken { from, to, raw, submitter, protocol, helo, bare_newlines });
            answer(&mail.envelope)
        })
    }
}

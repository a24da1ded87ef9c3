//! Sockets and TLS: feeds bytes to `smtp::session::Session`, carries out what it asks.

use std::net::IpAddr;

use crate::message::Mail;
use crate::settings::Submitter;
use crate::smtp::{Reply, ReversePath};

/// A boxed future, as trait objects need it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whom a listener serves: the relay, or the built-in inbox.
pub trait Backend: Send + Sync + 'static {
    /// Judges a login (AUTH PLAIN, LOGIN). Takes the same time whether or not the user exists.
    fn login(&self, login: String, password: Vec<u8>, peer: IpAddr) -> BoxFuture<'_, LoginOutcome>;

    /// May this submitter use this reverse path? Asked at MAIL; no I/O.
    ///
    /// # Errors
    /// The reply for the client.
    fn may_send_from(&self, submitter: &Submitter, path: &ReversePath) -> Result<(), Reply>;

    /// Takes one mail and answers the final dot. Runs in a task of its own, so a client that leaves does not stop it.
    fn accept(&self, submission: Submission) -> BoxFuture<'_, Reply>;
}

/// Answer to a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginOutcome {
    /// Let in.
    Welcome(Submitter),
    /// Wrong user or password; never says which.
    Refused,
    /// Could not be judged now (hashing pool full, store closed): 454.
    Unavailable,
}

/// One mail with the facts of its session.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The mail, normalised.
    pub mail: Mail,
    /// Who sends.
    pub submitter: Submitter,
    /// The client's address.
    pub peer: IpAddr,
    /// What EHLO said, at most 255 printable octets.
    pub helo: String,
    /// `ESMTPSA`, `ESMTPA`, `ESMTPS`, `ESMTP` or `SMTP` and the UTF8 forms (RFC 3848, RFC 6531).
    pub protocol: &'static str,
    /// How many bare CR or LF were normalised while the content was read.
    pub bare_newlines: u64,
}

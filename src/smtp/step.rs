//! What goes into a step of a session and what comes out of it.

use bytes::Bytes;

use super::path::ReversePath;
use super::reply::Reply;
use super::sasl::Credentials;
use super::transaction::Transaction;

/// What the shell feeds.
#[derive(Debug)]
pub enum Input<'a, W> {
    /// The last reply is on its way; go on.
    Continue,
    /// The client sent these.
    Bytes(&'a [u8]),
    /// The client will send no more.
    Eof,
    /// TLS is in force ([`Action::StartTls`]).
    TlsStarted,
    /// The answer to [`Action::CheckLogin`].
    Login(LoginAnswer<W>),
    /// The answer to [`Action::CheckSender`]; the error is the reply.
    Sender(Result<(), Reply>),
    /// The answer to [`Action::MakeRoom`]; `false` while a message is read abandons it.
    Room(bool),
    /// The answer to [`Action::Deliver`]: the reply to the final dot.
    Delivered(Reply),
}

/// How a login was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginAnswer<W> {
    /// Let in.
    Welcome(W),
    /// Wrong.
    Refused,
    /// Cannot be judged now.
    Unavailable,
    /// Not let in, in these words: a 5yz counts as a wrong password, a 421 ends the session.
    Told(Reply),
}

/// What the shell does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<W> {
    /// Send what replies have gathered, then read: [`Input::Bytes`] or [`Input::Eof`].
    Read,
    /// Add a reply, then [`Input::Continue`].
    Reply(Reply),
    /// Send this reply and what has gathered, then do the TLS handshake by value: [`Input::TlsStarted`].
    StartTls(Reply),
    /// Judge these: [`Input::Login`].
    CheckLogin(Credentials),
    /// May this submitter use this reverse path? [`Input::Sender`].
    CheckSender(W, ReversePath),
    /// Set memory aside for a message that says it has so many octets: [`Input::Room`].
    MakeRoom(Option<u64>),
    /// Take this mail: [`Input::Delivered`].
    Deliver(Box<Incoming<W>>),
    /// Send this, if any, and close.
    Close(Option<Reply>),
}

/// A mail, complete, with the facts of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming<W> {
    /// MAIL and RCPT.
    pub transaction: Transaction,
    /// The octets, CRLF line ends only.
    pub raw: Bytes,
    /// How many bare CR or LF were normalised.
    pub bare_newlines: u64,
    /// On whose behalf.
    pub who: W,
    /// What EHLO said, printable.
    pub helo: String,
    /// For `Received: … with`.
    pub protocol: &'static str,
}

/// What the client is waited for; the shell knows how long each may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The next command; nothing of it is here.
    Idle,
    /// The rest of a command line that has begun, or the response to a challenge.
    Line,
    /// The message.
    Body,
}

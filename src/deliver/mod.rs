//! One attempt upstream: connections, strict replies, a fate for every recipient.
//!
//! [`pool::Upstream::deliver`] is the way in: it takes an [`Outbound`] (envelope, facts, body to come) and gives one
//! [`Fate`] per recipient, in order. Connections are dialled, secured and kept by this module; what the fates mean for
//! the client is [`decision`]'s, when to try again is [`backoff`]'s, both pure.
//!
//! **Invariant:** a recipient's fate is `Accepted` only when upstream answered 2yz to a final dot that followed its own
//! 2yz to that recipient's RCPT; whatever happened after the dot left and was no such answer is `Unknown`.

pub mod backoff;
pub mod bounce;
pub mod breaker;
pub mod capabilities;
mod command;
pub mod courier;
pub mod couriers;
pub mod decision;
pub mod dial;
pub mod encode;
pub mod fate;
mod handshake;
mod ledger;
pub mod outbound;
pub mod own;
pub mod pace;
pub mod pool;
pub mod predict;
pub mod safekeeping;
pub mod standing;
pub mod tls;
pub mod token_command;
mod upstream;
mod wire;

use std::time::Duration;

pub use capabilities::{CannotCarry, Capabilities};
pub use dial::{Dial, Dialed, LocalDial, TcpDial};
pub use fate::{Fate, Stage, Trouble, Why};
pub use handshake::{Credentials, Login, Security, Tokens};
pub use outbound::{Deadlines, Facts, Outbound};
pub use pool::Upstream;

/// A boxed future, as trait objects need it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How long we wait for upstream and how many connections we keep. Each wait is also bounded by the caller's
/// [`Deadlines`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What EHLO says: a domain or an address literal.
    pub helo_name: String,
    /// Until a TCP connection stands, over all addresses of the host.
    pub connect: Duration,
    /// Until the banner has come.
    pub greeting: Duration,
    /// The TLS handshake.
    pub tls_handshake: Duration,
    /// Until the answer to EHLO, STARTTLS, AUTH, MAIL, RCPT.
    pub command: Duration,
    /// Until the answer to DATA.
    pub data_init: Duration,
    /// How long upstream may take none of the message's octets.
    pub data_block: Duration,
    /// Until the answer to the final dot.
    pub dot: Duration,
    /// Connections at a time, busy and idle together.
    pub connections_max: usize,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// Transactions on one connection.
    pub mails_per_connection_max: u32,
}

/// A host that does not answer within this is down or filtered; a person is waiting.
pub const CONNECT: Duration = Duration::from_secs(10);
/// Some providers delay the banner on purpose (RFC 5321 §4.5.3.2.1 allows 300 s; nobody waits that long).
pub const GREETING: Duration = Duration::from_secs(30);
/// Two round trips and a signature.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(30);
/// RFC 5321 §4.5.3.2.2 says 300 s; a submission service answers in one.
pub const COMMAND: Duration = Duration::from_secs(60);
/// RFC 5321 §4.5.3.2.4 says 120 s.
pub const DATA_INIT: Duration = Duration::from_secs(60);
/// RFC 5321 §4.5.3.2.5.
pub const DATA_BLOCK: Duration = Duration::from_secs(180);
/// RFC 5321 §4.5.3.2.6: giving up early here makes duplicates.
pub const DOT: Duration = Duration::from_secs(600);
/// Most providers allow ten or more; eight carry more than their rate limits.
pub const CONNECTIONS_MAX: usize = 8;
/// Below the idle time-outs of servers in ordinary use (60 s and more), so that we close first.
pub const IDLE: Duration = Duration::from_secs(30);
/// Postfix' own clients stop at 100; some providers refuse more.
pub const MAILS_PER_CONNECTION_MAX: u32 = 100;

impl Options {
    /// The defaults, under this name.
    pub fn named(helo_name: impl Into<String>) -> Options {
        Options {
            helo_name: helo_name.into(),
            connect: CONNECT,
            greeting: GREETING,
            tls_handshake: TLS_HANDSHAKE,
            command: COMMAND,
            data_init: DATA_INIT,
            data_block: DATA_BLOCK,
            dot: DOT,
            connections_max: CONNECTIONS_MAX,
            idle: IDLE,
            mails_per_connection_max: MAILS_PER_CONNECTION_MAX,
        }
    }
}

//! Limits and deadlines of the listeners, each with its default and the reason for that number.

use std::sync::Arc;
use std::time::Duration;

use crate::smtp::session;

/// Connections over all listeners: some 5 KiB each when idle.
pub const CONNECTIONS_MAX: usize = 1000;
/// Connections from one address (IPv6: one /64): an office behind one router fits.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 50;
/// A session's whole life.
pub const SESSION_MAX: Duration = Duration::from_secs(30 * 60);
/// Between commands (RFC 5321 §4.5.3.2.7).
pub const IDLE_MAX: Duration = Duration::from_secs(5 * 60);
/// For the rest of a command line once it has begun, and for a SASL response.
pub const COMMAND_MAX: Duration = Duration::from_secs(60);
/// Slower than any modem: who sends less holds memory on purpose.
pub const DATA_BYTES_PER_SEC_MIN: u64 = 500;
/// Over which the data rate is averaged, so that a lift ride costs no mail.
pub const DATA_WINDOW: Duration = Duration::from_secs(60);
/// A TLS handshake is two round trips.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(15);
/// For a client to take our replies.
pub const WRITE_MAX: Duration = Duration::from_secs(60);
/// Octets of messages being read or delivered, over all connections.
pub const IN_FLIGHT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The same of one login, or one address of a trusted network: a quarter, so that nobody takes all of it.
pub const IN_FLIGHT_BYTES_PER_SENDER_MAX: usize = 64 * 1024 * 1024;
/// How long a client is kept waiting for room before it gets 452; well under any client's own patience.
pub const ROOM_WAIT_MAX: Duration = Duration::from_secs(10);
/// For a login to be judged: hashing takes tens of milliseconds and may queue.
pub const LOGIN_MAX: Duration = Duration::from_secs(30);
/// For the backend to answer the final dot (RFC 5321 §4.5.3.2.6 gives clients ten minutes). After that the connection
/// closes without a reply and the backend finishes alone.
pub const ACCEPT_MAX: Duration = Duration::from_secs(11 * 60);
/// For sessions to end at shutdown: longer than a delivery may keep a client waiting.
pub const GRACE_MAX: Duration = Duration::from_secs(30);

/// Refused commands and logins that are answered at once: a client may be clumsy.
pub const ERRORS_FREE_MAX: u32 = 10;
/// How long each further one waits for its answer, so that guessing costs time.
pub const ERROR_DELAY: Duration = Duration::from_secs(1);

/// What the listeners are told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of the conversation itself.
    pub session: Arc<session::Options>,
    /// [`CONNECTIONS_MAX`]
    pub connections_max: usize,
    /// [`CONNECTIONS_PER_ADDRESS_MAX`]
    pub connections_per_address_max: usize,
    /// [`SESSION_MAX`]
    pub session_max: Duration,
    /// [`IDLE_MAX`]
    pub idle_max: Duration,
    /// [`COMMAND_MAX`]
    pub command_max: Duration,
    /// [`DATA_BYTES_PER_SEC_MIN`]
    pub data_bytes_per_sec_min: u64,
    /// [`DATA_WINDOW`]
    pub data_window: Duration,
    /// [`TLS_HANDSHAKE_MAX`]
    pub tls_handshake_max: Duration,
    /// [`WRITE_MAX`]
    pub write_max: Duration,
    /// [`IN_FLIGHT_BYTES_MAX`]; at least the largest message and 64 KiB.
    pub in_flight_bytes_max: usize,
    /// [`IN_FLIGHT_BYTES_PER_SENDER_MAX`]; at least the largest message and 64 KiB.
    pub in_flight_bytes_per_sender_max: usize,
    /// [`ROOM_WAIT_MAX`]
    pub room_wait_max: Duration,
    /// [`LOGIN_MAX`]
    pub login_max: Duration,
    /// [`ACCEPT_MAX`]
    pub accept_max: Duration,
    /// [`GRACE_MAX`]
    pub grace_max: Duration,
    /// [`ERRORS_FREE_MAX`]
    pub errors_free_max: u32,
    /// [`ERROR_DELAY`]
    pub error_delay: Duration,
}

impl Options {
    /// The defaults around these session options.
    pub fn new(session: session::Options) -> Options {
        Options {
            session: Arc::new(session),
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            session_max: SESSION_MAX,
            idle_max: IDLE_MAX,
            command_max: COMMAND_MAX,
            data_bytes_per_sec_min: DATA_BYTES_PER_SEC_MIN,
            data_window: DATA_WINDOW,
            tls_handshake_max: TLS_HANDSHAKE_MAX,
            write_max: WRITE_MAX,
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            in_flight_bytes_per_sender_max: IN_FLIGHT_BYTES_PER_SENDER_MAX,
            room_wait_max: ROOM_WAIT_MAX,
            login_max: LOGIN_MAX,
            accept_max: ACCEPT_MAX,
            grace_max: GRACE_MAX,
            errors_free_max: ERRORS_FREE_MAX,
            error_delay: ERROR_DELAY,
        }
    }
}

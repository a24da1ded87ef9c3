//! The protocol as values: lines to commands, session steps, replies. No sockets, no clock.

pub mod extension;
pub mod path;
pub mod reply;
pub mod reply_reader;
pub mod stuff;
pub mod transaction;

pub use path::{ForwardPath, Mailbox, ReversePath};
pub use reply::{Enhanced, Reply};

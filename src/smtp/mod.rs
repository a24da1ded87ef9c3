//! The protocol as values: lines to commands, session steps, replies. No sockets, no clock.

pub mod command;
pub mod data;
pub mod extension;
mod facts;
pub mod limits;
mod line;
pub mod path;
pub mod reply;
pub mod reply_reader;
pub mod sasl;
pub mod session;
mod step;
pub mod stuff;
pub mod transaction;

pub use path::{ForwardPath, Mailbox, ReversePath};
pub use reply::{Enhanced, Reply};
pub use session::Session;

//! Mails we promised to deliver, on disk, through a crash.

pub mod disk;
pub mod record;
pub mod recover;

pub use disk::{DiskFiles, Files, Spool, SpoolError};
pub use record::{Head, RecipientState, Record, Stage, State, Via};

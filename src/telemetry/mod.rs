//! Log set-up and the mail log.

mod address;
pub mod log;
pub mod maillog;

//! Log set-up, the mail log, and the recorder of metrics.

mod address;
pub mod log;
pub mod maillog;
pub mod metrics;

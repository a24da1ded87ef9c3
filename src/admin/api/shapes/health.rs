//! The health report.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::at;
use crate::health::{Check, Report};

/// What a look at the server found.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// RFC 3339.
    pub at: String,
    /// The worst state of all: ok, skipped, unknown, warn or fail.
    pub state: String,
    /// Nothing fails.
    pub ok: bool,
    /// The server looked at itself; else its files were looked at from outside.
    pub running: bool,
    /// One by one.
    pub checks: Vec<HealthCheck>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HealthCheck {
    /// tracking, upstream, domains, listeners, storage or process.
    pub area: String,
    /// Never changed: tracking.certificate.
    pub name: String,
    /// Which of several; empty where there is one.
    pub subject: String,
    /// Whose.
    pub org: Option<String>,
    /// ok, skipped, unknown, warn or fail.
    pub state: String,
    /// What was seen.
    pub seen: String,
    /// What mends it; empty where nothing needs to be done.
    pub fix: String,
}

impl From<Report> for Health {
    fn from(report: Report) -> Health {
        Health {
            at: at(report.at_ms),
            state: report.worst().as_str().to_owned(),
            ok: report.is_ok(),
            running: report.running,
            checks: report.checks.into_iter().map(HealthCheck::from).collect(),
        }
    }
}

impl From<Check> for HealthCheck {
    fn from(check: Check) -> HealthCheck {
        HealthCheck {
            area: check.area.as_str().to_owned(),
            name: check.name.to_owned(),
            subject: check.subject,
            org: check.org.map(|org| org.to_string()),
            state: check.state.as_str().to_owned(),
            seen: check.seen,
            fix: check.fix,
        }
    }
}

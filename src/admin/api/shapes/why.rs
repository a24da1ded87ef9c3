//! Why a mail is tracked or not.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::actions::why::WhyView;
use crate::admin::why_words;
use crate::policy::why::{Reason, Row};

/// `GET /api/v1/why`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// Whose mail.
    pub org: String,
    /// The login whose choice counts; null: a trusted network, or an address of no login's.
    pub login: Option<String>,
    /// `opens`, `links` and `text_links`.
    pub switches: Vec<WhySwitch>,
    /// `org` or `user`, when mail leaves as it came whatever the switches say.
    pub shadow: Option<String>,
    /// How the recipient stands: `refused`, `excluded`, `no-consent`, `agreed` or `unasked`.
    pub recipient: String,
    /// The entry of `excluded_recipients` that means them.
    pub excluded_by: Option<String>,
}

/// One switch.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WhySwitch {
    /// `opens`, `links` or `text_links`.
    pub switch: String,
    /// `off`, `aggregate`, `individual`; of text links `on` or `off`.
    pub in_force: String,
    /// `ceiling`, `org`, `user`, `header` or `recipient`: the highest level that would have had it so.
    pub decided_by: String,
    /// In words.
    pub why: String,
    /// From the ceiling down.
    pub levels: Vec<WhyLevel>,
}

/// One level's part.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyLevel {
    /// `ceiling`, `org`, `user`, `header` or `recipient`.
    pub level: String,
    /// What it says; null follows the level above.
    pub says: Option<String>,
    /// The organisation has locked it: what it says does not count.
    pub locked: bool,
    /// What remains after it.
    pub after: String,
}

impl From<WhyView> for Why {
    fn from(view: WhyView) -> Why {
        let level = |row: &Row| WhyLevel {
            level: row.level.as_str().to_owned(),
            says: row.says.map(|value| value.to_string()),
            locked: row.locked,
            after: row.after.to_string(),
        };
        let switch = |reason: &Reason| WhySwitch {
            switch: reason.switch.as_str().to_owned(),
            in_force: reason.in_force.to_string(),
            decided_by: reason.decided_by.as_str().to_owned(),
            why: why_words::of(&view, reason),
            levels: reason.rows.iter().map(level).collect(),
        };
        Why {
            switches: view.reasons.iter().map(switch).collect(),
            shadow: view.shadow.map(|level| level.as_str().to_owned()),
            recipient: view.plan.because.as_str().to_owned(),
            org: view.org.as_str().to_owned(),
            login: view.login.clone(),
            excluded_by: view.excluded_by.clone(),
        }
    }
}

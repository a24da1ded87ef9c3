//! Why a mail is tracked or not.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::actions::why::{Never, WhyView};
use crate::admin::why_words;
use crate::policy::why::{Narrowed, Reason, Row};

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
    /// Whose entry that is: `org` or `user`.
    pub excluded_level: Option<String>,
    /// `visible_urls`, `place` and `raw_evidence`: what the organisation sets and the sender may narrow.
    pub narrowed: Vec<WhyNarrowed>,
    /// Links never tracked, whoever they are sent to.
    pub never_tracked: Vec<WhyNever>,
    /// The sender has a list of recipients never tracked, which the caller may not know: the answer does not look at it.
    #[serde(default)]
    pub hides_excluded: bool,
    /// Names in `header` that waxseal does not know: `X-Waxseal-Track`, `X-Waxseal-Opens` and `X-Waxseal-Links` are its own.
    #[serde(default)]
    pub header_unknown: Vec<String>,
}

/// One value that the organisation sets and the sender may narrow.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyNarrowed {
    /// `visible_urls`, `place` or `raw_evidence`.
    pub switch: String,
    /// `track` or `leave`; `city` or `country`; `on` or `off`.
    pub in_force: String,
    /// `org`, or `user` where the sender takes something away.
    pub decided_by: String,
    /// In words.
    pub why: String,
    /// What the organisation says.
    pub org: String,
    /// What the sender says; null follows the organisation.
    pub user: Option<String>,
    /// The organisation has locked it: what the sender says does not count.
    pub locked: bool,
}

/// One entry of a list of links never tracked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyNever {
    /// `excluded_hosts` or `leave_links`.
    pub list: String,
    /// As it is kept.
    pub entry: String,
    /// `org` or `user`.
    pub decided_by: String,
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
        let narrowed = |one: &Narrowed| WhyNarrowed {
            switch: one.switch.as_str().to_owned(),
            in_force: one.in_force.to_owned(),
            decided_by: one.decided_by.as_str().to_owned(),
            why: why_words::of_narrowed(&view, one),
            org: one.org.to_owned(),
            user: one.sender.map(str::to_owned),
            locked: one.locked,
        };
        let never = |one: &Never| WhyNever {
            list: one.list.as_str().to_owned(),
            entry: one.entry.clone(),
            decided_by: one.by.as_str().to_owned(),
        };
        Why {
            narrowed: view.narrowed.iter().map(narrowed).collect(),
            never_tracked: view.never.iter().map(never).collect(),
            hides_excluded: view.hides_excluded,
            switches: view.reasons.iter().map(switch).collect(),
            shadow: view.shadow.map(|level| level.as_str().to_owned()),
            recipient: view.plan.because.as_str().to_owned(),
            org: view.org.as_str().to_owned(),
            login: view.login.clone(),
            excluded_by: view.excluded_by.as_ref().map(|(entry, _)| entry.clone()),
            excluded_level: view.excluded_by.as_ref().map(|(_, by)| by.as_str().to_owned()),
            header_unknown: view.header_unknown,
        }
    }
}

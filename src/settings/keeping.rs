//! What an organisation keeps of its readers' events, and whose refusals it takes from the browser.
//!
//! **Invariant:** the defaults are what data protection by default asks for (GDPR Art. 25): no address, no raw agent, and
//! a browser's standing refusal counts.

use std::fmt;
use std::str::FromStr;

/// The longest an organisation may choose to keep its events or messages, in days: ten years. The server's own limit holds besides.
pub const EVENTS_DAYS_MAX: u32 = 3650;

/// See the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// How exactly a place is kept.
    pub place: PlaceDetail,
    /// The address and the whole User-Agent are kept beside each event, as long as it. Off: both end with the judging.
    pub raw_evidence: bool,
    /// A request that says `Sec-GPC: 1` (Global Privacy Control) or `DNT: 1` is served and not recorded.
    ///
    /// On by default. Both are a reader's objection by automated means, which the GDPR takes as one (Art. 21(5)); some
    /// laws of US states bind to the first by name. To record all the same needs a reason of its own, so it is for an
    /// organisation to switch off, knowingly. Nothing is kept, not even a count by the day: an individual link's count is
    /// about one person.
    pub honour_gpc: bool,
    /// Days that events are kept, 1..=[`EVENTS_DAYS_MAX`], when fewer than the server's; `None`: as long as the server's.
    pub events_days: Option<u32>,
    /// Days that messages (sender, subject, recipients) are kept, likewise.
    pub messages_days: Option<u32>,
}

impl Default for Keeping {
    fn default() -> Keeping {
        Keeping {
            place: PlaceDetail::default(),
            raw_evidence: false,
            honour_gpc: true,
            events_days: None,
            messages_days: None,
        }
    }
}

/// How exactly an event's place is kept. Ordered: `Country < City`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PlaceDetail {
    /// The country alone.
    Country,
    /// Country and city, where the database knows it.
    #[default]
    City,
}

impl PlaceDetail {
    /// As written in config and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            PlaceDetail::Country => "country",
            PlaceDetail::City => "city",
        }
    }
}

impl fmt::Display for PlaceDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAPlaceDetail;

impl FromStr for PlaceDetail {
    type Err = NotAPlaceDetail;
    fn from_str(text: &str) -> Result<PlaceDetail, NotAPlaceDetail> {
        match text {
            "country" => Ok(PlaceDetail::Country),
            "city" => Ok(PlaceDetail::City),
            _ => Err(NotAPlaceDetail),
        }
    }
}

//! Counts by the day.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Counts;
use crate::store::record;

const DAY_SECS: i64 = 86_400;

/// `GET /api/v1/figures`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// Oldest first, without a gap.
    pub days: Vec<FiguresOfDay>,
}

/// One day.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FiguresOfDay {
    /// `2026-11-23`, UTC.
    pub day: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
}

impl From<(i64, record::Counts)> for FiguresOfDay {
    fn from((day, counts): (i64, record::Counts)) -> FiguresOfDay {
        let at = jiff::Timestamp::from_second(day.saturating_mul(DAY_SECS)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        FiguresOfDay { day: at.strftime("%Y-%m-%d").to_string(), counts: counts.into() }
    }
}

/// `GET /api/v1/figures/senders`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Senders {
    /// The most read first.
    pub senders: Vec<FiguresOfSender>,
}

/// One sender.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FiguresOfSender {
    /// Whose mail.
    pub org: String,
    /// The login; `null` for trusted networks.
    pub login: Option<String>,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
}

impl From<Vec<record::Total>> for Senders {
    fn from(totals: Vec<record::Total>) -> Senders {
        let sender = |record::Total { org, login, counts }: record::Total| FiguresOfSender {
            org: org.to_string(),
            login,
            counts: counts.into(),
        };
        Senders { senders: totals.into_iter().map(sender).collect() }
    }
}

/// `GET /api/v1/figures/links`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RankedLinks {
    /// The most followed first.
    pub links: Vec<LinkOfFigures>,
}

/// One destination.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkOfFigures {
    /// Where it leads.
    pub destination: String,
    /// By people.
    pub clicks: i64,
    /// By machines and the sender.
    pub machine_clicks: i64,
}

/// `GET /api/v1/figures/places`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Places {
    /// The most frequent first.
    pub places: Vec<Place>,
}

/// One country, of people whose place is their own.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// ISO 3166 code.
    pub country: String,
    /// There.
    pub opens: i64,
    /// There.
    pub clicks: i64,
}

impl From<Vec<record::RankedLink>> for RankedLinks {
    fn from(links: Vec<record::RankedLink>) -> RankedLinks {
        let link = |link: record::RankedLink| {
            let record::RankedLink { destination, clicks, machine_clicks } = link;
            LinkOfFigures { destination, clicks, machine_clicks }
        };
        RankedLinks { links: links.into_iter().map(link).collect() }
    }
}

impl From<Vec<record::PlaceCount>> for Places {
    fn from(places: Vec<record::PlaceCount>) -> Places {
        let place = |place: record::PlaceCount| {
            let record::PlaceCount { country, opens, clicks } = place;
            Place { country, opens, clicks }
        };
        Places { places: places.into_iter().map(place).collect() }
    }
}

//! Counts by the day.

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::store::record;

const DAY_SECS: i64 = 86_400;

/// `GET /api/v1/figures`
#[derive(Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Oldest first, without a gap.
    pub days: Vec<FiguresOfDay>,
}

/// One day.
#[derive(Debug, Serialize, Deserialize)]
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

//! How much was opened and clicked, day by day: counters, never events.

use super::messages::{Narrow, scope};
use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::settings::OrgName;
use crate::store::record::{Counts, DayCountFilter, PlaceCount, RankedLink, Total, TotalsOf};

/// Most days of one answer: a year.
pub const DAYS_MAX: u32 = 366;

/// Most days that links and places are ranked over: what is ranked is summed at the question.
pub const RANKED_DAYS_MAX: u32 = 31;

/// Organisations or senders of one answer.
pub const TOTALS_MAX: u32 = 100;

/// Destinations and places of one answer.
pub const RANKED_MAX: u32 = 20;

/// Which days to count.
#[derive(Debug, Clone, Default)]
pub struct FiguresQuery {
    /// Only this org.
    pub org: Option<OrgName>,
    /// Only this login's mail.
    pub login: Option<String>,
    /// The last of the days, counted from 1970-01-01, UTC.
    pub last_day: i64,
    /// How many, 1..=[`DAYS_MAX`].
    pub days: u32,
}

impl Actions {
    /// The counters of each of the days, the first first, as far as the viewer may know: an organisation's admin of all of
    /// its mail, a sender of their own.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for another organisation or another person's mail; [`Refusal::Store`].
    pub async fn figures(&self, viewer: &Viewer, query: FiguresQuery) -> Result<Vec<(i64, Counts)>, Refusal> {
        let (org, login) = scope(viewer, query.org, query.login, Narrow::ToCounts)?;
        let days = i64::from(query.days.clamp(1, DAYS_MAX));
        let (first_day, last_day) = (query.last_day.saturating_sub(days - 1), query.last_day);
        let counted = self.history.days(DayCountFilter { org, login, first_day, last_day, limit: DAYS_MAX }).await?;
        let of = |day: i64| counted.iter().find(|(counted, _)| *counted == day).map(|(_, counts)| *counts);
        Ok((first_day..=last_day).map(|day| (day, of(day).unwrap_or_default())).collect())
    }

    /// The sums of these days by organisation or by sender, most by people first, as far as the viewer may know.
    ///
    /// # Errors
    /// As [`Actions::figures`].
    pub async fn totals(&self, viewer: &Viewer, query: FiguresQuery, of: TotalsOf) -> Result<Vec<Total>, Refusal> {
        let (org, login) = scope(viewer, query.org, query.login, Narrow::ToCounts)?;
        let days = i64::from(query.days.clamp(1, DAYS_MAX));
        let (first_day, last_day) = (query.last_day.saturating_sub(days - 1), query.last_day);
        Ok(self.history.totals(DayCountFilter { org, login, first_day, last_day, limit: TOTALS_MAX }, of).await?)
    }

    /// The destinations people followed most on these days, of mail the viewer may read: links are words of a mail.
    ///
    /// # Errors
    /// As [`Actions::figures`].
    pub async fn ranked_links(&self, viewer: &Viewer, query: FiguresQuery) -> Result<Vec<RankedLink>, Refusal> {
        let (org, login) = scope(viewer, query.org.clone(), query.login.clone(), Narrow::ToOwn)?;
        Ok(self.history.ranked_links(ranking(&query, org, login)).await?)
    }

    /// Where people read on these days, most first, of mail the viewer may read: with one mail, a country is its reader's.
    ///
    /// # Errors
    /// As [`Actions::figures`].
    pub async fn places(&self, viewer: &Viewer, query: FiguresQuery) -> Result<Vec<PlaceCount>, Refusal> {
        let (org, login) = scope(viewer, query.org.clone(), query.login.clone(), Narrow::ToOwn)?;
        Ok(self.history.places(ranking(&query, org, login)).await?)
    }
}

fn ranking(query: &FiguresQuery, org: Option<OrgName>, login: Option<String>) -> DayCountFilter {
    let days = i64::from(query.days.clamp(1, RANKED_DAYS_MAX));
    let (first_day, last_day) = (query.last_day.saturating_sub(days - 1), query.last_day);
    DayCountFilter { org, login, first_day, last_day, limit: RANKED_MAX }
}

//! `/figures`: opens and clicks of the last 30 days, as a chart and as a table of the same numbers.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::words::{self, Moment};
use super::{Frame, error::PageError, html};
use crate::admin::actions::figures::FiguresQuery;
use crate::admin::visitor::Visitor;
use crate::admin::{Refusal, Site};
use crate::event::country::country_name;
use crate::settings::OrgName;
use crate::store::record::{Counts, PlaceCount, RankedLink};

/// A month.
const DAYS: u32 = 30;
const DAY_MS: i64 = 86_400_000;
/// Units of the drawing: a day's width, the gap between two, the height of the highest bar.
const STEP: i64 = 20;
const GAP: i64 = 4;
const HEIGHT: i64 = 120;

/// What a page's address may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    org: Option<String>,
    login: Option<String>,
}

#[derive(Template)]
#[template(path = "figures.html")]
struct Figures {
    frame: Frame,
    orgs: Vec<(String, bool)>,
    every_org: bool,
    bars: Vec<Bar>,
    width: i64,
    height: i64,
    bar_width: i64,
    /// The chart in a sentence.
    summary: String,
    /// Of the events of these days, by people and by others, Monday first.
    weekdays: Vec<Weekday>,
    /// Hundredths of all events; `None` without any.
    machine_share: Option<i64>,
    only_login: String,
    links: Vec<RankedLink>,
    places: Vec<Place>,
    /// Newest first; days without an event are left out.
    days: Vec<Day>,
}

/// One day's column: people below, machines on top of them.
#[derive(Debug, PartialEq, Eq)]
struct Bar {
    x: i64,
    people_y: i64,
    people_height: i64,
    machines_y: i64,
    machines_height: i64,
}

struct Day {
    at: Moment,
    opens: i64,
    clicks: i64,
    machines: i64,
}

struct Weekday {
    name: &'static str,
    opens: i64,
    clicks: i64,
    machines: i64,
    /// Of [`WEEKDAY_WIDTH`], the busiest day being all of it.
    people_width: i64,
}

struct Place {
    country: String,
    opens: i64,
    clicks: i64,
}

fn place(count: &PlaceCount) -> Place {
    let country = words::one_line(country_name(&count.country));
    Place { country, opens: count.opens, clicks: count.clicks }
}

/// Units of the longest bar.
const WEEKDAY_WIDTH: i64 = 100;

/// The first of January 1970 was a Thursday.
fn weekdays(counted: &[(i64, Counts)]) -> Vec<Weekday> {
    let names = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let sum = |weekday: i64| {
        let of_day = counted.iter().filter(|(day, _)| (day + 3).rem_euclid(7) == weekday);
        of_day.fold(Counts::default(), |sum, (_, counts)| sum.and(*counts))
    };
    let sums: Vec<Counts> = (0..7).map(sum).collect();
    let most = sums.iter().map(people).max().unwrap_or_default().max(1);
    let row = |(name, counts): (&'static str, &Counts)| Weekday {
        name,
        opens: counts.opens,
        clicks: counts.clicks,
        machines: machines(counts),
        people_width: people(counts).max(0).saturating_mul(WEEKDAY_WIDTH) / most,
    };
    names.into_iter().zip(&sums).map(row).collect()
}

fn machine_share(counted: &[(i64, Counts)]) -> Option<i64> {
    let sum = counted.iter().fold(Counts::default(), |sum, (_, counts)| sum.and(*counts));
    (total(&sum) > 0).then(|| machines(&sum).max(0).saturating_mul(100) / total(&sum))
}

/// `GET /figures`
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let org: Option<OrgName> = match asked.org.as_deref() {
        None | Some("") => None,
        Some(name) => Some(name.parse().map_err(|_| Refusal::NotFound { what: "such organisation".to_owned() })?),
    };
    let last_day = jiff::Timestamp::now().as_millisecond().div_euclid(DAY_MS);
    let query = FiguresQuery {
        org: org.clone(),
        login: asked.login.clone().filter(|login| !login.is_empty()),
        last_day,
        days: DAYS,
    };
    let counted = site.actions.figures(&visitor.viewer, query.clone()).await?;
    let links = site.actions.ranked_links(&visitor.viewer, query.clone()).await?;
    let places = site.actions.places(&visitor.viewer, query).await?;
    let names: Vec<String> =
        site.actions.orgs(&visitor.viewer).into_iter().map(|view| view.org.name.as_str().to_owned()).collect();
    let (many, asked_org) = (names.len() > 1, org.as_ref().map_or("", OrgName::as_str));
    Ok(html(&Figures {
        frame: Frame::of(&site, &visitor, "The last 30 days", "/"),
        orgs: names.into_iter().filter(|_| many).map(|name| (name.clone(), name == asked_org)).collect(),
        every_org: org.is_none(),
        bars: bars(&counted),
        width: STEP * i64::from(DAYS),
        height: HEIGHT,
        bar_width: STEP - GAP,
        summary: summary(&counted),
        weekdays: weekdays(&counted),
        machine_share: machine_share(&counted),
        only_login: asked.login.unwrap_or_default(),
        links: links
            .into_iter()
            .map(|link| RankedLink { destination: words::one_line(&link.destination), ..link })
            .collect(),
        places: places.iter().map(place).collect(),
        days: counted.iter().rev().filter(|(_, counts)| total(counts) > 0).map(day).collect(),
    }))
}

fn people(counts: &Counts) -> i64 {
    counts.opens + counts.clicks
}

fn machines(counts: &Counts) -> i64 {
    counts.machine_opens + counts.machine_clicks
}

fn total(counts: &Counts) -> i64 {
    people(counts) + machines(counts)
}

fn day((day, counts): &(i64, Counts)) -> Day {
    let at = words::day(day.saturating_mul(DAY_MS));
    Day { at, opens: counts.opens, clicks: counts.clicks, machines: machines(counts) }
}

/// The highest day fills the height; whatever is not nothing can be seen.
fn bars(counted: &[(i64, Counts)]) -> Vec<Bar> {
    let most = counted.iter().map(|(_, counts)| total(counts)).max().unwrap_or_default().max(1);
    let scaled = |number: i64| if number > 0 { (number.saturating_mul(HEIGHT) / most).max(1) } else { 0 };
    let bar = |(x, (_, counts)): (i64, &(i64, Counts))| {
        let people_height = scaled(people(counts));
        let machines_height = scaled(machines(counts)).min(HEIGHT - people_height);
        let people_y = HEIGHT - people_height;
        Bar { x, people_y, people_height, machines_y: people_y - machines_height, machines_height }
    };
    (0..).step_by(usize::try_from(STEP).unwrap_or(1)).zip(counted).map(bar).collect()
}

fn summary(counted: &[(i64, Counts)]) -> String {
    let sum = counted.iter().fold(Counts::default(), |sum, (_, counts)| sum.and(*counts));
    let number = |number: i64, word| words::count(number.max(0).unsigned_abs(), word);
    format!(
        "{} and {} by people, {} by machines and your own",
        number(sum.opens, "open"),
        number(sum.clicks, "click"),
        number(machines(&sum), "event")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_and_the_share_of_machines() {
        // 1970-01-05 was a Monday.
        let counted = [
            (4, Counts { opens: 2, ..Counts::default() }),
            (11, Counts { opens: 2, machine_clicks: 1, ..Counts::default() }),
            (3, Counts { clicks: 1, ..Counts::default() }),
        ];
        let shown: Vec<_> =
            weekdays(&counted).iter().map(|d| (d.name, d.opens, d.clicks, d.machines, d.people_width)).collect();
        assert_eq!(
            (shown[0], shown[1], shown[6]),
            (("Monday", 4, 0, 1, 100), ("Tuesday", 0, 0, 0, 0), ("Sunday", 0, 1, 0, 25))
        );
        assert_eq!((machine_share(&counted), machine_share(&[])), (Some(16), None));
    }

    #[test]
    fn the_chart() {
        let day = |opens, machine_clicks| (0, Counts { opens, machine_clicks, ..Counts::default() });
        let shown = |counted: &[(i64, Counts)]| -> Vec<(i64, i64, i64)> {
            bars(counted).iter().map(|bar| (bar.x, bar.people_height, bar.machines_height)).collect()
        };
        // Nothing; the highest fills the height; a trifle beside a thousand is still seen, and never higher than the height.
        assert_eq!(shown(&[day(0, 0)]), [(0, 0, 0)]);
        assert_eq!(shown(&[day(1, 3), day(2, 0)]), [(0, 30, 90), (20, 60, 0)]);
        assert_eq!(shown(&[day(1_000_000, 1), day(1, 0)]), [(0, 119, 1), (20, 1, 0)]);
        let top = |bar: &Bar| bar.machines_y >= 0 && bar.people_y + bar.people_height == HEIGHT;
        assert!(bars(&[day(7, 7), day(1_000, 1), day(0, 0)]).iter().all(top));
        assert_eq!(
            summary(&[day(1, 2), day(3, 0)]),
            "4 opens and 0 clicks by people, 2 events by machines and your own"
        );
    }
}

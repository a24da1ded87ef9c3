//! `/figures`: Analytics. Opens and clicks of some days, as a chart and as a table of the same numbers, by organisation and
//! sender, weekday, link and country. All from counters; every figure says whether people or machines made it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::chart::{self, Bucket, Chart, HEIGHT, SHARE_HEIGHT, machines, people, share, total};
use super::query::Query;
use super::words;
use super::{Frame, encoded, error::PageError, html};
use crate::admin::actions::figures::{FiguresQuery, RANKED_DAYS_MAX};
use crate::admin::visitor::Visitor;
use crate::admin::{Refusal, Site};
use crate::event::country::country_name;
use crate::settings::OrgName;
use crate::store::record::{Counts, PlaceCount, RankedLink, Total, TotalsOf};

/// Periods to choose from, in days.
const PERIODS: [(u32, &str); 4] = [(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "A year")];
/// A month, unless another is asked for.
const DAYS: u32 = 30;
const DAY_MS: i64 = 86_400_000;
/// Rows of the tables of organisations and senders.
const ROWS_MAX: usize = 20;

/// What a page's address may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    org: Option<String>,
    login: Option<String>,
    days: Option<u32>,
}

#[derive(Template)]
#[template(path = "figures.html")]
struct Figures {
    frame: Frame,
    periods: Vec<Choice>,
    orgs: Vec<Choice>,
    /// What the chosen period is called.
    period: &'static str,
    days: u32,
    chosen_org: String,
    only_login: String,
    /// The same without the one sender.
    everybody: String,
    sum: Row,
    chart: Chart,
    height: i64,
    share_height: i64,
    weekly: bool,
    first: String,
    last: String,
    most: String,
    /// The chart in a sentence.
    summary: String,
    /// Newest first; columns without an event are left out.
    columns: Vec<Row>,
    weekdays: Vec<Row>,
    by_org: Vec<Row>,
    by_sender: Vec<Row>,
    /// `None` where the viewer may not read the mail in question.
    links: Option<Vec<Ranked>>,
    places: Option<Vec<Ranked>>,
    ranked_days: u32,
}

/// One of some to choose from.
struct Choice {
    href: String,
    label: String,
    chosen: bool,
}

/// What was counted of one thing.
struct Row {
    label: String,
    href: Option<String>,
    opens: String,
    clicks: String,
    machines: String,
    share: String,
    /// Of a hundred, the row with most people's events being all of it.
    width: i64,
}

/// One of the first.
struct Ranked {
    label: String,
    opens: String,
    clicks: String,
    machines: String,
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
    let days = asked.days.filter(|days| PERIODS.iter().any(|(known, _)| known == days)).unwrap_or(DAYS);
    let last_day = jiff::Timestamp::now().as_millisecond().div_euclid(DAY_MS);
    let login = asked.login.map(|login| login.trim().to_owned()).filter(|login| !login.is_empty());
    let query = FiguresQuery { org, login, last_day, days };
    let (actions, viewer) = (&site.actions, &visitor.viewer);
    let names: Vec<String> = actions.orgs(viewer).into_iter().map(|view| view.org.name.to_string()).collect();
    let by_sender = async {
        // A sender has no others to be told of; of one sender there is nothing to choose.
        if query.login.is_none() && (viewer.rules_all() || viewer.org_ruled().is_some()) {
            actions.totals(viewer, query.clone(), TotalsOf::Senders).await
        } else {
            Ok(Vec::new())
        }
    };
    let by_org = async {
        if query.login.is_none() && query.org.is_none() && names.len() > 1 {
            actions.totals(viewer, query.clone(), TotalsOf::Orgs).await
        } else {
            Ok(Vec::new())
        }
    };
    let (counted, by_org, by_sender, links, places) = tokio::try_join!(
        actions.figures(viewer, query.clone()),
        by_org,
        by_sender,
        async { may_be_closed(actions.ranked_links(viewer, query.clone()).await) },
        async { may_be_closed(actions.places(viewer, query.clone()).await) },
    )?;
    let frame = Frame::of(&site, &visitor, "Analytics", "/figures");
    let told = Told { counted, by_org, by_sender, links, places };
    Ok(html(&filled(frame, &query, &names, &told)))
}

/// Words of mail that the viewer sees only counts of are left out; its counts are not.
fn may_be_closed<T>(ranked: Result<Vec<T>, Refusal>) -> Result<Option<Vec<T>>, Refusal> {
    match ranked {
        Ok(ranked) => Ok(Some(ranked)),
        Err(Refusal::NotFound { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// What the store told.
struct Told {
    counted: Vec<(i64, Counts)>,
    by_org: Vec<Total>,
    by_sender: Vec<Total>,
    links: Option<Vec<RankedLink>>,
    places: Option<Vec<PlaceCount>>,
}

fn filled(frame: Frame, query: &FiguresQuery, names: &[String], told: &Told) -> Figures {
    let (buckets, weekly) = chart::buckets(&told.counted);
    let sum = told.counted.iter().fold(Counts::default(), |sum, (_, counts)| sum.and(*counts));
    let chosen_org = query.org.as_ref().map(OrgName::to_string).unwrap_or_default();
    let login = query.login.clone().unwrap_or_default();
    let period = PERIODS.iter().find(|(days, _)| *days == query.days).map_or("", |(_, label)| label);
    let chart = Chart::of(&buckets);
    let day_of = |bucket: Option<&Bucket>| bucket.map(chart::day).unwrap_or_default();
    let last = words::day(query.last_day.saturating_mul(DAY_MS)).friendly;
    let shown = buckets.iter().rev().filter(|bucket| total(&bucket.counts) > 0);
    Figures {
        frame,
        periods: periods(query, &chosen_org, &login),
        orgs: orgs(query, names, &chosen_org),
        period,
        days: query.days,
        everybody: address(query.days, &chosen_org, ""),
        sum: row(String::new(), None, &sum, 1),
        most: words::number(chart.most),
        chart,
        height: HEIGHT,
        share_height: SHARE_HEIGHT,
        weekly,
        first: day_of(buckets.first()),
        last,
        summary: chart::sentence(&sum),
        columns: shown.map(|bucket| row(chart::day(bucket), None, &bucket.counts, 1)).collect(),
        weekdays: weekdays(&told.counted),
        by_org: totals(&told.by_org, |total| {
            let name = total.org.as_str();
            (name.to_owned(), Some(address(query.days, name, "")))
        }),
        by_sender: totals(&told.by_sender, |total| sender(query.days, &chosen_org, total)),
        links: told.links.as_ref().map(|links| links.iter().map(link).collect()),
        places: told.places.as_ref().map(|places| places.iter().map(place).collect()),
        ranked_days: query.days.min(RANKED_DAYS_MAX),
        chosen_org,
        only_login: login,
    }
}

fn address(days: u32, org: &str, login: &str) -> String {
    let and =
        |key: &str, value: &str| if value.is_empty() { String::new() } else { format!("&{key}={}", encoded(value)) };
    format!("/figures?days={days}{}{}", and("org", org), and("login", login))
}

fn periods(query: &FiguresQuery, org: &str, login: &str) -> Vec<Choice> {
    let choice = |(days, label): (u32, &str)| Choice {
        href: address(days, org, login),
        label: label.to_owned(),
        chosen: days == query.days,
    };
    PERIODS.into_iter().map(choice).collect()
}

/// Nothing to choose where there is one.
fn orgs(query: &FiguresQuery, names: &[String], chosen: &str) -> Vec<Choice> {
    let choice = |name: &str, label: &str| Choice {
        href: address(query.days, name, ""),
        label: label.to_owned(),
        chosen: name == chosen,
    };
    match names {
        [] | [_] => Vec::new(),
        names => std::iter::once(choice("", "All")).chain(names.iter().map(|name| choice(name, name))).collect(),
    }
}

fn row(label: String, href: Option<String>, counts: &Counts, most: i64) -> Row {
    Row {
        label,
        href,
        opens: words::number(counts.opens),
        clicks: words::number(counts.clicks),
        machines: words::number(machines(counts)),
        share: share(counts).map_or_else(|| "–".to_owned(), |share| format!("{share} %")),
        width: people(counts).max(0).saturating_mul(100) / most.max(1),
    }
}

fn most(counts: &[Counts]) -> i64 {
    counts.iter().map(people).max().unwrap_or_default()
}

/// Monday first. The first of January 1970 was a Thursday.
fn weekdays(counted: &[(i64, Counts)]) -> Vec<Row> {
    let names = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let sum = |weekday: i64| {
        let of_day = counted.iter().filter(|(day, _)| (day + 3).rem_euclid(7) == weekday);
        of_day.fold(Counts::default(), |sum, (_, counts)| sum.and(*counts))
    };
    let sums: Vec<Counts> = (0..7).map(sum).collect();
    let most = most(&sums);
    names.into_iter().zip(&sums).map(|(name, counts)| row(name.to_owned(), None, counts, most)).collect()
}

fn totals(totals: &[Total], named: impl Fn(&Total) -> (String, Option<String>)) -> Vec<Row> {
    let counts: Vec<Counts> = totals.iter().map(|total| total.counts).collect();
    let most = most(&counts);
    let one = |total: &Total| {
        let (label, href) = named(total);
        row(label, href, &total.counts, most)
    };
    totals.iter().take(ROWS_MAX).map(one).collect()
}

/// Its page is asked for by its login; a trusted network has none.
fn sender(days: u32, org: &str, total: &Total) -> (String, Option<String>) {
    match &total.login {
        Some(login) => (words::one_line(login), Some(address(days, org, login))),
        None => (format!("trusted networks of {}", total.org), None),
    }
}

fn link(link: &RankedLink) -> Ranked {
    Ranked {
        label: words::link(&link.destination),
        opens: String::new(),
        clicks: words::number(link.clicks),
        machines: words::number(link.machine_clicks),
    }
}

fn place(count: &PlaceCount) -> Ranked {
    Ranked {
        label: words::one_line(country_name(&count.country)),
        opens: words::number(count.opens),
        clicks: words::number(count.clicks),
        machines: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_from_monday() {
        // 1970-01-05 was a Monday.
        let counted = [
            (4, Counts { opens: 2, ..Counts::default() }),
            (11, Counts { opens: 2, machine_clicks: 1, ..Counts::default() }),
            (3, Counts { clicks: 1, ..Counts::default() }),
        ];
        let told = weekdays(&counted);
        let shown: Vec<[&str; 5]> =
            told.iter().map(|d| [&*d.label, &*d.opens, &*d.clicks, &*d.machines, &*d.share]).collect();
        assert_eq!(shown[0], ["Monday", "4", "0", "1", "20 %"]);
        assert_eq!(shown[1], ["Tuesday", "0", "0", "0", "–"]);
        assert_eq!(shown[6], ["Sunday", "0", "1", "0", "0 %"]);
        assert_eq!((told[0].width, told[1].width, told[6].width), (100, 0, 25));
    }

    #[test]
    fn addresses_keep_what_was_chosen() {
        assert_eq!(address(30, "", ""), "/figures?days=30");
        assert_eq!(address(7, "acme", "a&b@x.test"), "/figures?days=7&org=acme&login=a%26b%40x.test");
    }
}

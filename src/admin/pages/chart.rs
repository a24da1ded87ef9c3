//! Opens and clicks over some days as columns, and the share of machines as a line above the same days: numbers in, places on
//! a drawing out. Pure.

use super::words;
use crate::store::record::Counts;

/// Units of the drawing: from one column to the next, and the height of the highest.
const STEP: i64 = 20;
pub(super) const HEIGHT: i64 = 120;
/// Of the line's drawing, which stands for all events.
pub(super) const SHARE_HEIGHT: i64 = 40;
/// More days than these are drawn by the week.
const BY_DAY_MAX: usize = 100;
const WEEK: usize = 7;
const DAY_MS: i64 = 86_400_000;

/// What is counted of one column: a day, or the seven days from one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) first_day: i64,
    pub(super) counts: Counts,
}

/// Days in their order as columns; the last column ends with the last day. Whether a column is a week.
pub(super) fn buckets(counted: &[(i64, Counts)]) -> (Vec<Bucket>, bool) {
    let weekly = counted.len() > BY_DAY_MAX;
    let size = if weekly { WEEK } else { 1 };
    let bucket = |days: &[(i64, Counts)]| Bucket {
        first_day: days.first().map_or(0, |(day, _)| *day),
        counts: days.iter().fold(Counts::default(), |sum, (_, counts)| sum.and(*counts)),
    };
    let mut buckets: Vec<Bucket> = counted.rchunks(size).map(bucket).collect();
    buckets.reverse();
    (buckets, weekly)
}

/// By people.
pub(super) fn people(counts: &Counts) -> i64 {
    counts.opens + counts.clicks
}

/// By machines, and the sender's own.
pub(super) fn machines(counts: &Counts) -> i64 {
    counts.machine_opens + counts.machine_clicks
}

pub(super) fn total(counts: &Counts) -> i64 {
    people(counts) + machines(counts)
}

/// Hundredths of all events that were no reader's; `None` without any.
pub(super) fn share(counts: &Counts) -> Option<i64> {
    (total(counts) > 0).then(|| machines(counts).max(0).saturating_mul(100) / total(counts))
}

/// A drawing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chart {
    pub(super) width: i64,
    pub(super) columns: Vec<Column>,
    /// The line of the machines' share, broken where nothing happened.
    pub(super) share: String,
    /// Events of the highest column.
    pub(super) most: i64,
}

/// One column: opens below, clicks and machines on top of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) x: i64,
    pub(super) width: i64,
    /// In words, for a pointer that rests on it.
    pub(super) title: String,
    pub(super) opens: Part,
    pub(super) clicks: Part,
    pub(super) machines: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) y: i64,
    pub(super) height: i64,
}

impl Chart {
    pub(super) fn of(buckets: &[Bucket]) -> Chart {
        let most = buckets.iter().map(|bucket| total(&bucket.counts)).max().unwrap_or_default();
        // Few columns are thin ones with air between them.
        let width = if buckets.len() > WEEK { STEP - STEP / 4 } else { STEP / 2 };
        let column = |(x, bucket): (i64, &Bucket)| column(x + (STEP - width) / 2, width, bucket, most.max(1));
        let columns: Vec<Column> = places().zip(buckets).map(column).collect();
        Chart { width: STEP.saturating_mul(columns.len() as i64), columns, share: line(buckets), most }
    }
}

fn places() -> impl Iterator<Item = i64> {
    (0..).map(|at: i64| at.saturating_mul(STEP))
}

/// The highest fills the height; whatever is not nothing can be seen.
fn column(x: i64, width: i64, bucket: &Bucket, most: i64) -> Column {
    let scaled = |number: i64| if number > 0 { (number.saturating_mul(HEIGHT) / most).max(1) } else { 0 };
    let counts = bucket.counts;
    let mut top = HEIGHT;
    let mut part = |number: i64| {
        let height = scaled(number).min(top);
        top -= height;
        Part { y: top, height }
    };
    let (opens, clicks, machines) = (part(counts.opens), part(counts.clicks), part(machines(&counts)));
    Column { x, width, title: format!("{}: {}", day(bucket), sentence(&counts)), opens, clicks, machines }
}

/// From column to column; one that stands alone is a dot.
fn line(buckets: &[Bucket]) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (x, bucket) in places().zip(buckets) {
        let Some(share) = share(&bucket.counts) else {
            drawing = false;
            continue;
        };
        let (x, y) = (x + STEP / 2, SHARE_HEIGHT - share.min(100) * SHARE_HEIGHT / 100);
        path.push_str(&if drawing { format!("L{x} {y}") } else { format!("M{x} {y}h0") });
        drawing = true;
    }
    path
}

/// The first day of a column.
pub(super) fn day(bucket: &Bucket) -> String {
    words::day(bucket.first_day.saturating_mul(DAY_MS)).friendly
}

/// What was counted, in words.
pub(super) fn sentence(counts: &Counts) -> String {
    format!(
        "{} and {} by people, {} by machines and your own",
        words::counted(counts.opens, "open"),
        words::counted(counts.clicks, "click"),
        words::counted(machines(counts), "event")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day_of(day: i64, opens: i64, clicks: i64, machine_clicks: i64) -> (i64, Counts) {
        (day, Counts { opens, clicks, machine_clicks, ..Counts::default() })
    }

    fn chart(counted: &[(i64, Counts)]) -> Chart {
        Chart::of(&buckets(counted).0)
    }

    #[test]
    fn the_columns() {
        let shown = |counted: &[(i64, Counts)]| -> Vec<[i64; 3]> {
            let heights = |column: &Column| [column.opens.height, column.clicks.height, column.machines.height];
            chart(counted).columns.iter().map(heights).collect()
        };
        // Nothing; the highest fills the height; a trifle beside a million is still seen, and never sticks out.
        assert_eq!(shown(&[day_of(0, 0, 0, 0)]), [[0, 0, 0]]);
        assert_eq!(shown(&[day_of(0, 1, 1, 2), day_of(1, 2, 0, 0)]), [[30, 30, 60], [60, 0, 0]]);
        assert_eq!(shown(&[day_of(0, 1_000_000, 1, 1), day_of(1, 1, 0, 0)]), [[119, 1, 0], [1, 0, 0]]);
        for column in chart(&[day_of(0, 7, 1, 7), day_of(1, 1_000, 1, 1)]).columns {
            assert_eq!(column.opens.y + column.opens.height, HEIGHT, "they stand on the ground");
            assert!(column.machines.y >= 0 && column.machines.y + column.machines.height == column.clicks.y);
        }
        let title = &chart(&[day_of(0, 1, 0, 2)]).columns[0].title;
        assert_eq!(title, "1 Jan 1970: 1 open and 0 clicks by people, 2 events by machines and your own");
    }

    /// All machines, a gap, none, half: a dot, then a line.
    #[test]
    fn the_line_of_machines() {
        let counted = [day_of(0, 0, 0, 3), day_of(1, 0, 0, 0), day_of(2, 3, 0, 0), day_of(3, 1, 0, 1)];
        assert_eq!(chart(&counted).share, "M10 0h0M50 40h0L70 20");
        assert_eq!((share(&counted[0].1), share(&counted[1].1), share(&counted[3].1)), (Some(100), None, Some(50)));
    }

    /// A year is drawn by the week, and nothing is lost by it.
    #[test]
    fn a_year_by_the_week() {
        let year: Vec<(i64, Counts)> = (0..365).map(|day| day_of(day, 1, 0, 0)).collect();
        let (weeks, weekly) = buckets(&year);
        assert!(weekly && weeks.len() == 53);
        assert_eq!(weeks.iter().map(|week| week.counts.opens).sum::<i64>(), 365);
        assert_eq!((weeks[0].first_day, weeks[1].first_day, weeks[52].first_day), (0, 1, 358));
        assert_eq!(buckets(&year[..90]).0.len(), 90);
        assert_eq!(buckets(&[]), (Vec::new(), false));
    }
}

//! The last minute of one copy: what of it is a burst, and what is the same again.
//!
//! **Invariant:** at most [`HITS_MAX`] hits are kept, none older than the longest window. A burst takes back the
//! verdicts it has shown wrong, and says which; a person's event is never folded into one that only says of itself that
//! it was a machine's.

use std::collections::VecDeque;

use super::EventKind;
use super::classify::verdict;
use super::rule::{Rule, RuleSet};

/// Hits kept for one copy. Beyond it the oldest go: a repeat of one of them is then an event of its own.
pub const HITS_MAX: usize = 64;
/// The same again within so long is a repeat.
const REPEAT_MS: i64 = 60_000;
/// Distinct links that make a burst…
const BURST_LINKS_MIN: usize = 3;
/// … within so long.
const BURST_MS: i64 = 2_000;
/// All links of the mail within so long are a burst too, if there are as many.
const BURST_ALL_MS: i64 = 10_000;

/// Which event a hit became: a number that the caller gives.
pub type Ticket = u64;

/// A request, judged by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The number its event has, if it becomes one.
    pub ticket: Ticket,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Open or click.
    pub kind: EventKind,
    /// Which link; 0 for a pixel.
    pub link: u16,
    /// Keyed hash of its network.
    pub network: [u8; 8],
    /// What gave its verdict.
    pub rule: Option<Rule>,
}

/// What is known of the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Tracked links of the mail; 0 when not known.
    pub links: usize,
    /// Several recipients got it: links of it followed at once from several networks may be several people's.
    pub shared: bool,
}

/// What a hit comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What gave its verdict in the end.
    pub rule: Option<Rule>,
    /// It is counted on this earlier event and is none of its own.
    pub repeat_of: Option<Ticket>,
    /// Earlier events that are a machine's after all, by [`Rule::Burst`].
    pub rejudged: Vec<Ticket>,
}

/// The hits of one copy, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    hits: VecDeque<Kept>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    hit: Hit,
    /// It was folded: its ticket is that of the event it counts on.
    folded: bool,
}

impl Recent {
    /// Judges the hit among the others, and keeps it.
    pub fn judge(&mut self, mut hit: Hit, shape: Shape, rules: RuleSet) -> Outcome {
        self.forget_before(hit.at_ms.saturating_sub(REPEAT_MS));
        let mut rejudged = Vec::new();
        if rules.has(Rule::Burst) && joins_bursts(&hit) && self.is_burst(&hit, shape) {
            rejudged = self.take_back(&hit, shape);
            if hit.rule.is_none() {
                hit.rule = Some(Rule::Burst);
            }
        }
        let repeat_of = if rules.has(Rule::Repeat) { self.first_of(&hit) } else { None };
        let rule = hit.rule;
        hit.ticket = repeat_of.unwrap_or(hit.ticket);
        self.keep(Kept { hit, folded: repeat_of.is_some() });
        Outcome { rule, repeat_of, rejudged }
    }

    /// Whether it knows of nothing.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }

    /// Keeps a hit that was judged and became an event earlier, as after a restart.
    pub fn remember(&mut self, hit: Hit) {
        self.keep(Kept { hit, folded: false });
    }

    /// Gives an event another ticket, and what was counted on it too.
    pub fn rename(&mut self, from: Ticket, to: Ticket) {
        for kept in self.hits.iter_mut().filter(|kept| kept.hit.ticket == from) {
            kept.hit.ticket = to;
        }
    }

    /// Drops what never became an event: those with this ticket or a later one, and what was counted on them.
    pub fn forget_from(&mut self, ticket: Ticket) {
        self.hits.retain(|kept| kept.hit.ticket < ticket);
    }

    fn keep(&mut self, kept: Kept) {
        if self.hits.len() >= HITS_MAX {
            self.hits.pop_front();
        }
        self.hits.push_back(kept);
    }

    fn forget_before(&mut self, at_ms: i64) {
        while self.hits.front().is_some_and(|kept| kept.hit.at_ms <= at_ms) {
            self.hits.pop_front();
        }
    }

    /// The event that the hit repeats.
    fn first_of(&self, hit: &Hit) -> Option<Ticket> {
        let same = |kept: &&Kept| {
            let first = &kept.hit;
            !kept.folded
                && first.at_ms > hit.at_ms.saturating_sub(REPEAT_MS)
                && (first.kind, first.link, first.network) == (hit.kind, hit.link, hit.network)
                && !hides_a_person(first.rule, hit.rule)
        };
        self.hits.iter().rfind(same).map(|kept| kept.hit.ticket)
    }

    fn is_burst(&self, hit: &Hit, shape: Shape) -> bool {
        let fast = self.distinct_links(hit, BURST_MS, shape);
        if fast >= BURST_LINKS_MIN {
            return true;
        }
        shape.links >= BURST_LINKS_MIN && self.distinct_links(hit, BURST_ALL_MS, shape) >= shape.links
    }

    /// How many links were followed in so long up to the hit, its own included.
    fn distinct_links(&self, hit: &Hit, within_ms: i64, shape: Shape) -> usize {
        let mut links: Vec<u16> = self.companions(hit, within_ms, shape).map(|kept| kept.hit.link).collect();
        links.push(hit.link);
        links.sort_unstable();
        links.dedup();
        links.len()
    }

    /// The hits that may be of one burst with this one.
    fn companions<'a>(&'a self, hit: &'a Hit, within_ms: i64, shape: Shape) -> impl Iterator<Item = &'a Kept> {
        let since = hit.at_ms.saturating_sub(within_ms);
        self.hits.iter().filter(move |kept| {
            joins_bursts(&kept.hit) && kept.hit.at_ms > since && (!shape.shared || kept.hit.network == hit.network)
        })
    }

    /// Makes the burst's earlier events a machine's, where no rule above it in the table has spoken; gives those.
    fn take_back(&mut self, hit: &Hit, shape: Shape) -> Vec<Ticket> {
        let fast = self.distinct_links(hit, BURST_MS, shape) >= BURST_LINKS_MIN;
        let within_ms = if fast { BURST_MS } else { BURST_ALL_MS };
        let tickets: Vec<Ticket> = self
            .companions(hit, within_ms, shape)
            .filter(|kept| !kept.folded && kept.hit.rule.is_none())
            .map(|kept| kept.hit.ticket)
            .collect();
        for kept in &mut self.hits {
            if tickets.contains(&kept.hit.ticket) {
                kept.hit.rule = Some(Rule::Burst);
            }
        }
        tickets
    }
}

/// What was fetched ahead of need is no hit of a burst, for a browser may do it for a person; nor are the sender's own.
fn joins_bursts(hit: &Hit) -> bool {
    hit.kind == EventKind::Click && !matches!(hit.rule, Some(Rule::Prefetch | Rule::Own))
}

/// Whether to fold would lose a person: the first was a machine's only by what it said of itself, this one is not.
fn hides_a_person(first: Option<Rule>, now: Option<Rule>) -> bool {
    first.is_some_and(Rule::is_of_the_request) && verdict(now).counts()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Rule::{Burst, Declared, GmailArrival, ImageProxy, Instant, Own, Prefetch};

    const HOME: [u8; 8] = [1; 8];
    const AWAY: [u8; 8] = [2; 8];

    fn click(ticket: Ticket, at_ms: i64, link: u16, network: [u8; 8], rule: Option<Rule>) -> Hit {
        Hit { ticket, at_ms, kind: EventKind::Click, link, network, rule }
    }

    fn open(ticket: Ticket, at_ms: i64, network: [u8; 8], rule: Option<Rule>) -> Hit {
        Hit { ticket, at_ms, kind: EventKind::Open, link: 0, network, rule }
    }

    /// The hits one after the other; what the last comes to.
    fn last(hits: &[Hit], shape: Shape) -> Outcome {
        let mut recent = Recent::default();
        let outcomes: Vec<Outcome> = hits.iter().map(|hit| recent.judge(*hit, shape, RuleSet::ALL)).collect();
        outcomes.last().unwrap().clone()
    }

    const FIVE: Shape = Shape { links: 5, shared: false };
    const THREE: Shape = Shape { links: 3, shared: false };

    #[test]
    fn three_links_at_once_are_a_burst_and_take_back_the_first() {
        let outcome = |rule, rejudged: &[Ticket]| Outcome { rule, repeat_of: None, rejudged: rejudged.to_vec() };
        let at = |times: [i64; 3]| {
            let [a, b, c] = times;
            [click(1, a, 1, HOME, None), click(2, b, 2, AWAY, None), click(3, c, 3, HOME, None)]
        };
        // In two seconds, from whatever networks; a little longer is a person's work; all of a mail's in ten seconds.
        assert_eq!(last(&at([0, 900, 1_999]), FIVE), outcome(Some(Burst), &[1, 2]));
        assert_eq!(last(&at([0, 900, 2_000]), FIVE), outcome(None, &[]));
        assert_eq!(last(&at([0, 900, 9_999]), THREE), outcome(Some(Burst), &[1, 2]));
        assert_eq!(last(&at([0, 900, 10_000]), THREE), outcome(None, &[]));
        // A shared copy may have several readers at once.
        let shared = Shape { shared: true, ..FIVE };
        assert_eq!(last(&at([0, 1, 2]), shared), outcome(None, &[]));
        assert_eq!(last(&at([0, 1, 2]).map(|hit| Hit { network: HOME, ..hit }), shared), outcome(Some(Burst), &[1, 2]));
        // Two links are no burst, however fast, also where there are no more.
        let two = [click(1, 0, 1, HOME, None), click(2, 1, 2, HOME, None)];
        assert_eq!(last(&two, Shape { links: 2, shared: false }), outcome(None, &[]));
        // One link three times is none either.
        let same = [click(1, 0, 1, HOME, None), click(2, 1, 1, AWAY, None), click(3, 2, 1, [3; 8], None)];
        assert_eq!(last(&same, FIVE), outcome(None, &[]));
    }

    /// What another rule decided stays as it is, for the first that matches decides; what a browser fetched ahead and the
    /// sender's own are no part of it at all.
    #[test]
    fn what_is_no_part_of_a_burst() {
        let with =
            |first, second| [click(1, 0, 1, HOME, first), click(2, 1, 2, HOME, second), click(3, 2, 3, HOME, None)];
        assert_eq!(last(&with(Some(Declared), Some(ImageProxy)), FIVE).rejudged, [0; 0]);
        assert_eq!(last(&with(Some(Declared), None), FIVE).rejudged, [2]);
        assert_eq!(last(&with(Some(Declared), None), FIVE).rule, Some(Burst));
        assert_eq!(last(&with(Some(Prefetch), Some(Prefetch)), FIVE).rule, None);
        assert_eq!(last(&with(Some(Own), None), FIVE).rule, None);
        let opened = [
            open(9, 0, HOME, None),
            click(1, 1, 1, HOME, None),
            click(2, 2, 2, HOME, None),
            click(3, 3, 3, HOME, None),
        ];
        assert_eq!(last(&opened, FIVE).rejudged, [1, 2], "opens are not judged by clicks");
        for rule in [Instant, ImageProxy] {
            let mut known = with(None, None);
            known[2].rule = Some(rule);
            assert_eq!(last(&known, FIVE), Outcome { rule: Some(rule), repeat_of: None, rejudged: vec![1, 2] });
        }
    }

    #[test]
    fn the_same_again_within_a_minute_counts_on_the_first() {
        for (first, again, repeat_of) in [
            (open(1, 0, HOME, None), open(2, 59_999, HOME, None), Some(1)),
            (open(1, 0, HOME, None), open(2, 60_000, HOME, None), None),
            (open(1, 0, HOME, None), open(2, 1, AWAY, None), None),
            (open(1, 0, HOME, None), click(2, 1, 0, HOME, None), None),
            (click(1, 0, 1, HOME, None), click(2, 1, 1, HOME, None), Some(1)),
            (click(1, 0, 1, HOME, None), click(2, 1, 2, HOME, None), None),
            // A source that is a machine's, or too early, stays one; a person's event takes a machine's look in.
            (open(1, 0, HOME, Some(Instant)), open(2, 1, HOME, None), Some(1)),
            (open(1, 0, HOME, None), open(2, 1, HOME, Some(Prefetch)), Some(1)),
            (open(1, 0, HOME, Some(Prefetch)), open(2, 1, HOME, Some(Prefetch)), Some(1)),
            // What only said of itself that it was a machine's hides nobody who follows.
            (click(1, 0, 1, HOME, Some(Prefetch)), click(2, 1, 1, HOME, None), None),
            (open(1, 0, HOME, Some(GmailArrival)), open(2, 1, HOME, Some(ImageProxy)), None),
        ] {
            assert_eq!(last(&[first, again], FIVE).repeat_of, repeat_of, "{first:?} {again:?}");
        }
    }

    /// Measured from the first, not from the last; a repeat counts for bursts as the link it follows.
    #[test]
    fn repeats_of_repeats_and_bursts_of_repeats() {
        let opens = [open(1, 0, HOME, None), open(2, 40_000, HOME, None), open(3, 61_000, HOME, None)];
        assert_eq!(last(&opens, FIVE).repeat_of, None);
        let hits = [
            click(1, 0, 1, HOME, None),
            click(2, 30_000, 1, HOME, None),
            click(3, 30_500, 2, HOME, None),
            click(4, 31_000, 3, HOME, None),
        ];
        assert_eq!(last(&hits, FIVE), Outcome { rule: Some(Burst), repeat_of: None, rejudged: vec![3] });
    }

    #[test]
    fn switches_bounds_and_what_never_became_an_event() {
        let mut recent = Recent::default();
        for (ticket, link) in [(1, 1), (2, 2)] {
            recent.judge(click(ticket, 0, link, HOME, None), FIVE, RuleSet::ALL);
        }
        let off = RuleSet::without(["burst", "repeat"]);
        assert_eq!(recent.clone().judge(click(3, 1, 3, HOME, None), FIVE, off).rule, None);
        assert_eq!(recent.clone().judge(click(3, 1, 1, HOME, None), FIVE, off).repeat_of, None);
        recent.forget_from(2);
        assert_eq!(recent.judge(click(3, 1, 2, HOME, None), FIVE, RuleSet::ALL).repeat_of, None);
        for ticket in 10..500 {
            recent.judge(click(ticket, 5, 7, (ticket).to_be_bytes(), None), FIVE, RuleSet::ALL);
        }
        assert_eq!(recent.hits.len(), HITS_MAX);
        recent.remember(click(600, 5, 9, HOME, None));
        assert_eq!(recent.judge(click(601, 6, 9, HOME, None), FIVE, RuleSet::ALL).repeat_of, Some(600));
        recent.rename(600, 7);
        assert_eq!(recent.judge(click(602, 7, 9, HOME, None), FIVE, RuleSet::ALL).repeat_of, Some(7));
    }
}

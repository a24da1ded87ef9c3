//! Upstream attempts while the client waits: the first copy alone, then the rest a few at a time, until the budget ends.
//!
//! **Invariant:** every attempt runs in a task of its own and is never dropped: one that outlives the budget comes back
//! as [`InFlight`], to be settled later.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout_at};

use crate::deliver::courier::refusal;
use crate::deliver::decision::{Standing, stops_the_rest};
use crate::deliver::{CannotCarry, Fate, Stage, Why};

/// One attempt's outcome, when it comes.
pub(super) type Attempt = JoinHandle<Result<Vec<Fate>, CannotCarry>>;

/// An attempt whose dot has left, and which recipients it is for.
pub(super) struct InFlight {
    /// Positions in the envelope.
    pub(super) positions: Vec<usize>,
    /// Ends with their fates.
    pub(super) attempt: Attempt,
}

/// How things stand when the client must be answered.
pub(super) struct Standings {
    /// One a recipient, in the envelope's order.
    pub(super) all: Vec<Standing>,
    /// The first copy was refused as a message, with nothing accepted before it.
    pub(super) canary_stopped: bool,
    /// Attempts that go on.
    pub(super) in_flight: Vec<InFlight>,
}

/// What an attempt that has ended came to for each of its recipients.
pub(super) fn fates_of(ended: Result<Result<Vec<Fate>, CannotCarry>, JoinError>, recipients: usize) -> Vec<Fate> {
    match ended {
        Ok(Ok(fates)) => fates,
        Ok(Err(cannot)) => vec![refusal(cannot); recipients],
        Err(died) => {
            tracing::error!(%died, "a delivery task died");
            vec![Fate::Unknown { why: Why::Lost("the delivery task died".to_owned()) }; recipients]
        }
    }
}

/// An attempt before its dot ends by itself at the budget's end; this is how long we wait for it to say so.
const GRACE: Duration = Duration::from_millis(500);

/// Tries these groups of positions in order. `start` begins one attempt whose dot leaves before `until` or not at all.
pub(super) async fn run(
    recipients: usize,
    groups: Vec<Vec<usize>>,
    until: Instant,
    parallel_max: usize,
    start: impl Fn(usize, bool) -> Attempt,
) -> Standings {
    let mut standings =
        Standings { all: vec![Standing::Untried; recipients], canary_stopped: false, in_flight: Vec::new() };
    let mut waiting: VecDeque<(usize, Vec<usize>)> = groups.into_iter().enumerate().collect();
    if !canaries(&mut standings, &mut waiting, until, &start).await {
        return standings;
    }
    while !waiting.is_empty() && Instant::now() < until {
        let together = waiting.drain(..parallel_max.max(1).min(waiting.len()));
        let begun: Vec<InFlight> =
            together.map(|(number, positions)| InFlight { positions, attempt: start(number, false) }).collect();
        for attempt in begun {
            standings.hear(attempt, until).await;
        }
    }
    standings
}

/// The first copy alone; as long as only its own recipients are refused, the next one is first. True: the rest may go.
async fn canaries(
    standings: &mut Standings,
    waiting: &mut VecDeque<(usize, Vec<usize>)>,
    until: Instant,
    start: &impl Fn(usize, bool) -> Attempt,
) -> bool {
    while let Some((number, positions)) = waiting.pop_front() {
        let attempt = InFlight { positions: positions.clone(), attempt: start(number, true) };
        standings.hear(attempt, until).await;
        let of_copy: Vec<&Standing> = positions.iter().filter_map(|p| standings.all.get(*p)).collect();
        if of_copy.iter().any(|s| matches!(s, Standing::Done(fate) if stops_the_rest(fate))) {
            standings.canary_stopped = true;
            return false;
        }
        if of_copy.iter().any(|s| matches!(s, Standing::Done(Fate::Accepted { .. }))) {
            return true;
        }
        let only_recipients =
            |s: &&Standing| matches!(s, Standing::Done(Fate::Refused { stage: Stage::Rcpt | Stage::Dot, .. }));
        if !of_copy.iter().all(only_recipients) {
            // No connection, a 4xx, no answer: the others would fare no better. They go to the spool untried.
            return false;
        }
    }
    true
}

impl Standings {
    /// Waits for one attempt until the budget's end, and notes how its recipients stand.
    async fn hear(&mut self, one: InFlight, until: Instant) {
        let InFlight { positions, mut attempt } = one;
        let fates = match timeout_at(until + GRACE, &mut attempt).await {
            Err(_) => {
                self.note(&positions, |_| Standing::InFlight);
                self.in_flight.push(InFlight { positions, attempt });
                return;
            }
            Ok(ended) => fates_of(ended, positions.len()),
        };
        self.note(&positions, |n| fates.get(n).cloned().map_or(Standing::Untried, Standing::Done));
    }

    fn note(&mut self, positions: &[usize], standing: impl Fn(usize) -> Standing) {
        for (n, position) in positions.iter().enumerate() {
            if let Some(slot) = self.all.get_mut(*position) {
                *slot = standing(n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::smtp::Reply;

    fn reply(code: u16) -> Reply {
        Reply { code, enhanced: None, lines: vec!["words".to_owned()] }
    }

    fn accepted() -> Fate {
        Fate::Accepted { reply: reply(250), at: Instant::now() }
    }

    fn refused(stage: Stage) -> Fate {
        Fate::Refused { stage, reply: reply(550) }
    }

    fn deferred() -> Fate {
        Fate::Deferred { stage: Stage::Connect, why: Why::TimedOut }
    }

    /// What each copy comes to; `None` never answers. Gives the standings in letters, and which copies were tried.
    async fn story(copies: &[Option<Fate>]) -> (String, Vec<usize>, bool) {
        let tried = Mutex::new(Vec::new());
        let groups = (0..copies.len()).map(|n| vec![n]).collect();
        let start = |number: usize, _| {
            tried.lock().unwrap().push(number);
            let fate = copies[number].clone();
            tokio::spawn(async move {
                match fate {
                    Some(fate) => Ok(vec![fate]),
                    None => std::future::pending().await,
                }
            })
        };
        let until = Instant::now() + Duration::from_secs(20);
        let standings = run(copies.len(), groups, until, 3, start).await;
        let letter = |s: &Standing| match s {
            Standing::Done(Fate::Accepted { .. }) => 'a',
            Standing::Done(Fate::Refused { .. }) => 'r',
            Standing::Done(_) => 'd',
            Standing::InFlight => 'f',
            Standing::Untried => '-',
            Standing::AcceptedBefore => 'b',
        };
        let stopped = standings.canary_stopped;
        (standings.all.iter().map(letter).collect(), tried.into_inner().unwrap(), stopped)
    }

    /// The canary rules, a row each.
    #[tokio::test(start_paused = true)]
    async fn the_first_copy_decides_about_the_rest() {
        type Row = (Vec<Option<Fate>>, &'static str, Vec<usize>, bool);
        let rows: Vec<Row> = vec![
            // It is accepted: everybody is tried.
            (vec![Some(accepted()), Some(accepted()), Some(deferred())], "aad", vec![0, 1, 2], false),
            // Its recipient is refused: the next one is the canary.
            (vec![Some(refused(Stage::Rcpt)), Some(accepted()), Some(accepted())], "raa", vec![0, 1, 2], false),
            (vec![Some(refused(Stage::Rcpt)), Some(deferred()), Some(accepted())], "rd-", vec![0, 1], false),
            // It is refused as a message: nobody else is tried.
            (vec![Some(refused(Stage::Mail)), Some(accepted())], "r-", vec![0], true),
            (vec![Some(refused(Stage::Dot)), Some(accepted())], "r-", vec![0], true),
            // Upstream is in trouble: nobody else is tried.
            (vec![Some(deferred()), Some(accepted())], "d-", vec![0], false),
            // It does not answer within the budget: it goes on alone.
            (vec![None, Some(accepted())], "f-", vec![0], false),
            // A later one does not answer: the others are not held up.
            (vec![Some(accepted()), None, Some(accepted())], "afa", vec![0, 1, 2], false),
        ];
        for (copies, letters, tried, stopped) in rows {
            assert_eq!(story(&copies).await, (letters.to_owned(), tried, stopped), "{copies:?}");
        }
    }
}

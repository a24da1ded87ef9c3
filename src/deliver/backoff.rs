//! When to try again. Pure: the jitter comes in as a value.
//!
//! **Invariant:** waits never shrink from one attempt to the next but for jitter, and none points past the end of a
//! copy's life.

use std::time::Duration;

/// After the first failure, the second, and so on; the last repeats. Greylisting lifts within 5 to 15 minutes; after
/// that an hour's pace finds a server that is back without pestering one that is not (RFC 5321 §4.5.4.1).
pub const WAITS: [Duration; 5] = [minutes(1), minutes(5), minutes(15), minutes(30), minutes(60)];
/// How long a copy is tried: RFC 5321 §4.5.4.1 asks for 4 to 5 days.
pub const LIFE: Duration = Duration::from_secs(5 * 24 * 60 * 60);
/// Nobody knows whether the mail was delivered: leave time for a person to see it arrive.
pub const UNKNOWN_WAIT_MIN: Duration = minutes(10);
/// Jitter adds up to this part of the wait, so that what failed together does not come back together.
const JITTER_DIVISOR: u32 = 5;

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// How the last attempt ended, as far as waiting is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// A temporary failure.
    Deferred,
    /// The connection was lost after the dot.
    Unknown,
    /// There was none: nothing has been learnt, and upstream may be back within the minute.
    Untried,
}

/// The waits of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// After the first failure, the second, and so on; the last repeats. Never empty in effect: none means a minute.
    pub waits: Vec<Duration>,
    /// How long a copy is tried, from its acceptance.
    pub life: Duration,
    /// The least wait after an unknown outcome.
    pub unknown_wait_min: Duration,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule { waits: WAITS.to_vec(), life: LIFE, unknown_wait_min: UNKNOWN_WAIT_MIN }
    }
}

impl Schedule {
    /// The wait that a copy of this age has come to when nobody hurries it.
    fn by_age(&self, age: Duration) -> usize {
        let ends = self.waits.iter().scan(Duration::ZERO, |end, wait| {
            *end = end.saturating_add(*wait);
            Some(*end)
        });
        ends.take_while(|end| *end <= age).count()
    }
}

/// The wait after attempt number `attempts` (1 for the first) of a copy that is `age` old, or `None` when its life is
/// over. `jitter` is evenly drawn from all of `u16`.
pub fn wait(attempts: u32, age: Duration, last: Last, jitter: u16, schedule: &Schedule) -> Option<Duration> {
    let left = schedule.life.checked_sub(age).filter(|left| !left.is_zero())?;
    let by_attempts = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let index = if last == Last::Untried { 0 } else { by_attempts.min(schedule.by_age(age)) };
    let mut wait = schedule.waits.get(index).or(schedule.waits.last()).copied().unwrap_or(minutes(1));
    if last == Last::Unknown {
        wait = wait.max(schedule.unknown_wait_min);
    }
    let extra = wait / JITTER_DIVISOR * u32::from(jitter) / u32::from(u16::MAX);
    // The last attempt is made at the end of the life, not before it.
    Some((wait + extra).min(left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_schedule() {
        let day = Duration::from_secs(24 * 60 * 60);
        let table = [
            // attempt, age, last, jitter, wait in seconds
            (1, Duration::ZERO, Last::Deferred, 0, Some(60)),
            (2, minutes(1), Last::Deferred, 0, Some(300)),
            (3, minutes(6), Last::Deferred, 0, Some(900)),
            (4, minutes(21), Last::Deferred, 0, Some(1800)),
            (5, minutes(51), Last::Deferred, 0, Some(3600)),
            (99, day, Last::Deferred, 0, Some(3600)),
            (99, day, Last::Untried, 0, Some(60)),
            // an operator who tries again and again does not put the next attempt off
            (6, Duration::from_secs(5), Last::Deferred, 0, Some(60)),
            (7, minutes(2), Last::Deferred, 0, Some(300)),
            // nor does a copy that was first tried late begin with the long ones
            (1, day, Last::Deferred, 0, Some(60)),
            // jitter adds a fifth at most
            (1, Duration::ZERO, Last::Deferred, u16::MAX, Some(72)),
            // unknown waits ten minutes at least
            (1, Duration::ZERO, Last::Unknown, 0, Some(600)),
            (4, minutes(21), Last::Unknown, 0, Some(1800)),
            // one last attempt at the end of the life, none after it
            (120, 5 * day - minutes(10), Last::Deferred, u16::MAX, Some(600)),
            (121, 5 * day, Last::Deferred, 0, None),
            (122, 6 * day, Last::Unknown, 0, None),
            // an attempt never made counts as the first
            (0, Duration::ZERO, Last::Deferred, 0, Some(60)),
        ];
        for (attempts, age, last, jitter, expected) in table {
            let got = wait(attempts, age, last, jitter, &Schedule::default()).map(|d| d.as_secs());
            assert_eq!(got, expected, "attempt {attempts} at {age:?}");
        }
    }

    proptest! {
        #[test]
        fn a_copy_is_tried_to_its_end_and_a_bounded_number_of_times(jitters in proptest::collection::vec(any::<u16>(), 8)) {
            let (mut age, mut attempts) = (Duration::ZERO, 1);
            let mut jitters = jitters.iter().copied().cycle();
            while let Some(next) = wait(attempts, age, Last::Deferred, jitters.next().unwrap(), &Schedule::default()) {
                prop_assert!(next > Duration::ZERO && next <= Duration::from_secs(72 * 60));
                age += next;
                attempts += 1;
            }
            prop_assert_eq!(age, LIFE);
            prop_assert!((100..=125).contains(&attempts), "{} attempts", attempts);
        }
    }
}

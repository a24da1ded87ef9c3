//! How often a login may be tried: failures are counted per login and source network, and per source alone, and each
//! one over the free ones doubles the wait before the next try is looked at.
//!
//! Counted per pair, so that a stranger elsewhere cannot lock somebody out; an address from which a login has succeeded is
//! counted by itself, so that not even a neighbour can. A try that must wait costs no hash and betrays nothing: the counts
//! are kept by the text that was typed, as users are looked up, whether or not there is such a user.
//!
//! A try is counted as under way before it is judged, so that a hundred at once are no hundred free ones: as many are judged
//! at one time as could fail without a wait, and the others stand in line for their outcome.
//!
//! **Invariant:** every table is bounded; when one is full, the entry that was touched longest ago makes room.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::caller::{LoginTag, login_tag, neighbourhood, subscriber};

/// How many tries, and how long to wait after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures of one login from one network that cost nothing.
    pub per_login_free: u32,
    /// Failures from one address, whatever the login, that cost nothing.
    pub per_source_free: u32,
    /// The longest wait.
    pub wait_max: Duration,
}

/// The first wait; it doubles.
const WAIT_MIN: Duration = Duration::from_secs(10);
/// A count that was not touched for so long is forgotten, though never before its wait is over.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);
/// An address that a login has not come from for so long is a stranger's again.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Entries of each table: some megabytes in all.
const ENTRIES_MAX: usize = 20_000;

/// Lets logins be tried in turn. One for the whole program.
#[derive(Debug, Default)]
pub(super) struct Turns {
    throttle: Mutex<Throttle>,
    /// A try has come to its end.
    ended: Notify,
}

/// One try under way. Dropped without an outcome, it was none.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    place: Place,
    is_over: bool,
}

/// Why a try is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotNow {
    /// So much is left to wait for what failed before.
    Wait(Duration),
    /// Those before it are being judged still.
    Crowd,
}

impl Turns {
    /// A turn for this login from there, waiting until `until` for those before it.
    ///
    /// # Errors
    /// [`NotNow`].
    pub(super) async fn turn(
        self: &Arc<Self>,
        login: &str,
        peer: IpAddr,
        limits: &Limits,
        until: tokio::time::Instant,
    ) -> Result<Turn, NotNow> {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let begun = self.throttle().begin(login, peer, limits, Instant::now());
            match begun {
                Ok(place) => return Ok(Turn { turns: Arc::clone(self), place, is_over: false }),
                Err(NotNow::Crowd) => {}
                Err(wait) => return Err(wait),
            }
            if tokio::time::timeout_at(until, ended).await.is_err() {
                return Err(NotNow::Crowd);
            }
        }
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        // Whole between any two lines that hold the lock, so a panic elsewhere has not broken it.
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Whether this login has come from this address before.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.place.source, Source::Known(_))
    }

    /// The try was wrong.
    pub(super) fn failed(mut self) {
        self.end(|throttle, place| throttle.failed(place, Instant::now()));
    }

    /// The try was right.
    pub(super) fn succeeded(mut self) {
        self.end(|throttle, place| throttle.succeeded(place, Instant::now()));
    }

    fn end(&mut self, outcome: impl FnOnce(&mut Throttle, Place)) {
        if !std::mem::replace(&mut self.is_over, true) {
            outcome(&mut self.turns.throttle(), self.place);
            self.turns.ended.notify_waiters();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end(Throttle::withdrawn);
    }
}

/// Counts failures.
#[derive(Debug, Default)]
struct Throttle {
    pairs: HashMap<(LoginTag, Source), Failures>,
    sources: HashMap<IpAddr, Failures>,
    known: HashMap<(LoginTag, IpAddr), Instant>,
}

/// Where one try is counted.
#[derive(Debug, Clone, Copy)]
struct Place {
    tag: LoginTag,
    address: IpAddr,
    source: Source,
}

/// Where tries for one login are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// An IPv4 /24 or an IPv6 /48.
    Network(IpAddr),
    /// An address that this login has come from.
    Known(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// Tries whose outcome is awaited.
    under_way: u32,
    last: Instant,
}

impl Throttle {
    /// Begins a try: counts it as under way. It ends with one of the three below.
    fn begin(&mut self, login: &str, peer: IpAddr, limits: &Limits, now: Instant) -> Result<Place, NotNow> {
        let (tag, address) = (login_tag(login), subscriber(peer));
        let place = Place { tag, address, source: self.source(tag, address, now) };
        let pair = may_begin(self.pairs.get(&(tag, place.source)), limits.per_login_free, limits.wait_max, now);
        let of_source = match place.source {
            Source::Known(_) => Ok(()),
            Source::Network(_) => may_begin(self.sources.get(&address), limits.per_source_free, limits.wait_max, now),
        };
        match (pair, of_source) {
            (Err(NotNow::Wait(one)), Err(NotNow::Wait(other))) => return Err(NotNow::Wait(one.max(other))),
            (Err(wait @ NotNow::Wait(_)), _) | (_, Err(wait @ NotNow::Wait(_))) => return Err(wait),
            (pair, of_source) => pair.and(of_source)?,
        }
        entry(&mut self.pairs, (tag, place.source), now).under_way += 1;
        if let Source::Network(_) = place.source {
            entry(&mut self.sources, address, now).under_way += 1;
        }
        Ok(place)
    }

    /// The try was wrong.
    fn failed(&mut self, place: Place, now: Instant) {
        self.withdrawn(place);
        entry(&mut self.pairs, (place.tag, place.source), now).add(now);
        entry(&mut self.sources, place.address, now).add(now);
    }

    /// The try was right: the login's own count begins anew, and its address is known. The address's count stays, or one
    /// good account would pay for guessing at others.
    fn succeeded(&mut self, place: Place, now: Instant) {
        self.withdrawn(place);
        if let Some(failures) = self.pairs.get_mut(&(place.tag, place.source)) {
            failures.count = 0;
        }
        forget_if_nothing(&mut self.pairs, &(place.tag, place.source));
        make_room(&mut self.known, &(place.tag, place.address), |since| *since);
        self.known.insert((place.tag, place.address), now);
    }

    /// The try was none.
    fn withdrawn(&mut self, place: Place) {
        if let Some(failures) = self.pairs.get_mut(&(place.tag, place.source)) {
            failures.under_way = failures.under_way.saturating_sub(1);
        }
        if let (Source::Network(_), Some(failures)) = (place.source, self.sources.get_mut(&place.address)) {
            failures.under_way = failures.under_way.saturating_sub(1);
        }
        forget_if_nothing(&mut self.pairs, &(place.tag, place.source));
        forget_if_nothing(&mut self.sources, &place.address);
    }

    fn source(&self, tag: LoginTag, address: IpAddr, now: Instant) -> Source {
        let since = self.known.get(&(tag, address));
        match since.is_some_and(|since| now.saturating_duration_since(*since) < KNOWN_FOR) {
            true => Source::Known(address),
            false => Source::Network(neighbourhood(address)),
        }
    }
}

impl Failures {
    fn add(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last) >= FORGOTTEN_AFTER {
            self.count = 0;
        }
        (self.count, self.last) = (self.count.saturating_add(1), now);
    }
}

/// Whether one more may be tried: when nothing is to wait for, and those under way could all fail without a wait. After as
/// many failures as are free, one at a time.
fn may_begin(failures: Option<&Failures>, free: u32, wait_max: Duration, now: Instant) -> Result<(), NotNow> {
    let wait = wait(failures, free, wait_max, now);
    if !wait.is_zero() {
        return Err(NotNow::Wait(wait));
    }
    let Some(Failures { count, under_way, .. }) = failures else { return Ok(()) };
    if *under_way < free.saturating_sub(*count).max(1) { Ok(()) } else { Err(NotNow::Crowd) }
}

/// What is left to wait after so many failures.
fn wait(failures: Option<&Failures>, free: u32, wait_max: Duration, now: Instant) -> Duration {
    let Some(Failures { count, last, .. }) = failures.copied() else { return Duration::ZERO };
    let Some(over) = count.checked_sub(free.max(1)) else { return Duration::ZERO };
    let whole = WAIT_MIN.saturating_mul(1u32.checked_shl(over).unwrap_or(u32::MAX)).min(wait_max);
    whole.saturating_sub(now.saturating_duration_since(last))
}

fn entry<K: Hash + Eq + Copy>(table: &mut HashMap<K, Failures>, key: K, now: Instant) -> &mut Failures {
    make_room(table, &key, |failures| failures.last);
    table.entry(key).or_insert(Failures { count: 0, under_way: 0, last: now })
}

fn forget_if_nothing<K: Hash + Eq>(table: &mut HashMap<K, Failures>, key: &K) {
    if table.get(key).is_some_and(|failures| failures.count == 0 && failures.under_way == 0) {
        table.remove(key);
    }
}

/// A full table loses a quarter, the entries touched longest ago first: seldom, so that each try stays cheap.
fn make_room<K: Hash + Eq + Copy, V>(table: &mut HashMap<K, V>, key: &K, touched: impl Fn(&V) -> Instant) {
    if table.len() < ENTRIES_MAX || table.contains_key(key) {
        return;
    }
    let mut all: Vec<Instant> = table.values().map(&touched).collect();
    let (_, oldest, _) = all.select_nth_unstable(ENTRIES_MAX / 4);
    let oldest = *oldest;
    table.retain(|_, value| touched(value) > oldest);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LIMITS: Limits = Limits { per_login_free: 3, per_source_free: 6, wait_max: Duration::from_secs(900) };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Whole seconds to wait; a try that may begin is taken back.
    fn wait_secs(throttle: &mut Throttle, login: &str, peer: &str, now: Instant) -> u64 {
        match throttle.begin(login, ip(peer), &LIMITS, now) {
            Ok(place) => {
                throttle.withdrawn(place);
                0
            }
            Err(NotNow::Wait(wait)) => wait.as_secs(),
            Err(NotNow::Crowd) => panic!("nothing is under way"),
        }
    }

    impl Throttle {
        fn fails(&mut self, login: &str, peer: &str, now: Instant) {
            let place = Place { tag: login_tag(login), address: subscriber(ip(peer)), source: Source::Known(ip(peer)) };
            let place = Place { source: self.source(place.tag, place.address, now), ..place };
            self.failed(place, now);
        }

        fn succeeds(&mut self, login: &str, peer: &str, now: Instant) {
            let place = Place { tag: login_tag(login), address: subscriber(ip(peer)), source: Source::Known(ip(peer)) };
            let place = Place { source: self.source(place.tag, place.address, now), ..place };
            self.succeeded(place, now);
        }
    }

    #[test]
    fn the_wait_doubles_and_passes() {
        let (mut throttle, mut now) = (Throttle::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..11 {
            throttle.fails("ana", "192.0.2.1", now);
            let wait = wait_secs(&mut throttle, "ana", "192.0.2.1", now);
            waits.push(wait);
            now += Duration::from_secs(wait);
            assert_eq!(wait_secs(&mut throttle, "ana", "192.0.2.1", now), 0, "after the wait it is looked at");
        }
        assert_eq!(waits, [0, 0, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        // an hour of quiet, and it begins anew
        throttle.fails("ana", "192.0.2.1", now + FORGOTTEN_AFTER);
        assert_eq!(wait_secs(&mut throttle, "ana", "192.0.2.1", now + FORGOTTEN_AFTER), 0);
    }

    /// A stranger, however stubborn and however many addresses of one network he has, locks out nobody but himself.
    #[test]
    fn nobody_is_locked_out_by_somebody_else() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        throttle.succeeds("ana", "192.0.2.77", now);
        for host in 1..50 {
            throttle.fails("ana", &format!("198.51.100.{host}"), now);
            throttle.fails("ana", &format!("192.0.2.{host}"), now);
        }
        assert!(wait_secs(&mut throttle, "ana", "198.51.100.200", now) > 0, "his whole network waits");
        assert!(wait_secs(&mut throttle, "ana", "192.0.2.200", now) > 0, "and so does the victim's own network ...");
        assert_eq!(wait_secs(&mut throttle, "ana", "192.0.2.77", now), 0, "... but for the address she is known from");
        assert_eq!(wait_secs(&mut throttle, "ana", "203.0.113.5", now), 0, "and from anywhere else");
        assert_eq!(wait_secs(&mut throttle, "ben", "198.51.100.200", now), 0, "and so can another");
        // her own mistakes count all the same
        (0..3).for_each(|_| throttle.fails("ana", "192.0.2.77", now));
        assert!(wait_secs(&mut throttle, "ana", "192.0.2.77", now) > 0);
    }

    /// Behind one address of many people somebody known is always being let in: whoever comes first from there has a turn
    /// all the same, also when others have used up what is free.
    #[test]
    fn who_is_known_takes_nobodys_turn() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        throttle.succeeds("ana", "192.0.2.1", now);
        (0..LIMITS.per_source_free).for_each(|n| throttle.fails(&format!("guess{n}"), "192.0.2.1", now));
        let later = now + Duration::from_secs(60);
        let ana = throttle.begin("ana", ip("192.0.2.1"), &LIMITS, later).unwrap();
        let ben = throttle.begin("ben", ip("192.0.2.1"), &LIMITS, later).unwrap();
        assert_eq!(throttle.begin("cy", ip("192.0.2.1"), &LIMITS, later).unwrap_err(), NotNow::Crowd);
        throttle.withdrawn(ana);
        assert_eq!(throttle.begin("cy", ip("192.0.2.1"), &LIMITS, later).unwrap_err(), NotNow::Crowd);
        throttle.withdrawn(ben);
        assert!(throttle.begin("cy", ip("192.0.2.1"), &LIMITS, later).is_ok());
    }

    /// One password at many logins: the address waits, but for those who are known there.
    #[test]
    fn spraying_is_counted_by_the_address() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        throttle.succeeds("ben", "198.51.100.7", now);
        for n in 0..LIMITS.per_source_free {
            assert_eq!(wait_secs(&mut throttle, "cleo", "198.51.100.7", now), 0);
            throttle.fails(&format!("user{n}"), "198.51.100.7", now);
        }
        assert!(wait_secs(&mut throttle, "cleo", "198.51.100.7", now) > 0);
        assert_eq!(wait_secs(&mut throttle, "ben", "198.51.100.7", now), 0);
        throttle.succeeds("ben", "198.51.100.7", now);
        assert!(wait_secs(&mut throttle, "cleo", "198.51.100.7", now) > 0, "a good account does not pay for guessing");
        assert_eq!(wait_secs(&mut throttle, "cleo", "198.51.100.8", now), 0);
    }

    /// One user, however the login is typed, is one count.
    #[test]
    fn spellings_of_a_login_count_together() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for spelling in ["ana@b\u{fc}cher.test", "ANA@b\u{fc}cher.test", "an\u{ad}a@bu\u{308}cher.test"] {
            assert_eq!(wait_secs(&mut throttle, "Ana@B\u{fc}cher.test", "192.0.2.1", now), 0);
            throttle.fails(spelling, "192.0.2.1", now);
        }
        assert_eq!(wait_secs(&mut throttle, "Ana@B\u{fc}cher.test", "192.0.2.1", now), 10);
    }

    /// However many try at once, no more are judged than one after another would be.
    #[test]
    fn guesses_at_one_time_are_no_more_than_in_turn() {
        let (mut throttle, mut now) = (Throttle::default(), Instant::now());
        let peer = ip("192.0.2.1");
        let begin = |throttle: &mut Throttle, now| throttle.begin("ana", peer, &LIMITS, now);
        let under_way: Vec<Place> = (0..LIMITS.per_login_free).map(|_| begin(&mut throttle, now).unwrap()).collect();
        assert_eq!(begin(&mut throttle, now).unwrap_err(), NotNow::Crowd);
        // One that was none makes room for one.
        throttle.withdrawn(under_way[0]);
        let again = begin(&mut throttle, now).unwrap();
        assert_eq!(begin(&mut throttle, now).unwrap_err(), NotNow::Crowd);
        for place in [again, under_way[1], under_way[2]] {
            throttle.failed(place, now);
        }
        assert_eq!(begin(&mut throttle, now).unwrap_err(), NotNow::Wait(Duration::from_secs(10)));
        // After the wait one at a time, and the wait doubles.
        now += Duration::from_secs(10);
        let one = begin(&mut throttle, now).unwrap();
        assert_eq!(begin(&mut throttle, now).unwrap_err(), NotNow::Crowd);
        throttle.failed(one, now);
        assert_eq!(begin(&mut throttle, now).unwrap_err(), NotNow::Wait(Duration::from_secs(20)));
        // So it is by address, whatever the logins.
        let (mut throttle, others) = (Throttle::default(), ["a", "b", "c", "d", "e", "f"]);
        assert!(others.iter().all(|login| throttle.begin(login, peer, &LIMITS, now).is_ok()));
        assert_eq!(throttle.begin("g", peer, &LIMITS, now).unwrap_err(), NotNow::Crowd);
    }

    /// Who stands in line is let in when those before have succeeded; a turn that is dropped is none.
    #[tokio::test]
    async fn those_in_line_are_let_in() {
        let turns = Arc::new(Turns::default());
        let far = tokio::time::Instant::now() + Duration::from_secs(600);
        let turn = || turns.turn("ana", ip("192.0.2.1"), &LIMITS, far);
        let mut first = Vec::new();
        for _ in 0..LIMITS.per_login_free {
            first.push(turn().await.unwrap());
        }
        let soon = tokio::time::Instant::now();
        assert_eq!(turns.turn("ana", ip("192.0.2.1"), &LIMITS, soon).await.unwrap_err(), NotNow::Crowd);
        let (next, ()) = tokio::join!(turn(), async { drop(first.pop()) });
        assert!(!next.unwrap().is_known());
        first.pop().unwrap().succeeded();
        assert!(turn().await.unwrap().is_known());
        drop(first);
        assert!(turns.throttle().sources.is_empty() && turns.throttle().pairs.is_empty(), "nothing is left of them");
    }

    #[test]
    fn whose_tries_count_together() {
        let rows = [
            ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::", "2001:db8:1::"),
        ];
        for (peer, own, shared) in rows {
            assert_eq!((subscriber(ip(peer)), neighbourhood(ip(peer))), (ip(own), ip(shared)));
        }
    }

    #[test]
    fn the_tables_are_bounded_and_forget_the_oldest() {
        let (mut throttle, begun) = (Throttle::default(), Instant::now());
        for n in 0..u32::try_from(ENTRIES_MAX).unwrap() + 5 {
            let now = begun + Duration::from_millis(u64::from(n));
            let peer = Ipv4Addr::from_bits(n << 8).to_string();
            throttle.fails(&n.to_string(), &peer, now);
            throttle.succeeds(&n.to_string(), &peer, now);
            throttle.fails(&n.to_string(), &peer, now);
        }
        assert!(throttle.pairs.len() <= ENTRIES_MAX && throttle.sources.len() <= ENTRIES_MAX);
        assert!(throttle.known.len() <= ENTRIES_MAX && throttle.known.len() > ENTRIES_MAX / 2);
        assert!(
            throttle.sources.contains_key(&IpAddr::V4(Ipv4Addr::from_bits((ENTRIES_MAX as u32) << 8))),
            "the newest"
        );
        assert!(!throttle.sources.contains_key(&ip("0.0.0.0")), "not the oldest");
    }
}

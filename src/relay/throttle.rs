//! How often a login may be tried: failures are counted per login and source network, and per source alone, and each
//! one over the free ones doubles the wait before the next try is looked at.
//!
//! Counted per pair, so that a stranger elsewhere cannot lock somebody out; an address from which a login has succeeded is
//! counted by itself, so that not even a neighbour can. A try that must wait costs no hash and betrays nothing: the counts
//! are kept by the text that was typed, whether or not there is such a user.
//!
//! **Invariant:** every table is bounded; when one is full, the entry that was touched longest ago makes room.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

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

/// A login, as a hash: what is typed may be a password, and it may be long.
type LoginTag = [u8; 16];

/// Counts failures. One for the whole program.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    pairs: HashMap<(LoginTag, Source), Failures>,
    sources: HashMap<IpAddr, Failures>,
    known: HashMap<(LoginTag, IpAddr), Instant>,
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
    last: Instant,
}

impl Throttle {
    /// May this login be tried from there now? Does not count.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn may_try(&self, login: &str, peer: IpAddr, limits: &Limits, now: Instant) -> Result<(), Duration> {
        let (tag, address) = (tag(login), address(peer));
        let source = self.source(tag, address, now);
        let pair = wait(self.pairs.get(&(tag, source)), limits.per_login_free, limits.wait_max, now);
        let of_source = match source {
            Source::Known(_) => Duration::ZERO,
            Source::Network(_) => wait(self.sources.get(&address), limits.per_source_free, limits.wait_max, now),
        };
        match pair.max(of_source) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// The try was wrong.
    pub(super) fn failed(&mut self, login: &str, peer: IpAddr, now: Instant) {
        let (tag, address) = (tag(login), address(peer));
        let source = self.source(tag, address, now);
        count(&mut self.pairs, (tag, source), now);
        count(&mut self.sources, address, now);
    }

    /// The try was right: the login's own count begins anew, and its address is known. The address's count stays, or one
    /// good account would pay for guessing at others.
    pub(super) fn succeeded(&mut self, login: &str, peer: IpAddr, now: Instant) {
        let (tag, address) = (tag(login), address(peer));
        let source = self.source(tag, address, now);
        self.pairs.remove(&(tag, source));
        make_room(&mut self.known, &(tag, address), |since| *since);
        self.known.insert((tag, address), now);
    }

    fn source(&self, tag: LoginTag, address: IpAddr, now: Instant) -> Source {
        let since = self.known.get(&(tag, address));
        match since.is_some_and(|since| now.saturating_duration_since(*since) < KNOWN_FOR) {
            true => Source::Known(address),
            false => Source::Network(network(address)),
        }
    }
}

/// What is left to wait after so many failures.
fn wait(failures: Option<&Failures>, free: u32, wait_max: Duration, now: Instant) -> Duration {
    let Some(Failures { count, last }) = failures.copied() else { return Duration::ZERO };
    let Some(over) = count.checked_sub(free.max(1)) else { return Duration::ZERO };
    let whole = WAIT_MIN.saturating_mul(1u32.checked_shl(over).unwrap_or(u32::MAX)).min(wait_max);
    whole.saturating_sub(now.saturating_duration_since(last))
}

fn count<K: Hash + Eq + Copy>(table: &mut HashMap<K, Failures>, key: K, now: Instant) {
    make_room(table, &key, |failures| failures.last);
    let failures = table.entry(key).or_insert(Failures { count: 0, last: now });
    if now.saturating_duration_since(failures.last) >= FORGOTTEN_AFTER {
        failures.count = 0;
    }
    *failures = Failures { count: failures.count.saturating_add(1), last: now };
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

fn tag(login: &str) -> LoginTag {
    let digest: [u8; 32] = Sha256::digest(login.as_bytes()).into();
    let mut tag = LoginTag::default();
    tag.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    tag
}

/// An IPv4 address, or the /64 an IPv6 subscriber has.
fn address(peer: IpAddr) -> IpAddr {
    masked(peer.to_canonical(), 32, 64)
}

fn network(address: IpAddr) -> IpAddr {
    masked(address, 24, 48)
}

fn masked(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(32 - v4_bits).unwrap_or(0)))
        }
        IpAddr::V6(v6) => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(128 - v6_bits).unwrap_or(0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { per_login_free: 3, per_source_free: 6, wait_max: Duration::from_secs(900) };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn wait_secs(throttle: &Throttle, login: &str, peer: &str, now: Instant) -> u64 {
        throttle.may_try(login, ip(peer), &LIMITS, now).err().map_or(0, |wait| wait.as_secs())
    }

    #[test]
    fn the_wait_doubles_and_passes() {
        let (mut throttle, mut now) = (Throttle::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..11 {
            throttle.failed("ana", ip("192.0.2.1"), now);
            let wait = wait_secs(&throttle, "ana", "192.0.2.1", now);
            waits.push(wait);
            now += Duration::from_secs(wait);
            assert_eq!(wait_secs(&throttle, "ana", "192.0.2.1", now), 0, "after the wait it is looked at");
        }
        assert_eq!(waits, [0, 0, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        // an hour of quiet, and it begins anew
        throttle.failed("ana", ip("192.0.2.1"), now + FORGOTTEN_AFTER);
        assert_eq!(wait_secs(&throttle, "ana", "192.0.2.1", now + FORGOTTEN_AFTER), 0);
    }

    /// A stranger, however stubborn and however many addresses of one network he has, locks out nobody but himself.
    #[test]
    fn nobody_is_locked_out_by_somebody_else() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        throttle.succeeded("ana", ip("192.0.2.77"), now);
        for host in 1..50 {
            throttle.failed("ana", ip(&format!("198.51.100.{host}")), now);
            throttle.failed("ana", ip(&format!("192.0.2.{host}")), now);
        }
        assert!(wait_secs(&throttle, "ana", "198.51.100.200", now) > 0, "his whole network waits");
        assert!(wait_secs(&throttle, "ana", "192.0.2.200", now) > 0, "and so does the victim's own network ...");
        assert_eq!(wait_secs(&throttle, "ana", "192.0.2.77", now), 0, "... but for the address she is known from");
        assert_eq!(wait_secs(&throttle, "ana", "203.0.113.5", now), 0, "and from anywhere else");
        assert_eq!(wait_secs(&throttle, "ben", "198.51.100.200", now), 0, "and so can another");
        // her own mistakes count all the same
        (0..3).for_each(|_| throttle.failed("ana", ip("192.0.2.77"), now));
        assert!(wait_secs(&throttle, "ana", "192.0.2.77", now) > 0);
    }

    /// One password at many logins: the address waits, but for those who are known there.
    #[test]
    fn spraying_is_counted_by_the_address() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        throttle.succeeded("ben", ip("198.51.100.7"), now);
        for n in 0..LIMITS.per_source_free {
            assert_eq!(wait_secs(&throttle, "cleo", "198.51.100.7", now), 0);
            throttle.failed(&format!("user{n}"), ip("198.51.100.7"), now);
        }
        assert!(wait_secs(&throttle, "cleo", "198.51.100.7", now) > 0);
        assert_eq!(wait_secs(&throttle, "ben", "198.51.100.7", now), 0);
        throttle.succeeded("ben", ip("198.51.100.7"), now);
        assert!(wait_secs(&throttle, "cleo", "198.51.100.7", now) > 0, "a good account does not pay for guessing");
        assert_eq!(wait_secs(&throttle, "cleo", "198.51.100.8", now), 0);
    }

    #[test]
    fn whose_tries_count_together() {
        let rows = [
            ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::", "2001:db8:1::"),
        ];
        for (peer, own, shared) in rows {
            assert_eq!((address(ip(peer)), network(address(ip(peer)))), (ip(own), ip(shared)));
        }
    }

    #[test]
    fn the_tables_are_bounded_and_forget_the_oldest() {
        let (mut throttle, begun) = (Throttle::default(), Instant::now());
        for n in 0..u32::try_from(ENTRIES_MAX).unwrap() + 5 {
            let now = begun + Duration::from_millis(u64::from(n));
            throttle.failed(&n.to_string(), IpAddr::V4(Ipv4Addr::from_bits(n << 8)), now);
            throttle.succeeded(&n.to_string(), IpAddr::V4(Ipv4Addr::from_bits(n << 8)), now);
            throttle.failed(&n.to_string(), IpAddr::V4(Ipv4Addr::from_bits(n << 8)), now);
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

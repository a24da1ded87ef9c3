//! How often a password may be tried: counted per address and per login, before the password is looked at.
//!
//! An address from which a login has succeeded is known for it and is counted by itself: strangers, however many, neither
//! lock its owner out nor are they let in by her. Logins are counted as they are compared (RFC 4013), so that no spelling is
//! a fresh start.
//!
//! **Invariant:** every table is bounded, in bytes too. When one is full, the entry that began first makes room, so a flood
//! of addresses can shorten a window and never use up memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::caller::{LoginTag, login_tag, subscriber};
use crate::telemetry::metrics::limit_met;

/// How many tries, in what time.
#[derive(Debug, Clone, Copy)]
pub struct LimiterOptions {
    /// Failed logins from one address (IPv4 address, IPv6 /64) in a window. Default 10.
    pub per_address_max: u32,
    /// Failed logins for one login in a window, whoever tries from wherever it is not known. Default 30: more than one
    /// address may use up, and far too few for guessing.
    pub per_login_max: u32,
    /// Length of a window. Default one minute.
    pub window: Duration,
    /// Entries of each table. Default 10,000.
    pub entries_max: usize,
}

impl Default for LimiterOptions {
    fn default() -> LimiterOptions {
        LimiterOptions { per_address_max: 10, per_login_max: 30, window: Duration::from_secs(60), entries_max: 10_000 }
    }
}

impl LimiterOptions {
    /// For API keys: requests of one key in a window, ten a second; wrong keys from one address.
    pub fn of_keys() -> LimiterOptions {
        LimiterOptions { per_address_max: 30, per_login_max: 600, ..LimiterOptions::default() }
    }
}

/// An address that a login has not come from for so long is a stranger's again.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Counts tries.
#[derive(Debug)]
pub(super) struct Limiter {
    options: LimiterOptions,
    /// What a refusal is counted as.
    limit: &'static str,
    addresses: HashMap<IpAddr, Window>,
    logins: HashMap<LoginTag, Window>,
    /// Where a login has succeeded, and when last.
    known: HashMap<(LoginTag, IpAddr), Instant>,
    /// Tries from there.
    known_tries: HashMap<(LoginTag, IpAddr), Window>,
    /// Of those who are in and prove it again.
    again: HashMap<LoginTag, Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    tries: u32,
}

impl Limiter {
    /// With empty tables; a refusal is counted as this limit's.
    pub(super) fn new(options: LimiterOptions, limit: &'static str) -> Limiter {
        Limiter {
            options,
            limit,
            addresses: HashMap::new(),
            logins: HashMap::new(),
            known: HashMap::new(),
            known_tries: HashMap::new(),
            again: HashMap::new(),
        }
    }

    /// Counts a try; `Err` tells how long to wait. Counted before the password is checked, so that tries at the same
    /// time count too.
    ///
    /// # Errors
    /// The time until the window ends: answer 429 and do not look at the password.
    pub(super) fn try_login(&mut self, address: IpAddr, login: &str, now: Instant) -> Result<(), Duration> {
        let (tag, address) = (login_tag(login), subscriber(address));
        let is_known = self.is_known(tag, address, now);
        let Limiter { options, addresses, logins, known_tries, .. } = self;
        if is_known {
            let max = options.per_address_max.min(options.per_login_max);
            let may = count(known_tries, (tag, address), max, options, now);
            return self.told(may);
        }
        let by_address = count(addresses, address, options.per_address_max, options, now);
        let by_login = count(logins, tag, options.per_login_max, options, now);
        self.told(by_address.and(by_login))
    }

    /// Counts a try from an address alone.
    ///
    /// # Errors
    /// As [`Limiter::try_login`].
    pub(super) fn try_address(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let may = count(&mut self.addresses, subscriber(address), self.options.per_address_max, &self.options, now);
        self.told(may)
    }

    /// The try from that address was right.
    pub(super) fn forgive_address(&mut self, address: IpAddr) {
        forgive(&mut self.addresses, &subscriber(address));
    }

    /// Counts a try of somebody who is in and proves it again: apart from the tries of those who are not.
    ///
    /// # Errors
    /// As [`Limiter::try_login`].
    pub(super) fn try_again(&mut self, login: &str, now: Instant) -> Result<(), Duration> {
        let may = count(&mut self.again, login_tag(login), self.options.per_login_max, &self.options, now);
        self.told(may)
    }

    fn told(&self, may: Result<(), Duration>) -> Result<(), Duration> {
        may.inspect_err(|_| limit_met(self.limit))
    }

    /// The login is in: its try does not count, and its address is known.
    pub(super) fn succeeded(&mut self, address: IpAddr, login: &str, now: Instant) {
        let (tag, address) = (login_tag(login), subscriber(address));
        let key = (tag, address);
        if self.is_known(tag, address, now) {
            self.known_tries.remove(&key);
        } else {
            forgive(&mut self.addresses, &address);
            forgive(&mut self.logins, &tag);
        }
        make_room(
            &mut self.known,
            &key,
            self.options.entries_max,
            |since| now.saturating_duration_since(*since) < KNOWN_FOR,
            |since| *since,
        );
        self.known.insert(key, now);
    }

    fn is_known(&self, tag: LoginTag, address: IpAddr, now: Instant) -> bool {
        self.known.get(&(tag, address)).is_some_and(|since| now.saturating_duration_since(*since) < KNOWN_FOR)
    }
}

fn count<K: Hash + Eq + Clone>(
    table: &mut HashMap<K, Window>,
    key: K,
    max: u32,
    options: &LimiterOptions,
    now: Instant,
) -> Result<(), Duration> {
    let is_open = |window: &Window| now.saturating_duration_since(window.began) < options.window;
    make_room(table, &key, options.entries_max, is_open, |window| window.began);
    let window = table.entry(key).or_insert(Window { began: now, tries: 0 });
    if !is_open(window) {
        *window = Window { began: now, tries: 0 };
    }
    if window.tries >= max {
        return Err(options.window.saturating_sub(now.duration_since(window.began)));
    }
    window.tries += 1;
    Ok(())
}

fn forgive<K: Hash + Eq>(table: &mut HashMap<K, Window>, key: &K) {
    if let Some(window) = table.get_mut(key) {
        window.tries = window.tries.saturating_sub(1);
    }
}

/// A full table loses what is over, else its oldest entry, before a new key comes in.
fn make_room<K: Hash + Eq + Clone, V>(
    table: &mut HashMap<K, V>,
    key: &K,
    entries_max: usize,
    is_open: impl Fn(&V) -> bool,
    began: impl Fn(&V) -> Instant,
) {
    if table.len() < entries_max || table.contains_key(key) {
        return;
    }
    table.retain(|_, value| is_open(value));
    if table.len() >= entries_max
        && let Some(first) = table.iter().min_by_key(|(_, value)| began(value)).map(|(key, _)| key.clone())
    {
        table.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_address_max: u32, per_login_max: u32, entries_max: usize) -> Limiter {
        Limiter::new(
            LimiterOptions { per_address_max, per_login_max, entries_max, window: Duration::from_secs(60) },
            "trial",
        )
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_login_and_an_address_each_have_their_limit() {
        let now = Instant::now();
        let mut by_login = limiter(100, 2, 10);
        assert!(by_login.try_login(ip("192.0.2.1"), "ann", now).is_ok());
        assert!(by_login.try_login(ip("192.0.2.2"), "ann", now).is_ok());
        // a third address does not help against one login, and another login is not hit
        assert_eq!(by_login.try_login(ip("192.0.2.3"), "ann", now), Err(Duration::from_secs(60)));
        assert!(by_login.try_login(ip("192.0.2.3"), "bob", now).is_ok());
        // the window ends
        assert!(by_login.try_login(ip("192.0.2.3"), "ann", now + Duration::from_secs(60)).is_ok());

        let mut by_address = limiter(2, 100, 10);
        // one /64 is one address; mapped IPv4 is IPv4
        assert!(by_address.try_login(ip("2001:db8::1"), "a", now).is_ok());
        assert!(by_address.try_login(ip("2001:db8::2"), "b", now).is_ok());
        assert!(by_address.try_login(ip("2001:db8::3"), "c", now).is_err());
        assert!(by_address.try_login(ip("2001:db8:0:1::3"), "c", now).is_ok());
        assert!(by_address.try_login(ip("192.0.2.9"), "d", now).is_ok());
        assert!(by_address.try_login(ip("::ffff:192.0.2.9"), "e", now).is_ok());
        assert!(by_address.try_login(ip("192.0.2.9"), "f", now).is_err());
    }

    #[test]
    fn a_right_password_does_not_count() {
        let now = Instant::now();
        let mut limiter = limiter(2, 2, 10);
        for _ in 0..10 {
            assert!(limiter.try_login(ip("192.0.2.1"), "ann", now).is_ok());
            limiter.succeeded(ip("192.0.2.1"), "ann", now);
        }
    }

    /// Strangers use up what a login may be tried, and the address its owner is known from is not hit; her own mistakes
    /// count there all the same.
    #[test]
    fn nobody_is_locked_out_by_somebody_else() {
        let now = Instant::now();
        let mut limiter = limiter(10, 30, 100);
        let home = ip("192.0.2.77");
        assert!(limiter.try_login(home, "ann", now).is_ok());
        limiter.succeeded(home, "ann", now);
        for host in 0..10 {
            for _ in 0..10 {
                limiter.try_login(ip(&format!("198.51.100.{host}")), "ann", now).ok();
            }
        }
        assert!(limiter.try_login(ip("203.0.113.1"), "ann", now).is_err(), "the strangers are at their end");
        // a neighbour behind her address is at his
        for n in 0..20 {
            limiter.try_login(home, &format!("other{n}"), now).ok();
        }
        assert!(limiter.try_login(home, "other", now).is_err());
        for _ in 0..10 {
            assert!(limiter.try_login(home, "ann", now).is_ok());
        }
        assert!(limiter.try_login(home, "ann", now).is_err());
        limiter.succeeded(home, "ann", now);
        assert!(limiter.try_login(home, "ann", now).is_ok());
        assert!(limiter.try_login(ip("203.0.113.1"), "ann", now).is_err(), "and her success lets no stranger try");
        assert!(limiter.try_again("ann", now).is_ok(), "who is in already is not counted with them");
        // after a month without her the address is a stranger's again
        let later = now + KNOWN_FOR;
        for _ in 0..10 {
            limiter.try_login(home, "other", later).ok();
        }
        assert!(limiter.try_login(home, "ann", later).is_err());
    }

    #[test]
    fn no_spelling_is_a_fresh_start() {
        let now = Instant::now();
        let mut limiter = limiter(100, 3, 10);
        for typed in ["ann", "a\u{ad}nn", "\u{ff41}nn"] {
            assert!(limiter.try_login(ip("192.0.2.1"), typed, now).is_ok());
        }
        for typed in ["ann", "an\u{ad}n", "a\u{ad}\u{ad}nn", "\u{ff41}\u{ff4e}\u{ff4e}"] {
            assert!(limiter.try_login(ip("192.0.2.1"), typed, now).is_err(), "{typed}");
        }
    }

    #[test]
    fn the_tables_stay_bounded() {
        let now = Instant::now();
        let mut limiter = limiter(5, 5, 100);
        for n in 0..1000_u32 {
            let address = IpAddr::V4(n.into());
            assert!(limiter.try_login(address, &n.to_string(), now + Duration::from_millis(n.into())).is_ok());
        }
        assert_eq!((limiter.addresses.len(), limiter.logins.len()), (100, 100));
        assert!(
            limiter.logins.contains_key(&login_tag("999")) && !limiter.logins.contains_key(&login_tag("0")),
            "the oldest make room"
        );
        for n in 0..1000_u32 {
            limiter.succeeded(IpAddr::V4(n.into()), "ann", now + Duration::from_millis(n.into()));
            assert!(limiter.try_login(IpAddr::V4(n.into()), "ann", now + Duration::from_millis(n.into())).is_ok());
        }
        assert_eq!((limiter.known.len(), limiter.known_tries.len()), (100, 100));
    }
}

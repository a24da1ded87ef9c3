//! How often a password may be tried: counted per address and per login, before the password is looked at.
//!
//! **Invariant:** both tables are bounded. When one is full, the entry whose window began first makes room, so a flood of
//! addresses can shorten a window and never use up memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many tries, in what time.
#[derive(Debug, Clone, Copy)]
pub struct LimiterOptions {
    /// Failed logins from one address (IPv4 address, IPv6 /64) in a window. Default 10.
    pub per_address_max: u32,
    /// Failed logins for one login in a window, whoever tries. Default 30: more than one address may use up, so that one
    /// stranger cannot lock somebody out, and far too few for guessing.
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

/// Counts tries.
#[derive(Debug)]
pub(super) struct Limiter {
    options: LimiterOptions,
    addresses: HashMap<IpAddr, Window>,
    logins: HashMap<String, Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    tries: u32,
}

impl Limiter {
    /// With empty tables.
    pub(super) fn new(options: LimiterOptions) -> Limiter {
        Limiter { options, addresses: HashMap::new(), logins: HashMap::new() }
    }

    /// Counts a try; `Err` tells how long to wait. Counted before the password is checked, so that tries at the same
    /// time count too.
    ///
    /// # Errors
    /// The time until the window ends: answer 429 and do not look at the password.
    pub(super) fn try_login(&mut self, address: IpAddr, login: &str, now: Instant) -> Result<(), Duration> {
        let Limiter { options, addresses, logins } = self;
        let by_address = count(addresses, network(address), options.per_address_max, options, now);
        let by_login = count(logins, login.to_owned(), options.per_login_max, options, now);
        by_address.and(by_login)
    }

    /// Counts a try of somebody who is logged in and proves it again.
    ///
    /// # Errors
    /// As [`Limiter::try_login`].
    pub(super) fn try_again(&mut self, login: &str, now: Instant) -> Result<(), Duration> {
        count(&mut self.logins, login.to_owned(), self.options.per_login_max, &self.options, now)
    }

    /// The try was right: it does not count.
    pub(super) fn forgive(&mut self, address: IpAddr, login: &str) {
        if let Some(window) = self.addresses.get_mut(&network(address)) {
            window.tries = window.tries.saturating_sub(1);
        }
        self.logins.remove(login);
    }
}

fn count<K: std::hash::Hash + Eq + Clone>(
    table: &mut HashMap<K, Window>,
    key: K,
    max: u32,
    options: &LimiterOptions,
    now: Instant,
) -> Result<(), Duration> {
    if !table.contains_key(&key) && table.len() >= options.entries_max {
        make_room(table, options.window, now);
    }
    let window = table.entry(key).or_insert(Window { began: now, tries: 0 });
    if now.duration_since(window.began) >= options.window {
        *window = Window { began: now, tries: 0 };
    }
    if window.tries >= max {
        return Err(options.window.saturating_sub(now.duration_since(window.began)));
    }
    window.tries += 1;
    Ok(())
}

fn make_room<K: std::hash::Hash + Eq + Clone>(table: &mut HashMap<K, Window>, length: Duration, now: Instant) {
    let before = table.len();
    table.retain(|_, window| now.duration_since(window.began) < length);
    if table.len() == before
        && let Some(first) = table.iter().min_by_key(|(_, window)| window.began).map(|(key, _)| key.clone())
    {
        table.remove(&first);
    }
}

/// One customer is one IPv4 address or one IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_address_max: u32, per_login_max: u32, entries_max: usize) -> Limiter {
        Limiter::new(LimiterOptions { per_address_max, per_login_max, entries_max, window: Duration::from_secs(60) })
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
            limiter.forgive(ip("192.0.2.1"), "ann");
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
        assert!(limiter.logins.contains_key("999") && !limiter.logins.contains_key("0"), "the oldest make room");
    }
}

//! Who has given the right password and still owes something, a code or a password of their own: in memory, for a few minutes.
//!
//! **Invariant:** a ticket opens nothing by itself, is good for few codes and for the password it was given for, and the
//! table is bounded. Codes are counted per login besides, over a window so long that a million of them are not tried out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::limiter::LimiterOptions;
use super::session::{SessionId, credential};
use crate::settings::User;

/// How long somebody may look for their phone.
const LIFE: Duration = Duration::from_secs(300);
/// Codes on one ticket.
const TRIES_MAX: u32 = 5;
/// Tickets at once; the oldest makes room.
const TICKETS_MAX: usize = 1_000;

/// Codes for one login: ten in a quarter of an hour, of which three are right at any time. That is years of guessing for
/// who knows the password already.
pub(super) fn codes() -> LimiterOptions {
    let window = Duration::from_secs(900);
    LimiterOptions { per_login_max: 10, per_address_max: 60, window, ..LimiterOptions::default() }
}

/// Tickets, by the hash of what the form carries.
#[derive(Debug, Default)]
pub(super) struct Halfway(HashMap<[u8; 32], Ticket>);

#[derive(Debug)]
struct Ticket {
    login: String,
    credential: [u8; 32],
    began: Instant,
    tries: u32,
}

impl Halfway {
    /// Whoever holds `ticket` gave this user's password.
    pub(super) fn begin(&mut self, ticket: &SessionId, user: &User, now: Instant) {
        if self.0.len() >= TICKETS_MAX {
            self.0.retain(|_, ticket| now.saturating_duration_since(ticket.began) < LIFE);
        }
        if self.0.len() >= TICKETS_MAX
            && let Some(oldest) = self.0.iter().min_by_key(|(_, ticket)| ticket.began).map(|(key, _)| *key)
        {
            self.0.remove(&oldest);
        }
        let (login, credential) = (user.login.clone(), credential(user));
        self.0.insert(ticket.key(), Ticket { login, credential, began: now, tries: 0 });
    }

    /// Whose ticket it is; counts a try. `None`: it is over.
    pub(super) fn try_ticket(&mut self, ticket: &SessionId, now: Instant) -> Option<String> {
        let key = ticket.key();
        let found = self.0.get_mut(&key).filter(|found| now.saturating_duration_since(found.began) < LIFE);
        match found {
            Some(found) if found.tries < TRIES_MAX => {
                found.tries += 1;
                Some(found.login.clone())
            }
            _ => {
                self.0.remove(&key);
                None
            }
        }
    }

    /// Whether the password is still the one the ticket was given for.
    pub(super) fn is_of(&self, ticket: &SessionId, user: &User) -> bool {
        self.0.get(&ticket.key()).is_some_and(|found| found.credential == credential(user))
    }

    /// Uses the ticket up.
    pub(super) fn end(&mut self, ticket: &SessionId) {
        self.0.remove(&ticket.key());
    }

    /// What was owed is there: uses the ticket up, and says whether the password is still the one it was given for.
    pub(super) fn finish(&mut self, ticket: &SessionId, user: &User) -> bool {
        self.0.remove(&ticket.key()).is_some_and(|found| found.credential == credential(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Role;

    fn user(password_hash: &str) -> User {
        User::new("ann".into(), None, Role::ServerAdmin, password_hash.into())
    }

    #[test]
    fn a_ticket_ends_with_its_time_its_tries_its_password_and_its_use() {
        let (now, mut halfway) = (Instant::now(), Halfway::default());
        let ticket = SessionId::random().unwrap();
        assert_eq!(halfway.try_ticket(&ticket, now), None, "nobody's");
        halfway.begin(&ticket, &user("h"), now);
        assert_eq!(halfway.try_ticket(&ticket, now).as_deref(), Some("ann"));
        assert_eq!(halfway.try_ticket(&ticket, now + LIFE), None, "too late");
        halfway.begin(&ticket, &user("h"), now);
        for _ in 0..TRIES_MAX {
            assert!(halfway.try_ticket(&ticket, now).is_some());
        }
        assert_eq!(halfway.try_ticket(&ticket, now), None, "too often");
        halfway.begin(&ticket, &user("h"), now);
        assert!(!halfway.finish(&ticket, &user("new")), "another password meanwhile");
        halfway.begin(&ticket, &user("h"), now);
        assert!(halfway.finish(&ticket, &user("h")) && !halfway.finish(&ticket, &user("h")), "once");
    }

    #[test]
    fn the_table_is_bounded() {
        let (now, mut halfway) = (Instant::now(), Halfway::default());
        for n in 0..TICKETS_MAX as u64 + 10 {
            halfway.begin(&SessionId::random().unwrap(), &user("h"), now + Duration::from_millis(n));
        }
        assert_eq!(halfway.0.len(), TICKETS_MAX);
    }
}

//! Who is logged in to the dashboard, in memory: a restart logs everyone out, and nothing of a session is on disk.
//!
//! **Invariant:** the table holds hashes of session ids, so what can be read from memory or a core dump logs nobody in.
//! A session ends when it idles, when it is too old, at logout, and the moment its user's password or account changes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::settings::User;
use crate::settings::access::DigestId;

/// How long a session lives and how many there are.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions {
    /// Ends after so long without a request. Default one hour.
    pub idle_max: Duration,
    /// Ends after so long in any case. Default 12 h, a working day.
    pub age_max: Duration,
    /// Sessions at once; the one that idled longest makes room. Default 10,000 (some 2 MiB).
    pub sessions_max: usize,
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions {
            idle_max: Duration::from_secs(3600),
            age_max: Duration::from_secs(12 * 3600),
            sessions_max: 10_000,
        }
    }
}

/// The secret in the cookie: 256 random bits, base64url.
#[derive(Clone)]
pub(super) struct SessionId(String);

/// Sessions by the hash of their id.
#[derive(Debug)]
pub(super) struct Sessions {
    options: SessionOptions,
    table: HashMap<[u8; 32], Session>,
}

#[derive(Debug)]
struct Session {
    login: String,
    /// Hash of the user's password hash: another password is another session.
    credential: [u8; 32],
    /// What its browser calls itself.
    browser: String,
    began: Instant,
    seen: Instant,
}

/// A session as its owner is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its public name: half of the hash of its id.
    pub id: DigestId,
    /// What its browser calls itself.
    pub browser: String,
    /// Since it began.
    pub began_ago: Duration,
    /// Since it was used.
    pub used_ago: Duration,
    /// It is the one that asks.
    pub current: bool,
}

impl SessionView {
    /// Unix milliseconds.
    pub fn began_at_ms(&self) -> i64 {
        ago(self.began_ago)
    }

    /// Unix milliseconds.
    pub fn used_at_ms(&self) -> i64 {
        ago(self.used_ago)
    }
}

fn ago(span: Duration) -> i64 {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    now_ms.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

impl SessionId {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub(super) fn random() -> Result<SessionId, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(SessionId(URL_SAFE_NO_PAD.encode(secret)))
    }

    /// As a cookie brought it; only the length is checked, the table knows the rest.
    pub(super) fn from_cookie(value: &str) -> Option<SessionId> {
        (value.len() == 43).then(|| SessionId(value.to_owned()))
    }

    /// For the cookie.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The token every form of this session carries; it says nothing of the id.
    pub(super) fn csrf_token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.hash(b"waxseal form token v1"))
    }

    /// Whether a form's token is this session's, in constant time.
    pub(super) fn owns_csrf_token(&self, token: &str) -> bool {
        self.csrf_token().as_bytes().ct_eq(token.as_bytes()).into()
    }

    pub(super) fn key(&self) -> [u8; 32] {
        self.hash(b"waxseal session v1")
    }

    fn hash(&self, purpose: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(purpose).chain_update([0]).chain_update(&self.0).finalize().into()
    }
}

impl Sessions {
    /// With nobody logged in.
    pub(super) fn new(options: SessionOptions) -> Sessions {
        Sessions { options, table: HashMap::new() }
    }

    /// For the sessions from now on.
    pub(super) fn set_options(&mut self, options: SessionOptions) {
        self.options = options;
    }

    /// Begins a session. `browser` is what it calls itself.
    pub(super) fn begin(&mut self, id: &SessionId, user: &User, browser: String, now: Instant) {
        if self.table.len() >= self.options.sessions_max {
            self.make_room(now);
        }
        let (login, credential) = (user.login.clone(), credential(user));
        let session = Session { login, credential, browser, began: now, seen: now };
        self.table.insert(id.key(), session);
    }

    /// The login of a living session, which thereby lives on.
    pub(super) fn login(&mut self, id: &SessionId, now: Instant) -> Option<String> {
        let key = id.key();
        let alive = self.table.get_mut(&key).filter(|session| is_alive(session, &self.options, now));
        match alive {
            Some(session) => {
                session.seen = now;
                Some(session.login.clone())
            }
            None => {
                self.table.remove(&key);
                None
            }
        }
    }

    /// The login of a living session, which does not thereby live any longer.
    pub(super) fn login_of(&self, id: &SessionId, now: Instant) -> Option<String> {
        let session = self.table.get(&id.key()).filter(|session| is_alive(session, &self.options, now));
        session.map(|session| session.login.clone())
    }

    /// Whether the session was begun with the credential the user has now; if not, it ends.
    pub(super) fn still_belongs_to(&mut self, id: &SessionId, user: &User) -> bool {
        let key = id.key();
        let same = self.table.get(&key).is_some_and(|session| session.credential == credential(user));
        if !same {
            self.table.remove(&key);
        }
        same
    }

    /// Ends a session.
    pub(super) fn end(&mut self, id: &SessionId) {
        self.table.remove(&id.key());
    }

    /// The living sessions of a login, the one used last first.
    pub(super) fn of(&self, login: &str, present: Option<&SessionId>, now: Instant) -> Vec<SessionView> {
        let present = present.map(SessionId::key);
        let theirs = self.table.iter().filter(|(_, session)| session.login == login);
        let alive = theirs.filter(|(_, session)| is_alive(session, &self.options, now));
        let mut views: Vec<SessionView> = alive
            .map(|(key, session)| SessionView {
                id: DigestId::of(key),
                browser: session.browser.clone(),
                began_ago: now.saturating_duration_since(session.began),
                used_ago: now.saturating_duration_since(session.seen),
                current: present.as_ref() == Some(key),
            })
            .collect();
        views.sort_by_key(|view| (!view.current, view.used_ago, view.id));
        views
    }

    /// Ends the session of this public name, if it is this login's.
    pub(super) fn end_named(&mut self, login: &str, id: DigestId) -> bool {
        let before = self.table.len();
        self.table.retain(|key, session| session.login != login || DigestId::of(key) != id);
        self.table.len() < before
    }

    /// Ends every session of a login but one; how many.
    pub(super) fn end_of(&mut self, login: &str, present: Option<&SessionId>) -> usize {
        let (before, present) = (self.table.len(), present.map(SessionId::key));
        self.table.retain(|key, session| session.login != login || present.as_ref() == Some(key));
        before - self.table.len()
    }

    /// The user has another password: every session ends but the one it was changed in, which goes on.
    pub(super) fn new_password(&mut self, user: &User, present: Option<&SessionId>) {
        self.end_of(&user.login, present);
        if let Some(session) = present.and_then(|id| self.table.get_mut(&id.key())) {
            session.credential = credential(user);
        }
    }

    fn make_room(&mut self, now: Instant) {
        let Sessions { options, table } = self;
        table.retain(|_, session| is_alive(session, options, now));
        if table.len() >= options.sessions_max
            && let Some(idlest) = table.iter().min_by_key(|(_, session)| session.seen).map(|(key, _)| *key)
        {
            table.remove(&idlest);
        }
    }
}

fn is_alive(session: &Session, options: &SessionOptions, now: Instant) -> bool {
    now.saturating_duration_since(session.seen) < options.idle_max
        && now.saturating_duration_since(session.began) < options.age_max
}

pub(super) fn credential(user: &User) -> [u8; 32] {
    Sha256::digest(user.password_hash.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Role;

    fn user(login: &str, password_hash: &str) -> User {
        User::new(login.into(), None, Role::ServerAdmin, password_hash.into())
    }

    fn options() -> SessionOptions {
        SessionOptions { idle_max: Duration::from_secs(10), age_max: Duration::from_secs(25), sessions_max: 3 }
    }

    #[test]
    fn a_session_ends_by_idling_by_age_and_at_logout() {
        let now = Instant::now();
        let at = |secs| now + Duration::from_secs(secs);
        let mut sessions = Sessions::new(options());
        let id = SessionId::random().unwrap();
        assert_eq!(sessions.login(&id, now), None, "an unknown id is nobody");
        sessions.begin(&id, &user("ann", "h"), String::new(), now);
        // each request keeps it alive, up to its age
        for secs in [9, 18, 24] {
            assert_eq!(sessions.login(&id, at(secs)).as_deref(), Some("ann"), "{secs}");
        }
        assert_eq!(sessions.login(&id, at(25)), None, "too old");
        sessions.begin(&id, &user("ann", "h"), String::new(), now);
        assert_eq!(sessions.login(&id, at(10)), None, "idle");
        assert_eq!(sessions.login(&id, at(1)), None, "and it does not come back");
        sessions.begin(&id, &user("ann", "h"), String::new(), now);
        sessions.end(&id);
        assert_eq!(sessions.login(&id, now), None, "logged out");
    }

    #[test]
    fn a_new_password_ends_it() {
        let now = Instant::now();
        let mut sessions = Sessions::new(options());
        let id = SessionId::random().unwrap();
        sessions.begin(&id, &user("ann", "old"), String::new(), now);
        assert!(sessions.still_belongs_to(&id, &user("ann", "old")));
        assert!(!sessions.still_belongs_to(&id, &user("ann", "new")));
        assert_eq!(sessions.login(&id, now), None);
    }

    #[test]
    fn a_person_sees_their_own_and_ends_them() {
        let now = Instant::now();
        let mut sessions = Sessions::new(SessionOptions { sessions_max: 9, ..options() });
        let [here, there, bobs] = [0, 1, 2].map(|_| SessionId::random().unwrap());
        sessions.begin(&here, &user("ann", "h"), "Firefox on Linux".into(), now);
        sessions.begin(&there, &user("ann", "h"), "Safari on iOS".into(), now);
        sessions.begin(&bobs, &user("bob", "h"), "curl".into(), now);
        let seen = sessions.of("ann", Some(&here), now);
        let told: Vec<_> = seen.iter().map(|view| (view.browser.as_str(), view.current)).collect();
        assert_eq!(told, [("Firefox on Linux", true), ("Safari on iOS", false)]);
        // another's name ends nothing
        assert!(!sessions.end_named("bob", seen[1].id));
        assert!(sessions.end_named("ann", seen[1].id));
        assert_eq!(sessions.login(&there, now), None);
        sessions.begin(&there, &user("ann", "h"), String::new(), now);
        assert_eq!(sessions.end_of("ann", Some(&here)), 1);
        assert!(sessions.login(&here, now).is_some() && sessions.login(&bobs, now).is_some());
        // a new password: the session it was set in goes on with it
        sessions.begin(&there, &user("ann", "h"), String::new(), now);
        sessions.new_password(&user("ann", "new"), Some(&here));
        assert!(sessions.still_belongs_to(&here, &user("ann", "new")) && sessions.login(&there, now).is_none());
        assert!(sessions.of("ann", None, now + Duration::from_secs(11)).is_empty(), "idle");
    }

    #[test]
    fn the_table_is_bounded_and_the_idlest_makes_room() {
        let now = Instant::now();
        let mut sessions = Sessions::new(options());
        let ids: Vec<SessionId> = (0..4).map(|_| SessionId::random().unwrap()).collect();
        for (n, id) in (0..).zip(&ids) {
            sessions.begin(id, &user("ann", "h"), String::new(), now + Duration::from_millis(n));
        }
        assert_eq!(sessions.table.len(), 3);
        assert_eq!(sessions.login(&ids[0], now + Duration::from_secs(1)), None);
        assert!(sessions.login(&ids[3], now + Duration::from_secs(1)).is_some());
    }

    #[test]
    fn the_form_token_is_bound_to_the_session() {
        let (a, b) = (SessionId::random().unwrap(), SessionId::random().unwrap());
        assert!(a.owns_csrf_token(&a.csrf_token()));
        for wrong in [b.csrf_token(), String::new(), a.as_str().to_owned(), a.csrf_token().chars().take(42).collect()] {
            assert!(!a.owns_csrf_token(&wrong));
        }
        assert_ne!(a.csrf_token(), a.as_str());
    }
}

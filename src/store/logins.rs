//! Who may log in: passwords checked and hashed with argon2id, by the SMTP listener and the dashboard alike.
//!
//! **Invariant:** an unknown login costs the same work as a wrong password, so the time of the answer betrays no
//! account. Hashing is bounded: so many at once on blocking threads, so many waiting, so long; the rest hear [`Busy`].

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::SettingsStore;
use crate::settings::prepared::prepared_octets;
use crate::settings::{Role, User};
use crate::telemetry::metrics::limit_met;

/// Memory of one hash in KiB: 19 MiB, the first of OWASP's argon2id settings; a GPU's parallel guesses run out of memory first.
pub const HASH_MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory: two, as OWASP pairs with 19 MiB. Some 20 ms on a small server.
pub const HASH_PASSES: u32 = 2;
/// Lanes: one, because the server gains more from hashing two logins at once than one login twice as fast.
pub const HASH_LANES: u32 = 1;
/// Longest password that is looked at, in bytes; longer ones are wrong without work.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// How much hashing may happen.
#[derive(Debug, Clone, Copy)]
pub struct LoginOptions {
    /// Hashes computed at once. Default 2: one per core of a small server, 38 MiB at most.
    pub hashing_concurrency_max: usize,
    /// Logins that may wait for a turn. Default 64.
    pub hashing_waiting_max: usize,
    /// How long one waits for its turn. Default 5 s.
    pub hashing_wait_max: Duration,
    /// How long a verified login is remembered, so that a client that connects for every mail is hashed once. Default 5 min.
    pub remember_verified: Duration,
    /// How many verified logins are remembered. Default 1,024.
    pub remembered_max: usize,
}

impl Default for LoginOptions {
    fn default() -> LoginOptions {
        LoginOptions {
            hashing_concurrency_max: 2,
            hashing_waiting_max: 64,
            hashing_wait_max: Duration::from_secs(5),
            remember_verified: Duration::from_secs(300),
            remembered_max: 1024,
        }
    }
}

/// Too many passwords are being hashed: try again in a few seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many logins at once; try again in a few seconds")]
pub struct Busy;

/// Checks and makes passwords.
pub struct Logins {
    pub(super) settings: Arc<dyn SettingsStore>,
    options: LoginOptions,
    /// Turns for hashing.
    turns: Arc<Semaphore>,
    /// Places in the waiting room, the turns included.
    places: Arc<Semaphore>,
    verified: Mutex<Verified>,
    /// Every server admin must have a second factor.
    admins_need_factor: AtomicBool,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Logins {
    /// Logins against the users of `settings`.
    ///
    /// # Errors
    /// The system gives no randomness: nothing secret can be made then, so the program should not start.
    pub fn new(settings: Arc<dyn SettingsStore>, options: LoginOptions) -> Result<Logins, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        let turns = options.hashing_concurrency_max.max(1);
        Ok(Logins {
            settings,
            options,
            turns: Arc::new(Semaphore::new(turns)),
            places: Arc::new(Semaphore::new(turns + options.hashing_waiting_max)),
            verified: Mutex::new(Verified { key, until: HashMap::new() }),
            admins_need_factor: AtomicBool::new(false),
        })
    }

    /// The user whose login and password these are; `None` when either is wrong, never saying which.
    ///
    /// # Errors
    /// [`Busy`]: not judged.
    pub async fn check(&self, login: &str, password: &[u8]) -> Result<Option<User>, Busy> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(None);
        }
        let user = self.known(login);
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let tag = self.verified().tag(login, hash.as_deref().unwrap_or_default(), password);
        if user.is_some() && self.verified().holds(&tag, Instant::now()) {
            return Ok(user);
        }
        let typed = password.to_vec();
        let right = self.in_turn(move || verify_prepared(&typed, hash.as_deref())).await?;
        if !right {
            return Ok(None);
        }
        let until = Instant::now() + self.options.remember_verified;
        self.verified().remember(tag, until, self.options.remembered_max);
        Ok(user)
    }

    /// Whether every server admin must have a second factor from now on.
    pub fn ask_admins_for_factor(&self, asked: bool) {
        self.admins_need_factor.store(asked, Ordering::Relaxed);
    }

    /// Whether a second factor is asked of this user: by the organisation, or of server admins by the server.
    pub fn factor_required(&self, user: &User) -> bool {
        let of_admins = user.role == Role::ServerAdmin && self.admins_need_factor.load(Ordering::Relaxed);
        let snapshot = self.settings.snapshot();
        let access = user.org.as_ref().and_then(|org| snapshot.access.get(org));
        of_admins || access.is_some_and(|access| access.second_factor_required)
    }

    /// A new argon2id hash of a password, PHC string format.
    ///
    /// # Errors
    /// [`Busy`]: nothing was made.
    pub async fn hash(&self, password: &str) -> Result<String, Busy> {
        let secret = prepared_octets(password.as_bytes()).into_owned();
        self.in_turn(move || hash(&secret)).await?.ok_or(Busy)
    }

    fn known(&self, login: &str) -> Option<User> {
        self.settings.snapshot().user_named(login).cloned()
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a blocking thread when its turn comes. The permits go with the work, so a caller that leaves
    /// frees no turn that is still in use.
    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| busy("hashing_waiting"))?;
        let turn = self.turn().await?;
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((turn, place));
            done
        });
        task.await.map_err(|_| Busy)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Busy> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(self.options.hashing_wait_max, turn).await;
        turn.map_err(|_| busy("hashing_wait_secs"))?.map_err(|_| Busy)
    }
}

/// Turned away at this limit.
fn busy(limit: &'static str) -> Busy {
    limit_met(limit);
    Busy
}

/// Logins that were right a short while ago, as keyed hashes over login, stored hash and password: a changed password
/// has another stored hash and so is not found. The key lives and dies with the process.
struct Verified {
    key: [u8; 64],
    until: HashMap<[u8; 32], Instant>,
}

impl Verified {
    fn tag(&self, login: &str, stored: &str, password: &[u8]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.key.into());
        for field in [login.as_bytes(), stored.as_bytes(), password] {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        mac.finalize().into_bytes().into()
    }

    fn holds(&self, tag: &[u8; 32], now: Instant) -> bool {
        self.until.get(tag).is_some_and(|until| *until > now)
    }

    fn remember(&mut self, tag: [u8; 32], until: Instant, max: usize) {
        if self.until.len() >= max {
            let now = Instant::now();
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < max {
            self.until.insert(tag, until);
        }
    }
}

fn argon2() -> Option<Argon2<'static>> {
    let params = Params::new(HASH_MEMORY_KIB, HASH_PASSES, HASH_LANES, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Option<String> {
    argon2()?.hash_password(password).ok().map(|hash| hash.to_string())
}

/// As it is compared (RFC 4013); and as it was typed, for hashes made before passwords were prepared.
fn verify_prepared(typed: &[u8], stored: Option<&str>) -> bool {
    let prepared = prepared_octets(typed);
    verify(&prepared, stored) || (prepared != typed && verify(typed, stored))
}

/// Compares in constant time; without a stored hash (no such user, or an unreadable one) the same work is done for nothing.
fn verify(password: &[u8], stored: Option<&str>) -> bool {
    let Some(argon2) = argon2() else { return false };
    match stored.and_then(|stored| PasswordHash::new(stored).ok()) {
        Some(parsed) => argon2.verify_password(password, &parsed).is_ok(),
        None => {
            let mut out = [0; 32];
            // The outcome is thrown away: only the time it takes matters.
            argon2.hash_password_into(password, b"no such user....", &mut out).ok();
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::time::{ClockId, clock_gettime};

    use super::*;
    use crate::store::Change;
    use crate::store::memory::MemorySettings;
    use crate::telemetry::metrics::limits_met_in;

    async fn with_ann(options: LoginOptions) -> (Arc<MemorySettings>, Logins) {
        let settings = Arc::new(MemorySettings::default());
        let logins = Logins::new(settings.clone(), options).unwrap();
        put_ann(&settings, logins.hash("correct horse").await.unwrap()).await;
        (settings, logins)
    }

    async fn put_ann(settings: &MemorySettings, password_hash: String) {
        let ann = User::new("ann".into(), None, Role::ServerAdmin, password_hash);
        settings.change(vec![Change::PutUser(ann)]).await.unwrap();
    }

    #[tokio::test]
    async fn right_wrong_and_unknown() {
        let (_, logins) = with_ann(LoginOptions::default()).await;
        let rows: &[(&str, &[u8], bool)] = &[
            ("ann", b"correct horse", true),
            // again, from memory
            ("ann", b"correct horse", true),
            ("ann", b"correct horse ", false),
            ("ann", b"", false),
            // a phone's keyboard; a password's case counts
            ("Ann", b"correct horse", true),
            ("ANN", b"Correct horse", false),
            ("bob", b"correct horse", false),
            ("", b"", false),
            // longer than is looked at
            ("ann", &[b'x'; PASSWORD_BYTES_MAX + 1], false),
        ];
        for (login, password, expected) in rows {
            assert_eq!(logins.check(login, password).await.unwrap().is_some(), *expected, "{login:?}");
        }
    }

    #[tokio::test]
    async fn the_hash_says_argon2id_and_its_cost() {
        let (settings, logins) = with_ann(LoginOptions::default()).await;
        let hash = settings.snapshot().users["ann"].password_hash.clone();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, logins.hash("correct horse").await.unwrap(), "salted");
    }

    #[tokio::test]
    async fn a_new_password_or_a_removed_user_is_not_remembered() {
        let (settings, logins) = with_ann(LoginOptions::default()).await;
        assert!(logins.check("ann", b"correct horse").await.unwrap().is_some());
        put_ann(&settings, logins.hash("battery staple").await.unwrap()).await;
        assert!(logins.check("ann", b"correct horse").await.unwrap().is_none());
        assert!(logins.check("ann", b"battery staple").await.unwrap().is_some());
        settings.change(vec![Change::RemoveUser("ann".into())]).await.unwrap();
        assert!(logins.check("ann", b"battery staple").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_stored_hash_that_cannot_be_read_lets_nobody_in() {
        let (settings, logins) = with_ann(LoginOptions::default()).await;
        for broken in ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$$", "$1$abc$def"] {
            put_ann(&settings, broken.to_owned()).await;
            for password in ["", "plain", broken] {
                assert!(logins.check("ann", password.as_bytes()).await.unwrap().is_none(), "{broken:?}");
            }
        }
    }

    #[test]
    fn an_unknown_login_costs_as_much() {
        // Processor time, not the clock, and the quickest of several runs: other tests share the machine.
        let spent = || clock_gettime(ClockId::ThreadCPUTime);
        let spent = || Duration::try_from(spent()).unwrap();
        let quickest = |work: &dyn Fn() -> bool| {
            let run = || {
                let began = spent();
                assert!(!work());
                spent() - began
            };
            (0..5).map(|_| run()).min().unwrap()
        };
        let stored = hash(b"correct horse").unwrap();
        let known = quickest(&|| verify(b"wrong", Some(&stored)));
        let unknown = quickest(&|| verify(b"wrong", None));
        assert!(unknown > known / 4 && unknown < known * 4, "known {known:?}, unknown {unknown:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn more_than_the_waiting_room_holds_are_busy() {
        let options = LoginOptions { hashing_concurrency_max: 1, hashing_waiting_max: 1, ..LoginOptions::default() };
        let (_, logins) = with_ann(options).await;
        let logins = Arc::new(logins);
        let tries: Vec<_> = (0..8)
            .map(|_| {
                let logins = Arc::clone(&logins);
                tokio::spawn(async move { logins.check("ann", b"wrong").await })
            })
            .collect();
        let mut busy = 0;
        for answer in tries {
            match answer.await.unwrap() {
                Ok(user) => assert!(user.is_none()),
                Err(Busy) => busy += 1,
            }
        }
        assert!((1..=6).contains(&busy), "{busy} of 8 were turned away");
        assert!(logins.check("ann", b"correct horse").await.unwrap().is_some(), "and the room is free again");
    }

    #[test]
    fn both_limits_of_hashing_are_counted() {
        let one = |hashing_waiting_max, wait_ms| LoginOptions {
            hashing_concurrency_max: 1,
            hashing_waiting_max,
            hashing_wait_max: Duration::from_millis(wait_ms),
            ..LoginOptions::default()
        };
        for (options, limit) in [(one(0, 60_000), "hashing_waiting"), (one(5, 0), "hashing_wait_secs")] {
            let met = limits_met_in(async {
                let logins = Logins::new(Arc::new(MemorySettings::default()), options).unwrap();
                let turn = logins.turns.acquire().await.unwrap();
                let place = logins.places.acquire().await.unwrap();
                assert_eq!(logins.check("ann", b"wrong").await.unwrap_err(), Busy);
                drop((turn, place));
                assert!(logins.check("ann", b"wrong").await.unwrap().is_none());
            });
            assert_eq!(met, [(limit.to_owned(), 1)]);
        }
    }

    /// One password from two keyboards, set and typed either way; and a hash made of the very octets that were typed.
    #[tokio::test]
    async fn what_looks_the_same_is_the_same() {
        let (settings, logins) = with_ann(LoginOptions::default()).await;
        let (composed, decomposed) = ("p\u{e4}ssw\u{f6}rd of ann", "pa\u{308}sswo\u{308}rd\u{a0}of ann");
        for (set, typed) in [(composed, decomposed), (decomposed, composed)] {
            put_ann(&settings, logins.hash(set).await.unwrap()).await;
            for password in [set, typed] {
                assert!(logins.check("ann", password.as_bytes()).await.unwrap().is_some(), "{set} {password}");
                assert!(logins.check("a\u{ad}nn", password.as_bytes()).await.unwrap().is_some(), "the name, too");
            }
            assert!(logins.check("ann", b"password of ann").await.unwrap().is_none());
        }
        put_ann(&settings, hash(decomposed.as_bytes()).unwrap()).await;
        assert!(logins.check("ann", decomposed.as_bytes()).await.unwrap().is_some());
        assert!(
            logins.check("ann", composed.as_bytes()).await.unwrap().is_none(),
            "of an old hash only the octets are known"
        );
    }

    #[tokio::test]
    async fn remembered_logins_are_bounded_and_expire() {
        let options = LoginOptions { remembered_max: 2, ..LoginOptions::default() };
        let (_, logins) = with_ann(options).await;
        let now = Instant::now();
        let mut verified = logins.verified();
        for n in 0..5_u8 {
            verified.remember([n; 32], now + Duration::from_secs(60), 2);
        }
        assert_eq!(verified.until.len(), 2);
        assert!(verified.holds(&[0; 32], now) && !verified.holds(&[0; 32], now + Duration::from_secs(60)));
    }
    /// Logins that differ in case alone, of an older store: each by its exact spelling, no other spelling is anybody's.
    #[tokio::test]
    async fn old_twins_are_told_apart() {
        let (settings, logins) = with_ann(LoginOptions::default()).await;
        let hash = logins.hash("another horse").await.unwrap();
        let twin = User::new("Ann".into(), None, Role::ServerAdmin, hash);
        settings.change(vec![Change::PutUser(twin)]).await.unwrap();
        let rows: &[(&str, &[u8], Option<&str>)] = &[
            ("ann", b"correct horse", Some("ann")),
            ("Ann", b"another horse", Some("Ann")),
            ("Ann", b"correct horse", None),
            ("ANN", b"correct horse", None),
            ("ANN", b"another horse", None),
        ];
        for (login, password, expected) in rows {
            let user = logins.check(login, password).await.unwrap();
            assert_eq!(user.map(|user| user.login).as_deref(), *expected, "{login:?}");
        }
    }
}

//! Who may log in: passwords checked and hashed with argon2id, by the SMTP listener and the dashboard alike.
//!
//! **Invariant:** an unknown login costs the same work as a wrong password, so the time of the answer betrays no
//! account. Hashing is bounded: so many at once on blocking threads, so many waiting, so long; the rest hear [`Busy`].

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::SettingsStore;
use crate::settings::User;

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
    settings: Arc<dyn SettingsStore>,
    options: LoginOptions,
    /// Turns for hashing.
    turns: Arc<Semaphore>,
    /// Places in the waiting room, the turns included.
    places: Arc<Semaphore>,
    verified: Mutex<Verified>,
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
        let user = self.settings.snapshot().users.get(login).cloned();
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let tag = self.verified().tag(login, hash.as_deref().unwrap_or_default(), password);
        if user.is_some() && self.verified().holds(&tag, Instant::now()) {
            return Ok(user);
        }
        let secret = password.to_vec();
        let right = self.in_turn(move || verify(&secret, hash.as_deref())).await?;
        if !right {
            return Ok(None);
        }
        let until = Instant::now() + self.options.remember_verified;
        self.verified().remember(tag, until, self.options.remembered_max);
        Ok(user)
    }

    /// A new argon2id hash of a password, PHC string format.
    ///
    /// # Errors
    /// [`Busy`]: nothing was made.
    pub async fn hash(&self, password: &str) -> Result<String, Busy> {
        let secret = password.as_bytes().to_vec();
        self.in_turn(move || hash(&secret)).await?.ok_or(Busy)
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a blocking thread when its turn comes. The permits go with the work, so a caller that leaves
    /// frees no turn that is still in use.
    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
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
        tokio::time::timeout(self.options.hashing_wait_max, turn).await.map_err(|_| Busy)?.map_err(|_| Busy)
    }
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

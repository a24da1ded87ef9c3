//! Logins that upstream judges: what the client says at AUTH is tried there, upstream's answer is the client's, and the
//! connection that was let in carries the session's mail.
//!
//! **Invariants:** a secret is in memory only, as long as its session lasts. Who upstream refused is refused here for
//! [`REFUSED_FOR`] without asking again, and how often upstream is asked has a limit, per user and in all: nobody guesses
//! passwords through us faster than alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant as StdInstant};

use hmac::{Hmac, KeyInit, Mac};
use metrics::counter;
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Parts, lock};
use crate::deliver::courier::Courier;
use crate::deliver::{Credentials as Password, Login, Stage, Trouble, Why};
use crate::listener::{Lease, LoginOutcome};
use crate::settings::{Choice, OrgName, Role, Submitter, User};
use crate::smtp::Reply;
use crate::smtp::reply::Enhanced;
use crate::smtp::sasl::{Credentials, Kind};
use crate::store::audit::{Author, Via};
use crate::store::{Change, SettingsStore, Snapshot};
use crate::telemetry::maillog;

/// How long a pair of login and secret that upstream refused is refused here.
pub const REFUSED_FOR: Duration = Duration::from_secs(5 * 60);
/// How long upstream may take to let somebody in: below the listener's own patience.
const LOGIN_MAX: Duration = Duration::from_secs(25);
/// Window of the counts.
const MINUTE: Duration = Duration::from_secs(60);
/// Entries of each table.
const ENTRIES_MAX: usize = 20_000;
/// Users that one organisation may get by logging in: upstream that takes any name must not fill the store.
const USERS_PER_ORG_MAX: usize = 10_000;

/// How often upstream is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Logins of one user within a minute.
    pub per_user_per_minute: u32,
    /// Logins of all within a minute.
    pub per_minute: u32,
    /// Organisations whose users are made at their first login.
    pub create_users: Vec<OrgName>,
}

/// Makes the way upstream for one login. No connection is made yet.
pub type Connect = Arc<dyn Fn(Login) -> Courier + Send + Sync>;

/// Judges logins by upstream.
pub struct Passthrough {
    connect: Connect,
    /// Logins under way at one time.
    turns: Semaphore,
    key: [u8; 64],
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    /// Keyed hashes of pairs that were refused, and until when.
    refused: HashMap<[u8; 32], StdInstant>,
    users: HashMap<String, Window>,
    all: Option<Window>,
}

#[derive(Clone, Copy)]
struct Window {
    began: StdInstant,
    count: u32,
}

/// What one session keeps: its own way upstream.
pub(super) struct Line {
    /// Used by this session's mail only.
    pub(super) courier: Arc<Courier>,
}

impl Drop for Line {
    /// Says goodbye in the background.
    fn drop(&mut self) {
        let courier = Arc::clone(&self.courier);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { courier.close().await });
        }
    }
}

/// Whose mail it will be.
struct Who {
    user: User,
    org: OrgName,
    is_new: bool,
}

impl Passthrough {
    /// # Errors
    /// The system gives no randomness.
    pub fn new(connect: Connect, logins_max: usize) -> Result<Passthrough, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(Passthrough { connect, turns: Semaphore::new(logins_max.max(1)), key, tables: Mutex::default() })
    }

    /// Asks upstream.
    pub(super) async fn judge(&self, parts: &Parts, limits: &Limits, credentials: Credentials) -> LoginOutcome {
        let snapshot = parts.settings.snapshot();
        let Some(who) = who(&snapshot, &credentials.login, &limits.create_users) else { return LoginOutcome::Refused };
        let tag = self.tag(&credentials);
        if lock(&self.tables).is_refused(&tag, StdInstant::now()) {
            return LoginOutcome::Refused;
        }
        if let Err(wait) = lock(&self.tables).count(&who.user.login, limits, StdInstant::now()) {
            counter!("waxseal_limits_met_total", "limit" => "upstream_logins").increment(1);
            return LoginOutcome::Told(Reply::login_later(wait.as_secs()));
        }
        let Some(login) = to_pass_on(credentials) else { return LoginOutcome::Refused };
        let until = Instant::now() + LOGIN_MAX;
        let courier = Arc::new((self.connect)(login));
        let outcome = match tokio::time::timeout_at(until, self.turns.acquire()).await {
            Ok(Ok(_turn)) => courier.log_in(until).await,
            _ => Err(Trouble { stage: Stage::Connect, why: Why::Busy }),
        };
        match outcome {
            Ok(()) => welcome(parts.settings.as_ref(), who, courier).await,
            Err(trouble) => self.not_let_in(trouble, tag, courier.host()),
        }
    }

    /// Upstream's word about the login is passed on; trouble of any other kind is not the user's.
    fn not_let_in(&self, trouble: Trouble, tag: [u8; 32], host: &str) -> LoginOutcome {
        match trouble {
            Trouble { stage: Stage::Auth, why: Why::Reply(reply) } if is_about_the_login(&reply) => {
                lock(&self.tables).refuse(tag, StdInstant::now());
                LoginOutcome::Told(Reply::passed_on(&reply))
            }
            Trouble { stage: Stage::Auth, why: Why::Reply(reply) } if reply.is_transient() => {
                let words = Reply::passed_on(&reply);
                LoginOutcome::Told(Reply { code: 454, enhanced: words.enhanced.or(Some(Enhanced(4, 7, 0))), ..words })
            }
            Trouble { why: Why::Busy, .. } => LoginOutcome::Unavailable,
            trouble => {
                maillog::upstream_trouble(host, trouble.stage.as_str(), &trouble.why.to_string());
                LoginOutcome::Unavailable
            }
        }
    }

    fn tag(&self, credentials: &Credentials) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.key.into());
        let kind: &[u8] = if credentials.kind == Kind::Bearer { b"bearer" } else { b"password" };
        for field in [kind, credentials.login.as_bytes(), &credentials.password] {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        mac.finalize().into_bytes().into()
    }
}

/// A 5yz to AUTH that says something about who logs in, and not about the command.
fn is_about_the_login(reply: &Reply) -> bool {
    reply.is_permanent() && !matches!(reply.code, 500..=504)
}

/// The user that is there, or the one that may be made.
fn who(snapshot: &Snapshot, login: &str, create: &[OrgName]) -> Option<Who> {
    let lower = login.to_lowercase();
    if let Some(user) = snapshot.users.get(login).or_else(|| snapshot.users.get(&lower)) {
        return Some(Who { org: user.org.clone()?, user: user.clone(), is_new: false });
    }
    let (_, domain) = lower.rsplit_once('@')?;
    let domain = idna::domain_to_ascii(domain).ok()?;
    let org = snapshot.orgs.values().find(|org| org.domains.contains(&domain))?.name.clone();
    let of_org = snapshot.users.values().filter(|user| user.org.as_ref() == Some(&org)).count();
    if !create.contains(&org) || lower.len() > 254 || of_org >= USERS_PER_ORG_MAX {
        return None;
    }
    // No password of our own: that hash is nobody's. The dashboard's is set by an administrator.
    let user = User {
        login: lower,
        org: Some(org.clone()),
        role: Role::Sender,
        password_hash: String::new(),
        addresses: Vec::new(),
        choice: Choice::default(),
    };
    Some(Who { user, org, is_new: true })
}

fn to_pass_on(credentials: Credentials) -> Option<Login> {
    let Credentials { login: username, password, kind } = credentials;
    let secret = String::from_utf8(password).ok()?;
    Some(match kind {
        Kind::Password => Login::Password(Password { username, password: secret }),
        Kind::Bearer => Login::Bearer { username, tokens: Arc::new(secret) },
    })
}

async fn welcome(settings: &dyn SettingsStore, who: Who, courier: Arc<Courier>) -> LoginOutcome {
    let Who { user, org, is_new } = who;
    let login = user.login.clone();
    if is_new {
        let author = Author { login: Some(login.clone()), ..Author::of(Via::Upstream) };
        if let Err(error) = settings.change_by(author, vec![Change::PutUser(user)]).await {
            tracing::error!(%error, "a user who has logged in upstream could not be stored");
            return LoginOutcome::Unavailable;
        }
        tracing::info!(org = %org, "made a user of {org} at the first login");
    }
    LoginOutcome::WelcomeWith(Submitter { org, login: Some(login) }, Lease::of(Arc::new(Line { courier })))
}

impl Tables {
    fn is_refused(&self, tag: &[u8; 32], now: StdInstant) -> bool {
        self.refused.get(tag).is_some_and(|until| *until > now)
    }

    fn refuse(&mut self, tag: [u8; 32], now: StdInstant) {
        if self.refused.len() >= ENTRIES_MAX {
            self.refused.retain(|_, until| *until > now);
        }
        if self.refused.len() < ENTRIES_MAX {
            self.refused.insert(tag, now + REFUSED_FOR);
        }
    }

    /// Counts one question to upstream, or tells how long to wait for the next.
    fn count(&mut self, login: &str, limits: &Limits, now: StdInstant) -> Result<(), Duration> {
        let is_over = |window: &Window| now.saturating_duration_since(window.began) >= MINUTE;
        let new = Window { began: now, count: 0 };
        let all = self.all.filter(|window| !is_over(window)).unwrap_or(new);
        let user = self.users.get(login).copied().filter(|window| !is_over(window)).unwrap_or(new);
        let full = |window: Window, max| (window.count >= max).then_some(window.began);
        if let Some(began) = full(all, limits.per_minute).or(full(user, limits.per_user_per_minute)) {
            return Err(MINUTE.saturating_sub(now.saturating_duration_since(began)));
        }
        if self.users.len() >= ENTRIES_MAX {
            self.users.retain(|_, window| !is_over(window));
        }
        self.all = Some(Window { count: all.count + 1, ..all });
        // Bounded by what `per_minute` lets through within a minute.
        self.users.insert(login.to_owned(), Window { count: user.count + 1, ..user });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_is_asked_so_often_and_no_more() {
        let (mut tables, now) = (Tables::default(), StdInstant::now());
        let limits = Limits { per_user_per_minute: 2, per_minute: 3, create_users: Vec::new() };
        let at = |secs| now + Duration::from_secs(secs);
        assert_eq!(tables.count("ana", &limits, now), Ok(()));
        assert_eq!(tables.count("ana", &limits, at(1)), Ok(()));
        assert_eq!(tables.count("ana", &limits, at(10)), Err(Duration::from_secs(50)), "one user");
        assert_eq!(tables.count("ben", &limits, at(20)), Ok(()));
        assert_eq!(tables.count("cleo", &limits, at(30)), Err(Duration::from_secs(30)), "all together");
        assert_eq!(tables.count("ana", &limits, at(60)), Ok(()));
    }

    #[test]
    fn a_refusal_is_remembered_for_a_while() {
        let (mut tables, now) = (Tables::default(), StdInstant::now());
        tables.refuse([1; 32], now);
        assert!(tables.is_refused(&[1; 32], now + REFUSED_FOR - Duration::from_secs(1)));
        assert!(!tables.is_refused(&[1; 32], now + REFUSED_FOR));
        assert!(!tables.is_refused(&[2; 32], now));
        (0..ENTRIES_MAX as u64 * 2).for_each(|n| {
            let mut tag = [0; 32];
            tag[..8].copy_from_slice(&n.to_be_bytes());
            tables.refuse(tag, now);
        });
        assert!(tables.refused.len() <= ENTRIES_MAX);
    }

    #[test]
    fn which_replies_speak_of_the_login() {
        let rows = [
            (535, true),
            (534, true),
            (530, true),
            (550, true),
            (500, false),
            (503, false),
            (504, false),
            (454, false),
        ];
        for (code, expected) in rows {
            assert_eq!(is_about_the_login(&Reply::new(code, Enhanced(5, 7, 8), "x")), expected, "{code}");
        }
    }
}

//! Logins that upstream judges: what the client says at AUTH is tried there, upstream's answer is the client's, and the
//! connection that was let in carries the session's mail.
//!
//! **Invariants:** a secret is in memory only, as long as its session lasts; where `spool_credentials = "sealed"`, also sealed beside
//! the mail that waits. Who upstream refused is refused here for
//! [`REFUSED_FOR`] without asking again, and how often upstream is asked has a limit, per user and in all: nobody guesses
//! passwords through us faster than alone. Logins from an address they have come from before are counted apart: strangers
//! use up strangers' questions. Each organisation has its own turns: one whose upstream hangs holds up nobody else's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant as StdInstant};

use hmac::{Hmac, KeyInit, Mac};

use sha2::Sha256;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{Parts, lock};
use crate::deliver::courier::Courier;
use crate::deliver::couriers::Connect;
use crate::deliver::safekeeping::Safekeeping;
use crate::deliver::{Credentials as Password, Login, Stage, Trouble, Why};
use crate::listener::{Lease, LoginOutcome};
use crate::settings::prepared::folded;
use crate::settings::{OrgName, Role, Submitter, User};
use crate::smtp::Reply;
use crate::smtp::reply::Enhanced;
use crate::smtp::sasl::{Credentials, Kind};
use crate::store::audit::{Author, Via};
use crate::store::{Change, SettingsStore, Snapshot};
use crate::telemetry::maillog;
use crate::telemetry::metrics::limit_met;

/// How long a pair of login and secret that upstream refused is refused here.
pub const REFUSED_FOR: Duration = Duration::from_secs(5 * 60);
/// Window of the counts.
const MINUTE: Duration = Duration::from_secs(60);
/// Entries of each table.
const ENTRIES_MAX: usize = 20_000;
/// Users that one organisation may get by logging in: upstream that takes any name must not fill the store.
const USERS_PER_ORG_MAX: usize = 10_000;

/// How often upstream is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Logins of one user within a minute; as many again from addresses the user has come from before.
    pub per_user_per_minute: u32,
    /// Logins of all users of an organisation within a minute; as many again from addresses they have come from before.
    pub per_minute: u32,
    /// Organisations whose users are made at their first login.
    pub create_users: Vec<OrgName>,
}

/// Judges logins by upstream.
pub struct Passthrough {
    /// Logins of one organisation under way at one time.
    at_once_max: usize,
    /// Sessions of one organisation that hold a way upstream.
    sessions_max: usize,
    key: [u8; 64],
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    /// Keyed hashes of pairs that were refused, and until when.
    refused: HashMap<[u8; 32], StdInstant>,
    /// By login, and whether it has come from its address before.
    users: HashMap<(String, bool), Window>,
    /// Each organisation's, so that one cannot use up another's; strangers and those who are known apart.
    all: HashMap<(OrgName, bool), Window>,
    turns: PerOrg,
    sessions: PerOrg,
    /// Whether an organisation's upstream offered logins by token when it let somebody in last.
    bearer: HashMap<String, bool>,
}

/// Places of each organisation, for as long as one is taken.
#[derive(Default)]
struct PerOrg(HashMap<OrgName, Weak<Semaphore>>);

impl PerOrg {
    fn of(&mut self, org: &OrgName, max: usize) -> Arc<Semaphore> {
        if let Some(places) = self.0.get(org).and_then(Weak::upgrade) {
            return places;
        }
        self.0.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS)));
        self.0.insert(org.clone(), Arc::downgrade(&places));
        places
    }
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
    /// The login, sealed for mail that has to wait, where the operator wants that; else nothing may wait.
    pub(super) kept: Option<String>,
    /// Among its organisation's sessions.
    _place: OwnedSemaphorePermit,
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
pub(super) struct Who {
    user: User,
    org: OrgName,
    is_new: bool,
}

impl Passthrough {
    /// `at_once_max` logins are tried, `sessions_max` sessions hold connections, of one organisation at one time.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new(at_once_max: usize, sessions_max: usize) -> Result<Passthrough, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(Passthrough { at_once_max, sessions_max, key, tables: Mutex::default() })
    }

    /// Asks upstream. `known`: this login has come from that address before.
    pub(super) async fn judge(
        &self,
        parts: &Parts,
        limits: &Limits,
        asked: Asked,
        credentials: Credentials,
        known: bool,
        until: Instant,
    ) -> LoginOutcome {
        let Asked::Upstream(who, connect, safekeeping) = asked else { return LoginOutcome::Refused };
        let tag = self.tag(&who.org, &credentials);
        if lock(&self.tables).is_refused(&tag, StdInstant::now()) {
            return LoginOutcome::Refused;
        }
        let Some(place) = self.place(&who.org) else { return LoginOutcome::Unavailable };
        if let Err(wait) = lock(&self.tables).count(&who, known, limits, StdInstant::now()) {
            limit_met("upstream_logins");
            return LoginOutcome::Told(Reply::login_later(wait.as_secs()));
        }
        let Some(login) = to_pass_on(credentials) else { return LoginOutcome::Refused };
        let kept = safekeeping.and_then(|safe| safe.keep(&login));
        let courier = Arc::new(connect(login));
        match self.log_in(&who.org, &courier, until).await {
            Ok(()) => {
                lock(&self.tables).bearer.insert(who.org.to_string(), courier.offers_bearer());
                welcome(parts.settings.as_ref(), who, Line { courier, kept, _place: place }).await
            }
            Err(trouble) => self.not_let_in(trouble, tag, courier.host()),
        }
    }

    /// A place among the sessions of an organisation, each of which holds connections of its own; `None`: all are taken.
    fn place(&self, org: &OrgName) -> Option<OwnedSemaphorePermit> {
        let sessions = lock(&self.tables).sessions.of(org, self.sessions_max);
        let place = sessions.try_acquire_owned().ok();
        if place.is_none() {
            limit_met("upstream_sessions");
            tracing::warn!(%org, "{org} has as many sessions with a way upstream of their own as upstream_sessions_max allows");
        }
        place
    }

    /// Logs in when it is its organisation's turn.
    async fn log_in(&self, org: &OrgName, courier: &Courier, until: Instant) -> Result<(), Trouble> {
        let turns = lock(&self.tables).turns.of(org, self.at_once_max);
        let Ok(Ok(_turn)) = tokio::time::timeout_at(until, turns.acquire_owned()).await else {
            limit_met("upstream_logins_at_once");
            return Err(Trouble { stage: Stage::Connect, why: Why::Busy });
        };
        courier.log_in(until).await
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

    /// Whether the upstream of any of these organisations may take a token: it does, or has not said yet.
    pub(super) fn may_offer_bearer<'a>(&self, mut orgs: impl Iterator<Item = &'a str>) -> bool {
        let tables = lock(&self.tables);
        orgs.any(|org| tables.bearer.get(org) != Some(&false))
    }

    fn tag(&self, org: &OrgName, credentials: &Credentials) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.key.into());
        let kind: &[u8] = if credentials.kind == Kind::Bearer { b"bearer" } else { b"password" };
        for field in [org.as_str().as_bytes(), kind, credentials.login.as_bytes(), &credentials.password] {
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

/// Who judges a login that is not ours to judge.
#[expect(clippy::large_enum_variant, reason = "one a login, and taken apart at once: a box would save nothing")]
pub(super) enum Asked {
    /// The upstream of whose mail it will be.
    Upstream(Who, Connect, Option<Safekeeping>),
    /// Nobody: it is no login here.
    Nobody,
}

/// Whom to ask about this login; `None`: it is ours to judge.
pub(super) fn asked(parts: &Parts, limits: &Limits, login: &str) -> Option<Asked> {
    let Some(who) = who(&parts.settings.snapshot(), login, &limits.create_users) else {
        // With passwords of ours anywhere, a login that is nobody's must take as long to refuse as one that is somebody's.
        let all_upstream = parts.couriers.ways();
        let is_ours =
            all_upstream.server.connect.is_none() || all_upstream.own.values().any(|way| way.connect.is_none());
        return (!is_ours).then_some(Asked::Nobody);
    };
    let way = parts.couriers.of(who.org.as_str())?;
    Some(Asked::Upstream(who, way.connect?, way.safekeeping))
}

/// The user that is there, or the one that may be made.
fn who(snapshot: &Snapshot, login: &str, create: &[OrgName]) -> Option<Who> {
    let lower = folded(login);
    let by_domain = snapshot.org_of_login(&lower).map(|org| org.name.clone());
    if let Some(user) = snapshot.user_named(login) {
        let org = user.org.clone()?;
        // Whoever made the user: a provider's password goes to the upstream of the domain's own organisation, or to none.
        if by_domain.is_some_and(|owner| owner != org) {
            tracing::warn!(%org, "a login of {org} is in a domain of another organisation: no upstream is asked about it; remove that user");
            return None;
        }
        return Some(Who { org, user: user.clone(), is_new: false });
    }
    let org = by_domain?;
    // Of twins in other cases none is meant for sure, and a new user would take the place of one.
    if snapshot.is_taken(login) {
        return None;
    }
    let of_org = snapshot.users.values().filter(|user| user.org.as_ref() == Some(&org)).count();
    if !create.contains(&org) || lower.len() > 254 || lower.ends_with('.') || of_org >= USERS_PER_ORG_MAX {
        return None;
    }
    // No password of our own: that hash is nobody's. The dashboard's is set by an administrator.
    let user = User::new(lower, Some(org.clone()), Role::Sender, String::new());
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

async fn welcome(settings: &dyn SettingsStore, who: Who, line: Line) -> LoginOutcome {
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
    LoginOutcome::WelcomeWith(Submitter { org, login: Some(login) }, Lease::of(Arc::new(line)))
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
    fn count(&mut self, who: &Who, known: bool, limits: &Limits, now: StdInstant) -> Result<(), Duration> {
        let (user_key, all_key) = ((who.user.login.clone(), known), (who.org.clone(), known));
        let is_over = |window: &Window| now.saturating_duration_since(window.began) >= MINUTE;
        let new = Window { began: now, count: 0 };
        let all = self.all.get(&all_key).copied().filter(|window| !is_over(window)).unwrap_or(new);
        let user = self.users.get(&user_key).copied().filter(|window| !is_over(window)).unwrap_or(new);
        let full = |window: Window, max| (window.count >= max).then_some(window.began);
        if let Some(began) = full(all, limits.per_minute).or(full(user, limits.per_user_per_minute)) {
            return Err(MINUTE.saturating_sub(now.saturating_duration_since(began)));
        }
        if self.users.len() >= ENTRIES_MAX {
            self.users.retain(|_, window| !is_over(window));
        }
        self.all.insert(all_key, Window { count: all.count + 1, ..all });
        // Bounded by what `per_minute` lets through within a minute.
        self.users.insert(user_key, Window { count: user.count + 1, ..user });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Org;

    #[test]
    fn upstream_is_asked_so_often_and_no_more() {
        let (mut tables, now) = (Tables::default(), StdInstant::now());
        let limits = Limits { per_user_per_minute: 2, per_minute: 3, create_users: Vec::new() };
        let at = |secs| now + Duration::from_secs(secs);
        let mut count = |login: &str, now| tables.count(&person(login), false, &limits, now);
        assert_eq!(count("ana@a", now), Ok(()));
        assert_eq!(count("ana@a", at(1)), Ok(()));
        assert_eq!(count("ana@a", at(10)), Err(Duration::from_secs(50)), "one user");
        assert_eq!(count("ben@a", at(20)), Ok(()));
        assert_eq!(count("cleo@a", at(30)), Err(Duration::from_secs(30)), "all together");
        assert_eq!(count("dora@b", at(30)), Ok(()), "another organisation has its own count");
        assert_eq!(count("ana@a", at(60)), Ok(()));
    }

    /// An outsider uses up neither a user's questions nor an organisation's, where they have been before.
    #[test]
    fn strangers_are_counted_apart() {
        let (mut tables, now) = (Tables::default(), StdInstant::now());
        let limits = Limits { per_user_per_minute: 2, per_minute: 3, create_users: Vec::new() };
        let mut count = |login: &str, known| tables.count(&person(login), known, &limits, now).is_ok();
        assert!(count("ana@a", false) && count("ana@a", false) && !count("ana@a", false));
        assert!(count("ana@a", true), "she is let in where she is known");
        assert!(count("ben@a", false) && !count("ben@a", false), "the organisation's strangers");
        assert!(count("ben@a", true) && count("ana@a", true) && !count("cleo@a", true), "those known have a limit too");
    }

    /// One organisation's logins that hang, and sessions that last, take nothing from another.
    #[tokio::test]
    async fn each_organisation_has_its_own_places() {
        let passthrough = Passthrough::new(1, 2).unwrap();
        let [acme, other]: [OrgName; 2] = ["acme", "other"].map(|name| name.parse().unwrap());
        let held = [passthrough.place(&acme), passthrough.place(&acme)];
        assert!(held.iter().all(Option::is_some) && passthrough.place(&acme).is_none());
        assert!(passthrough.place(&other).is_some());
        drop(held);
        assert!(passthrough.place(&acme).is_some(), "given back");
        let turns = |org| lock(&passthrough.tables).turns.of(org, 1);
        let hanging = turns(&acme).try_acquire_owned().unwrap();
        assert!(turns(&acme).try_acquire_owned().is_err());
        assert!(turns(&other).try_acquire_owned().is_ok());
        drop(hanging);
        assert!(turns(&acme).try_acquire_owned().is_ok());
        assert!(turns(&acme).available_permits() == 1 && lock(&passthrough.tables).turns.0.len() <= 2);
    }

    /// An admin of one organisation who makes a user with a login of another does not hear that person's password.
    #[test]
    fn a_login_is_asked_about_where_its_domain_belongs() {
        let [one, two]: [OrgName; 2] = ["one", "two"].map(|name| name.parse().unwrap());
        let mut snapshot = Snapshot::default();
        for (org, domain) in [(&one, "org1.test"), (&two, "org2.test")] {
            let org = Org { domains: vec![domain.to_owned()], ..Org::named(org.clone()) };
            snapshot.orgs.insert(org.name.clone(), org);
        }
        for (login, org) in [("ceo@org2.test", &one), ("guest@elsewhere.test", &one), ("ann@org1.test", &one)] {
            let user = User::new(login.to_owned(), Some(org.clone()), Role::Sender, String::new());
            snapshot.users.insert(login.to_owned(), user);
        }
        let create = [one.clone(), two.clone()];
        for (login, org) in [
            ("ceo@org2.test", None),
            ("CEO@Org2.Test", None),
            ("cfo@org2.test.", None),
            ("cfo@org2.test", Some(&two)),
            ("ann@org1.test", Some(&one)),
            ("guest@elsewhere.test", Some(&one)),
            ("nobody@elsewhere.test", None),
        ] {
            assert_eq!(who(&snapshot, login, &create).map(|who| who.org).as_ref(), org, "{login}");
        }
    }

    fn person(login: &str) -> Who {
        let org: OrgName = login.split('@').next_back().unwrap().parse().unwrap();
        let user = User::new(login.to_owned(), Some(org.clone()), Role::Sender, String::new());
        Who { user, org, is_new: false }
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

//! The mail path, in order. Read this file first.
//!
//! A submission is admitted (may this login say this From? is it a loop?), planned, prepared and frozen; its record
//! begins to be written; its copies go upstream while the client waits; what the outcomes mean is decided; what must be
//! on disk is written; only then the client is answered.
//!
//! **Invariant:** a 250 to the final dot means that every recipient's copy is accepted upstream, or in the spool and
//! fsynced, or on its way back as a bounce that is itself one of the two (RFC 5321 §4.2.5, §6.1).

mod admit;
pub mod allowance;
mod attempts;
mod guard;
mod keep;
mod own_line;
pub mod passthrough;
mod record;
mod shadow;
pub mod throttle;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{counter, describe_counter};
use tokio::time::Instant;
use tracing::Instrument;

use crate::copies::{Composer, Recipe};
use crate::deliver::courier::Courier;
use crate::deliver::couriers::Couriers;
use crate::deliver::predict;
use crate::listener::{Backend, BoxFuture, LoginOutcome, Submission};
use crate::message::trace;
use crate::queue::Queue;
use crate::rewrite::Prepared;
use crate::settings::privacy::ConsentRule;
use crate::settings::{OrgName, Submitter, Tracking};
use crate::smtp::sasl::{Credentials, Kind};
use crate::smtp::{Reply, ReversePath};
use crate::store::credentials::MailLogin;
use crate::store::logins::Logins;
use crate::store::{HistoryStore, SettingsStore};
use crate::telemetry::maillog;
use crate::telemetry::metrics::limit_met;
use crate::token::{Keyring, MessageId};
use allowance::{Allowance, Ledger};
use guard::Guard;
use passthrough::{Line, Passthrough};
use shadow::Shadow;
use throttle::{NotNow, Turns};

/// What the relay is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Our name in `Received:`.
    pub hostname: String,
    /// `Received:` fields from which on a mail is taken for a loop.
    pub received_headers_max: usize,
    /// Recipients above which copies are shared.
    pub split_recipients_max: usize,
    /// How long the record may take before the mail goes out as it came.
    pub record_max: Duration,
    /// When not to try while the client waits.
    pub predict: predict::Rules,
    /// How long the client is kept waiting for upstream (Outlook gives up at 60 s, swaks at 30).
    pub budget: Duration,
    /// From the client's dot until the spool record must be on disk.
    pub keep_by: Duration,
    /// How long the answer to upstream's dot is awaited.
    pub dot: Duration,
    /// Copies sent at one time for one mail, after the first.
    pub parallel_max: usize,
    /// How often a login may be tried.
    pub logins: throttle::Limits,
    /// How long the listener waits for a login's judgement.
    pub login_max: Duration,
    /// How much a login may send.
    pub allowance: Allowance,
    /// How often upstream is asked about logins, and who is made a user.
    pub passthrough: passthrough::Limits,
    /// Whether `Received:` tells the address and the name of a client that logged in.
    pub show_client: bool,
}

/// What the relay works with.
pub struct Parts {
    /// Orgs, users, overrides.
    pub settings: Arc<dyn SettingsStore>,
    /// Message records.
    pub history: Arc<dyn HistoryStore>,
    /// Keys and sites.
    pub keyring: Arc<ArcSwap<Keyring>>,
    /// `[tracking]`.
    pub ceiling: Arc<ArcSwap<Tracking>>,
    /// `[privacy]`.
    pub consent: Arc<ArcSwap<ConsentRule>>,
    /// Passwords.
    pub logins: Arc<Logins>,
    /// Renders copies.
    pub composer: Arc<Composer>,
    /// The ways upstream.
    pub couriers: Arc<Couriers>,
    /// What upstream could not take now.
    pub queue: Queue,
    /// Judges the logins that are upstream's, instead of `logins`.
    pub passthrough: Passthrough,
    /// Unix milliseconds.
    pub clock: fn() -> i64,
}

/// The relay. One for the whole program.
pub struct Relay {
    parts: Parts,
    options: ArcSwap<Options>,
    guard: Arc<Guard>,
    turns: Arc<Turns>,
    ledger: Mutex<Ledger>,
}

/// One submission on its way, decided and frozen.
struct Job {
    id: MessageId,
    accepted_at_ms: i64,
    /// The client's final dot.
    begun: Instant,
    submission: Submission,
    recipe: Recipe,
    prepared: Prepared,
    /// What would have been tracked, in shadow mode.
    shadow: Option<Shadow>,
    /// How long reading and deciding took.
    prepared_in: Duration,
    tracking: Tracking,
    /// What recipients' own words changed, and the mail's own header.
    notes: Vec<String>,
    /// Who has it that nothing is tracked.
    off_because: Option<String>,
    /// Whether it can be told from another mail of the same octets.
    has_id_and_date: bool,
    /// Positions of recipients whose copy leaves as it came, because with our links it was larger than upstream takes.
    untracked: Arc<Mutex<Vec<usize>>>,
    /// The session's own way upstream, when its login is upstream's.
    line: Option<Arc<Line>>,
    /// The way upstream: that line's, else the organisation's.
    courier: Arc<Courier>,
}

impl Relay {
    /// A relay of these parts.
    pub fn new(parts: Parts, options: Options) -> Relay {
        Relay {
            parts,
            options: ArcSwap::from_pointee(options),
            guard: Arc::default(),
            turns: Arc::default(),
            ledger: Mutex::default(),
        }
    }

    /// What holds now.
    fn options(&self) -> Arc<Options> {
        self.options.load_full()
    }

    /// From the next mail and the next login on.
    pub fn change_options(&self, options: Options) {
        self.options.store(Arc::new(options));
    }

    /// Takes one mail to its answer. Also the way for mail of our own.
    pub async fn submit(&self, submission: Submission) -> Reply {
        let reply = self.answer_within_allowance(submission).await;
        match reply.code {
            200..300 => counter!("waxseal_submissions_total", "reply" => "2xx"),
            400..500 => counter!("waxseal_submissions_total", "reply" => "4xx"),
            _ => counter!("waxseal_submissions_total", "reply" => "5xx"),
        }
        .increment(1);
        reply
    }

    /// Counts the mail against what its login may send, unless it is refused.
    async fn answer_within_allowance(&self, submission: Submission) -> Reply {
        let Some(login) = submission.submitter.login.clone() else { return self.answer(submission).await };
        let recipients = u64::try_from(submission.mail.envelope.recipients.len()).unwrap_or(u64::MAX);
        let booked = lock(&self.ledger).book(&login, recipients, &self.options().allowance, std::time::Instant::now());
        if let Err(reply) = booked {
            allowance_met();
            maillog::refused("DATA", &reply);
            return reply;
        }
        let reply = self.answer(submission).await;
        if !reply.is_positive() {
            lock(&self.ledger).give_back(&login, recipients);
        }
        reply
    }

    async fn answer(&self, submission: Submission) -> Reply {
        let begun = Instant::now();
        let line = submission.lease.kept::<Line>();
        let courier = match self.way(&submission.submitter.org, line.as_deref()) {
            Ok(courier) => courier,
            Err(reply) => {
                maillog::refused("DATA", &reply);
                return reply;
            }
        };
        let admitted = match admit::admit(&self.parts, &self.options(), &submission).await {
            Ok(admitted) => admitted,
            Err(reply) => {
                maillog::refused("DATA", &reply);
                return reply;
            }
        };
        let job = match self.freeze(submission, admitted, begun, (line, courier)).await {
            Ok(job) => job,
            Err(reply) => return reply,
        };
        let span = tracing::info_span!("mail", message.id = %job.id);
        span.in_scope(|| {
            let Submission { mail, submitter: Submitter { org, login }, .. } = &job.submission;
            maillog::received(job.id, &mail.envelope, mail.raw.len(), org.as_str(), login.as_deref());
        });
        keep::deliver_and_answer(self, job).instrument(span).await
    }

    /// The way upstream: of the session's own login, where upstream is to judge logins; else the organisation's.
    fn way(&self, org: &OrgName, line: Option<&Line>) -> Result<Arc<Courier>, Reply> {
        if let Some(line) = line {
            return Ok(Arc::clone(&line.courier));
        }
        match self.parts.couriers.of(org.as_str()) {
            Some(way) if way.connect.is_some() => Err(Reply::login_required()),
            Some(way) => Ok(way.courier),
            None => {
                tracing::error!(%org, "mail of {org} is left to its clients: its own upstream is no longer in config.toml, or has no password. Put its [org.upstream] back, or type its password: waxseal org upstream-password {org}; or name {org} in an [[org]] without one, and it uses the server's");
                Err(Reply::no_upstream())
            }
        }
    }

    /// Decides everything about the copies that must not change any more.
    async fn freeze(
        &self,
        submission: Submission,
        admitted: admit::Admitted,
        begun: Instant,
        (line, courier): (Option<Arc<Line>>, Arc<Courier>),
    ) -> Result<Job, Reply> {
        let id = record::random_id().ok_or_else(no_randomness)?;
        let accepted_at_ms = (self.parts.clock)();
        let options = self.options();
        let received = trace::received(&trace::Received {
            helo: if admitted.shown_peer.is_some() { &submission.helo } else { HIDDEN_CLIENT },
            peer: admitted.shown_peer,
            hostname: &options.hostname,
            protocol: submission.protocol,
            id: &id.to_string(),
            date: &record::date(accepted_at_ms),
        });
        let (tracking, notes) = (admitted.levels.in_force(), admitted.notes());
        let off_because = admitted.plan.off_because();
        let recipe = record::freeze(&self.parts, &admitted, String::from_utf8_lossy(&received).into_owned());
        let recipe = recipe.ok_or_else(no_randomness)?;
        let by = admitted.levels.shadow();
        let (composer, raw) = (Arc::clone(&self.parts.composer), submission.mail.raw.clone());
        let prepare = move || shadow::prepare(&composer, &raw, recipe, by);
        let (recipe, prepared, shadow) = off_the_runtime(submission.mail.raw.len(), prepare).await?;
        let prepared_in = begun.elapsed();
        Ok(Job {
            id,
            accepted_at_ms,
            begun,
            submission,
            recipe,
            prepared,
            shadow,
            prepared_in,
            tracking,
            notes,
            off_because,
            has_id_and_date: admitted.has_id_and_date,
            untracked: Arc::default(),
            line,
            courier,
        })
    }
}

/// Does work that takes as long as a mail of so many octets is large: at once where that is short, else where it holds nobody up.
async fn off_the_runtime<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Reply> {
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| preparation_died())
}

/// Declares what is counted in the mail path.
pub fn describe_metrics() {
    describe_counter!("waxseal_submissions_total", "Mails received whole, by the class of the reply to their end.");
    describe_counter!("waxseal_logins_failed_total", "Wrong logins or passwords, by the door they were tried at.");
    describe_counter!(
        "waxseal_records_not_durable_total",
        "Mails that went out as they came because their record could not be written in time."
    );
}

/// Stands in `Received:` for a client that logged in: mail programs say what their computer is called, or its address at home.
const HIDDEN_CLIENT: &str = "authenticated";

/// Above this the rewriter would hold a runtime thread for more than half a millisecond.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// How long a login stands in line for those before it.
const TURN_MAX: Duration = Duration::from_secs(10);
/// How long upstream may take to let somebody in, the line before it included, where the listener has that patience.
const JUDGED_BY: Duration = Duration::from_secs(25);
/// So much sooner than the listener's patience ends: a try that it cuts off would count as none.
const SOONER: Duration = Duration::from_secs(1);

fn no_randomness() -> Reply {
    tracing::error!("the system gives no random numbers: mail cannot be taken");
    Reply::internal_error()
}

fn preparation_died() -> Reply {
    tracing::error!("reading a mail died; the client keeps it");
    Reply::internal_error()
}

fn allowance_met() {
    limit_met("user_allowance");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole between any two lines that hold the lock, so a panic elsewhere has not broken it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Judges a login, unless it has to wait for its own failures.
    async fn judge_in_turn(&self, credentials: Credentials, peer: IpAddr) -> LoginOutcome {
        let login = credentials.login.clone();
        let (options, begun) = (self.options(), Instant::now());
        let judged_by = begun + JUDGED_BY.min(options.login_max.saturating_sub(SOONER));
        let turn = match self.turns.turn(&login, peer, &options.logins, judged_by.min(begun + TURN_MAX)).await {
            Ok(turn) => turn,
            Err(not_now) => {
                limit_met("login_wait");
                let NotNow::Wait(wait) = not_now else { return LoginOutcome::Unavailable };
                maillog::login_must_wait(&login, peer, wait);
                return LoginOutcome::Told(Reply::login_later(wait.as_secs()));
            }
        };
        let outcome = self.judge(credentials, turn.is_known(), judged_by).await;
        match &outcome {
            LoginOutcome::Welcome(_) | LoginOutcome::WelcomeWith(..) => turn.succeeded(),
            LoginOutcome::Told(reply) if !reply.is_permanent() => {}
            LoginOutcome::Unavailable => {}
            LoginOutcome::Refused | LoginOutcome::Told(_) => {
                turn.failed();
                counter!("waxseal_logins_failed_total", "door" => "smtp").increment(1);
                maillog::login_failed(&login, peer);
            }
        }
        outcome
    }

    /// `known`: this login has come from that address before.
    async fn judge(&self, credentials: Credentials, known: bool, until: Instant) -> LoginOutcome {
        if let Some(asked) = passthrough::asked(&self.parts, &self.options().passthrough, &credentials.login) {
            let limits = &self.options().passthrough;
            return self.parts.passthrough.judge(&self.parts, limits, asked, credentials, known, until).await;
        }
        let Credentials { login, password, kind: Kind::Password } = credentials else { return LoginOutcome::Refused };
        match self.parts.logins.check_mail(&login, &password).await {
            Ok(MailLogin::Welcome(user)) => match user.org {
                Some(org) => LoginOutcome::Welcome(Submitter { org, login: Some(user.login) }),
                // A server admin belongs to no organisation: there is nobody on whose behalf to send.
                None => LoginOutcome::Refused,
            },
            Ok(MailLogin::NeedsAppPassword) => {
                maillog::app_password_needed(&login);
                LoginOutcome::Told(Reply::app_password_needed())
            }
            Ok(MailLogin::Refused) => LoginOutcome::Refused,
            Err(_) => LoginOutcome::Unavailable,
        }
    }
}

impl Backend for Relay {
    fn login(&self, credentials: Credentials, peer: IpAddr) -> BoxFuture<'_, LoginOutcome> {
        Box::pin(self.judge_in_turn(credentials, peer))
    }

    fn may_send_from(&self, submitter: &Submitter, path: &ReversePath) -> Result<(), Reply> {
        if let Some(login) = &submitter.login {
            let may = lock(&self.ledger).may_send(login, 1, &self.options().allowance, std::time::Instant::now());
            may.inspect_err(|_| allowance_met())?;
        }
        admit::may_send_from(&self.parts, submitter, path)
    }

    fn offers_bearer(&self) -> bool {
        let (snapshot, couriers) = (self.parts.settings.snapshot(), &self.parts.couriers);
        let asked = snapshot.orgs.keys().map(OrgName::as_str).filter(|org| couriers.is_passthrough(org));
        self.parts.passthrough.may_offer_bearer(asked)
    }

    fn accept(&self, submission: Submission) -> BoxFuture<'_, Reply> {
        Box::pin(self.submit(submission))
    }
}

//! Certificates by ACME (RFC 8555, http-01 or tls-alpn-01): ordered, renewed, and put where the listeners look for theirs.
//!
//! **Invariants:** nothing waits for a CA: the certificate in use stays until a whole new one, which fits its key and names
//! every domain, is on disk. After a failure the CA is asked again no sooner than `schedule.rs` says, also over restarts.

mod challenges;
mod client;
pub mod door;
mod files;
mod hello;
mod order;
mod schedule;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::certificate;
use crate::deliver::tls::Roots;
pub use challenges::{Challenges, PATH};
use files::Files;
pub use order::OrderError;

/// One order, from the first question to the certificate: CAs look from several places and take a minute at most.
pub const ORDER_MAX: Duration = Duration::from_secs(5 * 60);
/// Clocks are set: the calendar is looked at no later than this.
const NAP_MAX: Duration = Duration::from_secs(60 * 60);
/// With less than this left an order that fails is an error for the operator, not a warning.
const ALARM_SECS: i64 = 7 * 86_400;

/// A person who has mended something need not wait; one who asks again and again must not run into the CA's limits.
const HURRY_AFTER_SECS: i64 = 15 * 60;

/// What is ordered, from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The CA's directory URL. `http` only for tests and CAs on this machine.
    pub directory: String,
    /// Addresses the CA may write to.
    pub contacts: Vec<String>,
    /// Names in the certificate, at least one.
    pub domains: Vec<String>,
    /// Whose certificates the CA's own server may show.
    pub roots: Roots,
    /// `data_dir/acme`.
    pub folder: PathBuf,
    /// How the CA sees that the names are ours.
    pub proof: Proof,
    /// How long to wait after a failure.
    pub patience: Patience,
}

/// How the CA sees that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proof {
    /// It asks over plain HTTP, on port 80.
    #[default]
    Http01,
    /// It asks in a TLS handshake, on port 443.
    TlsAlpn01,
}

/// How long the CA is left alone after failures: the first wait, doubled each time up to the last, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// After the first failure.
    pub first_secs: i64,
    /// At most.
    pub last_secs: i64,
}

impl Default for Patience {
    /// Let's Encrypt takes five failed validations of a name an hour: ten minutes and twenty and forty stay below.
    fn default() -> Patience {
        Patience { first_secs: 600, last_secs: 12 * 3600 }
    }
}

/// How it stands; kept in `data_dir/acme/status.json`, so that it outlives the process and another one can read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// From whom.
    pub directory: String,
    /// For which names.
    pub domains: Vec<String>,
    /// Unix seconds from which the CA's certificate holds; `None` before the first.
    pub not_before_secs: Option<i64>,
    /// Unix seconds until which it holds.
    pub not_after_secs: Option<i64>,
    /// Unix seconds of the next order.
    pub next_try_secs: i64,
    /// Orders that failed since the last that did not.
    pub failures: u32,
    /// What the last order failed with, word for word; empty after a success.
    pub last_error: String,
    /// Unix seconds of that failure.
    pub last_error_secs: i64,
}

/// Orders certificates. One for the whole program.
pub struct Acme {
    options: Options,
    files: Files,
    challenges: Arc<Challenges>,
    status: ArcSwap<Status>,
    hurry: Notify,
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acme").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Where the certificate and its key are, in one file, so that they are replaced as one.
pub fn certificate_file(folder: &Path) -> PathBuf {
    folder.join(files::CERTIFICATE)
}

/// How it stood when it was written last; `None` when it never was. Blocks on the disk.
pub fn status_in(folder: &Path) -> Option<Status> {
    Files::new(folder).status()
}

impl Acme {
    /// Takes up what an earlier run left. Blocks on the disk. `now_secs` is Unix time.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(options: Options, now_secs: i64) -> std::io::Result<Acme> {
        let files = Files::new(&options.folder);
        files.make_folder()?;
        let status = taken_up(files.status(), &options, files.certificate().as_deref(), now_secs);
        let status = ArcSwap::from_pointee(status);
        Ok(Acme { options, files, challenges: Arc::default(), status, hurry: Notify::new() })
    }

    /// What the CA's questions are answered from.
    pub fn challenges(&self) -> Arc<Challenges> {
        Arc::clone(&self.challenges)
    }

    /// How it stands.
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// Tries again now what failed, if that was a quarter of an hour ago.
    pub fn hurry(&self) {
        if let Some(status) = hurried(&self.status(), now_secs()) {
            self.status.store(Arc::new(status));
            self.hurry.notify_one();
        }
    }

    /// Orders when it is time, until `stop` turns true. `installed` is called after a new certificate is on disk.
    pub async fn run(&self, installed: impl Fn() + Send + Sync, mut stop: watch::Receiver<bool>) {
        self.tell_metrics();
        loop {
            let wait_secs = self.status.load().next_try_secs.saturating_sub(now_secs());
            if wait_secs > 0 {
                let nap = Duration::from_secs(wait_secs.unsigned_abs()).min(NAP_MAX);
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = self.hurry.notified() => {}
                    () = tokio::time::sleep(nap) => {}
                }
                continue;
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.try_once(&installed) => {}
            }
        }
    }

    /// One order, noted whatever it comes to.
    async fn try_once(&self, installed: &(impl Fn() + Send + Sync)) {
        let names = self.options.domains.join(", ");
        let ordered = tokio::time::timeout(ORDER_MAX, order::order(&self.options, &self.files, &self.challenges)).await;
        let outcome = match ordered.unwrap_or(Err(OrderError::TooLong)) {
            Ok(pem) => self.install(pem).await,
            Err(error) => Err(error),
        };
        let before = self.status();
        let status = match outcome {
            Ok(facts) => {
                installed();
                counter!("waxseal_acme_orders_total", "outcome" => "issued").increment(1);
                let next_try_secs = schedule::renew_at(facts.not_before_secs, facts.not_after_secs, spread());
                tracing::info!(names, next_secs = next_try_secs, "a new certificate for {names} is in use");
                Status {
                    not_before_secs: Some(facts.not_before_secs),
                    not_after_secs: Some(facts.not_after_secs),
                    next_try_secs,
                    ..fresh(&self.options)
                }
            }
            Err(error) => {
                counter!("waxseal_acme_orders_total", "outcome" => "failed").increment(1);
                failed(&before, &error, self.options.patience, now_secs())
            }
        };
        self.keep(status).await;
    }

    /// A certificate that listeners could not use, or that clients would not take, is not put in place.
    async fn install(&self, pem: String) -> Result<certificate::Facts, OrderError> {
        let facts = checked(&pem, &self.options.domains)?;
        let files = self.files.clone();
        let put = tokio::task::spawn_blocking(move || files.put_certificate(&pem)).await;
        put.unwrap_or_else(|died| Err(std::io::Error::other(died))).map_err(OrderError::Disk)?;
        Ok(facts)
    }

    async fn keep(&self, status: Status) {
        self.status.store(Arc::new(status.clone()));
        self.tell_metrics();
        let files = self.files.clone();
        let kept = tokio::task::spawn_blocking(move || files.put_status(&status)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "how the certificate stands could not be written: a restart will not know of it");
        }
    }

    fn tell_metrics(&self) {
        let status = self.status.load();
        gauge!("waxseal_acme_failures").set(f64::from(status.failures));
        gauge!("waxseal_acme_expires_seconds").set(status.not_after_secs.unwrap_or(0) as f64);
    }
}

/// Declares what is counted here.
pub fn describe_metrics() {
    describe_counter!("waxseal_acme_orders_total", "Certificates ordered, by what became of it.");
    describe_gauge!("waxseal_acme_failures", "Orders that failed since the last that did not.");
    describe_gauge!(
        "waxseal_acme_expires_seconds",
        Unit::Seconds,
        "Unix time at which the CA's certificate ends; 0 before the first."
    );
}

/// Whether this is a certificate for every name, with its key.
fn checked(pem: &str, domains: &[String]) -> Result<certificate::Facts, OrderError> {
    let mut found = None;
    for domain in domains {
        let facts = certificate::examine(pem.as_bytes(), pem.as_bytes(), domain)
            .map_err(|why| OrderError::Useless(why.to_string()))?;
        if !facts.names_host {
            return Err(OrderError::Useless(format!("it is not for {domain}")));
        }
        found = Some(facts);
    }
    found.ok_or_else(|| OrderError::Useless("no names were asked for".to_owned()))
}

/// Nothing known but what is wanted: to be ordered at once.
fn fresh(options: &Options) -> Status {
    Status { directory: options.directory.clone(), domains: options.domains.clone(), ..Status::default() }
}

/// An earlier run's status, as far as it is about the same order and the certificate that is there.
fn taken_up(found: Option<Status>, options: &Options, pem: Option<&[u8]>, now_secs: i64) -> Status {
    let same = |status: &Status| status.directory == options.directory && status.domains == options.domains;
    let Some(status) = found.filter(same) else { return fresh(options) };
    let not_after = pem.and_then(|pem| certificate::examine(pem, pem, "").ok()).map(|facts| facts.not_after_secs);
    if status.not_after_secs.is_some() && status.not_after_secs == not_after {
        return status;
    }
    // The certificate is not the CA's (any more): to be ordered as soon as the last failure allows.
    let latest = now_secs.saturating_add(options.patience.last_secs);
    let next_try_secs = if status.failures > 0 { status.next_try_secs.min(latest) } else { 0 };
    Status { not_before_secs: None, not_after_secs: None, next_try_secs, ..status }
}

/// The status of what is to be tried now; `None`: it is well, or it failed too short a while ago.
fn hurried(status: &Status, now_secs: i64) -> Option<Status> {
    let is_due = status.failures > 0 && now_secs.saturating_sub(status.last_error_secs) >= HURRY_AFTER_SECS;
    is_due.then(|| Status { next_try_secs: now_secs, ..status.clone() })
}

/// The status after a failure, which is told.
fn failed(before: &Status, error: &OrderError, patience: Patience, now_secs: i64) -> Status {
    let failures = before.failures.saturating_add(1);
    let wait_secs = schedule::wait(failures, error.is_limit(), patience, spread());
    let words = error.to_string();
    let names = before.domains.join(", ");
    let left_secs = before.not_after_secs.map(|end| end.saturating_sub(now_secs));
    match left_secs {
        Some(left) if left > ALARM_SECS => {
            tracing::warn!(
                names,
                error = words,
                wait_secs,
                "the certificate for {names} could not be renewed; tried again in {wait_secs} s: {words}"
            );
        }
        _ => {
            tracing::error!(
                names,
                error = words,
                wait_secs,
                "no certificate for {names}; tried again in {wait_secs} s: {words}"
            );
        }
    }
    Status {
        failures,
        last_error: words,
        last_error_secs: now_secs,
        next_try_secs: now_secs.saturating_add(wait_secs),
        ..before.clone()
    }
}

/// Unix seconds.
fn now_secs() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// So that the servers of the world do not renew in one second; a failing system generator must not stop it.
fn spread() -> u16 {
    getrandom::u32().map_or(0, |n| (n & 0xffff) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(domains: &[&str]) -> Options {
        Options {
            directory: "https://ca.test/directory".to_owned(),
            contacts: Vec::new(),
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            roots: Roots::System,
            folder: PathBuf::from("/nowhere"),
            proof: Proof::Http01,
            patience: Patience::default(),
        }
    }

    fn pem(names: &[&str]) -> String {
        let made =
            rcgen::generate_simple_self_signed(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem())
    }

    #[test]
    fn a_certificate_is_looked_at_before_it_is_used() {
        let both: Vec<String> = ["a.test", "b.test"].map(str::to_owned).to_vec();
        assert!(checked(&pem(&["a.test", "b.test"]), &both).is_ok());
        let (other, this) = (pem(&["a.test", "b.test"]), pem(&["a.test", "b.test"]));
        let (key, _) = other.split_once("-----BEGIN CERT").unwrap();
        let (_, chain) = this.split_once("-----BEGIN CERT").unwrap();
        // A name is missing, no certificate, another one's key, nothing asked for.
        for (pem, domains) in [
            (pem(&["a.test"]), both.as_slice()),
            (String::new(), &both),
            (format!("{key}-----BEGIN CERT{chain}"), &both),
            (pem(&["a.test"]), &[]),
        ] {
            assert!(matches!(checked(&pem, domains), Err(OrderError::Useless(_))));
        }
    }

    /// What an earlier run knew holds for the same order and the same certificate only.
    #[test]
    fn what_an_earlier_run_left() {
        let asked = options(&["a.test"]);
        let pem = pem(&["a.test"]);
        let facts = certificate::examine(pem.as_bytes(), pem.as_bytes(), "").unwrap();
        let well = Status { not_after_secs: Some(facts.not_after_secs), next_try_secs: 900, ..fresh(&asked) };
        let take = |status: &Status, options: &Options, pem: Option<&str>| {
            taken_up(Some(status.clone()), options, pem.map(str::as_bytes), 100).next_try_secs
        };
        assert_eq!(take(&well, &asked, Some(&pem)), 900);
        // Another name, no certificate, one that is not the CA's: at once.
        assert_eq!(take(&well, &options(&["a.test", "b.test"]), Some(&pem)), 0);
        assert_eq!(take(&well, &asked, None), 0);
        assert_eq!(take(&Status { not_after_secs: Some(5), ..well.clone() }, &asked, Some(&pem)), 0);
        assert_eq!(taken_up(None, &asked, None, 100), fresh(&asked));
        // A restart does not shorten the wait after a failure, nor does a wrong clock lengthen it for ever.
        let bad = Status { failures: 2, next_try_secs: 1300, ..fresh(&asked) };
        assert_eq!(take(&bad, &asked, Some(&pem)), 1300);
        let hurried = |now_secs| hurried(&Status { last_error_secs: 100, ..bad.clone() }, now_secs);
        assert_eq!(hurried(100 + HURRY_AFTER_SECS - 1), None);
        assert_eq!(
            hurried(100 + HURRY_AFTER_SECS).map(|status| (status.next_try_secs, status.failures)),
            Some((1000, 2))
        );
        assert_eq!(super::hurried(&well, 1 << 40), None, "what is well waits for its time");
        let wrong_clock = Status { next_try_secs: i64::MAX, ..bad };
        assert_eq!(take(&wrong_clock, &asked, None), 100 + 12 * 3600);
    }
}

//! Whether everything works, and what to do where it does not: the same report for the dashboard, the API and
//! `waxseal doctor`.
//!
//! Looking and judging are apart: `site`, `records` and `machine` look, every judgement is a pure function of what was
//! seen. `app` knows what there is to look at, and asks all of it at once. **Invariant:** every look has a deadline; what
//! cannot be seen is unknown, never taken for broken, and nothing is sent to anyone but to an upstream's own greeting.

pub mod dns;
pub mod machine;
pub mod order;
pub mod records;
pub mod report;
pub mod running;
pub mod site;
pub mod tls;
pub mod upstream;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

pub use report::{Area, Check, Report, State};

use crate::settings::OrgName;
use dns::Resolver;
use site::{Challenge, Place};
use tls::Looker;

/// A boxed future, as trait objects need it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One look may take so long: a page waits for it.
pub const LOOK_MAX: Duration = Duration::from_secs(8);
/// Tracking hosts that are visited in one report.
pub const PLACES_MAX: usize = 50;
/// Domains that are asked about in one report.
pub const DOMAINS_MAX: usize = 50;
/// Organisations' own upstreams that are tried in one report.
pub const UPSTREAMS_MAX: usize = 20;

/// Where somebody's mail leaves this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaves {
    /// Nowhere: it ends in the built-in inbox.
    Inbox,
    /// Through this host.
    Through(String),
    /// It waits: its own upstream is not in the configuration.
    Held,
}

/// A tracking site.
#[derive(Debug, Clone)]
pub struct Site {
    /// Whose; `None`: the server's own.
    pub org: Option<OrgName>,
    /// As in links.
    pub url: String,
    /// Nobody whose links lead here sends mail out of this machine.
    pub inbox: bool,
}

/// A domain that mail is sent from.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Whose.
    pub org: OrgName,
    /// Its name.
    pub name: String,
    /// Where its mail leaves.
    pub leaves: Leaves,
}

/// What is looked at from outside.
#[derive(Clone)]
pub struct Outside {
    /// Tracking sites.
    pub places: Vec<Site>,
    /// Domains that mail is sent from.
    pub domains: Vec<Domain>,
    /// Who answers for the DNS.
    pub resolver: Arc<dyn Resolver>,
    /// Who judges certificates; `None` without root certificates.
    pub looker: Option<Looker>,
    /// The question to our own site.
    pub challenge: Challenge,
    /// Unix seconds.
    pub now_secs: i64,
}

/// Visits every tracking site and asks about every domain, all at once.
pub async fn outside(outside: Outside) -> Vec<Check> {
    let until = Instant::now() + LOOK_MAX;
    let mut looks = JoinSet::new();
    let mut checks = left_out(&outside);
    let shared = Arc::new(outside);
    let places: Vec<_> = shared.places.iter().take(PLACES_MAX).cloned().collect();
    for site in places {
        let shared = Arc::clone(&shared);
        looks.spawn(async move { visited(&shared, &site, until).await });
    }
    let domains: Vec<_> = shared.domains.iter().take(DOMAINS_MAX).cloned().collect();
    for domain in domains {
        let shared = Arc::clone(&shared);
        looks.spawn(async move { asked(&shared, &domain, until).await });
    }
    checks.extend(looks.join_all().await.into_iter().flatten());
    // In whatever order they came: the reader wants the same every time.
    checks.sort_by(|a, b| (&a.org, &a.subject).cmp(&(&b.org, &b.subject)));
    checks
}

async fn visited(outside: &Outside, site: &Site, until: Instant) -> Vec<Check> {
    let Site { org, url, inbox } = site;
    let Some(place) = Place::of(url) else {
        let seen = format!("{url} is no http or https URL");
        return vec![Check::fail(Area::Tracking, "tracking.dns", seen, "mend it in config.toml").of_org(org.as_ref())];
    };
    let resolver = outside.resolver.as_ref();
    let seen = site::look(&place, resolver, outside.looker.as_ref(), &outside.challenge, until).await;
    let checks = site::judge(&place, &seen, *inbox, outside.now_secs);
    checks.into_iter().map(|check| check.of_org(org.as_ref())).collect()
}

async fn asked(outside: &Outside, domain: &Domain, until: Instant) -> Vec<Check> {
    let Domain { org, name: domain, leaves } = domain;
    let skipped =
        |why: &str| vec![Check::skipped(Area::Domains, "domains.records", why).about(domain).of_org(Some(org))];
    let upstream = match leaves {
        Leaves::Through(upstream) => upstream,
        Leaves::Inbox => return skipped("no mail of it leaves this machine: it ends in the built-in inbox"),
        Leaves::Held => return skipped("its mail is held, and leaves through nobody"),
    };
    if !records::is_public(domain) {
        return skipped("it is no domain of the internet");
    }
    let looked = tokio::time::timeout_at(until, records::look(domain, outside.resolver.as_ref())).await;
    let checks = match looked {
        Ok(records) => records::judge(domain, &records, upstream),
        Err(_) => {
            vec![Check::unknown(Area::Domains, "domains.records", "no name server answered in time", "").about(domain)]
        }
    };
    checks.into_iter().map(|check| check.of_org(Some(org))).collect()
}

/// What there is too much of is not looked at, and that is said.
pub fn more(count: usize, max: usize, area: Area, name: &'static str, what: &str) -> Option<Check> {
    let seen = format!("{} more {what} were not looked at", count.saturating_sub(max));
    (count > max).then(|| Check::unknown(area, name, seen, "their organisations' admins see their own"))
}

fn left_out(outside: &Outside) -> Vec<Check> {
    let places = more(outside.places.len(), PLACES_MAX, Area::Tracking, "tracking.more", "tracking hosts");
    let domains = more(outside.domains.len(), DOMAINS_MAX, Area::Domains, "domains.more", "domains");
    places.into_iter().chain(domains).collect()
}

#[cfg(test)]
mod tests;

//! The network around us: tracking sites, domains, and every upstream that mail leaves through, the server's and those of
//! organisations with one of their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::super::upstream;
use crate::config::{Config, OrgConfig, SmtpUpstream, UpstreamConfig};
use crate::deliver::tls::Roots;
use crate::health::dns::Dns;
use crate::health::report::UPSTREAM;
use crate::health::site::Challenge;
use crate::health::tls::Looker;
use crate::health::{self, Area, Check, Domain, Leaves, Outside, Site, UPSTREAMS_MAX};
use crate::settings::{Org, OrgName};

/// One organisation, as far as others see it.
pub(super) struct Around {
    name: OrgName,
    tracking_url: Option<String>,
    domains: Vec<String>,
    upstream: Whose,
    /// The password of its own upstream, where that is kept in the settings store.
    password: Option<String>,
}

/// Whose upstream an organisation uses.
#[derive(PartialEq)]
enum Whose {
    /// The server's, for it has none of its own.
    Servers,
    Own(SmtpUpstream),
    /// It had one, and the configuration does not know it any more.
    Gone,
}

impl Around {
    /// As the running server knows it.
    pub(super) fn of(
        org: &Org,
        config: &Config,
        stranded: &BTreeSet<String>,
        unsealed: impl Fn(&OrgName, &SmtpUpstream) -> Option<String>,
    ) -> Around {
        let own = own_upstream(config, &org.name);
        let password = own.and_then(|smtp| unsealed(&org.name, smtp));
        let named = own.cloned().map(Whose::Own);
        let gone = stranded.contains(org.name.as_str()).then_some(Whose::Gone);
        Around {
            name: org.name.clone(),
            tracking_url: org.tracking_url.clone(),
            domains: org.domains.clone(),
            upstream: named.or(gone).unwrap_or(Whose::Servers),
            password,
        }
    }

    /// As the file names it.
    pub(super) fn named(org: &OrgConfig) -> Around {
        Around {
            name: org.name.clone(),
            tracking_url: org.tracking_url.as_ref().map(ToString::to_string),
            domains: org.domains.clone(),
            upstream: org.upstream.clone().map_or(Whose::Servers, Whose::Own),
            password: None,
        }
    }

    fn leaves(&self, servers: &UpstreamConfig) -> Leaves {
        match (&self.upstream, servers) {
            (Whose::Own(smtp), _) | (Whose::Servers, UpstreamConfig::Smtp(smtp)) => Leaves::Through(smtp.host.clone()),
            (Whose::Servers, UpstreamConfig::Inbox) => Leaves::Inbox,
            (Whose::Gone, _) => Leaves::Held,
        }
    }
}

/// The upstream that the file gives this organisation.
fn own_upstream<'a>(config: &'a Config, org: &OrgName) -> Option<&'a SmtpUpstream> {
    config.orgs.iter().find(|named| named.name == *org)?.upstream.as_ref()
}

/// Looks at all of it at once: of the whole server, or of the organisations alone.
pub(super) async fn look(
    config: &Config,
    whole: bool,
    orgs: &[Around],
    challenge: Challenge,
    now: Timestamp,
) -> Vec<Check> {
    let servers = config.dns.servers.clone();
    // Both read files.
    let read = tokio::task::spawn_blocking(move || (Dns::over(&servers), Looker::new(&Roots::System).ok())).await;
    let (resolver, looker) = match read {
        Ok(read) => read,
        Err(died) => {
            let seen = format!("a task died: {died}");
            return vec![Check::unknown(Area::Tracking, "tracking.dns", seen, "look at the log")];
        }
    };
    let (places, domains) = (places(config, whole, orgs), domains(config, orgs));
    let now_secs = now.as_second();
    let outside = Outside { places, domains, resolver: Arc::new(resolver), looker, challenge, now_secs };
    let (outside, upstreams) = tokio::join!(health::outside(outside), upstreams(config, whole, orgs));
    [outside, upstreams].concat()
}

fn places(config: &Config, whole: bool, orgs: &[Around]) -> Vec<Site> {
    let stays = |org: &Around| org.leaves(&config.upstream) == Leaves::Inbox;
    let inbox = config.upstream == UpstreamConfig::Inbox && orgs.iter().all(stays);
    let servers = whole.then(|| Site { org: None, url: config.web.public_url.to_string(), inbox });
    let of_org = |org: &Around| {
        let url = org.tracking_url.clone()?;
        Some(Site { org: Some(org.name.clone()), url, inbox: stays(org) })
    };
    servers.into_iter().chain(orgs.iter().filter_map(of_org)).collect()
}

fn domains(config: &Config, orgs: &[Around]) -> Vec<Domain> {
    let of_org = |org: &Around| {
        let (leaves, of) = (org.leaves(&config.upstream), org.name.clone());
        let domain = move |name| Domain { org: of.clone(), name, leaves: leaves.clone() };
        org.domains.clone().into_iter().map(domain)
    };
    orgs.iter().flat_map(of_org).collect()
}

/// The server's, for the whole and for organisations without one; and theirs.
async fn upstreams(config: &Config, whole: bool, orgs: &[Around]) -> Vec<Check> {
    let own = |org: &Around| match &org.upstream {
        Whose::Own(smtp) => Some((Some(org.name.clone()), smtp.clone(), org.password.clone())),
        Whose::Servers | Whose::Gone => None,
    };
    let own: Vec<_> = orgs.iter().filter_map(own).collect();
    let asks_servers = whole || orgs.iter().any(|org| org.upstream == Whose::Servers);
    let servers = match &config.upstream {
        UpstreamConfig::Smtp(smtp) if asks_servers => Some((None, smtp.clone(), None)),
        _ => None,
    };
    let mut checks: Vec<Check> = Vec::new();
    if asks_servers && config.upstream == UpstreamConfig::Inbox {
        let seen = "mail ends in the built-in inbox ([upstream] mode = \"inbox\")";
        checks.push(Check::skipped(Area::Upstream, UPSTREAM, seen));
    }
    let gone = orgs.iter().filter(|org| org.upstream == Whose::Gone);
    checks.extend(gone.map(|org| health::upstream::stranded(&org.name)));
    checks.extend(health::more(own.len(), UPSTREAMS_MAX, Area::Upstream, "upstream.more", "upstreams"));
    let mut looks = JoinSet::new();
    for (org, smtp, password) in servers.into_iter().chain(own.into_iter().take(UPSTREAMS_MAX)) {
        let config = config.clone();
        looks.spawn(async move {
            let (expected, tried) = upstream::examine(&config, &smtp, password, org.is_some(), whole).await;
            let checks = health::upstream::judge(&expected, &tried).into_iter();
            checks.map(|check| check.of_org(org.as_ref())).collect::<Vec<Check>>()
        });
    }
    let mut tried = looks.join_all().await.concat();
    // In whatever order they came, each one's rows as they were; the server's first.
    tried.sort_by(|a, b| a.org.cmp(&b.org));
    [checks, tried].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const ORGS: &str = "[[org]]\nname = \"acme\"\ndomains = [\"acme.example\"]\ntracking_url = \"https://t.acme.example\"\n\
                        [org.upstream]\nhost = \"smtp.acme.example\"\n\
                        [[org]]\nname = \"beta\"\ndomains = [\"beta.example\", \"b.example\"]\n";

    fn config() -> Config {
        let text = config::SHIPPED.replace("[privacy]", "[privacy]\nconsent = \"none\"");
        let text = text.replace("http://127.0.0.1:8025", "https://t.example.com");
        Config::parse(&format!("{text}\n{ORGS}"), std::path::Path::new("/c")).unwrap().config
    }

    /// The server keeps its mail here; acme does not, so its domains and its host are looked at; whose upstream is gone
    /// leaves through nobody.
    #[test]
    fn each_organisation_leaves_its_own_way() {
        let config = config();
        let mut orgs: Vec<Around> =
            config.orgs.iter().filter(|org| org.name.as_str() != "default").map(Around::named).collect();
        let leaves = |orgs: &[Around]| -> Vec<(String, Leaves)> {
            domains(&config, orgs).into_iter().map(|domain| (domain.name, domain.leaves)).collect()
        };
        let through = Leaves::Through("smtp.acme.example".to_owned());
        let expected = [("acme.example", through), ("beta.example", Leaves::Inbox), ("b.example", Leaves::Inbox)];
        assert_eq!(leaves(&orgs), expected.map(|(name, leaves)| (name.to_owned(), leaves)));
        let sites = |whole, orgs: &[Around]| -> Vec<(bool, bool)> {
            places(&config, whole, orgs).iter().map(|site| (site.org.is_some(), site.inbox)).collect()
        };
        assert_eq!(sites(true, &orgs), [(false, false), (true, false)], "links of acme's may lead to the server's");
        assert_eq!(sites(true, &orgs[1..]), [(false, true)]);
        orgs[0].upstream = Whose::Gone;
        assert_eq!(leaves(&orgs)[0].1, Leaves::Held);
    }
}

//! `[tracking]` and `[[org]]`: the ceiling, and the organisations that this file manages.
//!
//! **Invariant:** no organisation is above the ceiling (DESIGN, promise 10), and no domain or tracking host has two owners.

use std::path::Path;

use super::file::{File, Section};
use super::keeping::{self, OrgEvents};
use super::org_tracking::{self, OrgTracking};
use super::privacy::PrivacyConfig;
use super::problem::Wrong;
use super::upstream::{self, SmtpUpstream};
use super::values::{self, BaseUrl};
use crate::settings::{Choice, Managed, Mode, Org, OrgName, Tracking};

/// What `[tracking]` says when nothing is written there: what waxseal is for. Text links stay as typed.
const CEILING: Tracking = Tracking { opens: Mode::Individual, links: Mode::Individual, text_links: false };
const MODES: &[(&str, Mode)] = &[("off", Mode::Off), ("aggregate", Mode::Aggregate), ("individual", Mode::Individual)];

/// One `[[org]]`: what the file sets. What it leaves out is the dashboard's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgConfig {
    /// Its key.
    pub name: OrgName,
    /// Lower-case A-labels; never empty.
    pub domains: Vec<String>,
    /// At most the ceiling.
    pub choice: Choice,
    /// Its own tracking host.
    pub tracking_url: Option<BaseUrl>,
    /// Hosts whose links must go on working.
    pub former_urls: Vec<BaseUrl>,
    /// How its readers' events are judged, and what is kept of them.
    pub events: OrgEvents,
    /// What is never tracked, what its users may not turn, and shadow mode.
    pub rules: OrgTracking,
    /// Who logs in upstream with an address of its domains is made a user.
    pub create_users: bool,
    /// Where its mail leaves; the server's `[upstream]` when left out.
    pub upstream: Option<SmtpUpstream>,
}

impl OrgConfig {
    /// The organisation in force: what the store holds (if it knows this one), overlaid by the file. What an earlier file set and this
    /// one leaves out follows the ceiling again.
    pub fn over(&self, stored: Option<&Org>) -> Org {
        let own = stored.map_or_else(|| Org::named(self.name.clone()), released);
        let mut org = Org {
            domains: self.domains.clone(),
            choice: Choice {
                opens: self.choice.opens.or(own.choice.opens),
                links: self.choice.links.or(own.choice.links),
                text_links: self.choice.text_links.or(own.choice.text_links),
            },
            managed: Managed {
                org: true,
                opens: self.choice.opens.is_some(),
                links: self.choice.links.is_some(),
                text_links: self.choice.text_links.is_some(),
                upstream: self.upstream.is_some(),
                ..Managed::default()
            },
            tracking_url: self.tracking_url.as_ref().map(BaseUrl::to_string),
            former_urls: self.former_urls.iter().map(BaseUrl::to_string).collect(),
            ..own
        };
        self.events.lay_over(&mut org);
        self.rules.lay_over(&mut org);
        org
    }

    /// Every organisation that is right enough to look at, with its shown section (`org[1]`).
    pub(super) fn read_all(
        file: &File<'_>,
        base_dir: &Path,
        ceiling: Tracking,
        privacy: &PrivacyConfig,
    ) -> Vec<(String, OrgConfig)> {
        let read = |(index, section)| {
            Some((format!("org[{}]", index + 1), OrgConfig::read(section, base_dir, ceiling, privacy)?))
        };
        file.sections("org").into_iter().enumerate().filter_map(read).collect()
    }

    fn read(
        section: Section<'_, '_>,
        base_dir: &Path,
        ceiling: Tracking,
        privacy: &PrivacyConfig,
    ) -> Option<OrgConfig> {
        let org_name = section.parsed("name", "\"default\"", name);
        let domains = section.list("domains", "\"example.com\"", values::domain);
        let choice = read_choice(&section, ceiling);
        let tracking_url = section.parsed("tracking_url", "\"https://t.example.com\"", values::base_url);
        let former_urls = section.list("former_urls", "\"https://old.example.com\"", values::base_url);
        let events = OrgEvents::read(&section, privacy);
        let rules = OrgTracking::read(&section);
        let create_users = section.flag("create_users").unwrap_or(false);
        let upstream = upstream::read_own(&section, base_dir);
        if !section.has("name") {
            section.wrong("name", Wrong::Missing("give it one, as name = \"default\""));
        }
        if !section.has("domains") || domains.as_ref().is_some_and(Vec::is_empty) {
            section.wrong(
                "domains",
                Wrong::Missing("say as whose addresses its users send, as domains = [\"example.com\"]"),
            );
        }
        section.finish();
        Some(OrgConfig {
            name: org_name?,
            domains: domains.unwrap_or_default(),
            choice,
            tracking_url,
            former_urls: former_urls.unwrap_or_default(),
            events,
            rules,
            create_users,
            upstream,
        })
    }
}

/// An organisation that the file names no longer: all of it is the dashboard's again, and what the file had chosen follows the ceiling.
/// Its domains and tracking hosts stay, for people send and links go on working; and so does the mark of an upstream of its own, for
/// its mail must not leave through another's account.
pub fn released(stored: &Org) -> Org {
    let managed = stored.managed;
    let mut org = stored.clone();
    keeping::release(&mut org);
    org_tracking::release(&mut org);
    Org {
        choice: Choice {
            opens: stored.choice.opens.filter(|_| !managed.opens),
            links: stored.choice.links.filter(|_| !managed.links),
            text_links: stored.choice.text_links.filter(|_| !managed.text_links),
        },
        managed: Managed { upstream: managed.upstream, ..Managed::default() },
        ..org
    }
}

/// `[tracking]`: the ceiling for every organisation.
pub(super) fn read_ceiling(file: &File<'_>) -> Tracking {
    let section = file.section("tracking");
    let opens = section.choice("opens", MODES).unwrap_or(CEILING.opens);
    let links = section.choice("links", MODES).unwrap_or(CEILING.links);
    let text_links = section.flag("text_links").unwrap_or(CEILING.text_links);
    if text_links && links == Mode::Off {
        section.wrong("text_links", Wrong::TextLinksWithoutLinks);
    }
    section.finish();
    Tracking { opens, links, text_links }
}

/// What an organisation chooses, refused where it is above the ceiling.
fn read_choice(section: &Section<'_, '_>, ceiling: Tracking) -> Choice {
    let mode = |key, most: Mode, ceiling_key| {
        let mode = section.choice(key, MODES)?;
        if mode > most {
            section.wrong(
                key,
                Wrong::AboveCeiling { given: format!("\"{mode}\""), ceiling: format!("\"{most}\""), ceiling_key },
            );
            return None;
        }
        Some(mode)
    };
    let opens = mode("opens", ceiling.opens, "tracking.opens");
    let links = mode("links", ceiling.links, "tracking.links");
    let text_links = section.flag("text_links");
    if text_links == Some(true) && !ceiling.text_links {
        let wrong = Wrong::AboveCeiling {
            given: "true".to_owned(),
            ceiling: "false".to_owned(),
            ceiling_key: "tracking.text_links",
        };
        section.wrong("text_links", wrong);
    } else if text_links == Some(true) && links == Some(Mode::Off) {
        section.wrong("text_links", Wrong::TextLinksWithoutLinks);
    }
    Choice { opens, links, text_links }
}

/// The name of an organisation.
pub(super) fn name(text: &str) -> Result<OrgName, Wrong> {
    text.parse().map_err(|_| Wrong::OrgName(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Rule;
    use crate::settings::{Keeping, Locked, PlaceDetail, Switch, VisibleUrls};

    fn config(choice: Choice) -> OrgConfig {
        let domains = vec!["example.com".to_owned()];
        OrgConfig {
            name: "default".parse().unwrap(),
            domains,
            choice,
            tracking_url: None,
            former_urls: Vec::new(),
            events: OrgEvents::default(),
            rules: OrgTracking::default(),
            create_users: false,
            upstream: None,
        }
    }

    #[test]
    fn the_file_overlays_and_lets_go() {
        let off = Choice { opens: Some(Mode::Off), ..Choice::default() };
        let stored = Org {
            choice: Choice { opens: Some(Mode::Aggregate), links: Some(Mode::Aggregate), text_links: None },
            visible_urls: VisibleUrls::Leave,
            ..Org::named("default".parse().unwrap())
        };
        let managed = config(off).over(Some(&stored));
        assert_eq!(managed.choice, Choice { opens: Some(Mode::Off), links: Some(Mode::Aggregate), text_links: None });
        assert_eq!(managed.managed, Managed { org: true, opens: true, ..Managed::default() });
        assert_eq!(managed.visible_urls, VisibleUrls::Leave, "what the file leaves out is the dashboard's");
        assert_eq!(config(off).over(Some(&managed)), managed, "a second start changes nothing");
        let lifted = config(Choice::default()).over(Some(&managed));
        assert_eq!(lifted.choice, Choice { opens: None, links: Some(Mode::Aggregate), text_links: None });
        let let_go = released(&managed);
        assert_eq!((let_go.choice, let_go.managed), (lifted.choice, Managed::default()));
        assert_eq!(let_go.domains, ["example.com"]);
        assert_eq!(config(off).over(None).choice, off, "one that the store has never seen");
    }

    /// The mark outlives the file's word for the organisation; only an `[[org]]` without an upstream of its own takes it away.
    #[test]
    fn an_upstream_of_its_own_leaves_a_mark() {
        let smtp = SmtpUpstream {
            host: "smtp.example".to_owned(),
            port: 587,
            tls: upstream::UpstreamTls::StartTls,
            auth: upstream::UpstreamAuth::None,
            ca_file: None,
            messages_per_minute: None,
            spool_credentials: false,
        };
        let own = OrgConfig { upstream: Some(smtp), ..config(Choice::default()) };
        let managed = own.over(None);
        assert_eq!(managed.managed.names(), ["org", "upstream"]);
        let let_go = released(&managed);
        assert_eq!(let_go.managed.names(), ["upstream"]);
        assert_eq!(config(Choice::default()).over(Some(&let_go)).managed.names(), ["org"]);
    }

    /// What is said of events goes the same way: over the dashboard's, and back to the default when the file lets go.
    #[test]
    fn the_file_overlays_what_is_kept_of_events() {
        let dashboard = Keeping { place: PlaceDetail::Country, events_days: Some(7), ..Keeping::default() };
        let stored =
            Org { keeping: dashboard, rules_off: vec!["own".to_owned()], ..Org::named("default".parse().unwrap()) };
        let events = OrgEvents {
            rules_off: Some(vec![Rule::Instant]),
            own_networks: Some(vec!["192.0.2.0/24".parse().unwrap()]),
            raw_evidence: Some(true),
            honour_gpc: Some(false),
            ..OrgEvents::default()
        };
        let file = OrgConfig { events, ..config(Choice::default()) };
        let managed = file.over(Some(&stored));
        assert_eq!((managed.rules_off.as_slice(), managed.own_networks.len()), (&["instant".to_owned()][..], 1));
        assert_eq!(managed.keeping, Keeping { raw_evidence: true, honour_gpc: false, ..dashboard });
        assert_eq!(managed.managed.names(), ["org", "rules_off", "own_networks", "raw_evidence", "honour_gpc"]);
        assert_eq!(file.over(Some(&managed)), managed, "a second start changes nothing");
        let let_go = released(&managed);
        assert!(let_go.rules_off.is_empty() && let_go.own_networks.is_empty());
        assert_eq!(let_go.keeping, dashboard, "the dashboard's stays");
    }

    /// What is never tracked, the locks and shadow mode go the same way.
    #[test]
    fn the_file_overlays_what_is_never_tracked() {
        let stored = Org {
            leave_links: vec!["own.example/a".parse().unwrap()],
            shadow: true,
            ..Org::named("default".parse().unwrap())
        };
        let rules = OrgTracking {
            excluded_hosts: Some(vec!["intranet.example".to_owned()]),
            excluded_recipients: Some(vec!["partner.example".parse().unwrap()]),
            sensitive_off: Some(vec!["token"]),
            locked: Some(Locked::default().with(Switch::Opens)),
            shadow: Some(false),
            ..OrgTracking::default()
        };
        let file = OrgConfig { rules, ..config(Choice::default()) };
        let managed = file.over(Some(&stored));
        assert_eq!((managed.sensitive_off.as_slice(), managed.shadow), (&["token".to_owned()][..], false));
        assert_eq!((managed.locked.names(), managed.excluded_hosts.len()), (vec!["opens"], 1));
        let names = ["org", "excluded_hosts", "excluded_recipients", "sensitive_off", "locked", "shadow"];
        assert_eq!(managed.managed.names(), names);
        assert_eq!(managed.leave_links, stored.leave_links, "what the file leaves out is the dashboard's");
        assert_eq!(file.over(Some(&managed)), managed, "a second start changes nothing");
        let let_go = released(&managed);
        let fresh = Org { leave_links: stored.leave_links, ..Org::named("default".parse().unwrap()) };
        assert_eq!(let_go, Org { domains: let_go.domains.clone(), ..fresh });
    }
}

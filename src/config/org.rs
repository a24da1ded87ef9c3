//! `[tracking]` and `[[org]]`: the ceiling, and the organisations that this file manages.
//!
//! **Invariant:** no organisation is above the ceiling (DESIGN, promise 10), and no domain or tracking host has two owners.

use super::file::{File, Section};
use super::keeping::{self, OrgEvents};
use super::problem::Wrong;
use super::values::{self, BaseUrl};
use crate::settings::privacy::OrgPrivacy;
use crate::settings::{Choice, Keeping, Managed, Mode, Org, OrgName, Quotes, Tracking, VisibleUrls};

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
    /// Who logs in upstream with an address of its domains is made a user.
    pub create_users: bool,
}

impl OrgConfig {
    /// The organisation in force: what the store holds (if it knows this one), overlaid by the file. What an earlier file set and this
    /// one leaves out follows the ceiling again.
    pub fn over(&self, stored: Option<&Org>) -> Org {
        let own = stored.map_or_else(|| fresh(&self.name), released);
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
                ..Managed::default()
            },
            tracking_url: self.tracking_url.as_ref().map(BaseUrl::to_string),
            former_urls: self.former_urls.iter().map(BaseUrl::to_string).collect(),
            ..own
        };
        self.events.lay_over(&mut org);
        org
    }

    /// Every organisation that is right enough to look at, with its shown section (`org[1]`).
    pub(super) fn read_all(file: &File<'_>, ceiling: Tracking, events_days: u32) -> Vec<(String, OrgConfig)> {
        let read =
            |(index, section)| Some((format!("org[{}]", index + 1), OrgConfig::read(section, ceiling, events_days)?));
        file.sections("org").into_iter().enumerate().filter_map(read).collect()
    }

    fn read(section: Section<'_, '_>, ceiling: Tracking, events_days: u32) -> Option<OrgConfig> {
        let org_name = section.parsed("name", "\"default\"", name);
        let domains = section.list("domains", "\"example.com\"", values::domain);
        let choice = read_choice(&section, ceiling);
        let tracking_url = section.parsed("tracking_url", "\"https://t.example.com\"", values::base_url);
        let former_urls = section.list("former_urls", "\"https://old.example.com\"", values::base_url);
        let events = OrgEvents::read(&section, events_days);
        let create_users = section.flag("create_users").unwrap_or(false);
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
            create_users,
        })
    }
}

/// An organisation that the file names no longer: all of it is the dashboard's again, and what the file had chosen follows the ceiling.
/// Its domains and tracking hosts stay, for people send and links go on working.
pub fn released(stored: &Org) -> Org {
    let managed = stored.managed;
    let mut org = stored.clone();
    keeping::release(&mut org);
    Org {
        choice: Choice {
            opens: stored.choice.opens.filter(|_| !managed.opens),
            links: stored.choice.links.filter(|_| !managed.links),
            text_links: stored.choice.text_links.filter(|_| !managed.text_links),
        },
        managed: Managed::default(),
        ..org
    }
}

/// An organisation nobody has touched.
fn fresh(name: &OrgName) -> Org {
    Org {
        name: name.clone(),
        domains: Vec::new(),
        choice: Choice::default(),
        managed: Managed::default(),
        tracking_url: None,
        former_urls: Vec::new(),
        visible_urls: VisibleUrls::default(),
        quotes: Quotes::default(),
        excluded_hosts: Vec::new(),
        rules_off: Vec::new(),
        own_networks: Vec::new(),
        privacy: OrgPrivacy::default(),
        keeping: Keeping::default(),
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
    use crate::settings::PlaceDetail;

    fn config(choice: Choice) -> OrgConfig {
        let domains = vec!["example.com".to_owned()];
        OrgConfig {
            name: "default".parse().unwrap(),
            domains,
            choice,
            tracking_url: None,
            former_urls: Vec::new(),
            events: OrgEvents::default(),
            create_users: false,
        }
    }

    #[test]
    fn the_file_overlays_and_lets_go() {
        let off = Choice { opens: Some(Mode::Off), ..Choice::default() };
        let stored = Org {
            choice: Choice { opens: Some(Mode::Aggregate), links: Some(Mode::Aggregate), text_links: None },
            visible_urls: VisibleUrls::Leave,
            ..fresh(&"default".parse().unwrap())
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

    /// What is said of events goes the same way: over the dashboard's, and back to the default when the file lets go.
    #[test]
    fn the_file_overlays_what_is_kept_of_events() {
        let dashboard = Keeping { place: PlaceDetail::Country, events_days: Some(7), ..Keeping::default() };
        let stored =
            Org { keeping: dashboard, rules_off: vec!["own".to_owned()], ..fresh(&"default".parse().unwrap()) };
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
}

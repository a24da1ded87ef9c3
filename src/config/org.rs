//! `[tracking]` and `[[org]]`: the ceiling, and the organisations that this file manages.
//!
//! **Invariant:** no organisation is above the ceiling (DESIGN, promise 10), and no domain or tracking host has two owners.

use super::file::{File, Section};
use super::problem::Wrong;
use super::values::{self, BaseUrl};
use crate::settings::{Choice, Managed, Mode, Org, OrgName, Quotes, Tracking, VisibleUrls};

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
    /// Set by the file, or left to the dashboard.
    pub visible_urls: Option<VisibleUrls>,
    /// Set by the file, or left to the dashboard.
    pub quotes: Option<Quotes>,
    /// Set by the file, or left to the dashboard.
    pub excluded_hosts: Option<Vec<String>>,
}

impl OrgConfig {
    /// The organisation in force: what the store holds (if it knows this one), overlaid by the file.
    pub fn over(&self, stored: Option<&Org>) -> Org {
        let stored = stored.cloned().unwrap_or_else(|| Org {
            name: self.name.clone(),
            domains: Vec::new(),
            choice: Choice::default(),
            managed: Managed::default(),
            tracking_url: None,
            former_urls: Vec::new(),
            visible_urls: VisibleUrls::default(),
            quotes: Quotes::default(),
            excluded_hosts: Vec::new(),
        });
        Org {
            name: self.name.clone(),
            domains: self.domains.clone(),
            choice: Choice {
                opens: self.choice.opens.or(stored.choice.opens),
                links: self.choice.links.or(stored.choice.links),
                text_links: self.choice.text_links.or(stored.choice.text_links),
            },
            managed: Managed {
                org: true,
                opens: self.choice.opens.is_some(),
                links: self.choice.links.is_some(),
                text_links: self.choice.text_links.is_some(),
            },
            tracking_url: self.tracking_url.as_ref().map(BaseUrl::to_string),
            former_urls: self.former_urls.iter().map(BaseUrl::to_string).collect(),
            visible_urls: self.visible_urls.unwrap_or(stored.visible_urls),
            quotes: self.quotes.unwrap_or(stored.quotes),
            excluded_hosts: self.excluded_hosts.clone().unwrap_or(stored.excluded_hosts),
        }
    }

    /// Every organisation that is right enough to look at, with its shown section (`org[1]`).
    pub(super) fn read_all(file: &File<'_>, ceiling: Tracking) -> Vec<(String, OrgConfig)> {
        let read = |(index, section)| Some((format!("org[{}]", index + 1), OrgConfig::read(section, ceiling)?));
        file.sections("org").into_iter().enumerate().filter_map(read).collect()
    }

    fn read(section: Section<'_, '_>, ceiling: Tracking) -> Option<OrgConfig> {
        let org_name = section.parsed("name", "\"default\"", name);
        let domains = section.list("domains", "\"example.com\"", values::domain);
        let choice = read_choice(&section, ceiling);
        let tracking_url = section.parsed("tracking_url", "\"https://t.example.com\"", values::base_url);
        let former_urls = section.list("former_urls", "\"https://old.example.com\"", values::base_url);
        let visible_urls =
            section.choice("visible_urls", &[("track", VisibleUrls::Track), ("leave", VisibleUrls::Leave)]);
        let quotes = section.choice("quotes", &[("unwrap", Quotes::Unwrap), ("leave", Quotes::Leave)]);
        let excluded_hosts = section.list("excluded_hosts", "\"example.com\"", values::domain);
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
            visible_urls,
            quotes,
            excluded_hosts,
        })
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

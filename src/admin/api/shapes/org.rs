//! Organisations and their switches.

use serde::{Deserialize, Serialize};

use crate::admin::actions::orgs::OrgView;
use crate::settings::{Quotes, Tracking, VisibleUrls};

/// An organisation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Org {
    /// Its name.
    pub name: String,
    /// Whose addresses its users may send as.
    pub domains: Vec<String>,
    /// What is in force for the next mail.
    pub in_force: Switches,
    /// What it has chosen; null follows the ceiling.
    pub choice: Switches,
    /// `[tracking]` of config.toml.
    pub ceiling: Switches,
    /// Values that config.toml sets.
    pub managed: Vec<String>,
    /// `track` or `leave`.
    pub visible_urls: String,
    /// `unwrap` or `leave`.
    pub quotes: String,
    /// Hosts never tracked.
    pub excluded_hosts: Vec<String>,
    /// Its own tracking host.
    pub tracking_url: Option<String>,
    /// How many users it has.
    pub users: usize,
}

/// The three tracking switches.
#[derive(Debug, Serialize, Deserialize)]
pub struct Switches {
    /// `off`, `aggregate` or `individual`.
    pub opens: Option<String>,
    /// `off`, `aggregate` or `individual`.
    pub links: Option<String>,
    /// On or off.
    pub text_links: Option<bool>,
}

impl From<OrgView> for Org {
    fn from(view: OrgView) -> Org {
        let OrgView { org, ceiling, in_force, users, .. } = view;
        let full = |t: Tracking| Switches {
            opens: Some(t.opens.to_string()),
            links: Some(t.links.to_string()),
            text_links: Some(t.text_links),
        };
        let managed = [
            (org.managed.org, "domains"),
            (org.managed.opens, "opens"),
            (org.managed.links, "links"),
            (org.managed.text_links, "text_links"),
        ];
        Org {
            name: org.name.as_str().to_owned(),
            in_force: full(in_force),
            ceiling: full(ceiling),
            choice: Switches {
                opens: org.choice.opens.map(|mode| mode.to_string()),
                links: org.choice.links.map(|mode| mode.to_string()),
                text_links: org.choice.text_links,
            },
            managed: managed.into_iter().filter(|(is, _)| *is).map(|(_, name)| name.to_owned()).collect(),
            visible_urls: visible_urls(org.visible_urls).to_owned(),
            quotes: quotes(org.quotes).to_owned(),
            domains: org.domains,
            excluded_hosts: org.excluded_hosts,
            tracking_url: org.tracking_url,
            users,
        }
    }
}

fn visible_urls(value: VisibleUrls) -> &'static str {
    match value {
        VisibleUrls::Track => "track",
        VisibleUrls::Leave => "leave",
    }
}

fn quotes(value: Quotes) -> &'static str {
    match value {
        Quotes::Unwrap => "unwrap",
        Quotes::Leave => "leave",
    }
}

/// `PATCH /api/v1/orgs/{name}`: what is not there stays as it is.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrgPatch {
    /// `off`, `aggregate`, `individual`, or `follow` the ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens: Option<String>,
    /// `off`, `aggregate`, `individual`, or `follow` the ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<String>,
    /// `on`, `off`, or `follow` the ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_links: Option<String>,
    /// `track` or `leave`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible_urls: Option<String>,
    /// `unwrap` or `leave`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotes: Option<String>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded_hosts: Option<Vec<String>>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
}

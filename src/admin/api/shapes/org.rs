//! Organisations and their switches.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::patch;
use crate::admin::actions::orgs::OrgView;
use crate::settings::{Choice, Quotes, Tracking};

/// An organisation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
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
    /// Recipients never tracked: addresses and domains.
    pub excluded_recipients: Vec<String>,
    /// Rules about sensitive links that do not count.
    pub sensitive_off: Vec<String>,
    /// Links never tracked: `HOST/PATH`.
    pub leave_links: Vec<String>,
    /// Switches its users may not change for themselves.
    pub locked: Vec<String>,
    /// Its mail leaves as it came; the record says what would have been tracked.
    pub shadow: bool,
    /// Rules that do not judge its readers' events.
    pub rules_off: Vec<String>,
    /// Networks of its own people.
    pub own_networks: Vec<String>,
    /// `city` or `country`.
    pub place: String,
    /// Address and agent are kept with each event.
    pub raw_evidence: bool,
    /// A browser's standing refusal (Sec-GPC, DNT) counts.
    pub honour_gpc: bool,
    /// Days its events are kept, when fewer than the server's.
    pub events_days: Option<u32>,
    /// Days its messages are kept, when fewer than the server's.
    pub messages_days: Option<u32>,
    /// Its own tracking host.
    pub tracking_url: Option<String>,
    /// How many users it has.
    pub users: usize,
}

/// The three tracking switches.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
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
        let managed = org.managed.names().into_iter().map(|name| if name == "org" { "domains" } else { name });
        Org {
            name: org.name.as_str().to_owned(),
            in_force: Switches::from(in_force),
            ceiling: Switches::from(ceiling),
            choice: org.choice.into(),
            managed: managed.map(str::to_owned).collect(),
            visible_urls: org.visible_urls.as_str().to_owned(),
            quotes: quotes(org.quotes).to_owned(),
            domains: org.domains,
            excluded_hosts: org.excluded_hosts,
            excluded_recipients: org.excluded_recipients.iter().map(|one| one.as_str().to_owned()).collect(),
            sensitive_off: org.sensitive_off,
            leave_links: org.leave_links.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            locked: org.locked.names().into_iter().map(str::to_owned).collect(),
            shadow: org.shadow,
            rules_off: org.rules_off,
            own_networks: org.own_networks.iter().map(ToString::to_string).collect(),
            place: org.keeping.place.to_string(),
            raw_evidence: org.keeping.raw_evidence,
            honour_gpc: org.keeping.honour_gpc,
            events_days: org.keeping.events_days,
            messages_days: org.keeping.messages_days,
            tracking_url: org.tracking_url,
            users,
        }
    }
}

impl From<Tracking> for Switches {
    fn from(tracking: Tracking) -> Switches {
        let Tracking { opens, links, text_links } = tracking;
        Switches { opens: Some(opens.to_string()), links: Some(links.to_string()), text_links: Some(text_links) }
    }
}

impl From<Choice> for Switches {
    fn from(choice: Choice) -> Switches {
        let Choice { opens, links, text_links } = choice;
        Switches { opens: opens.map(|mode| mode.to_string()), links: links.map(|mode| mode.to_string()), text_links }
    }
}

fn quotes(value: Quotes) -> &'static str {
    match value {
        Quotes::Unwrap => "unwrap",
        Quotes::Leave => "leave",
    }
}

/// `PATCH /api/v1/orgs/{name}`: what is not there stays as it is.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrgPatch {
    /// `off`, `aggregate`, `individual`, or `follow` the ceiling, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub opens: Option<String>,
    /// `off`, `aggregate`, `individual`, or `follow` the ceiling, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub links: Option<String>,
    /// `on`, `off`, or `follow` the ceiling, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub text_links: Option<String>,
    /// `track` or `leave`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub visible_urls: Option<String>,
    /// `unwrap` or `leave`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub quotes: Option<String>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub excluded_hosts: Option<Vec<String>>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub excluded_recipients: Option<Vec<String>>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub sensitive_off: Option<Vec<String>>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub leave_links: Option<Vec<String>>,
    /// The whole list: `opens`, `links`, `text_links`, `shadow`, `visible_urls`, `place`, `raw_evidence`,
    /// `excluded_recipients`, `excluded_hosts`, `leave_links`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub locked: Option<Vec<String>>,
    /// Mail leaves as it came.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub shadow: Option<bool>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub domains: Option<Vec<String>>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub rules_off: Option<Vec<String>>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub own_networks: Option<Vec<String>>,
    /// `city` or `country`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub place: Option<String>,
    /// Keep address and agent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub raw_evidence: Option<bool>,
    /// Take a browser's standing refusal for one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::given")]
    #[schema(nullable = false)]
    pub honour_gpc: Option<bool>,
    /// Days; 0 and null: as long as the server keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::nothing")]
    pub events_days: Option<u32>,
    /// Days; 0 and null: as long as the server keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::nothing")]
    pub messages_days: Option<u32>,
}

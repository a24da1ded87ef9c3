//! What an `[[org]]` says of its readers' events: rules, networks, and what is kept.

use ipnet::IpNet;

use super::file::Section;
use super::privacy::PrivacyConfig;
use super::problem::Wrong;
use super::values;
use crate::event::Rule;
use crate::settings::{Keeping, Managed, Org, PlaceDetail};

const PLACES: &[(&str, PlaceDetail)] = &[("city", PlaceDetail::City), ("country", PlaceDetail::Country)];

/// What the file sets; `None` is the dashboard's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrgEvents {
    /// Rules that are off.
    pub rules_off: Option<Vec<Rule>>,
    /// Networks of its own people.
    pub own_networks: Option<Vec<IpNet>>,
    /// How exactly a place is kept.
    pub place: Option<PlaceDetail>,
    /// Whether address and agent are kept.
    pub raw_evidence: Option<bool>,
    /// Whether a browser's standing refusal counts.
    pub honour_gpc: Option<bool>,
    /// Days that events are kept; at most the server's.
    pub events_days: Option<u32>,
    /// Days that messages are kept; at most the server's.
    pub messages_days: Option<u32>,
}

impl OrgEvents {
    /// Reads the keys; none may keep events or messages longer than the server does.
    pub(super) fn read(section: &Section<'_, '_>, server: &PrivacyConfig) -> OrgEvents {
        let days = |key, server_days: u32| {
            let days = section.number(key, 1..=u64::from(server_days), u64::from(server_days));
            days.and_then(|days| u32::try_from(days).ok())
        };
        OrgEvents {
            rules_off: section.list("rules_off", "\"instant\"", rule),
            own_networks: section.list("own_networks", "\"192.0.2.0/24\"", own_network),
            place: section.choice("place", PLACES),
            raw_evidence: section.flag("raw_evidence"),
            honour_gpc: section.flag("honour_gpc"),
            events_days: days("events_days", server.events_days),
            messages_days: days("messages_days", server.messages_days),
        }
    }

    /// Lays what is set over the organisation, and marks it as the file's.
    pub(super) fn lay_over(&self, org: &mut Org) {
        let OrgEvents { rules_off, own_networks, place, raw_evidence, honour_gpc, events_days, messages_days } = self;
        if let Some(rules) = rules_off {
            org.rules_off = rules.iter().map(|rule| rule.as_str().to_owned()).collect();
        }
        if let Some(networks) = own_networks {
            org.own_networks.clone_from(networks);
        }
        let own = org.keeping;
        org.keeping = Keeping {
            place: place.unwrap_or(own.place),
            raw_evidence: raw_evidence.unwrap_or(own.raw_evidence),
            honour_gpc: honour_gpc.unwrap_or(own.honour_gpc),
            events_days: events_days.or(own.events_days),
            messages_days: messages_days.or(own.messages_days),
        };
        org.managed = Managed {
            rules_off: rules_off.is_some(),
            own_networks: own_networks.is_some(),
            place: place.is_some(),
            raw_evidence: raw_evidence.is_some(),
            honour_gpc: honour_gpc.is_some(),
            events_days: events_days.is_some(),
            messages_days: messages_days.is_some(),
            ..org.managed
        };
    }
}

/// What an earlier file had set goes back to the default; what the dashboard had set stays.
pub(super) fn release(org: &mut Org) {
    let (managed, usual) = (org.managed, Keeping::default());
    if managed.rules_off {
        org.rules_off.clear();
    }
    if managed.own_networks {
        org.own_networks.clear();
    }
    let own = org.keeping;
    org.keeping = Keeping {
        place: if managed.place { usual.place } else { own.place },
        raw_evidence: if managed.raw_evidence { usual.raw_evidence } else { own.raw_evidence },
        honour_gpc: if managed.honour_gpc { usual.honour_gpc } else { own.honour_gpc },
        events_days: if managed.events_days { usual.events_days } else { own.events_days },
        messages_days: if managed.messages_days { usual.messages_days } else { own.messages_days },
    };
}

fn rule(text: &str) -> Result<Rule, Wrong> {
    let allowed = || Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    Rule::parse(text).ok_or_else(|| Wrong::Choice { given: text.to_owned(), allowed: allowed() })
}

/// With the whole internet in it nobody would ever be seen.
fn own_network(text: &str) -> Result<IpNet, Wrong> {
    let net = values::network(text)?;
    if net.prefix_len() == 0 { Err(Wrong::OwnsEverything(text.to_owned())) } else { Ok(net) }
}

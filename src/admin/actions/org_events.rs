//! How an organisation's events are judged and what is kept of them: what may be changed, and to what.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Refusal;
use crate::event::Rule;
use crate::settings::{EVENTS_DAYS_MAX, Managed, Org};

/// Most own networks of one org.
const NETWORKS_MAX: usize = 1000;

/// What to change, as it was typed; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsPatch {
    /// Names of the rules that are off.
    pub rules_off: Option<Vec<String>>,
    /// Networks of its own people.
    pub own_networks: Option<Vec<String>>,
    /// `city` or `country`.
    pub place: Option<String>,
    /// Keep address and agent with each event.
    pub raw_evidence: Option<bool>,
    /// Take a browser's standing refusal for one.
    pub honour_gpc: Option<bool>,
    /// Days that events are kept; 0: as long as the server keeps them.
    pub events_days: Option<u32>,
    /// Days that messages are kept; 0: as long as the server keeps them.
    pub messages_days: Option<u32>,
}

impl EventsPatch {
    /// Refused where it would change a value of config.toml.
    pub(super) fn not_managed(&self, managed: Managed) -> Result<(), Refusal> {
        let rows = [
            (managed.rules_off && self.rules_off.is_some(), "rules_off"),
            (managed.own_networks && self.own_networks.is_some(), "own_networks"),
            (managed.place && self.place.is_some(), "place"),
            (managed.raw_evidence && self.raw_evidence.is_some(), "raw_evidence"),
            (managed.honour_gpc && self.honour_gpc.is_some(), "honour_gpc"),
            (managed.events_days && self.events_days.is_some(), "events_days"),
            (managed.messages_days && self.messages_days.is_some(), "messages_days"),
        ];
        match rows.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, field)) => Err(Refusal::Managed { field }),
            None => Ok(()),
        }
    }

    /// Changes the organisation, or says which value is wrong.
    pub(super) fn apply(&self, org: &mut Org) -> Result<(), Refusal> {
        if let Some(names) = &self.rules_off {
            org.rules_off = rules_fit(names)?;
        }
        if let Some(typed) = &self.own_networks {
            org.own_networks = networks_fit(typed)?;
        }
        if let Some(text) = &self.place {
            let detail = format!("{text:?} is none of city, country");
            org.keeping.place = text.parse().map_err(|_| Refusal::invalid("place", detail))?;
        }
        if let Some(days) = self.events_days {
            org.keeping.events_days = days_fit("events_days", days)?;
        }
        if let Some(days) = self.messages_days {
            org.keeping.messages_days = days_fit("messages_days", days)?;
        }
        org.keeping.raw_evidence = self.raw_evidence.unwrap_or(org.keeping.raw_evidence);
        org.keeping.honour_gpc = self.honour_gpc.unwrap_or(org.keeping.honour_gpc);
        Ok(())
    }
}

/// None is as long as the server's.
fn days_fit(field: &'static str, days: u32) -> Result<Option<u32>, Refusal> {
    match days {
        0 => Ok(None),
        1..=EVENTS_DAYS_MAX => Ok(Some(days)),
        _ => Err(Refusal::invalid(field, format!("at most {EVENTS_DAYS_MAX} can be chosen"))),
    }
}

/// Each once, in the order of the rules.
fn rules_fit(names: &[String]) -> Result<Vec<String>, Refusal> {
    let names: Vec<&str> = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = names.iter().find(|name| Rule::parse(name).is_none()) {
        let all: Vec<&str> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
        return Err(Refusal::invalid("rules_off", format!("{unknown:?} is no rule; there are {}", all.join(", "))));
    }
    Ok(Rule::ALL.iter().map(|rule| rule.as_str()).filter(|rule| names.contains(rule)).map(str::to_owned).collect())
}

/// Each once, in the order typed.
fn networks_fit(typed: &[String]) -> Result<Vec<IpNet>, Refusal> {
    const FIELD: &str = "own_networks";
    let mut networks: Vec<IpNet> = Vec::new();
    for text in typed.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let one = text.parse::<IpAddr>().map(IpNet::from);
        let network = one.or_else(|_| text.parse::<IpNet>());
        let network = network.map_err(|_| {
            Refusal::invalid(FIELD, format!("{text} is no network; write 192.0.2.0/24, 192.0.2.7 or 2001:db8::/32"))
        })?;
        if network.prefix_len() == 0 {
            return Err(Refusal::invalid(FIELD, format!("{text} makes every reader one of your own people")));
        }
        if !networks.contains(&network.trunc()) {
            networks.push(network.trunc());
        }
    }
    if networks.len() > NETWORKS_MAX {
        return Err(Refusal::invalid(FIELD, "at most 1,000 are kept"));
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(typed: &[&str]) -> Vec<String> {
        typed.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn networks() {
        for (typed, expected) in [
            // Trimmed, each once, blanks dropped, bits behind the prefix cleared.
            (&["192.0.2.0/24", " 192.0.2.9/24 ", ""][..], Some("192.0.2.0/24")),
            (&["192.0.2.7", "2001:db8::/32"], Some("192.0.2.7/32 2001:db8::/32")),
            (&[], Some("")),
            // What is none, or everything.
            (&["192.0.2.0/33"], None),
            (&["office"], None),
            (&["::/0"], None),
            (&["0.0.0.0/0"], None),
        ] {
            let fitted = networks_fit(&words(typed)).ok();
            let shown = fitted.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            assert_eq!(shown.as_deref(), expected, "{typed:?}");
        }
    }

    #[test]
    fn rules() {
        assert_eq!(rules_fit(&words(&["repeat", "own", "own", " "])).unwrap(), ["own", "repeat"]);
        let error = rules_fit(&words(&["own", "instant!"])).unwrap_err().to_string();
        assert!(error.contains("\"instant!\" is no rule"), "{error}");
    }
}

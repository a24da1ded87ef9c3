//! One request for one copy, judged by every rule: the table, then what the copy's other events say.
//!
//! **Invariant:** pure. The same requests in the same order come to the same, however they are grouped.

use std::net::IpAddr;

use ipnet::IpNet;

use super::EventKind;
use super::agent::Signs;
use super::classify::{Accepted, Facts, classify};
use super::recent::{Hit, Outcome, Recent, Shape, Ticket};
use super::rule::RuleSet;
use super::source::Source;

/// One request for a pixel or a link.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Pixel or link.
    pub kind: EventKind,
    /// Which link; 0 for a pixel.
    pub link: u16,
    /// A header says that nobody has looked yet.
    pub ahead_of_need: bool,
    /// What the User-Agent says.
    pub agent: Signs,
    /// Who asks.
    pub address: IpAddr,
    /// What is known of that network.
    pub source: Source,
    /// Its keyed hash.
    pub network: [u8; 8],
}

/// What is known of the copy it is for. The default is nothing, as of a message whose record is lost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Copy<'a> {
    /// When upstream accepted it.
    pub accepted: Accepted,
    /// Keyed hash of the network the mail was submitted from.
    pub submission_network: Option<[u8; 8]>,
    /// The org's networks.
    pub own_networks: &'a [IpNet],
    /// Its links and readers.
    pub shape: Shape,
    /// The rules its org has on.
    pub rules: RuleSet,
    /// Mail stays in the built-in inbox.
    pub inbox_mode: bool,
}

/// Judges the request and keeps it among the copy's recent ones. `ticket` names its event, if it becomes one.
pub fn judge(recent: &mut Recent, ticket: Ticket, request: &Request, copy: &Copy<'_>) -> Outcome {
    let address = request.address.to_canonical();
    let facts = Facts {
        at_ms: request.at_ms,
        kind: request.kind,
        ahead_of_need: request.ahead_of_need,
        agent: request.agent,
        listed: request.source.machine.covers(request.kind),
        own: copy.submission_network == Some(request.network)
            || copy.own_networks.iter().any(|network| network.contains(&address)),
        accepted: copy.accepted,
        inbox_mode: copy.inbox_mode,
    };
    let rule = classify(&facts, copy.rules);
    let Request { at_ms, kind, link, network, .. } = *request;
    recent.judge(Hit { ticket, at_ms, kind, link, network, rule }, copy.shape, copy.rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Rule;
    use crate::event::agent::AgentList;

    /// The submission's network by its hash, the org's by address; nothing known is a person.
    #[test]
    fn whose_network_it_is() {
        let request = |address: &str, network| Request {
            at_ms: 0,
            kind: EventKind::Open,
            link: 0,
            ahead_of_need: false,
            agent: AgentList::shipped().signs(Some("Mozilla/5.0 (X11) Firefox/128.0")),
            address: address.parse().unwrap(),
            source: Source::default(),
            network: [network; 8],
        };
        let office = ["198.51.100.0/24".parse().unwrap()];
        let copy = Copy { submission_network: Some([1; 8]), own_networks: &office, ..Copy::default() };
        for (address, network, rule) in [
            ("192.0.2.1", 1, Some(Rule::Own)),
            ("192.0.2.1", 2, None),
            ("198.51.100.9", 2, Some(Rule::Own)),
            ("::ffff:198.51.100.9", 2, Some(Rule::Own)),
        ] {
            let outcome = judge(&mut Recent::default(), 1, &request(address, network), &copy);
            assert_eq!(outcome.rule, rule, "{address}");
        }
        assert_eq!(judge(&mut Recent::default(), 1, &request("192.0.2.1", 1), &Copy::default()).rule, None);
    }
}

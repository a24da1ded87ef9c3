//! What is known of the network a request comes from: whether machines are there, and whether people there are where it is.
//!
//! **Invariant:** the longest listed network that holds the address decides, for the verdict and for the place each by
//! itself; what is not listed says nothing.

use std::cmp::Reverse;
use std::net::IpAddr;

use ipnet::IpNet;

use super::list::{self, BadLine, Scope};

/// The list that is shipped.
const SHIPPED: &str = include_str!("networks.txt");

/// Why an event's place is perhaps not the reader's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// A relay or image proxy: people are behind it, somewhere else.
    Relay,
    /// A network of servers, or of a VPN.
    Hosting,
}

impl Via {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Via::Relay => "relay",
            Via::Hosting => "hosting",
        }
    }

    /// Reads [`Via::as_str`] back.
    pub fn parse(text: &str) -> Option<Via> {
        [Via::Relay, Via::Hosting].into_iter().find(|via| via.as_str() == text)
    }
}

/// What is known of a source. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Source {
    /// Machines send requests of these kinds from there.
    pub machine: Scope,
    /// People there are perhaps elsewhere.
    pub via: Option<Via>,
}

/// Networks and what is known of them.
#[derive(Debug, Clone, Default)]
pub struct NetworkList {
    machines: Ranges<Scope>,
    places: Ranges<Via>,
}

/// Values by network. Networks lie within each other or apart, so the addresses fall into stretches of one value each.
#[derive(Debug, Clone)]
struct Ranges<T> {
    /// First and last address of each network, as IPv6 sees them.
    networks: Vec<(u128, u128, T)>,
    /// Where a stretch begins, and its value; ordered.
    stretches: Vec<(u128, Option<T>)>,
}

impl NetworkList {
    /// The shipped list.
    pub fn shipped() -> NetworkList {
        let mut list = NetworkList::default();
        // A test reads every line of it.
        let bad = list.add(SHIPPED);
        debug_assert!(bad.is_empty(), "{bad:?}");
        list
    }

    /// Adds the lines of a text in the form of the shipped list; a later line about the same network counts. The lines
    /// that cannot be read are given back.
    pub fn add(&mut self, text: &str) -> Vec<BadLine> {
        let mut bad = Vec::new();
        for (number, line) in list::lines(text) {
            if self.add_line(line).is_none() {
                bad.push(BadLine { number, line: line.to_owned() });
            }
        }
        self.machines.lay_out();
        self.places.lay_out();
        bad
    }

    fn add_line(&mut self, line: &str) -> Option<()> {
        let (what, network) = line.split_once(char::is_whitespace)?;
        let network: IpNet = network.trim().parse().ok()?;
        let scope = Scope::parse(what).or_else(|| (what == "people").then(Scope::default));
        match (scope, Via::parse(what)) {
            (Some(scope), _) => self.machines.insert(network, scope),
            (_, Some(via)) => self.places.insert(network, via),
            (None, None) => return None,
        }
        Some(())
    }

    /// What is known of the address's network.
    pub fn source(&self, address: IpAddr) -> Source {
        let bits = bits(address);
        Source { machine: self.machines.find(bits).unwrap_or_default(), via: self.places.find(bits) }
    }
}

impl<T: Copy> Ranges<T> {
    fn insert(&mut self, network: IpNet, value: T) {
        let length = network.prefix_len() + if network.addr().is_ipv4() { 96 } else { 0 };
        let first = bits(network.addr()) & mask(length);
        self.networks.push((first, first | !mask(length), value));
    }

    /// Finds the stretches anew.
    fn lay_out(&mut self) {
        // The wider before the narrower in it; the same twice in the order of the lines, so that the later counts.
        self.networks.sort_by_key(|(first, last, _)| (*first, Reverse(*last)));
        let mut stretches: Vec<(u128, Option<T>)> = Vec::new();
        let mut around: Vec<(u128, T)> = Vec::new();
        for (first, last, value) in &self.networks {
            leave(&mut around, &mut stretches, |end| end < *first);
            begin(&mut stretches, *first, Some(*value));
            around.push((*last, *value));
        }
        leave(&mut around, &mut stretches, |_| true);
        self.stretches = stretches;
    }

    fn find(&self, bits: u128) -> Option<T> {
        let after = self.stretches.partition_point(|(first, _)| *first <= bits);
        self.stretches.get(after.checked_sub(1)?)?.1
    }
}

/// Ends the networks that end so early; behind each, what lies around it goes on.
fn leave<T: Copy>(around: &mut Vec<(u128, T)>, stretches: &mut Vec<(u128, Option<T>)>, ends: impl Fn(u128) -> bool) {
    while let Some((last, _)) = around.pop_if(|(last, _)| ends(*last)) {
        if let Some(behind) = last.checked_add(1) {
            begin(stretches, behind, around.last().map(|(_, value)| *value));
        }
    }
}

fn begin<T>(stretches: &mut Vec<(u128, Option<T>)>, at: u128, value: Option<T>) {
    match stretches.last_mut() {
        Some(last) if last.0 == at => last.1 = value,
        _ => stretches.push((at, value)),
    }
}

impl<T> Default for Ranges<T> {
    fn default() -> Ranges<T> {
        Ranges { networks: Vec::new(), stretches: Vec::new() }
    }
}

/// The address as IPv6 sees it: IPv4 is `::ffff:0:0/96`.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The first so many bits.
fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    #[test]
    fn every_line_of_the_shipped_list_can_be_read() {
        let mut list = NetworkList::default();
        assert_eq!(list.add(SHIPPED), []);
        assert!(list.machines.networks.len() > 30 && list.places.networks.len() > 50);
    }

    /// A network on the list has no bits set behind its prefix: that would be a slip of the pen.
    #[test]
    fn shipped_networks_are_written_exactly() {
        for (number, line) in list::lines(SHIPPED) {
            let network: IpNet = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            assert_eq!(network, network.trunc(), "line {number}");
        }
    }

    /// (address, opens, clicks, via)
    #[test]
    fn the_longest_network_decides() {
        let mut list = NetworkList::default();
        let text = "both 192.0.2.128/25\nboth 192.0.2.0/24\nopens 192.0.2.128/25 # nested\nhosting 192.0.0.0/16\nrelay 192.0.2.0/30\n\
                    clicks 2001:db8::/32\nboth 0.0.0.0/8\nrelay ::/0\n";
        assert_eq!(list.add(text), []);
        for (address, opens, clicks, via) in [
            ("192.0.2.9", true, true, Some(Via::Hosting)),
            ("::ffff:192.0.2.9", true, true, Some(Via::Hosting)),
            ("192.0.2.1", true, true, Some(Via::Relay)),
            ("192.0.2.127", true, true, Some(Via::Hosting)),
            ("192.0.2.128", true, false, Some(Via::Hosting)),
            ("192.0.2.255", true, false, Some(Via::Hosting)),
            ("192.1.0.0", false, false, Some(Via::Relay)),
            ("192.0.3.1", false, false, Some(Via::Hosting)),
            ("2001:db8:ffff::1", false, true, Some(Via::Relay)),
            ("0.1.2.3", true, true, Some(Via::Relay)),
            ("::1", false, false, Some(Via::Relay)),
        ] {
            let source = list.source(address.parse().unwrap());
            let found = (source.machine.covers(EventKind::Open), source.machine.covers(EventKind::Click), source.via);
            assert_eq!(found, (opens, clicks, via), "{address}");
        }
        assert_eq!(NetworkList::default().source("192.0.2.1".parse().unwrap()), Source::default());
    }

    #[test]
    fn lines_that_cannot_be_read_are_given_back() {
        let mut list = NetworkList::shipped();
        assert_eq!(list.add("people 104.47.0.0/17"), []);
        let source = list.source("104.47.5.1".parse().unwrap());
        assert!(!source.machine.covers(EventKind::Open), "an operator knows better");
        let bad = list.add("clicks 198.51.100.0/24\nclicks 198.51.100.0\nsome 192.0.2.0/24\nboth");
        assert_eq!(bad.iter().map(|bad| bad.number).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(list.source("198.51.100.7".parse().unwrap()).machine.covers(EventKind::Click));
    }
}

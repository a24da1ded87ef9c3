//! An event in words for people: the same on pages, in the command line and wherever else one reads of it.
//!
//! **Invariant:** nothing sounds surer than it is. A machine is "probably" one, a relay's place is said not to be the
//! reader's, and what was judged otherwise before says so.

use super::country::country_name;
use super::rule::Rule;
use super::source::Via;
use super::{Event, Verdict};

/// Why a rule says what it says, to stand behind a colon.
pub fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::Prefetch => "fetched before anybody looked",
        Rule::Own => "from the network it was sent from, or one of your own",
        Rule::GmailArrival => "Gmail looks at arriving mail",
        Rule::ApplePrivacy => "Apple Mail fetches every picture of every mail",
        Rule::ImageProxy => "through the mail provider's image proxy",
        Rule::NoAgent => "the program does not say what it is",
        Rule::Declared => "the program says that it is one",
        Rule::Network => "from a network of mail gateways",
        Rule::Instant => "too soon after delivery for a person",
        Rule::Burst => "several links at once",
        Rule::Repeat => "the same again within a minute",
        Rule::SaidSo => "the sender said so",
    }
}

/// Who it probably was and why: `probably a machine: several links at once (was: a person)`. Empty for a plain person and
/// for what nobody judged.
pub fn verdict(verdict: Verdict, by: Option<Rule>, former: Option<Verdict>) -> String {
    let said = match (verdict, by) {
        (Verdict::Person | Verdict::Unknown, _) => String::new(),
        (Verdict::Proxy, _) => "a person behind an image proxy: place and device unknown".to_owned(),
        (Verdict::Machine, Some(by)) => format!("probably a machine: {}", rule(by)),
        (Verdict::Machine, None) => "probably a machine".to_owned(),
        (Verdict::Own, Some(by)) => format!("one of your own: {}", rule(by)),
        (Verdict::Own, None) => "one of your own".to_owned(),
    };
    match former.filter(|former| *former != verdict) {
        Some(former) if said.is_empty() => format!("was: {}", alone(former)),
        Some(former) => format!("{said} (was: {})", alone(former)),
        None => said,
    }
}

/// A verdict by itself.
pub fn alone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Person => "a person",
        Verdict::Proxy => "a person behind an image proxy",
        Verdict::Machine => "probably a machine",
        Verdict::Own => "one of your own",
        Verdict::Unknown => "not judged",
    }
}

/// Where: `Turin, Italy`, with what speaks against it; `None` where no place is known.
pub fn place(country: Option<&str>, city: Option<&str>, via: Option<Via>) -> Option<String> {
    let place = match (city, country.map(country_name)) {
        (Some(city), Some(country)) => format!("{city}, {country}"),
        (Some(city), None) => city.to_owned(),
        (None, Some(country)) => country.to_owned(),
        (None, None) => return None,
    };
    Some(match via {
        None => place,
        Some(Via::Relay) => format!("{place} (unreliable: that is a relay's place)"),
        Some(Via::Hosting) => format!("{place} (unreliable: a data centre's or VPN's place)"),
    })
}

/// With what: `Thunderbird · Linux · PC`; `None` where nothing is known.
pub fn program(client: Option<&str>, os: Option<&str>, device: Option<&str>) -> Option<String> {
    let known: Vec<&str> = [client, os, device].into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join(" · "))
}

/// Program, place and verdict of an event, as far as there is something to say.
pub fn details(event: &Event) -> Vec<String> {
    let program = program(event.agent_family.as_deref(), event.os_family.as_deref(), event.device_family.as_deref());
    let place = place(event.country.as_deref(), event.city.as_deref(), event.via);
    let verdict = verdict(event.verdict, Rule::parse(&event.rule), event.former);
    [program, place, Some(verdict).filter(|said| !said.is_empty())].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_it_was() {
        for (given, by, former, said) in [
            // A person needs no words, unless it was something else before.
            (Verdict::Person, None, None, ""),
            (Verdict::Unknown, None, None, ""),
            (Verdict::Person, None, Some(Verdict::Machine), "was: probably a machine"),
            // The rule's reason stands behind the verdict, the former one behind both.
            (Verdict::Machine, Some(Rule::Declared), None, "probably a machine: the program says that it is one"),
            (
                Verdict::Machine,
                Some(Rule::Burst),
                Some(Verdict::Person),
                "probably a machine: several links at once (was: a person)",
            ),
            (Verdict::Machine, Some(Rule::Burst), Some(Verdict::Machine), "probably a machine: several links at once"),
            (
                Verdict::Own,
                Some(Rule::Own),
                None,
                "one of your own: from the network it was sent from, or one of your own",
            ),
            (Verdict::Proxy, Some(Rule::ImageProxy), None, "a person behind an image proxy: place and device unknown"),
            // A rule that this program does not know.
            (Verdict::Machine, None, None, "probably a machine"),
        ] {
            assert_eq!(verdict(given, by, former), said);
        }
    }

    #[test]
    fn where_and_with_what() {
        for (country, city, via, said) in [
            (Some("IT"), Some("Turin"), None, Some("Turin, Italy")),
            (Some("IT"), None, None, Some("Italy")),
            (None, Some("Turin"), None, Some("Turin")),
            (None, None, Some(Via::Relay), None),
            (Some("US"), None, Some(Via::Relay), Some("United States (unreliable: that is a relay's place)")),
            (Some("US"), None, Some(Via::Hosting), Some("United States (unreliable: a data centre's or VPN's place)")),
        ] {
            assert_eq!(place(country, city, via).as_deref(), said);
        }
        for (client, os, device, said) in [
            (Some("Firefox"), Some("Windows"), Some("PC"), Some("Firefox · Windows · PC")),
            (None, Some("iOS"), Some("iPhone"), Some("iOS · iPhone")),
            (None, None, None, None),
        ] {
            assert_eq!(program(client, os, device).as_deref(), said);
        }
    }
}

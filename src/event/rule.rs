//! The rules by name, the verdict each gives, and which of them are switched on.
//!
//! **Invariant:** a rule's name is for ever: it stands in stored events and in settings.

use super::Verdict;

/// A rule of the table (DESIGN 7), in its order. `not-get` is none of them: what is not asked for with GET is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The request says that nobody has looked yet.
    Prefetch,
    /// It comes from the network the mail was submitted from, or from one of the org's.
    Own,
    /// Gmail looks at a mail's images when it arrives.
    GmailArrival,
    /// Apple's Mail Privacy Protection fetches every image of every mail.
    ApplePrivacy,
    /// A mail provider's image proxy fetches for a person.
    ImageProxy,
    /// No User-Agent.
    NoAgent,
    /// The User-Agent names a tool, crawler, unfurler or mail gateway.
    Declared,
    /// The source is on the list of machines' networks.
    Network,
    /// Too soon after upstream accepted this copy.
    Instant,
    /// Many links of one copy at once.
    Burst,
    /// The same again within a minute.
    Repeat,
    /// The sender said so. Not of the table: nothing arrives that it matches, and it cannot be switched off.
    SaidSo,
}

impl Rule {
    /// Every rule of the table, in its order.
    pub const ALL: [Rule; 11] = [
        Rule::Prefetch,
        Rule::Own,
        Rule::GmailArrival,
        Rule::ApplePrivacy,
        Rule::ImageProxy,
        Rule::NoAgent,
        Rule::Declared,
        Rule::Network,
        Rule::Instant,
        Rule::Burst,
        Rule::Repeat,
    ];

    /// As stored, shown and written in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::Prefetch => "prefetch",
            Rule::Own => "own",
            Rule::GmailArrival => "gmail-arrival",
            Rule::ApplePrivacy => "apple-privacy",
            Rule::ImageProxy => "image-proxy",
            Rule::NoAgent => "no-agent",
            Rule::Declared => "declared",
            Rule::Network => "network",
            Rule::Instant => "instant",
            Rule::Burst => "burst",
            Rule::Repeat => "repeat",
            Rule::SaidSo => "said-so",
        }
    }

    /// Reads [`Rule::as_str`] back.
    pub fn parse(text: &str) -> Option<Rule> {
        Rule::ALL.into_iter().chain([Rule::SaidSo]).find(|rule| rule.as_str() == text)
    }

    /// What it says of an event it matches; `None` for `repeat`, which folds and judges nothing.
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            Rule::Own | Rule::SaidSo => Some(Verdict::Own),
            Rule::ImageProxy => Some(Verdict::Proxy),
            Rule::Repeat => None,
            Rule::Prefetch
            | Rule::GmailArrival
            | Rule::ApplePrivacy
            | Rule::NoAgent
            | Rule::Declared
            | Rule::Network
            | Rule::Instant
            | Rule::Burst => Some(Verdict::Machine),
        }
    }

    /// Whether it goes by what the request says of itself, not by where or when it comes from. A person may stand behind
    /// the same network a moment later.
    pub fn is_of_the_request(self) -> bool {
        match self {
            Rule::Prefetch | Rule::GmailArrival | Rule::ApplePrivacy | Rule::NoAgent | Rule::Declared => true,
            Rule::Own | Rule::ImageProxy | Rule::Network | Rule::Instant | Rule::Burst | Rule::Repeat => false,
            Rule::SaidSo => false,
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The rules that are switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleSet(u16);

impl RuleSet {
    /// All of them.
    pub const ALL: RuleSet = RuleSet(u16::MAX);

    /// All but those named. A name that no rule has switches nothing off: it may be a later version's.
    pub fn without<'a>(names: impl IntoIterator<Item = &'a str>) -> RuleSet {
        let off = names.into_iter().filter_map(Rule::parse).fold(0, |off, rule| off | rule.bit());
        RuleSet(!off)
    }

    /// Whether the rule is switched on.
    pub fn has(self, rule: Rule) -> bool {
        self.0 & rule.bit() != 0
    }
}

impl Default for RuleSet {
    fn default() -> RuleSet {
        RuleSet::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_and_a_switch_of_its_own() {
        for rule in Rule::ALL {
            assert_eq!(Rule::parse(rule.as_str()), Some(rule));
            let without = RuleSet::without([rule.as_str(), "nonsense"]);
            for other in Rule::ALL {
                assert_eq!(without.has(other), other != rule, "{other:?} without {rule:?}");
                assert!(RuleSet::default().has(other));
            }
        }
        assert_eq!(Rule::parse(""), None);
    }
}

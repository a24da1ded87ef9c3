//! Who probably did it: facts of one request and its copy in, verdict and rule out. The first rule that matches
//! decides; the order is the table's in DESIGN 7. What needs the copy's other events, burst and repeat, is in `recent.rs`.
//!
//! **Invariant:** pure. The same facts give the same verdict, today and when they are judged again.

use super::agent::Signs;
use super::rule::{Rule, RuleSet};
use super::{EventKind, Verdict};

/// An open this soon after upstream accepted the copy is a machine's: nobody reads so fast.
const INSTANT_OPEN_MS: i64 = 10_000;
/// A click this soon is a machine's: one has to read before one clicks.
const INSTANT_CLICK_MS: i64 = 20_000;
/// A copy that is not accepted yet is with a machine on its way, which may hold the dot as long as its answer is awaited (ten
/// minutes, RFC 5321 §4.5.3.2.6). Later than this the history has probably missed the answer, and the rule is silent.
const NOT_YET_MS: i64 = 660_000;

/// When upstream accepted the copy of an event's recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accepted {
    /// At this time, Unix milliseconds.
    At(i64),
    /// Not yet, as of this time.
    NotYet(i64),
    /// Nobody can tell.
    #[default]
    Unknown,
}

/// What is known of one request for a pixel or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Pixel or link.
    pub kind: EventKind,
    /// A header says that nobody has looked yet: [`is_ahead_of_need`].
    pub ahead_of_need: bool,
    /// What the User-Agent says.
    pub agent: Signs,
    /// The source is on the list of machines' networks, for this kind.
    pub listed: bool,
    /// The network is the submission's, or one of the org's.
    pub own: bool,
    /// When upstream accepted this copy.
    pub accepted: Accepted,
    /// Mail stays in the built-in inbox: who reads it is in the sender's network, and at once.
    pub inbox_mode: bool,
}

/// Whether a request is an event at all.
pub fn is_event(method: &str) -> bool {
    method == "GET"
}

/// Whether the value of `Sec-Purpose`, `Purpose`, `X-Purpose` or `X-Moz` says that nobody has looked yet:
/// `prefetch;prerender`, `preview`, …
pub fn is_ahead_of_need(purpose: &str) -> bool {
    purpose
        .split([';', ',', ' ', '\t', '='])
        .any(|word| ["prefetch", "preview", "prerender"].iter().any(|ahead| word.eq_ignore_ascii_case(ahead)))
}

/// The first rule that is switched on and matches; `None`: nothing speaks against a person.
pub fn classify(facts: &Facts, rules: RuleSet) -> Option<Rule> {
    const ORDER: [Rule; 9] = [
        Rule::Prefetch,
        Rule::Own,
        Rule::GmailArrival,
        Rule::ApplePrivacy,
        Rule::ImageProxy,
        Rule::NoAgent,
        Rule::Declared,
        Rule::Network,
        Rule::Instant,
    ];
    ORDER.into_iter().find(|rule| rules.has(*rule) && matches(*rule, facts))
}

/// The verdict of a rule, or of none.
pub fn verdict(rule: Option<Rule>) -> Verdict {
    rule.and_then(Rule::verdict).unwrap_or(Verdict::Person)
}

fn matches(rule: Rule, facts: &Facts) -> bool {
    match rule {
        Rule::Prefetch => facts.ahead_of_need,
        Rule::Own => facts.own && !facts.inbox_mode,
        Rule::GmailArrival => facts.agent.gmail_arrival,
        Rule::ApplePrivacy => facts.agent.apple_privacy && facts.kind == EventKind::Open,
        Rule::ImageProxy => facts.agent.image_proxy,
        Rule::NoAgent => facts.agent.none,
        Rule::Declared => facts.agent.names_machine(facts.kind),
        Rule::Network => facts.listed,
        Rule::Instant => !facts.inbox_mode && is_instant(facts),
        Rule::Burst | Rule::Repeat | Rule::SaidSo => false,
    }
}

fn is_instant(facts: &Facts) -> bool {
    let within = match facts.kind {
        EventKind::Open => INSTANT_OPEN_MS,
        EventKind::Click => INSTANT_CLICK_MS,
    };
    match facts.accepted {
        // Before the answer was on record counts too: the reader had it from upstream, not from a mailbox.
        Accepted::At(at_ms) => facts.at_ms.saturating_sub(at_ms) < within,
        Accepted::NotYet(at_ms) => facts.at_ms.saturating_sub(at_ms) < NOT_YET_MS,
        Accepted::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::agent::AgentList;

    const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

    /// An open by a browser, a day after delivery, from a network nobody knows.
    fn facts() -> Facts {
        Facts {
            at_ms: 86_400_000,
            kind: EventKind::Open,
            ahead_of_need: false,
            agent: signs(BROWSER),
            listed: false,
            own: false,
            accepted: Accepted::At(0),
            inbox_mode: false,
        }
    }

    fn click() -> Facts {
        Facts { kind: EventKind::Click, ..facts() }
    }

    fn signs(agent: &str) -> Signs {
        AgentList::shipped().signs(Some(agent))
    }

    #[test]
    fn each_rule_catches_what_it_must_and_no_more() {
        let outlook = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)";
        let gmail = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
        let with = |agent: &str| Facts { agent: signs(agent), ..facts() };
        let after = |facts: Facts, ms: i64| Facts { accepted: Accepted::At(facts.at_ms - ms), ..facts };
        let not_yet = |facts: Facts, ms: i64| Facts { accepted: Accepted::NotYet(facts.at_ms - ms), ..facts };
        for (facts, rule) in [
            // A person: a browser, a mail program, a bare WebKit agent.
            (facts(), None),
            (click(), None),
            (with(outlook), None),
            (Facts { accepted: Accepted::Unknown, ..facts() }, None),
            (Facts { ahead_of_need: true, ..facts() }, Some(Rule::Prefetch)),
            (Facts { own: true, ..click() }, Some(Rule::Own)),
            (Facts { own: true, inbox_mode: true, ..click() }, None),
            // Apple's agent is about opens: no one says so of a click.
            (with("Mozilla/5.0"), Some(Rule::ApplePrivacy)),
            (Facts { kind: EventKind::Click, ..with("Mozilla/5.0") }, None),
            (with(gmail), Some(Rule::ImageProxy)),
            (with(" "), Some(Rule::NoAgent)),
            (with("curl/8.5.0"), Some(Rule::Declared)),
            (Facts { listed: true, ..facts() }, Some(Rule::Network)),
            // To the millisecond, before the answer, and where time says nothing.
            (after(facts(), 9_999), Some(Rule::Instant)),
            (after(facts(), 10_000), None),
            (after(click(), 19_999), Some(Rule::Instant)),
            (after(click(), 20_000), None),
            (after(click(), -3_000), Some(Rule::Instant)),
            (Facts { inbox_mode: true, ..after(click(), 0) }, None),
            (not_yet(facts(), 659_999), Some(Rule::Instant)),
            (not_yet(facts(), 660_000), None),
        ] {
            assert_eq!(classify(&facts, RuleSet::ALL), rule, "{facts:?}");
        }
    }

    /// Everything at once: the order is the table's, seen by switching off one rule after the other.
    #[test]
    fn the_first_rule_switched_on_decides() {
        let gmail_arrival = "x Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0";
        let everything = Facts {
            ahead_of_need: true,
            agent: Signs {
                apple_privacy: true,
                image_proxy: true,
                none: true,
                machine: signs("curl").machine,
                ..signs(gmail_arrival)
            },
            listed: true,
            own: true,
            accepted: Accepted::At(86_400_000),
            ..facts()
        };
        let mut off = Vec::new();
        for expected in Rule::ALL.into_iter().filter(|rule| !matches!(rule, Rule::Burst | Rule::Repeat)) {
            assert_eq!(classify(&everything, RuleSet::without(off.iter().copied())), Some(expected));
            off.push(expected.as_str());
        }
        assert_eq!(classify(&everything, RuleSet::without(off.iter().copied())), None);
    }

    #[test]
    fn what_a_purpose_says() {
        for (purpose, ahead) in [
            ("prefetch", true),
            ("prefetch;prerender", true),
            ("Prefetch; anonymous-client-ip", true),
            ("preview", true),
            ("x, PRERENDER", true),
            ("", false),
            ("navigate", false),
            ("prefetched", false),
        ] {
            assert_eq!(is_ahead_of_need(purpose), ahead, "{purpose}");
        }
    }

    #[test]
    fn only_get_is_an_event() {
        for (method, is) in [("GET", true), ("HEAD", false), ("OPTIONS", false), ("POST", false), ("get", false)] {
            assert_eq!(is_event(method), is, "{method}");
        }
    }

    #[test]
    fn verdicts() {
        assert_eq!(verdict(None), Verdict::Person);
        assert_eq!(verdict(Some(Rule::Own)), Verdict::Own);
        assert_eq!(verdict(Some(Rule::ImageProxy)), Verdict::Proxy);
        assert_eq!(verdict(Some(Rule::Instant)), Verdict::Machine);
    }
}

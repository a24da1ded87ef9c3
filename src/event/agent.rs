//! What a User-Agent says of the program behind it, for the rules that go by it.
//!
//! **Invariant:** names are matched as whole words, never as parts of words: a phone called `CUBOT_X19` is no bot.
//! A bare WebKit agent says nothing.

use std::collections::HashMap;

use super::EventKind;
use super::list::{self, BadLine, Scope};

/// The list that is shipped.
const SHIPPED: &str = include_str!("agents.txt");

/// How the agent of Gmail's look at arriving mail ends.
const GMAIL_ARRIVAL: &str = "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0";
/// The whole agent of Apple's Mail Privacy Protection.
const APPLE_PRIVACY: &str = "Mozilla/5.0";
/// What the agents of providers' image proxies hold.
const IMAGE_PROXIES: [&str; 3] = ["GoogleImageProxy", "ggpht.com", "YahooMailProxy"];

/// What a User-Agent says. The default says nothing, as a browser's does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signs {
    /// There is none.
    pub none: bool,
    /// It is that of Gmail's look at arriving mail.
    pub gmail_arrival: bool,
    /// It is that of Apple's Mail Privacy Protection.
    pub apple_privacy: bool,
    /// It names an image proxy.
    pub image_proxy: bool,
    /// It names a machine, for these events.
    pub machine: Scope,
}

/// Names of machines.
#[derive(Debug, Clone)]
pub struct AgentList {
    /// By first word, in lower case; each with the words that must follow.
    names: HashMap<String, Vec<(Vec<String>, Scope)>>,
}

impl AgentList {
    /// A list without a name.
    pub fn none() -> AgentList {
        AgentList { names: HashMap::new() }
    }

    /// The shipped list.
    pub fn shipped() -> AgentList {
        let mut list = AgentList::none();
        // A test reads every line of it.
        let bad = list.add(SHIPPED);
        debug_assert!(bad.is_empty(), "{bad:?}");
        list
    }

    /// Adds the lines of a text in the form of the shipped list; the lines that cannot be read are given back.
    pub fn add(&mut self, text: &str) -> Vec<BadLine> {
        let mut bad = Vec::new();
        for (number, line) in list::lines(text) {
            let mut fields = line.split_whitespace();
            let scope = fields.next().and_then(Scope::parse);
            let mut name = fields.map(str::to_ascii_lowercase);
            match (scope, name.next()) {
                (Some(scope), Some(first)) => {
                    self.names.entry(first).or_default().push((name.collect(), scope));
                }
                _ => bad.push(BadLine { number, line: line.to_owned() }),
            }
        }
        bad
    }

    /// What the agent says; `None` and blank are the same.
    pub fn signs(&self, agent: Option<&str>) -> Signs {
        let agent = agent.unwrap_or_default().trim();
        if agent.is_empty() {
            return Signs { none: true, ..Signs::default() };
        }
        Signs {
            none: false,
            gmail_arrival: agent.ends_with(GMAIL_ARRIVAL),
            apple_privacy: agent == APPLE_PRIVACY,
            image_proxy: IMAGE_PROXIES.iter().any(|proxy| agent.contains(proxy)),
            machine: self.machine(agent),
        }
    }

    fn machine(&self, agent: &str) -> Scope {
        let lower = agent.to_ascii_lowercase();
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
        let words: Vec<&str> = lower.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
        let mut found = Scope::default();
        for (at, word) in words.iter().enumerate() {
            for (rest, scope) in self.names.get(*word).into_iter().flatten() {
                let following = words.iter().skip(at + 1);
                if following.take(rest.len()).eq(rest.iter()) {
                    found = found.and(*scope);
                }
            }
        }
        found
    }
}

impl Signs {
    /// Whether it names a machine, as far as events of this kind go.
    pub fn names_machine(self, kind: EventKind) -> bool {
        self.machine.covers(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_shipped_list_can_be_read() {
        let mut list = AgentList { names: HashMap::new() };
        assert_eq!(list.add(SHIPPED), []);
        assert!(list.names.len() > 100);
    }

    /// (agent, machine when it opens, machine when it clicks). First what must be caught, then what must not.
    #[test]
    fn machines_are_known_by_whole_words() {
        let list = AgentList::shipped();
        for (agent, opens, clicks) in [
            ("curl/8.5.0", true, true),
            ("Wget/1.21.4", true, true),
            ("python-requests/2.31.0", true, true),
            ("Go-http-client/2.0", true, true),
            ("Java/17.0.2", true, true),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", true, true),
            ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", true, true),
            ("Slack-ImgProxy (+https://api.slack.com/robots)", true, true),
            ("WhatsApp/2.23.20.0 A", true, true),
            ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", true, true),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/119.0.0.0 Safari/537.36",
                true,
                true,
            ),
            ("Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b", true, true),
            ("Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)", true, true),
            ("some thing (a bot, truly)", true, true),
            ("Microsoft Office Existence Discovery", false, true),
            ("okhttp/4.12.0", false, true),
            // Names that only contain a machine's; phones; mail programs; browsers.
            (
                "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
                false,
                false,
            ),
            (
                "Mozilla/5.0 (Linux; Android 11; CUBOT KING KONG 5) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36",
                false,
                false,
            ),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)", false, false),
            (
                "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Trident/7.0; Microsoft Outlook 16.0.5452; ms-office; MSOffice 16)",
                false,
                false,
            ),
            ("Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.16731; Pro)", false, false),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.3.1", false, false),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Mailspring/1.13 Chrome/110.0 Electron/23.0 Safari/537.36",
                false,
                false,
            ),
            ("Dalvik/2.1.0 (Linux; U; Android 13; SM-S908B Build/TP1A)", false, false),
            ("Mail/3774.300 CFNetwork/1490 Darwin/23.2.0", false, false),
            ("Robotics/1.0 botanical javascript phpstorm", false, false),
            ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", false, false),
            ("\u{fffd}\u{fffd}((", false, false),
        ] {
            let signs = list.signs(Some(agent));
            let found = (signs.names_machine(EventKind::Open), signs.names_machine(EventKind::Click));
            assert_eq!(found, (opens, clicks), "{agent}");
        }
    }

    #[test]
    fn the_other_signs() {
        let list = AgentList::shipped();
        let none = Signs { none: true, ..Signs::default() };
        let gmail_arrival = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                             Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0";
        let gmail = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
        for (agent, signs) in [
            (None, none),
            (Some(""), none),
            (Some("  "), none),
            (Some(gmail_arrival), Signs { gmail_arrival: true, ..Signs::default() }),
            (gmail_arrival.strip_suffix(" Mozilla/5.0"), Signs::default()),
            (Some("Mozilla/5.0"), Signs { apple_privacy: true, ..Signs::default() }),
            (Some("Mozilla/5.0 "), Signs { apple_privacy: true, ..Signs::default() }),
            (Some("Mozilla/5.0 (iPhone)"), Signs::default()),
            (Some(gmail), Signs { image_proxy: true, ..Signs::default() }),
            (Some("YahooMailProxy; https://help.yahoo.com/"), Signs { image_proxy: true, ..Signs::default() }),
        ] {
            assert_eq!(list.signs(agent), signs, "{agent:?}");
        }
    }

    /// An operator's lines count beside the shipped ones; what cannot be read is said with its line.
    #[test]
    fn an_operator_adds_lines() {
        let mut list = AgentList::shipped();
        let bad = list.add("# ours\nclicks Acme Link Checker\n\nsometimes x\nboth\n");
        let said: Vec<_> = bad.iter().map(|bad| (bad.number, bad.line.as_str())).collect();
        assert_eq!(said, [(4, "sometimes x"), (5, "both")]);
        let of = |agent: &str| list.signs(Some(agent)).machine;
        assert!(
            of("acme link checker/2").covers(EventKind::Click) && !of("acme link checker/2").covers(EventKind::Open)
        );
        assert_eq!(of("acme link"), Scope::default());
        assert!(of("curl/1").covers(EventKind::Open));
    }
}

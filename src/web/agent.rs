//! Which program and which kind of device a user agent names, as families: no version, no model.
//!
//! The patterns are uap-core's (`agents.json`, see NOTICE.md), without its device models: "iPhone" and "Android phone"
//! are enough to tell a sender where a mail was read, and a model would tell the reader apart from others. They are
//! compiled when the first event needs them (some 60 ms, 11 MB).

use std::collections::HashMap;

use ua_parser::{Regexes, os, user_agent};

use crate::event::agent::{AgentList, Signs};

const PATTERNS: &str = include_str!("agents.json");
/// Distinct user agents remembered; a full table is emptied, for it refills in a moment.
const REMEMBERED_MAX: usize = 4096;

/// What a user agent names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Agent {
    /// `Thunderbird`, `Outlook`, `GmailImageProxy`, …
    pub(super) client: Option<String>,
    /// `Windows`, `iOS`, …
    pub(super) os: Option<String>,
    /// `PC`, `Mac`, `iPhone`, …
    pub(super) device: Option<String>,
    /// What it says to the rules.
    pub(super) signs: Signs,
}

/// Knows user agents. Owned by one thread.
pub(super) struct Agents {
    machines: AgentList,
    extractors: Option<Extractors>,
    failed: bool,
    remembered: HashMap<Box<str>, Agent>,
}

struct Extractors {
    client: user_agent::Extractor<'static>,
    os: os::Extractor<'static>,
}

impl Agents {
    /// Knows these machines.
    pub(super) fn new(machines: AgentList) -> Agents {
        Agents { machines, extractors: None, failed: false, remembered: HashMap::new() }
    }

    /// The families a user agent names, nothing for none or for one that nobody knows; and what it says to the rules.
    pub(super) fn identify(&mut self, text: Option<&str>) -> Agent {
        let Some(text) = text else { return Agent { signs: self.machines.signs(None), ..Agent::default() } };
        if let Some(known) = self.remembered.get(text) {
            return known.clone();
        }
        let mut agent = self.extractors().map(|extractors| extractors.read(text)).unwrap_or_default();
        agent.signs = self.machines.signs(Some(text));
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(text.into(), agent.clone());
        agent
    }

    fn extractors(&mut self) -> Option<&Extractors> {
        if self.extractors.is_none() && !self.failed {
            match Extractors::compile() {
                Ok(compiled) => self.extractors = Some(compiled),
                Err(error) => {
                    tracing::error!(error, "the user agent patterns cannot be read: clients stay unknown");
                    self.failed = true;
                }
            }
        }
        self.extractors.as_ref()
    }
}

impl Extractors {
    fn compile() -> Result<Extractors, String> {
        let patterns: Regexes<'static> = serde_json::from_str(PATTERNS).map_err(|e| e.to_string())?;
        let mut client = user_agent::Builder::new();
        for pattern in patterns.user_agent_parsers {
            client = client.push(pattern).map_err(|e| e.to_string())?;
        }
        let mut os = os::Builder::new();
        for pattern in patterns.os_parsers {
            os = os.push(pattern).map_err(|e| e.to_string())?;
        }
        Ok(Extractors {
            client: client.build().map_err(|e| e.to_string())?,
            os: os.build().map_err(|e| e.to_string())?,
        })
    }

    fn read(&self, text: &str) -> Agent {
        let known = |family: &str| (family != "Other").then(|| family.to_owned());
        let client = self.client.extract(text).and_then(|found| known(&found.family));
        if client.as_deref().is_some_and(|client| client.ends_with("ImageProxy") || client.ends_with("MailProxy")) {
            // What else it says is about the proxy, not about the reader.
            return Agent { client, ..Agent::default() };
        }
        let os = self.os.extract(text).and_then(|found| known(&found.os));
        let device = os.as_deref().and_then(|os| device(os, text)).map(str::to_owned);
        Agent { client, os, device, signs: Signs::default() }
    }
}

/// The kind of device an operating system runs on.
fn device(os: &str, text: &str) -> Option<&'static str> {
    match os {
        "iOS" if text.contains("iPad") => Some("iPad"),
        "iOS" => Some("iPhone"),
        "Android" if text.contains("Mobile") => Some("Android phone"),
        "Android" => Some("Android tablet"),
        "Mac OS X" => Some("Mac"),
        "Windows" | "Linux" | "Ubuntu" | "Debian" | "Fedora" | "FreeBSD" => Some("PC"),
        "Chrome OS" => Some("Chromebook"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mail clients and browsers by what they really send; then image proxies, which hide the reader; then nobody.
    #[test]
    fn families_of_real_user_agents() {
        let mut agents = Agents::new(AgentList::shipped());
        for (text, client, os, device) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.3.1",
                Some("Thunderbird"),
                Some("Windows"),
                Some("PC"),
            ),
            (
                "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; Microsoft Outlook 16.0.5452; ms-office; MSOffice 16)",
                Some("Outlook"),
                Some("Windows"),
                Some("PC"),
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
                Some("Apple Mail"),
                Some("Mac OS X"),
                Some("Mac"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
                Some("Mobile Safari UI/WKWebView"),
                Some("iOS"),
                Some("iPhone"),
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
                Some("Chrome Mobile"),
                Some("Android"),
                Some("Android phone"),
            ),
            (
                "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
                Some("Firefox"),
                Some("Ubuntu"),
                Some("PC"),
            ),
            (
                "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
                Some("GmailImageProxy"),
                None,
                None,
            ),
            (
                "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
                Some("YahooMailProxy"),
                None,
                None,
            ),
            ("Mozilla/5.0", None, None, None),
            ("", None, None, None),
            ("\u{7f}((((", None, None, None),
        ] {
            let expected = Agent {
                client: client.map(str::to_owned),
                os: os.map(str::to_owned),
                device: device.map(str::to_owned),
                signs: AgentList::shipped().signs(Some(text)),
            };
            assert_eq!(agents.identify(Some(text)), expected, "{text}");
            assert_eq!(agents.identify(Some(text)), expected, "{text}, remembered");
        }
        assert!(agents.identify(None).signs.none);
    }

    #[test]
    fn the_table_of_the_remembered_is_bounded() {
        let mut agents = Agents { failed: true, ..Agents::new(AgentList::shipped()) };
        for number in 0..=REMEMBERED_MAX {
            agents.identify(Some(&number.to_string()));
        }
        assert!(agents.remembered.len() <= REMEMBERED_MAX);
    }
}

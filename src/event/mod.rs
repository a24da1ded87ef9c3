//! What happened to a mail (an open, a click) and who probably did it.

pub mod agent;
pub mod classify;
pub mod country;
pub mod judge;
mod list;
pub mod network;
pub mod reading;
pub mod recent;
pub mod rule;
pub mod source;
pub mod words;

pub use list::{BadLine, Scope};
pub use rule::{Rule, RuleSet};
pub use source::Via;

use std::net::IpAddr;

use crate::token::TokenId;

/// Open or click.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The pixel was fetched.
    Open,
    /// A link was followed.
    Click,
}

impl EventKind {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Open => "open",
            EventKind::Click => "click",
        }
    }

    /// Reads [`EventKind::as_str`] back.
    pub fn parse(text: &str) -> Option<EventKind> {
        [EventKind::Open, EventKind::Click].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Who probably did it (DESIGN 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A person.
    Person,
    /// A person behind an image proxy: place and device unknown.
    Proxy,
    /// A scanner, prefetcher or bot.
    Machine,
    /// The sender's own network.
    Own,
    /// Not judged.
    Unknown,
}

impl Verdict {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Person => "person",
            Verdict::Proxy => "proxy",
            Verdict::Machine => "machine",
            Verdict::Own => "self",
            Verdict::Unknown => "unknown",
        }
    }

    /// Reads [`Verdict::as_str`] back.
    pub fn parse(text: &str) -> Option<Verdict> {
        [Verdict::Person, Verdict::Proxy, Verdict::Machine, Verdict::Own, Verdict::Unknown]
            .into_iter()
            .find(|verdict| verdict.as_str() == text)
    }

    /// Whether it belongs in the headline figures: a machine's and the sender's own do not.
    pub fn counts(self) -> bool {
        match self {
            Verdict::Person | Verdict::Proxy | Verdict::Unknown => true,
            Verdict::Machine | Verdict::Own => false,
        }
    }
}

/// What an event was judged by, raw. Kept only where an organisation has chosen so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Who asked.
    pub address: IpAddr,
    /// The whole User-Agent, as far as it was looked at.
    pub agent: Option<String>,
}

const DAY_MS: i64 = 86_400_000;

impl Event {
    /// Whether only the day of it is kept: it was sent under `aggregate`, or its message is not known.
    pub fn is_by_day(&self) -> bool {
        self.network_hash.is_none() && self.at_ms.rem_euclid(DAY_MS) == 0
    }
}

/// One event as recorded: by default no address, no raw agent (DESIGN, promise 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Message, recipient and link.
    pub id: TokenId,
    /// Open or click.
    pub kind: EventKind,
    /// Who probably did it.
    pub verdict: Verdict,
    /// The rule that gave the verdict; empty when none did.
    pub rule: String,
    /// The verdict before a burst showed it wrong.
    pub former: Option<Verdict>,
    /// How often the same came again within a minute.
    pub repeats: u32,
    /// ISO 3166 alpha-2, when a database is configured and knows.
    pub country: Option<String>,
    /// The city in English, when a database is configured and knows.
    pub city: Option<String>,
    /// Why the place is perhaps not the reader's.
    pub via: Option<Via>,
    /// Client, e.g. `Thunderbird`; `None` when unknown.
    pub agent_family: Option<String>,
    /// Operating system family.
    pub os_family: Option<String>,
    /// Device family.
    pub device_family: Option<String>,
    /// Keyed hash of the client's /24 or /48, comparable only within its message.
    pub network_hash: Option<[u8; 8]>,
    /// What it was judged by, where the organisation keeps that.
    pub evidence: Option<Evidence>,
}

//! The live switches an administrator turns, as validated types.
//!
//! **Invariant:** a setting may only be narrowed on its way down (DESIGN, promise 10): ceiling → org → user → header → recipient.

pub mod access;
pub mod cascade;
mod exclusions;
mod keeping;
pub mod notices;
mod own;
pub mod prepared;
pub mod privacy;

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

pub use cascade::{Level, Levels, Locked, Switch};
pub use exclusions::{
    BadLinkPattern, BadRecipientPattern, LINK_PATTERNS_MAX, LinkPattern, PATTERN_BYTES_MAX, RECIPIENTS_MAX,
    RecipientPattern,
};
pub use keeping::{EVENTS_DAYS_MAX, Keeping, NotAPlaceDetail, PlaceDetail};
pub use own::{OWN_LIST_MAX, OwnRules, Rules};
use privacy::OrgPrivacy;

/// How much is recorded of one kind of event. Ordered: `Off < Aggregate < Individual`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// Nothing is inserted, nothing recorded.
    #[default]
    Off,
    /// One token for all recipients of a plan; counts per day.
    Aggregate,
    /// One token per recipient.
    Individual,
}

impl Mode {
    /// As written in config, headers and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::Aggregate => "aggregate",
            Mode::Individual => "individual",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names none of the three modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMode;

impl FromStr for Mode {
    type Err = NotAMode;
    fn from_str(s: &str) -> Result<Mode, NotAMode> {
        match s {
            "off" => Ok(Mode::Off),
            "aggregate" => Ok(Mode::Aggregate),
            "individual" => Ok(Mode::Individual),
            _ => Err(NotAMode),
        }
    }
}

/// A complete set of tracking switches: the ceiling, or what is in force for one mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracking {
    /// The pixel.
    pub opens: Mode,
    /// Links in HTML.
    pub links: Mode,
    /// Links in `text/plain` too (needs `links` above off).
    pub text_links: bool,
}

/// A partial set: what one level of the cascade has chosen. `None` follows the level above, live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Choice {
    /// The pixel.
    pub opens: Option<Mode>,
    /// Links in HTML.
    pub links: Option<Mode>,
    /// Links in `text/plain`.
    pub text_links: Option<bool>,
}

impl Tracking {
    /// These switches under a lower level's choice; a choice above them changes nothing.
    #[must_use]
    pub fn narrowed_by(self, choice: Choice) -> Tracking {
        Tracking {
            opens: choice.opens.map_or(self.opens, |mode| mode.min(self.opens)),
            links: choice.links.map_or(self.links, |mode| mode.min(self.links)),
            text_links: choice.text_links.map_or(self.text_links, |on| on && self.text_links),
        }
    }
}

/// The short name of an organisation: 1..=63 of `a-z 0-9 -`, as in `[[org]] name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrgName(String);

/// The text is not 1..=63 of `a-z`, `0-9`, `-`, starting and ending with a letter or digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadOrgName;

impl OrgName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrgName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for OrgName {
    type Err = BadOrgName;
    fn from_str(s: &str) -> Result<OrgName, BadOrgName> {
        let ok = (1..=63).contains(&s.len())
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !s.starts_with('-')
            && !s.ends_with('-');
        if ok { Ok(OrgName(s.to_owned())) } else { Err(BadOrgName) }
    }
}

/// What a logged-in person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// All organisations.
    ServerAdmin,
    /// One organisation: switches, users, counts.
    OrgAdmin,
    /// Own mail only.
    Sender,
}

impl Role {
    /// As written in the store, the CLI and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::ServerAdmin => "server-admin",
            Role::OrgAdmin => "org-admin",
            Role::Sender => "sender",
        }
    }
}

/// An organisation as the store holds it, overlaid by `[[org]]` of the config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Org {
    /// Its key.
    pub name: OrgName,
    /// Lower-case A-label domains its users may send as.
    pub domains: Vec<String>,
    /// What the org has chosen below the ceiling.
    pub choice: Choice,
    /// Which of its values `config.toml` sets and the dashboard therefore shows read-only.
    pub managed: Managed,
    /// Its own tracking host (`https://t.example.com`, no trailing slash); `None` uses `[web] public_url`.
    pub tracking_url: Option<String>,
    /// Former tracking hosts, whose links must go on working.
    pub former_urls: Vec<String>,
    /// How links whose visible text is itself another host's URL are treated.
    pub visible_urls: VisibleUrls,
    /// How our own old tracking in quoted replies is treated.
    pub quotes: Quotes,
    /// Link hosts never tracked: lower-case, `example.com` also covers its subdomains.
    pub excluded_hosts: Vec<String>,
    /// Names of the event rules it has switched off (DESIGN 7), e.g. `instant`.
    pub rules_off: Vec<String>,
    /// Networks whose events are its own people's, besides the one a mail was submitted from.
    pub own_networks: Vec<IpNet>,
    /// Consent, footer and preference page.
    pub privacy: OrgPrivacy,
    /// What it keeps of its readers' events.
    pub keeping: Keeping,
    /// Which switches its users may not turn for themselves.
    pub locked: Locked,
    /// Its mail leaves as it came, and the record says what would have been tracked.
    pub shadow: bool,
    /// Recipients never tracked.
    pub excluded_recipients: Vec<RecipientPattern>,
    /// Names of the rules about sensitive links it has switched off, e.g. `calendar-reply`.
    pub sensitive_off: Vec<String>,
    /// Links of its own that are never tracked.
    pub leave_links: Vec<LinkPattern>,
}

impl Org {
    /// An organisation that nobody has touched: it follows the ceiling, and every other value is at its default.
    pub fn named(name: OrgName) -> Org {
        Org {
            name,
            domains: Vec::new(),
            choice: Choice::default(),
            managed: Managed::default(),
            tracking_url: None,
            former_urls: Vec::new(),
            visible_urls: VisibleUrls::default(),
            quotes: Quotes::default(),
            excluded_hosts: Vec::new(),
            rules_off: Vec::new(),
            own_networks: Vec::new(),
            privacy: OrgPrivacy::default(),
            keeping: Keeping::default(),
            locked: Locked::default(),
            shadow: false,
            excluded_recipients: Vec::new(),
            sensitive_off: Vec::new(),
            leave_links: Vec::new(),
        }
    }
}

/// `visible_urls` (DESIGN 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VisibleUrls {
    /// Tracked like any link.
    #[default]
    Track,
    /// Left as they are.
    Leave,
}

impl VisibleUrls {
    /// As written in forms and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            VisibleUrls::Track => "track",
            VisibleUrls::Leave => "leave",
        }
    }
}

/// `quotes` (DESIGN 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quotes {
    /// Own old pixels removed, own old links unwrapped before tracking anew.
    #[default]
    Unwrap,
    /// Left as they are.
    Leave,
}

/// Which values of an org come from `config.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Managed {
    /// The org is named in the file at all (its name and domains then are).
    pub org: bool,
    /// `opens`
    pub opens: bool,
    /// `links`
    pub links: bool,
    /// `text_links`
    pub text_links: bool,
    /// `rules_off`
    pub rules_off: bool,
    /// `own_networks`
    pub own_networks: bool,
    /// `place`
    pub place: bool,
    /// `raw_evidence`
    pub raw_evidence: bool,
    /// `honour_gpc`
    pub honour_gpc: bool,
    /// `events_days`
    pub events_days: bool,
    /// `messages_days`
    pub messages_days: bool,
    /// `excluded_hosts`
    pub excluded_hosts: bool,
    /// `excluded_recipients`
    pub excluded_recipients: bool,
    /// `sensitive_off`
    pub sensitive_off: bool,
    /// `leave_links`
    pub leave_links: bool,
    /// `locked`
    pub locked: bool,
    /// `shadow`
    pub shadow: bool,
    /// Its mail leaves through an upstream of its own, `[org.upstream]`. Stays when the file no longer names the organisation, so
    /// that its mail does not leave through another's.
    pub upstream: bool,
}

impl Managed {
    /// The names of the values that are managed, as stored.
    pub fn names(mut self) -> Vec<&'static str> {
        self.rows().into_iter().filter(|(_, managed)| **managed).map(|(name, _)| name).collect()
    }

    /// Marks a value as managed, by its name; `false` when there is no such value.
    pub fn mark(&mut self, name: &str) -> bool {
        match self.rows().into_iter().find(|(known, _)| *known == name) {
            Some((_, managed)) => {
                *managed = true;
                true
            }
            None => false,
        }
    }

    fn rows(&mut self) -> [(&'static str, &mut bool); 18] {
        [
            ("org", &mut self.org),
            ("opens", &mut self.opens),
            ("links", &mut self.links),
            ("text_links", &mut self.text_links),
            ("rules_off", &mut self.rules_off),
            ("own_networks", &mut self.own_networks),
            ("place", &mut self.place),
            ("raw_evidence", &mut self.raw_evidence),
            ("honour_gpc", &mut self.honour_gpc),
            ("events_days", &mut self.events_days),
            ("messages_days", &mut self.messages_days),
            ("excluded_hosts", &mut self.excluded_hosts),
            ("excluded_recipients", &mut self.excluded_recipients),
            ("sensitive_off", &mut self.sensitive_off),
            ("leave_links", &mut self.leave_links),
            ("locked", &mut self.locked),
            ("shadow", &mut self.shadow),
            ("upstream", &mut self.upstream),
        ]
    }
}

/// A person or program with a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What is typed at AUTH and in the dashboard; 1..=254 bytes, no control characters.
    pub login: String,
    /// Where it belongs; `None` only for a server admin.
    pub org: Option<OrgName>,
    /// What it may do.
    pub role: Role,
    /// argon2id, PHC string format.
    pub password_hash: String,
    /// Addresses it may send as besides the org's domains, lower-case domains.
    pub addresses: Vec<String>,
    /// Its own choice below the org's.
    pub choice: Choice,
    /// Its own mail in shadow mode, whatever the org's.
    pub shadow: bool,
    /// What else it asks for below the org's, for its own mail.
    pub own: OwnRules,
    /// Its password was made up for one login: it leads to a page that sets another, and to nothing else.
    pub one_time: bool,
}

impl User {
    /// A user as it begins: no addresses and no choice of its own.
    pub fn new(login: String, org: Option<OrgName>, role: Role, password_hash: String) -> User {
        User {
            login,
            org,
            role,
            password_hash,
            addresses: Vec::new(),
            choice: Choice::default(),
            shadow: false,
            own: OwnRules::default(),
            one_time: false,
        }
    }

    /// The same with another password, which its owner or an admin has chosen.
    #[must_use]
    pub fn with_password(self, password_hash: String) -> User {
        User { password_hash, one_time: false, ..self }
    }
}

/// On whose behalf a mail is submitted: decided by the login, or by the network a trusted listener names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitter {
    /// The organisation whose settings apply.
    pub org: OrgName,
    /// The login; `None` for a trusted network.
    pub login: Option<String>,
}

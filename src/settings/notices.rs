//! Who is told of what: a person's wish, what their organisation allows, and the addresses of other programs.
//!
//! **Invariant:** an organisation's word only narrows a person's (DESIGN, promise 10).

use std::fmt;
use std::str::FromStr;

use super::OrgName;

/// Which events are worth telling. Ordered: `None < First < Every`. Machines and the sender's own never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// Nothing.
    None,
    /// A person's first open of each recipient, and each click.
    #[default]
    First,
    /// Every open and every click of a person.
    Every,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Level; 3] = [Level::None, Level::First, Level::Every];

    /// As stored and written in forms.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::First => "first",
            Level::Every => "every",
        }
    }

    /// Reads [`Level::as_str`] back.
    pub fn parse(text: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.as_str() == text)
    }

    /// Whether an event of a person is told: `first` says that it is the first open of its copy; a click is always told.
    pub fn tells(self, is_click: bool, first: bool) -> bool {
        match self {
            Level::None => false,
            Level::First => is_click || first,
            Level::Every => true,
        }
    }
}

/// What a person wants to be told by mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoticeChoice {
    /// Which events.
    pub level: Level,
    /// By mail. Off until the person asks for it: nobody subscribes to mail by being given a login.
    pub mail: bool,
}

/// What an organisation allows its people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticeCeiling {
    /// At most this.
    pub level: Level,
    /// Mail may be sent at all.
    pub mail: bool,
}

impl Default for NoticeCeiling {
    fn default() -> NoticeCeiling {
        NoticeCeiling { level: Level::Every, mail: true }
    }
}

impl NoticeChoice {
    /// The choice under what the organisation allows.
    #[must_use]
    pub fn narrowed_by(self, ceiling: NoticeCeiling) -> NoticeChoice {
        NoticeChoice { level: self.level.min(ceiling.level), mail: self.mail && ceiling.mail }
    }
}

/// The random name of a webhook endpoint, shown as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookId(pub u64);

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadWebhookId;

impl FromStr for WebhookId {
    type Err = BadWebhookId;
    fn from_str(s: &str) -> Result<WebhookId, BadWebhookId> {
        if s.len() != 16 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadWebhookId);
        }
        u64::from_str_radix(s, 16).map(WebhookId).map_err(|_| BadWebhookId)
    }
}

/// What a program may be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A person opened a mail.
    Opened,
    /// A person followed a link.
    Clicked,
    /// A recipient was refused for good.
    Bounced,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Topic; 3] = [Topic::Opened, Topic::Clicked, Topic::Bounced];

    /// The `type` of its events. Never changed: receivers compare it.
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Opened => "message.opened",
            Topic::Clicked => "message.clicked",
            Topic::Bounced => "message.bounced",
        }
    }

    /// Reads [`Topic::as_str`] back.
    pub fn parse(text: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.as_str() == text)
    }
}

/// Another program that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its name.
    pub id: WebhookId,
    /// Whose mail it is about.
    pub org: OrgName,
    /// Only this sender's mail; `None`: everybody's of the organisation.
    pub login: Option<String>,
    /// Where it is, http or https.
    pub url: String,
    /// What it is told of.
    pub topics: Vec<Topic>,
    /// Which opens.
    pub level: Level,
    /// Recipients, subjects and destinations are told too. They are personal data: an organisation's admin sees only counts
    /// of other people's mail, and so does what they set up.
    pub words: bool,
    /// Nothing is sent for now, and nothing new is kept for it.
    pub paused: bool,
    /// The signing secret, sealed (`token::vault`).
    pub sealed_secret: Vec<u8>,
    /// Unix milliseconds.
    pub created_at_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organisation_only_narrows() {
        for level in Level::ALL {
            assert_eq!(Level::parse(level.as_str()), Some(level));
            for most in Level::ALL {
                for (mail, allowed) in [(true, true), (true, false), (false, true)] {
                    let choice = NoticeChoice { level, mail }.narrowed_by(NoticeCeiling { level: most, mail: allowed });
                    assert!(choice.level <= level && choice.level <= most);
                    assert_eq!(choice.mail, mail && allowed);
                }
            }
        }
        assert_eq!(NoticeChoice::default().narrowed_by(NoticeCeiling::default()), NoticeChoice::default());
    }

    #[test]
    fn what_a_level_tells() {
        // (is a click, is the first open): none, first, every
        for (is_click, first, expected) in [
            (false, true, [false, true, true]),
            (false, false, [false, false, true]),
            (true, false, [false, true, true]),
        ] {
            assert_eq!(Level::ALL.map(|level| level.tells(is_click, first)), expected);
        }
    }

    #[test]
    fn names_are_read_back() {
        assert_eq!("00000000000000ff".parse(), Ok(WebhookId(255)));
        assert_eq!(WebhookId(255).to_string(), "00000000000000ff");
        assert_eq!("+0000000000000ff".parse::<WebhookId>(), Err(BadWebhookId));
        assert!(Topic::ALL.into_iter().all(|topic| Topic::parse(topic.as_str()) == Some(topic)));
    }
}

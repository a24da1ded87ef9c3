//! What an organisation decides about consent, the footer and its preference page, and how one recipient stands.
//!
//! **Invariants:** an organisation may ask for consent where the config file does not, never the other way (DESIGN,
//! promise 10). A "no" of the recipient's own stands until the recipient takes it back; taking it back is no consent.

use std::fmt;
use std::str::FromStr;

use super::{Choice, Mode};

/// What tracking an individual needs. Ordered: stricter is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Consent {
    /// Nobody is asked: the operator says that they may. A refusal is honoured all the same.
    #[default]
    None,
    /// Only who has agreed is tracked.
    Required,
}

impl Consent {
    /// As written in config, the store and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Consent::None => "none",
            Consent::Required => "required",
        }
    }
}

impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Consent {
    type Err = ();
    fn from_str(text: &str) -> Result<Consent, ()> {
        [Consent::None, Consent::Required].into_iter().find(|consent| consent.as_str() == text).ok_or(())
    }
}

/// Consent and what happens without it: `[privacy]` of the config file, or what is in force for an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsentRule {
    /// What is needed.
    pub consent: Consent,
    /// What those get who have not said anything where consent is required: off or aggregate.
    pub without_consent: Mode,
}

impl Default for ConsentRule {
    fn default() -> ConsentRule {
        ConsentRule { consent: Consent::None, without_consent: Mode::Off }
    }
}

impl ConsentRule {
    /// What is in force for an organisation: the stricter of both.
    #[must_use]
    pub fn narrowed_by(self, org: &OrgPrivacy) -> ConsentRule {
        let consent = org.consent.map_or(self.consent, |own| own.max(self.consent));
        // Where the config file asks for no consent it says nothing of those without.
        let most = if self.consent == Consent::Required { self.without_consent } else { Mode::Aggregate };
        let own = org.without_consent.unwrap_or(self.without_consent);
        ConsentRule { consent, without_consent: own.min(most) }
    }
}

impl ConsentRule {
    /// How far somebody may be tracked who has said this.
    pub fn choice_for(self, says: Says) -> Choice {
        let at_most = |mode| Choice { opens: Some(mode), links: Some(mode), text_links: None };
        match (says, self.consent) {
            (Says::No, _) => at_most(Mode::Off),
            (Says::Nothing, Consent::Required) => at_most(self.without_consent),
            (Says::Yes, _) | (Says::Nothing, Consent::None) => Choice::default(),
        }
    }
}

/// What one organisation has decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrgPrivacy {
    /// Its name for recipients; `None` shows its short name. At most [`NAME_CHARS_MAX`], one line.
    pub shown_name: Option<String>,
    /// Its own words on the preference page, such as whom to ask. At most [`PAGE_TEXT_CHARS_MAX`].
    pub page_text: Option<String>,
    /// `None` follows the config file.
    pub consent: Option<Consent>,
    /// `None` follows the config file.
    pub without_consent: Option<Mode>,
    /// Put at the end of every mail; `None` puts nothing.
    pub footer: Option<Footer>,
}

/// Characters of a name for recipients.
pub const NAME_CHARS_MAX: usize = 100;
/// Characters of the organisation's own words on the preference page.
pub const PAGE_TEXT_CHARS_MAX: usize = 1000;
/// Characters of a footer.
pub const FOOTER_CHARS_MAX: usize = 500;
/// Lines of a footer.
pub const FOOTER_LINES_MAX: usize = 6;
/// Characters of a word in a footer: no line of it may grow over any limit.
pub const FOOTER_WORD_CHARS_MAX: usize = 60;

/// What "the default footer" is.
pub const FOOTER_DEFAULT: &str = "The sender of this mail may see whether it was opened and which links were followed. [See what is recorded, and stop it]";

/// A footer: plain text in which `[words]`, once, are the link to the recipient's own page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Footer(String);

/// Why a text is no footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFooter {
    /// Too many characters or lines, or too long a word.
    TooLong,
    /// Not exactly one `[words]`, on one line.
    Link,
    /// Control characters.
    Control,
}

impl fmt::Display for BadFooter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadFooter::TooLong => write!(
                f,
                "at most {FOOTER_CHARS_MAX} characters in {FOOTER_LINES_MAX} lines, words of at most {FOOTER_WORD_CHARS_MAX}"
            ),
            BadFooter::Link => {
                f.write_str("put the words that are to be the link in square brackets, once, on one line")
            }
            BadFooter::Control => f.write_str("control characters have no place in it"),
        }
    }
}

impl FromStr for Footer {
    type Err = BadFooter;
    fn from_str(text: &str) -> Result<Footer, BadFooter> {
        let text = text.replace("\r\n", "\n");
        let text = text.trim();
        if text.chars().any(|c| (c.is_control() && c != '\n') || is_invisible(c)) {
            return Err(BadFooter::Control);
        }
        let word_too_long = text.split_whitespace().any(|word| word.chars().count() > FOOTER_WORD_CHARS_MAX);
        if text.chars().count() > FOOTER_CHARS_MAX || text.lines().count() > FOOTER_LINES_MAX || word_too_long {
            return Err(BadFooter::TooLong);
        }
        let footer = Footer(text.to_owned());
        let (before, words, after) = footer.pieces();
        let brackets = |text: &str| text.contains(['[', ']']);
        let closed = footer.0.contains(']');
        if !closed
            || words.trim().is_empty()
            || words.contains('\n')
            || brackets(before)
            || brackets(words)
            || brackets(after)
        {
            return Err(BadFooter::Link);
        }
        Ok(footer)
    }
}

/// Characters that turn text around or hide it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl Footer {
    /// The text as typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the link, its words, and what follows.
    pub fn pieces(&self) -> (&str, &str, &str) {
        let (before, rest) = self.0.split_once('[').unwrap_or((&self.0, ""));
        let (words, after) = rest.split_once(']').unwrap_or((rest, ""));
        (before, words, after)
    }
}

/// What one recipient has said to one organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Stopped on the preference page.
    pub stopped: bool,
    /// What the organisation has noted.
    pub noted: Noted,
    /// Unix milliseconds of the last change.
    pub changed_at_ms: i64,
    /// Changes so far: the next entry's number in the ledger.
    pub acts: u16,
}

/// What the organisation has noted about a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Noted {
    /// Nothing, or what was noted holds no more.
    #[default]
    Nothing,
    /// They agreed.
    Granted,
    /// They said no.
    Refused,
    /// They agreed and took it back.
    Withdrawn,
}

impl Noted {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Noted::Nothing => "nothing",
            Noted::Granted => "granted",
            Noted::Refused => "refused",
            Noted::Withdrawn => "withdrawn",
        }
    }

    /// Reads [`Noted::as_str`] back.
    pub fn parse(text: &str) -> Option<Noted> {
        use Noted::{Granted, Nothing, Refused, Withdrawn};
        [Nothing, Granted, Refused, Withdrawn].into_iter().find(|noted| noted.as_str() == text)
    }
}

/// What it all comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Says {
    /// Nothing: the organisation's rule decides.
    Nothing,
    /// Yes.
    Yes,
    /// No: nothing is put in, nothing recorded, whatever the rule.
    No,
}

/// One change, as the ledger keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// The recipient's "stop" on the preference page.
    Stop,
    /// The recipient's "allow" on the preference page: lifts a stop, grants nothing.
    Allow,
    /// The organisation notes that they agreed.
    Grant,
    /// The organisation notes that they said no.
    Refuse,
    /// The organisation notes that they took their agreement back.
    Withdraw,
}

impl Act {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Act::Stop => "stop",
            Act::Allow => "allow",
            Act::Grant => "grant",
            Act::Refuse => "refuse",
            Act::Withdraw => "withdraw",
        }
    }

    /// Reads [`Act::as_str`] back.
    pub fn parse(text: &str) -> Option<Act> {
        use Act::{Allow, Grant, Refuse, Stop, Withdraw};
        [Stop, Allow, Grant, Refuse, Withdraw].into_iter().find(|act| act.as_str() == text)
    }
}

/// Why an act changes nothing and is not noted; its display is for admins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDone {
    /// It is so already.
    NoChange,
    /// The recipient has said no on their page: only they can take that back.
    OnlyTheRecipient,
    /// Nothing was granted that could be taken back.
    NothingGranted,
    /// So many changes that more are only noise; a stop is always taken.
    TooOften,
    /// No more people are kept.
    Full,
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotDone::NoChange => "it is so already",
            NotDone::OnlyTheRecipient => {
                "the recipient has said no on their own page, and only they can take that back"
            }
            NotDone::NothingGranted => "they have granted nothing that could be withdrawn",
            NotDone::TooOften => "it was changed too often",
            NotDone::Full => "no more people can be kept",
        })
    }
}

/// Changes of one recipient after which only a stop is taken from the page: who presses "allow" and "stop" in turns for
/// ever must not fill the disk.
pub const PAGE_ACTS_MAX: u16 = 200;
/// Changes of one recipient after which none is noted; the number has 16 bits.
const ACTS_MAX: u16 = 60_000;

impl Standing {
    /// What it comes to.
    pub fn says(&self) -> Says {
        match (self.stopped, self.noted) {
            (true, _) | (_, Noted::Refused | Noted::Withdrawn) => Says::No,
            (false, Noted::Granted) => Says::Yes,
            (false, Noted::Nothing) => Says::Nothing,
        }
    }

    /// How they stand after this.
    ///
    /// # Errors
    /// [`NotDone`]: they stand as before, and there is nothing to keep.
    pub fn after(self, act: Act, at_ms: i64) -> Result<Standing, NotDone> {
        let (stopped, noted) = match act {
            Act::Stop if self.stopped => return Err(NotDone::NoChange),
            // Stopping takes an agreement back; lifting the stop later does not bring it back.
            Act::Stop if self.noted == Noted::Granted => (true, Noted::Nothing),
            Act::Stop => (true, self.noted),
            Act::Allow if !self.stopped => return Err(NotDone::NoChange),
            Act::Allow if self.acts >= PAGE_ACTS_MAX => return Err(NotDone::TooOften),
            Act::Allow => (false, self.noted),
            Act::Grant if self.stopped => return Err(NotDone::OnlyTheRecipient),
            Act::Grant => (false, Noted::Granted),
            Act::Refuse => (self.stopped, Noted::Refused),
            Act::Withdraw if self.noted != Noted::Granted => return Err(NotDone::NothingGranted),
            Act::Withdraw => (self.stopped, Noted::Withdrawn),
        };
        if self.acts >= ACTS_MAX && act != Act::Stop {
            return Err(NotDone::TooOften);
        }
        Ok(Standing { stopped, noted, changed_at_ms: at_ms, acts: self.acts.saturating_add(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(acts: &[Act]) -> Result<Standing, NotDone> {
        acts.iter().try_fold(Standing::default(), |standing, act| standing.after(*act, 7))
    }

    #[test]
    fn what_was_said_adds_up() {
        use Act::{Allow, Grant, Refuse, Stop, Withdraw};
        let rows: &[(&[Act], Result<Says, NotDone>)] = &[
            (&[], Ok(Says::Nothing)),
            (&[Grant], Ok(Says::Yes)),
            (&[Refuse], Ok(Says::No)),
            (&[Refuse, Grant], Ok(Says::Yes)),
            (&[Grant, Withdraw], Ok(Says::No)),
            (&[Grant, Withdraw, Grant], Ok(Says::Yes)),
            // the recipient's own no: it ends a grant, nobody else lifts it, and lifting it grants nothing
            (&[Stop], Ok(Says::No)),
            (&[Grant, Stop], Ok(Says::No)),
            (&[Grant, Stop, Allow], Ok(Says::Nothing)),
            (&[Stop, Grant], Err(NotDone::OnlyTheRecipient)),
            (&[Stop, Allow, Grant], Ok(Says::Yes)),
            // lifting their own stop does not lift what the organisation noted
            (&[Refuse, Stop, Allow], Ok(Says::No)),
            (&[Allow], Err(NotDone::NoChange)),
            (&[Stop, Stop], Err(NotDone::NoChange)),
            (&[Withdraw], Err(NotDone::NothingGranted)),
            (&[Refuse, Withdraw], Err(NotDone::NothingGranted)),
        ];
        for (acts, says) in rows {
            assert_eq!(after(acts).map(|standing| standing.says()), *says, "{acts:?}");
        }
        assert_eq!(after(&[Grant, Stop]).unwrap().acts, 2);
    }

    #[test]
    fn a_stop_is_always_taken() {
        let often = Standing { stopped: true, acts: PAGE_ACTS_MAX, ..Standing::default() };
        assert_eq!(often.after(Act::Allow, 0), Err(NotDone::TooOften));
        let full = Standing { acts: u16::MAX, ..Standing::default() };
        assert!(full.after(Act::Stop, 0).is_ok_and(|standing| standing.says() == Says::No));
        assert_eq!(full.after(Act::Grant, 0), Err(NotDone::TooOften));
    }

    #[test]
    fn consent_is_only_narrowed() {
        use Consent::{None as Free, Required};
        use Mode::{Aggregate, Off};
        let rows = [
            // config, org, in force
            ((Free, Off), (None, None), (Free, Off)),
            ((Free, Off), (Some(Required), None), (Required, Off)),
            ((Free, Off), (Some(Required), Some(Aggregate)), (Required, Aggregate)),
            ((Required, Off), (Some(Free), Some(Aggregate)), (Required, Off)),
            ((Required, Aggregate), (None, Some(Off)), (Required, Off)),
            ((Required, Aggregate), (None, None), (Required, Aggregate)),
        ];
        for ((consent, without_consent), (own, own_without), (then, then_without)) in rows {
            let org = OrgPrivacy { consent: own, without_consent: own_without, ..OrgPrivacy::default() };
            let rule = ConsentRule { consent, without_consent }.narrowed_by(&org);
            assert_eq!((rule.consent, rule.without_consent), (then, then_without));
        }
    }

    #[test]
    fn footers() {
        let long_word = format!("{} [x]", "y".repeat(61));
        let long = format!("{} [x]", "y ".repeat(260));
        type Pieces<'a> = (&'a str, &'a str, &'a str);
        let rows: &[(&str, Result<Pieces<'_>, BadFooter>)] = &[
            ("[x]", Ok(("", "x", ""))),
            ("  one\r\ntwo [the link] three ", Ok(("one\ntwo ", "the link", " three"))),
            (FOOTER_DEFAULT, Ok((FOOTER_DEFAULT.split('[').next().unwrap(), "See what is recorded, and stop it", ""))),
            ("no link", Err(BadFooter::Link)),
            ("[ ]", Err(BadFooter::Link)),
            ("[a] [b]", Err(BadFooter::Link)),
            ("[a\nb]", Err(BadFooter::Link)),
            ("see [the link", Err(BadFooter::Link)),
            ("]a[", Err(BadFooter::Link)),
            ("[[a]]", Err(BadFooter::Link)),
            ("a\u{7}[b]", Err(BadFooter::Control)),
            ("a\u{202e}[b]", Err(BadFooter::Control)),
            ("1\n2\n3\n4\n5\n6\n[7]", Err(BadFooter::TooLong)),
            (&long_word, Err(BadFooter::TooLong)),
            (&long, Err(BadFooter::TooLong)),
            ("", Err(BadFooter::Link)),
        ];
        for (text, expected) in rows {
            let footer = text.parse::<Footer>();
            assert_eq!(footer.as_ref().map(Footer::pieces).map_err(|why| *why), *expected, "{text:?}");
        }
    }
}

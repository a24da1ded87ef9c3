//! What each recipient's copy carries, and which recipients share one copy.
//!
//! **Invariant:** every recipient is in exactly one group, and no level of the cascade adds what a level above took away
//! (DESIGN, promise 10).

use std::fmt;

use crate::message::header::{fields, slice};
use crate::settings::privacy::{ConsentRule, Says};
use crate::settings::{Choice, Mode, Tracking};

/// Recipients of one message above which individual copies are no longer made (DESIGN 6, "Copies").
pub const SPLIT_RECIPIENTS_MAX: usize = 50;

/// What the message's own `X-Waxseal-*` fields ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderChoice {
    /// As a choice below the user's.
    pub choice: Choice,
}

/// The whole decision for one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One per recipient, in the order given.
    pub recipients: Vec<RecipientPlan>,
    /// Who shares a copy with whom, in order of their first recipient.
    pub groups: Vec<Group>,
    /// More than the split limit: copies that would have been individual are shared.
    pub too_many_to_split: bool,
}

/// What one recipient's copy carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecipientPlan {
    /// What is in force.
    pub tracking: Tracking,
    /// Who switched opens off; `None` when they are on.
    pub opens_off: Option<Off>,
    /// Who switched links off; `None` when they are on.
    pub links_off: Option<Off>,
    /// The recipient's wish took something away.
    narrowed: bool,
    because: Off,
}

/// Who switched something off, from the top of the cascade down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Off {
    /// The organisation's or the user's settings.
    Settings,
    /// The message's own header.
    Header,
    /// The recipient.
    Recipient,
    /// The organisation tracks nobody who has not agreed.
    NoConsent,
}

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Off::Settings => "switched off in the settings",
            Off::Header => "the message asks for it",
            Off::Recipient => "the recipient said no",
            Off::NoConsent => "the recipient has not agreed",
        })
    }
}

/// What one recipient's own word comes to: the last narrowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// As a choice below the header's.
    pub choice: Choice,
    /// Whose doing it is where it narrows.
    pub because: Off,
}

impl From<Choice> for Wish {
    fn from(choice: Choice) -> Wish {
        Wish { choice, because: Off::Recipient }
    }
}

impl Wish {
    /// What a recipient gets who has said this, under this rule (DESIGN 8).
    pub fn of(says: Says, rule: ConsentRule) -> Wish {
        let because = if says == Says::No { Off::Recipient } else { Off::NoConsent };
        Wish { choice: rule.choice_for(says), because }
    }
}

/// Recipients that get the same octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What their copy carries.
    pub tracking: Tracking,
    /// Places in [`Plan::recipients`], in order.
    pub recipients: Vec<usize>,
}

impl Group {
    /// The tokens of this copy stand for more than one person, or for none in particular.
    pub fn is_shared(&self) -> bool {
        self.recipients.len() > 1
    }
}

impl HeaderChoice {
    /// Reads `X-Waxseal-Track`, `-Opens` and `-Links` from the top header. A word we do not know, and a field given twice
    /// with two meanings, narrow to off: the sender asked for less, and less is what we understand.
    pub fn read(raw: &[u8]) -> HeaderChoice {
        let mut choice = Choice::default();
        for field in fields(raw, 0) {
            let value = slice(raw, &field.value).trim_ascii().to_ascii_lowercase();
            let mode = std::str::from_utf8(&value).ok().and_then(|word| word.parse().ok()).unwrap_or(Mode::Off);
            if field.is(raw, "X-Waxseal-Track") {
                let mode = if value == b"on" { Mode::Individual } else { mode };
                choice.opens = narrowed(choice.opens, mode);
                choice.links = narrowed(choice.links, mode);
            } else if field.is(raw, "X-Waxseal-Opens") {
                choice.opens = narrowed(choice.opens, mode);
            } else if field.is(raw, "X-Waxseal-Links") {
                choice.links = narrowed(choice.links, mode);
            }
        }
        HeaderChoice { choice }
    }
}

fn narrowed(so_far: Option<Mode>, mode: Mode) -> Option<Mode> {
    Some(so_far.map_or(mode, |other| other.min(mode)))
}

/// Plans one message: `settings` is what is in force for the sender, `choices` holds each recipient's own choice.
/// Pure; linear in the recipients.
pub fn plan(
    settings: Tracking,
    header: HeaderChoice,
    wishes: &[impl Into<Wish> + Copy],
    split_recipients_max: usize,
) -> Plan {
    let recipients: Vec<RecipientPlan> =
        wishes.iter().map(|wish| one(settings, header.choice, (*wish).into())).collect();
    let too_many_to_split = recipients.len() > split_recipients_max;
    let mut groups: Vec<Group> = Vec::new();
    for (place, recipient) in recipients.iter().enumerate() {
        let alone = is_individual(recipient.tracking) && !too_many_to_split;
        let same = |group: &&mut Group| !alone && group.tracking == recipient.tracking;
        match groups.iter_mut().find(same) {
            Some(group) => group.recipients.push(place),
            None => groups.push(Group { tracking: recipient.tracking, recipients: vec![place] }),
        }
    }
    Plan { recipients, groups, too_many_to_split }
}

fn is_individual(tracking: Tracking) -> bool {
    tracking.opens == Mode::Individual || tracking.links == Mode::Individual
}

fn one(settings: Tracking, header: Choice, wish: Wish) -> RecipientPlan {
    let after_header = settings.narrowed_by(header);
    let mut tracking = after_header.narrowed_by(wish.choice);
    // Text links have no mode of their own: without links there is nothing to track them as.
    tracking.text_links &= tracking.links != Mode::Off;
    let off = |settings: Mode, header: Mode, now: Mode| match (settings, header, now) {
        (Mode::Off, _, _) => Some(Off::Settings),
        (_, Mode::Off, _) => Some(Off::Header),
        (_, _, Mode::Off) => Some(wish.because),
        _ => None,
    };
    RecipientPlan {
        tracking,
        opens_off: off(settings.opens, after_header.opens, tracking.opens),
        links_off: off(settings.links, after_header.links, tracking.links),
        narrowed: (tracking.opens, tracking.links) != (after_header.opens, after_header.links),
        because: wish.because,
    }
}

impl RecipientPlan {
    /// What the recipient's own word changed, in words; `None` when nothing.
    pub fn told(&self) -> Option<String> {
        let of = |mode: Mode| if mode == Mode::Aggregate { "counted only" } else { "not tracked" };
        self.narrowed.then(|| format!("{}: {}", of(self.tracking.opens.max(self.tracking.links)), self.because))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::privacy::Consent;

    fn tracking(opens: Mode, links: Mode) -> Tracking {
        Tracking { opens, links, text_links: true }
    }

    fn choice(opens: Option<Mode>, links: Option<Mode>) -> Choice {
        Choice { opens, links, text_links: None }
    }

    const NONE: Choice = Choice { opens: None, links: None, text_links: None };

    #[test]
    fn the_header_can_only_narrow() {
        use Mode::{Aggregate, Individual, Off};
        let rows: &[(&str, Option<Mode>, Option<Mode>)] = &[
            ("A: b\n", None, None),
            ("X-Waxseal-Track: off\n", Some(Off), Some(Off)),
            ("x-waxseal-opens:  Aggregate \n", Some(Aggregate), None),
            ("X-Waxseal-Links: off\nX-Waxseal-Opens: individual\n", Some(Individual), Some(Off)),
            // on asks for nothing less; what we do not understand means less, and so does a contradiction
            ("X-Waxseal-Track: on\n", Some(Individual), Some(Individual)),
            ("X-Waxseal-Opens: no\n", Some(Off), None),
            ("X-Waxseal-Opens: off\nX-Waxseal-Opens: individual\n", Some(Off), None),
            ("X-Waxseal-Opens:\n", Some(Off), None),
            // only in the header
            ("A: b\n\nX-Waxseal-Track: off\n", None, None),
        ];
        for (raw, opens, links) in rows {
            let read = HeaderChoice::read(raw.as_bytes()).choice;
            assert_eq!((read.opens, read.links), (*opens, *links), "{raw:?}");
        }
        let wide = HeaderChoice { choice: choice(Some(Individual), Some(Individual)) };
        let planned = plan(tracking(Aggregate, Off), wide, &[NONE], 50);
        assert_eq!(planned.recipients[0].tracking, Tracking { opens: Aggregate, links: Off, text_links: false });
    }

    #[test]
    fn every_off_has_someone_who_said_so() {
        use Mode::{Individual, Off};
        let header = HeaderChoice { choice: choice(None, Some(Off)) };
        let planned = plan(tracking(Individual, Individual), header, &[NONE, choice(Some(Off), Some(Off))], 50);
        assert_eq!(planned.recipients[0].opens_off, None);
        assert_eq!(planned.recipients[0].links_off, Some(super::Off::Header));
        assert_eq!(planned.recipients[1].opens_off, Some(super::Off::Recipient));
        assert_eq!(planned.recipients[1].links_off, Some(super::Off::Header));
        let none = plan(tracking(Off, Off), header, &[NONE], 50);
        assert_eq!(none.recipients[0].opens_off, Some(super::Off::Settings));
    }

    #[test]
    fn recipients_share_what_names_no_one() {
        use Mode::{Aggregate, Individual, Off};
        let groups = |settings, choices: &[Choice], max: usize| -> Vec<Vec<usize>> {
            plan(settings, HeaderChoice::default(), choices, max).groups.into_iter().map(|g| g.recipients).collect()
        };
        let refuses = choice(Some(Off), Some(Off));
        // individual: one each; the two who refuse share theirs
        assert_eq!(
            groups(tracking(Individual, Off), &[NONE, refuses, NONE, refuses], 50),
            [vec![0], vec![1, 3], vec![2]]
        );
        // aggregate and off: one a plan
        assert_eq!(groups(tracking(Aggregate, Off), &[NONE, refuses, NONE], 50), [vec![0, 2], vec![1]]);
        assert_eq!(groups(tracking(Off, Off), &[NONE, NONE], 50), [vec![0, 1]]);
        // above the limit: one shared copy a plan
        assert_eq!(groups(tracking(Individual, Individual), &[NONE, NONE, refuses], 2), [vec![0, 1], vec![2]]);
        assert_eq!(groups(tracking(Individual, Individual), &[], 2), Vec::<Vec<usize>>::new());
    }

    /// A no is a no under any rule; a yes is needed only where the rule says so; nothing is ever widened.
    #[test]
    fn a_recipients_word_narrows() {
        use Mode::{Aggregate, Individual, Off as Nothing};
        let free = ConsentRule::default();
        let asked = |without_consent| ConsentRule { consent: Consent::Required, without_consent };
        let rows = [
            (Says::Nothing, free, Individual, None),
            (Says::Yes, free, Individual, None),
            (Says::No, free, Nothing, Some("not tracked: the recipient said no")),
            (Says::Nothing, asked(Nothing), Nothing, Some("not tracked: the recipient has not agreed")),
            (Says::Nothing, asked(Aggregate), Aggregate, Some("counted only: the recipient has not agreed")),
            (Says::Yes, asked(Nothing), Individual, None),
            (Says::No, asked(Aggregate), Nothing, Some("not tracked: the recipient said no")),
        ];
        for (says, rule, mode, told) in rows {
            let wishes = [Wish::of(says, rule)];
            let planned = plan(tracking(Individual, Individual), HeaderChoice::default(), &wishes, 50).recipients[0];
            assert_eq!((planned.tracking.opens, planned.tracking.links), (mode, mode), "{says:?} {rule:?}");
            assert_eq!(planned.told().as_deref(), told);
            let off = plan(tracking(Nothing, Nothing), HeaderChoice::default(), &wishes, 50).recipients[0];
            assert_eq!((off.tracking.opens, off.told()), (Nothing, None));
        }
    }
}

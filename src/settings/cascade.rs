//! From the ceiling down: what each level says, what remains after it, and which level decided.
//!
//! **Invariant:** no step is above the one before it (DESIGN, promise 10). The planner and whoever explains it walk the
//! same [`Step`]s; there is no second copy of the rules.

use std::fmt;

use super::{Choice, Mode, Org, Tracking, User};

/// Who can narrow a setting, from the top down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `[tracking]` of config.toml.
    Ceiling,
    /// The organisation.
    Org,
    /// The sender.
    User,
    /// The message's own `X-Waxseal-*` fields.
    Header,
    /// The recipient: their word, the consent they have not given, or their being excluded.
    Recipient,
}

impl Level {
    /// As written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Ceiling => "ceiling",
            Level::Org => "org",
            Level::User => "user",
            Level::Header => "header",
            Level::Recipient => "recipient",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Ceiling => "the ceiling in config.toml",
            Level::Org => "the organisation",
            Level::User => "the sender",
            Level::Header => "the message's own header",
            Level::Recipient => "the recipient",
        })
    }
}

/// What a user may narrow for their own mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Switch {
    /// The pixel.
    Opens,
    /// Links in HTML.
    Links,
    /// Links in plain text.
    TextLinks,
    /// Shadow mode.
    Shadow,
    /// Links whose text is itself a URL.
    VisibleUrls,
    /// How exactly a place is kept.
    Place,
    /// Address and raw agent.
    RawEvidence,
    /// A list of recipients of their own.
    ExcludedRecipients,
    /// A list of link hosts of their own.
    ExcludedHosts,
    /// Patterns of links of their own.
    LeaveLinks,
}

impl Switch {
    /// Every switch.
    pub const ALL: [Switch; 10] = [
        Switch::Opens,
        Switch::Links,
        Switch::TextLinks,
        Switch::Shadow,
        Switch::VisibleUrls,
        Switch::Place,
        Switch::RawEvidence,
        Switch::ExcludedRecipients,
        Switch::ExcludedHosts,
        Switch::LeaveLinks,
    ];

    /// As written in config, forms and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Switch::Opens => "opens",
            Switch::Links => "links",
            Switch::TextLinks => "text_links",
            Switch::Shadow => "shadow",
            Switch::VisibleUrls => "visible_urls",
            Switch::Place => "place",
            Switch::RawEvidence => "raw_evidence",
            Switch::ExcludedRecipients => "excluded_recipients",
            Switch::ExcludedHosts => "excluded_hosts",
            Switch::LeaveLinks => "leave_links",
        }
    }

    /// Reads [`Switch::as_str`] back.
    pub fn parse(text: &str) -> Option<Switch> {
        Switch::ALL.into_iter().find(|switch| switch.as_str() == text)
    }
}

/// Which switches an organisation's users may not turn: their own choice does not count while it is so.
///
/// A lock holds for the sender's stored choice alone. A message's header and a recipient's word always narrow: the one is
/// written for a single mail by whoever sends it, the other protects the recipient. Notices by mail have no lock: they go
/// to the person themselves, and nobody should be made to get mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Locked {
    /// A bit a switch.
    bits: u16,
}

impl Locked {
    /// Whether this one is locked.
    pub fn has(self, switch: Switch) -> bool {
        self.bits & bit(switch) != 0
    }

    /// Locks this one too.
    #[must_use]
    pub fn with(self, switch: Switch) -> Locked {
        Locked { bits: self.bits | bit(switch) }
    }

    /// Those that are locked.
    pub fn names(self) -> Vec<&'static str> {
        Switch::ALL.into_iter().filter(|switch| self.has(*switch)).map(Switch::as_str).collect()
    }

    /// What is left of a user's choice.
    fn open(self, choice: Choice) -> Choice {
        Choice {
            opens: choice.opens.filter(|_| !self.has(Switch::Opens)),
            links: choice.links.filter(|_| !self.has(Switch::Links)),
            text_links: choice.text_links.filter(|_| !self.has(Switch::TextLinks)),
        }
    }
}

/// Never stored: on disk a lock is a name.
fn bit(switch: Switch) -> u16 {
    1 << switch as u16
}

impl FromIterator<Switch> for Locked {
    fn from_iter<I: IntoIterator<Item = Switch>>(switches: I) -> Locked {
        switches.into_iter().fold(Locked::default(), Locked::with)
    }
}

/// What everybody above the recipient says about one mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// `[tracking]`.
    pub ceiling: Tracking,
    /// The organisation's choice.
    pub org: Choice,
    /// What its users may not change.
    pub locked: Locked,
    /// The sender's choice, locked or not; none of a trusted network.
    pub user: Choice,
    /// The message's own.
    pub header: Choice,
    /// Shadow mode, as the organisation and the sender have it.
    pub shadow: [bool; 2],
}

/// One level's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Whose.
    pub level: Level,
    /// What it says, counted or not.
    pub own: Choice,
    /// What of it is locked and does not count.
    pub locked: Locked,
    /// What remains after it.
    pub after: Tracking,
}

/// How many levels stand above the recipient.
pub const ABOVE_RECIPIENT: usize = 4;

impl Levels {
    /// The levels of a mail of this organisation.
    pub fn of(ceiling: Tracking, org: &Org, user: Option<&User>, header: Choice) -> Levels {
        Levels {
            ceiling,
            org: org.choice,
            locked: org.locked,
            user: user.map(|user| user.choice).unwrap_or_default(),
            header,
            shadow: [org.shadow, user.is_some_and(|user| user.shadow)],
        }
    }

    /// Each level's part, from the top down to the message's header.
    pub fn steps(&self) -> [Step; ABOVE_RECIPIENT] {
        let Tracking { opens, links, text_links } = self.ceiling;
        let own = Choice { opens: Some(opens), links: Some(links), text_links: Some(text_links) };
        let ceiling = Step { level: Level::Ceiling, own, locked: Locked::default(), after: whole(self.ceiling) };
        let org = ceiling.then(Level::Org, self.org);
        let user = Step { own: self.user, locked: self.locked, ..org.then(Level::User, self.locked.open(self.user)) };
        [ceiling, org, user, user.then(Level::Header, self.header)]
    }

    /// What is in force for the mail, before its recipients are asked.
    pub fn in_force(&self) -> Tracking {
        let [.., header] = self.steps();
        header.after
    }

    /// Who wants the mail to leave as it came, with a note of what would have been tracked.
    pub fn shadow(&self) -> Option<Level> {
        match self.shadow {
            [true, _] => Some(Level::Org),
            [false, true] if !self.locked.has(Switch::Shadow) => Some(Level::User),
            _ => None,
        }
    }
}

impl Step {
    /// The step below this one.
    #[must_use]
    pub fn then(self, level: Level, own: Choice) -> Step {
        Step { level, own, locked: Locked::default(), after: whole(self.after.narrowed_by(own)) }
    }
}

/// Text links have no mode of their own: without links there is nothing to track them as.
fn whole(tracking: Tracking) -> Tracking {
    Tracking { text_links: tracking.text_links && tracking.links != Mode::Off, ..tracking }
}

/// The level that made a value what it is at the end: the highest after which it did not change any more. `None` without
/// steps.
pub fn decided_by<T: PartialEq>(steps: &[Step], value: impl Fn(Tracking) -> T) -> Option<Level> {
    let last = value(steps.last()?.after);
    steps.iter().find(|step| value(step.after) == last).map(|step| step.level)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mode() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Off), Just(Mode::Aggregate), Just(Mode::Individual)]
    }

    fn choice() -> impl Strategy<Value = Choice> {
        (proptest::option::of(mode()), proptest::option::of(mode()), any::<Option<bool>>())
            .prop_map(|(opens, links, text_links)| Choice { opens, links, text_links })
    }

    prop_compose! {
        fn levels()(
            (opens, links, text_links) in (mode(), mode(), any::<bool>()),
            (org, user, header) in (choice(), choice(), choice()),
            locks in proptest::collection::vec(proptest::sample::select(&Switch::ALL[..]), 0..4),
            shadow in any::<[bool; 2]>(),
        ) -> Levels {
            let ceiling = Tracking { opens, links, text_links };
            Levels { ceiling, org, locked: locks.into_iter().collect(), user, header, shadow }
        }
    }

    fn at_most(below: Tracking, above: Tracking) -> bool {
        below.opens <= above.opens && below.links <= above.links && below.text_links <= above.text_links
    }

    proptest! {
        /// Every level narrows or does nothing; who is said to have decided has said just that, and nobody above did.
        #[test]
        fn levels_only_narrow(levels in levels()) {
            let steps = levels.steps();
            for pair in steps.windows(2) {
                prop_assert!(at_most(pair[1].after, pair[0].after));
            }
            let in_force = levels.in_force();
            let by = decided_by(&steps, |tracking| tracking.opens).unwrap();
            let decided = steps.iter().position(|step| step.level == by).unwrap();
            prop_assert_eq!(steps[decided].own.opens, Some(in_force.opens));
            prop_assert!(steps[..decided].iter().all(|step| step.after.opens > in_force.opens));
            for step in steps.iter().filter(|step| !step.locked.has(Switch::Links)) {
                prop_assert!(step.own.links.is_none_or(|own| in_force.links <= own), "{:?} is heard", step.level);
            }
            prop_assert!(!in_force.text_links || in_force.links != Mode::Off);
        }

        /// A locked switch is as if the user had never said anything of it; nothing else changes by the lock.
        #[test]
        fn a_locked_choice_does_not_count(levels in levels(), switch in proptest::sample::select(&Switch::ALL[..])) {
            let locked = Levels { locked: levels.locked.with(switch), ..levels };
            let mut unsaid = locked;
            match switch {
                Switch::Opens => unsaid.user.opens = None,
                Switch::Links => unsaid.user.links = None,
                Switch::TextLinks => unsaid.user.text_links = None,
                Switch::Shadow => unsaid.shadow[1] = false,
                // what no mode is: see `own.rs`
                _ => {}
            }
            prop_assert_eq!(locked.in_force(), unsaid.in_force());
            prop_assert_eq!(locked.shadow(), unsaid.shadow());
        }
    }

    /// No lock is another's, and each reads back by its name.
    #[test]
    fn each_lock_is_its_own() {
        for switch in Switch::ALL {
            let locked = Locked::default().with(switch);
            assert_eq!(locked.names(), [switch.as_str()]);
            assert_eq!(Switch::parse(switch.as_str()), Some(switch));
            assert!(Switch::ALL.into_iter().all(|other| locked.has(other) == (other == switch)), "{switch:?}");
        }
        assert_eq!(Switch::ALL.into_iter().collect::<Locked>().names().len(), Switch::ALL.len());
    }

    #[test]
    fn shadow_is_the_organisations_or_the_senders() {
        let none = Tracking { opens: Mode::Off, links: Mode::Off, text_links: false };
        let levels = |shadow, locked| Levels {
            ceiling: none,
            org: Choice::default(),
            locked,
            user: Choice::default(),
            header: Choice::default(),
            shadow,
        };
        let lock = Locked::default().with(Switch::Shadow);
        for (shadow, locked, by) in [
            ([false, false], Locked::default(), None),
            ([true, false], Locked::default(), Some(Level::Org)),
            ([false, true], Locked::default(), Some(Level::User)),
            ([true, true], Locked::default(), Some(Level::Org)),
            // locked: the organisation's word alone
            ([false, true], lock, None),
            ([true, false], lock, Some(Level::Org)),
        ] {
            assert_eq!(levels(shadow, locked).shadow(), by, "{shadow:?}");
        }
    }
}

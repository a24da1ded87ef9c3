//! What each recipient's copy carries, and which recipients share one copy.
//!
//! **Invariant:** every recipient is in exactly one group, a copy that several share is never `individual`, and no level of the cascade adds what a level above took away
//! (DESIGN, promise 10).

use std::fmt;

use crate::message::header::{fields, slice};
use crate::settings::cascade::{ABOVE_RECIPIENT, Step, decided_by};
use crate::settings::privacy::{ConsentRule, Says};
use crate::settings::{Choice, Level, Levels, Mode, Rules, Tracking};

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
    /// More than the split limit: nobody gets a copy of their own, so nobody is told apart, and what would have been individual
    /// is aggregate.
    pub too_many_to_split: bool,
}

/// What one recipient's copy carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecipientPlan {
    /// What is in force; less than the last step says where there are too many to split.
    pub tracking: Tracking,
    /// How it came to that, from the ceiling down; the last step is the recipient's.
    pub steps: [Step; ABOVE_RECIPIENT + 1],
    /// Why the last step is as it is.
    pub because: Because,
}

/// Why a recipient's step is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Because {
    /// They said no.
    Refused,
    /// The organisation excludes them, or the sender does.
    Excluded(Level),
    /// The organisation tracks nobody who has not agreed.
    NoConsent,
    /// They agreed.
    Agreed,
    /// Nobody has to ask them, and they have said nothing.
    Unasked,
}

impl Because {
    /// As written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Because::Refused => "refused",
            Because::Excluded(_) => "excluded",
            Because::NoConsent => "no-consent",
            Because::Agreed => "agreed",
            Because::Unasked => "unasked",
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Because::Refused => "the recipient said no",
            Because::Excluded(Level::User) => "the sender excludes this recipient",
            Because::Excluded(_) => "the organisation excludes this recipient",
            Because::NoConsent => "the recipient has not agreed",
            Because::Agreed => "the recipient agreed",
            Because::Unasked => "the recipient has said nothing, and need not be asked",
        })
    }
}

/// What one recipient's own word, or what is said of them, comes to: the last narrowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// As a choice below the header's.
    pub choice: Choice,
    /// Why it is that.
    pub because: Because,
}

impl Wish {
    /// What this recipient gets who has said this, under this rule (DESIGN 8). Their own no comes first: it is the one
    /// reason that nobody can take away.
    pub fn of(rules: Rules<'_>, address: &str, says: Says, rule: ConsentRule) -> Wish {
        let off = Choice { opens: Some(Mode::Off), links: Some(Mode::Off), text_links: Some(false) };
        let choice = rule.choice_for(says);
        if says == Says::No {
            return Wish { choice, because: Because::Refused };
        }
        if let Some((_, by)) = rules.excludes(address) {
            return Wish { choice: off, because: Because::Excluded(by) };
        }
        let because = match says {
            Says::Yes => Because::Agreed,
            _ if choice == Choice::default() => Because::Unasked,
            _ => Because::NoConsent,
        };
        Wish { choice, because }
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
            let track = field.is(raw, "X-Waxseal-Track");
            let (opens, links) = (track || field.is(raw, "X-Waxseal-Opens"), track || field.is(raw, "X-Waxseal-Links"));
            if opens || links {
                let mode = mode(slice(raw, &field.value).trim_ascii(), track);
                choice.opens = if opens { narrowed(choice.opens, mode) } else { choice.opens };
                choice.links = if links { narrowed(choice.links, mode) } else { choice.links };
            }
        }
        HeaderChoice { choice }
    }

    /// Names of fields in a header's text that are none of these: whoever asks what a header does mistyped them, or takes
    /// them for ours. What is not even `Name: value` is among them. At most 20, each at most 80 characters.
    pub fn unknown(text: &str) -> Vec<String> {
        const NAMES_MAX: usize = 20;
        const NAME_CHARS_MAX: usize = 80;
        let is_known = |line: &str| {
            let (name, _) = line.split_once(':')?;
            FIELDS.into_iter().find(|field| field.eq_ignore_ascii_case(name.trim_end()))
        };
        let header = text.lines().take_while(|line| !line.is_empty());
        // A folded line belongs to the field above it.
        let lines = header.filter(|line| !line.starts_with([' ', '\t']) && is_known(line).is_none());
        let name = |line: &str| line.split(':').next().unwrap_or(line).trim().chars().take(NAME_CHARS_MAX).collect();
        lines.map(name).take(NAMES_MAX).collect()
    }
}

/// The fields of a mail that say what it wants.
pub const FIELDS: [&str; 3] = ["X-Waxseal-Track", "X-Waxseal-Opens", "X-Waxseal-Links"];

/// What one of these fields says; `on` is a word of the first only.
fn mode(value: &[u8], track: bool) -> Mode {
    if track && value.eq_ignore_ascii_case(b"on") {
        return Mode::Individual;
    }
    let short = value.get(..WORD_BYTES_MAX).map_or(value, |_| b"");
    std::str::from_utf8(short).ok().and_then(|word| word.to_ascii_lowercase().parse().ok()).unwrap_or(Mode::Off)
}

/// Longer than every word there is.
const WORD_BYTES_MAX: usize = 32;

fn narrowed(so_far: Option<Mode>, mode: Mode) -> Option<Mode> {
    Some(so_far.map_or(mode, |other| other.min(mode)))
}

/// Plans one message: `levels` is what everybody above the recipients says, `wishes` holds what each recipient's own word
/// comes to. Pure; linear in the recipients.
pub fn plan(levels: &Levels, wishes: &[Wish], split_recipients_max: usize) -> Plan {
    let above = levels.steps();
    let too_many_to_split = wishes.len() > split_recipients_max;
    let mut recipients: Vec<RecipientPlan> = wishes.iter().map(|wish| RecipientPlan::of(above, *wish)).collect();
    for recipient in recipients.iter_mut().filter(|_| too_many_to_split) {
        recipient.tracking = told_of_nobody(recipient.tracking);
    }
    let mut groups: Vec<Group> = Vec::new();
    for (place, recipient) in recipients.iter().enumerate() {
        let alone = is_individual(recipient.tracking);
        let same = |group: &&mut Group| !alone && group.tracking == recipient.tracking;
        match groups.iter_mut().find(same) {
            Some(group) => group.recipients.push(place),
            None => groups.push(Group { tracking: recipient.tracking, recipients: vec![place] }),
        }
    }
    Plan { recipients, groups, too_many_to_split }
}

impl Plan {
    /// Who has it that nobody's opens and links are tracked, in words; `None` where somebody's are. Of several, each once.
    pub fn off_because(&self) -> Option<String> {
        let off = |plan: &RecipientPlan| plan.tracking.opens == Mode::Off && plan.tracking.links == Mode::Off;
        if self.recipients.is_empty() || !self.recipients.iter().all(off) {
            return None;
        }
        let mut said: Vec<String> = Vec::new();
        for plan in &self.recipients {
            let words = plan.said_by(plan.decided_by(|now| (now.opens, now.links)));
            if !said.contains(&words) {
                said.push(words);
            }
        }
        Some(said.join("; "))
    }

    /// What the mail's own header took away of one switch while the other is on, a line each: nobody can look that up later,
    /// for the header is gone.
    pub fn asked_by_header(&self) -> Vec<String> {
        let line = |name: &str, of: fn(Tracking) -> Mode| {
            let first = self.recipients.iter().find(|plan| plan.decided_by(of) == Level::Header)?;
            Some(format!("{name}: {}: {}", of(first.tracking), first.said_by(Level::Header)))
        };
        [line("opens", |now| now.opens), line("links", |now| now.links)].into_iter().flatten().collect()
    }
}

/// A copy that many share tells place, program and hour of one of them, and some of them may have said no to just that.
fn told_of_nobody(tracking: Tracking) -> Tracking {
    let at_most = |mode: Mode| mode.min(Mode::Aggregate);
    Tracking { opens: at_most(tracking.opens), links: at_most(tracking.links), ..tracking }
}

fn is_individual(tracking: Tracking) -> bool {
    tracking.opens == Mode::Individual || tracking.links == Mode::Individual
}

impl RecipientPlan {
    fn of(above: [Step; ABOVE_RECIPIENT], wish: Wish) -> RecipientPlan {
        let [ceiling, org, user, header] = above;
        let last = header.then(Level::Recipient, wish.choice);
        RecipientPlan { tracking: last.after, steps: [ceiling, org, user, header, last], because: wish.because }
    }

    /// Which level made a value what it is.
    pub fn decided_by<T: PartialEq>(&self, value: impl Fn(Tracking) -> T) -> Level {
        decided_by(&self.steps, value).unwrap_or(Level::Ceiling)
    }

    /// That this level decides, in words.
    fn said_by(&self, level: Level) -> String {
        match level {
            Level::Ceiling => "the ceiling in config.toml says so".to_owned(),
            Level::Org => "the organisation has chosen it".to_owned(),
            Level::User => "the sender has chosen it".to_owned(),
            Level::Header => "the mail's own header asks for it".to_owned(),
            Level::Recipient => self.because.to_string(),
        }
    }

    /// What the recipient's own word changed, in words; `None` when nothing.
    pub fn told(&self) -> Option<String> {
        let of = |mode: Mode| if mode == Mode::Aggregate { "counted only" } else { "not tracked" };
        let narrowed = self.decided_by(|now| (now.opens, now.links)) == Level::Recipient;
        narrowed.then(|| format!("{}: {}", of(self.tracking.opens.max(self.tracking.links)), self.because))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::privacy::Consent;
    use crate::settings::{Locked, Org, OwnRules, Role, Switch, User};

    fn tracking(opens: Mode, links: Mode) -> Tracking {
        Tracking { opens, links, text_links: true }
    }

    fn choice(opens: Option<Mode>, links: Option<Mode>) -> Choice {
        Choice { opens, links, text_links: None }
    }

    const NONE: Wish =
        Wish { choice: Choice { opens: None, links: None, text_links: None }, because: Because::Unasked };

    fn refuses() -> Wish {
        Wish { choice: choice(Some(Mode::Off), Some(Mode::Off)), because: Because::Refused }
    }

    fn acme() -> Org {
        Org::named("acme".parse().unwrap())
    }

    fn levels(ceiling: Tracking, header: Choice) -> Levels {
        Levels::of(ceiling, &acme(), None, header)
    }

    /// Who decided is told with the mail, for its header and what anybody had chosen then are gone when somebody asks.
    #[test]
    fn who_switched_it_off_is_said() {
        use Mode::{Aggregate, Individual, Off};
        let on = tracking(Individual, Individual);
        let said = |ceiling, header, wishes: &[Wish]| plan(&levels(ceiling, header), wishes, 50).off_because();
        let (nothing, header) = (Choice::default(), choice(Some(Off), Some(Off)));
        assert_eq!(said(on, nothing, &[NONE]), None);
        assert_eq!(said(on, header, &[NONE, NONE]).as_deref(), Some("the mail's own header asks for it"));
        assert_eq!(said(tracking(Off, Off), header, &[NONE]).as_deref(), Some("the ceiling in config.toml says so"));
        assert_eq!(said(on, nothing, &[refuses()]).as_deref(), Some("the recipient said no"));
        assert_eq!(said(on, nothing, &[refuses(), NONE]), None);
        // one switch
        let some = |header| plan(&levels(on, header), &[NONE], 50).asked_by_header();
        assert_eq!(some(choice(Some(Aggregate), None)), ["opens: aggregate: the mail's own header asks for it"]);
        assert_eq!(some(nothing), [""; 0]);
    }

    #[test]
    fn what_is_no_field_of_ours_is_named() {
        let rows: &[(&str, &[&str])] = &[
            ("", &[]),
            ("x-waxseal-track : off\r\nX-Waxseal-Opens:\r\n aggregate\r\nX-Waxseal-Links: off", &[]),
            ("X-Waxseal-Bogus: yes\nX-Waxseal-Track: off", &["X-Waxseal-Bogus"]),
            ("Bogus", &["Bogus"]),
            ("X-Waxseal-Opens off\n\nBody", &["X-Waxseal-Opens off"]),
        ];
        for (text, names) in rows {
            assert_eq!(HeaderChoice::unknown(text), *names, "{text:?}");
        }
    }

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
        let wide = choice(Some(Individual), Some(Individual));
        let planned = plan(&levels(tracking(Aggregate, Off), wide), &[NONE], 50);
        assert_eq!(planned.recipients[0].tracking, Tracking { opens: Aggregate, links: Off, text_links: false });
    }

    /// Each value has someone who said so: the highest of those who would have had it so.
    #[test]
    fn every_value_has_someone_who_decided() {
        use Mode::{Aggregate, Individual, Off};
        let org = Org { choice: choice(Some(Aggregate), None), ..acme() };
        let mut user = User::new("ann".into(), None, Role::Sender, String::new());
        user.choice = Choice { text_links: Some(false), ..choice(Some(Individual), Some(Aggregate)) };
        let header = choice(None, Some(Off));
        let levels = Levels::of(tracking(Individual, Individual), &org, Some(&user), header);
        let by = |levels: &Levels, wish| {
            let planned = plan(levels, &[wish], 50).recipients[0];
            [
                planned.decided_by(|now| now.opens),
                planned.decided_by(|now| now.links),
                planned.decided_by(|now| now.text_links),
            ]
        };
        assert_eq!(by(&levels, NONE), [Level::Org, Level::Header, Level::User]);
        assert_eq!(by(&levels, refuses()), [Level::Recipient, Level::Header, Level::User]);
        // what the sender says does not count where it is locked
        let locked = Levels { locked: Locked::default().with(Switch::TextLinks), ..levels };
        assert_eq!(by(&locked, NONE), [Level::Org, Level::Header, Level::Header]);
        let none = Levels::of(tracking(Off, Off), &org, Some(&user), header);
        assert_eq!(by(&none, refuses()), [Level::Ceiling; 3]);
    }

    #[test]
    fn a_recipient_is_excluded_by_address_and_by_domain() {
        let free = ConsentRule::default();
        let asked = ConsentRule { consent: Consent::Required, without_consent: Mode::Aggregate };
        let patterns = ["press@news.example", "partner.example"].map(|text| text.parse().unwrap());
        let org = Org { excluded_recipients: patterns.into(), ..acme() };
        let mine = ["cy@news.example", "partner.example"].map(|text| text.parse().unwrap());
        let own = OwnRules { excluded_recipients: mine.into(), ..OwnRules::default() };
        let (by_org, by_sender) = (Because::Excluded(Level::Org), Because::Excluded(Level::User));
        for (address, says, rule, because) in [
            ("Press@News.Example", Says::Nothing, free, by_org),
            ("ann@mail.partner.example", Says::Yes, asked, by_org),
            ("cy@news.example", Says::Yes, asked, by_sender),
            ("ann@news.example", Says::Nothing, free, Because::Unasked),
            ("ann@news.example", Says::Nothing, asked, Because::NoConsent),
            ("ann@news.example", Says::Yes, asked, Because::Agreed),
            // their own no is theirs
            ("press@news.example", Says::No, free, Because::Refused),
            ("cy@news.example", Says::No, free, Because::Refused),
        ] {
            let wish = Wish::of(Rules::of(&org, Some(&own)), address, says, rule);
            assert_eq!(wish.because, because, "{address}");
            let everything = levels(tracking(Mode::Individual, Mode::Individual), Choice::default());
            let planned = plan(&everything, &[wish], 50).recipients[0];
            let off = Tracking { opens: Mode::Off, links: Mode::Off, text_links: false };
            let is_off = matches!(because, Because::Excluded(_) | Because::Refused);
            assert_eq!(planned.tracking == off, is_off, "{address}");
            let told = planned.told().unwrap_or_default();
            assert_eq!(told.contains("the organisation excludes this recipient"), because == by_org, "{told}");
            assert_eq!(told.contains("the sender excludes this recipient"), because == by_sender, "{told}");
        }
        let locked = Org { locked: Locked::default().with(Switch::ExcludedRecipients), ..org };
        let wish = Wish::of(Rules::of(&locked, Some(&own)), "cy@news.example", Says::Nothing, free);
        assert_eq!(wish.because, Because::Unasked);
    }

    #[test]
    fn recipients_share_what_names_no_one() {
        use Mode::{Aggregate, Individual, Off};
        let groups = |settings, wishes: &[Wish], max: usize| -> Vec<Vec<usize>> {
            plan(&levels(settings, Choice::default()), wishes, max).groups.into_iter().map(|g| g.recipients).collect()
        };
        let refuses = refuses();
        // individual: one each; the two who refuse share theirs
        assert_eq!(
            groups(tracking(Individual, Off), &[NONE, refuses, NONE, refuses], 50),
            [vec![0], vec![1, 3], vec![2]]
        );
        // aggregate and off: one a plan
        assert_eq!(groups(tracking(Aggregate, Off), &[NONE, refuses, NONE], 50), [vec![0, 2], vec![1]]);
        assert_eq!(groups(tracking(Off, Off), &[NONE, NONE], 50), [vec![0, 1]]);
        // above the limit: one shared copy a plan, which names no one either, so those who are only counted share it
        assert_eq!(groups(tracking(Individual, Individual), &[NONE, NONE, refuses], 2), [vec![0, 1], vec![2]]);
        let counted = Wish { choice: choice(Some(Aggregate), Some(Aggregate)), because: Because::NoConsent };
        let levels = levels(tracking(Individual, Individual), Choice::default());
        let many = plan(&levels, &[NONE, counted, refuses], 2);
        let modes: Vec<(Mode, Mode)> = many.recipients.iter().map(|r| (r.tracking.opens, r.tracking.links)).collect();
        assert_eq!(modes, [(Aggregate, Aggregate), (Aggregate, Aggregate), (Off, Off)]);
        assert_eq!(many.groups.iter().map(|g| g.recipients.clone()).collect::<Vec<_>>(), [vec![0, 1], vec![2]]);
        let few = plan(&levels, &[NONE, counted, refuses], 3);
        assert_eq!(few.recipients[0].tracking.opens, Individual);
        assert_eq!(plan(&levels, &[], 2).groups, []);
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
            let wishes = [Wish::of(Rules::of(&acme(), None), "ann@example.com", says, rule)];
            let everything = levels(tracking(Individual, Individual), Choice::default());
            let planned = plan(&everything, &wishes, 50).recipients[0];
            assert_eq!((planned.tracking.opens, planned.tracking.links), (mode, mode), "{says:?} {rule:?}");
            assert_eq!(planned.told().as_deref(), told);
            let off = plan(&levels(tracking(Nothing, Nothing), Choice::default()), &wishes, 50).recipients[0];
            assert_eq!((off.tracking.opens, off.told()), (Nothing, None));
        }
    }
}

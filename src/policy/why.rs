//! Why a recipient's copy carries what it carries: each level's own word, what remained after it, and who decided.
//!
//! **Invariant:** it is read off the steps that the planner walked; nothing is worked out a second time.

use std::fmt;

use super::plan::RecipientPlan;
use crate::settings::cascade::{ABOVE_RECIPIENT, Step};
use crate::settings::{Choice, Level, Mode, OwnRules, PlaceDetail, Rules, Switch, Tracking, VisibleUrls};

/// What a switch stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Of opens and links.
    Mode(Mode),
    /// Of links in plain text.
    On(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Mode(mode) => mode.fmt(f),
            Value::On(on) => f.write_str(if *on { "on" } else { "off" }),
        }
    }
}

/// One level's part in one switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub level: Level,
    /// What it says; `None`: it follows the level above.
    pub says: Option<Value>,
    /// It is locked, so that what it says does not count.
    pub locked: bool,
    /// What remains after it.
    pub after: Value,
}

/// Why one switch stands where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// Which.
    pub switch: Switch,
    /// What is in force.
    pub in_force: Value,
    /// The highest level that would have had it so.
    pub decided_by: Level,
    /// From the ceiling down to the recipient.
    pub rows: [Row; ABOVE_RECIPIENT + 1],
}

/// The reasons for opens, links and links in plain text, in this order.
pub fn reasons(plan: &RecipientPlan) -> [Reason; 3] {
    [
        reason(plan, Switch::Opens, |own| own.opens.map(Value::Mode), |after| Value::Mode(after.opens)),
        reason(plan, Switch::Links, |own| own.links.map(Value::Mode), |after| Value::Mode(after.links)),
        reason(plan, Switch::TextLinks, |own| own.text_links.map(Value::On), |after| Value::On(after.text_links)),
    ]
}

fn reason(
    plan: &RecipientPlan,
    switch: Switch,
    says: impl Fn(Choice) -> Option<Value>,
    after: impl Fn(Tracking) -> Value,
) -> Reason {
    let row = |step: Step| Row {
        level: step.level,
        says: says(step.own),
        locked: step.locked.has(switch),
        after: after(step.after),
    };
    let rows = plan.steps.map(row);
    let [.., last] = rows;
    let decided = rows.iter().find(|row| row.after == last.after);
    Reason { switch, in_force: last.after, decided_by: decided.map_or(Level::Ceiling, |row| row.level), rows }
}

/// Why a value that the organisation sets and a sender may narrow is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Narrowed {
    /// Which.
    pub switch: Switch,
    /// What is in force.
    pub in_force: &'static str,
    /// The organisation, or the sender where it takes something away.
    pub decided_by: Level,
    /// What the organisation says.
    pub org: &'static str,
    /// What the sender says, locked or not; `None` follows the organisation.
    pub sender: Option<&'static str>,
    /// It is locked, so that what the sender says does not count.
    pub locked: bool,
}

/// The reasons for links that show a URL, for places and for raw evidence, in this order.
pub fn narrowed(rules: Rules<'_>) -> [Narrowed; 3] {
    let on = |on: bool| if on { "on" } else { "off" };
    let keeping = rules.org().keeping;
    let one = |switch, (in_force, decided_by), org, asks: fn(&OwnRules) -> bool, less| Narrowed {
        switch,
        in_force,
        decided_by,
        org,
        sender: rules.own().is_some_and(asks).then_some(less),
        locked: rules.org().locked.has(switch),
    };
    let (visible_urls, place, raw) = (rules.visible_urls(), rules.place(), rules.raw_evidence());
    [
        one(
            Switch::VisibleUrls,
            (visible_urls.0.as_str(), visible_urls.1),
            rules.org().visible_urls.as_str(),
            |own| own.leave_visible_urls,
            VisibleUrls::Leave.as_str(),
        ),
        one(
            Switch::Place,
            (place.0.as_str(), place.1),
            keeping.place.as_str(),
            |own| own.country_only,
            PlaceDetail::Country.as_str(),
        ),
        one(Switch::RawEvidence, (on(raw.0), raw.1), on(keeping.raw_evidence), |own| own.no_raw_evidence, on(false)),
    ]
}

impl Reason {
    /// Links in plain text are off because links are.
    pub fn follows_links(&self) -> bool {
        let decided = self.rows.iter().find(|row| row.level == self.decided_by);
        self.switch == Switch::TextLinks
            && self.in_force == Value::On(false)
            && decided.is_some_and(|row| row.locked || row.says != Some(Value::On(false)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::plan::{Because, Wish, plan};
    use crate::settings::{Levels, Locked, Org};

    fn mode() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Off), Just(Mode::Aggregate), Just(Mode::Individual)]
    }

    fn choice() -> impl Strategy<Value = Choice> {
        (proptest::option::of(mode()), proptest::option::of(mode()), any::<Option<bool>>())
            .prop_map(|(opens, links, text_links)| Choice { opens, links, text_links })
    }

    proptest! {
        /// What is explained is what is planned, whoever says whatever; and who decided did say it, or made links off.
        #[test]
        fn what_is_explained_is_what_is_planned(
            (opens, links, text_links) in (mode(), mode(), any::<bool>()),
            (org, user, header, wish) in (choice(), choice(), choice(), choice()),
            locks in proptest::collection::vec(proptest::sample::select(&Switch::ALL[..]), 0..4),
        ) {
            let ceiling = Tracking { opens, links, text_links };
            let locked: Locked = locks.into_iter().collect();
            let levels = Levels { ceiling, org, locked, user, header, shadow: [false; 2] };
            let wish = Wish { choice: wish, because: Because::Refused };
            let planned = plan(&levels, &[wish], 50).recipients[0];
            let [opens, links, text_links] = reasons(&planned);
            prop_assert_eq!(opens.in_force, Value::Mode(planned.tracking.opens));
            prop_assert_eq!(links.in_force, Value::Mode(planned.tracking.links));
            prop_assert_eq!(text_links.in_force, Value::On(planned.tracking.text_links));
            for reason in [opens, links, text_links] {
                let decided = reason.rows.iter().find(|row| row.level == reason.decided_by).unwrap();
                let said_so = decided.says == Some(reason.in_force) && !decided.locked;
                prop_assert!(said_so || reason.follows_links(), "{:?}", reason);
            }
        }
    }

    /// Whose word it is, and that a locked one is told and does not count.
    #[test]
    fn what_a_sender_narrowed_is_told() {
        let mut org = Org::named("acme".parse().unwrap());
        org.keeping.raw_evidence = true;
        let own =
            OwnRules { leave_visible_urls: true, country_only: true, no_raw_evidence: true, ..OwnRules::default() };
        let lines = |org: &Org, own: Option<&OwnRules>| {
            narrowed(Rules::of(org, own)).map(|one| (one.in_force, one.decided_by, one.org, one.sender, one.locked))
        };
        assert_eq!(
            lines(&org, Some(&own)),
            [
                ("leave", Level::User, "track", Some("leave"), false),
                ("country", Level::User, "city", Some("country"), false),
                ("off", Level::User, "on", Some("off"), false),
            ]
        );
        assert_eq!(lines(&org, None)[1], ("city", Level::Org, "city", None, false));
        org.locked = Locked::default().with(Switch::Place);
        org.visible_urls = VisibleUrls::Leave;
        assert_eq!(lines(&org, Some(&own))[0], ("leave", Level::Org, "leave", Some("leave"), false));
        assert_eq!(lines(&org, Some(&own))[1], ("city", Level::Org, "city", Some("country"), true));
    }
}

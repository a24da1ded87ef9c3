//! Why a recipient's copy carries what it carries: each level's own word, what remained after it, and who decided.
//!
//! **Invariant:** it is read off the steps that the planner walked; nothing is worked out a second time.

use std::fmt;

use super::plan::RecipientPlan;
use crate::settings::cascade::{ABOVE_RECIPIENT, Step};
use crate::settings::{Level, Mode, Switch};

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
    [Switch::Opens, Switch::Links, Switch::TextLinks].map(|switch| {
        let row = |step: Step| Row {
            level: step.level,
            says: said(&step, switch),
            locked: step.locked.has(switch),
            after: after(&step, switch),
        };
        let rows = plan.steps.map(row);
        let [.., last] = rows;
        let decided = rows.iter().find(|row| row.after == last.after);
        Reason { switch, in_force: last.after, decided_by: decided.map_or(Level::Ceiling, |row| row.level), rows }
    })
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

fn said(step: &Step, switch: Switch) -> Option<Value> {
    match switch {
        Switch::Opens => step.own.opens.map(Value::Mode),
        Switch::Links => step.own.links.map(Value::Mode),
        Switch::TextLinks | Switch::Shadow => step.own.text_links.map(Value::On),
    }
}

fn after(step: &Step, switch: Switch) -> Value {
    match switch {
        Switch::Opens => Value::Mode(step.after.opens),
        Switch::Links => Value::Mode(step.after.links),
        Switch::TextLinks | Switch::Shadow => Value::On(step.after.text_links),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::plan::{Because, Wish, plan};
    use crate::settings::{Choice, Levels, Locked, Tracking};

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
}

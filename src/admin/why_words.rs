//! Who decided a switch, in a sentence: the same in the dashboard, the API and the command line.

use crate::admin::actions::why::WhyView;
use crate::policy::plan::{Because, FIELDS};
use crate::policy::why::{Narrowed, Reason};
use crate::settings::Level;

/// Why this switch stands where it stands.
pub(super) fn of(view: &WhyView, reason: &Reason) -> String {
    if reason.follows_links() {
        return "links are off, so there is nothing to track them as".to_owned();
    }
    match (reason.decided_by, &view.excluded_by) {
        (Level::Ceiling, _) => "the ceiling in config.toml says so, and nobody below asks for less".to_owned(),
        (Level::Org, _) => format!("the organisation {} has chosen it", view.org),
        (Level::User, _) => "the sender has chosen it".to_owned(),
        (Level::Header, _) => "the message's own header asks for it".to_owned(),
        (Level::Recipient, Some((entry, by))) if view.plan.because == Because::Excluded(*by) => {
            format!("{} ({entry})", view.plan.because)
        }
        (Level::Recipient, _) => view.plan.because.to_string(),
    }
}

/// Whose word a value is that the sender may narrow.
pub(super) fn of_narrowed(view: &WhyView, one: &Narrowed) -> String {
    let ignored =
        || format!("; what the sender has chosen ({}) does not count: it is locked", one.sender.unwrap_or("-"));
    match one.decided_by {
        Level::User => "the sender has chosen it".to_owned(),
        _ if one.locked && one.sender.is_some_and(|sender| sender != one.org) => {
            format!("the organisation {} has it so{}", view.org, ignored())
        }
        _ => format!("the organisation {} has it so", view.org),
    }
}

/// What shadow mode does to it all; `None` when it is off.
pub(super) fn shadow(view: &WhyView) -> Option<&'static str> {
    match view.shadow? {
        Level::User => Some("the sender's shadow mode is on: mail leaves as it came, whatever stands below"),
        _ => Some("the organisation's shadow mode is on: mail leaves as it came, whatever stands below"),
    }
}

/// What of a header asked about means nothing to us; `None` when there is no such thing.
pub(crate) fn unknown(names: &[String]) -> Option<String> {
    let [all @ .., last] = &FIELDS;
    let (first, more) = names.split_first()?;
    let is_none = match more {
        [] => format!("{first} is no header that waxseal knows"),
        more => format!("{first}, {} are no headers that waxseal knows", more.join(", ")),
    };
    Some(format!("{is_none}, and changes nothing; {} and {last} are", all.join(", ")))
}

//! Shadow mode: the mail leaves as it came, and what would have been tracked is told.
//!
//! What would have been is found by the very rewriter, on a recipe of its own that is never rendered: no token is made.
//!
//! **Invariant:** the copies of a mail in shadow mode are the identity, whatever was planned.

use std::fmt;

use bytes::Bytes;

use crate::copies::{Composer, Recipe};
use crate::rewrite::{Outcome, PixelOutcome, Prepared};
use crate::settings::{Level, Mode};

/// What would have been tracked.
pub(super) struct Shadow {
    /// Who wants it so.
    by: Level,
    /// What would have been decided.
    outcome: Outcome,
    /// The most any copy would have carried.
    opens: Mode,
    links: Mode,
    /// Recipients whose copies would have carried something, and all of them.
    tracked: usize,
    recipients: usize,
}

/// The recipe that is in force, the mail prepared for it, and what a shadow hides. Processor time only.
pub(super) fn prepare(
    composer: &Composer,
    raw: &Bytes,
    recipe: Recipe,
    by: Option<Level>,
) -> (Recipe, Prepared, Option<Shadow>) {
    let Some(by) = by else {
        let prepared = composer.prepare(raw, &recipe);
        return (recipe, prepared, None);
    };
    let (as_it_came, planned) = recipe.shadowed();
    let shadow = Shadow::of(by, &planned, composer.prepare(raw, &planned).outcome().clone());
    let prepared = composer.prepare(raw, &as_it_came);
    (as_it_came, prepared, Some(shadow))
}

impl Shadow {
    fn of(by: Level, planned: &Recipe, outcome: Outcome) -> Shadow {
        let pixel = matches!(outcome.pixel, PixelOutcome::Placed { .. });
        let clicks = outcome.tracked_links() > 0;
        let on = |mode, there: bool| if there { mode } else { Mode::Off };
        let each: Vec<(Mode, Mode)> = planned
            .recipients
            .iter()
            .map(|portion| (on(portion.tracking().opens, pixel), on(portion.tracking().links, clicks)))
            .collect();
        Shadow {
            by,
            outcome,
            opens: each.iter().map(|(opens, _)| *opens).max().unwrap_or_default(),
            links: each.iter().map(|(_, links)| *links).max().unwrap_or_default(),
            tracked: each.iter().filter(|both| **both != (Mode::Off, Mode::Off)).count(),
            recipients: each.len(),
        }
    }

    /// What would have been decided about each part and link, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        self.outcome.lines().into_iter().map(|line| format!("shadow: {line}")).collect()
    }
}

impl fmt::Display for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shadow mode of {}: would have tracked ", self.by)?;
        let links = match self.outcome.tracked_links() {
            1 => "1 link".to_owned(),
            links => format!("{links} links"),
        };
        match (self.opens, self.links) {
            (Mode::Off, Mode::Off) => return f.write_str("nothing"),
            (Mode::Off, mode) => write!(f, "{links} ({mode})")?,
            (mode, Mode::Off) => write!(f, "opens ({mode}) and no link")?,
            (opens, mode) => write!(f, "opens ({opens}) and {links} ({mode})")?,
        }
        match self.recipients {
            1 => Ok(()),
            all if self.tracked == all => write!(f, ", of all {all} recipients"),
            all => write!(f, ", of {} of {all} recipients", self.tracked),
        }
    }
}

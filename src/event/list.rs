//! Lists as text: a line a row, `#` begins a comment, and the kinds of event a row is about.

use super::EventKind;

/// Which kinds of event a row of a list is about. The default is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scope {
    opens: bool,
    clicks: bool,
}

impl Scope {
    /// `opens`, `clicks` or `both`.
    pub fn parse(text: &str) -> Option<Scope> {
        match text {
            "opens" => Some(Scope { opens: true, clicks: false }),
            "clicks" => Some(Scope { opens: false, clicks: true }),
            "both" => Some(Scope { opens: true, clicks: true }),
            _ => None,
        }
    }

    /// Whether events of this kind are meant.
    pub fn covers(self, kind: EventKind) -> bool {
        match kind {
            EventKind::Open => self.opens,
            EventKind::Click => self.clicks,
        }
    }

    /// This and the other.
    #[must_use]
    pub fn and(self, other: Scope) -> Scope {
        Scope { opens: self.opens || other.opens, clicks: self.clicks || other.clicks }
    }
}

/// A line of a list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub number: usize,
    /// As it stands, without its comment.
    pub line: String,
}

/// The lines that say something, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, line)| !line.is_empty())
}

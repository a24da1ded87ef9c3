//! What a look at the server found: checks with a state, what was seen and what mends it. Pure.
//!
//! **Invariant:** a check that is not well says what to do about it, and what one organisation may see of it is decided here.

use crate::settings::OrgName;

/// How a check came out, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// There was nothing to look at in this set-up.
    Skipped,
    /// It could not be looked at now.
    Unknown,
    /// It works and somebody should look.
    Warn,
    /// It does not work.
    Fail,
}

impl State {
    /// The word of the API and of the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Skipped => "skipped",
            State::Unknown => "unknown",
            State::Warn => "warn",
            State::Fail => "fail",
        }
    }

    /// Reads [`State::as_str`].
    pub fn parse(text: &str) -> Option<State> {
        [State::Ok, State::Skipped, State::Unknown, State::Warn, State::Fail].into_iter().find(|s| s.as_str() == text)
    }
}

/// What a check is about; the sections of a report, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The way recipients reach us.
    Tracking,
    /// The server we forward to.
    Upstream,
    /// The organisations' domains in the DNS.
    Domains,
    /// What mail clients are shown.
    Listeners,
    /// Stores, spool, disk, key file.
    Storage,
    /// The process and who it tells.
    Process,
}

impl Area {
    /// In the order of a report.
    pub const ALL: [Area; 6] =
        [Area::Tracking, Area::Upstream, Area::Domains, Area::Listeners, Area::Storage, Area::Process];

    /// For programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Area::Tracking => "tracking",
            Area::Upstream => "upstream",
            Area::Domains => "domains",
            Area::Listeners => "listeners",
            Area::Storage => "storage",
            Area::Process => "process",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Area::Tracking => "Tracking site",
            Area::Upstream => "Upstream",
            Area::Domains => "Domains",
            Area::Listeners => "Mail clients",
            Area::Storage => "Storage",
            Area::Process => "Process",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Where it belongs.
    pub area: Area,
    /// For programs, never changed: `tracking.certificate`.
    pub name: &'static str,
    /// Which of several: a host, a domain, a file; empty where there is one.
    pub subject: String,
    /// Whose, when it is one organisation's.
    pub org: Option<OrgName>,
    /// How it came out.
    pub state: State,
    /// What was seen, in words.
    pub seen: String,
    /// What mends it; empty where nothing needs to be done.
    pub fix: String,
}

impl Check {
    /// All is well.
    pub fn ok(area: Area, name: &'static str, seen: impl Into<String>) -> Check {
        Check::of(area, name, State::Ok, seen, "")
    }

    /// There is nothing to look at.
    pub fn skipped(area: Area, name: &'static str, seen: impl Into<String>) -> Check {
        Check::of(area, name, State::Skipped, seen, "")
    }

    /// It cannot be looked at now.
    pub fn unknown(area: Area, name: &'static str, seen: impl Into<String>, fix: impl Into<String>) -> Check {
        Check::of(area, name, State::Unknown, seen, fix)
    }

    /// It works and somebody should look.
    pub fn warn(area: Area, name: &'static str, seen: impl Into<String>, fix: impl Into<String>) -> Check {
        Check::of(area, name, State::Warn, seen, fix)
    }

    /// It does not work.
    pub fn fail(area: Area, name: &'static str, seen: impl Into<String>, fix: impl Into<String>) -> Check {
        Check::of(area, name, State::Fail, seen, fix)
    }

    fn of(area: Area, name: &'static str, state: State, seen: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { area, name, subject: String::new(), org: None, state, seen: seen.into(), fix: fix.into() }
    }

    /// The same about this one.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Check {
        self.subject = subject.into();
        self
    }

    /// The same for this organisation.
    #[must_use]
    pub fn of_org(mut self, org: Option<&OrgName>) -> Check {
        self.org = org.cloned();
        self
    }
}

/// Everything that was looked at, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Whether the server looked at itself; else its files were looked at from outside.
    pub running: bool,
    /// In the order of their areas.
    pub checks: Vec<Check>,
}

/// The name of the check that says whether upstream is there.
pub const UPSTREAM: &str = "upstream.reachable";

impl Report {
    /// In order.
    pub fn new(at_ms: i64, running: bool, mut checks: Vec<Check>) -> Report {
        checks.sort_by_key(|check| check.area);
        Report { at_ms, running, checks }
    }

    /// The worst state of all; [`State::Ok`] where there is nothing.
    pub fn worst(&self) -> State {
        self.checks.iter().map(|check| check.state).max().unwrap_or(State::Ok)
    }

    /// Nothing fails. Warnings and what could not be seen are no failure.
    pub fn is_ok(&self) -> bool {
        self.worst() < State::Fail
    }

    /// How many checks came out so.
    pub fn count(&self, state: State) -> usize {
        self.checks.iter().filter(|check| check.state == state).count()
    }

    /// What the admin of one organisation may see: its own tracking host, domains and upstream; where it has none of its own,
    /// whether the server's is there, not which one it is, nor what it said.
    #[must_use]
    pub fn of_org(&self, org: &OrgName) -> Report {
        let is_own = |check: &&Check| check.org.as_ref() == Some(org);
        let has_own = self.checks.iter().filter(is_own).any(|check| check.name == UPSTREAM);
        let seen = |check: &Check| {
            if is_own(&check) {
                return Some(check.clone());
            }
            let servers = check.name == UPSTREAM && check.org.is_none();
            (servers && !has_own).then(|| yes_or_no(check))
        };
        Report { checks: self.checks.iter().filter_map(seen).collect(), ..*self }
    }
}

fn yes_or_no(check: &Check) -> Check {
    let (seen, fix) = match check.state {
        State::Ok => ("upstream is reachable", ""),
        State::Fail => ("upstream is not reachable: mail is kept and tried again", "ask the server's administrator"),
        State::Warn | State::Unknown | State::Skipped => ("this is not known", ""),
    };
    let state = if check.state == State::Skipped { State::Skipped } else { check.state };
    Check { state, ..Check::of(check.area, check.name, check.state, seen, fix) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(name: &str) -> OrgName {
        name.parse().unwrap()
    }

    #[test]
    fn the_worst_decides_and_only_a_failure_fails() {
        let rows: &[(&[State], State, bool)] = &[
            (&[], State::Ok, true),
            (&[State::Ok, State::Skipped], State::Skipped, true),
            (&[State::Warn, State::Unknown, State::Ok], State::Warn, true),
            (&[State::Warn, State::Fail, State::Ok], State::Fail, false),
        ];
        for (states, worst, is_ok) in rows {
            let checks = states.iter().map(|&state| Check { state, ..Check::ok(Area::Process, "x", "") }).collect();
            let report = Report::new(0, true, checks);
            assert_eq!((report.worst(), report.is_ok()), (*worst, *is_ok), "{states:?}");
        }
        for state in [State::Ok, State::Skipped, State::Unknown, State::Warn, State::Fail] {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("good"), None);
    }

    /// Another organisation's host, the stores and upstream's words stay hidden.
    #[test]
    fn an_organisation_sees_its_own_and_whether_upstream_is_there() {
        let report = Report::new(
            7,
            true,
            vec![
                Check::fail(Area::Upstream, UPSTREAM, "smtp.secret.example: connection refused", "open the firewall"),
                Check::ok(Area::Tracking, "tracking.dns", "a").about("t.a.example").of_org(Some(&org("a"))),
                Check::ok(Area::Tracking, "tracking.dns", "b").about("t.b.example").of_org(Some(&org("b"))),
                Check::ok(Area::Tracking, "tracking.dns", "server").about("t.example"),
                Check::ok(Area::Storage, "storage.disk", "lots"),
            ],
        );
        let seen = report.of_org(&org("a"));
        let told: Vec<(&str, &str)> = seen.checks.iter().map(|check| (check.name, check.seen.as_str())).collect();
        assert_eq!(
            told,
            [("tracking.dns", "a"), (UPSTREAM, "upstream is not reachable: mail is kept and tried again")]
        );
        assert!(!format!("{seen:?}").contains("secret"), "{seen:?}");
        assert_eq!(seen.worst(), State::Fail);
        // One of its own is its business, and the server's is not; nobody else sees it.
        let own = Check::ok(Area::Upstream, UPSTREAM, "smtp.b.example answers").of_org(Some(&org("b")));
        let report = Report { checks: [report.checks, vec![own]].concat(), ..report };
        let upstreams = |of: &str| -> Vec<String> {
            let seen = report.of_org(&org(of)).checks.into_iter();
            seen.filter(|check| check.area == Area::Upstream).map(|check| check.seen).collect()
        };
        assert_eq!(upstreams("b"), ["smtp.b.example answers"]);
        assert_eq!(upstreams("a"), ["upstream is not reachable: mail is kept and tried again"]);
    }
}

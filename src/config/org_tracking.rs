//! What an `[[org]]` says of who and what is never tracked, of its users' own choice, and of shadow mode.

use super::file::Section;
use super::problem::Wrong;
use super::values;
use crate::policy::sensitive;
use crate::settings::{LINK_PATTERNS_MAX, LinkPattern, Locked, Managed, Org, RECIPIENTS_MAX, RecipientPattern, Switch};

/// What the file sets; `None` is the dashboard's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrgTracking {
    /// Link hosts never tracked.
    pub excluded_hosts: Option<Vec<String>>,
    /// Recipients never tracked.
    pub excluded_recipients: Option<Vec<RecipientPattern>>,
    /// Rules about sensitive links that are off.
    pub sensitive_off: Option<Vec<&'static str>>,
    /// Links of its own that are never tracked.
    pub leave_links: Option<Vec<LinkPattern>>,
    /// Switches its users may not turn.
    pub locked: Option<Locked>,
    /// Mail leaves as it came.
    pub shadow: Option<bool>,
}

impl OrgTracking {
    /// Reads the keys.
    pub(super) fn read(section: &Section<'_, '_>) -> OrgTracking {
        let locked = section.list("locked", "\"opens\"", switch);
        OrgTracking {
            excluded_hosts: few(section, "excluded_hosts", HOSTS_MAX, "\"intranet.example.com\"", values::domain),
            excluded_recipients: few(section, "excluded_recipients", RECIPIENTS_MAX, "\"press@example.net\"", |text| {
                text.parse().map_err(|_| Wrong::Recipient(text.to_owned()))
            }),
            sensitive_off: section.list("sensitive_off", "\"calendar-reply\"", sensitive_rule),
            leave_links: few(section, "leave_links", LINK_PATTERNS_MAX, "\"portal.example.com/account\"", |text| {
                text.parse().map_err(|why| Wrong::LinkPattern { given: text.to_owned(), why })
            }),
            locked: locked.map(|switches| switches.into_iter().collect()),
            shadow: section.flag("shadow"),
        }
    }

    /// Lays what is set over the organisation, and marks it as the file's.
    pub(super) fn lay_over(&self, org: &mut Org) {
        let OrgTracking { excluded_hosts, excluded_recipients, sensitive_off, leave_links, locked, shadow } = self;
        if let Some(hosts) = excluded_hosts {
            org.excluded_hosts.clone_from(hosts);
        }
        if let Some(recipients) = excluded_recipients {
            org.excluded_recipients.clone_from(recipients);
        }
        if let Some(rules) = sensitive_off {
            org.sensitive_off = rules.iter().map(|rule| (*rule).to_owned()).collect();
        }
        if let Some(links) = leave_links {
            org.leave_links.clone_from(links);
        }
        org.locked = locked.unwrap_or(org.locked);
        org.shadow = shadow.unwrap_or(org.shadow);
        org.managed = Managed {
            excluded_hosts: excluded_hosts.is_some(),
            excluded_recipients: excluded_recipients.is_some(),
            sensitive_off: sensitive_off.is_some(),
            leave_links: leave_links.is_some(),
            locked: locked.is_some(),
            shadow: shadow.is_some(),
            ..org.managed
        };
    }
}

/// What an earlier file had set goes back to the default; what the dashboard had set stays.
pub(super) fn release(org: &mut Org) {
    let managed = org.managed;
    if managed.excluded_hosts {
        org.excluded_hosts.clear();
    }
    if managed.excluded_recipients {
        org.excluded_recipients.clear();
    }
    if managed.sensitive_off {
        org.sensitive_off.clear();
    }
    if managed.leave_links {
        org.leave_links.clear();
    }
    if managed.locked {
        org.locked = Locked::default();
    }
    org.shadow &= !managed.shadow;
}

/// As many as the dashboard takes.
const HOSTS_MAX: usize = 1000;

/// A list that is not too long.
fn few<T>(
    section: &Section<'_, '_>,
    key: &'static str,
    most: usize,
    example: &str,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Option<Vec<T>> {
    let list = section.list(key, example, parse)?;
    if list.len() > most {
        section.wrong(key, Wrong::TooMany { given: list.len(), most });
        return None;
    }
    Some(list)
}

fn switch(text: &str) -> Result<Switch, Wrong> {
    let allowed = || Switch::ALL.iter().map(|switch| switch.as_str()).collect();
    Switch::parse(text).ok_or_else(|| Wrong::Choice { given: text.to_owned(), allowed: allowed() })
}

fn sensitive_rule(text: &str) -> Result<&'static str, Wrong> {
    let allowed = sensitive::switches();
    let found = allowed.iter().find(|rule| **rule == text).copied();
    found.ok_or_else(|| Wrong::Choice { given: text.to_owned(), allowed })
}

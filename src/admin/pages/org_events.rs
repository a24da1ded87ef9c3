//! The half of an organisation's settings that is about its readers' events: rules, own networks, what is kept.

use axum::http::StatusCode;

use super::error::PageError;
use crate::admin::Refusal;
use crate::admin::actions::orgs::EventsPatch;
use crate::admin::visitor::Fields;
use crate::event::{Rule, words};
use crate::settings::{Managed, Org, PlaceDetail};

/// As the form shows it.
pub(super) struct EventsForm {
    pub(super) managed: Managed,
    pub(super) rules: Vec<RuleRow>,
    pub(super) own_networks: String,
    pub(super) city: bool,
    pub(super) raw_evidence: bool,
    pub(super) honour_gpc: bool,
    /// Empty: as long as the server keeps them.
    pub(super) events_days: String,
    /// Likewise.
    pub(super) messages_days: String,
}

/// One rule with its switch.
pub(super) struct RuleRow {
    pub(super) name: &'static str,
    pub(super) words: &'static str,
    /// What becomes of an event it matches.
    pub(super) effect: &'static str,
    pub(super) on: bool,
}

/// What is in force.
pub(super) fn form(org: &Org) -> EventsForm {
    let row = |rule: Rule| RuleRow {
        name: rule.as_str(),
        words: words::rule(rule),
        effect: rule.verdict().map_or("counted on the first", words::alone),
        on: !org.rules_off.iter().any(|off| off == rule.as_str()),
    };
    let networks: Vec<String> = org.own_networks.iter().map(ToString::to_string).collect();
    let days = |days: Option<u32>| days.map(|days| days.to_string()).unwrap_or_default();
    EventsForm {
        managed: org.managed,
        rules: Rule::ALL.into_iter().map(row).collect(),
        own_networks: networks.join("\n"),
        city: org.keeping.place == PlaceDetail::City,
        raw_evidence: org.keeping.raw_evidence,
        honour_gpc: org.keeping.honour_gpc,
        events_days: days(org.keeping.events_days),
        messages_days: days(org.keeping.messages_days),
    }
}

/// What the form says. A field that is not there (managed, or not this visitor's) is left as it is; checkboxes say by a
/// field of their own that they were there.
pub(super) fn patch(fields: &Fields) -> Result<EventsPatch, PageError> {
    let damaged = || PageError::BadForm(StatusCode::BAD_REQUEST);
    let on_off = |name: &str| match fields.optional(name) {
        None => Ok(None),
        Some("on") => Ok(Some(true)),
        Some("off") => Ok(Some(false)),
        Some(_) => Err(damaged()),
    };
    let rules_off = fields.optional("rules").map(|_| {
        let on = fields.all("rule");
        Rule::ALL.iter().map(|rule| rule.as_str()).filter(|rule| !on.contains(rule)).map(str::to_owned).collect()
    });
    let days = |name: &'static str| match fields.optional(name).map(str::trim) {
        None => Ok(None),
        Some("") => Ok(Some(0)),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| PageError::Refused(Refusal::invalid(name, "write a number of days, or nothing"))),
    };
    Ok(EventsPatch {
        rules_off,
        own_networks: fields.list("own_networks"),
        place: fields.optional("place").map(str::to_owned),
        raw_evidence: on_off("raw_evidence")?,
        honour_gpc: on_off("honour_gpc")?,
        events_days: days("events_days")?,
        messages_days: days("messages_days")?,
    })
}

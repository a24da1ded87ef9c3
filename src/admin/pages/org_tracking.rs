//! The half of an organisation's settings about what is never tracked, what its users may not change, and shadow mode.

use axum::http::StatusCode;

use super::error::PageError;
use crate::admin::actions::orgs::RulesPatch;
use crate::admin::visitor::Fields;
use crate::policy::sensitive;
use crate::settings::{LINK_PATTERNS_MAX, LinkPattern, Managed, Org, RECIPIENTS_MAX, RecipientPattern, Switch};

/// As the form shows it.
pub(super) struct RulesForm {
    pub(super) managed: Managed,
    pub(super) shadow: bool,
    pub(super) locks: Vec<Tick>,
    pub(super) sensitive: Vec<Tick>,
    pub(super) excluded_recipients: String,
    pub(super) recipients_max: usize,
    pub(super) leave_links: String,
    pub(super) links_max: usize,
}

/// One checkbox.
pub(super) struct Tick {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) help: &'static str,
    pub(super) on: bool,
}

/// What is in force.
pub(super) fn form(org: &Org) -> RulesForm {
    let recipients: Vec<&str> = org.excluded_recipients.iter().map(RecipientPattern::as_str).collect();
    let links: Vec<&str> = org.leave_links.iter().map(LinkPattern::as_str).collect();
    let lock = |switch: Switch| Tick {
        name: switch.as_str(),
        label: label(switch),
        help: about_lock(switch),
        on: org.locked.has(switch),
    };
    let rule = |name: &'static str| Tick {
        name,
        label: name,
        help: about(name),
        on: !org.sensitive_off.iter().any(|off| off == name),
    };
    RulesForm {
        managed: org.managed,
        shadow: org.shadow,
        locks: Switch::ALL.map(lock).into(),
        sensitive: sensitive::switches().into_iter().map(rule).collect(),
        excluded_recipients: recipients.join("\n"),
        recipients_max: RECIPIENTS_MAX,
        leave_links: links.join("\n"),
        links_max: LINK_PATTERNS_MAX,
    }
}

/// A switch as the pages call it.
pub(super) fn label(switch: Switch) -> &'static str {
    match switch {
        Switch::Opens => "Email tracking",
        Switch::Links => "Link tracking",
        Switch::TextLinks => "Links in plain text",
        Switch::Shadow => "Shadow mode",
        Switch::VisibleUrls => "Links whose text is a web address",
        Switch::Place => "Places",
        Switch::RawEvidence => "Raw evidence",
        Switch::ExcludedRecipients => "Recipients never tracked",
        Switch::ExcludedHosts => "Hosts never tracked",
        Switch::LeaveLinks => "Links never tracked",
    }
}

/// What a user may do about it for their own mail, where the switch's name does not say so.
fn about_lock(switch: Switch) -> &'static str {
    match switch {
        Switch::Opens | Switch::Links | Switch::TextLinks | Switch::Shadow => "",
        Switch::VisibleUrls => "leave them, where they are tracked here",
        Switch::Place => "keep the country alone",
        Switch::RawEvidence => "keep none, where they are kept here",
        Switch::ExcludedRecipients | Switch::ExcludedHosts | Switch::LeaveLinks => {
            "a list of their own, besides this one"
        }
    }
}

/// A value of one of them, in words.
pub(super) fn said_of(switch: Switch, value: &str) -> &str {
    match (switch, value) {
        (Switch::VisibleUrls, "track") => "tracked",
        (Switch::VisibleUrls, "leave") => "left alone",
        (Switch::Place, "city") => "country and city",
        (Switch::Place, "country") => "the country alone",
        (Switch::RawEvidence, "on") => "kept",
        (Switch::RawEvidence, "off") => "not kept",
        (_, other) => other,
    }
}

/// What a rule catches, by an example.
fn about(rule: &str) -> &'static str {
    match rule {
        "password-reset" => "reset, forgot or password in the path; \u{201c}Reset your password\u{201d}",
        "verification" => "verify, confirm or activate in the path; verification codes",
        "sign-in" => "magic links, one-time passwords",
        "token" => "a parameter named token, access_token, id_token, jwt and the like",
        "single-sign-on" => "sso, saml or oauth in the path",
        "invitation" => "invite or invitation in the path; \u{201c}Accept invitation\u{201d}",
        "calendar-reply" => "rsvp, and the reply links of calendars",
        _ => "",
    }
}

/// What the form says. A field that is not there (managed, or not this visitor's) is left as it is; checkboxes say by a
/// field of their own that they were there.
pub(super) fn patch(fields: &Fields) -> Result<RulesPatch, PageError> {
    let shadow = match fields.optional("shadow") {
        None => None,
        Some("on") => Some(true),
        Some("off") => Some(false),
        Some(_) => return Err(PageError::BadForm(StatusCode::BAD_REQUEST)),
    };
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let sensitive_off = fields.optional("sensitive_rules").map(|_| {
        let on = fields.all("sensitive");
        owned(sensitive::switches().into_iter().filter(|rule| !on.contains(rule)).collect())
    });
    Ok(RulesPatch {
        excluded_recipients: fields.lines("excluded_recipients"),
        sensitive_off,
        leave_links: fields.lines("leave_links"),
        locked: fields.optional("locks").map(|_| owned(fields.all("locked"))),
        shadow,
    })
}

//! What people see a field called, by the name that the API has for it, and where on its page it is.

use super::org_tracking;
use crate::settings::Switch;

/// The label of a field of the form that is sent to `path`.
pub(super) fn label(path: &str, field: &str) -> String {
    if let Some(switch) = Switch::ALL.into_iter().find(|switch| switch.as_str() == field) {
        return org_tracking::label(switch).to_owned();
    }
    let words = match (path, field) {
        ("/account" | "/login/password", "password") => "New password",
        ("/users/set", "addresses") => "Also sends as",
        ("/inbox/test-mail" | "/setup/test-mail", "to") => "Recipient of the test mail",

        (_, "to") => "To",
        (_, "from") if path == "/" => "From day",
        (_, "from") => "From",
        (_, "until") => "Until day",
        (_, "login") => "Login",
        (_, "password") if path.starts_with("/join/") => "New password",
        (_, "password") => "Password",
        (_, "present") => "Present password",
        (_, "org") => "Organisation",
        (_, "role") => "Role",
        (_, "addresses") => "May also send as",
        (_, "name") => "What is it for?",
        (_, "scopes") => "What may it do?",
        (_, "days") => "Days until it expires",
        (_, "url") => "Address",
        (_, "topics") => "What is it told of?",
        (_, "mail") => "Mail to you",
        (_, "domains") => "Domains",
        (_, "quotes") => "Our own tracking in quoted replies",
        (_, "locked") => "What users may not change for themselves",
        (_, "sensitive_off") => "Sensitive links",
        (_, "rules_off") => "Rules that judge them",
        (_, "own_networks") => "Your own networks",
        (_, "honour_gpc") => "Readers whose browsers say \u{201c}do not track\u{201d}",
        (_, "events_days") => "Days they are kept",
        (_, "messages_days") => "Days the mails\u{2019} records are kept",
        (_, "consent") => "Consent",
        (_, "without_consent") => "Who has said nothing, where consent is required",
        (_, "footer") => "Footer",
        (_, "shown_name") => "Name shown there",
        (_, "page_text") => "Your own words",
        (_, "address") => "Address",
        (_, "source") => "Where they said it",
        (_, "wording") => "In which words",
        (_, "act") => "What they said",
        (_, "destination") => "New destination",
        (_, "code") => "Code",
        (_, "header") => "The mail's own header",
        (_, other) => return in_words(other),
    };
    words.to_owned()
}

/// The `id` of a field of the form that is sent to `path`.
pub(super) fn id(path: &str, field: &str) -> String {
    match path {
        "/" => format!("s-{field}"),
        "/users/invite" => format!("invite-{field}"),
        "/account/app-passwords" => format!("app-{field}"),
        "/account/api-keys" => format!("key-{field}"),
        _ => match path.split_once("/links/") {
            Some((_, link)) => format!("{field}-{link}"),
            None => field.to_owned(),
        },
    }
}

/// A name that has no label, not as programs write it.
fn in_words(field: &str) -> String {
    let words = field.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

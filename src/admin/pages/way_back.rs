//! From the address of a form to the page that it is on: for who reads that address, and for who logs in again.

/// The page whose form is sent to `path`; `None`: the one of the same address, if any.
pub(in crate::admin) fn page_of(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let page = match parts.as_slice() {
        ["messages", id, "links", _] => format!("/messages/{id}#links"),
        ["messages", id, "events"] => format!("/messages/{id}#happened"),
        ["orgs", name, "privacy", "note"] => format!("/orgs/{name}/privacy"),
        ["orgs", name, "upstream-password"] => format!("/orgs/{name}/access"),
        ["users", ..] => "/users".to_owned(),
        ["account", ..] => "/account".to_owned(),
        ["notices", ..] | ["webhooks"] => "/notices".to_owned(),
        ["webhooks", id, ..] => format!("/webhooks/{id}"),
        ["queue", "retry"] => "/queue".to_owned(),
        ["queue", id, ..] => format!("/queue/{id}"),
        ["inbox", ..] => "/inbox".to_owned(),
        ["setup", ..] => "/setup".to_owned(),
        ["login", ..] => "/login".to_owned(),
        ["logout"] => "/".to_owned(),
        _ => return None,
    };
    Some(page)
}

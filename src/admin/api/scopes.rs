//! What an API key has to be allowed for each request: one table, for the door and for the document.

use axum::http::Method;

use crate::settings::access::Scope;

/// The scope a key needs for this method at this path. What is not named wants the widest: the settings.
pub(super) fn needed(method: &Method, path: &str) -> Scope {
    if method.is_safe() {
        return Scope::Read;
    }
    let area = path.strip_prefix("/api/v1/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    match area {
        "test-mail" => Scope::SendTest,
        "messages" | "queue" => Scope::Mail,
        "users" | "invitations" => Scope::Users,
        "webhooks" => Scope::Webhooks,
        _ => Scope::Settings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_its_scope() {
        let rows = [
            // what changes nothing, wherever
            ("GET", "/api/v1/users", Scope::Read),
            ("HEAD", "/api/v1/orgs/acme", Scope::Read),
            // by what is changed
            ("POST", "/api/v1/test-mail", Scope::SendTest),
            ("PUT", "/api/v1/messages/00000000000000a1/links/1", Scope::Mail),
            ("DELETE", "/api/v1/queue/00000000000000a1", Scope::Mail),
            ("POST", "/api/v1/users", Scope::Users),
            ("DELETE", "/api/v1/users/ann/app-passwords/00", Scope::Users),
            ("POST", "/api/v1/invitations", Scope::Users),
            ("PATCH", "/api/v1/webhooks/00000000000000ac", Scope::Webhooks),
            // the rest, also what nobody thought of: an erasure, the keys of all links, an address that is not there
            ("PATCH", "/api/v1/orgs/acme", Scope::Settings),
            ("POST", "/api/v1/privacy/erase", Scope::Settings),
            ("POST", "/api/v1/keys/rotate", Scope::Settings),
            ("POST", "/api/v2/users", Scope::Settings),
        ];
        for (method, path, scope) in rows {
            assert_eq!(needed(&method.parse().unwrap(), path), scope, "{method} {path}");
        }
    }
}

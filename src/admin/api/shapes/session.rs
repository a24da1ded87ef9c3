//! Who calls.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /api/v1/session`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// The login; null over the admin socket.
    pub login: Option<String>,
    /// Where it belongs; null for a server admin.
    pub org: Option<String>,
    /// `sender`, `org-admin`, `server-admin`, or `operator` over the admin socket.
    pub role: String,
    /// What changes carry in `X-CSRF-Token`; null where there is no session.
    pub csrf_token: Option<String>,
    /// What the API key may do; null where there is none.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
}

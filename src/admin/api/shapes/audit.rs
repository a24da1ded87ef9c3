//! The audit log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::at;
use crate::store::audit::{Field, Line};

/// `GET /api/v1/audit`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditLines {
    /// Newest first.
    pub lines: Vec<AuditLine>,
    /// `before` of the next page; null on the last one.
    pub next: Option<u64>,
}

/// One change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// Grows by one from line to line.
    pub number: u64,
    /// RFC 3339.
    pub at: String,
    /// The login, for a person; null for a server admin whom the reader is not to know.
    pub login: Option<String>,
    /// They were a server admin.
    pub by_server_admin: bool,
    /// `dashboard`, `admin socket`, `config.toml`, `link in a mail`, `login upstream` or `server`.
    pub via: String,
    /// The address it came from.
    pub from: Option<String>,
    /// Whose admins may read it; null: server admins alone.
    pub org: Option<String>,
    /// Kind and name.
    pub subject: String,
    /// `added`, `changed`, `removed` or `done`.
    pub action: String,
    /// What is another now.
    pub values: Vec<AuditValue>,
}

/// One value before and after.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditValue {
    /// Its name.
    pub name: String,
    /// Null: there was none.
    pub before: Option<String>,
    /// Null: there is none.
    pub after: Option<String>,
}

impl From<Line> for AuditLine {
    fn from(line: Line) -> AuditLine {
        AuditLine {
            number: line.sequence,
            at: at(line.at_ms),
            login: line.author.login,
            by_server_admin: line.by_server_admin,
            via: line.author.via.as_str().to_owned(),
            from: line.author.from.map(|from| from.to_string()),
            org: line.org.map(|org| org.as_str().to_owned()),
            subject: line.subject,
            action: line.action.as_str().to_owned(),
            values: line.fields.into_iter().map(AuditValue::from).collect(),
        }
    }
}

impl From<Field> for AuditValue {
    fn from(Field { name, before, after }: Field) -> AuditValue {
        AuditValue { name, before, after }
    }
}

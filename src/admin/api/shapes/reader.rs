//! Somebody mail was sent to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::record::Correspondent;

/// A page of them, by address.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Readers {
    /// By address.
    pub readers: Vec<Reader>,
    /// `after` of the next page.
    pub next: Option<String>,
}

/// One of them. Opens and clicks are those of copies that were theirs alone, of their newest 200 mails.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Reader {
    /// As it was written.
    pub address: String,
    /// Mails to them.
    pub mails: u64,
    /// When the last was sent.
    pub last_at: String,
    /// By people.
    pub opens: i64,
    /// By people.
    pub clicks: i64,
    /// By machines and the sender.
    pub machine_opens: i64,
    /// By machines and the sender.
    pub machine_clicks: i64,
}

impl From<Correspondent> for Reader {
    fn from(one: Correspondent) -> Reader {
        Reader {
            address: one.address,
            mails: one.mails,
            last_at: super::at(one.last_ms),
            opens: one.counts.opens,
            clicks: one.counts.clicks,
            machine_opens: one.counts.machine_opens,
            machine_clicks: one.counts.machine_clicks,
        }
    }
}

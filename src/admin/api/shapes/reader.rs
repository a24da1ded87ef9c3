//! Somebody mail was sent to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::people::{HeldMail, says};
use crate::admin::actions::readers::ReaderView;
use crate::admin::pages::place;
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
    /// What they were called last; null when they were called nothing.
    #[serde(default)]
    pub name: Option<String>,
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
            name: super::called(one.name),
            mails: one.mails,
            last_at: super::at(one.last_ms),
            opens: one.counts.opens,
            clicks: one.counts.clicks,
            machine_opens: one.counts.machine_opens,
            machine_clicks: one.counts.machine_clicks,
        }
    }
}

/// `GET /api/v1/readers/{address}`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReaderMails {
    /// As it was written.
    pub address: String,
    /// What they were called last in these mails; null when they were called nothing.
    #[serde(default)]
    pub name: Option<String>,
    /// What they said to each organisation that wrote to them.
    pub says: Vec<ReaderSays>,
    /// Their pictures come through a proxy or are fetched by a machine: opens mean little.
    pub opens_mean_little: bool,
    /// Where they were in these mails, the most frequent first.
    pub places: Vec<Ranked>,
    /// With what, likewise.
    pub programs: Vec<Ranked>,
    /// Newest first, 100 a page.
    pub mails: Vec<HeldMail>,
    /// `before` of the next page; null on the last one.
    pub next: Option<String>,
}

/// What somebody said to an organisation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReaderSays {
    /// To whom.
    pub org: String,
    /// `yes`, `no` or `nothing`.
    pub says: String,
}

/// A name and how often.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Ranked {
    /// In words.
    pub name: String,
    /// Events.
    pub count: usize,
}

impl From<ReaderView> for ReaderMails {
    fn from(view: ReaderView) -> ReaderMails {
        let ranked =
            |rows: Vec<(String, usize)>| rows.into_iter().map(|(name, count)| Ranked { name, count }).collect();
        let said = view.says.into_iter();
        ReaderMails {
            address: view.address,
            name: super::called(view.name),
            says: said
                .map(|(org, said)| ReaderSays { org: org.as_str().to_owned(), says: says(said).to_owned() })
                .collect(),
            opens_mean_little: view.opens_mean_little,
            places: ranked(view.places),
            programs: ranked(view.programs),
            mails: view.mails.into_iter().map(HeldMail::from).collect(),
            next: view.next.map(place::print),
        }
    }
}

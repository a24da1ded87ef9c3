//! Whom mail was sent to, and what one of them did with it: for who may read that mail, nobody else.

use std::collections::BTreeMap;

use super::messages::{Narrow, scope};
use super::people::person_of;
use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::event::{EventKind, Verdict};
use crate::settings::OrgName;
use crate::settings::privacy::Says;
use crate::store::record::{Correspondent, CorrespondentFilter, Held};
use crate::token::MessageId;

/// Most people of one page.
pub const READERS_PER_PAGE_MAX: u32 = 500;
/// The newest mails of somebody that are looked at.
pub const MAILS_MAX: u32 = 100;
/// Opens of somebody from which on it is said what they come through.
const HABIT_OPENS_MIN: usize = 2;

/// Whom to list.
#[derive(Debug, Clone, Default)]
pub struct ReaderQuery {
    /// Only of this org's mail.
    pub org: Option<OrgName>,
    /// Only of this login's mail.
    pub login: Option<String>,
    /// In the address.
    pub holding: Option<String>,
    /// The page after this address.
    pub after: Option<String>,
    /// At most this many; [`READERS_PER_PAGE_MAX`] is the most.
    pub limit: u32,
}

/// People, by address, and where the next page begins.
#[derive(Debug, Clone)]
pub struct ReaderPage {
    /// By address.
    pub rows: Vec<Correspondent>,
    /// `after` of the next page; `None` on the last one.
    pub next: Option<String>,
}

/// One of them, over their newest mails.
#[derive(Debug, Clone)]
pub struct ReaderView {
    /// The address as it was written.
    pub address: String,
    /// What they were called last in these mails; empty: nothing.
    pub name: String,
    /// Newest first, at most [`MAILS_MAX`].
    pub mails: Vec<Held>,
    /// The mail to go on before; `None` on the last page.
    pub next: Option<(i64, MessageId)>,
    /// What they have said to each organisation that wrote to them, where it is known.
    pub says: Vec<(OrgName, Says)>,
    /// Where they were, the most frequent first; people's own places only.
    pub places: Vec<(String, usize)>,
    /// With what, likewise.
    pub programs: Vec<(String, usize)>,
    /// Their pictures come through a proxy or are fetched by a machine, so that opens mean little.
    pub opens_mean_little: bool,
}

impl Actions {
    /// People that the viewer's mail went to, by address. An organisation's admin sees those of their own mail only.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for another organisation or another person's mail; [`Refusal::Store`].
    pub async fn readers(&self, viewer: &Viewer, query: ReaderQuery) -> Result<ReaderPage, Refusal> {
        let (org, login) = scope(viewer, query.org, query.login, Narrow::ToOwn)?;
        let limit = query.limit.clamp(1, READERS_PER_PAGE_MAX);
        let filter =
            CorrespondentFilter { org, login, holding: query.holding, after: query.after, before: None, limit };
        let rows = self.history.correspondents(filter).await?;
        let next = rows.last().filter(|_| rows.len() >= limit as usize).map(|last| last.address.clone());
        Ok(ReaderPage { rows, next })
    }

    /// One of them, by their newest mails or the newest before one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the viewer wrote to nobody of that address (before that mail); [`Refusal::Store`].
    pub async fn reader(
        &self,
        viewer: &Viewer,
        address: &str,
        before: Option<(i64, MessageId)>,
    ) -> Result<ReaderView, Refusal> {
        let (org, login) = scope(viewer, None, None, Narrow::ToOwn)?;
        let holding = Some(address.to_owned());
        let filter = CorrespondentFilter { org, login, holding, after: None, before, limit: MAILS_MAX + 1 };
        let mut mails = self.history.correspondence(filter).await?;
        let Some(newest) = mails.first() else { return Err(Refusal::not_found("mail to", address)) };
        let address = newest.recipient.address.clone();
        let name = mails.iter().map(|mail| &mail.recipient.name).find(|name| !name.is_empty());
        let name = name.cloned().unwrap_or_default();
        let more = mails.len() > MAILS_MAX as usize;
        mails.truncate(MAILS_MAX as usize);
        let next = mails.last().map(|mail| (mail.accepted_at_ms, mail.message)).filter(|_| more);
        let mut says = Vec::new();
        let mut orgs: Vec<OrgName> = mails.iter().map(|mail| mail.org.clone()).collect();
        orgs.sort();
        orgs.dedup();
        for org in orgs {
            if let Some(privacy) = &self.privacy {
                let person = person_of(privacy, &org, &address)?;
                says.push((org.clone(), self.settings.snapshot().people.standing(&org, person).says()));
            }
        }
        let (places, programs) = (places(&mails), programs(&mails));
        let opens_mean_little = opens_mean_little(&mails);
        Ok(ReaderView { address, name, mails, next, says, places, programs, opens_mean_little })
    }
}

fn places(mails: &[Held]) -> Vec<(String, usize)> {
    let events = mails.iter().flat_map(|mail| &mail.events).filter(|event| event.via.is_none());
    let own = events.filter(|event| matches!(event.verdict, Verdict::Person | Verdict::Unknown));
    ranked(own.filter_map(|event| {
        let country = event.country.as_deref().map(crate::event::country::country_name)?;
        Some(event.city.as_ref().map_or_else(|| country.to_owned(), |city| format!("{city}, {country}")))
    }))
}

fn programs(mails: &[Held]) -> Vec<(String, usize)> {
    let events = mails.iter().flat_map(|mail| &mail.events).filter(|event| event.verdict.counts());
    ranked(events.filter_map(|event| {
        let agent = event.agent_family.clone()?;
        Some(event.os_family.as_ref().map_or_else(|| agent.clone(), |os| format!("{agent} on {os}")))
    }))
}

fn ranked(named: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for name in named {
        *counted.entry(name).or_default() += 1;
    }
    let mut ranked: Vec<(String, usize)> = counted.into_iter().collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    ranked
}

/// More than half of somebody's opens are a proxy's or a machine's.
fn opens_mean_little(mails: &[Held]) -> bool {
    let events = mails.iter().flat_map(|mail| &mail.events);
    let opens: Vec<Verdict> = events.filter(|e| e.kind == EventKind::Open).map(|event| event.verdict).collect();
    let others = opens.iter().filter(|verdict| matches!(verdict, Verdict::Proxy | Verdict::Machine)).count();
    opens.len() >= HABIT_OPENS_MIN && others * 2 > opens.len()
}

//! What history keeps of a submission, and the random names in it.

use std::collections::{HashMap, HashSet};

use super::admit::Admitted;
use super::{Job, Parts};
use crate::copies::{self, Frozen, Recipe};
use crate::event::network::network_hash;
use crate::message::header;
use crate::rewrite::{LinkDecision, PixelOutcome, Untouched};
use crate::settings::Mode;
use crate::smtp::ReversePath;
use crate::store::record::{Delivery, DeliveryState, LinkRecord, MessageRecord, RecipientRecord};
use crate::token::{Kind, MessageId, person};

/// A message id nobody can guess; `None` when the system has no randomness.
pub(super) fn random_id() -> Option<MessageId> {
    getrandom::u64().ok().map(MessageId)
}

/// `Mon, 23 Nov 2026 20:49:17 +0000` (RFC 5322 §3.3).
pub(super) fn date(unix_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// The recipe of an admitted mail: key, site and random indexes included. `None` without randomness.
pub(super) fn freeze(parts: &Parts, admitted: &Admitted, received: String) -> Option<Recipe> {
    let keyring = parts.keyring.load();
    let site = admitted.org.tracking_url.as_deref().and_then(|url| keyring.site_by_url(url)).or(keyring.default_site());
    let (site, key_id) = (site?.id, keyring.current_key()?);
    let indexes = random_indexes(copies::indexes_needed(&admitted.plan))?;
    Some(Recipe::freeze(
        &admitted.plan,
        Frozen { rules: admitted.rules(), site, key_id, received, indexes, persons: &admitted.persons },
    ))
}

/// Distinct random numbers, so that an index betrays neither order nor a Bcc. At most 65,536.
fn random_indexes(wanted: usize) -> Option<Vec<u16>> {
    let mut seen = HashSet::with_capacity(wanted);
    let mut indexes = Vec::with_capacity(wanted);
    let mut octets = [0; 256];
    while indexes.len() < wanted.min(usize::from(u16::MAX)) {
        getrandom::fill(&mut octets).ok()?;
        let drawn = octets.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair));
        indexes.extend(drawn.filter(|index| seen.insert(*index)).take(wanted - indexes.len()));
    }
    Some(indexes)
}

/// The record of a job under this id.
pub(super) fn record(parts: &Parts, job: &Job, id: MessageId) -> MessageRecord {
    let keyring = parts.keyring.load();
    let mail = &job.submission.mail;
    let people = header::for_people(&mail.raw);
    let site = job.recipe.site.parse().ok().or(keyring.default_site().map(|site| site.id));
    MessageRecord {
        id,
        accepted_at_ms: job.accepted_at_ms,
        org: job.submission.submitter.org.clone(),
        login: job.submission.submitter.login.clone(),
        reverse_path: match &mail.envelope.reverse_path {
            ReversePath::Null => String::new(),
            ReversePath::Mailbox(mailbox) => mailbox.display(),
        },
        header_from: people.from,
        subject: people.subject,
        message_id_header: people.message_id,
        size_bytes: mail.raw.len() as u64,
        network_hash: Some(network_hash(keyring.instance_key(), id, job.submission.peer)),
        site: site.unwrap_or(crate::token::SiteId([0; 4])),
        key_id: job.recipe.key_id,
        untouched: untouched(job),
        notes: notes(job),
        recipients: recipients(job, &people.names),
        links: links(job),
    }
}

/// What was decided and why, a line each.
fn notes(job: &Job) -> Vec<String> {
    let decided = match &job.shadow {
        Some(shadow) => shadow.lines(),
        None => job.prepared.outcome().lines(),
    };
    decided.into_iter().chain(job.notes.iter().cloned()).collect()
}

/// Why nothing of the mail is tracked at all.
pub(super) fn untouched(job: &Job) -> Option<String> {
    if let Some(shadow) = &job.shadow {
        return Some(shadow.to_string());
    }
    let is_tracked = job.prepared.slots().iter().any(|slot| slot.kind != Kind::Preference);
    let footer = job.recipe.footer.is_some() && !is_tracked;
    let because = |why: Untouched| match (why, &job.off_because) {
        (Untouched::NotWanted, Some(because)) => format!("{why}: {because}"),
        _ => why.to_string(),
    };
    let why = job.prepared.outcome().untouched.map(because);
    why.or_else(|| footer.then(|| "nothing in it is tracked; it carries the footer".to_owned()))
}

/// Every recipient of the envelope, called what the header calls them; of two names for one address the first.
fn recipients(job: &Job, names: &[(String, String)]) -> Vec<RecipientRecord> {
    let folded = |address: &str| person::folded(address.as_bytes());
    let names: HashMap<Vec<u8>, &str> =
        names.iter().rev().map(|(address, name)| (folded(address), name.as_str())).collect();
    let name_of = |address: &str| match names.is_empty() {
        true => String::new(),
        false => names.get(&folded(address)).copied().unwrap_or_default().to_owned(),
    };
    let pending = Delivery { state: DeliveryState::Pending, reply: String::new(), at_ms: job.accepted_at_ms };
    let pixel = matches!(job.prepared.outcome().pixel, PixelOutcome::Placed { .. });
    let clicks = job.prepared.outcome().tracked_links() > 0;
    let both = job.submission.mail.envelope.recipients.iter().zip(&job.recipe.recipients);
    both.map(|(recipient, portion)| {
        // What is in force is nothing where nothing was put in, whatever was planned.
        let tracking = portion.tracking();
        let on = |mode, there: bool| if there { mode } else { Mode::Off };
        let address = recipient.path.0.display();
        RecipientRecord {
            index: portion.index,
            copy_index: portion.copy_index,
            name: name_of(&address),
            address,
            opens: on(tracking.opens, pixel),
            links: on(tracking.links, clicks),
            delivery: pending.clone(),
        }
    })
    .collect()
}

/// The links that are in the mail. A slot can be there for one that did not fit into its line and stayed.
fn links(job: &Job) -> Vec<LinkRecord> {
    let number = |decision: &LinkDecision| match decision {
        LinkDecision::Tracked(number) => Some(*number),
        _ => None,
    };
    let tracked: HashSet<u16> = job.prepared.outcome().links.iter().filter_map(|link| number(&link.decision)).collect();
    let clicks = job.prepared.slots().iter().filter(|slot| slot.kind == Kind::Click && tracked.contains(&slot.link));
    clicks.map(|slot| LinkRecord { index: slot.link, destination: slot.payload.clone() }).collect()
}

/// How many links are tracked, and how many were left alone.
pub(super) fn link_counts(job: &Job) -> (usize, usize) {
    let outcome = job.prepared.outcome();
    let tracked = outcome.tracked_links();
    (tracked, outcome.links.len() - tracked)
}

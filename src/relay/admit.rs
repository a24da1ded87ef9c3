//! May this mail be taken, and what is in force for it?

use std::net::IpAddr;
use std::sync::Arc;

use super::{Options, Parts, off_the_runtime};
use crate::listener::Submission;
use crate::message::envelope::{Envelope, Recipient};
use crate::message::{header, trace};
use crate::policy::plan::{HeaderChoice, RecipientPlan, Wish};
use crate::policy::{self, Plan, sender};
use crate::settings::{Choice, Levels, Org, OrgName, OwnRules, Rules, Submitter, User};
use crate::smtp::{Reply, ReversePath};
use crate::store::Snapshot;
use crate::telemetry::maillog;
use crate::telemetry::metrics::limit_met;
use crate::token::PersonId;

/// A mail that is taken, and what is in force for it.
pub(super) struct Admitted {
    /// Whose settings apply.
    pub(super) org: Org,
    /// What the sender asks for besides; `None` for a trusted network.
    pub(super) own: Option<OwnRules>,
    /// What everybody above the recipients says.
    pub(super) levels: Levels,
    /// Who the recipients are to the organisation.
    pub(super) persons: Vec<PersonId>,
    /// Every recipient's part.
    pub(super) plan: Plan,
    /// The client's address as `Received:` shows it: not that of someone who logged in, whose home it would tell, unless
    /// the operator wants it.
    pub(super) shown_peer: Option<IpAddr>,
    /// Whether it can be told from another mail of the same octets.
    pub(super) has_id_and_date: bool,
}

/// What the header says to us.
struct Header {
    received: usize,
    choice: Choice,
    has_id_and_date: bool,
}

/// Refuses what this submitter may not send and what goes in circles; plans the rest.
pub(super) async fn admit(parts: &Parts, options: &Options, submission: &Submission) -> Result<Admitted, Reply> {
    let snapshot = parts.settings.snapshot();
    let (org, user) = whose(&snapshot, &submission.submitter)?;
    let mail = &submission.mail;
    let (own, at) = (addresses_of(&snapshot, org, user), Arc::clone(&snapshot));
    let (name, raw) = (org.name.clone(), mail.raw.clone());
    let header = off_the_runtime(raw.len(), move || read(&at, &name, &own, &raw)).await??;
    if header.received > options.received_headers_max {
        limit_met("received_headers");
        maillog::loop_stopped(&mail.envelope, header.received);
        return Err(Reply::mail_loop());
    }
    let levels = Levels::of(**parts.ceiling.load(), org, user, header.choice);
    let persons = persons(parts, org, &mail.envelope);
    let rule = parts.consent.load().narrowed_by(&org.privacy);
    let rules = Rules::of(org, user.map(|user| &user.own));
    let wish = |(to, person): (&Recipient, &PersonId)| {
        Wish::of(rules, &to.path.0.display(), snapshot.people.standing(&org.name, *person).says(), rule)
    };
    let wishes: Vec<Wish> = mail.envelope.recipients.iter().zip(&persons).map(wish).collect();
    let plan = policy::plan(&levels, &wishes, options.split_recipients_max);
    let is_shown = submission.submitter.login.is_none() || options.show_client;
    let shown_peer = is_shown.then_some(submission.peer);
    let (org, own) = (org.clone(), user.map(|user| user.own.clone()));
    Ok(Admitted { org, own, levels, persons, plan, shown_peer, has_id_and_date: header.has_id_and_date })
}

/// Judges the header of a mail of organisation `name` and reads what it says. Linear in the header, which may be the whole mail.
fn read(snapshot: &Snapshot, name: &OrgName, addresses: &[String], raw: &[u8]) -> Result<Header, Reply> {
    let domains = snapshot.orgs.get(name).map_or(&[][..], |org| &org.domains);
    let is_others = |domain: &str| belongs_to_another(snapshot, name, domain);
    let judged = sender::header(sender::Allowed { domains, addresses }, &is_others, raw);
    judged.map_err(|why| Reply::header_not_yours(&why.to_string()))?;
    if trace::begins_folded(raw) {
        return Err(Reply::begins_folded());
    }
    let (mut has_id, mut has_date) = (false, false);
    for field in header::fields(raw, 0) {
        has_id |= field.is(raw, "Message-ID");
        has_date |= field.is(raw, "Date");
    }
    let choice = HeaderChoice::read(raw).choice;
    Ok(Header { received: trace::received_count(raw), choice, has_id_and_date: has_id && has_date })
}

fn persons(parts: &Parts, org: &Org, envelope: &Envelope) -> Vec<PersonId> {
    let keyring = parts.keyring.load();
    let person = |to: &Recipient| PersonId::of(keyring.instance_key(), org.name.as_str(), to.path.0.as_bytes());
    envelope.recipients.iter().map(person).collect()
}

impl Admitted {
    /// What organisation and sender say besides the levels.
    pub(super) fn rules(&self) -> Rules<'_> {
        Rules::of(&self.org, self.own.as_ref())
    }

    /// What recipients' own words changed, a line each, recipients by their place in the envelope; and what the mail's header
    /// did.
    pub(super) fn notes(&self) -> Vec<String> {
        let told = (1..).zip(&self.plan.recipients).filter_map(|(place, plan)| Some((place, plan.told()?)));
        let mut notes: Vec<String> =
            told.map(|(place, words): (usize, String)| format!("recipient {place}: {words}")).collect();
        if self.plan.off_because().is_none() {
            notes.extend(self.plan.asked_by_header());
        }
        let individual = |plan: &RecipientPlan| plan.steps.last().is_some_and(|last| last.after != plan.tracking);
        if self.plan.recipients.iter().any(individual) {
            notes.push("counted only: with so many recipients copies are shared, and nobody is told apart".to_owned());
        }
        if self.org.privacy.footer.is_some() && self.plan.too_many_to_split {
            notes.push("footer: none: copies are shared by so many that its link could be nobody's own".to_owned());
        }
        notes
    }
}

/// Asked at MAIL.
pub(super) fn may_send_from(parts: &Parts, submitter: &Submitter, path: &ReversePath) -> Result<(), Reply> {
    let snapshot = parts.settings.snapshot();
    let (org, user) = whose(&snapshot, submitter)?;
    let addresses = addresses_of(&snapshot, org, user);
    let allowed = sender::Allowed { domains: &org.domains, addresses: &addresses };
    sender::reverse_path(allowed, path).map_err(|_| Reply::sender_not_yours())
}

/// Addresses of the login's own; a trusted network has none. One in a domain that has become another organisation's since
/// it was given is nobody's to give any more.
fn addresses_of(snapshot: &Snapshot, org: &Org, user: Option<&User>) -> Vec<String> {
    let is_others = |address: &&String| {
        let domain = address.rsplit_once('@').and_then(|(_, domain)| sender::a_label(domain.as_bytes()));
        domain.is_some_and(|domain| belongs_to_another(snapshot, &org.name, &domain))
    };
    user.map_or(&[][..], |user| &user.addresses).iter().filter(|address| !is_others(address)).cloned().collect()
}

fn belongs_to_another(snapshot: &Snapshot, name: &OrgName, domain: &str) -> bool {
    snapshot.orgs.values().any(|org| org.name != *name && org.domains.iter().any(|own| own == domain))
}

/// The org, and the login's user. A login deleted since it logged in may send nothing more.
fn whose<'s>(snapshot: &'s Snapshot, submitter: &Submitter) -> Result<(&'s Org, Option<&'s User>), Reply> {
    let org = snapshot.orgs.get(&submitter.org).ok_or_else(|| {
        tracing::error!(org = %submitter.org, "mail for an organisation that does not exist");
        Reply::internal_error()
    })?;
    let Some(login) = &submitter.login else { return Ok((org, None)) };
    let user = snapshot.users.get(login).ok_or_else(Reply::sender_not_yours)?;
    Ok((org, Some(user)))
}

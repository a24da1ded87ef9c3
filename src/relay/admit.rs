//! May this mail be taken, and what is in force for it?

use std::net::IpAddr;

use super::{Options, Parts};
use crate::listener::Submission;
use crate::message::envelope::{Envelope, Recipient};
use crate::message::trace;
use crate::policy::plan::{HeaderChoice, Wish};
use crate::policy::{self, Plan, sender};
use crate::settings::{Choice, Org, Submitter, Tracking};
use crate::smtp::{Reply, ReversePath};
use crate::store::Snapshot;
use crate::telemetry::maillog;
use crate::token::PersonId;

/// A mail that is taken, and what is in force for it.
pub(super) struct Admitted {
    /// Whose settings apply.
    pub(super) org: Org,
    /// What is in force for the sender, the message's own header included.
    pub(super) tracking: Tracking,
    /// Who the recipients are to the organisation.
    pub(super) persons: Vec<PersonId>,
    /// Every recipient's part.
    pub(super) plan: Plan,
    /// The client's address as `Received:` shows it: not that of someone who logged in, whose home it would tell, unless
    /// the operator wants it.
    pub(super) shown_peer: Option<IpAddr>,
}

/// Refuses what this submitter may not send and what goes in circles; plans the rest.
pub(super) fn admit(parts: &Parts, options: &Options, submission: &Submission) -> Result<Admitted, Reply> {
    let snapshot = parts.settings.snapshot();
    let (org, addresses, user_choice) = whose(&snapshot, &submission.submitter)?;
    let mail = &submission.mail;
    let allowed = sender::Allowed { domains: &org.domains, addresses };
    sender::header(allowed, &mail.raw).map_err(|why| Reply::header_not_yours(&why.to_string()))?;
    let received = trace::received_count(&mail.raw);
    if received > options.received_headers_max {
        maillog::loop_stopped(&mail.envelope, received);
        return Err(Reply::mail_loop());
    }
    let settings = parts.ceiling.load().narrowed_by(org.choice).narrowed_by(user_choice);
    let header = HeaderChoice::read(&mail.raw);
    let persons = persons(parts, org, &mail.envelope);
    let rule = parts.consent.load().narrowed_by(&org.privacy);
    let wish = |person: &PersonId| Wish::of(snapshot.people.standing(&org.name, *person).says(), rule);
    let wishes: Vec<Wish> = persons.iter().map(wish).collect();
    let plan = policy::plan(settings, header, &wishes, options.split_recipients_max);
    let is_shown = submission.submitter.login.is_none() || options.show_client;
    let shown_peer = is_shown.then_some(submission.peer);
    Ok(Admitted { org: org.clone(), tracking: settings.narrowed_by(header.choice), persons, plan, shown_peer })
}

fn persons(parts: &Parts, org: &Org, envelope: &Envelope) -> Vec<PersonId> {
    let keyring = parts.keyring.load();
    let person = |to: &Recipient| PersonId::of(keyring.instance_key(), org.name.as_str(), to.path.0.as_bytes());
    envelope.recipients.iter().map(person).collect()
}

impl Admitted {
    /// What recipients' own words changed, a line each; recipients by their place in the envelope.
    pub(super) fn notes(&self) -> Vec<String> {
        let told = (1..).zip(&self.plan.recipients).filter_map(|(place, plan)| Some((place, plan.told()?)));
        let mut notes: Vec<String> =
            told.map(|(place, words): (usize, String)| format!("recipient {place}: {words}")).collect();
        if self.org.privacy.footer.is_some() && self.plan.too_many_to_split {
            notes.push("footer: none: copies are shared by so many that its link could be nobody's own".to_owned());
        }
        notes
    }
}

/// Asked at MAIL.
pub(super) fn may_send_from(parts: &Parts, submitter: &Submitter, path: &ReversePath) -> Result<(), Reply> {
    let snapshot = parts.settings.snapshot();
    let (org, addresses, _) = whose(&snapshot, submitter)?;
    let allowed = sender::Allowed { domains: &org.domains, addresses };
    sender::reverse_path(allowed, path).map_err(|_| Reply::sender_not_yours())
}

/// The org, the login's own addresses, and its own choice. A login deleted since it logged in may send nothing more.
fn whose<'s>(snapshot: &'s Snapshot, submitter: &Submitter) -> Result<(&'s Org, &'s [String], Choice), Reply> {
    let org = snapshot.orgs.get(&submitter.org).ok_or_else(|| {
        tracing::error!(org = %submitter.org, "mail for an organisation that does not exist");
        Reply::internal_error()
    })?;
    let Some(login) = &submitter.login else { return Ok((org, &[], Choice::default())) };
    let user = snapshot.users.get(login).ok_or_else(Reply::sender_not_yours)?;
    Ok((org, &user.addresses, user.choice))
}

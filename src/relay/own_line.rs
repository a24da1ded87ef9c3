//! Mail over the session's own login upstream: nothing may wait in the spool, for there is no credential to send it with
//! later.
//!
//! Whoever is neither accepted nor refused for good is left to the client (451), and the guard lets its next try deliver
//! only the rest. Accepted and refused together need a report, which goes at once over the same login, or else is left to
//! the client as well.

use std::time::Duration;

use tokio::time::Instant;

use super::{Job, Relay};
use crate::deliver::Fate;
use crate::deliver::bounce::Kind;
use crate::deliver::decision::Standing;
use crate::deliver::outbound::{Deadlines, Outbound};
use crate::message::Body;
use crate::smtp::Reply;

/// How long the client is kept waiting: there is no spool behind it, and most clients give up at a minute.
const BUDGET: Duration = Duration::from_secs(50);
/// How long a report may take: a client waits for it.
const REPORT_MAX: Duration = Duration::from_secs(10);

impl Job {
    /// Nothing of it may wait in the spool: its login is upstream's and is not kept.
    pub(super) fn cannot_wait(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.kept.is_none())
    }

    /// How long its client is kept waiting.
    pub(super) fn budget(&self, relay: &Relay) -> Duration {
        if self.cannot_wait() { BUDGET } else { relay.options().budget }
    }
}

/// What to say where a spool would have been needed. `reply` is what would have been said with one.
pub(super) async fn answer(relay: &Relay, job: &Job, standings: &[Standing], reply: Reply) -> Reply {
    let refused = refused(standings);
    let settled = refused.len() + standings.iter().filter(|s| is_accepted(s)).count();
    if settled < standings.len() {
        tracing::warn!(message.id = %job.id, "{} of {} recipients of {} are left to the client, whose login is upstream's", standings.len() - settled, standings.len(), job.id);
        return Reply::rest_is_yours(standings.len() - settled, standings.len());
    }
    match report(relay, job, Kind::Failed, &refused).await {
        true => reply,
        false => Reply::rest_is_yours(refused.len(), standings.len()),
    }
}

/// For recipients who asked to hear of success; the mail itself has arrived, so a report that fails is only logged.
pub(super) async fn report_relayed(relay: &Relay, job: &Job, accepted: Vec<(usize, Fate)>) {
    report(relay, job, Kind::Relayed, &accepted).await;
}

/// True: the sender has the report, or nobody is to be told.
async fn report(relay: &Relay, job: &Job, kind: Kind, fates: &[(usize, Fate)]) -> bool {
    let (org, mail) = (job.submission.submitter.org.as_str(), &job.submission.mail);
    let (envelope, raw) = match relay.parts.queue.write_report(kind, job.id, org, mail, job.accepted_at_ms, fates) {
        Ok(Some(written)) => written,
        Ok(None) => return true,
        Err(error) => {
            tracing::error!(message.id = %job.id, %error, "a report about {} cannot be written", job.id);
            return false;
        }
    };
    let until = Instant::now() + REPORT_MAX;
    let deadlines = Deadlines { dot_sent_by: until, dot_answered_by: until };
    let outbound = Outbound::new(envelope, Body::from(raw));
    let sent = job.courier.deliver(outbound, deadlines).await;
    let told = matches!(&sent, Ok(fates) if fates.iter().all(Fate::is_accepted));
    if !told {
        tracing::warn!(message.id = %job.id, "the report about {} was not taken over the sender's own login", job.id);
    }
    told
}

fn refused(standings: &[Standing]) -> Vec<(usize, Fate)> {
    let one = |(position, standing): (usize, &Standing)| match standing {
        Standing::Done(fate @ Fate::Refused { .. }) => Some((position, fate.clone())),
        _ => None,
    };
    standings.iter().enumerate().filter_map(one).collect()
}

fn is_accepted(standing: &Standing) -> bool {
    matches!(standing, Standing::AcceptedBefore | Standing::Done(Fate::Accepted { .. }))
}

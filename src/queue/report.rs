//! Telling the sender: a bounce for who is given up, a notice when the mail is late, `relayed` where upstream sends no
//! reports (RFC 3461 §6.2).
//!
//! **Invariant:** a report is on disk before the state says that the sender was told, so a crash between the two tells
//! twice and never not at all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::settle::{self, Change};
use super::{Inner, due};
use crate::deliver::bounce::{self, Kind, Occasion};
use crate::deliver::{Fate, Stage as At, Why};
use crate::message::Envelope;
use crate::smtp::reply::{Enhanced, Reply};
use crate::spool::{RecipientState, Record, SpoolError, Stage, State, Via};
use crate::telemetry::maillog;
use crate::token::MessageId;

/// One mail, as far as a report needs it.
pub(super) struct Subject<'a> {
    pub(super) id: MessageId,
    pub(super) org: &'a str,
    pub(super) login: Option<&'a str>,
    pub(super) envelope: &'a Envelope,
    pub(super) raw: &'a Bytes,
    pub(super) accepted_at_ms: i64,
    pub(super) own_report: bool,
    /// A report leaves as its mail would.
    pub(super) via: &'a Via,
}

impl<'a> Subject<'a> {
    pub(super) fn of(record: &'a Record) -> Subject<'a> {
        Subject {
            id: record.id,
            org: &record.org,
            login: record.login.as_deref(),
            envelope: &record.envelope,
            raw: &record.raw,
            accepted_at_ms: record.accepted_at_ms,
            own_report: record.own_report,
            via: &record.via,
        }
    }
}

/// Sends what is owed and returns the state after it. What cannot be sent now stays owed.
pub(super) async fn tell_sender(inner: &Arc<Inner>, record: &Record, mut state: State) -> State {
    let owed = positions(&state, |r| r.stage == Stage::BounceOwed);
    if !owed.is_empty() {
        log_given_up(inner, record, &state, &owed);
        if send(inner, Kind::Failed, &Subject::of(record), &recalled(&state, &owed)).await.is_ok() {
            let told = owed.clone();
            let change: Change = Box::new(move |_, state| set(state, &told, Stage::Failed));
            state = changed(inner, record.id, change, state).await;
        } else {
            let later_ms = (inner.parts.clock)().saturating_add(REPORT_RETRY_MS);
            let change: Change = Box::new(move |_, state| wait(state, &owed, later_ms));
            state = changed(inner, record.id, change, state).await;
        }
    }
    let now_ms = (inner.parts.clock)();
    let rules = &inner.options.rules;
    if due::delay_notice_due(&state, record.accepted_at_ms, now_ms, rules) {
        let late = positions(&state, |r| matches!(r.stage, Stage::Waiting | Stage::Unknown));
        let until_unix = record.accepted_at_ms / 1000 + seconds(rules.schedule.life);
        if send(inner, Kind::Delayed { until_unix }, &Subject::of(record), &recalled(&state, &late)).await.is_ok() {
            state = changed(inner, record.id, Box::new(|_, state| state.delay_told = true), state).await;
        }
    }
    state
}

/// How long a report that could not be written rests.
const REPORT_RETRY_MS: i64 = 60_000;

/// Writes a report and puts it into the queue. `Ok` also where nobody is to be told.
pub(super) async fn send(
    inner: &Arc<Inner>,
    kind: Kind,
    subject: &Subject<'_>,
    fates: &[(usize, Fate)],
) -> Result<(), SpoolError> {
    if subject.own_report {
        return Ok(());
    }
    let now_ms = (inner.parts.clock)();
    let Ok(id) = getrandom::u64().map(MessageId) else { return Err(no_randomness()) };
    let written = write(inner, kind, subject, fates, id);
    let Some((envelope, raw)) = written.map_err(|source| SpoolError::Disk { path: "report".into(), source })? else {
        return Ok(());
    };
    let state = State::waiting(envelope.recipients.len(), now_ms);
    let record = Record {
        id,
        accepted_at_ms: now_ms,
        org: subject.org.to_owned(),
        login: subject.login.map(str::to_owned),
        own_report: true,
        recipe: inner.parts.renderer.plain_recipe(envelope.recipients.len()),
        via: subject.via.clone(),
        envelope,
        first_state: state.clone(),
        raw,
    };
    if let Err(error) = inner.on_disk(move |spool| spool.add(&record)).await {
        tracing::error!(message.id = %subject.id, %error, "a report about {} cannot be written yet", subject.id);
        return Err(error);
    }
    tracing::info!(message.id = %subject.id, report.id = %id, "wrote report {id} about {}", subject.id);
    inner.adopt(id, &state);
    Ok(())
}

/// The report itself; `None` where nobody is to be told.
pub(super) fn write(
    inner: &Inner,
    kind: Kind,
    subject: &Subject<'_>,
    fates: &[(usize, Fate)],
    id: MessageId,
) -> std::io::Result<Option<(Envelope, Bytes)>> {
    let way = inner.way(subject.org, subject.via);
    let occasion = Occasion {
        kind,
        envelope: subject.envelope,
        message: subject.raw,
        arrived_unix: subject.accepted_at_ms / 1000,
        now_unix: (inner.parts.clock)() / 1000,
        hostname: &inner.options.hostname,
        upstream: way.as_ref().map_or(&inner.options.hostname, |way| way.courier.host()),
        bounce_sender: &inner.options.bounce_sender,
        id: &id.to_string(),
    };
    bounce::report(&occasion, fates)
}

/// The change on disk, or, where that fails, the state as it was: it is tried again with the record.
async fn changed(inner: &Arc<Inner>, id: MessageId, change: Change, before: State) -> State {
    match settle::update(inner, id, change).await {
        Ok(Some(changed)) => changed.after,
        Ok(None) => before,
        Err(error) => {
            tracing::error!(spool.id = %id, %error, "the state of queued mail {id} could not be written: its sender may be told twice");
            before
        }
    }
}

fn positions(state: &State, is: impl Fn(&RecipientState) -> bool) -> Vec<usize> {
    state.recipients.iter().enumerate().filter(|(_, r)| is(r)).map(|(at, _)| at).collect()
}

fn set(state: &mut State, positions: &[usize], stage: Stage) {
    for position in positions {
        if let Some(recipient) = state.recipients.get_mut(*position) {
            recipient.stage = stage;
        }
    }
}

fn wait(state: &mut State, positions: &[usize], until_ms: i64) {
    for position in positions {
        if let Some(recipient) = state.recipients.get_mut(*position) {
            recipient.next_try_ms = until_ms;
        }
    }
}

/// What became of recipients, from what their state remembers.
pub(super) fn recalled(state: &State, positions: &[usize]) -> Vec<(usize, Fate)> {
    let one = |position: &usize| Some((*position, fate(&state.recipients.get(*position)?.last_reply)));
    positions.iter().filter_map(one).collect()
}

/// A fate from its one line (`550 5.1.1 no such user`): refused when it begins with a 5yz, else deferred.
fn fate(line: &str) -> Fate {
    let (code, text) = line.split_at_checked(3).unwrap_or(("", line));
    let Some(code) = code.parse::<u16>().ok().filter(|code| (200..600).contains(code)) else {
        return Fate::Deferred { stage: At::Connect, why: Why::Lost(line.to_owned()) };
    };
    let text = text.trim_start();
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let reply = match enhanced(first) {
        Some(enhanced) => Reply { code, enhanced: Some(enhanced), lines: vec![rest.to_owned()] },
        None => Reply { code, enhanced: None, lines: vec![text.to_owned()] },
    };
    if reply.is_positive() {
        // A report does not say when.
        Fate::Accepted { reply, at: Instant::now() }
    } else if reply.is_permanent() {
        Fate::Refused { stage: At::Rcpt, reply }
    } else {
        Fate::Deferred { stage: At::Rcpt, why: Why::Reply(reply) }
    }
}

fn enhanced(text: &str) -> Option<Enhanced> {
    let mut numbers = text.split('.');
    let code = Enhanced(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    numbers.next().is_none().then_some(code)
}

fn log_given_up(inner: &Inner, record: &Record, state: &State, owed: &[usize]) {
    let age_ms = (inner.parts.clock)().saturating_sub(record.accepted_at_ms);
    let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
    for position in owed {
        if let (Some(to), Some(how)) = (record.envelope.recipients.get(*position), state.recipients.get(*position)) {
            maillog::gave_up(record.id, &to.path.0, &how.last_reply, age);
        }
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn no_randomness() -> SpoolError {
    SpoolError::Disk { path: "report".into(), source: std::io::Error::other("the system gives no random numbers") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a fate says on one line is what the report says days later.
    #[test]
    fn a_line_gives_the_fate_back() {
        let refused = |enhanced, text: &str| Fate::Refused {
            stage: At::Rcpt,
            reply: Reply { code: 550, enhanced, lines: vec![text.to_owned()] },
        };
        let later = Reply { code: 450, enhanced: Some(Enhanced(4, 2, 0)), lines: vec!["greylisted".to_owned()] };
        let rows = [
            ("550 5.1.1 no such user", refused(Some(Enhanced(5, 1, 1)), "no such user")),
            ("550 no such user", refused(None, "no such user")),
            ("550 1.2.3.4 is listed", refused(None, "1.2.3.4 is listed")),
            ("450 4.2.0 greylisted", Fate::Deferred { stage: At::Rcpt, why: Why::Reply(later) }),
            (
                "no answer in time at connect",
                Fate::Deferred { stage: At::Connect, why: Why::Lost("no answer in time at connect".to_owned()) },
            ),
            ("", Fate::Deferred { stage: At::Connect, why: Why::Lost(String::new()) }),
        ];
        for (line, expected) in rows {
            assert_eq!(fate(line), expected, "{line:?}");
        }
    }
}

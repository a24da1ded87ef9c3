//! What the client is told and what must be on disk first, given how every recipient stands. Pure (DESIGN 6).
//!
//! | how the recipients stand | the client gets | on disk first |
//! |---|---|---|
//! | all accepted | 250 and upstream's text | nothing |
//! | all refused for good, same stage and code | that code and text | nothing |
//! | all refused for good, differing | 554, "none of N recipients accepted; first: …" | nothing |
//! | the first copy refused for good at MAIL, DATA or the dot, nothing accepted before | that refusal | nothing |
//! | any deferred, unknown, in flight or untried; the rest accepted or refused | 250 … queued | those, and a bounce for the refused |
//! | some accepted, some refused | 250 | the bounce for the refused |
//!
//! When the write fails the caller answers 451 instead, and remembers who was accepted.
//!
//! **Invariant:** a refusal is answered only when nobody has the mail and nobody will get it; a 250 only when everybody
//! who was not accepted is in [`Decision::Keep`].

use super::fate::{Fate, Stage};
use crate::smtp::reply::{Enhanced, Reply};

/// How one recipient stands when the client must be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The attempt has ended.
    Done(Fate),
    /// Its dot has left and the reply is still awaited.
    InFlight,
    /// Not tried, or called back before its dot.
    Untried,
    /// An earlier submission of the same mail was accepted for it (the duplicate guard).
    AcceptedBefore,
}

impl Standing {
    fn is_accepted(&self) -> bool {
        matches!(self, Standing::AcceptedBefore | Standing::Done(Fate::Accepted { .. }))
    }

    fn refusal(&self) -> Option<(Stage, &Reply)> {
        match self {
            Standing::Done(Fate::Refused { stage, reply }) => Some((*stage, reply)),
            _ => None,
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Answer this; nothing needs the disk.
    Answer(Reply),
    /// Write the record first, then answer this.
    Keep(Reply),
}

/// Decides. `canary_stopped` is set when the first copy was refused as a message (at MAIL, DATA or the dot) before
/// anything was accepted: then the untried recipients do not count. `id` names the mail in our own words.
pub fn decide(standings: &[Standing], canary_stopped: bool, id: &str) -> Decision {
    let refusals: Vec<(Stage, &Reply)> = standings.iter().filter_map(Standing::refusal).collect();
    let accepted = standings.iter().filter(|s| s.is_accepted()).count();
    let open = standings.len() - accepted - refusals.len();
    if accepted == 0 && !refusals.is_empty() && (open == 0 || canary_stopped) {
        return Decision::Answer(refusal(&refusals, standings.len(), canary_stopped));
    }
    if open == 0 && refusals.is_empty() {
        return Decision::Answer(all_accepted(standings, id));
    }
    let text = match (accepted, open) {
        (0, _) => format!("OK, queued as {id}"),
        (_, 0) => {
            format!("OK, accepted as {id}; a report follows for {} of {} recipients", refusals.len(), standings.len())
        }
        _ => format!("OK, {accepted} of {} recipients accepted, the rest queued as {id}", standings.len()),
    };
    Decision::Keep(Reply::new(250, Enhanced(2, 0, 0), text))
}

/// Whether a refusal of the first copy is about the message or its sender, so that the other copies need not be tried.
/// A refusal at the dot that names a recipient or its mailbox (5.1.x, 5.2.x) is that recipient's own.
pub fn stops_the_rest(fate: &Fate) -> bool {
    match fate {
        Fate::Refused { stage: Stage::Mail | Stage::Data, .. } => true,
        Fate::Refused { stage: Stage::Dot, reply } => !matches!(reply.enhanced, Some(Enhanced(5, 1 | 2, _))),
        _ => false,
    }
}

fn all_accepted(standings: &[Standing], id: &str) -> Reply {
    let words = standings.iter().find_map(|s| match s {
        Standing::Done(Fate::Accepted { reply, .. }) => Some(reply),
        _ => None,
    });
    match words {
        // The code and enhanced code are ours: upstream may have said 251 or nothing enhanced at all.
        Some(reply) => Reply { code: 250, enhanced: Some(Enhanced(2, 0, 0)), ..Reply::passed_on(reply) },
        None => Reply::new(250, Enhanced(2, 0, 0), format!("OK, accepted as {id}")),
    }
}

fn refusal(refusals: &[(Stage, &Reply)], recipients: usize, canary_stopped: bool) -> Reply {
    // The one that stopped the rest is the last of them; the refusals before it were single recipients'.
    let telling = if canary_stopped { refusals.last() } else { refusals.first() };
    let Some(&(stage, reply)) = telling else {
        return Reply::new(554, Enhanced(5, 0, 0), "Refused");
    };
    if canary_stopped || refusals.iter().all(|(s, r)| (*s, r.code) == (stage, reply.code)) {
        return Reply::passed_on(reply);
    }
    let passed = Reply::passed_on(reply);
    let first = passed.lines.first().map(String::as_str).unwrap_or_default();
    let text = format!("none of {recipients} recipients accepted; first: {} {first}", reply.code);
    Reply::new(554, Enhanced(5, 0, 0), text)
}

#[cfg(test)]
mod tests {
    use super::super::fate::Why;
    use super::*;

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, enhanced: None, lines: vec![text.to_owned()] }
    }

    fn accepted() -> Standing {
        Standing::Done(Fate::Accepted { reply: reply(250, "ok 1"), at: tokio::time::Instant::now() })
    }

    fn refused(stage: Stage, code: u16) -> Standing {
        Standing::Done(Fate::Refused { stage, reply: reply(code, "no") })
    }

    fn deferred() -> Standing {
        Standing::Done(Fate::Deferred { stage: Stage::Connect, why: Why::TimedOut })
    }

    fn unknown() -> Standing {
        Standing::Done(Fate::Unknown { why: Why::TimedOut })
    }

    /// Every row of the table: standings, did the canary stop the rest, code, does it need the disk, words.
    #[test]
    fn every_row_of_the_table() {
        use Standing::{AcceptedBefore, InFlight, Untried};
        let rcpt = |code| refused(Stage::Rcpt, code);
        let rows: Vec<(Vec<Standing>, bool, u16, bool, &str)> = vec![
            // All accepted: upstream's words, no disk; also when an earlier submission did part or all of it.
            (vec![accepted(), accepted()], false, 250, false, "ok 1"),
            (vec![AcceptedBefore, accepted()], false, 250, false, "ok 1"),
            (vec![AcceptedBefore], false, 250, false, "accepted as ID"),
            // All refused alike: that code and text.
            (vec![rcpt(550), rcpt(550)], false, 550, false, "no"),
            // All refused, differing in code or in stage.
            (vec![rcpt(550), rcpt(553)], false, 554, false, "none of 2 recipients accepted; first: 550 no"),
            (vec![rcpt(550), refused(Stage::Dot, 550)], false, 554, false, "none of 2"),
            // The first copy refused as a message: the untried do not count.
            (vec![refused(Stage::Dot, 552), Untried, Untried], true, 552, false, "no"),
            (vec![rcpt(550), refused(Stage::Mail, 553), Untried], true, 553, false, "no"),
            // Anything open: 250, and the disk.
            (vec![deferred()], false, 250, true, "queued as ID"),
            (vec![unknown()], false, 250, true, "queued as ID"),
            (vec![InFlight], false, 250, true, "queued as ID"),
            (vec![Untried], false, 250, true, "queued as ID"),
            (vec![accepted(), deferred()], false, 250, true, "1 of 2 recipients accepted, the rest queued as ID"),
            (vec![rcpt(550), deferred()], false, 250, true, "queued as ID"),
            (vec![AcceptedBefore, Untried], false, 250, true, "1 of 2"),
            // Some accepted, some refused: 250, and the bounce on disk.
            (vec![accepted(), rcpt(550)], false, 250, true, "a report follows for 1 of 2"),
            (vec![AcceptedBefore, rcpt(550)], false, 250, true, "a report follows for 1 of 2"),
        ];
        for (standings, stopped, code, disk, words) in rows {
            let decision = decide(&standings, stopped, "ID");
            let (reply, keeps) = match &decision {
                Decision::Answer(reply) => (reply, false),
                Decision::Keep(reply) => (reply, true),
            };
            assert_eq!((reply.code, keeps), (code, disk), "{standings:?}");
            assert!(reply.lines[0].contains(words), "{standings:?}: {reply:?}");
        }
    }

    /// Only what is about the message or the sender stops the other copies.
    #[test]
    fn what_stops_the_rest() {
        let at_dot = |enhanced| Fate::Refused { stage: Stage::Dot, reply: Reply { enhanced, ..reply(550, "no") } };
        let rows = [
            (Fate::Refused { stage: Stage::Mail, reply: reply(550, "no") }, true),
            (Fate::Refused { stage: Stage::Data, reply: reply(550, "no") }, true),
            (Fate::Refused { stage: Stage::Rcpt, reply: reply(550, "no") }, false),
            (at_dot(None), true),
            (at_dot(Some(Enhanced(5, 7, 1))), true),
            (at_dot(Some(Enhanced(5, 1, 1))), false),
            (at_dot(Some(Enhanced(5, 2, 2))), false),
            (Fate::Deferred { stage: Stage::Connect, why: Why::TimedOut }, false),
        ];
        for (fate, stops) in rows {
            assert_eq!(stops_the_rest(&fate), stops, "{fate:?}");
        }
    }

    /// A refusal means nobody has the mail and nobody will get it: over every mixture of three recipients.
    #[test]
    fn a_refusal_never_leaves_anybody_out() {
        let all = [accepted(), refused(Stage::Rcpt, 550), deferred(), unknown(), Standing::InFlight, Standing::Untried];
        for a in &all {
            for b in &all {
                for c in &all {
                    let standings = [a.clone(), b.clone(), c.clone()];
                    let Decision::Answer(reply) = decide(&standings, false, "ID") else { continue };
                    let everyone = |f: fn(&Standing) -> bool| standings.iter().all(f);
                    if reply.is_positive() {
                        assert!(everyone(Standing::is_accepted), "{standings:?}");
                    } else {
                        assert!(everyone(|s| s.refusal().is_some()), "{standings:?}");
                    }
                }
            }
        }
    }
}

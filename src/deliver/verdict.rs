//! The fates of all recipients → the one answer the client's final dot gets. Pure.
//!
//! [`Outcome`] is what happened, in the words of the delivery rules; [`Verdict::of`] says what the client hears of it
//! while nothing can wait on disk here.
//!
//! **Invariant:** the answer is 2yz only when upstream has accepted the mail for somebody, and 5yz only when it refused
//! it for everybody; anything open and nothing accepted is 451, so that the client keeps the mail.

use crate::smtp::{Enhanced, Reply};

use super::capabilities::CannotCarry;
use super::fate::{Fate, Stage, Why};

/// What happened to a mail over all its recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Everybody accepted; what upstream said to the last of them.
    Accepted(&'a Reply),
    /// Everybody refused, at one stage with one code.
    Refused(&'a Reply),
    /// Everybody refused, in different ways; the first.
    RefusedDifferently(&'a Reply),
    /// Some accepted, the others refused, deferred or unknown; what upstream said to the last accepted.
    Mixed(&'a Reply),
    /// Nobody accepted and somebody deferred or unknown; the first of those.
    Open(&'a Fate),
    /// There was no recipient.
    Nobody,
}

/// The answer, and who else must hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// For the client's final dot.
    pub reply: Reply,
    /// For the operator: the configuration, the login or the connection needs mending. One line.
    pub alert: Option<String>,
    /// Somebody has the mail: the submission is done, whatever became of the rest.
    pub committed: bool,
}

impl<'a> Outcome<'a> {
    /// Sums up, in the recipients' order.
    pub fn of(fates: &'a [Fate]) -> Outcome<'a> {
        let mut accepted = None;
        let mut refused: Option<(Stage, &Reply)> = None;
        let (mut alike, mut open, mut all_accepted) = (true, None, true);
        for fate in fates {
            all_accepted &= fate.is_accepted();
            match fate {
                Fate::Accepted { reply } => accepted = Some(reply),
                Fate::Refused { stage, reply } => {
                    let (first_stage, first) = *refused.get_or_insert((*stage, reply));
                    alike &= first_stage == *stage && first.code == reply.code;
                }
                Fate::Deferred { .. } | Fate::Unknown { .. } => open = open.or(Some(fate)),
            }
        }
        match (accepted, open, refused) {
            (Some(reply), ..) if all_accepted => Outcome::Accepted(reply),
            (Some(reply), ..) => Outcome::Mixed(reply),
            (None, Some(fate), _) => Outcome::Open(fate),
            (None, None, Some((_, reply))) if alike => Outcome::Refused(reply),
            (None, None, Some((_, reply))) => Outcome::RefusedDifferently(reply),
            (None, None, None) => Outcome::Nobody,
        }
    }
}

impl Verdict {
    /// The answer while there is no spool: what was not accepted by anyone stays with the client; when somebody has
    /// it, it is accepted, and the caller reports the others.
    pub fn of(fates: &[Fate]) -> Verdict {
        let outcome = Outcome::of(fates);
        let reply = match &outcome {
            Outcome::Accepted(reply) => with_words(250, Enhanced(2, 0, 0), reply),
            Outcome::Mixed(reply) => with_words(250, Enhanced(2, 0, 0), reply),
            Outcome::Refused(reply) => Reply::passed_on(reply),
            Outcome::RefusedDifferently(first) => none_accepted(fates.len(), first),
            Outcome::Open(fate) => not_now(fate),
            Outcome::Nobody => Reply::new(554, Enhanced(5, 5, 1), "No valid recipients"),
        };
        let committed = matches!(outcome, Outcome::Accepted(_) | Outcome::Mixed(_));
        let alert = fates.iter().find(|fate| fate.is_our_trouble()).map(Fate::to_string);
        Verdict { reply, alert, committed }
    }

    /// The answer when upstream cannot carry the mail in any form we may give it.
    pub fn cannot_carry(cannot: CannotCarry) -> Verdict {
        let (code, enhanced) = match cannot {
            CannotCarry::EightBit => (554, Enhanced(5, 6, 3)),
            CannotCarry::Utf8 => (553, Enhanced(5, 6, 7)),
            CannotCarry::TooLarge { .. } => (552, Enhanced(5, 3, 4)),
        };
        Verdict { reply: Reply::new(code, enhanced, cannot.to_string()), alert: None, committed: false }
    }
}

/// `250 2.0.0` and upstream's own text, which holds the queue id people search for.
fn with_words(code: u16, enhanced: Enhanced, upstream: &Reply) -> Reply {
    let lines = Reply::passed_on(upstream).lines;
    Reply { code, enhanced: Some(enhanced), lines }
}

fn none_accepted(recipients: usize, first: &Reply) -> Reply {
    let Reply { code, enhanced, lines } = Reply::passed_on(first);
    let enhanced = enhanced.map(|e| format!(" {}.{}.{}", e.0, e.1, e.2)).unwrap_or_default();
    let said = lines.first().map(String::as_str).unwrap_or_default();
    let text = format!("none of {recipients} recipients accepted; first: {code}{enhanced} {said}");
    Reply::new(554, Enhanced(5, 0, 0), text)
}

/// 451: the client keeps the mail and tries again. What upstream said about the mail is passed on; what it said to us
/// is not the sender's business.
fn not_now(fate: &Fate) -> Reply {
    let (stage, why) = match fate {
        Fate::Deferred { stage, why } => (*stage, why),
        Fate::Unknown { why } => (Stage::Dot, why),
        Fate::Accepted { .. } | Fate::Refused { .. } => return Reply::new(451, Enhanced(4, 0, 0), "Try again later"),
    };
    match why {
        Why::Reply(reply) if stage >= Stage::Mail && reply.is_transient() => {
            with_words(451, reply.enhanced.filter(|e| e.0 == 4).unwrap_or(Enhanced(4, 0, 0)), reply)
        }
        Why::Busy => Reply::new(451, Enhanced(4, 3, 2), "The next mail server is busy, try again later"),
        Why::Withdrawn => Reply::new(451, Enhanced(4, 3, 0), "Not sent, try again later"),
        Why::Lost(_) | Why::TimedOut if stage <= Stage::Greeting => {
            Reply::new(451, Enhanced(4, 4, 1), "The next mail server does not answer, try again later")
        }
        Why::Lost(_) | Why::TimedOut => {
            Reply::new(451, Enhanced(4, 4, 2), "Connection to the next mail server lost, try again later")
        }
        _ => Reply::new(451, Enhanced(4, 4, 0), "The next mail server does not take mail now, try again later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
        Reply::new(code, Enhanced(enhanced.0, enhanced.1, enhanced.2), text)
    }

    fn accepted(text: &str) -> Fate {
        Fate::Accepted { reply: reply(250, (2, 6, 0), text) }
    }

    fn refused(stage: Stage, code: u16, text: &str) -> Fate {
        Fate::Refused { stage, reply: reply(code, (5, 1, 1), text) }
    }

    fn said(stage: Stage, code: u16, text: &str) -> Fate {
        Fate::Deferred { stage, why: Why::Reply(reply(code, (4, 7, 1), text)) }
    }

    fn failed(stage: Stage, why: Why) -> Fate {
        Fate::of_failure(stage, why)
    }

    fn line(verdict: &Verdict) -> String {
        let Reply { code, enhanced, lines } = &verdict.reply;
        let Enhanced(class, subject, detail) = enhanced.unwrap();
        format!("{code} {class}.{subject}.{detail} {}", lines.join(" | "))
    }

    #[test]
    fn every_row() {
        use Stage::*;
        let lost = || Why::Lost("reset".into());
        let away = "451 4.4.1 The next mail server does not answer, try again later";
        let not_now = "451 4.4.0 The next mail server does not take mail now, try again later";
        let cut = "451 4.4.2 Connection to the next mail server lost, try again later";
        // (fates, the client's answer, committed, alert)
        let table: &[(&[Fate], &str, bool, bool)] = &[
            // all accepted: upstream's words
            (&[accepted("queued as A1")], "250 2.0.0 queued as A1", true, false),
            (&[accepted("queued as A1"), accepted("queued as A2")], "250 2.0.0 queued as A2", true, false),
            // all refused alike: that refusal
            (&[refused(Rcpt, 550, "no such user")], "550 5.1.1 no such user", false, false),
            (&[refused(Dot, 554, "spam"), refused(Dot, 554, "spam")], "554 5.1.1 spam", false, false),
            // all refused, another code or another stage
            (
                &[refused(Rcpt, 550, "no such user"), refused(Rcpt, 553, "bad")],
                "554 5.0.0 none of 2 recipients accepted; first: 550 5.1.1 no such user",
                false,
                false,
            ),
            (
                &[refused(Rcpt, 550, "no"), refused(Dot, 550, "spam")],
                "554 5.0.0 none of 2 recipients accepted; first: 550 5.1.1 no",
                false,
                false,
            ),
            // somebody has it: done, whatever became of the others
            (&[refused(Rcpt, 550, "no"), accepted("ok")], "250 2.0.0 ok", true, false),
            (&[accepted("ok"), said(Rcpt, 450, "later")], "250 2.0.0 ok", true, false),
            (&[accepted("ok"), failed(Dot, lost())], "250 2.0.0 ok", true, false),
            // nobody has it and something is open: upstream's words when they are about the mail
            (&[said(Rcpt, 450, "greylisted")], "451 4.7.1 greylisted", false, false),
            (&[refused(Rcpt, 550, "no"), said(Rcpt, 450, "greylisted")], "451 4.7.1 greylisted", false, false),
            (&[failed(Dot, lost())], cut, false, false),
            (&[refused(Rcpt, 550, "no"), failed(Dot, Why::TimedOut)], cut, false, false),
            (&[failed(Rcpt, Why::Busy)], "451 4.3.2 The next mail server is busy, try again later", false, false),
            (&[failed(Data, Why::Withdrawn)], "451 4.3.0 Not sent, try again later", false, false),
            // what upstream says to us is ours to hear, at banner, EHLO, TLS and AUTH, and "log in first" anywhere
            (&[failed(Connect, lost())], away, false, true),
            (&[failed(Greeting, Why::TimedOut)], away, false, true),
            (&[Fate::of_reply(Greeting, reply(554, (5, 7, 1), "blocked"))], not_now, false, true),
            (&[Fate::of_reply(Ehlo, reply(550, (5, 7, 1), "who are you"))], not_now, false, true),
            (&[failed(Tls, Why::NotOffered("STARTTLS"))], not_now, false, true),
            (&[Fate::of_reply(Auth, reply(535, (5, 7, 8), "wrong password"))], not_now, false, true),
            (&[Fate::of_reply(Mail, reply(530, (5, 7, 0), "log in first"))], not_now, false, true),
            (&[Fate::of_reply(Dot, reply(354, (5, 0, 0), "go on"))], not_now, false, true),
            (&[], "554 5.5.1 No valid recipients", false, false),
        ];
        for (fates, expected, committed, alert) in table {
            let verdict = Verdict::of(fates);
            let got = (line(&verdict), verdict.committed, verdict.alert.is_some());
            assert_eq!(got, ((*expected).to_owned(), *committed, *alert), "{fates:?}");
        }
    }

    #[test]
    fn the_alert_is_for_the_operator_only() {
        let verdict = Verdict::of(&[Fate::of_reply(Stage::Auth, reply(535, (5, 7, 8), "secret reason"))]);
        assert!(!line(&verdict).contains("secret reason"));
        assert_eq!(verdict.alert.as_deref(), Some("535 5.7.8 secret reason at auth"));
    }

    #[test]
    fn what_upstream_cannot_carry() {
        let table = [
            (CannotCarry::EightBit, "554 5.6.3 upstream takes no 8-bit content"),
            (CannotCarry::Utf8, "553 5.6.7 upstream takes no internationalised addresses or headers"),
            (CannotCarry::TooLarge { limit_bytes: 9 }, "552 5.3.4 larger than upstream takes (9 octets)"),
        ];
        for (cannot, expected) in table {
            assert_eq!(line(&Verdict::cannot_carry(cannot)), expected);
        }
    }
}

//! What upstream's answers mean for each recipient of one transaction. Pure: answers in, fates out.
//!
//! **Invariant:** a recipient is in [`Ledger::accepted`] only by its own 2yz, and only there can a dot reach it; a
//! recipient once settled stays settled.

use crate::smtp::Reply;

use super::fate::{Fate, Stage, Why};

/// A command whose answer is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Rset,
    /// `optional`: it carried parameters the mail can do without.
    Mail {
        optional: bool,
    },
    /// A recipient by index.
    Rcpt {
        index: usize,
        optional: bool,
    },
    Data,
}

impl Asked {
    pub(super) fn stage(self) -> Stage {
        match self {
            Asked::Rset | Asked::Mail { .. } => Stage::Mail,
            Asked::Rcpt { .. } => Stage::Rcpt,
            Asked::Data => Stage::Data,
        }
    }
}

/// The books of one transaction.
#[derive(Debug)]
pub(super) struct Ledger {
    fates: Vec<Option<Fate>>,
    accepted: Vec<usize>,
    rcpt_again: Vec<usize>,
    mail_again: bool,
    mail_accepted: bool,
    data_answered: bool,
    go_ahead: bool,
    /// The connection must end: it is closing, out of step, or upstream waits for a message nobody should get.
    closing: bool,
    heard: usize,
    stale: bool,
}

impl Ledger {
    pub(super) fn new(recipients: usize) -> Ledger {
        Ledger {
            fates: vec![None; recipients],
            accepted: Vec::new(),
            rcpt_again: Vec::new(),
            mail_again: false,
            mail_accepted: false,
            data_answered: false,
            go_ahead: false,
            closing: false,
            heard: 0,
            stale: false,
        }
    }

    /// Books one answer.
    pub(super) fn hear(&mut self, asked: Asked, reply: Reply) {
        self.heard += 1;
        if reply.code == 421 {
            // Upstream closes now; on a connection that had been idle this is how it says so.
            self.stale |= self.heard == 1;
            self.end(&Fate::of_reply(asked.stage(), reply));
            return;
        }
        match asked {
            Asked::Rset if reply.is_positive() => {}
            Asked::Rset => self.end(&Fate::of_failure(Stage::Mail, Why::OutOfPlace(reply))),
            Asked::Mail { optional } => self.mail(reply, optional),
            // After a refused MAIL these answers mean nothing.
            Asked::Rcpt { .. } if !self.mail_accepted => self.closing |= is_odd(&reply) && !reply.is_positive(),
            Asked::Rcpt { index, optional } => self.rcpt(index, reply, optional),
            Asked::Data => self.data(reply),
        }
    }

    fn mail(&mut self, reply: Reply, optional: bool) {
        if reply.is_positive() {
            self.mail_accepted = true;
        } else if optional && blames_parameters(&reply) {
            self.mail_again = true;
        } else {
            self.closing |= is_odd(&reply);
            self.settle_rest(&Fate::of_reply(Stage::Mail, reply));
        }
    }

    fn rcpt(&mut self, index: usize, reply: Reply, optional: bool) {
        if reply.is_positive() {
            self.accepted.push(index);
        } else if optional && blames_parameters(&reply) {
            self.rcpt_again.push(index);
        } else {
            self.closing |= is_odd(&reply);
            let fate = if reply.code == 552 && reply.enhanced.is_none() && !self.accepted.is_empty() {
                // "Too many recipients" in its old spelling (RFC 5321 §4.5.3.1.10).
                Fate::Deferred { stage: Stage::Rcpt, why: Why::Reply(reply) }
            } else {
                Fate::of_reply(Stage::Rcpt, reply)
            };
            self.settle(index, fate);
        }
    }

    fn data(&mut self, reply: Reply) {
        self.data_answered = true;
        if self.accepted.is_empty() {
            // A 354 to a pipelined DATA although nobody was accepted: a dot now might deliver an empty mail to someone,
            // so the connection ends instead (RFC 2920 §3.1 lets a server do this).
            self.closing |= is_odd(&reply);
        } else if reply.code == 354 {
            self.go_ahead = true;
        } else {
            self.closing |= is_odd(&reply);
            self.settle_accepted(&Fate::of_reply(Stage::Data, reply));
        }
    }

    /// The dialogue broke off: everyone not settled shares this.
    pub(super) fn fail(&mut self, stage: Stage, why: Why) {
        self.stale |= self.heard == 0 && matches!(why, Why::Lost(_));
        self.end(&Fate::of_failure(stage, why));
    }

    /// Settles everyone whose RCPT was accepted.
    pub(super) fn settle_accepted(&mut self, fate: &Fate) {
        self.go_ahead = false;
        for index in std::mem::take(&mut self.accepted) {
            self.settle(index, fate.clone());
        }
    }

    /// The connection must not be used again.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    fn end(&mut self, fate: &Fate) {
        self.closing = true;
        self.go_ahead = false;
        self.accepted.clear();
        self.settle_rest(fate);
    }

    fn settle_rest(&mut self, fate: &Fate) {
        for settled in &mut self.fates {
            settled.get_or_insert_with(|| fate.clone());
        }
    }

    fn settle(&mut self, index: usize, fate: Fate) {
        if let Some(settled) = self.fates.get_mut(index) {
            settled.get_or_insert(fate);
        }
    }

    /// MAIL is to be said again without optional parameters; asked once.
    pub(super) fn take_mail_again(&mut self) -> bool {
        std::mem::take(&mut self.mail_again) && !self.closing
    }

    /// RCPTs to be said again without optional parameters; asked once.
    pub(super) fn take_rcpt_again(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.rcpt_again)
    }

    /// Nothing more need be asked before the answers so far are acted on.
    pub(super) fn is_decided(&self) -> bool {
        self.closing || self.mail_again || self.fates.iter().all(Option::is_some)
    }

    /// DATA is still to be said.
    pub(super) fn wants_data(&self) -> bool {
        !self.closing && !self.data_answered && !self.accepted.is_empty()
    }

    /// Upstream waits for the message, and someone is to get it.
    pub(super) fn go_ahead(&self) -> bool {
        self.go_ahead && !self.closing
    }

    /// Upstream holds a transaction that had no dot.
    pub(super) fn is_open(&self) -> bool {
        self.mail_accepted
    }

    /// See [`close`](Self::close).
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Nothing but the end of the connection was heard: on a connection used before, nothing has happened.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Every recipient's fate, in order.
    pub(super) fn into_fates(self) -> Vec<Fate> {
        // Nobody is left over when a transaction ran to its end; if somebody were, it is not lost.
        let left_over = || Fate::Deferred { stage: Stage::Rcpt, why: Why::OutOfTurn };
        self.fates.into_iter().map(|fate| fate.unwrap_or_else(left_over)).collect()
    }
}

/// RFC 5321 §4.2.4 and RFC 3461 §4: syntax of a parameter, parameter not implemented, parameter not recognised.
fn blames_parameters(reply: &Reply) -> bool {
    matches!(reply.code, 501 | 504 | 555)
}

/// Neither a refusal nor a temporary failure: no answer to a question that was not answered with yes.
fn is_odd(reply: &Reply) -> bool {
    !reply.is_transient() && !reply.is_permanent()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::Enhanced;

    const MAIL: Asked = Asked::Mail { optional: false };
    const MAIL_OPTIONAL: Asked = Asked::Mail { optional: true };

    fn rcpt(index: usize) -> Asked {
        Asked::Rcpt { index, optional: false }
    }

    fn rcpt_optional(index: usize) -> Asked {
        Asked::Rcpt { index, optional: true }
    }

    fn reply(code: u16) -> Reply {
        Reply { code, enhanced: None, lines: vec![String::new()] }
    }

    fn heard(recipients: usize, answers: &[(Asked, u16)]) -> Ledger {
        let mut ledger = Ledger::new(recipients);
        for (asked, code) in answers {
            ledger.hear(*asked, reply(*code));
        }
        ledger
    }

    /// `A`ccepted by RCPT and waiting, `r`efused, `d`eferred, `u`nknown, `.` not settled; then go-ahead, closing.
    fn state(ledger: &Ledger) -> String {
        let letter = |(index, fate): (usize, &Option<Fate>)| match fate {
            None if ledger.accepted.contains(&index) => 'A',
            None => '.',
            Some(Fate::Accepted { .. }) => 'a',
            Some(Fate::Refused { .. }) => 'r',
            Some(Fate::Deferred { .. }) => 'd',
            Some(Fate::Unknown { .. }) => 'u',
        };
        let mut state: String = ledger.fates.iter().enumerate().map(letter).collect();
        state.push_str(if ledger.go_ahead() { " go" } else { "" });
        state.push_str(if ledger.is_closing() { " close" } else { "" });
        state
    }

    #[test]
    fn answers_and_what_they_mean() {
        let table: &[(&[(Asked, u16)], &str)] = &[
            // each RCPT has its own answer
            (&[(MAIL, 250), (rcpt(0), 250), (rcpt(1), 250), (Asked::Data, 354)], "AA go"),
            (&[(MAIL, 250), (rcpt(0), 550), (rcpt(1), 251), (Asked::Data, 354)], "rA go"),
            (&[(MAIL, 250), (rcpt(0), 452), (rcpt(1), 250), (Asked::Data, 354)], "dA go"),
            // DATA refused: only those it was for
            (&[(MAIL, 250), (rcpt(0), 550), (rcpt(1), 250), (Asked::Data, 451)], "rd"),
            (&[(MAIL, 250), (rcpt(0), 450), (rcpt(1), 250), (Asked::Data, 554)], "dr"),
            // MAIL refused: all, and what follows in the pipeline is noise
            (&[(MAIL, 550), (rcpt(0), 503), (rcpt(1), 503), (Asked::Data, 503)], "rr"),
            (&[(MAIL, 451), (rcpt(0), 250), (rcpt(1), 550), (Asked::Data, 554)], "dd"),
            // nobody accepted, DATA answered 354 all the same: leave, send no dot
            (&[(MAIL, 250), (rcpt(0), 550), (rcpt(1), 550), (Asked::Data, 354)], "rr close"),
            (&[(MAIL, 550), (rcpt(0), 503), (rcpt(1), 503), (Asked::Data, 354)], "rr close"),
            (&[(MAIL, 250), (rcpt(0), 550), (rcpt(1), 550), (Asked::Data, 503)], "rr"),
            // 421: temporary for all not settled, wherever it comes
            (&[(MAIL, 421)], "dd close"),
            (&[(MAIL, 250), (rcpt(0), 550), (rcpt(1), 421)], "rd close"),
            (&[(MAIL, 250), (rcpt(0), 250), (rcpt(1), 250), (Asked::Data, 421)], "dd close"),
            // replies out of place: never a yes, and the connection is out of step
            (&[(MAIL, 354)], "dd close"),
            (&[(MAIL, 250), (rcpt(0), 354), (rcpt(1), 250)], "dA close"),
            (&[(MAIL, 250), (rcpt(0), 250), (rcpt(1), 250), (Asked::Data, 250)], "dd close"),
            (&[(MAIL, 250), (rcpt(0), 250), (rcpt(1), 250), (Asked::Data, 334)], "dd close"),
            // a RSET that is refused leaves the connection in an unknown state
            (&[(Asked::Rset, 250), (MAIL, 250)], ".."),
            (&[(Asked::Rset, 500)], "dd close"),
            // 552 without a 5.x code after an accepted RCPT is "too many"; before one it is a refusal
            (&[(MAIL, 250), (rcpt(0), 250), (rcpt(1), 552)], "Ad"),
            (&[(MAIL, 250), (rcpt(0), 552), (rcpt(1), 250)], "rA"),
        ];
        for (answers, expected) in table {
            assert_eq!(state(&heard(2, answers)), *expected, "{answers:?}");
        }
    }

    #[test]
    fn a_552_that_says_what_it_means_is_believed() {
        let mut ledger = heard(2, &[(MAIL, 250), (rcpt(0), 250)]);
        ledger.hear(rcpt(1), Reply { enhanced: Some(Enhanced(5, 2, 2)), ..reply(552) });
        assert_eq!(state(&ledger), "Ar");
    }

    #[test]
    fn parameters_are_left_out_once() {
        // MAIL: everything behind it is noise, then all is said again
        for code in [501, 504, 555] {
            let mut ledger = heard(1, &[(MAIL_OPTIONAL, code), (rcpt(0), 503), (Asked::Data, 503)]);
            assert!(ledger.is_decided() && ledger.take_mail_again() && !ledger.take_mail_again(), "{code}");
            assert_eq!(state(&ledger), ".");
            ledger.hear(MAIL, reply(code));
            assert_eq!(state(&ledger), "r", "the same again is a refusal");
        }
        // no parameters, another code: no second try
        assert!(!heard(1, &[(MAIL, 555)]).take_mail_again());
        assert!(!heard(1, &[(MAIL_OPTIONAL, 550)]).take_mail_again());
        // upstream took the DATA behind the refused MAIL: there is no second try on this connection
        let mut ledger = heard(1, &[(MAIL_OPTIONAL, 555), (rcpt(0), 250), (Asked::Data, 354)]);
        assert!(ledger.is_closing() && !ledger.take_mail_again());
        assert!(matches!(ledger.into_fates().as_slice(), [Fate::Deferred { .. }]));
        // RCPT: that one alone
        let mut ledger =
            heard(3, &[(MAIL, 250), (rcpt_optional(0), 501), (rcpt_optional(1), 250), (rcpt_optional(2), 550)]);
        assert_eq!(ledger.take_rcpt_again(), [0]);
        ledger.hear(rcpt(0), reply(501));
        assert_eq!(state(&ledger), "rAr");
    }

    #[test]
    fn a_lost_connection() {
        let lost = || Why::Lost(String::new());
        // before anything was heard it is stale, after it is a failure; only those not settled share it
        let mut ledger = heard(2, &[]);
        ledger.fail(Stage::Mail, lost());
        assert_eq!((state(&ledger).as_str(), ledger.is_stale()), ("dd close", true));
        let mut ledger = heard(2, &[(MAIL, 250), (rcpt(0), 550), (rcpt(1), 250)]);
        ledger.fail(Stage::Data, lost());
        assert_eq!((state(&ledger).as_str(), ledger.is_stale()), ("rd close", false));
        assert!(heard(2, &[(MAIL, 421)]).is_stale() && heard(2, &[(Asked::Rset, 421)]).is_stale());
        assert!(!heard(2, &[(MAIL, 250), (rcpt(0), 421)]).is_stale());
        // silence is not staleness: trying again would double the wait
        let mut ledger = heard(2, &[]);
        ledger.fail(Stage::Mail, Why::TimedOut);
        assert!(!ledger.is_stale());
        // after the dot nobody knows
        let mut ledger = heard(2, &[(MAIL, 250), (rcpt(0), 550), (rcpt(1), 250), (Asked::Data, 354)]);
        ledger.fail(Stage::Dot, lost());
        assert_eq!(state(&ledger), "ru close");
    }
}

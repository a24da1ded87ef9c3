//! One mail transaction over one connection: MAIL, RCPT, DATA, the message, its dot, and a fate for every recipient.
//!
//! **Invariant:** the dot leaves only after upstream said 354 to a DATA that followed an accepted RCPT. A transaction
//! that is broken off ends its connection, so no octet of one mail can reach the next.

use std::collections::VecDeque;

use tokio::time::{Instant, timeout_at};

use crate::message::Body;

use super::capabilities::{CannotCarry, Capabilities};
use super::fate::{Fate, Stage, Why};
use super::handshake::{Ready, sooner};
use super::ledger::{Asked, Ledger};
use super::outbound::{BodySource, Deadlines, Needs, Outbound};
use super::wire::{Sent, Wire};
use super::{Options, command};

/// A connection that takes mails, one after another.
pub(super) struct Connection {
    wire: Wire,
    capabilities: Capabilities,
    /// Transactions begun.
    mails: u32,
    /// Upstream holds a transaction that had no dot.
    needs_reset: bool,
    /// Not in step, closing or broken off: never to be used again.
    spent: bool,
}

/// How an attempt at a transaction ended.
pub(super) enum Attempt {
    /// One fate a recipient, in order.
    Settled(Vec<Fate>),
    /// The connection had been used before, and upstream had closed it before it heard of this mail: nothing has
    /// happened, and a new connection may try.
    Stale,
}

/// Commands that go out before their answers are read: bounds the replies held, whatever the number of recipients.
const IN_FLIGHT_MAX: usize = 100;

impl Connection {
    pub(super) fn new(ready: Ready) -> Connection {
        Connection { wire: ready.wire, capabilities: ready.capabilities, mails: 0, needs_reset: false, spent: false }
    }

    pub(super) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether another mail may go this way.
    pub(super) fn may_serve(&self, mails_max: u32) -> bool {
        !self.spent && self.mails < mails_max && !self.wire.has_unread()
    }

    /// Whether it is still open and silent. No wait.
    pub(super) fn is_fresh(&mut self) -> bool {
        !self.spent && self.wire.is_fresh()
    }

    /// Says goodbye, if upstream still listens. Whatever it answers, the connection ends here.
    pub(super) async fn quit(mut self, until: Instant) {
        if !self.spent && self.wire.send(b"QUIT\r\n", until).await.is_ok() {
            drop(self.wire.reply(until).await);
        }
    }

    /// Sends one mail.
    ///
    /// # Errors
    /// Upstream cannot carry it; nothing was sent.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the connection in the middle of a transaction: drop it as well.
    pub(super) async fn send(
        &mut self,
        outbound: &mut Outbound,
        options: &Options,
        deadlines: Deadlines,
    ) -> Result<Attempt, CannotCarry> {
        let needs = outbound.needs();
        self.capabilities.carry(needs)?;
        let used = self.mails > 0;
        self.mails += 1;
        let ledger = Ledger::new(outbound.envelope.recipients.len());
        let mut transaction = Transaction { connection: self, options, deadlines, needs, ledger };
        if let Err(Broken { stage, why }) = transaction.run(outbound).await {
            transaction.ledger.fail(stage, why);
        }
        let ledger = transaction.ledger;
        self.spent |= ledger.is_closing();
        Ok(if used && ledger.is_stale() { Attempt::Stale } else { Attempt::Settled(ledger.into_fates()) })
    }
}

/// One transaction under way.
struct Transaction<'a> {
    connection: &'a mut Connection,
    options: &'a Options,
    deadlines: Deadlines,
    needs: Needs,
    ledger: Ledger,
}

/// The dialogue cannot go on.
struct Broken {
    stage: Stage,
    why: Why,
}

type Commands = VecDeque<(Asked, Vec<u8>)>;

impl Transaction<'_> {
    async fn run(&mut self, outbound: &mut Outbound) -> Result<(), Broken> {
        let lines = self.opening(outbound, false)?;
        self.ask(lines).await?;
        if self.ledger.take_mail_again() {
            let lines = self.opening(outbound, true)?;
            self.ask(lines).await?;
        }
        let again = self.ledger.take_rcpt_again();
        let lines = again.into_iter().map(|index| self.rcpt(outbound, index, true)).collect::<Result<_, _>>()?;
        self.ask(lines).await?;
        if self.ledger.wants_data() {
            self.ask([(Asked::Data, b"DATA\r\n".to_vec())].into()).await?;
        }
        self.connection.needs_reset = self.ledger.is_open();
        if !self.ledger.go_ahead() {
            return Ok(());
        }
        let body = self.body(&mut outbound.body).await?;
        self.message(&body).await
    }

    /// MAIL and every RCPT, and DATA with them where upstream pipelines and no RCPT may have to be said twice
    /// (RFC 2920 §3.1).
    fn opening(&mut self, outbound: &Outbound, bare: bool) -> Result<Commands, Broken> {
        let recipients = &outbound.envelope.recipients;
        let mut lines = Commands::with_capacity(recipients.len() + 3);
        if std::mem::take(&mut self.connection.needs_reset) {
            lines.push_back((Asked::Rset, b"RSET\r\n".to_vec()));
        }
        let capabilities = &self.connection.capabilities;
        let optional = !bare && command::mail_has_options(outbound, capabilities);
        let mail = command::mail(outbound, self.needs, capabilities, bare).ok_or_else(|| unsendable(Stage::Mail))?;
        lines.push_back((Asked::Mail { optional }, mail));
        for index in 0..recipients.len() {
            lines.push_back(self.rcpt(outbound, index, bare)?);
        }
        let said_once = bare || !recipients.iter().any(|r| command::rcpt_has_options(r, capabilities));
        if capabilities.pipelining && said_once && lines.len() < IN_FLIGHT_MAX {
            lines.push_back((Asked::Data, b"DATA\r\n".to_vec()));
        }
        Ok(lines)
    }

    fn rcpt(&self, outbound: &Outbound, index: usize, bare: bool) -> Result<(Asked, Vec<u8>), Broken> {
        let capabilities = &self.connection.capabilities;
        let recipient = outbound.envelope.recipients.get(index).ok_or_else(|| unsendable(Stage::Rcpt))?;
        let optional = !bare && command::rcpt_has_options(recipient, capabilities);
        let line = command::rcpt(recipient, capabilities, bare).ok_or_else(|| unsendable(Stage::Rcpt))?;
        Ok((Asked::Rcpt { index, optional }, line))
    }

    /// Sends commands, many in flight where upstream pipelines and one by one where not, and books every answer; stops
    /// when the rest need not be asked.
    async fn ask(&mut self, mut lines: Commands) -> Result<(), Broken> {
        let window = if self.connection.capabilities.pipelining { IN_FLIGHT_MAX } else { 1 };
        while !lines.is_empty() && !self.ledger.is_decided() {
            let flight: Commands = lines.drain(..window.min(lines.len())).collect();
            self.send_flight(&flight).await?;
            for (asked, _) in flight {
                self.hear(asked).await?;
                if self.ledger.is_closing() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn send_flight(&mut self, flight: &Commands) -> Result<(), Broken> {
        let stage = flight.front().map_or(Stage::Mail, |(asked, _)| asked.stage());
        let octets: Vec<u8> = flight.iter().flat_map(|(_, line)| line.iter().copied()).collect();
        let until = sooner(self.deadlines.dot_sent_by, self.options.command);
        let broken = |why| Broken { stage, why };
        self.connection.wire.expect_silence(until).await.map_err(broken)?;
        self.connection.wire.send(&octets, until).await.map_err(broken)
    }

    async fn hear(&mut self, asked: Asked) -> Result<(), Broken> {
        let wait = if asked == Asked::Data { self.options.data_init } else { self.options.command };
        let until = sooner(self.deadlines.dot_sent_by, wait);
        let reply = self.connection.wire.reply(until).await.map_err(|why| Broken { stage: asked.stage(), why })?;
        self.ledger.hear(asked, reply);
        Ok(())
    }

    /// The body, now that upstream waits for it. It stays with the mail, for those recipients who need another round.
    async fn body(&mut self, source: &mut BodySource) -> Result<Body, Broken> {
        if let BodySource::Later(body) = source {
            let broken = |why| Broken { stage: Stage::Data, why };
            let body = timeout_at(self.deadlines.dot_sent_by, body).await.map_err(|_| broken(Why::TimedOut))?;
            *source = BodySource::Ready(body.ok_or_else(|| broken(Why::Withdrawn))?);
        }
        match source {
            BodySource::Ready(body) => Ok(body.clone()),
            BodySource::Later(_) => Err(Broken { stage: Stage::Data, why: Why::Withdrawn }),
        }
    }

    /// The message with its dot, and the one answer that is for all whose RCPT was accepted.
    async fn message(&mut self, body: &Body) -> Result<(), Broken> {
        let sent = self.connection.wire.send_message(body, self.options.data_block, self.deadlines.dot_sent_by).await;
        match sent {
            Sent::Failed(why) => return Err(Broken { stage: Stage::Data, why }),
            Sent::Interrupted(reply) => {
                self.ledger.close();
                let fate = match reply.is_positive() {
                    // Accepted before it was whole: something has been delivered, or nothing.
                    true => Fate::Unknown { why: Why::OutOfPlace(reply) },
                    false => Fate::of_reply(Stage::Data, reply),
                };
                self.ledger.settle_accepted(&fate);
                return Ok(());
            }
            Sent::Whole => {}
        }
        let until = sooner(self.deadlines.dot_answered_by, self.options.dot);
        let reply = self.connection.wire.reply(until).await.map_err(|why| Broken { stage: Stage::Dot, why })?;
        self.connection.needs_reset = false;
        if reply.code == 421 || (300..400).contains(&reply.code) {
            self.ledger.close();
        }
        let fate = match reply.is_positive() {
            true => Fate::Accepted { reply, at: Instant::now() },
            false => Fate::of_reply(Stage::Dot, reply),
        };
        self.ledger.settle_accepted(&fate);
        Ok(())
    }
}

fn unsendable(stage: Stage) -> Broken {
    Broken { stage, why: Why::Unsendable }
}

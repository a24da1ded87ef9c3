//! The server's side of one SMTP conversation (RFC 5321, RFC 6409) as a state machine: octets and answers in, actions out.
//!
//! It asks, the shell acts: [`Session::step`] returns an [`Action`], and what came of it is the next [`Input`].
//!
//! **Invariants:** a step takes the state out, so one that fails leaves a closed session. Nothing is a command that was
//! sent where the client had to wait. After any reply that ends a transaction the transaction is empty.

use std::sync::Arc;

use super::command::{self, Verb};
use super::data::{DataError, Progress, Receiver};
use super::facts::Hello;
use super::limits::SASL_LINE_BYTES_MAX;
use super::line::{Lines, Next as NextLine};
use super::reply::Reply;
use super::sasl::{self, Exchange, SaslError};
use super::transaction::Transaction;

pub use super::facts::{Facts, Tls};
pub use super::limits::Options;
pub use super::step::{Action, Incoming, Input, LoginAnswer, Wait};

#[derive(Debug)]
enum State {
    Greeting,
    Command,
    Sasl(Exchange),
    Tls,
    Login,
    Sender(Transaction),
    Room,
    Body(Receiver),
    Delivery,
    Closed,
}

/// One conversation.
#[derive(Debug)]
pub struct Session<W> {
    options: Arc<Options>,
    facts: Facts<W>,
    transaction: Option<Transaction>,
    state: State,
    lines: Lines,
    lines_taken: u64,
    last_verb: Option<Verb>,
    errors: u32,
    auth_failures: u32,
}

impl<W: Clone> Session<W> {
    /// A conversation before its banner. First input: [`Input::Continue`], or [`Input::Bytes`] if the client was early.
    pub fn new(options: Arc<Options>, facts: Facts<W>) -> Session<W> {
        Session {
            options,
            facts,
            transaction: None,
            state: State::Greeting,
            lines: Lines::default(),
            lines_taken: 0,
            last_verb: None,
            errors: 0,
            auth_failures: 0,
        }
    }

    /// Takes one input. An input that answers nothing that was asked closes the session.
    pub fn step(&mut self, input: Input<'_, W>) -> Action<W> {
        match (std::mem::replace(&mut self.state, State::Closed), input) {
            (State::Greeting, Input::Continue) => self.reply(Reply::banner(&self.options.hostname)),
            // RFC 5321 §3.1: the client waits for the banner. One that does not is a script, or somebody else's protocol.
            (State::Greeting, Input::Bytes(_)) => self.close(Reply::synchronization()),
            (state @ (State::Command | State::Sasl(_)), Input::Continue) => self.line(state),
            (state @ (State::Command | State::Sasl(_)), Input::Bytes(octets)) => {
                self.lines.push(octets);
                self.line(state)
            }
            (State::Tls, Input::TlsStarted) => self.tls_started(),
            (State::Login, Input::Login(answer)) => self.login(answer),
            (State::Sender(transaction), Input::Sender(verdict)) => self.sender(transaction, verdict),
            (State::Room, Input::Room(room)) => self.room(room),
            (State::Body(receiver), Input::Continue | Input::Room(true)) => self.read_body(receiver),
            (State::Body(mut receiver), Input::Room(false)) => {
                receiver.abandon();
                self.read_body(receiver)
            }
            (State::Body(receiver), Input::Bytes(chunk)) => self.body(receiver, chunk),
            (State::Delivery, Input::Delivered(reply)) => self.delivered(reply),
            (_, Input::Eof) => Action::Close(None),
            _ => self.close(Reply::internal_error()),
        }
    }

    /// Keeps octets that came while an answer was awaited; pipelined commands may follow the final dot (RFC 2920 §3.1).
    pub fn hold(&mut self, octets: &[u8]) {
        self.lines.push(octets);
    }

    /// Octets of commands that wait to be read.
    pub fn held_bytes(&self) -> usize {
        self.lines.held_bytes()
    }

    /// Octets of the message read so far.
    pub fn body_bytes(&self) -> usize {
        match &self.state {
            State::Body(receiver) => receiver.kept_bytes(),
            _ => 0,
        }
    }

    /// What the client is waited for.
    pub fn wait(&self) -> Wait {
        match &self.state {
            State::Body(_) => Wait::Body,
            State::Sasl(_) => Wait::Line,
            _ if self.lines.is_empty() => Wait::Idle,
            _ => Wait::Line,
        }
    }

    /// How many lines the client has completed: while it stands still, so does the clock of [`Wait::Line`].
    pub fn lines_taken(&self) -> u64 {
        self.lines_taken
    }

    /// Commands refused since the last mail that was accepted, and logins that failed.
    pub fn errors(&self) -> u32 {
        self.errors.saturating_add(self.auth_failures)
    }

    /// On whose behalf mail is sent, once that is known.
    pub fn submitter(&self) -> Option<&W> {
        self.facts.who()
    }

    /// What the client asked for last, while that has no final answer of the backend's.
    pub fn last_verb(&self) -> Option<Verb> {
        self.last_verb
    }

    /// No mail is under way, so closing now loses nothing.
    pub fn is_between_mails(&self) -> bool {
        self.transaction.is_none() && matches!(self.state, State::Greeting | State::Command | State::Sasl(_))
    }

    fn reply(&mut self, reply: Reply) -> Action<W> {
        self.state = State::Command;
        Action::Reply(reply)
    }

    fn close(&mut self, reply: Reply) -> Action<W> {
        self.state = State::Closed;
        self.transaction = None;
        Action::Close(Some(reply))
    }

    /// A refusal that counts.
    fn refuse(&mut self, reply: Reply) -> Action<W> {
        self.errors += 1;
        if self.errors >= self.options.command_errors_max {
            return self.close(Reply::too_many_errors());
        }
        self.reply(reply)
    }

    fn line(&mut self, state: State) -> Action<W> {
        let line_bytes_max = match &state {
            State::Sasl(_) => self.options.line_bytes_max.max(SASL_LINE_BYTES_MAX),
            _ if self.lines.next_begins(b"AUTH ") => self.options.line_bytes_max.max(SASL_LINE_BYTES_MAX),
            _ => self.options.line_bytes_max,
        };
        let line = match self.lines.next(line_bytes_max, self.options.discard_bytes_max) {
            NextLine::Line(line) => line.to_vec(),
            NextLine::TooLong => return self.refuse(Reply::line_too_long()),
            NextLine::Flood => return self.close(Reply::flood()),
            NextLine::More => return self.await_line(state),
        };
        self.lines_taken += 1;
        match state {
            State::Sasl(_) if !self.lines.is_empty() => self.close(Reply::synchronization()),
            State::Sasl(exchange) => {
                let next = exchange.respond(&line);
                self.sasl(next)
            }
            _ => self.command(&line),
        }
    }

    fn await_line(&mut self, state: State) -> Action<W> {
        // A TLS record: the client is set to implicit TLS. It would wait for ever; so it learns at once.
        if self.lines.starts_with(b"\x16\x03") {
            return self.close(Reply::not_smtp());
        }
        self.state = state;
        Action::Read
    }

    fn command(&mut self, line: &[u8]) -> Action<W> {
        self.last_verb = None;
        let line = match command::divide(line) {
            Ok(line) => line,
            Err(error) => return self.refuse(error.into()),
        };
        self.last_verb = Some(line.verb);
        // RFC 2920 §3.1, RFC 3207 §4: whatever came with such a command was sent by someone who did not wait for its reply,
        // an attacker in front of TLS or a browser with a body.
        if line.verb.ends_a_group() && !self.lines.is_empty() {
            return self.close(Reply::synchronization());
        }
        self.verb(line.verb, line.arguments).unwrap_or_else(|refusal| self.refuse(refusal))
    }

    fn verb(&mut self, verb: Verb, arguments: &[u8]) -> Result<Action<W>, Reply> {
        match verb {
            Verb::Ehlo => self.hello(arguments, true),
            Verb::Helo => self.hello(arguments, false),
            Verb::Mail => self.mail(arguments),
            Verb::Rcpt => self.rcpt(arguments),
            Verb::Data => self.data(arguments),
            Verb::Auth => self.auth(arguments),
            Verb::StartTls => self.starttls(arguments),
            Verb::Rset => {
                command::no_arguments(arguments, "RSET")?;
                self.transaction = None;
                Ok(self.reply(Reply::ok()))
            }
            Verb::Noop => Ok(self.reply(Reply::ok())),
            Verb::Vrfy => Ok(self.reply(Reply::cannot_verify())),
            Verb::Help => Ok(self.reply(Reply::help())),
            Verb::Expn => Err(Reply::not_implemented()),
            Verb::Quit => {
                command::no_arguments(arguments, "QUIT")?;
                Ok(self.close(Reply::bye()))
            }
            // Its octets would follow without waiting, and cannot be told from commands.
            Verb::Bdat => Ok(self.close(Reply::not_implemented())),
            // Cross-protocol scripting: the rest of the request is not for us to read.
            Verb::Http => Ok(self.close(Reply::not_smtp())),
        }
    }

    fn hello(&mut self, arguments: &[u8], extended: bool) -> Result<Action<W>, Reply> {
        let name = command::hello_name(arguments)?;
        self.facts.hello = Some(Hello { name, extended });
        self.transaction = None;
        let hostname = &self.options.hostname;
        let offer = self.facts.offer(&self.options);
        let reply = if extended { Reply::extended_hello(hostname, offer.keywords()) } else { Reply::hello(hostname) };
        Ok(self.reply(reply))
    }

    fn mail(&mut self, arguments: &[u8]) -> Result<Action<W>, Reply> {
        self.facts.may_send()?;
        if self.transaction.is_some() {
            return Err(Reply::nested_mail());
        }
        let (reverse_path, params) = command::mail(arguments, self.options.dsn)?;
        let bytes_max = u64::try_from(self.options.message_bytes_max).unwrap_or(u64::MAX);
        if params.size_bytes.is_some_and(|declared| declared > bytes_max) {
            return Err(Reply::message_too_large());
        }
        let who = self.facts.who().cloned().ok_or_else(Reply::login_required)?;
        let path = reverse_path.clone();
        self.state = State::Sender(Transaction { reverse_path, params, recipients: Vec::new() });
        Ok(Action::CheckSender(who, path))
    }

    fn sender(&mut self, transaction: Transaction, verdict: Result<(), Reply>) -> Action<W> {
        match verdict {
            Ok(()) => {
                self.transaction = Some(transaction);
                self.reply(Reply::sender_ok())
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn rcpt(&mut self, arguments: &[u8]) -> Result<Action<W>, Reply> {
        self.facts.may_send()?;
        let transaction = self.transaction.as_mut().ok_or_else(Reply::sender_first)?;
        let recipient = command::rcpt(arguments, transaction.params.smtputf8, self.options.dsn)?;
        if transaction.recipients.len() >= self.options.recipients_max {
            // Not the client's error: it sends the rest in a transaction of its own (RFC 5321 §4.5.3.1.10).
            return Ok(self.reply(Reply::too_many_recipients()));
        }
        transaction.recipients.push(recipient);
        Ok(self.reply(Reply::recipient_ok()))
    }

    fn data(&mut self, arguments: &[u8]) -> Result<Action<W>, Reply> {
        command::no_arguments(arguments, "DATA")?;
        self.facts.may_send()?;
        let transaction = self.transaction.as_ref().ok_or_else(Reply::sender_first)?;
        if transaction.recipients.is_empty() {
            self.transaction = None;
            return Err(Reply::no_recipients());
        }
        self.state = State::Room;
        Ok(Action::MakeRoom(transaction.params.size_bytes))
    }

    fn room(&mut self, room: bool) -> Action<W> {
        if !room {
            self.transaction = None;
            return self.reply(Reply::no_room());
        }
        let declared = self.transaction.as_ref().and_then(|transaction| transaction.params.size_bytes);
        let receiver = Receiver::new(self.options.message_bytes_max, declared, self.options.bare_newlines);
        self.state = State::Body(receiver);
        Action::Reply(Reply::go_ahead())
    }

    fn read_body(&mut self, receiver: Receiver) -> Action<W> {
        self.state = State::Body(receiver);
        Action::Read
    }

    fn body(&mut self, mut receiver: Receiver, chunk: &[u8]) -> Action<W> {
        let Progress::End(used) = receiver.feed(chunk) else {
            return self.read_body(receiver);
        };
        self.lines.push(chunk.get(used..).unwrap_or_default());
        let transaction = self.transaction.take();
        let content = match receiver.finish() {
            Ok(content) => content,
            Err(DataError::TooLarge) => return self.refuse(Reply::message_too_large()),
            Err(DataError::BareNewline) => return self.refuse(Reply::bare_newline_in_data()),
            Err(DataError::NoRoom) => return self.reply(Reply::no_room()),
        };
        let (Some(transaction), Some(who)) = (transaction, self.facts.who().cloned()) else {
            return self.close(Reply::internal_error());
        };
        let protocol = self.facts.protocol(transaction.params.smtputf8);
        let helo = self.facts.hello.as_ref().map(|hello| hello.name.clone()).unwrap_or_default();
        self.state = State::Delivery;
        let (raw, bare_newlines) = (content.raw, content.bare_newlines);
        Action::Deliver(Box::new(Incoming { transaction, raw, bare_newlines, who, helo, protocol }))
    }

    fn delivered(&mut self, reply: Reply) -> Action<W> {
        self.last_verb = None;
        if reply.is_positive() {
            self.errors = 0;
        }
        // RFC 5321 §3.8: 421 announces that the channel closes.
        if reply.code == 421 { self.close(reply) } else { self.reply(reply) }
    }

    fn starttls(&mut self, arguments: &[u8]) -> Result<Action<W>, Reply> {
        command::no_arguments(arguments, "STARTTLS")?;
        match self.facts.tls {
            Tls::Unavailable => Err(Reply::tls_not_available()),
            Tls::Active => Err(Reply::tls_already_active()),
            Tls::Available => {
                self.state = State::Tls;
                Ok(Action::StartTls(Reply::ready_for_tls()))
            }
        }
    }

    fn tls_started(&mut self) -> Action<W> {
        self.facts.tls_started();
        self.transaction = None;
        self.lines.clear();
        self.state = State::Command;
        Action::Read
    }

    fn auth(&mut self, arguments: &[u8]) -> Result<Action<W>, Reply> {
        self.facts.may_log_in()?;
        if self.transaction.is_some() {
            return Err(Reply::login_not_now());
        }
        let (mechanism, initial) = command::auth(arguments)?;
        Ok(self.sasl(sasl::begin(mechanism, initial, self.options.bearer_logins)))
    }

    fn sasl(&mut self, next: Result<sasl::Next, SaslError>) -> Action<W> {
        match next {
            Ok(sasl::Next::Challenge(prompt, exchange)) => {
                self.state = State::Sasl(exchange);
                Action::Reply(Reply::challenge(prompt))
            }
            Ok(sasl::Next::Check(credentials)) => {
                self.state = State::Login;
                Action::CheckLogin(credentials)
            }
            Err(SaslError::Mechanism) => self.refuse(Reply::mechanism_unknown()),
            Err(SaslError::Cancelled) => self.refuse(Reply::login_cancelled()),
            Err(SaslError::Malformed) => self.refuse(Reply::login_malformed()),
            Err(SaslError::OtherIdentity) => self.login(LoginAnswer::Refused),
        }
    }

    fn login(&mut self, answer: LoginAnswer<W>) -> Action<W> {
        match answer {
            LoginAnswer::Welcome(who) => {
                self.facts.login = Some(who);
                self.reply(Reply::welcome())
            }
            LoginAnswer::Unavailable => self.refuse(Reply::login_unavailable()),
            LoginAnswer::Refused => self.login_failed(Reply::bad_credentials()),
            LoginAnswer::Told(reply) if reply.is_permanent() => self.login_failed(reply),
            LoginAnswer::Told(reply) if reply.code == 421 => self.close(reply),
            LoginAnswer::Told(reply) => self.refuse(reply),
        }
    }

    fn login_failed(&mut self, reply: Reply) -> Action<W> {
        self.auth_failures += 1;
        if self.auth_failures >= self.options.auth_failures_max {
            return self.close(Reply::too_many_logins());
        }
        self.reply(reply)
    }
}

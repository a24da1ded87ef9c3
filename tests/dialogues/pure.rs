//! A conversation with the session alone: no socket, no runtime, the same words.

use std::sync::Arc;

use waxseal::listener::LoginOutcome;
use waxseal::message::Envelope;
use waxseal::settings::Submitter;
use waxseal::smtp::session::{Action, Facts, Input, LoginAnswer, Options, Session};

use super::backend::{self, Taken};
use super::script::{Script, Step};

/// How the client's writes reach the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pieces {
    Whole,
    Octets,
}

/// A server without a shell.
pub(super) struct Server {
    session: Session<Submitter>,
    /// All replies so far, on the wire.
    pub(super) wire: Vec<u8>,
    pub(super) taken: Vec<Taken>,
    pub(super) closed: bool,
    tls_asked: bool,
}

impl Server {
    /// After its banner.
    pub(super) fn start(options: Options, facts: Facts<Submitter>) -> Server {
        let mut server = Server::silent(options, facts);
        server.pump(Input::Continue);
        server
    }

    /// Before its banner.
    pub(super) fn silent(options: Options, facts: Facts<Submitter>) -> Server {
        let session = Session::new(Arc::new(options), facts);
        Server { session, wire: Vec::new(), taken: Vec::new(), closed: false, tls_asked: false }
    }

    pub(super) fn send(&mut self, octets: &[u8]) {
        if !self.closed {
            self.pump(Input::Bytes(octets));
        }
    }

    fn start_tls(&mut self) {
        assert!(std::mem::take(&mut self.tls_asked), "the session did not ask for TLS");
        self.pump(Input::TlsStarted);
    }

    fn pump(&mut self, input: Input<'_, Submitter>) {
        let mut action = self.session.step(input);
        loop {
            let answer = match action {
                Action::Read => return,
                Action::Reply(reply) => {
                    self.wire.extend(reply.to_bytes());
                    Input::Continue
                }
                Action::StartTls(reply) => {
                    self.wire.extend(reply.to_bytes());
                    self.tls_asked = true;
                    return;
                }
                Action::CheckLogin(credentials) => Input::Login(match backend::login(&credentials) {
                    LoginOutcome::Welcome(submitter) | LoginOutcome::WelcomeWith(submitter, _) => {
                        LoginAnswer::Welcome(submitter)
                    }
                    LoginOutcome::Told(reply) => LoginAnswer::Told(reply),
                    LoginOutcome::Refused => LoginAnswer::Refused,
                    LoginOutcome::Unavailable => LoginAnswer::Unavailable,
                }),
                Action::CheckSender(_, path) => Input::Sender(backend::may_send_from(&path)),
                Action::MakeRoom(_) => Input::Room(true),
                Action::Deliver(incoming) => {
                    let envelope = Envelope::from(incoming.transaction);
                    let (from, to) = backend::addresses(&envelope);
                    self.taken.push(Taken {
                        from,
                        to,
                        raw: incoming.raw.to_vec(),
                        submitter: incoming.who,
                        protocol: incoming.protocol,
                        helo: incoming.helo,
                        bare_newlines: incoming.bare_newlines,
                    });
                    Input::Delivered(backend::answer(&envelope))
                }
                Action::Close(reply) => {
                    self.wire.extend(reply.into_iter().flat_map(|reply| reply.to_bytes()));
                    self.closed = true;
                    return;
                }
            };
            action = self.session.step(answer);
        }
    }

    /// Takes the next whole reply off the wire: its lines.
    pub(super) fn next_reply(&mut self) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let end = self.wire.iter().position(|octet| *octet == b'\n')? + 1;
            let line: Vec<u8> = self.wire.drain(..end).collect();
            let line = String::from_utf8(line).unwrap().trim_end_matches("\r\n").to_owned();
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return Some(lines);
            }
        }
    }
}

/// Does the reply have this line?
pub(super) fn has_line(reply: &[String], text: &str) -> bool {
    reply.iter().any(|line| line.get(4..) == Some(text))
}

pub(super) fn run(script: &Script, pieces: Pieces) {
    let mut server = Server::start(script.facts.options(), script.facts.pure());
    let mut reply = Vec::new();
    for (line, step) in &script.steps {
        let place = format!("{}.smtp:{line} ({pieces:?})", script.name);
        match step {
            Step::Send(octets) if pieces == Pieces::Octets => octets.chunks(1).for_each(|octet| server.send(octet)),
            Step::Send(octets) => server.send(octets),
            Step::Reply(expected) => {
                reply = server.next_reply().unwrap_or_else(|| panic!("{place}: no reply"));
                assert!(reply[0].starts_with(expected.as_str()), "{place}: {reply:?}");
            }
            Step::HasLine(text) => assert!(has_line(&reply, text), "{place}: {reply:?}"),
            Step::LacksLine(text) => assert!(!has_line(&reply, text), "{place}: {reply:?}"),
            Step::StartTls => server.start_tls(),
            Step::Mail(from, to) => {
                let newest = server.taken.last().unwrap();
                assert_eq!((&newest.from, &newest.to), (from, to), "{place}");
            }
            Step::Body(raw) => {
                let newest = server.taken.last().unwrap();
                assert_eq!(newest.raw.escape_ascii().to_string(), raw.escape_ascii().to_string(), "{place}");
            }
            Step::Count(count) => assert_eq!(server.taken.len(), *count, "{place}"),
            Step::Closed => assert!(server.closed && server.wire.is_empty(), "{place}: {:?}", server.next_reply()),
        }
    }
    assert_eq!(server.next_reply(), None, "{}: a reply nobody asked for", script.name);
}

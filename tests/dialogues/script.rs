//! The form of a `*.smtp` file.

use waxseal::settings::Submitter;
use waxseal::smtp::data::BareNewlines;
use waxseal::smtp::session::{self, Tls};

/// What holds for the connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    /// The peer is 192.0.2.9, not this machine.
    pub(super) remote: bool,
    /// Its network may submit for `default` without login.
    pub(super) trusted: bool,
    /// STARTTLS is to be had.
    pub(super) starttls: bool,
    /// TLS from the first octet.
    pub(super) implicit: bool,
    /// There are no logins.
    pub(super) no_logins: bool,
    /// DSN is offered.
    pub(super) dsn: bool,
    /// Bearer tokens are taken.
    pub(super) bearer: bool,
    /// Bare newlines are refused.
    pub(super) reject: bool,
    /// Limits a script can reach: 100 octets a message, 3 recipients, 4 errors, 2 wrong passwords.
    pub(super) small: bool,
    /// Not to be run over TLS too.
    pub(super) plain: bool,
    /// Not to be cut into octets.
    pub(super) segments: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Reply(String),
    HasLine(String),
    LacksLine(String),
    StartTls,
    Mail(String, Vec<String>),
    Body(Vec<u8>),
    Count(usize),
    Closed,
}

#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) name: String,
    pub(super) facts: Facts,
    /// With line numbers.
    pub(super) steps: Vec<(usize, Step)>,
}

impl Script {
    pub(super) fn parse(name: &str, text: &str) -> Script {
        let mut script = Script { name: name.to_owned(), facts: Facts::default(), steps: Vec::new() };
        for (at, line) in text.lines().enumerate() {
            let (kind, rest) = line.split_at_checked(2).unwrap_or((line, ""));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let step = match kind {
                "" | "# " | "#" => continue,
                "! " => {
                    script.facts.set(rest);
                    continue;
                }
                "C:" => script.send([unescape(rest), b"\r\n".to_vec()].concat()),
                "C|" => script.send(unescape(rest)),
                "S:" => Step::Reply(rest.to_owned()),
                "S+" => Step::HasLine(rest.to_owned()),
                "S-" => Step::LacksLine(rest.to_owned()),
                "T" => Step::StartTls,
                "X" => Step::Closed,
                "N:" => Step::Count(rest.parse().unwrap()),
                "B:" => Step::Body(unescape(rest)),
                "M:" => {
                    let (from, to) = rest.split_once("->").unwrap();
                    Step::Mail(from.trim().to_owned(), to.split(',').map(|one| one.trim().to_owned()).collect())
                }
                _ => panic!("{name}:{}: what is {line:?}?", at + 1),
            };
            script.steps.push((at + 1, step));
        }
        script
    }

    /// Lines that follow each other are one write.
    fn send(&mut self, octets: Vec<u8>) -> Step {
        match self.steps.pop() {
            Some((_, Step::Send(before))) => Step::Send([before, octets].concat()),
            other => {
                self.steps.extend(other);
                Step::Send(octets)
            }
        }
    }
}

impl Facts {
    fn set(&mut self, word: &str) {
        let flag = match word {
            "remote" => &mut self.remote,
            "trusted" => &mut self.trusted,
            "starttls" => &mut self.starttls,
            "implicit" => &mut self.implicit,
            "no-logins" => &mut self.no_logins,
            "dsn" => &mut self.dsn,
            "bearer" => &mut self.bearer,
            "reject" => &mut self.reject,
            "small" => &mut self.small,
            "plain" => &mut self.plain,
            "segments" => &mut self.segments,
            _ => panic!("no such fact: {word}"),
        };
        *flag = true;
    }

    pub(super) fn tls(&self) -> Tls {
        match (self.implicit, self.starttls) {
            (true, _) => Tls::Active,
            (_, true) => Tls::Available,
            _ => Tls::Unavailable,
        }
    }

    pub(super) fn options(&self) -> session::Options {
        let mut options = session::Options::new("relay.test");
        options.dsn = self.dsn;
        options.bearer_logins = self.bearer;
        if self.reject {
            options.bare_newlines = BareNewlines::Reject;
        }
        if self.small {
            options.message_bytes_max = 100;
            options.recipients_max = 3;
            options.command_errors_max = 4;
            options.auth_failures_max = 2;
        }
        options
    }

    pub(super) fn pure(&self) -> session::Facts<Submitter> {
        let trusted = self.trusted.then(super::backend::network_submitter);
        session::Facts::new(!self.remote, self.tls(), !self.no_logins, trusted)
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            octets.extend(c.to_string().bytes());
            continue;
        }
        octets.push(match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).unwrap()
            }
            other => panic!("no such escape: {other:?}"),
        });
    }
    octets
}

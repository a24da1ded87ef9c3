//! What a scripted upstream offers and where it misbehaves.

use std::time::Duration;

use crate::support::certificate::TestCertificate;

/// Where in the dialogue a fault sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Instead of the banner.
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// After the 354, before the content is read.
    Content,
    /// The final dot has been read.
    Dot,
    Rset,
    Quit,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Octets as they are.
    Say(Vec<u8>),
    /// Octets one by one, so far apart.
    Drip(Vec<u8>, Duration),
    /// What a healthy server would do here.
    Default,
    Wait(Duration),
    /// An orderly end (FIN).
    Close,
    /// A RST: what was said and not yet read may be lost.
    Reset,
    /// Neither reads nor says anything any more.
    Hang,
}

impl Act {
    /// One line; CRLF is added.
    pub(crate) fn say(line: &str) -> Act {
        Act::Say(format!("{line}\r\n").into_bytes())
    }
}

#[derive(Debug, Clone)]
struct Fault {
    at: At,
    /// Only for commands that hold this text.
    holding: String,
    /// Matching commands to let pass first.
    skip: usize,
    /// How often it strikes.
    times: usize,
    acts: Vec<Act>,
}

/// How the upstream behaves.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// EHLO keywords, said as they are.
    pub(super) keywords: Vec<String>,
    /// STARTTLS (offered) or implicit TLS.
    pub(super) tls: Option<(TestCertificate, TlsStart)>,
    /// A login it demands.
    pub(super) login: Option<(String, String)>,
    /// Recipients it takes in one transaction; more get 452.
    pub(super) recipients_max: usize,
    faults: Vec<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsStart {
    StartTls,
    Implicit,
}

impl Script {
    /// A modern, healthy server without TLS.
    pub(crate) fn new() -> Script {
        let keywords = ["PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"];
        let keywords = keywords.map(str::to_owned).to_vec();
        Script { keywords, tls: None, login: None, recipients_max: usize::MAX, faults: Vec::new() }
    }

    /// Only these keywords.
    pub(crate) fn keywords(mut self, keywords: &[&str]) -> Script {
        self.keywords = keywords.iter().map(|&k| k.to_owned()).collect();
        self
    }

    pub(crate) fn starttls(mut self, certificate: &TestCertificate) -> Script {
        self.keywords.push("STARTTLS".to_owned());
        self.tls = Some((certificate.clone(), TlsStart::StartTls));
        self
    }

    pub(crate) fn implicit_tls(mut self, certificate: &TestCertificate) -> Script {
        self.tls = Some((certificate.clone(), TlsStart::Implicit));
        self
    }

    /// Demands this login, and offers AUTH with these mechanisms.
    pub(crate) fn login(mut self, username: &str, password: &str, mechanisms: &str) -> Script {
        self.keywords.push(format!("AUTH {mechanisms}"));
        self.login = Some((username.to_owned(), password.to_owned()));
        self
    }

    /// Takes so many recipients in one transaction.
    pub(crate) fn recipients_max(mut self, recipients: usize) -> Script {
        self.recipients_max = recipients;
        self
    }

    /// Always misbehaves here.
    pub(crate) fn on(self, at: At, acts: impl Into<Vec<Act>>) -> Script {
        self.fault(at, "", 0, usize::MAX, acts)
    }

    /// Misbehaves the `nth` time (1 is the first) it comes here, over all connections.
    pub(crate) fn on_nth(self, at: At, nth: usize, acts: impl Into<Vec<Act>>) -> Script {
        self.fault(at, "", nth - 1, 1, acts)
    }

    /// Answers a command that holds this text, always.
    pub(crate) fn answer(self, at: At, holding: &str, line: &str) -> Script {
        self.fault(at, holding, 0, usize::MAX, [Act::say(line)])
    }

    fn fault(mut self, at: At, holding: &str, skip: usize, times: usize, acts: impl Into<Vec<Act>>) -> Script {
        self.faults.push(Fault { at, holding: holding.to_owned(), skip, times, acts: acts.into() });
        self
    }

    pub(super) fn take(&mut self, at: At, line: &str) -> Option<Vec<Act>> {
        let fault = self.faults.iter_mut().find(|f| f.at == at && f.times > 0 && line.contains(&f.holding))?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= usize::from(fault.times != usize::MAX);
        Some(fault.acts.clone())
    }
}

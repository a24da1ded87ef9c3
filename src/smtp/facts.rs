//! What is known of a connection, as against what is known of a mail ([`super::transaction`]).
//!
//! **Invariant:** STARTTLS forgets everything the client said before it (RFC 3207 §4.2): greeting and login.

use super::extension::Offer;
use super::limits::Options;
use super::reply::Reply;

/// TLS on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not to be had here.
    Unavailable,
    /// STARTTLS may be issued.
    Available,
    /// In force.
    Active,
}

/// Facts of one connection. `W` names on whose behalf mail is submitted; the session only passes it on.
#[derive(Debug, Clone)]
pub struct Facts<W> {
    loopback: bool,
    logins: bool,
    trusted: Option<W>,
    pub(super) tls: Tls,
    pub(super) login: Option<W>,
    pub(super) hello: Option<Hello>,
}

/// What EHLO or HELO said.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    pub(super) name: String,
    pub(super) extended: bool,
}

impl<W> Facts<W> {
    /// At connect: is the peer on this very machine (then a login needs no TLS), is there TLS, are there logins at all,
    /// and who is it already, when its network alone is trusted.
    pub fn new(loopback: bool, tls: Tls, logins: bool, trusted: Option<W>) -> Facts<W> {
        Facts { loopback, logins, trusted, tls, login: None, hello: None }
    }

    /// On whose behalf: the login before the network.
    pub(super) fn who(&self) -> Option<&W> {
        self.login.as_ref().or(self.trusted.as_ref())
    }

    /// The client must name itself first, and then log in.
    pub(super) fn may_send(&self) -> Result<(), Reply> {
        match (&self.hello, self.who()) {
            (None, _) => Err(Reply::hello_first()),
            (_, Some(_)) => Ok(()),
            (_, None) if self.tls == Tls::Available && !self.loopback => Err(Reply::tls_required()),
            (_, None) => Err(Reply::login_required()),
        }
    }

    /// A password is taken only where nobody can listen: under TLS or on loopback.
    pub(super) fn may_log_in(&self) -> Result<(), Reply> {
        match () {
            () if !self.logins => Err(Reply::login_not_offered()),
            () if self.tls != Tls::Active && !self.loopback => Err(Reply::login_needs_tls()),
            () if self.hello.is_none() => Err(Reply::hello_first()),
            () if self.login.is_some() => Err(Reply::login_not_now()),
            () => Ok(()),
        }
    }

    /// What EHLO lists at this moment.
    pub(super) fn offer(&self, options: &Options) -> Offer {
        Offer {
            message_bytes_max: options.message_bytes_max,
            starttls: self.tls == Tls::Available,
            auth: self.logins && (self.tls == Tls::Active || self.loopback),
            bearer: options.bearer_logins,
            dsn: options.dsn,
        }
    }

    /// TLS is in force now; nothing said before it counts.
    pub(super) fn tls_started(&mut self) {
        self.tls = Tls::Active;
        self.login = None;
        self.hello = None;
    }

    /// The keyword for `Received: … with` (RFC 3848, RFC 6531 §4.3).
    pub(super) fn protocol(&self, smtputf8: bool) -> &'static str {
        let extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        match (extended, smtputf8, self.tls == Tls::Active, self.login.is_some()) {
            (_, true, false, false) => "UTF8SMTP",
            (_, true, true, false) => "UTF8SMTPS",
            (_, true, false, true) => "UTF8SMTPA",
            (_, true, true, true) => "UTF8SMTPSA",
            (true, _, false, false) => "ESMTP",
            (true, _, true, false) => "ESMTPS",
            (true, _, false, true) => "ESMTPA",
            (true, _, true, true) => "ESMTPSA",
            (false, ..) => "SMTP",
        }
    }
}

//! What a mail program is told to send through this server: the values in force, and what to know about them.

/// How one listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorTls {
    /// TLS after STARTTLS.
    StartTls,
    /// TLS from the first octet.
    Implicit,
    /// None: on loopback.
    None,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupDoor {
    /// Its port.
    pub port: u16,
    /// How it speaks.
    pub tls: DoorTls,
    /// Only this machine reaches it.
    pub loopback: bool,
    /// Some networks submit without a login.
    pub networks: bool,
}

/// The values in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setup {
    /// The name in the certificate.
    pub host: String,
    /// Where programs connect.
    pub doors: Vec<SetupDoor>,
    /// Nobody but itself vouches for the certificate.
    pub self_signed: bool,
    /// Logins are upstream's own (`auth = "passthrough"`).
    pub passthrough: bool,
    /// Mail ends in the built-in inbox.
    pub inbox: bool,
}

impl Setup {
    /// The port of the first listener that speaks so; rather one that other machines reach.
    pub fn port(&self, tls: DoorTls) -> Option<u16> {
        let of = self.doors.iter().filter(|door| door.tls == tls);
        of.min_by_key(|door| door.loopback).map(|door| door.port)
    }

    /// The port where this machine's programs send without a login.
    pub fn trusted_port(&self) -> Option<u16> {
        self.doors.iter().find(|door| door.networks).map(|door| door.port)
    }

    /// What to know before it is typed in, most important first. Whoever has a second factor, or must have one, is told
    /// that programs take an `app_password` alone.
    pub fn notes(&self, app_password: bool) -> Vec<String> {
        let login = match self.passthrough {
            true => {
                "Log in as you do at your mail server today: the login is passed on to it, and nothing of it is kept here."
            }
            false if app_password => {
                "Log in with your login and an app password, made on the page Account (/account): your account asks for a \
                 second factor, so your password opens this dashboard alone."
            }
            false => {
                "Log in with your login and password of waxseal, the same as for this dashboard; or with an app password."
            }
        };
        let all_loopback = self.doors.iter().all(|door| door.loopback);
        let no_starttls = self.port(DoorTls::StartTls).is_none();
        let no_implicit = self.port(DoorTls::Implicit).is_none();
        let notes = [
            Some(login),
            self.inbox.then_some(
                "Mail ends in the built-in inbox: nothing leaves this machine until [upstream] names a server.",
            ),
            all_loopback.then_some(
                "The listeners are on loopback: only programs on this machine reach them. For others give a listener \
                 addr = \"[::]:587\" in config.toml, and open the port.",
            ),
            self.self_signed.then_some(
                "The certificate is self-signed: programs ask before they trust it, or refuse. docs/DEPLOY.md says how \
                 to get a real one.",
            ),
            no_starttls
                .then_some("No listener speaks STARTTLS: choose TLS from the first byte (SSL/TLS) everywhere below."),
            no_implicit.then_some("No listener speaks TLS from the first byte: choose STARTTLS everywhere below."),
        ];
        notes.into_iter().flatten().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(port: u16, tls: DoorTls, loopback: bool) -> SetupDoor {
        SetupDoor { port, tls, loopback, networks: port == 2525 }
    }

    #[test]
    fn what_is_told_goes_by_what_is_there() {
        let open = Setup {
            host: "relay.example.org".into(),
            doors: vec![
                door(2525, DoorTls::StartTls, true),
                door(587, DoorTls::StartTls, false),
                door(465, DoorTls::Implicit, false),
            ],
            ..Setup::default()
        };
        assert_eq!((open.port(DoorTls::StartTls), open.port(DoorTls::Implicit)), (Some(587), Some(465)));
        assert_eq!((open.port(DoorTls::None), open.trusted_port()), (None, Some(2525)));
        assert_eq!(open.notes(false).len(), 1, "{:?}", open.notes(false));
        let shut = Setup {
            doors: vec![door(2525, DoorTls::None, true)],
            self_signed: true,
            passthrough: true,
            inbox: true,
            ..open.clone()
        };
        let notes = |app_password| open.notes(app_password).join("\n");
        assert!(notes(false).contains("password of waxseal") && !notes(true).contains("password of waxseal"));
        assert!(notes(true).contains("an app password, made on the page Account"), "{}", notes(true));
        let notes = shut.notes(true).join("\n");
        for words in
            ["passed on", "built-in inbox", "loopback", "self-signed", "No listener speaks STARTTLS", "first byte"]
        {
            assert!(notes.contains(words), "{words}: {notes}");
        }
    }
}

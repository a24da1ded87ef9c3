//! What upstream says it can do (EHLO), and what a mail needs of it. Pure.

use std::fmt;

use crate::smtp::Reply;

use super::outbound::Needs;

/// The keywords of an EHLO answer that we use. Forgotten and asked anew after STARTTLS (RFC 3207 §4.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `SIZE n` (RFC 1870): `Some(0)` offers the parameter without naming a limit.
    pub size_bytes: Option<u64>,
    /// `PIPELINING` (RFC 2920).
    pub pipelining: bool,
    /// `8BITMIME` (RFC 6152).
    pub eight_bit_mime: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `DSN` (RFC 3461).
    pub dsn: bool,
    /// `ENHANCEDSTATUSCODES` (RFC 2034).
    pub enhanced_status_codes: bool,
    /// `STARTTLS` (RFC 3207).
    pub starttls: bool,
    /// `AUTH … PLAIN …` (RFC 4954).
    pub auth_plain: bool,
    /// `AUTH … LOGIN …`
    pub auth_login: bool,
    /// `AUTH … XOAUTH2 …`
    pub auth_xoauth2: bool,
    /// `AUTH … OAUTHBEARER …` (RFC 7628).
    pub auth_oauthbearer: bool,
}

/// Why this mail cannot go through this upstream as it is. The caller may convert it, send another form or refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannotCarry {
    /// The content has octets above 127 and upstream has no 8BITMIME: 5.6.3.
    EightBit,
    /// An address or a header needs SMTPUTF8 and upstream has none: 5.6.7.
    Utf8,
    /// Larger than upstream takes: 5.3.4.
    TooLarge {
        /// Its limit in octets.
        limit_bytes: u64,
    },
}

impl Capabilities {
    /// Reads the answer to EHLO. Keywords in any case; lines it does not know are passed over; its first line is the
    /// server's name.
    pub fn read(ehlo: &Reply) -> Capabilities {
        let mut found = Capabilities::default();
        for line in ehlo.lines.iter().skip(1) {
            found.line(&line.to_ascii_uppercase());
        }
        found
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
        match words.next() {
            Some("SIZE") => self.size_bytes = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
            Some("PIPELINING") => self.pipelining = true,
            Some("8BITMIME") => self.eight_bit_mime = true,
            Some("SMTPUTF8") => self.smtputf8 = true,
            Some("DSN") => self.dsn = true,
            Some("ENHANCEDSTATUSCODES") => self.enhanced_status_codes = true,
            Some("STARTTLS") => self.starttls = true,
            // `AUTH=PLAIN` is how servers spelt it before RFC 2554, and some still do.
            Some("AUTH") => words.for_each(|word| match word {
                "PLAIN" => self.auth_plain = true,
                "LOGIN" => self.auth_login = true,
                "XOAUTH2" => self.auth_xoauth2 = true,
                "OAUTHBEARER" => self.auth_oauthbearer = true,
                _ => {}
            }),
            _ => {}
        }
    }

    /// Whether a mail with these needs can go.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn carry(&self, needs: Needs) -> Result<(), CannotCarry> {
        match self.size_bytes {
            Some(limit_bytes) if limit_bytes > 0 && needs.size_bytes > limit_bytes => {
                Err(CannotCarry::TooLarge { limit_bytes })
            }
            _ if needs.smtputf8 && !self.smtputf8 => Err(CannotCarry::Utf8),
            _ if needs.eight_bit && !self.eight_bit_mime => Err(CannotCarry::EightBit),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for CannotCarry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CannotCarry::EightBit => f.write_str("upstream takes no 8-bit content"),
            CannotCarry::Utf8 => f.write_str("upstream takes no internationalised addresses or headers"),
            CannotCarry::TooLarge { limit_bytes } => write!(f, "larger than upstream takes ({limit_bytes} octets)"),
        }
    }
}

impl std::error::Error for CannotCarry {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Capabilities {
        let lines = lines.iter().map(|&l| l.to_owned()).collect();
        Capabilities::read(&Reply { code: 250, enhanced: None, lines })
    }

    #[test]
    fn keywords() {
        let all = Capabilities {
            size_bytes: Some(1000),
            pipelining: true,
            eight_bit_mime: true,
            smtputf8: true,
            dsn: true,
            enhanced_status_codes: true,
            starttls: true,
            auth_plain: true,
            auth_login: true,
            auth_xoauth2: true,
            auth_oauthbearer: true,
        };
        let table: &[(&[&str], Capabilities)] = &[
            // any case, any order, unknown ones among them
            (
                &[
                    "mx",
                    "size 1000",
                    "Pipelining",
                    "X-WHAT",
                    "8bitmime",
                    "SMTPUTF8",
                    "dsn",
                    "EnhancedStatusCodes",
                    "starttls",
                    "auth login xoauth2 plain oauthbearer",
                ],
                all,
            ),
            // the first line is a name, even when it reads like a keyword
            (&["PIPELINING"], Capabilities::default()),
            (&["DSN", "SIZE"], Capabilities { size_bytes: Some(0), ..Default::default() }),
            (&["mx", "SIZE 0"], Capabilities { size_bytes: Some(0), ..Default::default() }),
            (&["mx", "SIZE much"], Capabilities { size_bytes: Some(0), ..Default::default() }),
            // the old spelling
            (&["mx", "AUTH=LOGIN"], Capabilities { auth_login: true, ..Default::default() }),
            // whole words only
            (&["mx", "PIPELININGX", "XDSN", "AUTH PLAIN-TOKEN"], Capabilities::default()),
            (&[], Capabilities::default()),
        ];
        for (lines, expected) in table {
            assert_eq!(&read(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_can_be_carried() {
        let needs = |size_bytes, eight_bit, smtputf8| Needs { size_bytes, eight_bit, smtputf8 };
        let old = Capabilities { size_bytes: Some(100), ..Default::default() };
        let modern = Capabilities { eight_bit_mime: true, smtputf8: true, ..Default::default() };
        let table = [
            (&old, needs(100, false, false), Ok(())),
            (&old, needs(101, false, false), Err(CannotCarry::TooLarge { limit_bytes: 100 })),
            (&old, needs(1, true, false), Err(CannotCarry::EightBit)),
            (&old, needs(1, true, true), Err(CannotCarry::Utf8)),
            (&modern, needs(u64::MAX, true, true), Ok(())),
        ];
        for (capabilities, needs, expected) in table {
            assert_eq!(capabilities.carry(needs), expected, "{needs:?}");
        }
    }
}

//! AUTH exchanges (RFC 4954): PLAIN (RFC 4616) and LOGIN, responses in, credentials out.
//!
//! **Invariant:** a password leaves this file only inside [`Credentials`], which never shows it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A login and its password, as typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub login: String,
    /// The password's octets; NUL cannot stand in it with PLAIN.
    pub password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("login", &self.login).finish_non_exhaustive()
    }
}

/// How far an exchange is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// PLAIN: the one response is awaited.
    Plain,
    /// LOGIN: the user name is awaited.
    LoginName,
    /// LOGIN: the password for this name is awaited.
    LoginPassword(String),
}

/// What follows from a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send this challenge (base64, may be empty) and await the response.
    Challenge(&'static str, Exchange),
    /// Judge these.
    Check(Credentials),
}

/// Why an exchange ends without anything to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslError {
    /// No such mechanism: 504.
    Mechanism,
    /// `*`, or an empty response: 501.
    Cancelled,
    /// Not base64, or not the mechanism's form: 501.
    Malformed,
    /// The login wants to act for somebody else: 535.
    OtherIdentity,
}

/// `Username:` and `Password:`, which LOGIN clients expect in base64.
const NAME_PROMPT: &str = "VXNlcm5hbWU6";
const PASSWORD_PROMPT: &str = "UGFzc3dvcmQ6";

/// Begins an exchange: the mechanism's name and the initial response, if there was one (`=` is an empty one).
///
/// # Errors
/// [`SaslError`]; the AUTH is over.
pub fn begin(mechanism: &[u8], initial: Option<&[u8]>) -> Result<Next, SaslError> {
    let initial = initial.map(|text| if text == b"=" { b"".as_slice() } else { text });
    let exchange = match mechanism {
        m if m.eq_ignore_ascii_case(b"PLAIN") => Exchange::Plain,
        m if m.eq_ignore_ascii_case(b"LOGIN") => Exchange::LoginName,
        _ => return Err(SaslError::Mechanism),
    };
    match (initial, &exchange) {
        (Some(text), _) => exchange.respond(text),
        (None, Exchange::Plain) => Ok(Next::Challenge("", exchange)),
        (None, _) => Ok(Next::Challenge(NAME_PROMPT, exchange)),
    }
}

impl Exchange {
    /// Takes one response line without CRLF.
    ///
    /// # Errors
    /// [`SaslError`]; the AUTH is over.
    pub fn respond(self, line: &[u8]) -> Result<Next, SaslError> {
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        let response = STANDARD.decode(line).map_err(|_| SaslError::Malformed)?;
        match self {
            Exchange::Plain => plain(&response).map(Next::Check),
            Exchange::LoginName if response.is_empty() => Err(SaslError::Cancelled),
            Exchange::LoginName => Ok(Next::Challenge(PASSWORD_PROMPT, Exchange::LoginPassword(text(response)?))),
            Exchange::LoginPassword(login) => Ok(Next::Check(Credentials { login, password: response })),
        }
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2).
fn plain(response: &[u8]) -> Result<Credentials, SaslError> {
    if response.is_empty() {
        return Err(SaslError::Cancelled);
    }
    let fields: Vec<&[u8]> = response.split(|octet| *octet == 0).collect();
    let [authzid, authcid, password] = fields.as_slice() else { return Err(SaslError::Malformed) };
    if authcid.is_empty() {
        return Err(SaslError::Malformed);
    }
    if !authzid.is_empty() && authzid != authcid {
        return Err(SaslError::OtherIdentity);
    }
    Ok(Credentials { login: text(authcid.to_vec())?, password: password.to_vec() })
}

/// A login is UTF-8 without control characters.
fn text(octets: Vec<u8>) -> Result<String, SaslError> {
    let login = String::from_utf8(octets).map_err(|_| SaslError::Malformed)?;
    if login.chars().any(char::is_control) { Err(SaslError::Malformed) } else { Ok(login) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(octets: &[u8]) -> Vec<u8> {
        STANDARD.encode(octets).into_bytes()
    }

    fn check(octets: &[u8], password: &[u8]) -> Result<Next, SaslError> {
        let login = String::from_utf8(octets.to_vec()).unwrap();
        Ok(Next::Check(Credentials { login, password: password.to_vec() }))
    }

    #[test]
    fn plain_responses() {
        #[rustfmt::skip]
        let rows: &[(&[u8], Result<Next, SaslError>)] = &[
            (b"\0alice\0s3cret", check(b"alice", b"s3cret")),
            (b"alice\0alice\0s3cret", check(b"alice", b"s3cret")),
            ("\0ålice\0pässwörd".as_bytes(), check("ålice".as_bytes(), "pässwörd".as_bytes())),
            (b"\0alice\0", check(b"alice", b"")),
            (b"\0alice\0\xff\xfe", check(b"alice", b"\xff\xfe")),
            // acting for another is not offered
            (b"bob\0alice\0s3cret", Err(SaslError::OtherIdentity)),
            // not the form: a NUL too few or too many, no name, a name that is no text
            (b"alice", Err(SaslError::Malformed)),
            (b"\0alice\0s3\0cret", Err(SaslError::Malformed)),
            (b"\0\0s3cret", Err(SaslError::Malformed)),
            (b"\0a\xff\0s3cret", Err(SaslError::Malformed)),
            (b"\0a\r\nb\0s3cret", Err(SaslError::Malformed)),
        ];
        for (response, expected) in rows {
            assert_eq!(begin(b"plain", Some(&encoded(response))), *expected, "{}", response.escape_ascii());
            assert_eq!(Exchange::Plain.respond(&encoded(response)), *expected);
        }
    }

    #[test]
    fn beginnings() {
        #[rustfmt::skip]
        let rows: &[(&str, Option<&str>, Result<Next, SaslError>)] = &[
            ("PLAIN", None, Ok(Next::Challenge("", Exchange::Plain))),
            ("LOGIN", None, Ok(Next::Challenge(NAME_PROMPT, Exchange::LoginName))),
            ("LOGIN", Some("YWxpY2U="), Ok(Next::Challenge(PASSWORD_PROMPT, Exchange::LoginPassword("alice".into())))),
            ("CRAM-MD5", None, Err(SaslError::Mechanism)),
            ("", None, Err(SaslError::Mechanism)),
            ("PLAIN", Some("="), Err(SaslError::Cancelled)),
            ("PLAIN", Some("*"), Err(SaslError::Cancelled)),
            ("PLAIN", Some("AGFsaWNlAHM"), Err(SaslError::Malformed)),
            ("PLAIN", Some("%%%"), Err(SaslError::Malformed)),
        ];
        for (mechanism, initial, expected) in rows {
            assert_eq!(begin(mechanism.as_bytes(), initial.map(str::as_bytes)), *expected);
        }
    }

    #[test]
    fn login_asks_twice() {
        let asked = Exchange::LoginName.respond(b"YWxpY2U=");
        let Ok(Next::Challenge(PASSWORD_PROMPT, second)) = asked else { panic!("{asked:?}") };
        assert_eq!(second.respond(b"czNjcmV0"), check(b"alice", b"s3cret"));
        assert_eq!(Exchange::LoginName.respond(b""), Err(SaslError::Cancelled));
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", Credentials { login: "alice".into(), password: b"s3cret".to_vec() });
        assert!(shown.contains("alice") && !shown.contains("s3cret") && !shown.contains("115"), "{shown}");
    }
}

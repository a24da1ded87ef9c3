//! AUTH exchanges (RFC 4954): PLAIN (RFC 4616), LOGIN, and where somebody can judge them the bearer tokens of XOAUTH2 and
//! OAUTHBEARER (RFC 7628); responses in, credentials out.
//!
//! **Invariant:** a secret leaves this file only inside [`Credentials`], which never shows it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A login and its secret, as the client sent them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub login: String,
    /// The secret's octets; NUL cannot stand in a password with PLAIN.
    pub password: Vec<u8>,
    /// What the secret is.
    pub kind: Kind,
}

/// What a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A password: PLAIN, LOGIN.
    Password,
    /// An OAuth access token: XOAUTH2, OAUTHBEARER.
    Bearer,
}

impl Credentials {
    /// A login with a password.
    pub fn password(login: impl Into<String>, password: impl Into<Vec<u8>>) -> Credentials {
        Credentials { login: login.into(), password: password.into(), kind: Kind::Password }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("login", &self.login).field("kind", &self.kind).finish_non_exhaustive()
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
    /// XOAUTH2: the one response is awaited.
    XOauth2,
    /// OAUTHBEARER: the one response is awaited.
    OauthBearer,
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

/// Begins an exchange: the mechanism's name and the initial response, if there was one (`=` is an empty one). With `bearer`
/// tokens are taken too.
///
/// # Errors
/// [`SaslError`]; the AUTH is over.
pub fn begin(mechanism: &[u8], initial: Option<&[u8]>, bearer: bool) -> Result<Next, SaslError> {
    let initial = initial.map(|text| if text == b"=" { b"".as_slice() } else { text });
    let exchange = match mechanism {
        m if m.eq_ignore_ascii_case(b"PLAIN") => Exchange::Plain,
        m if m.eq_ignore_ascii_case(b"LOGIN") => Exchange::LoginName,
        m if bearer && m.eq_ignore_ascii_case(b"XOAUTH2") => Exchange::XOauth2,
        m if bearer && m.eq_ignore_ascii_case(b"OAUTHBEARER") => Exchange::OauthBearer,
        _ => return Err(SaslError::Mechanism),
    };
    match (initial, &exchange) {
        (Some(text), _) => exchange.respond(text),
        (None, Exchange::LoginName) => Ok(Next::Challenge(NAME_PROMPT, exchange)),
        (None, _) => Ok(Next::Challenge("", exchange)),
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
            Exchange::LoginPassword(login) => Ok(Next::Check(Credentials::password(login, response))),
            Exchange::XOauth2 => x_oauth2(&response).map(Next::Check),
            Exchange::OauthBearer => oauth_bearer(&response).map(Next::Check),
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
    Ok(Credentials::password(text(authcid.to_vec())?, *password))
}

/// `user=login ^A auth=Bearer token ^A ^A`, as Google and Microsoft have it.
fn x_oauth2(response: &[u8]) -> Result<Credentials, SaslError> {
    let mut login = None;
    let mut token = None;
    for pair in pairs(response)? {
        match pair.split_once('=') {
            Some(("user", name)) => login = Some(name.to_owned()),
            Some(("auth", auth)) => token = bearer(auth),
            _ => return Err(SaslError::Malformed),
        }
    }
    credentials(login, token)
}

/// `n,a=login, ^A host=… ^A port=… ^A auth=Bearer token ^A ^A` (RFC 7628 §3.1). Channel binding is not to be had.
fn oauth_bearer(response: &[u8]) -> Result<Credentials, SaslError> {
    let mut pairs = pairs(response)?.into_iter();
    let header = pairs.next().unwrap_or_default();
    let name = header.strip_prefix("n,a=").or(header.strip_prefix("y,a=")).and_then(|rest| rest.strip_suffix(','));
    let login = name.map(|name| name.replace("=2C", ",").replace("=3D", "="));
    let token = pairs.find_map(|pair| pair.strip_prefix("auth=").and_then(bearer));
    credentials(login, token)
}

/// What stands between the `^A`s, but for the two at the end.
fn pairs(response: &[u8]) -> Result<Vec<&str>, SaslError> {
    if response.is_empty() {
        return Err(SaslError::Cancelled);
    }
    let text = std::str::from_utf8(response).map_err(|_| SaslError::Malformed)?;
    Ok(text.strip_suffix("\u{1}\u{1}").ok_or(SaslError::Malformed)?.split('\u{1}').collect())
}

fn bearer(auth: &str) -> Option<String> {
    let (scheme, token) = auth.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn credentials(login: Option<String>, token: Option<String>) -> Result<Credentials, SaslError> {
    let (Some(login), Some(token)) = (login, token) else { return Err(SaslError::Malformed) };
    // RFC 6750 §2.1: a token is visible ASCII, so nothing in it can leave its place in what is sent on.
    if login.is_empty() || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(SaslError::Malformed);
    }
    Ok(Credentials { login: text(login.into_bytes())?, password: token.into_bytes(), kind: Kind::Bearer })
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
        Ok(Next::Check(Credentials::password(login, password)))
    }

    #[test]
    fn plain_responses() {
        #[rustfmt::skip]
        let rows: &[(&[u8], Result<Next, SaslError>)] = &[
            (b"\0alice\0s3cret", check(b"alice", b"s3cret")),
            (b"alice\0alice\0s3cret", check(b"alice", b"s3cret")),
            ("\0ålice\0pässwörd".as_bytes(), check("ålice".as_bytes(), "pässwörd".as_bytes())),
            // as typed: upstream is asked letter by letter, and who judges here prepares both (RFC 4013)
            ("\0I\u{ad}X\0pa\u{308}ss\u{a0}w".as_bytes(), check("I\u{ad}X".as_bytes(), "pa\u{308}ss\u{a0}w".as_bytes())),
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
            assert_eq!(begin(b"plain", Some(&encoded(response)), false), *expected, "{}", response.escape_ascii());
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
            // only where somebody can judge a token
            ("XOAUTH2", None, Err(SaslError::Mechanism)),
            ("OAUTHBEARER", Some("eA=="), Err(SaslError::Mechanism)),
            ("", None, Err(SaslError::Mechanism)),
            ("PLAIN", Some("="), Err(SaslError::Cancelled)),
            ("PLAIN", Some("*"), Err(SaslError::Cancelled)),
            ("PLAIN", Some("AGFsaWNlAHM"), Err(SaslError::Malformed)),
            ("PLAIN", Some("%%%"), Err(SaslError::Malformed)),
        ];
        for (mechanism, initial, expected) in rows {
            assert_eq!(begin(mechanism.as_bytes(), initial.map(str::as_bytes), false), *expected);
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
    fn bearer_tokens() {
        let token = |login: &str| {
            Ok(Next::Check(Credentials { login: login.into(), password: b"ya29.t-k_n".to_vec(), kind: Kind::Bearer }))
        };
        #[rustfmt::skip]
        let rows: &[(&str, &str, Result<Next, SaslError>)] = &[
            ("XOAUTH2", "user=a@x.test\x01auth=Bearer ya29.t-k_n\x01\x01", token("a@x.test")),
            ("xoauth2", "user=a@x.test\x01auth=bearer ya29.t-k_n\x01\x01", token("a@x.test")),
            ("OAUTHBEARER", "n,a=a@x.test,\x01host=h\x01port=587\x01auth=Bearer ya29.t-k_n\x01\x01", token("a@x.test")),
            ("OAUTHBEARER", "y,a=a=2Cb=3Dc,\x01auth=Bearer ya29.t-k_n\x01\x01", token("a,b=c")),
            // nothing, no name, no token, another scheme, channel binding, no end
            ("XOAUTH2", "", Err(SaslError::Cancelled)),
            ("XOAUTH2", "user=\x01auth=Bearer t\x01\x01", Err(SaslError::Malformed)),
            ("XOAUTH2", "user=a\x01\x01", Err(SaslError::Malformed)),
            ("XOAUTH2", "user=a\x01auth=Basic t\x01\x01", Err(SaslError::Malformed)),
            ("XOAUTH2", "user=a\x01auth=Bearer t", Err(SaslError::Malformed)),
            ("OAUTHBEARER", "p=tls-unique,a=a,\x01auth=Bearer t\x01\x01", Err(SaslError::Malformed)),
            ("OAUTHBEARER", "n,,\x01auth=Bearer t\x01\x01", Err(SaslError::Malformed)),
            // what could leave its place when it is sent on
            ("XOAUTH2", "user=a\r\nb\x01auth=Bearer t\x01\x01", Err(SaslError::Malformed)),
            ("XOAUTH2", "user=a\x01auth=Bearer t t\x01\x01", Err(SaslError::Malformed)),
            ("XOAUTH2", "user=a\x01auth=Bearer t\r\n\x01\x01", Err(SaslError::Malformed)),
        ];
        for (mechanism, response, expected) in rows {
            let initial = encoded(response.as_bytes());
            assert_eq!(begin(mechanism.as_bytes(), Some(&initial), true), *expected, "{mechanism} {response:?}");
            let Ok(Next::Challenge("", exchange)) = begin(mechanism.as_bytes(), None, true) else { panic!() };
            assert_eq!(exchange.respond(&initial), *expected, "{mechanism} {response:?}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", Credentials::password("alice", b"s3cret"));
        assert!(shown.contains("alice") && !shown.contains("s3cret") && !shown.contains("115"), "{shown}");
    }
}

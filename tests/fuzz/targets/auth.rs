//! AUTH: no line breaks an exchange out of its form, and what was encoded is what comes out.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use waxseal::smtp::sasl::{Credentials, Next, SaslError, begin};

fuzz_target!(|octets: &[u8]| {
    let mut lines = octets.split(|octet| *octet == b'\n');
    let first = lines.next().unwrap_or_default();
    for mechanism in [b"PLAIN".as_slice(), b"login", b"XOAUTH2", b"OAuthBearer", first] {
        for bearer in [true, false] {
            talk(begin(mechanism, None, bearer), lines.clone());
            talk(begin(mechanism, Some(first), bearer), lines.clone());
        }
    }
    plain_and_login_agree(octets);
});

fn talk<'a>(first: Result<Next, SaslError>, mut lines: impl Iterator<Item = &'a [u8]>) {
    let mut next = first;
    for turn in 0.. {
        assert!(turn < 3, "an exchange ends");
        match next {
            Ok(Next::Challenge(prompt, exchange)) => {
                assert!(prompt.is_ascii());
                let Some(line) = lines.next() else { return };
                next = exchange.respond(line);
            }
            Ok(Next::Check(credentials)) => return is_text(&credentials),
            Err(_) => return,
        }
    }
}

fn is_text(credentials: &Credentials) {
    assert!(!credentials.login.is_empty() && !credentials.login.chars().any(char::is_control));
    assert!(!format!("{credentials:?}").contains("password: "));
}

/// A name and a password, split at the first LF, sent both ways.
fn plain_and_login_agree(octets: &[u8]) {
    let at = octets.iter().position(|octet| *octet == b'\n').unwrap_or(octets.len());
    let (name, password) = (&octets[..at], octets.get(at + 1..).unwrap_or_default());
    let plain = begin(b"PLAIN", Some(STANDARD.encode([b"\0", name, b"\0", password].concat()).as_bytes()), false);
    let login = match begin(b"LOGIN", Some(STANDARD.encode(name).as_bytes()), false) {
        Ok(Next::Challenge(_, exchange)) => exchange.respond(STANDARD.encode(password).as_bytes()),
        other => other,
    };
    if let Ok(Next::Check(credentials)) = &plain {
        assert_eq!((credentials.login.as_bytes(), credentials.password.as_slice()), (name, password));
        assert_eq!(plain, login);
    } else if !password.contains(&0) {
        assert!(login.is_err());
    }
}

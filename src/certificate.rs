//! What a certificate and its key say: whether they fit, until when they hold, for whom. Bytes in, facts out; no I/O, no clock.

use std::time::Duration;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error};

const DAY_SECS: i64 = 86_400;
/// Warned of this many days before a certificate ends: automatic renewal comes at 30, so it has failed for two weeks.
pub const EXPIRY_WARNING_DAYS: i64 = 14;
/// A moment after every certificate's end: 31 December 9999 is the last date one can carry (RFC 5280 §4.1.2.5).
const AFTER_ALL_SECS: u64 = 253_402_300_800;

/// Facts of a server's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Unix seconds; 0 when it holds since 1970 or before.
    pub not_before_secs: i64,
    /// Unix seconds of the last one it holds for.
    pub not_after_secs: i64,
    /// Whether a client that connects to this name accepts it.
    pub names_host: bool,
    /// Nobody but itself vouches for it: programs ask or refuse.
    pub self_signed: bool,
}

/// Why a pair of files is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The certificate file, with the reason.
    #[error("certificate: {0}")]
    Certificate(String),
    /// The key file, with the reason.
    #[error("key: {0}")]
    Key(String),
}

/// Reads a pair of PEM files as a TLS server would.
///
/// # Errors
/// Which of the two is wrong, and why.
pub fn examine(certificate: &[u8], private_key: &[u8], hostname: &str) -> Result<Facts, Unusable> {
    let chain = chain(certificate).map_err(Unusable::Certificate)?;
    let own = chain.first().ok_or_else(|| Unusable::Certificate("it holds no PEM certificate".to_owned()))?;
    let facts = facts(own, hostname).map_err(Unusable::Certificate)?;
    let key =
        PrivateKeyDer::from_pem_slice(private_key).map_err(|_| Unusable::Key("it holds no PEM key".to_owned()))?;
    let pair = CertifiedKey::from_der(chain.clone(), key, &ring::default_provider());
    pair.map_err(|error| Unusable::Key(error.to_string())).map(|_| facts)
}

/// What one certificate says, whoever signed it.
///
/// # Errors
/// Why it cannot be read.
pub fn facts(certificate: &CertificateDer<'_>, hostname: &str) -> Result<Facts, String> {
    let parsed = ParsedCertificate::try_from(certificate).map_err(|error| error.to_string())?;
    let not_after_secs = not_after(&parsed)?;
    Ok(Facts {
        not_before_secs: not_before(&parsed),
        not_after_secs,
        self_signed: is_self_signed(certificate, &parsed, not_after_secs),
        names_host: ServerName::try_from(hostname).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok()),
    })
}

impl Facts {
    /// Whole days it still holds; negative when it has ended.
    pub fn days_left(&self, now_secs: i64) -> i64 {
        (self.not_after_secs - now_secs).div_euclid(DAY_SECS)
    }

    /// Its last day, as people write it.
    pub fn last_day(&self) -> String {
        date(self.not_after_secs)
    }
}

/// The day of a moment, `2026-11-24`.
pub fn date(unix_secs: i64) -> String {
    Timestamp::from_second(unix_secs)
        .map_or_else(|_| "a date beyond the calendar".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

/// Every certificate of a PEM file.
///
/// # Errors
/// Why one of them cannot be read.
pub fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// It is good when it is itself the one that is trusted.
fn is_self_signed(der: &CertificateDer<'_>, certificate: &ParsedCertificate<'_>, at_secs: i64) -> bool {
    let mut itself = RootCertStore::empty();
    if itself.add(der.clone().into_owned()).is_err() {
        return false;
    }
    let at_secs = u64::try_from(at_secs).unwrap_or(0);
    let judged = judge_by(&itself, certificate, at_secs);
    match judged {
        Ok(()) => true,
        // It is a root that serves by itself, as `openssl req -x509` makes them. The signature was good to get here.
        Err(Error::InvalidCertificate(CertificateError::Other(other))) => {
            other.to_string().contains("CaUsedAsEndEntity")
        }
        Err(_) => false,
    }
}

/// Asked whether it held at the beginning of time, the verifier answers since when it does.
fn not_before(certificate: &ParsedCertificate<'_>) -> i64 {
    match judge(certificate, 0) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => seconds(not_before),
        _ => 0,
    }
}

/// Asked whether it holds after the end of time, the verifier answers until when it does.
fn not_after(certificate: &ParsedCertificate<'_>) -> Result<i64, String> {
    match judge(certificate, AFTER_ALL_SECS) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => Ok(seconds(not_after)),
        Err(error) => Err(error.to_string()),
        Ok(()) => Err("it has no end".to_owned()),
    }
}

/// Dates are looked at before issuers, so no root is needed to learn them.
fn judge(certificate: &ParsedCertificate<'_>, at_secs: u64) -> Result<(), Error> {
    judge_by(&RootCertStore::empty(), certificate, at_secs)
}

fn judge_by(roots: &RootCertStore, certificate: &ParsedCertificate<'_>, at_secs: u64) -> Result<(), Error> {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(at_secs));
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(certificate, roots, &[], now, algorithms)
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = date_time_ymd(2020, 1, 2);
        params.not_after = date_time_ymd(2021, 2, 3);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn dates_and_names_are_read() {
        let (certificate, key) = pair(&["relay.example.com", "192.0.2.1"]);
        for (hostname, named) in
            [("relay.example.com", true), ("192.0.2.1", true), ("example.com", false), ("192.0.2.2", false)]
        {
            let facts = examine(certificate.as_bytes(), key.as_bytes(), hostname).unwrap();
            assert_eq!(
                facts,
                Facts {
                    not_before_secs: 1_577_923_200,
                    not_after_secs: 1_612_310_400,
                    names_host: named,
                    self_signed: true
                }
            );
        }
    }

    #[test]
    fn what_is_of_no_use_is_told_apart() {
        let (certificate, key) = pair(&["a.example"]);
        let (other, _) = pair(&["a.example"]);
        let at =
            |certificate: &str, key: &str| examine(certificate.as_bytes(), key.as_bytes(), "a.example").unwrap_err();
        assert!(matches!(at("", &key), Unusable::Certificate(_)), "empty");
        assert!(matches!(at(&key, &key), Unusable::Certificate(_)), "the key in both places");
        assert!(matches!(
            at("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key),
            Unusable::Certificate(_)
        ));
        assert!(matches!(at(&certificate, &certificate), Unusable::Key(_)), "the certificate in both places");
        assert!(matches!(at(&other, &key), Unusable::Key(_)), "another one's key");
    }
}

//! Standard Webhooks (standardwebhooks.com): the secret and the signature of what is sent.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a written secret begins with.
const PREFIX: &str = "whsec_";
/// Octets of a secret; the specification asks for 24 to 64.
const SECRET_BYTES: usize = 32;

/// A webhook's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn random() -> Result<SigningSecret, getrandom::Error> {
        let mut octets = vec![0; SECRET_BYTES];
        getrandom::fill(&mut octets)?;
        Ok(SigningSecret(octets))
    }

    /// As it was kept.
    pub fn from_octets(octets: Vec<u8>) -> SigningSecret {
        SigningSecret(octets)
    }

    /// To be kept, sealed.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// `whsec_…`, for the one place that shows it.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// `webhook-signature`: `v1,` and the HMAC-SHA256 of `id.timestamp.body`, base64. `timestamp`: Unix seconds of the try.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104 §2)")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn the_specifications_vector() {
        let secret = SigningSecret::from_octets(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_are_shown_by_reveal_alone() {
        let (one, other) = (SigningSecret::random().unwrap(), SigningSecret::random().unwrap());
        assert_ne!(one, other);
        assert!(one.reveal().starts_with("whsec_") && one.reveal().len() == 6 + 44);
        assert_eq!(format!("{one:?}"), "SigningSecret(…)");
        assert_eq!(SigningSecret::from_octets(one.octets().to_vec()), one);
    }
}
